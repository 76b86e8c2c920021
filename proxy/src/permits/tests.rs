//! Permits with simulated shards, seeded; with real threads; and the protocol of waiting, every interleaving of it.
#![allow(clippy::disallowed_methods, reason = "threads wait for one another, with a clock of their own")]

use super::*;
use balance_engine::{mailbox, rng::Rng};
use std::{
    collections::HashSet,
    rc::Rc,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicI64},
    },
    thread,
    time::{Duration, Instant},
};

fn limit(max: u32) -> Arc<Limit> {
    Limit::new(Some(max), WaitList::new())
}

fn lease_of(limit: &Arc<Limit>) -> Rc<Lease> {
    Rc::new(Lease::new(limit))
}

fn take_all(lease: &Rc<Lease>) -> Vec<Permit> {
    std::iter::from_fn(|| Permit::take(lease)).collect()
}

#[test]
fn a_shard_alone_gets_all_and_no_more() {
    for max in [1, 2, 63, 64, 1000, 5000] {
        let limit = limit(max);
        let lease = lease_of(&limit);
        let permits = take_all(&lease);
        assert_eq!((permits.len(), limit.leased(), lease.live()), (max as usize, u64::from(max), max));
        assert!(!lease.has_some(Look::Everywhere));
        drop(permits);
        assert_eq!(lease.live(), 0);
        drop(lease);
        assert_eq!(limit.leased(), 0);
    }
}

#[test]
fn far_from_the_limit_only_one_in_many_connections_touches_the_pool() {
    let limit = limit(100_000);
    let lease = lease_of(&limit);
    let mut permits: Vec<Permit> = (0..100).filter_map(|_| Permit::take(&lease)).collect();
    let mut rng = Rng::new(3);
    let mut changes = 0;
    let mut leased = limit.leased();
    for _ in 0..10_000 {
        // Around a hundred at once, as a shard in steady state.
        if permits.len() < 90 || (permits.len() < 110 && rng.chance(1, 2)) {
            permits.extend(Permit::take(&lease));
        } else {
            drop(permits.swap_remove(rng.index(permits.len())));
        }
        changes += u32::from(limit.leased() != leased);
        leased = limit.leased();
    }
    assert!(changes < 20, "{changes} of 10000 connections wrote a shared line");
}

#[test]
fn what_idle_shards_keep_is_not_lost_to_a_busy_one() {
    let limit = limit(1000);
    let shards: Vec<_> = (0..16).map(|_| lease_of(&limit)).collect();
    for lease in &shards[1..] {
        drop((0..60).filter_map(|_| Permit::take(lease)).collect::<Vec<_>>());
    }
    assert!(limit.leased() > 100, "idle shards keep a reserve: {}", limit.leased());
    assert_eq!(take_all(&shards[0]).len(), 1000);
}

#[test]
fn the_last_permits_go_one_by_one() {
    let limit = limit(100);
    let (one, other) = (lease_of(&limit), lease_of(&limit));
    let most: Vec<_> = (0..60).filter_map(|_| Permit::take(&one)).collect();
    let before = limit.leased();
    let _last = Permit::take(&other).unwrap();
    assert_eq!(limit.leased() - before, 1);
    drop(most);
}

#[test]
fn a_lowered_limit_ends_nobody_and_lets_nobody_in_until_it_is_met() {
    let limit = limit(100);
    let (one, other) = (lease_of(&limit), lease_of(&limit));
    let mut permits: Vec<_> = (0..80).filter_map(|_| Permit::take(&one)).collect();
    drop((0..10).filter_map(|_| Permit::take(&other)).collect::<Vec<_>>());
    limit.set_max(Some(50));
    assert_eq!((limit.max(), limit.leased()), (Some(50), 80));
    assert!(Permit::take(&one).is_none() && Permit::take(&other).is_none());
    permits.truncate(51);
    assert!(Permit::take(&one).is_none() && Permit::take(&other).is_none());
    permits.truncate(49);
    assert!(Permit::take(&other).is_some());
    limit.set_max(Some(60));
    permits.extend(take_all(&other));
    assert_eq!(permits.len(), 60);
}

#[test]
fn a_limit_set_on_what_had_none_counts_those_who_are_there() {
    let limit = Limit::new(None, WaitList::new());
    let lease = lease_of(&limit);
    let mut permits: Vec<_> = (0..10).filter_map(|_| Permit::take(&lease)).collect();
    assert_eq!(limit.max(), None);
    limit.set_max(Some(12));
    permits.extend(take_all(&lease));
    assert_eq!(permits.len(), 12);
    limit.set_max(None);
    permits.extend((0..100).filter_map(|_| Permit::take(&lease)));
    assert_eq!(permits.len(), 112);
}

