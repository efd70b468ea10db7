//! The conversation as it is stored: the JSON text of the next request's `messages`, without the
//! outer brackets.
//!
//! ```text
//!  0                                   len                      capacity
//!  ├── {"role":"user",…},{"role":… ─────┼── the tail: free ────────┤
//! ```
//! Stored messages are never written again: a turn costs only what it adds. The bytes after `len`
//! are *the tail*. A frame that arrives in pieces is assembled there, and a tool writes its result
//! there before it becomes part of the conversation. `tail::Tail` guards such a part.

#[cfg(feature = "alloc")]
mod grow;
mod rewrite;
mod rotate;
mod tail;

#[cfg(feature = "alloc")]
use alloc::{sync::Arc, vec::Vec};

use crate::error::{Capacity, CapacityKind};
use crate::json::{IS_CHIP, Sink, Value, copy, copy_down, escape};

pub(crate) use rewrite::Rewrite;
use rotate::rotate;
pub(crate) use tail::Tail;

/// The number of bytes after an insertion point that [`Transcript::insert_tail`] saves on the
/// stack: enough for the brackets that close a block or a message.
const KEPT: usize = 16;

const TEXT_HEAD: &[u8] = b"{\"role\":\"";
const TEXT_MIDDLE: &[u8] = b"\",\"content\":\"";

#[derive(Debug)]
enum Buffer<'b> {
    Slice(&'b mut [u8]),
    /// Initialised to its full length, so that it shares the code for slices.
    #[cfg(feature = "alloc")]
    Growing {
        bytes: Vec<u8>,
        limit: usize,
    },
    /// Shared with a transport that must own what it sends.
    #[cfg(feature = "alloc")]
    Shared {
        bytes: Arc<Vec<u8>>,
        limit: usize,
    },
}

/// The bytes of the conversation, in a slice of the caller or, with `alloc`, in a buffer that grows
/// up to a limit.
///
/// Nothing is ever truncated: content that does not fit is not written, and the error reports how
/// many bytes were needed and how many were free.
#[derive(Debug)]
pub struct Transcript<'b> {
    buffer: Buffer<'b>,
    len: usize,
    /// The number of bytes from the front that have been neither removed nor overwritten since the
    /// last call of [`take_edited`](Self::take_edited).
    edited: usize,
    /// The number of bytes from the front that have not changed since the last call of
    /// [`mark_untouched`](Self::mark_untouched), except by insertions.
    untouched: usize,
}

/// A range of bytes in the transcript or its tail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    /// Returns the range of a value in `whole`, or `None` if it is not a part of `whole`.
    pub(crate) fn of_value(value: Value<'_>, whole: &[u8]) -> Option<Self> {
        let start = value.offset_in(whole)?;
        Some(Self::new(start, start + value.raw().len()))
    }

    /// Returns the value at this range of `whole`, or `None` if the range is empty.
    pub(crate) fn value(self, whole: &[u8]) -> Option<Value<'_>> {
        let raw = self.of(whole);
        (!raw.is_empty()).then_some(Value::from_raw(raw))
    }

    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    pub(crate) const fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    pub(crate) const fn with_len(self, len: usize) -> Self {
        Self { start: self.start, end: self.start + len }
    }

    pub(crate) const fn shifted(self, by: usize) -> Self {
        Self { start: self.start + by, end: self.end + by }
    }

    // Not inlined on a chip, because there are dozens of callers.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start..self.end).unwrap_or_default()
    }

    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn of_mut(self, bytes: &mut [u8]) -> &mut [u8] {
        bytes.get_mut(self.start..self.end).unwrap_or_default()
    }
}

impl<'b> Transcript<'b> {
    /// Creates an empty transcript in `memory`, whose length is the capacity. On a chip the memory
    /// is usually a static.
    pub const fn new(memory: &'b mut [u8]) -> Self {
        Self { buffer: Buffer::Slice(memory), len: 0, edited: 0, untouched: 0 }
    }

    /// Returns the bytes of the conversation.
    pub fn bytes(&self) -> &[u8] {
        self.whole().get(..self.len).unwrap_or_default()
    }

    /// Returns the number of bytes in use.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the conversation is empty.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the most bytes that the transcript can hold.
    pub const fn capacity(&self) -> usize {
        match &self.buffer {
            Buffer::Slice(bytes) => bytes.len(),
            #[cfg(feature = "alloc")]
            Buffer::Growing { limit, .. } | Buffer::Shared { limit, .. } => *limit,
        }
    }

    /// Returns whether the memory grows on demand.
    pub(crate) const fn grows(&self) -> bool {
        !matches!(self.buffer, Buffer::Slice(_))
    }

    /// Returns the number of free bytes.
    pub const fn free(&self) -> usize {
        self.capacity().saturating_sub(self.len)
    }

