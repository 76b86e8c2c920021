//! The immutable picture that every shard runs: a configuration, compiled.
//!
//! The control thread compiles one, pushes it to every shard, and drops the old one when the shards have sent it back.
//! Identities survive from one snapshot to the next as long as the thing itself is unchanged, so that a shard can keep
//! its sockets, its counters and its connections.

mod compile;

pub(crate) use compile::{BindPlan, Ids, bind_plans, compile, supported};

use crate::{guard::Guard, l4::LadderSettings};
use balance_config::model::{Address, Policy, ProxyProtocolVersion, SocketOptions};
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
    pub cluster: Arc<Cluster>,
    pub idle_timeout: Option<Duration>,
    pub half_close_timeout: Option<Duration>,
    pub ladder: LadderSettings,
    pub(crate) guard: Arc<Guard>,
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
    pub socket: SocketOptions,
    /// The PROXY header that endpoints get.
    pub proxy_protocol: Option<ProxyProtocolVersion>,
}

#[derive(Debug)]
pub struct Endpoint {
    pub id: EndpointId,
    pub address: Address,
    pub weight: u16,
}
