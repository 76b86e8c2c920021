//! One piece of anonymous memory, paid for by a lease.
//!
//! Mapped from the kernel and not taken from the allocator, for three reasons: the pages are zero without anybody
//! touching them, whereas `alloc_zeroed` with a page's alignment writes them all; unmapping gives the memory back at
//! once, whatever the allocator thinks of its thresholds; and neighbours merge into one area, so that many chunks do
//! not use up `vm.max_map_count`.

use std::ptr::NonNull;

use super::budget::Lease;

/// Whole pages, zero until written, unmapped on drop.
#[derive(Debug)]
pub(super) struct Memory {
    base: NonNull<u8>,
    bytes: usize,
    /// Given back after the memory is.
    lease: Lease,
}

impl Memory {
    /// Maps as many bytes as `lease` pays for; `None` when the kernel refuses.
    pub(super) fn map(lease: Lease) -> Option<Self> {
        let bytes = usize::try_from(lease.bytes()).ok()?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice overlaps no memory in use.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return None;
        }
        let base = NonNull::new(address.cast::<u8>())?;
        // Touching one buffer must not bring in the 2 MiB around it where huge pages are "always". A kernel without
        // huge pages refuses, and that is as well.
        // SAFETY: the range is the mapping made above; the advice changes no contents.
        unsafe { libc::madvise(address, bytes, libc::MADV_NOHUGEPAGE) };
        Some(Self { base, bytes, lease })
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(super) fn leased_bytes(&self) -> u64 {
        self.lease.bytes()
    }

    /// Give pages back to the system; they come again as zeros when somebody writes. Nobody else may use them now.
    pub(super) fn release_pages(&self, from: usize, bytes: usize) {
        debug_assert!(from + bytes <= self.bytes, "outside of the memory");
        // SAFETY: the sum lies within the mapping.
        let start = unsafe { self.base.add(from) };
        release_pages(start, bytes);
    }
}

/// As [`Memory::release_pages`].
pub(super) fn release_pages(start: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller owns the range, whole pages of a private mapping of ours, and has nobody read it meanwhile.
    // The kernel writes to buffers only inside our own system calls.
    let result = unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTNEED) };
    debug_assert_eq!(result, 0, "the kernel refused to take pages back");
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone; the pool drops it only when no buffer in it is out.
        let result = unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert_eq!(result, 0, "unmapping a buffer chunk failed");
    }
}
