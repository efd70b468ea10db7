//! A suite of checks that every [`Store`] must pass.
//!
//! A store's own tests call [`suite`] with a function that opens another handle to the same empty
//! store. The checks panic with their findings. [`crash`] complements the suite: it kills processes
//! while they write, and checks what they have stored.

pub mod crash;
mod leases;
mod log;
mod races;
mod sessions;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::{
    Commit, CommitResult, CreateResult, Holder, IdempotencyRecord, NewSession, Query, Record, Row,
    Status, Store, Summary, Timestamp,
};

/// The store that the suite tests, and the sizes of its tests.
pub struct Subject {
    /// Opens another handle to the same store, as another process would.
    pub open: Box<dyn Fn() -> BoxFuture<'static, Arc<dyn Store>> + Send + Sync>,
    /// Whether other processes can use the store, so that [`Store::changed`] must report changes.
    pub shared: bool,
    /// The number of sessions that expire at once. Should exceed what one request or transaction of
    /// the store removes.
    pub crowd: usize,
    /// The number of rows of the long history.
    pub history: usize,
    /// The number of bytes of the largest row.
    pub largest: usize,
    /// The number of rounds of each race.
    pub rounds: usize,
}

impl core::fmt::Debug for Subject {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Subject")
            .field("shared", &self.shared)
            .field("history", &self.history)
            .finish_non_exhaustive()
    }
}

/// Runs every check, one after another, and prints how long each took. The store must be empty, and
/// nothing else may use it.
///
/// # Panics
/// Panics if the store violates one of its guarantees.
pub async fn suite(subject: Subject) {
    let one = (subject.open)().await;
    let two = (subject.open)().await;
    macro_rules! run {
        ($($check:ident :: $name:ident ( $($argument:expr),* );)*) => {$(
            let start = std::time::Instant::now();
            $check::$name($($argument),*).await;
            println!("{:>8.1?}  {}", start.elapsed(), concat!(stringify!($check), "::", stringify!($name)));
        )*};
    }
    run! {
        // These checks count all sessions, so they run while there are no others.
        sessions::are_counted_and_limited(&one, &two);
        sessions::expire(&one, &two, subject.crowd);
        sessions::are_loaded_as_created(&one, &two);
        sessions::are_listed_in_order(&one, &two);
        sessions::are_deleted_whole(&one, &two);
        sessions::can_be_large(&one, &two, subject.largest);
        log::commits_change_what_they_name(&one, &two);
        log::refused_commits_change_nothing(&one, &two);
        log::is_read_in_pages(&one, &two);
        log::can_be_long(&one, &two, subject.history);
        log::answers_once_by_key(&one, &two);
        leases::fence_out_the_former_holder(&one, &two);
        leases::end_when_a_server_dies(&one, &two);
        races::one_of_many_commits_wins(&one, &two, subject.rounds);
        races::every_commit_counts_once(&one, &two, subject.rounds);
        races::one_key_creates_one_session(&one, &two, subject.rounds);
        races::one_key_commits_once(&one, &two, subject.rounds);
        races::one_server_takes_over(&one, &two, subject.rounds);
        races::a_limit_holds(&one, &two);
        races::a_session_is_deleted_once(&one, &two, subject.rounds);
    }
    if subject.shared {
        run! { leases::changes_are_noticed(&one, &two); }
    }
    one.ready().await.expect("the store is ready");
    two.close().await.expect("the second handle closes");
    one.close().await.expect("the first handle closes");
}

type Handle = Arc<dyn Store>;

fn new_session(owner: &str) -> NewSession {
    NewSession {
        id: Uuid::now_v7(),
        owner: owner.to_owned(),
        metadata: BTreeMap::new(),
        now: Timestamp(1_000),
        expires: None,
        messages: 0,
        document: Bytes::from_static(b"{}"),
        base: None,
        limit: None,
        idempotent: None,
    }
}

/// Creates a session with its own owner.
async fn session(store: &Handle) -> Record {
    let new = new_session(&format!("owner-{}", Uuid::new_v4()));
    let id = new.id;
    assert_eq!(store.create(new).await.unwrap(), CreateResult::Done);
    load(store, id).await
}

async fn load(store: &Handle, id: Uuid) -> Record {
    store.load(id).await.unwrap().expect("the session is there")
}

/// Returns a change of this record with this many rows.
fn change(record: &Record, rows: usize) -> Commit {
    Commit {
        id: record.id,
        expect: record.version,
        fence: None,
        token: Uuid::new_v4(),
        now: record.updated.after(Duration::from_millis(1)),
        expires: record.expires,
        status: record.status,
        messages: record.messages,
        document: record.document.clone(),
        rows: (record.head + 1..).take(rows).map(row).collect(),
        holder: Holder::Keep,
        idempotent: None,
    }
}

/// Returns a row. Every third row has a patch.
fn row(seq: u64) -> Row {
    let patch = seq.is_multiple_of(3).then(|| format!("patch {seq}").into());
    Row { seq, event: format!("{{\"seq\":{seq}}}").into(), patch }
}

fn idempotent(scope: &str, key: &str) -> IdempotencyRecord {
    IdempotencyRecord {
        scope: scope.to_owned(),
        key: key.to_owned(),
        fingerprint: Bytes::from_static(b"\x00\xff\x27"),
        answer: format!("answer to {key}").into(),
        expires: Timestamp(u64::from(u32::MAX) * 1_000),
    }
}

async fn commit(store: &Handle, commit: Commit) -> Record {
    let id = commit.id;
    assert_eq!(store.commit(commit).await.unwrap(), CommitResult::Done);
    load(store, id).await
}

fn query(owner: &str) -> Query {
    Query { owner: owner.to_owned(), limit: 1_000, ..Query::default() }
}

async fn list(store: &Handle, query: Query) -> Vec<Summary> {
    store.list(query).await.unwrap().sessions
}

/// Runs `work` in `tasks` concurrent tasks, alternately on the two handles, and returns the
/// results.
async fn at_once<T, F, W>(one: &Handle, two: &Handle, tasks: usize, work: F) -> Vec<T>
where
    T: Send + 'static,
    F: Fn(usize, Handle) -> W,
    W: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(tokio::sync::Barrier::new(tasks));
    let mut running = Vec::new();
    for task in 0..tasks {
        let store = Arc::clone(if task % 2 == 0 { one } else { two });
        let (start, work) = (Arc::clone(&start), work(task, store));
        running.push(tokio::spawn(async move {
            start.wait().await;
            work.await
        }));
    }
    let mut results = Vec::new();
    for task in running {
        results.push(task.await.expect("a task of the race"));
    }
    results
}

/// Returns a status that differs from the given one.
const fn other(status: Status) -> Status {
    match status {
        Status::Idle => Status::Error,
        Status::Running | Status::Interrupted | Status::Error => Status::Idle,
    }
}
