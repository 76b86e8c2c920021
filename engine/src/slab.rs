//! A slab whose keys know when they are stale and whose memory shrinks again.
//!
//! ```text
//!   chunks: [ ptr, free ] [ ptr, free ] [ (freed) ] [ ptr, free ]
//!               │              │                        │
//!               ▼              ▼                        ▼
//!           64 entries     64 entries               64 entries      entry = Option<(generation, T)>
//! ```
//!
//! Invariants:
//! * A generation is drawn from one counter per slab at every insert, so a key that was removed cannot match a later
//!   entry at its index, not even when the chunk was freed and allocated again in between. (The counter has 32 bits:
//!   a key would have to be kept for exactly 2^32 inserts to be mistaken.)
//! * `roomy` holds exactly the allocated chunks that have a free entry; an insert takes the lowest of them, so that
//!   after a burst the high chunks run empty and [`Slab::shrink`] can free them.
//! * An entry never moves while it lives.

use std::num::NonZeroU32;

use crate::bitset::BitSet;

const CHUNK: usize = 64;

/// Names one entry of one slab for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    index: u32,
    generation: NonZeroU32,
}

impl Key {
    #[inline]
    pub fn index(self) -> u32 {
        self.index
    }

    #[inline]
    pub fn generation(self) -> u32 {
        self.generation.get()
    }

    /// Generation above, index below. Never zero, because no generation is, and never `u64::MAX`.
    #[inline]
    pub fn to_u64(self) -> u64 {
        u64::from(self.generation.get()) << 32 | u64::from(self.index)
    }

    /// The inverse of [`Key::to_u64`]; `None` for a number that never was a key.
    #[inline]
    pub fn from_u64(bits: u64) -> Option<Self> {
        let generation = NonZeroU32::new((bits >> 32) as u32)?;
        Some(Self { index: bits as u32, generation })
    }
}

/// The generation is never zero, so that `Option<Entry<T>>` costs no more than `Entry<T>`.
#[derive(Debug)]
struct Entry<T> {
    generation: NonZeroU32,
    value: T,
}

#[derive(Debug)]
struct Chunk<T> {
    /// Empty when the chunk is freed, else exactly `CHUNK` long.
    entries: Box<[Option<Entry<T>>]>,
    /// Bit `i` is set exactly when `entries[i]` is `None`.
    free: u64,
}

impl<T> Chunk<T> {
    fn allocated() -> Self {
        Self { entries: (0..CHUNK).map(|_| None).collect(), free: u64::MAX }
    }

    fn freed() -> Self {
        Self { entries: Box::default(), free: u64::MAX }
    }

    fn is_freed(&self) -> bool {
        self.entries.is_empty()
    }

