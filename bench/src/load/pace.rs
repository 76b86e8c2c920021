//! The open loop: every exchange has a moment at which it is to begin, whatever became of the ones before.
//!
//! ```text
//!   a connection has room ──► something is due? ── yes ──► it begins, late
//!                                   │ no
//!                                   ▼
//!                                parked ◄── its moment has come: the one that has waited longest begins
//! ```
//!
//! Moments are spaced evenly over all shards: of `n` shards each has every n-th.

use balance_engine::{Handle, clock::Timestamp};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// The moments of one shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    start: Timestamp,
    /// Of this shard's first moment after the start, in nanoseconds.
    offset: f64,
    /// Between two of this shard's moments, in nanoseconds.
    spacing: f64,
    /// Moments at or after this one are not in it.
    end: Timestamp,
    /// Moments in all at most.
    count_max: u64,
    /// How many have been taken.
    taken: u64,
}

/// What a schedule has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Begin now what was to begin then.
    Due(Timestamp),
    At(Timestamp),
    /// Everything has begun.
    Over,
}

impl Schedule {
    /// `rate` exchanges a second over all `shards`; `shard` has its share of them.
    pub(super) fn new(start: Timestamp, rate: f64, shard: usize, shards: usize) -> Self {
        let spacing = 1e9 / rate;
        Self {
            start,
            offset: spacing * shard as f64,
            spacing: spacing * shards as f64,
            end: Timestamp::NEVER,
            count_max: u64::MAX,
            taken: 0,
        }
    }

    pub(super) fn until(self, end: Timestamp) -> Self {
        Self { end, ..self }
    }

    pub(super) fn at_most(self, count_max: u64) -> Self {
        Self { count_max, ..self }
    }

    fn moment(&self, number: u64) -> Timestamp {
        self.start + Duration::from_nanos((self.offset + self.spacing * number as f64) as u64)
    }

    pub(super) fn peek(&self, now: Timestamp) -> Next {
        let moment = self.moment(self.taken);
        if self.taken >= self.count_max || moment >= self.end {
            Next::Over
        } else if moment <= now {
            Next::Due(moment)
        } else {
            Next::At(moment)
        }
    }

    fn take(&mut self, now: Timestamp) -> Next {
        let next = self.peek(now);
        self.taken += u64::from(matches!(next, Next::Due(_)));
        next
    }
}

/// What a connection waits with.
#[derive(Default)]
pub(super) struct Seat {
    granted: Cell<Option<Timestamp>>,
    parked: Cell<bool>,
}

/// The open loop of one shard.
pub(super) struct Pace {
    handle: Handle,
    schedule: Cell<Schedule>,
    /// Connections that have room, in the order in which they came to have it.
    parked: RefCell<VecDeque<(Rc<Seat>, Waker)>>,
    /// Of the task that gives out moments.
    conductor: RefCell<Option<Waker>>,
    closed: Cell<bool>,
}

impl Pace {
    pub(super) fn new(handle: &Handle, schedule: Schedule, connections: usize) -> Rc<Self> {
        Rc::new(Self {
            handle: handle.clone(),
            schedule: Cell::new(schedule),
            parked: RefCell::new(VecDeque::with_capacity(connections)),
            conductor: RefCell::default(),
            closed: Cell::new(false),
        })
    }

    /// Nothing more begins. What was due by now and has not begun goes to `unsent`, as the moments of it.
    pub(super) fn close(&self, mut unsent: impl FnMut(Timestamp)) {
        if self.closed.replace(true) {
            return;
        }
        let mut schedule = self.schedule.get();
        while let Next::Due(moment) = schedule.take(self.handle.now()) {
            unsent(moment);
        }
        self.schedule.set(schedule);
        self.wake_all();
    }

