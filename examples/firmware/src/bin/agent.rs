//! An agent on a board: three tools that use the board's state, and two questions in one
//! conversation, streamed, over HTTP or TLS, by our own HTTP/1.1 or by reqwless.
//!
//! `arg=agent,arg=BASE_URL[,arg=TRANSCRIPT[,arg=FIRST_BASE_URL]]`: the URL of the model, the number
//! of bytes of the transcript's memory to use, and the URL for the first question, to see it fail.
#![no_std]
#![no_main]

use core::cell::{Cell, RefCell};
use core::mem::MaybeUninit;

#[cfg(feature = "defmt")]
use defmt_semihosting as _;
use embassy_executor::Spawner;
use embassy_net::tcp::client::{TcpClient, TcpClientState};
use embassy_time::Duration;
use static_cell::ConstStaticCell;
use toolrunner_embassy::machine::drive::Driver;
use toolrunner_embassy::machine::error::{CapacityKind, Error};
use toolrunner_embassy::machine::json::Value;
#[cfg(not(feature = "defmt"))]
use toolrunner_embassy::machine::observe::FnObserver;
use toolrunner_embassy::machine::observe::{Event, Observer};
use toolrunner_embassy::machine::run::Run;
use toolrunner_embassy::machine::tool::ToolError;
use toolrunner_embassy::machine::transcript::Transcript;
use toolrunner_embassy::machine::transport::Transport;
use toolrunner_embassy::machine::wire::{Auth, Config};
#[cfg(all(feature = "reqwless", not(feature = "per-request")))]
use toolrunner_embassy::reqwless::KeepAlive;
use toolrunner_embassy::{EmbassyClock, Timeouts, toolbox};
use toolrunner_firmware::names::Names;
use toolrunner_firmware::{console, executor, host, network, print, stack, time};

/// The maximum number of bytes of a conversation.
const TRANSCRIPT: usize = 8192;

const CONFIG: Config<'static> = Config::new("claude-haiku-4-5", 512)
    .auth(Auth::Key("not-a-secret"))
    .system("You look after a room. Be brief.");

/// Short timeouts, for the scenarios without a reply.
const TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    idle: Duration::from_secs(3),
    turn: Duration::from_secs(60),
};

const QUESTIONS: [&str; 2] =
    ["Is it too warm in here? If so, switch the LED on.", "What did you do?"];

/// The first message after a conversation that has become too large.
const FORGOTTEN: &str = "(Earlier messages did not fit.)";

struct Board {
    led: Cell<bool>,
    celsius: f32,
    log: RefCell<heapless::Vec<heapless::String<24>, 4>>,
}

#[toolbox]
impl Board {
    /// Switch the user LED.
    #[tool]
    fn set_led(
        &self,
        /** true is on */
        on: bool,
    ) -> Result<(), ToolError> {
        self.led.set(on);
        let line = if on { "LED on" } else { "LED off" };
        let line =
            heapless::String::try_from(line).map_err(|_| ToolError::new("the line is too long"))?;
        self.log.borrow_mut().push(line).map_err(|_| ToolError::new("the log is full"))
    }

    /// Read the ambient temperature in degrees Celsius.
    #[tool]
    async fn temperature(&self) -> f32 {
        // A sensor takes a moment to measure.
        embassy_time::Timer::after_millis(20).await;
        self.celsius
    }

    /// Read a line of the log.
    #[tool]
    fn log(
        &self,
        /** 0 is the oldest */
        line: usize,
    ) -> Result<heapless::String<24>, ToolError> {
        self.log.borrow().get(line).cloned().ok_or(ToolError::new("the log has no such line"))
    }
}

