//! The tables, and the checks when a file is opened.

use core::time::Duration;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::store::StoreError;

/// Marks a file as belonging to this store. The number spells `TRun`.
const APPLICATION: i32 = 0x5452_756e;

/// The version of the tables. A file with a higher version is refused.
const SCHEMA: i32 = 1;

/// `n` is the position in the order of creation and is never reused. `patch` precedes `event`, so
/// that it can be read without the event.
const TABLES: &str = "
CREATE TABLE sessions (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    expires INTEGER,
    version INTEGER NOT NULL,
    head INTEGER NOT NULL,
    status TEXT NOT NULL,
    messages INTEGER NOT NULL,
    holder BLOB,
    fence INTEGER NOT NULL,
    token BLOB NOT NULL,
    document BLOB NOT NULL
);
CREATE INDEX sessions_by_owner ON sessions (owner, n);
CREATE INDEX sessions_by_expiry ON sessions (expires) WHERE expires IS NOT NULL;
CREATE TABLE labels (n INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (n, key)) WITHOUT ROWID;
CREATE TABLE bases (n INTEGER PRIMARY KEY, base BLOB NOT NULL);
CREATE TABLE log (n INTEGER NOT NULL, seq INTEGER NOT NULL, patch BLOB, event BLOB NOT NULL, PRIMARY KEY (n, seq)) WITHOUT ROWID;
CREATE TABLE answers (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    answer BLOB NOT NULL,
    expires INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE INDEX answers_by_expiry ON answers (expires);
CREATE TABLE servers (id BLOB PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE total (one INTEGER PRIMARY KEY CHECK (one = 1), sessions INTEGER NOT NULL);
INSERT INTO total VALUES (1, 0);
CREATE TRIGGER session_added AFTER INSERT ON sessions BEGIN UPDATE total SET sessions = sessions + 1; END;
CREATE TRIGGER session_removed AFTER DELETE ON sessions BEGIN
    UPDATE total SET sessions = sessions - 1;
    DELETE FROM labels WHERE n = old.n;
    DELETE FROM bases WHERE n = old.n;
    DELETE FROM log WHERE n = old.n;
END;
";

/// Updates the indexes of older files, and creates those that every file has.
const INDEXES: &str = "
DROP INDEX IF EXISTS sessions_at_work;
CREATE INDEX IF NOT EXISTS sessions_held ON sessions (holder) WHERE holder IS NOT NULL;
CREATE INDEX IF NOT EXISTS sessions_left ON sessions (n) WHERE status = 'running' AND holder IS NULL;
";

/// The wait before another attempt to lock: other processes hold the write lock for milliseconds,
/// while SQLite's own busy handler sleeps for up to 100 ms.
const BUSY_STEP: Duration = Duration::from_millis(2);
const BUSY_TRIES: i32 = 5_000;

fn wait_while_busy(tries: i32) -> bool {
    std::thread::sleep(BUSY_STEP);
    tries < BUSY_TRIES
}

/// Opens the file for reading. [`writer`] must have been called before.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", "on")?;
    // In KiB. Frequently read pages are in the system's cache as well.
    connection.pragma_update(None, "cache_size", -512)?;
    Ok(connection)
}

/// Opens the file for writing. Creates the file, for its owner only, if it does not exist.
pub(super) fn writer(path: &Path) -> Result<Connection, StoreError> {
    let failed = |error: Box<dyn core::error::Error + Send + Sync>| {
        StoreError::new(format!("the SQLite database {} cannot be opened", path.display()))
            .because(error)
    };
    let refused = |text: String| failed(text.into());
    create_file(path).map_err(|error| failed(error.into()))?;
    let connection = connect(path).map_err(|error| failed(error.into()))?;
    let (application, schema, tables) = marks(&connection).map_err(|error| failed(error.into()))?;
    // Checked before any write, so that another program's file stays unchanged.
    if tables > 0 && application != APPLICATION {
        return Err(refused("it belongs to another program".into()));
    }
    if schema > SCHEMA {
        return Err(refused(format!(
            "a newer version of this program wrote it (its schema is {schema}, this version knows {SCHEMA})"
        )));
    }
    let mode = use_wal(&connection).map_err(|error| failed(error.into()))?;
    if mode != "wal" {
        return Err(refused(format!(
            "its file system does not allow a write-ahead log (journal mode {mode})"
        )));
    }
    create_tables(connection).map_err(|error| failed(error.into()))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(wait_while_busy))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Creates the file for its owner only. SQLite gives its other files (`-wal`, `-shm`) the same
/// permissions.
fn create_file(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error)
            if error.kind() == io::ErrorKind::AlreadyExists && !fs::metadata(path)?.is_dir() =>
        {
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Returns the application id, the schema version and the number of tables.
fn marks(connection: &Connection) -> rusqlite::Result<(i32, i32, i64)> {
    let number = |name| connection.pragma_query_value(None, name, |row| row.get(0));
    let tables =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok((number("application_id")?, number("user_version")?, tables))
}

/// Enables the write-ahead log. Repeats attempts itself, because SQLite does not call the busy
/// handler during this change, and two processes that open a new file may change the mode at the
/// same time.
fn use_wal(connection: &Connection) -> rusqlite::Result<String> {
    for _ in 0..BUSY_TRIES {
        match connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                std::thread::sleep(BUSY_STEP)
            }
            result => return result,
        }
    }
    connection.pragma_query_value(None, "journal_mode", |row| row.get(0))
}

fn create_tables(mut connection: Connection) -> rusqlite::Result<Connection> {
    // Each commit waits until it is on the disk. The two other settings matter on macOS only, where
    // fsync alone does not reach the disk.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "fullfsync", "on")?;
    connection.pragma_update(None, "checkpoint_fullfsync", "on")?;
    // The log file shrinks again after a very large transaction.
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (_, _, tables) = marks(&transaction)?;
    if tables == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
    }
    transaction.execute_batch(INDEXES)?;
    transaction.commit()?;
    Ok(connection)
}
