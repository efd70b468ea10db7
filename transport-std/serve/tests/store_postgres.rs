//! The Postgres store keeps the promises of all stores, also when a process is killed or the
//! database is restarted.
//!
//! The environment variable `TOOLRUNNER_TEST_POSTGRES` is the URL of a server without a database,
//! such as `postgres://me:secret@localhost:5432`; it has empty databases `suite`, `kills` and
//! `errors`. `tests/stores.py` starts one.

use std::process::Command;
use std::sync::Arc;

use toolrunner_serve::store::conformance::crash::{Plan, kill_writers, write_until_killed};
use toolrunner_serve::store::conformance::{Subject, suite};
use toolrunner_serve::store::{PostgresStore, Store};

fn url(database: &str) -> String {
    let server = std::env::var("TOOLRUNNER_TEST_POSTGRES").expect("TOOLRUNNER_TEST_POSTGRES");
    format!("{server}/{database}")
}

async fn open(database: &str) -> Arc<dyn Store> {
    Arc::new(PostgresStore::connect(&url(database)).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs a Postgres server"]
async fn keeps_the_promises() {
    suite(Subject {
        open: Box::new(|| Box::pin(open("suite"))),
        shared: true,
        crowd: 230,
        history: 10_000,
        largest: 16 << 20,
        rounds: 30,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Postgres server"]
async fn the_index_of_an_older_version_is_replaced() {
    open("errors").await.close().await.unwrap();
    let (client, connection) =
        tokio_postgres::connect(&url("errors"), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let older = "DROP INDEX toolrunner_sessions_held;
        CREATE INDEX toolrunner_sessions_at_work ON toolrunner_sessions (n) WHERE status = 'running'";
    client.batch_execute(older).await.unwrap();
    open("errors").await.close().await.unwrap();
    let found = "SELECT indexname FROM pg_indexes WHERE indexdef LIKE '%WHERE%holder IS NOT NULL%' OR indexname LIKE '%at_work'";
    let found = client.query(found, &[]).await.unwrap();
    let names: Vec<String> = found.iter().map(|row| row.get(0)).collect();
    assert_eq!(names, ["toolrunner_sessions_held"]);
}

const NAME: &str = "killed";
const WRITER: &str = "TOOLRUNNER_TEST_WRITER";

/// What [`survives_kills`] starts: this test does nothing by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer() {
    if std::env::var_os(WRITER).is_some() {
        write_until_killed(open("kills").await, NAME).await;
    }
}

/// Two processes write to one database and are killed; in some runs the server is stopped at once
/// and started again, by the command `TOOLRUNNER_TEST_POSTGRES_RESTART`. `TOOLRUNNER_KILLS` says
/// how often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Postgres server"]
async fn survives_kills() {
    let runs = std::env::var("TOOLRUNNER_KILLS").map_or(10, |runs| runs.parse().unwrap());
    let restart = std::env::var("TOOLRUNNER_TEST_POSTGRES_RESTART").ok();
    let seen = kill_writers(Plan {
        name: NAME,
        open: &|| Box::pin(open("kills")),
        writer: &|| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "writer", "--nocapture"]).env(WRITER, "1");
            command
        },
        writers: 2,
        runs,
        before: &|run| {
            if let Some(restart) = restart.as_deref().filter(|_| run % 5 == 4) {
                assert!(Command::new("sh").args(["-c", restart]).status().unwrap().success());
                // The writers go on with new connections.
                std::thread::sleep(core::time::Duration::from_millis(300));
            }
        },
    })
    .await;
    println!("postgres: {runs} kills of 2 processes, {seen:?}");
    assert!(seen.kept > runs, "{seen:?}");
}

#[tokio::test]
async fn errors_do_not_show_the_password() {
    let refused = [
        (
            "postgres://me:hunter2@127.0.0.1:1/none",
            "Postgres cannot be reached: error connecting to server: Connection refused",
        ),
        (
            "postgres://me:hunter2@no-such-host.invalid/none",
            "Postgres cannot be reached: error connecting to server: ",
        ),
        ("postgres://me:hunter2", "the Postgres URL is not valid"),
        // Characters that would have to be encoded.
        ("postgres://me:hun/ter2@127.0.0.1:1/none", "Postgres"),
        ("postgres://me:hun@hunter2@127.0.0.1:1/none", "Postgres"),
        ("postgres://me:x@127.0.0.1:1/none?hunter2=1", "the Postgres URL is not valid"),
        (
            "postgres://me:%hunter2@127.0.0.1:1/none?sslmode=hunter2",
            "the Postgres URL is not valid",
        ),
        ("host=127.0.0.1 password='hunter2", "the Postgres URL is not valid"),
    ];
    for (url, expected) in refused {
        let error = PostgresStore::connect(url).await.unwrap_err();
        for text in [error.to_string(), format!("{error:?}"), format!("{error:#?}")] {
            assert!(!text.contains("hunter2") && !text.contains("ter2"), "{url}: {text}");
        }
        assert!(error.to_string().contains(expected), "{url}: {error}");
    }
}

#[tokio::test]
#[ignore = "needs a Postgres server"]
async fn errors_say_what_the_server_says() {
    let error = PostgresStore::connect(&url("missing")).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "Postgres cannot be reached: database \"missing\" does not exist (SQLSTATE 3D000)"
    );
    let store = PostgresStore::connect(&url("errors")).await.unwrap();
    assert!(!format!("{store:?}").contains("secret"), "{store:?}");
    store.ready().await.unwrap();
    store.close().await.unwrap();
    assert_eq!(
        store.ready().await.unwrap_err().to_string(),
        "Postgres cannot be reached: the store is closed"
    );
    // A newer version has been here.
    let (client, connection) =
        tokio_postgres::connect(&url("errors"), tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute("UPDATE toolrunner_schema SET version = 2").await.unwrap();
    let error = PostgresStore::connect(&url("errors")).await.unwrap_err().to_string();
    let expected = "the Postgres database was prepared by another version of this program (schema 2, this version knows 1)";
    assert_eq!(error, expected);
    client.batch_execute("UPDATE toolrunner_schema SET version = 1").await.unwrap();
    // A server that must not write is not ready.
    let store = PostgresStore::connect(&format!(
        "{}?options=-cdefault_transaction_read_only%3Don",
        url("errors")
    ))
    .await
    .unwrap();
    let error = store.ready().await.unwrap_err().to_string();
    assert_eq!(
        error,
        "Postgres: cannot execute INSERT in a read-only transaction (SQLSTATE 25006)"
    );
    drop(client);
    connection.await.unwrap().unwrap();
}