    fn is_unused(&self) -> bool {
        self.free == u64::MAX
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Slab<T> {
    chunks: Vec<Chunk<T>>,
    roomy: BitSet,
    len: usize,
    allocated: usize,
    generation: NonZeroU32,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Slab<T> {
    pub fn new() -> Self {
        Self { chunks: Vec::new(), roomy: BitSet::default(), len: 0, allocated: 0, generation: NonZeroU32::MIN }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Most of the memory held is free: a shrink may be worth its while.
    pub fn is_sparse(&self) -> bool {
        self.capacity() > 4 * self.len() + 4 * CHUNK
    }

    /// Entries for which memory is held, in use or free.
    pub fn capacity(&self) -> usize {
        self.allocated * CHUNK
    }

    pub fn insert(&mut self, value: T) -> Key {
        self.insert_with(|_| value)
    }

    /// Inserts a value that wants to know its own key.
    ///
    /// # Panics
    /// When there are 2^32 - 64 entries: every slab's owner sets a limit far below.
    pub fn insert_with(&mut self, value: impl FnOnce(Key) -> T) -> Key {
        let number = match self.roomy.first() {
            Some(number) => number,
            None => self.grow(),
        };
        let generation = self.generation;
        let chunk = &mut self.chunks[number];
        let slot = chunk.free.trailing_zeros() as usize;
        let key = Key { index: (number * CHUNK + slot) as u32, generation };
        // The closure may panic; nothing is changed before it has returned.
        let value = value(key);
        chunk.entries[slot] = Some(Entry { generation, value });
        chunk.free &= chunk.free - 1;
        if chunk.free == 0 {
            self.roomy.remove(number);
        }
        self.generation = generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        self.len += 1;
        key
    }

    /// Allocates the lowest chunk that has no memory and returns its number.
    #[cold]
    fn grow(&mut self) -> usize {
        let hole = if self.allocated < self.chunks.len() { self.chunks.iter().position(Chunk::is_freed) } else { None };
        let number = hole.unwrap_or(self.chunks.len());
        assert!(number < (u32::MAX as usize) / CHUNK, "a slab outgrew its 32-bit indices");
        if number == self.chunks.len() {
            self.chunks.push(Chunk::allocated());
        } else {
            self.chunks[number] = Chunk::allocated();
        }
        self.allocated += 1;
        self.roomy.insert(number);
        number
    }

    #[inline]
    fn entry(&self, index: u32) -> Option<&Entry<T>> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.entries.get(index % CHUNK)?.as_ref()
    }

    #[inline]
    fn entry_mut(&mut self, index: u32) -> Option<&mut Entry<T>> {
        let index = index as usize;
        self.chunks.get_mut(index / CHUNK)?.entries.get_mut(index % CHUNK)?.as_mut()
    }

    #[inline]
    pub fn get(&self, key: Key) -> Option<&T> {
        self.entry(key.index).filter(|entry| entry.generation == key.generation).map(|entry| &entry.value)
    }

    #[inline]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.entry_mut(key.index).filter(|entry| entry.generation == key.generation).map(|entry| &mut entry.value)
    }

    #[inline]
    pub fn contains(&self, key: Key) -> bool {
        self.get(key).is_some()
    }

    /// Whatever lives at `index` now: for lists threaded through the entries, which know their neighbours to be alive.
    #[inline]
    pub fn get_index(&self, index: u32) -> Option<&T> {
        self.entry(index).map(|entry| &entry.value)
    }

    /// As [`Slab::get_index`].
    #[inline]
    pub fn get_index_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entry_mut(index).map(|entry| &mut entry.value)
    }

    /// The key of whatever lives at `index` now.
    #[inline]
    pub fn key_at(&self, index: u32) -> Option<Key> {
        self.entry(index).map(|entry| Key { index, generation: entry.generation })
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        self.remove_index(key.index)
    }

    /// Removes whatever lives at `index` now.
    pub fn remove_index(&mut self, index: u32) -> Option<T> {
        let (number, slot) = (index as usize / CHUNK, index as usize % CHUNK);
        let chunk = self.chunks.get_mut(number)?;
        let entry = chunk.entries.get_mut(slot)?.take()?;
        if chunk.free == 0 {
            self.roomy.insert(number);
        }
        chunk.free |= 1 << slot;
        self.len -= 1;
        Some(entry.value)
    }

    /// Frees every chunk in which nothing lives. Walks the chunks: a chore for a quiet moment, not for every turn.
    pub fn shrink(&mut self) {
        for (number, chunk) in self.chunks.iter_mut().enumerate() {
            if chunk.is_unused() && !chunk.is_freed() {
                *chunk = Chunk::freed();
                self.roomy.remove(number);
                self.allocated -= 1;
            }
        }
        while self.chunks.last().is_some_and(Chunk::is_freed) {
            self.chunks.pop();
        }
        if self.chunks.capacity() > self.chunks.len() * 2 {
            self.chunks.shrink_to_fit();
        }
    }

    /// In order of index.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.chunks.iter().enumerate().filter(|(_, chunk)| !chunk.is_unused()).flat_map(|(number, chunk)| {
            chunk.entries.iter().enumerate().filter_map(move |(slot, entry)| {
                let entry = entry.as_ref()?;
                Some((Key { index: (number * CHUNK + slot) as u32, generation: entry.generation }, &entry.value))
            })
        })
    }

    /// In order of index.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.chunks.iter_mut().enumerate().filter(|(_, chunk)| !chunk.is_unused()).flat_map(|(number, chunk)| {
            chunk.entries.iter_mut().enumerate().filter_map(move |(slot, entry)| {
                let entry = entry.as_mut()?;
                Some((Key { index: (number * CHUNK + slot) as u32, generation: entry.generation }, &mut entry.value))
            })
        })
    }
}

#[cfg(test)]
mod tests;
