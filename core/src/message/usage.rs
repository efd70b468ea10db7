//! What a turn cost.

use crate::json::{Value, means};

/// Tokens of one turn, or of several added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Usage {
    /// Input that was neither read from a cache nor written to one.
    pub input_tokens: u64,
    /// Output, thinking included.
    pub output_tokens: u64,
    /// Input that was written to a cache.
    pub cache_creation_input_tokens: u64,
    /// Input that was read from a cache.
    pub cache_read_input_tokens: u64,
}

impl Usage {
    /// The usage that a wire object tells; what it does not tell is 0.
    pub fn from_wire(usage: Value<'_>) -> Self {
        let mut this = Self::default();
        this.overwrite(usage);
        this
    }

    /// Takes over what a wire `usage` tells: within a turn the counts are cumulative, so a later
    /// one replaces an earlier one. What is missing or `null` stays as it was.
    pub fn overwrite(&mut self, usage: Value<'_>) {
        let mut counts = Counts::default();
        let mut members = usage.members();
        while let Some((name, value)) = members.next_raw() {
            counts.note(name, value);
        }
        self.take(counts);
    }

    pub(crate) fn take(&mut self, Counts([input, output, created, read]): Counts) {
        self.input_tokens = input.unwrap_or(self.input_tokens);
        self.output_tokens = output.unwrap_or(self.output_tokens);
        self.cache_creation_input_tokens = created.unwrap_or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = read.unwrap_or(self.cache_read_input_tokens);
    }

    /// Adds another turn's tokens.
    pub const fn add(&mut self, turn: &Self) {
        self.input_tokens = self.input_tokens.saturating_add(turn.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(turn.output_tokens);
        self.cache_creation_input_tokens =
            self.cache_creation_input_tokens.saturating_add(turn.cache_creation_input_tokens);
        self.cache_read_input_tokens =
            self.cache_read_input_tokens.saturating_add(turn.cache_read_input_tokens);
    }

    /// All input, from a cache or not.
    pub const fn input_total(&self) -> u64 {
        self.input_tokens
            .saturating_add(self.cache_creation_input_tokens)
            .saturating_add(self.cache_read_input_tokens)
    }

    /// All input and all output.
    pub const fn total(&self) -> u64 {
        self.input_total().saturating_add(self.output_tokens)
    }
}

/// What a wire `usage` tells, in the order of [`Usage`]'s fields, collected member by member.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts([Option<u64>; 4]);

impl Counts {
    /// Takes note of a member, its name as it stands. Of two of one name the first counts.
    pub(crate) fn note(&mut self, name: &[u8], value: Value<'_>) {
        const NAMES: [&str; 4] = [
            "input_tokens",
            "output_tokens",
            "cache_creation_input_tokens",
            "cache_read_input_tokens",
        ];
        if let Some((count, _)) = self.0.iter_mut().zip(NAMES).find(|(_, known)| means(name, known))
        {
            *count = count.or(value.as_u64());
        }
    }
}
