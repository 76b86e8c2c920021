//! Header names of a shard as small numbers: equal names, in whatever case, are equal ids.
//!
//! ```text
//!   known   constant ids, at compile time
//!   others  buckets ─► chain of entries in a slab; those not pinned are also in a list by last use:
//!           newest ⇄ … ⇄ oldest ─► evicted when the byte cap needs room
//! ```
//!
//! Invariants:
//! * An id names one name for ever. The id of an evicted name resolves to `None`, never to the name that has taken its
//!   place: it carries the slab's generation.
//! * Two ids that are both alive are equal exactly when their names are.
//! * A pinned name is not evicted. A request pins what it holds and unpins it when it ends; when pins fill the cap, new
//!   names are refused and the request goes on with the bytes it has.
//! * `bytes` is the sum of what the entries cost and never exceeds the cap.

pub mod known;
mod words;

use crate::{
    intern::words::Keys,
    slab::{Key, Slab},
};

pub use words::is_token;

/// A longer name is not worth remembering: nobody sends one twice, unless to fill the cache.
const NAME_BYTES_MAX: usize = 128;
/// What an entry costs over its name: the slab's entry and the allocator's header.
const ENTRY_BYTES: usize = size_of::<Option<Entry>>() + 16;
/// Buckets are made for names of this length on average, so a chain has about one entry when the cache is full.
const NAME_BYTES_USUAL: usize = 16;
/// The end of a chain or list.
const NIL: u32 = u32::MAX;

/// The id of a header name. Equal ids are equal names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NameRef(Id);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Id {
    Known(u32),
    Learned(Key),
}

impl NameRef {
    const fn known(number: u32) -> Self {
        Self(Id::Known(number))
    }

    /// The place in the list of [`known`] names, below [`known::COUNT`]; `None` for a learned one.
    #[inline]
    pub const fn known_number(self) -> Option<u32> {
        match self.0 {
            Id::Known(number) => Some(number),
            Id::Learned(_) => None,
        }
    }

    /// True for the names in [`known`], which are never evicted and need no pin.
    #[inline]
    pub fn is_known(self) -> bool {
        matches!(self.0, Id::Known(_))
    }
}

#[derive(Debug)]
struct Entry {
    /// Lower case.
    name: Box<str>,
    hash: u32,
    /// The next entry of the same bucket.
    chain: u32,
    /// Neighbours by last use; meaningless while pinned.
    newer: u32,
    older: u32,
    /// While this is not zero the entry is out of the list by last use.
    pins: u32,
}

/// What an interner has done since it was made, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InternStats {
    /// Lookups that found a name known at compile time.
    pub known_hits: u64,
    /// Lookups that found a learned name.
    pub hits: u64,
    /// Lookups that learned a name or refused it.
    pub misses: u64,
    pub evictions: u64,
    /// Names that were too long, or for which pins left no room. Names that are no tokens do not count.
    pub refused: u64,
    pub entries: u64,
    pub bytes: u64,
    /// The part of `bytes` that cannot be evicted now.
    pub pinned_bytes: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Interner {
    bytes_max: usize,
    bytes: usize,
    pinned_bytes: usize,
    keys: Keys,
    entries: Slab<Entry>,
    /// By hash, the first entry of each chain. A power of two of them.
    buckets: Box<[u32]>,
    newest: u32,
    oldest: u32,
    stats: InternStats,
}

impl Interner {
    /// `bytes_max` is what learned names may cost, a few words of overhead each included. The seed must be secret:
    /// whoever knows it can send names that all fall into one bucket.
    pub fn new(bytes_max: usize, seed: u64) -> Self {
        let buckets = (bytes_max / (ENTRY_BYTES + NAME_BYTES_USUAL)).next_power_of_two();
        Self {
            bytes_max,
            bytes: 0,
            pinned_bytes: 0,
            keys: Keys::new(seed),
            entries: Slab::new(),
            buckets: vec![NIL; buckets].into(),
            newest: NIL,
            oldest: NIL,
            stats: InternStats::default(),
        }
    }