#[test]
fn a_shard_that_is_gone_has_given_everything_back() {
    let limit = limit(100);
    let lease = lease_of(&limit);
    let permit = Permit::take(&lease).unwrap();
    drop((0..40).filter_map(|_| Permit::take(&lease)).collect::<Vec<_>>());
    drop(lease);
    assert!(limit.leased() > 0);
    drop(permit);
    assert_eq!((limit.leased(), limit.lock().len()), (0, 0));
}

#[test]
fn those_who_wait_are_called_in_order() {
    let limit = limit(1);
    let lease = lease_of(&limit);
    let (near, far) = (Calls::new(None), Calls::new(None));
    let held = Permit::take(&lease).unwrap();
    let waits = limit.waits();
    let tickets: Vec<_> = [&near, &far, &near].into_iter().zip(1..).map(|(c, key)| waits.enter(3, c, key)).collect();
    assert!(waits.enter(3, &near, 9).is_none());
    let [first, second, third] = tickets.into_iter().collect::<Option<Vec<_>>>().unwrap()[..] else { panic!() };
    drop(held);
    assert_eq!((near.take(), far.take()), (vec![1], vec![]));
    // One in the middle gives up; nobody needs to be told. The first takes the permit and leaves.
    waits.leave(second);
    assert_eq!((near.take(), far.take()), (vec![], vec![]));
    assert!(waits.is_first(first) && !waits.is_first(third));
    let held = Permit::take(&lease).unwrap();
    waits.leave(first);
    assert_eq!(near.take(), [3]);
    // What the first itself puts back is no news to it.
    held.put_back(Some(third));
    assert_eq!(near.take(), [0; 0]);
    waits.leave(third);
    assert!(waits.is_empty());
}

/// Something with a limit, inside something else with one.
struct Room {
    lease: Lease,
    house: Rc<Lease>,
}

impl Grants for Room {
    fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl Inside for Room {
    type Outer = Lease;

    fn outer(&self) -> &Rc<Lease> {
        &self.house
    }
}

#[test]
fn a_place_is_two_permits_and_gives_each_back_once() {
    let (inner, outer) = (limit(1), limit(3));
    let house = lease_of(&outer);
    let room = Rc::new(Room { lease: Lease::new(&inner), house: Rc::clone(&house) });
    let live = || (room.lease.live(), house.live());
    let enter = || Place::enter(Permit::take(&house).unwrap(), &room);
    let mut place = enter().ok().unwrap();
    assert!(place.get().is_some_and(|at| Rc::ptr_eq(at, &room)));
    assert_eq!(live(), (1, 1));
    // Who does not get in keeps what it came with.
    let Err(second) = enter() else { panic!("there was one permit") };
    assert_eq!(live(), (1, 2));
    drop(second);
    assert_eq!(live(), (1, 1));
    let (permit, entry) = place.split().unwrap();
    assert!(place.get().is_none() && place.split().is_none());
    drop(place);
    assert_eq!(live(), (1, 1));
    drop(permit);
    assert_eq!(live(), (0, 1));
    // From one attempt to the next.
    let again = Place::enter(entry, &room).ok().unwrap();
    assert_eq!(live(), (1, 1));
    drop(again);
    assert_eq!(live(), (0, 0));
    assert_eq!((take_all(&house).len(), room.lease.has_some(Look::Everywhere)), (3, true));
}

#[test]
fn a_raised_limit_calls_those_who_wait() {
    let limit = limit(1);
    let lease = lease_of(&limit);
    let _held = Permit::take(&lease).unwrap();
    let calls = Calls::new(None);
    let _ticket = limit.waits().enter(1, &calls, 7).unwrap();
    limit.set_max(Some(2));
    assert_eq!(calls.take(), [7]);
}

/// Many shards on one thread take, release, wait, give up, come, go, while the limit changes: after every step there
/// are never more permits than the limit or than there were when it was lowered, and nobody waits in vain.
#[test]
fn simulated_shards_never_exceed_the_limit_and_nobody_waits_in_vain() {
    for seed in 0..400 {
        Simulation::new(seed).run(400);
    }
}

struct Simulation {
    seed: u64,
    rng: Rng,
    limit: Arc<Limit>,
    shards: Vec<Rc<Lease>>,
    calls: Vec<Arc<Calls>>,
    held: Vec<Vec<Permit>>,
    /// Who waits, by key: shard and ticket.
    waiting: Vec<(u64, usize, Ticket)>,
    served: Vec<u64>,
    next_key: u64,
    /// What may be held at most: the limit, or what was held when it was lowered below that.
    ceiling: usize,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let max = [1, 3, 20, 100, 500][rng.index(5)];
        let limit = limit(max);
        let count = 1 + rng.index(16);
        Self {
            seed,
            shards: (0..count).map(|_| lease_of(&limit)).collect(),
            calls: (0..count).map(|_| Calls::new(None)).collect(),
            held: (0..count).map(|_| Vec::new()).collect(),
            waiting: Vec::new(),
            served: Vec::new(),
            next_key: 0,
            ceiling: max as usize,
            limit,
            rng,
        }
    }

