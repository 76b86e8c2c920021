//! One simulated world: a shard of the proxy, its clients and backends, the weather, and what happens to them.
//!
//! ```text
//!   host "outside": clients, backends, director      host "proxy": the product's own loop, inbox, state, data path
//!            └──────────────────── one simulated network, one thread, one clock ──────────────────┘
//! ```
//!
//! The proxy runs in the product's own loop; whoever is outside gets a turn after each of its turns. The director
//! talks to the proxy as the control thread does: through the mailbox.

mod checks;

use super::{
    ledger::{Ledger, Party, Role, Told},
    plan::{Action, Plan},
    script::{Expected, Part, Script},
    talker::{Lookup, Talker},
};
use crate::{
    command::Command,
    l4::Changes,
    permits::Calls,
    report::{ConnectionFilter, Reason},
    shard::ProxyInbox,
    snapshot::{BindId, Ids, Snapshot, compile},
    state::{EndpointState, Identity, ListenerState, State},
};
use balance_config::model::{Address, Config, Policy};
use balance_engine::{
    Handle,
    buf::{Budget, BufferPool, Sizes},
    clock::Timestamp,
    driver::{
        StreamOptions, Target,
        sim::{Faults, HostId, OnStuck, SimNet},
    },
    executor::{Admission, Limits, TaskId},
    mailbox::{self, Sender},
    net::{Listener, connect, sleep_until},
    pipe::{PipePool, PipeSizes},
    rng::Rng,
    shard::{self, Inbox},
};
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    net::{SocketAddr, TcpListener},
    ops::ControlFlow,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::sync::oneshot;

/// Turns after which a world is taken to be running in circles.
const TURNS_MAX: u64 = 3_000_000;
/// Time after which it is taken to be waiting for what never comes.
const LONGEST: Duration = Duration::from_secs(2 * 3600);
/// Every now and then all counters are compared.
const AUDIT_EVERY: u64 = 64;

/// What a run came to, for comparing and for counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) digest: u64,
    pub(super) turns: u64,
    pub(super) connections: u64,
    pub(super) complete: u64,
    /// Ended by the idle time-out.
    pub(super) idle: u64,
    pub(super) bytes: u64,
    pub(super) spliced: u64,
    pub(super) panicked: u64,
    /// From one rung to another.
    pub(super) changes: Changes,
    /// Rungs that could not be had.
    pub(super) refused: u64,
}

/// Run the world of a seed. `teardown`: the shard is told to stop after so many turns.
///
/// # Panics
/// When anything is not as it must be.
pub(super) fn run(seed: u64, teardown: Option<u64>) -> Summary {
    run_plan(Plan::draw(seed), teardown)
}

pub(super) fn run_plan(plan: Plan, teardown: Option<u64>) -> Summary {
    let net = SimNet::new(plan.seed);
    net.on_stuck(OnStuck::Report);
    let _told_on_failure = std::env::var("BALANCE_SIM_TRACE").is_ok().then(|| Trace::of(&net));
    let world = World::new(&net, plan);
    let (sender, mut receiver) = mailbox::channel(64).expect("an eventfd");
    *world.mailbox.borrow_mut() = Some(sender);
    let director = Rc::clone(&world);
    let director = world.spawn(async move { director.direct().await });
    world.director.set(Some(director));
    let mut stage = Stage { inbox: ProxyInbox::new(Rc::clone(&world.state)), world: Rc::clone(&world), teardown };
    let handle = world.state.handle.clone();
    shard::run(&handle, &net.clock(), &mut receiver, &mut stage).expect("the driver gives everything back");
    drop(stage);
    drop(receiver);
    world.mailbox.borrow_mut().take();
    world.check_torn_down(&handle);
    drop(handle);
    World::outlive_the_shard(world, &net)
}

/// Prints every completion of a world that fails.
struct Trace(SimNet);

