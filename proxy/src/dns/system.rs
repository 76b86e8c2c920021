//! What the system says about names: /etc/resolv.conf and /etc/hosts, read again when they have changed.

use super::names::Record;
use hickory_resolver::{
    Hosts,
    config::{NameServerConfig, ResolverConfig},
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
    system_conf,
};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::MetadataExt,
};

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
/// More are not asked, as with the C library, which stops at three.
const SERVERS_MAX: usize = 3;

/// Tells one state of both files from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp([Option<[i64; 4]>; 2]);

impl Stamp {
    pub(super) fn now() -> Self {
        let stamp = |path| {
            let meta = fs::metadata(path).ok()?;
            Some([meta.mtime(), meta.mtime_nsec(), meta.ino().cast_signed(), meta.size().cast_signed()])
        };
        Self([stamp(RESOLV_CONF), stamp(HOSTS)])
    }
}

/// How the system resolves names.
#[derive(Debug)]
pub(super) struct System {
    /// In the order in which they are asked.
    pub(super) servers: Vec<IpAddr>,
    pub(super) domain: Option<Name>,
    pub(super) search: Vec<Name>,
    pub(super) ndots: usize,
}

/// Never fails: without a file that can be read the resolver of this machine is asked, as the C library does.
pub(super) fn read() -> System {
    match system_conf::read_system_conf() {
        Ok((config, options)) => System {
            servers: config.name_servers().iter().map(|s| s.ip).take(SERVERS_MAX).collect(),
            domain: config.domain().cloned(),
            search: config.search().to_vec(),
            ndots: options.ndots,
        },
        Err(error) => {
            tracing::warn!(%error, "{RESOLV_CONF} names no resolver; asking 127.0.0.1");
            System { servers: vec![Ipv4Addr::LOCALHOST.into()], domain: None, search: Vec::new(), ndots: 1 }
        }
    }
}

impl System {
    /// What one of its servers is asked with.
    pub(super) fn config_for(&self, server: NameServerConfig) -> ResolverConfig {
        ResolverConfig::from_parts(self.domain.clone(), self.search.clone(), vec![server])
    }
}

/// An empty one where there is none to read.
pub(super) fn hosts() -> Hosts {
    Hosts::from_system().unwrap_or_else(|error| {
        tracing::debug!(%error, "{HOSTS} cannot be read");
        Hosts::default()
    })
}

/// The addresses that /etc/hosts has for a name. `None`: it does not know the name; an empty list: it does, but no
/// address of this type, and then nobody else is asked.
pub(super) fn from_hosts(hosts: &Hosts, name: &Name, record: Record) -> Option<Vec<IpAddr>> {
    let listed = |kind| hosts.lookup_static_host(&Query::query(name.clone(), kind));
    let (a, aaaa) = (listed(RecordType::A), listed(RecordType::AAAA));
    if a.is_none() && aaaa.is_none() {
        return None;
    }
    let found = match record {
        Record::A => a,
        Record::Aaaa => aaaa,
    };
    Some(found.iter().flat_map(|l| l.answers()).filter_map(|r| r.data.ip_addr()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_hosts_file_is_answered_from_there_alone() {
        let mut hosts = Hosts::default();
        hosts.read_hosts_conf(&b"10.0.0.1 app app.test\n10.0.0.2 app\nfd00::1 six\n# 10.0.0.9 gone\n"[..]).unwrap();
        let check = |name: &str, record, expected: Option<&[&str]>| {
            let found = from_hosts(&hosts, &Name::from_ascii(name).unwrap(), record);
            let parsed = expected.map(|e| e.iter().map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>());
            assert_eq!(found, parsed, "{name}");
        };
        check("app", Record::A, Some(&["10.0.0.1", "10.0.0.2"]));
        check("APP.test.", Record::A, Some(&["10.0.0.1"]));
        check("app", Record::Aaaa, Some(&[]));
        check("six", Record::Aaaa, Some(&["fd00::1"]));
        check("gone", Record::A, None);
    }
}
