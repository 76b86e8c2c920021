use std::collections::BTreeMap;

use super::*;
use crate::rng::Rng;

#[test]
fn an_entry_costs_at_most_eight_bytes_over_its_value() {
    assert_eq!(size_of::<Option<Entry<u64>>>(), 16);
    assert_eq!(size_of::<Option<Entry<u32>>>(), 8);
    assert!(size_of::<Option<Entry<[u64; 9]>>>() <= 80);
    assert_eq!(size_of::<Option<Key>>(), 8);
}

#[test]
fn a_key_survives_its_trip_through_user_data() {
    let mut slab = Slab::new();
    let key = slab.insert('x');
    assert_eq!(Key::from_u64(key.to_u64()), Some(key));
    assert_eq!(Key::from_u64(7), None);
    assert_ne!(key.to_u64(), 0);
}

#[test]
fn a_stale_key_is_none_even_after_its_chunk_was_freed() {
    let mut slab = Slab::new();
    let old = slab.insert(1);
    assert_eq!(slab.remove(old), Some(1));
    assert_eq!(slab.remove(old), None);
    slab.shrink();
    assert_eq!(slab.capacity(), 0);
    assert_eq!(slab.get(old), None);
    let new = slab.insert(2);
    assert_eq!(new.index(), old.index());
    assert_eq!(slab.get(old), None);
    assert_eq!(slab.get_mut(old), None);
    assert_eq!(slab.get(new), Some(&2));
}

#[test]
fn a_burst_is_given_back() {
    let mut slab = Slab::new();
    let keys: Vec<Key> = (0..1000).map(|number| slab.insert(number)).collect();
    assert_eq!(slab.capacity(), 1024);
    for key in &keys[..990] {
        slab.remove(*key);
    }
    // Ten are left, all in the last chunk; what comes now goes to the lowest.
    slab.shrink();
    assert_eq!(slab.capacity(), CHUNK);
    let fresh = slab.insert(5000);
    assert!(fresh.index() >= 960, "room in a chunk that has memory goes before a new chunk");
    for key in &keys[990..] {
        assert!(slab.remove(*key).is_some());
    }
    slab.remove(fresh);
    slab.shrink();
    assert_eq!((slab.capacity(), slab.len()), (0, 0));
    assert_eq!(slab.insert(1).index(), 0);
}

#[test]
fn a_panic_while_building_a_value_changes_nothing() {
    let mut slab = Slab::new();
    let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| slab.insert_with(|_| panic!("no"))));
    assert!(attempt.is_err());
    assert_eq!(slab.len(), 0);
    slab.insert_with(|key| assert_eq!(key.index(), 0));
}

#[test]
fn it_agrees_with_a_map() {
    for seed in 1..20 {
        println!("seed {seed}");
        compare_with_a_map(&mut Rng::new(seed));
    }
}

fn compare_with_a_map(rng: &mut Rng) {
    let mut slab = Slab::new();
    let mut model: BTreeMap<Key, u64> = BTreeMap::new();
    let mut dead: Vec<Key> = Vec::new();
    for step in 0..4000_u64 {
        // The tide turns every 500 steps, so that chunks fill and run empty.
        let inserts = if (step / 500) % 2 == 0 { 7 } else { 2 };
        match rng.below(10) {
            roll if roll < inserts => {
                let key = slab.insert(step);
                assert_eq!(model.insert(key, step), None);
            }
            9 => slab.shrink(),
            _ => {
                let nth = rng.below(model.len().max(1) as u64) as usize;
                if let Some(key) = model.keys().nth(nth).copied() {
                    assert_eq!(slab.remove(key), model.remove(&key));
                    dead.push(key);
                }
            }
        }
        assert_eq!(slab.len(), model.len());
    }
    assert!(dead.iter().all(|key| slab.get(*key).is_none()));
    assert!(model.iter().all(|(key, value)| slab.get(*key) == Some(value)));
    let mut seen: Vec<(Key, u64)> = slab.iter().map(|(key, value)| (key, *value)).collect();
    assert!(seen.is_sorted_by_key(|(key, _)| key.index()));
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(model.iter().map(|(key, value)| (*key, *value))));
    assert_eq!(slab.iter_mut().count(), model.len());
}
