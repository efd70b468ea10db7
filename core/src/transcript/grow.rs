//! A transcript that grows on the heap, and that a transport can share.

use alloc::{sync::Arc, vec::Vec};

use super::{Buffer, Transcript};

/// The default limit of a growing transcript, in bytes: the most that the API accepts in one
/// request.
pub(crate) const GROWING_LIMIT: usize = 32 * 1024 * 1024;

impl Transcript<'static> {
    /// The default limit of a growing transcript, in bytes: the most that the API accepts in one
    /// request.
    pub const GROWING_LIMIT: usize = GROWING_LIMIT;

    /// Creates an empty transcript that grows up to [`GROWING_LIMIT`](Self::GROWING_LIMIT).
    pub const fn growing() -> Self {
        Self::growing_to(GROWING_LIMIT)
    }

    /// Creates an empty transcript that grows up to `limit` bytes.
    pub const fn growing_to(limit: usize) -> Self {
        Self {
            buffer: Buffer::Growing { bytes: Vec::new(), limit },
            len: 0,
            edited: 0,
            untouched: 0,
        }
    }
}

impl Transcript<'_> {
    /// Makes the buffer shareable if it is one that grows. [`shared`](Self::shared) then returns a
    /// handle until the next write.
    pub(crate) fn share(&mut self) {
        if let Buffer::Growing { bytes, limit } = &mut self.buffer {
            self.buffer = Buffer::Shared { limit: *limit, bytes: Arc::new(core::mem::take(bytes)) };
        }
    }

    pub(crate) const fn shared(&self) -> Option<&Arc<Vec<u8>>> {
        match &self.buffer {
            Buffer::Shared { bytes, .. } => Some(bytes),
            _ => None,
        }
    }

    /// Makes this transcript the sole owner of its bytes again. If a transport still holds a
    /// handle, the bytes are copied.
    #[inline]
    pub(super) fn take_back(&mut self) {
        if let Buffer::Shared { .. } = self.buffer {
            self.own();
        }
    }

    /// Releases the memory that is allocated but not used, unless a transport still holds a handle.
    pub(crate) fn shrink_to_fit(&mut self) {
        if let Buffer::Shared { bytes, .. } = &mut self.buffer
            && Arc::get_mut(bytes).is_none()
        {
            return;
        }
        self.take_back();
        if let Buffer::Growing { bytes, .. } = &mut self.buffer {
            bytes.truncate(self.len);
            bytes.shrink_to_fit();
        }
    }

    /// Allocates memory for `wanted` bytes, and usually for more. Only a part of it is initialized
    /// at a time, so that the system need not provide the pages of the rest before they are used.
    #[cold]
    pub(super) fn grow(&mut self, wanted: usize) {
        /// The number of bytes that are initialized at a time.
        const STEP: usize = 8 * 1024;
        if let Buffer::Growing { bytes, limit } = &mut self.buffer {
            if bytes.capacity() < wanted {
                let capacity = wanted.max(bytes.capacity() * 2).max(1024).min(*limit);
                bytes.reserve_exact(capacity - bytes.len());
            }
            bytes.resize(wanted.saturating_add(STEP).min(bytes.capacity()).min(*limit), 0);
        }
    }

    #[cold]
    pub(super) fn own(&mut self) {
        if let Buffer::Shared { bytes, limit } = &mut self.buffer {
            let bytes = match Arc::get_mut(bytes) {
                Some(bytes) => core::mem::take(bytes),
                None => bytes.to_vec(),
            };
            self.buffer = Buffer::Growing { bytes, limit: *limit };
        }
    }
}
