//! Connections to endpoints that no request uses now.
//!
//! ```text
//!   request over ──► room below the budgets? ── yes ──► idle: newest at the back, its receive armed
//!                          │ no                            │ next request: the newest that has nothing to say
//!                          ▼                               │ told of an end, too old, idle for too long,
//!                        closed ◄──────────────────────────┘ somebody waits for its permits: closed
//! ```
//!
//! A shard has its own, so nothing is locked. What all shards together may keep is bounded by two limits whose permits
//! are leased: one for the endpoint, one for its cluster. An idle connection keeps its place below `max_connections`,
//! for the endpoint still has it; where somebody waits for such a place, idle connections are closed.
//!
//! The receive of an idle connection stays armed, so an end that the endpoint has sent is known before the connection
//! is used again. That is not a promise for the moment after: a request that was sent into it is tried again where that
//! is safe.

use crate::{
    permits::{Grants, Inside, Lease, Limit, Permit, Place},
    state::{ClusterState, EndpointState, Right, State},
};
use balance_engine::{clock::Timestamp, executor::Admission, net::Socket, net::sleep_until};
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

/// How often idle connections are looked at while nobody uses them.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// The same where somebody may wait for their places, on another shard.
const SWEEP_SOON: Duration = Duration::from_millis(20);

/// How long connections to a cluster's endpoints are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolTerms {
    /// `None`: for ever.
    pub(crate) idle_timeout: Option<Duration>,
    /// Requests on one connection, at least 1. `None`: any number.
    pub(crate) max_requests: Option<u32>,
    /// Since it was opened.
    pub(crate) max_age: Option<Duration>,
}

/// A connection to an endpoint that speaks HTTP.
pub(crate) struct Upstream {
    pub(crate) socket: Socket,
    pub(crate) opened: Timestamp,
    /// Sent on it, the one under way included.
    pub(crate) requests: u32,
    /// Its responses were large lately: it receives only their heads, and one after another.
    pub(crate) is_large: bool,
}

/// One that lies idle.
struct Idle {
    upstream: Upstream,
    place: Place<EndpointState>,
    since: Timestamp,
    room: Place<Room>,
}

/// How many idle connections to an endpoint there may be, inside of how many to its cluster.
pub(crate) struct Room {
    lease: Lease,
    cluster: Rc<Lease>,
}

impl Grants for Room {
    fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl Inside for Room {
    type Outer = Lease;

    fn outer(&self) -> &Rc<Lease> {
        &self.cluster
    }
}

/// The idle connections of one shard to one endpoint.
pub(crate) struct Pool {
    idle: RefCell<VecDeque<Idle>>,
    room: Rc<Room>,
    /// The terms of the last one that came in.
    terms: Cell<PoolTerms>,
    /// The sweeper knows of it.
    listed: Cell<bool>,
    /// Requests that found a connection here.
    pub(crate) reused: Cell<u64>,
    /// Connections that were to be used again and had ended.
    pub(crate) stale: Cell<u64>,
}

impl Pool {
    pub(crate) fn new(limit: &Arc<Limit>, cluster: &Rc<Lease>) -> Self {
        Self {
            idle: RefCell::default(),
            room: Rc::new(Room { lease: Lease::new(limit), cluster: Rc::clone(cluster) }),
            terms: Cell::new(PoolTerms { idle_timeout: None, max_requests: None, max_age: None }),
            listed: Cell::new(false),
            reused: Cell::new(0),
            stale: Cell::new(0),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.idle.borrow().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty()
    }

    /// The newest one that is fit for use.
    pub(crate) fn take(&self, state: &State) -> Option<(Upstream, Place<EndpointState>)> {
        let now = state.handle.now();
        loop {
            let idle = self.idle.borrow_mut().pop_back()?;
            if idle.is_fit(now, self.terms.get()) {
                self.reused.set(self.reused.get() + 1);
                return Some((idle.upstream, idle.place));
            }
            self.stale.set(self.stale.get() + 1);
            idle.close(state);
        }
    }

    /// Close those that are not fit for use. Returns how many are left.
    fn sweep(&self, state: &State, all: bool) -> usize {
        let now = state.handle.now();
        let terms = self.terms.get();
        let mut closed = Vec::new();
        let mut idle = self.idle.borrow_mut();
        for _ in 0..idle.len() {
            let Some(one) = idle.pop_front() else { break };
            if !all && one.is_fit(now, terms) {
                idle.push_back(one);
            } else {
                closed.push(one);
            }
        }
        if idle.is_empty() {
            idle.shrink_to_fit();
        }
        drop(idle);
        closed.into_iter().for_each(|one| one.close(state));
        self.len()
    }
}

impl Idle {
    fn is_fit(&self, now: Timestamp, terms: PoolTerms) -> bool {
        !self.upstream.socket.has_news()
            && terms.idle_timeout.is_none_or(|limit| now - self.since < limit)
            && terms.max_age.is_none_or(|limit| now - self.upstream.opened < limit)
    }

