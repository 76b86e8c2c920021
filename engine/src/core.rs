//! A shard's inside: driver, operation slots, executor, timers, buffers and the time of the turn, behind one handle.

use crate::{
    buf::{Budget, BufferPool, Class},
    clock::{Clock, Timestamp},
    driver::{CloseHow, Completion, Desc, Driver, DriverInfo, Errno, Op, OpKey, Peer, Token, Wait},
    executor::{Admission, Ending, Executor, Limits, Refused, SAMPLE_EVERY, TaskFuture, TaskId},
    ops::{Followup, Ops, Reading},
    pipe::{Pipe, PipePool, PipeSizes},
    slab::Key,
    stats::{EngineStats, LoopStats},
    timer::{TimerKey, Wheel},
};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io, mem,
    os::fd::OwnedFd,
    rc::Rc,
    task::{Context, Waker},
    time::Duration,
};

/// What a timer does when it fires.
#[derive(Clone, Debug)]
enum Alarm {
    Wake(Waker),
    /// The deadline of a task.
    Expire(TaskId),
}

/// No larger than what nearly all of them are.
const _: () = assert!(size_of::<Alarm>() <= size_of::<Waker>());

/// The inside of a shard, shared by its tasks. `Rc`, not `Arc`: it never leaves its thread.
pub(crate) struct Core {
    driver: RefCell<Box<dyn Driver>>,
    pub(crate) ops: RefCell<Ops>,
    pub(crate) executor: Rc<Executor>,
    wheel: RefCell<Wheel<Alarm>>,
    pool: BufferPool,
    pipes: PipePool,
    now: Cell<Timestamp>,
    /// Receives that found no buffer, oldest first.
    starved: RefCell<VecDeque<Key>>,
    stats: RefCell<LoopStats>,
    info: DriverInfo,
    idle_max: Duration,
    shrink_at: Cell<Timestamp>,
    ended_at_trim: Cell<u64>,
    /// See [`Handle::wake_at`].
    sharp: RefCell<Option<(Timestamp, Waker)>>,
}

/// A shard's handle for its own tasks: spawn, timers, buffers, time. Cheap to clone.
#[derive(Clone)]
pub struct Handle(pub(crate) Rc<Core>);

/// When starved receives are looked at again although nothing has happened on this shard.
const STARVED_LOOK: Duration = Duration::from_millis(20);
/// How often memory left behind by a burst is looked for.
const SHRINK_EVERY: Duration = Duration::from_secs(1);
/// What the pipes of a shard may hold that was not told otherwise.
const PIPES_MAX: u64 = 256 << 20;
/// Tasks that must have ended before the heap is trimmed again: it walks all of the free memory.
const TRIM_AFTER: u64 = 1000;

impl Handle {
    pub fn new(driver: Box<dyn Driver>, pool: BufferPool, limits: Limits, idle_max: Duration) -> Self {
        let pipes = PipePool::new(PipeSizes::default(), Budget::new(PIPES_MAX));
        Self::with_pipes(driver, pool, pipes, limits, idle_max)
    }

    pub fn with_pipes(
        driver: Box<dyn Driver>,
        pool: BufferPool,
        pipes: PipePool,
        limits: Limits,
        idle_max: Duration,
    ) -> Self {
        let info = driver.info();
        let now = driver.now();
        Self(Rc::new(Core {
            driver: RefCell::new(driver),
            ops: RefCell::default(),
            executor: Executor::new(limits),
            wheel: RefCell::new(Wheel::new()),
            pool,
            pipes,
            now: Cell::new(now),
            starved: RefCell::default(),
            stats: RefCell::default(),
            info,
            idle_max,
            shrink_at: Cell::new(now + SHRINK_EVERY),
            ended_at_trim: Cell::new(0),
            sharp: RefCell::default(),
        }))
    }

    /// The time of this turn; it stands still while tasks run.
    pub fn now(&self) -> Timestamp {
        self.0.now.get()
    }

    /// Counts the turns of the shard. What was submitted in one turn is with the kernel in the next.
    pub fn turn(&self) -> u64 {
        self.0.stats.borrow().turns
    }

    pub fn pool(&self) -> &BufferPool {
        &self.0.pool
    }

    pub fn pipes(&self) -> &PipePool {
        &self.0.pipes
    }

    pub fn driver_info(&self) -> &DriverInfo {
        &self.0.info
    }

