//! The receive ring: small buffers of the shard's pool, lent to the kernel before it knows for whom.
//!
//! ```text
//!            refill                      completion (buffer id)
//!   pool ───────────────► ring slot ───────────────────────────► Buffer, owned by whoever receives
//!     ▲                                                              │
//!     └──────────────────────────────── drop ────────────────────────┘
//! ```
//!
//! A buffer that came with a completion leaves the ring for good and another from the pool takes its place at once, so
//! a slow reader of one connection holds pool memory (bounded by the process-wide cap) and never a ring slot.

use crate::buf::{Buffer, BufferPool, Class};
use io_uring::{IoUring, types::BufRingEntry};
use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    io,
    ptr::NonNull,
    sync::atomic::{AtomicU16, Ordering},
};

/// Buffers that a fresh ring lends; doubles whenever the kernel found the ring empty.
const LENT_AT_FIRST: u16 = 64;
/// Bytes that they may take at first.
const BYTES_AT_FIRST: usize = 512 << 10;

pub(super) struct BufRing {
    entries: NonNull<BufRingEntry>,
    layout: Layout,
    /// One less than the number of entries, a power of two.
    mask: u16,
    tail: u16,
    group: u16,
    pool: BufferPool,
    class: Class,
    /// By buffer id: what the kernel may write into.
    lent: Vec<Option<Buffer>>,
    lent_count: u16,
    /// By ring slot: the id that was last put there …
    order: Vec<u16>,
    /// … and by id: the slot it was last put into. A bundle names its first buffer only.
    place: Vec<u16>,
    /// Ids with no buffer behind them, at least `lent.len() - lent_count`.
    idle_ids: Vec<u16>,
    /// How many to lend; grows up to the size of the ring.
    target: u16,
    /// … from here, and back to it.
    at_first: u16,
    /// Buffers taken since the last [`BufRing::rest`].
    taken: u32,
    /// The lent buffers have given their pages back, and none has been used since.
    resting: bool,
    /// The kernel found the ring empty in this turn.
    dry: bool,
}

impl BufRing {
    /// # Errors
    /// Those of registering the ring: EINVAL where the kernel is older than 5.19.
    pub(super) fn register(ring: &IoUring, group: u16, size: u16, class: Class, pool: BufferPool) -> io::Result<Self> {
        let size = size.clamp(16, 1 << 15).next_power_of_two();
        let layout = Layout::array::<BufRingEntry>(usize::from(size))
            .and_then(|l| l.align_to(4096))
            .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        // SAFETY: the layout is not empty.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(entries) = NonNull::new(memory.cast::<BufRingEntry>()) else { handle_alloc_error(layout) };
        let affordable = u16::try_from(BYTES_AT_FIRST / pool.size(class).max(1)).unwrap_or(u16::MAX).max(8);
        let at_first = LENT_AT_FIRST.min(size).min(affordable);
        let mut this = Self {
            entries,
            layout,
            mask: size - 1,
            tail: 0,
            group,
            pool,
            class,
            order: vec![0; usize::from(size)],
            place: vec![0; usize::from(size)],
            lent: (0..size).map(|_| None).collect(),
            lent_count: 0,
            idle_ids: (0..size).rev().collect(),
            target: at_first,
            at_first,
            taken: 0,
            resting: true,
            dry: false,
        };
        // SAFETY: the memory is page aligned, as long as said, and lives until `unregister` or the ring's end: the
        // lane drops its ring before this.
        unsafe { ring.submitter().register_buf_ring_with_flags(entries.as_ptr() as u64, size, group, 0) }?;
        this.refill();
        Ok(this)
    }

    pub(super) fn group(&self) -> u16 {
        self.group
    }

    pub(super) fn lent(&self) -> u16 {
        self.lent_count
    }

    /// The buffer that a completion names; its slot is filled again at once.
    pub(super) fn take(&mut self, id: u16) -> Option<Buffer> {
        let buffer = self.lent.get_mut(usize::from(id)).and_then(Option::take);
        debug_assert!(buffer.is_some(), "the kernel named buffer {id}, which it does not hold");
        if buffer.is_some() {
            self.lent_count -= 1;
            self.taken += 1;
            self.idle_ids.push(id);
            self.refill();
        }
        buffer
    }

    /// The id in the slot behind that of `id`: where a bundle goes on.
    pub(super) fn following(&self, id: u16) -> Option<u16> {
        let place = self.place.get(usize::from(id))?;
        self.order.get(usize::from(place.wrapping_add(1) & self.mask)).copied()
    }

    /// The kernel found no buffer: lend more from the next turn on.
    pub(super) fn ran_dry(&mut self) {
        self.dry = true;
    }

    /// At the start of a turn: lend what has come back to the pool, and twice as much if that was not enough.
    pub(super) fn start_turn(&mut self) {
        if std::mem::take(&mut self.dry) {
            self.target = self.target.saturating_mul(2).min(self.mask + 1);
        }
        self.refill();
    }

    /// [`BufRing::rest`] has something to do, at once or after a quiet while.
    pub(super) fn has_leftovers(&self) -> bool {
        !self.resting || self.taken > 0
    }

    /// To be called now and then. A ring that was not used since the last time, or that has grown in a burst and is
    /// hardly used any more, gives the memory of its buffers back; the buffers stay lent.
    pub(super) fn rest(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        if taken > 0 {
            self.resting = false;
        }
        if taken < u32::from(self.target) {
            self.target = (self.target / 2).max(self.at_first);
        }
        let hardly_used = taken < u32::from(self.at_first) && self.lent_count > self.at_first;
        if (taken == 0 || hardly_used) && !self.resting {
            // Those that are registered keep their pages, and are asked again when they no longer are.
            let kept = self.lent.iter_mut().flatten().filter_map(|buffer| (!buffer.release_pages()).then_some(()));
            self.resting = kept.count() == 0;
        }
    }

    /// Lend until the target is reached or the pool refuses.
    fn refill(&mut self) {
        if self.lent_count >= self.target {
            return;
        }
        while self.lent_count < self.target
            && let Some(&id) = self.idle_ids.last()
            && let Some(buffer) = self.pool.take(self.class)
        {
            self.idle_ids.pop();
            self.push(id, buffer);
        }
        self.publish();
    }

    fn push(&mut self, id: u16, mut buffer: Buffer) {
        let slot = usize::from(self.tail & self.mask);
        self.order[slot] = id;
        self.place[usize::from(id)] = self.tail & self.mask;
        // SAFETY: the index is masked to the ring's size.
        let mut entry = unsafe { self.entries.add(slot) };
        // SAFETY: the entry is initialised (zeroed at first) and ours until the tail covers it.
        let entry = unsafe { entry.as_mut() };
        // The fields are set one by one: the first entry's spare bytes are the ring's tail.
        entry.set_addr(buffer.as_mut_ptr() as u64);
        entry.set_len(buffer.len() as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        self.lent[usize::from(id)] = Some(buffer);
        self.lent_count += 1;
    }

    fn publish(&self) {
        // SAFETY: `entries` is the start of the registered ring.
        let tail = unsafe { BufRingEntry::tail(self.entries.as_ptr()) };
        // SAFETY: the tail is an aligned u16 that lives as long as the ring, and only this thread writes it.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        // Release: the kernel must see the entries before the tail that covers them.
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for BufRing {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `register`; the kernel is done with it (the ring went first).
        unsafe { dealloc(self.entries.as_ptr().cast(), self.layout) };
    }
}
