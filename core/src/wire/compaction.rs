//! The rules for the caller's parameters in a request that asks the server for a compaction: such a
//! request must not contain parameters that shape a reply.
//!
//! The parameters are not copied. The writer skips the parts that it leaves out by splitting the
//! text into slices.

use super::request::write_container;
use super::thread::KEPT_BY_THREAD;
use crate::json::{Kind, Object, Text, Value};

/// A function that receives the slices of a body, in order.
type Push<'p, 'a> = dyn FnMut(&'a [u8]) + 'p;

/// A function that writes the members that a request carries, and returns whether there are any. If
/// the third argument is true, it writes a comma before the first member, too.
pub(super) type WriteMembers =
    for<'a> fn(&'a str, Option<&'a str>, bool, &mut (dyn FnMut(&'a [u8]) + '_)) -> bool;

/// Writes the caller's members in a request for a compaction. This is a function pointer, so that
/// this file is linked only into programs that request a compaction.
#[derive(Clone, Copy, Debug)]
pub struct ServerCompaction {
    pub(super) write: WriteMembers,
}

impl ServerCompaction {
    /// The rules of this module.
    pub(crate) const RULES: Self = Self {
        write: |members, container, comma, push| {
            let members = members.as_bytes();
            let level = Level::Params { container };
            write_kept(push, members, Object::inside(members), level, comma)
        },
    };
}

/// The object whose members are examined.
#[derive(Clone, Copy)]
pub(super) enum Level<'a> {
    /// The parameters of a request that continues a thread.
    Continuation {
        /// The container that a reply named.
        container: Option<&'a str>,
    },
    Params {
        /// The container that a reply named.
        container: Option<&'a str>,
    },
    Fallback,
    OutputConfig,
}

/// The treatment of a member.
enum Fate<'a> {
    Stays,
    Goes,
    /// The member stays, but without the parts that the rules of this level remove.
    Thinned(Level<'a>),
    /// The member stays and gets this container.
    Container(&'a str),
}

fn fate<'a>(level: Level<'a>, name: Text<'_>, value: Value<'_>) -> Fate<'a> {
    let is = |names: &[&str]| names.iter().any(|known| name == **known);
    match level {
        Level::Continuation { .. } if is(&KEPT_BY_THREAD) => Fate::Goes,
        Level::OutputConfig if is(&["format"]) => Fate::Goes,
        Level::Params { .. }
            if is(&["context_management", "stop_sequences", "output_format", "compaction"]) =>
        {
            Fate::Goes
        }
        Level::Params { .. } if is(&["tool_choice"]) => {
            let kind = value.member("type").and_then(Value::as_text).unwrap_or_default();
            if kind == *"any" || kind == *"tool" { Fate::Goes } else { Fate::Stays }
        }
        Level::Params { .. } if is(&["fallbacks"]) && value.kind() == Kind::Array => {
            Fate::Thinned(Level::Fallback)
        }
        Level::Params { .. } | Level::Fallback
            if is(&["output_config"]) && value.kind() == Kind::Object =>
        {
            Fate::Thinned(Level::OutputConfig)
        }
        Level::Params { container: Some(id) } | Level::Continuation { container: Some(id) }
            if is(&["container"]) =>
        {
            Fate::Container(id)
        }
        _ => Fate::Stays,
    }
}

/// Writes the members of `raw` that stay, separated by commas. If `comma`, writes a comma before
/// the first member, too. Adjacent members become one slice. Returns whether anything was written.
pub(super) fn write_kept<'a>(
    push: &mut Push<'_, 'a>,
    raw: &'a [u8],
    mut members: Object<'a>,
    level: Level<'a>,
    mut comma: bool,
) -> bool {
    let offset = |part: &[u8]| part.as_ptr().addr().saturating_sub(raw.as_ptr().addr());
    let mut side_by_side: Option<(usize, usize)> = None;
    let mut any = false;
    let mut flush = |push: &mut Push<'_, 'a>, span: Option<(usize, usize)>| {
        let Some((start, end)) = span else { return };
        if comma {
            push(b",");
        }
        (comma, any) = (true, true);
        push(raw.get(start..end).unwrap_or_default());
    };
    while let Some((name, value)) = members.next_raw() {
        // Includes the opening quote of the name.
        let start = offset(name).saturating_sub(1);
        let (at, end) = (offset(value.raw()), offset(value.raw()) + value.raw().len());
        let fate = fate(level, Text::from_bytes(name), value);
        if let Fate::Stays = fate {
            side_by_side = Some((side_by_side.map_or(start, |(start, _)| start), end));
            continue;
        }
        flush(push, side_by_side.take());
        if let Fate::Thinned(_) | Fate::Container(_) = fate {
            flush(push, Some((start, at)));
        }
        match fate {
            Fate::Thinned(inner) => write_thinned(push, value, inner),
            Fate::Container(id) => write_container(value, id, push),
            Fate::Stays | Fate::Goes => {}
        }
    }
    flush(push, side_by_side);
    any
}

/// Writes an object without the members that the rules remove. For an array, does this for each
/// object in it.
fn write_thinned<'a>(push: &mut Push<'_, 'a>, value: Value<'a>, level: Level<'a>) {
    let object = |push: &mut Push<'_, 'a>, object: Value<'a>| {
        push(b"{");
        write_kept(push, object.raw(), Object::of(object.raw()), level, false);
        push(b"}");
    };
    if value.kind() != Kind::Array {
        return object(push, value);
    }
    for (i, each) in value.elements().enumerate() {
        push(if i == 0 { b"[" } else { b"," });
        if each.kind() == Kind::Object { object(push, each) } else { push(each.raw()) }
    }
    push(if value.elements().next().is_none() { b"[]" } else { b"]" });
}
