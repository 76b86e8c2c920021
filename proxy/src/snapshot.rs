//! The immutable picture that every shard runs: a configuration, compiled.
//!
//! The control thread compiles one, pushes it to every shard, and drops the old one when the shards have sent it back.
//! Identities survive from one snapshot to the next as long as the thing itself is unchanged, so that a shard can keep
//! its sockets, its counters and its connections.

mod compile;

pub(crate) use compile::{BindPlan, Ids, bind_plans, compile};

use crate::{
    client_hello::Routes,
    guard::Guard,
    l4::LadderSettings,
    per_ip::{Addresses, Limits},
    permits::Limit,
    route::{Name, Router, TrustedProxies},
};
use balance_config::model::{
    self, Address, ClusterTimeouts, Peek, Policy, Pool, ProxyProtocolVersion, Queue, Retry, SocketOptions,
};
use std::{sync::Arc, time::Duration};

#[derive(Debug)]
pub struct Snapshot {
    /// Counts up by one with every successful load, from 1.
    pub version: u64,
    pub listeners: Vec<Arc<Listener>>,
    pub clusters: Vec<Arc<Cluster>>,
}

/// A listening socket, known by its listener, address and options. Equal in two snapshots exactly when the shard keeps
/// the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BindId(pub u32);

/// Stays the same while cluster name and address do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub u32);

#[derive(Debug)]
pub struct Listener {
    pub name: Arc<str>,
    pub binds: Vec<Bind>,
    /// Where connections go that no route matches. `None`: they are refused; then there are routes.
    pub cluster: Option<Arc<Cluster>>,
    /// `None`: there are no routes, and nothing is looked at.
    pub(crate) routing: Option<Arc<Routing>>,
    /// There exactly when HTTP is spoken.
    pub(crate) http: Option<Arc<Http>>,
    /// The number that the limit is set to once this snapshot is in force.
    pub max_connections: Option<u32>,
    pub limit: Arc<Limit>,
    pub idle_timeout: Option<Duration>,
    pub half_close_timeout: Option<Duration>,
    pub ladder: LadderSettings,
    pub(crate) guard: Arc<Guard>,
    pub(crate) per_ip: Option<PerIp>,
}

/// What one address may do at a listener.
#[derive(Clone, Debug)]
pub(crate) struct PerIp {
    /// Those that are to hold once this snapshot is in force.
    pub(crate) limits: Limits,
    pub(crate) addresses: Arc<Addresses>,
}

/// The routes of a listener. Unchanged ones are the same object in the next snapshot.
#[derive(Debug)]
pub(crate) struct Routing {
    pub(crate) routes: Routes,
    /// By route.
    pub(crate) clusters: Vec<Arc<Cluster>>,
    pub(crate) peek: Peek,
}

/// What a listener that speaks HTTP has. Unchanged, it is the same object in the next snapshot.
#[derive(Debug)]
pub(crate) struct Http {
    /// Its limits and time-outs, and what `router` was compiled from.
    pub(crate) settings: model::Http,
    /// The same object as before when only clusters have changed.
    pub(crate) router: Arc<Router>,
    /// By the number that `router` gives them.
    pub(crate) clusters: Vec<Arc<Cluster>>,
    pub(crate) proxies: TrustedProxies,
    /// The header in which requests bring their number.
    pub(crate) request_id: Name,
}

#[derive(Clone, Debug)]
pub struct Bind {
    pub id: BindId,
    pub address: Address,
}

#[derive(Debug)]
pub struct Cluster {
    pub name: Arc<str>,
    pub policy: Policy,
    pub endpoints: Vec<Arc<Endpoint>>,
    pub connect_timeout: Duration,
    pub connect_attempts: u8,
    pub fail_timeout: Duration,
    pub max_connections: Option<u32>,
    /// Connections wait in the list of this limit, for a permit of it or of an endpoint.
    pub limit: Arc<Limit>,
    pub queue: Queue,
    /// For HTTP: of its connections without a request, so many may be kept.
    pub idle_limit: Arc<Limit>,
    pub pool: Pool,
    pub timeouts: ClusterTimeouts,
    pub retry: Retry,
    pub socket: SocketOptions,
    /// The PROXY header that endpoints get.
    pub proxy_protocol: Option<ProxyProtocolVersion>,
}

#[derive(Debug)]
pub struct Endpoint {
    pub id: EndpointId,
    pub address: Address,
    pub weight: u16,
    pub max_connections: Option<u32>,
    pub limit: Arc<Limit>,
    /// Of its connections without a request, so many may be kept.
    pub idle_limit: Arc<Limit>,
}

impl Snapshot {
    /// Make its numbers the ones that hold, on every shard at once. Limits are shared with the snapshot before.
    pub(crate) fn enforce_limits(&self) {
        for listener in &self.listeners {
            listener.limit.set_max(listener.max_connections);
            if let Some(per_ip) = &listener.per_ip {
                per_ip.addresses.set_limits(per_ip.limits);
            }
        }
        for cluster in &self.clusters {
            cluster.limit.set_max(cluster.max_connections);
            cluster.idle_limit.set_max(cluster.pool.idle_max);
            for endpoint in &cluster.endpoints {
                endpoint.idle_limit.set_max(cluster.pool.idle_per_endpoint_max);
                endpoint.limit.set_max(endpoint.max_connections);
            }
        }
    }
}