    /// Returns the conversation and the tail, as far as memory is allocated for it.
    #[inline]
    pub(crate) fn whole(&self) -> &[u8] {
        match &self.buffer {
            Buffer::Slice(bytes) => bytes,
            #[cfg(feature = "alloc")]
            Buffer::Growing { bytes, .. } => bytes,
            #[cfg(feature = "alloc")]
            Buffer::Shared { bytes, .. } => bytes,
        }
    }

    #[inline]
    pub(crate) fn whole_mut(&mut self) -> &mut [u8] {
        #[cfg(feature = "alloc")]
        self.take_back();
        match &mut self.buffer {
            Buffer::Slice(bytes) => bytes,
            #[cfg(feature = "alloc")]
            Buffer::Growing { bytes, .. } => bytes,
            // Unreachable: `take_back` has just made it `Growing`.
            #[cfg(feature = "alloc")]
            Buffer::Shared { .. } => &mut [],
        }
    }

    /// Returns the error for `needed` more bytes that do not fit.
    pub(crate) const fn full(&self, needed: usize) -> Capacity {
        Capacity { what: CapacityKind::Transcript, needed, free: self.free() }
    }

    /// Ensures that the tail has at least `room` bytes.
    #[inline]
    pub(crate) fn reserve(&mut self, room: usize) -> Result<(), Capacity> {
        if room > self.free() {
            return Err(self.full(room));
        }
        #[cfg(feature = "alloc")]
        {
            self.take_back();
            if let Buffer::Growing { bytes, .. } = &self.buffer
                && self.len + room > bytes.len()
            {
                self.grow(self.len + room);
            }
        }
        Ok(())
    }

    pub(crate) fn append(&mut self, new: &[u8]) -> Result<(), Capacity> {
        self.put_at(self.len, new)?;
        self.len += new.len();
        Ok(())
    }

    /// Writes `new` into the tail at `at`, without making it part of the conversation.
    fn put_at(&mut self, at: usize, new: &[u8]) -> Result<(), Capacity> {
        let room = at.saturating_sub(self.len) + new.len();
        self.reserve(room)?;
        let full = self.full(room);
        let place = self
            .whole_mut()
            .get_mut(at..)
            .and_then(|rest| rest.get_mut(..new.len()))
            .ok_or(full)?;
        copy(place, new);
        Ok(())
    }

    /// Inserts `new` at `at` and moves the bytes after it towards the end.
    #[inline]
    pub(crate) fn insert(&mut self, at: usize, new: &[u8]) -> Result<(), Capacity> {
        let (len, count) = (self.len, new.len());
        // Allocated memory never exceeds the limit.
        if self.whole().len() < len + count {
            self.reserve(count)?;
        }
        let Some(moved) = self.whole_mut().get_mut(at..len + count) else { return Ok(()) };
        // Usually two bytes follow the insertion point: those that close a text and its block.
        if !IS_CHIP
            && moved.len() == count + 2
            && let Some(closing) = moved.first_chunk::<2>().copied()
            && let Some((place, end)) = moved.split_last_chunk_mut::<2>()
            && place.len() == count
        {
            copy(place, new);
            *end = closing;
        } else {
            copy_up(moved, count);
            if let Some(place) = moved.get_mut(..count)
                && place.len() == new.len()
            {
                copy(place, new);
            }
        }
        self.len += count;
        Ok(())
    }

    /// Inserts a gap of `count` bytes at `at`. The caller must write the content of the gap.
    pub(crate) fn open_gap(&mut self, at: usize, count: usize) -> Result<(), Capacity> {
        self.reserve(count)?;
        let len = self.len;
        copy_up(self.whole_mut().get_mut(at..len + count).unwrap_or_default(), count);
        self.len += count;
        Ok(())
    }

    /// Moves `span` of the tail to `at` and makes it part of the conversation. The bytes after `at`
    /// move towards the end. The rest of the tail is lost.
    fn insert_tail(&mut self, at: usize, span: Span) {
        let (len, count) = (self.len, span.len());
        if at == len {
            self.move_within(span, at);
            self.len += count;
            return;
        }
        // Usually only a few bytes follow: those that close a block or a message.
        if !IS_CHIP
            && let Some(behind) = len.checked_sub(at)
            && behind <= KEPT
        {
            let mut kept = [0; KEPT];
            for (to, from) in kept.iter_mut().zip(self.whole().get(at..len).unwrap_or_default()) {
                *to = *from;
            }
            self.move_within(span, at);
            if let Some(place) =
                self.whole_mut().get_mut(at + count..).and_then(|rest| rest.get_mut(..behind))
            {
                for (to, from) in place.iter_mut().zip(kept) {
                    *to = from;
                }
            }
            self.len += count;
            return;
        }
        // First move the range to the end of the conversation, then swap the two neighbours.
        self.move_within(span, len);
        if let Some(both) = self.whole_mut().get_mut(at..len + count) {
            rotate(both, count);
        }
        self.len += count;
    }

