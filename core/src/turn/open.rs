//! The blocks of a reply that are open, in the order in which they began.

use super::blocks::OpenBlock;
use crate::error::{Capacity, What};

/// Most blocks that may be open at once. The API opens one at a time. A gateway that translates
/// another API may open as many as the reply has calls.
const MOST: usize = if cfg!(feature = "alloc") { 128 } else { 8 };
/// Blocks that are kept without a heap.
const FIRST: usize = if cfg!(feature = "alloc") { 2 } else { MOST };

/// With `alloc`, what is beyond the first blocks is on the heap, so that a reply without them is
/// small.
#[derive(Clone, Debug)]
pub(super) struct OpenBlocks {
    first: heapless::Vec<OpenBlock, FIRST>,
    /// Empty unless `first` is full.
    #[cfg(feature = "alloc")]
    rest: alloc::vec::Vec<OpenBlock>,
}

impl OpenBlocks {
    pub(super) const fn new() -> Self {
        Self {
            first: heapless::Vec::new(),
            #[cfg(feature = "alloc")]
            rest: alloc::vec::Vec::new(),
        }
    }

    /// # Errors
    /// `Capacity` if as many as may be are open.
    pub(super) fn push(&mut self, block: OpenBlock) -> Result<(), Capacity> {
        let pushed = self.first.push(block);
        #[cfg(feature = "alloc")]
        let pushed = match pushed {
            Err(block) if self.len() < MOST => {
                self.rest.push(block);
                Ok(())
            }
            pushed => pushed,
        };
        pushed.map_err(|_| Capacity { what: What::OpenBlocks, needed: MOST + 1, free: MOST })
    }

    pub(super) fn remove(&mut self, position: usize) {
        #[cfg(feature = "alloc")]
        if !self.rest.is_empty() {
            self.remove_among_many(position);
            return;
        }
        let mut at = 0..;
        self.first.retain(|_| at.next() != Some(position));
    }

    #[cfg(feature = "alloc")]
    #[cold]
    fn remove_among_many(&mut self, position: usize) {
        let mut at = 0..;
        self.first.retain(|_| at.next() != Some(position));
        self.rest.retain(|_| at.next() != Some(position));
        if self.first.len() < FIRST {
            let mut at = 0..;
            if let Some(block) = self.rest.first().cloned() {
                // There is a place: one was just taken out.
                let _ = self.first.push(block);
                self.rest.retain(|_| at.next() != Some(0));
            }
        }
        if self.rest.is_empty() {
            // A run that rests keeps no memory for it.
            self.rest = alloc::vec::Vec::new();
        }
    }

    pub(super) fn len(&self) -> usize {
        #[cfg(feature = "alloc")]
        return self.first.len() + self.rest.len();
        #[cfg(not(feature = "alloc"))]
        self.first.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    #[cfg(feature = "alloc")]
    pub(super) fn get(&self, position: usize) -> Option<&OpenBlock> {
        self.first.get(position).or_else(|| self.rest.get(position.checked_sub(FIRST)?))
    }

    #[cfg(not(feature = "alloc"))]
    pub(super) fn get(&self, position: usize) -> Option<&OpenBlock> {
        self.first.get(position)
    }

    #[cfg(feature = "alloc")]
    pub(super) fn get_mut(&mut self, position: usize) -> Option<&mut OpenBlock> {
        match position.checked_sub(FIRST) {
            None => self.first.get_mut(position),
            Some(position) => self.rest.get_mut(position),
        }
    }

    #[cfg(not(feature = "alloc"))]
    pub(super) fn get_mut(&mut self, position: usize) -> Option<&mut OpenBlock> {
        self.first.get_mut(position)
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut OpenBlock> {
        self.get_mut(self.len().checked_sub(1)?)
    }

    /// The one block that is open; nothing if more are.
    pub(super) fn only(&mut self) -> Option<&mut OpenBlock> {
        match &mut *self.first {
            [block] => Some(block),
            _ => None,
        }
    }

    #[cfg(feature = "alloc")]
    pub(super) fn iter(&self) -> impl Iterator<Item = &OpenBlock> {
        self.first.iter().chain(&self.rest)
    }

    #[cfg(not(feature = "alloc"))]
    pub(super) fn iter(&self) -> impl Iterator<Item = &OpenBlock> {
        self.first.iter()
    }

    #[cfg(feature = "alloc")]
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut OpenBlock> {
        self.first.iter_mut().chain(&mut self.rest)
    }

    #[cfg(not(feature = "alloc"))]
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut OpenBlock> {
        self.first.iter_mut()
    }
}
