//! What ran, what the model received, and the rules for both:
//!
//! 1. A call's tool runs at most once, with the input of the model or the one that the gate
//!    replaced it with.
//! 2. The API would accept every request, by the test kit's rules and by those in this file.
//! 3. The model is told what happened. If a tool returned something before a request was sent, that
//!    request has exactly this as the call's result. If a tool was started and returned nothing,
//!    the result is one that says so (cancelled, timed out, panicked) or the caller's answer, and
//!    never `Error: not run`. If it was not started, the result is not a tool's.
//! 4. Nothing is forgotten. A call whose tool was started is in every later request and in every
//!    snapshot, with its result, and so is every message of the caller. Only the caller may remove
//!    them, with `retry`.
//! 5. When the faults end, the run ends too, and rule 4 holds for its final conversation.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use toolrunner_core::testing::validity::{self, Tail};

/// Everything known about a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) tool: String,
    pub(crate) started: u32,
    /// What its tool returned, and whether as an error.
    pub(crate) returned: Option<(String, bool)>,
    /// The gate's answer instead of the tool's result, and whether it is an error.
    pub(crate) gate: Option<(String, bool)>,
    /// The caller's answer instead of the tool's result.
    pub(crate) by_hand: Option<String>,
    /// Whether its tool ran on another thread, so that its result may have come too late.
    pub(crate) is_blocking: bool,
}

/// Counts what happened, to show that the test was not empty.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) operations: u64,
    pub(crate) requests: u64,
    pub(crate) calls: u64,
    /// Calls that ran before their reply was complete.
    pub(crate) early: u64,
    pub(crate) drops: u64,
    pub(crate) snapshots: u64,
    pub(crate) cancels: u64,
    pub(crate) errors: u64,
}

impl Figures {
    pub(crate) fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.requests += other.requests;
        self.calls += other.calls;
        self.early += other.early;
        self.drops += other.drops;
        self.snapshots += other.snapshots;
        self.cancels += other.cancels;
        self.errors += other.errors;
    }
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) calls: BTreeMap<String, Known>,
    /// Calls that the caller removed.
    forgotten: BTreeSet<String>,
    /// The caller's messages, in order.
    pub(crate) said: Vec<String>,
    pub(crate) is_calm: bool,
    /// Whether a reply's body is being received.
    pub(crate) is_streaming: bool,
    pub(crate) figures: Figures,
}

impl Ledger {
    pub(crate) fn call(&mut self, id: &str) -> &mut Known {
        self.calls.entry(id.to_owned()).or_default()
    }

    /// Records that a tool runs.
    pub(crate) fn start(&mut self, id: &str, tool: &str) {
        self.figures.calls += 1;
        self.figures.early += u64::from(self.is_streaming);
        let call = self.call(id);
        call.started += 1;
        tool.clone_into(&mut call.tool);
        if call.started > 1 {
            // A panic here would count as the tool's, which is caught.
            self.is_twice(id);
        }
    }

    fn is_twice(&mut self, id: &str) {
        self.call(id).gate = Some(("TWICE".to_owned(), true));
    }

    /// Checks the rules above for a request that is sent, or for a conversation whose open calls
    /// were closed.
    pub(crate) fn check(&self, messages: &[Value], raw: &[u8]) -> Result<(), String> {
        if let Some((id, _)) = self.calls.iter().find(|(_, call)| call.started > 1) {
            return Err(format!("call {id} ran twice"));
        }
        let is_paused = messages.last().is_some_and(|last| last["role"] == "assistant");
        validity::check(raw, if is_paused { Tail::Open } else { Tail::Closed })
            .map_err(|invalid| invalid.to_string())?;
        let results = pair(messages)?;
        for (id, call) in &self.calls {
            let Some(result) = results.get(id) else {
                if call.started > 0 && !self.forgotten.contains(id) {
                    return Err(format!("call {id} ran, and is not in the conversation"));
                }
                continue;
            };
            match result {
                Some((text, is_error)) => call
                    .judge(text, *is_error)
                    .map_err(|wrong| format!("call {id}: {wrong}: {call:?}"))?,
                None if call.returned.is_some() && !call.is_blocking => {
                    return Err(format!("call {id} returned, and has no result: {call:?}"));
                }
                None => {}
            }
        }
        let all = String::from_utf8_lossy(raw);
        let mut from = 0;
        for word in &self.said {
            match all[from..].find(word.as_str()) {
                Some(at) => from += at,
                None => return Err(format!("{word:?} is lost")),
            }
        }
        Ok(())
    }

    /// Records what the caller removed: the calls that are no longer in this conversation.
    pub(crate) fn forget(&mut self, messages: &[Value]) {
        let there: BTreeSet<String> = ids(messages, "tool_use", "id").collect();
        self.forgotten.extend(self.calls.keys().filter(|id| !there.contains(*id)).cloned());
    }
}

