//! Sessions in a Postgres database.

mod query;
mod schema;
mod wake;

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
};
use futures_util::future::BoxFuture;
use tokio_postgres::Config;
use tokio_postgres::error::SqlState;
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

use super::{
    Answer, Commit, CommitResult, CreateResult, DeleteResult, IdempotencyRecord, NewSession, Page,
    Part, Query, Record, Row, Store, StoreError, Timestamp,
};
use wake::Wake;

/// The maximum number of connections of a process, besides the one that listens.
const CONNECTIONS: usize = 16;

/// How long to wait for a connection: for a new one to open, or for one to become free.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait for a server that does not respond at all.
const SILENCE: Duration = Duration::from_secs(30);

/// Keeps sessions in a Postgres database, version 12 or later. Any number of servers can share it.
///
/// The tables' names begin with `toolrunner_`. They are created if they do not exist, in the first
/// schema of the role's search path.
///
/// A successful change is as durable as the database's `synchronous_commit` makes it; `off` is
/// replaced with `on`. Lost connections are replaced, and a read over a lost connection is repeated
/// once. A pooler may stand between the servers and the database if it keeps prepared statements
/// and session state (PgBouncer's transaction mode does so from version 1.21 on).
#[derive(Debug)]
pub struct PostgresStore {
    pool: Pool,
    wake: Wake,
}

impl PostgresStore {
    /// Connects to `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, and creates the tables if they do
    /// not exist.
    ///
    /// Special characters in the password must be percent-encoded. The URL's parameters are those
    /// of [`tokio_postgres::Config`]. With `sslmode=require` the connection is encrypted; with
    /// `prefer`, the default, it is encrypted if the server supports that. The certificate of an
    /// encrypted connection is checked with the system's root certificates, or with those in the
    /// file that the environment variable `SSL_CERT_FILE` names.
    ///
    /// # Errors
    /// Returns an error if the URL is invalid, if the database refuses the connection, or if its
    /// tables have another version. No error contains the password.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        // The parser's message can contain parts of a password with unencoded characters.
        let mut config: Config = url.parse().map_err(|_| {
            let form = "postgres://USER:PASSWORD@HOST:PORT/DATABASE, with special characters of the password percent-encoded";
            StoreError::new(format!("the Postgres URL is not valid; its form is {form}"))
        })?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(PATIENCE);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE);
        }
        config.keepalives_idle(SILENCE);
        if config.get_application_name().is_none() {
            config.application_name("toolrunner");
        }
        let tls = tls()?;
        let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(config.clone(), tls.clone(), manager))
            .max_size(CONNECTIONS)
            .wait_timeout(Some(PATIENCE))
            .create_timeout(Some(PATIENCE))
            .runtime(Runtime::Tokio1)
            .post_create(Hook::async_fn(|client, _| Box::pin(durable(client))))
            .build()
            .map_err(|error| {
                StoreError::new("could not create a pool of Postgres connections").because(error)
            })?;
        schema::prepare(&mut pool.get().await.map_err(unavailable)?).await?;
        let wake = Wake::start(pool.clone(), config, tls);
        Ok(Self { pool, wake })
    }

    async fn client(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(unavailable)
    }

    async fn commit_once(
        &self,
        commit: &Commit,
    ) -> Result<Result<CommitResult, tokio_postgres::Error>, StoreError> {
        Ok(query::commit(&self.client().await?, commit).await)
    }

    /// Repeats a commit once if the connection is lost. If the first attempt was applied, the
    /// second one is refused, and the record has this commit's token.
    async fn commit_surely(&self, commit: Commit) -> Result<CommitResult, StoreError> {
        let result = match self.commit_once(&commit).await? {
            Err(error) if is_lost(&error) => self.commit_once(&commit).await?.map_err(failed)?,
            result => return result.map_err(failed),
        };
        let now = match &result {
            CommitResult::Done => return Ok(result),
            CommitResult::Conflict(now) => now.as_deref().map(|record| record.token),
            CommitResult::Replay(_) => self.load(commit.id).await?.map(|record| record.token),
        };
        Ok(if now == Some(commit.token) { CommitResult::Done } else { result })
    }
}

/// Performs a read or a repeatable write, and repeats it once if the connection is lost.
macro_rules! repeatable {
    ($self:ident, |$client:ident| $query:expr) => {
        Box::pin(async move {
            #[allow(unused_mut, reason = "some queries need it")]
            let mut $client = $self.client().await?;
            match $query.await {
                Err(error) if is_lost(&error) => {
                    #[allow(unused_mut, reason = "some queries need it")]
                    let mut $client = $self.client().await?;
                    $query.await.map_err(failed)
                }
                result => result.map_err(failed),
            }
        })
    };
}

