//! Stores, which keep sessions.
//!
//! A [`Store`] keeps one [`Record`] per session and the session's log: numbered [`Row`]s that are
//! only ever appended. Each change of a session is one [`Commit`], which names the version that it
//! is based on. The store applies it as a whole or refuses it as a whole. One turn at a time,
//! takeover and at-most-once execution all rest on this one primitive, so a store needs no locks
//! and no transactions that span requests.
//!
//! # Guarantees of every store
//! 1. **Durable.** When a method that changes something returns `Ok`, the change survives the end
//!    of the process, and for stores on disk a loss of power. The memory store survives neither; it
//!    has all other guarantees.
//! 2. **Atomic.** After a crash at any point a commit is stored as a whole (record, rows,
//!    idempotency record) or not at all. A reader never sees rows beyond [`Record::head`], nor a
//!    record whose rows are missing.
//! 3. **Compare and set.** Of several commits that expect the same version exactly one succeeds.
//!    Every commit adds 1 to the version.
//! 4. **Fenced.** [`Holder::Take`] adds 1 to [`Record::fence`]. A commit that names another fence
//!    is refused, whatever its version.
//! 5. **Read your writes.** A load after a successful commit, by any process, sees that commit or a
//!    later one.
//! 6. **Recognizable.** [`Record::token`] is the token of the last commit. A writer whose commit
//!    returned an error does not know whether it was applied: it loads the record and compares the
//!    token.
//! 7. **Once per key.** A change with an [`IdempotencyRecord`] whose scope and key are known is
//!    refused with the answer that was stored with the first change, and changes nothing. The
//!    answer is kept for at least [`IDEMPOTENCY_TTL`], even if the session is deleted.
//!
//! No guarantee depends on clocks: the caller provides all times. A server whose clock is wrong can
//! take over a session too early, which the fence makes harmless.

#[cfg(feature = "testing")]
pub mod conformance;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use uuid::Uuid;

pub use crate::Timestamp;
pub use memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;

/// The minimum time for which an [`IdempotencyRecord`] is kept.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The result of a [`Store`]'s method: a boxed future, so that the store can be chosen at run time.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Keeps sessions. The [module](self) documents the guarantees of every implementation.
///
/// Ids are unique across all owners. Methods may be called from many tasks at once. No method may
/// block its thread for long: a store whose work takes longer than about 100 microseconds needs its
/// own threads. [`SqliteStore`] reads by key on the caller's thread ([`load`](Self::load),
/// [`versions`](Self::versions), [`recall`](Self::recall), [`count`](Self::count)): the pages are
/// usually in memory, and a switch to another thread costs more than the read. If a page is not in
/// memory, that thread waits for the disk. All other reads, and all writes, run on the store's
/// threads.
pub trait Store: Send + Sync + 'static {
    /// Adds a session with version 1, an empty log and fence 0.
    fn create(&self, session: NewSession) -> Answer<'_, CreateResult>;

    /// Returns the session's record, or `None` if the session does not exist.
    fn load(&self, id: Uuid) -> Answer<'_, Option<Record>>;

    /// Returns [`NewSession::base`], or `None` if there was none or the session does not exist.
    fn base(&self, id: Uuid) -> Answer<'_, Option<Bytes>>;

    /// Applies one change, if the record has the version that the change expects, and the fence, if
    /// the change names one. See [`Commit`].
    fn commit(&self, commit: Commit) -> Answer<'_, CommitResult>;

    /// Returns rows of the session's log with `seq > after`, in order, up to [`Record::head`].
    /// Returns none if there are no such rows or no such session.
    ///
    /// Returns at most `limit` rows, and no more once their bytes add up to `max_bytes`, but at
    /// least one row if there is one. With [`Part::Events`] the rows have no `patch`; with
    /// [`Part::Patches`] only rows that have a patch are returned, without their event.
    fn rows(
        &self,
        id: Uuid,
        after: u64,
        limit: usize,
        max_bytes: usize,
        part: Part,
    ) -> Answer<'_, Vec<Row>>;

    /// Lists sessions in order of creation. See [`Query`].
    fn list(&self, query: Query) -> Answer<'_, Page>;

    /// Returns whether this text has the form of [`Page::next`] of this store. By default every
    /// text has it.
    fn is_place(&self, _place: &str) -> bool {
        true
    }

    /// Returns the number of sessions of all owners.
    fn count(&self) -> Answer<'_, u64>;

    /// Removes the session with its base and its log, whatever its status, if its version is
    /// `expect` or `expect` is `None`.
    fn delete(&self, id: Uuid, expect: Option<u64>) -> Answer<'_, DeleteResult>;

    /// Returns the answer that is stored under this key, or `None`.
    fn recall(&self, scope: &str, key: &str) -> Answer<'_, Option<IdempotencyRecord>>;

    /// Records that `server` is alive until `until`, for the sessions that it
    /// [holds](Record::holder). The latest call counts.
    fn beat(&self, server: Uuid, until: Timestamp) -> Answer<'_, ()>;

    /// Returns sessions that need a server and have none, at most `limit`, in any order: those
    /// whose [holder](Record::holder) has never called [`beat`](Self::beat) or is no longer alive
    /// at `now`, whatever their status, and those whose status is [`Status::Running`] and that have
    /// no holder.
    fn orphans(&self, now: Timestamp, limit: usize) -> Answer<'_, Vec<Uuid>>;

    /// Removes sessions whose [`Record::expires`] is at or before `now`, idempotency records whose
    /// [`IdempotencyRecord::expires`] is at or before `now`, and servers that were last alive more
    /// than a day earlier. Returns the removed sessions. May stop early, because it is called
    /// again.
    fn sweep(&self, now: Timestamp) -> Answer<'_, Vec<Uuid>>;

    /// Returns the versions of these sessions, in the same order; `None` for those that do not
    /// exist. Must be cheap, because it is called often.
    fn versions(&self, ids: &[Uuid]) -> Answer<'_, Vec<Option<u64>>>;

    /// Waits until another process may have changed something since the last call. May return
    /// without a change; must return within a second of a change. The default implementation
    /// returns after 200 ms. A store that only one process uses never returns. One that can detect
    /// changes cheaply (`LISTEN`, SQLite's `data_version`) does so.
    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(Duration::from_millis(200)))
    }

    /// Checks whether the store can be used now. `/ready` calls this.
    fn ready(&self) -> Answer<'_, ()>;

    /// Finishes pending work and closes files and connections. No method is called after this.
    fn close(&self) -> Answer<'_, ()> {
        Box::pin(core::future::ready(Ok(())))
    }
}

