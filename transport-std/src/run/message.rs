//! Typed messages: the content of prompts and answers, and whatever can be appended as messages.

use std::borrow::Cow;

use toolrunner_core::json::Value;
use toolrunner_core::message::{OwnedMessage, ReplyMessage, Role};
use toolrunner_core::tool::{ContentBlock, Source};

use crate::error::Error;
use crate::params::quoted;

/// The media types of images that the API accepts as bytes:
/// <https://platform.claude.com/docs/en/build-with-claude/vision>.
const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];
const PDF: &str = "application/pdf";

/// The content of a message or of an answer: a text, or blocks. Bytes are encoded as base64.
///
/// A text, a [`ContentBlock`], and a list of blocks convert to it, so `run.user("Hello")` needs no
/// `Content`. A mistake, such as bytes that are not an image, is reported when the content is used.
///
/// ```no_run
/// # async fn f(client: toolrunner_std::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use toolrunner_std::Content;
///
/// let question = Content::new()
///     .document(std::fs::read("contract.pdf")?)
///     .cache()
///     .image(std::fs::read("signature.png")?)
///     .text("Who signed this contract?");
/// let mut run = client.run("claude-opus-4-7").user(question);
/// println!("{}", run.until_done().await?.text());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Content {
    form: Form,
    invalid: Option<String>,
}

#[derive(Clone, Debug)]
enum Form {
    Text(String),
    /// The blocks as JSON.
    Blocks(Vec<String>),
}

impl Default for Content {
    fn default() -> Self {
        Self::new()
    }
}

impl Content {
    /// Creates a content without blocks.
    pub const fn new() -> Self {
        Self { form: Form::Blocks(Vec::new()), invalid: None }
    }

    /// Adds a text.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.block(ContentBlock::text(text))
    }

    /// Adds an image from the bytes of a file: JPEG, PNG, GIF or WebP. The format is detected from
    /// the bytes. For a URL or an uploaded file, use [`block`](Self::block) with
    /// [`ContentBlock::image`].
    #[must_use]
    pub fn image(self, bytes: impl AsRef<[u8]>) -> Self {
        let data = bytes.as_ref();
        match kind_of_bytes(data).filter(|kind| IMAGES.contains(kind)) {
            Some(media_type) => self.block(ContentBlock::image(Source::Bytes { media_type, data })),
            None => self.note("an image must be a JPEG, PNG, GIF or WebP file"),
        }
    }

    /// Adds a document from the bytes of a file: a PDF, or a text in UTF-8. For a title, citations,
    /// a URL or an uploaded file, use [`block`](Self::block) with [`ContentBlock::document`].
    #[must_use]
    pub fn document(self, bytes: impl AsRef<[u8]>) -> Self {
        let data = bytes.as_ref();
        if kind_of_bytes(data) == Some(PDF) {
            return self.block(ContentBlock::document(Source::Bytes { media_type: PDF, data }));
        }
        match core::str::from_utf8(data) {
            Ok(text) if !text.is_empty() => self.block(ContentBlock::document(Source::Text(text))),
            _ => self.note("a document must be a PDF file or a text in UTF-8 that is not empty"),
        }
    }

    /// Adds a block. The media type of an image or a document that contains its data is checked:
    /// the API accepts JPEG, PNG, GIF and WebP images and PDF documents, and refuses data whose
    /// type differs from the declared one.
    #[must_use]
    pub fn block(mut self, block: ContentBlock<'_>) -> Self {
        let mut json = Vec::new();
        // A `Vec` is never full.
        let _ = block.write_to(&mut json);
        let json = String::from_utf8(json).unwrap_or_default();
        if let Err(why) = check_block(&json) {
            return self.note(why);
        }
        self.blocks().push(json);
        self
    }

    /// Sets a cache breakpoint after the last block, so that the API caches the request up to it. A
    /// request may have four. [`RunBuilder::cache`](crate::RunBuilder::cache) needs none.
    #[must_use]
    pub fn cache(mut self) -> Self {
        let Some(last) = self.blocks().last_mut() else {
            return self.note("a cache breakpoint needs a block before it");
        };
        let is_set = Value::first(last.as_bytes())
            .is_some_and(|block| block.member("cache_control").is_some());
        if !is_set && last.ends_with('}') {
            last.pop();
            last.push_str(",\"cache_control\":{\"type\":\"ephemeral\"}}");
        }
        self
    }

    /// Returns a message with this content.
    ///
    /// # Errors
    /// Returns the mistake in the content, if there is one.
    pub fn by(self, role: Role) -> Result<OwnedMessage, Error> {
        OwnedMessage::from_json(&self.message_json(role)?)
            .map_err(|error| Error::Invalid(error.to_string()))
    }

    /// Returns the blocks. A text becomes a block.
    fn blocks(&mut self) -> &mut Vec<String> {
        if let Form::Text(text) = &self.form {
            let block = format!("{{\"type\":\"text\",\"text\":{}}}", quoted(text));
            self.form = Form::Blocks(vec![block]);
        }
        match &mut self.form {
            Form::Blocks(blocks) => blocks,
            // It has just become blocks.
            Form::Text(_) => unreachable!(),
        }
    }

    fn note(mut self, why: impl Into<String>) -> Self {
        self.invalid.get_or_insert_with(|| why.into());
        self
    }

    /// Returns the text, if the content is only that.
    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.form {
            Form::Text(text) if self.invalid.is_none() => Some(text),
            _ => None,
        }
    }

    /// Returns the content in wire format: a JSON string, or an array of blocks.
    pub(super) fn json(&self) -> Result<String, Error> {
        if let Some(why) = &self.invalid {
            return Err(Error::Invalid(why.clone()));
        }
        Ok(match &self.form {
            Form::Text(text) => quoted(text),
            Form::Blocks(blocks) => format!("[{}]", blocks.join(",")),
        })
    }

    pub(super) fn message_json(&self, role: Role) -> Result<String, Error> {
        Ok(format!("{{\"role\":\"{}\",\"content\":{}}}", role.name(), self.json()?))
    }
}

