//! Everything async: the driver with its hooks, tools by the macros, and a transport that hands out
//! bytes that the compiler cannot know.
//!
//! Every `async fn` has a path that panics, for a future that is polled again after its end, which
//! nothing here does and no compiler sees; so this links with a real handler, and `symbols.py`
//! holds the list of panics that are in the image.
#![no_std]
#![no_main]

use core::cell::Cell;
use core::hint::black_box;
use core::pin::pin;
use core::sync::atomic::AtomicBool;
use core::task::{Context, Poll, Waker};

use toolrunner_core::drive::{Draft, Driver, Hooks, Verdict};
use toolrunner_core::error::Error;
use toolrunner_core::json::Value;
use toolrunner_core::observe::{Event, FnObserver};
use toolrunner_core::run::{Compaction, MakeRoom, OnBreak, Outcome, Run, WhenFull};
use toolrunner_core::tool::{Output, RawTool, ToolCall, ToolError, Toolbox};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::wire::{Auth, Config};
use toolrunner_core::{ToolInput, tool, toolbox};
use toolrunner_no_panic::{Time, Wire, yields};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

struct Careful<'a>(&'a AtomicBool);

impl Hooks for Careful<'_> {
    async fn before(&self, call: &ToolCall<'_>, out: &mut Output<'_>) -> Verdict {
        yields().await;
        match call.input.raw().len() % 5 {
            0 => {
                let _ = out.text("as you say");
                Verdict::Answer
            }
            1 => {
                let _ = out.text("not today");
                Verdict::Deny
            }
            2 => {
                let _ = out.input("{\"line\":1}");
                Verdict::Input
            }
            3 => Verdict::Suspend,
            _ => Verdict::Allow,
        }
    }

    fn after(&self, result: &mut Draft<'_, '_>) {
        let _ = result.cap(black_box(100));
    }

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

#[derive(ToolInput)]
enum Unit {
    Celsius,
    Fahrenheit,
}

#[derive(ToolInput)]
struct Place<'a> {
    /// A name.
    name: &'a str,
    /// North of the equator.
    latitude: Option<f64>,
    storeys: i64,
}

struct Board {
    led: Cell<bool>,
}

#[toolbox]
impl Board {
    /// Switch the user LED.
    #[tool]
    fn set_led(&self, on: bool) {
        self.led.set(on);
    }

    /// Read the temperature.
    #[tool]
    async fn temperature(
        &self,
        #[tool(default = Unit::Celsius)] unit: Unit,
    ) -> Result<f32, ToolError> {
        yields().await;
        match unit {
            Unit::Celsius => Ok(black_box(21.5)),
            Unit::Fahrenheit => Err(ToolError::new("not here")),
        }
    }

    /// Where it is.
    #[tool]
    fn place(&self, place: Place<'_>) -> u64 {
        let whole = place.name.len() as u64;
        if place.latitude.is_some_and(|latitude| latitude > 0.0) {
            whole
        } else {
            place.storeys.unsigned_abs()
        }
    }
}

/// A line of the log.
#[tool]
fn log(line: u8) -> &'static str {
    if line == 0 { "nothing" } else { "something" }
}

/// A tool as text, with a schema that is checked as it stands.
const ECHO: &str = r#"{"name":"echo","input_schema":{"type":"object","properties":{"n":{"type":"integer","minimum":1}}}}"#;

/// Each way to drive a run.
async fn talk(memory: &mut [u8], wire: &[u8], cancelled: &AtomicBool) -> Result<usize, Error> {
    let board = Board { led: Cell::new(false) };
    let echo = RawTool::direct(black_box(ECHO), |input: Value<'_>, out: &mut Output<'_>| {
        Ok(out.text(input.as_json())?)
    })?;
    let tools = (board.by_ref(), log, echo);
    let config =
        Config::new("m", 64).auth(Auth::Key("k")).base_url("http://a.test").stream(black_box(true));
    let mut driver = Driver::new(config, Wire(wire), &tools, Time)?.hooks(Careful(cancelled));
    let mut run = Run::new(Transcript::new(memory));
    run.limits_mut().turns = Some(black_box(7));
    run.limits_mut().calls = Some(black_box(7));
    run.set_on_break(OnBreak::KeepBlocks);
    *run.when_full_mut() = WhenFull { room: black_box(100), then: MakeRoom::DropOldest };
    *run.compaction_mut() = Some(Compaction { threshold: black_box(1000), ..Compaction::DEFAULT });
    run.user(black_box("Go."))?;
    let mut observer = FnObserver(|event: &Event<'_>| _ = black_box(event));
    loop {
        match driver.next_turn(&mut run, &mut observer).await {
            Ok(Some(outcome)) => drop(black_box(outcome)),
            Ok(None) => {
                driver.results(&mut run, &mut observer).await.map_err(|failed| failed.error)?
            }
            Err(failed) => drop(black_box(failed.error)),
        }
        if let Some(call) = run.call_for_caller() {
            driver.allow(&mut run, call, &mut observer).await.map_err(|failed| failed.error)?;
        }
        let outcome =
            driver.until_done(&mut run, &mut observer).await.map_err(|failed| failed.error)?;
        if black_box(outcome) == Outcome::Stopped {
            break;
        }
    }
    let mut snapshot = [0; 512];
    let saved = run.snapshot_into(&mut snapshot)?;
    let mut memory = [0; 512];
    let restored = Run::from_snapshot(
        snapshot.get(..saved).unwrap_or_default(),
        Transcript::new(&mut memory),
    )?;
    Ok(restored.transcript().len())
}

#[unsafe(no_mangle)]
extern "C" fn entry() -> usize {
    let mut memory = [0; 1024];
    let cancelled = AtomicBool::new(black_box(false));
    let mut talk = pin!(talk(black_box(&mut memory), black_box(&[0; 64]), &cancelled));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(length) = talk.as_mut().poll(&mut context) {
            return length.unwrap_or(1);
        }
    }
}