impl Trace {
    fn of(net: &SimNet) -> Self {
        net.record();
        Self(net.clone())
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lines().iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// The product's inbox, and a look around after every turn.
struct Stage {
    inbox: ProxyInbox,
    world: Rc<World>,
    teardown: Option<u64>,
}

impl Inbox for Stage {
    type Message = Command;

    fn handle(&mut self, command: Command) -> ControlFlow<()> {
        let flow = self.inbox.handle(command);
        self.world.learn_counters();
        if flow.is_break() {
            self.world.stop_the_outside();
        }
        flow
    }

    fn after_turn(&mut self) -> ControlFlow<()> {
        let world = &self.world;
        let turn = world.turns.get() + 1;
        world.turns.set(turn);
        let flow = self.inbox.after_turn();
        world.check_turn(turn);
        if flow.is_break() || self.teardown == Some(turn) {
            world.stop_the_outside();
            return ControlFlow::Break(());
        }
        shard::step(&world.outside, None).expect("the outside's driver works");
        ControlFlow::Continue(())
    }
}

struct Backend {
    address: SocketAddr,
    socket: TcpListener,
    accepting: Option<TaskId>,
    connections: Vec<TaskId>,
}

pub(super) struct World {
    pub(super) plan: Plan,
    net: SimNet,
    proxy_host: HostId,
    outside_host: HostId,
    pub(super) outside: Handle,
    pub(super) state: Rc<State>,
    pub(super) ledger: Rc<Ledger>,
    mailbox: RefCell<Option<Sender<Command>>>,
    backends: RefCell<Vec<Backend>>,
    /// The proxy's own sockets, by listener.
    sockets: Vec<TcpListener>,
    config: RefCell<Config>,
    ids: RefCell<Ids>,
    snapshot: RefCell<Option<Arc<Snapshot>>>,
    scripts: RefCell<HashMap<usize, Script>>,
    clients: RefCell<Vec<(Party, Expected)>>,
    pending_clients: Cell<usize>,
    rng: RefCell<Rng>,
    turns: Cell<u64>,
    director: Cell<Option<TaskId>>,
    /// Every set of counters there has ever been, those of removed listeners and endpoints included.
    listeners_seen: RefCell<Vec<Rc<ListenerState>>>,
    endpoints_seen: RefCell<Vec<Rc<EndpointState>>>,
}

impl World {
    fn new(net: &SimNet, plan: Plan) -> Rc<Self> {
        let pool = BufferPool::new(plan.sizes, Budget::new(plan.buffer_bytes));
        let driver = net.driver(pool.clone(), plan.proxy_faults.clone());
        let proxy_host = driver.host();
        let limits = Limits { max_tasks: plan.max_tasks, queue_size: plan.queue_size, budget: plan.budget };
        let pipe_sizes = PipeSizes { size: plan.pipe_size, size_max: plan.pipe_size * 2 };
        let pipes = PipePool::new(pipe_sizes, Budget::new(plan.pipe_bytes));
        let handle = Handle::with_pipes(Box::new(driver), pool, pipes, limits, Duration::from_secs(10));
        let state = State::new(handle, Identity::of_test(plan.seed), Calls::new(None), None);

        let pool = BufferPool::new(Sizes::default(), Budget::new(1 << 30));
        let driver = net.driver(pool.clone(), plan.outside_faults.clone());
        let outside_host = driver.host();
        let limits = Limits { max_tasks: 1 << 20, queue_size: 0, budget: 64 };
        let outside = Handle::new(Box::new(driver), pool, limits, Duration::from_secs(10));

        let bound = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let backend = |_| {
            let socket = bound();
            let address = socket.local_addr().expect("an address");
            Backend { address, socket, accepting: None, connections: Vec::new() }
        };
        let backends: Vec<Backend> = (0..plan.backends).map(backend).collect();
        let sockets: Vec<TcpListener> = (0..plan.listeners).map(|_| bound()).collect();
        let addresses: Vec<SocketAddr> = backends.iter().map(|b| b.address).collect();
        let fronts: Vec<SocketAddr> = sockets.iter().map(|s| s.local_addr().expect("an address")).collect();
        let config = plan.config(&fronts, &addresses);
        let rng = RefCell::new(Rng::new(plan.seed ^ 0xfeed));
        Rc::new(Self {
            plan,
            net: net.clone(),
            proxy_host,
            outside_host,
            outside,
            state,
            ledger: Rc::default(),
            mailbox: RefCell::default(),
            backends: RefCell::new(backends),
            sockets,
            config: RefCell::new(config),
            ids: RefCell::default(),
            snapshot: RefCell::default(),
            scripts: RefCell::default(),
            clients: RefCell::default(),
            pending_clients: Cell::new(0),
            rng,
            turns: Cell::new(0),
            director: Cell::new(None),
            listeners_seen: RefCell::default(),
            endpoints_seen: RefCell::default(),
        })
    }

    pub(super) fn spawn(&self, future: impl Future<Output = ()> + 'static) -> TaskId {
        let task = self.outside.spawn(Admission::Always, future);
        task.expect("always admitted").expect("always admitted")
    }

    pub(super) fn now(&self) -> Timestamp {
        self.outside.now()
    }

    pub(super) async fn sleep(&self, duration: Duration) {
        sleep_until(&self.outside, self.now() + duration).await;
    }
}

/// Clients and backends.
impl World {
    fn revive(self: &Rc<Self>, number: usize) {
        let mut backends = self.backends.borrow_mut();
        let backend = &mut backends[number];
        if backend.accepting.is_some() {
            return;
        }
        let socket = backend.socket.try_clone().expect("a descriptor").into();
        let listener = Listener::new(&self.outside, socket).expect("adopted");
        let world = Rc::clone(self);
        backend.accepting = Some(self.spawn(async move { world.serve(number, listener).await }));
    }

    fn kill(&self, number: usize) {
        let tasks: Vec<TaskId> = {
            let backend = &mut self.backends.borrow_mut()[number];
            backend.accepting.take().into_iter().chain(backend.connections.drain(..)).collect()
        };
        for task in tasks {
            self.outside.abort(task);
        }
    }

    async fn serve(self: Rc<Self>, number: usize, mut listener: Listener) {
        loop {
            let Ok(accepted) = listener.accept().await else { continue };
            let party = self.ledger.enter(Role::Backend);
            let greets = self.rng.borrow_mut().chance(1, 3);
            let part = if greets { Part::of_greeters() } else { Part::of_strangers() };
            let world = Rc::clone(&self);
            let lookup: Lookup = Rc::new(move |client| world.script_of(client).map(|script| script.backend));
            let talker = Talker::new(&self.ledger, party, accepted.socket, part, Some(lookup));
            let task = self.spawn(talker.run());
            self.backends.borrow_mut()[number].connections.push(task);
        }
    }

    fn script_of(&self, client: Party) -> Option<Script> {
        self.scripts.borrow().get(&client.index()).cloned()
    }

    /// A client with this script connects to a listener. Returns who it is.
    pub(super) fn client(self: &Rc<Self>, listener: usize, script: Script) -> Party {
        let party = self.ledger.enter(Role::Client);
        self.clients.borrow_mut().push((party, script.expected));
        let part = script.client.clone();
        self.scripts.borrow_mut().insert(party.index(), script);
        self.pending_clients.set(self.pending_clients.get() + 1);
        let world = Rc::clone(self);
        self.spawn(async move {
            let to = world.sockets[listener].local_addr().expect("an address");
            let target = Target::Ip { to, from: None };
            match connect(&world.outside, target, StreamOptions::default()).await {
                Ok(socket) => Talker::new(&world.ledger, party, socket, part, None).run().await,
                Err(errno) => world.ledger.with(party, |record| {
                    record.told = Some(Told::Reset(errno));
                    record.over = true;
                }),
            }
            world.pending_clients.set(world.pending_clients.get() - 1);
        });
        party
    }
}

/// What happens.
impl World {
    async fn direct(self: Rc<Self>) {
        for number in 0..self.plan.backends {
            self.revive(number);
        }
        self.apply().await;
        self.spawn_clients();
        let actions = self.plan.actions.clone();
        for (at, action) in actions {
            sleep_until(&self.outside, at).await;
            self.act(action).await;
        }
        let mut look_again = Duration::from_millis(5);
        while !(self.pending_clients.get() == 0 && self.ledger.all_over()) {
            self.sleep(look_again).await;
            look_again = (look_again * 2).min(Duration::from_secs(1));
        }
        self.heal().await;
        self.check_probes().await;
        self.wind_down().await;
    }

    fn spawn_clients(self: &Rc<Self>) {
        for (at, listener, script) in self.plan.clients.clone() {
            let world = Rc::clone(self);
            self.pending_clients.set(self.pending_clients.get() + 1);
            self.spawn(async move {
                sleep_until(&world.outside, at).await;
                world.client(listener, script);
                world.pending_clients.set(world.pending_clients.get() - 1);
            });
        }
    }

    async fn act(self: &Rc<Self>, action: Action) {
        match action {
            Action::Kill(number) => self.kill(number),
            Action::Revive(number) => self.revive(number),
            Action::Silence(number, silent) => {
                let address = self.backends.borrow()[number].address;
                self.net.set_silent(address, silent);
            }
            Action::Reload(change) => {
                let (fronts, backends) = self.addresses();
                change.apply(&mut self.config.borrow_mut(), &fronts, &backends, &self.plan);
                self.apply().await;
            }
            Action::Ask => self.ask().await,
            Action::Weather(faults) => self.net.set_faults(self.proxy_host, faults),
            Action::Drain => {
                let (done, _given_up) = oneshot::channel();
                self.tell(Command::Drain { done });
            }
            Action::Stop => self.tell(Command::Stop),
            Action::PanicInChoice => {
                let cluster = self.state.listener_named("l0").expect("a listener").cluster();
                // Borrowed for ever: whoever wants to borrow it next panics.
                std::mem::forget(cluster.balancer.borrow_mut());
            }
            Action::PanicInTransfer(number) => self.endpoint(number).bytes_up.set(u64::MAX),
            Action::MendTransfer(number) => self.endpoint(number).bytes_up.set(0),
        }
    }

    /// Of the first listener.
    fn endpoint(&self, number: usize) -> Rc<EndpointState> {
        let cluster = self.state.listener_named("l0").expect("a listener").cluster();
        Rc::clone(&cluster.endpoints[number])
    }

    /// Of the proxy, and of the backends.
    fn addresses(&self) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        let fronts = self.sockets.iter().map(|s| s.local_addr().expect("an address")).collect();
        (fronts, self.backends.borrow().iter().map(|b| b.address).collect())
    }

    fn tell(&self, command: Command) {
        if let Some(mailbox) = &*self.mailbox.borrow() {
            assert!(mailbox.try_send(command).is_ok(), "the mailbox is full or closed");
        }
    }

    /// Compile the configuration and push it, with a socket for every new bind, as the control thread does.
    async fn apply(&self) {
        let (snapshot, sockets) = {
            let old = self.snapshot.borrow().clone();
            let snapshot = Arc::new(compile(&self.config.borrow(), old.as_deref(), &mut self.ids.borrow_mut()));
            let binds = |s: &Snapshot| {
                s.listeners.iter().flat_map(|l| &l.binds).map(|b| (b.id, b.address.clone())).collect::<Vec<_>>()
            };
            let known: BTreeMap<BindId, Address> = old.iter().flat_map(|s| binds(s)).collect();
            let new = binds(&snapshot).into_iter().filter(|(id, _)| !known.contains_key(id));
            let sockets = new.map(|(id, address)| (id, self.socket_at(&address))).collect();
            *self.snapshot.borrow_mut() = Some(Arc::clone(&snapshot));
            (snapshot, sockets)
        };
        let version = snapshot.version;
        let (done, applied) = oneshot::channel();
        self.tell(Command::Apply { snapshot, sockets, done });
        if let Ok(applied) = applied.await
            && applied.version != version
        {
            self.ledger.fail(format!("version {} was applied, not {version}", applied.version));
        }
    }

    fn socket_at(&self, address: &Address) -> std::os::fd::OwnedFd {
        let is_it = |s: &&TcpListener| s.local_addr().ok().map(Address::Ip).as_ref() == Some(address);
        let socket = self.sockets.iter().find(is_it).expect("a listener of this world");
        socket.try_clone().expect("a descriptor").into()
    }

    /// A status query and a look into the table: their answers must agree with each other.
    async fn ask(&self) {
        let (answer, report) = oneshot::channel();
        self.tell(Command::Report(answer));
        let (answer, rows) = oneshot::channel();
        let filter = ConnectionFilter { limit: usize::MAX, ..ConnectionFilter::default() };
        self.tell(Command::Connections { filter, answer });
        let (Ok(report), Ok(rows)) = (report.await, rows.await) else { return };
        let active: u64 = report.listeners.iter().map(|l| l.active).sum();
        if active > rows.len() as u64 {
            self.ledger.fail(format!("{active} connections are active, but {} are in the table", rows.len()));
        }
        let now = self.now();
        if rows.iter().any(|row| row.idle > row.age || row.age > now - Timestamp::START) {
            self.ledger.fail("a connection is older than the world, or idle for longer than it lives".to_owned());
        }
    }

    /// The sun comes out: everything works from now on.
    async fn heal(self: &Rc<Self>) {
        self.net.set_faults(self.proxy_host, Faults::NONE);
        self.net.set_faults(self.outside_host, Faults::NONE);
        for number in 0..self.plan.backends {
            let address = self.backends.borrow()[number].address;
            self.net.set_silent(address, false);
            self.revive(number);
        }
        let longest = |limit: Option<Duration>| limit.unwrap_or_default();
        let plan = &self.plan;
        let attempts = u32::from(plan.connect_attempts);
        let rest = plan.connect_timeout * attempts + longest(plan.idle) + longest(plan.half_close) + longest(plan.peek);
        let deadline = self.now() + rest + Duration::from_secs(5);
        while !self.state.table.borrow().is_empty() {
            if self.now() > deadline {
                let left = self.state.table.borrow().len();
                return self.ledger.fail(format!(
                    "{left} connections remain although both of their ends are gone; {}",
                    self.describe()
                ));
            }
            self.sleep(Duration::from_millis(50)).await;
        }
        let (fronts, backends) = self.addresses();
        self.config.replace(self.plan.restored(&fronts, &backends));
        if !self.plan.drains() {
            self.apply().await;
        }
        self.sleep(plan.fail_timeout + plan.connect_timeout + Duration::from_secs(1)).await;
    }

    /// After whatever has happened, every endpoint serves, and every connection succeeds.
    async fn check_probes(self: &Rc<Self>) {
        if self.plan.drains() {
            return;
        }
        let counts = || -> Vec<u64> {
            let cluster = self.state.listener_named("l0").expect("there after the last reload").cluster();
            cluster.endpoints.iter().map(|e| e.connects.get()).collect()
        };
        let before = counts();
        for _ in 0..before.len() * 2 {
            let party = self.client(0, Script::probe());
            let deadline = self.now() + Duration::from_secs(5);
            while !self.ledger.with(party, |record| record.over) {
                if self.now() > deadline {
                    return self.ledger.fail(format!("{party:?}: a probe found no answer after everything was mended"));
                }
                self.sleep(Duration::from_millis(1)).await;
            }
        }
        for (number, (before, after)) in before.into_iter().zip(counts()).enumerate() {
            if after < before + 1 {
                self.ledger.fail(format!("endpoint {number} is not used again although it is back"));
            }
        }
    }

    /// Drained, the shard owns nothing; then it ends.
    async fn wind_down(self: &Rc<Self>) {
        self.sleep(Duration::from_secs(2)).await;
        let listeners = if self.plan.drains() { 0 } else { self.plan.listeners as u64 };
        self.check_idle(listeners);
        let (done, drained) = oneshot::channel();
        self.tell(Command::Drain { done });
        if drained.await.is_err() {
            self.ledger.fail("the drain was not answered".to_owned());
        }
        self.sleep(Duration::from_secs(1)).await;
        self.check_idle(0);
        self.check_endings();
        self.tell(Command::Stop);
        std::future::pending::<()>().await;
    }
}

impl World {
    fn stop_the_outside(&self) {
        if let Some(director) = self.director.take() {
            self.outside.abort(director);
        }
        self.net.set_stopped(self.outside_host, true);
    }

