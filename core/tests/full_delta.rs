//! A delta in the exact form of the API that arrives when little space is left: the result is that
//! of the same delta in any other form, or an error with exact numbers. The other form needs more
//! space, because its whole frame is stored first.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a test runs on a server"
)]

mod common;

use common::exchange;
use toolrunner_core::error::{Capacity, CapacityKind, Error};
use toolrunner_core::run::Run;
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;

const PROMPT: &str = r#"{"role":"user","content":"Hi"}"#;
const START: &str = r#"{"type":"message_start","message":{"role":"assistant","content":[]}}"#;
const STOP: &str = r#"{"type":"content_block_stop","index":0}"#;
const REASON: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#;
const END: &str = r#"{"type":"message_stop"}"#;

/// Returns a stream of one block with two deltas of this type and member. `space` is what separates
/// a field's name from its value: with one space, the deltas have the exact form.
fn body(
    block: Option<&str>,
    (kind, member): (&str, &str),
    texts: [&str; 2],
    space: &str,
) -> Vec<u8> {
    let block = block.map(|block| {
        format!(r#"{{"type":"content_block_start","index":0,"content_block":{{{block}}}}}"#)
    });
    let deltas = texts.map(|text| {
        format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"{kind}","{member}":"{text}"}}}}"#)
    });
    let frames = [("message_start", START.to_owned())]
        .into_iter()
        .chain(block.map(|block| ("content_block_start", block)))
        .chain(deltas.map(|delta| ("content_block_delta", delta)))
        .chain([("content_block_stop", STOP.to_owned()), ("message_delta", REASON.to_owned())])
        .chain([("message_stop", END.to_owned())]);
    frames
        .map(|(name, data)| format!("event:{space}{name}\ndata: {data}\n\n"))
        .collect::<String>()
        .into()
}

/// The events of a body, and the conversation or the error.
type Made = (Vec<String>, Result<String, Capacity>);

/// Feeds a body to a run whose transcript has this capacity.
fn made(memory: Transcript<'_>, body: &[u8]) -> Made {
    let mut run = Run::new(memory);
    run.user("Hi").unwrap();
    let (events, ended) = exchange(&mut run, 200, [body]);
    let messages = |run: &Run<'_>| String::from_utf8(run.messages().to_vec()).unwrap();
    let ended = match ended {
        Ok(()) => Ok(messages(&run)),
        Err(Error::Capacity(full)) => {
            assert_eq!(
                run.failed(Error::Capacity(full), Instant::ZERO, 0).unwrap_err(),
                full.into()
            );
            assert_eq!(messages(&run), PROMPT);
            Err(full)
        }
        Err(other) => panic!("{other:?}: {}", String::from_utf8_lossy(body)),
    };
    (events, ended)
}

#[test]
#[cfg_attr(not(feature = "gateways"), ignore = "reads forms of other servers")]
fn a_delta_at_the_end_of_the_memory() {
    let long = "A text that is longer than what is kept free at the start of the tail. \\u65e5\\n";
    let text = ("text_delta", "text");
    let thinking = ("thinking_delta", "thinking");
    let input = ("input_json_delta", "partial_json");
    let call = r#""type":"tool_use","id":"t1","name":"plain""#;
    let cases = [
        (Some(r#""type":"text","text":"""#.to_owned()), text, ["a", long]),
        (Some(r#""type":"text","text":"""#.to_owned()), text, [long, "a"]),
        // The member is inserted before the value, which must not be overwritten.
        (Some(r#""type":"text""#.to_owned()), text, ["a", long]),
        (Some(r#""type":"text""#.to_owned()), text, [long, long]),
        (Some(r#""type":"thinking","signature":"""#.to_owned()), thinking, ["a", long]),
        (
            Some(r#""type":"thinking","thinking":"","signature":"""#.to_owned()),
            thinking,
            [long, ""],
        ),
        (Some(format!(r#"{call},"input":{{}}"#)), input, [r#"{\"a\":\"\u00e9"#, r#"\"}"#]),
        (Some(call.to_owned()), input, [r#"{\"a\":"#, "[1,2,3,4]}"]),
        // The delta also starts the block.
        (None, text, ["a", long]),
        (None, text, [long, "a"]),
    ];
    for (block, form, texts) in cases {
        let [exact, general] = [" ", ""].map(|space| body(block.as_deref(), form, texts, space));
        let whole = made(Transcript::growing(), &general);
        assert!(whole.1.is_ok());
        let mut memory = vec![0; 512];
        let (mut failed, mut passed) = (0, 0);
        for capacity in PROMPT.len()..memory.len() {
            let fast = made(Transcript::new(&mut memory[..capacity]), &exact);
            let same = made(Transcript::growing_to(capacity), &exact);
            assert_eq!(fast, same, "{capacity}");
            let slow = made(Transcript::new(&mut memory[..capacity]), &general);
            match fast.1 {
                Ok(_) => {
                    assert_eq!(fast, whole, "{capacity}");
                    passed += 1;
                }
                Err(full) => {
                    failed += 1;
                    assert_eq!(passed, 0, "{capacity} is too little, and less is not");
                    assert_eq!(fast.0, whole.0[..fast.0.len()], "{capacity}");
                    assert_eq!(full.what, CapacityKind::Transcript);
                    assert!(slow.1.is_err(), "the other form needs less than {capacity}");
                    // With exactly as much more, the failed step passes; with less, it does not.
                    let more = full.needed - full.free;
                    let next = made(Transcript::growing_to(capacity + more), &exact);
                    assert_ne!(next.1, fast.1, "{capacity}");
                    let again = made(Transcript::growing_to(capacity + more - 1), &exact);
                    let again = again.1.expect_err("less is enough");
                    assert_eq!(again.needed - again.free, 1, "{capacity}: {full:?}, {again:?}");
                }
            }
        }
        assert!(failed > 50 && passed > 50, "{failed} {passed}");
    }
}