impl Store for PostgresStore {
    fn create(&self, session: NewSession) -> Answer<'_, CreateResult> {
        Box::pin(async move {
            let created =
                query::create(&mut self.client().await?, &session).await.map_err(failed)?;
            self.wake.own.notify_one();
            Ok(created)
        })
    }

    fn load(&self, id: Uuid) -> Answer<'_, Option<Record>> {
        repeatable!(self, |client| query::load(&client, id))
    }

    fn base(&self, id: Uuid) -> Answer<'_, Option<Bytes>> {
        repeatable!(self, |client| query::base(&client, id))
    }

    fn commit(&self, commit: Commit) -> Answer<'_, CommitResult> {
        Box::pin(async move {
            let result = self.commit_surely(commit).await;
            // Notifies after an error too, because the change may have been applied.
            self.wake.own.notify_one();
            result
        })
    }

    fn rows(
        &self,
        id: Uuid,
        after: u64,
        limit: usize,
        max_bytes: usize,
        part: Part,
    ) -> Answer<'_, Vec<Row>> {
        repeatable!(self, |client| query::rows(&client, id, after, limit, max_bytes, part))
    }

    fn is_place(&self, place: &str) -> bool {
        crate::store::number_of(place).is_some()
    }

    fn list(&self, query: Query) -> Answer<'_, Page> {
        repeatable!(self, |client| query::list(&client, &query))
    }

    fn count(&self) -> Answer<'_, u64> {
        repeatable!(self, |client| query::count(&client))
    }

    fn delete(&self, id: Uuid, expect: Option<u64>) -> Answer<'_, DeleteResult> {
        Box::pin(async move {
            let deleted =
                query::delete(&mut self.client().await?, id, expect).await.map_err(failed)?;
            self.wake.own.notify_one();
            Ok(deleted)
        })
    }

    fn recall(&self, scope: &str, key: &str) -> Answer<'_, Option<IdempotencyRecord>> {
        let (scope, key) = (scope.to_owned(), key.to_owned());
        repeatable!(self, |client| query::recall(&client, &scope, &key))
    }

    fn beat(&self, server: Uuid, until: Timestamp) -> Answer<'_, ()> {
        repeatable!(self, |client| query::beat(&client, server, until))
    }

    fn orphans(&self, now: Timestamp, limit: usize) -> Answer<'_, Vec<Uuid>> {
        repeatable!(self, |client| query::orphans(&client, now, limit))
    }

    fn sweep(&self, now: Timestamp) -> Answer<'_, Vec<Uuid>> {
        Box::pin(async move {
            let mut gone = Vec::new();
            loop {
                let some = query::sweep(&mut self.client().await?, now).await.map_err(failed)?;
                let is_last = some.len() < query::SWEEP;
                gone.extend(some);
                if is_last {
                    break;
                }
            }
            if !gone.is_empty() {
                self.wake.own.notify_one();
            }
            Ok(gone)
        })
    }

    fn versions(&self, ids: &[Uuid]) -> Answer<'_, Vec<Option<u64>>> {
        let ids = ids.to_owned();
        repeatable!(self, |client| query::versions(&client, &ids))
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let _ = tokio::time::timeout(wake::POLL, self.wake.others.notified()).await;
        })
    }

    fn ready(&self) -> Answer<'_, ()> {
        repeatable!(self, |client| query::ready(&client))
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async {
            self.wake.stop();
            self.pool.close();
            Ok(())
        })
    }
}

/// Loads the root certificates, once per store.
fn tls() -> Result<MakeRustlsConnect, StoreError> {
    let mut roots = rustls::RootCertStore::empty();
    // Without root certificates only unencrypted servers can be reached. Connecting to any other
    // server reports that.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| StoreError::new("TLS for Postgres").because(error))?;
    Ok(MakeRustlsConnect::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Raises `synchronous_commit` from `off` to `on`. Keeps stricter settings, such as `remote_apply`.
async fn durable(client: &mut deadpool_postgres::ClientWrapper) -> Result<(), HookError> {
    let set = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";
    client.batch_execute(set).await.map_err(HookError::Backend)
}

/// Returns the reason of an error. The error itself only says "db error"; its sources have the
/// reason.
fn reason(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", error.message(), error.code().code());
    }
    let mut text = error.to_string();
    let mut source = core::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Returns whether the connection is lost, or the server is about to close it.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    let source = core::error::Error::source(error);
    error.is_closed()
        || source.is_some_and(|source| source.is::<std::io::Error>())
        || error
            .code()
            .is_some_and(|code| [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN].contains(code))
}

fn failed(error: tokio_postgres::Error) -> StoreError {
    StoreError::new(format!("Postgres: {}", reason(&error)))
}

fn unavailable(error: PoolError) -> StoreError {
    let reason = match &error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
            reason(error)
        }
        PoolError::Timeout(_) => format!("no connection within {} seconds", PATIENCE.as_secs()),
        PoolError::Closed => "the store is closed".into(),
        PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => error.to_string(),
    };
    StoreError::new(format!("Postgres cannot be reached: {reason}"))
}
