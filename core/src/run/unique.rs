//! Unique call ids, for conversations that are sent to a server which does not accept repeated ids.
//!
//! Some gateways number the calls of each turn from 0. They accept their own ids, so by default ids
//! are sent back unchanged. With [`Run::set_unique_ids`], a call whose id occurs in an earlier
//! message is renamed when its block begins, before anything else sees it. The new id is the old id
//! followed by a number: `call_0` becomes `call_0-2`.

#[cfg(feature = "alloc")]
use alloc::collections::BTreeMap;
#[cfg(feature = "alloc")]
use alloc::string::{String, ToString};
#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use super::Run;
use crate::error::Error;
#[cfg(feature = "alloc")]
use crate::error::{Capacity, CapacityKind};
use crate::history::is_type;
use crate::json::{Decimal, Text, Value, chars};
use crate::message::Messages;
#[cfg(feature = "alloc")]
use crate::message::Role;
#[cfg(feature = "alloc")]
use crate::transcript::Span;
use crate::turn::StreamEvent;

impl Run<'_> {
    /// Sets whether a call is renamed if an earlier message contains a call with the same id.
    /// Default: `false`, ids stay as the server created them.
    ///
    /// Servers that repeat ids accept them, so this is only for a conversation that is also sent
    /// elsewhere. A repeated id gets a number: `call_0` becomes `call_0-2`. The block in the
    /// conversation, the events, the tool's call and its result all have the new id. The same id
    /// twice in one reply remains a protocol error.
    ///
    /// The setting applies to future replies, and with `alloc` also to the existing conversation
    /// and to the messages of [`replace_history`](Self::replace_history): there the last call with
    /// an id keeps it, and earlier ones are renamed. Like limits, the setting is not part of a
    /// [`snapshot`](Self::snapshot). Each call of a reply costs one search through the
    /// conversation, and a renamed one at least two more.
    ///
    /// # Errors
    /// `Misuse` while a request is in progress; `Capacity` if the conversation does not fit with
    /// its new ids. In both cases nothing changes.
    pub fn set_unique_ids(&mut self, on: bool) -> Result<(), Error> {
        self.ensure_idle()?;
        #[cfg(feature = "alloc")]
        if on {
            self.rename_earlier()?;
        }
        if on {
            self.settings.extras.enable_unique_ids();
        } else {
            self.settings.extras.disable_unique_ids();
        }
        Ok(())
    }

    /// Makes the ids before the last turn unique. That turn does not change.
    #[cfg(feature = "alloc")]
    fn rename_earlier(&mut self) -> Result<(), Error> {
        self.cancel_compaction();
        let start = self.turn.start;
        let Some(new) = renamed(self.transcript.bytes(), start) else { return Ok(()) };
        if new.len() > self.transcript.capacity() {
            return Err(Capacity {
                what: CapacityKind::Transcript,
                needed: new.len(),
                free: self.transcript.capacity(),
            }
            .into());
        }
        let grown = new.len().saturating_sub(self.transcript.len());
        self.transcript.truncate(0);
        self.transcript.push_json(&new)?;
        let before = Span::new(0, self.turn.mark);
        self.moved(before, before.len() + grown);
        Ok(())
    }
}

/// Returns the ids of all calls in `messages`.
fn ids(messages: &[u8]) -> impl Iterator<Item = Text<'_>> {
    let calls = Messages::new(messages)
        .flat_map(|message| message.content().elements())
        .filter(|block| is_type(*block, "tool_use"));
    calls.filter_map(|call| call.member("id").and_then(Value::as_text))
}

/// Returns whether `id` consists of `start`, a hyphen and `number`.
fn is_numbered(id: Text<'_>, start: Text<'_>, number: &[u8]) -> bool {
    chars(id).eq(chars(start).chain(['-']).chain(number.iter().copied().map(char::from)))
}

