//! What one shard of the proxy knows: the snapshot it runs, its listeners, clusters, endpoints, connections, counters.
//!
//! Everything here belongs to one thread. Counters of an endpoint outlive a reload as long as it keeps its
//! [`EndpointId`], those of a listener as long as it keeps its name.

mod http_terms;
mod routing;

pub(crate) use http_terms::HttpTerms;
pub(crate) use routing::{Destination, Routing};

use crate::{
    balance::Balancer,
    descriptors::Descriptors,
    guard::{Guard, Welcome},
    http::{Exchanges, Pool, PoolTerms, Pools, Record, Requests, RetryBudget, Spaces},
    l4::{KEPT_BYTES_MAX, LadderSettings, Tally},
    per_ip::{Addresses, Refusal, Seat},
    permits::{Caller, Calls, Grants, Inside, Lease, Permit, Place},
    report::{
        ClusterReport, EndpointHttpReport, EndpointReport, HttpReport, ListenerReport, Reason, RoomReport, RungKind,
        RungReport, ShardReport,
    },
    snapshot::{self, BindId, EndpointId, Snapshot},
    table::Row,
};
use balance_config::model::{Address, ClusterTimeouts, ProxyProtocolVersion, Queue, Retry};
use balance_engine::{
    Handle,
    buf::Budget,
    clock::Timestamp,
    driver::{StreamOptions, Target},
    executor::TaskId,
    intern::Interner,
    rng::Rng,
    slab::{Key, Slab},
};
use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::{HashMap, HashSet},
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

/// One shard.
pub(crate) struct State {
    pub(crate) handle: Handle,
    pub(crate) shard: u16,
    pub(crate) core: u16,
    pub(crate) table: RefCell<Slab<Row>>,
    /// For what is kept of hellos that are not complete.
    pub(crate) peeked: Arc<Budget>,
    pub(crate) rng: RefCell<Rng>,
    pub(crate) draining: Cell<bool>,
    pub(crate) snapshot: RefCell<Option<Arc<Snapshot>>>,
    listeners: RefCell<HashMap<Arc<str>, Rc<ListenerState>>>,
    pub(crate) accepting: RefCell<HashMap<BindId, TaskId>>,
    clusters: RefCell<HashMap<Arc<str>, Rc<ClusterState>>>,
    endpoints: RefCell<HashMap<EndpointId, Rc<EndpointState>>>,
    endings: [Cell<u64>; Reason::ALL.len()],
    rungs: RefCell<[RungReport; RungKind::ALL.len()]>,
    /// Those who wait for a permit on this shard.
    pub(crate) caller: Rc<Caller>,
    leaving: RefCell<Leaving>,
    /// Connections to endpoints that no request uses now.
    pub(crate) pools: Pools,
    /// What requests need while they last.
    pub(crate) exchanges: Exchanges,
    /// For the heads of requests, one after another.
    pub(crate) spaces: RefCell<Spaces>,
    /// Names of header fields. Those that are known to all are all there is.
    pub(crate) names: Interner,
    /// Requests that were not answered by an endpoint, by reason.
    errors: RefCell<Vec<(&'static str, u64)>>,
    retries: Cell<u64>,
    /// How many there are: what is given per second for all is a part of it for each.
    shards: usize,
    /// What the system's clock said when this shard's clock was at its start.
    epoch: Duration,
    /// Where a connection takes two real descriptors: how many may be.
    pub(crate) room: Option<Room>,
    #[cfg(test)]
    pub(crate) rung_changes: RefCell<crate::l4::Changes>,
}

/// Which shard it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) shard: u16,
    pub(crate) core: u16,
    /// How many there are.
    pub(crate) shards: usize,
    /// Secret, and different from shard to shard and from run to run.
    pub(crate) seed: u64,
    /// What the system's clock said, since the Unix epoch, when the shard's clock was at its start.
    pub(crate) epoch: Duration,
}