/// Returns the media type of a file, by its first bytes.
fn kind_of_bytes(data: &[u8]) -> Option<&'static str> {
    match data {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        [b'%', b'P', b'D', b'F', b'-', ..] => Some(PDF),
        _ => None,
    }
}

/// Returns the media type of a file in base64, by its first characters: those of the bytes above.
fn kind_of_base64(data: &str) -> Option<&'static str> {
    match data {
        _ if data.starts_with("iVBORw") => Some("image/png"),
        _ if data.starts_with("/9j/") => Some("image/jpeg"),
        _ if data.starts_with("R0lGOD") => Some("image/gif"),
        _ if data.starts_with("UklGR") && data.get(12..16) == Some("RUJQ") => Some("image/webp"),
        _ if data.starts_with("JVBERi0") => Some(PDF),
        _ => None,
    }
}

/// Checks the media type of an image or a document that contains its data.
fn check_block(json: &str) -> Result<(), String> {
    let text = |value: Value<'_>, name: &str| {
        value.member(name).and_then(Value::as_text).map(String::from).unwrap_or_default()
    };
    toolrunner_core::__private::check(json.as_bytes())
        .map_err(|error| format!("a block is not valid JSON {error}"))?;
    let block = Value::first(json.as_bytes()).unwrap_or_default();
    let kind = text(block, "type");
    let Some(source) = block.member("source").filter(|source| text(*source, "type") == "base64")
    else {
        return Ok(());
    };
    let declared = text(source, "media_type");
    let (known, name): (&[&str], _) = match kind.as_str() {
        "image" => (&IMAGES, "an image"),
        "document" => (&[PDF], "a document"),
        _ => return Ok(()),
    };
    if !known.contains(&declared.as_str()) {
        let known = known.join(", ");
        return Err(format!("the media type of {name} is {declared:?}: the API accepts {known}"));
    }
    let data = source.member("data").and_then(Value::as_text).unwrap_or_default();
    match kind_of_base64(data.raw()) {
        Some(is) if is != declared => {
            Err(format!("the media type of a block is {declared:?}, but its data is {is}"))
        }
        _ => Ok(()),
    }
}

macro_rules! from_text {
    ($($text:ty),*) => {$(
        impl From<$text> for Content {
            fn from(text: $text) -> Self {
                Self { form: Form::Text(String::from(text)), invalid: None }
            }
        }
    )*};
}

