//! Tests the server's work on turns and webhooks, with a store that fails as a test wants.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::chat::{SentMessage, raw};
use crate::engine::{self, Message, Webhook};
use crate::store::{Answer, Commit, CreateResult, MemoryStore, NewSession, Page, Query};

/// A store in memory whose next accesses fail or take time.
#[derive(Default)]
struct Faulty {
    inner: MemoryStore,
    /// The next commit is applied, and its writer receives an error.
    hides_commit: AtomicBool,
    /// The next read of a session after a hidden commit fails.
    hides_load: AtomicBool,
    /// How long a commit takes, in milliseconds.
    commit_millis: AtomicU32,
    beats: AtomicUsize,
    reads: AtomicUsize,
}

fn lost<T>() -> Result<T, StoreError> {
    Err(StoreError::new("as the test wants"))
}

impl Store for Faulty {
    fn create(&self, session: NewSession) -> Answer<'_, CreateResult> {
        self.inner.create(session)
    }

    fn load(&self, id: Uuid) -> Answer<'_, Option<Record>> {
        Box::pin(async move {
            let hides = !self.hides_commit.load(Ordering::Relaxed)
                && self.hides_load.swap(false, Ordering::Relaxed);
            if hides { lost() } else { self.inner.load(id).await }
        })
    }

    fn base(&self, id: Uuid) -> Answer<'_, Option<Bytes>> {
        self.inner.base(id)
    }

    fn commit(&self, commit: Commit) -> Answer<'_, CommitResult> {
        Box::pin(async move {
            let millis = self.commit_millis.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(millis.into())).await;
            let committed = self.inner.commit(commit).await;
            if self.hides_commit.swap(false, Ordering::Relaxed) { lost() } else { committed }
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
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.rows(id, after, limit, max_bytes, part)
    }

    fn list(&self, query: Query) -> Answer<'_, Page> {
        self.inner.list(query)
    }

    fn count(&self) -> Answer<'_, u64> {
        self.inner.count()
    }

    fn delete(&self, id: Uuid, expect: Option<u64>) -> Answer<'_, DeleteResult> {
        self.inner.delete(id, expect)
    }

    fn recall(&self, scope: &str, key: &str) -> Answer<'_, Option<IdempotencyRecord>> {
        self.inner.recall(scope, key)
    }

    fn beat(&self, server: Uuid, until: Timestamp) -> Answer<'_, ()> {
        self.beats.fetch_add(1, Ordering::Relaxed);
        self.inner.beat(server, until)
    }

    fn orphans(&self, now: Timestamp, limit: usize) -> Answer<'_, Vec<Uuid>> {
        self.inner.orphans(now, limit)
    }

    fn sweep(&self, now: Timestamp) -> Answer<'_, Vec<Uuid>> {
        self.inner.sweep(now)
    }

    fn versions(&self, ids: &[Uuid]) -> Answer<'_, Vec<Option<u64>>> {
        self.inner.versions(ids)
    }

    fn changed(&self) -> futures_util::future::BoxFuture<'_, ()> {
        self.inner.changed()
    }

    fn ready(&self) -> Answer<'_, ()> {
        self.inner.ready()
    }
}

/// Receives webhooks, and answers with `status` after `delay`.
struct Hook {
    url: String,
    status: Arc<Mutex<u16>>,
    delay: Arc<Mutex<Duration>>,
    /// How many requests have arrived.
    seen: Arc<AtomicUsize>,
}

impl Hook {
    async fn new(status: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            url: format!("http://{}/hook", listener.local_addr().unwrap()),
            status: Arc::new(Mutex::new(status)),
            delay: Arc::default(),
            seen: Arc::default(),
        };
        let (status, delay, seen) =
            (Arc::clone(&this.status), Arc::clone(&this.delay), Arc::clone(&this.seen));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (status, delay) = (*status.lock().unwrap(), *delay.lock().unwrap());
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 65536]).await;
                    seen.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(delay).await;
                    let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        this
    }

    fn answers(&self, status: u16) {
        *self.status.lock().unwrap() = status;
    }

    fn seen(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }
}

