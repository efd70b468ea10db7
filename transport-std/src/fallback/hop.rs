//! The reply of one model, while it is streamed.

use toolrunner_core::__private::{DELTA_TYPES, Growth};

use super::base::is_object;
use super::sse::SseEvent;
use crate::edit::{at, elements, members, set, text};
use crate::params::quoted;

/// The delta of a compaction, and the value that it has next to the summary.
const COMPACTION: &str = "compaction_delta";
const ENCRYPTED: &str = "encrypted_content";

/// What was received of one model's reply.
pub(super) struct Hop {
    /// The model that was asked, as the caller spells it.
    pub(super) model: String,
    /// Whether this is not the first model of the turn.
    pub(super) is_fallback: bool,
    /// Whether an earlier model had output, so this reply's start is not passed on.
    pub(super) continues: bool,
    /// The number that is added to the index of each block.
    index_base: u64,
    /// One more than the largest index passed on.
    pub(super) next_index: u64,
    blocks: Vec<(u64, Block)>,
    /// The indices of blocks that are not complete, as passed on.
    pub(super) open: Vec<u64>,
    /// The event `message_start`.
    pub(super) start: Option<SseEvent>,
    /// Events before the first output.
    pub(super) held: Vec<Vec<u8>>,
    /// Whether this reply has passed on anything.
    pub(super) is_open: bool,
    /// The model of the last `fallback` block that the server itself sent.
    pub(super) last_fallback_to: Option<String>,
}

/// A content block and what its deltas added.
struct Block {
    json: String,
    /// The values of the deltas of each type, in the order of [`DELTA_TYPES`]: texts, or the JSON
    /// of the elements of an array.
    values: [Vec<String>; DELTA_TYPES.len()],
    /// The value that a compaction has next to its summary, as JSON.
    encrypted: Option<String>,
}

impl Hop {
    pub(super) const fn new(
        model: String,
        is_fallback: bool,
        continues: bool,
        index_base: u64,
    ) -> Self {
        Self {
            model,
            is_fallback,
            continues,
            index_base,
            next_index: index_base,
            blocks: Vec::new(),
            open: Vec::new(),
            start: None,
            held: Vec::new(),
            is_open: false,
            last_fallback_to: None,
        }
    }

    /// Returns the usage that a refusal reports, with what only the start of the reply reported.
    pub(super) fn usage(&self, event: &str) -> String {
        let start = self.start.as_ref().and_then(|start| at(&start.data, &["message", "usage"]));
        let mut usage = start.unwrap_or("{}").to_owned();
        for (name, value) in at(event, &["usage"]).map(members).into_iter().flatten() {
            if value != "null" || at(&usage, &[&name]).is_none() {
                usage = set(&usage, &name, Some(value));
            }
        }
        usage
    }

    /// Returns the complete blocks, as JSON.
    pub(super) fn blocks(&self) -> impl Iterator<Item = String> {
        self.blocks.iter().map(|(_, block)| block.whole())
    }

    pub(super) const fn has_blocks(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// Records an event of a block. Returns it with the index that is passed on.
    pub(super) fn block_event(&mut self, kind: &str, event: &str) -> String {
        let Some(index) = at(event, &["index"]).and_then(|index| index.parse::<u64>().ok()) else {
            return event.to_owned();
        };
        let shifted = index + self.index_base;
        match kind {
            "content_block_start" => {
                let json = at(event, &["content_block"]).unwrap_or("{}").to_owned();
                if text(&json, &["type"]).as_deref() == Some("fallback") {
                    self.last_fallback_to = text(&json, &["to", "model"]);
                }
                self.blocks.push((index, Block::new(json)));
                self.open.push(shifted);
                self.next_index = self.next_index.max(shifted + 1);
            }
            "content_block_delta" => {
                let block = self.blocks.iter_mut().rev().find(|(known, _)| *known == index);
                if let Some((_, block)) = block {
                    block.add(at(event, &["delta"]).unwrap_or("{}"));
                }
            }
            _ => self.open.retain(|open| *open != shifted),
        }
        set(event, "index", Some(&shifted.to_string()))
    }
}

impl Block {
    const fn new(json: String) -> Self {
        Self { json, values: [const { Vec::new() }; DELTA_TYPES.len()], encrypted: None }
    }

    fn add(&mut self, delta: &str) {
        let kind = text(delta, &["type"]).unwrap_or_default();
        let mut each = DELTA_TYPES.iter().zip(&mut self.values);
        let Some((known, values)) = each.find(|(known, _)| known.name == kind) else { return };
        let path = &[known.value];
        values.extend(match known.growth {
            Growth::Array => at(delta, path).map(str::to_owned),
            Growth::Json | Growth::Text | Growth::Whole => text(delta, path),
        });
        if known.name == COMPACTION
            && let Some(encrypted) = at(delta, &[ENCRYPTED]).filter(|value| *value != "null")
        {
            self.encrypted = Some(encrypted.to_owned());
        }
    }

    fn whole(&self) -> String {
        let mut json = self.json.clone();
        for (delta, values) in DELTA_TYPES.iter().zip(&self.values) {
            let Some(last) = values.last() else { continue };
            let path = &[delta.member];
            let value = match delta.growth {
                Growth::Array => {
                    let old = at(&json, path).map(elements).into_iter().flatten();
                    let all: Vec<&str> = old.chain(values.iter().map(String::as_str)).collect();
                    format!("[{}]", all.join(","))
                }
                Growth::Json => {
                    let input = values.concat();
                    // Input that is not complete keeps its start, `{}`.
                    if !is_object(&input) {
                        continue;
                    }
                    input
                }
                Growth::Text => quoted(&(text(&json, path).unwrap_or_default() + &values.concat())),
                Growth::Whole => quoted(last),
            };
            json = set(&json, delta.member, Some(&value));
        }
        if let Some(encrypted) = &self.encrypted {
            json = set(&json, ENCRYPTED, Some(encrypted));
        }
        json
    }
}

#[cfg(test)]
mod tests;