/// A kind of store that [`open`] does not know by itself.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The scheme of its URLs: the part before the colon.
    pub scheme: &'static str,
    /// Opens a store. Receives the part of the URL after the colon.
    pub open: fn(String) -> Answer<'static, Arc<dyn Store>>,
}

/// Opens the store that a URL names: `memory:`, `sqlite:PATH`, `postgres://…` with the feature
/// `postgres`, or one of `kinds`.
///
/// # Errors
/// Returns an error if the URL's scheme is unknown, or the store cannot be opened.
pub async fn open(url: &str, kinds: &[Kind]) -> Result<Arc<dyn Store>, StoreError> {
    let kind = url
        .split_once(':')
        .and_then(|(scheme, rest)| Some((kinds.iter().find(|kind| kind.scheme == scheme)?, rest)));
    if let Some((kind, rest)) = kind {
        return (kind.open)(rest.to_owned()).await;
    }
    match url.split_once(':') {
        Some(("memory", "")) => Ok(Arc::new(MemoryStore::new())),
        #[cfg(feature = "sqlite")]
        Some(("sqlite", path)) if !path.is_empty() => {
            let path = path.to_owned();
            let opened = tokio::task::spawn_blocking(move || SqliteStore::open(path)).await;
            Ok(Arc::new(
                opened.map_err(|error| {
                    StoreError::new("the store cannot be opened").because(error)
                })??,
            ))
        }
        #[cfg(feature = "postgres")]
        Some(("postgres" | "postgresql", _)) => Ok(Arc::new(PostgresStore::connect(url).await?)),
        Some(("dynamodb", _)) => Err(StoreError::new(
            "a program that keeps sessions in DynamoDB needs the package toolrunner-serve-dynamodb",
        )),
        // Not the whole URL: it may hold a password.
        Some((scheme, _)) => Err(StoreError::new(format!("unknown store URL scheme {scheme:?}"))),
        None => Err(StoreError::new("a store must be a URL, such as `memory:`")),
    }
}

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// No turn is running; the last one, if any, succeeded or was cancelled.
    Idle,
    /// A turn is running, or waits for a worker.
    Running,
    /// A turn waits for answers from outside, and has no holder.
    Interrupted,
    /// No turn is running; the last one failed.
    Error,
}

