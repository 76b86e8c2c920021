//! Tasks that begin, wait once and end: on a shard that had such before, on one that had none, and a thread for each.
//!
//! The shard runs over the simulated driver, so that no system call of a turn is timed. A task is an allocation, for
//! its future; what is reused is its entry in the table and its places in the queues. A new shard is made off the clock.

use super::frame::{Candidate, Case, Stopwatch};
use balance_engine::{
    Handle,
    buf::{Budget, BufferPool, Sizes},
    driver::sim::{Faults, SimDriver},
    executor::{Admission, Limits},
    shard,
};
use std::{cell::Cell, future::poll_fn, hint::black_box, rc::Rc, sync::mpsc, task::Poll, thread, time::Duration};

/// Connections that come in one moment.
const OPERATIONS: usize = 256;
/// What a task keeps while it waits, as the future of a proxied connection does.
const STATE_WORDS: usize = 64;
const SEED: u64 = 19;

pub(super) fn cases() -> Vec<Case> {
    vec![Case {
        name: "begin, wait once, end",
        operation: "task",
        candidates: vec![on_a_shard("shard"), on_a_new_shard("shard, new"), threads("thread")],
    }]
}

fn on_a_shard(name: &'static str) -> Candidate {
    let handle = new_shard();
    Candidate::new(name, OPERATIONS, move |watch| run_all(&handle, watch))
}

fn on_a_new_shard(name: &'static str) -> Candidate {
    Candidate::new(name, OPERATIONS, move |watch| run_all(&new_shard(), watch))
}

fn new_shard() -> Handle {
    let pool = BufferPool::new(Sizes::default(), Budget::new(1 << 20));
    let driver = SimDriver::new(pool.clone(), SEED, Faults::NONE);
    Handle::new(Box::new(driver), pool, Limits::default(), Duration::from_secs(10))
}

/// Answers how many ended: all.
fn run_all(handle: &Handle, watch: &mut Stopwatch) -> u64 {
    let ended = Rc::new(Cell::new(0));
    watch.time(|| {
        for _ in 0..OPERATIONS {
            let ended = Rc::clone(&ended);
            let task = async move {
                let state = black_box([1_u64; STATE_WORDS]);
                let mut waited = false;
                poll_fn(|context| {
                    if waited {
                        return Poll::Ready(());
                    }
                    waited = true;
                    context.waker().wake_by_ref();
                    Poll::Pending
                })
                .await;
                ended.set(ended.get() + black_box(state)[0]);
            };
            let _below_the_limit = handle.spawn(Admission::Bounded, task);
        }
        while ended.get() < OPERATIONS as u64 {
            shard::step(handle, Some(handle.now())).expect("the simulation works");
        }
    });
    ended.get()
}

/// Answers as [`run_all`]. A thread waits for a message, as it would for its connection.
fn threads(name: &'static str) -> Candidate {
    Candidate::new(name, OPERATIONS, move |watch| {
        watch.time(|| {
            let begin = |_| {
                let (wake, woken) = mpsc::sync_channel(1);
                let body = move || {
                    let state = black_box([1_u64; STATE_WORDS]);
                    woken.recv().map_or(0, |()| black_box(state)[0])
                };
                (thread::spawn(body), wake)
            };
            let begun: Vec<_> = (0..OPERATIONS).map(begin).collect();
            let end = |(thread, wake): (thread::JoinHandle<u64>, mpsc::SyncSender<()>)| {
                let _it_waits = wake.send(());
                thread.join().unwrap_or(0)
            };
            begun.into_iter().map(end).sum()
        })
    })
}
