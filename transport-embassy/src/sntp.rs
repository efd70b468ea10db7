//! The date by SNTP, for boards without a clock that keeps it: RFC 4330, with the checks of RFC
//! 5905 that concern a client.
//!
//! [`request`] asks one server over a connected UDP socket. [`NetworkTime`] keeps the answer; it is
//! a [`WallClock`] for TLS, and an observer can ask it for the time of a log line. With the feature
//! `embassy-net`, `net::time` also looks up the server and opens the socket.
//!
//! SNTP is not authenticated: whoever can intercept the packets chooses the date. With a wrong date
//! an expired certificate is accepted, or a good one refused; a server still needs a key that a
//! trusted issuer has certified. Whoever cannot read the requests cannot answer them, because a
//! reply must repeat 64 random bits of the request.
//!
//! ```
//! use embedded_nal_async::ConnectedUdp;
//! use toolrunner_embassy::sntp::{self, NetworkTime, Patience, SntpError};
//! use toolrunner_embassy::{Entropy, WallClock};
//!
//! static TIME: NetworkTime = NetworkTime::new();
//!
//! async fn set_the_clock(
//!     udp: &mut impl ConnectedUdp,
//!     trng: &mut impl Entropy,
//! ) -> Result<(), SntpError> {
//!     TIME.set(sntp::request(udp, trng, Patience::DEFAULT).await?);
//!     assert!(TIME.unix_seconds().is_some());
//!     Ok(())
//! }
//! ```

mod packet;

use core::cell::Cell;

use embassy_sync::blocking_mutex::CriticalSectionMutex;
use embassy_time::{Duration, Instant, Timer, with_deadline};
use embedded_nal_async::ConnectedUdp;

use crate::{Entropy, WallClock};

use packet::PacketError;
pub use packet::{Invalid, KissCode};

/// The UDP port of NTP servers.
pub const PORT: u16 = 123;

/// How often and how long to ask a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The number of requests, at least 1.
    pub tries: u8,
    /// The time to wait for the reply to the first request. It doubles with each further request.
    pub first: Duration,
}

impl Patience {
    /// Four requests. The first waits 2 seconds and each of the others twice as long as the one
    /// before it: 30 seconds in all.
    pub const DEFAULT: Self = Self { tries: 4, first: Duration::from_secs(2) };
}

impl Default for Patience {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A server's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Sample {
    /// The time in microseconds since 1970-01-01 UTC at the instant [`at`](Self::at).
    pub unix_micros: u64,
    /// When the reply arrived, on the board's clock.
    pub at: Instant,
    /// The time that request and reply were under way. The error of `unix_micros` is at most half
    /// of it, plus the server's own.
    pub round_trip: Duration,
    /// The distance of the server from a reference clock: 1 to 15.
    pub stratum: u8,
}

impl Sample {
    /// Returns the difference between the time and the board's clock, in microseconds.
    pub const fn offset_micros(&self) -> i64 {
        self.unix_micros.wrapping_sub(self.at.as_micros()).cast_signed()
    }

    /// Returns the time in microseconds since 1970-01-01 UTC at `instant` of the board's clock.
    pub const fn unix_micros_at(&self, instant: Instant) -> u64 {
        instant.as_micros().saturating_add_signed(self.offset_micros())
    }
}

/// The reason why a server gave no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum SntpError {
    /// The board's source of randomness failed.
    Entropy,
    /// The server refuses requests. With `DENY` and `RSTR`, do not ask it again. With `RATE`, wait
    /// a few minutes.
    KissOfDeath(KissCode),
    /// The server's name could not be resolved.
    Lookup,
    /// No request could be sent, because the stack has no address, no route or no free socket.
    Network,
    /// The last request was sent, and no valid reply arrived.
    NoReply {
        /// What was wrong with the last packet that was ignored, if there was one.
        ignored: Option<Invalid>,
    },
}

impl core::fmt::Display for SntpError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Entropy => f.write_str("the source of randomness failed"),
            Self::KissOfDeath(code) => write!(f, "the time server refuses requests: {code}"),
            Self::Lookup => f.write_str("could not resolve the time server's name"),
            Self::Network => f.write_str("could not send a request to the time server"),
            Self::NoReply { ignored: None } => f.write_str("the time server did not answer"),
            Self::NoReply { ignored: Some(why) } => {
                write!(f, "the time server sent no valid reply: {}", why.text())
            }
        }
    }
}

