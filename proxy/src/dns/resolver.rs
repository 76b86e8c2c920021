//! Asking: one question, the servers in turn, over UDP and, where an answer does not fit, TCP.
//!
//! Each server has a resolver of its own, because whether the next one is asked, and how long this one may take, is
//! decided here: a server that does not answer must cost its time-out and no more, and a server that says that there is
//! no such name is believed. Ids and ports are random, and an answer to another question is passed over, by the crate.
//! Nothing is cached there either: that is what [`super::names`] does.

use super::{
    names::{Outcome, Question, Record, Verdict},
    system::{self, Stamp},
};
use balance_config::model;
use hickory_resolver::{
    Hosts, Resolver as Hickory, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RecordType},
    },
};
use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};
use tokio::time::timeout;

/// What an address in /etc/hosts is good for; the file is looked at again long before.
const HOSTS_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// RFC 2181 section 8: a TTL with the highest bit set is to be read as zero.
const TTL_MAX: u32 = i32::MAX.cast_unsigned();

pub(super) struct Resolver {
    /// Never empty.
    servers: Vec<TokioResolver>,
    /// The one that answered last is asked first, so that a dead one costs its time-out once and not every time.
    first: AtomicUsize,
    hosts: Hosts,
    timeout: Duration,
    made_of: Stamp,
}

impl Resolver {
    pub(super) fn new(settings: &model::Dns) -> Self {
        let made_of = Stamp::now();
        let mut options = options(settings);
        let configs: Vec<ResolverConfig> = if settings.servers.is_empty() {
            let system = system::read();
            options.ndots = system.ndots;
            system.servers.iter().map(|ip| system.config_for(NameServerConfig::udp_and_tcp(*ip))).collect()
        } else {
            let alone = |s: &SocketAddr| ResolverConfig::from_name_servers(vec![server(*s)]);
            settings.servers.iter().map(alone).collect()
        };
        Self {
            servers: configs.into_iter().filter_map(|config| build(config, &options)).collect(),
            first: AtomicUsize::new(0),
            hosts: system::hosts(),
            timeout: settings.timeout,
            made_of,
        }
    }

    /// The system's files are not what it was made of any more.
    pub(super) fn is_outdated(&self) -> bool {
        self.made_of != Stamp::now()
    }

    /// # Cancel safety
    /// Nothing is lost but the answer.
    pub(super) async fn ask(&self, question: &Question) -> Outcome {
        let Ok(name) = Name::from_ascii(&*question.host) else { return Outcome::Failed(Verdict::BadAnswer) };
        if let Some(addresses) = system::from_hosts(&self.hosts, &name, question.record) {
            return if addresses.is_empty() {
                Outcome::Empty
            } else {
                Outcome::Addresses { addresses, ttl: HOSTS_TTL }
            };
        }
        let kind = match question.record {
            Record::A => RecordType::A,
            Record::Aaaa => RecordType::AAAA,
        };
        let first = self.first.load(Ordering::Relaxed);
        let mut verdict = Verdict::Unreachable;
        for step in 0..self.servers.len() {
            let at = (first + step) % self.servers.len();
            let answer = timeout(self.timeout, self.servers[at].lookup(name.clone(), kind)).await;
            let outcome = answer.map_or(Outcome::Failed(Verdict::Timeout), |a| read(a, question.record));
            match outcome {
                // Another server may know better, or be up.
                Outcome::Failed(failure) if failure != Verdict::NxDomain => verdict = failure,
                heard => {
                    self.first.store(at, Ordering::Relaxed);
                    return heard;
                }
            }
        }
        Outcome::Failed(verdict)
    }
}

fn server(address: SocketAddr) -> NameServerConfig {
    let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections.into())
}

fn options(settings: &model::Dns) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = settings.timeout;
    // Within its time-out a datagram is sent again all the same.
    options.attempts = 0;
    options.cache_size = 0;
    // TTLs come through as they are, to be judged here.
    options.positive_max_ttl = Some(Duration::from_secs(u64::from(u32::MAX)));
    options.use_hosts_file = ResolveHosts::Never;
    options
}

fn build(config: ResolverConfig, options: &ResolverOpts) -> Option<TokioResolver> {
    let mut builder = Hickory::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options.clone();
    builder.build().inspect_err(|error| tracing::warn!(%error, "a DNS server cannot be used")).ok()
}

fn read(answer: Result<Lookup, NetError>, record: Record) -> Outcome {
    let lookup = match answer {
        Ok(lookup) => lookup,
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) if none.response_code == ResponseCode::NoError => {
            return Outcome::Empty;
        }
        Err(error) => return Outcome::Failed(verdict(&error)),
    };
    let is_wanted = |ip: &std::net::IpAddr| ip.is_ipv4() == (record == Record::A);
    let addresses = lookup.answers().iter().filter_map(|r| r.data.ip_addr()).filter(is_wanted).collect();
    // Aliases on the way may change, too: the shortest of all counts.
    let ttl = lookup.answers().iter().map(|r| if r.ttl > TTL_MAX { 0 } else { r.ttl }).min().unwrap_or(0);
    Outcome::Addresses { addresses, ttl: Duration::from_secs(u64::from(ttl)) }
}

fn verdict(error: &NetError) -> Verdict {
    match error {
        NetError::Timeout => Verdict::Timeout,
        NetError::Io(_) | NetError::NoConnections | NetError::Busy => Verdict::Unreachable,
        NetError::Dns(DnsError::NoRecordsFound(_)) => Verdict::NxDomain,
        NetError::Dns(DnsError::ResponseCode(ResponseCode::Refused)) => Verdict::Refused,
        NetError::Dns(DnsError::ResponseCode(_)) => Verdict::ServFail,
        _ => Verdict::BadAnswer,
    }
}

#[cfg(test)]
mod tests;
