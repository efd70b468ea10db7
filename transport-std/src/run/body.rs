//! The front of a request's body, up to its messages. It is rendered again when a part of it
//! changes.
//!
//! Core's writer decides which members it has besides the caller's parameters, and which of those a
//! request carries.

use super::Run;
use crate::params::quoted;
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
        let model =
            self.summary_model.as_deref().filter(|_| self.machine.is_compacting() && !compacts);
        if self.prefix.as_ref().is_some_and(|prefix| {
            compacts == prefix.compacts
                && self.machine.thread_continuation().is_some() == prefix.continues
                && container == prefix.container.as_deref()
                && model == prefix.model.as_deref()
        }) {
            return Ok(());
        }
        let model = model.map(str::to_owned);
        let members = self.members(model.as_deref());
        let front = Front::from_members(&members, self.stream, &self.server_compaction);
        let container = container.map(str::to_owned);
        let kept = self.turns.tools.listed().into_iter().flatten();
        self.machine.note_thread_front(front, kept)?;
        let continues = self.machine.thread_continuation().is_some();
        let bytes = self.machine.complete(front).to_vec(self.turns.tools.listed());
        let noted = self.machine.note_front(&[&bytes]);
        self.prefix = Some(Prefix { bytes, container, model, compacts, continues });
        noted
    }

    /// Returns the body up to the conversation of a request that contains all of it.
    pub(super) fn whole_prefix(&self) -> Vec<u8> {
        let members = self.members(None);
        let front = Front::from_members(&members, self.stream, &self.server_compaction);
        self.machine.complete(front).continuing(None).to_vec(self.turns.tools.listed())
    }

    /// Returns the caller's parameters as members of an object. Those of the next turn, and the
    /// model of a summary, replace those of the same name.
    fn members(&self, model: Option<&str>) -> String {
        let model = model.map(quoted);
        let mut members = String::new();
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
