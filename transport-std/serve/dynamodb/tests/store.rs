//! The DynamoDB store keeps the promises of all stores, on two servers that answer as DynamoDB
//! does.
//!
//! `TOOLRUNNER_TEST_MOTO` and `TOOLRUNNER_TEST_DYNALITE` are their URLs; dynalite keeps its data
//! when it is killed and started again by the command `TOOLRUNNER_TEST_DYNALITE_RESTART`.
//! `tests/stores.py` starts both.

use std::process::Command;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use toolrunner_serve::store::Store;
use toolrunner_serve::store::conformance::crash::{Plan, kill_writers, write_until_killed};
use toolrunner_serve::store::conformance::{Subject, suite};
use toolrunner_serve_dynamodb::DynamoStore;

fn client(server: &str) -> Client {
    let url = std::env::var(server).unwrap_or_else(|_| panic!("{server} is not set"));
    let http = aws_smithy_http_client::Builder::new().build_http();
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "secret", None, None, "test"))
        .endpoint_url(url)
        .http_client(http);
    Client::from_conf(config.build())
}

async fn open(server: &'static str, table: &'static str) -> Arc<dyn Store> {
    Arc::new(DynamoStore::with_client(client(server), table).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs moto"]
async fn keeps_the_promises_on_moto() {
    let open = || Box::pin(open("TOOLRUNNER_TEST_MOTO", "suite")) as _;
    suite(Subject {
        open: Box::new(open),
        shared: true,
        crowd: 101,
        history: 10_000,
        largest: 2 << 20,
        rounds: 5,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs dynalite"]
async fn keeps_the_promises_on_dynalite() {
    let open = || Box::pin(open("TOOLRUNNER_TEST_DYNALITE", "suite")) as _;
    suite(Subject {
        open: Box::new(open),
        shared: true,
        crowd: 101,
        history: 10_000,
        largest: 2 << 20,
        rounds: 5,
    })
    .await;
}

const NAME: &str = "killed";
const WRITER: &str = "TOOLRUNNER_TEST_WRITER";

/// What [`survives_kills`] starts: this test does nothing by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer() {
    if std::env::var_os(WRITER).is_some() {
        write_until_killed(open("TOOLRUNNER_TEST_DYNALITE", "kills").await, NAME).await;
    }
}

/// Two processes write to one table and are killed; in some runs dynalite is killed with them and
/// started again. `TOOLRUNNER_KILLS` says how often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs dynalite"]
async fn survives_kills() {
    let runs = std::env::var("TOOLRUNNER_KILLS").map_or(10, |runs| runs.parse().unwrap());
    let restart = std::env::var("TOOLRUNNER_TEST_DYNALITE_RESTART").unwrap();
    let seen = kill_writers(Plan {
        name: NAME,
        open: &|| Box::pin(open("TOOLRUNNER_TEST_DYNALITE", "kills")),
        writer: &|| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "writer", "--nocapture"]).env(WRITER, "1");
            command
        },
        writers: 2,
        runs,
        before: &|run| {
            if run % 5 == 4 {
                assert!(Command::new(&restart).status().unwrap().success());
                std::thread::sleep(core::time::Duration::from_millis(300));
            }
        },
    })
    .await;
    println!("dynalite: {runs} kills of 2 processes, {seen:?}");
    assert!(seen.kept > runs, "{seen:?}");
}
