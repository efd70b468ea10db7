//! The SQLite store keeps the promises of all stores, also when a process is killed or the file is damaged.

use std::process::Command;
use std::sync::Arc;

use toolrunner_serve::store::conformance::crash::{Plan, kill_writers, write_until_killed};
use toolrunner_serve::store::conformance::{Subject, suite};
use toolrunner_serve::store::{SqliteStore, Store};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_the_promises() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.db");
    let open = move || {
        let path = path.clone();
        Box::pin(async move { Arc::new(SqliteStore::open(path).unwrap()) as Arc<dyn Store> }) as _
    };
    suite(Subject { open: Box::new(open), shared: true, crowd: 230, history: 10_000, largest: 16 << 20, rounds: 30 }).await;
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
