//! The server behind the HTTP interface: applies commands, holds turns, takes over from the dead,
//! cleans up.

mod cache;
mod held;
mod hold;
mod housekeeping;
mod hub;
mod metrics;
mod webhook;

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::agent::Agent;
use crate::chat::{ChatMessage, ChatRole};
use crate::engine::{
    Change, Context, Document, Patch, RandomIds, Refusal, Rules, Seen, SeenError, Stop,
};
use crate::store::{
    Committed, Deleted, Holder, Idempotent, Part, Record, Row, Status, Store, StoreError, Timestamp,
};

pub(crate) use hub::Live;
pub(crate) use webhook::{check_url, key_of};

/// About how many bytes of the log are read at once.
pub(crate) const PAGE_BYTES: usize = 256 << 10;

/// How a server behaves. The defaults are those of the command line.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// Most turns at once; `None` for as many as come. Further turns wait.
    pub workers: Option<usize>,
    /// How long an idle or failed session is kept after its last turn; `None` for ever.
    pub ttl: Option<Duration>,
    /// How long a turn may take, without the time that it waits for answers; `None` for ever.
    pub timeout: Option<Duration>,
    /// Most sessions; `None` for as many as the store takes.
    pub max_sessions: Option<u64>,
    /// Whether `PUT /sessions/{id}` lets clients choose ids.
    pub allow_custom_ids: bool,
    /// Whether webhooks may go to private, loopback and link-local addresses.
    pub allow_private_webhooks: bool,
    /// Most bytes of each content in spans: messages, inputs and results. `None` for no contents.
    pub trace_content: Option<usize>,
    /// Who may use the server; empty for everybody.
    pub tokens: crate::auth::Tokens,
    /// Origins of web pages that may use the server from a browser, besides its own page.
    pub origins: Vec<String>,
    /// Host names that requests may be addressed to, besides `localhost`, names without a dot and
    /// addresses; `None` for any.
    pub hosts: Option<Vec<String>>,
}

/// Why something could not be done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no such session, or it is another owner's.
    NotFound,
    Refused(Refusal),
    /// The session's version is another.
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

/// Makes the answer that the store keeps under an idempotency key, from the session as the command
/// leaves it.
pub(crate) type Keep<'a> = dyn Fn(&Record) -> Option<Idempotent> + Sync + 'a;

/// What a command came to.
#[derive(Debug)]
pub(crate) enum Applied {
    /// The session as it is now.
    Done(Box<Record>),
    /// The command was given before, with this key.
    Replay(Idempotent),
}

