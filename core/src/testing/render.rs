//! The wire format of a reply, whole or as a stream of server-sent events. The [`Style`] covers the
//! variations between servers.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Write;
use core::time::Duration;

use super::script::{Chunk, ReplyBlock, ScriptedReply};
use super::text::parse;
use crate::json::quoted;
use crate::json::{Kind, Value};
use crate::message::{BlockKind, Usage};
use crate::wire::{Field, Growth};

/// How replies are written. The style does not change their meaning.
#[derive(Clone, Debug)]
pub struct Style {
    /// The number of characters in a delta, at least 1.
    pub delta: usize,
    /// Whether to insert `ping` events.
    pub pings: bool,
    /// Whether to insert comment lines.
    pub comments: bool,
    /// Whether all blocks are open at once and grow in turn, as with some gateways.
    pub interleaved: bool,
    /// Whether lines end with CR LF.
    pub crlf: bool,
    /// Whether a frame has an `event:` line.
    pub event_lines: bool,
    /// Whether all characters outside ASCII are escaped.
    pub ascii: bool,
    /// The size of a piece of the body in bytes, regardless of frames. If `None`, each frame is a
    /// piece, and so is a whole reply.
    pub split: Option<usize>,
    /// The pause after each piece.
    pub pause: Duration,
}

impl Default for Style {
    /// Returns the API's style, with deltas of 12 characters.
    fn default() -> Self {
        Self {
            delta: 12,
            pings: false,
            comments: false,
            interleaved: false,
            crlf: false,
            event_lines: true,
            ascii: false,
            split: None,
            pause: Duration::ZERO,
        }
    }
}

/// Escapes all characters outside ASCII in a JSON text. They occur only in strings.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut units = [0; 2];
    for c in json.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

/// Returns the object `value` with the values of some members replaced in place.
fn with_members(value: Value<'_>, changes: &[(&str, &str)]) -> String {
    let members = value.members().map(|(name, member)| {
        let change = changes.iter().find(|(changed, _)| name == **changed);
        format!("\"{}\":{}", name.raw(), change.map_or_else(|| member.as_json(), |(_, json)| json))
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// Splits `text` into pieces of `size` characters.
fn cut(text: &str, size: usize) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    chars.chunks(size.max(1)).map(|piece| piece.iter().collect()).collect()
}

/// A block in a stream: its initial value and its deltas.
struct StreamedBlock {
    start: String,
    deltas: Vec<String>,
}

impl StreamedBlock {
    fn new(block: &ReplyBlock, size: usize) -> Self {
        let value = parse(&block.json);
        let kind = BlockKind::of(value.member("type"));
        let member = |name| value.member(name).unwrap_or(Value::NULL);
        if kind == BlockKind::Compaction {
            return Self::compaction(value);
        }
        let (mut deltas, mut emptied) = (Vec::new(), Vec::new());
        for field in kind.fields() {
            let (name, of_delta) = field.delta().unwrap_or_default();
            let delta = |json: &str| format!("{{\"type\":\"{name}\",\"{of_delta}\":{json}}}");
            let pieces =
                |text: &str| cut(text, size).iter().map(|piece| delta(&quoted(piece))).collect();
            let grown = member(field.member());
            let (empty, more): (_, Vec<String>) = match field.growth() {
                Growth::Array => {
                    let empty = if grown.kind() == Kind::Array { "[]" } else { "null" };
                    (empty, grown.elements().map(|each| delta(each.as_json())).collect())
                }
                Growth::Json => {
                    let own = if grown.as_json() == "{}" { "" } else { grown.as_json() };
                    let mut more: Vec<String> =
                        pieces(block.streamed_input.as_deref().unwrap_or(own));
                    // The API's first piece of an input is empty.
                    more.insert(0, delta("\"\""));
                    ("{}", more)
                }
                Growth::Text => ("\"\"", pieces(&grown.as_text().unwrap_or_default().to_string())),
                Growth::Whole => {
                    let text = grown.as_text().unwrap_or_default();
                    ("\"\"", vec![delta(&format!("\"{}\"", text.raw()))])
                }
            };
            emptied.push((field.member(), empty));
            deltas.extend(more);
        }
        let start = if emptied.is_empty() {
            value.as_json().to_string()
        } else {
            with_members(value, &emptied)
        };
        Self { start, deltas }
    }

    /// A compaction has one delta, with the encrypted value too.
    fn compaction(value: Value<'_>) -> Self {
        let fields = [Field::Compaction, Field::EncryptedContent].map(Field::member);
        let [content, encrypted] = fields.map(|name| value.member(name).unwrap_or(Value::NULL));
        if content.is_null() {
            return Self { start: value.as_json().to_string(), deltas: Vec::new() };
        }
        let (name, of_delta) = Field::Compaction.delta().unwrap_or_default();
        let delta = format!(
            "{{\"type\":\"{name}\",\"{of_delta}\":{},\"encrypted_content\":{}}}",
            content.as_json(),
            encrypted.as_json()
        );
        Self { start: with_members(value, &fields.map(|name| (name, "null"))), deltas: vec![delta] }
    }
}

/// The data that the server adds to a reply.
pub(super) struct Context<'a> {
    pub(super) id: String,
    pub(super) model: &'a str,
    pub(super) request_len: usize,
}

impl Context<'_> {
    fn usage(&self, reply: &ScriptedReply) -> Usage {
        let tokens = |bytes: usize| u64::try_from(bytes / 4 + 1).unwrap_or(u64::MAX);
        let output = reply.blocks.iter().map(|block| block.json.len()).sum();
        reply.usage.unwrap_or_else(|| Usage {
            input_tokens: tokens(self.request_len),
            output_tokens: tokens(output),
            ..Usage::default()
        })
    }

    /// Returns the message object.
    fn message(&self, reply: &ScriptedReply, content: &str, stop: &str, usage: Usage) -> String {
        let mut json = format!(
            "{{\"id\":{},\"type\":\"message\",\"role\":\"assistant\",\"model\":{},\"content\":[{content}],{stop},\"usage\":{}",
            quoted(&self.id),
            quoted(reply.model.as_deref().unwrap_or(self.model)),
            wire_usage(usage)
        );
        for (name, value) in &reply.fields {
            let _ = write!(json, ",{}:{value}", quoted(name));
        }
        json.push('}');
        json
    }
}

