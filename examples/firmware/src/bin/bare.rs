//! Only the executor and the clock: the baseline of all images.
#![no_std]
#![no_main]

use embassy_executor::Spawner;
use embassy_time::Timer;
use toolrunner_firmware::{console, executor, host, stack, time};

#[embassy_executor::main(
    entry = "cortex_m_rt::entry",
    executor = "toolrunner_firmware::executor::Executor"
)]
async fn main(_spawner: Spawner) {
    stack::paint();
    let Some(core) = cortex_m::Peripherals::take() else { host::exit(102) };
    time::start(core.SYST);
    Timer::after_millis(10).await;
    console::number("stack: ", stack::deepest());
    console::number("busy: ", executor::busy());
    host::exit(0);
}
