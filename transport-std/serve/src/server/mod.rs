//! The server behind the HTTP interface: applies commands, holds turns, takes over turns of dead
//! servers, and deletes expired sessions.

mod cache;
mod held;
mod hold;
mod housekeeping;
mod hub;
mod long;
mod metrics;
#[cfg(test)]
mod tests;
mod webhook;

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::agent::Agent;
use crate::chat::{ChatMessage, ChatRole};
use crate::engine::{
    Change, Context, Document, ErrorDetail, Patch, RandomIds, Refusal, Rules, Stop, StoredEvent,
};
use crate::store::{
    CommitResult, DeleteResult, Holder, IdempotencyRecord, Part, Record, Row, Status, Store,
    StoreError, Timestamp,
};

pub(crate) use hub::Live;
pub(crate) use webhook::{check_url, key_of};

/// The approximate number of bytes of the log that are read at once.
pub(crate) const PAGE_BYTES: usize = 256 << 10;

/// The options of a server. The defaults are those of the command line.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// The maximum number of concurrent turns; `None` for no limit. Further turns wait.
    pub workers: Option<usize>,
    /// How long an idle or failed session is kept after its last turn; `None` to keep it forever.
    pub ttl: Option<Duration>,
    /// The time limit of a turn, without the time that it waits for answers; `None` for no limit.
    pub timeout: Option<Duration>,
    /// The maximum number of sessions; `None` for no limit.
    pub max_sessions: Option<u64>,
    /// Whether clients may choose ids with `PUT /sessions/{id}`.
    pub allow_custom_ids: bool,
    /// Whether webhooks may go to private, loopback and link-local addresses.
    pub allow_private_webhooks: bool,
    /// The maximum number of bytes of each content in spans (messages, inputs, results); `None` to
    /// record no contents.
    pub trace_content: Option<usize>,
    /// The tokens that the server accepts. Empty if anybody may use the server.
    pub tokens: crate::auth::Tokens,
    /// Origins of web pages that may use the server from a browser, besides its own page.
    pub origins: Vec<String>,
    /// Host names that requests may be addressed to, besides `localhost`, names without a dot and
    /// addresses; `None` for any name.
    pub hosts: Option<Vec<String>>,
}

/// Why a request could not be carried out.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The session does not exist, or it belongs to another owner.
    NotFound,
    Refused(Refusal),
    /// The session's version is not the expected one.
    Precondition,
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Builds the answer that the store keeps under an idempotency key, from the session after the
/// command.
pub(crate) type Keep<'a> = dyn Fn(&Record) -> Option<IdempotencyRecord> + Sync + 'a;

/// The result of a command.
#[derive(Debug)]
pub(crate) enum CommandResult {
    /// The command was applied. Contains the session after it.
    Done(Box<Record>),
    /// A command with this key was applied before.
    Replay(IdempotencyRecord),
}

/// Serves an agent's sessions from one store.
pub(crate) struct Server {
    /// Unique to this process: a restarted server has a new id.
    pub(crate) id: Uuid,
    pub(crate) agent: Agent,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) options: Options,
    pub(crate) rules: Rules,
    pub(crate) hub: hub::Hub,
    pub(crate) metrics: metrics::Metrics,
    cache: cache::Cache,
    long: long::LongEvents,
    held: held::HeldTurns,
    workers: Option<Semaphore>,
    running: AtomicUsize,
    is_draining: AtomicBool,
    /// Ends streams and long polls.
    pub(crate) drain: CancellationToken,
    /// Ends turns, which are then released.
    release: CancellationToken,
    tasks: TaskTracker,
    webhooks: webhook::Sender,
}

