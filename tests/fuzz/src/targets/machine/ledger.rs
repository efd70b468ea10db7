//! Checks of the calls that ran and of the caller's messages. Reads only the machine's
//! conversation.

use std::collections::{BTreeMap, BTreeSet};

use toolrunner_core::message::{Block, Messages};

/// A record of what happened outside the machine.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The calls that ran, by their unique ids, with the JSON of each answer, if it is known.
    ran: BTreeMap<String, Option<String>>,
    /// Calls that ran and whose reply is in the conversation.
    kept: BTreeSet<String>,
    /// Calls that ran and whose result was sent. The model knows them, even if only from a summary.
    told: BTreeSet<String>,
    /// The caller's messages, in order.
    said: Vec<String>,
}

impl Ledger {
    /// Records that a tool runs, which must happen at most once per call.
    pub(super) fn run(&mut self, id: &str) {
        assert!(self.ran.insert(id.to_owned(), None).is_none(), "call {id} runs again");
    }

    /// Records that the call's reply is complete and in the conversation.
    pub(super) fn keep(&mut self, id: &str) {
        self.kept.insert(id.to_owned());
    }

    /// Records the result of a call that ran; `None` if it is unknown.
    pub(super) fn answered(&mut self, id: &str, content: Option<&str>) {
        if let Some(answer) = self.ran.get_mut(id) {
            *answer = content.map(str::to_owned);
        }
    }

    /// Records a message of the caller.
    pub(super) fn said(&mut self, text: String) {
        self.said.push(text);
    }

    /// Records a request.
    pub(super) fn sent(&mut self, messages: &[u8]) {
        self.told.extend(calls_and_results(messages).1.into_keys());
    }

    /// Removes the calls of a reply that the caller removed.
    pub(super) fn recount_calls(&mut self, messages: &[u8]) {
        let (calls, _) = calls_and_results(messages);
        self.kept.retain(|id| calls.contains(id));
    }

    /// Removes the calls and messages that are gone after the caller replaced the conversation.
    pub(super) fn recount(&mut self, messages: &[u8]) {
        self.recount_calls(messages);
        self.said.retain(|text| place(messages, text).is_some());
    }

    /// Removes the calls and messages of old turns that were dropped or summarized. Calls whose
    /// results were never sent must still be there.
    pub(super) fn recount_told(&mut self, messages: &[u8]) {
        let before = core::mem::take(&mut self.kept);
        let (calls, _) = calls_and_results(messages);
        for id in before {
            if calls.contains(&id) {
                self.kept.insert(id);
            } else {
                assert!(
                    self.told.contains(&id),
                    "call {id} ran, and the model was never told: {}",
                    String::from_utf8_lossy(messages)
                );
            }
        }
        self.said.retain(|text| place(messages, text).is_some());
    }

    /// Checks that every call that ran is still there with its answer, and every message in its
    /// order.
    pub(super) fn check(&self, messages: &[u8]) {
        let (calls, results) = calls_and_results(messages);
        for id in &self.kept {
            assert!(
                calls.contains(id),
                "call {id} ran and is lost: {}",
                String::from_utf8_lossy(messages)
            );
            if let Some(Some(answer)) = self.ran.get(id) {
                assert_eq!(
                    results.get(id),
                    Some(answer),
                    "the answer to {id}: {}",
                    String::from_utf8_lossy(messages)
                );
            }
        }
        let mut from = 0;
        for text in &self.said {
            let found = place(&messages[from..], text);
            from += found.unwrap_or_else(|| {
                panic!("{text:?} is lost: {}", String::from_utf8_lossy(messages))
            });
        }
    }
}

/// Returns the ids of all calls, and the contents of all results.
fn calls_and_results(messages: &[u8]) -> (BTreeSet<String>, BTreeMap<String, String>) {
    let (mut calls, mut results) = (BTreeSet::new(), BTreeMap::new());
    for block in Messages::new(messages).flat_map(|message| message.blocks()) {
        match block {
            Block::ToolUse(call) => drop(calls.insert(call.id().to_string())),
            Block::ToolResult(result) => {
                let content = result
                    .value()
                    .member("content")
                    .map_or_else(String::new, |content| content.as_json().to_owned());
                results.insert(result.tool_use_id().to_string(), content);
            }
            _ => {}
        }
    }
    (calls, results)
}

fn place(messages: &[u8], text: &str) -> Option<usize> {
    core::str::from_utf8(messages).expect("a conversation is text").find(text)
}
