//! What listeners and clusters say about HTTP that does not go together.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::where_is;
use crate::{
    file::{build_http, document::Document, findings::Findings, section::Read, source::Place},
    http_names,
    keys::Key,
    model::{EncodedSlashes, Matcher, Network, PathPattern, PathRules},
    pattern,
    template::{Group, Template, Variable},
};

/// Pairs of a host and a path that one listener may have, and regular expressions among them.
const ALTERNATIVES_MAX: usize = 200_000;
const PATTERNS_MAX: usize = 10_000;

const HEADER_OPS_MAX: usize = 24;

pub(super) fn is_http(listener: &Read) -> bool {
    listener.word("protocol") == Some("http")
}

/// Keys of a protocol that is not the listener's. True when there was none.
pub(super) fn protocols(listener: &Read, findings: &mut Findings) {
    let Some(protocol) = listener.word("protocol") else { return };
    let mut wrong = |read: &Read| {
        let is_wrong = |key: &&Key| key.protocol.is_some_and(|wanted| wanted != protocol);
        for key in read.written().filter(is_wrong) {
            let wanted = key.protocol.unwrap_or_default();
            let message = format!("`{}` is for listeners with protocol = \"{wanted}\"", key.name);
            let help = match (protocol, key.name) {
                ("tcp", "host") => {
                    "on TCP there is the ClientHello alone: write `sni`, or set protocol = \"http\"".to_owned()
                }
                ("http", "sni") => "write `host`".to_owned(),
                _ => format!("{} has protocol = \"{protocol}\"", listener.title),
            };
            findings.error(read.place_of(key.name), message, Some(help));
        }
    };
    wrong(listener);
    for route in listener.tables("routes") {
        wrong(route);
        if let Some(when) = route.table("match") {
            wrong(when);
        }
    }
}

pub(super) fn listener(listener: &Read, findings: &mut Findings) {
    let Some(http) = listener.table("http") else { return };
    let everybody = |(network, _): &&(Network, Place)| network.prefix == 0;
    if let Some((network, place)) = http.networks("trusted_proxies").unwrap_or_default().iter().find(everybody) {
        let message = format!("{network} lets every client claim any address");
        findings.warning(place.clone(), message, Some("name the proxies in front and nobody else".to_owned()));
    }
    headers(http, "request_headers", findings);
    headers(http, "response_headers", findings);
    if let Some(id) = http.table("request_id")
        && let Some(name) = id.text("header")
        && http_names::is_managed(name)
    {
        let message = format!("`{name}` is written by the proxy itself");
        findings.error(id.place_of("header"), message, Some("write \"x-request-id\"".to_owned()));
    }
    let rules = build_http::path_rules(http);
    names(listener, findings);
    for read in listener.tables("routes") {
        route(read, rules, findings);
    }
    reachable(listener, findings);
}

/// Names of routes are unique, those that are not written included.
fn names(listener: &Read, findings: &mut Findings) {
    let mut seen: HashMap<String, Place> = HashMap::new();
    for (index, route) in listener.tables("routes").iter().enumerate() {
        let name = build_http::route_name(route, index);
        let place = route.place_of("name");
        if let Some(first) = seen.get(&name) {
            let help = format!(
                "the first one is {}; a route without a name has that of its number",
                where_is(first, findings)
            );
            findings.error(place, format!("two routes are named `{name}`"), Some(help));
        } else {
            seen.insert(name, place);
        }
    }
}

fn route(route: &Read, rules: Option<PathRules>, findings: &mut Findings) {
    if let Some(when) = route.table("match") {
        conditions(when, rules, findings);
    }
    action(route, findings);
    if let Some(rewrite) = route.table("rewrite") {
        self::rewrite(route, rewrite, findings);
    }
    headers(route, "request_headers", findings);
    headers(route, "response_headers", findings);
}

fn conditions(when: &Read, rules: Option<PathRules>, findings: &mut Findings) {
    if when.written().next().is_none() && when.is_whole {
        let help =
            "write path_prefix = \"/\" for everything; what matches no route goes to the cluster of the listener";
        findings.error(when.place.clone(), "a route that matches everything", Some(help.to_owned()));
    }
    let kinds: Vec<&str> =
        ["path", "path_prefix", "path_regex"].into_iter().filter(|key| when.is_written(key)).collect();
    if let [first, second, ..] = *kinds {
        let help = "write two routes, or one list under one of the keys";
        let message = format!("`{second}` cannot stand beside `{first}`");
        findings.error(when.place_of(second), message, Some(help.to_owned()));
    }
    let Some(rules) = rules else { return };
    for (path, place) in build_http::paths(when) {
        let (PathPattern::Exact(text) | PathPattern::Prefix(text)) = &path else { continue };
        let why = if rules.merge_slashes && text.contains("//") {
            Some("several slashes are one: write one, or set merge_slashes = false")
        } else if rules.encoded_slashes != EncodedSlashes::Keep && (text.contains("%2F") || text.contains("%5C")) {
            Some("`encoded_slashes` lets none through")
        } else {
            None
        };
        if let Some(why) = why {
            findings.error(place, "no request has such a path", Some(why.to_owned()));
        }
    }
}