from_text!(&str, &String, String, Cow<'_, str>, Box<str>);

impl From<&&str> for Content {
    fn from(text: &&str) -> Self {
        Self::from(*text)
    }
}

impl From<ContentBlock<'_>> for Content {
    fn from(block: ContentBlock<'_>) -> Self {
        Self::new().block(block)
    }
}

impl<'b> FromIterator<ContentBlock<'b>> for Content {
    fn from_iter<I: IntoIterator<Item = ContentBlock<'b>>>(blocks: I) -> Self {
        blocks.into_iter().fold(Self::new(), Self::block)
    }
}

impl From<&[ContentBlock<'_>]> for Content {
    fn from(blocks: &[ContentBlock<'_>]) -> Self {
        blocks.iter().copied().collect()
    }
}

impl<const N: usize> From<[ContentBlock<'_>; N]> for Content {
    fn from(blocks: [ContentBlock<'_>; N]) -> Self {
        blocks.into_iter().collect()
    }
}

impl From<Vec<ContentBlock<'_>>> for Content {
    fn from(blocks: Vec<ContentBlock<'_>>) -> Self {
        blocks.into_iter().collect()
    }
}

/// One or more messages: JSON text, a typed message, a role with its content, or a list of these.
///
/// ```no_run
/// # fn f(client: toolrunner_std::Client) {
/// use toolrunner_std::{OwnedMessage, Role};
///
/// let run = client.run("claude-haiku-4-5").messages([
///     OwnedMessage::user("Name a colour."),
///     OwnedMessage::assistant("Blue."),
///     OwnedMessage::user("Another, as JSON."),
///     // The model continues this text: not every model accepts such a prefill.
///     OwnedMessage::assistant("{\"colour\":"),
/// ]);
/// let run = client.run("claude-haiku-4-5").messages((Role::User, "Name a colour."));
/// let messages = r#"[{"role":"user","content":"Name a colour."}]"#;
/// let run = client.run("claude-haiku-4-5").messages(messages);
/// # }
/// ```
pub trait ToMessages {
    /// Returns the messages as JSON objects that are separated by commas, with or without the
    /// brackets of an array.
    ///
    /// # Errors
    /// Returns the mistake in a content, if there is one.
    fn to_messages(&self) -> Result<Cow<'_, str>, Error>;
}

/// Removes the brackets of an array, which a list of messages may have.
pub(super) fn unbracketed(messages: &str) -> &str {
    let list = messages.trim_ascii();
    list.strip_prefix('[').and_then(|list| list.strip_suffix(']')).unwrap_or(messages)
}

impl<M: ToMessages + ?Sized> ToMessages for &M {
    fn to_messages(&self) -> Result<Cow<'_, str>, Error> {
        (**self).to_messages()
    }
}

impl ToMessages for str {
    fn to_messages(&self) -> Result<Cow<'_, str>, Error> {
        Ok(Cow::Borrowed(self))
    }
}

impl ToMessages for String {
    fn to_messages(&self) -> Result<Cow<'_, str>, Error> {
        Ok(Cow::Borrowed(self))
    }
}

impl ToMessages for OwnedMessage {
    fn to_messages(&self) -> Result<Cow<'_, str>, Error> {
        Ok(Cow::Borrowed(self.as_json()))
    }
}

/// The message to send back: the role and the content of the reply.
impl ToMessages for ReplyMessage {
    fn to_messages(&self) -> Result<Cow<'_, str>, Error> {
        Ok(Cow::Owned(self.to_message().as_json().to_owned()))
    }
}

impl<C: Clone + Into<Content>> ToMessages for (Role, C) {
    fn to_messages(&self) -> Result<Cow<'_, str>, Error> {
        let content: Content = self.1.clone().into();
        content.message_json(self.0).map(Cow::Owned)
    }
}

impl<M: ToMessages> ToMessages for [M] {
    fn to_messages(&self) -> Result<Cow<'_, str>, Error> {
        let list: Result<Vec<_>, _> = self.iter().map(ToMessages::to_messages).collect();
        Ok(Cow::Owned(list?.join(",")))
    }
}

impl<M: ToMessages> ToMessages for Vec<M> {
    fn to_messages(&self) -> Result<Cow<'_, str>, Error> {
        self.as_slice().to_messages()
    }
}

impl<M: ToMessages, const N: usize> ToMessages for [M; N] {
    fn to_messages(&self) -> Result<Cow<'_, str>, Error> {
        self.as_slice().to_messages()
    }
}
