//! Before a call and after it: who may look, and say something else.

use core::pin::Pin;

use toolrunner_core::json::{Kind, Value, check};

use crate::params::quoted;

/// A call that waits for its decision. Owned, so that a person may take their time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatedCall {
    /// The call's id.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The input as JSON: an object.
    pub input: String,
    /// Which turn of the run asked for it, from 1.
    pub turn: u32,
}

/// What a gate says to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// The tool runs.
    Allow,
    /// The tool does not run; this is the answer: content as JSON (a string or an array of blocks),
    /// and whether it is an error.
    Answer {
        /// A JSON string or an array of blocks.
        content: String,
        /// Whether the model is told that it failed.
        is_error: bool,
    },
    /// The tool runs with this input, a JSON object; the conversation keeps the model's own.
    Input(String),
    /// Nobody knows yet: the run ends with [`Outcome::NeedsAnswer`](crate::Outcome::NeedsAnswer)
    /// when all else is done, and goes on after [`Run::allow`](crate::Run::allow) or
    /// [`Run::answer`](crate::Run::answer).
    Suspend,
}

impl Decision {
    /// Not allowed; the model reads why, as an error.
    pub fn deny(text: &str) -> Self {
        let text = if text.is_empty() { "Error: not allowed" } else { text };
        Self::Answer { content: quoted(text), is_error: true }
    }

    /// This text is the answer; the tool does not run.
    pub fn answer(text: &str) -> Self {
        Self::Answer { content: quoted(text), is_error: false }
    }

    /// What can be carried out. Anything else becomes a denial that says so.
    fn checked(self) -> Self {
        let is = |json: &str, kinds: &[Kind]| {
            check(json.as_bytes()).is_ok()
                && Value::first(json.as_bytes()).is_some_and(|value| kinds.contains(&value.kind()))
        };
        match self {
            Self::Input(json) if !is(&json, &[Kind::Object]) => {
                tracing::error!("a gate changed an input to what is no JSON object");
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
        // Inside, so that a panic of the closure itself is one of the future.
        Box::pin(async move { self(call).await.checked() })
    }
}

/// A result on its way into the conversation, for a hook to look at and to change.
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

/// A function that sees every result of a tool.
pub(super) type Hook = dyn Fn(&mut ResultDraft) + Send + Sync;

impl ResultDraft {
    pub(super) const fn new(id: String, name: String, content: String, is_error: bool) -> Self {
        Self { id, name, is_error, content }
    }

    /// The content as it will go on the wire: a JSON string or an array of blocks.
    pub fn content(&self) -> &str {
        &self.content
    }

    /// The content's text: of a string, or of all its text blocks, joined.
    pub fn text(&self) -> String {
        text_of(Value::first(self.content.as_bytes()).unwrap_or_default())
    }

    /// Makes this text the content.
    pub fn replace(&mut self, text: &str) -> &mut Self {
        self.content = quoted(if text.is_empty() && self.is_error {
            toolrunner_core::tool::EMPTY_ERROR
        } else {
            text
        });
        self
    }

    /// Makes this JSON the content, if it is a string or an array of blocks; says whether it was.
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

    /// Cuts every text that is longer than `bytes`: head and tail stay, and between them stands how
    /// much was cut.
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

/// The text of a content: of a string, or of all its text blocks, joined.
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

/// A content whose texts are longer than `bytes`, cut; nothing if none is.
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

/// Head and tail of a text that is longer than `bytes`, and how much was cut between them. What is
/// kept is at most `bytes` long; the mark comes on top.
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