impl Status {
    /// All statuses.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Running, Self::Interrupted, Self::Error];

    /// Returns the name that is stored and displayed: `idle`, `running`, `interrupted` or `error`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Error => "error",
        }
    }

    /// Returns the status with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A stored session, without its base and its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The session's id.
    pub id: Uuid,
    /// The owner, who alone may see the session; empty if the server has no owners.
    pub owner: String,
    /// The metadata that the session was created with. Never changes.
    pub metadata: BTreeMap<String, String>,
    /// When the session was created.
    pub created: Timestamp,
    /// When the session was last changed: [`Commit::now`] of the last commit, or `created`.
    pub updated: Timestamp,
    /// When [`Store::sweep`] may delete the session; `None` for never.
    pub expires: Option<Timestamp>,
    /// The version: 1 for a new session; each commit adds 1.
    pub version: u64,
    /// The `seq` of the log's last row; 0 while the log is empty.
    pub head: u64,
    /// What the session is doing.
    pub status: Status,
    /// The number of the session's messages.
    pub messages: u64,
    /// The server that works on the session.
    pub holder: Option<Uuid>,
    /// The fence: 0 for a new session; each [`Holder::Take`] adds 1.
    pub fence: u64,
    /// [`Commit::token`] of the last commit; nil for a new session.
    pub token: Uuid,
    /// The session's state, which only the engine reads. Usually below 10 KB; can contain several
    /// MB.
    pub document: Bytes,
}

impl Record {
    /// Returns the record after `commit`, provided that the store accepts the commit.
    #[must_use]
    pub fn after(&self, commit: &Commit) -> Self {
        let (holder, fence) = match commit.holder {
            Holder::Keep => (self.holder, self.fence),
            Holder::Take(server) => (Some(server), self.fence + 1),
            Holder::Release => (None, self.fence),
        };
        Self {
            id: self.id,
            owner: self.owner.clone(),
            metadata: self.metadata.clone(),
            created: self.created,
            updated: commit.now,
            expires: commit.expires,
            version: self.version + 1,
            head: self.head + commit.rows.len() as u64,
            status: commit.status,
            messages: commit.messages,
            holder,
            fence,
            token: commit.token,
            document: commit.document.clone(),
        }
    }
}

/// A session to create.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The session's id.
    pub id: Uuid,
    /// The owner, who alone may see the session: [`Record::owner`].
    pub owner: String,
    /// The session's metadata, which never changes: [`Record::metadata`].
    pub metadata: BTreeMap<String, String>,
    /// The time of the creation: [`Record::created`] and the first [`Record::updated`].
    pub now: Timestamp,
    /// When the session may be deleted, or `None` for never: [`Record::expires`].
    pub expires: Option<Timestamp>,
    /// The number of the session's messages: [`Record::messages`]. The status of a new session is
    /// [`Status::Idle`].
    pub messages: u64,
    /// The session's state, which only the engine reads: [`Record::document`].
    pub document: Bytes,
    /// The conversation that the session begins with. Stored once, never changed; can contain 32
    /// MB.
    pub base: Option<Bytes>,
    /// The maximum number of sessions of all owners: with that many, the store returns
    /// [`CreateResult::Full`].
    pub limit: Option<u64>,
    /// Makes the creation happen once per key.
    pub idempotent: Option<IdempotencyRecord>,
}

/// The result of [`Store::create`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CreateResult {
    /// The session was created.
    Done,
    /// A session with this id exists.
    Exists,
    /// The limit on the number of sessions is reached.
    Full,
    /// The key is known; nothing was created. Takes precedence over the other refusals.
    Replay(IdempotencyRecord),
}

