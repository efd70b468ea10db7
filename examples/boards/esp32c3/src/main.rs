//! An agent on an ESP32-C3: Wi-Fi by esp-radio, the time by SNTP, verified TLS with the chip's
//! random number generator, a button that cancels, and a watchdog.
//!
//! The button is the board's BOOT button, GPIO 9. The LED is one of yours at GPIO 5. The text goes
//! to the serial port.
#![no_std]
#![no_main]

extern crate alloc;

use core::cell::RefCell;

use embassy_executor::Spawner;
use embassy_net::{Config, Runner, Stack};
use embassy_time::Timer;
use esp_backtrace as _;
use esp_hal::clock::CpuClock;
use esp_hal::gpio::{Input, InputConfig, Level, Output, OutputConfig, Pull};
use esp_hal::rng::{Trng, TrngSource};
use esp_hal::rtc_cntl::{Rtc, Rwdt, RwdtStage};
use esp_hal::timer::timg::TimerGroup;
use esp_hal::tsens::TemperatureSensor;
use esp_radio::wifi::sta::StationConfig;
use esp_radio::wifi::{AuthenticationMethodConfig, Interface, WifiController};
use static_cell::{ConstStaticCell, StaticCell};
use toolrunner_boards::{FEED, Sockets, WATCHDOG};
use toolrunner_embassy::{Cancel, Entropy, EntropyError, toolbox};

esp_bootloader_esp_idf::esp_app_desc!();

const SSID: &str = env!("WIFI_SSID", "set WIFI_SSID to the network's name when you build");
const PASSWORD: &str =
    env!("WIFI_PASSWORD", "set WIFI_PASSWORD to the network's password when you build");

/// Set by the button: ends the current run at once.
static STOP: Cancel = Cancel::new();

struct Esp {
    led: RefCell<Output<'static>>,
    thermometer: TemperatureSensor<'static>,
}

#[toolbox]
impl Esp {
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

    /// Read the temperature of the chip in degrees Celsius. The air is cooler.
    #[tool]
    fn temperature(&self) -> f32 {
        self.thermometer.get_temperature().to_celsius()
    }
}

/// The chip's true random number generator. It fails while its source is off.
#[derive(Clone)]
struct Random;

impl Entropy for Random {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        Trng::try_new().map_err(|_| EntropyError)?.read(bytes);
        Ok(())
    }
}

fn say(text: core::fmt::Arguments<'_>) {
    esp_println::println!("{text}");
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, Interface>) -> ! {
    runner.run().await
}

/// Joins the network, and again after each loss.
#[embassy_executor::task]
async fn wifi(mut controller: WifiController<'static>) -> ! {
    loop {
        match controller.connect_async().await {
            Ok(_) => match controller.wait_for_disconnect_async().await {
                Ok(info) => say(format_args!("the network is gone: {:?}", info.reason)),
                Err(e) => say(format_args!("the network is gone: {e}")),
            },
            Err(e) => say(format_args!("could not join the network: {e:?}")),
        }
        Timer::after_secs(5).await;
    }
}

/// Cancels the run when the button is pressed.
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
async fn watchdog(mut watchdog: Rwdt) -> ! {
    watchdog
        .set_timeout(RwdtStage::Stage0, esp_hal::time::Duration::from_micros(WATCHDOG.as_micros()));
    watchdog.enable();
    loop {
        Timer::after(FEED).await;
        watchdog.feed();
    }
}

#[embassy_executor::task]
async fn agent(stack: Stack<'static>, board: Esp, seed: u32) -> ! {
    toolrunner_boards::run(stack, Random, &board, &STOP, seed, say).await
}

#[esp_rtos::main]
async fn main(spawner: Spawner) -> ! {
    static SOCKETS: ConstStaticCell<Sockets> = ConstStaticCell::new(Sockets::new());
    static SOURCE: StaticCell<TrngSource<'static>> = StaticCell::new();

    let p = esp_hal::init(esp_hal::Config::default().with_cpu_clock(CpuClock::max()));
    // The radio's driver needs a heap; the agent does not.
    esp_alloc::heap_allocator!(size: 72 * 1024);
    let timers = TimerGroup::new(p.TIMG0);
    esp_rtos::start(timers.timer0, p.FROM_CPU_INTR0);
    spawner.spawn(watchdog(Rtc::new(p.RTC_TIMER).rwdt).expect("spawned once"));

    // Stays on for ever, as a static does.
    SOURCE.init(TrngSource::new(p.RNG, p.ADC1));
    let mut seeds = [0; 12];
    Random.fill(&mut seeds).expect("the source was just switched on");
    let [stack_seed @ .., a, b, c, d] = seeds;

    let station = StationConfig::default()
        .with_ssid(SSID.try_into().expect("WIFI_SSID has at most 32 bytes"))
        .with_authentication(AuthenticationMethodConfig::Wpa2Personal(
            PASSWORD.try_into().expect("WIFI_PASSWORD has at most 64 bytes"),
        ));
    let mut controller =
        WifiController::new(p.WIFI, Default::default()).expect("the radio can be started");
    controller
        .set_config(&esp_radio::wifi::Config::Station(station))
        .expect("WIFI_SSID and WIFI_PASSWORD are valid");
    let config = Config::dhcpv4(Default::default());
    let (stack, runner) = embassy_net::new(
        Interface::station(),
        config,
        SOCKETS.take(),
        u64::from_le_bytes(stack_seed),
    );
    let board = Esp {
        led: RefCell::new(Output::new(p.GPIO5, Level::Low, OutputConfig::default())),
        thermometer: TemperatureSensor::new(p.TSENS, Default::default())
            .expect("a valid configuration"),
    };
    let boot = Input::new(p.GPIO9, InputConfig::default().with_pull(Pull::Up));
    spawner.spawn(network(runner).expect("spawned once"));
    spawner.spawn(wifi(controller).expect("spawned once"));
    spawner.spawn(button(boot).expect("spawned once"));
    let seed = u32::from_le_bytes([a, b, c, d]);
    spawner.spawn(agent(stack, board, seed).expect("spawned once"));
    core::future::pending().await
}
