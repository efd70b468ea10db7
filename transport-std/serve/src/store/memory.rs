//! Sessions in this process's memory.

use core::future::ready;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::{
    Answer, Commit, CommitResult, CreateResult, DeleteResult, IdempotencyRecord, NewSession, Page,
    Part, Query, Record, Row, Status, Store, StoreError, Summary, Timestamp,
};

/// Keeps sessions in memory, where they are lost when the process ends. For tests, and for agents
/// whose sessions need not last.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sessions: HashMap<Uuid, Session>,
    /// The sessions in order of creation.
    order: BTreeMap<u64, Uuid>,
    /// The number of sessions that were ever created.
    created: u64,
    /// Sessions that are running or have a holder, so that orphans are found without searching all
    /// sessions.
    at_work: BTreeSet<Uuid>,
    /// Sessions that may be swept, by `expires`.
    expiring: BTreeSet<(Timestamp, Uuid)>,
    /// Stored answers, by scope and key.
    answers: HashMap<(String, String), IdempotencyRecord>,
    /// When each server's last sign of life expires.
    servers: HashMap<Uuid, Timestamp>,
}

#[derive(Debug)]
struct Session {
    record: Record,
    /// The session's key in `order`.
    place: u64,
    base: Option<Bytes>,
    /// The row with the `seq` n is at index n - 1.
    rows: Vec<Row>,
}

impl MemoryStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T: Send + 'static>(&self, f: impl FnOnce(&mut Inner) -> T) -> Answer<'_, T> {
        let result: Result<T, StoreError> = Ok(f(&mut self.lock()));
        Box::pin(ready(result))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn known(&self, idempotent: Option<&IdempotencyRecord>) -> Option<IdempotencyRecord> {
        let IdempotencyRecord { scope, key, .. } = idempotent?;
        self.answers.get(&(scope.clone(), key.clone())).cloned()
    }

    fn remember(&mut self, idempotent: Option<IdempotencyRecord>) {
        if let Some(answer) = idempotent {
            self.answers.insert((answer.scope.clone(), answer.key.clone()), answer);
        }
    }

    fn create(&mut self, new: NewSession) -> CreateResult {
        if let Some(answer) = self.known(new.idempotent.as_ref()) {
            return CreateResult::Replay(answer);
        }
        if self.sessions.contains_key(&new.id) {
            return CreateResult::Exists;
        }
        if new.limit.is_some_and(|limit| self.count() >= limit) {
            return CreateResult::Full;
        }
        self.remember(new.idempotent);
        let record = Record {
            id: new.id,
            owner: new.owner,
            metadata: new.metadata,
            created: new.now,
            updated: new.now,
            expires: new.expires,
            version: 1,
            head: 0,
            status: Status::Idle,
            messages: new.messages,
            holder: None,
            fence: 0,
            token: Uuid::nil(),
            document: new.document,
        };
        self.created += 1;
        let place = self.created;
        self.order.insert(place, new.id);
        if let Some(expires) = record.expires {
            self.expiring.insert((expires, new.id));
        }
        self.sessions.insert(new.id, Session { record, place, base: new.base, rows: Vec::new() });
        CreateResult::Done
    }

    fn commit(&mut self, commit: Commit) -> CommitResult {
        if let Some(answer) = self.known(commit.idempotent.as_ref()) {
            return CommitResult::Replay(answer);
        }
        let Some(session) = self.sessions.get_mut(&commit.id) else {
            return CommitResult::Conflict(None);
        };
        let record = &mut session.record;
        if record.version != commit.expect
            || commit.fence.is_some_and(|fence| fence != record.fence)
        {
            return CommitResult::Conflict(Some(Box::new(record.clone())));
        }
        debug_assert!(
            commit.rows.iter().zip(record.head + 1..).all(|(row, seq)| row.seq == seq),
            "rows follow the head"
        );
        if let Some(expires) = record.expires {
            self.expiring.remove(&(expires, commit.id));
        }
        if let Some(expires) = commit.expires {
            self.expiring.insert((expires, commit.id));
        }
        *record = record.after(&commit);
        if record.status == Status::Running || record.holder.is_some() {
            self.at_work.insert(commit.id);
        } else {
            self.at_work.remove(&commit.id);
        }
        session.rows.extend(commit.rows);
        self.remember(commit.idempotent);
        CommitResult::Done
    }

    fn rows(&self, id: Uuid, after: u64, limit: usize, max_bytes: usize, part: Part) -> Vec<Row> {
        let Some(session) = self.sessions.get(&id) else { return Vec::new() };
        let rest = usize::try_from(after)
            .ok()
            .and_then(|after| session.rows.get(after..))
            .unwrap_or_default();
        let (mut rows, mut bytes) = (Vec::new(), 0);
        for row in rest {
            let row = match (part, &row.patch) {
                (Part::Events, _) => Row { patch: None, ..row.clone() },
                (Part::Patches, Some(_)) => Row { event: Bytes::new(), ..row.clone() },
                (Part::Patches, None) => continue,
            };
            if rows.len() >= limit || (bytes >= max_bytes && !rows.is_empty()) {
                break;
            }
            bytes += row.event.len() + row.patch.as_ref().map_or(0, Bytes::len);
            rows.push(row);
        }
        rows
    }

