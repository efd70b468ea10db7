//! The text of a reply that the user has seen when the run is cancelled.

use toolrunner_core::observe::Event;

use super::{Run, RunBuilder};
use crate::params::quoted;

/// The text of the reply under way, if it is kept on a cancellation.
#[derive(Clone, Debug, Default)]
pub(super) struct ShownText {
    text: String,
}

impl ShownText {
    pub(super) fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::MessageStart { .. } | Event::MessageStop => self.text.clear(),
            Event::Text { text, .. } => self.text.push_str(&text.to_str()),
            _ => {}
        }
    }

    /// Forgets the text of a reply that is not kept.
    pub(super) fn clear(&mut self) {
        self.text = String::new();
    }
}

impl RunBuilder {
    /// Sets whether the text of a reply that is under way stays in the conversation when the run is
    /// cancelled, stopped, or interrupted by [`Run::user`]. Default: no, the reply is dropped.
    ///
    /// The text becomes a message of the model, without white space at its end, so that the model
    /// knows what the user has read. All its text that was received is kept, whether or not the
    /// caller has received the events. Nothing else of the reply stays: no thinking, no citations,
    /// and no calls. [`Run::message`] remains the last complete reply. If one of the reply's calls
    /// had started [eagerly](Self::eager), its complete blocks stay instead.
    ///
    /// [`Run::resume`] asks the model to continue the text, which not every model accepts; after
    /// [`Run::user`], every model does.
    pub fn keep_text_on_cancel(mut self, is_on: bool) -> Self {
        self.keeps_text = is_on;
        self
    }
}

impl Run {
    /// Forgets the text of a reply that is about to be dropped and must not be kept.
    pub(super) fn forget_shown(&mut self) {
        if let Some(shown) = &mut self.shown {
            shown.clear();
        }
    }

    /// Appends the text of the reply that was just dropped, if it is to be kept.
    pub(super) fn keep_shown(&mut self) {
        let Some(shown) = &mut self.shown else { return };
        let text = core::mem::take(&mut shown.text);
        let text = text.trim_end();
        if text.is_empty() {
            return;
        }
        // Not `Run::append`, which would continue the run.
        let message = format!("{{\"role\":\"assistant\",\"content\":{}}}", quoted(text));
        if let Err(error) = self.machine.append(&message) {
            tracing::warn!(run = self.id, "the text of a cancelled reply is not kept: {error}");
        }
    }
}
