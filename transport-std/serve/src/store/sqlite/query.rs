//! The SQL statements. Each function implements one method of the store on a connection.

use std::collections::BTreeMap;

use bytes::Bytes;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Result, Row as SqlRow, params, params_from_iter};
use uuid::Uuid;

use crate::store::{
    Commit, CommitResult, CreateResult, DeleteResult, Holder, IDEMPOTENCY_TTL, IdempotencyRecord,
    NewSession, Page, Part, Query, Record, Row, Status, Summary, Timestamp,
};

/// Converts a number into SQLite's signed integer. Counters do not get that large; a time that does
/// means "never".
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(row: &SqlRow<'_>, column: usize) -> Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

fn time(row: &SqlRow<'_>, column: usize) -> Result<Timestamp> {
    unsigned(row, column).map(Timestamp)
}

fn uuid(row: &SqlRow<'_>, column: usize) -> Result<Uuid> {
    row.get(column).map(Uuid::from_bytes)
}

fn bytes(row: &SqlRow<'_>, column: usize) -> Result<Bytes> {
    row.get::<_, Vec<u8>>(column).map(Bytes::from)
}

/// Returns the error for a value that this version cannot have written.
fn unreadable(
    column: usize,
    kind: rusqlite::types::Type,
    error: impl Into<Box<dyn core::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, error.into())
}

fn status(row: &SqlRow<'_>, column: usize) -> Result<Status> {
    let name = row.get_ref(column)?.as_str()?;
    Status::from_name(name).ok_or_else(|| {
        unreadable(column, rusqlite::types::Type::Text, format!("unknown status {name:?}"))
    })
}

fn metadata(row: &SqlRow<'_>, column: usize) -> Result<BTreeMap<String, String>> {
    let text = row.get_ref(column)?.as_str()?;
    if text == "{}" {
        return Ok(BTreeMap::new());
    }
    serde_json::from_str(text)
        .map_err(|error| unreadable(column, rusqlite::types::Type::Text, error))
}

pub(super) fn create(connection: &Connection, new: &NewSession) -> Result<CreateResult> {
    if let Some(answer) = known(connection, new.idempotent.as_ref())? {
        return Ok(CreateResult::Replay(answer));
    }
    if place(connection, new.id)?.is_some() {
        return Ok(CreateResult::Exists);
    }
    if let Some(limit) = new.limit
        && count(connection)? >= limit
    {
        return Ok(CreateResult::Full);
    }
    let metadata = serde_json::to_string(&new.metadata)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO sessions (id, owner, metadata, created, updated, expires, version, head, status, messages, holder, fence, token, document)
         VALUES (?1, ?2, ?3, ?4, ?4, ?5, 1, 0, ?6, ?7, NULL, 0, ?8, ?9)",
    )?;
    let expires = new.expires.map(|time| integer(time.0));
    let (now, messages, token) = (integer(new.now.0), integer(new.messages), Uuid::nil());
    insert.execute(params![
        new.id.as_bytes(),
        new.owner,
        metadata,
        now,
        expires,
        Status::Idle.name(),
        messages,
        token.as_bytes(),
        &new.document[..]
    ])?;
    let n = connection.last_insert_rowid();
    for (key, value) in &new.metadata {
        connection
            .prepare_cached("INSERT INTO labels (n, key, value) VALUES (?1, ?2, ?3)")?
            .execute(params![n, key, value])?;
    }
    if let Some(base) = &new.base {
        connection
            .prepare_cached("INSERT INTO bases (n, base) VALUES (?1, ?2)")?
            .execute(params![n, &base[..]])?;
    }
    remember(connection, new.idempotent.as_ref())?;
    Ok(CreateResult::Done)
}

fn place(connection: &Connection, id: Uuid) -> Result<Option<i64>> {
    connection
        .prepare_cached("SELECT n FROM sessions WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| row.get(0))
        .optional()
}

pub(super) fn load(connection: &Connection, id: Uuid) -> Result<Option<Record>> {
    let mut select = connection.prepare_cached(
        "SELECT owner, metadata, created, updated, expires, version, head, status, messages, holder, fence, token, document
         FROM sessions WHERE id = ?1",
    )?;
    let record = |row: &SqlRow<'_>| {
        Ok(Record {
            id,
            owner: row.get(0)?,
            metadata: metadata(row, 1)?,
            created: time(row, 2)?,
            updated: time(row, 3)?,
            expires: row.get::<_, Option<i64>>(4)?.map(|time| Timestamp(time.unsigned_abs())),
            version: unsigned(row, 5)?,
            head: unsigned(row, 6)?,
            status: status(row, 7)?,
            messages: unsigned(row, 8)?,
            holder: row.get::<_, Option<[u8; 16]>>(9)?.map(Uuid::from_bytes),
            fence: unsigned(row, 10)?,
            token: uuid(row, 11)?,
            document: bytes(row, 12)?,
        })
    };
    select.query_row([id.as_bytes()], record).optional()
}

