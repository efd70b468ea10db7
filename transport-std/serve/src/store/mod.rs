//! Where sessions are kept.
//!
//! A [`Store`] keeps one [`Record`] a session and, beside it, the session's log: numbered [`Row`]s
//! that are only ever appended. Each change of a session is one [`Commit`]: it names the version
//! that it was made from, and the store applies it as a whole or refuses it as a whole. That is the
//! only primitive on which one turn at a time, takeover and at-most-once rest, so a store needs no
//! locks and no transactions that span requests.
//!
//! # Guarantees of every store
//! 1. **Durable.** When a method that changes something returns `Ok`, the change survives the death
//!    of the process, and for stores on disk the loss of power. The memory store survives neither;
//!    it has all other guarantees.
//! 2. **Atomic.** After a crash at any point a commit is there as a whole (record, rows,
//!    idempotency record) or not at all. A reader never sees rows beyond [`Record::head`], nor a
//!    record whose rows are missing.
//! 3. **Compare and set.** Of several commits that expect the same version exactly one succeeds.
//!    Every commit adds 1 to the version.
//! 4. **Fenced.** [`Holder::Take`] adds 1 to [`Record::fence`]. A commit that names another fence
//!    is refused, whatever its version.
//! 5. **Read your writes.** A load after a successful commit, by any process, sees that commit or a
//!    later one.
//! 6. **Recognizable.** [`Record::token`] is that of the last commit. A writer whose commit failed
//!    with an error does not know whether it was applied: it loads the record and compares the
//!    token.
//! 7. **Once by key.** A change with an [`Idempotent`] whose scope and key are known is refused
//!    with the answer that was stored with the first one, and changes nothing. Kept for at least
//!    [`IDEMPOTENCY_TTL`], also when the session is deleted meanwhile.
//!
//! No guarantee depends on clocks: all times are the caller's. A server whose clock is wrong can
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

/// How long an [`Idempotent`] is kept at least.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// What a method of a [`Store`] gives: a future that is boxed, so that stores can be chosen at run
/// time.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Keeps sessions. See the [module](self) for what every implementation guarantees.
///
/// Ids are unique over all owners. Methods may be called from many tasks at once. None may block its
/// thread for long: a store whose work takes longer than some 100 microseconds has threads of its
/// own. [`SqliteStore`] reads by key on the caller's thread ([`load`](Self::load),
/// [`versions`](Self::versions), [`recall`](Self::recall), [`count`](Self::count)): as a rule the
/// pages are in memory, and the way to another thread costs more than the read. A page that is not
/// in memory makes that thread wait for the disk. All other reads, and writes, are done on threads
/// of the store.
pub trait Store: Send + Sync + 'static {
    /// Adds a session with version 1, an empty log and fence 0.
    fn create(&self, session: NewSession) -> Answer<'_, Created>;

    /// The session's record; `None` if there is no such session.
    fn load(&self, id: Uuid) -> Answer<'_, Option<Record>>;

    /// What [`NewSession::base`] was; `None` if there was nothing, or there is no such session.
    fn base(&self, id: Uuid) -> Answer<'_, Option<Bytes>>;

    /// Applies one change, if the record's version, and its fence if one is named, are those that
    /// the change expects. See [`Commit`].
    fn commit(&self, commit: Commit) -> Answer<'_, Committed>;

    /// Rows of the session's log with `seq > after`, in order, up to [`Record::head`]. Empty if
    /// there are none, or no such session.
    ///
    /// At most `limit` rows, and no more once their bytes add up to `max_bytes`; but at least one,
    /// if there is one. With [`Part::Events`] the rows have no `patch`; with [`Part::Patches`] only
    /// rows that have a patch are returned, without their event.
    fn rows(
        &self,
        id: Uuid,
        after: u64,
        limit: usize,
        max_bytes: usize,
        part: Part,
    ) -> Answer<'_, Vec<Row>>;

    /// Sessions in order of creation. See [`Query`].
    fn list(&self, query: Query) -> Answer<'_, Page>;

    /// How many sessions there are, of all owners.
    fn count(&self) -> Answer<'_, u64>;

    /// Removes the session with its base and its log, whatever its status, if its version is
    /// `expect` or that is `None`.
    fn delete(&self, id: Uuid, expect: Option<u64>) -> Answer<'_, Deleted>;

    /// The answer stored under this key; `None` if there is none.
    fn recall(&self, scope: &str, key: &str) -> Answer<'_, Option<Idempotent>>;

    /// Says that `server` is alive, for sessions that it [holds](Record::holder), until `until`.
    /// The latest call counts.
    fn beat(&self, server: Uuid, until: Timestamp) -> Answer<'_, ()>;

    /// Sessions, at most `limit`, which somebody should work on and nobody does: those whose
    /// [holder](Record::holder) never [beat](Self::beat) or is not alive at `now` any more,
    /// whatever their status, and those whose status is [`Status::Running`] without a holder. Any
    /// order.
    fn orphans(&self, now: Timestamp, limit: usize) -> Answer<'_, Vec<Uuid>>;

    /// Removes sessions whose [`Record::expires`] is at or before `now`, idempotency records whose
    /// [`Idempotent::expires`] is, and servers that were last alive more than a day before. Returns
    /// the sessions that were removed. May stop early: it is called again.
    fn sweep(&self, now: Timestamp) -> Answer<'_, Vec<Uuid>>;

    /// The versions of these sessions, in the same order; `None` for those that do not exist.
    /// Cheap: it is asked often.
    fn versions(&self, ids: &[Uuid]) -> Answer<'_, Vec<Option<u64>>>;

    /// Returns when another process may have changed something since the last call. May return
    /// without a reason; must return within a second of a change. The default returns after 200 ms.
    /// A store that only one process uses never returns; one with a cheap way to know (`LISTEN`,
    /// SQLite's `data_version`) uses it.
    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(Duration::from_millis(200)))
    }

    /// Whether the store can be used now. Asked by `/ready`.
    fn ready(&self) -> Answer<'_, ()>;

    /// Finishes what is under way and closes files and connections. Nothing is called after it.
    fn close(&self) -> Answer<'_, ()> {
        Box::pin(core::future::ready(Ok(())))
    }
}

