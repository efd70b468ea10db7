//! What a turn cost.

use crate::json::Value;

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

    /// Takes over what a wire `usage` tells: within a turn the counts are cumulative, so a later one replaces an earlier one.
    /// What is missing or `null` stays as it was.
    pub fn overwrite(&mut self, usage: Value<'_>) {
        const NAMES: [&str; 4] = ["input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];
        let counts =
            [&mut self.input_tokens, &mut self.output_tokens, &mut self.cache_creation_input_tokens, &mut self.cache_read_input_tokens];
        for (count, value) in counts.into_iter().zip(usage.pick(NAMES)) {
            *count = value.and_then(Value::as_u64).unwrap_or(*count);
        }
    }

    /// Adds another turn's tokens.
    pub const fn add(&mut self, turn: &Self) {
        self.input_tokens = self.input_tokens.saturating_add(turn.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(turn.output_tokens);
        self.cache_creation_input_tokens = self.cache_creation_input_tokens.saturating_add(turn.cache_creation_input_tokens);
        self.cache_read_input_tokens = self.cache_read_input_tokens.saturating_add(turn.cache_read_input_tokens);
    }

    /// All input, from a cache or not.
    pub const fn input_total(&self) -> u64 {
        self.input_tokens.saturating_add(self.cache_creation_input_tokens).saturating_add(self.cache_read_input_tokens)
    }

    /// All input and all output.
    pub const fn total(&self) -> u64 {
        self.input_total().saturating_add(self.output_tokens)
    }
}
