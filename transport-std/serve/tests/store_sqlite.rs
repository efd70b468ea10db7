//! The SQLite store keeps the promises of all stores, also when a process is killed or the file is
//! damaged.

use core::time::Duration;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use toolrunner_serve::Timestamp;
use toolrunner_serve::store::conformance::crash::{Plan, kill_writers, write_until_killed};
use toolrunner_serve::store::conformance::{Subject, suite};
use toolrunner_serve::store::{
    Commit, CommitResult, Holder, NewSession, Part, Record, Row, SqliteStore, Status, Store,
};
use uuid::Uuid;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_promises() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let open = move || {
        let path = path.clone();
        Box::pin(async move { Arc::new(SqliteStore::open(path).unwrap()) as Arc<dyn Store> }) as _
    };
    suite(Subject {
        open: Box::new(open),
        shared: true,
        crowd: 230,
        history: 10_000,
        largest: 16 << 20,
        rounds: 30,
    })
    .await;
}

const NAME: &str = "killed";
const PATH: &str = "TOOLRUNNER_TEST_SQLITE";

/// What [`survives_kills`] starts: this test does nothing by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer() {
    if let Ok(path) = std::env::var(PATH) {
        write_until_killed(Arc::new(SqliteStore::open(path).unwrap()), NAME).await;
    }
}

/// Two processes write to one file and are killed. `TOOLRUNNER_KILLS` says how often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survives_kills() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let runs = std::env::var("TOOLRUNNER_KILLS").map_or(10, |runs| runs.parse().unwrap());
    let seen = kill_writers(Plan {
        name: NAME,
        open: &|| {
            let store = SqliteStore::open(&path).unwrap();
            Box::pin(async move { Arc::new(store) as Arc<dyn Store> })
        },
        writer: &|| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "writer", "--nocapture"]).env(PATH, &path);
            command
        },
        writers: 2,
        runs,
        before: &|_| {},
    })
    .await;
    println!("sqlite: {runs} kills of 2 processes, {seen:?}");
    assert!(seen.kept > runs, "{seen:?}");
}

async fn record(store: &SqliteStore, id: Uuid) -> Record {
    store.load(id).await.unwrap().unwrap()
}

fn new_session() -> NewSession {
    NewSession {
        id: Uuid::now_v7(),
        owner: String::new(),
        metadata: BTreeMap::new(),
        now: Timestamp(1),
        expires: None,
        messages: 0,
        document: Bytes::from_static(b"first"),
        base: None,
        limit: None,
        idempotent: None,
    }
}

fn change(record: &Record, text: &str) -> Commit {
    Commit {
        id: record.id,
        expect: record.version,
        fence: None,
        token: Uuid::now_v7(),
        now: Timestamp(2),
        expires: None,
        status: Status::Idle,
        messages: 0,
        document: text.to_owned().into(),
        rows: vec![Row { seq: record.head + 1, event: text.repeat(200).into(), patch: None }],
        holder: Holder::Keep,
        idempotent: None,
    }
}

/// A database with 40 commits, none of them in the main file yet; and how long the log was after
/// each.
async fn written(path: &Path) -> (Uuid, SqliteStore, Vec<u64>) {
    let store = SqliteStore::open(path).unwrap();
    let new = new_session();
    let id = new.id;
    store.create(new).await.unwrap();
    let wal = path.with_extension("db-wal");
    let mut ends = vec![fs::metadata(&wal).unwrap().len()];
    for number in 1..=40 {
        let now = record(&store, id).await;
        assert_eq!(
            store.commit(change(&now, &format!("commit {number};"))).await.unwrap(),
            CommitResult::Done
        );
        ends.push(fs::metadata(&wal).unwrap().len());
    }
    (id, store, ends)
}

/// Copies of the file and its log as they are after a loss of power: the log ends, or holds
/// rubbish, anywhere behind what was synced.
#[tokio::test]
async fn opens_what_was_synced_after_a_torn_write() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whole.db");
    let (id, store, ends) = written(&path).await;
    let (whole, log) = (fs::read(&path).unwrap(), fs::read(path.with_extension("db-wal")).unwrap());
    for (number, end) in ends.iter().enumerate().step_by(3) {
        let end = usize::try_from(*end).unwrap();
        let next = ends.get(number + 1).map_or(end + 5_000, |next| usize::try_from(*next).unwrap());
        // Cut exactly there, in a frame's head, in a page, and just before the end of the next
        // commit.
        for (more, is_rubbish) in
            [(0, false), (9, false), (2_000, false), (next - end - 1, false), (2_000, true)]
        {
            let copy = folder.path().join(format!("copy-{number}-{more}-{is_rubbish}.db"));
            fs::write(&copy, &whole).unwrap();
            let mut log = log[..(end + more).min(log.len())].to_vec();
            if is_rubbish {
                log.truncate(end);
                log.extend((0..more).map(|at| u8::try_from(at * 31 % 251).unwrap()));
            }
            fs::write(copy.with_extension("db-wal"), log).unwrap();
            let store = SqliteStore::open(&copy).unwrap();
            let now = record(&store, id).await;
            assert_eq!(
                (now.version, now.head),
                (number as u64 + 1, number as u64),
                "{}",
                copy.display()
            );
            let rows = store.rows(id, 0, 100, usize::MAX, Part::Events).await.unwrap();
            assert_eq!(rows.len(), number);
            // It goes on from there.
            assert_eq!(store.commit(change(&now, "after")).await.unwrap(), CommitResult::Done);
            store.close().await.unwrap();
            for file in ["db", "db-wal", "db-shm"] {
                let _ = fs::remove_file(copy.with_extension(file));
            }
        }
    }
    store.close().await.unwrap();
}

