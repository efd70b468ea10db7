//! A tool whose argument and result are types that the program already has for another protocol,
//! through serde and without an allocator.
//!
//! `arg=serde,arg=BASE_URL`
#![no_std]
#![no_main]

use core::cell::Cell;
use core::mem::MaybeUninit;

use embassy_executor::Spawner;
use embassy_net::tcp::client::{TcpClient, TcpClientState};
use serde::{Deserialize, Serialize};
use static_cell::ConstStaticCell;
use toolrunner_embassy::machine::drive::Driver;
use toolrunner_embassy::machine::observe::{Event, FnObserver};
use toolrunner_embassy::machine::run::Run;
use toolrunner_embassy::machine::tool::AnyJson;
use toolrunner_embassy::machine::transcript::Transcript;
use toolrunner_embassy::machine::wire::{Auth, Config};
use toolrunner_embassy::{EmbassyClock, Plain, Resources, Timeouts, Transport, toolbox};
use toolrunner_firmware::names::Names;
use toolrunner_firmware::{console, host, network, print, stack, time};

const CONFIG: Config<'static> =
    Config::new("claude-haiku-4-5", 512).auth(Auth::Key("not-a-secret"));

/// How fast a blind moves.
#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Speed {
    Fast,
    Slow,
}

/// A command of the blinds' protocol.
#[derive(Deserialize)]
struct Command<'a> {
    room: &'a str,
    percent: u8,
    speed: Option<Speed>,
}

/// A state of the blinds' protocol.
#[derive(Serialize)]
struct State<'a> {
    room: &'a str,
    percent: u8,
    from: u8,
    speed: Speed,
    volts: f32,
}

struct Board {
    percent: Cell<u8>,
}

#[toolbox]
impl Board {
    /// Move a blind.
    #[tool]
    fn move_blind(
        &self,
        /** {"room": "…", "percent": 0 to 255, "speed": "fast" or "slow"} */
        command: AnyJson<Command<'_>>,
        out: &mut toolrunner_embassy::machine::tool::Output<'_>,
    ) -> Result<(), toolrunner_embassy::machine::tool::ToolError> {
        let AnyJson(Command { room, percent, speed }) = command;
        let from = self.percent.replace(percent);
        let speed = speed.unwrap_or(Speed::Slow);
        out.json(&State { room, percent, from, speed, volts: 11.9 })
    }
}

#[embassy_executor::main(
    entry = "cortex_m_rt::entry",
    executor = "toolrunner_firmware::executor::Executor"
)]
async fn main(spawner: Spawner) {
    stack::paint();
    let Some(core) = cortex_m::Peripherals::take() else { host::exit(102) };
    time::start(core.SYST);
    let mut line = [MaybeUninit::uninit(); 160];
    let base_url = host::command_line(&mut line).split(' ').nth(1).unwrap_or_default();
    static TCP: ConstStaticCell<TcpClientState<1, 1024, 2048>> =
        ConstStaticCell::new(TcpClientState::new());
    static RESOURCES: ConstStaticCell<Resources> = ConstStaticCell::new(Resources::new());
    static MEMORY: ConstStaticCell<[u8; 4096]> = ConstStaticCell::new([0; 4096]);
    let tcp = TcpClient::new(network::start(spawner), TCP.take());
    let link = Plain::new(&tcp, &Names, &mut RESOURCES.take().buffer);
    let transport = Transport::new(link, Timeouts::DEFAULT);
    let board = Board { percent: Cell::new(100) };
    let Ok(mut driver) =
        Driver::new(CONFIG.base_url(base_url), transport, &board, EmbassyClock::new(1))
    else {
        host::exit(104)
    };
    let mut run = Run::new(Transcript::new(MEMORY.take()));
    if run.user("Close the kitchen's blind.").is_err() {
        host::exit(105);
    }
    match driver.until_done(&mut run, &mut FnObserver(show)).await {
        Ok(outcome) => print!("\n{outcome:?}\n"),
        Err(failed) => print!("\nerror: {failed}\n"),
    }
    console::number("stack: ", stack::deepest());
    host::exit(0);
}

/// Prints the model's text, and the inputs and results of the tool.
fn show(event: &Event<'_>) {
    match event {
        Event::Text { text, .. } => print!("{text}"),
        Event::ToolStart { input, .. } => print!("{}\n", input.as_json()),
        Event::ToolEnd { content, is_error, .. } => {
            print!("{} {}\n", if *is_error { "failed" } else { "gave" }, content.as_json())
        }
        _ => {}
    }
}
