//! A gate's call and decision, and the draft of a result, as values that own their texts.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};

use crate::drive::{Draft, Verdict};
use crate::json::{Kind, Value, quoted};
use crate::run::{ToolAnswer, cap_content};
use crate::tool::{EMPTY_ERROR, Notice, Output, ToolCall};

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
    /// [`Outcome::NeedsAnswer`](crate::run::Outcome::NeedsAnswer) when everything else is done, and
    /// continues after `allow` or `answer` of the client's run.
    Suspend,
}

impl Decision {
    /// Denies the call. The model receives `text` as an error, or `Error: not allowed` if it is
    /// empty.
    pub fn deny(text: &str) -> Self {
        let text = if text.is_empty() { Verdict::NOT_ALLOWED } else { text };
        Self::Answer { content: quoted(text), is_error: true }
    }

    /// Answers the call with this text; the tool does not run.
    pub fn answer(text: &str) -> Self {
        Self::Answer { content: quoted(text), is_error: false }
    }
}

/// Returns a call for a gate, which may take any time.
pub fn gated(call: &ToolCall<'_>, requires_approval: bool) -> GatedCall {
    GatedCall {
        id: call.id.to_string(),
        name: call.name.to_string(),
        input: call.input.as_json().to_owned(),
        turn: call.turn,
        requires_approval,
    }
}

/// Writes what belongs to a gate's decision to `out`. Returns the verdict for the loop, and the
/// gate's mistake if the decision cannot be carried out. In that case the tool does not run.
pub fn carry_out(decision: Decision, out: &mut Output<'_>) -> (Verdict, Option<&'static str>) {
    match decision {
        Decision::Allow => (Verdict::Allow, None),
        Decision::Suspend => (Verdict::Suspend, None),
        Decision::Input(json) => {
            let fits = out.input(&json).is_ok();
            let mistake = "a gate replaced an input with something other than a JSON object";
            (Verdict::Input, (!fits).then_some(mistake))
        }
        Decision::Answer { content, is_error } => {
            let is_empty_error = is_error && content == "\"\"";
            let fits = !is_empty_error && out.content(&content).is_ok();
            if !fits {
                let _ = not_run(out);
            }
            let mistake = "a gate's answer is neither a JSON string nor an array of blocks";
            (if is_error { Verdict::Deny } else { Verdict::Answer }, (!fits).then_some(mistake))
        }
    }
}

/// Denies a call whose gate failed: the model receives `Error: not run`.
pub fn not_run(out: &mut Output<'_>) -> Verdict {
    // This memory grows.
    let _ = Notice::NotRun.write_to(out);
    Verdict::Deny
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

/// Returns the draft of a result as a value.
pub fn draft(result: &Draft<'_, '_>) -> ResultDraft {
    let call = result.call();
    ResultDraft {
        id: call.map(|call| call.id.to_string()).unwrap_or_default(),
        name: call.map(|call| call.name.to_string()).unwrap_or_default(),
        is_error: result.is_error(),
        content: result.content().as_json().to_owned(),
    }
}

/// Stores an edited draft as the result that is about to be added to the run.
pub fn put_draft(ResultDraft { content, is_error, .. }: ResultDraft, result: &mut Draft<'_, '_>) {
    result.set(ToolAnswer::ok_json(content.as_bytes()).with_error(is_error));
}

impl ResultDraft {
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
        self.content = quoted(if text.is_empty() && self.is_error { EMPTY_ERROR } else { text });
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
        let (id, name) = (String::new(), String::new());
        let mut draft = ResultDraft { id, name, is_error: false, content: content.to_owned() };
        assert_eq!(
            draft.cap(4).content(),
            r#"[{"type":"image","source":{"type":"url","url":"https://example.org/long"}},{"type":"text","text":"01\n[… 6 bytes cut …]\n89","cache_control":{"type":"ephemeral"}}]"#
        );
    }
}
