//! Previews of the reply that is arriving.

use std::sync::Arc;

use super::Watcher;

/// The maximum number of bytes of text in a preview. Many previews are kept for a watcher that does
/// not read.
const PIECE: usize = 1024;

/// A part of a reply that is still arriving, for watchers. Never stored.
#[derive(Clone, Debug)]
pub(crate) enum Preview {
    /// A message begins. `event` is the id that its event will have.
    Start { event: Arc<str> },
    /// A piece of the message's text block at `index`.
    Delta { event: Arc<str>, index: usize, text: Arc<str> },
}

/// The text of the reply that is arriving.
#[derive(Default)]
pub(super) struct ReplyText {
    pub(super) event: String,
    pub(super) is_shown: bool,
    pub(super) text: String,
    /// The block of the last piece, and its index among the text blocks.
    pub(super) block: Option<usize>,
    pub(super) index: usize,
}

impl ReplyText {
    /// Reports a piece of text.
    pub(super) fn show(&mut self, block: usize, text: &str, watcher: &dyn Watcher) {
        let event: Arc<str> = self.event.as_str().into();
        if !core::mem::replace(&mut self.is_shown, true) {
            watcher.preview(Preview::Start { event: Arc::clone(&event) });
        }
        if self.block.replace(block).is_some_and(|last| last != block) {
            self.index += 1;
        }
        self.text.push_str(text);
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE));
            let (event, text) = (Arc::clone(&event), piece.into());
            watcher.preview(Preview::Delta { event, index: self.index, text });
            rest = after;
        }
    }
}
