//! A reply of any shape is the same message as a stream in any style and as one JSON object.

use toolrunner_core::error::Error;
use toolrunner_core::json::Value;
use toolrunner_core::run::{Run, Step};
use toolrunner_core::testing::{Request, Script, ScriptedModel, ScriptedReply, Style};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

use crate::choices::Choices;
use crate::replies::{reply, style};

/// Runs the target, whose property the module's documentation states.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let style = style(&mut choices);
    let reply = reply(&mut choices, "r");
    let (streamed, whole) = (message(&reply, &style, true), message(&reply, &style, false));
    let (streamed, whole) = match (streamed, whole) {
        (Ok(streamed), Ok(whole)) => (streamed, whole),
        // A pause without content is not a turn: both forms refuse it.
        (Err(streamed), Err(whole)) => return assert_eq!(streamed, whole),
        differ => panic!("one of the two forms is refused: {differ:?}"),
    };
    assert_eq!(streamed.1, whole.1, "stop reason, usage");
    let theirs: serde_json::Value =
        serde_json::from_slice(&whole.0).expect("the conversation is JSON");
    let ours = Value::first(&streamed.0).expect("a conversation");
    assert!(super::json::same(ours, &theirs), "streamed {}\nwhole {theirs}", ours.as_json());
}

/// Returns the conversation after a reply, as an array, and the run's other knowledge of it. The
/// only reply that is refused, with an error, is one that pauses without content.
fn message(reply: &ScriptedReply, style: &Style, stream: bool) -> Result<(Vec<u8>, String), Error> {
    let mut model =
        ScriptedModel::new(Script::new().reply(reply.clone())).style(style.clone()).lenient();
    let request = format!(
        r#"{{"model":"m","max_tokens":9,"stream":{stream},"messages":[{{"role":"user","content":"Hi"}}]}}"#
    );
    // The request's length is part of the usage, so it must be constant.
    let padded = format!("{request:<120}");
    let body = model.respond(Request::new("/v1/messages", padded)).bytes();
    let mut run = Run::new(Transcript::growing());
    run.user("Hi").expect("room for it");
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    run.head_arrived(&ReplyHead::new(200));
    let mut rest = body.as_slice();
    let mut read = || {
        while run.feed(&mut rest)?.is_some() {}
        while run.end_of_body()?.is_some() {}
        Ok(())
    };
    if let Err(error) = read() {
        let said = String::from_utf8_lossy(&body);
        // The model also continues after a compaction.
        let pauses = ["pause_turn", "compaction"].iter().any(|stop| said.contains(stop));
        assert!(matches!(error, Error::Protocol(_)) && pauses, "{error}: {said}");
        return Err(error);
    }
    let known = format!("{:?} {:?} {:?}", run.stop_reason(), run.turn_usage(), run.container());
    Ok(([b"[", run.transcript().bytes(), b"]"].concat(), known))
}
