//! An agent on a Raspberry Pi Pico 2 W: Wi-Fi by cyw43, the time by SNTP, verified TLS with the
//! RP2350's random number generator, a button that cancels, and a watchdog.
//!
//! The button is between GP15 and ground. The LED is the board's own, which is a pin of the Wi-Fi
//! chip. The text appears in the debug probe's console, by defmt.
#![no_std]
#![no_main]

use core::cell::RefCell;

use cyw43::{JoinOptions, aligned_bytes};
use cyw43_pio::{PioSpi, RM2_CLOCK_DIVIDER};
use defmt_rtt as _;
use embassy_executor::Spawner;
use embassy_futures::select::{Either, select};
use embassy_net::{Config, Runner, Stack};
use embassy_rp::adc::{self, Adc, Blocking};
use embassy_rp::gpio::{Input, Level, Output, Pull};
use embassy_rp::peripherals::{DMA_CH0, PIO0, TRNG};
use embassy_rp::pio::{self, Pio};
use embassy_rp::trng::{self, Trng};
use embassy_rp::watchdog::Watchdog;
use embassy_rp::{bind_interrupts, dma};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::Timer;
use panic_probe as _;
use static_cell::{ConstStaticCell, StaticCell};
use toolrunner_boards::{FEED, Sockets, WATCHDOG};
use toolrunner_embassy::machine::tool::ToolError;
use toolrunner_embassy::{Cancel, Entropy, EntropyError, toolbox};

const SSID: &str = env!("WIFI_SSID", "set WIFI_SSID to the network's name when you build");
const PASSWORD: &str =
    env!("WIFI_PASSWORD", "set WIFI_PASSWORD to the network's password when you build");

bind_interrupts!(struct Interrupts {
    DMA_IRQ_0 => dma::InterruptHandler<DMA_CH0>;
    PIO0_IRQ_0 => pio::InterruptHandler<PIO0>;
    TRNG_IRQ => trng::InterruptHandler<TRNG>;
});

type Wifi = cyw43::NetDriver<'static>;
type Bus = cyw43::SpiBus<Output<'static>, PioSpi<'static, PIO0, 0>>;

/// Set by the button: ends the current run at once.
static STOP: Cancel = Cancel::new();

/// The requested state of the LED. The Wi-Fi task switches it, because it is a pin of the Wi-Fi
/// chip.
static LED: Signal<CriticalSectionRawMutex, bool> = Signal::new();

struct Pico {
    adc: RefCell<(Adc<'static, Blocking>, adc::Channel<'static>)>,
}

#[toolbox]
impl Pico {
    /// Blink the LED.
    #[tool]
    async fn blink(
        &self,
        /// How often
        #[tool(min = 1, max = 10)]
        times: u8,
    ) {
        for _ in 0..times {
            LED.signal(true);
            Timer::after_millis(200).await;
            LED.signal(false);
            Timer::after_millis(200).await;
        }
    }

    /// Read the temperature of the chip in degrees Celsius. The air is cooler.
    #[tool]
    fn temperature(&self) -> Result<f32, ToolError> {
        let (adc, channel) = &mut *self.adc.borrow_mut();
        let counts = adc.blocking_read(channel).map_err(|_| ToolError::new("the sensor failed"))?;
        // RP2350 data sheet, section 12.4.6: 0.706 V at 27 degrees, -1.721 mV a degree.
        let volts = f32::from(counts) * 3.3 / 4096.0;
        Ok(27.0 - (volts - 0.706) / 0.001_721)
    }
}

/// The RP2350's true random number generator. The tasks of this program run on one executor, so a
/// draw is never interrupted by another one.
#[derive(Clone)]
struct Random(&'static RefCell<Trng<'static, TRNG>>);

impl Entropy for Random {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        self.0.try_borrow_mut().map_err(|_| EntropyError)?.blocking_fill_bytes(bytes);
        Ok(())
    }
}

fn say(text: core::fmt::Arguments<'_>) {
    defmt::println!("{}", defmt::Display2Format(&text));
}

#[embassy_executor::task]
async fn bus(runner: cyw43::Runner<'static, Bus>) -> ! {
    runner.run().await
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, Wifi>) -> ! {
    runner.run().await
}

