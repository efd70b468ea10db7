//! Snapshots that were changed, and snapshots of earlier releases.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::std_instead_of_core,
    reason = "a test"
)]

use toolrunner_core::error::Error;
use toolrunner_core::message::{Messages, Role};
use toolrunner_core::run::{Outcome, Run, Step, ToolAnswer};
use toolrunner_core::testing::validity::{self, Tail};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

/// Snapshots of releases before the checksum, one for each kind of state. These files never change.
const OLD: [(&str, &str); 5] = [
    ("ready", include_str!("golden/snapshot-1-ready.json")),
    ("calling", include_str!("golden/snapshot-1-calling.json")),
    ("needs_answer", include_str!("golden/snapshot-1-needs_answer.json")),
    ("limit", include_str!("golden/snapshot-1-limit.json")),
    ("ended", include_str!("golden/snapshot-1-ended.json")),
];

fn load(snapshot: &str) -> Result<Run<'static>, Error> {
    Run::from_snapshot(snapshot.as_bytes(), Transcript::growing())
}

fn save(run: &Run<'_>) -> String {
    let mut bytes = Vec::new();
    run.snapshot(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn exchange(run: &mut Run<'_>) {
    run.head_arrived(&ReplyHead::new(200));
    let mut body = &br#"{"content":[{"type":"text","text":"Done."}],"stop_reason":"end_turn"}"#[..];
    while run.feed(&mut body).unwrap().is_some() {}
    while run.end_of_body().unwrap().is_some() {}
}

/// Returns the messages of the next request, if there is one to send.
fn request(run: &mut Run<'_>) -> String {
    let body: Vec<u8> = run.body(&[b"["]).pieces().flatten().copied().collect();
    let text = String::from_utf8(body).unwrap();
    text.strip_prefix('[').unwrap().strip_suffix("]}").unwrap().to_owned()
}

/// Continues a run until it rests, and answers the calls that wait for the caller. Returns an error
/// if it sends something invalid.
fn go_on(run: &mut Run<'_>) -> Result<(), String> {
    for _ in 0..300 {
        match run.step(Instant::ZERO) {
            Ok(Step::Call) => {
                let i = run.next_call().unwrap();
                if !run.refuse_bad_input(i).unwrap() {
                    run.answer(i, ToolAnswer::ok("ok")).unwrap();
                }
            }
            Ok(Step::Send) => {
                let messages = request(run);
                // A paused turn is sent back unchanged.
                let is_paused =
                    Messages::new(messages.as_bytes()).last().and_then(|message| message.role())
                        == Some(Role::Assistant);
                let tail = if is_paused { Tail::Open } else { Tail::Closed };
                validity::check(messages.as_bytes(), tail)
                    .map_err(|invalid| format!("{invalid}: {messages}"))?;
                exchange(run);
            }
            Ok(Step::Done(Outcome::NeedsAnswer)) => {
                let i = run.call_for_caller().unwrap();
                run.answer(i, ToolAnswer::ok("by hand")).unwrap();
            }
            Ok(Step::Done(Outcome::Stopped | Outcome::Broken)) => run.resume(),
            _ => return Ok(()),
        }
    }
    panic!("it does not end: {run:?}");
}

#[test]
fn snapshots_of_earlier_releases_are_read() {
    // Version 2 is written only for a conversation whose beginning was freed.
    assert_eq!(
        Run::SNAPSHOT_VERSION,
        2,
        "keep files of the old version beside those of the new one"
    );
    for (name, old) in OLD {
        let mut run = load(old).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (now, _) = save(&run)
            .rsplit_once(",\"sum\":")
            .map(|(content, sum)| (format!("{content}}}"), sum.to_owned()))
            .unwrap();
        assert_eq!(now, old, "{name}: what was read is what is written, but for the sum");
        go_on(&mut run).unwrap();
        run.user("More.").unwrap();
        go_on(&mut run).unwrap();
    }
    let mut calling = load(OLD[1].1).unwrap();
    assert_eq!(
        (calling.turns(), calling.usage().input_tokens, calling.container()),
        (1, 120, Some("container_1"))
    );
    // The second call had begun: it may have had side effects.
    assert_eq!(calling.step(Instant::ZERO).unwrap(), Step::Send);
    assert!(
        request(&mut calling)
            .ends_with(r#""toolu_2","content":"Error: cancelled","is_error":true}]}"#)
    );
}

#[test]
fn a_newer_version_and_what_a_newer_release_adds() {
    let newer = OLD[1].1.replace("\"toolrunner_snapshot\":1", "\"toolrunner_snapshot\":3");
    assert_eq!(
        load(&newer).unwrap_err().to_string(),
        "misuse: the snapshot has a newer version than this library supports"
    );
    let more = OLD[1].1.replace("\"runs\":true", "\"runs\":true,\"of_tomorrow\":{\"a\":[1]}");
    assert_ne!(more, OLD[1].1);
    load(&more).unwrap();
}

/// It is refused at once: a loop over this many calls would not end.
#[test]
fn a_number_of_calls_that_no_run_has_is_refused() {
    for calls in ["129", "4294967295", "18446744073709551615"] {
        for (name, old) in OLD {
            let (before, after) = old.split_once("\"turn\":[").unwrap();
            let (turn, after) = after.split_once(']').unwrap();
            let (turn, _) = turn.rsplit_once(',').unwrap();
            let changed = format!("{before}\"turn\":[{turn},{calls}]{after}");
            assert!(load(&changed).is_err(), "{name} {calls}");
        }
    }
}

#[test]
fn every_single_change_is_noticed() {
    for (_, old) in OLD {
        let good = save(&load(old).unwrap());
        load(&good).unwrap();
        load(&format!(" {good}\n")).unwrap();
        for i in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[i] ^= 1;
            noticed(&good, &bytes);
            bytes.remove(i);
            noticed(&good, &bytes);
        }
    }
}

/// Asserts that a change is refused, unless only the name of the checksum was changed.
#[track_caller]
fn noticed(good: &str, bytes: &[u8]) {
    if let Ok(run) = Run::from_snapshot(bytes, Transcript::growing()) {
        assert_eq!(save(&run), good, "{}", String::from_utf8_lossy(bytes));
    }
}

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    fn one_of<'s>(&mut self, list: &[&'s str]) -> &'s str {
        list[self.below(list.len())]
    }
}

