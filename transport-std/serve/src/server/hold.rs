//! Drives one turn that this server holds: connects the engine's worker, the store and the run.

use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::{BoxFuture, FutureExt, OptionFuture};
use tokio::sync::watch;
use tokio::time::Sleep;
use uuid::Uuid;

use super::held::HeldTurns;
use super::{Live, PAGE_BYTES, Server};
use crate::agent::Session;
use crate::engine::{
    Active, CallState, Change, DELIVERIES, Document, Effect, ErrorDetail, Fact, Input, Stop,
    StoredEvent, Worker, release,
};
use crate::runner::{Preview, Results, Runner, Watcher};
use crate::store::{CommitResult, Record, Row, Status, StoreError, Timestamp};

/// The first wait before a failed access to the store is repeated. The wait doubles each time, up
/// to [`LONGEST_WAIT`].
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(50);
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(2);

impl Server {
    /// Starts work on the turn of a session that this server has just become the holder of.
    pub(super) fn hold(self: &Arc<Self>, record: Record) {
        let server = Arc::clone(self);
        server.held.begin(record.id);
        self.tasks.spawn(async move {
            let (id, release) = (record.id, server.release.clone());
            let _working = WorkGuard(&server.held, id);
            // Boxed, because the future is large and a task is moved several times before it runs.
            let turn = Box::pin(Hold::run(&server, record));
            let is_released = tokio::select! {
                biased;
                () = release.cancelled() => true,
                () = turn => false,
            };
            if is_released {
                server.let_go(id).await;
            }
        });
    }

    /// Releases a turn, so that another server, or this one after a restart, takes it over at once.
    async fn let_go(&self, id: Uuid) {
        for _ in 0..5 {
            let Ok(Some(record)) = self.store.load(id).await else { return };
            let Ok(document) = Document::of(&record) else { return };
            if record.holder != Some(self.id) || record.status != Status::Running {
                return;
            }
            let change = self.with_context(|context| release(&record, document, context));
            let Change::Commit(commit) = change else { return };
            if let Ok(CommitResult::Done) = self.store.commit(*commit).await {
                return;
            }
        }
    }
}

/// Marks a session as worked on while the guard lives.
struct WorkGuard<'s>(&'s HeldTurns, Uuid);

impl Drop for WorkGuard<'_> {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

/// Counts a turn as running while the guard lives.
struct TurnGuard<'s>(&'s AtomicUsize);

impl<'s> TurnGuard<'s> {
    fn new(count: &'s AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for TurnGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A turn that this server holds.
struct Hold<'s> {
    server: &'s Arc<Server>,
    live: Arc<Live>,
    versions: watch::Receiver<Option<u64>>,
    worker: Worker,
    runner: Runner,
    /// When this server began to work on the turn.
    begun: Instant,
    deadline: Option<Pin<Box<Sleep>>>,
    commit: Option<BoxFuture<'s, Result<CommitResult, StoreError>>>,
    load: Option<BoxFuture<'s, Option<Box<Record>>>>,
    /// The state of the turn before it ended.
    last: Option<Active>,
    /// The last row of the last commit.
    last_row: Option<Row>,
}

impl<'s> Hold<'s> {
    async fn run(server: &'s Arc<Server>, mut record: Record) {
        let id = record.id;
        let live = server.hub.live(id);
        let mut versions = live.versions();
        let (document, _permit) = loop {
            let Ok(document) = Document::of(&record) else {
                tracing::error!(session = %id, "the session's document cannot be read");
                return;
            };
            // Webhooks of earlier turns, which another server may have left, need no worker.
            server.deliver_all(&record, &document);
            // A cancel needs no worker: it only ends the turn.
            let is_cancelled = document.active.as_ref().is_some_and(|active| active.cancelled);
            let Some(workers) = server.workers.as_ref().filter(|_| !is_cancelled) else {
                break (document, None);
            };
            tokio::select! {
                permit = workers.acquire() => break (document, permit.ok()),
                () = newer(&mut versions, record.version) => {}
            }
            // The turn may have been cancelled or deleted while it waited.
            match server.store.load(id).await {
                Ok(Some(now)) if now.fence == record.fence && now.holder == Some(server.id) => {
                    record = now
                }
                Ok(_) => return,
                Err(_) => tokio::time::sleep(FIRST_WAIT).await,
            }
        };
        let _counted = TurnGuard::new(&server.running);
        let (transcript, results) = beginning(server, &record, &document).await;
        let session =
            Session { id, owner: record.owner.clone(), metadata: record.metadata.clone() };
        let watcher = Arc::new(Seer { server: Arc::clone(server), live: Arc::clone(&live) });
        let runner = Runner::new(
            &server.agent,
            &session,
            transcript,
            &document,
            &results,
            watcher,
            server.options.trace_content,
        );
        let spent = document.active.as_ref().map_or(0, |active| active.spent);
        let timeout = server
            .options
            .timeout
            .map(|timeout| timeout.saturating_sub(Duration::from_millis(spent)));
        let this = Hold {
            server,
            live,
            versions,
            worker: Worker::new(record, document),
            runner,
            begun: Instant::now(),
            deadline: timeout.map(|timeout| Box::pin(tokio::time::sleep(timeout))),
            commit: None,
            load: None,
            last: None,
            last_row: None,
        };
        this.go_on().await;
    }

