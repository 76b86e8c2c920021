//! Opening a connection to an endpoint of a cluster: choose, connect, and on failure try another.
//!
//! An endpoint whose connect failed is set aside for `fail_timeout`. When that is over, the next connection tries it
//! again; others pass it over until that one has succeeded or failed. So an endpoint that comes back is used again
//! without a health check, and one that stays away costs one connection a `fail_timeout`, which is retried elsewhere.
//! Where all endpoints are set aside, they are tried all the same: a wrong suspicion must not refuse service.
//!
//! A connection needs a permit of its cluster and one of its endpoint. An endpoint at its limit is passed over; where
//! that leaves none that is not set aside, or the cluster is at its limit, the connection waits in the queue of the
//! cluster. Where there is no queue, those set aside are tried before the connection is refused.

mod find;

use crate::{
    permits::{Permit, Place, Turn},
    report::{ConnectionState, Reason},
    state::{ClusterState, EndpointState, Gate, Right, State},
    table::{Row, RowGuard},
};
use balance_config::model::ProxyProtocolVersion;
use balance_engine::{
    clock::Timestamp,
    driver::Errno,
    net::{Connect, Socket, Timer, connect},
};
use find::{Found, Search};
use std::{
    future::poll_fn,
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// A connection to an endpoint.
pub(crate) struct Opened {
    pub(crate) socket: Socket,
    /// The PROXY header that the endpoint gets first.
    pub(crate) header: Option<ProxyProtocolVersion>,
}

/// What is known before a connection is opened. Mostly nothing.
#[derive(Default)]
pub(crate) struct Wish {
    /// Chosen already, and not to be chosen again: the balancer has counted it.
    pub(crate) endpoint: Option<Rc<EndpointState>>,
    /// Not these.
    pub(crate) avoid: Vec<Rc<EndpointState>>,
    /// Endpoints to try, where it is not for the cluster to say.
    pub(crate) connects: Option<u8>,
}

/// Open a connection to some endpoint of the cluster. The row's endpoint is set to the one being tried, and the row
/// gets its permits.
///
/// # Errors
/// The reason to end the connection with, when every attempt failed.
///
/// # Cancel safety
/// Dropping it gives up the attempt under way, or the place in the queue.
pub(crate) async fn open(
    state: Rc<State>,
    mut cluster: Rc<ClusterState>,
    row: RowHandle,
    wish: Wish,
) -> Result<Opened, Reason> {
    let Wish { endpoint: mut wanted, avoid: mut tried, connects } = wish;
    // Without a failure, which is nearly always, this allocates nothing.
    let attempts = tried.len() + usize::from(connects.unwrap_or(cluster.connect_attempts));
    let mut reason = Reason::NoEndpoint;
    let mut is_new = true;
    // From one attempt to the next; never while anything is awaited.
    let mut entry = None;
    while tried.len() < attempts {
        // Where others wait already, a new connection goes behind them.
        let behind = mem::take(&mut is_new) && !cluster.gate.lease.limit().waits().is_empty();
        let search = Search { state: &state, cluster: &cluster, tried: &tried, row: &row, mine: None };
        let found = match wanted.take() {
            _ if behind => Found::AtLimit,
            Some(endpoint) => search.enter(&endpoint, &mut entry).unwrap_or_else(|| search.find(&mut entry)),
            None => search.find(&mut entry),
        };
        let endpoint = match found {
            Found::Endpoint(endpoint) => endpoint,
            Found::Nothing => break,
            Found::AtLimit => {
                // Who waits for the one keeps others from the other.
                give_up(&state, entry.take());
                wait(&state, &mut cluster, &tried, &row).await?
            }
        };
        match attempt(&state, &cluster, &endpoint).await {
            Ok(socket) => {
                endpoint.connects.set(endpoint.connects.get() + 1);
                if endpoint.set_aside_until.take().is_some() {
                    cluster.gate.lease.limit().waits().call_first(None);
                }
                return Ok(Opened { socket, header: cluster.proxy_protocol });
            }
            Err(failure) => {
                reason = failure.reason();
                failed(&state, &cluster, &endpoint, failure);
                entry = row.leave_endpoint();
                tried.push(endpoint);
            }
        }
    }
    give_up(&state, entry);
    Err(reason)
}

/// Leave the cluster. The descriptor that could not be connected is still being closed.
fn give_up(state: &State, entry: Option<Permit<Gate>>) {
    state.give_back_after_close(entry.map(Right::Cluster));
}

/// Wait in the queue of the cluster until there are permits for an endpoint. A reload meanwhile leaves `cluster` as the
/// new snapshot has it.
async fn wait(
    state: &State,
    cluster: &mut Rc<ClusterState>,
    tried: &[Rc<EndpointState>],
    row: &RowHandle,
) -> Result<Rc<EndpointState>, Reason> {
    let gate = Rc::clone(&cluster.gate);
    let queue = cluster.queue;
    let waits = gate.lease.limit().waits();
    let Some(turn) = Turn::enter(&state.caller, waits, queue.size as usize) else {
        let search = Search { state, cluster, tried, row, mine: None };
        if queue.size == 0
            && let Found::Endpoint(endpoint) = search.find_set_aside(&mut None)
        {
            return Ok(endpoint);
        }
        gate.refused.set(gate.refused.get() + 1);
        return Err(Reason::Limit);
    };
    gate.queued.set(gate.queued.get() + 1);
    row.with(|row| row.state = ConnectionState::Queued);
    let deadline = state.handle.now() + queue.timeout;
    let mut timer = Timer::new(&state.handle);
    let mut look_again: Option<Timestamp> = None;
    poll_fn(|context| {
        let now = state.handle.now();
        let due = look_again.take_if(|at| *at <= now).is_some();
        if turn.is_called(context) || (due && turn.is_first()) {
            *cluster = state.newest(cluster);
            let search = Search { state, cluster, tried, row, mine: Some(turn.ticket()) };
            match search.find(&mut None) {
                Found::Endpoint(endpoint) => return Poll::Ready(Ok(endpoint)),
                Found::Nothing => return Poll::Ready(Err(Reason::NoEndpoint)),
                Found::AtLimit => look_again = search.next_comeback(),
            }
        }
        let until = look_again.map_or(deadline, |at| at.min(deadline));
        timer.poll_at(until, context).map(|()| {
            gate.queue_timeouts.set(gate.queue_timeouts.get() + 1);
            Err(Reason::QueueTimeout)
        })
    })
    .await
}

/// The endpoint that the next request goes to, by the balancer's choice: one that has a connection to spare, or that
/// one may be opened to. `None`: whatever [`open`] finds.
pub(crate) fn choose(
    state: &State,
    cluster: &ClusterState,
    row: &RowHandle,
    avoid: &[Rc<EndpointState>],
) -> Option<Rc<EndpointState>> {
    Search { state, cluster, tried: avoid, row, mine: None }.choose_for_request()
}

/// The row as the opening future needs it: weakly, because the guard belongs to the connection that owns this future.
pub(crate) struct RowHandle {
    pub(crate) state: Rc<State>,
    pub(crate) key: balance_engine::slab::Key,
}

impl RowHandle {
    pub(crate) fn of(guard: &RowGuard) -> Self {
        Self { state: Rc::clone(&guard.state), key: guard.key }
    }

    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Row) -> T) -> Option<T> {
        self.state.table.borrow_mut().get_mut(self.key).map(change)
    }

    fn go_to(&self, place: Place<EndpointState>) {
        let left = self.with(|row| {
            row.state = ConnectionState::Connecting;
            row.go_to(place)
        });
        debug_assert!(left.is_some_and(|left| left.get().is_none()), "it was somewhere else");
    }

    /// The right to the cluster stays with the connection.
    fn leave_endpoint(&self) -> Option<Permit<Gate>> {
        let (permit, entry) = self.with(|row| row.go_to(Place::NONE))?.split()?;
        // The descriptor that could not be connected is being closed.
        self.state.give_back_after_close([Right::Endpoint(permit)]);
        Some(entry)
    }
}

