//! The pool behind the buffers: per class a row of chunks, per chunk a bitmap of free buffers.
//!
//! ```text
//!   class: chunks  [0: base, free=…0110]  [1: (unmapped)]  [2: base, free=…1111, idle since t]
//!          roomy   {0, 2}                 the mapped chunks that have a free buffer; the lowest serves next
//!          region  2                      a chunk of many buffers that serves before all others, and stays
//! ```

use std::array;
use std::cell::RefCell;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::memory::Memory;
use super::{Budget, Buffer, Class, Region, Sizes};
use crate::bitset::BitSet;
use crate::clock::Timestamp;
use crate::stats::{BufferClassStats, BufferStats};

/// Small buffers share a chunk of this size, which is 64 of the default small class: one word of bitmap.
const CHUNK_BYTES: usize = 256 << 10;
const SLOTS_MAX: usize = 64;
/// What a region takes at most, which is all slots of a chunk of the default medium class …
const REGION_BYTES_MAX: u64 = 2 << 20;
/// … and at most this part of the process's cap. A shard has one.
const REGION_SHARE: u64 = 16;
/// Fewer buffers in one piece are not worth it.
const REGION_SLOTS_MIN: u64 = 8;
/// Buffers start on pages, for O_DIRECT and for the kernel's page-wise copies.
const PAGE: usize = 4096;
/// Keeps a capacity in the `u32` that a [`Buffer`] has room for.
const BUFFER_BYTES_MAX: usize = 1 << 30;

/// What a returned buffer is filled with in debug builds.
#[cfg(debug_assertions)]
const POISON: u8 = 0xdb;

/// An id is `chunk << 8 | class << 6 | slot`.
const SLOT_BITS: u32 = 6;
const CHUNK_SHIFT: u32 = 8;
const CHUNKS_MAX: usize = 1 << (u32::BITS - CHUNK_SHIFT);

#[inline]
fn id_of(chunk: usize, class: Class, slot: u32) -> u32 {
    (chunk as u32) << CHUNK_SHIFT | (class as u32) << SLOT_BITS | slot
}

#[inline]
pub(super) fn class_of(id: u32) -> Class {
    Class::ALL[(id >> SLOT_BITS & 0b11) as usize]
}

#[derive(Debug)]
struct Chunk {
    /// `None` once the chunk was given back to the kernel.
    memory: Option<Memory>,
    /// One bit for every buffer.
    all_free: u64,
    /// Bit `i` is set exactly when buffer `i` is in the pool.
    free: u64,
    /// When a shrink first saw the chunk wholly free; forgotten when a buffer is taken from it.
    idle_since: Option<Timestamp>,
}

#[derive(Debug)]
struct ClassPool {
    class: Class,
    size: usize,
    /// Buffers of an ordinary chunk.
    slots: u32,
    chunks: Vec<Chunk>,
    roomy: BitSet,
    /// The chunk of which there is a [`Region`].
    region: Option<usize>,
    stats: BufferClassStats,
}

impl ClassPool {
    fn new(class: Class, size: usize) -> Self {
        let size = size.clamp(PAGE, BUFFER_BYTES_MAX).next_multiple_of(PAGE);
        let slots = (CHUNK_BYTES / size).clamp(1, SLOTS_MAX);
        Self {
            class,
            size,
            slots: slots as u32,
            chunks: Vec::new(),
            roomy: BitSet::default(),
            region: None,
            stats: BufferClassStats { size: size as u64, ..BufferClassStats::default() },
        }
    }

    #[inline]
    fn take(&mut self, budget: &Arc<Budget>) -> Option<(NonNull<u8>, u32)> {
        let in_region = self.region.filter(|number| self.chunks[*number].free != 0);
        let number = match in_region.or_else(|| self.roomy.first()) {
            Some(number) => number,
            None => self.grow(self.slots, budget)?,
        };
        let chunk = &mut self.chunks[number];
        let base = chunk.memory.as_ref()?.base();
        let slot = chunk.free.trailing_zeros();
        chunk.free &= chunk.free - 1;
        chunk.idle_since = None;
        if chunk.free == 0 {
            self.roomy.remove(number);
        }
        self.stats.in_use += 1;
        self.stats.taken_total += 1;
        // SAFETY: a set bit of `free` lies within `all_free`, so the buffer lies within the chunk's mapping.
        let ptr = unsafe { base.add(slot as usize * self.size) };
        Some((ptr, id_of(number, self.class, slot)))
    }

