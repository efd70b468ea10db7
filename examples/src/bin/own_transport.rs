//! The core's driver on smol, over real HTTP, with a transport that is not part of the library.
//!
//! What it shows: the two things that a runtime gives, sockets ([`Dial`]) and a timer ([`Clock`]).
//! The transport over them is `examples/src/own_transport.rs`, which is the file to copy.

use core::error::Error;
use core::time::Duration;
use std::process::ExitCode;
use std::{io, time};

use smol_hyper::rt::FuturesIo;
use toolrunner_core::drive::Driver;
use toolrunner_core::observe::{Event, FnObserver};
use toolrunner_core::run::Run;
use toolrunner_core::testing::ScriptedModel;
use toolrunner_core::time::{Clock, Instant};
use toolrunner_core::tool;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::wire::Config;
use toolrunner_examples::own_transport::{Dial, OwnTransport};

/// smol's sockets.
struct Smol;

impl Dial for Smol {
    type Socket = FuturesIo<smol::net::TcpStream>;

    async fn dial(&self, address: String) -> io::Result<Self::Socket> {
        Ok(FuturesIo::new(smol::net::TcpStream::connect(address).await?))
    }
}

/// smol's timers.
struct SmolClock(time::Instant);

impl Clock for SmolClock {
    fn now(&self) -> Instant {
        Instant::ZERO.after(self.0.elapsed())
    }

    async fn wait_until(&self, deadline: Instant) {
        smol::Timer::at(self.0 + Duration::from_micros(deadline.as_micros())).await;
    }

    fn jitter(&self) -> u32 {
        self.0.elapsed().subsec_nanos()
    }
}

/// Get the current weather in a given location.
#[tool]
async fn get_weather(
    /** The city and state, e.g. San Francisco, CA */
    location: &str,
) -> String {
    smol::Timer::after(Duration::from_millis(50)).await;
    format!("Sunny, 20°C in {location}")
}

async fn ask() -> Result<(), Box<dyn Error>> {
    let url = toolrunner_examples::loopback::serve(ScriptedModel::demo())?;
    let config = Config::new("claude-opus-4-7", 1024).base_url(&url);
    let clock = SmolClock(time::Instant::now());
    let mut driver = Driver::new(config, OwnTransport(Smol), &get_weather, clock)?;

    let mut memory = [0; 4096];
    let mut run = Run::new(Transcript::new(&mut memory));
    run.user("What's the weather in Oslo?")?;
    // Each piece of text is shown as it comes.
    let mut observer = FnObserver(|event: &Event<'_>| match event {
        Event::Text { text, .. } => print!("{text}"),
        Event::MessageStop => println!(),
        _ => {}
    });
    let outcome = driver.until_done(&mut run, &mut observer).await?;
    println!("{outcome}");
    Ok(())
}

fn main() -> ExitCode {
    toolrunner_examples::exit(smol::block_on(ask()))
}
