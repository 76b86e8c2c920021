//! A hierarchical timer wheel: a shard's deadlines, to the millisecond.
//!
//! ```text
//!   level 0   64 slots of 1 tick          a tick is 1 ms; level l has slots of 64^l ticks
//!   level 1   64 slots of 64 ticks
//!   …
//!   level 5   64 slots of 64^5 ticks      2^36 ticks in all, more than two years
//! ```
//!
//! A tick is read as digits of six bits. A timer is filed at the highest digit in which its deadline differs from
//! now, in the slot which that digit names; when now reaches the beginning of the slot, its timers are filed again,
//! further down, or have expired. Deadlines beyond the range wait in the last slot of the top level and are filed again
//! from there.
//!
//! Invariants:
//! * Below the top level, every slot in use comes after now's own digit and before the level's end; hence the lowest
//!   level in use holds the earliest deadline.
//! * `occupied` has a bit exactly for the slots whose list is not empty.
//! * A timer never fires early: deadlines round up to a tick, now rounds down.

use crate::clock::Timestamp;
use crate::slab::{Key, Slab};

const LEVELS: usize = 6;
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
/// The list of timers that were already due when they were inserted.
const OVERDUE: u16 = (LEVELS * SLOTS) as u16;
const LISTS: usize = LEVELS * SLOTS + 1;
const TOP_SHIFT: u32 = DIGIT_BITS * (LEVELS as u32 - 1);
/// The farthest that the top level can tell apart: one slot less than a full turn, for in the slot of now itself a
/// timer of the next turn would look like one of this.
const REACH: u64 = (SLOTS as u64 - 1) << TOP_SHIFT;
/// The end of a list.
const NIL: u32 = u32::MAX;

/// Names one timer until it expires or is cancelled; after that it names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKey(Key);

#[derive(Debug)]
struct Timer<T> {
    deadline: u64,
    previous: u32,
    next: u32,
    list: u16,
    value: T,
}

/// With a waker; every idle connection has one for its time-out: 48 bytes with its generation.
const _: () = assert!(size_of::<Timer<std::task::Waker>>() <= 40);

