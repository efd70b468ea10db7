//! Who watches which session in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use crate::runner::Preview;

/// Previews that a watcher may lag behind before it loses some.
const PREVIEWS: usize = 256;

/// What changes of a session, as long as somebody watches it or holds its turn.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) id: Uuid,
    /// The version that was seen last; `None` when the session is gone.
    version: watch::Sender<Option<u64>>,
    /// Made for the first watcher of previews: its buffer is large, and most turns have no watcher.
    previews: OnceLock<broadcast::Sender<Preview>>,
}

impl Live {
    /// Gets each new version; the current one counts as seen.
    pub(crate) fn versions(&self) -> watch::Receiver<Option<u64>> {
        self.version.subscribe()
    }

    pub(crate) fn previews(&self) -> broadcast::Receiver<Preview> {
        self.previews.get_or_init(|| broadcast::Sender::new(PREVIEWS)).subscribe()
    }

    /// Shows a piece of a reply to who watches.
    pub(crate) fn preview(&self, preview: Preview) {
        if let Some(previews) = self.previews.get() {
            // The watchers may be gone.
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

/// The sessions that are watched.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    live: Mutex<HashMap<Uuid, Weak<Live>>>,
}

impl Hub {
    /// Watches a session from now on.
    pub(crate) fn live(&self, id: Uuid) -> Arc<Live> {
        let mut all = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = all.get(&id).and_then(Weak::upgrade) {
            return live;
        }
        // Now and then those that nobody watches any more are forgotten.
        if all.len() >= 64 && all.len().is_power_of_two() {
            all.retain(|_, live| live.strong_count() > 0);
        }
        let live =
            Arc::new(Live { id, version: watch::Sender::new(Some(0)), previews: OnceLock::new() });
        all.insert(id, Arc::downgrade(&live));
        live
    }

    /// Tells who watches the session that it has this version now, or is gone.
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

    /// The sessions that are watched now.
    pub(crate) fn watched(&self) -> Vec<Uuid> {
        let mut all = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, live| live.strong_count() > 0);
        all.keys().copied().collect()
    }
}
