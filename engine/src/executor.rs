//! The slab executor: a shard's tasks, each a future in a slab entry, woken by index.
//!
//! ```text
//!   spawn ──► room? ── yes ──► running (slab) ◄──────────────┐
//!               │ no                 │ ready queue ──► poll ──┤ Pending
//!               ▼                    │                        │
//!            waiting (bounded) ──────┘              Ready, panic, deadline: dropped
//! ```
//!
//! It stands in for a goroutine pool: admission is bounded (`max_tasks` running, `queue_size` waiting, then refusal), a
//! task may have a deadline, and one that panics ends alone. Invariants:
//!
//! * A task is in the ready queue at most once.
//! * No borrow is held while a task is polled or dropped; a task may spawn, wake and end others.
//! * Tasks woken while the ready ones run are run in the next turn, so that I/O gets its turn in between.

use crate::{
    clock::Clock,
    slab::{Key, Slab},
    stats::TaskStats,
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
};

/// A task's body. It ends by returning; it reports nothing.
pub type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

/// Names a task of this shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskId(pub(crate) Key);

/// Who may be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Counts against `max_tasks` and waits in the queue where it is reached.
    Bounded,
    /// The shard's own few tasks (a listener's accept loop), which must run for the rest to end.
    Always,
}

/// Limits of one executor.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_tasks: usize,
    pub queue_size: usize,
    /// Operations that a task may do in one poll before others get their turn.
    pub budget: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_tasks: 65_536, queue_size: 10_000, budget: 32 }
    }
}

/// The task table and its queue are full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// How the task whose future is being dropped came to its end. Guards ask for it in their `Drop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It returned, or it is still running.
    Returned,
    Panicked,
    /// Its deadline passed.
    Expired,
    /// The shard ends, or [`Executor::abort`] was called.
    Aborted,
}

struct Task {
    /// `None` while it is polled.
    future: Option<TaskFuture>,
    /// In the ready queue.
    queued: bool,
    /// To be dropped as soon as its poll is over.
    doomed: Option<Ending>,
    bounded: bool,
}

/// Every connection has one: 32 bytes with its generation, beside the future itself.
const _: () = assert!(size_of::<Task>() <= 24);

/// See the module's documentation.
pub(crate) struct Executor {
    tasks: RefCell<Slab<Task>>,
    ready: RefCell<VecDeque<Key>>,
    waiting: RefCell<VecDeque<TaskFuture>>,
    room_waiters: RefCell<Vec<Waker>>,
    limits: Limits,
    /// Tasks that count against `max_tasks`.
    bounded: Cell<usize>,
    budget: Cell<u32>,
    ending: Cell<Ending>,
    stats: Cell<TaskStats>,
    /// This executor's place among those of its thread, for wakers.
    place: u8,
}

/// Polls of one turn in so many are timed, one by one.
pub(crate) const SAMPLE_EVERY: u64 = 64;

impl Executor {
    pub(crate) fn new(limits: Limits) -> Rc<Self> {
        EXECUTORS.with_borrow_mut(|list| {
            let place = list.iter().position(|e| e.strong_count() == 0).unwrap_or(list.len());
            let executor = Rc::new(Self {
                tasks: RefCell::new(Slab::new()),
                ready: RefCell::new(VecDeque::new()),
                waiting: RefCell::new(VecDeque::new()),
                room_waiters: RefCell::new(Vec::new()),
                limits,
                bounded: Cell::new(0),
                budget: Cell::new(0),
                ending: Cell::new(Ending::Returned),
                stats: Cell::new(TaskStats::default()),
                place: u8::try_from(place).unwrap_or_else(|_| panic!("more than 256 shards on one thread")),
            });
            if place == list.len() {
                list.push(Rc::downgrade(&executor));
            } else {
                list[place] = Rc::downgrade(&executor);
            }
            executor
        })
    }

    /// Start a task; it is polled in the next run.
    pub(crate) fn spawn(&self, admission: Admission, future: TaskFuture) -> Result<Option<TaskId>, Refused> {
        if admission == Admission::Bounded && self.bounded.get() >= self.limits.max_tasks {
            let mut waiting = self.waiting.borrow_mut();
            if waiting.len() >= self.limits.queue_size {
                self.count(|s| s.refused += 1);
                return Err(Refused);
            }
            waiting.push_back(future);
            return Ok(None);
        }
        Ok(Some(self.admit(admission == Admission::Bounded, future)))
    }