/// Joins the network, again after each loss, and switches the LED.
#[embassy_executor::task]
async fn wifi(mut control: cyw43::Control<'static>, stack: Stack<'static>) -> ! {
    loop {
        while let Err(e) = control.join(SSID, JoinOptions::new(PASSWORD.as_bytes())).await {
            defmt::warn!("could not join the network: {}", e);
            Timer::after_secs(5).await;
        }
        stack.wait_link_up().await;
        while let Either::First(on) = select(LED.wait(), stack.wait_link_down()).await {
            control.gpio_set(0, on).await;
        }
        defmt::warn!("the network is gone");
        control.leave().await;
    }
}

/// Cancels the run while the button is pressed.
#[embassy_executor::task]
async fn button(mut button: Input<'static>) -> ! {
    loop {
        button.wait_for_falling_edge().await;
        STOP.cancel();
        // Contacts bounce.
        Timer::after_millis(50).await;
    }
}

/// Resets the board when the executor hangs.
#[embassy_executor::task]
async fn watchdog(mut watchdog: Watchdog) -> ! {
    watchdog.pause_on_debug(true);
    watchdog.start(WATCHDOG);
    loop {
        Timer::after(FEED).await;
        watchdog.feed(WATCHDOG);
    }
}

#[embassy_executor::task]
async fn agent(stack: Stack<'static>, random: Random, board: Pico, seed: u32) -> ! {
    toolrunner_boards::run(stack, random, &board, &STOP, seed, say).await
}

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    static CYW43: StaticCell<cyw43::State> = StaticCell::new();
    static SOCKETS: ConstStaticCell<Sockets> = ConstStaticCell::new(Sockets::new());
    static RANDOM: StaticCell<RefCell<Trng<'static, TRNG>>> = StaticCell::new();

    let p = embassy_rp::init(Default::default());
    spawner.spawn(watchdog(Watchdog::new(p.WATCHDOG)).expect("spawned once"));

    let mut trng = Trng::new(p.TRNG, Interrupts, trng::Config::default());
    let mut seeds = [0; 12];
    trng.fill_bytes(&mut seeds).await;
    let [stack_seed @ .., a, b, c, d] = seeds;
    let random = Random(RANDOM.init(RefCell::new(trng)));

    let mut pio = Pio::new(p.PIO0, Interrupts);
    let spi = PioSpi::new(
        &mut pio.common,
        pio.sm0,
        // The chip is unreliable at the faster default.
        RM2_CLOCK_DIVIDER,
        pio.irq0,
        Output::new(p.PIN_25, Level::High),
        p.PIN_24,
        p.PIN_29,
        dma::Channel::new(p.DMA_CH0, Interrupts),
    );
    // See build.rs for where these files come from.
    let firmware = aligned_bytes!(concat!(env!("CYW43_FOLDER"), "/43439A0.bin"));
    let regulation = include_bytes!(concat!(env!("CYW43_FOLDER"), "/43439A0_clm.bin"));
    let nvram = aligned_bytes!(concat!(env!("CYW43_FOLDER"), "/nvram_rp2040.bin"));
    let power = Output::new(p.PIN_23, Level::Low);
    let (driver, mut control, runner) =
        cyw43::new(CYW43.init(cyw43::State::new()), power, spi, firmware, nvram).await;
    spawner.spawn(bus(runner).expect("spawned once"));
    control.init(regulation).await;
    control.set_power_management(cyw43::PowerManagementMode::PowerSave).await;

    let config = Config::dhcpv4(Default::default());
    let (stack, runner) =
        embassy_net::new(driver, config, SOCKETS.take(), u64::from_le_bytes(stack_seed));
    let adc = Adc::new_blocking(p.ADC, adc::Config::default());
    let board = Pico { adc: RefCell::new((adc, adc::Channel::new_temp_sensor(p.ADC_TEMP_SENSOR))) };
    spawner.spawn(network(runner).expect("spawned once"));
    spawner.spawn(wifi(control, stack).expect("spawned once"));
    spawner.spawn(button(Input::new(p.PIN_15, Pull::Up)).expect("spawned once"));
    let seed = u32::from_le_bytes([a, b, c, d]);
    spawner.spawn(agent(stack, random, board, seed).expect("spawned once"));
}
