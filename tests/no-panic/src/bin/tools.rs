//! A driver with one tool, and the optional features of drivers, tools and schemas: see
//! `extras.py`. Without a feature, it contains only the code that is not optional.
#![no_std]
#![no_main]

use core::fmt::Write as _;
use core::hint::black_box;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use toolrunner_core::__private::{Discriminator, Variant, choice, made_definition};
use toolrunner_core::drive::Driver;
use toolrunner_core::error::Error;
use toolrunner_core::run::Run;
use toolrunner_core::schema::{Property, Schema};
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Toolbox};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::wire::{Config, MessageThread};
use toolrunner_no_panic::{Time, Wire};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// The feature to enable.
const EXTRA: Option<&str> = option_env!("EXTRA");

const JSON: &str = r#"{"name":"f","input_schema":{"type":"object"}}"#;
const NAMES: Schema = Schema::names(&["a", "b"]);
const TAGGED: Schema = Schema::object(&[]).tagged("kind", "a");

/// Returns the schema of an object whose only member has the schema that the feature is about.
fn schema() -> &'static Schema {
    macro_rules! with {
        ($schema:expr) => {
            const { &Schema::object(const { &[Property::required("value", $schema)] }) }
        };
    }
    match EXTRA {
        Some("names") => with!(NAMES),
        Some("number_bounds") => with!(Schema::INTEGER.minimum("1")),
        Some("text_bounds") => with!(Schema::STRING.min_length(1)),
        Some("arrays") => with!(Schema::array(&Schema::STRING)),
        Some("tuples") => with!(Schema::tuple(&[&Schema::STRING])),
        Some("maps") => with!(Schema::map(&Schema::STRING)),
        Some("tagged_variants") => {
            with!(choice(Discriminator::Tag("kind"), const { &[Variant::new("a", TAGGED)] }))
        }
        Some("keyed_variants") => {
            with!(choice(Discriminator::Key, const { &[Variant::new("a", Schema::STRING)] }))
        }
        Some("untagged_variants") => {
            with!(choice(Discriminator::Fit, const { &[Variant::new("a", Schema::STRING)] }))
        }
        _ => with!(Schema::STRING),
    }
}

struct Tools;

impl Toolbox for Tools {
    fn count(&self) -> usize {
        1
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        let made = match EXTRA {
            Some("definition_check") => Definition::new(black_box("f"), black_box(JSON)),
            _ => made_definition("f", JSON, &Schema::STRING, false),
        };
        (i == 0).then_some(made)
    }

    async fn call(
        &self,
        _: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        if let Err(error) = schema().check(call.input) {
            let _counted = write!(out, "{}", error.explain(call.input));
            return Err(ToolError::written());
        }
        Err(match EXTRA {
            Some("error_blocks") => ToolError::static_blocks(r#"[{"type":"text","text":"no"}]"#),
            _ => ToolError::new("no"),
        })
    }
}

async fn talk(memory: &mut [u8], wire: &[u8]) -> Result<usize, Error> {
    let mut config = Config::new("m", 64);
    match EXTRA {
        Some("run_settings") => config.limits.turns = Some(3),
        Some("thread_settings") => config.message_thread = MessageThread::Free,
        _ => {}
    }
    let mut driver = Driver::new(config, Wire(wire), &Tools, Time)?;
    let mut run = Run::new(Transcript::new(memory));
    run.user(black_box("Go."))?;
    driver.until_done(&mut run, &mut ()).await.map_err(|failed| failed.error)?;
    Ok(run.transcript().len())
}

#[unsafe(no_mangle)]
extern "C" fn entry() -> usize {
    let mut memory = [0; 1024];
    let mut talk = pin!(talk(black_box(&mut memory), black_box(&[0; 64])));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(length) = talk.as_mut().poll(&mut context) {
            return length.unwrap_or(1);
        }
    }
}
