//! One running shard: its thread, its driver, and its answers to the control thread.

use crate::{
    command::{Applied, Command},
    l4::accept_loop,
    link::{DriverInfo, SendError, ShardLink, ShardSpec, StartError},
    permits::Calls,
    process,
    snapshot::{BindId, Snapshot},
    state::{Identity, State},
    table,
};
use balance_config::model::IoChoice;
use balance_engine::{
    Handle,
    buf::{BufferPool, Sizes},
    clock::{Clock, Timestamp},
    cores,
    driver::{
        Driver,
        epoll::EpollDriver,
        uring::{self, Feature, UringConfig, UringDriver},
    },
    executor::{Admission, Limits},
    mailbox::{self, Receiver, Sender},
    net::Listener,
    pipe::PipePool,
    shard::Inbox,
};
use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    io,
    ops::ControlFlow,
    os::fd::OwnedFd,
    rc::Rc,
    sync::{Arc, mpsc},
    thread,
    time::SystemTime,
};
use tokio::sync::oneshot;

/// Commands that may wait for one shard. The control thread asks a few questions at a time.
const MAILBOX: usize = 64;

struct Link {
    shard: u16,
    core: Option<u16>,
    driver: DriverInfo,
    mailbox: Sender<Command>,
    thread: thread::JoinHandle<()>,
}

impl ShardLink for Link {
    fn shard(&self) -> u16 {
        self.shard
    }

    fn core(&self) -> Option<u16> {
        self.core
    }

    fn driver(&self) -> &DriverInfo {
        &self.driver
    }

    fn send(&self, command: Command) -> Result<(), SendError> {
        self.mailbox.try_send(command).map_err(|e| match e {
            mailbox::SendError::Full(command) => SendError::Full(Box::new(command)),
            mailbox::SendError::Closed(_) => SendError::Closed,
        })
    }

