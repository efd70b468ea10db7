//! A run that an interrupt ends while it waits for a server that does not reply, and that continues
//! afterwards.
//!
//! `arg=cancel,arg=BASE_URL`
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, Ordering};

use embassy_executor::Spawner;
use embassy_net::tcp::client::{TcpClient, TcpClientState};
use embassy_time::{Duration, Instant};
use static_cell::ConstStaticCell;
use toolrunner_embassy::machine::drive::Driver;
use toolrunner_embassy::machine::run::Run;
use toolrunner_embassy::machine::transcript::Transcript;
use toolrunner_embassy::machine::wire::{Auth, Config};
use toolrunner_embassy::{Cancel, EmbassyClock, Plain, Resources, Timeouts, Transport};
use toolrunner_firmware::names::Names;
use toolrunner_firmware::{board, console, host, network, print, stack, time};

const CONFIG: Config<'static> =
    Config::new("claude-haiku-4-5", 512).auth(Auth::Key("not-a-secret"));

/// Timeouts that are longer than the time until the alarm.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    idle: Duration::from_secs(30),
    turn: Duration::from_secs(60),
};

/// When the button is pressed, in milliseconds of the timer. QEMU runs it independently of the
/// clock.
const ALARM: u32 = 2000;
/// The maximum delay of the run's end, in milliseconds.
const LATE: u32 = 5;

static CANCEL: Cancel = Cancel::new();
static PRESSED: AtomicU32 = AtomicU32::new(0);

/// Returns the milliseconds since the start.
fn now() -> u32 {
    Instant::now().as_millis() as u32
}

/// Handles the alarm's interrupt.
fn pressed() {
    PRESSED.store(now(), Ordering::Relaxed);
    CANCEL.cancel();
}

#[embassy_executor::main(
    entry = "cortex_m_rt::entry",
    executor = "toolrunner_firmware::executor::Executor"
)]
async fn main(spawner: Spawner) {
    stack::paint();
    let Some(core) = cortex_m::Peripherals::take() else { host::exit(102) };
    time::start(core.SYST);
    let mut line = [core::mem::MaybeUninit::uninit(); 160];
    let base_url = host::command_line(&mut line).split(' ').nth(1).unwrap_or_default();
    static TCP: ConstStaticCell<TcpClientState<1, 1024, 2048>> =
        ConstStaticCell::new(TcpClientState::new());
    static RESOURCES: ConstStaticCell<Resources> = ConstStaticCell::new(Resources::new());
    static MEMORY: ConstStaticCell<[u8; 2048]> = ConstStaticCell::new([0; 2048]);
    let tcp = TcpClient::new(network::start(spawner), TCP.take());
    let transport =
        Transport::new(Plain::new(&tcp, &Names, &mut RESOURCES.take().buffer), TIMEOUTS);
    let Ok(driver) = Driver::new(CONFIG.base_url(base_url), transport, &(), EmbassyClock::new(1))
    else {
        host::exit(104)
    };
    let mut driver = driver.hooks(&CANCEL);
    let mut run = Run::new(Transcript::new(MEMORY.take()));
    if run.user("Are you there?").is_err() {
        host::exit(105);
    }
    let asked = now();
    board::alarm::after_millis(ALARM, pressed);
    let outcome = driver.until_done(&mut run, &mut ()).await;
    let (pressed, now) = (PRESSED.load(Ordering::Relaxed), now());
    let (waited, late) = (pressed.saturating_sub(asked), now.saturating_sub(pressed));
    print!("{:?}\n", outcome.map_err(|e| e.error));
    print!("at once: {}\n", waited > 0 && late <= LATE);
    CANCEL.clear();
    run.resume();
    print!("{:?}\n", driver.until_done(&mut run, &mut ()).await.map_err(|e| e.error));
    console::number("waited: ", waited);
    console::number("late: ", late);
    console::number("stack: ", stack::deepest());
    host::exit(0);
}
