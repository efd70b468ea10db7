//! Runs five conversations under every fault, on every adapter. In each case the error must have an
//! expected name, the conversation must be valid whenever the run rests, no call may run twice or
//! be lost, and the run must finish after the fault ends.
//!
//! The test prints a matrix: for each fault and adapter, how many cases were tried, how many
//! survived, and how many calls were lost or ran twice. If not all cases of a fault were tried, it
//! also prints how many there are.
//!
//! `cargo test -p toolrunner-tests --test faults -- --nocapture`
#![allow(clippy::std_instead_of_core, reason = "a test runs on a server")]

mod board;
mod bytes;
mod far;
mod fixed;
mod harms;
mod http;
mod server;
mod talks;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use board::Client;
use far::{Far, Harm, Then};
use harms::{Leaves, ROWS};
use server::Over;
use talks::{Bench, TALKS, Talk};
use toolrunner_core::error::Error;
use toolrunner_core::testing::validity::{self, Tail};

/// What happens to the adapter itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble {
    /// The first future is dropped after this number of polls.
    drop_after: Option<usize>,
    /// The initial size of the transcript in bytes. Whenever it is too small, it grows by the
    /// number of bytes in the error.
    capacity: Option<usize>,
    /// Whether the server stops sending, so that the client's timeout should be short.
    stalls: bool,
}

/// The result of one conversation.
#[derive(Debug, Default)]
pub(crate) struct Report {
    errors: Vec<String>,
    outcomes: Vec<String>,
    drops: usize,
    polls: usize,
    problems: Vec<String>,
    transcript: Vec<u8>,
    began: Vec<String>,
}

impl Report {
    /// Checks that the conversation is valid while the run rests.
    fn look_at(&mut self, messages: &[u8]) {
        if !messages.is_empty()
            && let Err(invalid) = validity::check(messages, Tail::Open)
        {
            self.problems
                .push(format!("at rest: {invalid}: {}", String::from_utf8_lossy(messages)));
        }
    }

    /// Checks and records the conversation after its end.
    fn end(&mut self, messages: &[u8], bench: &Bench, far: &Mutex<Far>) {
        if let Err(invalid) = validity::check(messages, Tail::Closed) {
            self.problems
                .push(format!("at the end: {invalid}: {}", String::from_utf8_lossy(messages)));
        }
        self.problems.extend(
            far.lock()
                .unwrap()
                .complaints()
                .iter()
                .map(|text| format!("the model was sent: {text}")),
        );
        self.transcript = messages.to_vec();
        self.began = bench.began();
    }
}

