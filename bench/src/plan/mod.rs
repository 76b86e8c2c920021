//! What is to be measured: the command line, checked as a whole.

mod http;
mod tcp;

use crate::{
    cli::{LoadArgs, Mode},
    failure::Failure,
    http::request::{Form, Request},
    values::{Destination, loopback_sources},
};
use balance_engine::driver::Target;
use std::{net::IpAddr, sync::Arc, time::Duration};

const MESSAGE_BYTES: u64 = 64;
const DURATION: Duration = Duration::from_secs(10);
const WARM: Duration = Duration::from_secs(1);

/// When a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    After(Duration),
    /// Of all shards together.
    Requests(u64),
    /// When it is told so.
    Told,
}

/// Whether what comes back is compared with what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    Checked,
    Any,
}

/// What is spoken on the connections.
#[derive(Clone, Debug)]
pub(crate) enum Protocol {
    /// Bytes that come back as they are sent, or streams of them; the mode says which.
    Tcp,
    Http(Arc<HttpPlan>),
}

/// What HTTP adds to a plan.
#[derive(Debug)]
pub(crate) struct HttpPlan {
    /// Of each target, in their order; none is empty.
    pub(crate) requests: Vec<Vec<Request>>,
    /// Requests on their way at once, on each connection.
    pub(crate) pipeline: u32,
    pub(crate) keep_alive: bool,
    pub(crate) form: Form,
    /// The first of them, for people.
    pub(crate) url: String,
}

/// One run against one set of targets. All shards read the same.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) mode: Mode,
    pub(crate) protocol: Protocol,
    /// Exchanges to begin in a second, over all shards: an open loop. `None`: a closed one, in which the next exchange
    /// begins when the last one is over.
    pub(crate) rate: Option<f64>,
    pub(crate) targets: Vec<Destination>,
    /// Empty: the kernel picks.
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) connections: u32,
    /// Peers beside them that send half a message and stop.
    pub(crate) halves: u32,
    /// Of a message, or of a piece of a stream.
    pub(crate) size: u64,
    pub(crate) limit: Limit,
    pub(crate) warm: Duration,
    pub(crate) timeout: Duration,
    pub(crate) bytes: Bytes,
    /// Standard input's end ends the run.
    pub(crate) hold: bool,
    /// Processes whose CPU time is counted.
    pub(crate) processes: Vec<u32>,
}

impl Plan {
    /// What the flags of every load say; the rest is that of TCP ping-pong.
    fn of_load(load: &LoadArgs, targets: &[Destination]) -> Self {
        let limit = match (load.requests, load.duration) {
            (Some(requests), _) => Limit::Requests(requests),
            (None, Some(duration)) => Limit::After(duration),
            (None, None) => Limit::After(DURATION),
        };
        Self {
            mode: Mode::PingPong,
            protocol: Protocol::Tcp,
            rate: load.rate,
            targets: targets.to_vec(),
            sources: load.sources.map_or_else(|| load.source.clone(), loopback_sources),
            connections: load.connections,
            halves: 0,
            size: MESSAGE_BYTES,
            limit,
            warm: load.warm.unwrap_or(if load.requests.is_none() { WARM } else { Duration::ZERO }),
            timeout: load.timeout,
            bytes: if load.any_bytes { Bytes::Any } else { Bytes::Checked },
            hold: false,
            processes: load.pid.clone(),
        }
    }

    /// The connections are opened before the load begins.
    pub(crate) fn opens_first(&self) -> bool {
        match &self.protocol {
            Protocol::Tcp => self.mode.opens_first(),
            Protocol::Http(http) => http.keep_alive,
        }
    }

    /// Connections of every kind; those that are measured have the low numbers.
    pub(crate) fn all_connections(&self) -> u32 {
        self.connections + self.halves
    }

    /// Where connection `number` goes and where it comes from: every target from every source before the first pair
    /// comes again.
    pub(crate) fn target(&self, number: u32) -> Target {
        let number = number as usize;
        let destination = &self.targets[number % self.targets.len()];
        let round = number / self.targets.len();
        let source = round.checked_rem(self.sources.len()).map(|index| self.sources[index]);
        destination.target(source)
    }

    /// How many of a total of `total` are the share of `shard`.
    pub(crate) fn share(total: u64, shard: usize, shards: usize) -> u64 {
        let (shard, shards) = (shard as u64, shards as u64);
        total / shards + u64::from(shard < total % shards)
    }
}

/// # Errors
/// Sources that cannot reach a target.
fn check_families<'a>(load: &LoadArgs, targets: impl Iterator<Item = &'a Destination>) -> Result<(), Failure> {
    let family = |ip: &IpAddr| ip.is_ipv4();
    let v4_sources = load.sources.is_some() || load.source.iter().any(family);
    let v6_sources = load.source.iter().any(|ip| !family(ip));
    for destination in targets {
        let Destination::Ip(to) = destination else { continue };
        if (to.is_ipv4() && v6_sources) || (to.is_ipv6() && v4_sources) {
            return Err(Failure::usage(format!("{to} cannot be reached from a source address of the other family")));
        }
    }
    Ok(())
}
