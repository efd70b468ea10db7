//! The number of tokens that a turn used.

use crate::json::Value;

/// The number of tokens that one turn used, or the sum over several turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Usage {
    /// Input tokens that were neither read from a cache nor written to one.
    pub input_tokens: u64,
    /// Output tokens, including thinking.
    pub output_tokens: u64,
    /// Input tokens that were written to a cache.
    pub cache_creation_input_tokens: u64,
    /// Input tokens that were read from a cache.
    pub cache_read_input_tokens: u64,
}

impl Usage {
    /// Creates a usage from a `usage` object of the API. Counts that are missing or `null`
    /// become 0.
    pub fn from_wire(usage: Value<'_>) -> Self {
        let mut this = Self::default();
        this.overwrite(usage);
        this
    }

    /// Replaces the counts with those in `usage`, a `usage` object of the API. Within a turn the
    /// counts are cumulative, so a later one replaces an earlier one. Counts that are missing or
    /// `null` stay unchanged.
    pub fn overwrite(&mut self, usage: Value<'_>) {
        let new = usage.pick([
            "input_tokens",
            "output_tokens",
            "cache_creation_input_tokens",
            "cache_read_input_tokens",
        ]);
        for (count, new) in self.counts_mut().into_iter().zip(new) {
            *count = new.and_then(Value::as_u64).unwrap_or(*count);
        }
    }

    /// Returns the counts in the order of the fields.
    pub(crate) const fn counts_mut(&mut self) -> [&mut u64; 4] {
        [
            &mut self.input_tokens,
            &mut self.output_tokens,
            &mut self.cache_creation_input_tokens,
            &mut self.cache_read_input_tokens,
        ]
    }

    /// Adds the tokens of another turn. Each sum saturates at [`u64::MAX`].
    pub const fn add(&mut self, turn: &Self) {
        self.input_tokens = sum(self.input_tokens, turn.input_tokens);
        self.output_tokens = sum(self.output_tokens, turn.output_tokens);
        self.cache_creation_input_tokens =
            sum(self.cache_creation_input_tokens, turn.cache_creation_input_tokens);
        self.cache_read_input_tokens =
            sum(self.cache_read_input_tokens, turn.cache_read_input_tokens);
    }

    /// Returns the total number of input tokens, cached or not.
    pub const fn input_total(&self) -> u64 {
        let cached = sum(self.cache_creation_input_tokens, self.cache_read_input_tokens);
        sum(self.input_tokens, cached)
    }

    /// Returns the total number of input and output tokens.
    pub const fn total(&self) -> u64 {
        sum(self.input_total(), self.output_tokens)
    }
}

// Not inlined on a chip, where a sum of this size needs more instructions than a call.
#[cfg_attr(target_os = "none", inline(never))]
const fn sum(a: u64, b: u64) -> u64 {
    a.saturating_add(b)
}