pub(super) fn base(connection: &Connection, id: Uuid) -> Result<Option<Bytes>> {
    let mut select = connection
        .prepare_cached("SELECT base FROM sessions JOIN bases USING (n) WHERE id = ?1")?;
    select.query_row([id.as_bytes()], |row| bytes(row, 0)).optional()
}

pub(super) fn commit(connection: &Connection, commit: &Commit) -> Result<CommitResult> {
    if let Some(answer) = known(connection, commit.idempotent.as_ref())? {
        return Ok(CommitResult::Replay(answer));
    }
    let (take, holder) = match commit.holder {
        Holder::Keep => (None, None),
        Holder::Take(server) => (Some(1), Some(server.into_bytes())),
        Holder::Release => (Some(0), None),
    };
    // Two statements, because `UPDATE … RETURNING` creates a temporary table for the row it
    // returns.
    let mut select = connection.prepare_cached(
        "SELECT n, head FROM sessions WHERE id = ?1 AND version = ?2 AND (?3 IS NULL OR fence = ?3)",
    )?;
    let found = select.query_row(
        params![commit.id.as_bytes(), integer(commit.expect), commit.fence.map(integer)],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    );
    let Some((n, mut seq)) = found.optional()? else {
        return Ok(CommitResult::Conflict(load(connection, commit.id)?.map(Box::new)));
    };
    // ?7 is NULL to keep the holder, otherwise the increment of the fence.
    let mut update = connection.prepare_cached(
        "UPDATE sessions SET
            version = version + 1, updated = ?2, expires = ?3, status = ?4, messages = ?5, head = head + ?6,
            holder = iif(?7 IS NULL, holder, ?8), fence = fence + ifnull(?7, 0), token = ?9, document = ?10
         WHERE n = ?1",
    )?;
    update.execute(params![
        n,
        integer(commit.now.0),
        commit.expires.map(|time| integer(time.0)),
        commit.status.name(),
        integer(commit.messages),
        integer(commit.rows.len() as u64),
        take,
        holder,
        commit.token.as_bytes(),
        &commit.document[..]
    ])?;
    let mut insert = connection
        .prepare_cached("INSERT INTO log (n, seq, patch, event) VALUES (?1, ?2, ?3, ?4)")?;
    for row in &commit.rows {
        seq += 1;
        debug_assert_eq!(integer(row.seq), seq, "rows follow the head");
        insert.execute(params![n, seq, row.patch.as_deref(), &row.event[..]])?;
    }
    remember(connection, commit.idempotent.as_ref())?;
    Ok(CommitResult::Done)
}

pub(super) fn rows(
    connection: &Connection,
    id: Uuid,
    after: u64,
    limit: usize,
    max_bytes: usize,
    part: Part,
) -> Result<Vec<Row>> {
    let mut select = connection.prepare_cached(match part {
        Part::Events => "SELECT seq, NULL, event FROM log WHERE n = (SELECT n FROM sessions WHERE id = ?1) AND seq > ?2 ORDER BY seq",
        Part::Patches => {
            "SELECT seq, patch, x'' FROM log WHERE n = (SELECT n FROM sessions WHERE id = ?1) AND seq > ?2 AND patch IS NOT NULL ORDER BY seq"
        }
    })?;
    let mut found = select.query(params![id.as_bytes(), integer(after)])?;
    let (mut rows, mut size) = (Vec::new(), 0);
    while rows.len() < limit && (size < max_bytes || rows.is_empty()) {
        let Some(row) = found.next()? else { break };
        let patch = row.get::<_, Option<Vec<u8>>>(1)?.map(Bytes::from);
        let row = Row { seq: unsigned(row, 0)?, patch, event: bytes(row, 2)? };
        size += row.event.len() + row.patch.as_ref().map_or(0, Bytes::len);
        rows.push(row);
    }
    Ok(rows)
}

pub(super) fn list(connection: &Connection, query: &Query) -> Result<Page> {
    let after = query.after.as_deref().and_then(crate::store::number_of).unwrap_or(0);
    let limit = query.limit.max(1);
    let mut sql = "SELECT n, id, metadata, created, updated, status, messages FROM sessions WHERE owner = ? AND n > ?".to_owned();
    let mut values: Vec<Value> = vec![query.owner.clone().into(), after.into()];
    if let Some(status) = query.status {
        sql.push_str(" AND status = ?");
        values.push(status.name().to_owned().into());
    }
    for (key, value) in &query.metadata {
        sql.push_str(" AND EXISTS (SELECT 1 FROM labels WHERE labels.n = sessions.n AND key = ? AND value = ?)");
        values.extend([Value::from(key.clone()), value.clone().into()]);
    }
    // One row beyond the page shows whether more follow.
    sql.push_str(" ORDER BY n LIMIT ?");
    values.push(integer(limit as u64).saturating_add(1).into());
    let mut select = connection.prepare(&sql)?;
    let mut found = select.query(params_from_iter(values))?;
    let (mut page, mut last) = (Page::default(), 0_i64);
    while let Some(row) = found.next()? {
        if page.sessions.len() == limit {
            page.next = Some(last.to_string());
            break;
        }
        last = row.get(0)?;
        page.sessions.push(Summary {
            id: uuid(row, 1)?,
            metadata: metadata(row, 2)?,
            created: time(row, 3)?,
            updated: time(row, 4)?,
            status: status(row, 5)?,
            messages: unsigned(row, 6)?,
        });
    }
    Ok(page)
}

