//! The thread that writes. It collects waiting changes and commits them together.
//!
//! A commit costs one flush of the disk, whatever its size. While the thread waits for the disk,
//! more changes arrive and share the next commit. So throughput grows with the number of clients,
//! and a single client waits for one commit only.

use core::time::Duration;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::StoreError;

/// A transaction accepts no more changes after this time, so that the first change does not wait
/// for the last one.
const GATHERING: Duration = Duration::from_millis(5);

/// Sends changes to the thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Writer {
    messages: Sender<Message>,
}

enum Message {
    Change(Box<dyn Change>),
    DataVersion(oneshot::Sender<rusqlite::Result<i64>>),
    Close,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(connection: Connection) -> Result<(Self, JoinHandle<()>), StoreError> {
        let (messages, inbox) = channel();
        let thread = thread::Builder::new()
            .name("sqlite-writer".into())
            .spawn(move || write(&connection, &inbox));
        let thread = thread
            .map_err(|error| StoreError::new("no thread for the SQLite database").because(error))?;
        Ok((Self { messages }, thread))
    }

    /// Applies a change, and returns once it is on the disk. A change that fails is undone
    /// completely.
    pub(super) async fn apply<T, F>(&self, change: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Change(Box::new(Job { change: Some(change), result: None, reply })))?;
        answer.await.map_err(|_| stopped())?
    }

    /// Returns a number that changes when another process has changed the database.
    pub(super) async fn data_version(&self) -> Result<i64, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::DataVersion(reply))?;
        answer.await.map_err(|_| stopped())?.map_err(failed)
    }

    /// Ends the thread after the changes that were sent before.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        self.send(Message::Close)
    }

    fn send(&self, message: Message) -> Result<(), StoreError> {
        self.messages.send(message).map_err(|_| stopped())
    }
}

fn stopped() -> StoreError {
    StoreError::new("the SQLite database is closed")
}

pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    StoreError::new("the SQLite database failed").because(error)
}

/// A change whose result waits for the commit.
trait Change: Send {
    fn run(&mut self, connection: &Connection);
    /// Returns whether the change failed, so that its writes must be undone.
    fn has_failed(&self) -> bool;
    fn end(self: Box<Self>, committed: Result<(), &str>);
}

struct Job<T, F> {
    change: Option<F>,
    result: Option<rusqlite::Result<T>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Change for Job<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, connection: &Connection) {
        self.result = self.change.take().map(|change| change(connection));
    }

    fn has_failed(&self) -> bool {
        matches!(self.result, Some(Err(_)))
    }

    fn end(self: Box<Self>, committed: Result<(), &str>) {
        let result = match (self.result, committed) {
            (Some(Err(error)), _) => Err(failed(error)),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Err(text)) => Err(StoreError::new("the SQLite database failed").because(text)),
            (None, Ok(())) => Err(stopped()),
        };
        // The change stays even if its caller no longer waits for the result.
        let _ = self.reply.send(result);
    }
}

fn write(connection: &Connection, inbox: &Receiver<Message>) {
    let mut waiting = inbox.recv().ok();
    while let Some(message) = waiting.take() {
        match message {
            Message::Close => return,
            Message::DataVersion(reply) => {
                let version = connection
                    .prepare_cached("PRAGMA data_version")
                    .and_then(|mut get| get.query_row([], |row| row.get(0)));
                let _ = reply.send(version);
            }
            Message::Change(first) => waiting = transact(connection, first, inbox),
        }
        waiting = waiting.or_else(|| inbox.recv().ok());
    }
}

/// Commits the change and those that wait behind it in one transaction. Returns the first message
/// that is not a change.
fn transact(
    connection: &Connection,
    first: Box<dyn Change>,
    inbox: &Receiver<Message>,
) -> Option<Message> {
    if let Err(error) = execute(connection, "BEGIN IMMEDIATE") {
        first.end(Err(&error.to_string()));
        return None;
    }
    // The first change needs no savepoint: if it fails, nothing else must be kept.
    let mut first = first;
    first.run(connection);
    if first.has_failed() {
        let _ = execute(connection, "ROLLBACK");
        first.end(Ok(()));
        return None;
    }
    let (start, mut changes, mut failure, mut other) = (Instant::now(), vec![first], None, None);
    while failure.is_none() && start.elapsed() < GATHERING {
        match inbox.try_recv() {
            Ok(Message::Change(mut change)) => {
                failure = run(connection, &mut *change).err();
                changes.push(change);
            }
            Ok(message) => {
                other = Some(message);
                break;
            }
            Err(_) => break,
        }
    }
    let committed = failure
        .map_or_else(|| execute(connection, "COMMIT"), Err)
        .map_err(|error| error.to_string());
    if committed.is_err() {
        // Fails if SQLite has already rolled back.
        let _ = execute(connection, "ROLLBACK");
    }
    for change in changes {
        change.end(committed.as_ref().map(|_| ()).map_err(|text| text.as_str()));
    }
    other
}

/// Runs a change within a savepoint, so that it can be undone alone.
fn run(connection: &Connection, change: &mut dyn Change) -> rusqlite::Result<()> {
    execute(connection, "SAVEPOINT change")?;
    change.run(connection);
    if change.has_failed() {
        execute(connection, "ROLLBACK TO change")?;
    }
    execute(connection, "RELEASE change")
}

fn execute(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(|_| ())
}
