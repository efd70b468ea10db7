//! The packet of NTP version 4: RFC 5905, section 7.3.

use embassy_time::{Duration, Instant};

use super::Sample;

/// The length of a packet without extension fields.
const LEN: usize = 48;

const VERSION: u8 = 4;
const CLIENT: u8 = 3;
const SERVER: u8 = 4;

/// The leap indicator of a server whose clock is not synchronized.
const UNSYNCHRONIZED: u8 = 3;

/// The largest stratum of a synchronized server.
const MAX_STRATUM: u8 = 15;

/// The seconds from 1900-01-01, the start of NTP's era 0, to 1970-01-01.
const UNIX_EPOCH: u64 = 2_208_988_800;

/// 2026-01-01 00:00:00 UTC. An NTP second repeats every 136 years; the one at or after this date is
/// meant.
const EARLIEST: u64 = 1_767_225_600;

/// How much longer than the whole exchange a server may claim to have held a request, in
/// microseconds. Covers the resolution of both clocks.
const SLACK: u64 = 10_000;

/// Why a packet was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Invalid {
    /// It is not a server's reply, but of another mode.
    Mode,
    /// It does not repeat the bytes of the request: a late reply to an earlier one, or a forgery.
    Origin,
    /// It has less than 48 bytes.
    Short,
    /// The server's stratum is larger than 15.
    Stratum,
    /// Its times contradict each other or the clock of the board, or are missing.
    Times,
    /// The socket returned an error instead of the packet, for example because it is too large.
    Unreadable,
    /// The server's own clock is not synchronized.
    Unsynchronized,
    /// It has a version of NTP other than 3 or 4.
    Version,
}

impl Invalid {
    /// Returns a description of the reason.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Mode => "not a server's reply",
            Self::Origin => "not a reply to the request",
            Self::Short => "shorter than 48 bytes",
            Self::Stratum => "the stratum is larger than 15",
            Self::Times => "its times contradict each other, or are missing",
            Self::Unreadable => "it could not be read",
            Self::Unsynchronized => "the server's clock is not synchronized",
            Self::Version => "neither NTP version 3 nor 4",
        }
    }
}

/// The reason that a server gives for refusing requests (RFC 5905, section 7.4).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KissCode(pub [u8; 4]);

impl KissCode {
    /// The server denies access.
    pub const DENY: Self = Self(*b"DENY");
    /// The requests come too often.
    pub const RATE: Self = Self(*b"RATE");
    /// The server's policy restricts access.
    pub const RSTR: Self = Self(*b"RSTR");
}

impl core::fmt::Display for KissCode {
    /// Writes the code with `escape_ascii`, because it is a server's text.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl core::fmt::Debug for KissCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "KissCode({self})")
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for KissCode {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=[u8; 4]:a}", self.0);
    }
}

/// Why a packet gives no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PacketError {
    Invalid(Invalid),
    Kiss(KissCode),
}

/// Returns a request whose transmit timestamp is `nonce`. A server only copies it.
pub(super) fn request(nonce: [u8; 8]) -> [u8; LEN] {
    let mut packet = [0; LEN];
    packet[0] = VERSION << 3 | CLIENT;
    packet[40..].copy_from_slice(&nonce);
    packet
}

/// Checks a reply to the request with `nonce`, and computes the time at `received`.
pub(super) fn sample(
    bytes: &[u8],
    nonce: [u8; 8],
    sent: Instant,
    received: Instant,
) -> Result<Sample, PacketError> {
    let invalid = |why| Err(PacketError::Invalid(why));
    let Some(packet) = bytes.first_chunk::<LEN>() else { return invalid(Invalid::Short) };
    let (leap, version, mode) = (packet[0] >> 6, (packet[0] >> 3) & 7, packet[0] & 7);
    if mode != SERVER {
        return invalid(Invalid::Mode);
    }
    if !matches!(version, 3 | 4) {
        return invalid(Invalid::Version);
    }
    // First of all, so that nobody else can refuse or answer in the server's name.
    if packet[24..32] != nonce {
        return invalid(Invalid::Origin);
    }
    let stratum = packet[1];
    if stratum == 0 {
        let &[.., a, b, c, d] = packet.first_chunk::<16>().unwrap_or(&[0; 16]);
        return Err(PacketError::Kiss(KissCode([a, b, c, d])));
    }
    if leap == UNSYNCHRONIZED {
        return invalid(Invalid::Unsynchronized);
    }
    if stratum > MAX_STRATUM {
        return invalid(Invalid::Stratum);
    }
    let (arrived, left) = (stamp(&packet[32..40]), stamp(&packet[40..48]));
    // Wrapping, because an era may end in between.
    let held = left.wrapping_sub(arrived);
    let elapsed = received.saturating_duration_since(sent).as_micros();
    if left == 0 || held.cast_signed() < 0 || micros(held) > elapsed.saturating_add(SLACK) {
        return invalid(Invalid::Times);
    }
    let round_trip = elapsed.saturating_sub(micros(held));
    let unix_micros = unix_micros(left).saturating_add(round_trip / 2);
    Ok(Sample { unix_micros, at: received, round_trip: Duration::from_micros(round_trip), stratum })
}

/// Reads a timestamp of 8 bytes: 32 bits of seconds, and 32 bits of their fraction.
fn stamp(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |stamp, byte| stamp << 8 | u64::from(*byte))
}