    fn live(&self) -> usize {
        self.held.iter().map(Vec::len).sum()
    }

    fn run(mut self, steps: usize) {
        for _ in 0..steps {
            let shard = self.rng.index(self.shards.len());
            match self.rng.below(100) {
                0..50 => self.connect(shard),
                50..90 => self.end_some(shard),
                90..95 => self.give_up(),
                95..97 => self.change_limit(),
                97 => self.shards[shard] = lease_of(&self.limit),
                _ => self.answer(shard),
            }
            self.check();
        }
        for shard in 0..self.shards.len() {
            self.held[shard].clear();
        }
        // All are gone, so everybody who waits gets a permit, one after the other.
        while !self.waiting.is_empty() {
            let before = self.waiting.len();
            (0..self.shards.len()).for_each(|shard| self.answer(shard));
            self.held.iter_mut().for_each(Vec::clear);
            assert!(self.waiting.len() < before, "seed {}: {before} wait in vain", self.seed);
        }
        assert!(self.served.is_sorted(), "seed {}: served {:?}", self.seed, self.served);
        self.shards.clear();
        assert_eq!(self.limit.leased(), 0, "seed {}", self.seed);
    }

    fn connect(&mut self, shard: usize) {
        if self.limit.waits().is_empty()
            && let Some(permit) = Permit::take(&self.shards[shard])
        {
            return self.held[shard].push(permit);
        }
        let key = self.next_key;
        if let Some(ticket) = self.limit.waits().enter(20, &self.calls[shard], key) {
            self.next_key += 1;
            self.waiting.push((key, shard, ticket));
            if self.limit.waits().is_first(ticket) {
                self.try_first(key);
            }
        }
    }

    fn try_first(&mut self, key: u64) {
        let Some(at) = self.waiting.iter().position(|(k, ..)| *k == key) else { return };
        let (_, shard, ticket) = self.waiting[at];
        if self.limit.waits().is_first(ticket)
            && let Some(permit) = Permit::take(&self.shards[shard])
        {
            self.held[shard].push(permit);
            self.waiting.remove(at);
            self.served.push(key);
            self.limit.waits().leave(ticket);
        }
    }

    fn answer(&mut self, shard: usize) {
        for key in self.calls[shard].take() {
            self.try_first(key);
        }
    }

    fn end_some(&mut self, shard: usize) {
        let held = self.held[shard].len();
        let count = if self.rng.chance(1, 8) { held } else { held.min(self.rng.index(3)) };
        self.held[shard].truncate(held - count);
    }

    fn give_up(&mut self) {
        if !self.waiting.is_empty() {
            let (_, _, ticket) = self.waiting.remove(self.rng.index(self.waiting.len()));
            self.limit.waits().leave(ticket);
        }
    }

    fn change_limit(&mut self) {
        let max = [1, 3, 20, 100, 500][self.rng.index(5)];
        self.limit.set_max(Some(max));
    }

    fn check(&mut self) {
        let max = self.limit.max().unwrap() as usize;
        let live = self.live();
        // Above the limit, the number can only sink.
        self.ceiling = if live > max { live.min(self.ceiling.max(max)) } else { max };
        assert!(live <= self.ceiling.max(max), "seed {}: {live} of {max}", self.seed);
        assert!(self.limit.leased() >= live as u64, "seed {}", self.seed);
        // Nobody waits while there is a permit and nobody was called: the first has an unanswered call, or there is
        // none.
        if let Some((key, shard, _)) = self.waiting.first() {
            let calls = self.calls[*shard].take();
            let is_called = calls.contains(key);
            let look = || self.shards[*shard].has_some(Look::Everywhere);
            assert!(is_called || !look(), "seed {}: the first was not called", self.seed);
            calls.into_iter().for_each(|key| self.calls[*shard].call_for_test(key));
        }
    }
}

