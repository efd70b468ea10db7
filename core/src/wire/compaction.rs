//! What a request that asks the server for a compaction says of the caller's parameters: nothing of
//! what shapes a reply.
//!
//! The parameters stay the text that they are; what is left out is passed over between two slices.

use super::Config;
use super::request::Pieces;
use crate::json::{Kind, Object, Text, Value};

/// Those that may go with a compaction, and the compaction itself.
pub(crate) fn push_for_compaction<'a>(config: &Config<'a>, pieces: &mut Pieces<'a>) {
    push_kept(
        pieces,
        config.params.as_bytes(),
        Object::inside(config.params.as_bytes()),
        Level::Params,
        true,
    );
    pieces.push(b",\"compaction\":");
    pieces.push(config.compaction.as_bytes());
}

/// Whose members are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Params,
    Fallback,
    OutputConfig,
}

/// What becomes of a member.
enum Fate {
    Stays,
    Goes,
    /// It stays without something in it: of this level.
    Thinned(Level),
}

fn fate(level: Level, name: Text<'_>, value: Value<'_>) -> Fate {
    let is = |names: &[&str]| names.iter().any(|known| name == **known);
    match level {
        Level::OutputConfig if is(&["format"]) => Fate::Goes,
        Level::Params
            if is(&["context_management", "stop_sequences", "output_format", "compaction"]) =>
        {
            Fate::Goes
        }
        Level::Params if is(&["tool_choice"]) => {
            let kind = value.member("type").and_then(Value::as_text).unwrap_or_default();
            if kind == *"any" || kind == *"tool" { Fate::Goes } else { Fate::Stays }
        }
        Level::Params if is(&["fallbacks"]) && value.kind() == Kind::Array => {
            Fate::Thinned(Level::Fallback)
        }
        Level::Params | Level::Fallback
            if is(&["output_config"]) && value.kind() == Kind::Object =>
        {
            Fate::Thinned(Level::OutputConfig)
        }
        _ => Fate::Stays,
    }
}

/// The members of `raw` that stay, with commas between; `comma`: one before the first too. What
/// stays side by side is one slice.
fn push_kept<'a>(
    pieces: &mut Pieces<'a>,
    raw: &'a [u8],
    mut members: Object<'a>,
    level: Level,
    mut comma: bool,
) {
    let offset = |part: &[u8]| part.as_ptr().addr().saturating_sub(raw.as_ptr().addr());
    let mut side_by_side: Option<(usize, usize)> = None;
    let mut flush = |pieces: &mut Pieces<'a>, span: Option<(usize, usize)>| {
        let Some((start, end)) = span else { return };
        if comma {
            pieces.push(b",");
        }
        comma = true;
        pieces.push(raw.get(start..end).unwrap_or_default());
    };
    while let Some((name, value)) = members.next_raw() {
        // With the quote before it.
        let start = offset(name).saturating_sub(1);
        let (at, end) = (offset(value.raw()), offset(value.raw()) + value.raw().len());
        match fate(level, Text::from_bytes(name), value) {
            Fate::Stays => {
                side_by_side = Some((side_by_side.map_or(start, |(start, _)| start), end))
            }
            Fate::Goes => flush(pieces, side_by_side.take()),
            Fate::Thinned(inner) => {
                flush(pieces, side_by_side.take());
                flush(pieces, Some((start, at)));
                push_thinned(pieces, value, inner);
            }
        }
    }
    flush(pieces, side_by_side);
}

/// An object without what does not go; of an array each of its objects.
fn push_thinned<'a>(pieces: &mut Pieces<'a>, value: Value<'a>, level: Level) {
    let object = |pieces: &mut Pieces<'a>, object: Value<'a>| {
        pieces.push(b"{");
        push_kept(pieces, object.raw(), Object::of(object.raw()), level, false);
        pieces.push(b"}");
    };
    if value.kind() != Kind::Array {
        return object(pieces, value);
    }
    for (i, each) in value.elements().enumerate() {
        pieces.push(if i == 0 { b"[" } else { b"," });
        if each.kind() == Kind::Object { object(pieces, each) } else { pieces.push(each.raw()) }
    }
    pieces.push(if value.elements().next().is_none() { b"[]" } else { b"]" });
}