    /// Start a task.
    ///
    /// # Errors
    /// Where the table of tasks and its queue are full. The future is dropped.
    pub fn spawn(
        &self,
        admission: Admission,
        future: impl Future<Output = ()> + 'static,
    ) -> Result<Option<TaskId>, Refused> {
        self.spawn_boxed(admission, Box::pin(future))
    }

    /// As [`Handle::spawn`], for a future that is boxed already.
    ///
    /// # Errors
    /// As [`Handle::spawn`].
    pub fn spawn_boxed(&self, admission: Admission, future: TaskFuture) -> Result<Option<TaskId>, Refused> {
        self.0.executor.spawn(admission, future)
    }

    /// End a task when this moment has come, whatever it is doing.
    pub fn set_deadline(&self, task: TaskId, at: Timestamp) {
        self.0.wheel.borrow_mut().insert(at, Alarm::Expire(task));
    }

    /// End a task from outside; its guards see `ending`.
    pub fn abort(&self, task: TaskId) {
        self.0.executor.abort(task, Ending::Aborted);
    }

    /// How the task that is being dropped right now came to its end. For `Drop` implementations.
    pub fn ending(&self) -> Ending {
        self.0.executor.ending()
    }

    /// A bounded task would be admitted, or queued, now.
    pub fn has_room(&self) -> bool {
        self.0.executor.has_room()
    }

    /// Be woken when a task has ended.
    pub fn wait_for_room(&self, context: &Context<'_>) {
        self.0.executor.wait_for_room(context.waker().clone());
    }

    /// Tasks that were admitted as [`Admission::Bounded`], running or waiting.
    pub fn bounded_tasks(&self) -> usize {
        self.0.executor.bounded()
    }

    /// Spend one unit of the running task's work budget; `false`: return `Pending`, you have been woken already.
    pub fn spend(&self, context: &Context<'_>) -> bool {
        self.0.executor.spend(context)
    }

    /// Be run again in the next turn, after the others.
    pub fn yield_now(&self, context: &Context<'_>) {
        context.waker().wake_by_ref();
    }

    /// Take over a listening socket.
    ///
    /// # Errors
    /// Those of the driver.
    pub(crate) fn adopt_listener(&self, fd: OwnedFd) -> io::Result<Desc> {
        self.0.driver.borrow_mut().adopt_listener(fd)
    }

    pub(crate) fn set_timer(&self, at: Timestamp, waker: Waker) -> TimerKey {
        self.0.wheel.borrow_mut().insert(at, Alarm::Wake(waker))
    }

    /// Be woken in the first turn at or after this moment, to the nanosecond, where timers are to the millisecond. A
    /// shard has one such moment: another call replaces it. For load generators, whose requests have their moments.
    pub fn wake_at(&self, at: Timestamp, waker: &Waker) {
        *self.0.sharp.borrow_mut() = Some((at, waker.clone()));
    }

    pub(crate) fn cancel_timer(&self, key: TimerKey) {
        self.0.wheel.borrow_mut().cancel(key);
    }

    /// Submit an operation that somebody waits for.
    pub(crate) fn submit(&self, op: Op) -> Key {
        let key = self.0.ops.borrow_mut().single();
        self.submit_as(key, op);
        key
    }

    /// Submit an operation of several completions.
    pub(crate) fn submit_series(&self, op: Op) -> Key {
        let key = self.0.ops.borrow_mut().series();
        self.submit_as(key, op);
        key
    }

    /// Submit an operation that nobody waits for.
    pub(crate) fn submit_orphan(&self, op: Op) {
        let key = self.0.ops.borrow_mut().orphan();
        self.submit_as(key, op);
    }

    pub(crate) fn submit_as(&self, key: Key, op: Op) {
        let token = self.0.driver.borrow_mut().submit(OpKey(key.to_u64()), op);
        self.0.ops.borrow_mut().set_token(key, token);
    }

    /// Nobody waits for this operation any more.
    pub(crate) fn abandon(&self, key: Key) {
        let (token, stray) = self.0.ops.borrow_mut().abandon(key);
        if let Some(token) = token {
            self.0.driver.borrow_mut().cancel(token);
        }
        if let Some(desc) = stray {
            self.close(desc, CloseHow::Reset);
        }
    }

    pub(crate) fn cancel(&self, token: Token) {
        self.0.driver.borrow_mut().cancel(token);
    }

