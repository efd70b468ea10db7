//! Messages stay the same, byte for byte, as views, as owned messages, through serde, and as a
//! run's history.

use toolrunner_core::error::Error;
use toolrunner_core::json::Value;
use toolrunner_core::message::{Messages, OwnedMessage, Role};
use toolrunner_core::run::Run;
use toolrunner_core::transcript::Transcript;

use super::json::is_serde_jsons_own;

/// Runs the target, whose property the module's documentation states.
pub fn run(data: &[u8]) {
    // Views of any bytes return something or nothing, and end.
    for message in Messages::new(data) {
        let _ = (message.role(), message.tool_uses().count(), message.tool_results().count());
        for text in message.texts() {
            let _ = text.to_string();
        }
        for block in message.blocks() {
            let _ = format!("{block:?}");
        }
    }
    let Ok(text) = core::str::from_utf8(data) else { return };
    // Only values are affected: as raw text serde_json passes on such an object like any other.
    let is_its_own = is_serde_jsons_own(data)
        || Messages::new(data).any(|message| is_serde_jsons_own(message.value().raw()));
    if let Ok(message) = OwnedMessage::from_json(text) {
        assert_eq!(message.as_json(), text.trim_ascii());
        let written = serde_json::to_string(&message).expect("a message is JSON");
        let read: OwnedMessage = serde_json::from_str(&written).expect("its own JSON");
        assert_eq!(read.as_json(), message.as_json(), "through serde");
        if !is_its_own {
            let theirs: serde_json::Value =
                serde_json::from_str(text).expect("serde_json takes it too");
            assert!(super::json::same(message.view().value(), &theirs));
        }
    }
    for mut run in
        [Run::new(Transcript::growing()), Run::new(Transcript::new(&mut vec![0; data.len() + 16]))]
    {
        match run.replace_history(text) {
            Ok(()) => {
                if !is_its_own {
                    let array: Vec<serde_json::Value> = serde_json::from_str(&format!(
                        "[{}]",
                        String::from_utf8_lossy(run.transcript().bytes())
                    ))
                    .expect("a conversation is JSON");
                    assert_eq!(array.len(), Messages::new(run.transcript().bytes()).count());
                    assert!(array.iter().all(|message| message.is_object()));
                }
                let kept = run.transcript().bytes();
                let is_given =
                    |part: &[u8]| part.is_empty() || data.windows(part.len()).any(|p| p == part);
                assert!(is_given(kept) || is_given(before_results(kept)), "byte for byte");
            }
            // Without a heap there may be no room for answers to the unanswered calls.
            Err(Error::Misuse(_) | Error::Capacity(_)) => {
                assert!(run.transcript().is_empty(), "then nothing changes");
            }
            Err(other) => panic!("{other}"),
        }
    }
    if toolrunner_core::__private::check(data).is_ok_and(|checked| checked.lone_surrogate.is_none())
    {
        assert!(Value::first(data).is_some());
    }
}

/// Returns the conversation up to the calls of its last reply. If only some of them had results, a
/// run rewrites the results that follow.
fn before_results(kept: &[u8]) -> &[u8] {
    let reply = Messages::new(kept)
        .filter(|message| message.role() == Some(Role::Assistant))
        .last()
        .expect("only results are written anew");
    assert!(reply.tool_uses().count() > 1, "results of some calls and not of others");
    let raw = reply.value().raw();
    let at = kept.windows(raw.len()).rposition(|part| part == raw).expect("a message in it");
    &kept[..at + raw.len()]
}
