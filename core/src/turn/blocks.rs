//! The blocks of a streamed reply. Each block grows at its hole, at any position in the message.
//!
//! In `{"type":"text","text":"Hel│"}`, the hole is before the closing quote. When the block grows,
//! the bytes after the hole move: the end of the block, and the blocks that began later. If the
//! blocks arrive in order, this is only two bytes.

mod hole;

use super::input::{
    Half, begins_with_low, close_call, ends_with_high, ensure_named, escaped_unit, mend_surrogates,
    unescape_in_place,
};
use super::stream::Due;
use super::{Reply, StreamEvent, StreamEventKind, unexpected};
use crate::error::{Capacity, Error, phrase};
use crate::history::{has_text, is_blank};
use crate::json::{IS_CHIP, Sink, Text, Value};
use crate::message::BlockKind;
use crate::transcript::{Span, Transcript};
use crate::wire::{Field, Growth};

/// The number of bytes that stay free at the start of the tail, before a stored value. The start of
/// the message, of the block or of the member that will contain the value is written there.
pub(super) const ROOM: usize = 64;
/// A text block before its first delta.
const TEXT_BLOCK: &[u8] = b"{\"type\":\"text\",\"text\":\"\"}";
/// The length of an escaped code unit, `\uXXXX`, in bytes.
const UNIT: usize = 6;

/// Returns the start of the message, before its first block, for a message that begins at `at`.
pub(super) fn message_head(at: usize) -> &'static [u8] {
    const HEAD: &[u8] = b",{\"role\":\"assistant\",\"content\":[";
    // There is no comma before the first message.
    HEAD.get(usize::from(at == 0)..).unwrap_or_default()
}

#[derive(Clone, Copy, Debug)]
pub(super) struct OpenBlock {
    /// The block's index in the stream.
    index: u16,
    /// The block's position in the message.
    place: u16,
    pub(super) kind: BlockKind,
    /// The range of the block's JSON in the transcript.
    pub(super) span: Span,
    /// The field that grew last. It grows at `hole`.
    field: Option<Field>,
    hole: usize,
    /// The offset at which the input begins. Set only once the input grows.
    input_start: usize,
    /// The index of the call among the calls of the reply. It saturates at the maximum, which is
    /// beyond the number of calls that a turn may have.
    call: u8,
    /// The pending half of a surrogate pair in an input. It is not in the transcript yet.
    half: Half,
    /// The field that ends with half of a surrogate pair that no event has reported yet.
    untold: Option<Field>,
    lone_surrogate: bool,
    /// Whether the block need not be read again when it ends: a part of its text is known that is
    /// not blank, or its input is known to be an object.
    pub(super) is_settled: bool,
}

impl OpenBlock {
    /// Returns the block's position in the message.
    pub(super) fn place(&self) -> usize {
        usize::from(self.place)
    }

    pub(super) const fn start(&self) -> usize {
        self.span.start
    }

    /// Extends the block by `count` bytes, which were inserted before any field of the block grew.
    pub(super) const fn grow_by(&mut self, count: usize) {
        self.span.end += count;
    }

    /// Returns the number of calls that began before this block. For a call, this is its own index.
    #[cfg(feature = "alloc")]
    pub(super) fn calls_before(&self) -> usize {
        usize::from(self.call)
    }
}

impl Reply {
    /// Returns whether a block that starts is repeated: the same block has begun at this index, and
    /// nothing of it has arrived since.
    pub(super) fn has_just_begun(
        &self,
        index: Option<u16>,
        block: Span,
        t: &Transcript<'_>,
    ) -> bool {
        cfg!(feature = "gateways")
            && self.open.iter().any(|open| {
                Some(open.index) == index
                    && open.field.is_none()
                    && open.span.of(t.bytes()) == block.of(t.whole())
            })
    }

    /// Appends a block, which is in the tail, to the message.
    pub(super) fn start_block(
        &mut self,
        index: Option<u16>,
        block: Span,
        lone: bool,
        t: &mut Transcript<'_>,
    ) -> Result<StreamEvent, Error> {
        let start = t.len();
        let len = block.len();
        let kind = block.value(t.whole()).and_then(|block| block.member("type"));
        let kind = BlockKind::of(kind);
        let before = if self.has_blocks { b",".as_slice() } else { message_head(start) };
        let span = Span::new(start + before.len(), start + before.len() + len);
        // Reserve space for everything first, so that a failure leaves no part of a block behind.
        // The complete part of a reply may be kept.
        t.reserve(before.len() + len)?;
        let stream_event = self.open_block(index, kind, span, lone)?;
        t.tail_of(block).append_after(before)?;
        self.has_blocks = true;
        Ok(stream_event)
    }