fn action(route: &Read, findings: &mut Findings) {
    const ACTIONS: [&str; 4] = ["cluster", "clusters", "redirect", "response"];
    let written: Vec<&str> = ACTIONS.into_iter().filter(|key| route.is_written(key)).collect();
    if let [first, second, ..] = *written {
        let message = format!("`{second}` cannot stand beside `{first}`");
        let help = "a route goes to a cluster or to several, redirects, or answers";
        findings.error(route.place_of(second), message, Some(help.to_owned()));
        return;
    }
    if route.is_written("clusters") {
        weights(route, findings);
    }
    if let Some(redirect) = route.table("redirect") {
        self::redirect(redirect, findings);
    }
    let answers = ["redirect", "response"].into_iter().find(|key| route.is_written(key));
    let Some(answer) = answers else { return };
    let mut idle = vec!["request_headers", "timeouts", "retry"];
    if answer == "response" {
        idle.push("rewrite");
    }
    for key in idle.into_iter().filter(|key| route.is_written(key)) {
        let message = format!("`{key}` has no effect beside `{answer}`, for no endpoint is asked");
        findings.warning(route.place_of(key), message, None);
    }
}

fn weights(route: &Read, findings: &mut Findings) {
    let clusters = route.tables("clusters");
    if clusters.is_empty() {
        let help = "name at least one, or write `cluster`";
        findings.error(route.place_of("clusters"), "`clusters` is empty", Some(help.to_owned()));
        return;
    }
    let mut seen = HashSet::new();
    for cluster in clusters {
        if let Some(name) = cluster.text("name").filter(|name| !seen.insert(*name)) {
            let help = "add up their weights".to_owned();
            findings.error(cluster.place_of("name"), format!("the cluster `{name}` is there twice"), Some(help));
        }
    }
    if clusters.iter().all(|cluster| cluster.integer::<u32>("weight") == Some(0)) {
        let help = "give a weight above 0 to one of them";
        findings.error(route.place_of("clusters"), "no cluster would get a request", Some(help.to_owned()));
    }
}

fn redirect(redirect: &Read, findings: &mut Findings) {
    if !["scheme", "host", "port", "path"].iter().any(|key| redirect.is_written(key)) && redirect.is_whole {
        let message = "a redirect to where the client already is";
        let help = "give `scheme`, `host`, `port` or `path`";
        findings.error(redirect.place.clone(), message, Some(help.to_owned()));
    }
    if let Some(status) = redirect.integer::<u16>("status")
        && !matches!(status, 301 | 302 | 303 | 307 | 308)
    {
        let help = "301, 302, 303, 307 and 308 are";
        findings.error(redirect.place_of("status"), format!("{status} is no redirect"), Some(help.to_owned()));
    }
    if let Some(host) = redirect.template("host") {
        let place = || redirect.place_of("host");
        if host.variables().any(|variable| *variable != Variable::Host) {
            let message = "no endpoint is chosen for a redirect";
            findings.error(place(), message, Some("of variables, {host} can stand here".to_owned()));
        } else if host.is_constant() {
            check_host(&host.to_string(), place(), "write the port in `port`", findings);
        } else if host.to_string().contains(':') {
            findings.error(place(), "it cannot contain `:`", Some("write the port in `port`".to_owned()));
        }
    }
}

fn check_host(text: &str, place: Place, about_port: &str, findings: &mut Findings) {
    let name = if text.starts_with('*') { "" } else { text };
    if let Err(mut fault) = http_names::parse_host(name) {
        if fault.help.as_deref().is_some_and(|help| help.starts_with("leave out the port")) {
            fault.help = Some(about_port.to_owned());
        }
        fault.at = None;
        findings.fault(&place, None, fault);
    }
}

