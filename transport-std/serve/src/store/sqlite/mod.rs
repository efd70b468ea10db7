//! Sessions in an SQLite file.

mod query;
mod schema;
mod writer;

use core::sync::atomic::{AtomicI64, Ordering};
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use rusqlite::Connection;
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use super::{
    Answer, Commit, CommitResult, CreateResult, DeleteResult, IdempotencyRecord, NewSession, Page,
    Part, Query, Record, Row, Store, StoreError, Timestamp,
};
use writer::{Writer, failed};

/// The maximum number of concurrent reads.
const READERS: usize = 4;

/// How often [`Store::changed`] checks whether another process has written.
const POLL: Duration = Duration::from_millis(50);

/// Keeps sessions in one SQLite file. Several processes on one machine can share the file.
///
/// The database uses a write-ahead log and `synchronous=FULL`: a successful change survives a loss
/// of power, provided that the disk does not lie about what it has written. Changes that wait at
/// the same time share one flush of the disk. The file must be on a local file system.
///
/// SQLite keeps two more files beside it, `…-wal` and `…-shm`. A copy of the database file alone
/// lacks the contents of the first one: use `sqlite3 FILE '.backup COPY'` to copy a database that
/// is in use.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Writer,
    thread: Mutex<Option<JoinHandle<()>>>,
    readers: Arc<Readers>,
    /// SQLite's `data_version` at the last check of [`Store::changed`].
    seen: AtomicI64,
}

/// Connections for reading, which are opened on first use.
#[derive(Debug)]
struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl SqliteStore {
    /// Opens the database in the file `path`. Creates the file, readable and writable for its owner
    /// only, if it does not exist.
    ///
    /// Blocks until the file is open, which takes milliseconds, or longer while another process
    /// recovers the database.
    ///
    /// # Errors
    /// Returns an error if the file cannot be opened or created, is damaged, is not an SQLite
    /// database, belongs to another program, was written by a newer version of this crate, or is on
    /// a file system that does not support a write-ahead log.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let connection = schema::writer(path)?;
        let seen = connection
            .pragma_query_value(None, "data_version", |row| row.get(0))
            .map_err(failed)?;
        let (writer, thread) = Writer::start(connection)?;
        let readers = Readers {
            path: path.to_owned(),
            idle: Mutex::default(),
            permits: Semaphore::new(READERS),
        };
        Ok(Self {
            writer,
            thread: Mutex::new(Some(thread)),
            readers: Arc::new(readers),
            seen: AtomicI64::new(seen),
        })
    }

    fn write<T, F>(&self, change: F) -> Answer<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        Box::pin(self.writer.apply(change))
    }

    fn read<T, F>(&self, read: F) -> Answer<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        Box::pin(async move {
            let _permit = self.readers.permit().await?;
            let readers = Arc::clone(&self.readers);
            let task = tokio::task::spawn_blocking(move || {
                let connection = readers.take()?;
                let result = read(&connection)?;
                readers.put(connection);
                Ok(result)
            });
            task.await
                .map_err(|error| {
                    StoreError::new("a read of the SQLite database did not end").because(error)
                })?
                .map_err(failed)
        })
    }

    /// Reads a few rows by their key on the current thread: their pages are usually in memory, and
    /// a switch to another thread would cost more than the read.
    fn look<T, F>(&self, read: F) -> Answer<'_, T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        Box::pin(async move {
            let _permit = self.readers.permit().await?;
            let connection = self.readers.take().map_err(failed)?;
            let result = read(&connection).map_err(failed)?;
            self.readers.put(connection);
            Ok(result)
        })
    }
}

impl Readers {
    /// Waits until another read may run.
    async fn permit(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        let permit = self.permits.acquire().await;
        permit.map_err(|_| StoreError::new("the SQLite database is closed"))
    }

    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| schema::reader(&self.path), Ok)
    }

    fn put(&self, connection: Connection) {
        // After `close` the connection is dropped.
        if !self.permits.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

impl Store for SqliteStore {
    fn create(&self, session: NewSession) -> Answer<'_, CreateResult> {
        self.write(move |connection| query::create(connection, &session))
    }

    fn load(&self, id: Uuid) -> Answer<'_, Option<Record>> {
        self.look(move |connection| query::load(connection, id))
    }

    fn base(&self, id: Uuid) -> Answer<'_, Option<Bytes>> {
        self.read(move |connection| query::base(connection, id))
    }

    fn commit(&self, commit: Commit) -> Answer<'_, CommitResult> {
        self.write(move |connection| query::commit(connection, &commit))
    }

    fn rows(
        &self,
        id: Uuid,
        after: u64,
        limit: usize,
        max_bytes: usize,
        part: Part,
    ) -> Answer<'_, Vec<Row>> {
        self.read(move |connection| query::rows(connection, id, after, limit, max_bytes, part))
    }

    fn is_place(&self, place: &str) -> bool {
        crate::store::number_of(place).is_some()
    }

    fn list(&self, query: Query) -> Answer<'_, Page> {
        self.read(move |connection| query::list(connection, &query))
    }

    fn count(&self) -> Answer<'_, u64> {
        self.look(query::count)
    }

    fn delete(&self, id: Uuid, expect: Option<u64>) -> Answer<'_, DeleteResult> {
        self.write(move |connection| query::delete(connection, id, expect))
    }

    fn recall(&self, scope: &str, key: &str) -> Answer<'_, Option<IdempotencyRecord>> {
        let (scope, key) = (scope.to_owned(), key.to_owned());
        self.look(move |connection| query::recall(connection, &scope, &key))
    }

    fn beat(&self, server: Uuid, until: Timestamp) -> Answer<'_, ()> {
        self.write(move |connection| query::beat(connection, server, until))
    }

    fn orphans(&self, now: Timestamp, limit: usize) -> Answer<'_, Vec<Uuid>> {
        self.read(move |connection| query::orphans(connection, now, limit))
    }

    fn sweep(&self, now: Timestamp) -> Answer<'_, Vec<Uuid>> {
        Box::pin(async move {
            let mut gone = Vec::new();
            loop {
                let some = self.write(move |connection| query::sweep(connection, now)).await?;
                let is_last = some.len() < query::SWEEP;
                gone.extend(some);
                if is_last {
                    return Ok(gone);
                }
            }
        })
    }

    fn versions(&self, ids: &[Uuid]) -> Answer<'_, Vec<Option<u64>>> {
        let ids = ids.to_owned();
        // Many queries would keep other tasks of the thread waiting.
        if ids.len() > 16 {
            return self.read(move |connection| query::versions(connection, &ids));
        }
        self.look(move |connection| query::versions(connection, &ids))
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                tokio::time::sleep(POLL).await;
                // The writer's connection does not count changes of this process.
                match self.writer.data_version().await {
                    Ok(version) if self.seen.swap(version, Ordering::Relaxed) == version => {}
                    // Whoever uses the database next receives the error.
                    Ok(_) | Err(_) => return,
                }
            }
        })
    }

    fn ready(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            // Checks writing as well as reading: the disk may be full, or the file deleted.
            self.write(|_| Ok(())).await?;
            self.read(query::count).await.map(|_| ())
        })
    }

    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            self.readers.permits.close();
            self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
            let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(thread) = thread else { return Ok(()) };
            self.writer.close()?;
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            match joined {
                Ok(Ok(())) => Ok(()),
                _ => Err(StoreError::new("the SQLite database's thread failed")),
            }
        })
    }
}