fn wire_usage(usage: Usage) -> String {
    let Usage { input_tokens, output_tokens, cache_creation_input_tokens, cache_read_input_tokens } =
        usage;
    format!(
        "{{\"input_tokens\":{input_tokens},\"cache_creation_input_tokens\":{cache_creation_input_tokens},\
         \"cache_read_input_tokens\":{cache_read_input_tokens},\"output_tokens\":{output_tokens}}}"
    )
}

/// Returns the fields that state how the turn ended.
fn stop_fields(reply: &ScriptedReply) -> String {
    let sequence = reply.stop_sequence.as_deref().map_or_else(|| "null".to_string(), quoted);
    let mut fields =
        format!("\"stop_reason\":{},\"stop_sequence\":{sequence}", quoted(reply.stop_reason()));
    if let Some(id) = &reply.container {
        let _ = write!(
            fields,
            ",\"container\":{{\"id\":{},\"expires_at\":\"2030-01-01T00:00:00Z\"}}",
            quoted(id)
        );
    }
    fields
}

/// Returns an error in the API's format.
pub(super) fn error_json(kind: &str, message: &str, request_id: &str) -> String {
    format!(
        "{{\"type\":\"error\",\"error\":{{\"type\":{},\"message\":{}}},\"request_id\":{}}}",
        quoted(kind),
        quoted(message),
        quoted(request_id)
    )
}

/// Returns the body of a whole reply.
pub(super) fn whole(reply: &ScriptedReply, style: &Style, context: &Context<'_>) -> Vec<Chunk> {
    let mut json = match &reply.error {
        Some((kind, message)) => error_json(kind, message, &context.id),
        None => {
            let content: Vec<_> = reply.blocks.iter().map(|block| block.json.as_str()).collect();
            context.message(reply, &content.join(","), &stop_fields(reply), context.usage(reply))
        }
    };
    if style.ascii {
        json = ascii(&json);
    }
    if reply.ends_early {
        json.pop();
    }
    split(vec![json.into_bytes()], style, reply)
}