/// Returns the name of an error as it is written in the table.
pub(crate) fn named(error: &Error) -> String {
    match error {
        Error::Api(api) => format!("api {}", api.status),
        Error::Capacity(full) => format!("capacity {}", full.what.name()),
        Error::Transport(kind) => format!("transport {kind:?}"),
        other => other.to_string(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Adapter {
    Fixed,
    Board(Client),
    Server(Over),
}

const ADAPTERS: [(Adapter, &str); 7] = [
    (Adapter::Fixed, "core, fixed memory"),
    (Adapter::Board(Client::Own), "embassy"),
    (Adapter::Board(Client::KeepAlive), "reqwless"),
    (Adapter::Board(Client::PerRequest), "reqwless, each anew"),
    (Adapter::Server(Over::Memory), "std, in memory"),
    (Adapter::Server(Over::Events), "std, by events"),
    (Adapter::Server(Over::Http), "std, HTTP"),
];

impl Adapter {
    fn run(self, far: Far, trouble: &Trouble) -> (Report, usize, Vec<Vec<u8>>) {
        let far = Arc::new(Mutex::new(far));
        let report = match self {
            Self::Fixed => fixed::run(&far, trouble),
            Self::Board(client) => board::run(&far, trouble, client),
            Self::Server(over) => server::run(Arc::clone(&far), trouble, over),
        };
        let far = far.lock().unwrap();
        (report, far.hits, far.bodies.clone())
    }

    /// Returns all cases of a fault for adapters in memory. Sockets are slow, so over them it
    /// returns at most `most`, evenly spread.
    fn thin<T: Clone>(self, cases: Vec<T>, most: usize) -> Vec<T> {
        if self != Self::Server(Over::Http) || cases.len() <= most {
            return cases;
        }
        (0..most).map(|i| cases[i * (cases.len() - 1) / (most - 1)].clone()).collect()
    }
}

/// The maximum number of cases of one body that are tried over sockets.
const MOST_HARMS: usize = 24;
/// The maximum number of cases of one body that are tried over sockets if each takes as long as the
/// client's timeout.
const MOST_STALLS: usize = 4;
/// The maximum number of awaits of one conversation at which its future is dropped over sockets.
const MOST_DROPS: usize = 24;
/// The maximum number of capacities of one conversation that are tried over sockets.
const MOST_CAPACITIES: usize = 100;

/// The cases of a row that are tried on one adapter, and the number of all cases.
#[derive(Default)]
struct Cases {
    tried: Vec<Case>,
    all: usize,
}

/// One case: what is tried, and what it may change.
struct Case {
    talk: &'static Talk,
    harm: Harm,
    at: usize,
    lasts: bool,
    trouble: Trouble,
    named: &'static [&'static str],
    /// The conversation without the fault, if the result must be equal to it.
    same: Option<Vec<u8>>,
    /// Whether all calls must run.
    all_calls: bool,
}

/// The counts of one field of the matrix.
#[derive(Default)]
struct Tally {
    tried: AtomicUsize,
    survived: AtomicUsize,
    lost: AtomicUsize,
}

impl Case {
    fn try_on(&self, adapter: Adapter, tally: &Tally, problems: &Mutex<Vec<String>>) {
        let far = Far::new(self.talk, self.harm.clone(), self.at, self.lasts);
        let (report, hits, _) = adapter.run(far, &self.trouble);
        let mut wrong = report.problems.clone();
        if hits == 0 && !matches!(self.harm, Harm::None) {
            wrong.push("the fault did not happen".to_owned());
        }
        let unnamed = report
            .errors
            .iter()
            .filter(|error| !self.named.iter().any(|name| error.starts_with(name)));
        wrong.extend(unnamed.map(|error| format!("not its name: {error}")));
        if self.same.as_ref().is_some_and(|same| *same != report.transcript) {
            wrong.push(format!(
                "not the conversation that it would have been: {}",
                String::from_utf8_lossy(&report.transcript)
            ));
        }
        let mut began = report.began.clone();
        began.sort();
        began.dedup();
        let twice = report.began.len() - began.len();
        let missing = if self.all_calls {
            self.talk.calls.iter().filter(|id| !began.iter().any(|ran| ran == **id)).count()
        } else {
            0
        };
        if twice + missing > 0 {
            wrong.push(format!(
                "{twice} calls ran twice, {missing} did not run: {:?}",
                report.began
            ));
        }
        tally.tried.fetch_add(1, Ordering::Relaxed);
        tally.lost.fetch_add(twice + missing, Ordering::Relaxed);
        if wrong.is_empty() {
            tally.survived.fetch_add(1, Ordering::Relaxed);
        } else {
            let mut harm = format!("{:?}", self.harm);
            harm.truncate(harm.floor_char_boundary(400));
            problems.lock().unwrap().push(format!(
                "{adapter:?} \"{}\" {harm} at {} lasts {} {:?}\n  errors {:?} outcomes {:?}\n  {wrong:#?}",
                self.talk.name, self.at, self.lasts, self.trouble, report.errors, report.outcomes
            ));
        }
    }
}

/// Runs a conversation without a fault. Returns its transcript, the bodies of the replies, and the
/// number of polls.
fn calm(adapter: Adapter, talk: &'static Talk) -> (Vec<u8>, Vec<Vec<u8>>, usize) {
    let (report, _, bodies) =
        adapter.run(Far::new(talk, Harm::None, 0, false), &Trouble::default());
    assert_eq!(
        (report.problems.as_slice(), report.errors.as_slice(), bodies.len()),
        (&[][..], &[][..], talk.exchanges())
    );
    assert_eq!(report.began, talk.calls);
    (report.transcript, bodies, report.polls)
}

/// Returns the cases of a row for one adapter: the fault at each exchange of each conversation,
/// once and repeatedly.
fn cases(row: &harms::Row, adapter: Adapter) -> Cases {
    let mut cases = Cases::default();
    for talk in &TALKS {
        let (transcript, bodies, _) = calm(adapter, talk);
        for (at, body) in bodies.iter().enumerate() {
            let harms = (row.cases)(body);
            let stalls = |harm: &Harm| {
                matches!(harm, Harm::Cut(_, Then::Stall) | Harm::NoHead(_, Then::Stall))
            };
            let most = if harms.iter().any(stalls) { MOST_STALLS } else { MOST_HARMS };
            cases.all += harms.len() * 2;
            for harm in adapter.thin(harms, most) {
                for lasts in [false, true] {
                    cases.tried.push(Case {
                        talk,
                        at,
                        lasts,
                        trouble: Trouble { stalls: stalls(&harm), ..Trouble::default() },
                        harm: harm.clone(),
                        named: row.named,
                        same: (row.leaves == Leaves::Same).then(|| transcript.clone()),
                        all_calls: row.leaves == Leaves::Same,
                    });
                }
            }
        }
    }
    cases
}

fn plain(talk: &'static Talk, trouble: Trouble, named: &'static [&'static str]) -> Case {
    Case { talk, harm: Harm::None, at: 0, lasts: true, trouble, named, same: None, all_calls: true }
}

/// Returns cases in which the first future is dropped at each of its awaits.
fn drops(adapter: Adapter) -> Cases {
    let mut cases = Cases::default();
    for talk in &TALKS {
        let all: Vec<usize> = (0..calm(adapter, talk).2).collect();
        cases.all += all.len();
        let thinned = adapter.thin(all, MOST_DROPS).into_iter();
        cases.tried.extend(thinned.map(|polls| {
            plain(talk, Trouble { drop_after: Some(polls), ..Trouble::default() }, &[])
        }));
    }
    cases
}

/// Returns a case for every capacity, so that each step lacks one byte in one of them. The run then
/// continues from its snapshot, with as many more bytes as the error asked for.
fn capacities(adapter: Adapter) -> Cases {
    let mut cases = Cases::default();
    for talk in &TALKS {
        let all: Vec<usize> = (30..calm(adapter, talk).0.len() + 200).collect();
        cases.all += all.len();
        let thinned = adapter.thin(all, MOST_CAPACITIES).into_iter();
        let named: &[&str] = &["capacity transcript"];
        cases.tried.extend(thinned.map(|bytes| {
            plain(talk, Trouble { capacity: Some(bytes), ..Trouble::default() }, named)
        }));
    }
    cases
}

fn try_all(cases: &[Case], adapter: Adapter, problems: &Mutex<Vec<String>>) -> Tally {
    let (tally, next) = (Tally::default(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    case.try_on(adapter, &tally, problems);
                }
            });
        }
    });
    tally
}

