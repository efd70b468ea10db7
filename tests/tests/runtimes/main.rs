//! The same conversations over real HTTP on every executor: tokio, smol, and one that is written
//! here. On each the core's driver and the front end of servers run over one transport, that of
//! `examples/src/own_transport.rs`; on tokio the server's own transport runs them, too.
//!
//! A conversation here is about what a runtime provides: sockets, timers, wakers from other
//! threads, and futures that are dropped. What the loop decides is tested elsewhere.
#![allow(clippy::std_instead_of_core, reason = "a test runs on a server")]

mod bench;
mod by_hand;
mod far;
mod fronts;
mod runtime;

use std::ops::RangeInclusive;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use far::{Act, Far};
use fronts::{Chip, Front, Server};
use runtime::{ByHand, Smol, Tokio};
use toolrunner_core::testing::validity::{self, Tail};
use toolrunner_core::testing::{Script, ScriptedReply};
use toolrunner_std::HttpTransport;
use toolrunner_std::http::{HttpSettings, Proxies};

/// What ends the first attempt at a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// Nothing does.
    Never,
    /// Another thread cancels the run when the server has gone silent.
    Cancel,
    /// The run's time is over.
    Time,
    /// The future is dropped when the server has gone silent.
    Drop,
}

/// A conversation, and what is expected of it.
struct Talk {
    name: &'static str,
    stream: bool,
    /// Whether the events are handed on as they come.
    watch: bool,
    stop: Stop,
    script: fn() -> Script,
    /// What the server does with each request; with those after the last it does what the script
    /// says.
    acts: &'static [Act],
    /// Whether its calls wait for each other, which takes a front end that runs them at once.
    at_once: bool,
    outcomes: &'static [&'static str],
    calls: &'static [&'static str],
    /// What the last reply says.
    says: &'static str,
    /// Texts that are in the conversation in the end.
    holds: &'static [&'static str],
    requests: RangeInclusive<usize>,
}

const PLAIN: Talk = Talk {
    name: "",
    stream: true,
    watch: false,
    stop: Stop::Never,
    script: || Script::new().reply(ScriptedReply::text(LONG)),
    acts: &[],
    at_once: false,
    outcomes: &[ENDED],
    calls: &[],
    says: LONG,
    holds: &[],
    requests: 1..=1,
};

const ENDED: &str = "the model stopped: end_turn";
const LONG: &str = "This text is long enough for several pieces: 日本 and 😀.";
const BOTH: &str = "Both have answered.";