#[cfg(test)]
impl Identity {
    /// The only one.
    pub(crate) fn of_test(seed: u64) -> Self {
        Self { shard: 0, core: 0, shards: 1, seed, epoch: Duration::ZERO }
    }
}

/// This shard's part of what the descriptors of the process are enough for.
pub(crate) struct Room {
    pub(crate) lease: Rc<Lease>,
    /// Times that an accept loop had to wait for some.
    pub(crate) pauses: Cell<u64>,
    descriptors: Arc<Descriptors>,
}

impl Room {
    fn new(descriptors: Arc<Descriptors>) -> Self {
        Self { lease: Rc::new(Lease::new(descriptors.limit())), pauses: Cell::new(0), descriptors }
    }

    fn report(&self) -> RoomReport {
        RoomReport { live: u64::from(self.lease.live()), pauses: self.pauses.get() }
    }

    /// Whether bursts may be accepted.
    pub(crate) fn is_wide(&self) -> bool {
        self.descriptors.is_wide()
    }
}

/// Rights of connections that end in this turn. Their sockets are closed at the start of the next one, and only then
/// may somebody else open a connection: an endpoint must not see one more than its limit.
#[derive(Default)]
struct Leaving {
    turn: u64,
    rights: Vec<Right>,
}

/// What a connection had and somebody else may have next. Dropping it gives it back.
#[expect(dead_code, reason = "kept to be dropped")]
pub(crate) enum Right {
    Listener(Permit<ListenerState>),
    Place(Place<EndpointState>),
    Endpoint(Permit<EndpointState>),
    Cluster(Permit<Gate>),
    /// For two descriptors of the process.
    Room(Permit),
}

/// A listener's counters and what its next connection gets.
pub(crate) struct ListenerState {
    pub(crate) name: Arc<str>,
    pub(crate) accepted: Cell<u64>,
    pub(crate) active: Cell<u64>,
    pub(crate) lease: Lease,
    pub(crate) limit_pauses: Cell<u64>,
    pub(crate) bytes_up: Cell<u64>,
    pub(crate) bytes_down: Cell<u64>,
    terms: RefCell<Rc<Terms>>,
    guard: RefCell<Arc<Guard>>,
    per_ip: RefCell<Option<Arc<Addresses>>>,
    destination: RefCell<Destination>,
    http: RefCell<Option<Rc<HttpTerms>>>,
}

/// What a listener grants its connections. One keeps what it began with, whatever a reload changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) timeouts: Timeouts,
    pub(crate) ladder: LadderSettings,
}

/// How long a connection may stand still.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// While both directions are open.
    pub(crate) idle: Option<Duration>,
    /// Once one direction has ended.
    pub(crate) half_close: Option<Duration>,
}

impl ListenerState {
    pub(crate) fn destination(&self) -> Destination {
        self.destination.borrow().clone()
    }

    /// `None`: HTTP is not spoken here.
    pub(crate) fn http_terms(&self) -> Option<Rc<HttpTerms>> {
        self.http.borrow().clone()
    }

    pub(crate) fn is_http(&self) -> bool {
        self.http.borrow().is_some()
    }

    pub(crate) fn terms(&self) -> Rc<Terms> {
        Rc::clone(&self.terms.borrow())
    }

    #[cfg(test)]
    pub(crate) fn set_ladder(&self, ladder: LadderSettings) {
        let terms = Terms { ladder, ..*self.terms() };
        self.terms.replace(Rc::new(terms));
    }

    /// What to do with a connection, by its peer's address.
    pub(crate) fn welcome(&self, peer: Option<IpAddr>) -> Welcome {
        self.guard.borrow().welcome(peer)
    }

    /// What to do with a client, by the address that a PROXY header told.
    pub(crate) fn welcome_client(&self, client: IpAddr) -> Welcome {
        self.guard.borrow().client(Some(client))
    }