impl Known {
    /// Checks that this is the result that the model must receive.
    fn judge(&self, text: &str, is_error: bool) -> Result<(), String> {
        let is = |expected: &(String, bool)| expected.0 == text && expected.1 == is_error;
        if self.by_hand.as_deref() == Some(text) && !is_error {
            return if self.returned.is_none() || self.is_blocking {
                Ok(())
            } else {
                Err("answered by hand, though its tool had returned".to_owned())
            };
        }
        let notice =
            |texts: &[&str]| is_error && texts.iter().any(|notice| text.starts_with(notice));
        match (&self.returned, self.started) {
            (Some(returned), _) if is(returned) => Ok(()),
            // It came too late: the run no longer waited.
            (Some(_), _)
                if self.is_blocking && notice(&["Error: cancelled", "Error: timed out after"]) =>
            {
                Ok(())
            }
            // The conversation has a limit: the text then says how large the result was, and how
            // much fits.
            (Some((returned, _)), _)
                if too_large(text).is_some_and(|(needed, free)| {
                    is_error && needed > free && needed >= returned.len()
                }) =>
            {
                Ok(())
            }
            // Not even that text fits.
            (Some((returned, _)), _)
                if is_error && text == "Error: no room" && returned.len() > text.len() =>
            {
                Ok(())
            }
            (Some(_), _) => Err(format!("its tool returned something else than {text:?}")),
            (None, 0) if self.gate.as_ref().is_some_and(is) => Ok(()),
            (None, 0)
                if notice(&[
                    "Error: not run",
                    "Error: cancelled",
                    "Error: Tool '",
                    "Error: invalid input for tool '",
                ]) =>
            {
                Ok(())
            }
            (None, 0) => Err(format!("nothing ran, and the result is {text:?}")),
            (None, _)
                if notice(&[
                    "Error: cancelled",
                    "Error: timed out after",
                    "Error: tool panicked",
                ]) =>
            {
                Ok(())
            }
            (None, _) => {
                Err(format!("its tool was started and did not return, and the result is {text:?}"))
            }
        }
    }
}

/// Returns the size of a result that does not fit, and the size that would.
fn too_large(text: &str) -> Option<(usize, usize)> {
    let (needed, rest) =
        text.strip_prefix("Error: the result is too large: ")?.split_once(" bytes, at most ")?;
    Some((needed.parse().ok()?, rest.strip_suffix(" fit")?.parse().ok()?))
}

fn blocks(message: &Value) -> impl Iterator<Item = &Value> {
    message["content"].as_array().into_iter().flatten()
}

fn ids<'m>(
    messages: &'m [Value],
    kind: &'m str,
    name: &'m str,
) -> impl Iterator<Item = String> + 'm {
    messages
        .iter()
        .flat_map(blocks)
        .filter(move |block| block["type"] == kind)
        .filter_map(move |block| Some(block[name].as_str()?.to_owned()))
}

/// Returns every call with its result, if it has one. Checks this project's own rules: each call is
/// answered exactly once, in the next message, before all other blocks.
fn pair(messages: &[Value]) -> Result<BTreeMap<String, Option<(String, bool)>>, String> {
    let mut pairs = BTreeMap::new();
    if messages.first().is_some_and(|first| first["role"] != "user") {
        return Err("the first message is not the user's".to_owned());
    }
    for (at, message) in messages.iter().enumerate() {
        if message["content"].as_str().is_some_and(str::is_empty)
            || message["content"].as_array().is_some_and(Vec::is_empty)
        {
            return Err(format!("message {at} is empty"));
        }
        let is = |kind: &'static str| move |block: &&Value| block["type"] == kind;
        let calls: Vec<&str> = blocks(message)
            .filter(is("tool_use"))
            .filter_map(|block| block["id"].as_str())
            .collect();
        // Calls before a `fallback` block need no result.
        let seam = blocks(message)
            .collect::<Vec<_>>()
            .iter()
            .rposition(|block| block["type"] == "fallback")
            .unwrap_or(0);
        let free = blocks(message).take(seam).filter(is("tool_use")).count();
        let next = messages.get(at + 1);
        let results: Vec<&Value> = next
            .into_iter()
            .flat_map(blocks)
            .take_while(|block| block["type"] == "tool_result")
            .collect();
        let all = next
            .into_iter()
            .flat_map(blocks)
            .filter(|block| block["type"] == "tool_result")
            .count();
        if all != results.len() {
            return Err(format!("message {}: results behind something else", at + 1));
        }
        if message["role"] == "assistant" {
            for result in &results {
                if !calls.iter().any(|id| result["tool_use_id"] == *id) {
                    return Err(format!("message {}: a result for no call", at + 1));
                }
            }
        } else if !results.is_empty() {
            return Err(format!("message {}: results behind no reply", at + 1));
        }
        // The calls of a paused turn are not answered.
        let is_open = next.is_none_or(|next| next["role"] == "assistant");
        for (i, id) in calls.into_iter().enumerate() {
            let mut own = results.iter().filter(|result| result["tool_use_id"] == id);
            let result = own.next();
            if own.next().is_some() {
                return Err(format!("two results for {id}"));
            }
            if result.is_none() && !is_open && i >= free {
                return Err(format!("no result for {id}"));
            }
            let text = |result: &&Value| {
                (
                    result["content"].as_str().unwrap_or_default().to_owned(),
                    result["is_error"] == true,
                )
            };
            if pairs.insert(id.to_owned(), result.map(text)).is_some() {
                return Err(format!("two calls have the id {id}"));
            }
        }
    }
    Ok(pairs)
}