    /// The process is gone; its peers must all be told.
    fn outlive_the_shard(self: Rc<Self>, net: &SimNet) -> Summary {
        net.set_stopped(self.outside_host, false);
        net.set_stopped(self.proxy_host, true);
        let deadline = self.now() + Duration::from_secs(3600);
        while !(self.pending_clients.get() == 0 && self.ledger.all_over()) {
            shard::step(&self.outside, Some(deadline)).expect("the outside's driver works");
            if let Some(failure) = self.ledger.first_failure() {
                panic!("after the end of the shard: {failure}");
            }
            let left = self.now() < deadline && !net.is_stuck();
            assert!(left, "peers are left waiting after the end of the shard: {}", self.describe());
        }
        let summary = self.summary();
        for number in 0..self.plan.backends {
            self.kill(number);
        }
        shard::finish(&self.outside).expect("the outside's driver gives everything back");
        summary
    }

    fn summary(&self) -> Summary {
        let parties = self.ledger.parties();
        let received = parties.iter().map(|p| self.ledger.with(*p, |r| r.received));
        let clients = self.clients.borrow();
        let complete = clients.iter().filter(|(p, _)| self.ledger.with(*p, |r| r.complete)).count() as u64;
        let rungs = self.state.report().rungs;
        Summary {
            digest: self.net.digest(),
            turns: self.turns.get(),
            connections: clients.len() as u64,
            complete,
            idle: self.endings(Reason::IdleTimeout),
            bytes: received.sum(),
            spliced: rungs[1..].iter().map(|r| r.bytes).sum(),
            panicked: self.endings(Reason::Panicked),
            changes: *self.state.rung_changes.borrow(),
            refused: rungs.iter().map(|r| r.refused).sum(),
        }
    }
}

/// Named, so that a plan may say it.
pub(super) const POLICIES: [Policy; 4] =
    [Policy::RoundRobin, Policy::WeightedRoundRobin, Policy::LeastConnections, Policy::RandomTwo];