#[cfg_attr(
    target_arch = "arm",
    embassy_executor::main(
        entry = "cortex_m_rt::entry",
        executor = "toolrunner_firmware::executor::Executor"
    )
)]
#[cfg_attr(
    target_arch = "riscv32",
    embassy_executor::main(
        entry = "riscv_rt::entry",
        executor = "toolrunner_firmware::executor::Executor"
    )
)]
async fn main(spawner: Spawner) {
    stack::paint();
    #[cfg(target_arch = "arm")]
    {
        let Some(core) = cortex_m::Peripherals::take() else { host::exit(102) };
        time::start(core.SYST);
    }
    #[cfg(target_arch = "riscv32")]
    time::start();
    let mut line = [MaybeUninit::uninit(); 160];
    let mut words = host::command_line(&mut line).split(' ').skip(1);
    let base_url = words.next().unwrap_or_default();
    let limit = words.next().and_then(|limit| limit.parse().ok()).unwrap_or(TRANSCRIPT);
    let first = words.next().unwrap_or(base_url);

    static TCP: ConstStaticCell<TcpClientState<1, 1024, 2048>> =
        ConstStaticCell::new(TcpClientState::new());
    let tcp = TcpClient::new(network::start(spawner), TCP.take());

    #[cfg(feature = "per-request")]
    {
        use toolrunner_embassy::reqwless::{HttpClient, PerRequest, Resources};
        static RESOURCES: ConstStaticCell<Resources> = ConstStaticCell::new(Resources::new());
        let Resources { head, buffer } = RESOURCES.take();
        let client = HttpClient::new(&tcp, &Names);
        talk(PerRequest::new(client, head, buffer, TIMEOUTS), base_url, limit, first).await;
    }
    #[cfg(all(feature = "reqwless", not(any(feature = "tls", feature = "per-request"))))]
    {
        use toolrunner_embassy::Plain;
        use toolrunner_embassy::reqwless::Resources;
        static RESOURCES: ConstStaticCell<Resources> = ConstStaticCell::new(Resources::new());
        let Resources { head, buffer } = RESOURCES.take();
        let link = Plain::new(&tcp, &Names, buffer);
        talk(KeepAlive::new(link, head, TIMEOUTS), base_url, limit, first).await;
    }
    #[cfg(not(any(feature = "tls", feature = "reqwless")))]
    {
        use toolrunner_embassy::{Plain, Resources};
        static RESOURCES: ConstStaticCell<Resources> = ConstStaticCell::new(Resources::new());
        let link = Plain::new(&tcp, &Names, &mut RESOURCES.take().buffer);
        talk(toolrunner_embassy::Transport::new(link, TIMEOUTS), base_url, limit, first).await;
    }
    #[cfg(feature = "tls")]
    {
        use toolrunner_embassy::tls::{Handoff, Resources, Secure, Security, Trust, session};
        const RECORD_IN: usize = if cfg!(feature = "small-records") { 4352 } else { 16_640 };
        static RESOURCES: ConstStaticCell<Resources<1024, RECORD_IN>> =
            ConstStaticCell::new(Resources::new());
        let (buffer, records) = RESOURCES.take().split();
        let anchors = [toolrunner_firmware::trust::anchor()];
        let security =
            Security { trust: Trust::anchors(&anchors), clock: host::Host, entropy: host::Host };
        let handoff = Handoff::new();
        let session = core::pin::pin!(session(&handoff, records, &tcp, &Names, security));
        let link = Secure::new(&handoff, session, buffer);
        #[cfg(not(feature = "reqwless"))]
        let transport = toolrunner_embassy::Transport::new(link, TIMEOUTS);
        #[cfg(feature = "reqwless")]
        static HEAD: ConstStaticCell<[u8; 2048]> = ConstStaticCell::new([0; 2048]);
        #[cfg(feature = "reqwless")]
        let transport = KeepAlive::new(link, HEAD.take(), TIMEOUTS);
        talk(transport, base_url, limit, first).await;
    }
    // Plain output between defmt's frames would corrupt one.
    if !cfg!(feature = "defmt") {
        console::number("stack: ", stack::deepest());
        console::number("busy: ", executor::busy());
    }
    host::exit(0);
}

async fn talk(transport: impl Transport, base_url: &str, limit: usize, first: &str) {
    static MEMORY: ConstStaticCell<[u8; TRANSCRIPT]> = ConstStaticCell::new([0; TRANSCRIPT]);
    let board =
        Board { led: Cell::new(false), celsius: 27.5, log: RefCell::new(heapless::Vec::new()) };
    let Ok(mut driver) =
        Driver::new(CONFIG.base_url(first), transport, &board, EmbassyClock::new(1))
    else {
        host::exit(104)
    };
    let memory = &mut MEMORY.take()[..];
    let mut run = Run::new(Transcript::new(memory.get_mut(..limit).unwrap_or_default()));
    for question in QUESTIONS {
        print!("> {question}\n");
        // An error may be temporary. The conversation is unchanged, so the same question continues.
        if ask(&mut driver, &mut run, Some(question)).await.is_err() {
            driver.config_mut().base_url = base_url;
            if ask(&mut driver, &mut run, None).await == Err(true) {
                print!("a fresh conversation\n");
                if let Err(e) = run.clear().and_then(|()| run.user(FORGOTTEN)) {
                    print!("error: {e}\n");
                }
            }
        }
        print!("LED {}\n", if board.led.get() { "on" } else { "off" });
        driver.config_mut().base_url = base_url;
    }
    print!("transcript: {} bytes\n", run.transcript().len());
}

/// Asks a question, or continues the last one. Prints an error, and whether the transcript was
/// full.
async fn ask(
    driver: &mut Driver<'_, impl Transport, Board, EmbassyClock>,
    run: &mut Run<'_>,
    question: Option<&str>,
) -> Result<(), bool> {
    let outcome = match question.map_or(Ok(()), |question| run.user(question)) {
        Ok(()) => driver.until_done(run, &mut observer()).await,
        Err(e) => Err(e.into()),
    };
    let failed = match outcome {
        Ok(outcome) => {
            print!("\n{outcome:?}\n");
            return Ok(());
        }
        Err(failed) => failed,
    };
    print!("\nerror: {}\n", failed.error);
    if let Some(cause) = failed.transport {
        print!("cause: {cause}\n");
    }
    if let Some(api) = run.api_error() {
        print!("the API says: {}\n", api.message);
    }
    Err(matches!(failed.error, Error::Capacity(full) if full.what == CapacityKind::Transcript))
}

/// Returns an observer that reports what a run does, through defmt or as printed text.
fn observer() -> impl Observer {
    #[cfg(feature = "defmt")]
    return toolrunner_embassy::DefmtObserver;
    #[cfg(not(feature = "defmt"))]
    FnObserver(show)
}

/// Prints the model's text as it arrives, and the actions of the tools.
#[cfg_attr(feature = "defmt", expect(dead_code, reason = "defmt tells it"))]
fn show(event: &Event<'_>) {
    match event {
        Event::Text { text, .. } => print!("{text}"),
        Event::ToolStart { name, input, .. } => print!("\n[{name} {}", raw(*input)),
        Event::ToolEnd { content, is_error, .. } => {
            print!(" {} {}]", if *is_error { "failed" } else { "gave" }, raw(*content))
        }
        Event::Retry { error, .. } => print!("[again: {error}]\n"),
        _ => {}
    }
}

/// Returns a value's JSON, which is known to be UTF-8.
fn raw(value: Value<'_>) -> &str {
    core::str::from_utf8(value.raw()).unwrap_or_default()
}