/// Serves an agent's sessions from one store.
pub(crate) struct Server {
    /// Unlike that of any other server, also of one on the same machine before.
    pub(crate) id: Uuid,
    pub(crate) agent: Agent,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) options: Options,
    pub(crate) rules: Rules,
    pub(crate) hub: hub::Hub,
    pub(crate) metrics: metrics::Metrics,
    cache: cache::Cache,
    held: held::Held,
    workers: Option<Semaphore>,
    running: AtomicUsize,
    is_draining: AtomicBool,
    /// Ends streams and long polls.
    pub(crate) drain: CancellationToken,
    /// Ends turns: they are released.
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
            held: held::Held::default(),
            running: AtomicUsize::new(0),
            is_draining: AtomicBool::new(false),
            drain: CancellationToken::new(),
            release: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Turns that this server works on.
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

    /// The session, if it is this owner's.
    pub(crate) async fn load(&self, id: Uuid, owner: &str) -> Result<Record, Failure> {
        let record = self.store.load(id).await?.filter(|record| record.owner == owner);
        record.ok_or(Failure::NotFound)
    }

    /// Changes a session by `command`, which is computed anew as long as others change it at the
    /// same time. `expect` is the version that the caller wants to change; `answer` makes what is
    /// remembered under the key.
    pub(crate) async fn apply(
        self: &Arc<Self>,
        id: Uuid,
        owner: &str,
        expect: Option<&(dyn Fn(u64) -> bool + Sync)>,
        idempotent: Option<&Keep<'_>>,
        command: impl Fn(&Record, Document, &mut Context<'_>) -> Result<Change, Refusal>,
    ) -> Result<Applied, Failure> {
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
                        return Ok(Applied::Done(Box::new(record)));
                    }
                    // So that the same answer is given again.
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
            // The turn that begins finds the conversation here and does not read the log.
            let known = if takes { self.conversation_after(&record, &commit.rows) } else { None };
            let token = commit.token;
            let committed = match self.store.commit(*commit).await {
                Ok(committed) => committed,
                // Whether it was applied is not known: the record tells.
                Err(error) => match self.store.load(id).await {
                    Ok(Some(now)) if now.token == token => Committed::Done,
                    _ => {
                        if takes {
                            self.held.doubt(id);
                        }
                        return Err(error.into());
                    }
                },
            };
            match committed {
                Committed::Done => {
                    self.hub.changed(id, Some(after.version));
                    if let Some(transcript) = known {
                        self.cache.put(id, after.head, &transcript);
                    }
                    if takes {
                        self.hold(after.clone());
                    }
                    return Ok(Applied::Done(Box::new(after)));
                }
                Committed::Replay(idempotent) => return Ok(Applied::Replay(idempotent)),
                Committed::Conflict(None) => return Err(Failure::NotFound),
                Committed::Conflict(Some(now)) => record = *now,
            }
        }
    }

    /// Deletes a session. A turn of it that runs ends.
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
                Deleted::Done => {
                    self.cache.forget(id);
                    self.hub.changed(id, None);
                    return Ok(());
                }
                Deleted::Missing => return Err(Failure::NotFound),
                Deleted::Conflict => {}
            }
        }
    }

    /// The conversation that the model sees, up to this head of the log.
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
                        "row {} of session {} does not fit the conversation before it",
                        row.seq, record.id
                    )));
                }
            }
        }
        Ok(transcript)
    }

    /// The conversation with these rows behind the record's, if the one before is known.
    fn conversation_after(&self, record: &Record, rows: &[Row]) -> Option<String> {
        let mut transcript = match self.cache.get(record.id) {
            Some((head, transcript)) if head == record.head => transcript.to_string(),
            _ if record.head == 0 && record.messages == 0 => String::new(),
            _ => return None,
        };
        let mut patches = rows.iter().filter_map(|row| row.patch.as_ref());
        patches.all(|patch| Patch::apply(patch, &mut transcript)).then_some(transcript)
    }

    /// The conversation that the session began with.
    async fn base(&self, id: Uuid) -> Result<Option<Base>, StoreError> {
        let Some(bytes) = self.store.base(id).await? else { return Ok(None) };
        let base = Base::from_bytes(&bytes);
        base.map(Some)
            .ok_or_else(|| StoreError::new(format!("the beginning of session {id} cannot be read")))
    }

    /// All messages of the session, as JSON objects in the shape of chat completions.
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

    /// Rows of a page of the log: at most this many, and about this many bytes.
    pub(crate) async fn events(
        &self,
        id: Uuid,
        after: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.store.rows(id, after, limit, bytes, Part::Events).await
    }

    /// The session as it was after a former turn: the one that began behind this row of the log.
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
            for seen in rows.iter().filter_map(Seen::of) {
                match &*seen.kind {
                    // The answer is the text of the last reply.
                    "span.model_request_start" => text.clear(),
                    "agent.message" => {
                        text = seen.content.and_then(crate::chat::text_of).unwrap_or_default();
                    }
                    "session.error" => document.error = seen.error.as_ref().map(SeenError::line),
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

    /// Why the session's last turn ended, by its last event.
    async fn last_stop(&self, record: &Record) -> Option<Stop> {
        let rows = self.events(record.id, record.head.checked_sub(1)?, 1, PAGE_BYTES).await.ok()?;
        Seen::of(rows.first()?)?.stop()
    }
}

/// What a session begins with, as it is stored.
pub(crate) struct Base {
    /// The messages as they were given: JSON objects with commas between.
    pub(crate) chat: String,
    /// What the model sees of them.
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

    pub(crate) fn to_bytes(&self) -> bytes::Bytes {
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