/// One change of a session.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The session's id.
    pub id: Uuid,
    /// The version that the change is based on.
    pub expect: u64,
    /// The fence that the writer holds; `None` if it holds none, for example for a cancel from
    /// another server.
    pub fence: Option<u64>,
    /// Identifies this commit and no other. Becomes [`Record::token`].
    pub token: Uuid,
    /// The time of the change. Becomes [`Record::updated`].
    pub now: Timestamp,
    /// When the session may be deleted, or `None` for never. Becomes [`Record::expires`].
    pub expires: Option<Timestamp>,
    /// What the session is doing after the change. Becomes [`Record::status`].
    pub status: Status,
    /// The number of the session's messages after the change. Becomes [`Record::messages`].
    pub messages: u64,
    /// The session's state after the change, which only the engine reads. Becomes
    /// [`Record::document`].
    pub document: Bytes,
    /// Rows to append to the log. Their numbers follow [`Record::head`] without a gap, and the last
    /// one becomes the head. May be empty.
    pub rows: Vec<Row>,
    /// The change of [`Record::holder`].
    pub holder: Holder,
    /// Makes the change happen once per key.
    pub idempotent: Option<IdempotencyRecord>,
}

/// What a [`Commit`] does to [`Record::holder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The holder stays.
    Keep,
    /// This server becomes the holder; the fence grows by 1.
    Take(Uuid),
    /// The session has no holder any more.
    Release,
}

/// The result of a [`Commit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitResult {
    /// The commit was applied; the record's version is `expect + 1`.
    Done,
    /// The commit was refused, because the version or the fence differs. Contains the current
    /// record, or `None` if the session does not exist.
    Conflict(Option<Box<Record>>),
    /// The key is known; nothing was changed. Takes precedence over the version.
    Replay(IdempotencyRecord),
}

/// The result of [`Store::delete`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteResult {
    /// The session was removed.
    Done,
    /// The session has another version than expected.
    Conflict,
    /// The session does not exist.
    Missing,
}

/// A row of a session's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The row's number: from 1, without gaps.
    pub seq: u64,
    /// The event as clients receive it: a JSON object.
    pub event: Bytes,
    /// The event's change of the conversation that the model receives, which only the engine reads;
    /// `None` if there is no change.
    pub patch: Option<Bytes>,
}

/// Which part of the rows to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The `event`; `patch` is `None`.
    Events,
    /// Only rows with a `patch`; `event` is empty.
    Patches,
}

/// The sessions that [`Store::list`] returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only sessions of this owner.
    pub owner: String,
    /// Only sessions after this position: [`Page::next`] of the previous page.
    pub after: Option<String>,
    /// The maximum number of sessions; at least 1.
    pub limit: usize,
    /// Only sessions with this status.
    pub status: Option<Status>,
    /// Only sessions whose metadata contains all these values.
    pub metadata: BTreeMap<String, String>,
}

/// Parses a place that is a number.
pub(crate) fn number_of(place: &str) -> Option<i64> {
    place.parse().ok().filter(|number| *number >= 0)
}

/// A page of sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The sessions in order of creation, even if one store created them in the same millisecond.
    pub sessions: Vec<Summary>,
    /// The position of the last session, if more follow. Contains only letters, digits, `-`, `_`
    /// and `.`, and stays valid when sessions are created and deleted.
    pub next: Option<String>,
}

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The session's id: [`Record::id`].
    pub id: Uuid,
    /// The metadata that the session was created with: [`Record::metadata`].
    pub metadata: BTreeMap<String, String>,
    /// When the session was created: [`Record::created`].
    pub created: Timestamp,
    /// When the session was last changed: [`Record::updated`].
    pub updated: Timestamp,
    /// What the session is doing: [`Record::status`].
    pub status: Status,
    /// The number of the session's messages: [`Record::messages`].
    pub messages: u64,
}

/// The key of a change that happens once, and the answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// The scope of the key, at most 200 bytes. A scope belongs either to creations or to the
    /// commits of one session, because a store without transactions cannot tell which of two
    /// sessions was first.
    pub scope: String,
    /// The client's key, at most 255 bytes.
    pub key: String,
    /// Distinguishes requests: the same key with another fingerprint is the client's mistake. The
    /// store does not compare it.
    pub fingerprint: Bytes,
    /// The answer, which only the HTTP layer reads.
    pub answer: Bytes,
    /// When [`Store::sweep`] may remove it.
    pub expires: Timestamp,
}

/// Why a store could not carry out a request. It is unknown whether a change was applied.
#[derive(Debug)]
pub struct StoreError {
    text: String,
    source: Option<Box<dyn core::error::Error + Send + Sync>>,
}

impl StoreError {
    /// Creates an error with a description of what failed. The text is logged, so it must not
    /// contain passwords.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), source: None }
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
