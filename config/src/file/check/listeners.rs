//! What a listener says that does not go together.

use std::{collections::HashMap, fmt::Display, hash::Hash};

use super::{http, where_is};
use crate::{
    diagnostic::quoted,
    file::{document::Document, findings::Findings, section::Read, source::Place},
    model::{Address, Network, SniPattern},
};

pub(super) fn check(document: &Document, findings: &mut Findings) {
    listeners_exist(document, findings);
    listener_names(&document.listeners, findings);
    for listener in &document.listeners {
        access(listener, findings);
        unix(listener, findings);
        if let Some(per_ip) = listener.table("per_ip") {
            limits(per_ip, findings);
        }
        http::protocols(listener, findings);
        no_way(listener, findings);
        if http::is_http(listener) {
            http::listener(listener, findings);
        } else {
            routes(listener, findings);
            peek(listener, findings);
        }
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

fn access(listener: &Read, findings: &mut Findings) {
    let mut seen: HashMap<&Network, (&str, &Place)> = HashMap::new();
    for list in ["allow", "deny"] {
        for (network, place) in listener.networks(list).unwrap_or_default() {
            match seen.insert(network, (list, place)) {
                None => {}
                Some((first, at)) if first == list => {
                    let help = format!("the first time is {}", where_is(at, findings));
                    findings.warning(place.clone(), format!("{network} is twice in `{list}`"), Some(help));
                }
                Some((_, at)) => {
                    let help = format!("`deny` wins; it is allowed {}", where_is(at, findings));
                    findings.error(place.clone(), format!("{network} is allowed and denied"), Some(help));
                }
            }
        }
    }
}

/// Whoever comes through a unix socket has no address to judge by, unless a PROXY header tells one.
fn unix(listener: &Read, findings: &mut Findings) {
    let is_unix = |(address, _): &(Address, Place)| matches!(address, Address::Unix(_));
    let all_unix = listener.addresses("bind").is_some_and(|all| all.iter().all(is_unix));
    if !all_unix || listener.is_written("proxy_protocol") {
        return;
    }
    for key in ["allow", "deny", "per_ip"].into_iter().filter(|key| listener.is_written(key)) {
        let message = format!("`{key}` has no effect on unix sockets, whose clients have no address");
        let help = "who may connect is decided by the mode of the socket and its directory";
        findings.warning(listener.place_of(key), message, Some(help.to_owned()));
    }
}

fn limits(per_ip: &Read, findings: &mut Findings) {
    let (Some(max_connections), Some(rate)) = (per_ip.limit("max_connections"), per_ip.limit("rate")) else { return };
    if rate.is_none() && per_ip.is_written("burst") {
        let help = "say how many new connections per second an address may open in the long run";
        findings.warning(per_ip.place_of("burst"), "`burst` has no effect without `rate`", Some(help.to_owned()));
    } else if rate.is_none() && max_connections.is_none() {
        let message = format!("{} limits nothing", per_ip.title);
        findings.warning(per_ip.place.clone(), message, Some("set `max_connections` or `rate`".to_owned()));
    }
}

fn no_way(listener: &Read, findings: &mut Findings) {
    // `routes = []` stands where otherwise a missing cluster has been reported.
    if listener.tables("routes").is_empty() && listener.is_written("routes") && !listener.is_written("cluster") {
        let message = format!("{} has neither a cluster nor a route", listener.title);
        findings.error(listener.place_of("routes"), message, None);
    }
}

fn routes(listener: &Read, findings: &mut Findings) {
    let routes = listener.tables("routes");
    let mut taken = Taken::default();
    for route in routes {
        let Some(when) = route.table("match") else { continue };
        if !when.is_written("sni") && !when.is_written("alpn") {
            if when.is_whole && when.written().next().is_none() {
                let help = "give `sni` or `alpn`; what matches no route goes to the cluster of the listener";
                findings.error(when.place.clone(), "a route that matches everything", Some(help.to_owned()));
            }
            continue;
        }
        repeated("sni", when.patterns("sni").unwrap_or_default(), findings);
        repeated("alpn", when.texts("alpn").unwrap_or_default(), findings);
        taken.take(when, findings);
    }
}

/// Without routes nothing is peeked at.
fn peek(listener: &Read, findings: &mut Findings) {
    // Routes with a slip in them were meant to be there.
    if !listener.tables("routes").is_empty() || !listener.is_whole {
        return;
    }
    for key in ["peek_timeout", "peek_bytes_max"].into_iter().filter(|key| listener.is_written(key)) {
        let help = format!("leave it out, or add [[listeners.routes]] to {}", listener.title);
        findings.warning(listener.place_of(key), format!("`{key}` has no effect without routes"), Some(help));
    }
}

/// The same in the list of one route, where it is a slip, for another name was probably meant.
fn repeated<'r, T: Eq + Hash + Display>(key: &str, all: &'r [(T, Place)], findings: &mut Findings) {
    let mut seen: HashMap<&'r T, &'r Place> = HashMap::new();
    for (item, place) in all {
        if let Some(first) = seen.get(item) {
            let help = format!("the first time is {}; leave this one out", where_is(first, findings));
            findings.error(place.clone(), format!("{} is twice in `{key}`", quoted(&item.to_string())), Some(help));
        } else {
            seen.insert(item, place);
        }
    }
}

/// What earlier routes of a listener match, so that a later one never gets it.
#[derive(Default)]
struct Taken<'r> {
    by: HashMap<(Names<'r>, Option<&'r str>), &'r Place>,
}

/// The names that one pattern stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Names<'r> {
    Any,
    One(&'r str),
    Under(&'r str),
}

impl<'r> Taken<'r> {
    fn take(&mut self, when: &'r Read, findings: &mut Findings) {
        let names: Vec<(Names<'r>, &Place)> = match when.patterns("sni") {
            Some(patterns) => patterns.iter().map(|(pattern, place)| (Names::of(pattern), place)).collect(),
            None => vec![(Names::Any, &when.place)],
        };
        let protocols: Vec<Option<&str>> = match when.texts("alpn") {
            Some(texts) => texts.iter().map(|(text, _)| Some(text.as_str())).collect(),
            None => vec![None],
        };
        for (name, place) in &names {
            // What is left for some of the protocols is reached.
            let earlier: Option<Vec<&Place>> =
                protocols.iter().map(|protocol| self.earlier(*name, *protocol)).collect();
            if let Some(first) = earlier.as_deref().and_then(<[_]>::first) {
                let help =
                    format!("the first one that matches counts, and that is the one {}", where_is(first, findings));
                findings.error((*place).clone(), "an earlier route matches all of this", Some(help));
            }
        }
        let all = names.iter().flat_map(|(name, place)| protocols.iter().map(|protocol| ((*name, *protocol), *place)));
        self.by.extend(all);
    }

    /// Where a route stands that gets every client of this name that offers this protocol.
    fn earlier(&self, name: Names<'r>, protocol: Option<&'r str>) -> Option<&'r Place> {
        let find = |name| self.by.get(&(name, None)).or_else(|| self.by.get(&(name, protocol))).copied();
        let parents = |text: &'r str| text.match_indices('.').map(move |(dot, _)| Names::Under(&text[dot + 1..]));
        match name {
            Names::Any => None,
            Names::One(text) | Names::Under(text) => find(name).or_else(|| parents(text).find_map(find)),
        }
        .or_else(|| find(Names::Any))
    }
}

impl<'r> Names<'r> {
    fn of(pattern: &'r SniPattern) -> Self {
        match pattern {
            SniPattern::Exact(name) => Self::One(name),
            SniPattern::Under(parent) => Self::Under(parent),
        }
    }
}
