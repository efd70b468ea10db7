//! Changes of messages that are already stored: the positions that the run has recorded move with
//! the bytes.

use super::Run;
use super::state::Place;
use crate::error::Capacity;
use crate::transcript::Span;

impl Run<'_> {
    /// Replaces `old`, a part of the conversation, with `new`.
    ///
    /// # Errors
    /// `Capacity` if `new` does not fit. In this case nothing changes.
    pub(super) fn splice(&mut self, old: Span, new: &[&[u8]]) -> Result<(), Capacity> {
        let len = new.iter().map(|part| part.len()).sum::<usize>();
        self.transcript.reserve(len.saturating_sub(old.len()))?;
        self.transcript.remove(old);
        for part in new.iter().rev() {
            self.transcript.insert(old.start, part)?;
        }
        self.moved(old, len);
        Ok(())
    }

    /// Removes a part of the conversation.
    pub(super) fn cut_out(&mut self, old: Span) {
        self.transcript.remove(old);
        self.moved(old, 0);
    }

    /// Moves every recorded position, after `len` bytes have replaced `old`. A position inside
    /// `old` becomes its start.
    pub(super) fn moved(&mut self, old: Span, len: usize) {
        let Self { turn, reply, .. } = self;
        let turn = [&mut turn.mark, &mut turn.start, &mut turn.end, &mut turn.results_end];
        for place in turn.into_iter().chain([&mut reply.mark]) {
            *place = if *place >= old.end {
                (*place + len).saturating_sub(old.len())
            } else {
                (*place).min(old.start)
            };
        }
        self.marks.changed_at(old.start);
        // Both are in the tail, where something may have been written.
        (self.exchange.said, self.exchange.failure) = (Place::NONE, Span::default());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests {
    use super::{Run, Span};
    use crate::run::state::Place;
    use crate::transcript::Transcript;

    /// Returns a run of 100 bytes with a turn at 30, and its positions after `change`.
    fn after(change: impl FnOnce(&mut Run<'_>)) -> [usize; 5] {
        let mut memory = [0; 120];
        let mut transcript = Transcript::new(&mut memory);
        transcript.push_json(&[b' '; 100]).unwrap();
        let mut run = Run::new(transcript);
        let turn = &mut run.turn;
        (turn.mark, turn.start, turn.end, turn.results_end) = (30, 31, 50, 80);
        run.reply.mark = 30;
        change(&mut run);
        let Run { turn, reply, .. } = run;
        [turn.mark, turn.start, turn.end, turn.results_end, reply.mark]
    }

    #[test]
    fn positions_move_with_their_bytes() {
        let cut = |start, end| after(|run| run.cut_out(Span::new(start, end)));
        assert_eq!(cut(0, 10), [20, 21, 40, 70, 20]);
        assert_eq!(cut(20, 30), [20, 21, 40, 70, 20]);
        assert_eq!(cut(0, 31), [0, 0, 19, 49, 0]);
        assert_eq!(cut(60, 70), [30, 31, 50, 70, 30]);
        assert_eq!(cut(80, 90), [30, 31, 50, 80, 30]);
        let splice =
            |start, end| after(|run| run.splice(Span::new(start, end), &[b"a", b"bcd"]).unwrap());
        assert_eq!(splice(10, 10), [34, 35, 54, 84, 34]);
        assert_eq!(splice(10, 12), [32, 33, 52, 82, 32]);
        assert_eq!(splice(60, 70), [30, 31, 50, 74, 30]);
        assert_eq!(splice(90, 90), [30, 31, 50, 80, 30]);
    }

    #[test]
    fn a_splice_writes_its_parts_in_order_or_nothing() {
        after(|run| {
            run.splice(Span::new(2, 4), &[b"[", b"1", b"]"]).unwrap();
            assert!(run.transcript.bytes().starts_with(b"  [1]  "));
            assert_eq!(run.transcript.len(), 101);
            run.splice(Span::new(0, 0), &[&[b'x'; 20]]).unwrap_err();
            assert!(run.transcript.bytes().starts_with(b"  [1]  "));
            assert_eq!((run.transcript.len(), run.turn.mark), (101, 31));
        });
    }

    #[test]
    fn a_cut_reply_is_gone_after_a_change() {
        after(|run| {
            run.exchange.said = Place::at(Span::new(100, 110));
            run.splice(Span::new(0, 1), &[b"x"]).unwrap();
            assert_eq!(run.exchange.said.span(), Span::default());
        });
    }
}