    /// Maps the lowest chunk that has no memory, of so many buffers, and returns its number.
    #[cold]
    fn grow(&mut self, slots: u32, budget: &Arc<Budget>) -> Option<usize> {
        // The lease first: a pool at its cap is asked often, and must say no without a walk.
        let bytes = u64::from(slots) * self.size as u64;
        let lease = if self.chunks.len() < CHUNKS_MAX { budget.lease(bytes) } else { None };
        let Some(memory) = lease.and_then(Memory::map) else {
            self.stats.refused_total += 1;
            return None;
        };
        let hole = self.chunks.iter().position(|chunk| chunk.memory.is_none());
        let number = hole.unwrap_or(self.chunks.len());
        let all_free = u64::MAX >> (SLOTS_MAX as u32 - slots);
        let chunk = Chunk { memory: Some(memory), all_free, free: all_free, idle_since: None };
        if number == self.chunks.len() {
            self.chunks.push(chunk);
        } else {
            self.chunks[number] = chunk;
        }
        self.roomy.insert(number);
        self.stats.capacity += u64::from(slots);
        Some(number)
    }

    /// The chunk for a region, from its last time if it is still there.
    fn open_region(&mut self, budget: &Arc<Budget>) -> Option<(NonNull<u8>, usize)> {
        let affordable = REGION_BYTES_MAX.min(budget.bytes_max() / REGION_SHARE) / self.size as u64;
        let slots = affordable.min(SLOTS_MAX as u64);
        if self.region.is_some() || slots < REGION_SLOTS_MIN {
            return None;
        }
        let is_one = |chunk: &Chunk| chunk.memory.is_some() && u64::from(chunk.all_free.count_ones()) == slots;
        let number = match self.chunks.iter().position(is_one) {
            Some(number) => number,
            None => self.grow(slots as u32, budget)?,
        };
        let base = self.chunks[number].memory.as_ref()?.base();
        self.region = Some(number);
        Some((base, slots as usize * self.size))
    }

    /// The pages of the free buffers go back now, for the kernel has taken in all of them; the others when their
    /// owners say so, and the chunk when it is idle.
    fn close_region(&mut self) {
        let Some(chunk) = self.region.take().and_then(|number| self.chunks.get(number)) else { return };
        let Some(memory) = &chunk.memory else { return };
        for slot in (0..SLOTS_MAX).filter(|slot| chunk.free & 1 << slot != 0) {
            memory.release_pages(slot * self.size, self.size);
        }
    }

    #[inline]
    fn give_back(&mut self, id: u32, ptr: NonNull<u8>) {
        let (number, slot) = ((id >> CHUNK_SHIFT) as usize, id & (SLOTS_MAX as u32 - 1));
        self.inspect(number, slot, ptr);
        let chunk = &mut self.chunks[number];
        if chunk.free == 0 {
            self.roomy.insert(number);
        }
        chunk.free |= 1 << slot;
        self.stats.in_use -= 1;
    }

    /// Catches, in debug builds, what the types cannot: a lent buffer taken back twice, or by another pool.
    #[inline]
    fn inspect(&self, number: usize, slot: u32, ptr: NonNull<u8>) {
        #[cfg(debug_assertions)]
        {
            let chunk = self.chunks.get(number).expect("a buffer came back to a pool that is not its own");
            let memory = chunk.memory.as_ref().expect("a buffer came back after its chunk was freed");
            let expected = memory.base().as_ptr().wrapping_add(slot as usize * self.size);
            assert_eq!(ptr.as_ptr(), expected, "a buffer came back to a pool that is not its own");
            assert_eq!(chunk.free & 1 << slot, 0, "a buffer came back twice");
            // SAFETY: the buffer is whole, inside its mapping (just checked), and its owner has given it up.
            unsafe { ptr.write_bytes(POISON, self.size) };
        }
        #[cfg(not(debug_assertions))]
        let _ = (number, slot, ptr);
    }

    fn shrink(&mut self, now: Timestamp, idle_max: Duration) {
        for (number, chunk) in self.chunks.iter_mut().enumerate() {
            if chunk.free != chunk.all_free || chunk.memory.is_none() || self.region == Some(number) {
                continue;
            }
            let since = *chunk.idle_since.get_or_insert(now);
            if now - since >= idle_max {
                chunk.memory = None;
                self.roomy.remove(number);
                self.stats.capacity -= u64::from(chunk.all_free.count_ones());
            }
        }
        while self.chunks.last().is_some_and(|chunk| chunk.memory.is_none()) {
            self.chunks.pop();
        }
    }

    fn free_bytes(&self) -> u64 {
        (self.stats.capacity - self.stats.in_use) * self.stats.size
    }

    fn leased_bytes(&self) -> u64 {
        self.chunks.iter().filter_map(|chunk| chunk.memory.as_ref()).map(Memory::leased_bytes).sum()
    }
}

/// Kept alive by every handle and by every buffer that is out.
#[derive(Debug)]
pub(super) struct Inner {
    classes: [RefCell<ClassPool>; 4],
    budget: Arc<Budget>,
}