    /// Begins a block of this kind at `span`.
    pub(super) fn open_block(
        &mut self,
        index: Option<u16>,
        kind: BlockKind,
        span: Span,
        lone: bool,
    ) -> Result<StreamEvent, Error> {
        let place = self.blocks;
        // An index may occur again, for example if a gateway joins several streams into one.
        let index = index.unwrap_or(place);
        if self.open.iter().any(|block| block.index == index) {
            return Err(unexpected(phrase!("a block index that no open block has")));
        }
        if kind.is_misplaced() {
            return Err(unexpected(phrase!("blocks that a model may send")));
        }
        self.blocks = place.checked_add(1).ok_or(unexpected(phrase!("at most 65535 blocks")))?;
        let block = OpenBlock {
            index,
            place,
            kind,
            span,
            field: None,
            hole: 0,
            input_start: 0,
            call: u8::try_from(self.calls).unwrap_or(u8::MAX),
            half: None,
            untold: None,
            lone_surrogate: lone,
            is_settled: false,
        };
        self.last = kind;
        self.calls += usize::from(kind == BlockKind::Call);
        self.open.push(block)?;
        Ok(StreamEvent { kind: StreamEventKind::BlockStart, index: usize::from(place), span })
    }

    /// Returns the position of the block with this index among the open blocks, or `None` if it is
    /// not open. Without an index, returns the position of the only open block.
    pub(super) fn find(&self, index: Option<u16>) -> Result<Option<usize>, Error> {
        match (index, self.open.len()) {
            (Some(index), _) => Ok(self.open.iter().position(|block| block.index == index)),
            (None, 0) => Ok(None),
            (None, 1) => Ok(Some(0)),
            (None, _) => Err(unexpected(phrase!("the index of one of the open blocks"))),
        }
    }

    /// Starts a text block for a text delta that the stream sent without starting a block. The text
    /// itself remains due.
    fn start_text(
        &mut self,
        index: Option<u16>,
        text: Span,
        lone: bool,
        t: &mut Transcript<'_>,
    ) -> Result<StreamEvent, Error> {
        let text = t.tail_of(text).shift(ROOM)?;
        let mut tail = t.tail();
        tail.put(TEXT_BLOCK)?;
        let block = tail.span();
        let stream_event = self.start_block(index, block, lone, t)?;
        self.due = Due::Text(text);
        Ok(stream_event)
    }

    /// Handles a delta on the fast path: the only open block continues the field that grew last, so
    /// that only the bytes are inserted. Returns `None` in all other cases, for which
    /// [`delta`](Self::delta) is needed.
    #[cfg_attr(target_pointer_width = "64", inline)]
    pub(super) fn next_delta(
        &mut self,
        index: usize,
        field: Field,
        text: &[u8],
        t: &mut Transcript<'_>,
    ) -> Result<Option<StreamEvent>, Capacity> {
        if let Some(block) = self.open.only()
            && usize::from(block.index) == index
            && block.field == Some(field)
            && field != Field::Input
        {
            let hole = block.hole;
            t.insert(hole, text)?;
            block.hole += text.len();
            block.span.end += text.len();
            return Ok(Some(StreamEvent {
                kind: StreamEventKind::of(field),
                index: block.place(),
                span: Span::new(hole, block.hole),
            }));
        }
        Ok(None)
    }