impl Server {
    pub(crate) fn new(agent: Agent, store: Arc<dyn Store>, options: Options) -> Arc<Self> {
        let rules = Rules {
            ttl: options.ttl,
            model: agent.model.clone(),
            system_messages: agent.system_messages,
        };
        Arc::new(Self {
            id: Uuid::now_v7(),
            workers: options.workers.map(Semaphore::new),
            webhooks: webhook::Sender::new(options.allow_private_webhooks),
            agent,
            store,
            options,
            rules,
            hub: hub::Hub::default(),
            metrics: metrics::Metrics::default(),
            cache: cache::Cache::default(),
            long: long::LongEvents::default(),
            held: held::HeldTurns::default(),
            running: AtomicUsize::new(0),
            is_draining: AtomicBool::new(false),
            drain: CancellationToken::new(),
            release: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Returns the number of turns that this server works on.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    fn with_context<T>(&self, f: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let mut ids = RandomIds;
        f(&mut Context {
            now: Timestamp::now(),
            server: self.id,
            ids: &mut ids,
            rules: &self.rules,
        })
    }

    /// Loads a session that belongs to this owner.
    pub(crate) async fn load(&self, id: Uuid, owner: &str) -> Result<Record, Failure> {
        let record = self.store.load(id).await?.filter(|record| record.owner == owner);
        record.ok_or(Failure::NotFound)
    }

    /// Changes a session with `command`, which is computed again whenever somebody else changes the
    /// session at the same time. `expect` decides whether the version is the one that the caller
    /// wants to change; `idempotent` builds the answer that is stored under the key.
    pub(crate) async fn apply(
        self: &Arc<Self>,
        id: Uuid,
        owner: &str,
        expect: Option<&(dyn Fn(u64) -> bool + Sync)>,
        idempotent: Option<&Keep<'_>>,
        command: impl Fn(&Record, Document, &mut Context<'_>) -> Result<Change, Refusal>,
    ) -> Result<CommandResult, Failure> {
        let mut record = self.load(id, owner).await?;
        loop {
            if expect.is_some_and(|fits| !fits(record.version)) {
                return Err(Failure::Precondition);
            }
            let document = Document::of(&record)?;
            let change = self.with_context(|context| command(&record, document, context))?;
            let mut commit =
                match change {
                    Change::Commit(commit) => commit,
                    Change::Nothing if idempotent.is_none() => {
                        return Ok(CommandResult::Done(Box::new(record)));
                    }
                    // An empty commit stores the answer, so that a repeated request receives it.
                    Change::Nothing => {
                        let document = Document::of(&record)?;
                        Box::new(self.with_context(|context| {
                            crate::engine::nothing(&record, document, context)
                        }))
                    }
                };
            let after = record.after(&commit);
            commit.idempotent = idempotent.and_then(|make| make(&after));
            let takes = matches!(commit.holder, Holder::Take(_));
            // The new turn finds the conversation in the cache and need not read the log.
            let known = if takes { self.conversation_after(&record, &commit.rows) } else { None };
            let token = commit.token;
            let committed = match self.store.commit(*commit).await {
                Ok(committed) => committed,
                // The outcome is unknown; the record shows whether the commit was applied.
                Err(error) => match self.store.load(id).await {
                    Ok(Some(now)) if now.token == token => CommitResult::Done,
                    _ => {
                        if takes {
                            self.held.doubt(id);
                        }
                        return Err(error.into());
                    }
                },
            };
            match committed {
                CommitResult::Done => {
                    self.hub.changed(id, Some(after.version));
                    if let Some(transcript) = known {
                        self.cache.put(id, after.head, &transcript);
                    }
                    if takes {
                        self.hold(after.clone());
                    }
                    return Ok(CommandResult::Done(Box::new(after)));
                }
                CommitResult::Replay(idempotent) => return Ok(CommandResult::Replay(idempotent)),
                CommitResult::Conflict(None) => return Err(Failure::NotFound),
                CommitResult::Conflict(Some(now)) => record = *now,
            }
        }
    }

    /// Deletes a session, and ends its running turn.
    pub(crate) async fn delete(
        &self,
        id: Uuid,
        owner: &str,
        expect: Option<&(dyn Fn(u64) -> bool + Sync)>,
    ) -> Result<(), Failure> {
        loop {
            let record = self.load(id, owner).await?;
            if expect.is_some_and(|fits| !fits(record.version)) {
                return Err(Failure::Precondition);
            }
            match self.store.delete(id, expect.map(|_| record.version)).await? {
                DeleteResult::Done => {
                    self.cache.forget(id);
                    self.hub.changed(id, None);
                    return Ok(());
                }
                DeleteResult::Missing => return Err(Failure::NotFound),
                DeleteResult::Conflict => {}
            }
        }
    }

    /// Returns the conversation that the model receives, up to the record's head.
    pub(crate) async fn transcript(&self, record: &Record) -> Result<String, StoreError> {
        let known = self.cache.get(record.id).filter(|(head, _)| *head <= record.head);
        let (mut after, mut transcript) = match known {
            Some((head, transcript)) => (head, transcript.to_string()),
            None => {
                (0, self.base(record.id).await?.map(|base| base.transcript).unwrap_or_default())
            }
        };
        while after < record.head {
            let rows = self.store.rows(record.id, after, 256, 1 << 20, Part::Patches).await?;
            let Some(last) = rows.last() else { break };
            after = last.seq;
            for row in rows.iter().filter(|row| row.seq <= record.head) {
                let fits =
                    row.patch.as_ref().is_some_and(|patch| Patch::apply(patch, &mut transcript));
                if !fits {
                    return Err(StoreError::new(format!(
                        "row {} of session {} does not continue the conversation before it",
                        row.seq, record.id
                    )));
                }
            }
        }
        Ok(transcript)
    }

    /// Returns the conversation after these rows, if the conversation before them is known.
    fn conversation_after(&self, record: &Record, rows: &[Row]) -> Option<String> {
        let mut transcript = match self.cache.get(record.id) {
            Some((head, transcript)) if head == record.head => transcript.to_string(),
            _ if record.head == 0 && record.messages == 0 => String::new(),
            _ => return None,
        };
        let mut patches = rows.iter().filter_map(|row| row.patch.as_ref());
        patches.all(|patch| Patch::apply(patch, &mut transcript)).then_some(transcript)
    }

    /// Returns the conversation that the session was created with.
    async fn base(&self, id: Uuid) -> Result<Option<Base>, StoreError> {
        let Some(bytes) = self.store.base(id).await? else { return Ok(None) };
        let base = Base::from_bytes(&bytes);
        base.map(Some).ok_or_else(|| {
            StoreError::new(format!("the first rows of session {id} cannot be read"))
        })
    }

    /// Returns all messages of the session, in the form of chat completions, as JSON.
    pub(crate) async fn messages(&self, record: &Record) -> Result<String, StoreError> {
        let base = self.base(record.id).await?.map(|base| base.chat).unwrap_or_default();
        let mut fold = crate::fold::Chat::new(base);
        let mut after = 0;
        while after < record.head {
            let rows = self.store.rows(record.id, after, 256, 1 << 20, Part::Events).await?;
            let Some(last) = rows.last() else { break };
            after = last.seq;
            rows.iter().filter(|row| row.seq <= record.head).for_each(|row| fold.see(row));
        }
        Ok(fold.into_json())
    }

    /// Returns a page of log rows: at most `limit` rows, and about `bytes` bytes.
    pub(crate) async fn events(
        &self,
        id: Uuid,
        after: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.store.rows(id, after, limit, bytes, Part::Events).await
    }

    /// Returns an event that is sent in pieces, or `None` if it is gone. Consecutive pieces usually
    /// find it in memory.
    pub(crate) async fn long_event(&self, id: Uuid, seq: u64) -> Result<Option<Bytes>, StoreError> {
        if let Some(event) = self.long.get(id, seq) {
            return Ok(Some(event));
        }
        let rows = self.events(id, seq - 1, 1, PAGE_BYTES).await?;
        let event = rows.into_iter().next().filter(|row| row.seq == seq).map(|row| row.event);
        if let Some(event) = &event {
            self.long.put(id, seq, event.clone());
        }
        Ok(event)
    }

    /// Frees the memory of an event whose last piece was sent.
    pub(crate) fn forget_long_event(&self, id: Uuid, seq: u64) {
        self.long.forget(id, seq);
    }

    /// Returns the session as it was after an earlier turn: the one that began after this row of
    /// the log.
    pub(crate) async fn after_turn(
        &self,
        record: &Record,
        mut after: u64,
    ) -> Result<Record, StoreError> {
        let mut then = Record { status: Status::Idle, ..record.clone() };
        let mut document = Document { active: None, ..Document::of(record)? };
        (document.response, document.error) = (None, None);
        let mut text = String::new();
        'log: loop {
            let rows = self.events(record.id, after, 256, PAGE_BYTES).await?;
            let Some(last) = rows.last() else { break };
            after = last.seq;
            for seen in rows.iter().filter_map(StoredEvent::of) {
                match &*seen.kind {
                    // The response is the text of the last reply.
                    "span.model_request_start" => text.clear(),
                    "agent.message" => {
                        text = seen.content.and_then(crate::chat::text_of).unwrap_or_default();
                    }
                    "session.error" => document.error = seen.error.as_ref().map(ErrorDetail::line),
                    _ => {}
                }
                match seen.stop() {
                    None | Some(Stop::RequiresAction) => continue,
                    Some(Stop::Error) => then.status = Status::Error,
                    Some(Stop::Cancelled) => {}
                    Some(_) => {
                        document.response = Some(ChatMessage::new(ChatRole::Assistant, text));
                    }
                }
                break 'log;
            }
        }
        then.document = serde_json::to_vec(&document).unwrap_or_default().into();
        Ok(then)
    }

    /// Returns why the session's last turn ended, according to its last event.
    async fn last_stop(&self, record: &Record) -> Option<Stop> {
        let rows = self.events(record.id, record.head.checked_sub(1)?, 1, PAGE_BYTES).await.ok()?;
        StoredEvent::of(rows.first()?)?.stop()
    }
}

/// The conversation that a session was created with, as it is stored.
pub(crate) struct Base {
    /// The messages as the client sent them: JSON objects separated by commas.
    pub(crate) chat: String,
    /// The messages in the form that the model receives.
    pub(crate) transcript: String,
}

impl Base {
    pub(crate) fn new(messages: &[ChatMessage], system_messages: bool) -> Self {
        let chat: Vec<String> = messages
            .iter()
            .map(|message| serde_json::to_string(message).unwrap_or_default())
            .collect();
        Self {
            chat: chat.join(","),
            transcript: crate::chat::transcript_of(messages, system_messages),
        }
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        let len = self.chat.len() as u64;
        [&len.to_be_bytes()[..], self.chat.as_bytes(), self.transcript.as_bytes()].concat().into()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (len, rest) = bytes.split_first_chunk::<8>()?;
        let (chat, transcript) = core::str::from_utf8(rest)
            .ok()?
            .split_at_checked(usize::try_from(u64::from_be_bytes(*len)).ok()?)?;
        Some(Self { chat: chat.to_owned(), transcript: transcript.to_owned() })
    }
}
