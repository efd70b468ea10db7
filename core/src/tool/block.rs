//! Content blocks of a tool's result.

use crate::error::Capacity;
use crate::json::{Sink, escape};

/// A content block of a tool's result.
///
/// A block borrows its contents. [`Output::block`](super::Output::block) writes it.
#[derive(Clone, Copy, Debug)]
pub struct ContentBlock<'b> {
    kind: Kind<'b>,
    title: Option<&'b str>,
    context: Option<&'b str>,
    citations: Option<bool>,
    raw: Option<&'b str>,
}

#[derive(Clone, Copy, Debug)]
enum Kind<'b> {
    Text(&'b str),
    /// `image` or `document`.
    Media(&'static str, Source<'b>),
    SearchResult {
        source: &'b str,
        content: &'b [&'b str],
    },
    Raw(&'b str),
}

/// The source of an image or a document.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Source<'b> {
    /// Base64 text and its media type.
    Base64 {
        /// The media type, such as `image/png` or `application/pdf`.
        media_type: &'b str,
        /// The base64 text.
        data: &'b str,
    },
    /// Bytes and their media type. They are encoded as base64 when the block is written.
    Bytes {
        /// The media type, such as `image/png` or `application/pdf`.
        media_type: &'b str,
        /// The bytes, not encoded.
        data: &'b [u8],
    },
    /// A URL that the server fetches.
    Url(&'b str),
    /// The id of an uploaded file.
    File(&'b str),
    /// Plain text. Only documents can have this source.
    Text(&'b str),
}

impl<'b> ContentBlock<'b> {
    const fn of(kind: Kind<'b>) -> Self {
        Self { kind, title: None, context: None, citations: None, raw: None }
    }

    /// Creates a text block: `{"type":"text",…}`.
    pub const fn text(text: &'b str) -> Self {
        Self::of(Kind::Text(text))
    }

    /// Creates an image block: `{"type":"image",…}`.
    pub const fn image(source: Source<'b>) -> Self {
        Self::of(Kind::Media("image", source))
    }

    /// Creates an image block for an image that the server fetches from `url`.
    pub const fn image_url(url: &'b str) -> Self {
        Self::image(Source::Url(url))
    }

    /// Creates a document block: `{"type":"document",…}`.
    pub const fn document(source: Source<'b>) -> Self {
        Self::of(Kind::Media("document", source))
    }

    /// Creates a search result block: `{"type":"search_result",…}`.
    ///
    /// `source` is the place where the result was found, and `content` holds its texts. The API
    /// also requires a title: set it with [`title`](Self::title).
    pub const fn search_result(source: &'b str, content: &'b [&'b str]) -> Self {
        Self::of(Kind::SearchResult { source, content })
    }

    /// Creates a block from JSON text, which must be an object with a `type`.
    pub const fn raw(json: &'b str) -> Self {
        Self::of(Kind::Raw(json))
    }

    /// Sets the title of a document or a search result.
    #[must_use]
    pub const fn title(mut self, title: &'b str) -> Self {
        self.title = Some(title);
        self
    }

    /// Sets the context of a document: a description that the model does not cite.
    #[must_use]
    pub const fn context(mut self, context: &'b str) -> Self {
        self.context = Some(context);
        self
    }

    /// Sets whether the model cites a document or a search result.
    #[must_use]
    pub const fn citations(mut self, enabled: bool) -> Self {
        self.citations = Some(enabled);
        self
    }

    /// Adds JSON members to the block verbatim, such as `"cache_control":{"type":"ephemeral"}`.
    ///
    /// `members` has no surrounding braces. It is ignored for a [`raw`](Self::raw) block, which
    /// states its own members.
    #[must_use]
    pub const fn with(mut self, members: &'b str) -> Self {
        self.raw = Some(members);
        self
    }

    /// Returns whether the block contains JSON text that the caller supplied.
    pub(super) const fn has_raw(&self) -> bool {
        self.raw.is_some() || matches!(self.kind, Kind::Raw(_))
    }

    /// Writes the block as JSON. Raw parts are written verbatim.
    ///
    /// # Errors
    /// Returns the sink's error. Part of the block may have been written by then.
    pub fn write_to<S: Sink + ?Sized>(&self, sink: &mut S) -> Result<(), Capacity> {
        match self.kind {
            Kind::Text(text) => {
                sink.put(b"{\"type\":\"text\"")?;
                member(sink, "text", text)?;
            }
            Kind::Media(kind, source) => {
                sink.put(b"{\"type\":\"")?;
                sink.put(kind.as_bytes())?;
                sink.put(b"\",\"source\":")?;
                source.write_to(sink)?;
            }
            Kind::SearchResult { source, content } => {
                sink.put(b"{\"type\":\"search_result\"")?;
                member(sink, "source", source)?;
                sink.put(b",\"content\":[")?;
                for (i, text) in content.iter().enumerate() {
                    if i > 0 {
                        sink.put(b",")?;
                    }
                    sink.put(b"{\"type\":\"text\"")?;
                    member(sink, "text", text)?;
                    sink.put(b"}")?;
                }
                sink.put(b"]")?;
            }
            Kind::Raw(json) => return sink.put(json.as_bytes()),
        }
        if let Some(title) = self.title {
            member(sink, "title", title)?;
        }
        if let Some(context) = self.context {
            member(sink, "context", context)?;
        }
        if let Some(enabled) = self.citations {
            sink.put(if enabled {
                b",\"citations\":{\"enabled\":true}"
            } else {
                b",\"citations\":{\"enabled\":false}"
            })?;
        }
        if let Some(raw) = self.raw {
            sink.put(b",")?;
            sink.put(raw.as_bytes())?;
        }
        sink.put(b"}")
    }
}

impl Source<'_> {
    fn write_to<S: Sink + ?Sized>(&self, sink: &mut S) -> Result<(), Capacity> {
        match *self {
            Self::Base64 { media_type, data } => {
                sink.put(b"{\"type\":\"base64\"")?;
                member(sink, "media_type", media_type)?;
                member(sink, "data", data)?;
            }
            Self::Bytes { media_type, data } => {
                sink.put(b"{\"type\":\"base64\"")?;
                member(sink, "media_type", media_type)?;
                sink.put(b",\"data\":\"")?;
                base64(data, sink)?;
                sink.put(b"\"")?;
            }
            Self::Url(url) => {
                sink.put(b"{\"type\":\"url\"")?;
                member(sink, "url", url)?;
            }
            Self::File(id) => {
                sink.put(b"{\"type\":\"file\"")?;
                member(sink, "file_id", id)?;
            }
            Self::Text(data) => {
                sink.put(b"{\"type\":\"text\",\"media_type\":\"text/plain\"")?;
                member(sink, "data", data)?;
            }
        }
        sink.put(b"}")
    }
}

/// Writes `,"name":"text"`.
fn member<S: Sink + ?Sized>(sink: &mut S, name: &str, text: &str) -> Result<(), Capacity> {
    sink.put(b",\"")?;
    sink.put(name.as_bytes())?;
    sink.put(b"\":\"")?;
    escape(text).write_to(sink)?;
    sink.put(b"\"")
}

/// Encodes `data` as base64 with padding (RFC 4648).
fn base64<S: Sink + ?Sized>(data: &[u8], sink: &mut S) -> Result<(), Capacity> {
    const fn digit(six: u8) -> u8 {
        match six {
            0..26 => b'A' + six,
            26..52 => b'a' + (six - 26),
            52..62 => b'0' + (six - 52),
            62 => b'+',
            _ => b'/',
        }
    }
    for chunk in data.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|i| chunk.get(i).copied().unwrap_or(0));
        let mut four = [a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63].map(digit);
        for slot in four.iter_mut().skip(chunk.len().saturating_add(1)) {
            *slot = b'=';
        }
        sink.put(&four)?;
    }
    Ok(())
}
