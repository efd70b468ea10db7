//! The same five conversations under every fault, on every adapter. Whatever happens: the error has its name, the conversation is valid
//! whenever the run rests, no call runs twice, none is lost, and the run finishes when the fault ends.
//!
//! It prints a matrix: for each fault and adapter how many cases were tried, how many survived, and how many calls were lost or ran twice.
//!
//! `cargo test -p toolrunner-tests --test faults -- --nocapture`
#![allow(clippy::std_instead_of_core, reason = "a test runs on a server")]

mod far;
mod fixed;
mod harms;
mod http;
mod server;
mod talks;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use far::{Far, Harm, Then};
use harms::{Leaves, ROWS};
use server::Over;
use talks::{Bench, TALKS, Talk};
use toolrunner_core::error::Error;
use toolrunner_core::testing::validity::{self, Tail};

/// What the adapter itself is put through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trouble {
    /// The first future is dropped after so many polls.
    drop_after: Option<usize>,
    /// Bytes of the conversation at first; each time that is not enough, as many more as the error says.
    capacity: Option<usize>,
    /// Whether silence is part of it, so that nobody waits long for it.
    stalls: bool,
}

/// What became of one conversation.
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
    /// The conversation at rest is valid.
    fn look_at(&mut self, messages: &[u8]) {
        if !messages.is_empty()
            && let Err(invalid) = validity::check(messages, Tail::Open)
        {
            self.problems.push(format!("at rest: {invalid}: {}", String::from_utf8_lossy(messages)));
        }
    }

    /// The conversation is over.
    fn end(&mut self, messages: &[u8], bench: &Bench, far: &Mutex<Far>) {
        if let Err(invalid) = validity::check(messages, Tail::Closed) {
            self.problems.push(format!("at the end: {invalid}: {}", String::from_utf8_lossy(messages)));
        }
        self.problems.extend(far.lock().unwrap().complaints().iter().map(|text| format!("the model was sent: {text}")));
        self.transcript = messages.to_vec();
        self.began = bench.began();
    }
}

/// The name of an error, by which the table knows it.
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
    Server(Over),
}

const ADAPTERS: [(Adapter, &str); 4] = [
    (Adapter::Fixed, "core, fixed memory"),
    (Adapter::Server(Over::Memory), "std, in memory"),
    (Adapter::Server(Over::Events), "std, by events"),
    (Adapter::Server(Over::Http), "std, HTTP"),
];

impl Adapter {
    fn run(self, far: Far, trouble: &Trouble) -> (Report, usize, Vec<Vec<u8>>) {
        let far = Arc::new(Mutex::new(far));
        let report = match self {
            Self::Fixed => fixed::run(Arc::clone(&far), trouble),
            Self::Server(over) => server::run(Arc::clone(&far), trouble, over),
        };
        let far = far.lock().unwrap();
        (report, far.hits, far.bodies.clone())
    }

    /// All cases on the core's adapter. The others take their time, sockets most: of many cases some are tried there.
    fn thin<T: Clone>(self, cases: Vec<T>, most_http: usize) -> Vec<T> {
        let most = match self {
            Self::Fixed => return cases,
            Self::Server(Over::Http) => most_http,
            Self::Server(_) => 24,
        };
        if cases.len() <= most {
            return cases;
        }
        (0..most).map(|i| cases[i * (cases.len() - 1) / (most - 1)].clone()).collect()
    }
}

/// One case: what is tried, and what it may change.
struct Case {
    talk: &'static Talk,
    harm: Harm,
    at: usize,
    lasts: bool,
    trouble: Trouble,
    named: &'static [&'static str],
    /// The conversation as it would have been, if it must be that.
    same: Option<Vec<u8>>,
    /// Whether all calls are made.
    all_calls: bool,
}