/// Makes changes that require knowledge of the format.
fn change(text: &mut String, random: &mut Random) {
    const STATES: [&str; 7] =
        ["calling", "ready", "ended", "limit", "needs_answer", "broken", "stopped"];
    let mut replace = |from: &str, to: &str| *text = text.replacen(from, to, 1);
    match random.below(10) {
        0 | 1 => {
            let to = format!("\"state\":\"{}\"", random.one_of(&STATES));
            STATES.iter().for_each(|from| replace(&format!("\"state\":\"{from}\""), &to));
        }
        2 => {
            let (from, to) = [
                ("\"runs\":true", "\"runs\":false"),
                ("\"runs\":false", "\"runs\":true"),
                ("tool_use\",\"id\"", "text\",\"id\""),
                ("\"assistant\"", "\"user\""),
                ("\"role\":\"user\"", "\"role\":\"assistant\""),
                ("tool_result", "text"),
                ("\"stop\":\"tool_use\"", "\"stop\":\"pause_turn\""),
                ("toolu_1", "toolu_2"),
                ("\"text\":\"Let me see.\"", "\"text\":\"\""),
                ("Read it, then ask.", " "),
                ("\"content\":\"contents\"", "\"content\":[]"),
            ][random.below(11)];
            replace(from, to);
        }
        3 => {
            let field = random.one_of(&["answered", "running", "for_caller", "bad"]);
            if let Some(at) = text.find(&format!("\"{field}\":[")) {
                let start = at + field.len() + 4;
                let end = start + text.get(start..).unwrap_or_default().find(',').unwrap_or(0);
                text.replace_range(start..end, &random.below(5).to_string());
            }
        }
        4..=6 => {
            let digits: Vec<usize> =
                text.match_indices(|c: char| c.is_ascii_digit()).map(|(i, _)| i).collect();
            if !digits.is_empty() {
                let at = digits[random.below(digits.len())];
                text.replace_range(at..=at, &random.below(10).to_string());
            }
        }
        7 => {
            let at = random.below(text.len() + 1);
            if text.is_char_boundary(at) {
                text.insert_str(
                    at,
                    random.one_of(&["0", ",", "[", "]", "{", "}", "\"", ":", " ", "\\"]),
                );
            }
        }
        8 => {
            let at = random.below(text.len().max(1));
            if text.get(at..=at).is_some() {
                text.remove(at);
            }
        }
        _ => {
            let (a, b, to) =
                (random.below(text.len() + 1), random.below(60), random.below(text.len() + 1));
            if let Some(part) = text.get(a..(a + b).min(text.len())).map(str::to_owned)
                && text.is_char_boundary(to)
            {
                text.insert_str(to, &part);
            }
        }
    }
}

