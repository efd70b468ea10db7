//! An agent on an STM32H7, the board Nucleo-H743ZI2: Ethernet, the time by SNTP, verified TLS with
//! the chip's random number generator, a button that cancels, and a watchdog.
//!
//! The button and the LED are the board's blue button and green LED. The text appears in the debug
//! probe's console, by defmt.
#![no_std]
#![no_main]

use core::cell::RefCell;

use defmt_rtt as _;
use embassy_executor::Spawner;
use embassy_net::{Config, Runner, Stack};
use embassy_stm32::eth::{self, Ethernet, GenericPhy, PacketQueue, Sma};
use embassy_stm32::exti::{self, ExtiInput};
use embassy_stm32::gpio::{Level, Output, Pull, Speed};
use embassy_stm32::mode::Async;
use embassy_stm32::peripherals::{ETH, ETH_SMA, IWDG1, RNG};
use embassy_stm32::rng::{self, Rng};
use embassy_stm32::wdg::IndependentWatchdog;
use embassy_stm32::{bind_interrupts, interrupt, rcc};
use embassy_time::{Instant, Timer};
use panic_probe as _;
use static_cell::{ConstStaticCell, StaticCell};
use toolrunner_boards::{FEED, Sockets, WATCHDOG};
use toolrunner_embassy::{Cancel, Entropy, EntropyError, toolbox};

bind_interrupts!(struct Interrupts {
    ETH => eth::InterruptHandler;
    EXTI15_10 => exti::InterruptHandler<interrupt::typelevel::EXTI15_10>;
    RNG => rng::InterruptHandler<RNG>;
});

type Device = Ethernet<'static, ETH, GenericPhy<Sma<'static, ETH_SMA>>>;

/// Set by the button: ends the current run at once.
static STOP: Cancel = Cancel::new();

struct Nucleo {
    led: RefCell<Output<'static>>,
}

#[toolbox]
impl Nucleo {
    /// Blink the LED.
    #[tool]
    async fn blink(
        &self,
        /// How often
        #[tool(min = 1, max = 10)]
        times: u8,
    ) {
        for _ in 0..2 * u16::from(times) {
            self.led.borrow_mut().toggle();
            Timer::after_millis(200).await;
        }
    }

    /// Read for how many seconds the board has run.
    #[tool]
    fn uptime(&self) -> u64 {
        Instant::now().as_secs()
    }
}

/// The chip's true random number generator. The tasks of this program run on one executor, so a
/// draw is never interrupted by another one.
#[derive(Clone)]
struct Random(&'static RefCell<Rng<'static, RNG>>);

impl Entropy for Random {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        self.0.try_borrow_mut().map_err(|_| EntropyError)?.fill_bytes(bytes);
        Ok(())
    }
}

fn say(text: core::fmt::Arguments<'_>) {
    defmt::println!("{}", defmt::Display2Format(&text));
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, Device>) -> ! {
    runner.run().await
}

/// Cancels the run when the button is pressed.
#[embassy_executor::task]
async fn button(mut button: ExtiInput<'static, Async>) -> ! {
    loop {
        button.wait_for_rising_edge().await;
        STOP.cancel();
        // Contacts bounce.
        Timer::after_millis(50).await;
    }
}

/// Resets the board when the executor hangs.
#[embassy_executor::task]
async fn watchdog(mut watchdog: IndependentWatchdog<'static, IWDG1>) -> ! {
    watchdog.unleash();
    loop {
        Timer::after(FEED).await;
        watchdog.pet();
    }
}

#[embassy_executor::task]
async fn agent(stack: Stack<'static>, random: Random, board: Nucleo, seed: u32) -> ! {
    toolrunner_boards::run(stack, random, &board, &STOP, seed, say).await
}

/// 400 MHz from the internal oscillator, and 48 MHz for the random number generator.
fn clocks() -> embassy_stm32::Config {
    let mut config = embassy_stm32::Config::default();
    config.rcc.hsi = Some(rcc::HSIPrescaler::DIV1);
    config.rcc.csi = true;
    config.rcc.hsi48 = Some(Default::default());
    config.rcc.pll1 = Some(rcc::Pll {
        source: rcc::PllSource::HSI,
        prediv: rcc::PllPreDiv::DIV4,
        mul: rcc::PllMul::MUL50,
        fracn: None,
        divp: Some(rcc::PllDiv::DIV2),
        divq: None,
        divr: None,
    });
    config.rcc.sys = rcc::Sysclk::PLL1_P;
    config.rcc.ahb_pre = rcc::AHBPrescaler::DIV2;
    config.rcc.apb1_pre = rcc::APBPrescaler::DIV2;
    config.rcc.apb2_pre = rcc::APBPrescaler::DIV2;
    config.rcc.apb3_pre = rcc::APBPrescaler::DIV2;
    config.rcc.apb4_pre = rcc::APBPrescaler::DIV2;
    config.rcc.voltage_scale = rcc::VoltageScale::Scale1;
    config
}

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    static PACKETS: ConstStaticCell<PacketQueue<4, 4>> = ConstStaticCell::new(PacketQueue::new());
    static SOCKETS: ConstStaticCell<Sockets> = ConstStaticCell::new(Sockets::new());
    static RANDOM: StaticCell<RefCell<Rng<'static, RNG>>> = StaticCell::new();

    let p = embassy_stm32::init(clocks());
    let timeout = u32::try_from(WATCHDOG.as_micros()).expect("less than 32 seconds");
    let dog = IndependentWatchdog::new(p.IWDG1, timeout);
    spawner.spawn(watchdog(dog).expect("spawned once"));

    let mut rng = Rng::new(p.RNG, Interrupts);
    let mut seeds = [0; 12];
    rng.async_fill_bytes(&mut seeds).await.expect("the random number generator works");
    let [stack_seed @ .., a, b, c, d] = seeds;
    let seed = u32::from_le_bytes([a, b, c, d]);
    let random = Random(RANDOM.init(RefCell::new(rng)));

    // A locally administered address made of the chip's own number.
    let [x, y, z, ..] = embassy_stm32::uid::uid();
    let mac = [0x02, 0x54, 0x52, x, y, z];
    let device = Ethernet::new(
        PACKETS.take(),
        p.ETH,
        Interrupts,
        p.PA1,
        p.PA7,
        p.PC4,
        p.PC5,
        p.PG13,
        p.PB13,
        p.PG11,
        mac,
        p.ETH_SMA,
        p.PA2,
        p.PC1,
    );
    let config = Config::dhcpv4(Default::default());
    let (stack, runner) =
        embassy_net::new(device, config, SOCKETS.take(), u64::from_le_bytes(stack_seed));
    let board = Nucleo { led: RefCell::new(Output::new(p.PB0, Level::Low, Speed::Low)) };
    let blue = ExtiInput::new(p.PC13, p.EXTI13, Pull::Down, Interrupts);
    spawner.spawn(network(runner).expect("spawned once"));
    spawner.spawn(button(blue).expect("spawned once"));
    spawner.spawn(agent(stack, random, board, seed).expect("spawned once"));
}