/// Counts of a field of the matrix.
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
        let unnamed = report.errors.iter().filter(|error| !self.named.iter().any(|name| error.starts_with(name)));
        wrong.extend(unnamed.map(|error| format!("not its name: {error}")));
        if self.same.as_ref().is_some_and(|same| *same != report.transcript) {
            wrong.push(format!("not the conversation that it would have been: {}", String::from_utf8_lossy(&report.transcript)));
        }
        let mut began = report.began.clone();
        began.sort();
        began.dedup();
        let twice = report.began.len() - began.len();
        let missing = if self.all_calls { self.talk.calls.iter().filter(|id| !began.iter().any(|ran| ran == **id)).count() } else { 0 };
        if twice + missing > 0 {
            wrong.push(format!("{twice} calls ran twice, {missing} did not run: {:?}", report.began));
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

/// How a conversation goes when nothing goes wrong: what is in the end, the bodies, and the polls that it takes.
fn calm(adapter: Adapter, talk: &'static Talk) -> (Vec<u8>, Vec<Vec<u8>>, usize) {
    let (report, _, bodies) = adapter.run(Far::new(talk, Harm::None, 0, false), &Trouble::default());
    assert_eq!((report.problems.as_slice(), report.errors.as_slice(), bodies.len()), (&[][..], &[][..], talk.exchanges()));
    assert_eq!(report.began, talk.calls);
    (report.transcript, bodies, report.polls)
}

/// All cases of a row for one adapter.
fn cases(row: &harms::Row, adapter: Adapter) -> Vec<Case> {
    let mut all = Vec::new();
    for talk in &TALKS {
        let (transcript, bodies, _) = calm(adapter, talk);
        for (at, body) in bodies.iter().enumerate() {
            let harms = (row.cases)(body);
            let stalls = |harm: &Harm| matches!(harm, Harm::Cut(_, Then::Stall) | Harm::NoHead(_, Then::Stall));
            let most_http = if harms.iter().any(stalls) { 2 } else { 6 };
            for harm in adapter.thin(harms, most_http) {
                for lasts in [false, true] {
                    all.push(Case {
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
    all
}

fn plain(talk: &'static Talk, trouble: Trouble, named: &'static [&'static str]) -> Case {
    Case { talk, harm: Harm::None, at: 0, lasts: true, trouble, named, same: None, all_calls: true }
}

/// The first future dropped at each of its awaits.
fn drops(adapter: Adapter) -> Vec<Case> {
    let of = |talk: &'static Talk| {
        let polls = adapter.thin((0..calm(adapter, talk).2).collect(), 24);
        polls.into_iter().map(move |polls| plain(talk, Trouble { drop_after: Some(polls), ..Trouble::default() }, &[]))
    };
    TALKS.iter().flat_map(of).collect()
}

/// Every capacity, so that every step has one byte too little in one of them. The run then goes on from its snapshot, in as much more as
/// the error asked for.
fn capacities(adapter: Adapter) -> Vec<Case> {
    let of = |talk: &'static Talk| {
        let all = (30..calm(adapter, talk).0.len() + 200).collect();
        let named: &[&str] = &["capacity transcript"];
        adapter.thin(all, 20).into_iter().map(move |bytes| plain(talk, Trouble { capacity: Some(bytes), ..Trouble::default() }, named))
    };
    TALKS.iter().flat_map(of).collect()
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
    println!("tried/survived/lost");
    print!("{:<22}", "");
    ADAPTERS.iter().for_each(|(_, name)| print!("{name:>22}"));
    println!();
    type Cases = Box<dyn Fn(Adapter) -> Vec<Case>>;
    let mut rows: Vec<(&str, bool, Cases)> =
        ROWS.iter().map(|row| (row.name, row.http_only, Box::new(|adapter| cases(row, adapter)) as Cases)).collect();
    rows.push(("future dropped", false, Box::new(drops)));
    rows.push(("too little memory", false, Box::new(capacities)));
    let mut lost_in_all = 0;
    for (name, http_only, cases) in rows {
        let mut line = format!("{name:<22}");
        for (adapter, _) in ADAPTERS {
            if http_only && adapter != Adapter::Server(Over::Http) {
                line += &format!("{:>22}", "-");
                continue;
            }
            let tally = try_all(&cases(adapter), adapter, &problems);
            let [tried, survived, lost] = [tally.tried, tally.survived, tally.lost].map(AtomicUsize::into_inner);
            line += &format!("{:>22}", format!("{tried}/{survived}/{lost}"));
            lost_in_all += lost;
        }
        println!("{line}");
    }
    let problems = problems.into_inner().unwrap();
    println!("lost: {lost_in_all}");
    assert!(problems.is_empty(), "{} cases did not survive; the first:\n{}", problems.len(), problems[..problems.len().min(8)].join("\n"));
}
