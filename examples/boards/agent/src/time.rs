//! The date, from public time servers.

use embassy_futures::yield_now;
use embassy_net::Stack;
use embassy_time::{Duration, Timer};
use toolrunner_embassy::sntp::{NetworkTime, Patience, SntpError};
use toolrunner_embassy::{Entropy, WallClock, net};

use crate::Say;

/// The servers, which are asked in turn. For a product, ask your own, or a pool that is yours.
const SERVERS: [&str; 3] = ["time.cloudflare.com", "time.google.com", "pool.ntp.org"];

/// The quartz of a board is off by up to 100 ppm: 2 seconds in this time.
const AGAIN: Duration = Duration::from_secs(6 * 3600);

/// The pause after a failure. Public servers ask for at least 15 seconds.
const PAUSE: Duration = Duration::from_secs(20);

/// The pause after a server refused a request.
const PAUSE_REFUSED: Duration = Duration::from_secs(300);

/// The board's date.
pub(crate) static TIME: Date = Date(NetworkTime::new());

pub(crate) struct Date(NetworkTime);

impl Date {
    /// Waits until the date is known.
    pub(crate) async fn wait(&self) {
        while self.0.sample().is_none() {
            Timer::after_millis(100).await;
        }
        yield_now().await;
    }

    /// For a log line, which can do without.
    pub(crate) fn unix_seconds_or_zero(&self) -> u64 {
        self.unix_seconds().unwrap_or_default()
    }
}

impl WallClock for Date {
    fn unix_seconds(&self) -> Option<u64> {
        self.0.unix_seconds()
    }
}

/// Sets the date, and again every few hours.
pub(crate) async fn keep(stack: Stack<'static>, entropy: &mut impl Entropy, say: Say) -> ! {
    loop {
        for server in SERVERS {
            stack.wait_config_up().await;
            let pause = match net::time(stack, server, entropy, Patience::DEFAULT).await {
                Ok(sample) => {
                    TIME.0.set(sample);
                    let seconds = sample.unix_micros / 1_000_000;
                    say(format_args!("the time is {seconds}, from {server}"));
                    AGAIN
                }
                Err(e) => {
                    say(format_args!("no time from {server}: {e}"));
                    if let SntpError::KissOfDeath(_) = e { PAUSE_REFUSED } else { PAUSE }
                }
            };
            Timer::after(pause).await;
        }
    }
}
