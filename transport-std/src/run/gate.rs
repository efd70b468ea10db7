//! The gate before a call and the hook after it, which may change its input or its result.

use core::pin::Pin;

use toolrunner_core::__private::cap_content;
use toolrunner_core::drive::Decision as CoreDecision;
use toolrunner_core::json::{Kind, Value};

use crate::params::quoted;

/// A call that waits for a decision. It is owned, so that a person may take any time to decide.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatedCall {
    /// The call's id.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The input as JSON: an object.
    pub input: String,
    /// The number of the turn that contains the call, from 1.
    pub turn: u32,
    /// Whether the tool's definition says that a person must approve each call, for example by
    /// `#[tool(requires_approval)]`.
    pub requires_approval: bool,
}

/// A gate's decision about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// The tool runs.
    Allow,
    /// The tool does not run; the call is answered with this content instead.
    Answer {
        /// A JSON string or an array of blocks.
        content: String,
        /// Whether the answer reports a failure to the model.
        is_error: bool,
    },
    /// The tool runs with this input, a JSON object; the conversation keeps the model's input.
    Input(String),
    /// The decision is not yet known. The run ends with
    /// [`Outcome::NeedsAnswer`](crate::Outcome::NeedsAnswer) when everything else is done, and
    /// continues after [`Run::allow`](crate::Run::allow) or [`Run::answer`](crate::Run::answer).
    Suspend,
}

impl Decision {
    /// Denies the call. The model receives `text` as an error, or `Error: not allowed` if it is
    /// empty.
    pub fn deny(text: &str) -> Self {
        let text = if text.is_empty() { CoreDecision::NOT_ALLOWED } else { text };
        Self::Answer { content: quoted(text), is_error: true }
    }

    /// Answers the call with this text; the tool does not run.
    pub fn answer(text: &str) -> Self {
        Self::Answer { content: quoted(text), is_error: false }
    }
}

type Deciding<'a> = Pin<Box<dyn Future<Output = Decision> + Send + 'a>>;

/// The object-safe form of a gate.
pub(super) trait DynGate: Send + Sync {
    fn dyn_decide(&self, call: GatedCall) -> Deciding<'_>;
}

impl<F, D> DynGate for F
where
    F: Fn(GatedCall) -> D + Send + Sync,
    D: Future<Output = Decision> + Send + 'static,
{
    fn dyn_decide(&self, call: GatedCall) -> Deciding<'_> {
        // Inside the future, so that a panic of the closure itself is also one of the future.
        Box::pin(async move { self(call).await })
    }
}

/// A result before it is added to the conversation, for a hook to inspect and change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResultDraft {
    /// The call's id.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// Whether the tool failed.
    pub is_error: bool,
    content: String,
}

/// A function that receives every result of a tool.
pub(super) type Hook = dyn Fn(&mut ResultDraft) + Send + Sync;

impl ResultDraft {
    pub(super) const fn new(id: String, name: String, content: String, is_error: bool) -> Self {
        Self { id, name, is_error, content }
    }

    /// Returns the content in wire format: a JSON string or an array of blocks.
    pub fn content(&self) -> &str {
        &self.content
    }

    /// Returns the text of the content: that of a string, or of all text blocks, joined.
    pub fn text(&self) -> String {
        text_of(Value::first(self.content.as_bytes()).unwrap_or_default())
    }

    /// Replaces the content with this text.
    pub fn replace(&mut self, text: &str) -> &mut Self {
        self.content = quoted(if text.is_empty() && self.is_error {
            toolrunner_core::__private::EMPTY_ERROR
        } else {
            text
        });
        self
    }

    /// Replaces the content with this JSON if it is a string or an array of blocks, and returns
    /// whether it was. An error's content must not be an empty string.
    pub fn replace_json(&mut self, content: &str) -> bool {
        let kind = Value::parse(content.as_bytes()).ok().map(Value::kind);
        let fits = matches!(kind, Some(Kind::String | Kind::Array))
            && !(self.is_error && content == "\"\"");
        if fits {
            content.clone_into(&mut self.content);
        }
        fits
    }

    /// Cuts every text that is longer than `bytes`. Its beginning and end stay, with a note of how
    /// much was cut between them.
    pub fn cap(&mut self, bytes: usize) -> &mut Self {
        let mut content = core::mem::take(&mut self.content).into_bytes();
        cap_content(&mut content, bytes);
        // It is cut between characters.
        self.content = String::from_utf8(content).unwrap_or_default();
        self
    }

    pub(super) fn into_parts(self) -> (String, bool) {
        (self.content, self.is_error)
    }
}

/// Returns the text of a content: that of a string, or of all text blocks, joined.
pub(super) fn text_of(content: Value<'_>) -> String {
    match content.as_text() {
        Some(text) => text.to_string(),
        None => content
            .elements()
            .filter_map(|block| block.member("text")?.as_text())
            .map(|text| text.to_string())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caps_texts_in_blocks_and_leaves_the_rest() {
        let content = r#"[{"type":"image","source":{"type":"url","url":"https://example.org/long"}},{"type":"text","text":"0123456789","cache_control":{"type":"ephemeral"}}]"#;
        let mut draft = ResultDraft::new(String::new(), String::new(), content.to_owned(), false);
        assert_eq!(
            draft.cap(4).content(),
            r#"[{"type":"image","source":{"type":"url","url":"https://example.org/long"}},{"type":"text","text":"01\n[… 6 bytes cut …]\n89","cache_control":{"type":"ephemeral"}}]"#
        );
    }
}