fn server(store: &Arc<Faulty>, workers: Option<usize>) -> Arc<Server> {
    let agent = Agent::function(|text| async move {
        match text.as_str() {
            "hang" => core::future::pending().await,
            _ => Ok::<_, String>(format!("echo: {text}")),
        }
    });
    let options = Options { workers, allow_private_webhooks: true, ..Options::default() };
    Server::new(agent, Arc::clone(store) as Arc<dyn Store>, options)
}

async fn session(store: &Faulty) -> Uuid {
    let id = Uuid::now_v7();
    let new = NewSession {
        id,
        owner: String::new(),
        metadata: Default::default(),
        now: Timestamp::now(),
        expires: None,
        messages: 0,
        document: serde_json::to_vec(&Document::default()).unwrap().into(),
        base: None,
        limit: None,
        idempotent: None,
    };
    assert_eq!(store.create(new).await.unwrap(), CreateResult::Done);
    id
}

async fn send(
    server: &Arc<Server>,
    id: Uuid,
    text: &str,
    hook: Option<&Hook>,
) -> Result<CommandResult, Failure> {
    let sent = SentMessage { role: ChatRole::User, content: raw(text), base64_image: None };
    let webhook = hook.map(|hook| Webhook {
        url: hook.url.clone(),
        token: None,
        secret: None,
        include_messages: false,
    });
    let message = Message { sent, webhook, trace_parent: None };
    let command = |record: &Record, document, context: &mut Context<'_>| {
        engine::send(record, document, &message, context)
    };
    server.apply(id, "", None, None, command).await
}

/// Waits until the condition holds.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..2_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within 10 s: {what}");
}

async fn record(store: &Faulty, id: Uuid) -> (Record, Document) {
    let record = store.inner.load(id).await.unwrap().unwrap();
    let document = Document::of(&record).unwrap();
    (record, document)
}

/// Runs a turn whose webhook is refused, so that it waits.
async fn refused(server: &Arc<Server>, store: &Faulty, id: Uuid, hook: &Hook) {
    send(server, id, "a", Some(hook)).await.unwrap();
    until("the webhook is refused", || async { hook.seen() > 0 }).await;
    assert_eq!(record(store, id).await.1.deliveries.len(), 1);
}

#[tokio::test]
async fn a_takeover_with_an_unknown_outcome_delivers_its_webhooks() {
    let (store, hook) = (Arc::new(Faulty::default()), Hook::new(503).await);
    let id = session(&store).await;
    let one = server(&store, None);
    refused(&one, &store, id, &hook).await;
    one.end(Duration::ZERO).await;
    hook.answers(200);
    let other = server(&store, None);
    store.hides_commit.store(true, Ordering::Relaxed);
    assert!(other.adopt_orphans().await.is_err());
    assert_eq!(record(&store, id).await.0.holder, Some(other.id));
    other.store.beat(other.id, Timestamp::now().after(Duration::from_secs(60))).await.unwrap();
    other.adopt_orphans().await.unwrap();
    until("it is delivered", || async { record(&store, id).await.1.deliveries.is_empty() }).await;
    assert_eq!(hook.seen(), 2);
    assert_eq!(record(&store, id).await.0.holder, None, "the session is held for no reason");
}

#[tokio::test]
async fn a_turn_whose_first_commit_had_an_unknown_outcome_goes_on() {
    let store = Arc::new(Faulty::default());
    let id = session(&store).await;
    let one = server(&store, None);
    one.store.beat(one.id, Timestamp::now().after(Duration::from_secs(60))).await.unwrap();
    store.hides_commit.store(true, Ordering::Relaxed);
    store.hides_load.store(true, Ordering::Relaxed);
    assert!(matches!(send(&one, id, "a", None).await, Err(Failure::Store(_))));
    assert_eq!(record(&store, id).await.0.status, Status::Running);
    one.adopt_orphans().await.unwrap();
    until("the turn ends", || async { record(&store, id).await.0.status == Status::Idle }).await;
}