fn rewrite(route: &Read, rewrite: &Read, findings: &mut Findings) {
    let mut clash = |key: &str, others: &[&str]| {
        for other in others.iter().filter(|other| rewrite.is_written(key) && rewrite.is_written(other)) {
            let message = format!("`{other}` cannot stand beside `{key}`");
            let help = "strip_prefix and then add_prefix, or path, or regex with replacement";
            findings.error(rewrite.place_of(other), message, Some(help.to_owned()));
        }
    };
    clash("path", &["strip_prefix", "add_prefix", "regex", "replacement"]);
    clash("regex", &["strip_prefix", "add_prefix"]);
    for (key, other) in [("regex", "replacement"), ("replacement", "regex")] {
        if rewrite.is_written(key) && !rewrite.is_written(other) && rewrite.is_whole && !rewrite.is_written("path") {
            findings.error(rewrite.place_of(key), format!("`{key}` is nothing without `{other}`"), None);
        }
    }
    if let (Some(regex), Some(replacement)) = (rewrite.text("regex"), rewrite.template("replacement")) {
        groups(regex, replacement, rewrite.place_of("replacement"), findings);
    }
    if let Some(strip) = rewrite.text("strip_prefix") {
        stripped(route, strip, rewrite.place_of("strip_prefix"), findings);
    }
    if let Some(host) = rewrite.template("host") {
        if host.is_constant() {
            let text = host.to_string();
            let name = text.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(&*text, |(n, _)| n);
            check_host(name, rewrite.place_of("host"), "", findings);
        }
        if route.is_written("redirect") {
            let help = "write it in `redirect`";
            findings.error(rewrite.place_of("host"), "no endpoint sees this host", Some(help.to_owned()));
        }
    }
}

/// The groups that a replacement names are those of its expression.
fn groups(regex: &str, replacement: &Template, place: Place, findings: &mut Findings) {
    let Ok(regex) = pattern::part(regex) else { return };
    for variable in replacement.variables() {
        let is_there = match variable {
            Variable::Group(Group::Number(number)) => usize::from(*number) < regex.captures_len(),
            Variable::Group(Group::Name(name)) => {
                regex.group_info().pattern_names(regex_automata::PatternID::ZERO).flatten().any(|known| known == name)
            }
            _ => true,
        };
        if !is_there {
            let help = format!("it has {} beside {{0}}", count(regex.captures_len() - 1, "group"));
            findings.error(place.clone(), format!("the regex has no group {{{variable}}}"), Some(help));
        }
    }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A prefix to take off that no path of the route has.
fn stripped(route: &Read, strip: &str, place: Place, findings: &mut Findings) {
    let Some(when) = route.table("match") else { return };
    let is_under = |path: &str, prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'))
    };
    let paths = build_http::paths(when);
    let may_have = |(path, _): &(PathPattern, Place)| match path {
        PathPattern::Exact(path) => is_under(path, strip),
        // A path that is still longer may have it.
        PathPattern::Prefix(path) => is_under(path, strip) || is_under(strip, path) || format!("{path}/") == strip,
        PathPattern::Regex(_) => true,
    };
    if !paths.is_empty() && !paths.iter().any(may_have) {
        let message = format!("no path of this route begins with `{strip}`");
        let help = "take off a prefix that `match` has";
        findings.error(place, message, Some(help.to_owned()));
    }
}

/// What is changed in headers, each by itself.
fn headers(read: &Read, key: &str, findings: &mut Findings) {
    if let Some(op) = read.tables(key).get(HEADER_OPS_MAX) {
        findings.error(op.place.clone(), format!("more than {HEADER_OPS_MAX} in one `{key}`"), None);
    }
    for op in read.tables(key) {
        let (Some(action), Some(name)) = (op.word("action"), op.text("name")) else { continue };
        if http_names::is_managed(name) {
            let help = match name {
                "host" => "write `rewrite = { host = … }`",
                _ => "it belongs to the connection or frames the message",
            };
            let message = format!("`{name}` is written by the proxy itself");
            findings.error(op.place_of("name"), message, Some(help.to_owned()));
        }
        if action == "remove" && op.is_written("value") {
            findings.error(op.place_of("value"), "what is removed has no value", None);
        } else if action != "remove" && !op.is_written("value") && op.is_whole {
            let help = "add `value`, or write action = \"remove\"";
            findings.error(op.place.clone(), format!("`{name}` has no value"), Some(help.to_owned()));
        }
        if action == "append" && matches!(name, "set-cookie" | "cookie") {
            let message = format!("the lines of `{name}` cannot be joined by a comma");
            findings.error(op.place_of("action"), message, Some("write action = \"add\"".to_owned()));
        }
        if let Some(value) = op.template("value")
            && value.parts.is_empty()
        {
            let help = "write action = \"remove\" to take the header out".to_owned();
            findings.error(op.place_of("value"), "a header without a value", Some(help));
        }
    }
}