/// Sixteen threads take and release as fast as they can: never more than the limit at any instant, and afterwards one
/// of them alone can have all of it though the others have kept some.
#[test]
fn threads_together_never_exceed_the_limit_and_one_can_have_it_all() {
    const SHARDS: u64 = 16;
    const LIMIT: u32 = 1000;
    let limit = limit(LIMIT);
    let live = AtomicI64::new(0);
    let done = Barrier::new(SHARDS as usize);
    thread::scope(|scope| {
        for shard in 0..SHARDS {
            let (limit, live, done) = (&limit, &live, &done);
            scope.spawn(move || {
                let lease = lease_of(limit);
                let mut rng = Rng::new(shard);
                let mut held = Vec::new();
                let mut refused = 0;
                done.wait();
                for step in 0..40_000 {
                    if step % 128 == 0 {
                        // On few cores, so that all have some at the same time.
                        thread::yield_now();
                    }
                    // All want about 1,600 together, so that the limit is always near.
                    if held.len() < 60 || rng.chance(1, 2) {
                        match Permit::take(&lease) {
                            Some(permit) => {
                                assert!(live.fetch_add(1, SeqCst) < i64::from(LIMIT), "above the limit");
                                held.push(permit);
                            }
                            None => refused += 1,
                        }
                    }
                    if held.len() > 100 || (!held.is_empty() && rng.chance(1, 3)) {
                        live.fetch_sub(1, SeqCst);
                        drop(held.swap_remove(rng.index(held.len())));
                    }
                }
                assert!(refused > 0, "the limit was never reached");
                live.fetch_sub(held.len() as i64, SeqCst);
                drop(held);
                done.wait();
                if shard == 0 {
                    assert_eq!(take_all(&lease).len(), LIMIT as usize);
                }
                // The reserves of the others stay where they are until then.
                done.wait();
            });
        }
    });
    assert_eq!((limit.leased(), live.load(SeqCst)), (0, 0));
}

/// Exactly as many want one as there are, on more threads than cores: a thread that is suspended with permits on their
/// way must not make another one fail.
#[test]
fn nobody_fails_while_there_is_enough_for_all() {
    const SHARDS: u32 = 16;
    const EACH: u32 = 100;
    let limit = limit(SHARDS * EACH);
    let step = Barrier::new(SHARDS as usize);
    thread::scope(|scope| {
        for _ in 0..SHARDS {
            scope.spawn(|| {
                let lease = lease_of(&limit);
                for round in 0..100 {
                    step.wait();
                    let held: Vec<_> = (0..EACH).map(|_| Permit::take(&lease)).collect();
                    let failed = held.iter().filter(|permit| permit.is_none()).count();
                    step.wait();
                    drop(held);
                    assert_eq!(failed, 0, "round {round}");
                }
            });
        }
    });
}

/// Threads that sleep until they are called, over a limit of a few, while the limit changes: a call that is lost would
/// leave them asleep.
#[test]
fn no_thread_sleeps_while_there_is_a_permit() {
    const SHARDS: u64 = 4;
    const ROUNDS: u32 = 3000;
    let limit = limit(2);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..SHARDS)
            .map(|shard| {
                let limit = &limit;
                scope.spawn(move || sleeper(limit, shard, ROUNDS))
            })
            .collect();
        scope.spawn(|| {
            let mut max = 1;
            while !over.load(SeqCst) {
                max = max % 5 + 1;
                limit.set_max(Some(max));
                thread::yield_now();
            }
        });
        let panicked = workers.into_iter().map(|w| w.join()).filter(Result::is_err).count();
        over.store(true, SeqCst);
        assert_eq!(panicked, 0);
    });
    assert_eq!(limit.leased(), 0);
}

fn sleeper(limit: &Arc<Limit>, shard: u64, rounds: u32) {
    let (_sender, mut mailbox) = mailbox::channel::<()>(1).unwrap();
    let calls = Calls::new(Some(mailbox.bell()));
    let lease = lease_of(limit);
    let mut rng = Rng::new(shard);
    for round in 0..rounds {
        let key = u64::from(round);
        let permit = if limit.waits().is_empty() { Permit::take(&lease) } else { None };
        let permit = permit.unwrap_or_else(|| {
            let ticket = limit.waits().enter(usize::MAX, &calls, key).unwrap();
            let mut called = true;
            let since = Instant::now();
            loop {
                let permit = if called && limit.waits().is_first(ticket) { Permit::take(&lease) } else { None };
                if let Some(permit) = permit {
                    limit.waits().leave(ticket);
                    return permit;
                }
                // As a ring that waits for the eventfd, but with an eye on the clock.
                while !calls.any_for_test() {
                    assert!(since.elapsed() < Duration::from_secs(20), "shard {shard} sleeps in vain");
                    thread::yield_now();
                }
                mailbox.drain(&mut Vec::new());
                called = calls.take().contains(&key);
            }
        });
        if rng.chance(1, 2) {
            thread::yield_now();
        }
        drop(permit);
    }
}

