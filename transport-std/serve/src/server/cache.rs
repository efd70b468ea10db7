//! A cache of recently used conversations, so that a turn does not read a whole log.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

/// The maximum number of bytes of all cached conversations.
const MOST_BYTES: usize = 16 << 20;

/// The most recently used conversations, within [`MOST_BYTES`].
#[derive(Debug, Default)]
pub(crate) struct Cache {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<Uuid, CachedTranscript>,
    by_use: BTreeMap<u64, Uuid>,
    uses: u64,
    bytes: usize,
}

#[derive(Debug)]
struct CachedTranscript {
    /// The number of the last log row that the conversation includes.
    head: u64,
    transcript: Arc<str>,
    used: u64,
}

impl Cache {
    /// Returns the session's conversation, and the number of the last log row that it includes.
    pub(crate) fn get(&self, id: Uuid) -> Option<(u64, Arc<str>)> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let known = inner.remove(id)?;
        let found = (known.head, Arc::clone(&known.transcript));
        inner.insert(id, known.head, known.transcript);
        Some(found)
    }

    pub(crate) fn put(&self, id: Uuid, head: u64, transcript: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.remove(id);
        if transcript.len() <= MOST_BYTES / 4 {
            inner.insert(id, head, transcript.into());
        }
        while inner.bytes > MOST_BYTES {
            let Some((_, oldest)) = inner.by_use.pop_first() else { break };
            if let Some(known) = inner.known.remove(&oldest) {
                inner.bytes -= known.cost();
            }
        }
    }

    pub(crate) fn forget(&self, id: Uuid) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

impl CachedTranscript {
    fn cost(&self) -> usize {
        self.transcript.len() + 256
    }
}

impl Inner {
    fn remove(&mut self, id: Uuid) -> Option<CachedTranscript> {
        let known = self.known.remove(&id)?;
        self.by_use.remove(&known.used);
        self.bytes -= known.cost();
        Some(known)
    }

    fn insert(&mut self, id: Uuid, head: u64, transcript: Arc<str>) {
        self.uses += 1;
        let known = CachedTranscript { head, transcript, used: self.uses };
        self.bytes += known.cost();
        self.by_use.insert(known.used, id);
        self.known.insert(id, known);
    }
}