impl Inner {
    #[inline]
    pub(super) fn give_back(&self, id: u32, ptr: NonNull<u8>) {
        self.classes[class_of(id) as usize].borrow_mut().give_back(id, ptr);
    }

    pub(super) fn is_in_region(&self, id: u32) -> bool {
        self.classes[class_of(id) as usize].borrow().region == Some((id >> CHUNK_SHIFT) as usize)
    }

    pub(super) fn close_region(&self, class: Class) {
        self.classes[class as usize].borrow_mut().close_region();
    }
}

/// A handle to a shard's pool, cheap to clone.
///
/// Made on the shard's own thread once it is pinned, so that the memory is near its core.
#[derive(Clone, Debug)]
pub struct BufferPool(Rc<Inner>);

impl BufferPool {
    pub fn new(sizes: Sizes, budget: Arc<Budget>) -> Self {
        let bytes = [sizes.small, sizes.medium, sizes.large, sizes.huge];
        debug_assert!(bytes.is_sorted(), "the buffer classes do not ascend: {sizes:?}");
        let classes = array::from_fn(|class| RefCell::new(ClassPool::new(Class::ALL[class], bytes[class])));
        Self(Rc::new(Inner { classes, budget }))
    }

    /// `None` when the cap of the process (or the kernel) has no memory left. Then wait until buffers come back.
    #[inline]
    pub fn take(&self, class: Class) -> Option<Buffer> {
        let mut pool = self.0.classes[class as usize].borrow_mut();
        let (ptr, id) = pool.take(&self.0.budget)?;
        Some(Buffer { ptr, pool: Rc::clone(&self.0), id, capacity: pool.size as u32 })
    }

    /// Memory in one piece from which buffers of `class` are taken first, as long as the region exists: up to 2 MiB,
    /// less where the cap of the process is small. `None` while there is another region of this class, or no memory.
    pub fn open_region(&self, class: Class) -> Option<Region> {
        let (base, bytes) = self.0.classes[class as usize].borrow_mut().open_region(&self.0.budget)?;
        Some(Region { pool: Rc::clone(&self.0), class, base, bytes })
    }

    /// The smallest class whose buffers hold `bytes`; `None` when not even a huge one does.
    pub fn optimal(&self, bytes: usize) -> Option<Class> {
        Class::ALL.into_iter().find(|class| self.size(*class) >= bytes)
    }

    /// Bytes of one buffer of `class`.
    pub fn size(&self, class: Class) -> usize {
        self.0.classes[class as usize].borrow().size
    }

    /// True exactly when `buffer` came from this pool.
    pub fn owns(&self, buffer: &Buffer) -> bool {
        Rc::ptr_eq(&self.0, &buffer.pool)
    }

    /// Gives chunks back to the kernel and to the budget that have been wholly free for `idle_max`.
    ///
    /// Idleness is counted from the first shrink that finds a chunk free, so that returning a buffer need not know the
    /// time. Walks all chunks: for a timer of a second or so.
    pub fn shrink(&self, now: Timestamp, idle_max: Duration) {
        for class in &self.0.classes {
            class.borrow_mut().shrink(now, idle_max);
        }
    }

    /// More than a quarter of the process's cap is in use: from here on nobody should hoard. What this pool holds and
    /// has not handed out is not in use, for it serves again at once; of other shards' pools only they know.
    pub fn is_scarce(&self) -> bool {
        let (leased, enough) = (self.0.budget.leased(), self.0.budget.bytes_max() / 4);
        let free = || self.0.classes.iter().map(|class| class.borrow().free_bytes()).sum::<u64>();
        leased > enough && leased - free().min(leased) > enough
    }

    /// A shrink may have something to free, now or later.
    pub fn has_idle_chunks(&self) -> bool {
        self.0.classes.iter().any(|class| {
            let class = class.borrow();
            let is_idle = |chunk: &Chunk| chunk.memory.is_some() && chunk.free == chunk.all_free;
            class.chunks.iter().enumerate().any(|(number, chunk)| is_idle(chunk) && class.region != Some(number))
        })
    }

    /// Buffers that have not come back. When a shard has drained and dropped everything else, each one is a leak.
    pub fn leaked(&self) -> u64 {
        self.0.classes.iter().map(|class| class.borrow().stats.in_use).sum()
    }

    /// What only the driver knows, of its receive ring and what is registered, is zero here.
    pub fn stats(&self) -> BufferStats {
        BufferStats {
            classes: array::from_fn(|class| self.0.classes[class].borrow().stats),
            ring: 0,
            registered_bytes: 0,
            registrations_refused: 0,
            leased_bytes: self.0.classes.iter().map(|class| class.borrow().leased_bytes()).sum(),
        }
    }
}

#[cfg(test)]
mod tests;
