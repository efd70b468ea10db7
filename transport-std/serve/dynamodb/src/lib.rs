//! A store for [`toolrunner_serve`] that keeps sessions in DynamoDB.
//!
//! Any number of servers can share one table. Every guarantee of [`Store`] rests on a conditional
//! write of one item, so no transactions are needed. See [`DynamoStore`].
//!
//! The following program can keep its sessions in DynamoDB, with `start --store dynamodb:TABLE`:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     let agent = toolrunner_serve::Agent::from_env("claude-opus-4-7").system("Be brief.");
//!     toolrunner_serve::main_with(agent, &[toolrunner_serve_dynamodb::KIND])
//! }
//! ```

mod create;
mod item;
mod query;
mod session;
mod table;

use core::sync::atomic::{AtomicU64, Ordering};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_smithy_http_client::{Builder, tls};
use bytes::Bytes;
use toolrunner_serve::Timestamp;
use toolrunner_serve::store::{
    Answer, Commit, CommitResult, CreateResult, DeleteResult, IdempotencyRecord, Kind, NewSession,
    Page, Part, Query, Record, Row, Store, StoreError,
};
use uuid::Uuid;

use item::{Place, number};
use table::Table;

/// Stores with URLs of the form `dynamodb:TABLE`, for [`toolrunner_serve::main_with`].
pub const KIND: Kind = Kind { scheme: "dynamodb", open: |table| Box::pin(open(table)) };

async fn open(table: String) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(DynamoStore::connect(&table).await?))
}

/// The number of sessions whose last commit a process remembers.
const KNOWN: usize = 10_000;

/// Keeps sessions in one DynamoDB table.
///
/// A commit is one conditional update of the session's item, followed by a write of the rows that
/// it added. A process that did not make the last commit reads the item first. Documents, rows and
/// conversations of any size are split into parts. Reads of a session are consistent. A list may
/// briefly miss a new session, because indexes are updated with a delay. [`Store::count`] can be
/// too high by one for each server that died while it created or deleted a session.
///
/// [`Store::changed`] polls. Metadata must fit into an item together with the rest, which leaves
/// about 100 KB. The same limit applies to an idempotency record.
#[derive(Debug)]
pub struct DynamoStore {
    table: Table,
    known: Mutex<HashMap<Uuid, LastCommit>>,
    /// Orders sessions that are created in one millisecond.
    created: AtomicU64,
}

/// The last commit of a session, if this process made it and all its data has been written.
#[derive(Clone, Debug)]
struct LastCommit {
    life: Uuid,
    version: u64,
    document: Option<Place>,
}

impl DynamoStore {
    /// Uses the table with this name. Creates it, with on-demand billing, if it does not exist.
    ///
    /// Region, credentials and endpoint come from the SDK's environment: `AWS_REGION`,
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL_DYNAMODB`, profiles, or the
    /// role of the machine.
    ///
    /// # Errors
    /// Returns an error if DynamoDB cannot be reached or refuses the request, or if the table has
    /// another version.
    pub async fn connect(table: &str) -> Result<Self, StoreError> {
        let http = Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .build_https();
        let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
        Self::with_client(Client::new(&config), table).await
    }

    /// Uses the table with this name through `client`. Creates the table, with on-demand billing,
    /// if it does not exist.
    ///
    /// # Errors
    /// Returns an error if DynamoDB cannot be reached or refuses the request, or if the table has
    /// another version.
    pub async fn with_client(client: Client, table: &str) -> Result<Self, StoreError> {
        let table = Table { client, name: table.to_owned() };
        table.prepare().await?;
        Ok(Self { table, known: Mutex::default(), created: AtomicU64::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, LastCommit>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, id: Uuid, version: u64) -> Option<LastCommit> {
        self.lock().get(&id).filter(|known| known.version == version).cloned()
    }

    fn know(&self, id: Uuid, known: LastCommit) {
        let mut all = self.lock();
        if all.len() >= KNOWN {
            // Forgotten sessions are read again.
            all.clear();
        }
        all.insert(id, known);
    }

    fn forget(&self, id: Uuid) {
        self.lock().remove(&id);
    }

    /// Returns the position of a new session in the order of creation.
    fn next_place(&self, now: Timestamp) -> String {
        let number = self.created.fetch_add(1, Ordering::Relaxed);
        format!("{:015}.{number:012}.{}", now.0, Uuid::new_v4().simple())
    }
}

impl Store for DynamoStore {
    fn create(&self, session: NewSession) -> Answer<'_, CreateResult> {
        Box::pin(self.create_session(session))
    }

    fn load(&self, id: Uuid) -> Answer<'_, Option<Record>> {
        Box::pin(self.load_record(id))
    }

    fn base(&self, id: Uuid) -> Answer<'_, Option<Bytes>> {
        Box::pin(self.load_base(id))
    }

    fn commit(&self, commit: Commit) -> Answer<'_, CommitResult> {
        Box::pin(self.commit_change(commit))
    }

    fn rows(
        &self,
        id: Uuid,
        after: u64,
        limit: usize,
        max_bytes: usize,
        part: Part,
    ) -> Answer<'_, Vec<Row>> {
        Box::pin(self.read_log(id, after, limit, max_bytes, part))
    }

    fn list(&self, query: Query) -> Answer<'_, Page> {
        Box::pin(self.list_sessions(query))
    }

    fn count(&self) -> Answer<'_, u64> {
        Box::pin(async {
            let item = self.table.read("COUNT", "-").await?;
            Ok(item.and_then(|item| number(&item, "sessions")).unwrap_or(0))
        })
    }

    fn delete(&self, id: Uuid, expect: Option<u64>) -> Answer<'_, DeleteResult> {
        Box::pin(self.delete_session(id, expect))
    }

    fn recall(&self, scope: &str, key: &str) -> Answer<'_, Option<IdempotencyRecord>> {
        let (scope, key) = (scope.to_owned(), key.to_owned());
        Box::pin(async move { self.answer(&scope, &key).await })
    }

    fn beat(&self, server: Uuid, until: Timestamp) -> Answer<'_, ()> {
        Box::pin(self.put_beat(server, until))
    }

    fn orphans(&self, now: Timestamp, limit: usize) -> Answer<'_, Vec<Uuid>> {
        Box::pin(self.find_orphans(now, limit))
    }

    fn sweep(&self, now: Timestamp) -> Answer<'_, Vec<Uuid>> {
        Box::pin(self.sweep_due(now))
    }

    fn versions(&self, ids: &[Uuid]) -> Answer<'_, Vec<Option<u64>>> {
        let ids = ids.to_owned();
        Box::pin(async move { self.versions_of(&ids).await })
    }

    fn ready(&self) -> Answer<'_, ()> {
        Box::pin(async { self.table.read("SCHEMA", "-").await.map(|_| ()) })
    }
}

/// Compiles the code blocks of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
