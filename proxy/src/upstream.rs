//! Opening a connection to an endpoint of a cluster: choose, connect, and on failure try another.
//!
//! An endpoint whose connect failed is set aside for `fail_timeout`. When that is over, the next connection tries it
//! again; others pass it over until that one has succeeded or failed. So an endpoint that comes back is used again
//! without a health check, and one that stays away costs one connection a `fail_timeout`, which is retried elsewhere.
//! Where all endpoints are set aside, they are tried all the same: a wrong suspicion must not refuse service.

use crate::{
    balance::Candidate,
    report::Reason,
    state::{ClusterState, EndpointState, State},
    table::RowGuard,
};
use balance_engine::{
    driver::Errno,
    net::{Connect, Socket, Timer, connect},
};
use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

/// Open a connection to some endpoint of the cluster. The row's endpoint is set to the one being tried.
///
/// # Errors
/// The reason to end the connection with, when every attempt failed.
///
/// # Cancel safety
/// Dropping it gives up the attempt under way.
pub(crate) async fn open(state: Rc<State>, cluster: Rc<ClusterState>, row: RowHandle) -> Result<Socket, Reason> {
    // Without a failure, which is nearly always, this allocates nothing.
    let mut failed_at = Vec::new();
    let mut reason = Reason::NoEndpoint;
    while failed_at.len() < usize::from(cluster.connect_attempts) {
        let Some(index) = choose(&state, &cluster, &failed_at) else { break };
        let endpoint = &cluster.endpoints[index];
        row.set_endpoint(Some(Rc::clone(endpoint)));
        match attempt(&state, &cluster, endpoint).await {
            Ok(socket) => {
                endpoint.connects.set(endpoint.connects.get() + 1);
                endpoint.set_aside_until.set(None);
                return Ok(socket);
            }
            Err(failure) => {
                reason = failure.reason();
                failed(&state, &cluster, endpoint, failure);
                failed_at.push(index);
            }
        }
    }
    row.set_endpoint(None);
    Err(reason)
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

    fn set_endpoint(&self, endpoint: Option<Rc<EndpointState>>) {
        if let Some(row) = self.state.table.borrow_mut().get_mut(self.key) {
            row.set_endpoint(endpoint);
        }
    }
}

fn choose(state: &State, cluster: &ClusterState, tried: &[usize]) -> Option<usize> {
    let now = state.handle.now();
    let mut rng = state.rng.borrow_mut();
    let mut choose = |all: bool| {
        let of = |i: usize| {
            let endpoint = &cluster.endpoints[i];
            Candidate {
                weight: endpoint.weight.get(),
                active: endpoint.active.get(),
                usable: !tried.contains(&i) && (all || !endpoint.is_set_aside(now)),
            }
        };
        cluster.balancer.borrow_mut().choose(cluster.endpoints.len(), of, &mut rng)
    };
    let index = choose(false).or_else(|| choose(true))?;
    let endpoint = &cluster.endpoints[index];
    if endpoint.set_aside_until.get().is_some() {
        // This connection is the one that tries it again; others wait for its verdict.
        endpoint.set_aside_until.set(Some(now + cluster.connect_timeout));
    }
    Some(index)
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
    std::future::poll_fn(move |context: &mut Context<'_>| {
        if let Poll::Ready(result) = Pin::new(&mut connecting as &mut Connect).poll(context) {
            return Poll::Ready(result.map_err(Failure::Refused));
        }
        timer.poll_at(deadline, context).map(|()| Err(Failure::TimedOut))
    })
    .await
}
