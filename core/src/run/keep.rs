//! Which parts of a reply stay in the conversation. The rules are those of
//! [`history`](crate::history).

use super::Run;
use super::calls::blocks_in;
use super::state::Place;
use crate::history::{Ending, KeptBlocks, is_left_out, kept};
use crate::json::{Value, skip_space};
use crate::message::Message;
use crate::transcript::{Rewrite, Span};

impl Run<'_> {
    /// Removes the blocks that the API would refuse from the message that begins at `start`, which
    /// must be the end of the conversation. If no block is left, truncates the conversation to
    /// `mark`. Returns whether a block is left.
    pub(super) fn keep_message(&mut self, mark: usize, start: usize, ending: Ending) -> bool {
        let message = Span::new(start, self.transcript.len());
        let blocks = blocks_in(message.of(self.transcript.bytes()));
        let KeptBlocks { count: stays, is_all } = kept(blocks, ending);
        if is_all {
            return true;
        }
        // The complete reply stays readable in the tail, if it fits.
        let said = match ending {
            Ending::Broken { .. } => Span::default(),
            _ => self.transcript.copy_to_tail(message).unwrap_or_default(),
        };
        if stays == 0 {
            self.transcript.truncate(mark);
        } else {
            self.close_gaps(message, stays);
        }
        self.exchange.said = Place::at(self.transcript.tail_of(said).keep());
        stays > 0
    }

    /// Moves the first `count` blocks together, without those that are left out, and ends the
    /// message after them.
    fn close_gaps(&mut self, message: Span, count: usize) {
        let mut read = self.content_start(message);
        let first = read;
        let mut rewrite = Rewrite::new(first);
        for _ in 0..count {
            let Some(block) = self.block_at(read) else { break };
            read = block.end;
            if Value::whole(block.of(self.transcript.bytes())).is_some_and(is_left_out) {
                continue;
            }
            if rewrite.at() > first {
                rewrite.add(&mut self.transcript, b",");
            }
            rewrite.keep(&mut self.transcript, block);
        }
        rewrite.end(&mut self.transcript, b"]}");
    }

    /// Returns the position of the first block of a message.
    pub(super) fn content_start(&self, message: Span) -> usize {
        let bytes = self.transcript.bytes();
        blocks_in(message.of(bytes))
            .next()
            .and_then(|block| block.offset_in(bytes))
            .unwrap_or(message.end)
    }

    /// Returns the block at `at`, or after the white space and the comma there.
    pub(super) fn block_at(&self, at: usize) -> Option<Span> {
        let bytes = self.transcript.bytes();
        let at = skip_space(bytes, at);
        let block =
            bytes.get(at + usize::from(bytes.get(at) == Some(&b','))..).and_then(Value::first)?;
        let start = block.offset_in(bytes)?;
        Some(Span::new(start, start + block.raw().len()))
    }

    /// Returns the last reply as the model wrote it, if some of its blocks were [left out of the
    /// conversation](crate::error::Rule). It is available until the next write to the transcript.
    pub fn cut_reply(&self) -> Option<Message<'_>> {
        let said = self.exchange.said.span();
        let is_there = said.len() > 0 && said.start == self.transcript.len();
        Value::whole(said.of(self.transcript.whole())).filter(|_| is_there).and_then(Message::new)
    }
}