    /// Drives the turn until it ends, waits for an answer, or belongs to another server.
    async fn go_on(mut self) {
        let mut input = Input::Begin;
        loop {
            let before = self.worker.version();
            if let Some(active) = &self.worker.document().active {
                self.last = Some(active.clone());
            }
            let effects = self.server.with_context(|context| self.worker.step(input, context));
            if self.worker.version() > before {
                self.server.hub.changed(self.live.id, Some(self.worker.version()));
            }
            for effect in effects {
                match effect {
                    Effect::Commit(commit) => {
                        self.last_row = commit.rows.last().cloned();
                        self.commit = Some(self.server.store.commit(*commit));
                    }
                    Effect::Load => self.load = Some(load(self.server, self.live.id).boxed()),
                    Effect::Proceed => self.runner.proceed(),
                    Effect::Allow(call) => {
                        let known = self
                            .worker
                            .document()
                            .active
                            .as_ref()
                            .and_then(|active| active.calls.get(call));
                        self.runner.answer_questions(
                            call,
                            known.map(|call| call.answers.as_slice()).unwrap_or_default(),
                        );
                        self.runner.allow(call);
                    }
                    Effect::Answer(call) => {
                        let active = self.worker.document().active.as_ref();
                        let results = match active {
                            Some(active) => results(self.server, self.live.id, active).await,
                            None => Results::new(),
                        };
                        if let Some((content, is_error)) = results.get(&call) {
                            self.runner.answer(call, content, *is_error);
                        }
                    }
                    Effect::Cancel => self.runner.cancel(),
                    Effect::Stop => return,
                    Effect::Over(record) => return self.over(*record).await,
                }
            }
            input = loop {
                if let Some(input) = self.wait().await {
                    break input;
                }
            };
        }
    }

    /// Waits for the next event. Returns `None` if it does not concern the worker.
    async fn wait(&mut self) -> Option<Input> {
        tokio::select! {
            biased;
            stored = OptionFuture::from(self.commit.as_mut()), if self.commit.is_some() => {
                self.commit = None;
                if let Some(Err(error)) = &stored {
                    tracing::warn!(session = %self.live.id, "{error}");
                }
                stored.map(Input::Stored)
            }
            record = OptionFuture::from(self.load.as_mut()), if self.load.is_some() => {
                self.load = None;
                Some(Input::Loaded(record.flatten()))
            }
            _ = self.versions.changed() => {
                let version = *self.versions.borrow_and_update();
                if self.worker.changed(version) && self.load.is_none() {
                    self.load = Some(load(self.server, self.live.id).boxed());
                }
                None
            }
            fact = self.runner.next() => Some(Input::Fact(match fact {
                Fact::Waiting { .. } => Fact::Waiting { spent: millis(self.begun.elapsed()) },
                fact => fact,
            })),
            () = past(&mut self.deadline) => {
                self.deadline = None;
                let error = ErrorDetail::new("timeout", "Agent timed out");
                Some(Input::Fact(self.runner.fail(error)))
            }
        }
    }

