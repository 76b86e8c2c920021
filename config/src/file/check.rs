//! What no value tells alone: names that must be unique, references, sizes in order, addresses that collide.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{document::Document, findings::Findings, section::Read, source::Place};
use crate::{
    model::{Address, Endpoint, EndpointAddress},
    suggest, units,
};

pub(crate) fn check(document: &Document, findings: &mut Findings) {
    buffer_sizes(&document.buffer_pool, findings);
    drain(&document.drain, findings);
    listeners_exist(document, findings);
    listener_names(&document.listeners, findings);
    binds(document, findings);
    references(document, findings);
    for cluster in &document.clusters {
        endpoints(&cluster.read, findings);
    }
}

fn buffer_sizes(pool: &Read, findings: &mut Findings) {
    for (smaller, larger) in [("small_size", "medium_size"), ("medium_size", "large_size"), ("large_size", "huge_size")]
    {
        let (Some(a), Some(b)) = (pool.integer::<u64>(smaller), pool.integer::<u64>(larger)) else { continue };
        if a >= b {
            let at = if pool.is_written(larger) { larger } else { smaller };
            let message = format!(
                "`{larger}` ({}) must be larger than `{smaller}` ({})",
                units::format_size(b),
                units::format_size(a)
            );
            findings.error(pool.place_of(at), message, None);
        }
    }
    let (size, count, max) =
        (pool.integer::<u64>("small_size"), pool.integer::<u64>("ring_buffers"), pool.integer::<u64>("memory_max"));
    let (Some(size), Some(count), Some(max)) = (size, count, max) else { return };
    // Both factors are bounded by the key table, far below an overflow.
    if size * count > max {
        let at = ["memory_max", "ring_buffers", "small_size"].into_iter().find(|name| pool.is_written(name));
        let needed = units::format_size(size * count);
        let message = format!("`memory_max` ({}) does not hold one receive ring", units::format_size(max));
        let help = format!("`ring_buffers` ({count}) times `small_size` ({}) is {needed}", units::format_size(size));
        findings.error(pool.place_of(at.unwrap_or("memory_max")), message, Some(help));
    }
}

fn drain(drain: &Read, findings: &mut Findings) {
    let (Some(min), Some(deadline)) = (drain.duration("min"), drain.duration("deadline")) else { return };
    if deadline < min {
        let at = if drain.is_written("deadline") { "deadline" } else { "min" };
        let (min, deadline) = (units::format_duration(min), units::format_duration(deadline));
        let help = "both count from the signal".to_owned();
        findings.error(drain.place_of(at), format!("`deadline` ({deadline}) is before `min` ({min})"), Some(help));
    }
}

fn listeners_exist(document: &Document, findings: &mut Findings) {
    if document.listeners.is_empty() && !findings.has_errors() {
        let help = "add one: [[listeners]] with name = \"main\", bind = \":8080\" and cluster = \"app\"";
        findings.error(Place::WHOLE_FILE, "there are no listeners, so nothing would be served", Some(help.to_owned()));
    }
}

fn listener_names(listeners: &[Read], findings: &mut Findings) {
    let mut seen: HashMap<&str, Place> = HashMap::new();
    for listener in listeners {
        let Some(name) = listener.text("name") else { continue };
        let place = listener.place_of("name");
        if let Some(first) = seen.get(name) {
            let message = format!("two listeners are named `{name}`");
            let help = format!("the first one is {}", where_is(first, findings));
            findings.error(place, message, Some(help));
        } else {
            seen.insert(name, place);
        }
    }
}

/// "on line 12", or the variable or flag it came from.
fn where_is(place: &Place, findings: &Findings) -> String {
    let source = &findings.sources[place.source];
    match place.range.as_ref().map_or(0, |range| source.line(range.start)) {
        0 => format!("in {}", source.name),
        line => format!("on line {line}"),
    }
}

/// Addresses that are taken, in a form in which those that collide are found without comparing all with all.
#[derive(Default)]
struct Taken {
    exact: HashMap<Address, Place>,
    /// By port and family: the address that takes all of the family, and any that takes one.
    wildcard: HashMap<(u16, Family), Bound>,
    some: HashMap<(u16, Family), Bound>,
}

