//! The engine under two servers that crash, a store that fails, and a clock of its own: many
//! schedules, each from one seed.
//!
//! One session is driven by clients that send, answer and cancel. Each server has workers around
//! the real [`Worker`]; runs, tools and the network are played. After each schedule the log is
//! judged: see [`World::judge`]. `SIMULATOR_SCHEDULES` says how many are run.

mod client;
mod judge;
mod played;

use core::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use futures_util::FutureExt;
use serde_json::{Value, json};
use uuid::Uuid;

use super::document::InterruptKind;
use super::fact::text_blocks;
use super::*;
use crate::chat::{ChatRole, Sent, raw};
use crate::store::{Committed, MemoryStore, NewSession, Part, Store, StoreError};

/// What is broken on purpose, so that the judge is seen to notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plant {
    Nothing,
    /// A run starts tools without leave.
    RunsWithoutLeave,
    /// The store takes every commit, whatever it expects.
    NoCompareAndSet,
    /// The store says that it stored what it did not.
    LosesCommits,
    /// Who takes over believes that started calls did not start.
    ForgetsStarts,
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

/// Something that happens later.
#[derive(Debug)]
enum Later {
    /// A server says that it is alive, looks for orphans and for changes.
    Beat(usize),
    /// A client does something.
    Client,
    Crash(usize),
    Restart(usize),
    /// What a run reports, if it may still.
    Report(Address, u64, Box<Fact>),
    /// A worker's commit reaches the store.
    Apply(Address, Box<Commit>, Fate),
    /// A command's commit reaches the store.
    Command(usize, u64, Box<Commit>, Fate),
    Load(Address),
}

/// A worker: which server, in which life, and which of its workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Address {
    server: usize,
    life: u64,
    worker: usize,
}

/// What becomes of a commit on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Arrives,
    /// It is lost, and the writer learns that something failed.
    Lost,
    /// It is applied, and the writer learns that something failed.
    AppliedSilently,
    /// The writer learns that something failed before it is applied after all.
    AppliedLate,
}

struct Server {
    id: Uuid,
    life: u64,
    is_up: bool,
    workers: Vec<Option<Played>>,
    /// It does not know whether a turn that it wanted to hold was stored as its own.
    is_in_doubt: bool,
}

/// A worker with the run that is played for it.
struct Played {
    worker: Worker,
    run: Run,
}

/// A run: what a front end would do.
struct Run {
    calls: Vec<PlayedCall>,
    replies: u64,
    transcript: u64,
    /// Counts up when what was scheduled is not to happen any more.
    era: u64,
    is_over: bool,
    has_waited: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Open,
    Runs,
    Aside,
    Done,
}

struct PlayedCall {
    id: String,
    at: At,
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
    laters: HashMap<u64, Later>,
    scheduled: u64,
    servers: Vec<Server>,
    rules: Rules,
    /// How often each call ran, by its id and by how many answers it had; and which may run again.
    runs: BTreeMap<(String, usize), u32>,
    idempotent: HashSet<String>,
    /// Rows that somebody was told are stored.
    acknowledged: BTreeMap<u64, bytes::Bytes>,
    messages: u64,
    calls: u64,
    /// From when on nothing fails any more.
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
        let server =
            |id| Server { id, life: 0, is_up: true, workers: Vec::new(), is_in_doubt: false };
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
            messages: 0,
            calls: 0,
            calm,
            violation: None,
        };
        this.after(0, Later::Beat(0));
        this.after(700, Later::Beat(1));
        this.after(10, Later::Client);
        for server in 0..2 {
            if this.chance.percent(70) {
                let at = this.chance.below(this.calm);
                this.after(at, Later::Crash(server));
            }
        }
        this
    }

    fn after(&mut self, wait: u64, later: Later) {
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

    fn happen(&mut self, later: Later) {
        match later {
            Later::Beat(server) => self.beat(server),
            Later::Client => self.client(),
            Later::Crash(server) => self.crash(server),
            Later::Restart(server) => {
                self.servers[server].id = self.chance.id();
                self.servers[server].is_up = true;
                self.beat(server);
            }
            Later::Report(address, era, fact) => self.report(address, era, *fact),
            Later::Apply(address, commit, fate) => self.apply(address, *commit, fate),
            Later::Command(server, life, commit, fate) => self.command(server, life, *commit, fate),
            Later::Load(address) => {
                let record = now(self.store.load(self.session)).map(Box::new);
                self.tell(address, Input::Loaded(record));
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
        let wait = self.chance.below(15_000);
        self.after(wait, Later::Restart(server));
        if self.chance.percent(40) {
            let wait = wait + self.chance.below(8_000);
            self.after(wait, Later::Crash(server));
        }
    }

    fn beat(&mut self, server: usize) {
        if !self.servers[server].is_up {
            return;
        }
        now(self.store.beat(self.servers[server].id, Timestamp(self.now + 8_000)));
        let record = self.record();
        let played = &self.servers[server];
        let is_mine = record.status == Status::Running && record.holder == Some(played.id);
        let is_lost = played.is_in_doubt && is_mine && played.workers.iter().all(Option::is_none);
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
        // What others changed.
        let version = self.record().version;
        let life = self.servers[server].life;
        for worker in 0..self.servers[server].workers.len() {
            let is_new = self.servers[server].workers[worker]
                .as_mut()
                .is_some_and(|played| played.worker.changed(Some(version)));
            if is_new {
                let wait = self.chance.below(50);
                self.after(wait, Later::Load(Address { server, life, worker }));
            }
        }
        self.after(1_000, Later::Beat(server));
    }
}

fn now<T>(answer: crate::store::Answer<'_, T>) -> T {
    answer.now_or_never().unwrap().unwrap()
}
