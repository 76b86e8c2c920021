//! One entry for each address in use, in sets of eight. An address may be in two of the sets, in the one with more
//! room when it came.
//!
//! Two choices are what keeps sets from filling long before the table does: of 65,536 entries, about three quarters are
//! in use when the first address finds both of its sets full, and when as many addresses are in use as there are
//! entries, 4 % of them are in the overflow (a test holds these to 70 % and 5 %). And since an address is nowhere else,
//! entries can become vacant without anybody noticing: there is no chain of probes to break, so nothing to be deleted,
//! moved or rebuilt.

use super::Key;
use balance_engine::clock::Timestamp;

const WAYS: usize = 8;

/// In use while it has connections or a bucket that is not full, and vacant else, whatever the key says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) full_at: Timestamp,
    pub(super) connections: u32,
    /// At the most so many connections of this address are counted in the overflow. None come in while it has an entry.
    pub(super) elsewhere: u32,
}

/// [`super::BYTES_PER_ENTRY`] counts on it, and three lines of cache hold a set.
const _: () = assert!(size_of::<Entry>() == 24);

impl Entry {
    /// Once vacant, it stays so until it is charged: time goes one way.
    fn is_vacant(&self, now: Timestamp) -> bool {
        self.connections == 0 && self.full_at <= now
    }

    /// One more of the address whose entry this is.
    pub(super) fn charge(&mut self, full_at: Timestamp, connections: u32) {
        self.full_at = full_at;
        self.connections += connections;
    }
}

/// Where an address is filed, or would be.
pub(super) enum Place<'a> {
    Known(&'a mut Entry),
    Vacant(&'a mut Entry),
    /// Both sets are full of entries in use.
    Nowhere,
}

#[derive(Debug)]
pub(super) struct Table {
    sets: Box<[[Entry; WAYS]]>,
}

impl Table {
    pub(super) fn new(entries_max: usize) -> Self {
        let sets = entries_max.div_ceil(WAYS).clamp(2, u32::MAX as usize);
        Self { sets: vec![[Entry::default(); WAYS]; sets].into() }
    }

    /// The two sets of a hash: different ones, by its two halves (multiply and shift, as `Rng::below`).
    pub(super) fn choices(&self, hash: u64) -> [usize; 2] {
        let scaled = |half: u32, sets: usize| ((u64::from(half) * sets as u64) >> 32) as usize;
        let first = scaled(hash as u32, self.sets.len());
        let second = scaled((hash >> 32) as u32, self.sets.len() - 1);
        [first, if second < first { second } else { second + 1 }]
    }

    pub(super) fn find(&mut self, key: Key, hash: u64, now: Timestamp) -> Place<'_> {
        let choices = self.choices(hash);
        // A vacant entry is nobody's, not even that of the address it once was of, which may be in the other set now.
        let known = |entry: &Entry| entry.key == key && !entry.is_vacant(now);
        for set in choices {
            if let Some(way) = self.sets[set].iter().position(known) {
                return Place::Known(&mut self.sets[set][way]);
            }
        }
        let room = |set: usize| self.sets[set].iter().filter(|entry| entry.is_vacant(now)).count();
        let [first, second] = choices;
        let roomier = if room(second) > room(first) { second } else { first };
        match self.sets[roomier].iter_mut().find(|entry| entry.is_vacant(now)) {
            Some(entry) => Place::Vacant(entry),
            None => Place::Nowhere,
        }
    }

    /// A connection that was counted in the entry of `key` has ended. There is one: nobody else gets an entry that has
    /// connections.
    pub(super) fn release(&mut self, key: Key, hash: u64) {
        let choices = self.choices(hash);
        let holds = |entry: &Entry| entry.key == key && entry.connections > 0;
        for set in choices {
            if let Some(way) = self.sets[set].iter().position(holds) {
                self.sets[set][way].connections -= 1;
                return;
            }
        }
        debug_assert!(false, "a ticket of another table");
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    /// How many entries are in use.
    #[cfg(test)]
    pub(super) fn in_use(&self, now: Timestamp) -> usize {
        self.sets.iter().flatten().filter(|entry| !entry.is_vacant(now)).count()
    }

    #[cfg(test)]
    pub(super) fn sets_mut(&mut self) -> &mut [[Entry; WAYS]] {
        &mut self.sets
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sets.len() * WAYS
    }
}
