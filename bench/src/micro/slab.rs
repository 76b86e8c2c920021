//! Rows that come and go: the engine's slab, one that has to grow anew, and a map of boxes.
//!
//! Every connection has a row in its table, every task an entry, every operation a slot. "New" is the same slab without
//! what it is for, the memory of those that went before: it is made off the clock and grows on it.

use super::frame::{Candidate, Case};
use balance_engine::{
    rng::Rng,
    slab::{Key, Slab},
};
use std::collections::HashMap;

/// Operations of one call.
const OPERATIONS: usize = 1024;
/// Rows of others meanwhile.
const OTHERS: usize = 10_000;
const SEED: u64 = 17;

/// As large as a row of the connection table.
type Row = [u64; 12];

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "come and go, 10,000 others",
            operation: "row",
            candidates: vec![come_and_go("slab", Slab::new()), come_and_go("HashMap<Box>", Boxes::default())],
        },
        Case {
            name: "a burst of 1,024",
            operation: "row",
            candidates: vec![
                burst("slab", Slab::new()),
                burst_anew("slab, new", Slab::new),
                burst("HashMap<Box>", Boxes::default()),
            ],
        },
        Case {
            name: "look up one of 10,000",
            operation: "look-up",
            candidates: vec![look_up("slab", Slab::new()), look_up("HashMap<Box>", Boxes::default())],
        },
    ]
}

/// One comes as another goes. Answers how many went: all.
fn come_and_go<R: Rows + 'static>(name: &'static str, mut rows: R) -> Candidate {
    let mut rng = Rng::new(SEED);
    let mut keys: Vec<R::Key> = (0..OTHERS).map(|number| rows.come([number as u64; 12])).collect();
    let places: Vec<usize> = (0..OPERATIONS).map(|_| rng.index(OTHERS)).collect();
    Candidate::new(name, OPERATIONS, move |watch| {
        watch.time(|| {
            let exchange = |place: &usize| {
                let went = rows.go(keys[*place]);
                keys[*place] = rows.come([*place as u64; 12]);
                u64::from(went.is_some())
            };
            places.iter().map(exchange).sum()
        })
    })
}

/// All come, then all go, in any order. Answers the sum of what they were.
fn burst<R: Rows + 'static>(name: &'static str, mut rows: R) -> Candidate {
    let order = shuffled();
    let mut keys = Vec::with_capacity(OPERATIONS);
    Candidate::new(name, OPERATIONS, move |watch| watch.time(|| come_then_go(&mut rows, &mut keys, &order)))
}

/// As [`burst`], with a table that never held anything.
fn burst_anew<R: Rows + 'static>(name: &'static str, make: impl Fn() -> R + 'static) -> Candidate {
    let order = shuffled();
    let mut keys = Vec::with_capacity(OPERATIONS);
    Candidate::new(name, OPERATIONS, move |watch| {
        let mut rows = make();
        watch.time(|| come_then_go(&mut rows, &mut keys, &order))
    })
}

fn come_then_go<R: Rows>(rows: &mut R, keys: &mut Vec<R::Key>, order: &[usize]) -> u64 {
    keys.clear();
    keys.extend((0..OPERATIONS).map(|number| rows.come([number as u64; 12])));
    order.iter().filter_map(|at| rows.go(keys[*at])).map(|row| row[0]).sum()
}

fn shuffled() -> Vec<usize> {
    let mut order: Vec<usize> = (0..OPERATIONS).collect();
    Rng::new(SEED).shuffle(&mut order);
    order
}

/// Answers the sum of what was found.
fn look_up<R: Rows + 'static>(name: &'static str, mut rows: R) -> Candidate {
    let mut rng = Rng::new(SEED);
    let keys: Vec<R::Key> = (0..OTHERS).map(|number| rows.come([number as u64; 12])).collect();
    let asked: Vec<R::Key> = (0..OPERATIONS).map(|_| keys[rng.index(OTHERS)]).collect();
    Candidate::new(name, OPERATIONS, move |watch| watch.time(|| asked.iter().filter_map(|key| rows.find(*key)).sum()))
}

/// A table of rows, by one way or another.
trait Rows {
    type Key: Copy;

    fn come(&mut self, row: Row) -> Self::Key;

    fn go(&mut self, key: Self::Key) -> Option<Row>;

    /// The first word of a row.
    fn find(&self, key: Self::Key) -> Option<u64>;
}

impl Rows for Slab<Row> {
    type Key = Key;

    #[inline]
    fn come(&mut self, row: Row) -> Key {
        self.insert(row)
    }

    #[inline]
    fn go(&mut self, key: Key) -> Option<Row> {
        self.remove(key)
    }

    #[inline]
    fn find(&self, key: Key) -> Option<u64> {
        self.get(key).map(|row| row[0])
    }
}

/// A stale number finds nothing, as a stale key of the slab does.
#[derive(Default)]
struct Boxes {
    rows: HashMap<u64, Box<Row>>,
    next: u64,
}

impl Rows for Boxes {
    type Key = u64;

    #[inline]
    fn come(&mut self, row: Row) -> u64 {
        self.next += 1;
        self.rows.insert(self.next, Box::new(row));
        self.next
    }

    #[inline]
    fn go(&mut self, key: u64) -> Option<Row> {
        self.rows.remove(&key).map(|row| *row)
    }

    #[inline]
    fn find(&self, key: u64) -> Option<u64> {
        self.rows.get(&key).map(|row| row[0])
    }
}