    /// Finishes after the end or the interruption of the turn has been stored.
    async fn over(self, record: Record) {
        if let Some(transcript) = self.runner.transcript(self.worker.document().transcript) {
            self.server.cache.put(record.id, record.head, transcript);
        }
        if let Some(dropped) = &self.worker.document().dropped {
            tracing::warn!(
                session = %record.id,
                "the webhook {dropped} is given up: more than {DELIVERIES} of the session wait"
            );
            self.server.metrics.webhook_failed();
        }
        self.server.deliver_all(&record, self.worker.document());
        let Some(active) = self.last.filter(|_| record.status != Status::Interrupted) else {
            return;
        };
        let duration = Timestamp::now().since(active.started);
        let own = self.last_row.as_ref().filter(|row| row.seq == record.head);
        let stop = match own.and_then(StoredEvent::of).and_then(|seen| seen.stop()) {
            Some(stop) => Some(stop),
            None => self.server.last_stop(&record).await,
        };
        self.server.metrics.turn(stop.unwrap_or(Stop::EndTurn), duration);
    }
}

/// Loads what the run starts with: the conversation, and the results of calls that it does not
/// contain yet. Repeats failed reads until the store answers.
async fn beginning(server: &Server, record: &Record, document: &Document) -> (String, Results) {
    let mut wait = FIRST_WAIT;
    let transcript = loop {
        match server.transcript(record).await {
            Ok(transcript) => break transcript,
            Err(error) => tracing::warn!(session = %record.id, "{error}"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    };
    let results = match &document.active {
        Some(active) if active.calls.iter().any(|call| call.state == CallState::Done) => {
            results(server, record.id, active).await
        }
        _ => Results::new(),
    };
    (transcript, results)
}

/// Reads the results of the last reply's calls from the log.
async fn results(server: &Server, id: Uuid, active: &Active) -> Results {
    let mut results = Results::new();
    let (mut after, mut wait) = (active.reply_after, FIRST_WAIT);
    loop {
        let rows = match server.events(id, after, 256, PAGE_BYTES).await {
            Ok(rows) => rows,
            Err(error) => {
                tracing::warn!(session = %id, "{error}");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
                continue;
            }
        };
        let Some(last) = rows.last() else { return results };
        after = last.seq;
        for seen in
            rows.iter().filter_map(StoredEvent::of).filter(|seen| seen.kind == "agent.tool_result")
        {
            let call = active
                .calls
                .iter()
                .position(|call| Some(call.event.as_str()) == seen.tool_use_id.as_deref());
            if let (Some(call), Some(content)) = (call, seen.content) {
                results.insert(call, (content.to_owned(), seen.is_error));
            }
        }
    }
}

/// Loads the stored session. Repeats failed reads until the store answers.
async fn load(server: &Server, id: Uuid) -> Option<Box<Record>> {
    let mut wait = FIRST_WAIT;
    loop {
        match server.store.load(id).await {
            Ok(record) => return record.map(Box::new),
            Err(error) => tracing::warn!(session = %id, "{error}"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Waits for a version that is newer than this one.
async fn newer(versions: &mut watch::Receiver<Option<u64>>, version: u64) {
    // The sender lives as long as the session is watched, and the caller watches it.
    let _ = versions.wait_for(|now| now.is_none_or(|now| now > version)).await;
}

async fn past(deadline: &mut Option<Pin<Box<Sleep>>>) {
    match deadline {
        Some(sleep) => sleep.await,
        None => core::future::pending().await,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Passes previews to watchers, and counts requests and calls.
struct Seer {
    server: Arc<Server>,
    live: Arc<Live>,
}

impl Watcher for Seer {
    fn preview(&self, preview: Preview) {
        self.live.preview(preview);
    }

    fn model_request(&self) {
        self.server.metrics.model_request();
    }

    fn tool_call(&self, name: &str, is_error: bool) {
        self.server.metrics.tool_call(name, is_error);
    }
}
