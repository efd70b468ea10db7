//! Processes that write and are killed: everything that they reported as stored must be stored, and
//! nothing may be stored in part.
//!
//! A test that is started again as a child process calls [`write_until_killed`] with its standard
//! output; the parent calls [`kill_writers`].

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

use super::sessions::noise;
use super::*;
use crate::store::{Part, StoreError};

/// The number of sessions that each process writes to at the same time.
const SESSIONS: usize = 4;

/// Returns the sessions of a name, which are the same in every process of a test.
fn ids(name: &str) -> [Uuid; SESSIONS] {
    core::array::from_fn(|number| {
        let mut bytes = [0_u8; 16];
        for (at, byte) in name.bytes().enumerate() {
            bytes[at % 14] = bytes[at % 14].wrapping_mul(31) ^ byte;
        }
        bytes[15] = u8::try_from(number).unwrap_or_default();
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    })
}

/// Returns the rows of the commit that creates `version`, and whether it has a key. Everything
/// follows from the version and the token, so that a reader can check it.
fn plan(version: u64, token: Uuid, head: u64) -> (Vec<Row>, bool) {
    let count = 1 + version % 4;
    let size = match version % 50 {
        0 => 1 << 20,
        5..=7 => 30_000,
        _ => 20,
    };
    let row = |part| {
        let mut event = format!("{version}/{part}/{count}/{token}/").into_bytes();
        event.extend(noise(version, size));
        Row {
            seq: head + part,
            patch: (part == 1).then(|| format!("{version}").into()),
            event: event.into(),
        }
    };
    ((1..=count).map(row).collect(), version.is_multiple_of(3))
}

fn key(id: Uuid, version: u64, token: Uuid) -> IdempotencyRecord {
    IdempotencyRecord {
        answer: token.to_string().into(),
        ..idempotent(&id.to_string(), &version.to_string())
    }
}

/// Writes to the sessions of this name until the process ends, and prints a line after each commit
/// that succeeded. After a store error it prints a line, loads the session and continues, as a
/// server does.
pub async fn write_until_killed(store: Handle, name: &str) {
    let tasks: Vec<_> =
        ids(name).into_iter().map(|id| tokio::spawn(write(Arc::clone(&store), id))).collect();
    for task in tasks {
        task.await.expect("a writer");
    }
}

async fn write(store: Handle, id: Uuid) {
    let store = &store;
    let mut record = first(store, id).await;
    loop {
        let token = Uuid::new_v4();
        let (rows, has_key) = plan(record.version + 1, token, record.head);
        let next = Commit {
            token,
            document: noise(
                record.version + 1,
                if (record.version + 1).is_multiple_of(40) { 1 << 20 } else { 2_000 },
            ),
            idempotent: has_key.then(|| key(id, record.version + 1, token)),
            rows,
            ..change(&record, 0)
        };
        let (version, head) = (record.version + 1, record.head + next.rows.len() as u64);
        match store.commit(next).await {
            Ok(CommitResult::Done) => {
                say(&format!("stored {id} {version} {head} {token}"));
                record = Record { version, head, ..record };
            }
            // Another process was faster.
            Ok(CommitResult::Conflict(Some(now))) => record = *now,
            // Another process was faster between the load of the record and this commit.
            Ok(CommitResult::Replay(_)) => record = patient(store, id).await,
            Ok(CommitResult::Conflict(None)) => panic!("the session is gone"),
            Err(error) => {
                say(&format!("failed {error}"));
                record = patient(store, id).await;
            }
        }
    }
}

async fn first(store: &Handle, id: Uuid) -> Record {
    for _ in 0..TRIES {
        if let Ok(created) = store.create(NewSession { id, ..new_session("crash") }).await {
            assert!(matches!(created, CreateResult::Done | CreateResult::Exists), "{created:?}");
            return patient(store, id).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("the store creates no session");
}

/// A killed database recovers within a minute.
const TRIES: usize = 6_000;
const PAUSE: Duration = Duration::from_millis(10);

/// Loads a record. Repeats failed attempts while the database restarts.
async fn patient(store: &Handle, id: Uuid) -> Record {
    for _ in 0..TRIES {
        match store.load(id).await {
            Ok(record) => return record.expect("the session is there"),
            Err(StoreError { .. }) => tokio::time::sleep(PAUSE).await,
        }
    }
    panic!("the store does not answer any more")
}

/// Prints a line in one piece, even if the process dies right after. `println!` would print to the
/// test's captured output.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("\n@ {line}\n").as_bytes());
    let _ = out.flush();
}

/// A process that writes.
#[derive(Debug)]
struct Writer {
    process: Child,
    lines: Receiver<String>,
}

impl Writer {
    fn start(mut command: Command) -> Self {
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the writer starts");
        let out = process.stdout.take().expect("its output");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Some(line) = line.strip_prefix("@ ") {
                    let _ = sender.send(line.to_owned());
                }
            }
        });
        Self { process, lines }
    }

    /// Kills the process with SIGKILL. Returns all lines that it printed.
    fn kill(mut self) -> Vec<String> {
        self.process.kill().expect("the writer is killed");
        self.process.wait().expect("the writer has ended");
        self.lines.iter().collect()
    }
}

/// How a test kills processes.
pub struct Plan<'a> {
    /// The name that identifies the sessions.
    pub name: &'a str,
    /// Opens the store in this process.
    pub open: &'a (dyn Fn() -> BoxFuture<'static, Handle> + Sync),
    /// Returns the command of a process that calls [`write_until_killed`].
    pub writer: &'a (dyn Fn() -> Command + Sync),
    /// The number of processes that write at the same time. All are killed.
    pub writers: usize,
    /// The number of runs.
    pub runs: usize,
    /// Called in each run before the writers are killed, for example to kill and restart the
    /// database as well.
    pub before: &'a (dyn Fn(usize) + Sync),
}

