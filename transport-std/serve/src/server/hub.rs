//! The watchers of sessions in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use crate::runner::Preview;

/// How many previews a watcher may lag behind before it loses some.
const PREVIEWS: usize = 256;

/// The changes of a session. Kept while somebody watches the session or holds its turn.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) id: Uuid,
    /// The newest known version; `None` once the session is deleted.
    version: watch::Sender<Option<u64>>,
    /// Created for the first watcher: the buffer is large, and most turns have no watcher.
    previews: OnceLock<broadcast::Sender<Preview>>,
}

impl Live {
    /// Returns a receiver of new versions. The current version counts as seen.
    pub(crate) fn versions(&self) -> watch::Receiver<Option<u64>> {
        self.version.subscribe()
    }

    pub(crate) fn previews(&self) -> broadcast::Receiver<Preview> {
        self.previews.get_or_init(|| broadcast::Sender::new(PREVIEWS)).subscribe()
    }

    /// Sends a preview to the watchers.
    pub(crate) fn preview(&self, preview: Preview) {
        if let Some(previews) = self.previews.get() {
            // Fails if all watchers have gone.
            let _ = previews.send(preview);
        }
    }

    fn changed(&self, version: Option<u64>) {
        self.version.send_if_modified(|known| {
            let is_new = match (*known, version) {
                (Some(known), Some(version)) => version > known,
                (known, version) => known != version,
            };
            if is_new {
                *known = version;
            }
            is_new
        });
    }
}

/// The sessions that somebody watches.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    live: Mutex<HashMap<Uuid, Weak<Live>>>,
}

impl Hub {
    /// Starts watching a session.
    pub(crate) fn live(&self, id: Uuid) -> Arc<Live> {
        let mut all = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = all.get(&id).and_then(Weak::upgrade) {
            return live;
        }
        // Removes sessions that nobody watches any more, from time to time.
        if all.len() >= 64 && all.len().is_power_of_two() {
            all.retain(|_, live| live.strong_count() > 0);
        }
        let live =
            Arc::new(Live { id, version: watch::Sender::new(Some(0)), previews: OnceLock::new() });
        all.insert(id, Arc::downgrade(&live));
        live
    }

    /// Tells the session's watchers its new version; `None` if the session was deleted.
    pub(crate) fn changed(&self, id: Uuid, version: Option<u64>) {
        let live = self
            .live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .and_then(Weak::upgrade);
        if let Some(live) = live {
            live.changed(version);
        }
    }

    /// Returns the sessions that somebody watches.
    pub(crate) fn watched(&self) -> Vec<Uuid> {
        let mut all = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, live| live.strong_count() > 0);
        all.keys().copied().collect()
    }
}
