//! Counting cache breakpoints. A request may have four, at any position. Sources: the API's error
//! `A maximum of 4 blocks with cache_control may be provided`, and the API's reference on prompt
//! caching, which states that the request's own `cache_control` counts as one of the four.

use crate::json::{Kind, Text, Value, may_mention, plain_run};
use crate::message::Messages;

/// The maximum number of cache breakpoints in a request.
pub(crate) const MAX_BREAKPOINTS: usize = 4;

const NAME: &str = "cache_control";
/// The members of a body whose elements may have a breakpoint.
const LISTS: [&str; 2] = ["system", "tools"];

/// Returns the number of breakpoints in messages.
pub(crate) fn breakpoints(messages: &[u8]) -> usize {
    // Few conversations have any, and this is called for each request.
    if !may_mention(messages, b"_control") {
        return 0;
    }
    Messages::new(messages).map(|message| breakpoints_in(message.content())).sum()
}

/// Returns the number of breakpoints in a content: on its blocks, on the blocks inside results, and
/// on the definitions of tools that a system message adds.
pub(crate) fn breakpoints_in(content: Value<'_>) -> usize {
    let each = content.elements().map(|block| {
        let inner = block.member("content").filter(|content| content.kind() == Kind::Array);
        let added = block.member("tool").and_then(|tool| tool.member("definition"));
        is_marked(block)
            + inner.map_or(0, |inner| inner.elements().map(is_marked).sum())
            + added.map_or(0, is_marked)
    });
    each.sum()
}

/// Returns 1 if a block or a definition has a breakpoint, and 0 otherwise.
pub(crate) fn is_marked(value: Value<'_>) -> usize {
    usize::from(value.member(NAME).is_some_and(|mark| !mark.is_null()))
}

/// Returns the number of breakpoints that a member of a body adds to a request: one if it is the
/// request's own, and those on the elements of a list that may have them.
pub(crate) fn breakpoints_of_member(name: Text<'_>, value: Value<'_>) -> usize {
    if name == *NAME {
        usize::from(!value.is_null())
    } else if LISTS.iter().any(|list| name == **list) {
        value.elements().map(is_marked).sum()
    } else {
        0
    }
}

/// Returns the number of breakpoints in a body up to its messages: the request's own, and those on
/// tools and on blocks of the system prompt. The pieces of the body may be split at any byte. A
/// deeper `cache_control`, such as a schema's property of that name, does not count.
pub(crate) fn breakpoints_in_front(pieces: &[&[u8]]) -> usize {
    if let [whole] = pieces
        && !may_mention(whole, b"_control")
    {
        return 0;
    }
    let mut front = Front {
        count: 0,
        depth: 0,
        is_in_list: false,
        name: [0; NAME.len()],
        len: 0,
        awaits_value: false,
    };
    let (mut in_string, mut is_escaped) = (false, false);
    for piece in pieces {
        let mut at = 0;
        while let Some(&byte) = piece.get(at) {
            if is_escaped {
                is_escaped = false;
            } else if in_string {
                // Most bytes are inside strings.
                let end = plain_run(piece, at);
                front.add_to_name(piece.get(at..end).unwrap_or_default());
                in_string = piece.get(end) != Some(&b'"');
                is_escaped = piece.get(end) == Some(&b'\\');
                at = end;
            } else {
                in_string = byte == b'"';
                front.step(byte);
            }
            at += 1;
        }
    }
    front.count
}

/// The state of a scan over the structure of a body.
struct Front {
    count: usize,
    depth: usize,
    /// Whether the scan is in `tools` or `system`, whose elements may have a breakpoint.
    is_in_list: bool,
    /// The beginning of the last string, up to the length of the longest name that matters, and the
    /// length of that string.
    name: [u8; NAME.len()],
    len: usize,
    /// Whether the value of a `cache_control` comes next.
    awaits_value: bool,
}

impl Front {
    fn add_to_name(&mut self, part: &[u8]) {
        for (place, byte) in self.name.iter_mut().skip(self.len).zip(part) {
            *place = *byte;
        }
        self.len += part.len();
    }

    /// Processes a byte outside of strings, or the quote that begins a string.
    fn step(&mut self, byte: u8) {
        if self.awaits_value && !byte.is_ascii_whitespace() {
            self.awaits_value = false;
            // `null` is not a breakpoint.
            self.count += usize::from(byte != b'n');
        }
        match byte {
            b'"' => self.len = 0,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b':' => {
                let name = self.name.get(..self.len).unwrap_or_default();
                if self.depth == 1 {
                    self.is_in_list = LISTS.iter().any(|list| name == list.as_bytes());
                }
                // The member belongs to the body itself, or to an object in one of its lists.
                let counts = self.depth == 1 || (self.depth == 3 && self.is_in_list);
                self.awaits_value = counts && name == NAME.as_bytes();
            }
            _ => {}
        }
    }
}