/// Why one attempt failed.
#[derive(Clone, Copy, Debug)]
enum Failure {
    Refused(Errno),
    TimedOut,
}

impl Failure {
    fn reason(self) -> Reason {
        match self {
            Self::Refused(_) => Reason::ConnectFailed,
            Self::TimedOut => Reason::ConnectTimeout,
        }
    }

    /// We ran out of descriptors or ports; the endpoint is not to blame.
    fn is_ours(self) -> bool {
        match self {
            Self::Refused(errno) => errno.is_exhaustion() || errno == Errno::NO_PORT,
            Self::TimedOut => false,
        }
    }
}

fn failed(state: &State, cluster: &ClusterState, endpoint: &EndpointState, failure: Failure) {
    endpoint.connect_failures.set(endpoint.connect_failures.get() + 1);
    if failure.is_ours() {
        tracing::warn!(cluster = &*cluster.name, ?failure, "connecting failed for want of local resources");
        return;
    }
    let first = endpoint.set_aside_until.get().is_none();
    endpoint.set_aside_until.set(Some(state.handle.now() + cluster.fail_timeout));
    if first {
        tracing::warn!(
            cluster = &*cluster.name,
            endpoint = %endpoint.address,
            ?failure,
            set_aside = ?cluster.fail_timeout,
            "endpoint set aside"
        );
    }
}

async fn attempt(state: &State, cluster: &ClusterState, endpoint: &EndpointState) -> Result<Socket, Failure> {
    let deadline = state.handle.now() + cluster.connect_timeout;
    let mut connecting = connect(&state.handle, endpoint.target.clone(), cluster.options);
    let mut timer = Timer::new(&state.handle);
    poll_fn(move |context: &mut Context<'_>| {
        if let Poll::Ready(result) = Pin::new(&mut connecting as &mut Connect).poll(context) {
            return Poll::Ready(result.map_err(Failure::Refused));
        }
        timer.poll_at(deadline, context).map(|()| Err(Failure::TimedOut))
    })
    .await
}
