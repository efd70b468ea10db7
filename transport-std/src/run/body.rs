//! The front of a request's body, up to its messages. It is rendered again when a part of it
//! changes.
//!
//! Core's writer decides which members it has besides the caller's parameters, and which of those a
//! request carries.

use super::Run;
use crate::params::{Params, quoted};
use toolrunner_core::__private::Front;
use toolrunner_core::error::Error as CoreError;

/// The front of a request's body, and the state of the run that it depends on.
#[derive(Debug)]
pub(super) struct Prefix {
    bytes: Vec<u8>,
    container: Option<String>,
    /// The model, if this is the request for a summary.
    model: Option<String>,
    /// Whether this request asks the server for a compaction.
    compacts: bool,
    /// Whether this request continues a message thread.
    continues: bool,
}

impl Prefix {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a run's requests contain besides the conversation and the tools.
pub(super) struct Request {
    pub(super) params: Params,
    /// Parameters of the next turn only.
    pub(super) next_params: Params,
    pub(super) stream: bool,
    /// The model that writes summaries; the run's own if `None`.
    pub(super) summary_model: Option<String>,
    /// The `compaction` parameter for a compaction on the server, as JSON.
    pub(super) server_compaction: String,
    /// The body up to the conversation, kept until a part of it changes.
    pub(super) prefix: Option<Prefix>,
}

impl Request {
    pub(super) fn new(params: Params, stream: bool, summary_model: Option<String>) -> Self {
        Self {
            params,
            next_params: Params::default(),
            stream,
            summary_model,
            server_compaction: String::new(),
            prefix: None,
        }
    }

    /// Returns the same for a fork of the run, which renders its own body.
    pub(super) fn fork(&self) -> Self {
        Self {
            params: self.params.clone(),
            next_params: self.next_params.clone(),
            stream: self.stream,
            summary_model: self.summary_model.clone(),
            server_compaction: self.server_compaction.clone(),
            prefix: None,
        }
    }

    /// Returns the front of a body with these parameters.
    fn front<'a>(&'a self, members: &'a str) -> Front<'a> {
        Front::from_members(members, self.stream, &self.server_compaction)
    }

    /// Returns the caller's parameters as members of an object. Those of the next turn, and the
    /// model of a summary, replace those of the same name.
    fn members(&self, model: Option<&str>) -> String {
        let model = model.map(quoted);
        let len = |(name, json): (&str, &str)| name.len() + json.len() + 4;
        let len = self.params.iter().chain(self.next_params.iter()).map(len).sum();
        let mut members = String::with_capacity(len);
        let once = |name: &str| self.next_params.json(name);
        let kept = self.params.iter().map(|(name, json)| (name, once(name).unwrap_or(json)));
        let added = self.next_params.iter().filter(|(name, _)| self.params.json(name).is_none());
        for (name, json) in kept.chain(added) {
            if !members.is_empty() {
                members.push(',');
            }
            members.push_str(&quoted(name));
            members.push(':');
            members.push_str(model.as_deref().filter(|_| name == "model").unwrap_or(json));
        }
        members
    }
}

impl Run {
    /// Renders the body up to the conversation, unless it is current: parameters in their order,
    /// then tools.
    pub(super) fn render_prefix(&mut self) {
        // If this finds an error, it is reported when the request is sent.
        let _ = self.try_render_prefix();
    }

    /// Renders the body up to the conversation, unless it is current.
    ///
    /// # Errors
    /// `Misuse` if the request would have too many cache breakpoints, or if it changes what a
    /// message thread with freed messages keeps.
    pub(super) fn try_render_prefix(&mut self) -> Result<(), CoreError> {
        let container = self.machine.container();
        let compacts = self.machine.is_compacting_on_server();
        let summarizes = self.machine.is_compacting() && !compacts;
        let model = self.request.summary_model.as_deref().filter(|_| summarizes);
        if self.request.prefix.as_ref().is_some_and(|prefix| {
            compacts == prefix.compacts
                && self.machine.thread_continuation().is_some() == prefix.continues
                && container == prefix.container.as_deref()
                && model == prefix.model.as_deref()
        }) {
            return Ok(());
        }
        let model = model.map(str::to_owned);
        let members = self.request.members(model.as_deref());
        let front = self.request.front(&members);
        let container = container.map(str::to_owned);
        let kept = self.turns.tools.listed().into_iter().flatten();
        self.machine.note_thread_front(front, kept)?;
        let continues = self.machine.thread_continuation().is_some();
        let bytes = self.machine.complete(front).to_vec(self.turns.tools.listed());
        let noted = self.machine.note_front(&[&bytes]);
        self.request.prefix = Some(Prefix { bytes, container, model, compacts, continues });
        noted
    }

    /// Returns the body up to the conversation of a request that contains all of it.
    pub(super) fn whole_prefix(&self) -> Vec<u8> {
        let members = self.request.members(None);
        let front = self.request.front(&members);
        self.machine.complete(front).continuing(None).to_vec(self.turns.tools.listed())
    }
}
