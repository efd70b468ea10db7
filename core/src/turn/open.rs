//! The open blocks of a reply, in the order in which they began.

use super::blocks::OpenBlock;
use crate::error::{Capacity, CapacityKind};
use crate::json::copy_down;

/// The maximum number of blocks that may be open at the same time. The API opens one at a time. A
/// gateway that translates another API may open as many as the reply has calls.
const MOST: usize = match (cfg!(feature = "gateways"), cfg!(feature = "alloc")) {
    (false, _) => 1,
    (true, false) => 8,
    (true, true) => 128,
};
/// The number of blocks that are stored without a heap.
const FIRST: usize = if cfg!(feature = "alloc") && MOST > 2 { 2 } else { MOST };

/// The list of open blocks. With `alloc`, all but the first blocks are stored on the heap, so that
/// a reply with few open blocks stays small.
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

    /// Appends a block.
    ///
    /// # Errors
    /// Returns `Capacity` if the maximum number of blocks is already open.
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
        pushed.map_err(|_| Capacity {
            what: CapacityKind::OpenBlocks,
            needed: MOST + 1,
            free: MOST,
        })
    }

    pub(super) fn remove(&mut self, position: usize) {
        #[cfg(feature = "alloc")]
        if !self.rest.is_empty() {
            self.remove_among_many(position);
            return;
        }
        if position < self.first.len()
            && let Some(rest) = self.first.get_mut(position..)
        {
            copy_down(rest, 1);
            self.first.pop();
        }
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
                // There is space, because one block was just removed.
                let _ = self.first.push(block);
                self.rest.retain(|_| at.next() != Some(0));
            }
        }
        if self.rest.is_empty() {
            // Frees the memory, so that an idle run does not keep it.
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

    /// Replaces the block at this position.
    pub(super) fn set(&mut self, position: usize, block: OpenBlock) {
        if let Some(place) = self.get_mut(position) {
            *place = block;
        }
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut OpenBlock> {
        self.get_mut(self.len().checked_sub(1)?)
    }

    /// Returns the only open block, or `None` if no block or more than one is open.
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
