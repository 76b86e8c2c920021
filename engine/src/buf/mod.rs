//! Buffers of a shard: four classes, taken and returned in a few nanoseconds, their memory given back when idle.
//!
//! ```text
//!   Budget (process) ──lease per chunk──► BufferPool (shard) ──take──► Buffer
//!                                              ▲                         │ drop
//!                                              └─────────────────────────┘
//! ```
//!
//! Invariants:
//! * A [`Buffer`] is the only way to its bytes, and it goes back to the pool it came from when it is dropped.
//! * A pool lives as long as any of its buffers, those lent to a ring included: a leaked buffer leaks memory, it is
//!   never freed under the kernel's hands.
//! * The cap of the process is looked at once a chunk, never once a buffer.
//! * The pages of a [`Region`] are never given back or unmapped as long as it exists: a kernel to which they were
//!   registered would go on to use these, and not those that came in their place.
//! * Bytes that nobody has written are zero or what the buffer's last owner left there (in debug builds a poison, so
//!   that whoever reads them is found out).

mod budget;
mod memory;
mod pool;

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;

pub use budget::{Budget, Lease};
pub use pool::BufferPool;
use pool::Inner;

/// Smallest first; the discriminant indexes per-class tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    Small,
    Medium,
    Large,
    Huge,
}

impl Class {
    pub const ALL: [Self; 4] = [Self::Small, Self::Medium, Self::Large, Self::Huge];
}

/// Bytes of one buffer of each class. They should ascend; the pool rounds each up to whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub small: usize,
    pub medium: usize,
    pub large: usize,
    pub huge: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { small: 4 << 10, medium: 32 << 10, large: 64 << 10, huge: 1 << 20 }
    }
}

/// A piece of pool memory with one owner. Dereferences to its whole capacity, written or not.
///
/// Not `Send`: a buffer stays on its shard.
pub struct Buffer {
    ptr: NonNull<u8>,
    pool: Rc<Inner>,
    id: u32,
    capacity: u32,
}

impl Buffer {
    /// For a read by the kernel. The pointer is good until the buffer is dropped, wherever the `Buffer` is moved.
    #[inline]
    pub fn as_ptr(&self) -> *const u8 {
        self.ptr.as_ptr()
    }

    /// For a write by the kernel.
    #[inline]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    #[inline]
    pub fn capacity(&self) -> usize {
        self.capacity as usize
    }

    #[inline]
    pub fn class(&self) -> Class {
        pool::class_of(self.id)
    }

    /// Give the pages behind the buffer back to the system; they come again as zeros when somebody writes. For buffers
    /// that will lie idle. `false`: not those of a [`Region`].
    pub fn release_pages(&mut self) -> bool {
        let may = !self.pool.is_in_region(self.id);
        if may {
            memory::release_pages(self.ptr, self.capacity());
        }
        may
    }
}

impl Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the memory is mapped and initialised (by the kernel, with zeros) while the buffer is out, and no
        // other buffer overlaps it.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.capacity()) }
    }
}

impl DerefMut for Buffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; the exclusive borrow of the one owner makes this the only way to the bytes.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.capacity()) }
    }
}

impl Drop for Buffer {
    #[inline]
    fn drop(&mut self) {
        self.pool.give_back(self.id, self.ptr);
    }
}

/// Memory of many buffers of one class in one piece, for the kernel to be told of it as a whole.
///
/// As long as it exists, buffers of that class are taken from it first, and its pages stay what they are.
pub struct Region {
    pool: Rc<Inner>,
    class: Class,
    base: NonNull<u8>,
    bytes: usize,
}

impl Region {
    pub fn as_ptr(&self) -> *const u8 {
        self.base.as_ptr()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// True exactly when all of `buffer` lies in it.
    pub fn holds(&self, buffer: &Buffer) -> bool {
        let from = self.base.as_ptr().addr();
        (from..from + self.bytes).contains(&buffer.as_ptr().addr())
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.pool.close_region(self.class);
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("base", &self.base).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("ptr", &self.ptr).field("class", &self.class()).finish_non_exhaustive()
    }
}