#[tokio::test]
async fn a_webhook_of_an_earlier_turn_waits_for_no_worker() {
    let (store, hook) = (Arc::new(Faulty::default()), Hook::new(503).await);
    let (id, busy) = (session(&store).await, session(&store).await);
    let one = server(&store, None);
    refused(&one, &store, id, &hook).await;
    send(&one, id, "hang", None).await.unwrap();
    until("the turn runs", || async { one.running() == 1 }).await;
    one.end(Duration::ZERO).await;
    hook.answers(200);
    let other = server(&store, Some(1));
    other.store.beat(other.id, Timestamp::now().after(Duration::from_secs(60))).await.unwrap();
    send(&other, busy, "hang", None).await.unwrap();
    until("the worker is busy", || async { other.running() == 1 }).await;
    other.adopt_orphans().await.unwrap();
    until("it is delivered", || async { record(&store, id).await.1.deliveries.is_empty() }).await;
    assert_eq!(record(&store, id).await.0.status, Status::Running);
}

#[tokio::test]
async fn an_attempt_that_is_under_way_outlives_the_drain() {
    let (store, hook) = (Arc::new(Faulty::default()), Hook::new(200).await);
    let id = session(&store).await;
    *hook.delay.lock().unwrap() = Duration::from_millis(300);
    let one = server(&store, None);
    send(&one, id, "a", Some(&hook)).await.unwrap();
    until("the attempt begins", || async { hook.seen() == 1 }).await;
    one.end(Duration::ZERO).await;
    assert_eq!(record(&store, id).await.1.deliveries.len(), 0, "the attempt was cut off");
}

#[tokio::test]
async fn a_webhook_that_is_dropped_is_counted_as_failed() {
    let (store, hook) = (Arc::new(Faulty::default()), Hook::new(503).await);
    let id = session(&store).await;
    let one = server(&store, None);
    for _ in 0..=engine::DELIVERIES {
        send(&one, id, "a", Some(&hook)).await.unwrap();
        until("the turn ends", || async { record(&store, id).await.0.status == Status::Idle })
            .await;
    }
    until("the failure is counted", || async {
        one.metrics.text(0, 0).contains("toolrunner_webhooks_failed_total 1\n")
    })
    .await;
    assert_eq!(record(&store, id).await.1.deliveries.len(), engine::DELIVERIES);
}

/// Another server must not take over the turns of a server that is busy with takeovers.
#[tokio::test(start_paused = true)]
async fn the_heartbeat_goes_on_while_orphans_are_adopted() {
    let store = Arc::new(Faulty::default());
    let dead = server(&store, None);
    for _ in 0..6 {
        let id = session(&store).await;
        send(&dead, id, "hang", None).await.unwrap();
    }
    // The holder has never reported that it is alive.
    store.commit_millis.store(3_000, Ordering::Relaxed);
    let other = server(&store, None);
    other.begin().await.unwrap();
    tokio::time::sleep(Duration::from_secs(15)).await;
    let beats = store.beats.load(Ordering::Relaxed);
    assert!(beats >= 7, "{beats} heartbeats in 15 s");
}

#[tokio::test]
async fn a_long_event_is_not_read_for_each_piece() {
    let store = Arc::new(Faulty::default());
    let id = session(&store).await;
    let one = server(&store, None);
    send(&one, id, &"x".repeat(3 << 20), None).await.unwrap();
    until("the turn ends", || async { record(&store, id).await.0.status == Status::Idle }).await;
    store.reads.store(0, Ordering::Relaxed);
    for _ in 0..12 {
        assert!(one.long_event(id, 1).await.unwrap().unwrap().len() > 3 << 20);
    }
    assert_eq!(store.reads.load(Ordering::Relaxed), 1);
    one.forget_long_event(id, 1);
    assert!(one.long_event(id, 99).await.unwrap().is_none());
    one.long_event(id, 1).await.unwrap();
    assert_eq!(store.reads.load(Ordering::Relaxed), 3);
}