    /// Appends a value to a field of a block. Returns the event with the new range of the value.
    /// `value` is the content of a string, or a whole citation.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    pub(super) fn delta(
        &mut self,
        index: Option<u16>,
        field: Field,
        value: Span,
        lone: bool,
        t: &mut Transcript<'_>,
    ) -> Result<StreamEvent, Error> {
        let found = self.find(index)?;
        if let Some(position) = found
            && let Some(block) = self.open.get(position)
        {
            // A copy, which replaces the block in the list once the delta is in it.
            let mut block = *block;
            let stream_event = self.extend(&mut block, field, value, lone, t)?;
            self.open.set(position, block);
            Ok(stream_event)
        } else if cfg!(feature = "gateways") && field == Field::Text && self.open.is_empty() {
            self.start_text(index, value, lone, t)
        } else {
            Err(unexpected(phrase!("the index of an open block")))
        }
    }

    fn extend(
        &mut self,
        block: &mut OpenBlock,
        field: Field,
        mut value: Span,
        lone: bool,
        t: &mut Transcript<'_>,
    ) -> Result<StreamEvent, Error> {
        let place = block.place();
        // An empty first piece has no meaning: an input that arrived whole with the start of the
        // block stays.
        if field == Field::Input
            && value.len() == 0
            && block.kind.is_call()
            && block.field.is_none()
        {
            return Ok(StreamEvent {
                kind: StreamEventKind::Input,
                index: place,
                span: Span::default(),
            });
        }
        // The first piece usually decides, so that the whole text is not read again when the block
        // ends.
        let says_something = !IS_CHIP
            && field == Field::Text
            && !block.is_settled
            && !is_blank(Text::from_bytes(value.of(t.whole())));
        self.open_hole(block, field, t)?;
        let mut told = Span::new(block.hole, block.hole);
        block.lone_surrogate |= lone;
        block.is_settled |= says_something;
        if block.half.is_some() && value.len() > 0 && !begins_with_low(value.of(t.whole())) {
            self.flush_half(block, t)?;
        }
        // Making the hole overwrote the first bytes of the tail.
        if value.start < t.len() {
            return Err(unexpected(phrase!("an event whose value is not its first member")));
        }
        // The input is unescaped, because it is JSON itself.
        if field == Field::Input && value.of(t.whole()).contains(&b'\\') {
            let bytes = value.of_mut(t.whole_mut());
            value = value.with_len(unescape_in_place(bytes, &mut block.half));
        }
        let hole = block.hole;
        block.hole += self.bring_in(block, hole, value, t);
        if field.growth() == Growth::Array
            && !t.whole().get(..hole).unwrap_or_default().trim_ascii_end().ends_with(b"[")
        {
            self.insert(block, hole, b",", t)?;
            block.hole += 1;
            told.start += 1;
        }
        told.end = block.hole;
        if field.growth() == Growth::Text {
            // Half of a surrogate pair is held back until the other half arrives.
            if block.untold == Some(field) {
                told.start = told.start.saturating_sub(UNIT);
                block.untold = None;
            }
            if block.lone_surrogate && block.untold.is_none() && ends_with_high(told.of(t.whole()))
            {
                told.end = told.end.saturating_sub(UNIT);
                block.untold = Some(field);
                // Ensures that the next delta does not take the fast path.
                block.field = None;
            }
        }
        Ok(StreamEvent { kind: StreamEventKind::of(field), index: place, span: told })
    }

    /// At the end of a block, returns the event for an unpaired half of a surrogate pair, if there
    /// is one that no event has reported yet.
    pub(super) fn untold_half(
        &mut self,
        block: &mut OpenBlock,
        t: &mut Transcript<'_>,
    ) -> Result<Option<StreamEvent>, Error> {
        let (kind, span) = if block.half.is_some() {
            let before = block.hole;
            self.flush_half(block, t)?;
            (StreamEventKind::Input, Span::new(before, block.hole))
        } else if let Some(field) = block.untold.take() {
            self.open_hole(block, field, t)?;
            (StreamEventKind::of(field), Span::new(block.hole.saturating_sub(UNIT), block.hole))
        } else {
            return Ok(None);
        };
        Ok(Some(StreamEvent { kind, index: block.place(), span }))
    }

    /// Writes a pending first half of a surrogate pair at the hole.
    fn flush_half(
        &mut self,
        block: &mut OpenBlock,
        t: &mut Transcript<'_>,
    ) -> Result<(), Capacity> {
        if let Some(half) = block.half.take() {
            self.insert(block, block.hole, &escaped_unit(u32::from(half.get())), t)?;
            block.hole += UNIT;
        }
        Ok(())
    }

    /// Ends a block: checks its input and replaces its unpaired surrogates. The caller must already
    /// have reported a [half](Self::untold_half) that was held back.
    pub(super) fn stop_block(
        &mut self,
        position: usize,
        block: &OpenBlock,
        t: &mut Transcript<'_>,
    ) -> Result<StreamEvent, Error> {
        let mut span = block.span;
        if block.kind.is_call() && !block.is_settled {
            let grown = (block.field == Some(Field::Input))
                .then_some(Span::new(block.input_start, block.hole));
            let (end, bad) = close_call(t, span, grown)?;
            let (before, after) = (span.end, end);
            span.end = end;
            self.later_moved(before, after);
            if block.kind == BlockKind::Call
                && let Some(bad) = bad
            {
                self.bad.note(usize::from(block.call), bad);
            }
        }
        if block.kind == BlockKind::ServerCall {
            ensure_named(span, t)?;
        }
        if block.lone_surrogate {
            mend_surrogates(span.of_mut(t.whole_mut()));
        }
        if !IS_CHIP && block.kind == BlockKind::Text && !block.is_settled {
            self.has_blank_text |= !Value::whole(span.of(t.bytes())).is_some_and(has_text);
        }
        self.open.remove(position);
        Ok(StreamEvent { kind: StreamEventKind::BlockStop, index: block.place(), span })
    }
}
