//! Shards of a bench: a pinned thread each, with a driver of its own.

use crate::{cli::Io, cli::RuntimeArgs, failure::Failure};
use balance_engine::{
    Handle,
    buf::{Budget, BufferPool, Sizes},
    clock::Clock,
    cores,
    driver::{
        Driver,
        epoll::EpollDriver,
        uring::{self, UringConfig, UringDriver},
    },
    executor::Limits,
    mailbox::{self, Receiver, Sender},
};
use std::{
    io,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

/// Small buffers that a shard lends to its receive ring. More than a proxy lends: a load generator that waits for
/// buffers measures itself.
const RING_BUFFERS: u16 = 4096;
/// Only there to stop a run from eating the machine.
const BUFFER_BYTES_MAX: u64 = 4 << 30;
/// Every connection is a task, and none is refused.
const LIMITS: Limits = Limits { max_tasks: 1 << 23, queue_size: 0, budget: 32 };
/// Memory that a burst left is kept this long. A run is as short as that.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Messages that wait for a shard: one to begin, one to stop, and the tallies that it gets back.
const MAILBOX: usize = 16;

/// Where shards run and how they talk to the kernel.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    /// The core of each shard.
    pub(crate) cores: Vec<u16>,
    io: Io,
}

impl Ground {
    /// # Errors
    /// Cores that this process may not use.
    pub(crate) fn new(args: &RuntimeArgs) -> Result<Self, Failure> {
        let placement =
            cores::place(&args.cores, &cores::available(), 1).map_err(|e| Failure::usage(format!("--cores: {e}")))?;
        Ok(Self { cores: placement.shards, io: args.io })
    }

    /// So many shards, on whatever cores there are.
    #[cfg(test)]
    pub(crate) fn test(shards: usize, io: Io) -> Self {
        Self { cores: cores::available().into_iter().cycle().take(shards).collect(), io }
    }

    /// No more shards than there is work for.
    pub(crate) fn at_most(mut self, shards: u32) -> Self {
        self.cores.truncate(shards as usize);
        self
    }

    /// Start one shard on every core. `body` makes what each of them runs, from its number.
    ///
    /// # Errors
    /// A driver or a thread that cannot start. Shards before it run idly until the process ends, which it then does.
    pub(crate) fn start<M, T, B>(&self, body: impl Fn(usize) -> B) -> Result<Vec<Shard<M, T>>, Failure>
    where
        M: Send + 'static,
        T: Send + 'static,
        B: FnOnce(&Handle, &mut Receiver<M>) -> io::Result<T> + Send + 'static,
    {
        let budget = Budget::new(BUFFER_BYTES_MAX);
        let spec = |number: usize| Spec { core: self.cores[number], io: self.io, budget: Arc::clone(&budget) };
        (0..self.cores.len()).map(|number| start(number, spec(number), body(number))).collect()
    }
}

/// A shard that runs.
pub(crate) struct Shard<M, T> {
    pub(crate) mailbox: Sender<M>,
    /// As `io_uring` or `epoll`.
    pub(crate) driver: &'static str,
    thread: thread::JoinHandle<io::Result<T>>,
}

impl<M, T> Shard<M, T> {
    /// Wait for its end.
    ///
    /// # Errors
    /// A driver that broke, or a panic.
    pub(crate) fn join(self) -> Result<T, Failure> {
        match self.thread.join() {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Failure::runtime(format!("a shard of the bench ended: {error}"))),
            Err(_) => Err(Failure::runtime("a shard of the bench panicked")),
        }
    }
}

struct Spec {
    core: u16,
    io: Io,
    budget: Arc<Budget>,
}

fn start<M, T, B>(number: usize, spec: Spec, body: B) -> Result<Shard<M, T>, Failure>
where
    M: Send + 'static,
    T: Send + 'static,
    B: FnOnce(&Handle, &mut Receiver<M>) -> io::Result<T> + Send + 'static,
{
    let cannot = |error: io::Error| Failure::runtime(format!("a shard of the bench cannot start: {error}"));
    let (mailbox, mut receiver) = mailbox::channel(MAILBOX).map_err(cannot)?;
    let (ready, started) = mpsc::channel();
    let thread = thread::Builder::new().name(format!("bench-{number}")).spawn(move || {
        let handle = match build(&spec) {
            Ok(handle) => handle,
            Err(failure) => {
                let message = failure.message.clone();
                // Whoever waits for it is in `recv` below.
                let _ = ready.send(Err(failure));
                return Err(io::Error::other(message));
            }
        };
        let _ = ready.send(Ok(handle.driver_info().name));
        body(&handle, &mut receiver)
    });
    let thread = thread.map_err(cannot)?;
    let driver = started.recv().map_err(|_| Failure::runtime("a shard of the bench panicked"))??;
    Ok(Shard { mailbox, driver, thread })
}

/// On the shard's own thread and pinned first, so that its memory is near.
fn build(spec: &Spec) -> Result<Handle, Failure> {
    cores::pin(spec.core).map_err(|e| Failure::runtime(e.to_string()))?;
    let clock = Clock::monotonic();
    let pool = BufferPool::new(Sizes::default(), Arc::clone(&spec.budget));
    let driver = driver(spec.io, &pool, &clock)?;
    Ok(Handle::new(driver, pool, LIMITS, IDLE_MAX))
}

fn driver(io: Io, pool: &BufferPool, clock: &Clock) -> Result<Box<dyn Driver>, Failure> {
    let ring = || {
        let features = uring::probe().map_err(|e| e.to_string())?;
        let config = UringConfig { features, ring_buffers: RING_BUFFERS };
        UringDriver::new(config, pool.clone(), clock.clone()).map_err(|e| format!("setting up a ring failed: {e}"))
    };
    if io != Io::Epoll {
        match ring() {
            Ok(driver) => return Ok(Box::new(driver)),
            Err(why) if io == Io::Uring => {
                return Err(Failure::os_feature(format!("io_uring cannot run here: {why}")));
            }
            // The report says which driver ran.
            Err(_) => {}
        }
    }
    let driver = EpollDriver::new(pool.clone(), clock.clone());
    driver.map(|d| Box::new(d) as Box<dyn Driver>).map_err(|e| Failure::runtime(format!("epoll cannot run: {e}")))
}
