//! The number of tokens that a turn used.

use crate::json::{Value, means};

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

    /// Adds the tokens of another turn. Each sum saturates at [`u64::MAX`].
    pub const fn add(&mut self, turn: &Self) {
        self.input_tokens = self.input_tokens.saturating_add(turn.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(turn.output_tokens);
        self.cache_creation_input_tokens =
            self.cache_creation_input_tokens.saturating_add(turn.cache_creation_input_tokens);
        self.cache_read_input_tokens =
            self.cache_read_input_tokens.saturating_add(turn.cache_read_input_tokens);
    }

    /// Returns the total number of input tokens, cached or not.
    pub const fn input_total(&self) -> u64 {
        self.input_tokens
            .saturating_add(self.cache_creation_input_tokens)
            .saturating_add(self.cache_read_input_tokens)
    }

    /// Returns the total number of input and output tokens.
    pub const fn total(&self) -> u64 {
        self.input_total().saturating_add(self.output_tokens)
    }
}

/// The counts in a `usage` object of the API, in the order of the fields of [`Usage`]. They are
/// collected member by member.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts([Option<u64>; 4]);

impl Counts {
    /// Records a member. `name` is the name as it is stored, still escaped. If a name occurs twice,
    /// the first count is used.
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
