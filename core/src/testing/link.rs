//! A seeded random number generator, and a link that uses it to simulate network faults.

use alloc::vec::Vec;
use core::time::Duration;

use super::script::Chunk;

/// A pseudorandom number generator (SplitMix64). The same seed produces the same numbers. For tests
/// only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// Creates a generator. Every seed is suitable.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns the next number.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `limit`, or 0 if `limit` is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        usize::try_from(self.next_u64().checked_rem(limit).unwrap_or(0)).unwrap_or(0)
    }

    /// Returns `true` with a probability of `per_mille` in a thousand.
    pub fn chance(&mut self, per_mille: usize) -> bool {
        self.below(1000) < per_mille
    }
}

/// A link that splits its data into random pieces, delays them, resets the connection, or ends
/// early. The same seed produces the same faults.
///
/// It does no I/O, so it works on the body of a reply in memory as well as on the bytes of an HTTP
/// connection.
#[derive(Clone, Debug)]
pub struct BadLink {
    rng: Rng,
    longest_piece: usize,
    delays: usize,
    longest_delay: Duration,
    resets: usize,
    early_ends: usize,
}

/// The output of a [`BadLink`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The pieces.
    pub chunks: Vec<Chunk>,
    /// Whether all bytes were delivered.
    pub whole: bool,
}

impl BadLink {
    /// Creates a link that splits data into pieces of 1 to 32 bytes and has no other faults.
    pub const fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            longest_piece: 32,
            delays: 0,
            longest_delay: Duration::ZERO,
            resets: 0,
            early_ends: 0,
        }
    }

    /// Sets the maximum size of a piece, in bytes.
    pub const fn longest_piece(mut self, bytes: usize) -> Self {
        self.longest_piece = bytes;
        self
    }

    /// Delays `per_mille` of a thousand pieces, by at most `longest`.
    pub const fn delays(mut self, per_mille: usize, longest: Duration) -> Self {
        self.delays = per_mille;
        self.longest_delay = longest;
        self
    }

    /// Resets the connection in `per_mille` of a thousand replies, at any byte.
    pub const fn resets(mut self, per_mille: usize) -> Self {
        self.resets = per_mille;
        self
    }

    /// Ends `per_mille` of a thousand replies early, at any byte, as if they were complete.
    pub const fn early_ends(mut self, per_mille: usize) -> Self {
        self.early_ends = per_mille;
        self
    }

    /// Carries one reply.
    pub fn carry(&mut self, chunks: &[Chunk]) -> Delivery {
        let total = super::model::bytes(chunks).len();
        let reset = self.rng.chance(self.resets);
        let breaks = reset || self.rng.chance(self.early_ends);
        let carried = cut_at(chunks, if breaks { self.rng.below(total) } else { usize::MAX });
        let mut out = Vec::new();
        for chunk in carried.chunks {
            let Chunk::Data(data) = chunk else {
                out.push(chunk);
                continue;
            };
            let mut rest = data.as_slice();
            while !rest.is_empty() {
                if self.rng.chance(self.delays) {
                    out.push(Chunk::Wait(self.delay()));
                }
                let size = 1 + self.rng.below(self.longest_piece);
                let (piece, left) = rest.split_at_checked(size).unwrap_or((rest, &[]));
                out.push(Chunk::Data(piece.to_vec()));
                rest = left;
            }
        }
        if reset && !carried.whole {
            out.push(Chunk::Reset);
        }
        Delivery { chunks: out, whole: carried.whole }
    }

    fn delay(&mut self) -> Duration {
        let micros = usize::try_from(self.longest_delay.as_micros()).unwrap_or(usize::MAX);
        Duration::from_micros(u64::try_from(self.rng.below(micros)).unwrap_or(0))
    }
}

/// Returns the first `length` bytes of a body, and the pauses between them.
pub(super) fn cut_at(chunks: &[Chunk], length: usize) -> Delivery {
    let mut left = length;
    let mut out = Vec::new();
    for chunk in chunks {
        if let Chunk::Data(data) = chunk {
            if data.len() > left {
                if let Some(part) = data.get(..left).filter(|part| !part.is_empty()) {
                    out.push(Chunk::Data(part.to_vec()));
                }
                return Delivery { chunks: out, whole: false };
            }
            left -= data.len();
        }
        out.push(chunk.clone());
    }
    Delivery { chunks: out, whole: true }
}
