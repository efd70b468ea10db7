//! The measured pieces of work: `bench` counts their instructions, `benches/times.rs` times them.

use std::hint::black_box;

use toolrunner_core::ToolInput;
use toolrunner_core::json::Value;
use toolrunner_core::run::{Run, Step, ToolAnswer};
use toolrunner_core::schema::Schema;
use toolrunner_core::testing::{Request, Script, ScriptedModel, ScriptedReply, Style};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

const BEFORE: &[&[u8]] = &[b"{\"model\":\"m\",\"max_tokens\":9,\"messages\":["];
const PLAIN: &str =
    "The quick brown fox jumps over the lazy dog, and the dog does not mind at all. ";
const ESCAPES: &str = "a \"quoted\" word,\n\ta back\\slash\n";
const CJK: &str = "東京の天気は晴れです。気温は二十二度、";
const INPUT: &str = r#"{"location":"San Francisco, CA","unit":"celsius","days":[1,2,3],"note":"a \"quoted\" note"}"#;

/// The size of the memory for a reply. Larger than every reply here.
const MEMORY: usize = 256 * 1024;

/// A repeatable piece of work.
pub struct Work {
    /// The bytes that it processes: a reply from the wire, or a message.
    pub bytes: Vec<u8>,
    /// Performs the work once.
    pub once: Box<dyn FnMut()>,
}

/// Creates a piece of work, with its own bytes or with the given ones.
pub type Make = fn() -> Work;
pub type MakeOf = fn(Vec<u8>) -> Work;

/// All pieces of work by name.
pub const CASES: [(&str, Make); 12] = [
    ("sse, 12-byte deltas", || decode(stream(ScriptedReply::text(&PLAIN.repeat(100)), 12, false))),
    ("sse, 100-byte deltas", || decode(plain())),
    ("sse, 1000-byte deltas", || {
        decode(stream(ScriptedReply::text(&PLAIN.repeat(100)), 1000, false))
    }),
    ("sse, escapes", || decode(stream(ScriptedReply::text(&ESCAPES.repeat(200)), 100, false))),
    ("sse, CJK", || decode(stream(ScriptedReply::text(&CJK.repeat(150)), 100, false))),
    ("sse, CJK as \\u", || decode(stream(ScriptedReply::text(&CJK.repeat(50)), 100, true))),
    ("sse, tool input", || {
        decode(stream(
            ScriptedReply::new().tool_use(
                "toolu_1",
                "f",
                &format!("{{\"a\":[{}]}}", [INPUT; 80].join(",")),
            ),
            100,
            false,
        ))
    }),
    ("whole JSON", || {
        decode(rendered(
            ScriptedReply::text(&PLAIN.repeat(100)).tool_use("toolu_1", "f", INPUT),
            Style::default(),
            false,
        ))
    }),
    ("append", append),
    ("emit", emit),
    ("schema check", schema),
    ("loop, three turns", turns),
];

/// The floors, the least work on the same bytes: scanning and copying them.
pub const FLOORS: [(&str, MakeOf); 2] = [("memchr", looked_at), ("memcpy", copied)];

/// Returns a stream of text in deltas of 100 bytes.
pub fn plain() -> Vec<u8> {
    stream(ScriptedReply::text(&PLAIN.repeat(100)), 100, false)
}