/// Returns a difference of timestamps in microseconds.
const fn micros(difference: u64) -> u64 {
    (difference >> 32) * 1_000_000 + (((difference & 0xffff_ffff) * 1_000_000) >> 32)
}

/// Returns a timestamp in microseconds since 1970-01-01 UTC.
const fn unix_micros(stamp: u64) -> u64 {
    const ERA: u64 = 1 << 32;
    let (seconds, fraction) = (stamp >> 32, stamp & 0xffff_ffff);
    let seconds = if seconds >= EARLIEST + UNIX_EPOCH { seconds } else { seconds + ERA };
    (seconds - UNIX_EPOCH) * 1_000_000 + ((fraction * 1_000_000) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; 8] = *b"\x01nonce\xff\x00";

    fn reply() -> [u8; LEN] {
        let mut packet = [0; LEN];
        packet[..2].copy_from_slice(&[4 << 3 | SERVER, 2]);
        packet[24..32].copy_from_slice(&NONCE);
        // 2026-06-01 00:00:00 UTC, and a quarter of a second later.
        let seconds = u32::try_from(1_780_272_000 + UNIX_EPOCH).expect("era 0").to_be_bytes();
        packet[32..36].copy_from_slice(&seconds);
        packet[40..44].copy_from_slice(&seconds);
        packet[44] = 0x40;
        packet
    }

    fn check(packet: &[u8]) -> Result<Sample, PacketError> {
        sample(packet, NONCE, Instant::from_micros(1_000_000), Instant::from_micros(1_350_000))
    }

    #[test]
    fn a_reply_gives_the_time_of_its_arrival() {
        let sample = check(&reply()).expect("a time");
        // 350 ms in all, 250 of them at the server: the reply took 50.
        assert_eq!(sample.unix_micros, 1_780_272_000_300_000);
        assert_eq!((sample.round_trip.as_micros(), sample.stratum), (100_000, 2));
        assert_eq!(sample.unix_micros_at(Instant::from_micros(2_350_000)), 1_780_272_001_300_000);
        assert_eq!(sample.offset_micros(), 1_780_272_000_300_000 - 1_350_000);
        // With extension fields.
        assert!(check(&[&reply()[..], &[0; 20]].concat()).is_ok());
    }

    #[test]
    fn what_is_no_reply_is_ignored() {
        type Change = fn(&mut [u8; LEN]);
        let cases: [(Invalid, Change); 12] = [
            (Invalid::Mode, |p| p[0] = 4 << 3 | CLIENT),
            (Invalid::Mode, |p| p[0] = 4 << 3 | 5),
            (Invalid::Version, |p| p[0] = 1 << 3 | SERVER),
            (Invalid::Version, |p| p[0] = 7 << 3 | SERVER),
            (Invalid::Origin, |p| p[24] ^= 1),
            (Invalid::Origin, |p| p[31] ^= 0x80),
            // A refusal that anybody could have sent.
            (Invalid::Origin, |p| (p[1], p[24]) = (0, 0)),
            (Invalid::Unsynchronized, |p| p[0] |= 3 << 6),
            (Invalid::Stratum, |p| p[1] = 16),
            (Invalid::Stratum, |p| p[1] = 255),
            // Left before it arrived; and held for longer than the whole exchange.
            (Invalid::Times, |p| p[35] = p[35].wrapping_add(1)),
            (Invalid::Times, |p| p[43] = p[43].wrapping_add(1)),
        ];
        for (why, change) in cases {
            let mut packet = reply();
            change(&mut packet);
            assert_eq!(check(&packet), Err(PacketError::Invalid(why)));
        }
        let mut missing = reply();
        missing[32..].fill(0);
        assert_eq!(check(&missing), Err(PacketError::Invalid(Invalid::Times)));
        for len in 0..LEN {
            assert_eq!(check(&reply()[..len]), Err(PacketError::Invalid(Invalid::Short)));
        }
    }

    #[test]
    fn a_refusal_has_the_servers_code() {
        let mut packet = reply();
        packet[1] = 0;
        packet[12..16].copy_from_slice(b"RATE");
        // A refusing server need not be synchronized.
        packet[0] |= UNSYNCHRONIZED << 6;
        assert_eq!(check(&packet), Err(PacketError::Kiss(KissCode::RATE)));
        assert_eq!(std::format!("{}", KissCode([b'\n', 0, b'A', 0xff])), "\\n\\x00A\\xff");
    }

    #[test]
    fn the_era_that_begins_in_2036() {
        // 2036-02-07 06:28:16 UTC is second 0 of era 1.
        assert_eq!(unix_micros(0x8000_0000), 2_085_978_496_500_000);
        assert_eq!(unix_micros(0xffff_ffff_0000_0000), 2_085_978_495_000_000);
        assert_eq!(unix_micros((EARLIEST + UNIX_EPOCH) << 32), EARLIEST * 1_000_000);
        assert_eq!(
            unix_micros((EARLIEST + UNIX_EPOCH - 1) << 32),
            (EARLIEST - 1 + (1 << 32)) * 1_000_000
        );
        // A reply across the border.
        let mut packet = reply();
        packet[32..40].fill(0xff);
        packet[40..48].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(check(&packet).expect("a time").unix_micros, 2_085_978_496_175_000);
    }
}