    /// The moment of the exchange to begin now. `None`: none will begin any more.
    pub(super) fn poll_next(&self, seat: &Rc<Seat>, context: &Context<'_>) -> Poll<Option<Timestamp>> {
        if let Some(moment) = seat.granted.take() {
            return Poll::Ready(Some(moment));
        }
        if self.closed.get() {
            return Poll::Ready(None);
        }
        let mut parked = self.parked.borrow_mut();
        let mut schedule = self.schedule.get();
        match schedule.peek(self.handle.now()) {
            Next::Over => return Poll::Ready(None),
            // Those that wait already come first.
            Next::Due(moment) if parked.is_empty() => {
                schedule.take(self.handle.now());
                self.schedule.set(schedule);
                return Poll::Ready(Some(moment));
            }
            Next::Due(_) => {
                if let Some(conductor) = &*self.conductor.borrow() {
                    conductor.wake_by_ref();
                }
            }
            Next::At(moment) if parked.is_empty() => {
                if let Some(conductor) = &*self.conductor.borrow() {
                    self.handle.wake_at(moment, conductor);
                }
            }
            Next::At(_) => {}
        }
        if !seat.parked.replace(true) {
            parked.push_back((Rc::clone(seat), context.waker().clone()));
        }
        Poll::Pending
    }

    /// Give moments to connections that wait for them, until there are no more. `lagged` hears how late each is.
    pub(super) async fn conduct(&self, mut lagged: impl FnMut(Timestamp, Duration)) {
        poll_fn(|context| {
            self.conductor.borrow_mut().get_or_insert_with(|| context.waker().clone());
            if self.closed.get() {
                return Poll::Ready(());
            }
            let now = self.handle.now();
            let mut schedule = self.schedule.get();
            let mut parked = self.parked.borrow_mut();
            while !parked.is_empty() {
                match schedule.peek(now) {
                    Next::Due(moment) => {
                        schedule.take(now);
                        let Some((seat, waker)) = parked.pop_front() else { break };
                        seat.parked.set(false);
                        seat.granted.set(Some(moment));
                        lagged(moment, now - moment);
                        waker.wake();
                    }
                    Next::At(moment) => {
                        self.handle.wake_at(moment, context.waker());
                        break;
                    }
                    Next::Over => {
                        drop(parked);
                        self.schedule.set(schedule);
                        self.wake_all();
                        return Poll::Ready(());
                    }
                }
            }
            self.schedule.set(schedule);
            Poll::Pending
        })
        .await;
    }

    fn wake_all(&self) {
        let parked: Vec<_> = self.parked.borrow_mut().drain(..).collect();
        for (seat, waker) in parked {
            seat.parked.set(false);
            waker.wake();
        }
        if let Some(conductor) = &*self.conductor.borrow() {
            conductor.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_nanos(1_000_000);

    fn moments(mut schedule: Schedule, until: Timestamp) -> Vec<u64> {
        std::iter::from_fn(|| match schedule.take(until) {
            Next::Due(moment) => Some((moment - START).as_nanos() as u64),
            Next::At(_) | Next::Over => None,
        })
        .collect()
    }

    #[test]
    fn shards_take_turns_in_one_even_row() {
        let until = START + Duration::from_millis(5);
        let first = moments(Schedule::new(START, 1000.0, 0, 2), until);
        let second = moments(Schedule::new(START, 1000.0, 1, 2), until);
        assert_eq!(first, [0, 2_000_000, 4_000_000]);
        assert_eq!(second, [1_000_000, 3_000_000, 5_000_000]);
    }

    #[test]
    fn a_rate_that_is_no_divisor_of_a_second_does_not_drift() {
        let all = moments(Schedule::new(START, 3.0, 0, 1), START + Duration::from_secs(1000));
        assert_eq!(all.len(), 3001);
        assert_eq!((all[1], all[3000]), (333_333_333, 1_000_000_000_000));
    }

    #[test]
    fn a_schedule_ends_by_time_or_by_number() {
        let schedule = Schedule::new(START, 1000.0, 0, 1);
        let later = START + Duration::from_secs(1);
        assert_eq!(moments(schedule.until(START + Duration::from_millis(3)), later).len(), 3);
        assert_eq!(moments(schedule.at_most(7), later).len(), 7);
        assert_eq!(schedule.at_most(0).peek(later), Next::Over);
        assert_eq!(schedule.peek(Timestamp::START), Next::At(START));
    }
}