/// A kind of store that [`open`] does not know by itself.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The scheme of its URLs: what stands before the colon.
    pub scheme: &'static str,
    /// Opens a store. Gets what follows the colon.
    pub open: fn(String) -> Answer<'static, Arc<dyn Store>>,
}

/// Opens the store that a URL names: `memory:`, `sqlite:PATH`, `postgres://…` with the feature
/// `postgres`, or one of these kinds.
///
/// # Errors
/// The URL names no store that is known here, or the store cannot be opened.
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
        Some((scheme, _)) => {
            Err(StoreError::new(format!("no store is known for URLs of the scheme {scheme:?}")))
        }
        None => Err(StoreError::new("a store is named by a URL, such as `memory:`")),
    }
}

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// No turn is under way; the last one, if any, ended well or was cancelled.
    Idle,
    /// A turn is under way, or waits for a worker.
    Running,
    /// A turn waits for answers from outside. Nobody holds it.
    Interrupted,
    /// No turn is under way; the last one failed.
    Error,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Running, Self::Interrupted, Self::Error];

    /// The name, as it is stored and shown: `idle`, `running`, `interrupted` or `error`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Error => "error",
        }
    }

    /// The status of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A session as stored, without its base and its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The session's id.
    pub id: Uuid,
    /// Who may see it; empty if the server has no owners.
    pub owner: String,
    /// What the creator attached. Never changes.
    pub metadata: BTreeMap<String, String>,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last changed: [`Commit::now`] of the last commit, or `created`.
    pub updated: Timestamp,
    /// When [`Store::sweep`] may delete it; `None` for never.
    pub expires: Option<Timestamp>,
    /// 1 when created; each commit adds 1.
    pub version: u64,
    /// The `seq` of the log's last row; 0 while the log is empty.
    pub head: u64,
    /// What the session is doing.
    pub status: Status,
    /// How many messages it has.
    pub messages: u64,
    /// The server that works on it.
    pub holder: Option<Uuid>,
    /// 0 when created; each [`Holder::Take`] adds 1.
    pub fence: u64,
    /// [`Commit::token`] of the last commit; nil when created.
    pub token: Uuid,
    /// The session's state, for the engine alone. Usually below 10 KB; can hold several MB.
    pub document: Bytes,
}

impl Record {
    /// The record as `commit` makes it, if nothing stands against that.
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

/// A session to be created.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its id.
    pub id: Uuid,
    /// See [`Record::owner`].
    pub owner: String,
    /// See [`Record::metadata`].
    pub metadata: BTreeMap<String, String>,
    /// [`Record::created`] and `updated`.
    pub now: Timestamp,
    /// See [`Record::expires`].
    pub expires: Option<Timestamp>,
    /// See [`Record::messages`]. The status is [`Status::Idle`].
    pub messages: u64,
    /// See [`Record::document`].
    pub document: Bytes,
    /// The conversation that the session begins with: stored once, never changed. Can hold 32 MB.
    pub base: Option<Bytes>,
    /// Refuses with [`Created::Full`] if there are that many sessions already, of all owners.
    pub limit: Option<u64>,
    /// Makes the creation happen once by key.
    pub idempotent: Option<Idempotent>,
}

