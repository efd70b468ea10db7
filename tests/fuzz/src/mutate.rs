//! A small mutator with a seed: the same inputs for the same seed, on any compiler. It sees no
//! coverage; libFuzzer does.

/// SplitMix64.
pub struct Rng(u64);

impl Rng {
    /// The row of numbers that `seed` chooses.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`; 0 for 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) as usize).checked_rem(limit).unwrap_or(0)
    }
}

/// Longest input, in bytes.
const LONGEST: usize = 8192;

/// What is worth to be put in anywhere: libFuzzer's dictionary, so that both engines say the same
/// words.
const DICTIONARY: &str = include_str!("../dictionary");

/// The words of a dictionary in libFuzzer's form: one in quotes per line.
///
/// # Panics
/// If a line is none.
pub fn words(dictionary: &str) -> Vec<Vec<u8>> {
    let lines = dictionary.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| word(line).unwrap_or_else(|| panic!("no word of a dictionary: {line}")))
        .collect()
}

fn word(line: &str) -> Option<Vec<u8>> {
    let mut rest = line.strip_prefix('"')?.strip_suffix('"')?.bytes();
    let mut word = Vec::new();
    while let Some(byte) = rest.next() {
        word.push(match byte {
            b'\\' => match rest.next()? {
                b'x' => hex(rest.next()?)? * 16 + hex(rest.next()?)?,
                quoted @ (b'\\' | b'"') => quoted,
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(word)
}

fn hex(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

/// Makes other inputs of seeds.
pub struct Mutator {
    words: Vec<Vec<u8>>,
    rng: Rng,
}

impl Mutator {
    /// The row of inputs that `seed` chooses.
    pub fn new(seed: u64) -> Self {
        Self { words: words(DICTIONARY), rng: Rng::new(seed) }
    }

    /// Another input, made of `seeds`, of which there is at least one.
    pub fn mutated(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let Self { words, rng } = self;
        let mut bytes = seeds[rng.below(seeds.len())].clone();
        for _ in 0..=rng.below(6) {
            let at = rng.below(bytes.len() + 1);
            let end = (at + 1 + rng.below(24)).min(bytes.len());
            match rng.below(9) {
                0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
                1 if at < bytes.len() => bytes[at] = rng.below(256) as u8,
                2 => drop(bytes.drain(at..end.max(at))),
                3 => {
                    let part = bytes[at..end.max(at)].to_vec();
                    let to = rng.below(bytes.len() + 1);
                    bytes.splice(to..to, part);
                }
                4 => bytes.truncate(at),
                5 => {
                    let other = &seeds[rng.below(seeds.len())];
                    let from = rng.below(other.len() + 1);
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
                6 => bytes.insert(at, rng.below(256) as u8),
                _ => drop(bytes.splice(at..at, words[rng.below(words.len())].iter().copied())),
            }
        }
        bytes.truncate(LONGEST);
        bytes
    }
}
