//! The loop by hand: the core's machine and nothing else. No future, no transport, no clock: this
//! is what every driver does.
//!
//! What it shows: `step` says what to do; the reply's bytes go in by `feed`, in any pieces; `event`
//! lends what happened; a call is answered by `answer`. So it is fuzzed, and so it is put under an
//! event loop of one's own.

use std::process::ExitCode;

use toolrunner_core::error::Error;
use toolrunner_core::observe::Event;
use toolrunner_core::run::{Outcome, Run, Step};
use toolrunner_core::testing::{Reply, Request, Script, ScriptedModel};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

/// What a request says before the conversation.
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
                run.answered(&head);
                // From the network the pieces would come one after another; the machine does not
                // care.
                if let Err(error) = receive(run, &response.bytes()) {
                    // The policy decides: another try later, or the error.
                    let wait = run.failed(Some(error), now, 0)?;
                    println!("failed: {error}; again after {wait:?}");
                }
            }
            Step::Wait(until) => now = until,
            Step::Call => {
                while let Some(i) = run.next_call() {
                    if let Some(call) = run.call(i) {
                        println!("call: {} {}", call.name, call.input);
                    }
                    run.answer(i, br#""3 days""#, false)?;
                }
            }
            // The reply was dropped half-way, which this program never does.
            Step::Receive => {
                run.failed(None, now, 0)?;
            }
            Step::Done(outcome) => return Ok(outcome),
        }
    }
}

fn receive(run: &mut Run<'_>, bytes: &[u8]) -> Result<(), Error> {
    for piece in bytes.chunks(100) {
        let mut piece = piece;
        while let Some(happened) = run.feed(&mut piece)? {
            tell(run.event(happened));
        }
    }
    while let Some(happened) = run.end_of_body()? {
        tell(run.event(happened));
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
        .reply(Reply::text("Let me look.").tool_use("toolu_1", "uptime", "{}"))
        .reply(Reply::text("It has run for 3 days."));
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