/// Returns the body of a streamed reply.
pub(super) fn stream(reply: &ScriptedReply, style: &Style, context: &Context<'_>) -> Vec<Chunk> {
    let usage = context.usage(reply);
    let first = Usage { output_tokens: usage.output_tokens.min(1), ..usage };
    let mut frames = Frames { style, out: Vec::new() };
    let message = context.message(reply, "", "\"stop_reason\":null,\"stop_sequence\":null", first);
    frames.push("message_start", &format!(",\"message\":{message}"));
    if style.comments {
        frames.out.push(format!(": a comment{}", frames.line_end().repeat(2)).into_bytes());
    }
    let blocks: Vec<StreamedBlock> =
        reply.blocks.iter().map(|block| StreamedBlock::new(block, style.delta)).collect();
    for event in block_events(&blocks, style.interleaved) {
        frames.push(event.name, &event.rest);
        if style.pings && event.name != "content_block_delta" {
            frames.push("ping", "");
        }
    }
    if let Some((kind, message)) = &reply.error {
        frames.push(
            "error",
            &format!(",\"error\":{{\"type\":{},\"message\":{}}}", quoted(kind), quoted(message)),
        );
    } else if !reply.ends_early {
        frames.push(
            "message_delta",
            &format!(",\"delta\":{{{}}},\"usage\":{}", stop_fields(reply), wire_usage(usage)),
        );
        frames.push("message_stop", "");
    }
    split(frames.out, style, reply)
}

struct Event {
    name: &'static str,
    rest: String,
}

/// Returns the events of all blocks: one block after the other, or all open at once.
fn block_events(blocks: &[StreamedBlock], interleaved: bool) -> Vec<Event> {
    let start = |i, block: &StreamedBlock| Event {
        name: "content_block_start",
        rest: format!(",\"index\":{i},\"content_block\":{}", block.start),
    };
    let delta = |i, delta: &String| Event {
        name: "content_block_delta",
        rest: format!(",\"index\":{i},\"delta\":{delta}"),
    };
    let stop = |i| Event { name: "content_block_stop", rest: format!(",\"index\":{i}") };
    let mut events = Vec::new();
    if interleaved {
        events.extend(blocks.iter().enumerate().map(|(i, block)| start(i, block)));
        for round in 0..blocks.iter().map(|block| block.deltas.len()).max().unwrap_or(0) {
            events.extend(
                blocks
                    .iter()
                    .enumerate()
                    .filter_map(|(i, block)| Some(delta(i, block.deltas.get(round)?))),
            );
        }
        events.extend((0..blocks.len()).map(stop));
    } else {
        for (i, block) in blocks.iter().enumerate() {
            events.push(start(i, block));
            events.extend(block.deltas.iter().map(|each| delta(i, each)));
            events.push(stop(i));
        }
    }
    events
}

struct Frames<'a> {
    style: &'a Style,
    out: Vec<Vec<u8>>,
}

impl Frames<'_> {
    const fn line_end(&self) -> &'static str {
        if self.style.crlf { "\r\n" } else { "\n" }
    }

    /// Writes one frame. `rest` follows the type in the data.
    fn push(&mut self, event: &str, rest: &str) {
        let end = self.line_end();
        let mut data = format!("{{\"type\":\"{event}\"{rest}}}");
        if self.style.ascii {
            data = ascii(&data);
        }
        let name =
            if self.style.event_lines { format!("event: {event}{end}") } else { String::new() };
        self.out.push(format!("{name}data: {data}{end}{end}").into_bytes());
    }
}

/// Splits a body into pieces, with the pauses of the reply or of the style.
fn split(frames: Vec<Vec<u8>>, style: &Style, reply: &ScriptedReply) -> Vec<Chunk> {
    let pieces = match style.split {
        Some(size) => frames.concat().chunks(size.max(1)).map(<[u8]>::to_vec).collect(),
        None => frames,
    };
    let wait = |time: Duration| (!time.is_zero()).then_some(Chunk::Wait(time));
    let pause = wait(reply.pace.unwrap_or(style.pause));
    let pieces =
        pieces.into_iter().flat_map(|piece| [Some(Chunk::Data(piece)), pause.clone()]).flatten();
    wait(reply.after).into_iter().chain(pieces).collect()
}
