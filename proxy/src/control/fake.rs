//! A shard without a data path: it answers every command and forwards nothing. Tests of the control thread hold its
//! [`Knobs`].

use crate::{
    command::{Applied, Command},
    link::{DriverInfo, SendError, ShardLink, StartError},
    report::{ClusterReport, ConnectionReport, EndpointReport, ListenerReport, Reason, ShardReport},
    snapshot::{BindId, Snapshot},
};
use std::{
    collections::BTreeMap,
    os::fd::OwnedFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::Duration,
};
use tokio::sync::oneshot;

const MAILBOX: usize = 16;
const TURN: Duration = Duration::from_millis(2);

/// What a test turns while the shard runs.
#[derive(Debug, Default)]
pub(crate) struct Knobs {
    /// Does nothing about its mailbox while set.
    pub(crate) stalled: AtomicBool,
    /// Ends its thread at once, as a panic would.
    pub(crate) die: AtomicBool,
    /// Connections that a drain waits for.
    pub(crate) active: AtomicU64,
    pub(crate) connections: Mutex<Vec<ConnectionReport>>,
    /// The commands taken, by name, in order.
    pub(crate) taken: Mutex<Vec<String>>,
    finished: AtomicBool,
}

pub(crate) struct FakeShard {
    shard: u16,
    core: Option<u16>,
    driver: DriverInfo,
    mailbox: SyncSender<Command>,
    pub(crate) knobs: Arc<Knobs>,
}

impl ShardLink for FakeShard {
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
            TrySendError::Full(command) => SendError::Full(Box::new(command)),
            TrySendError::Disconnected(_) => SendError::Closed,
        })
    }

    fn finished(&self) -> bool {
        self.knobs.finished.load(Ordering::Acquire)
    }
}

pub(crate) fn start_with(shard: u16, core: Option<u16>, knobs: Arc<Knobs>) -> Result<FakeShard, StartError> {
    let (mailbox, commands) = sync_channel(MAILBOX);
    let fake = Fake { shard, core, knobs: knobs.clone(), ..Fake::default() };
    thread::Builder::new().name(format!("shard-{shard}")).spawn(move || fake.run(&commands)).map_err(StartError::Io)?;
    let driver = DriverInfo { name: "sim", features: vec!["none"] };
    Ok(FakeShard { shard, core, driver, mailbox, knobs })
}

#[derive(Default)]
struct Fake {
    shard: u16,
    core: Option<u16>,
    knobs: Arc<Knobs>,
    snapshot: Option<Arc<Snapshot>>,
    sockets: BTreeMap<BindId, OwnedFd>,
    draining: Option<oneshot::Sender<()>>,
    drained: bool,
}

impl Fake {
    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let idle = self.knobs.active.load(Ordering::Acquire) == 0;
            if let Some(done) = self.draining.take_if(|_| idle) {
                let _ = done.send(());
            }
            if self.knobs.die.load(Ordering::Acquire) {
                break;
            }
            match commands.recv_timeout(TURN) {
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(command) => {
                    while self.knobs.stalled.load(Ordering::Acquire) {
                        // tidy: sleep because a stalled shard is what this stands for
                        thread::sleep(TURN);
                    }
                    self.handle(command);
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        self.note("stop");
        let knobs = self.knobs.clone();
        drop(self);
        knobs.finished.store(true, Ordering::Release);
    }

    fn note(&self, what: &str) {
        self.knobs.taken.lock().expect("no test panics with it").push(what.to_owned());
    }

    fn handle(&mut self, command: Command) {
        match command {
            Command::Apply { snapshot, sockets, done } => self.apply(snapshot, sockets, done),
            Command::Report(answer) => {
                let _ = answer.send(self.report());
            }
            Command::Connections { filter, answer } => {
                let all = self.knobs.connections.lock().expect("no test panics with it").clone();
                let _ = answer.send(all.into_iter().take(filter.limit).collect());
            }
            Command::Drain { done } => {
                self.note("drain");
                self.sockets.clear();
                self.drained = true;
                self.draining = Some(done);
            }
            Command::Stop => {}
        }
    }

    fn apply(&mut self, snapshot: Arc<Snapshot>, sockets: Vec<(BindId, OwnedFd)>, done: oneshot::Sender<Applied>) {
        self.note(&format!("apply {}", snapshot.version));
        let wanted: Vec<BindId> = snapshot.listeners.iter().flat_map(|l| l.binds.iter().map(|b| b.id)).collect();
        self.sockets.extend(sockets);
        self.sockets.retain(|id, _| wanted.contains(id));
        assert_eq!(self.sockets.len(), wanted.len(), "a socket for every bind");
        let applied = Applied { version: snapshot.version, previous: self.snapshot.replace(snapshot) };
        let _ = done.send(applied);
    }

    fn report(&self) -> ShardReport {
        let snapshot = self.snapshot.as_deref();
        let listeners = snapshot.map_or(&[][..], |s| &s.listeners);
        let clusters = snapshot.map_or(&[][..], |s| &s.clusters);
        ShardReport {
            http: crate::report::HttpReport::default(),
            room: None,
            shard: self.shard,
            core: self.core.unwrap_or(0),
            driver: "sim",
            snapshot_version: snapshot.map_or(0, |s| s.version),
            draining: self.drained,
            engine: Default::default(),
            listeners: listeners
                .iter()
                .map(|l| ListenerReport {
                    routes: Vec::new(),
                    name: l.name.clone(),
                    accepted: 7,
                    active: self.knobs.active.load(Ordering::Acquire),
                    live: self.knobs.active.load(Ordering::Acquire),
                    limit_pauses: 0,
                    bytes_up: 1000,
                    bytes_down: 2000,
                    routed: Vec::new(),
                })
                .collect(),
            clusters: clusters
                .iter()
                .map(|c| ClusterReport { name: c.name.clone(), live: 0, queued: 4, refused: 3, queue_timeouts: 2 })
                .collect(),
            endpoints: clusters
                .iter()
                .flat_map(|c| c.endpoints.iter().map(|e| (c.name.clone(), e)))
                .map(|(cluster, e)| EndpointReport {
                    http: None,
                    cluster,
                    address: e.address.clone(),
                    weight: e.weight,
                    active: 0,
                    live: 0,
                    connects: 3,
                    connect_failures: 1,
                    bytes_up: 1000,
                    bytes_down: 2000,
                    set_aside: false,
                })
                .collect(),
            peeked_bytes: 0,
            rungs: Default::default(),
            endings: Reason::ALL.iter().map(|r| (*r, u64::from(*r == Reason::Finished) * 5)).collect(),
        }
    }
}
