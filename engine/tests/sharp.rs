//! The one moment of a shard that is exact: timers are to the millisecond, [`Handle::wake_at`] is not.

use balance_engine::{
    Handle,
    buf::{Budget, BufferPool, Sizes},
    clock::Timestamp,
    driver::sim::{Faults, SimDriver},
    executor::Limits,
    shard,
};
use std::{
    cell::Cell,
    future::poll_fn,
    task::{Poll, Waker},
    time::Duration,
};

fn handle() -> Handle {
    let pool = BufferPool::new(Sizes::default(), Budget::new(1 << 20));
    let driver = SimDriver::new(pool.clone(), 1, Faults::NONE);
    Handle::new(Box::new(driver), pool, Limits::default(), Duration::from_secs(1))
}

/// What a turn of the simulation takes.
const TURN: Duration = Duration::from_micros(4);

#[test]
fn a_shard_is_woken_at_its_moment_and_not_a_tick_later() {
    let handle = handle();
    let inner = handle.clone();
    let woken = shard::block_on(&handle, async move {
        let at = inner.now() + Duration::from_micros(250);
        poll_fn(|context| {
            if inner.now() >= at {
                return Poll::Ready(());
            }
            inner.wake_at(at, context.waker());
            Poll::Pending
        })
        .await;
        inner.now() - at
    });
    let late = woken.expect("it ends");
    assert!(late <= TURN, "{late:?}");
}

#[test]
fn another_moment_replaces_the_first() {
    let handle = handle();
    let inner = handle.clone();
    let polls = shard::block_on(&handle, async move {
        let polls = Cell::new(0);
        let (sooner, later) = (inner.now() + Duration::from_micros(100), inner.now() + Duration::from_micros(900));
        poll_fn(|context| {
            polls.set(polls.get() + 1);
            if inner.now() >= later {
                return Poll::Ready(());
            }
            inner.wake_at(sooner, Waker::noop());
            inner.wake_at(later, context.waker());
            Poll::Pending
        })
        .await;
        polls.get()
    });
    assert_eq!(polls.expect("it ends"), 2, "once at the beginning, once at the later moment");
    assert!(handle.now() > Timestamp::START);
}