/// The protocol by itself, every interleaving: one who waits (enter the list, lock, collect, take or sleep) against a
/// releaser (share, look at the list, move under the lock, call) and a shard that takes a batch (under the lock).
/// Wherever all have come to rest, nobody sleeps beside a permit without having been called.
#[test]
fn no_interleaving_leaves_somebody_asleep_beside_a_permit() {
    let mut seen = HashSet::new();
    let starts = (0..4).flat_map(|free| (0..3).map(move |share| Model { free, share, ..Model::default() }));
    let mut open: Vec<_> = starts.collect();
    while let Some(model) = open.pop() {
        if !seen.insert(model) {
            continue;
        }
        let next = model.successors();
        let in_vain = model.waiter == Waiter::Asleep && !model.called && model.free + model.share > 0;
        assert!(!next.is_empty() || !in_vain, "asleep: {model:?}");
        open.extend(next);
    }
    assert!(seen.len() > 100, "the model hardly moved: {}", seen.len());
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Model {
    free: u8,
    share: u8,
    locked: bool,
    listed: bool,
    called: bool,
    waiter: Waiter,
    releaser: Releaser,
    other: Other,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Waiter {
    #[default]
    Enter,
    Lock,
    Collect,
    /// Has so many in hand, between the share and the free ones.
    Put(u8),
    Take,
    Asleep,
    Served,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Releaser {
    #[default]
    Share,
    Look,
    Lock,
    Empty,
    Put(u8),
    Call,
    Done,
}

/// Takes two from the free ones, as a batch, keeps one and gives the other to its share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Other {
    #[default]
    Lock,
    Batch,
    Share,
    Done,
}

impl Model {
    fn successors(self) -> Vec<Self> {
        [self.after_waiter(), self.after_releaser(), self.after_other()].into_iter().flatten().collect()
    }

    fn after_waiter(mut self) -> Option<Self> {
        self.waiter = match self.waiter {
            Waiter::Enter => {
                self.listed = true;
                Waiter::Lock
            }
            Waiter::Lock if self.locked => return None,
            Waiter::Lock => {
                self.locked = true;
                Waiter::Collect
            }
            Waiter::Collect => Waiter::Put(std::mem::take(&mut self.share)),
            Waiter::Put(hand) => {
                self.free += hand;
                Waiter::Take
            }
            Waiter::Take => {
                self.locked = false;
                if self.free > 0 {
                    self.free -= 1;
                    Waiter::Served
                } else {
                    Waiter::Asleep
                }
            }
            Waiter::Asleep if self.called => {
                self.called = false;
                Waiter::Lock
            }
            Waiter::Asleep | Waiter::Served => return None,
        };
        Some(self)
    }

    fn after_releaser(mut self) -> Option<Self> {
        self.releaser = match self.releaser {
            Releaser::Share => {
                self.share += 1;
                Releaser::Look
            }
            Releaser::Look if self.listed => Releaser::Lock,
            Releaser::Look => Releaser::Done,
            Releaser::Lock if self.locked => return None,
            Releaser::Lock => {
                self.locked = true;
                Releaser::Empty
            }
            Releaser::Empty => Releaser::Put(std::mem::take(&mut self.share)),
            Releaser::Put(hand) => {
                self.free += hand;
                self.locked = false;
                if hand > 0 { Releaser::Call } else { Releaser::Done }
            }
            Releaser::Call => {
                self.called |= self.listed;
                Releaser::Done
            }
            Releaser::Done => return None,
        };
        Some(self)
    }

    fn after_other(mut self) -> Option<Self> {
        self.other = match self.other {
            Other::Lock if self.locked => return None,
            Other::Lock => {
                self.locked = true;
                Other::Batch
            }
            Other::Batch if self.free < 2 => {
                self.locked = false;
                Other::Done
            }
            Other::Batch => {
                self.free -= 2;
                Other::Share
            }
            Other::Share => {
                self.share += 1;
                self.locked = false;
                Other::Done
            }
            Other::Done => return None,
        };
        Some(self)
    }
}