impl core::fmt::Debug for Plan<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Plan")
            .field("name", &self.name)
            .field("runs", &self.runs)
            .finish_non_exhaustive()
    }
}

/// The counts of a test.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommitCounts {
    /// Commits that succeeded before a kill, and are stored.
    pub kept: usize,
    /// Commits that are stored, although no success was reported.
    pub unanswered: usize,
    /// Commits that failed because the database was killed.
    pub failed: usize,
}

/// Starts writers, kills them at a random moment, and checks the store; repeatedly, on the same
/// sessions.
///
/// # Panics
/// Panics if a reported commit is lost, or a commit is stored in part.
pub async fn kill_writers(plan: Plan<'_>) -> CommitCounts {
    let mut seen = CommitCounts::default();
    let mut versions = HashMap::new();
    // Created before the writers, which can be killed before they have created all of them.
    let store = (plan.open)().await;
    for id in ids(plan.name) {
        first(&store, id).await;
    }
    store.close().await.unwrap();
    for run in 0..plan.runs {
        let writers: Vec<_> = (0..plan.writers).map(|_| Writer::start((plan.writer)())).collect();
        let mut lines = Vec::new();
        for writer in &writers {
            // Waits until each writer has committed once.
            match writer.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("run {run}: a writer does not write")
                }
            }
        }
        let until =
            Instant::now() + Duration::from_micros(Uuid::new_v4().as_u128() as u64 % 120_000);
        tokio::time::sleep_until(until.into()).await;
        (plan.before)(run);
        for writer in writers {
            lines.extend(writer.kill());
        }
        let mut stored: HashMap<Uuid, BTreeMap<u64, (u64, Uuid)>> = HashMap::new();
        for line in &lines {
            let words: Vec<_> = line.split(' ').collect();
            let ["stored", id, version, head, token] = words[..] else {
                assert_eq!(words[0], "failed", "run {run}: {line}");
                seen.failed += 1;
                continue;
            };
            let (version, head) = (version.parse().unwrap(), head.parse().unwrap());
            let before = stored
                .entry(id.parse().unwrap())
                .or_default()
                .insert(version, (head, token.parse().unwrap()));
            assert_eq!(before, None, "run {run}: version {version} was given twice");
        }
        let store = (plan.open)().await;
        for id in ids(plan.name) {
            let record = patient(&store, id).await;
            let stored = stored.remove(&id).unwrap_or_default();
            let from = versions.insert(id, (record.version, record.head)).unwrap_or((1, 0));
            let last = stored.keys().last().copied().unwrap_or(from.0);
            assert!(
                record.version >= last,
                "run {run}: version {last} was answered, {} is there",
                record.version
            );
            // Each process has at most one commit under way, or several that failed together with
            // the database.
            if lines.iter().all(|line| line.starts_with("stored")) {
                let most = last + plan.writers as u64;
                assert!(
                    record.version <= most,
                    "run {run}: {} is there, {last} was answered",
                    record.version
                );
            }
            seen.unanswered += check(&store, &record, from, &stored).await;
            seen.kept += stored.len();
        }
        store.close().await.unwrap();
    }
    seen
}

/// Checks everything that was written after the version and head in `from`. Returns the number of
/// commits whose success was not reported.
async fn check(
    store: &Handle,
    record: &Record,
    from: (u64, u64),
    stored: &BTreeMap<u64, (u64, Uuid)>,
) -> usize {
    let id = record.id;
    let (mut version, mut head) = from;
    let mut unanswered = 0;
    let mut rows = Vec::new();
    loop {
        let after = head + rows.len() as u64;
        let page = store.rows(id, after, 1_000, 4 << 20, Part::Events).await.unwrap();
        if page.is_empty() {
            break;
        }
        rows.extend(page);
        // Takes whole commits only; the last one may continue in the next page.
        while let Some(first) = rows.first() {
            let text =
                String::from_utf8_lossy(&first.event[..first.event.len().min(80)]).into_owned();
            let parts: Vec<_> = text.split('/').collect();
            let (count, token): (usize, Uuid) =
                (parts[2].parse().unwrap(), parts[3].parse().unwrap());
            if rows.len() < count {
                break;
            }
            version += 1;
            let (expected, has_key) = plan(version, token, head);
            for (row, expected) in rows.drain(..count).zip(&expected) {
                assert!(
                    row.seq == expected.seq && row.event == expected.event,
                    "row {} of version {version} is another",
                    row.seq
                );
            }
            head += count as u64;
            match stored.get(&version) {
                Some(answered) => {
                    assert_eq!(*answered, (head, token), "version {version} is another's")
                }
                None => unanswered += 1,
            }
            if has_key {
                let kept = store.recall(&id.to_string(), &version.to_string()).await.unwrap();
                assert_eq!(kept, Some(key(id, version, token)), "the key of version {version}");
            }
        }
    }
    assert_eq!(
        (rows.len(), version, head),
        (0, record.version, record.head),
        "record and log agree"
    );
    if version > 1 {
        assert_eq!(
            record.document,
            noise(version, if version.is_multiple_of(40) { 1 << 20 } else { 2_000 })
        );
    }
    // Commits that are not stored must not have left a key.
    for beyond in version + 1..version + 4 {
        assert_eq!(
            store.recall(&id.to_string(), &beyond.to_string()).await.unwrap(),
            None,
            "a key without its commit"
        );
    }
    unanswered
}