    fn admit(&self, bounded: bool, future: TaskFuture) -> TaskId {
        if bounded {
            self.bounded.set(self.bounded.get() + 1);
        }
        self.count(|s| s.spawned += 1);
        let task = Task { future: Some(future), queued: true, doomed: None, bounded };
        let key = self.tasks.borrow_mut().insert(task);
        self.ready.borrow_mut().push_back(key);
        TaskId(key)
    }

    /// A bounded task would be admitted or queued now.
    pub(crate) fn has_room(&self) -> bool {
        self.bounded.get() < self.limits.max_tasks || self.waiting.borrow().len() < self.limits.queue_size
    }

    /// Wake this when a task has ended.
    pub(crate) fn wait_for_room(&self, waker: Waker) {
        self.room_waiters.borrow_mut().push(waker);
    }

    fn wake(&self, key: Key) {
        let mut tasks = self.tasks.borrow_mut();
        if let Some(task) = tasks.get_mut(key)
            && !task.queued
        {
            task.queued = true;
            self.ready.borrow_mut().push_back(key);
        }
    }

    /// Wake every task: something has changed that none of them waits for by itself.
    pub(crate) fn wake_all(&self) {
        let all: Vec<_> = self.tasks.borrow().iter().map(|(key, _)| key).collect();
        all.into_iter().for_each(|key| self.wake(key));
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.borrow().is_empty()
    }

    /// Poll every task that is ready now, once. `clock`: where this turn is sampled, each poll is timed.
    pub(crate) fn run(&self, clock: Option<&Clock>) {
        let count = self.ready.borrow().len();
        for _ in 0..count {
            let Some(key) = self.ready.borrow_mut().pop_front() else { break };
            let start = clock.map(|c| (c, c.now()));
            self.poll(key);
            if let Some((clock, start)) = start {
                let took = clock.now() - start;
                self.count(|s| s.slowest_poll = s.slowest_poll.max(took));
            }
        }
    }

