//! The reply of one model, while it is streamed.

use super::sse::SseEvent;
use crate::edit::{at, members, set, text};
use crate::params::quoted;

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
#[derive(Default)]
struct Block {
    json: String,
    text: String,
    thinking: String,
    signature: Option<String>,
    input: Option<String>,
    citations: Vec<String>,
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
                self.blocks.push((index, Block { json, ..Block::default() }));
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
    fn add(&mut self, delta: &str) {
        let piece = |name: &str| text(delta, &[name]).unwrap_or_default();
        match text(delta, &["type"]).unwrap_or_default().as_str() {
            "text_delta" => self.text.push_str(&piece("text")),
            "thinking_delta" => self.thinking.push_str(&piece("thinking")),
            "signature_delta" => self.signature = Some(piece("signature")),
            "input_json_delta" => {
                self.input.get_or_insert_default().push_str(&piece("partial_json"));
            }
            "citations_delta" => {
                self.citations.extend(at(delta, &["citation"]).map(str::to_owned));
            }
            _ => {}
        }
    }

    fn whole(&self) -> String {
        let mut json = self.json.clone();
        for (name, added) in [("text", &self.text), ("thinking", &self.thinking)] {
            if !added.is_empty() {
                let value = text(&json, &[name]).unwrap_or_default() + added;
                json = set(&json, name, Some(&quoted(&value)));
            }
        }
        if let Some(signature) = &self.signature {
            json = set(&json, "signature", Some(&quoted(signature)));
        }
        // Input that is not complete keeps its start, `{}`.
        if let Some(input) = self.input.as_deref().filter(|input| super::base::is_object(input)) {
            json = set(&json, "input", Some(input));
        }
        if !self.citations.is_empty() {
            let old = at(&json, &["citations"]).map(crate::edit::elements).into_iter().flatten();
            let all: Vec<&str> = old.chain(self.citations.iter().map(String::as_str)).collect();
            json = set(&json, "citations", Some(&format!("[{}]", all.join(","))));
        }
        json
    }
}
