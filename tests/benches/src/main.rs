//! One piece of work, so many times: `bench CASE TIMES`. `bench --list` gives the cases, each with the bytes that it goes over.
//!
//! It measures nothing itself: `count.py` counts its instructions under callgrind.

use std::hint::black_box;
use std::process::ExitCode;

use toolrunner_core::ToolInput;
use toolrunner_core::json::Value;
use toolrunner_core::run::{Run, Step};
use toolrunner_core::schema::Schema;
use toolrunner_core::testing::{Reply, Request, Script, ScriptedModel, Style};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

const BEFORE: &[&[u8]] = &[b"{\"model\":\"m\",\"max_tokens\":9,\"messages\":["];
const PLAIN: &str = "The quick brown fox jumps over the lazy dog, and the dog does not mind at all. ";
const ESCAPES: &str = "a \"quoted\" word,\n\ta back\\slash\n";
const CJK: &str = "東京の天気は晴れです。気温は二十二度、";
const INPUT: &str = r#"{"location":"San Francisco, CA","unit":"celsius","days":[1,2,3],"note":"a \"quoted\" note"}"#;

/// Where a reply goes: too large for any of these.
const MEMORY: usize = 256 * 1024;

/// What is done again and again; it gives the bytes it went over.
type Work = Box<dyn FnMut() -> usize>;

const CASES: [(&str, fn() -> Work); 14] = [
    ("sse, 12-byte deltas", || decode(stream(Reply::text(&PLAIN.repeat(100)), 12, false))),
    ("sse, 100-byte deltas", || decode(stream(Reply::text(&PLAIN.repeat(100)), 100, false))),
    ("sse, 1000-byte deltas", || decode(stream(Reply::text(&PLAIN.repeat(100)), 1000, false))),
    ("sse, escapes", || decode(stream(Reply::text(&ESCAPES.repeat(200)), 100, false))),
    ("sse, CJK", || decode(stream(Reply::text(&CJK.repeat(150)), 100, false))),
    ("sse, CJK as \\u", || decode(stream(Reply::text(&CJK.repeat(50)), 100, true))),
    ("sse, tool input", || {
        decode(stream(Reply::new().tool_use("toolu_1", "f", &format!("{{\"a\":[{}]}}", [INPUT; 80].join(","))), 100, false))
    }),
    ("whole JSON", || decode(rendered(Reply::text(&PLAIN.repeat(100)).tool_use("toolu_1", "f", INPUT), Style::default(), false))),
    ("append", append),
    ("emit", emit),
    ("schema check", schema),
    ("loop, three turns", turns),
    ("floor: memchr", || floor(|bytes, _| memchr::memchr_iter(b'\n', bytes).count())),
    ("floor: memcpy", || {
        floor(|bytes, to| {
            to[..bytes.len()].copy_from_slice(bytes);
            bytes.len()
        })
    }),
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (name, times) = (arguments.next().unwrap_or_default(), arguments.next().and_then(|text| text.parse::<usize>().ok()));
    if name == "--list" {
        CASES.iter().for_each(|(name, make)| println!("{name}\t{}", make()()));
        return ExitCode::SUCCESS;
    }
    let (Some((_, make)), Some(times)) = (CASES.iter().find(|case| case.0 == name), times) else {
        eprintln!("usage: bench --list | CASE TIMES");
        return ExitCode::from(2);
    };
    let mut work = make();
    for _ in 0..times {
        black_box(work());
    }
    ExitCode::SUCCESS
}

fn rendered(reply: Reply, style: Style, stream: bool) -> Vec<u8> {
    let mut model = ScriptedModel::new(Script::new().reply(reply)).style(style).lenient();
    let request = format!(r#"{{"model":"m","max_tokens":9,"stream":{stream},"messages":[{{"role":"user","content":"Hi"}}]}}"#);
    model.respond(Request::new("/v1/messages", request)).bytes()
}

fn stream(reply: Reply, delta: usize, ascii: bool) -> Vec<u8> {
    rendered(reply, Style { delta, ascii, ..Style::default() }, true)
}

/// One exchange, its body in pieces of 8 KB.
fn exchange(run: &mut Run<'_>, body: &[u8]) {
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    black_box(run.body(BEFORE).len());
    run.answered(&ReplyHead::new(200));
    for piece in body.chunks(8192) {
        let mut rest = piece;
        while let Some(happened) = run.feed(&mut rest).expect("a good reply") {
            black_box(run.event(happened));
        }
    }
    while run.end_of_body().expect("a whole reply").is_some() {}
}

fn decode(body: Vec<u8>) -> Work {
    let mut memory = vec![0; MEMORY];
    Box::new(move || {
        let mut run = Run::new(Transcript::new(&mut memory));
        run.user("Hi").expect("room");
        exchange(&mut run, &body);
        body.len()
    })
}

/// A message of 4 KB said.
fn append() -> Work {
    let mut memory = vec![0; MEMORY];
    let text = PLAIN.repeat(52);
    Box::new(move || {
        let mut run = Run::new(Transcript::new(&mut memory));
        run.user(&text).expect("room");
        text.len()
    })
}

/// A request of 16 KB, as its slices.
fn emit() -> Work {
    let mut run = Run::new(Transcript::new(vec![0; MEMORY].leak()));
    for _ in 0..4 {
        run.user(&PLAIN.repeat(52)).expect("room");
    }
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    Box::new(move || black_box(run.body(BEFORE)).pieces().map(<[u8]>::len).sum())
}

/// The input of [`INPUT`]'s shape.
#[derive(ToolInput)]
#[allow(dead_code, reason = "only its schema is used")]
struct Place<'a> {
    location: &'a str,
    unit: &'a str,
    #[tool(max_items = 10)]
    days: [u8; 3],
    note: &'a str,
}

fn schema() -> Work {
    let schema: &Schema = <Place<'_> as ToolInput>::SCHEMA;
    Box::new(move || {
        let value = Value::first(black_box(INPUT.as_bytes())).expect("a value");
        assert!(black_box(schema.check(value)).is_ok());
        INPUT.len()
    })
}

fn turns() -> Work {
    let call = |id: &str| stream(Reply::text("Let me see.").tool_use(id, "f", INPUT), 12, false);
    let bodies = [call("toolu_1"), call("toolu_2"), stream(Reply::text(PLAIN), 12, false)];
    let mut memory = vec![0; MEMORY];
    Box::new(move || {
        let mut run = Run::new(Transcript::new(&mut memory));
        run.user("Hi").expect("room");
        for body in &bodies {
            exchange(&mut run, body);
            while run.step(Instant::ZERO) == Ok(Step::Call) {
                let i = run.next_call().expect("a call");
                run.answer(i, br#""22 degrees, sunny""#, false).expect("room");
            }
        }
        bodies.iter().map(Vec::len).sum()
    })
}

/// The least that can be done with the bytes of a stream of 100-byte deltas.
fn floor(work: fn(&[u8], &mut [u8]) -> usize) -> Work {
    let body = stream(Reply::text(&PLAIN.repeat(100)), 100, false);
    let mut to = vec![0; MEMORY];
    Box::new(move || {
        black_box(work(black_box(&body), black_box(&mut to)));
        body.len()
    })
}
