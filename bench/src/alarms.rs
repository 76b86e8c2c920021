//! Sleeps that end on time: a shard's timers are to the millisecond, and a server that is told to wait for 10 ms should
//! not wait for 10.9.

use balance_engine::{Handle, clock::Timestamp};
use std::{
    cell::{Cell, RefCell},
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

/// All exact sleeps of a shard; it uses the one sharp alarm that a shard has.
pub(crate) struct Alarms {
    handle: Handle,
    sleepers: RefCell<BinaryHeap<Reverse<Sleeper>>>,
    /// Of the task that wakes them, once it runs.
    ringer: RefCell<Option<Waker>>,
    count: Cell<u64>,
}

struct Sleeper {
    at: Timestamp,
    /// Those of one moment are woken in the order in which they came.
    number: u64,
    waker: Waker,
}

impl Sleeper {
    fn order(&self) -> (Timestamp, u64) {
        (self.at, self.number)
    }
}

impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Sleeper {}

impl Alarms {
    pub(crate) fn new(handle: &Handle) -> Rc<Self> {
        Rc::new(Self {
            handle: handle.clone(),
            sleepers: RefCell::default(),
            ringer: RefCell::default(),
            count: Cell::new(0),
        })
    }

    /// Sleep until `at`. Works while [`Alarms::ring`] runs.
    ///
    /// # Cancel safety
    /// One that is dropped leaves a wake-up for nothing.
    pub(crate) async fn sleep_until(&self, at: Timestamp) {
        let mut filed = false;
        poll_fn(|context| {
            if self.handle.now() >= at {
                return Poll::Ready(());
            }
            if !filed {
                filed = true;
                self.file(at, context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    fn file(&self, at: Timestamp, waker: Waker) {
        let mut sleepers = self.sleepers.borrow_mut();
        let number = self.count.get();
        self.count.set(number + 1);
        let is_first = sleepers.peek().is_none_or(|Reverse(first)| at < first.at);
        sleepers.push(Reverse(Sleeper { at, number, waker }));
        if let Some(ringer) = self.ringer.borrow().as_ref().filter(|_| is_first) {
            self.handle.wake_at(at, ringer);
        }
    }

    /// The task that wakes sleepers; it has no end.
    pub(crate) async fn ring(self: Rc<Self>) {
        poll_fn(|context| {
            self.ringer.borrow_mut().get_or_insert_with(|| context.waker().clone());
            let mut sleepers = self.sleepers.borrow_mut();
            while let Some(Reverse(first)) = sleepers.peek() {
                if first.at > self.handle.now() {
                    self.handle.wake_at(first.at, context.waker());
                    break;
                }
                if let Some(Reverse(sleeper)) = sleepers.pop() {
                    sleeper.waker.wake();
                }
            }
            Poll::Pending
        })
        .await
    }
}
