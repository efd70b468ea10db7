//! A conversation that survives a power failure: it is saved in flash after every answer, and
//! continues when the board starts again.
//!
//! `arg=snapshot,arg=BASE_URL,arg=FILE[,arg=WORDS]`: the URL of the model, the file that holds the
//! flash, and the number of words that the save after the last question writes before the power
//! fails.
#![no_std]
#![no_main]

use core::cell::Cell;
use core::ffi::CStr;
use core::fmt::Debug;
use core::mem::MaybeUninit;

use embassy_executor::Spawner;
use embassy_net::tcp::client::{TcpClient, TcpClientState};
use static_cell::ConstStaticCell;
use toolrunner_embassy::flash::SnapshotStore;
use toolrunner_embassy::machine::drive::Driver;
use toolrunner_embassy::machine::observe::{Event, FnObserver};
use toolrunner_embassy::machine::run::Run;
use toolrunner_embassy::machine::transcript::Transcript;
use toolrunner_embassy::machine::wire::{Auth, Config};
use toolrunner_embassy::{EmbassyClock, Link, Plain, Resources, Timeouts, Transport, toolbox};
use toolrunner_firmware::flash::{HostFlash, SECTOR};
use toolrunner_firmware::names::Names;
use toolrunner_firmware::{console, host, network, print, stack, time};

/// The maximum number of bytes of a conversation.
const TRANSCRIPT: usize = 2048;
/// The maximum number of bytes of a snapshot.
const SNAPSHOT: usize = TRANSCRIPT + Run::SNAPSHOT_FRAME;
/// The bytes of each of the flash's two slots: whole sectors for a header of 64 bytes and the
/// snapshot.
const SLOT: u32 = (64 + SNAPSHOT).next_multiple_of(SECTOR) as u32;

const CONFIG: Config<'static> =
    Config::new("claude-haiku-4-5", 512).auth(Auth::Key("not-a-secret"));

const QUESTIONS: [&str; 2] = ["How warm is it in here?", "And in Fahrenheit?"];

struct Board;

#[toolbox]
impl Board {
    /// Read the ambient temperature in degrees Celsius.
    #[tool]
    fn temperature(&self) -> f32 {
        27.5
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
    let mut line = [MaybeUninit::uninit(); 320];
    let mut words = host::command_line(&mut line).split(' ').skip(1);
    let base_url = words.next().unwrap_or_default();
    let mut path = heapless::CString::<256>::new();
    if path.extend_from_bytes(words.next().unwrap_or_default().as_bytes()).is_err() {
        host::exit(104)
    }
    let last = words.next().and_then(|words| words.parse().ok()).unwrap_or(u32::MAX);

    static TCP: ConstStaticCell<TcpClientState<1, 1024, 2048>> =
        ConstStaticCell::new(TcpClientState::new());
    static RESOURCES: ConstStaticCell<Resources> = ConstStaticCell::new(Resources::new());
    let tcp = TcpClient::new(network::start(spawner), TCP.take());
    let link = Plain::new(&tcp, &Names, &mut RESOURCES.take().buffer);
    talk(Transport::new(link, Timeouts::DEFAULT), base_url, &path, last).await;
    console::number("stack: ", stack::deepest());
    host::exit(0);
}

/// Asks the questions that have not been asked yet, before or after the restart.
async fn talk<L: Link>(transport: Transport<L>, base_url: &str, path: &CStr, last: u32) {
    static MEMORY: ConstStaticCell<[u8; TRANSCRIPT]> = ConstStaticCell::new([0; TRANSCRIPT]);
    static BUFFER: ConstStaticCell<[u8; SNAPSHOT]> = ConstStaticCell::new([0; SNAPSHOT]);
    let (transcript, buffer) = (Transcript::new(MEMORY.take()), BUFFER.take());
    let mut driver =
        or_exit(Driver::new(CONFIG.base_url(base_url), transport, &Board, EmbassyClock::new(1)));
    let power = Cell::new(u32::MAX);
    let mut store = or_exit(SnapshotStore::new(or_exit(HostFlash::open(path, &power)), 0, SLOT));

    let mut run = match or_exit(store.load(buffer).await) {
        None => {
            print!("no snapshot\n");
            Run::new(transcript)
        }
        Some(len) => {
            print!("a snapshot was kept\n");
            or_exit(Run::from_snapshot(buffer.get(..len).unwrap_or_default(), transcript))
        }
    };
    for question in QUESTIONS {
        if run.messages().windows(question.len()).any(|part| part == question.as_bytes()) {
            print!("asked before: {question}\n");
            continue;
        }
        print!("> {question}\n");
        or_exit(run.user(question));
        or_exit(driver.until_done(&mut run, &mut FnObserver(show)).await);
        print!("\n");
        if QUESTIONS.last() == Some(&question) {
            power.set(last);
        }
        let len = or_exit(run.snapshot_into(buffer));
        print!("saving\n");
        or_exit(store.save(buffer.get(..len).unwrap_or_default()).await);
        print!("saved\n");
    }
}

/// Unwraps the result. Ends the emulation on an error, which this example does not expect.
fn or_exit<T, E: Debug>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|e| {
        print!("error: {e:?}\n");
        host::exit(105)
    })
}

fn show(event: &Event<'_>) {
    match event {
        Event::Text { text, .. } => print!("{text}"),
        Event::ToolStart { name, .. } => print!("[{name}] "),
        _ => {}
    }
}
