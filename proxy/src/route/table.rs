//! A map that is built once and then read: from a number and some bytes to a number.
//!
//! One block of slots with open addressing, at most half full, and one block of bytes. A look-up is one hash and,
//! mostly, one slot; however many keys there are, and whatever is asked for, it ends at the first empty slot.

/// No key has this value.
const EMPTY: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Table {
    slots: Box<[Slot]>,
    bytes: Box<[u8]>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u32,
    parent: u32,
    start: u32,
    len: u32,
    value: u32,
}

/// The keys of a table, before it is built. A key that comes again has its first value.
#[derive(Debug, Default)]
pub(super) struct Keys {
    all: std::collections::HashMap<(u32, Box<[u8]>), u32>,
}

impl Keys {
    pub(super) fn entry(&mut self, parent: u32, key: &[u8], value: impl FnOnce() -> u32) -> u32 {
        *self.all.entry((parent, key.into())).or_insert_with(value)
    }

    /// The number and the value of every key.
    pub(super) fn links(&self) -> impl Iterator<Item = (u32, u32)> {
        self.all.iter().map(|((parent, _), value)| (*parent, *value))
    }

    pub(super) fn build(self) -> Table {
        let mut all: Vec<_> = self.all.into_iter().collect();
        // The same configuration gives the same table.
        all.sort_unstable();
        let count = (all.len() * 2).next_power_of_two();
        let empty = Slot { hash: 0, parent: 0, start: 0, len: 0, value: EMPTY };
        let mut slots = vec![empty; count].into_boxed_slice();
        let mut bytes = Vec::new();
        for ((parent, key), value) in all {
            let hash = hash(parent, &key);
            let mut at = hash as usize & (count - 1);
            while slots[at].value != EMPTY {
                at = (at + 1) & (count - 1);
            }
            slots[at] = Slot { hash, parent, start: bytes.len() as u32, len: key.len() as u32, value };
            bytes.extend_from_slice(&key);
        }
        Table { slots, bytes: bytes.into() }
    }
}

impl Table {
    #[inline]
    pub(super) fn get(&self, parent: u32, key: &[u8]) -> Option<u32> {
        let hash = hash(parent, key);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots.get(at)?;
            if slot.value == EMPTY {
                return None;
            }
            if slot.hash == hash && slot.parent == parent && slot.len as usize == key.len() && self.key(slot) == key {
                return Some(slot.value);
            }
            at = (at + 1) & mask;
        }
    }

    fn key(&self, slot: &Slot) -> &[u8] {
        let start = slot.start as usize;
        self.bytes.get(start..start + slot.len as usize).unwrap_or_default()
    }
}

/// Folded multiplication over words of eight bytes, as wyhash does it. The keys are those of a configuration, so nobody
/// can fill a bucket from outside; a question only ever walks over what they filled.
#[inline]
fn hash(parent: u32, key: &[u8]) -> u32 {
    const A: u64 = 0x9e37_79b9_7f4a_7c15;
    const B: u64 = 0xd6e8_feb8_6659_fd93;
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        (product as u64) ^ ((product >> 64) as u64)
    };
    let mut state = fold(u64::from(parent) ^ A, (key.len() as u64) ^ B);
    let (words, rest) = key.as_chunks::<8>();
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word), A);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        state = fold(state ^ u64::from_le_bytes(word), A);
    }
    (state ^ (state >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_and_others_are_not() {
        let mut keys = Keys::default();
        for number in 0..10_000_u32 {
            let value = keys.entry(number % 7, format!("key-{number}").as_bytes(), || number);
            assert_eq!(value, number);
        }
        assert_eq!(keys.entry(0, b"key-0", || 1), 0);
        keys.entry(3, b"", || 77);
        let table = keys.build();
        for number in 0..10_000_u32 {
            assert_eq!(table.get(number % 7, format!("key-{number}").as_bytes()), Some(number));
            assert_eq!(table.get((number + 1) % 7, format!("key-{number}").as_bytes()), None);
        }
        assert_eq!(table.get(3, b""), Some(77));
        assert_eq!(table.get(4, b""), None);
        assert_eq!(Keys::default().build().get(0, b"a"), None);
    }

    /// No run of full slots is so long that a question by somebody who knows the table would cost anything.
    #[test]
    fn a_look_up_ends_soon() {
        let mut keys = Keys::default();
        for number in 0..100_000_u32 {
            keys.entry(0, format!("/service/{number}").as_bytes(), || number);
        }
        let table = keys.build();
        let longest = table.slots.split(|slot| slot.value == EMPTY).map(<[Slot]>::len).max();
        assert!(longest < Some(64), "{longest:?}");
    }
}