    /// Do what a slot asks for.
    pub(crate) fn follow(&self, followup: Followup) {
        match followup {
            Followup::Nothing => {}
            Followup::Rearm(key, Reading { desc, bulk }) => self.submit_as(key, Op::Recv { desc, bulk }),
            Followup::CloseStray(desc) => self.close(desc, CloseHow::Reset),
            Followup::Cancel(token) => self.cancel(token),
            Followup::Starve(key) => {
                self.0.stats.borrow_mut().starved += 1;
                self.0.starved.borrow_mut().push_back(key);
            }
        }
    }

    pub(crate) fn close(&self, desc: Desc, how: CloseHow) {
        self.submit_orphan(Op::Close { desc, how });
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut LoopStats)) {
        change(&mut self.0.stats.borrow_mut());
    }

    pub(crate) fn splice_in(&self, from: Desc, pipe: &Pipe, max: usize) -> Result<usize, Errno> {
        self.0.driver.borrow_mut().splice_in(from, pipe, max)
    }

    pub(crate) fn splice_out(&self, pipe: &Pipe, to: Desc, max: usize) -> Result<usize, Errno> {
        self.0.driver.borrow_mut().splice_out(pipe, to, max)
    }

    pub(crate) fn local_addr(&self, desc: Desc) -> Result<Peer, Errno> {
        self.0.driver.borrow().local_addr(desc)
    }

    pub(crate) fn watch_wake(&self, fd: std::os::fd::RawFd) {
        self.0.driver.borrow_mut().watch_wake(fd);
    }

    /// A copy of every counter.
    pub fn stats(&self) -> EngineStats {
        let driver = self.0.driver.borrow();
        let counters = driver.counters();
        let mut loop_ = *self.0.stats.borrow();
        loop_.starved_now = self.0.starved.borrow().len() as u64;
        loop_.cq_overflows = counters.cq_overflows;
        loop_.min_wait_turns = counters.min_wait_turns;
        let mut buffers = self.0.pool.stats();
        buffers.ring = counters.ring_buffers;
        EngineStats {
            loop_,
            tasks: self.0.executor.stats(),
            buffers,
            pipes: self.0.pipes.stats(),
            ops_in_flight: self.0.ops.borrow().len() as u64,
            descriptors: counters.descriptors,
            timers: self.0.wheel.borrow().len() as u64,
        }
    }
}

/// The turn: what the loop of a shard does, over and over.
impl Core {
    /// Wait for something to happen at most until `limit`, and file what has. Returns whether the wake descriptor was
    /// readable.
    ///
    /// # Errors
    /// A broken driver.
    pub(crate) fn wait(self: &Rc<Self>, limit: Option<Timestamp>, scratch: &mut Scratch) -> io::Result<bool> {
        // Buffers that tasks have given back since the last turn. Nobody else would wake the shard for them.
        self.feed_starved();
        let wait = self.next_wait(limit);
        let turn = self.driver.borrow_mut().turn(wait, &mut scratch.completions)?;
        self.now.set(turn.now);
        let stopped = self.ops.borrow_mut().set_scarce(self.pool.is_scarce(), turn.now);
        stopped.into_iter().for_each(|token| self.driver.borrow_mut().cancel(token));
        {
            let mut stats = self.stats.borrow_mut();
            stats.turns += 1;
            stats.completions += scratch.completions.len() as u64;
        }
        for completion in scratch.completions.drain(..) {
            self.file(completion);
        }
        self.feed_starved();
        self.fire_timers(&mut scratch.alarms);
        Ok(turn.woken)
    }

    fn next_wait(&self, limit: Option<Timestamp>) -> Wait {
        if self.executor.has_ready() {
            return Wait::No;
        }
        // Buffers that another shard gives back wake nobody here.
        let look = (!self.starved.borrow().is_empty()).then(|| self.now.get() + STARVED_LOOK);
        let sharp = self.sharp.borrow().as_ref().map(|(at, _)| *at);
        let limit = limit.into_iter().chain(look).chain(sharp).min();
        match (self.wheel.borrow().next(), limit) {
            (Some(a), Some(b)) => Wait::Until(a.min(b)),
            (Some(at), None) | (None, Some(at)) => Wait::Until(at),
            (None, None) => Wait::Forever,
        }
    }

    fn file(self: &Rc<Self>, Completion { key, outcome, more }: Completion) {
        let Some(key) = Key::from_u64(key.0) else { return };
        let followup = self.ops.borrow_mut().complete(key, outcome, more);
        if !matches!(followup, Followup::Nothing) {
            Handle(Rc::clone(self)).follow(followup);
        }
    }

