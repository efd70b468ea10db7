//! The loop by hand: only the core's machine, without futures, transport or clock. Every driver
//! does what this program does.
//!
//! This example shows that `step` returns what to do next; `feed` takes the reply's bytes, in
//! pieces of any size; `mark_shown` lends what happened; and `answer` answers a call. The fuzzers
//! drive the machine in this way, and so can your own event loop.

use std::process::ExitCode;

use toolrunner_core::error::Error;
use toolrunner_core::observe::Event;
use toolrunner_core::run::{Outcome, Run, Step, ToolAnswer};
use toolrunner_core::testing::{Request, Script, ScriptedModel, ScriptedReply};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

/// The request body before the conversation.
const BEFORE: &[u8] =
    br#"{"model":"m","max_tokens":100,"stream":true,"tools":[{"name":"uptime","input_schema":{"type":"object"}}],"messages":["#;

fn go(run: &mut Run<'_>, server: &mut ScriptedModel) -> Result<Outcome, Error> {
    let mut now = Instant::ZERO;
    loop {
        match run.step(now)? {
            Step::Send => {
                let body: Vec<u8> = run.body(&[BEFORE]).pieces().flatten().copied().collect();
                println!("send: {} bytes", body.len());
                let response = server.respond(Request::new("/v1/messages", body));
                let mut head = ReplyHead::new(response.status);
                for (name, value) in &response.headers {
                    head.field(name, value.as_bytes());
                }
                run.head_arrived(&head);
                // A network would deliver the bytes in pieces; the machine accepts any.
                if let Err(error) = receive(run, &response.bytes()) {
                    // The policy decides whether to retry later or to return the error.
                    let wait = run.failed(error, now, 0)?;
                    println!("failed: {error}; again after {wait:?}");
                }
            }
            Step::Wait(until) => now = until,
            Step::Call => {
                while let Some(i) = run.next_call() {
                    if let Some(call) = run.call(i) {
                        println!("call: {} {}", call.name, call.input);
                    }
                    run.answer(i, ToolAnswer::ok("3 days"))?;
                }
            }
            // The reply was dropped before its end, which never happens in this program.
            Step::Receive => run.abandoned(),
            Step::Done(outcome) => return Ok(outcome),
        }
    }
}

fn receive(run: &mut Run<'_>, bytes: &[u8]) -> Result<(), Error> {
    for piece in bytes.chunks(100) {
        let mut piece = piece;
        while let Some(stream_event) = run.feed(&mut piece)? {
            tell(run.mark_shown(stream_event));
        }
    }
    while let Some(stream_event) = run.end_of_body()? {
        tell(run.mark_shown(stream_event));
    }
    Ok(())
}

fn tell(event: Event<'_>) {
    match event {
        Event::Text { text, .. } => println!("text: {text}"),
        Event::Input { json, .. } => println!("input: {json}"),
        Event::Stop { reason: Some(reason), usage, .. } => {
            println!("stop: {reason}, {} tokens out", usage.output_tokens)
        }
        _ => {}
    }
}

fn main() -> ExitCode {
    let script = Script::new()
        .error(529, "overloaded_error", "Overloaded")
        .header("retry-after", "1")
        .reply(ScriptedReply::text("Let me look.").tool_use("toolu_1", "uptime", "{}"))
        .reply(ScriptedReply::text("It has run for 3 days."));
    let mut server = ScriptedModel::new(script);
    let mut memory = [0; 2048];
    let mut run = Run::new(Transcript::new(&mut memory));
    let outcome = run
        .user("How long has this machine been running?")
        .and_then(|()| go(&mut run, &mut server));
    match outcome {
        Ok(outcome) => println!("{outcome}"),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    }
    println!("transcript: [{}]", String::from_utf8_lossy(run.transcript().bytes()));
    ExitCode::SUCCESS
}
