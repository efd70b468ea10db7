//! The turns that this server works on, and the sessions that it may hold without knowing.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use uuid::Uuid;

/// How long a commit with an unknown outcome may still be on its way to the store.
const DOUBT: Duration = Duration::from_secs(120);

/// The turns of this server. If a turn's first commit is stored but the server receives an error,
/// the server is the holder and does not know it. Without this record the turn would wait forever,
/// because its holder is alive.
#[derive(Debug, Default)]
pub(super) struct HeldTurns {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// How many tasks work on a session: briefly two when one turn follows another.
    tasks: HashMap<Uuid, usize>,
    doubtful: HashMap<Uuid, Instant>,
}

impl HeldTurns {
    /// Records that a task works on this session.
    pub(super) fn begin(&self, id: Uuid) {
        *self.inner.lock().unwrap_or_else(PoisonError::into_inner).tasks.entry(id).or_default() +=
            1;
    }

    /// Records that a task that worked on this session has ended.
    pub(super) fn end(&self, id: Uuid) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tasks) = inner.tasks.get_mut(&id) {
            *tasks -= 1;
            if *tasks == 0 {
                inner.tasks.remove(&id);
            }
        }
    }

    /// Records that this server may have become the session's holder.
    pub(super) fn doubt(&self, id: Uuid) {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .doubtful
            .insert(id, Instant::now());
    }

    /// Returns the sessions that this server may hold and does not work on.
    pub(super) fn doubtful(&self) -> Vec<Uuid> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.doubtful.retain(|_, since| since.elapsed() < DOUBT);
        inner.doubtful.keys().filter(|id| !inner.tasks.contains_key(id)).copied().collect()
    }
}
