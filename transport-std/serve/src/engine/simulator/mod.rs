//! Tests the engine with two servers that crash, a store that fails, and a simulated clock, in many
//! schedules. Each schedule follows from one seed.
//!
//! Clients drive one session: they send, answer and cancel. Each server has workers around the real
//! [`Worker`]; runs, tools and the network are simulated. [`World::judge`] checks the log after
//! each schedule. The environment variable `SIMULATOR_SCHEDULES` sets the number of schedules.

mod client;
mod judge;
mod played;
mod webhooks;

use core::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use futures_util::FutureExt;
use serde_json::{Value, json};
use uuid::Uuid;

use super::document::InterruptKind;
use super::fact::text_blocks;
use super::*;
use crate::chat::{ChatRole, SentMessage, raw};
use crate::store::{CommitResult, MemoryStore, NewSession, Part, Store, StoreError};

/// A deliberate fault, to prove that the judge detects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plant {
    Nothing,
    /// A run starts tools without permission.
    RunsWithoutLeave,
    /// The store accepts every commit, whatever version it expects.
    NoCompareAndSet,
    /// The store reports commits as stored that it did not store.
    LosesCommits,
    /// A server that takes over treats started calls as not started.
    ForgetsStarts,
    /// A server that takes over does not deliver the webhooks that wait.
    ForgetsWebhooks,
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl Ids for Chance {
    fn id(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.next(), self.next())
    }
}

/// A scheduled action.
#[derive(Debug)]
enum ScheduledAction {
    /// A server reports that it is alive, and looks for orphans and for changes.
    Beat(usize),
    /// A client acts.
    Client,
    Crash(usize),
    Restart(usize),
    /// A run reports a fact, unless its era has ended.
    Report(Address, u64, Box<Fact>),
    /// A worker's commit reaches the store.
    Apply(Address, Box<Commit>, Fate),
    /// A command's commit reaches the store.
    Command(usize, u64, Box<Commit>, Fate),
    Load(Address),
    /// A server sends a webhook, for the first time or again.
    Attempt(usize, u64, Box<Delivery>, bool),
    /// The record that a webhook arrived reaches the store.
    Forget(usize, u64, String, Box<Commit>, Fate),
}

/// A worker, identified by its server, the server's life, and its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Address {
    server: usize,
    life: u64,
    worker: usize,
}

/// What happens to a commit on its way to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Arrives,
    /// It is lost, and the writer receives an error.
    Lost,
    /// It is applied, and the writer receives an error.
    AppliedSilently,
    /// The writer receives an error before it is applied after all.
    AppliedLate,
}

struct Server {
    id: Uuid,
    life: u64,
    is_up: bool,
    workers: Vec<Option<SimulatedWorker>>,
    /// Whether it is unknown if a turn that the server wanted to hold was stored.
    is_in_doubt: bool,
    /// The ids of the webhooks that it delivers.
    delivers: HashSet<String>,
}

/// A worker with its simulated run.
struct SimulatedWorker {
    worker: Worker,
    run: Run,
}

/// A simulated run, in place of a front end.
struct Run {
    calls: Vec<SimulatedCall>,
    replies: u64,
    transcript: u64,
    /// Increases when scheduled actions become obsolete.
    era: u64,
    is_over: bool,
    has_waited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallStage {
    Open,
    Runs,
    Aside,
    Done,
}

struct SimulatedCall {
    id: String,
    at: CallStage,
    answers: usize,
    asks: bool,
}

struct World {
    plant: Plant,
    now: u64,
    chance: Chance,
    store: MemoryStore,
    session: Uuid,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    laters: HashMap<u64, ScheduledAction>,
    scheduled: u64,
    servers: Vec<Server>,
    rules: Rules,
    /// How often each call ran, by its id and its number of answers; and the calls that may run
    /// again.
    runs: BTreeMap<(String, usize), u32>,
    idempotent: HashSet<String>,
    /// Rows that were reported as stored.
    acknowledged: BTreeMap<u64, bytes::Bytes>,
    /// The turns that have a webhook.
    hooked: HashSet<u64>,
    /// The ids under which webhooks arrived, by the head of the log at their turn's end.
    arrived: BTreeMap<u64, Vec<String>>,
    messages: u64,
    calls: u64,
    /// The time after which nothing fails any more.
    calm: u64,
    violation: Option<String>,
}

const END: u64 = 120_000;

impl World {
    fn new(seed: u64, plant: Plant) -> Self {
        let mut chance = Chance(seed);
        let session = chance.id();
        let store = MemoryStore::new();
        let document = serde_json::to_vec(&Document::default()).unwrap();
        let new = NewSession {
            id: session,
            owner: String::new(),
            metadata: BTreeMap::new(),
            now: Timestamp(0),
            expires: None,
            messages: 0,
            document: document.into(),
            base: None,
            limit: None,
            idempotent: None,
        };
        let _ = now(store.create(new));
        let server = |id| Server {
            id,
            life: 0,
            is_up: true,
            workers: Vec::new(),
            is_in_doubt: false,
            delivers: HashSet::new(),
        };
        let servers = vec![server(chance.id()), server(chance.id())];
        let calm = 5_000 + chance.below(20_000);
        let mut this = Self {
            plant,
            now: 0,
            chance,
            store,
            session,
            queue: BinaryHeap::new(),
            laters: HashMap::new(),
            scheduled: 0,
            servers,
            rules: Rules { ttl: None, model: Some("m".to_owned()), system_messages: false },
            runs: BTreeMap::new(),
            idempotent: HashSet::new(),
            acknowledged: BTreeMap::new(),
            hooked: HashSet::new(),
            arrived: BTreeMap::new(),
            messages: 0,
            calls: 0,
            calm,
            violation: None,
        };
        this.after(0, ScheduledAction::Beat(0));
        this.after(700, ScheduledAction::Beat(1));
        this.after(10, ScheduledAction::Client);
        for server in 0..2 {
            if this.chance.percent(70) {
                let at = this.chance.below(this.calm);
                this.after(at, ScheduledAction::Crash(server));
            }
        }
        this
    }

