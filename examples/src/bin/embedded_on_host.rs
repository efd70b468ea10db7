//! The structure of a chip's program, on a laptop: the core's driver in fixed memory, tools that
//! are methods of a board, no runtime.
//!
//! This example shows a `Driver` with a `Run` over a 4 KiB slice, `#[toolbox]` on `&self` state, an
//! observer, a conversation that continues, and the error for a full transcript. The code in this
//! file does not use a heap; the scripted model, which replaces a board's network, does.

use core::cell::Cell;
use core::time::Duration;
use std::process::ExitCode;

use toolrunner_core::drive::{DriveError, Driver};
use toolrunner_core::error::Error;
use toolrunner_core::observe::{Event, FnObserver};
use toolrunner_core::run::Run;
use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply, ScriptedTransport};
use toolrunner_core::time::{Clock, Instant};
use toolrunner_core::tool::ToolError;
use toolrunner_core::toolbox;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::Failure;
use toolrunner_core::wire::Config;

/// A board with a lamp and a sensor. On a chip, the fields are pins and buses.
struct Board {
    led: Cell<bool>,
    sensor_answers: Cell<bool>,
}

#[toolbox]
impl Board {
    /// Switch the user LED.
    #[tool]
    fn set_led(
        &self,
        /** true is on */
        on: bool,
    ) {
        self.led.set(on);
    }

    /// Read the ambient temperature in degrees Celsius.
    #[tool]
    async fn temperature(&self) -> Result<f32, ToolError> {
        if self.sensor_answers.replace(true) {
            Ok(28.5)
        } else {
            Err(ToolError::new("the sensor does not answer"))
        }
    }
}

/// The chip's timer. Here only waits advance it, so that a retry takes no time.
struct Timer(Cell<Instant>);

impl Clock for Timer {
    fn now(&self) -> Instant {
        self.0.get()
    }

    async fn wait_until(&self, deadline: Instant) {
        self.0.set(self.0.get().max(deadline));
    }

    fn jitter(&self) -> u32 {
        4 // a board uses its random number generator
    }
}

/// On a chip, this is a constant in flash.
const CONFIG: Config<'static> = Config::new("claude-haiku-4-5", 512)
    .system("You look after a room.")
    .base_url("http://192.168.1.2:8080");

/// The model's replies: first the sensor fails, then it answers; in between, the server is busy
/// once.
fn script() -> ScriptedModel {
    let script = Script::new()
        .reply(ScriptedReply::text("I'll see.").tool_use("toolu_1", "temperature", "{}"))
        .error(529, "overloaded_error", "Overloaded")
        .reply(ScriptedReply::text("Once more.").tool_use("toolu_2", "temperature", "{}"))
        .reply(ScriptedReply::new().tool_use("toolu_3", "set_led", r#"{"on":true}"#))
        .reply(ScriptedReply::text("28.5 degrees is too warm: the LED is on."))
        .reply(ScriptedReply::text("It was on when I last switched it."));
    ScriptedModel::new(script)
}

fn see(event: &Event<'_>) {
    match event {
        Event::BlockStop { block, .. } if block.member("text").is_some() => {
            println!(
                "model: {}",
                block.member("text").and_then(|text| text.as_text()).unwrap_or_default()
            );
        }
        Event::ToolStart { name, input, .. } => println!("call: {name} {input}"),
        Event::ToolEnd { content, is_error, .. } => {
            println!("{}: {content}", if *is_error { "error" } else { "result" })
        }
        Event::Retry { error, wait, .. } => {
            println!("{error}: again in {} ms", Duration::as_millis(wait))
        }
        _ => {}
    }
}

async fn look_after_the_room() -> Result<(), DriveError<Failure>> {
    let board = Board { led: Cell::new(false), sensor_answers: Cell::new(false) };
    let mut driver = Driver::new(
        CONFIG,
        ScriptedTransport::new(script()),
        &board,
        Timer(Cell::new(Instant::ZERO)),
    )?;
    let mut observer = FnObserver(see);

    // On a chip, this is a static.
    let mut memory = [0; 4096];
    let mut run = Run::new(Transcript::new(&mut memory));
    run.user("Is it too warm in here? If so, switch the LED on.")?;
    let outcome = driver.until_done(&mut run, &mut observer).await?;
    println!("{outcome}; the LED is {}", if board.led.get() { "on" } else { "off" });

    // The conversation continues in the same memory.
    run.user("Is the LED on?")?;
    driver.until_done(&mut run, &mut observer).await?;
    println!("the transcript: {} of {} bytes", run.transcript().len(), run.transcript().capacity());

    // A message that does not fit is not written, and the conversation stays intact.
    let long = "How warm was it? ".repeat(200);
    match run.user(&long) {
        Err(Error::Capacity(full)) => println!("{full}"),
        other => println!("unexpected: {other:?}"),
    }
    Ok(())
}

fn main() -> ExitCode {
    match pollster::block_on(look_after_the_room()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
