//! Joins the streams of several models into one.
//!
//! Events are held until a model has output, so a refusal before any output leaves no trace but a
//! `fallback` block. The first model's events are passed on as received; those of later ones get
//! the indices that follow, and the last `message_delta` gets the usage of all.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::stream::unfold;

use super::base::{continuation_of, iteration};
use super::hop::Hop;
use super::sse::{Events, SseEvent, event};
use super::{Hops, is_capacity, seam};
use crate::edit::{at, elements, set, text};
use crate::http::{HttpBody, HttpError};
use crate::params::quoted;

/// Returns the body of a turn that `model` began.
pub(super) fn splice(hops: Hops, model: String, body: HttpBody) -> HttpBody {
    let chain = Chain {
        hops,
        from: model.clone(),
        hop: Hop::new(model, false, false, 0),
        events: Some(Events::new(body)),
        out: VecDeque::new(),
        seams: Vec::new(),
        primary_id: None,
        token: None,
        sent: Vec::new(),
        partial: Vec::new(),
        refusal: None,
        iterations: Vec::new(),
    };
    HttpBody::from_stream(unfold(Some(chain), |chain| async move {
        let mut chain = chain?;
        match chain.next().await {
            Ok(Some(piece)) => Some((Ok(Bytes::from(piece)), Some(chain))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    }))
}

/// The state of a turn.
struct Chain {
    hops: Hops,
    /// The model that the next change is from.
    from: String,
    hop: Hop,
    /// The reply that is being read. `None` after the end of the turn.
    events: Option<Events>,
    /// Bytes to pass on.
    out: VecDeque<Vec<u8>>,
    /// The events of `fallback` blocks that wait for output.
    seams: Vec<Vec<u8>>,
    /// The id of the first model's message, as JSON.
    primary_id: Option<String>,
    /// The credit token of the last refusal.
    token: Option<String>,
    /// The blocks that the last request asked to continue.
    sent: Vec<String>,
    /// The blocks of the last refused reply, if they may be continued.
    partial: Vec<String>,
    refusal: Option<Refusal>,
    /// An entry for each reply so far, as JSON.
    iterations: Vec<String>,
}

/// The last refusal.
struct Refusal {
    /// The event `message_delta`.
    event: String,
    /// JSON.
    category: String,
    start: Option<String>,
    /// `input_transformations` of a start that was not passed on.
    transformations: Option<String>,
}

impl Chain {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        loop {
            if let Some(piece) = self.out.pop_front() {
                return Ok(Some(piece));
            }
            let Some(events) = &mut self.events else { return Ok(None) };
            match events.next().await? {
                Some(event) => {
                    if text(&event.data, &["type"]).is_some_and(|kind| kind != "ping") {
                        events.progressed();
                    }
                    if self.feed(event) {
                        self.next_hop().await?;
                    }
                }
                None => {
                    self.open();
                    self.events = None;
                }
            }
        }
    }

    /// Takes an event of the current model. Returns whether the next model is to be asked.
    fn feed(&mut self, received: SseEvent) -> bool {
        let kind = text(&received.data, &["type"]).unwrap_or_default();
        match kind.as_str() {
            "message_start" => {
                self.hop.start = Some(received);
                return false;
            }
            "content_block_start" | "content_block_delta" | "content_block_stop" => {
                self.open();
                let shifted = self.hop.block_event(&kind, &received.data);
                let is_fallback = self.hop.is_fallback;
                self.out.push_back(if is_fallback { event(&kind, &shifted) } else { received.raw });
                return false;
            }
            "message_delta" => {}
            _ => {
                if self.hop.is_open {
                    self.out.push_back(received.raw);
                } else {
                    self.hop.held.push(received.raw);
                }
                return false;
            }
        }
        let is_refusal =
            text(&received.data, &["delta", "stop_reason"]).as_deref() == Some("refusal");
        if is_refusal && self.refused(&received.data) {
            return true;
        }
        self.open();
        let last = if self.hop.is_fallback {
            event("message_delta", &self.last_delta(&received.data, is_refusal))
        } else {
            received.raw
        };
        self.out.push_back(last);
        false
    }

    /// Takes a refusal. Returns whether another model can be asked.
    fn refused(&mut self, delta: &str) -> bool {
        let details = at(delta, &["delta", "stop_details"]).unwrap_or("{}");
        let is_refusal = text(details, &["type"]).as_deref() == Some("refusal");
        let details = if is_refusal { details } else { "{}" };
        let token = text(details, &["fallback_credit_token"]).filter(|token| !token.is_empty());
        let is_first = !self.hop.is_open && !self.hop.has_blocks();
        if !self.hops.has_next() || (token.is_none() && !is_first) {
            tracing::warn!(
                model = self.hop.model,
                has_token = token.is_some(),
                "a model refused, and no other can be asked"
            );
            return false;
        }
        for index in core::mem::take(&mut self.hop.open) {
            let stop = format!("{{\"type\":\"content_block_stop\",\"index\":{index}}}");
            self.out.push_back(event("content_block_stop", &stop));
        }
        self.hop.held.clear();
        let usage = self.hop.usage(delta);
        self.iterations.extend(declined(&usage, &self.hop.model));
        let may_continue = at(details, &["fallback_has_prefill_claim"]) == Some("true");
        self.partial = if may_continue { continuation_of(self.hop.blocks()) } else { Vec::new() };
        self.token = token;
        let start = self.hop.start.take().map(|start| start.data);
        if !self.hop.is_fallback {
            let id = start.as_deref().and_then(|start| at(start, &["message", "id"]));
            self.primary_id = id.map(str::to_owned);
            // The server itself may have changed the model before.
            if let Some(model) = self.hop.last_fallback_to.take() {
                self.from = model;
            }
        }
        let hidden = start.as_deref().filter(|_| self.hop.is_fallback && self.hop.continues);
        let transformations = hidden
            .and_then(|start| at(start, &["message", "input_transformations"]))
            .map(str::to_owned);
        let before = self.refusal.take().and_then(|refusal| refusal.start);
        self.refusal = Some(Refusal {
            event: delta.to_owned(),
            category: at(details, &["category"]).unwrap_or("null").to_owned(),
            start: start.or(before),
            transformations,
        });
        true
    }

    /// Asks the next models until one answers. If none does, the turn ends with the refusal.
    async fn next_hop(&mut self) -> Result<(), HttpError> {
        self.events = None;
        let wire_open = self.hop.is_open || self.hop.continues;
        let next_index = self.hop.next_index;
        let mut failed = (String::new(), None);
        while let Some(entry) = self.hops.next() {
            let model = self.hops.base.model(Some(&entry));
            tracing::info!(from = self.from, to = model, "a model refused; the next one is asked");
            let mut continuation = [self.sent.as_slice(), self.partial.as_slice()].concat();
            let mut reply =
                self.hops.send(Some(&entry), self.token.as_deref(), &continuation).await;
            if reply.as_ref().is_ok_and(|reply| reply.head.status == 400)
                && !continuation.is_empty()
            {
                tracing::warn!(
                    model,
                    "a model did not continue the text so far; it is asked without it"
                );
                continuation.clone_from(&self.sent);
                reply = self.hops.send(Some(&entry), self.token.as_deref(), &continuation).await;
            }
            match reply {
                Ok(reply) if (200..300).contains(&reply.head.status) => {
                    self.sent = continuation;
                    let category =
                        self.refusal.as_ref().map_or("null", |refusal| refusal.category.as_str());
                    let block = seam(&self.from, &model, category);
                    self.seams.push(event(
                        "content_block_start",
                        &format!("{{\"type\":\"content_block_start\",\"index\":{next_index},\"content_block\":{block}}}"),
                    ));
                    self.seams.push(event(
                        "content_block_stop",
                        &format!("{{\"type\":\"content_block_stop\",\"index\":{next_index}}}"),
                    ));
                    self.from.clone_from(&model);
                    self.hop = Hop::new(model, true, wire_open, next_index + 1);
                    self.events = Some(Events::new(reply.body));
                    return Ok(());
                }
                Ok(reply) => {
                    tracing::warn!(model, status = reply.head.status, "a fallback failed");
                    failed = (model, Some(reply.head.status));
                }
                // An error of the caller's hook is reported.
                Err(error) if error.is_hook() => return Err(error),
                Err(error) => {
                    tracing::warn!(model, "a fallback failed: {error}");
                    failed = (model, None);
                }
            }
        }
        self.end_with_refusal(wire_open, &failed.0, failed.1);
        Ok(())
    }

    /// Passes on the last refusal, with the model to try later if it only lacked capacity.
    fn end_with_refusal(&mut self, wire_open: bool, model: &str, status: Option<u16>) {
        let Some(refusal) = self.refusal.take() else { return };
        if !wire_open && let Some(start) = &refusal.start {
            self.out.push_back(event("message_start", &self.with_primary_id(start)));
        }
        self.out.extend(self.seams.drain(..));
        let recommended =
            if status.is_some_and(is_capacity) { quoted(model) } else { "null".to_owned() };
        let mut delta = with_recommended(&refusal.event, &recommended, true);
        let usage = at(&delta, &["usage"]).unwrap_or("{}");
        let list = format!("[{}]", self.iterations.join(","));
        delta = set(&delta, "usage", Some(&set(usage, "iterations", Some(&list))));
        if let Some(transformations) = &refusal.transformations
            && at(&delta, &["input_transformations"]).is_none()
        {
            delta = set(&delta, "input_transformations", Some(transformations));
        }
        self.out.push_back(event("message_delta", &delta));
        self.out.push_back(event("message_stop", "{\"type\":\"message_stop\"}"));
    }

    /// Returns the last `message_delta` of a fallback, with the usage of all models.
    fn last_delta(&self, delta: &str, is_refusal: bool) -> String {
        let mut delta = delta.to_owned();
        if is_refusal {
            delta = with_recommended(&delta, "null", false);
        }
        let usage = at(&delta, &["usage"]).unwrap_or("{}");
        let model = &self.hop.model;
        let reported = at(usage, &["iterations"]).and_then(|list| elements(list).last());
        let own = reported.map_or_else(
            || iteration("fallback_message", model, usage),
            |last| {
                let named = set(last, "type", Some("\"fallback_message\""));
                match at(last, &["model"]) {
                    Some(_) => named,
                    None => set(&named, "model", Some(&quoted(model))),
                }
            },
        );
        let all: Vec<&str> =
            self.iterations.iter().map(String::as_str).chain([own.as_str()]).collect();
        let usage = set(usage, "iterations", Some(&format!("[{}]", all.join(","))));
        delta = set(&delta, "usage", Some(&usage));
        let start = self.hop.start.as_ref().filter(|_| self.hop.continues);
        if let Some(transformations) =
            start.and_then(|start| at(&start.data, &["message", "input_transformations"]))
            && at(&delta, &["input_transformations"]).is_none()
        {
            delta = set(&delta, "input_transformations", Some(transformations));
        }
        delta
    }

    /// Passes on what was held, because the current model has output.
    fn open(&mut self) {
        if core::mem::replace(&mut self.hop.is_open, true) {
            return;
        }
        match &self.hop.start {
            Some(start) if !self.hop.is_fallback => self.out.push_back(start.raw.clone()),
            Some(start) if !self.hop.continues => {
                self.out.push_back(event("message_start", &self.with_primary_id(&start.data)));
            }
            _ => {}
        }
        self.out.extend(self.seams.drain(..));
        self.out.extend(self.hop.held.drain(..));
    }

    fn with_primary_id(&self, start: &str) -> String {
        match (at(start, &["message"]), &self.primary_id) {
            (Some(message), Some(id)) => set(start, "message", Some(&set(message, "id", Some(id)))),
            _ => start.to_owned(),
        }
    }
}

/// Sets `recommended_model` of a refusal's details, always or only if it is missing.
fn with_recommended(delta: &str, model: &str, always: bool) -> String {
    let Some(inner) = at(delta, &["delta"]) else { return delta.to_owned() };
    let Some(details) = at(inner, &["stop_details"]) else { return delta.to_owned() };
    if !always && crate::edit::members(details).any(|(name, _)| name == "recommended_model") {
        return delta.to_owned();
    }
    let details = set(details, "recommended_model", Some(model));
    set(delta, "delta", Some(&set(inner, "stop_details", Some(&details))))
}

/// Returns the entries of `usage.iterations` for a reply that was refused: those that it reports,
/// or one made of its usage.
fn declined(usage: &str, model: &str) -> Vec<String> {
    let reported = at(usage, &["iterations"]).map(elements).into_iter().flatten();
    let mut entries: Vec<String> =
        reported.map(|entry| set(entry, "type", Some("\"message\""))).collect();
    match entries.as_mut_slice() {
        [] => vec![iteration("message", model, usage)],
        [one] => {
            if text(one, &["model"]).is_none() {
                *one = set(one, "model", Some(&quoted(model)));
            }
            entries
        }
        _ => entries,
    }
}