/// Returns a turn of a conversation over HTTP: text and then a call of `calculate_sum`.
pub fn turn(id: &str, stream: bool) -> Vec<u8> {
    rendered(
        ScriptedReply::text(PLAIN).tool_use(id, "calculate_sum", r#"{"a":15,"b":27}"#),
        Style::default(),
        stream,
    )
}

/// Returns the last turn of such a conversation.
pub fn last_turn(stream: bool) -> Vec<u8> {
    rendered(ScriptedReply::text(PLAIN), Style::default(), stream)
}

/// Returns the scripted model's reply as bytes of the wire.
fn rendered(reply: ScriptedReply, style: Style, stream: bool) -> Vec<u8> {
    let mut model = ScriptedModel::new(Script::new().reply(reply)).style(style).lenient();
    let request = format!(
        r#"{{"model":"m","max_tokens":9,"stream":{stream},"messages":[{{"role":"user","content":"Hi"}}]}}"#
    );
    model.respond(Request::new("/v1/messages", request)).bytes()
}

fn stream(reply: ScriptedReply, delta: usize, ascii: bool) -> Vec<u8> {
    rendered(reply, Style { delta, ascii, ..Style::default() }, true)
}

/// Performs one exchange. The body arrives in pieces of 8 KB.
fn exchange(run: &mut Run<'_>, body: &[u8]) {
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    black_box(run.body(BEFORE).len());
    run.head_arrived(&ReplyHead::new(200));
    for piece in body.chunks(8192) {
        let mut rest = piece;
        while let Some(stream_event) = run.feed(&mut rest).expect("a good reply") {
            black_box(run.mark_shown(stream_event));
        }
    }
    while run.end_of_body().expect("a whole reply").is_some() {}
}

fn decode(bytes: Vec<u8>) -> Work {
    let mut memory = vec![0; MEMORY];
    let body = bytes.clone();
    let once = move || {
        let mut run = Run::new(Transcript::new(&mut memory));
        run.user("Hi").expect("room");
        exchange(&mut run, &body);
    };
    Work { bytes, once: Box::new(once) }
}

/// Appends a message of 4 KB.
fn append() -> Work {
    let mut memory = vec![0; MEMORY];
    let text = PLAIN.repeat(52);
    let bytes = text.clone().into_bytes();
    let once = move || {
        let mut run = Run::new(Transcript::new(&mut memory));
        run.user(&text).expect("room");
    };
    Work { bytes, once: Box::new(once) }
}

/// Produces a request of 16 KB as slices.
fn emit() -> Work {
    let mut run = Run::new(Transcript::new(vec![0; MEMORY].leak()));
    for _ in 0..4 {
        run.user(&PLAIN.repeat(52)).expect("room");
    }
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    let bytes = run.body(BEFORE).pieces().flatten().copied().collect();
    let once = move || {
        black_box(black_box(run.body(BEFORE)).pieces().map(<[u8]>::len).sum::<usize>());
    };
    Work { bytes, once: Box::new(once) }
}

/// The type that corresponds to [`INPUT`].
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
    let once = move || {
        let value = Value::first(black_box(INPUT.as_bytes())).expect("a value");
        assert!(black_box(schema.check(value)).is_ok());
    };
    Work { bytes: INPUT.into(), once: Box::new(once) }
}

fn turns() -> Work {
    let call =
        |id: &str| stream(ScriptedReply::text("Let me see.").tool_use(id, "f", INPUT), 12, false);
    let bodies = [call("toolu_1"), call("toolu_2"), stream(ScriptedReply::text(PLAIN), 12, false)];
    let mut memory = vec![0; MEMORY];
    let bytes = bodies.concat();
    let once = move || {
        let mut run = Run::new(Transcript::new(&mut memory));
        run.user("Hi").expect("room");
        for body in &bodies {
            exchange(&mut run, body);
            while run.step(Instant::ZERO) == Ok(Step::Call) {
                let i = run.next_call().expect("a call");
                run.answer(i, ToolAnswer::ok("22 degrees, sunny")).expect("room");
            }
        }
    };
    Work { bytes, once: Box::new(once) }
}

fn looked_at(bytes: Vec<u8>) -> Work {
    let body = bytes.clone();
    let once = move || {
        black_box(memchr::memchr_iter(b'\n', black_box(&body)).count());
    };
    Work { bytes, once: Box::new(once) }
}

fn copied(bytes: Vec<u8>) -> Work {
    let (body, mut to) = (bytes.clone(), vec![0; bytes.len()]);
    let once = move || black_box(&mut to).copy_from_slice(black_box(&body));
    Work { bytes, once: Box::new(once) }
}
