//! A configuration written out in full, defaults included, as TOML that reads back as the same configuration.

mod http;
mod values;

use std::{collections::HashSet, fmt::Write as _};

use crate::{
    file::Loaded,
    keys::{self, Default, Key, Kind, SECTIONS, Section},
    model::{Cluster, HeaderOp, Http, HttpRoute, Listener, Rewrite, RouteAction, RouteTimeouts, WeightedCluster},
    provenance::{Origin, Provenance},
};

/// Where comments start, when the value leaves room.
const COMMENT_COLUMN: usize = 40;

/// Every key with its value, and a comment that says where the value came from.
pub fn render(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let out = format!("# The effective configuration. file: {}\n", one_line(&loaded.provenance.file));
    let mut writer = Writer { out, provenance: &loaded.provenance, protocol: None };
    for section in SECTIONS.iter().filter(|section| !section.is_nested()) {
        match section.path {
            "listeners[]" => config.listeners.iter().for_each(|one| listener(&mut writer, section, one)),
            "clusters.*" => {
                let with_http: HashSet<&str> = config.listeners.iter().flat_map(of_http).collect();
                config.clusters.iter().for_each(|one| {
                    cluster(&mut writer, section, one, with_http.contains(&*one.name));
                });
            }
            path => writer.table(&format!("[{path}]"), section, path, |key| values::of_section(config, path, key)),
        }
    }
    writer.out
}

fn listener(writer: &mut Writer<'_>, section: &Section, listener: &Listener) {
    let path = format!("listeners.{}", listener.name);
    writer.protocol = Some(if listener.http.is_some() { "http" } else { "tcp" });
    let provenance = writer.provenance;
    // A default that has no effect is left out, for `check` warns of it where it is written.
    let has_effect = |key: &str| {
        let is_peek = matches!(key, "peek_timeout" | "peek_bytes_max");
        !is_peek || !listener.routes.is_empty() || *provenance.of(&format!("{path}.{key}")) != Origin::Default
    };
    let value = |key: &str| has_effect(key).then(|| values::of_listener(listener, key)).flatten();
    writer.table("[[listeners]]", section, &path, value);
    let is_there = |key: &Key| match key.name {
        "proxy_protocol" => listener.proxy_protocol.is_some(),
        "per_ip" => listener.per_ip.is_some(),
        "http" => listener.http.is_some(),
        _ => !listener.routes.is_empty() || listener.http.as_ref().is_some_and(|http| !http.routes.is_empty()),
    };
    writer.absent_tables(section, &path, is_there);
    if let Some(from) = &listener.proxy_protocol {
        let (section, path) = (&keys::PROXY_PROTOCOL, format!("{path}.proxy_protocol"));
        writer.table("[listeners.proxy_protocol]", section, &path, |key| values::of_proxy_protocol(from, key));
    }
    if let Some(per_ip) = &listener.per_ip {
        let path = format!("{path}.per_ip");
        writer.table("[listeners.per_ip]", &keys::PER_IP, &path, |key| values::of_per_ip(per_ip, key));
    }
    if let Some(http) = &listener.http {
        http_listener(writer, &path, http);
    }
    for (index, route) in listener.routes.iter().enumerate() {
        let path = format!("{path}.routes[{index}]");
        writer.table("[[listeners.routes]]", &keys::ROUTES, &path, |key| values::of_route(route, key));
        let (section, path) = (&keys::ROUTE_MATCH, format!("{path}.match"));
        writer.table("[listeners.routes.match]", section, &path, |key| values::of_route_match(&route.when, key));
    }
    writer.protocol = None;
}

fn http_listener(writer: &mut Writer<'_>, path: &str, http: &Http) {
    let own = format!("{path}.http");
    writer.table("[listeners.http]", &keys::HTTP, &own, |key| http::of_http(http, key));
    writer.header_ops(&keys::HTTP_REQUEST_HEADERS, &format!("{own}.request_headers"), &http.request_headers);
    writer.header_ops(&keys::HTTP_RESPONSE_HEADERS, &format!("{own}.response_headers"), &http.response_headers);
    let (section, id_path) = (&keys::REQUEST_ID, format!("{own}.request_id"));
    writer.table(section.header, section, &id_path, |key| http::of_request_id(&http.request_id, key));
    for (index, route) in http.routes.iter().enumerate() {
        http_route(writer, &format!("{path}.routes[{index}]"), route);
    }
}

fn http_route(writer: &mut Writer<'_>, path: &str, route: &HttpRoute) {
    writer.table("[[listeners.routes]]", &keys::ROUTES, path, |key| http::of_http_route(route, key));
    let inner = |name: &str| format!("{path}.{name}");
    let section = &keys::ROUTE_MATCH;
    writer.table(section.header, section, &inner("match"), |key| http::of_request_match(&route.when, key));
    for (index, cluster) in http::weighted(route).iter().enumerate() {
        let (section, path) = (&keys::ROUTE_CLUSTERS, inner(&format!("clusters[{index}]")));
        writer.table(section.header, section, &path, |key| http::of_weighted(cluster, key));
    }
    match &route.action {
        RouteAction::Redirect(redirect) => {
            let section = &keys::REDIRECT;
            writer.table(section.header, section, &inner("redirect"), |key| http::of_redirect(redirect, key));
        }
        RouteAction::Respond(response) => {
            let section = &keys::RESPONSE;
            writer.table(section.header, section, &inner("response"), |key| http::of_response(response, key));
        }
        RouteAction::Forward(_) => {}
    }
    if route.rewrite != Rewrite::default() {
        let section = &keys::REWRITE;
        writer.table(section.header, section, &inner("rewrite"), |key| http::of_rewrite(&route.rewrite, key));
    }
    writer.header_ops(&keys::ROUTE_REQUEST_HEADERS, &inner("request_headers"), &route.request_headers);
    writer.header_ops(&keys::ROUTE_RESPONSE_HEADERS, &inner("response_headers"), &route.response_headers);
    if route.timeouts != RouteTimeouts::default() {
        let section = &keys::ROUTE_TIMEOUTS;
        writer.table(section.header, section, &inner("timeouts"), |key| http::of_route_timeouts(&route.timeouts, key));
    }
}