/// Two turns with calls, the second of which fails.
fn calls() -> Script {
    let first = ScriptedReply::text("Let me see.")
        .tool_use("toolu_1", "add", r#"{"a":"日本"}"#)
        .tool_use("toolu_2", "slow", "{}");
    Script::new()
        .reply(first)
        .reply(ScriptedReply::new().tool_use("toolu_3", "fail", "{}"))
        .reply(ScriptedReply::text(BOTH))
}

/// A reply that the client gives up, and another when it asks to go on. The run's time may be over
/// before the first is asked for.
fn until_told() -> Script {
    Script::new().then(|request| {
        ScriptedReply::text(if far::goes_on(request) { LONG } else { "Nobody reads this." }).into()
    })
}

static TALKS: [Talk; 10] = [
    Talk {
        name: "a loop with tools",
        script: calls,
        calls: &["toolu_1", "toolu_2", "toolu_3"],
        says: BOTH,
        holds: &["result of toolu_1", "result of toolu_2", "no luck"],
        requests: 3..=3,
        ..PLAIN
    },
    Talk {
        name: "a loop with tools, not streamed",
        stream: false,
        script: calls,
        calls: &["toolu_1", "toolu_2", "toolu_3"],
        says: BOTH,
        holds: &["result of toolu_1", "result of toolu_2", "no luck"],
        requests: 3..=3,
        ..PLAIN
    },
    Talk { name: "text as it comes", watch: true, acts: &[Act::Lockstep], ..PLAIN },
    Talk {
        name: "calls at once",
        at_once: true,
        script: || {
            let all = ScriptedReply::new().tool_use("toolu_1", "meet", "{}");
            let all = all.tool_use("toolu_2", "meet", "{}").tool_use("toolu_3", "meet", "{}");
            Script::new().reply(all).reply(ScriptedReply::text("They met."))
        },
        calls: &["toolu_1", "toolu_2", "toolu_3"],
        says: "They met.",
        holds: &["result of toolu_1", "result of toolu_2", "result of toolu_3"],
        requests: 2..=2,
        ..PLAIN
    },
    Talk {
        name: "a tool's time is over",
        script: || {
            let stuck = ScriptedReply::new().tool_use("toolu_1", "stuck", "{}");
            Script::new().reply(stuck).reply(ScriptedReply::text("It hangs."))
        },
        calls: &["toolu_1"],
        says: "It hangs.",
        holds: &["timed out after 50 ms"],
        requests: 2..=2,
        ..PLAIN
    },
    Talk {
        name: "broken replies",
        script: || {
            Script::new()
                .reply(ScriptedReply::text("Let me see.").tool_use("toolu_1", "add", "{}"))
                .error(529, "overloaded_error", "Overloaded")
                .reply(ScriptedReply::text("Here it is."))
        },
        // The third reply is whole and has a call. The fourth is the error of the script.
        acts: &[Act::NoReply, Act::Half],
        calls: &["toolu_1"],
        says: "Here it is.",
        holds: &["result of toolu_1"],
        requests: 5..=5,
        ..PLAIN
    },
    Talk {
        name: "broken replies, not streamed",
        stream: false,
        acts: &[Act::Half, Act::NoReply, Act::Half],
        requests: 4..=4,
        ..PLAIN
    },
    Talk {
        name: "cancelled from another thread",
        stop: Stop::Cancel,
        script: until_told,
        acts: &[Act::Stall],
        outcomes: &["the caller stopped the run", ENDED],
        holds: &["Go on."],
        requests: 2..=2,
        ..PLAIN
    },
    Talk {
        name: "the run's time is over",
        stop: Stop::Time,
        script: until_told,
        acts: &[Act::Stall],
        outcomes: &["the limit of time was reached", ENDED],
        holds: &["Go on."],
        requests: 1..=2,
        ..PLAIN
    },
    Talk {
        name: "the future is dropped",
        stop: Stop::Drop,
        acts: &[Act::Stall],
        outcomes: &["dropped", ENDED],
        // A front end may go on with the reply that it has.
        requests: 1..=2,
        ..PLAIN
    },
];

impl Talk {
    /// Returns the time that the first attempt has.
    fn time(&self) -> Duration {
        if self.stop == Stop::Time { Duration::from_millis(500) } else { PATIENCE }
    }
}

/// What became of a conversation.
#[derive(Debug, Default)]
pub(crate) struct Report {
    outcomes: Vec<String>,
    /// The ids of the calls that began, in order.
    began: Vec<String>,
    messages: String,
    /// The text of the last message.
    says: String,
    /// How many pieces of text were handed on.
    texts: usize,
}

/// Returns what is not as the table has it.
fn differences(talk: &Talk, front: &dyn Front) -> Vec<String> {
    let far = Far::start((talk.script)(), talk.acts);
    let report = front.converse(talk, &far);
    let mut wrong = Vec::new();
    let mut compare = |what: &str, got: String, expected: String| {
        if got != expected {
            wrong.push(format!("{what}: expected {expected}, got {got}"));
        }
    };
    compare("outcomes", format!("{:?}", report.outcomes), format!("{:?}", talk.outcomes));
    // Calls at once begin in any order.
    let mut began = report.began.clone();
    began.sort();
    compare("calls", format!("{began:?}"), format!("{:?}", talk.calls));
    compare("says", report.says.clone(), talk.says.to_owned());
    if !talk.requests.contains(&far.requests()) {
        compare("requests", far.requests().to_string(), format!("{:?}", talk.requests));
    }
    for text in talk.holds {
        compare(text, report.messages.contains(text).to_string(), true.to_string());
    }
    if talk.watch {
        // Each piece was seen before the server sent the next.
        compare("pieces", report.texts.to_string(), far.pieces().to_string());
        compare("several pieces", (report.texts > 3).to_string(), true.to_string());
    }
    let valid = validity::check(report.messages.as_bytes(), Tail::Closed);
    compare("valid", format!("{valid:?}"), "Ok(())".to_owned());
    compare("complaints", format!("{:?}", far.complaints()), "[]".to_owned());
    // Whoever gives up a reply closes its connection, so that the server can stop, too.
    let (silent, ended) = far.silences();
    compare("closed connections", ended.to_string(), silent.to_string());
    wrong
}

/// Holds all conversations, each on a thread of its own: where wakers or timers fail, it hangs.
fn play<F: Front + Send + Sync + 'static>(name: &str, front: F) {
    let (front, mut wrong) = (Arc::new(front), Vec::new());
    for talk in TALKS.iter().filter(|talk| !talk.at_once || front.runs_calls_at_once()) {
        let (tell, told) = mpsc::channel();
        let front = Arc::clone(&front);
        std::thread::spawn(move || tell.send(differences(talk, &*front)));
        let found = told
            .recv_timeout(2 * PATIENCE)
            .unwrap_or_else(|error| vec![format!("it does not end, or panics: {error}")]);
        wrong.extend(found.into_iter().map(|text| format!("{name}, {}: {text}", talk.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_driver_on_tokio() {
    play("the driver on tokio", Chip::<Tokio>::new());
}

#[test]
fn the_driver_on_smol() {
    play("the driver on smol", Chip::<Smol>::new());
}

#[test]
fn the_driver_on_an_executor_of_forty_lines() {
    play("the driver by hand", Chip::<ByHand>::new());
}

#[test]
fn the_front_end_on_tokio() {
    play("the front end on tokio", Server::<Tokio>::over_own_transport());
}

#[test]
fn the_front_end_on_smol() {
    play("the front end on smol", Server::<Smol>::over_own_transport());
}

#[test]
fn the_front_end_on_an_executor_of_forty_lines() {
    play("the front end by hand", Server::<ByHand>::over_own_transport());
}

#[test]
fn the_front_end_on_tokio_over_its_own_transport() {
    let settings = || HttpSettings { proxies: Proxies::none(), ..HttpSettings::default() };
    let front = Server::<Tokio>::over(Box::new(move || HttpTransport::new(settings())));
    play("the front end on tokio, as it is", front);
}

/// The bound for what must not happen, so that a test fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
