//! Buffers of a shard: four classes, taken and returned in a few nanoseconds, their memory given back when idle.
//!
//! ```text
//!   Budget (process) ──lease per chunk──► BufferPool (shard) ──take──► Buffer ──into_raw──► RawBuffer (the kernel's)
//!                                              ▲                         │ drop                 │ from_raw
//!                                              └─────────────────────────┴──────────────────────┘
//! ```
//!
//! Invariants:
//! * A [`Buffer`] is the only way to its bytes, and it goes back to the pool it came from when it is dropped.
//! * A pool lives as long as any of its buffers, lent ones included: a leaked buffer leaks memory, it is never freed
//!   under the kernel's hands.
//! * The cap of the process is looked at once a chunk, never once a buffer.
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

    /// Gives up ownership, so that the memory can be lent to a ring. It stays allocated until
    /// [`Buffer::from_raw`] takes it back.
    #[inline]
    pub fn into_raw(self) -> RawBuffer {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped and not used again, so the count moves out of it exactly once.
        let pool = unsafe { std::ptr::read(&raw const this.pool) };
        RawBuffer { ptr: this.ptr, pool: Rc::into_raw(pool), id: this.id, capacity: this.capacity }
    }

    /// Takes back a buffer that was lent.
    ///
    /// # Safety
    /// Each [`Buffer::into_raw`] is answered by at most one `from_raw`, and nobody, the kernel included, uses the
    /// memory by way of `raw` any longer.
    #[inline]
    pub unsafe fn from_raw(raw: RawBuffer) -> Self {
        // SAFETY: the pointer came from `Rc::into_raw`, and the caller promises that this count is taken back once.
        let pool = unsafe { Rc::from_raw(raw.pool) };
        Self { ptr: raw.ptr, pool, id: raw.id, capacity: raw.capacity }
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

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("ptr", &self.ptr).field("class", &self.class()).finish_non_exhaustive()
    }
}

/// A lent buffer: plain data with a promise attached, see [`Buffer::from_raw`].
#[derive(Clone, Copy, Debug)]
pub struct RawBuffer {
    ptr: NonNull<u8>,
    pool: *const Inner,
    id: u32,
    capacity: u32,
}

impl RawBuffer {
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
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
}