/// Renames the call whose block has just begun, if it is one and its id is in use.
pub(super) fn rename_begun(
    run: &mut Run<'_>,
    mut stream_event: StreamEvent,
) -> Result<StreamEvent, Error> {
    let bytes = run.transcript.bytes();
    let earlier = bytes.get(..run.reply.mark).unwrap_or_default();
    let Some(call) =
        Value::whole(stream_event.span.of(bytes)).filter(|block| is_type(*block, "tool_use"))
    else {
        return Ok(stream_event);
    };
    let Some(value) = call.member("id") else { return Ok(stream_event) };
    let Some((id, start)) = value.as_text().zip(value.offset_in(bytes)) else {
        return Ok(stream_event);
    };
    let (mut is_used, mut like_it) = (false, 1_u64);
    for other in ids(earlier) {
        let mut rest = chars(other);
        if chars(id).all(|c| rest.next() == Some(c)) {
            let behind = rest.next();
            is_used |= behind.is_none();
            like_it += u64::from(matches!(behind, None | Some('-')));
        }
    }
    if !is_used || id.is_empty() {
        return Ok(stream_event);
    }
    // Usually the similar ids are its own repetitions, so the first number is free.
    let mut number = Decimal::new(like_it);
    while ids(earlier).any(|other| is_numbered(other, id, number.as_bytes())) {
        like_it += 1;
        number = Decimal::new(like_it);
    }
    let at = start + value.raw().len().saturating_sub(1);
    for part in [number.as_bytes(), b"-"] {
        run.reply.grow_begun(at, part, &mut run.transcript)?;
        stream_event.span.end += part.len();
    }
    Ok(stream_event)
}

/// Returns the messages with unique ids, or `None` if the ids are already unique. Only messages
/// that begin before `end` change.
#[cfg(feature = "alloc")]
pub(super) fn renamed(messages: &[u8], end: usize) -> Option<Vec<u8>> {
    /// The last message with an id, and the number for its next repetition.
    struct Use {
        last: usize,
        next: u64,
    }

    let calls = || {
        Messages::new(messages)
            .enumerate()
            .flat_map(|(at, message)| ids(message.raw()).map(move |id| (at, id.to_string())))
    };
    let mut uses: BTreeMap<String, Use> = BTreeMap::new();
    let mut is_unique = true;
    for (at, id) in calls() {
        is_unique &= uses.insert(id, Use { last: at, next: 2 }).is_none();
    }
    if is_unique {
        return None;
    }
    let (mut new, mut copied) = (Vec::with_capacity(messages.len()), 0);
    // The ids of the last assistant message that were changed.
    let mut changed: BTreeMap<String, String> = BTreeMap::new();
    for (at, message) in Messages::new(messages).enumerate() {
        if message.value().offset_in(messages)? >= end {
            break;
        }
        let is_reply = message.role() == Some(Role::Assistant);
        if is_reply {
            changed.clear();
        }
        let (kind, name) =
            if is_reply { ("tool_use", "id") } else { ("tool_result", "tool_use_id") };
        for block in message.content().elements().filter(|block| is_type(*block, kind)) {
            let Some(value) = block.member(name) else { continue };
            let Some((id, start)) = value.as_text().zip(value.offset_in(messages)) else {
                continue;
            };
            let id = id.to_string();
            if is_reply && !id.is_empty() && uses.get(&id).is_some_and(|used| used.last > at) {
                let number =
                    free_number(&id, uses.get(&id)?.next, |other| uses.contains_key(other));
                uses.get_mut(&id)?.next = number + 1;
                changed.insert(id.clone(), alloc::format!("-{number}"));
            }
            if let Some(number) = changed.get(&id) {
                let quote = start + value.raw().len().saturating_sub(1);
                new.extend_from_slice(messages.get(copied..quote)?);
                new.extend_from_slice(number.as_bytes());
                copied = quote;
            }
        }
    }
    new.extend_from_slice(messages.get(copied..)?);
    Some(new)
}

/// Returns the first number, starting at `number`, with which `id` is not in use.
#[cfg(feature = "alloc")]
fn free_number(id: &str, mut number: u64, is_used: impl Fn(&str) -> bool) -> u64 {
    while is_used(&alloc::format!("{id}-{number}")) {
        number += 1;
    }
    number
}