#[derive(Clone)]
struct Bound {
    place: Place,
    /// True exactly for `[::]` without ipv6_only.
    is_dual: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Family {
    V4,
    V6,
}

fn binds(document: &Document, findings: &mut Findings) {
    let mut taken = Taken::default();
    for listener in &document.listeners {
        let ipv6_only = listener.bool("ipv6_only").unwrap_or(false);
        for (address, place) in listener.addresses("bind").unwrap_or_default() {
            taken.take(address, place, ipv6_only, findings);
        }
    }
    for (address, place) in document.admin.addresses("listen").unwrap_or_default() {
        taken.take(address, place, false, findings);
    }
}

impl Taken {
    fn take(&mut self, address: &Address, place: &Place, ipv6_only: bool, findings: &mut Findings) {
        if let Some(first) = self.exact.get(address) {
            let help = format!("it is already bound {}", where_is(first, findings));
            findings.error(place.clone(), format!("the address {address} is bound twice"), Some(help));
            return;
        }
        if let Address::Ip(ip) = address
            && ip.port() != 0
        {
            self.take_ip(address, ip.ip(), ip.port(), place, ipv6_only, findings);
        }
        let is_any_port = matches!(address, Address::Ip(ip) if ip.port() == 0);
        if !is_any_port {
            self.exact.insert(address.clone(), place.clone());
        }
    }

    fn take_ip(
        &mut self,
        address: &Address,
        ip: IpAddr,
        port: u16,
        place: &Place,
        ipv6_only: bool,
        findings: &mut Findings,
    ) {
        let families: &[Family] = match ip {
            IpAddr::V4(_) => &[Family::V4],
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) if !ipv6_only => &[Family::V6, Family::V4],
            IpAddr::V6(_) => &[Family::V6],
        };
        let is_wildcard = ip == IpAddr::V4(Ipv4Addr::UNSPECIFIED) || ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let bound = Bound { place: place.clone(), is_dual: families.len() == 2 };
        for family in families {
            let key = (port, *family);
            let clash = self.wildcard.get(&key).or_else(|| if is_wildcard { self.some.get(&key) } else { None });
            if let Some(first) = clash {
                let message = format!("{address} overlaps with the address bound {}", where_is(&first.place, findings));
                let help = if *family == Family::V4 && (first.is_dual || bound.is_dual) {
                    "[::] takes IPv4 too; set ipv6_only = true for it, or leave the other out"
                } else {
                    "an address for all interfaces takes every other of that port; use different ports"
                };
                findings.error(bound.place, message, Some(help.to_owned()));
                return;
            }
        }
        for family in families {
            let map = if is_wildcard { &mut self.wildcard } else { &mut self.some };
            map.entry((port, *family)).or_insert_with(|| bound.clone());
        }
    }
}

fn references(document: &Document, findings: &mut Findings) {
    let known: BTreeSet<&str> = document.clusters.iter().map(|cluster| &*cluster.name).collect();
    let mut used = BTreeSet::new();
    let mut all_resolve = true;
    for listener in &document.listeners {
        let Some(name) = listener.text("cluster") else { continue };
        used.insert(name);
        // A cluster that seems to be missing may be in a part that could not be read.
        all_resolve &= known.contains(name);
        if !known.contains(name) && !findings.is_broken() {
            let help = findings.suggest(|| {
                let near = suggest::nearest(name, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
                near.or_else(|| Some(format!("add [clusters.{name}] with its endpoints")))
            });
            let message = format!("there is no cluster {}", crate::diagnostic::quoted(name));
            findings.error(listener.place_of("cluster"), message, help);
        }
    }
    // A reference that went wrong was probably meant for the cluster that seems to be unused.
    if !all_resolve || document.listeners.iter().any(|listener| listener.text("cluster").is_none()) {
        return;
    }
    for cluster in document.clusters.iter().filter(|cluster| !used.contains(&*cluster.name)) {
        let message = format!("no listener uses the cluster `{}`", cluster.name);
        findings.warning(cluster.place.clone(), message, None);
    }
}

fn endpoints(cluster: &Read, findings: &mut Findings) {
    let Some(endpoints) = cluster.endpoints("endpoints") else { return };
    if endpoints.is_empty() {
        let message = "a cluster without endpoints refuses every connection";
        findings.warning(cluster.place_of("endpoints"), message, None);
    }
    let mut seen: HashMap<&EndpointAddress, &Place> = HashMap::new();
    for (endpoint, place) in endpoints {
        if let Some(first) = seen.insert(&endpoint.address, place) {
            let help =
                format!("the first one is {}; to give it a larger share, set its weight", where_is(first, findings));
            findings.error(place.clone(), format!("the endpoint {} is listed twice", endpoint.address), Some(help));
        }
    }
    let is_weighted = |(endpoint, _): &&(Endpoint, Place)| endpoint.weight != 1;
    if cluster.word("policy") == Some("round-robin")
        && let Some((_, place)) = endpoints.iter().find(is_weighted)
    {
        let help = "write policy = \"weighted-round-robin\" to heed weights";
        findings.warning(place.clone(), "the policy round-robin ignores weights", Some(help.to_owned()));
    }
}
