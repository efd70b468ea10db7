//! The long events that streams are sending in pieces.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use uuid::Uuid;

/// The maximum number of bytes of all kept events.
const MOST_BYTES: usize = 8 << 20;

/// The long events that were read last, so that streams that send them in pieces need not read them
/// for each piece. A client that stops reading does not keep them here.
#[derive(Debug, Default)]
pub(super) struct LongEvents {
    /// The most recently used one is the last.
    known: Mutex<VecDeque<(Uuid, u64, Bytes)>>,
}

impl LongEvents {
    pub(super) fn get(&self, id: Uuid, seq: u64) -> Option<Bytes> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let place = known.iter().position(|event| (event.0, event.1) == (id, seq))?;
        let event = known.remove(place)?;
        let bytes = event.2.clone();
        known.push_back(event);
        Some(bytes)
    }

    pub(super) fn put(&self, id: Uuid, seq: u64, event: Bytes) {
        if event.len() > MOST_BYTES {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|event| (event.0, event.1) != (id, seq));
        known.push_back((id, seq, event));
        let mut bytes: usize = known.iter().map(|event| event.2.len()).sum();
        while bytes > MOST_BYTES
            && let Some((.., oldest)) = known.pop_front()
        {
            bytes -= oldest.len();
        }
    }

    /// Removes an event whose last piece was sent.
    pub(super) fn forget(&self, id: Uuid, seq: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|event| (event.0, event.1) != (id, seq));
    }
}