    /// A place among the connections of the client's address, if that is limited here.
    ///
    /// # Errors
    /// The address has reached a limit.
    pub(crate) fn seat(&self, client: Option<IpAddr>, now: Timestamp) -> Result<Option<Seat>, Reason> {
        let per_ip = self.per_ip.borrow();
        let Some((addresses, ip)) = per_ip.as_ref().zip(client) else { return Ok(None) };
        match addresses.admit(ip, now) {
            Ok(seat) => Ok(Some(seat)),
            Err(Refusal::TooManyConnections) => Err(Reason::IpConnections),
            Err(Refusal::TooFast { .. }) => Err(Reason::IpRate),
        }
    }

    /// The one cluster of all its connections.
    pub(crate) fn cluster_name(&self) -> Option<Arc<str>> {
        match &*self.destination.borrow() {
            Destination::Cluster(cluster) => Some(Arc::clone(&cluster.name)),
            Destination::Routes(_) | Destination::Nowhere => None,
        }
    }

    /// Its own cluster.
    #[cfg(test)]
    pub(crate) fn cluster(&self) -> Rc<ClusterState> {
        self.clusters().pop().expect("a cluster of its own")
    }

    /// All clusters that its connections may go to, its own last.
    #[cfg(test)]
    pub(crate) fn clusters(&self) -> Vec<Rc<ClusterState>> {
        match self.destination() {
            Destination::Cluster(cluster) => vec![cluster],
            Destination::Routes(routing) => routing.clusters(),
            Destination::Nowhere => Vec::new(),
        }
    }
}

/// A cluster as this shard balances it.
pub(crate) struct ClusterState {
    pub(crate) name: Arc<str>,
    pub(crate) endpoints: Vec<Rc<EndpointState>>,
    pub(crate) balancer: RefCell<Balancer>,
    pub(crate) connect_timeout: Duration,
    pub(crate) connect_attempts: u8,
    pub(crate) fail_timeout: Duration,
    pub(crate) gate: Rc<Gate>,
    pub(crate) queue: Queue,
    pub(crate) options: StreamOptions,
    pub(crate) proxy_protocol: Option<ProxyProtocolVersion>,
    pub(crate) pool: PoolTerms,
    pub(crate) timeouts: ClusterTimeouts,
    pub(crate) retry: Retry,
    /// Of further tries.
    pub(crate) budget: RetryBudget,
}

/// How many get into a cluster. Stays the same while the cluster keeps its name, so that it counts those who came
/// before a reload.
pub(crate) struct Gate {
    pub(crate) lease: Lease,
    /// How many connections may lie idle, over all shards.
    idle: Rc<Lease>,
    pub(crate) queued: Cell<u64>,
    pub(crate) refused: Cell<u64>,
    pub(crate) queue_timeouts: Cell<u64>,
}

impl Gate {
    fn new(cluster: &snapshot::Cluster) -> Rc<Self> {
        Rc::new(Self {
            lease: Lease::new(&cluster.limit),
            idle: Rc::new(Lease::new(&cluster.idle_limit)),
            queued: Cell::new(0),
            refused: Cell::new(0),
            queue_timeouts: Cell::new(0),
        })
    }

    fn report(&self, name: &Arc<str>) -> ClusterReport {
        ClusterReport {
            name: Arc::clone(name),
            live: u64::from(self.lease.live()),
            queued: self.queued.get(),
            refused: self.refused.get(),
            queue_timeouts: self.queue_timeouts.get(),
        }
    }
}