    fn poll(&self, key: Key) {
        let Some(mut future) = self.tasks.borrow_mut().get_mut(key).and_then(|task| {
            task.queued = false;
            task.future.take()
        }) else {
            return;
        };
        self.count(|s| s.polls += 1);
        self.budget.set(self.limits.budget);
        let waker = self.waker(key);
        let mut context = Context::from_waker(&waker);
        let ending = match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context))) {
            Ok(Poll::Pending) => {
                let mut tasks = self.tasks.borrow_mut();
                match tasks.get_mut(key) {
                    Some(Task { doomed: Some(ending), .. }) => *ending,
                    Some(task) => {
                        task.future = Some(future);
                        return;
                    }
                    None => Ending::Aborted,
                }
            }
            Ok(Poll::Ready(())) => Ending::Returned,
            Err(_reported_by_the_hook) => Ending::Panicked,
        };
        self.end(key, future, ending);
    }

    /// Drop a task's future with `ending` known to its guards, and let the next one in.
    fn end(&self, key: Key, future: TaskFuture, ending: Ending) {
        self.ending.set(ending);
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(future)));
        self.ending.set(Ending::Returned);
        let panicked = ending == Ending::Panicked || dropped.is_err();
        self.count(|s| {
            s.ended += 1;
            s.panicked += u64::from(panicked);
            s.expired += u64::from(ending == Ending::Expired);
        });
        if panicked {
            tracing::error!("a task panicked and was ended; the shard goes on");
        }
        let task = self.tasks.borrow_mut().remove(key);
        if task.is_some_and(|t| t.bounded) {
            self.bounded.set(self.bounded.get() - 1);
            self.fill_room();
        }
    }

    fn fill_room(&self) {
        while self.bounded.get() < self.limits.max_tasks {
            let Some(future) = self.waiting.borrow_mut().pop_front() else { break };
            self.admit(true, future);
        }
        for waker in mem::take(&mut *self.room_waiters.borrow_mut()) {
            waker.wake();
        }
    }

    /// End a task from outside. One that aborts itself ends when its poll is over.
    pub(crate) fn abort(&self, id: TaskId, ending: Ending) {
        let future = {
            let mut tasks = self.tasks.borrow_mut();
            let Some(task) = tasks.get_mut(id.0) else { return };
            let future = task.future.take();
            if future.is_none() {
                task.doomed = Some(ending);
            }
            future
        };
        if let Some(future) = future {
            self.end(id.0, future, ending);
        }
    }

    /// End every task, those waiting included.
    pub(crate) fn abort_all(&self) {
        let waiting = mem::take(&mut *self.waiting.borrow_mut());
        self.ending.set(Ending::Aborted);
        drop(waiting);
        self.ending.set(Ending::Returned);
        let all: Vec<_> = self.tasks.borrow().iter().map(|(key, _)| TaskId(key)).collect();
        for id in all {
            self.abort(id, Ending::Aborted);
        }
        self.ready.borrow_mut().clear();
    }

    /// Spend one unit of the running task's budget. `false`: it is spent, and the task has been woken for the next
    /// turn; it must return `Pending`.
    pub(crate) fn spend(&self, context: &Context<'_>) -> bool {
        let left = self.budget.get();
        if left == 0 {
            self.count(|s| s.yielded += 1);
            context.waker().wake_by_ref();
            return false;
        }
        self.budget.set(left - 1);
        true
    }

    pub(crate) fn ending(&self) -> Ending {
        self.ending.get()
    }

    #[cfg(test)]
    fn live(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// Tasks that count against `max_tasks`, running and waiting.
    pub(crate) fn bounded(&self) -> usize {
        self.bounded.get() + self.waiting.borrow().len()
    }

    pub(crate) fn stats(&self) -> TaskStats {
        let mut stats = self.stats.get();
        stats.live = self.tasks.borrow().len() as u64;
        stats.queued = self.waiting.borrow().len() as u64;
        stats
    }

    fn count(&self, change: impl FnOnce(&mut TaskStats)) {
        let mut stats = self.stats.get();
        change(&mut stats);
        self.stats.set(stats);
    }

    pub(crate) fn shrink(&self) {
        self.tasks.borrow_mut().shrink();
        let mut ready = self.ready.borrow_mut();
        if ready.len() * 4 < ready.capacity() {
            let len = ready.len().max(64);
            ready.shrink_to(len);
        }
        let mut waiting = self.waiting.borrow_mut();
        let len = waiting.len();
        waiting.shrink_to(len);
    }

    fn waker(&self, key: Key) -> Waker {
        let data = pack(self.place, key);
        // SAFETY: the vtable's functions treat the pointer as the number that it is, whichever thread they run on.
        unsafe { Waker::from_raw(RawWaker::new(data, &VTABLE)) }
    }
}

thread_local! {
    /// The executors of this thread: one in a shard's thread, several in simulations.
    static EXECUTORS: RefCell<Vec<std::rc::Weak<Executor>>> = const { RefCell::new(Vec::new()) };
}

/// Index wakers: the "pointer" is a number, so cloning and dropping cost nothing.
///
/// ```text
///   63      56 55            32 31           0
///  ┌──────────┬────────────────┬──────────────┐
///  │  place   │     index      │  generation  │
///  └──────────┴────────────────┴──────────────┘
/// ```
///
/// A waker works on its own shard's thread only. On another thread it finds no executor, or one in whose slab the
/// number names nothing or a task that is then polled once for nothing: harmless, but the wake is lost. What comes from
/// other threads comes through the mailbox.
static VTABLE: RawWakerVTable = RawWakerVTable::new(|data| RawWaker::new(data, &VTABLE), wake, wake, |_| {});

const INDEX_BITS: u32 = 24;

fn pack(place: u8, key: Key) -> *const () {
    debug_assert!(key.index() < 1 << INDEX_BITS, "more tasks than a waker can name");
    let number = u64::from(place) << 56 | u64::from(key.index()) << 32 | u64::from(key.generation());
    std::ptr::without_provenance(number as usize)
}