    fn finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Starts a shard on its own thread and waits until its driver runs.
///
/// # Errors
/// The driver cannot run, or the thread cannot start.
pub(crate) fn start(spec: ShardSpec) -> Result<Box<dyn ShardLink>, StartError> {
    let (shard, core) = (spec.shard, spec.core);
    let (mailbox, receiver) = mailbox::channel(MAILBOX).map_err(StartError::Io)?;
    let (ready, started) = mpsc::channel();
    let thread = thread::Builder::new()
        .name(format!("shard-{shard}"))
        .spawn(move || live(&spec, receiver, &ready))
        .map_err(StartError::Io)?;
    let driver = started.recv().map_err(|_| StartError::Io(io::Error::other("the shard's thread panicked")))??;
    Ok(Box::new(Link { shard, core, driver, mailbox, thread }))
}

/// The life of a shard's thread. Memory is allocated after pinning, so that it is near.
fn live(spec: &ShardSpec, mut mailbox: Receiver<Command>, ready: &mpsc::Sender<Result<DriverInfo, StartError>>) {
    let state = match build(spec, Calls::new(Some(mailbox.bell()))) {
        Ok(state) => state,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let info = state.handle.driver_info();
    let _waited_for = ready.send(Ok(DriverInfo { name: info.name, features: info.features.clone() }));
    let mut inbox = ProxyInbox::new(Rc::clone(&state));
    let handle = state.handle.clone();
    let result = balance_engine::shard::run(&handle, &Clock::monotonic(), &mut mailbox, &mut inbox);
    if let Err(error) = result {
        tracing::error!(shard = spec.shard, %error, "the shard's driver broke; the shard has ended");
    }
}

fn build(spec: &ShardSpec, calls: Arc<Calls>) -> Result<Rc<State>, StartError> {
    if let Some(core) = spec.core
        && let Err(error) = cores::pin(core)
    {
        tracing::warn!(shard = spec.shard, %error, "not pinned");
    }
    let sizes = Sizes {
        small: spec.buffers.small_size as usize,
        medium: spec.buffers.medium_size as usize,
        large: spec.buffers.large_size as usize,
        huge: spec.buffers.huge_size as usize,
    };
    let pool = BufferPool::new(sizes, Arc::clone(&spec.budget));
    let clock = Clock::monotonic();
    let driver = driver(spec, &pool, &clock)?;
    let limits = Limits {
        max_tasks: spec.limits.max_tasks as usize,
        queue_size: spec.limits.queue_size as usize,
        ..Limits::default()
    };
    let pipes = PipePool::new(spec.pipes, Arc::clone(&spec.pipe_budget));
    let handle = Handle::with_pipes(driver, pool, pipes, limits, spec.limits.max_idle_time);
    // Its keys are random for each run.
    let seed = RandomState::new().hash_one(spec.shard);
    let direct = handle.driver_info().features.contains(&Feature::Direct.as_str());
    let descriptors = (!direct).then(|| Arc::clone(&spec.descriptors));
    let epoch = process::wall_clock().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let identity = Identity {
        shard: spec.shard,
        core: spec.core.unwrap_or_default(),
        shards: spec.shards,
        seed,
        epoch: epoch.saturating_sub(handle.now() - Timestamp::START),
    };
    Ok(State::new(handle, identity, calls, descriptors))
}

fn driver(spec: &ShardSpec, pool: &BufferPool, clock: &Clock) -> Result<Box<dyn Driver>, StartError> {
    let epoll = || EpollDriver::new(pool.clone(), clock.clone()).map(|d| Box::new(d) as Box<dyn Driver>);
    if spec.io == IoChoice::Epoll {
        return epoll().map_err(StartError::Io);
    }
    let without: Vec<Feature> = spec
        .uring_without
        .iter()
        .map(|name| name.parse())
        .collect::<Result<_, _>>()
        .map_err(|e: uring::UnknownFeature| StartError::MissingFeature(e.to_string()))?;
    let ring = uring::probe().map_err(|e| e.to_string()).and_then(|features| {
        let config = UringConfig { features: features.minus(&without), ring_buffers: spec.buffers.ring_buffers };
        UringDriver::new(config, pool.clone(), clock.clone()).map_err(|e| format!("setting up a ring failed: {e}"))
    });
    match ring {
        Ok(driver) => Ok(Box::new(driver)),
        Err(why) if spec.io == IoChoice::Uring => {
            Err(StartError::MissingFeature(format!("io_uring cannot run here: {why}")))
        }
        Err(why) => {
            tracing::warn!(shard = spec.shard, why, "io_uring cannot run here; using epoll");
            epoll().map_err(StartError::Io)
        }
    }
}

/// The shard's side of [`Command`].
pub(crate) struct ProxyInbox {
    state: Rc<State>,
    /// To be told when the last connection has ended.
    drained: Option<oneshot::Sender<()>>,
}

impl Inbox for ProxyInbox {
    type Message = Command;

    fn handle(&mut self, command: Command) -> ControlFlow<()> {
        // Answers that nobody waits for any more are dropped.
        match command {
            Command::Apply { snapshot, sockets, done } => {
                let version = snapshot.version;
                let previous = self.apply(snapshot, sockets);
                let _ = done.send(Applied { version, previous });
            }
            Command::Report(answer) => drop(answer.send(self.state.report())),
            Command::Connections { filter, answer } => drop(answer.send(table::select(&self.state, &filter))),
            Command::Drain { done } => {
                self.state.draining.set(true);
                self.stop_accepting(|_| true);
                // Those who wait for another request are to go.
                self.state.handle.wake_all();
                self.drained = Some(done);
            }
            Command::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn after_turn(&mut self) -> ControlFlow<()> {
        self.state.give_back_closed();
        self.state.caller.answer();
        if self.drained.is_some()
            && self.state.table.borrow().is_empty()
            && let Some(done) = self.drained.take()
        {
            let _ = done.send(());
        }
        ControlFlow::Continue(())
    }
}

impl ProxyInbox {
    pub(crate) fn new(state: Rc<State>) -> Self {
        Self { state, drained: None }
    }

    fn apply(&self, snapshot: Arc<Snapshot>, sockets: Vec<(BindId, OwnedFd)>) -> Option<Arc<Snapshot>> {
        let previous = self.state.adopt(Arc::clone(&snapshot));
        let wanted: HashSet<BindId> = snapshot.listeners.iter().flat_map(|l| &l.binds).map(|b| b.id).collect();
        self.stop_accepting(|id| !wanted.contains(&id));
        for (id, socket) in sockets {
            let named = snapshot.listeners.iter().find(|l| l.binds.iter().any(|b| b.id == id));
            let Some(listener) = named else {
                tracing::error!(?id, "a listening socket without a listener");
                continue;
            };
            if let Err(error) = self.accept_on(id, &listener.name, socket) {
                tracing::error!(listener = &*listener.name, %error, "cannot accept");
            }
        }
        previous
    }

    fn accept_on(&self, id: BindId, name: &str, socket: OwnedFd) -> io::Result<()> {
        let state = &self.state;
        let listener = Listener::new(&state.handle, socket)?;
        let Some(counters) = state.listener_named(name) else { return Ok(()) };
        let accepting = accept_loop(Rc::clone(state), counters, listener);
        if let Ok(Some(task)) = state.handle.spawn(Admission::Always, accepting) {
            state.accepting.borrow_mut().insert(id, task);
        }
        Ok(())
    }

    /// End the accept loops of these sockets; that closes them.
    fn stop_accepting(&self, which: impl Fn(BindId) -> bool) {
        let mut gone: Vec<_> = self.state.accepting.borrow_mut().extract_if(|id, _| which(*id)).collect();
        // Always in the same order, so that a simulated run can be repeated.
        gone.sort_unstable_by_key(|(id, _)| *id);
        for (_, task) in gone {
            self.state.handle.abort(task);
        }
    }
}