/// A database that lost a part of its main file, or has rubbish in it, is refused; it does not
/// pretend that sessions never existed.
#[tokio::test]
async fn refuses_a_damaged_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whole.db");
    let (id, store, _) = written(&path).await;
    store.close().await.unwrap();
    let whole = fs::read(&path).unwrap();
    assert!(!path.with_extension("db-wal").exists(), "closing a store leaves one file");
    let (half, mut rubbish) = (whole[..whole.len() / 2].to_vec(), whole.clone());
    rubbish[..100].fill(b'x');
    for (name, bytes, expected) in [
        ("half", half, "database disk image is malformed"),
        ("rubbish", rubbish, "file is not a database"),
        (
            "text",
            b"these are notes, and nobody wants to lose them".repeat(100),
            "file is not a database",
        ),
    ] {
        let copy = folder.path().join(name);
        fs::write(&copy, &bytes).unwrap();
        let opened = SqliteStore::open(&copy);
        let error = match opened {
            Err(error) => error,
            // Damage that only shows where it is read.
            Ok(store) => store.load(id).await.unwrap_err(),
        };
        assert!(error.to_string().contains(expected), "{name}: {error}");
        assert_eq!(fs::read(&copy).unwrap(), bytes, "{name}: it stays as it is");
    }
}

#[tokio::test]
async fn refuses_what_is_not_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    SqliteStore::open(&path).unwrap().close().await.unwrap();
    let refused = |path: &Path| SqliteStore::open(path).unwrap_err().to_string();
    let name = path.display();

    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 2).unwrap();
    let newer = "a newer version of this program wrote it (its schema is 2, this version knows 1)";
    assert_eq!(refused(&path), format!("the SQLite database {name} cannot be opened: {newer}"));
    connection.pragma_update(None, "application_id", 7).unwrap();
    assert_eq!(
        refused(&path),
        format!("the SQLite database {name} cannot be opened: it belongs to another program")
    );

    let missing = folder.path().join("no/such/folder.db");
    let text = format!(
        "the SQLite database {} cannot be opened: No such file or directory (os error 2)",
        missing.display()
    );
    assert_eq!(refused(&missing), text);
    assert!(refused(folder.path()).ends_with("(os error 17)"), "{}", refused(folder.path()));
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_for_their_owner() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let store = SqliteStore::open(&path).unwrap();
    store.create(new_session()).await.unwrap();
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{}",
            file.path().display()
        );
    }
    store.close().await.unwrap();
    // What the owner has chosen stays.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    SqliteStore::open(&path).unwrap().close().await.unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

/// Two handles on one file, both with more work than they can do: neither waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_busy_processes_share_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let start = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let store = Arc::new(SqliteStore::open(&path).unwrap());
        for _ in 0..8 {
            let store = Arc::clone(&store);
            tasks.push(tokio::spawn(async move {
                let new = new_session();
                let id = new.id;
                store.create(new).await.unwrap();
                let (mut count, mut longest) = (0_u32, Duration::ZERO);
                while start.elapsed() < Duration::from_secs(2) {
                    let now = record(&store, id).await;
                    let begin = Instant::now();
                    assert_eq!(
                        store.commit(change(&now, "busy")).await.unwrap(),
                        CommitResult::Done
                    );
                    longest = longest.max(begin.elapsed());
                    count += 1;
                }
                (count, longest)
            }));
        }
    }
    for task in tasks {
        let (count, longest) = task.await.unwrap();
        println!("{count} commits, the longest took {longest:?}");
        assert!(
            count > 0 && longest < Duration::from_secs(5),
            "{count} commits, the longest took {longest:?}"
        );
    }
}

/// Commits in a second by 1, 8 and 32 clients. Printed, not judged: `cargo test --release --test
/// store_sqlite -- --ignored --nocapture figures`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures"]
async fn figures() {
    let folder = tempfile::tempdir_in(".").unwrap();
    let store = Arc::new(SqliteStore::open(folder.path().join("sessions.db")).unwrap());
    let gate = Arc::new(tokio::sync::Mutex::new(()));
    for clients in [1_u32, 8, 32] {
        // One commit at a time has the disk for itself, as without gathering.
        for is_shared in [false, true] {
            let start = Instant::now();
            let mut tasks = Vec::new();
            for _ in 0..clients {
                let (store, gate) = (Arc::clone(&store), Arc::clone(&gate));
                tasks.push(tokio::spawn(async move {
                    let new = NewSession { document: vec![7; 4_096].into(), ..new_session() };
                    let id = new.id;
                    store.create(new).await.unwrap();
                    let mut now = record(&store, id).await;
                    let mut count = 0_u32;
                    while start.elapsed() < Duration::from_secs(4) {
                        let next = Commit { document: now.document.clone(), ..change(&now, "x") };
                        let alone = if is_shared { None } else { Some(gate.lock().await) };
                        assert_eq!(store.commit(next).await.unwrap(), CommitResult::Done);
                        drop(alone);
                        (now.version, now.head) = (now.version + 1, now.head + 1);
                        count += 1;
                    }
                    count
                }));
            }
            let mut total = 0;
            for task in tasks {
                total += task.await.unwrap();
            }
            let way = if is_shared { "together" } else { "one by one" };
            println!(
                "{clients:>2} clients, {way:>10}: {:>6.0} commits/s",
                f64::from(total) / start.elapsed().as_secs_f64()
            );
        }
    }
}
