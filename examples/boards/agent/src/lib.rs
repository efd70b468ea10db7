//! The part of the programs for boards that is the same on every board: it keeps the time by SNTP,
//! asks the model a question every ten minutes, and continues after outages.
//!
//! A board provides its network stack, a source of randomness, its tools, a button and its text
//! output: see the folders beside this one.
#![no_std]
#![forbid(unsafe_code)]

mod show;
mod time;

use core::future::poll_fn;
use core::pin::pin;

use embassy_futures::join::join;
use embassy_futures::select::{Either, select};
use embassy_net::tcp::client::{TcpClient, TcpClientState};
use embassy_net::{Stack, StackResources};
use embassy_time::{Duration, Timer};
use static_cell::ConstStaticCell;
use toolrunner_embassy::machine::drive::{Driver, Hooks as _};
use toolrunner_embassy::machine::error::Error;
use toolrunner_embassy::machine::run::{MakeRoom, Outcome, Run, WhenFull};
use toolrunner_embassy::machine::tool::Toolbox;
use toolrunner_embassy::machine::transcript::Transcript;
use toolrunner_embassy::machine::wire::{Auth, Config};
use toolrunner_embassy::net::Names;
use toolrunner_embassy::tls::{self, Handoff, Secure, Security, Trust, session};
use toolrunner_embassy::{Cancel, EmbassyClock, Entropy, Link, Timeouts, Transport};

use show::Show;
use time::TIME;

/// The sockets of the stack: one each for the transport, DHCP, DNS and SNTP. With fewer,
/// embassy-net panics when the last one is opened.
pub type Sockets = StackResources<4>;

/// How often a board's watchdog is fed. A task does it, so an executor that hangs resets the board.
pub const FEED: Duration = Duration::from_secs(2);

/// The time after which a board's watchdog resets it. The TLS handshake computes for about a second
/// without yielding, in which nobody feeds the watchdog: this is several times that.
pub const WATCHDOG: Duration = Duration::from_secs(8);

const QUESTION: &str = "How is the board? Blink the LED twice to show that you are there.";

const EVERY: Duration = Duration::from_secs(600);

/// The pause after an outage that the retries of the transport did not bridge.
const PAUSE: Duration = Duration::from_secs(5);

const TRANSCRIPT: usize = 16 * 1024;

/// The free bytes of the transcript before each question: a reply of `MAX_TOKENS` and its results.
const ROOM: usize = 4 * MAX_TOKENS as usize + 1024;

const MAX_TOKENS: u32 = 512;

const CONFIG: Config<'static> = Config::new("claude-haiku-4-5", MAX_TOKENS)
    .auth(Auth::Key(env!(
        "ANTHROPIC_API_KEY",
        "set ANTHROPIC_API_KEY to the key when you build: it becomes part of the image"
    )))
    .system("You run on a small board and look after it. Be brief.");

/// Writes text to the board's output.
pub type Say = fn(core::fmt::Arguments<'_>);

/// Runs the agent for ever. Call it in a task of its own, and once.
///
/// `stop` ends the current run, for example from a button; the next question follows as usual.
/// `seed` gives each board its own pauses between retries.
pub async fn run(
    stack: Stack<'static>,
    mut entropy: impl Entropy + Clone,
    board: &impl Toolbox,
    stop: &'static Cancel,
    seed: u32,
    say: Say,
) -> ! {
    static TCP: ConstStaticCell<TcpClientState<1, 2048, 4096>> =
        ConstStaticCell::new(TcpClientState::new());
    static RESOURCES: ConstStaticCell<tls::Resources> = ConstStaticCell::new(tls::Resources::new());

    say(format_args!("waiting for an address"));
    stack.wait_config_up().await;
    if let Some(config) = stack.config_v4() {
        say(format_args!("address {}", config.address));
    }
    let (tcp, names) = (TcpClient::new(stack, TCP.take()), Names(stack));
    let (buffer, records) = RESOURCES.take().split();
    let security = Security {
        trust: Trust::anchors(tls::anchors::ANTHROPIC),
        clock: &TIME,
        entropy: entropy.clone(),
    };
    let handoff = Handoff::new();
    let session = pin!(session(&handoff, records, &tcp, &names, security));
    let transport = Transport::new(Secure::new(&handoff, session, buffer), Timeouts::DEFAULT);
    let asking = async {
        // Without the date no server is trusted, so no request would succeed.
        TIME.wait().await;
        ask_for_ever(transport, stack, board, stop, seed, say).await
    };
    // These two may be in one task; only the stack's runner needs one of its own.
    join(time::keep(stack, &mut entropy, say), asking).await.1
}

async fn ask_for_ever<L: Link>(
    transport: Transport<L>,
    stack: Stack<'static>,
    board: &impl Toolbox,
    stop: &'static Cancel,
    seed: u32,
    say: Say,
) -> ! {
    static MEMORY: ConstStaticCell<[u8; TRANSCRIPT]> = ConstStaticCell::new([0; TRANSCRIPT]);
    let driver = Driver::new(CONFIG, transport, board, EmbassyClock::new(seed));
    let mut driver = match driver {
        Ok(driver) => driver.hooks(stop),
        Err(e) => panic!("the configuration or a tool is invalid: {e}"),
    };
    let mut run = Run::new(Transcript::new(MEMORY.take()));
    *run.when_full_mut() = WhenFull { room: ROOM, then: MakeRoom::DropOldest };
    loop {
        stop.clear();
        say(format_args!("> {QUESTION}"));
        match run.user(QUESTION) {
            Ok(()) => match until_done(&mut driver, &mut run, stack, stop, say).await {
                Ok(outcome) => say(format_args!("{outcome}")),
                Err(e) => say(format_args!("error: {e}")),
            },
            Err(e) => say(format_args!("error: {e}")),
        }
        Timer::after(EVERY).await;
    }
}

/// Runs a question to its end, through outages. A tool that has run does not run again.
async fn until_done<L: Link, T: Toolbox>(
    driver: &mut Driver<'_, Transport<L>, T, EmbassyClock, &Cancel>,
    run: &mut Run<'_>,
    stack: Stack<'static>,
    stop: &'static Cancel,
    say: Say,
) -> Result<Outcome, Error> {
    loop {
        match driver.until_done(run, &mut Show(say)).await {
            Err(e) if matches!(e.error, Error::Transport(_)) => {
                match e.transport {
                    Some(cause) => say(format_args!("outage: {cause}")),
                    None => say(format_args!("outage: {}", e.error)),
                }
                // Frees the socket. The board's own task joins the network again meanwhile.
                driver.transport_mut().close();
                let network = async {
                    Timer::after(PAUSE).await;
                    stack.wait_config_up().await;
                };
                let stopped = poll_fn(|context| stop.poll_cancelled(context));
                if let Either::Second(()) = select(network, stopped).await {
                    // The next try ends at once, and leaves the conversation valid.
                    say(format_args!("stopped during an outage"));
                }
            }
            other => return other.map_err(|e| e.error),
        }
    }
}