    fn after(&mut self, wait: u64, later: ScheduledAction) {
        self.scheduled += 1;
        self.queue.push(Reverse((self.now + wait, self.scheduled)));
        self.laters.insert(self.scheduled, later);
    }

    fn run(&mut self) {
        while let Some(Reverse((at, key))) = self.queue.pop() {
            if at > END || self.violation.is_some() {
                break;
            }
            self.now = at;
            if let Some(later) = self.laters.remove(&key) {
                self.happen(later);
            }
        }
    }

    fn context<T>(&mut self, server: usize, f: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let id = self.servers[server].id;
        f(&mut Context {
            now: Timestamp(self.now),
            server: id,
            ids: &mut self.chance,
            rules: &self.rules,
        })
    }

    fn record(&self) -> Record {
        now(self.store.load(self.session)).unwrap()
    }

    fn happen(&mut self, later: ScheduledAction) {
        match later {
            ScheduledAction::Beat(server) => self.beat(server),
            ScheduledAction::Client => self.client(),
            ScheduledAction::Crash(server) => self.crash(server),
            ScheduledAction::Restart(server) => {
                self.servers[server].id = self.chance.id();
                self.servers[server].is_up = true;
                self.beat(server);
            }
            ScheduledAction::Report(address, era, fact) => self.report(address, era, *fact),
            ScheduledAction::Apply(address, commit, fate) => self.apply(address, *commit, fate),
            ScheduledAction::Command(server, life, commit, fate) => {
                self.command(server, life, *commit, fate)
            }
            ScheduledAction::Load(address) => {
                let record = now(self.store.load(self.session)).map(Box::new);
                self.tell(address, Input::Loaded(record));
            }
            ScheduledAction::Attempt(server, life, delivery, is_first) => {
                self.attempt(server, life, *delivery, is_first);
            }
            ScheduledAction::Forget(server, life, id, commit, fate) => {
                self.forgotten(server, life, id, *commit, fate);
            }
        }
    }

    fn crash(&mut self, server: usize) {
        if !self.servers[server].is_up || self.now >= self.calm {
            return;
        }
        let server_state = &mut self.servers[server];
        server_state.is_up = false;
        server_state.life += 1;
        server_state.workers.clear();
        server_state.delivers.clear();
        let wait = self.chance.below(15_000);
        self.after(wait, ScheduledAction::Restart(server));
        if self.chance.percent(40) {
            let wait = wait + self.chance.below(8_000);
            self.after(wait, ScheduledAction::Crash(server));
        }
    }

    fn beat(&mut self, server: usize) {
        if !self.servers[server].is_up {
            return;
        }
        now(self.store.beat(self.servers[server].id, Timestamp(self.now + 8_000)));
        let record = self.record();
        let played = &self.servers[server];
        let is_mine = record.holder == Some(played.id);
        let is_running = record.status == Status::Running;
        let is_idle = played.workers.iter().all(Option::is_none);
        let is_lost = played.is_in_doubt && is_mine && is_running && is_idle;
        if played.is_in_doubt && is_mine && !is_running {
            self.deliver_all(server, &record);
        }
        if is_lost || !now(self.store.orphans(Timestamp(self.now), 8)).is_empty() {
            let mut document = Document::of(&record).unwrap();
            if self.plant == Plant::ForgetsStarts {
                let calls = document.active.iter_mut().flat_map(|active| &mut active.calls);
                calls
                    .filter(|call| call.state == CallState::Started)
                    .for_each(|call| call.state = CallState::Open);
            }
            let change = self.context(server, |context| take_over(&record, document, context));
            self.send_command(server, change);
        }
        // Changes made by others.
        let version = self.record().version;
        let life = self.servers[server].life;
        for worker in 0..self.servers[server].workers.len() {
            let is_new = self.servers[server].workers[worker]
                .as_mut()
                .is_some_and(|played| played.worker.changed(Some(version)));
            if is_new {
                let wait = self.chance.below(50);
                self.after(wait, ScheduledAction::Load(Address { server, life, worker }));
            }
        }
        self.after(1_000, ScheduledAction::Beat(server));
    }
}

fn now<T>(answer: crate::store::Answer<'_, T>) -> T {
    answer.now_or_never().unwrap().unwrap()
}
