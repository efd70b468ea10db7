//! The hole of a block, which is the position at which the block grows.

use super::{OpenBlock, Reply, unexpected};
use crate::error::{Capacity, Error, phrase};
use crate::json::Value;
use crate::transcript::{Span, Transcript};
use crate::wire::{Field, Growth};

impl Reply {
    /// Moves the hole of the block to where `field` grows. Inserts the member if it is missing.
    pub(super) fn open_hole(
        &mut self,
        block: &mut OpenBlock,
        field: Field,
        t: &mut Transcript<'_>,
    ) -> Result<(), Error> {
        let growth = field.growth();
        if block.field == Some(field) && growth != Growth::Whole {
            return Ok(());
        }
        let mismatch = unexpected(phrase!("a delta that matches its block"));
        if block.kind.is_call() != (field == Field::Input) {
            return Err(mismatch);
        }
        let empty: &[u8] = match growth {
            Growth::Array => b"[]",
            Growth::Json => b"",
            Growth::Text | Growth::Whole => b"\"\"",
        };
        // Any value begins like an empty JSON text, and is replaced by it.
        let opening = empty.get(..empty.len() / 2).unwrap_or_default();
        let replaces = matches!(growth, Growth::Json | Growth::Whole);
        let name = field.member();
        let value = Value::whole(block.span.of(t.whole())).and_then(|value| value.member(name));
        let found = value.and_then(|value| Some((value, Span::of_value(value, t.whole())?)));
        // The place of the value, and whether an empty value replaces what is there.
        let (replaced, span) = match found {
            None if block.kind.has(field) => {
                let mut at = block.span.end.saturating_sub(1);
                for part in [b",\"", name.as_bytes(), b"\":"] {
                    self.insert(block, at, part, t)?;
                    at += part.len();
                }
                (true, Span::new(at, at))
            }
            Some((value, span)) if value.is_null() => (true, span),
            Some((value, span)) if value.raw().starts_with(opening) => (replaces, span),
            _ => return Err(mismatch),
        };
        let hole = if replaced {
            self.remove(block, span, t);
            self.insert(block, span.start, empty, t)?;
            span.start + opening.len()
        } else {
            span.end.saturating_sub(1)
        };
        if field == Field::Input {
            block.input_start = hole;
        }
        block.field = Some(field);
        block.hole = hole;
        Ok(())
    }

    /// Moves `value` from the tail to a hole of the block, and returns its length.
    pub(super) fn bring_in(
        &mut self,
        block: &mut OpenBlock,
        hole: usize,
        value: Span,
        t: &mut Transcript<'_>,
    ) -> usize {
        let count = t.tail_of(value).insert_at(hole);
        self.block_grew(block, count);
        count
    }

    pub(super) fn insert(
        &mut self,
        block: &mut OpenBlock,
        at: usize,
        bytes: &[u8],
        t: &mut Transcript<'_>,
    ) -> Result<(), Capacity> {
        t.insert(at, bytes)?;
        self.block_grew(block, bytes.len());
        Ok(())
    }

    fn remove(&mut self, block: &mut OpenBlock, span: Span, t: &mut Transcript<'_>) {
        t.remove(span);
        let before = block.span.end;
        block.span.end -= span.len();
        self.later_moved(before, block.span.end);
    }

    fn block_grew(&mut self, block: &mut OpenBlock, count: usize) {
        let before = block.span.end;
        block.span.end += count;
        self.later_moved(before, block.span.end);
    }

    /// Moves the open blocks that began later, after the data at `before`, the end of a block, has
    /// moved to `after`.
    pub(super) fn later_moved(&mut self, before: usize, after: usize) {
        if !cfg!(feature = "gateways") || self.open.len() < 2 || before == after {
            return;
        }
        for block in self.open.iter_mut().filter(|block| block.span.start >= before) {
            for place in [
                &mut block.span.start,
                &mut block.span.end,
                &mut block.hole,
                &mut block.input_start,
            ] {
                *place = (*place + after).saturating_sub(before);
            }
        }
    }
}