    /// Re-arm as many starved receives as there are buffers where they would look: more would only find none again.
    fn feed_starved(self: &Rc<Self>) {
        let waiting = self.starved.borrow().len();
        if waiting == 0 {
            return;
        }
        let lent = self.driver.borrow().lent();
        let mut room = lent.unwrap_or_default();
        // What the pool has, the driver lends before anything is received.
        let in_pool = [Class::Small, Class::Medium].map(|class| self.pool.take(class).is_some());
        for (room, _) in room.iter_mut().zip(in_pool).filter(|(room, in_pool)| **room == 0 && *in_pool) {
            *room = 1;
        }
        for _ in 0..waiting {
            if room == [0; 2] {
                return;
            }
            let Some(key) = self.starved.borrow_mut().pop_front() else { return };
            let Some(Reading { desc, bulk }) = self.ops.borrow().starved(key) else { continue };
            // Where nothing is lent in advance, any buffer will do.
            let class = usize::from(bulk && lent.is_some() && !self.pool.is_scarce());
            if room[class] == 0 || !(in_pool[class] || self.driver.borrow().has_lent(desc, bulk)) {
                self.starved.borrow_mut().push_back(key);
                continue;
            }
            room[class] -= 1;
            let reading = self.ops.borrow_mut().unstarve(key);
            if let Some(Reading { desc, bulk }) = reading {
                Handle(Rc::clone(self)).submit_as(key, Op::Recv { desc, bulk });
            }
        }
    }

    fn fire_timers(&self, alarms: &mut Vec<Alarm>) {
        let due = self.sharp.borrow_mut().take_if(|(at, _)| *at <= self.now.get());
        if let Some((_, waker)) = due {
            waker.wake();
        }
        self.wheel.borrow_mut().advance(self.now.get(), alarms);
        for alarm in alarms.drain(..) {
            match alarm {
                Alarm::Wake(waker) => waker.wake(),
                Alarm::Expire(task) => self.executor.abort(task, Ending::Expired),
            }
        }
    }

    /// Run what is ready. One turn in [`SAMPLE_EVERY`] is timed, poll by poll.
    pub(crate) fn run_ready(&self, clock: &Clock) {
        if !self.executor.has_ready() {
            return;
        }
        let turns = self.stats.borrow().turns;
        if turns.is_multiple_of(SAMPLE_EVERY) {
            self.executor.run(Some(clock));
            let took = clock.now() - self.now.get();
            let mut stats = self.stats.borrow_mut();
            stats.slowest_turn = stats.slowest_turn.max(took);
        } else {
            self.executor.run(None);
        }
    }

    /// Once a second: give back what a burst has left. Returns whether it was time.
    pub(crate) fn shrink_when_due(&self) -> bool {
        let now = self.now.get();
        if now < self.shrink_at.get() {
            return false;
        }
        self.shrink_at.set(now + SHRINK_EVERY);
        self.pool.shrink(now, self.idle_max);
        self.pipes.shrink();
        self.ops.borrow_mut().shrink();
        self.wheel.borrow_mut().shrink();
        self.executor.shrink();
        self.driver.borrow_mut().shrink();
        self.trim_heap_after_burst();
        true
    }

    /// Tasks are heap allocations, too small to go back to the system by themselves.
    fn trim_heap_after_burst(&self) {
        let stats = self.executor.stats();
        let ended_since = stats.ended - self.ended_at_trim.get();
        if ended_since >= TRIM_AFTER && stats.live < ended_since / 4 {
            self.ended_at_trim.set(stats.ended);
            crate::os::trim_heap();
        }
    }

    /// There may be something to give back later: a shard with nothing else to do wakes up for it.
    pub(crate) fn shrink_due(&self) -> Option<Timestamp> {
        let something =
            self.pool.has_idle_chunks() || self.ops.borrow().is_sparse() || self.driver.borrow().has_leftovers();
        something.then(|| self.shrink_at.get())
    }

    /// The moment now, outside of turns.
    pub(crate) fn read_clock(&self) -> Timestamp {
        self.driver.borrow().now()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.driver.borrow().in_flight()
    }
}

/// Vectors of the loop, kept for their memory.
#[derive(Default)]
pub(crate) struct Scratch {
    completions: Vec<Completion>,
    alarms: Vec<Alarm>,
}

impl Scratch {
    pub(crate) fn shrink(&mut self) {
        mem::take(&mut self.completions);
        mem::take(&mut self.alarms);
    }
}