fn wake(data: *const ()) {
    let number = data.addr() as u64;
    let place = (number >> 56) as usize;
    let index = number >> 32 & ((1 << INDEX_BITS) - 1);
    let Some(key) = Key::from_u64((number & 0xffff_ffff) << 32 | index) else { return };
    // A waker may be dropped or used while its thread is being torn down.
    let executor = EXECUTORS.try_with(|list| list.borrow().get(place).and_then(std::rc::Weak::upgrade));
    if let Ok(Some(executor)) = executor {
        executor.wake(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter() -> (Rc<Cell<u32>>, impl Fn(u32)) {
        let cell = Rc::new(Cell::new(0));
        let other = Rc::clone(&cell);
        (cell, move |n| other.set(other.get() + n))
    }

    fn limits(max_tasks: usize, queue_size: usize) -> Limits {
        Limits { max_tasks, queue_size, budget: 4 }
    }

    #[test]
    fn a_task_runs_and_is_gone() {
        let executor = Executor::new(Limits::default());
        let (count, add) = counter();
        executor.spawn(Admission::Bounded, Box::pin(async move { add(1) })).expect("room");
        executor.run(None);
        assert_eq!((count.get(), executor.live()), (1, 0));
    }

    #[test]
    fn admission_runs_queues_and_refuses() {
        let executor = Executor::new(limits(1, 1));
        let (count, add) = counter();
        let add = Rc::new(add);
        for expected in [true, true, false] {
            let add = Rc::clone(&add);
            let spawned = executor.spawn(Admission::Bounded, Box::pin(async move { add(1) }));
            assert_eq!(spawned.is_ok(), expected);
        }
        assert!(!executor.has_room());
        assert!(executor.spawn(Admission::Always, Box::pin(async {})).is_ok());
        executor.run(None);
        executor.run(None);
        assert_eq!(count.get(), 2);
        assert_eq!(executor.stats().refused, 1);
        assert!(executor.has_room());
    }

    #[test]
    fn a_panicking_task_ends_alone_and_its_guards_know() {
        struct Guard(Rc<Executor>, Rc<Cell<Option<Ending>>>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.1.set(Some(self.0.ending()));
            }
        }
        let executor = Executor::new(Limits::default());
        let seen = Rc::new(Cell::new(None));
        let guard = Guard(Rc::clone(&executor), Rc::clone(&seen));
        executor
            .spawn(
                Admission::Bounded,
                Box::pin(std::future::poll_fn(move |_| -> Poll<()> {
                    let _held = &guard;
                    panic!("on purpose")
                })),
            )
            .expect("room");
        let (count, add) = counter();
        executor.spawn(Admission::Bounded, Box::pin(async move { add(1) })).expect("room");
        executor.run(None);
        assert_eq!(seen.get(), Some(Ending::Panicked));
        assert_eq!((count.get(), executor.stats().panicked, executor.live()), (1, 1, 0));
    }

    #[test]
    fn a_spent_budget_yields_to_others() {
        let executor = Executor::new(limits(8, 0));
        let (greedy, add) = counter();
        let inner = Rc::clone(&executor);
        let task = std::future::poll_fn(move |cx| {
            while inner.spend(cx) {
                add(1);
            }
            Poll::Pending
        });
        executor.spawn(Admission::Bounded, Box::pin(task)).expect("room");
        executor.run(None);
        assert_eq!(greedy.get(), 4);
        assert!(executor.has_ready());
        assert_eq!(executor.stats().yielded, 1);
        executor.abort_all();
        assert_eq!(executor.live(), 0);
    }

    #[test]
    fn stale_and_foreign_wakes_do_no_harm() {
        let executor = Executor::new(Limits::default());
        let kept: Rc<RefCell<Option<Waker>>> = Rc::default();
        let keep = Rc::clone(&kept);
        let task = std::future::poll_fn(move |cx| {
            *keep.borrow_mut() = Some(cx.waker().clone());
            Poll::Ready(())
        });
        executor.spawn(Admission::Bounded, Box::pin(task)).expect("room");
        executor.run(None);
        let waker = kept.borrow_mut().take().expect("polled");
        waker.wake_by_ref();
        assert!(!executor.has_ready());
        std::thread::spawn(move || waker.wake()).join().expect("no panic");
        drop(executor);
    }
}