#[test]
fn every_fault_on_every_adapter() {
    let problems = Mutex::new(Vec::new());
    println!("tried/survived/lost, and of how many where not all are tried");
    print!("{:<22}", "");
    ADAPTERS.iter().for_each(|(_, name)| print!("{name:>22}"));
    println!();
    type Row = Box<dyn Fn(Adapter) -> Cases>;
    let mut rows: Vec<(&str, Row)> =
        ROWS.iter().map(|row| (row.name, Box::new(|adapter| cases(row, adapter)) as Row)).collect();
    rows.push(("future dropped", Box::new(drops)));
    rows.push(("too little memory", Box::new(capacities)));
    let mut lost_in_all = 0;
    for (name, cases) in rows {
        let mut line = format!("{name:<22}");
        for (adapter, _) in ADAPTERS {
            let Cases { tried, all } = cases(adapter);
            let sampled = if tried.len() < all { format!(" of {all}") } else { String::new() };
            let tally = try_all(&tried, adapter, &problems);
            let [tried, survived, lost] =
                [tally.tried, tally.survived, tally.lost].map(AtomicUsize::into_inner);
            line += &format!("{:>22}", format!("{tried}/{survived}/{lost}{sampled}"));
            lost_in_all += lost;
        }
        println!("{line}");
    }
    let problems = problems.into_inner().unwrap();
    println!("lost: {lost_in_all}");
    assert!(
        problems.is_empty(),
        "{} cases did not survive; the first:\n{}",
        problems.len(),
        problems[..problems.len().min(8)].join("\n")
    );
}
