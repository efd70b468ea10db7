//! The tables, and the check of their version.

use deadpool_postgres::{GenericClient, Object};
use tokio_postgres::Error;

use super::failed;
use crate::store::StoreError;

/// The version of the tables. A database with a higher version is refused.
const SCHEMA: i32 = 1;

/// The advisory lock that a server holds while it creates the tables, because several servers may
/// start at the same time. The number spells `TRun`.
const LOCK: i64 = 0x5452_756e;

/// `n` is the position in the order of creation. `labels` repeats the metadata in searchable form;
/// see [`super::query::label`].
const TABLES: &str = "
CREATE TABLE toolrunner_schema (version integer NOT NULL);
CREATE TABLE toolrunner_sessions (
    n bigserial PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    owner text NOT NULL,
    metadata text NOT NULL,
    labels bytea[] NOT NULL,
    created bigint NOT NULL,
    updated bigint NOT NULL,
    expires bigint,
    version bigint NOT NULL,
    head bigint NOT NULL,
    status text NOT NULL,
    messages bigint NOT NULL,
    holder uuid,
    fence bigint NOT NULL,
    token uuid NOT NULL,
    document bytea NOT NULL
);
CREATE INDEX toolrunner_sessions_by_owner ON toolrunner_sessions (owner, n);
CREATE INDEX toolrunner_sessions_by_expiry ON toolrunner_sessions (expires) WHERE expires IS NOT NULL;
CREATE TABLE toolrunner_bases (n bigint PRIMARY KEY, base bytea NOT NULL);
CREATE TABLE toolrunner_log (n bigint, seq bigint, event bytea NOT NULL, patch bytea, PRIMARY KEY (n, seq));
CREATE TABLE toolrunner_answers (
    scope text,
    key text,
    fingerprint bytea NOT NULL,
    answer bytea NOT NULL,
    expires bigint NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX toolrunner_answers_by_expiry ON toolrunner_answers (expires);
CREATE TABLE toolrunner_servers (id uuid PRIMARY KEY, until bigint NOT NULL);
";

/// Creates the index for [`super::query::orphans`], and drops the one that older versions created.
const AT_WORK: &str = "
CREATE INDEX IF NOT EXISTS toolrunner_sessions_held ON toolrunner_sessions (n) WHERE status = 'running' OR holder IS NOT NULL;
DROP INDEX IF EXISTS toolrunner_sessions_at_work;
";

/// Creates the tables if they do not exist, in the connection's default schema.
pub(super) async fn prepare(client: &mut Object) -> Result<(), StoreError> {
    let version = match version(client).await.map_err(failed)? {
        Some(SCHEMA) => add_index(client).await.map_err(failed)?,
        Some(version) => version,
        None => create(client).await.map_err(failed)?,
    };
    if version == SCHEMA {
        return Ok(());
    }
    let text = format!(
        "the Postgres database was prepared by another version of this program (schema {version}, this version knows {SCHEMA})"
    );
    Err(StoreError::new(text))
}

async fn version(client: &impl GenericClient) -> Result<Option<i32>, Error> {
    // `to_regclass` is not used: within a transaction it remembers that the table did not exist.
    let tables = "SELECT 1 FROM pg_tables WHERE tablename = 'toolrunner_schema' AND schemaname = ANY (current_schemas(false))";
    if client.query_opt(tables, &[]).await?.is_none() {
        return Ok(None);
    }
    client
        .query_one("SELECT version FROM toolrunner_schema", &[])
        .await
        .map(|row| row.get(0))
        .map(Some)
}

async fn create(client: &mut Object) -> Result<i32, Error> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    // Another server may have been faster.
    if let Some(version) = version(&transaction).await? {
        return Ok(version);
    }
    transaction.batch_execute(TABLES).await?;
    transaction.batch_execute(AT_WORK).await?;
    transaction.execute("INSERT INTO toolrunner_schema VALUES ($1)", &[&SCHEMA]).await?;
    transaction.commit().await?;
    Ok(SCHEMA)
}

/// Replaces the index of older versions. Checks first, because statements that change an index wait
/// until nobody writes to the table.
async fn add_index(client: &mut Object) -> Result<i32, Error> {
    let index = "SELECT 1 FROM pg_indexes WHERE indexname = 'toolrunner_sessions_held' AND schemaname = ANY (current_schemas(false))";
    if client.query_opt(index, &[]).await?.is_none() {
        let transaction = client.transaction().await?;
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
        transaction.batch_execute(AT_WORK).await?;
        transaction.commit().await?;
    }
    Ok(SCHEMA)
}