    /// The place is free once the socket is closed.
    fn close(self, state: &State) {
        drop(self.upstream);
        drop(self.room);
        state.give_back_after_close([Right::Place(self.place)]);
    }
}

/// A request is over and its connection could carry another: keep it, or close it.
pub(crate) fn put(
    state: &Rc<State>,
    cluster: &ClusterState,
    endpoint: &Rc<EndpointState>,
    upstream: Upstream,
    place: Place<EndpointState>,
) {
    let terms = cluster.pool;
    let pool = &endpoint.pool;
    let now = state.handle.now();
    let is_old = terms.max_age.is_some_and(|limit| now - upstream.opened >= limit)
        || terms.max_requests.is_some_and(|max| upstream.requests >= max);
    let is_wanted = !cluster.gate.lease.limit().waits().is_empty();
    let room =
        if is_old || is_wanted || state.draining.get() || endpoint.is_gone.get() { None } else { room(state, pool) };
    let Some(room) = room else {
        drop(upstream);
        state.give_back_after_close([Right::Place(place)]);
        return;
    };
    pool.terms.set(terms);
    pool.idle.borrow_mut().push_back(Idle { upstream, place, since: now, room });
    if !pool.listed.replace(true) {
        state.pools.list(state, endpoint);
    }
}

/// A right to be idle, the oldest idle connection's if need be.
fn room(state: &State, pool: &Pool) -> Option<Place<Room>> {
    let free = || Permit::take(&pool.room.cluster).and_then(|permit| Place::enter(permit, &pool.room).ok());
    free().or_else(|| {
        let oldest = pool.idle.borrow_mut().pop_front()?;
        oldest.close(state);
        free()
    })
}

/// The pools of a shard that have something in them, and who looks after them.
#[derive(Default)]
pub(crate) struct Pools {
    listed: RefCell<Vec<Rc<EndpointState>>>,
    is_swept: Cell<bool>,
}

impl Pools {
    fn list(&self, state: &Rc<State>, endpoint: &Rc<EndpointState>) {
        self.listed.borrow_mut().push(Rc::clone(endpoint));
        if !self.is_swept.replace(true) {
            let sweeper = Sweeper { state: Rc::clone(state) };
            let _always_admitted = state.handle.spawn(Admission::Always, sweeper.run());
        }
    }

    /// Look at every pool; those that are empty are forgotten. Returns whether places in what is left are limited.
    fn sweep(&self, state: &State) -> bool {
        let mut is_limited = false;
        let listed = self.listed.take();
        let left = listed.into_iter().filter(|endpoint| {
            let waits = endpoint.gate.lease.limit().waits();
            let all = state.draining.get() || endpoint.is_gone.get() || !waits.is_empty();
            let is_left = endpoint.pool.sweep(state, all) > 0;
            endpoint.pool.listed.set(is_left);
            is_limited |= is_left && [&endpoint.lease, &endpoint.gate.lease].iter().any(|l| l.limit().max().is_some());
            is_left
        });
        let left: Vec<_> = left.collect();
        self.listed.borrow_mut().extend(left);
        is_limited
    }
}

/// The task that closes idle connections in time. It lives while there are any.
struct Sweeper {
    state: Rc<State>,
}

impl Sweeper {
    async fn run(self) {
        let handle = &self.state.handle;
        let mut pause = SWEEP_SOON;
        while !self.state.pools.listed.borrow().is_empty() {
            sleep_until(handle, handle.now() + pause).await;
            let is_limited = self.state.pools.sweep(&self.state);
            pause = if is_limited { SWEEP_SOON } else { SWEEP_EVERY };
        }
    }
}

/// Also when the shard ends: an idle socket has an operation in flight, and nobody else would end that.
impl Drop for Sweeper {
    fn drop(&mut self) {
        self.state.pools.is_swept.set(false);
        for endpoint in self.state.pools.listed.take() {
            endpoint.pool.listed.set(false);
            endpoint.pool.sweep(&self.state, true);
        }
    }
}
