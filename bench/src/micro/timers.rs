//! Deadlines: the engine's wheel, and a sorted map.

use super::frame::{Candidate, Case};
use balance_engine::{
    clock::Timestamp,
    rng::Rng,
    timer::{TimerKey, Wheel},
};
use std::{collections::BTreeMap, time::Duration};

/// Operations of one call.
const OPERATIONS: usize = 1024;
/// Timers of other connections meanwhile.
const OTHERS: usize = 10_000;
const SEED: u64 = 11;
const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Not reached by any number of rounds, and within the reach of the wheel.
const FAR: Duration = Duration::from_secs(700 * 24 * 3600);

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "insert, then cancel",
            operation: "pair",
            candidates: vec![insert_cancel("wheel", Wheel::new()), insert_cancel("BTreeMap", Sorted::default())],
        },
        Case {
            name: "put off one of 10,000",
            operation: "timer",
            candidates: vec![put_off("wheel", Wheel::new()), put_off("BTreeMap", Sorted::default())],
        },
        Case {
            name: "expire, 4 a turn",
            operation: "timer",
            candidates: vec![
                expire("wheel", Wheel::new, SECOND / 4, by_milli),
                expire("BTreeMap", Sorted::default, SECOND / 4, by_milli),
            ],
        },
        Case {
            name: "expire, one by one in an hour",
            operation: "timer",
            candidates: vec![
                expire("wheel", Wheel::new, HOUR, by_need),
                expire("BTreeMap", Sorted::default, HOUR, by_need),
            ],
        },
        Case {
            name: "a turn, none of 10,000 due",
            operation: "turn",
            candidates: vec![none_due("wheel", Wheel::new()), none_due("BTreeMap", Sorted::default())],
        },
    ]
}

/// A timer that is set and soon not needed: a connect, a write. Answers how many were cancelled.
fn insert_cancel<T: Timers + 'static>(name: &'static str, mut timers: T) -> Candidate {
    let mut rng = Rng::new(SEED);
    for _ in 0..OTHERS {
        timers.insert(in_an_hour(&mut rng), 0);
    }
    let deadlines: Vec<Timestamp> = (0..OPERATIONS).map(|_| in_an_hour(&mut rng)).collect();
    Candidate::new(name, OPERATIONS, move |watch| {
        watch.time(|| {
            let pair = |deadline: &Timestamp| {
                let key = timers.insert(*deadline, 1);
                u64::from(timers.cancel(key))
            };
            deadlines.iter().map(pair).sum()
        })
    })
}

/// The idle timer of a connection that was busy. Answers how many were there to be cancelled.
fn put_off<T: Timers + 'static>(name: &'static str, mut timers: T) -> Candidate {
    let mut rng = Rng::new(SEED);
    let mut keys: Vec<T::Key> = (0..OTHERS).map(|_| timers.insert(in_an_hour(&mut rng), 0)).collect();
    let moves: Vec<(usize, Timestamp)> = (0..OPERATIONS).map(|_| (rng.index(OTHERS), in_an_hour(&mut rng))).collect();
    Candidate::new(name, OPERATIONS, move |watch| {
        watch.time(|| {
            let move_one = |(which, deadline): &(usize, Timestamp)| {
                let was_there = timers.cancel(keys[*which]);
                keys[*which] = timers.insert(*deadline, 0);
                u64::from(was_there)
            };
            moves.iter().map(move_one).sum()
        })
    })
}

/// Timers are set off the clock, their deadlines within `within`, and expire on it. Answers the sum of what expired.
fn expire<T: Timers + 'static>(
    name: &'static str,
    make: impl Fn() -> T + 'static,
    within: Duration,
    run: fn(&mut T, &mut Vec<u32>),
) -> Candidate {
    Candidate::new(name, OPERATIONS, move |watch| {
        let (mut timers, mut rng, mut expired) = (make(), Rng::new(SEED), Vec::with_capacity(OPERATIONS));
        for value in 0..OPERATIONS as u32 {
            timers.insert(Timestamp::START + rng.duration_up_to(within), value);
        }
        watch.time(|| run(&mut timers, &mut expired));
        expired.into_iter().map(u64::from).sum()
    })
}

/// A shard that is busy: it looks every millisecond.
fn by_milli<T: Timers>(timers: &mut T, expired: &mut Vec<u32>) {
    let mut now = Timestamp::START;
    while expired.len() < OPERATIONS {
        now = now + MILLI;
        timers.advance(now, expired);
    }
}

/// A shard that is asleep until it has to look.
fn by_need<T: Timers>(timers: &mut T, expired: &mut Vec<u32>) {
    while let Some(next) = timers.next() {
        timers.advance(next, expired);
    }
}

/// Turns of a millisecond each. Answers how many expired: none.
fn none_due<T: Timers + 'static>(name: &'static str, mut timers: T) -> Candidate {
    let mut rng = Rng::new(SEED);
    for _ in 0..OTHERS {
        timers.insert(in_an_hour(&mut rng) + FAR, 0);
    }
    let (mut now, mut expired) = (Timestamp::START, Vec::new());
    Candidate::new(name, OPERATIONS, move |watch| {
        watch.time(|| {
            for _ in 0..OPERATIONS {
                now = now + MILLI;
                timers.advance(now, &mut expired);
            }
        });
        expired.len() as u64
    })
}

fn in_an_hour(rng: &mut Rng) -> Timestamp {
    Timestamp::START + rng.duration_up_to(HOUR)
}

/// Deadlines, by one way or another.
trait Timers {
    type Key: Copy;

    fn insert(&mut self, deadline: Timestamp, value: u32) -> Self::Key;

    /// False when it was not there any more.
    fn cancel(&mut self, key: Self::Key) -> bool;

    fn advance(&mut self, now: Timestamp, expired: &mut Vec<u32>);

    /// When to advance next.
    fn next(&self) -> Option<Timestamp>;
}

impl Timers for Wheel<u32> {
    type Key = TimerKey;

    #[inline]
    fn insert(&mut self, deadline: Timestamp, value: u32) -> TimerKey {
        self.insert(deadline, value)
    }

    #[inline]
    fn cancel(&mut self, key: TimerKey) -> bool {
        self.cancel(key)
    }

    #[inline]
    fn advance(&mut self, now: Timestamp, expired: &mut Vec<u32>) {
        self.advance(now, expired);
    }

    #[inline]
    fn next(&self) -> Option<Timestamp> {
        self.next()
    }
}

/// By tick, as the wheel counts them, and by a number that tells apart what is due at the same one.
#[derive(Default)]
struct Sorted {
    timers: BTreeMap<(u64, u64), u32>,
    number: u64,
}

impl Timers for Sorted {
    type Key = (u64, u64);

    #[inline]
    fn insert(&mut self, deadline: Timestamp, value: u32) -> Self::Key {
        self.number += 1;
        let key = (deadline.tick_ceil(), self.number);
        self.timers.insert(key, value);
        key
    }

    #[inline]
    fn cancel(&mut self, key: Self::Key) -> bool {
        self.timers.remove(&key).is_some()
    }

    #[inline]
    fn advance(&mut self, now: Timestamp, expired: &mut Vec<u32>) {
        let now = now.tick_floor();
        while let Some(first) = self.timers.first_entry()
            && first.key().0 <= now
        {
            expired.push(first.remove());
        }
    }

    #[inline]
    fn next(&self) -> Option<Timestamp> {
        self.timers.first_key_value().map(|((tick, _), _)| Timestamp::from_tick(*tick))
    }
}