    /// Moves a range of the tail towards the end by `by` bytes, so that `by` bytes can be inserted
    /// before it.
    fn shift_tail(&mut self, from: Span, by: usize) -> Result<(), Capacity> {
        self.reserve(from.end.saturating_sub(self.len) + by)?;
        copy_up(self.whole_mut().get_mut(from.start..from.end + by).unwrap_or_default(), by);
        Ok(())
    }

    /// Moves a range of the former tail to the start of the current tail, after the conversation
    /// was truncated. Returns its new range, which is empty if nothing was kept.
    fn keep_in_tail(&mut self, span: Span) -> Span {
        let to = self.len;
        if span.start < to || span.len() == 0 {
            return Span::default();
        }
        self.move_within(span, to);
        Span::default().with_len(span.len()).shifted(to)
    }

    /// Copies a part of the conversation to the start of the tail. Returns where the copy is.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn copy_to_tail(&mut self, span: Span) -> Result<Span, Capacity> {
        self.reserve(span.len())?;
        let mut tail = self.tail();
        tail.copy(span);
        Ok(tail.span())
    }

    /// Appends a copy of a part of the conversation.
    pub(crate) fn append_within(&mut self, span: Span) -> Result<(), Capacity> {
        self.len = self.copy_to_tail(span)?.end;
        Ok(())
    }

    /// Moves bytes towards the front. Does nothing if `to` is not before them.
    fn move_within(&mut self, from: Span, to: usize) {
        if from.start <= to {
            return;
        }
        if let Some(both) = self.whole_mut().get_mut(to..from.end) {
            copy_down(both, from.start - to);
        }
    }

    /// Removes `span` and moves the bytes after it towards the front.
    pub(crate) fn remove(&mut self, span: Span) {
        let len = self.len;
        if span.end > len || span.start >= span.end {
            return;
        }
        self.move_within(Span::new(span.end, len), span.start);
        self.len = len - span.len();
        self.touch(span.start);
    }

    /// Returns how many bytes from the front are unchanged since the previous call, and starts
    /// counting again. Insertions do not count, because they happen only at the end, or after the
    /// last turn for its results.
    pub(crate) fn take_edited(&mut self) -> usize {
        core::mem::replace(&mut self.edited, usize::MAX)
    }

    /// Truncates the conversation to its first `len` bytes.
    pub(crate) const fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.len = len;
            self.touch(len);
        }
    }

    /// Records that the bytes from `at` on have changed.
    const fn touch(&mut self, at: usize) {
        if at < self.edited {
            self.edited = at;
        }
        if at < self.untouched {
            self.untouched = at;
        }
    }

    /// Records that the bytes in use are the ones to compare with.
    pub(crate) const fn mark_untouched(&mut self) {
        self.untouched = self.len;
    }

    /// Returns how many bytes from the front have not changed since
    /// [`mark_untouched`](Self::mark_untouched).
    pub(crate) const fn untouched(&self) -> usize {
        self.untouched
    }

    /// Returns the number of bytes that a message with this text adds.
    pub(crate) fn text_len(&self, role: &str, text: &str) -> usize {
        usize::from(self.len > 0)
            + TEXT_HEAD.len()
            + role.len()
            + TEXT_MIDDLE.len()
            + escape(text).len()
            + 2
    }

    /// Appends a message whose content is one text.
    ///
    /// # Errors
    /// `Capacity` if the message does not fit. In this case nothing is written.
    pub fn push_text(&mut self, role: &str, text: &str) -> Result<(), Capacity> {
        self.reserve(self.text_len(role, text))?;
        let comma: &[u8] = if self.len > 0 { b"," } else { b"" };
        let mut tail = self.tail();
        tail.add(comma);
        tail.add(TEXT_HEAD);
        tail.add(role.as_bytes());
        tail.add(TEXT_MIDDLE);
        escape(text).write_to(&mut tail)?;
        tail.add(b"\"}");
        self.len = tail.span().end;
        Ok(())
    }

    /// Appends messages that are already JSON, without their outer brackets.
    pub(crate) fn push_json(&mut self, messages: &[u8]) -> Result<(), Capacity> {
        let comma = usize::from(self.len > 0);
        self.reserve(comma + messages.len())?;
        let mut tail = self.tail();
        tail.add(if comma > 0 { b"," } else { b"" });
        tail.add(messages);
        self.len = tail.span().end;
        Ok(())
    }
}

/// Moves all but the last `by` bytes towards the end by `by`. All such copies happen here, so that
/// the bounds are visible beside the copy.
#[inline(never)]
fn copy_up(bytes: &mut [u8], by: usize) {
    if let Some(kept) = bytes.len().checked_sub(by) {
        #[expect(clippy::disallowed_methods, reason = "kept and by are the length together")]
        bytes.copy_within(..kept, by);
    }
}

impl Sink for Transcript<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Capacity> {
        self.append(bytes)
    }
}
