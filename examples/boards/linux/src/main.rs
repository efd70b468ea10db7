//! The board's transport where there is `std`: embedded Linux, and ESP-IDF on an ESP32.
//!
//! std-embedded-nal-async provides the sockets and the name lookup, embassy-time the clock. There
//! is no tokio, no rustls and no C library for TLS. `toolrunner-std` is the better choice on a
//! machine that has memory for them.
//!
//! `toolrunner-linux BASE_URL QUESTION` asks a server; `ANTHROPIC_API_KEY` is the key. On ESP-IDF,
//! connect the Wi-Fi by esp-idf-svc first, and call `ask` from `main`.

use std::env;
use std::pin::pin;
use std::process::ExitCode;
use std::time::SystemTime;

use std_embedded_nal_async::Stack;
use toolrunner_embassy::machine::drive::Driver;
use toolrunner_embassy::machine::observe::{Event, FnObserver};
use toolrunner_embassy::machine::run::Run;
use toolrunner_embassy::machine::transcript::Transcript;
use toolrunner_embassy::machine::wire::{Auth, Config};
use toolrunner_embassy::tls::{self, Handoff, Secure, Security, Trust, session};
use toolrunner_embassy::{
    EmbassyClock, Entropy, EntropyError, Link, Plain, Resources, Timeouts, Transport, WallClock,
    toolbox,
};

struct Machine;

#[toolbox]
impl Machine {
    /// Get the current weather in a given location.
    #[tool]
    async fn get_weather(
        &self,
        /// The city and state, e.g. San Francisco, CA
        location: &str,
    ) -> &'static str {
        if location.contains("Paris") { "Sunny, 20°C" } else { "Rain, 12°C" }
    }
}

/// The operating system's random number generator.
struct Random;

impl Entropy for Random {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(bytes).map_err(|_| EntropyError)
    }
}

/// The operating system's clock. On a machine whose clock starts in 1970,
/// `toolrunner_embassy::sntp` sets one.
struct SystemClock;

impl WallClock for SystemClock {
    fn unix_seconds(&self) -> Option<u64> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(since.as_secs())
    }
}

/// Asks over TLS or, for a server on this machine or in your own network, without.
async fn ask(base_url: &str, question: &str, key: &str) -> Result<(), String> {
    let stack = Stack::default();
    if base_url.starts_with("https:") {
        let mut resources: Box<tls::Resources> = Box::default();
        let (buffer, records) = resources.split();
        let trust = Trust::anchors(tls::anchors::ANTHROPIC);
        let security = Security { trust, clock: SystemClock, entropy: Random };
        let handoff = Handoff::new();
        let session = pin!(session(&handoff, records, &stack, &stack, security));
        talk(Secure::new(&handoff, session, buffer), base_url, question, key).await
    } else {
        let mut resources: Resources = Resources::new();
        talk(Plain::new(&stack, &stack, &mut resources.buffer), base_url, question, key).await
    }
}

async fn talk<L: Link>(link: L, base_url: &str, question: &str, key: &str) -> Result<(), String> {
    let config = Config::new("claude-haiku-4-5", 512).auth(Auth::Key(key)).base_url(base_url);
    let transport = Transport::new(link, Timeouts::DEFAULT);
    let seed = std::process::id();
    let mut driver = Driver::new(config, transport, &Machine, EmbassyClock::new(seed))
        .map_err(|e| e.to_string())?;
    let mut memory = vec![0; 16 * 1024];
    let mut run = Run::new(Transcript::new(&mut memory));
    run.user(question).map_err(|e| e.to_string())?;
    let outcome = driver
        .until_done(&mut run, &mut FnObserver(show))
        .await
        .map_err(|e| e.transport.map_or_else(|| e.error.to_string(), |cause| cause.to_string()))?;
    println!("{outcome}");
    Ok(())
}

fn show(event: &Event<'_>) {
    match event {
        Event::BlockStop { block, .. } => {
            if let Some(text) = block.member("text").and_then(|text| text.as_text()) {
                println!("model: {text}");
            }
        }
        Event::ToolStart { name, input, .. } => println!("call: {name} {input}"),
        Event::ToolEnd { content, .. } => println!("result: {content}"),
        _ => {}
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [base_url, question] = &arguments[..] else {
        eprintln!("usage: toolrunner-linux BASE_URL QUESTION");
        return ExitCode::from(2);
    };
    let key = env::var("ANTHROPIC_API_KEY").unwrap_or_else(|_| "none".to_owned());
    match async_io::block_on(ask(base_url, question, &key)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}
