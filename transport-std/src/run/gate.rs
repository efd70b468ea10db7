//! The gate before a call and the hook after it, which may change its input or its result.

use core::pin::Pin;
use toolrunner_core::json::check;

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
        let text = if text.is_empty() { "Error: not allowed" } else { text };
        Self::Answer { content: quoted(text), is_error: true }
    }

    /// Answers the call with this text; the tool does not run.
    pub fn answer(text: &str) -> Self {
        Self::Answer { content: quoted(text), is_error: false }
    }

    /// Returns the decision if it can be carried out, or else one that answers `Error: not run`.
    fn checked(self) -> Self {
        let is = |json: &str, kinds: &[Kind]| {
            check(json.as_bytes()).is_ok()
                && Value::first(json.as_bytes()).is_some_and(|value| kinds.contains(&value.kind()))
        };
        match self {
            Self::Input(json) if !is(&json, &[Kind::Object]) => {
                tracing::error!("a gate replaced an input with something other than a JSON object");
                Self::deny("Error: not run")
            }
            Self::Answer { content, is_error }
                if !is(&content, &[Kind::String, Kind::Array])
                    || (is_error && content == "\"\"") =>
            {
                tracing::error!("a gate's answer is neither a JSON string nor an array of blocks");
                Self::Answer { content: quoted("Error: not run"), is_error }
            }
            good => good,
        }
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
        Box::pin(async move { self(call).await.checked() })
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
        let kind = check(content.as_bytes())
            .ok()
            .and_then(|_| Value::first(content.as_bytes()))
            .map(Value::kind);
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
        if let Some(capped) = capped(&self.content, bytes) {
            self.content = capped;
        }
        self
    }

    pub(super) fn into_parts(self) -> (Vec<u8>, bool) {
        (self.content.into_bytes(), self.is_error)
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

/// Returns a content in which every text longer than `bytes` is cut, or `None` if there is no such
/// text.
pub(super) fn capped(content: &str, bytes: usize) -> Option<String> {
    if content.len() <= bytes {
        return None;
    }
    let value = Value::first(content.as_bytes())?;
    if let Some(text) = value.as_text() {
        return cut(&text.to_string(), bytes).map(|text| quoted(&text));
    }
    let mut changed = false;
    let blocks: Vec<String> = value
        .elements()
        .map(|block| {
            let text = block
                .member("text")
                .and_then(Value::as_text)
                .and_then(|text| cut(&text.to_string(), bytes));
            let Some(text) = text else { return block.as_json().to_owned() };
            changed = true;
            let members = block.members().map(|(name, value)| {
                let value =
                    if name == *"text" { quoted(&text) } else { value.as_json().to_owned() };
                format!("\"{}\":{value}", name.raw())
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        })
        .collect();
    changed.then(|| format!("[{}]", blocks.join(",")))
}

/// Returns the beginning and the end of a text longer than `bytes`, with a note of how much was cut
/// between them. The two parts together have at most `bytes` bytes; the note is extra.
fn cut(text: &str, bytes: usize) -> Option<String> {
    if text.len() <= bytes {
        return None;
    }
    let head = text.floor_char_boundary(bytes.div_ceil(2));
    let tail = text.ceil_char_boundary(text.len() - bytes / 2);
    Some(format!("{}\n[… {} bytes cut …]\n{}", &text[..head], tail - head, &text[tail..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_between_characters() {
        assert_eq!(cut("short", 5), None);
        assert_eq!(cut("abcdefgh", 4).unwrap(), "ab\n[… 4 bytes cut …]\ngh");
        assert_eq!(cut("ääääää", 5).unwrap(), "ä\n[… 8 bytes cut …]\nä");
        assert_eq!(cut("abc", 0).unwrap(), "\n[… 3 bytes cut …]\n");
        for bytes in 0..20 {
            let text = "a🦀é".repeat(5);
            let short = cut(&text, bytes).unwrap();
            let kept: usize = short.split("\n[").next().unwrap().len()
                + short.rsplit("]\n").next().unwrap().len();
            assert!(kept <= bytes, "{bytes}: {short}");
        }
    }

    #[test]
    fn caps_texts_in_blocks_and_leaves_the_rest() {
        let content = r#"[{"type":"image","source":{"type":"url","url":"https://example.org/long"}},{"type":"text","text":"0123456789","cache_control":{"type":"ephemeral"}}]"#;
        let capped = capped(content, 4).unwrap();
        assert_eq!(
            capped,
            r#"[{"type":"image","source":{"type":"url","url":"https://example.org/long"}},{"type":"text","text":"01\n[… 6 bytes cut …]\n89","cache_control":{"type":"ephemeral"}}]"#
        );
    }

    #[test]
    fn an_answer_that_is_none_is_not_sent() {
        let bad = Decision::Answer { content: "42".to_owned(), is_error: false }.checked();
        assert_eq!(
            bad,
            Decision::Answer { content: "\"Error: not run\"".to_owned(), is_error: false }
        );
        assert_eq!(Decision::Input("[1]".to_owned()).checked(), Decision::deny("Error: not run"));
        assert_eq!(Decision::Input("{}".to_owned()).checked(), Decision::Input("{}".to_owned()));
    }
}
