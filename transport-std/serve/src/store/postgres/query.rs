//! The SQL statements. Each function implements one method of the store on a connection.
//!
//! Whatever must be atomic is one statement, or a transaction whose first statement locks the
//! session's row.

use std::collections::BTreeMap;

use bytes::Bytes;
use deadpool_postgres::Object;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row as SqlRow};
use uuid::Uuid;

use crate::store::{
    Commit, CommitResult, CreateResult, DeleteResult, Holder, IDEMPOTENCY_TTL, IdempotencyRecord,
    NewSession, Page, Part, Query, Record, Row, Status, Summary, Timestamp,
};

type Result<T> = core::result::Result<T, Error>;

/// Converts a number into Postgres' signed integer. Counters do not get that large; a time that
/// does means "never".
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn size(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(row: &SqlRow, column: usize) -> Result<u64> {
    row.try_get::<_, i64>(column).map(i64::unsigned_abs)
}

fn time(row: &SqlRow, column: usize) -> Result<Timestamp> {
    unsigned(row, column).map(Timestamp)
}

fn bytes(row: &SqlRow, column: usize) -> Result<Bytes> {
    row.try_get::<_, Vec<u8>>(column).map(Bytes::from)
}

/// A column that only this crate writes, in a known format.
struct Text<T>(T);

impl<'a, T: core::str::FromStr<Err: Into<Box<dyn core::error::Error + Sync + Send>>>>
    tokio_postgres::types::FromSql<'a> for Text<T>
{
    fn from_sql(
        kind: &tokio_postgres::types::Type,
        raw: &'a [u8],
    ) -> core::result::Result<Self, Box<dyn core::error::Error + Sync + Send>> {
        <&str>::from_sql(kind, raw)?.parse().map(Self).map_err(Into::into)
    }

    fn accepts(kind: &tokio_postgres::types::Type) -> bool {
        <&str as tokio_postgres::types::FromSql<'_>>::accepts(kind)
    }
}

struct StatusName(Status);

impl core::str::FromStr for StatusName {
    type Err = String;

    fn from_str(name: &str) -> core::result::Result<Self, String> {
        Status::from_name(name).map(Self).ok_or_else(|| format!("unknown status {name:?}"))
    }
}

struct Metadata(BTreeMap<String, String>);

impl core::str::FromStr for Metadata {
    type Err = serde_json::Error;

    fn from_str(json: &str) -> core::result::Result<Self, serde_json::Error> {
        serde_json::from_str(json).map(Self)
    }
}

fn status(row: &SqlRow, column: usize) -> Result<Status> {
    row.try_get::<_, Text<StatusName>>(column).map(|text| text.0.0)
}

fn metadata(row: &SqlRow, column: usize) -> Result<BTreeMap<String, String>> {
    row.try_get::<_, Text<Metadata>>(column).map(|text| text.0.0)
}

/// Encodes a metadata key and its value as bytes, because Postgres' text cannot contain NUL.
pub(super) fn label(key: &str, value: &str) -> Vec<u8> {
    let mut label = u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    label.extend(key.bytes().chain(value.bytes()));
    label
}

async fn execute(
    client: &Object,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<u64> {
    client.execute(&client.prepare_cached(statement).await?, parameters).await
}

async fn first(
    client: &Object,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Option<SqlRow>> {
    client.query_opt(&client.prepare_cached(statement).await?, parameters).await
}

async fn all(
    client: &Object,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<SqlRow>> {
    client.query(&client.prepare_cached(statement).await?, parameters).await
}

/// The parts of an idempotency record as parameters; all NULL without a record.
struct Parts<'a> {
    scope: Option<&'a str>,
    key: Option<&'a str>,
    fingerprint: Option<&'a [u8]>,
    answer: Option<&'a [u8]>,
    expires: Option<i64>,
}

impl<'a> Parts<'a> {
    fn of(idempotent: Option<&'a IdempotencyRecord>) -> Self {
        Self {
            scope: idempotent.map(|one| &*one.scope),
            key: idempotent.map(|one| &*one.key),
            fingerprint: idempotent.map(|one| &one.fingerprint[..]),
            answer: idempotent.map(|one| &one.answer[..]),
            expires: idempotent.map(|one| integer(one.expires.0)),
        }
    }
}

/// Returns whether another change with the same key was faster, so that this one was rolled back.
fn is_known_key(error: &Error) -> bool {
    error.as_db_error().is_some_and(|error| {
        *error.code() == SqlState::UNIQUE_VIOLATION && error.table() == Some("toolrunner_answers")
    })
}

const CREATE: &str = "
WITH made AS (
    INSERT INTO toolrunner_sessions
        (id, owner, metadata, labels, created, updated, expires, version, head, status, messages, fence, token, document)
    SELECT $1, $2, $3, $4, $5, $5, $6, 1, 0, 'idle', $7, 0, '00000000-0000-0000-0000-000000000000', $8
    WHERE NOT EXISTS (SELECT 1 FROM toolrunner_answers WHERE scope = $11 AND key = $12)
        AND ($10::bigint IS NULL OR (SELECT count(*) FROM toolrunner_sessions) < $10)
    ON CONFLICT (id) DO NOTHING
    RETURNING n
), based AS (
    INSERT INTO toolrunner_bases SELECT n, $9 FROM made WHERE $9::bytea IS NOT NULL
), answered AS (
    INSERT INTO toolrunner_answers SELECT $11, $12, $13, $14, $15 FROM made WHERE $11::text IS NOT NULL
)
SELECT n FROM made";

pub(super) async fn create(client: &mut Object, new: &NewSession) -> Result<CreateResult> {
    let metadata = serde_json::Value::from_iter(new.metadata.clone()).to_string();
    let labels: Vec<_> = new.metadata.iter().map(|(key, value)| label(key, value)).collect();
    let parts = Parts::of(new.idempotent.as_ref());
    let (now, expires) = (integer(new.now.0), new.expires.map(|time| integer(time.0)));
    let (messages, limit) = (integer(new.messages), new.limit.map(integer));
    let parameters: [&(dyn ToSql + Sync); 15] = [
        &new.id,
        &new.owner,
        &metadata,
        &labels,
        &now,
        &expires,
        &messages,
        &&new.document[..],
        &new.base.as_deref(),
        &limit,
        &parts.scope,
        &parts.key,
        &parts.fingerprint,
        &parts.answer,
        &parts.expires,
    ];
    let statement = client.prepare_cached(CREATE).await?;
    let made = if limit.is_some() {
        // Creations run one at a time, because each counts the sessions of the previous ones.
        let transaction = client.transaction().await?;
        transaction
            .execute("SELECT pg_advisory_xact_lock(hashtext('toolrunner_sessions'))", &[])
            .await?;
        let made = transaction.query_opt(&statement, &parameters).await;
        match made {
            Ok(made) => transaction.commit().await.map(|()| made),
            Err(error) => Err(error),
        }
    } else {
        client.query_opt(&statement, &parameters).await
    };
    match made {
        Ok(Some(_)) => return Ok(CreateResult::Done),
        Ok(None) => {}
        Err(error) if is_known_key(&error) => {}
        Err(error) => return Err(error),
    }
    if let Some(answer) = known(client, new.idempotent.as_ref()).await? {
        return Ok(CreateResult::Replay(answer));
    }
    let exists = first(client, "SELECT 1 FROM toolrunner_sessions WHERE id = $1", &[&new.id])
        .await?
        .is_some();
    Ok(if exists { CreateResult::Exists } else { CreateResult::Full })
}

pub(super) async fn load(client: &Object, id: Uuid) -> Result<Option<Record>> {
    let statement = "SELECT owner, metadata, created, updated, expires, version, head, status, messages, holder, fence, token, document
         FROM toolrunner_sessions WHERE id = $1";
    let Some(row) = first(client, statement, &[&id]).await? else { return Ok(None) };
    Ok(Some(Record {
        id,
        owner: row.try_get(0)?,
        metadata: metadata(&row, 1)?,
        created: time(&row, 2)?,
        updated: time(&row, 3)?,
        expires: row.try_get::<_, Option<i64>>(4)?.map(|time| Timestamp(time.unsigned_abs())),
        version: unsigned(&row, 5)?,
        head: unsigned(&row, 6)?,
        status: status(&row, 7)?,
        messages: unsigned(&row, 8)?,
        holder: row.try_get(9)?,
        fence: unsigned(&row, 10)?,
        token: row.try_get(11)?,
        document: bytes(&row, 12)?,
    }))
}

pub(super) async fn base(client: &Object, id: Uuid) -> Result<Option<Bytes>> {
    let statement =
        "SELECT base FROM toolrunner_sessions JOIN toolrunner_bases USING (n) WHERE id = $1";
    first(client, statement, &[&id]).await?.map(|row| bytes(&row, 0)).transpose()
}

/// $9 is NULL to keep the holder, otherwise the increment of the fence.
const COMMIT: &str = "
WITH done AS (
    UPDATE toolrunner_sessions SET
        version = version + 1, updated = $4, expires = $5, status = $6, messages = $7, head = head + $8,
        holder = CASE WHEN $9::bigint IS NULL THEN holder ELSE $10 END, fence = fence + coalesce($9, 0), token = $11, document = $12
    WHERE id = $1 AND version = $2 AND ($3::bigint IS NULL OR fence = $3)
        AND NOT EXISTS (SELECT 1 FROM toolrunner_answers WHERE scope = $15 AND key = $16)
    RETURNING n, head - $8 AS before
), logged AS (
    INSERT INTO toolrunner_log (n, seq, event, patch)
    SELECT n, before + place, event, patch FROM done, unnest($13::bytea[], $14::bytea[]) WITH ORDINALITY AS row (event, patch, place)
), answered AS (
    INSERT INTO toolrunner_answers SELECT $15, $16, $17, $18, $19 FROM done WHERE $15::text IS NOT NULL
)
SELECT n FROM done";

pub(super) async fn commit(client: &Object, commit: &Commit) -> Result<CommitResult> {
    let (take, holder) = match commit.holder {
        Holder::Keep => (None, None),
        Holder::Take(server) => (Some(1_i64), Some(server)),
        Holder::Release => (Some(0), None),
    };
    let events: Vec<_> = commit.rows.iter().map(|row| &row.event[..]).collect();
    let patches: Vec<_> = commit.rows.iter().map(|row| row.patch.as_deref()).collect();
    let parts = Parts::of(commit.idempotent.as_ref());
    let done = first(
        client,
        COMMIT,
        &[
            &commit.id,
            &integer(commit.expect),
            &commit.fence.map(integer),
            &integer(commit.now.0),
            &commit.expires.map(|time| integer(time.0)),
            &commit.status.name(),
            &integer(commit.messages),
            &size(commit.rows.len()),
            &take,
            &holder,
            &commit.token,
            &&commit.document[..],
            &events,
            &patches,
            &parts.scope,
            &parts.key,
            &parts.fingerprint,
            &parts.answer,
            &parts.expires,
        ],
    )
    .await;
    match done {
        Ok(Some(_)) => return Ok(CommitResult::Done),
        Ok(None) => {}
        Err(error) if is_known_key(&error) => {}
        Err(error) => return Err(error),
    }
    if let Some(answer) = known(client, commit.idempotent.as_ref()).await? {
        return Ok(CommitResult::Replay(answer));
    }
    Ok(CommitResult::Conflict(load(client, commit.id).await?.map(Box::new)))
}

pub(super) async fn rows(
    client: &Object,
    id: Uuid,
    after: u64,
    limit: usize,
    max_bytes: usize,
    part: Part,
) -> Result<Vec<Row>> {
    // `before` is the number of bytes of the earlier rows, so the first row is always returned.
    let statement = match part {
        Part::Events => {
            "SELECT seq, NULL::bytea, event FROM (
                SELECT seq, event, sum(octet_length(event)) OVER (ORDER BY seq) - octet_length(event) AS before FROM toolrunner_log
                WHERE n = (SELECT n FROM toolrunner_sessions WHERE id = $1) AND seq > $2 ORDER BY seq LIMIT $3
             ) AS found WHERE before < $4 ORDER BY seq"
        }
        Part::Patches => {
            "SELECT seq, patch, ''::bytea FROM (
                SELECT seq, patch, sum(octet_length(patch)) OVER (ORDER BY seq) - octet_length(patch) AS before FROM toolrunner_log
                WHERE n = (SELECT n FROM toolrunner_sessions WHERE id = $1) AND seq > $2 AND patch IS NOT NULL ORDER BY seq LIMIT $3
             ) AS found WHERE before < $4 ORDER BY seq"
        }
    };
    let found =
        all(client, statement, &[&id, &integer(after), &size(limit), &size(max_bytes.max(1))])
            .await?;
    let row = |row: &SqlRow| {
        let patch = row.try_get::<_, Option<Vec<u8>>>(1)?.map(Bytes::from);
        Ok(Row { seq: unsigned(row, 0)?, patch, event: bytes(row, 2)? })
    };
    found.iter().map(row).collect()
}

pub(super) async fn list(client: &Object, query: &Query) -> Result<Page> {
    let after = query.after.as_deref().and_then(crate::store::number_of).unwrap_or(0);
    let limit = query.limit.max(1);
    let labels: Vec<_> = query.metadata.iter().map(|(key, value)| label(key, value)).collect();
    let statement = "SELECT n, id, metadata, created, updated, status, messages FROM toolrunner_sessions
         WHERE owner = $1 AND n > $2 AND ($3::text IS NULL OR status = $3) AND labels @> $4 ORDER BY n LIMIT $5";
    // One row beyond the page shows whether more follow.
    let some = size(limit).saturating_add(1);
    let mut found = all(
        client,
        statement,
        &[&query.owner, &after, &query.status.map(Status::name), &labels, &some],
    )
    .await?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let summary = |row: &SqlRow| {
        Ok(Summary {
            id: row.try_get(1)?,
            metadata: metadata(row, 2)?,
            created: time(row, 3)?,
            updated: time(row, 4)?,
            status: status(row, 5)?,
            messages: unsigned(row, 6)?,
        })
    };
    let last = found.last().filter(|_| has_more).map(|row| row.try_get::<_, i64>(0)).transpose()?;
    Ok(Page {
        sessions: found.iter().map(summary).collect::<Result<_>>()?,
        next: last.map(|n| n.to_string()),
    })
}

pub(super) async fn count(client: &Object) -> Result<u64> {
    let row = first(client, "SELECT count(*) FROM toolrunner_sessions", &[]).await?;
    row.map_or(Ok(0), |row| unsigned(&row, 0))
}

/// Removes the data of deleted sessions. A separate statement, so that it sees what was committed
/// while the first one waited for the sessions' rows.
const CLEAR: &str = "
WITH bases AS (DELETE FROM toolrunner_bases WHERE n = ANY($1))
DELETE FROM toolrunner_log WHERE n = ANY($1)";

pub(super) async fn delete(
    client: &mut Object,
    id: Uuid,
    expect: Option<u64>,
) -> Result<DeleteResult> {
    let transaction = client.transaction().await?;
    let delete = transaction
        .prepare_cached("DELETE FROM toolrunner_sessions WHERE id = $1 AND ($2::bigint IS NULL OR version = $2) RETURNING n")
        .await?;
    let Some(row) = transaction.query_opt(&delete, &[&id, &expect.map(integer)]).await? else {
        transaction.rollback().await?;
        let exists = first(client, "SELECT 1 FROM toolrunner_sessions WHERE id = $1", &[&id])
            .await?
            .is_some();
        return Ok(if exists { DeleteResult::Conflict } else { DeleteResult::Missing });
    };
    let clear = transaction.prepare_cached(CLEAR).await?;
    transaction.execute(&clear, &[&vec![row.try_get::<_, i64>(0)?]]).await?;
    transaction.commit().await?;
    Ok(DeleteResult::Done)
}

async fn known(
    client: &Object,
    idempotent: Option<&IdempotencyRecord>,
) -> Result<Option<IdempotencyRecord>> {
    match idempotent {
        Some(one) => recall(client, &one.scope, &one.key).await,
        None => Ok(None),
    }
}

pub(super) async fn recall(
    client: &Object,
    scope: &str,
    key: &str,
) -> Result<Option<IdempotencyRecord>> {
    let statement =
        "SELECT fingerprint, answer, expires FROM toolrunner_answers WHERE scope = $1 AND key = $2";
    let Some(row) = first(client, statement, &[&scope, &key]).await? else { return Ok(None) };
    Ok(Some(IdempotencyRecord {
        scope: scope.to_owned(),
        key: key.to_owned(),
        fingerprint: bytes(&row, 0)?,
        answer: bytes(&row, 1)?,
        expires: time(&row, 2)?,
    }))
}

pub(super) async fn beat(client: &Object, server: Uuid, until: Timestamp) -> Result<()> {
    let statement =
        "INSERT INTO toolrunner_servers VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET until = $2";
    execute(client, statement, &[&server, &integer(until.0)]).await.map(|_| ())
}

pub(super) async fn orphans(client: &Object, now: Timestamp, limit: usize) -> Result<Vec<Uuid>> {
    let statement = "SELECT id FROM toolrunner_sessions AS session WHERE (status = 'running' OR holder IS NOT NULL)
         AND NOT EXISTS (SELECT 1 FROM toolrunner_servers AS server WHERE server.id = session.holder AND until > $1) LIMIT $2";
    let found = all(client, statement, &[&integer(now.0), &size(limit)]).await?;
    found.iter().map(|row| row.try_get(0)).collect()
}

/// The maximum number of sessions that one transaction removes, so that turns do not wait long.
pub(super) const SWEEP: usize = 100;

/// Removes expired sessions, at most [`SWEEP`], and expired records.
pub(super) async fn sweep(client: &mut Object, now: Timestamp) -> Result<Vec<Uuid>> {
    let transaction = client.transaction().await?;
    let now = integer(now.0);
    let delete = transaction
        .prepare_cached(
            "DELETE FROM toolrunner_sessions WHERE n IN (
                SELECT n FROM toolrunner_sessions WHERE expires <= $1 ORDER BY expires LIMIT $2 FOR UPDATE SKIP LOCKED
             ) RETURNING n, id",
        )
        .await?;
    let gone = transaction.query(&delete, &[&now, &size(SWEEP)]).await?;
    if !gone.is_empty() {
        let places: Vec<i64> = gone.iter().map(|row| row.try_get(0)).collect::<Result<_>>()?;
        let clear = transaction.prepare_cached(CLEAR).await?;
        transaction.execute(&clear, &[&places]).await?;
    }
    let answers =
        transaction.prepare_cached("DELETE FROM toolrunner_answers WHERE expires <= $1").await?;
    transaction.execute(&answers, &[&now]).await?;
    let servers =
        transaction.prepare_cached("DELETE FROM toolrunner_servers WHERE until <= $1").await?;
    let a_day = i64::try_from(IDEMPOTENCY_TTL.as_millis()).unwrap_or(i64::MAX);
    transaction.execute(&servers, &[&now.saturating_sub(a_day)]).await?;
    transaction.commit().await?;
    gone.iter().map(|row| row.try_get(1)).collect()
}

pub(super) async fn versions(client: &Object, ids: &[Uuid]) -> Result<Vec<Option<u64>>> {
    let found =
        all(client, "SELECT id, version FROM toolrunner_sessions WHERE id = ANY($1)", &[&ids])
            .await?;
    let versions = found
        .iter()
        .map(|row| Ok((row.try_get(0)?, unsigned(row, 1)?)))
        .collect::<Result<BTreeMap<Uuid, u64>>>()?;
    Ok(ids.iter().map(|id| versions.get(id).copied()).collect())
}

/// Checks that the database responds and accepts changes, which a standby does not.
pub(super) async fn ready(client: &Object) -> Result<()> {
    let statement = "INSERT INTO toolrunner_servers SELECT '00000000-0000-0000-0000-000000000000', 0 WHERE false";
    execute(client, statement, &[]).await.map(|_| ())
}