/// See the module's documentation.
#[derive(Debug)]
pub struct Wheel<T> {
    /// The last tick that was processed.
    now: u64,
    timers: Slab<Timer<T>>,
    heads: Box<[u32; LISTS]>,
    occupied: [u64; LEVELS],
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Wheel<T> {
    pub fn new() -> Self {
        Self { now: 0, timers: Slab::new(), heads: Box::new([NIL; LISTS]), occupied: [0; LEVELS] }
    }

    pub fn len(&self) -> usize {
        self.timers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// Gives memory back after a burst.
    pub fn shrink(&mut self) {
        self.timers.shrink();
    }

    /// Files a timer. One that is due already expires at the next [`Wheel::advance`].
    pub fn insert(&mut self, deadline: Timestamp, value: T) -> TimerKey {
        let deadline = deadline.tick_ceil();
        let key = self.timers.insert(Timer { deadline, previous: NIL, next: NIL, list: OVERDUE, value });
        self.link(key.index(), deadline);
        TimerKey(key)
    }

    /// False when the timer has expired or was cancelled before.
    pub fn cancel(&mut self, key: TimerKey) -> bool {
        let Some(timer) = self.timers.remove(key.0) else {
            return false;
        };
        self.unlink(timer.previous, timer.next, timer.list);
        true
    }

    /// Moves time forward and appends what has expired to `expired`, tick by tick; the order within a tick is not
    /// defined. Time that goes back is ignored.
    pub fn advance(&mut self, now: Timestamp, expired: &mut Vec<T>) {
        self.empty(OVERDUE, expired);
        let now = now.tick_floor();
        while let Some((tick, list)) = self.earliest().filter(|(tick, _)| *tick <= now) {
            self.now = tick;
            self.empty(list, expired);
        }
        self.now = self.now.max(now);
    }

    /// When to call [`Wheel::advance`] next: never after the earliest deadline's tick, but perhaps before it, when a
    /// slot of a higher level has to be filed again. `None` when there are no timers.
    pub fn next(&self) -> Option<Timestamp> {
        let tick = if self.heads[usize::from(OVERDUE)] == NIL { self.earliest()?.0 } else { self.now };
        Some(Timestamp::from_tick(tick))
    }

    /// The beginning of the earliest slot in use, and its list.
    fn earliest(&self) -> Option<(u64, u16)> {
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        let shift = DIGIT_BITS * level as u32;
        let current = self.now >> shift;
        // Only the top level goes round; there, a digit below now's belongs to the next turn.
        let turned = self.occupied[level].rotate_right((current % SLOTS as u64) as u32);
        let tick = (current + u64::from(turned.trailing_zeros())) << shift;
        Some((tick, list_of(tick, level)))
    }

    /// Takes a list apart: each timer expires or is filed again.
    fn empty(&mut self, list: u16, expired: &mut Vec<T>) {
        let mut index = std::mem::replace(&mut self.heads[usize::from(list)], NIL);
        self.mark_empty(list);
        while let Some(timer) = self.timers.get_index(index) {
            let (deadline, next) = (timer.deadline, timer.next);
            if deadline <= self.now {
                expired.extend(self.timers.remove_index(index).map(|timer| timer.value));
            } else {
                self.link(index, deadline);
            }
            index = next;
        }
    }

    /// Puts a timer at the front of the list where its deadline belongs.
    fn link(&mut self, index: u32, deadline: u64) {
        let list = self.list_for(deadline);
        let head = std::mem::replace(&mut self.heads[usize::from(list)], index);
        if let Some(level) = level_of(list) {
            self.occupied[level] |= 1 << (usize::from(list) % SLOTS);
        }
        if let Some(second) = self.timers.get_index_mut(head) {
            second.previous = index;
        }
        if let Some(timer) = self.timers.get_index_mut(index) {
            (timer.previous, timer.next, timer.list) = (NIL, head, list);
        }
    }

    fn list_for(&self, deadline: u64) -> u16 {
        if deadline <= self.now {
            return OVERDUE;
        }
        let deadline = deadline.min(self.now.saturating_add(REACH));
        let digit = (self.now ^ deadline).ilog2() / DIGIT_BITS;
        list_of(deadline, (digit as usize).min(LEVELS - 1))
    }

    /// Closes the gap that a removed timer leaves.
    fn unlink(&mut self, previous: u32, next: u32, list: u16) {
        if let Some(timer) = self.timers.get_index_mut(next) {
            timer.previous = previous;
        }
        if let Some(timer) = self.timers.get_index_mut(previous) {
            timer.next = next;
            return;
        }
        self.heads[usize::from(list)] = next;
        if next == NIL {
            self.mark_empty(list);
        }
    }

    fn mark_empty(&mut self, list: u16) {
        if let Some(level) = level_of(list) {
            self.occupied[level] &= !(1 << (usize::from(list) % SLOTS));
        }
    }
}

/// The list at `level` in whose slot `tick` lies.
fn list_of(tick: u64, level: usize) -> u16 {
    let slot = (tick >> (DIGIT_BITS * level as u32)) as usize % SLOTS;
    (level * SLOTS + slot) as u16
}

/// `None` for the list of overdue timers, which is on no level.
fn level_of(list: u16) -> Option<usize> {
    (list != OVERDUE).then_some(usize::from(list) / SLOTS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rng::Rng;

    fn tick(tick: u64) -> Timestamp {
        Timestamp::from_tick(tick)
    }

    fn advance<T>(wheel: &mut Wheel<T>, to: Timestamp) -> Vec<T> {
        let mut expired = Vec::new();
        wheel.advance(to, &mut expired);
        expired
    }

    #[test]
    fn a_timer_fires_at_its_tick_and_not_before() {
        for deadline in [1, 63, 64, 65, 4095, 4096, 4097, 1 << 24, (1 << 30) + 77, 1 << 36, 1 << 40] {
            let mut wheel = Wheel::new();
            wheel.insert(tick(deadline), deadline);
            assert!(advance(&mut wheel, tick(deadline - 1)).is_empty(), "{deadline}");
            assert_eq!(wheel.next(), Some(tick(deadline)), "{deadline}");
            assert_eq!(advance(&mut wheel, tick(deadline)), [deadline]);
            assert_eq!((wheel.len(), wheel.next()), (0, None));
        }
    }

    #[test]
    fn deadlines_round_up_and_now_rounds_down() {
        let mut wheel = Wheel::new();
        wheel.insert(tick(5) + Duration::from_nanos(1), ());
        let almost = Timestamp::from_nanos(tick(6).as_nanos() - 1);
        assert!(advance(&mut wheel, almost).is_empty());
        assert_eq!(advance(&mut wheel, tick(6)).len(), 1);
    }

    #[test]
    fn an_overdue_timer_expires_at_the_same_tick() {
        let mut wheel = Wheel::new();
        advance(&mut wheel, tick(100));
        wheel.insert(tick(7), 'a');
        let cancelled = wheel.insert(tick(100), 'b');
        assert!(wheel.cancel(cancelled));
        assert_eq!(wheel.next(), Some(tick(100)));
        assert_eq!(advance(&mut wheel, tick(100)), ['a']);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_cancelled_timer_stays_cancelled_and_its_key_goes_stale() {
        let mut wheel = Wheel::new();
        let keys: Vec<TimerKey> = (0..5).map(|value| wheel.insert(tick(9), value)).collect();
        assert!(wheel.cancel(keys[2]) && wheel.cancel(keys[4]) && wheel.cancel(keys[0]));
        assert!(!wheel.cancel(keys[2]));
        let reused = wheel.insert(tick(9), 9);
        assert!(!wheel.cancel(keys[0]) && !wheel.cancel(keys[4]));
        let mut expired = advance(&mut wheel, tick(9));
        expired.sort_unstable();
        assert_eq!(expired, [1, 3, 9]);
        assert!(!wheel.cancel(reused));
    }

    #[test]
    fn never_is_a_deadline_too() {
        let mut wheel = Wheel::new();
        let key = wheel.insert(Timestamp::NEVER, ());
        assert!(advance(&mut wheel, tick(1 << 42)).is_empty());
        assert!(wheel.next().is_some_and(|next| next > tick(1 << 42)));
        assert!(wheel.cancel(key));
    }

    #[test]
    fn time_does_not_go_back() {
        let mut wheel = Wheel::new();
        advance(&mut wheel, tick(1000));
        wheel.insert(tick(1001), ());
        assert!(advance(&mut wheel, tick(3)).is_empty());
        assert_eq!(advance(&mut wheel, tick(1001)).len(), 1);
    }

    #[test]
    fn it_agrees_with_a_naive_model() {
        for seed in 1..60 {
            println!("seed {seed}");
            compare_with_a_list(&mut Rng::new(seed));
        }
    }

    /// Spans of all magnitudes, the range of the wheel and beyond included.
    fn span(rng: &mut Rng) -> u64 {
        let bits_max = if rng.chance(1, 20) { 40 } else { 20 };
        let bits = rng.below(bits_max);
        rng.below(1 << bits)
    }

    fn compare_with_a_list(rng: &mut Rng) {
        let mut wheel = Wheel::new();
        let mut model: Vec<(u64, u64, TimerKey)> = Vec::new();
        let mut gone: Vec<TimerKey> = Vec::new();
        let mut now = span(rng);
        advance(&mut wheel, tick(now));
        for value in 0..2000_u64 {
            match rng.below(4) {
                0 | 1 => {
                    let deadline = (now + span(rng)).saturating_sub(rng.below(3));
                    model.push((deadline, value, wheel.insert(tick(deadline), value)));
                }
                2 if !model.is_empty() => {
                    let (_, _, key) = model.swap_remove(rng.index(model.len()));
                    assert!(wheel.cancel(key));
                    gone.push(key);
                }
                _ => {
                    // Either as a shard does, exactly when told, or late.
                    let before = now;
                    now = match wheel.next() {
                        Some(next) if rng.chance(1, 2) => now.max(next.tick_floor()),
                        _ => now + span(rng),
                    };
                    let expired = advance(&mut wheel, tick(now));
                    let mut due: Vec<_> = model.extract_if(.., |timer| timer.0 <= now).collect();
                    due.sort_unstable_by_key(|(_, value, _)| *value);
                    check_expired(&due, before, &expired);
                    gone.extend(due.into_iter().map(|(_, _, key)| key));
                }
            }
            check_bound(&wheel, &model);
        }
        assert!(gone.into_iter().all(|key| !wheel.cancel(key)));
    }

    fn check_expired(due: &[(u64, u64, TimerKey)], before: u64, expired: &[u64]) {
        let deadline_of = |value: &u64| due.iter().find(|(_, due, _)| due == value).map(|due| due.0);
        let order: Vec<u64> = expired.iter().map(|value| deadline_of(value).expect("fired early")).collect();
        // The overdue ones go first; all others come in the order of their ticks.
        let overdue = order.partition_point(|deadline| *deadline <= before);
        assert!(order[overdue..].is_sorted() && order[overdue..].iter().all(|deadline| *deadline > before));
        let mut values = expired.to_vec();
        values.sort_unstable();
        assert!(values.into_iter().eq(due.iter().map(|(_, value, _)| *value)));
    }

    fn check_bound(wheel: &Wheel<u64>, model: &[(u64, u64, TimerKey)]) {
        assert_eq!(wheel.len(), model.len());
        match (wheel.next(), model.iter().map(|(deadline, ..)| *deadline).min()) {
            (None, None) => {}
            (Some(next), Some(earliest)) => assert!(next.tick_floor() <= earliest.max(wheel.now)),
            (next, earliest) => panic!("{next:?} but the earliest is {earliest:?}"),
        }
    }
}