    /// The id of a name, learned if need be.
    ///
    /// The id of a learned name is good until the name is evicted, which a later call may do: pin it to keep it.
    /// `None` when `name` is not a token, or is not remembered because it is too long or pins leave no room.
    #[inline]
    pub fn intern(&mut self, name: &[u8]) -> Option<NameRef> {
        if let Some(number) = known::find(name) {
            self.stats.known_hits += 1;
            return Some(NameRef::known(number));
        }
        self.intern_other(name)
    }

    /// Not inlined, for it would need registers that finding a known name then has to save.
    #[inline(never)]
    fn intern_other(&mut self, name: &[u8]) -> Option<NameRef> {
        if name.len() > NAME_BYTES_MAX {
            self.stats.refused += u64::from(is_token(name));
            return None;
        }
        let hash = self.keys.hash_token(name)?;
        let found = self.find(name, hash).or_else(|| self.learn(name, hash))?;
        Some(NameRef(Id::Learned(found)))
    }

    /// The id of a name that is known or remembered. Learns nothing, so that what a peer sends evicts nothing,
    /// allocates nothing, and is hashed only where a name has been learned at all.
    ///
    /// `None` says nothing about whether `name` is a token.
    #[inline]
    pub fn lookup(&self, name: &[u8]) -> Option<NameRef> {
        if let Some(number) = known::find(name) {
            return Some(NameRef::known(number));
        }
        if self.entries.is_empty() || name.len() > NAME_BYTES_MAX {
            return None;
        }
        let hash = self.keys.hash_token(name)?;
        self.seek(name, hash).map(|key| NameRef(Id::Learned(key)))
    }

    /// The name in lower case; `None` when it has been evicted.
    #[inline]
    pub fn resolve(&self, name: NameRef) -> Option<&str> {
        match name.0 {
            Id::Known(number) => known::NAMES.get(number as usize).copied(),
            Id::Learned(key) => self.entries.get(key).map(|entry| &*entry.name),
        }
    }

    /// Keeps a name from being evicted until as many [`Interner::unpin`] have followed. False when it has been evicted
    /// already; then there is nothing to unpin. A known name needs no pin, and pinning it does nothing.
    #[must_use]
    pub fn pin(&mut self, name: NameRef) -> bool {
        let Id::Learned(key) = name.0 else {
            return true;
        };
        let Some(entry) = self.entries.get_mut(key) else {
            return false;
        };
        // A count at its limit is refused like an evicted name, for wrapping would unpin what others hold.
        let Some(pins) = entry.pins.checked_add(1) else {
            return false;
        };
        entry.pins = pins;
        if pins == 1 {
            self.pinned_bytes += cost(&entry.name);
            self.leave_list(key.index());
        }
        true
    }

    /// Undoes one [`Interner::pin`].
    pub fn unpin(&mut self, name: NameRef) {
        let Id::Learned(key) = name.0 else {
            return;
        };
        let entry = self.entries.get_mut(key).filter(|entry| entry.pins > 0);
        debug_assert!(entry.is_some(), "unpinned a name that was not pinned");
        let Some(entry) = entry else {
            return;
        };
        entry.pins -= 1;
        if entry.pins == 0 {
            self.pinned_bytes -= cost(&entry.name);
            self.enter_list(key.index());
        }
    }

    pub fn stats(&self) -> InternStats {
        InternStats {
            entries: self.entries.len() as u64,
            bytes: self.bytes as u64,
            pinned_bytes: self.pinned_bytes as u64,
            ..self.stats
        }
    }

    /// The bucket in which a learned name is looked for, out of how many; `None` when `name` is no token or too long.
    ///
    /// For whoever measures what a bad spread costs. Looks nothing up and learns nothing.
    pub fn bucket_of(&self, name: &[u8]) -> Option<(usize, usize)> {
        let name = Some(name).filter(|name| name.len() <= NAME_BYTES_MAX)?;
        Some((self.bucket(self.keys.hash_token(name)?), self.buckets.len()))
    }

    fn bucket(&self, hash: u32) -> usize {
        hash as usize & (self.buckets.len() - 1)
    }