/// What became of [`Store::create`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// The session is there now.
    Done,
    /// There is a session of this id.
    Exists,
    /// There are as many sessions as the limit allows.
    Full,
    /// The key is known; nothing was created. Checked before the others.
    Replay(Idempotent),
}

/// One change of a session.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The session.
    pub id: Uuid,
    /// The version that it was made from.
    pub expect: u64,
    /// The fence that the writer holds; `None` if it holds nothing, as for a cancel that comes from
    /// another server.
    pub fence: Option<u64>,
    /// Becomes [`Record::token`]: unique to this commit.
    pub token: Uuid,
    /// Becomes [`Record::updated`].
    pub now: Timestamp,
    /// Becomes [`Record::expires`].
    pub expires: Option<Timestamp>,
    /// Becomes [`Record::status`].
    pub status: Status,
    /// Becomes [`Record::messages`].
    pub messages: u64,
    /// Becomes [`Record::document`].
    pub document: Bytes,
    /// Appended to the log. Their numbers follow [`Record::head`] without a gap; the last becomes
    /// the head. May be empty.
    pub rows: Vec<Row>,
    /// What becomes of [`Record::holder`].
    pub holder: Holder,
    /// Makes the change happen once by key.
    pub idempotent: Option<Idempotent>,
}

/// What a [`Commit`] does to [`Record::holder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// It stays.
    Keep,
    /// This server holds the session from now on; the fence grows by 1.
    Take(Uuid),
    /// Nobody holds it.
    Release,
}

/// What became of a [`Commit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It was applied; the record's version is `expect + 1`.
    Done,
    /// It was refused: version or fence are others. With the record as it is now; `None` if there
    /// is no such session.
    Conflict(Option<Box<Record>>),
    /// The key is known; nothing was changed. Checked before the version.
    Replay(Idempotent),
}

/// What became of [`Store::delete`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The session is gone.
    Done,
    /// Its version is another than was expected.
    Conflict,
    /// There was no such session.
    Missing,
}

/// A row of a session's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number: from 1, without gaps.
    pub seq: u64,
    /// The event, as clients see it: a JSON object.
    pub event: Bytes,
    /// How the event changes the conversation that the model sees, for the engine alone; `None` if
    /// it does not.
    pub patch: Option<Bytes>,
}

/// Which part of the rows is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `event`; `patch` is `None`.
    Events,
    /// Only rows with a `patch`; `event` is empty.
    Patches,
}

/// Which sessions [`Store::list`] returns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only those of this owner.
    pub owner: String,
    /// Only those behind this place: [`Page::next`] of the page before.
    pub after: Option<String>,
    /// At most that many; at least 1.
    pub limit: usize,
    /// Only those of this status.
    pub status: Option<Status>,
    /// Only those whose metadata has all these values.
    pub metadata: BTreeMap<String, String>,
}

/// A page of sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The sessions, in order of creation; those of one millisecond, by one store, too.
    pub sessions: Vec<Summary>,
    /// The place of the last, if more follow: of letters, digits, `-`, `_` and `.` only. It stays
    /// valid when sessions come and go.
    pub next: Option<String>,
}

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// See [`Record::id`].
    pub id: Uuid,
    /// See [`Record::metadata`].
    pub metadata: BTreeMap<String, String>,
    /// See [`Record::created`].
    pub created: Timestamp,
    /// See [`Record::updated`].
    pub updated: Timestamp,
    /// See [`Record::status`].
    pub status: Status,
    /// See [`Record::messages`].
    pub messages: u64,
}

/// A change that happens once by key, and what it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotent {
    /// Where the key counts. At most 200 bytes. A scope is that of creations, or that of the
    /// commits of one session: a store without transactions cannot tell which of two sessions was
    /// first.
    pub scope: String,
    /// The client's key. At most 255 bytes.
    pub key: String,
    /// What tells one request from another: the same key with another fingerprint is the client's
    /// mistake. The store does not compare it.
    pub fingerprint: Bytes,
    /// The answer, for the HTTP layer alone.
    pub answer: Bytes,
    /// When [`Store::sweep`] may remove it.
    pub expires: Timestamp,
}

/// Why a store could not do what it was asked. Whether a change was applied is not known then.
#[derive(Debug)]
pub struct StoreError {
    text: String,
    source: Option<Box<dyn core::error::Error + Send + Sync>>,
}

impl StoreError {
    /// Says in words what failed. No passwords: it is logged.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), source: None }
    }

    /// The same, with the error that caused it.
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