type Conditions<'r> = (BTreeSet<&'r str>, [Vec<&'r Matcher>; 3]);
type Case<'r> = (Option<String>, Option<PathPattern>, Conditions<'r>);

/// Routes that never get a request because others before them match the same.
fn reachable(listener: &Read, findings: &mut Findings) {
    let mut routes: Vec<&Read> = listener.tables("routes").iter().collect();
    routes.sort_by_key(|route| std::cmp::Reverse(route.integer::<u32>("priority")));
    let mut seen: HashMap<Case<'_>, &Place> = HashMap::new();
    let mut patterns = 0;
    for route in routes {
        let Some(when) = route.table("match").filter(|when| when.is_whole) else { continue };
        let cases = cases(when, ALTERNATIVES_MAX.saturating_sub(seen.len()));
        patterns += build_http::paths(when).iter().filter(|(path, _)| matches!(path, PathPattern::Regex(_))).count();
        let Some(cases) = cases.filter(|_| patterns <= PATTERNS_MAX) else {
            let help = format!(
                "a listener has at most {ALTERNATIVES_MAX} pairs of a host and a path, and {PATTERNS_MAX} regular \
                 expressions for paths"
            );
            findings.error(when.place.clone(), format!("too many routes in {}", listener.title), Some(help));
            return;
        };
        let earlier: Option<Vec<&Place>> = cases.iter().map(|case| seen.get(case).copied()).collect();
        if let Some(first) = earlier.as_deref().and_then(<[_]>::first) {
            let help = format!("it is the one {}; change what one of them matches", where_is(first, findings));
            findings.error(when.place.clone(), "an earlier route matches all of this", Some(help));
        }
        for case in cases {
            seen.entry(case).or_insert(&when.place);
        }
    }
}

/// Each host with each path; `None` when there are too many.
fn cases(when: &Read, room: usize) -> Option<Vec<Case<'_>>> {
    let or_any = |mut all: Vec<Option<String>>| {
        if all.is_empty() {
            all.push(None);
        }
        all
    };
    let hosts = when.hosts("host").unwrap_or_default();
    let hosts = or_any(hosts.iter().map(|(host, _)| Some(host.to_string())).collect());
    let mut paths: Vec<Option<PathPattern>> = build_http::paths(when).into_iter().map(|(path, _)| Some(path)).collect();
    if paths.is_empty() {
        paths.push(None);
    }
    if hosts.len().checked_mul(paths.len())? > room {
        return None;
    }
    let methods: BTreeSet<&str> =
        when.texts("methods").unwrap_or_default().iter().map(|(method, _)| method.as_str()).collect();
    let matchers = ["headers", "query", "cookies"].map(|key| {
        let all = when.matchers(key).unwrap_or_default();
        all.iter().map(|(matcher, _)| matcher).collect::<Vec<_>>()
    });
    let conditions = (methods, matchers);
    let each = hosts.iter().flat_map(|host| paths.iter().map(move |path| (host.clone(), path.clone())));
    Some(each.map(|(host, path)| (host, path, conditions.clone())).collect())
}

/// What clusters say that does not go with the listeners that use them.
pub(super) fn clusters(document: &Document, findings: &mut Findings) {
    let mut with_http: HashSet<&str> = HashSet::new();
    for listener in document.listeners.iter().filter(|listener| is_http(listener)) {
        with_http.extend(super::clusters::named(listener).filter_map(|(read, key)| read.text(key)));
    }
    let is_whole = document.listeners.iter().all(|listener| listener.is_whole);
    for cluster in &document.clusters {
        if with_http.contains(&*cluster.name) {
            if cluster.read.is_written("proxy_protocol") {
                let message =
                    "a connection to an endpoint carries the requests of many clients, and a PROXY header is one's";
                let help = "leave it out; endpoints learn of the client by X-Forwarded-For";
                findings.error(cluster.read.place_of("proxy_protocol"), message, Some(help.to_owned()));
            }
            continue;
        }
        for key in ["pool", "timeouts", "retry"].into_iter().filter(|key| is_whole && cluster.read.is_written(key)) {
            let message =
                format!("`{key}` has no effect: no listener with protocol = \"http\" uses `{}`", cluster.name);
            findings.warning(cluster.read.place_of(key), message, None);
        }
    }
}