    /// The entry of a name, a token in any case, which stays where it is in the list by last use.
    fn seek(&self, name: &[u8], hash: u32) -> Option<Key> {
        let mut index = self.buckets[self.bucket(hash)];
        while let Some(entry) = self.entries.get_index(index) {
            if entry.hash == hash && words::is_lower_of(entry.name.as_bytes(), name) {
                return self.entries.key_at(index);
            }
            index = entry.chain;
        }
        None
    }

    /// `name` is a token, in any case.
    #[inline]
    fn find(&mut self, name: &[u8], hash: u32) -> Option<Key> {
        let mut index = self.buckets[self.bucket(hash)];
        while let Some(entry) = self.entries.get_index(index) {
            if entry.hash == hash && words::is_lower_of(entry.name.as_bytes(), name) {
                let (pinned, newer, older) = (entry.pins > 0, entry.newer, entry.older);
                self.stats.hits += 1;
                if !pinned && index != self.newest {
                    self.renew(index, newer, older);
                }
                return self.entries.key_at(index);
            }
            index = entry.chain;
        }
        None
    }

    /// `name` is a token, in any case.
    #[cold]
    fn learn(&mut self, name: &[u8], hash: u32) -> Option<Key> {
        self.stats.misses += 1;
        // Tokens are ASCII, so this never fails.
        let name = std::str::from_utf8(name).ok()?;
        let cost = cost(name);
        // First whether it can fit at all, so that nothing is evicted in vain.
        if cost > self.bytes_max - self.pinned_bytes {
            self.stats.refused += 1;
            return None;
        }
        while cost > self.bytes_max - self.bytes {
            self.evict_oldest();
        }
        self.bytes += cost;
        let bucket = self.bucket(hash);
        let chain = self.buckets[bucket];
        let entry = Entry { name: name.to_ascii_lowercase().into(), hash, chain, newer: NIL, older: NIL, pins: 0 };
        let key = self.entries.insert(entry);
        self.buckets[bucket] = key.index();
        self.enter_list(key.index());
        Some(key)
    }

    /// There is always an oldest when this is called: what is not pinned is in the list, and the caller has made sure
    /// that pins alone do not fill the cap.
    fn evict_oldest(&mut self) {
        let index = self.oldest;
        self.leave_list(index);
        self.leave_chain(index);
        let entry = self.entries.remove_index(index).expect("bytes that are not pinned belong to the list");
        self.bytes -= cost(&entry.name);
        self.stats.evictions += 1;
    }

    fn leave_chain(&mut self, index: u32) {
        let Some(entry) = self.entries.get_index(index) else {
            return;
        };
        let (bucket, next) = (self.bucket(entry.hash), entry.chain);
        if self.buckets[bucket] == index {
            self.buckets[bucket] = next;
            return;
        }
        let mut at = self.buckets[bucket];
        while let Some(entry) = self.entries.get_index_mut(at) {
            if entry.chain == index {
                entry.chain = next;
                return;
            }
            at = entry.chain;
        }
    }

    /// From its place between two neighbours to the newest, which it is not.
    #[inline]
    fn renew(&mut self, index: u32, newer: u32, older: u32) {
        if let Some(entry) = self.entries.get_index_mut(newer) {
            entry.older = older;
        }
        match self.entries.get_index_mut(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        self.enter_list(index);
    }

    /// As the newest.
    fn enter_list(&mut self, index: u32) {
        let second = std::mem::replace(&mut self.newest, index);
        if let Some(entry) = self.entries.get_index_mut(index) {
            (entry.newer, entry.older) = (NIL, second);
        }
        match self.entries.get_index_mut(second) {
            Some(entry) => entry.newer = index,
            None => self.oldest = index,
        }
    }

    fn leave_list(&mut self, index: u32) {
        let Some(entry) = self.entries.get_index(index) else {
            return;
        };
        let (newer, older) = (entry.newer, entry.older);
        match self.entries.get_index_mut(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
        match self.entries.get_index_mut(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
    }
}

fn cost(name: &str) -> usize {
    name.len() + ENTRY_BYTES
}

#[cfg(test)]
mod tests;