#[test]
fn a_changed_snapshot_without_a_sum_is_refused_or_goes_on_with_a_valid_conversation() {
    let mut seeds: Vec<String> = OLD.map(|(_, old)| old.to_owned()).to_vec();
    // Longer ones, with turns before the last.
    for (_, old) in OLD {
        let mut run = load(old).unwrap();
        go_on(&mut run).unwrap();
        run.user("More.").unwrap();
        seeds.push(
            save(&run).rsplit_once(",\"sum\":").map(|(content, _)| format!("{content}}}")).unwrap(),
        );
    }
    let (mut random, mut taken, mut invalid) = (Random(1), 0, Vec::new());
    for _ in 0..10_000 {
        let mut text = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(3) {
            change(&mut text, &mut random);
        }
        let Ok(mut run) = load(&text) else { continue };
        taken += 1;
        let mut judge = || -> Result<(), String> {
            go_on(&mut run)?;
            let _ = run.user("More.");
            go_on(&mut run)?;
            let _ = (run.ask_again(), run.stop());
            run.resume();
            go_on(&mut run)
        };
        if let Err(sent) = judge() {
            invalid.push(format!("{sent}\n  from {text}"));
        }
    }
    assert!(
        invalid.is_empty(),
        "{} of {taken}, such as {}",
        invalid.len(),
        invalid[..invalid.len().min(3)].join("\n")
    );
    assert!(taken > 500, "{taken}");
}

/// A call that waits for the caller and was started by hand has begun, and does not begin again.
/// The first releases wrote such a snapshot as one of a call that still waits.
#[test]
fn a_call_for_the_caller_that_was_running_is_cancelled() {
    let old = OLD.iter().find(|(name, _)| *name == "needs_answer").unwrap().1;
    let mut run = load(old).unwrap();
    let waiting = run.call_for_caller().unwrap();
    let _dropped = run.start_in_place(waiting).unwrap();
    let (now, bit) = (save(&run), format!("\"running\":[{},0,0,0]", 1 << waiting.get()));
    assert!(now.contains(&bit) && now.contains("\"state\":\"calling\""), "{now}");
    let both = old.replace("\"running\":[0,0,0,0]", &bit);
    assert!(both != old && both.contains("needs_answer"));
    for mut run in [run, load(&both).unwrap()] {
        assert_eq!((run.call_for_caller(), run.is_pending(waiting)), (None, false));
        go_on(&mut run).unwrap();
        let text = String::from_utf8_lossy(run.transcript().bytes()).into_owned();
        assert!(text.contains("Error: cancelled"), "{text}");
    }
}
