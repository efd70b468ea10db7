//! Changes of the tools during a run, as a system message of the next request. The request's
//! `tools` stay as they were, so that the prompt cache stays valid.

use alloc::boxed::Box;
use alloc::string::String;

use super::Run;
use crate::error::{Error, Misuse};
use crate::history::{PriorMessages, Tail, breakpoints, check as check_messages, is_marked};
use crate::json::{Kind, Sink as _, Value, check, escape};
use crate::message::Role;

/// Changes that no request contains yet.
#[derive(Clone, Debug, Default)]
pub(super) struct UnsentChanges {
    /// The system message. `None` if there are no changes. Behind a pointer, because few runs
    /// change their tools.
    message: Option<Box<Message>>,
}

#[derive(Clone, Debug)]
struct Message(String);

const HEAD: &str = "{\"role\":\"system\",\"content\":[";
const END: &str = "]}";

impl UnsentChanges {
    /// Returns the message, or an empty slice if there are no changes.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.message.as_deref().map(|Message(text)| text.as_bytes()).unwrap_or_default()
    }

    fn push(&mut self, parts: &[&str]) {
        let Message(text) =
            &mut **self.message.get_or_insert_with(|| Box::new(Message(String::from(HEAD) + END)));
        text.truncate(text.len().saturating_sub(END.len()));
        if text.len() > HEAD.len() {
            text.push(',');
        }
        text.extend(parts.iter().copied());
        text.push_str(END);
    }
}

impl Run<'_> {
    /// Adds a tool to the conversation, with its definition in JSON. The next request contains a
    /// system message with a `tool_addition` block. The tool can be called at once, also by a call
    /// of the last reply that has not started. The code that runs it must be one of the driver's
    /// tools, with a definition that requests [do not list](crate::tool::Definition::unlisted).
    ///
    /// All changes since the last request are sent in one message, in the order in which they were
    /// made, after the results of the last reply. A paused turn must be sent back as the last
    /// message, so the changes then wait until that turn has ended. Changes after the last request
    /// of a run are sent only if the run continues. A [snapshot](Self::snapshot) contains changes
    /// that wait.
    ///
    /// The API requires the beta `inline-tools-2026-09-15`, which the caller sets. The wire format
    /// is that of the official runners.
    ///
    /// # Errors
    /// `Misuse` if `definition` is not a JSON object with a `name` or a `type`, or if its
    /// `cache_control` would be the fifth cache breakpoint of the request. Then nothing changes. If
    /// the message does not fit into the transcript later, [`step`](Self::step) returns `Capacity`,
    /// and the changes still wait.
    pub fn add_tool(&mut self, definition: &str) -> Result<(), Error> {
        let definition = definition.trim_ascii();
        let object = check(definition.as_bytes())
            .ok()
            .and_then(|_| Value::whole(definition.as_bytes()))
            .filter(|value| value.kind() == Kind::Object);
        let is_text =
            |value: Option<Value<'_>>| value.is_some_and(|value| value.as_text().is_some());
        if !object.is_some_and(|tool| is_text(tool.member("name")) || is_text(tool.member("type")))
        {
            return Err(Misuse::Json(
                "the definition of an added tool must be an object with `name` or `type`",
            )
            .into());
        }
        let waiting = breakpoints(self.changes.unsent.as_bytes());
        self.ensure_breakpoints(waiting + object.map_or(0, is_marked), 0)?;
        self.settings.extras.enable_given_messages();
        self.changes.unsent.push(&[
            r#"{"type":"tool_addition","tool":{"type":"tool_definition","definition":"#,
            definition,
            "}}",
        ]);
        Ok(())
    }

    /// Removes the tool with this name from the conversation. The next request contains a system
    /// message with a `tool_removal` block, sent as [`add_tool`](Self::add_tool) describes. The
    /// removal takes effect at once: a call of the last reply that has not started is answered as a
    /// call of an unknown tool.
    ///
    /// # Errors
    /// `Misuse` if the name is empty.
    pub fn remove_tool(&mut self, name: &str) -> Result<(), Error> {
        if name.is_empty() {
            return Err(Misuse::Setting("the name of a removed tool must not be empty").into());
        }
        let mut quoted = alloc::vec::Vec::with_capacity(name.len() + 2);
        quoted.put(b"\"")?;
        escape(name).write_to(&mut quoted)?;
        quoted.put(b"\"")?;
        self.settings.extras.enable_given_messages();
        self.changes.unsent.push(&[
            r#"{"type":"tool_removal","tool":{"type":"tool_reference","name":"#,
            core::str::from_utf8(&quoted).unwrap_or_default(),
            "}}",
        ]);
        Ok(())
    }

    /// Returns whether changes of the tools wait for the next request.
    pub fn has_tool_changes(&self) -> bool {
        !self.changes.unsent.as_bytes().is_empty()
    }

    /// Restores the changes from the message in a snapshot.
    pub(super) fn restore_tool_changes(&mut self, message: Value<'_>) -> Result<(), Error> {
        let is_system =
            message.member("role").is_some_and(|role| role.is_text(Role::System.name()));
        check_messages(message.raw(), PriorMessages::Others, Tail::Closed)?;
        if !is_system || !message.as_json().ends_with(END) {
            return Err(Misuse::Setting("not a run snapshot").into());
        }
        let message = Message(String::from(message.as_json()));
        self.changes.unsent = UnsentChanges { message: Some(Box::new(message)) };
        Ok(())
    }

    /// Moves the changes into the conversation, before a request, unless the conversation ends with
    /// a paused turn.
    ///
    /// # Errors
    /// `Capacity` if they do not fit. Then they still wait.
    pub(super) fn send_tool_changes(&mut self) -> Result<(), Error> {
        // Open calls are those of a turn that the server continues, paused or compacted.
        let is_sent_back = (self.turn.is_paused() || self.turn.is_open())
            && self.transcript.len() == self.turn.results_end;
        if self.has_tool_changes() && !is_sent_back {
            self.transcript.push_json(self.changes.unsent.as_bytes())?;
            self.changes.unsent = UnsentChanges::default();
        }
        Ok(())
    }
}
