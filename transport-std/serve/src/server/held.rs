//! Which turns this server works on, and of which it does not know whether it holds them.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use uuid::Uuid;

/// How long a commit whose outcome is not known may still be on its way to the store.
const DOUBT: Duration = Duration::from_secs(120);

/// The turns of this server. Without it, a turn whose first commit was stored while its server
/// learned of a failure would wait for ever: its holder lives and does not know of it.
#[derive(Debug, Default)]
pub(super) struct Held {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// How many tasks work on a session: two for a moment, when one turn follows another.
    tasks: HashMap<Uuid, usize>,
    doubtful: HashMap<Uuid, Instant>,
}

impl Held {
    /// A task works on this session.
    pub(super) fn begin(&self, id: Uuid) {
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner).tasks.entry(id).or_default() +=
            1;
    }

    /// A task that worked on this session has ended.
    pub(super) fn end(&self, id: Uuid) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tasks) = inner.tasks.get_mut(&id) {
            *tasks -= 1;
            if *tasks == 0 {
                inner.tasks.remove(&id);
            }
        }
    }

    /// Whether this server became the holder of the session is not known.
    pub(super) fn doubt(&self, id: Uuid) {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .doubtful
            .insert(id, Instant::now());
    }

    /// Sessions that this server may hold and does not work on.
    pub(super) fn doubtful(&self) -> Vec<Uuid> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.doubtful.retain(|_, since| since.elapsed() < DOUBT);
        inner.doubtful.keys().filter(|id| !inner.tasks.contains_key(id)).copied().collect()
    }
}
