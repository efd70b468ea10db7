//! The server's background work: it reports that it is alive, takes over sessions of dead servers,
//! and deletes expired sessions.

use core::time::Duration;
use std::sync::Arc;

use super::Server;
use crate::engine::{Change, Document, take_over};
use crate::store::{CommitResult, Record, Status, StoreError, Timestamp};

/// How often a server reports that it is alive, and looks for turns without a living holder.
const BEAT: Duration = Duration::from_secs(2);
/// How long a server counts as alive after such a report.
const ALIVE: Duration = Duration::from_secs(8);
/// The shortest and the longest interval between two searches for expired sessions.
const SWEEP: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// The maximum number of turns that are taken over at once.
const ORPHANS: usize = 64;

impl Server {
    /// Starts the background work. Stores the first sign of life before it returns, so that no
    /// other server takes over this server's turns.
    pub(crate) async fn begin(self: &Arc<Self>) -> Result<(), StoreError> {
        self.store.beat(self.id, Timestamp::now().after(ALIVE)).await?;
        let server = Arc::clone(self);
        self.tasks.spawn(async move { server.keep_alive().await });
        let server = Arc::clone(self);
        self.tasks.spawn(async move { server.adopt_all().await });
        let server = Arc::clone(self);
        self.tasks.spawn(async move { server.watch_others().await });
        let server = Arc::clone(self);
        self.tasks.spawn(async move { server.sweep().await });
        Ok(())
    }

    /// Stops accepting turns, and ends streams and long polls.
    pub(crate) fn begin_drain(&self) {
        self.is_draining.store(true, core::sync::atomic::Ordering::Relaxed);
        self.drain.cancel();
    }

    /// Waits until the server accepts no more turns.
    pub(crate) fn drained(&self) -> impl Future<Output = ()> + use<> {
        self.drain.clone().cancelled_owned()
    }

    /// Shuts down: accepts no more turns, gives running turns the time `grace` to end, releases the
    /// rest, and closes the store.
    pub(crate) async fn end(self: &Arc<Self>, grace: Duration) {
        self.begin_drain();
        self.tasks.close();
        let end = tokio::time::Instant::now() + grace;
        while self.running() > 0 && tokio::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.release.cancel();
        if tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await.is_err() {
            tracing::warn!("some turns did not end in time; another server takes them over");
        }
        // Expires this server's last beat, so that others take over its turns at once.
        if let Err(error) = self.store.beat(self.id, Timestamp(0)).await {
            tracing::warn!(
                "other servers could not be notified that this server has stopped: {error}"
            );
        }
        if let Err(error) = self.store.close().await {
            tracing::error!("{error}");
        }
    }

    async fn keep_alive(self: Arc<Self>) {
        loop {
            if let Err(error) = self.store.beat(self.id, Timestamp::now().after(ALIVE)).await {
                tracing::warn!("this server could not renew its heartbeat: {error}");
            }
            tokio::select! {
                () = tokio::time::sleep(BEAT) => {}
                () = self.release.cancelled() => return,
            }
        }
    }

    /// Takes over sessions of dead servers. Apart from the heartbeat, because the commits of many
    /// sessions can take longer than a server counts as alive.
    async fn adopt_all(self: Arc<Self>) {
        loop {
            if !self.is_draining()
                && let Err(error) = self.adopt_orphans().await
            {
                tracing::warn!("turns of other servers could not be searched: {error}");
            }
            tokio::select! {
                () = tokio::time::sleep(BEAT) => {}
                () = self.release.cancelled() => return,
            }
        }
    }

    /// Takes over turns and webhooks of dead holders, and turns that this server holds without
    /// knowing.
    pub(super) async fn adopt_orphans(self: &Arc<Self>) -> Result<(), StoreError> {
        for id in self.held.doubtful() {
            let record = self.store.load(id).await?;
            let Some(record) = record.filter(|record| record.holder == Some(self.id)) else {
                continue;
            };
            if record.status == Status::Running {
                self.adopt(record).await?;
            } else {
                // Leaves webhooks alone that a task delivers already.
                self.deliver_all(&record, &Document::of(&record)?);
            }
        }
        for id in self.store.orphans(Timestamp::now(), ORPHANS).await? {
            if let Some(record) = self.store.load(id).await? {
                self.adopt(record).await?;
            }
        }
        Ok(())
    }

    async fn adopt(self: &Arc<Self>, record: Record) -> Result<(), StoreError> {
        let (id, document) = (record.id, Document::of(&record)?);
        let Change::Commit(commit) =
            self.with_context(|context| take_over(&record, document, context))
        else {
            return Ok(());
        };
        let after = record.after(&commit);
        match self.store.commit(*commit).await {
            Ok(CommitResult::Done) => {
                self.hub.changed(id, Some(after.version));
                if after.status == Status::Running {
                    tracing::info!(session = %id, "took over a turn");
                    self.hold(after);
                } else {
                    self.deliver_all(&after, &Document::of(&after)?);
                }
                Ok(())
            }
            // Another server was faster.
            Ok(_) => Ok(()),
            Err(error) => {
                self.held.doubt(id);
                Err(error)
            }
        }
    }

    /// Notifies this server's watchers of changes that other processes make.
    async fn watch_others(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.store.changed() => {}
                () = self.release.cancelled() => return,
            }
            let watched = self.hub.watched();
            if watched.is_empty() {
                continue;
            }
            match self.store.versions(&watched).await {
                Ok(versions) => watched
                    .into_iter()
                    .zip(versions)
                    .for_each(|(id, version)| self.hub.changed(id, version)),
                Err(error) => {
                    tracing::warn!("changes of other servers could not be read: {error}");
                    tokio::time::sleep(BEAT).await;
                }
            }
        }
    }

    async fn sweep(self: Arc<Self>) {
        let (shortest, longest) = SWEEP;
        let pause = self.options.ttl.map_or(longest, |ttl| (ttl / 2).clamp(shortest, longest));
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.drain.cancelled() => return,
            }
            match self.store.sweep(Timestamp::now()).await {
                Ok(gone) => gone.into_iter().for_each(|id| {
                    self.cache.forget(id);
                    self.hub.changed(id, None);
                }),
                Err(error) => tracing::warn!("expired sessions cannot be deleted: {error}"),
            }
        }
    }
}
