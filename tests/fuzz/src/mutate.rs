//! A small seeded mutator: the same seed creates the same inputs with any compiler. Unlike
//! libFuzzer, it does not use coverage.

/// The SplitMix64 generator.
pub struct Rng(u64);

impl Rng {
    /// Creates a generator with this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number below `limit`, or 0 if `limit` is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) as usize).checked_rem(limit).unwrap_or(0)
    }
}

/// The maximum length of an input in bytes.
const LONGEST: usize = 8192;

/// Tokens worth inserting anywhere: libFuzzer's dictionary, so that both engines use the same
/// tokens.
const DICTIONARY: &str = include_str!("../dictionary");

/// Parses a dictionary in libFuzzer's format: one token in quotes per line.
///
/// # Panics
/// Panics if a line has another format.
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

/// Creates new inputs from seeds.
pub struct Mutator {
    words: Vec<Vec<u8>>,
    rng: Rng,
}

impl Mutator {
    /// Creates a mutator with this seed.
    pub fn new(seed: u64) -> Self {
        Self { words: words(DICTIONARY), rng: Rng::new(seed) }
    }

    /// Returns a new input, based on one of `seeds`, which must not be empty.
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