pub(super) fn count(connection: &Connection) -> Result<u64> {
    connection.prepare_cached("SELECT sessions FROM total")?.query_row([], |row| unsigned(row, 0))
}

pub(super) fn delete(
    connection: &Connection,
    id: Uuid,
    expect: Option<u64>,
) -> Result<DeleteResult> {
    let mut delete = connection
        .prepare_cached("DELETE FROM sessions WHERE id = ?1 AND (?2 IS NULL OR version = ?2)")?;
    if delete.execute(params![id.as_bytes(), expect.map(integer)])? > 0 {
        return Ok(DeleteResult::Done);
    }
    Ok(if place(connection, id)?.is_some() {
        DeleteResult::Conflict
    } else {
        DeleteResult::Missing
    })
}

fn known(
    connection: &Connection,
    idempotent: Option<&IdempotencyRecord>,
) -> Result<Option<IdempotencyRecord>> {
    idempotent.map_or(Ok(None), |one| recall(connection, &one.scope, &one.key))
}

pub(super) fn recall(
    connection: &Connection,
    scope: &str,
    key: &str,
) -> Result<Option<IdempotencyRecord>> {
    let mut select = connection.prepare_cached(
        "SELECT fingerprint, answer, expires FROM answers WHERE scope = ?1 AND key = ?2",
    )?;
    let answer = |row: &SqlRow<'_>| {
        Ok(IdempotencyRecord {
            scope: scope.to_owned(),
            key: key.to_owned(),
            fingerprint: bytes(row, 0)?,
            answer: bytes(row, 1)?,
            expires: time(row, 2)?,
        })
    };
    select.query_row([scope, key], answer).optional()
}

fn remember(connection: &Connection, idempotent: Option<&IdempotencyRecord>) -> Result<()> {
    let Some(IdempotencyRecord { scope, key, fingerprint, answer, expires }) = idempotent else {
        return Ok(());
    };
    let mut insert =
        connection.prepare_cached("INSERT INTO answers (scope, key, fingerprint, answer, expires) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    insert
        .execute(params![scope, key, &fingerprint[..], &answer[..], integer(expires.0)])
        .map(|_| ())
}

pub(super) fn beat(connection: &Connection, server: Uuid, until: Timestamp) -> Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO servers (id, until) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET until = ?2",
    )?;
    insert.execute(params![server.as_bytes(), integer(until.0)]).map(|_| ())
}

pub(super) fn orphans(connection: &Connection, now: Timestamp, limit: usize) -> Result<Vec<Uuid>> {
    let mut select = connection.prepare_cached(
        "SELECT id FROM sessions WHERE status = 'running' AND holder IS NULL
         UNION ALL SELECT id FROM sessions WHERE holder IS NOT NULL
             AND NOT EXISTS (SELECT 1 FROM servers WHERE servers.id = holder AND until > ?1) LIMIT ?2",
    )?;
    select.query_map(params![integer(now.0), integer(limit as u64)], |row| uuid(row, 0))?.collect()
}

/// Removes expired sessions, at most [`SWEEP`], and expired records.
pub(super) fn sweep(connection: &Connection, now: Timestamp) -> Result<Vec<Uuid>> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM sessions WHERE n IN (SELECT n FROM sessions WHERE expires <= ?1 ORDER BY expires LIMIT ?2) RETURNING id",
    )?;
    let gone = delete
        .query_map(params![integer(now.0), SWEEP as i64], |row| uuid(row, 0))?
        .collect::<Result<Vec<_>>>()?;
    connection
        .prepare_cached("DELETE FROM answers WHERE expires <= ?1")?
        .execute([integer(now.0)])?;
    let long_ago = integer(now.0).saturating_sub(integer(IDEMPOTENCY_TTL.as_millis() as u64));
    connection.prepare_cached("DELETE FROM servers WHERE until <= ?1")?.execute([long_ago])?;
    Ok(gone)
}

/// The maximum number of sessions that one transaction removes, so that turns do not wait long.
pub(super) const SWEEP: usize = 100;

pub(super) fn versions(connection: &Connection, ids: &[Uuid]) -> Result<Vec<Option<u64>>> {
    let mut select = connection.prepare_cached("SELECT version FROM sessions WHERE id = ?1")?;
    ids.iter()
        .map(|id| select.query_row([id.as_bytes()], |row| unsigned(row, 0)).optional())
        .collect()
}