impl core::error::Error for SntpError {}

/// The largest reply that is read. Replies have 48 bytes, and more with extension fields.
const LARGEST: usize = 128;

/// The maximum number of errors of the socket for each request. Each may be a packet that is too
/// large, or an ICMP message.
const SOCKET_ERRORS: usize = 8;

/// Asks a server for the time, and waits for a valid reply.
///
/// `udp` must be connected to the server's port [`PORT`], and must discard packets from others.
/// Packets that are not a reply to the last request are ignored. Each request has 8 bytes from
/// `entropy` in place of the board's time, so it discloses nothing about the board.
///
/// Ask once at the start, and about once a day: a quartz that is off by 100 ppm gains or loses 9
/// seconds a day. Public servers require at least 15 seconds between two requests.
///
/// # Errors
/// Returns the reason if the server refuses requests, or if no try got a valid reply.
pub async fn request(
    udp: &mut impl ConnectedUdp,
    entropy: &mut impl Entropy,
    patience: Patience,
) -> Result<Sample, SntpError> {
    let ignored = Cell::new(None);
    let mut failure = SntpError::NoReply { ignored: None };
    let mut wait = patience.first;
    for _ in 0..patience.tries.max(1) {
        let mut nonce = [0; 8];
        entropy.fill(&mut nonce).map_err(|_| SntpError::Entropy)?;
        let deadline = Instant::now().checked_add(wait).unwrap_or(Instant::MAX);
        wait = wait.checked_mul(2).unwrap_or(wait);
        failure = match with_deadline(deadline, exchange(udp, nonce, &ignored)).await {
            Ok(Err(SntpError::Network)) => {
                // A link that is just coming up may take the next request.
                Timer::at(deadline).await;
                SntpError::Network
            }
            Ok(done) => return done,
            Err(_) => SntpError::NoReply { ignored: ignored.get() },
        };
    }
    Err(failure)
}

/// Sends one request, and receives until there is a reply to it. Does not end by itself otherwise.
async fn exchange(
    udp: &mut impl ConnectedUdp,
    nonce: [u8; 8],
    ignored: &Cell<Option<Invalid>>,
) -> Result<Sample, SntpError> {
    let sent = Instant::now();
    udp.send(&packet::request(nonce)).await.map_err(|_| SntpError::Network)?;
    let mut errors = 0;
    loop {
        let mut bytes = [0; LARGEST];
        let why = match udp.receive_into(&mut bytes).await {
            Ok(len) => {
                let reply = bytes.get(..len).unwrap_or_default();
                match packet::sample(reply, nonce, sent, Instant::now()) {
                    Ok(sample) => return Ok(sample),
                    Err(PacketError::Kiss(code)) => return Err(SntpError::KissOfDeath(code)),
                    Err(PacketError::Invalid(why)) => why,
                }
            }
            // A socket that fails at once each time must not keep the executor busy.
            Err(_) if errors == SOCKET_ERRORS => core::future::pending().await,
            Err(_) => {
                errors += 1;
                Invalid::Unreadable
            }
        };
        ignored.set(Some(why));
    }
}

/// The date and time of a board, set from a [`Sample`]. Intended for a `static`.
pub struct NetworkTime {
    sample: CriticalSectionMutex<Cell<Option<Sample>>>,
}

impl NetworkTime {
    /// Creates a clock that is not set.
    pub const fn new() -> Self {
        Self { sample: CriticalSectionMutex::new(Cell::new(None)) }
    }

    /// Sets the clock. A later sample replaces an earlier one.
    pub fn set(&self, sample: Sample) {
        self.sample.lock(|cell| cell.set(Some(sample)));
    }

    /// Returns the sample that the clock is set from. Its age is
    /// `sample.at.elapsed()`.
    pub fn sample(&self) -> Option<Sample> {
        self.sample.lock(Cell::get)
    }

    /// Returns the microseconds since 1970-01-01 UTC, or `None` while the clock is not set.
    pub fn unix_micros(&self) -> Option<u64> {
        self.sample().map(|sample| sample.unix_micros_at(Instant::now()))
    }
}

impl Default for NetworkTime {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for NetworkTime {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("NetworkTime").field(&self.sample()).finish()
    }
}

impl WallClock for NetworkTime {
    fn unix_seconds(&self) -> Option<u64> {
        self.unix_micros().map(|micros| micros / 1_000_000)
    }
}