/// The clusters that a listener speaks HTTP with.
fn of_http(listener: &Listener) -> impl Iterator<Item = &str> {
    let routes = listener.http.iter().flat_map(|http| &http.routes);
    routes.flat_map(clusters_of).chain(listener.cluster.as_deref().filter(|_| listener.http.is_some()))
}

fn clusters_of(route: &HttpRoute) -> impl Iterator<Item = &str> {
    let clusters: &[WeightedCluster] = match &route.action {
        RouteAction::Forward(clusters) => clusters,
        RouteAction::Redirect(_) | RouteAction::Respond(_) => &[],
    };
    clusters.iter().map(|cluster| cluster.name.as_str())
}

/// `is_http`: what only HTTP heeds is written as well; elsewhere only where somebody wrote it.
fn cluster(writer: &mut Writer<'_>, section: &Section, cluster: &Cluster, is_http: bool) {
    let (path, name) = (format!("clusters.{}", cluster.name), table_name(&cluster.name));
    writer.table(&format!("[clusters.{name}]"), section, &path, |key| values::of_cluster(cluster, key));
    let mut inner = |section: &Section, is_meant: bool, value: &dyn Fn(&str) -> Option<String>| {
        let last = section.path.rsplit('.').next().unwrap_or_default();
        let path = format!("{path}.{last}");
        if is_meant || writer.provenance.iter().any(|(given, _)| given.starts_with(&path)) {
            writer.table(&format!("[clusters.{name}.{last}]"), section, &path, value);
        }
    };
    inner(&keys::QUEUE, true, &|key| values::of_queue(cluster.queue, key));
    inner(&keys::POOL, is_http, &|key| http::of_pool(cluster, key));
    inner(&keys::CLUSTER_TIMEOUTS, is_http, &|key| http::of_cluster_timeouts(cluster, key));
    inner(&keys::RETRY, is_http, &|key| http::of_retry(cluster, key));
}

struct Writer<'a> {
    out: String,
    provenance: &'a Provenance,
    /// Of the listener that is being written: keys for another are left out.
    protocol: Option<&'static str>,
}

impl Writer<'_> {
    /// A header and the keys below it that are no tables themselves.
    fn table(&mut self, header: &str, section: &Section, path: &str, value: impl Fn(&str) -> Option<String>) {
        let _ = writeln!(self.out, "\n{header}");
        let protocol = self.protocol;
        for key in section.keys.iter().filter(|key| !is_table(key) && is_meant(protocol, key)) {
            let line = value(key.name).map_or_else(|| absent(key), |value| format!("{} = {value}", key.name));
            self.line(&line, path, key);
        }
    }

    fn header_ops(&mut self, section: &Section, path: &str, ops: &[HeaderOp]) {
        for (index, op) in ops.iter().enumerate() {
            self.table(section.header, section, &format!("{path}[{index}]"), |key| http::of_header_op(op, key));
        }
    }

    /// A remark for each table of a section that is not there.
    fn absent_tables(&mut self, section: &Section, path: &str, is_there: impl Fn(&Key) -> bool) {
        let protocol = self.protocol;
        for key in section.keys.iter().filter(|key| is_table(key) && is_meant(protocol, key) && !is_there(key)) {
            self.line(&absent(key), path, key);
        }
    }

    fn line(&mut self, line: &str, path: &str, key: &Key) {
        let origin = self.provenance.of(&format!("{path}.{}", key.name));
        // The comment follows the last line of a list.
        let (before, last) = line.rsplit_once('\n').map_or(("", line), |(before, last)| (before, last));
        if !before.is_empty() {
            let _ = writeln!(self.out, "{before}");
        }
        let _ = writeln!(self.out, "{last:<COMMENT_COLUMN$} # {}", one_line(&origin.to_string()));
    }
}

/// True unless the key is for listeners of another protocol.
fn is_meant(protocol: Option<&str>, key: &Key) -> bool {
    key.protocol.is_none() || protocol.is_none() || key.protocol == protocol
}

fn is_table(key: &Key) -> bool {
    matches!(key.kind, Kind::Table(_) | Kind::Tables { .. })
}

fn absent(key: &Key) -> String {
    match key.default {
        Default::Absent(meaning) => format!("# {}: {meaning}", key.name),
        Default::Is(_) => format!("# {}: has no effect here", key.name),
        _ => format!("# {}", key.name),
    }
}

/// For comments, which end with their line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Bare where TOML allows it. The names of clusters are checked and hold nothing that needs escaping; no variables are
/// filled in there.
fn table_name(name: &str) -> String {
    if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() }
}