impl Grants for ListenerState {
    fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl Grants for Gate {
    fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl Grants for EndpointState {
    fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl Inside for EndpointState {
    type Outer = Gate;

    fn outer(&self) -> &Rc<Gate> {
        &self.gate
    }
}

/// An endpoint's counters and its standing with this shard.
pub(crate) struct EndpointState {
    pub(crate) cluster: Arc<str>,
    pub(crate) address: Address,
    pub(crate) target: Target,
    /// The address as it is written.
    pub(crate) text: Rc<str>,
    pub(crate) weight: Cell<u16>,
    pub(crate) active: Cell<u32>,
    /// Of its cluster. Both are known for as long as that keeps its name.
    pub(crate) gate: Rc<Gate>,
    pub(crate) lease: Lease,
    pub(crate) connects: Cell<u64>,
    pub(crate) connect_failures: Cell<u64>,
    pub(crate) bytes_up: Cell<u64>,
    pub(crate) bytes_down: Cell<u64>,
    /// After a failed connect: passed over until then.
    pub(crate) set_aside_until: Cell<Option<Timestamp>>,
    /// Its idle connections.
    pub(crate) pool: Pool,
    /// Made by the first one.
    requests: OnceCell<Box<Requests>>,
    /// No snapshot has it any more.
    pub(crate) is_gone: Cell<bool>,
}

impl EndpointState {
    fn new(cluster: &Arc<str>, endpoint: &snapshot::Endpoint, gate: &Rc<Gate>) -> Self {
        let target = match &endpoint.address {
            Address::Ip(to) => Target::Ip { to: *to, from: None },
            Address::Unix(path) => Target::Unix(path.clone()),
        };
        Self {
            cluster: Arc::clone(cluster),
            address: endpoint.address.clone(),
            target,
            text: endpoint.address.to_string().into(),
            weight: Cell::new(endpoint.weight),
            active: Cell::new(0),
            gate: Rc::clone(gate),
            lease: Lease::new(&endpoint.limit),
            connects: Cell::new(0),
            connect_failures: Cell::new(0),
            bytes_up: Cell::new(0),
            bytes_down: Cell::new(0),
            set_aside_until: Cell::new(None),
            pool: Pool::new(&endpoint.idle_limit, &gate.idle),
            requests: OnceCell::new(),
            is_gone: Cell::new(false),
        }
    }

    pub(crate) fn is_set_aside(&self, now: Timestamp) -> bool {
        self.set_aside_until.get().is_some_and(|until| now < until)
    }
}

impl State {
    pub(crate) fn new(
        handle: Handle,
        identity: Identity,
        calls: Arc<Calls>,
        descriptors: Option<Arc<Descriptors>>,
    ) -> Rc<Self> {
        let Identity { shard, core, shards, seed, epoch } = identity;
        Rc::new(Self {
            handle,
            shard,
            core,
            table: RefCell::default(),
            peeked: Budget::new(KEPT_BYTES_MAX),
            rng: RefCell::new(Rng::new(seed)),
            draining: Cell::new(false),
            snapshot: RefCell::default(),
            listeners: RefCell::default(),
            accepting: RefCell::default(),
            clusters: RefCell::default(),
            endpoints: RefCell::default(),
            endings: Default::default(),
            rungs: RefCell::default(),
            caller: Caller::new(calls),
            leaving: RefCell::default(),
            pools: Pools::default(),
            exchanges: Exchanges::default(),
            spaces: RefCell::new(Spaces::new(seed)),
            names: Interner::new(0, seed),
            errors: RefCell::default(),
            retries: Cell::new(0),
            shards,
            epoch,
            room: descriptors.map(Room::new),
            #[cfg(test)]
            rung_changes: RefCell::default(),
        })
    }

    /// An id for a connection: the shard above, below which of its connections it is. Unique in the process until a
    /// shard has had 2^32.
    pub(crate) fn connection_id(&self, row: Key) -> u64 {
        u64::from(self.shard) << 48 | u64::from(row.generation())
    }

    pub(crate) fn count_ending(&self, reason: Reason) {
        if let Some(at) = Reason::ALL.iter().position(|r| *r == reason) {
            self.endings[at].set(self.endings[at].get() + 1);
        }
    }

    /// Give these back once the sockets that are being closed now are closed.
    pub(crate) fn give_back_after_close(&self, rights: impl IntoIterator<Item = Right>) {
        self.give_back_closed();
        self.leaving.borrow_mut().rights.extend(rights);
    }

    /// After every turn: give back the rights of connections that ended in an earlier one.
    pub(crate) fn give_back_closed(&self) {
        let mut leaving = self.leaving.borrow_mut();
        let turn = self.handle.turn();
        if leaving.turn != turn {
            leaving.turn = turn;
            leaving.rights.clear();
        }
    }

    /// Since the Unix epoch, by this shard's clock.
    pub(crate) fn wall_clock(&self) -> Duration {
        self.epoch + (self.handle.now() - Timestamp::START)
    }

    /// A request is over.
    pub(crate) fn finished(&self, record: &Record, route: Option<&Requests>) {
        if let Some(route) = route {
            route.count(record);
        }
        if let Some(endpoint) = &record.endpoint {
            endpoint.requests.get_or_init(Box::default).count(record);
        }
        self.retries.set(self.retries.get() + u64::from(record.retries));
        if record.code.is_empty() {
            return;
        }
        let mut errors = self.errors.borrow_mut();
        match errors.iter_mut().find(|(code, _)| *code == record.code) {
            Some((_, count)) => *count += 1,
            None => errors.push((record.code, 1)),
        }
    }

    /// Add what a connection did in one poll.
    pub(crate) fn count_rungs(&self, tallies: &[Tally]) {
        for tally in tallies.iter().filter(|t| !t.is_empty()) {
            tally.add_to(&mut self.rungs.borrow_mut());
            #[cfg(test)]
            tally.add_changes_to(&mut self.rung_changes.borrow_mut());
        }
    }

    /// Take over the clusters and listeners of a snapshot. Sockets are the caller's affair. Returns the old snapshot,
    /// which is dropped elsewhere.
    pub(crate) fn adopt(&self, new: Arc<Snapshot>) -> Option<Arc<Snapshot>> {
        let old = self.snapshot.borrow().clone();
        // By identity, because there may be ten thousand of them.
        let same: HashSet<*const snapshot::Cluster> = old.iter().flat_map(|o| &o.clusters).map(Arc::as_ptr).collect();
        let mut endpoints = HashMap::new();
        let mut clusters = HashMap::new();
        for cluster in &new.clusters {
            let unchanged = same.contains(&Arc::as_ptr(cluster));
            let known = self.clusters.borrow().get(&cluster.name).cloned();
            let gate = known.as_ref().map_or_else(|| Gate::new(cluster), |known| Rc::clone(&known.gate));
            let members = self.members(cluster, &gate, &mut endpoints);
            let known = known.filter(|_| unchanged);
            let here = (self.shards, self.handle.now());
            let state = known.unwrap_or_else(|| Rc::new(ClusterState::new(cluster, members, gate, here)));
            clusters.insert(Arc::clone(&cluster.name), state);
        }
        let listeners = new.listeners.iter().map(|l| {
            let state = self.listener(l, &clusters);
            (Arc::clone(&l.name), state)
        });
        let listeners = listeners.collect();
        *self.listeners.borrow_mut() = listeners;
        *self.clusters.borrow_mut() = clusters;
        let before = self.endpoints.replace(endpoints);
        for (_, gone) in before.iter().filter(|(id, _)| !self.endpoints.borrow().contains_key(id)) {
            gone.is_gone.set(true);
        }
        // A new endpoint may be what they wait for.
        new.clusters.iter().for_each(|cluster| cluster.limit.waits().call_first(None));
        self.snapshot.replace(Some(new))
    }

    fn members(
        &self,
        cluster: &snapshot::Cluster,
        gate: &Rc<Gate>,
        all: &mut HashMap<EndpointId, Rc<EndpointState>>,
    ) -> Vec<Rc<EndpointState>> {
        let known = self.endpoints.borrow();
        let member = |endpoint: &Arc<snapshot::Endpoint>| {
            let known = known.get(&endpoint.id).cloned();
            let state = known.unwrap_or_else(|| Rc::new(EndpointState::new(&cluster.name, endpoint, gate)));
            debug_assert!(Rc::ptr_eq(&state.gate, gate), "an endpoint of another cluster");
            state.weight.set(endpoint.weight);
            all.insert(endpoint.id, Rc::clone(&state));
            state
        };
        cluster.endpoints.iter().map(member).collect()
    }

    fn listener(
        &self,
        listener: &snapshot::Listener,
        clusters: &HashMap<Arc<str>, Rc<ClusterState>>,
    ) -> Rc<ListenerState> {
        let known = self.listeners.borrow().get(&listener.name).cloned();
        let destination = destination(listener, clusters, known.as_deref());
        let timeouts = Timeouts { idle: listener.idle_timeout, half_close: listener.half_close_timeout };
        let terms = Rc::new(Terms { timeouts, ladder: listener.ladder });
        let http = listener.http.as_ref().map(|http| {
            let old = known.as_ref().and_then(|known| known.http_terms());
            HttpTerms::new(http, &listener.ladder, old.as_deref(), |cluster| state_of(cluster, clusters))
        });
        let per_ip = listener.per_ip.as_ref().map(|per_ip| Arc::clone(&per_ip.addresses));
        if let Some(known) = known {
            known.terms.replace(terms);
            known.guard.replace(Arc::clone(&listener.guard));
            known.per_ip.replace(per_ip);
            known.destination.replace(destination);
            known.http.replace(http);
            return known;
        }
        Rc::new(ListenerState {
            name: Arc::clone(&listener.name),
            accepted: Cell::new(0),
            active: Cell::new(0),
            lease: Lease::new(&listener.limit),
            limit_pauses: Cell::new(0),
            bytes_up: Cell::new(0),
            bytes_down: Cell::new(0),
            terms: RefCell::new(terms),
            guard: RefCell::new(Arc::clone(&listener.guard)),
            per_ip: RefCell::new(per_ip),
            destination: RefCell::new(destination),
            http: RefCell::new(http),
        })
    }

    pub(crate) fn listener_named(&self, name: &str) -> Option<Rc<ListenerState>> {
        self.listeners.borrow().get(name).cloned()
    }

    /// The cluster as the newest snapshot has it, or as it was when that has none of this name.
    pub(crate) fn newest(&self, cluster: &Rc<ClusterState>) -> Rc<ClusterState> {
        let clusters = self.clusters.borrow();
        let newest = clusters.get(&cluster.name).filter(|newest| Rc::ptr_eq(&newest.gate, &cluster.gate));
        Rc::clone(newest.unwrap_or(cluster))
    }

    /// A copy of everything that is counted.
    pub(crate) fn report(&self) -> ShardReport {
        let snapshot = self.snapshot.borrow();
        let now = self.handle.now();
        let listeners = snapshot.iter().flat_map(|s| &s.listeners).filter_map(|l| self.listener_named(&l.name));
        let endpoints = snapshot.iter().flat_map(|s| &s.clusters).flat_map(|cluster| {
            let known = self.endpoints.borrow();
            let report = |e: &Arc<snapshot::Endpoint>| known.get(&e.id).map(|s| s.report(&cluster.name, now));
            cluster.endpoints.iter().filter_map(report).collect::<Vec<_>>()
        });
        ShardReport {
            shard: self.shard,
            core: self.core,
            driver: self.handle.driver_info().name,
            snapshot_version: snapshot.as_ref().map_or(0, |s| s.version),
            draining: self.draining.get(),
            engine: self.handle.stats(),
            listeners: listeners.map(|l| l.report()).collect(),
            clusters: self.clusters.borrow().values().map(|c| c.gate.report(&c.name)).collect(),
            endpoints: endpoints.collect(),
            peeked_bytes: self.peeked.leased(),
            rungs: *self.rungs.borrow(),
            room: self.room.as_ref().map(Room::report),
            http: HttpReport {
                errors: self.errors.borrow().clone(),
                retries: self.retries.get(),
                retries_exhausted: self.clusters.borrow().values().map(|c| c.budget.exhausted.get()).sum(),
            },
            endings: Reason::ALL.into_iter().zip(self.endings.iter().map(Cell::get)).collect(),
        }
    }
}

/// Of a snapshot, all clusters are known.
fn state_of(cluster: &Arc<snapshot::Cluster>, known: &HashMap<Arc<str>, Rc<ClusterState>>) -> Rc<ClusterState> {
    let state = known.get(&cluster.name).cloned();
    state.unwrap_or_else(|| Rc::new(ClusterState::new(cluster, Vec::new(), Gate::new(cluster), (1, Timestamp::START))))
}

/// Where the next connections of a listener go. `known` is the listener as it was.
fn destination(
    listener: &snapshot::Listener,
    clusters: &HashMap<Arc<str>, Rc<ClusterState>>,
    known: Option<&ListenerState>,
) -> Destination {
    let state = |cluster: &Arc<snapshot::Cluster>| state_of(cluster, clusters);
    let cluster = listener.cluster.as_ref().map(state);
    match (&listener.routing, cluster) {
        (None, Some(cluster)) => Destination::Cluster(cluster),
        (Some(routing), cluster) => {
            let old = known.map(ListenerState::destination);
            let old = if let Some(Destination::Routes(old)) = &old { Some(&**old) } else { None };
            Destination::Routes(Rc::new(Routing::new(routing, cluster, state, old)))
        }
        // A listener of HTTP has its routes elsewhere.
        (None, None) => Destination::Nowhere,
    }
}

impl ClusterState {
    fn new(
        cluster: &snapshot::Cluster,
        endpoints: Vec<Rc<EndpointState>>,
        gate: Rc<Gate>,
        (shards, now): (usize, Timestamp),
    ) -> Self {
        Self {
            name: Arc::clone(&cluster.name),
            balancer: RefCell::new(Balancer::new(cluster.policy, endpoints.len())),
            endpoints,
            connect_timeout: cluster.connect_timeout,
            connect_attempts: cluster.connect_attempts,
            fail_timeout: cluster.fail_timeout,
            gate,
            queue: cluster.queue,
            proxy_protocol: cluster.proxy_protocol,
            pool: PoolTerms {
                idle_timeout: cluster.pool.idle_timeout,
                max_requests: cluster.pool.requests_max,
                max_age: cluster.pool.age_max,
            },
            timeouts: cluster.timeouts,
            retry: cluster.retry,
            budget: RetryBudget::new(cluster.retry.budget_percent, cluster.retry.budget_min, shards, now),
            options: StreamOptions { nodelay: cluster.socket.nodelay, keepalive: cluster.socket.keepalive },
        }
    }
}

impl ListenerState {
    fn report(&self) -> ListenerReport {
        ListenerReport {
            name: Arc::clone(&self.name),
            accepted: self.accepted.get(),
            active: self.active.get(),
            live: u64::from(self.lease.live()),
            limit_pauses: self.limit_pauses.get(),
            bytes_up: self.bytes_up.get(),
            bytes_down: self.bytes_down.get(),
            routed: match &*self.destination.borrow() {
                Destination::Cluster(_) | Destination::Nowhere => Vec::new(),
                Destination::Routes(routing) => routing.report(),
            },
            routes: self.http.borrow().as_ref().map_or_else(Vec::new, |terms| terms.report()),
        }
    }
}

impl EndpointState {
    fn report(&self, cluster: &Arc<str>, now: Timestamp) -> EndpointReport {
        EndpointReport {
            cluster: Arc::clone(cluster),
            address: self.address.clone(),
            weight: self.weight.get(),
            active: u64::from(self.active.get()),
            live: u64::from(self.lease.live()),
            connects: self.connects.get(),
            connect_failures: self.connect_failures.get(),
            bytes_up: self.bytes_up.get(),
            bytes_down: self.bytes_down.get(),
            set_aside: self.is_set_aside(now),
            http: self.requests.get().map(|requests| {
                Box::new(EndpointHttpReport {
                    requests: requests.report(),
                    idle: self.pool.len() as u64,
                    reused: self.pool.reused.get(),
                    stale: self.pool.stale.get(),
                })
            }),
        }
    }
}