    fn list(&self, query: &Query) -> Page {
        let after = query.after.as_deref().and_then(super::number_of).unwrap_or(0);
        let mut page = Page::default();
        let mut last = 0;
        for (&place, id) in self.order.range(after.unsigned_abs() + 1..) {
            let Some(Session { record, .. }) = self.sessions.get(id) else { continue };
            let fits = record.owner == query.owner
                && query.status.is_none_or(|status| record.status == status)
                && query
                    .metadata
                    .iter()
                    .all(|(key, value)| record.metadata.get(key) == Some(value));
            if !fits {
                continue;
            }
            if page.sessions.len() >= query.limit.max(1) {
                page.next = Some(last.to_string());
                break;
            }
            last = place;
            let Record { id, ref metadata, created, updated, status, messages, .. } = *record;
            page.sessions.push(Summary {
                id,
                metadata: metadata.clone(),
                created,
                updated,
                status,
                messages,
            });
        }
        page
    }

    fn delete(&mut self, id: Uuid, expect: Option<u64>) -> DeleteResult {
        let Some(session) = self.sessions.get(&id) else { return DeleteResult::Missing };
        if expect.is_some_and(|expect| expect != session.record.version) {
            return DeleteResult::Conflict;
        }
        let (place, expires) = (session.place, session.record.expires);
        self.sessions.remove(&id);
        self.order.remove(&place);
        self.at_work.remove(&id);
        if let Some(expires) = expires {
            self.expiring.remove(&(expires, id));
        }
        DeleteResult::Done
    }

    fn orphans(&self, now: Timestamp, limit: usize) -> Vec<Uuid> {
        let is_held = |id: &Uuid| {
            let holder = self.sessions.get(id).and_then(|session| session.record.holder);
            holder.and_then(|holder| self.servers.get(&holder)).is_some_and(|until| *until > now)
        };
        self.at_work.iter().filter(|id| !is_held(id)).take(limit).copied().collect()
    }

    fn sweep(&mut self, now: Timestamp) -> Vec<Uuid> {
        let gone: Vec<Uuid> = self
            .expiring
            .iter()
            .take_while(|(expires, _)| *expires <= now)
            .map(|(_, id)| *id)
            .collect();
        for id in &gone {
            self.delete(*id, None);
        }
        self.answers.retain(|_, answer| answer.expires > now);
        self.servers.retain(|_, until| until.after(super::IDEMPOTENCY_TTL) > now);
        gone
    }

    fn count(&self) -> u64 {
        self.sessions.len() as u64
    }
}

impl Store for MemoryStore {
    fn create(&self, session: NewSession) -> Answer<'_, CreateResult> {
        self.with(|inner| inner.create(session))
    }

    fn load(&self, id: Uuid) -> Answer<'_, Option<Record>> {
        self.with(|inner| inner.sessions.get(&id).map(|session| session.record.clone()))
    }

    fn base(&self, id: Uuid) -> Answer<'_, Option<Bytes>> {
        self.with(|inner| inner.sessions.get(&id).and_then(|session| session.base.clone()))
    }

    fn commit(&self, commit: Commit) -> Answer<'_, CommitResult> {
        self.with(|inner| inner.commit(commit))
    }

    fn rows(
        &self,
        id: Uuid,
        after: u64,
        limit: usize,
        max_bytes: usize,
        part: Part,
    ) -> Answer<'_, Vec<Row>> {
        self.with(|inner| inner.rows(id, after, limit, max_bytes, part))
    }

    fn is_place(&self, place: &str) -> bool {
        super::number_of(place).is_some()
    }

    fn list(&self, query: Query) -> Answer<'_, Page> {
        self.with(|inner| inner.list(&query))
    }

    fn count(&self) -> Answer<'_, u64> {
        self.with(|inner| inner.count())
    }

    fn delete(&self, id: Uuid, expect: Option<u64>) -> Answer<'_, DeleteResult> {
        self.with(|inner| inner.delete(id, expect))
    }

    fn recall(&self, scope: &str, key: &str) -> Answer<'_, Option<IdempotencyRecord>> {
        self.with(|inner| inner.answers.get(&(scope.to_owned(), key.to_owned())).cloned())
    }

    fn beat(&self, server: Uuid, until: Timestamp) -> Answer<'_, ()> {
        self.with(|inner| {
            inner.servers.insert(server, until);
        })
    }

    fn orphans(&self, now: Timestamp, limit: usize) -> Answer<'_, Vec<Uuid>> {
        self.with(|inner| inner.orphans(now, limit))
    }

    fn sweep(&self, now: Timestamp) -> Answer<'_, Vec<Uuid>> {
        self.with(|inner| inner.sweep(now))
    }

    fn versions(&self, ids: &[Uuid]) -> Answer<'_, Vec<Option<u64>>> {
        self.with(|inner| {
            ids.iter()
                .map(|id| inner.sessions.get(id).map(|session| session.record.version))
                .collect()
        })
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        // No other process can change anything.
        Box::pin(core::future::pending())
    }

    fn ready(&self) -> Answer<'_, ()> {
        self.with(|_| ())
    }
}
