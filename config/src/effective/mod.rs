//! A configuration written out in full, defaults included, as TOML that reads back as the same configuration.

mod values;

use std::fmt::Write as _;

use crate::{
    file::Loaded,
    keys::{self, Default, Key, Kind, SECTIONS, Section},
    model::{Cluster, Listener},
    provenance::{Origin, Provenance},
};

/// Where comments start, when the value leaves room.
const COMMENT_COLUMN: usize = 40;

/// Every key with its value, and a comment that says where the value came from.
pub fn render(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let out = format!("# The effective configuration. file: {}\n", one_line(&loaded.provenance.file));
    let mut writer = Writer { out, provenance: &loaded.provenance };
    for section in SECTIONS.iter().filter(|section| !section.is_nested()) {
        match section.path {
            "listeners[]" => config.listeners.iter().for_each(|one| listener(&mut writer, section, one)),
            "clusters.*" => config.clusters.iter().for_each(|one| cluster(&mut writer, section, one)),
            path => writer.table(&format!("[{path}]"), section, path, |key| values::of_section(config, path, key)),
        }
    }
    writer.out
}

fn listener(writer: &mut Writer<'_>, section: &Section, listener: &Listener) {
    let path = format!("listeners.{}", listener.name);
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
        _ => !listener.routes.is_empty(),
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
    for (index, route) in listener.routes.iter().enumerate() {
        let path = format!("{path}.routes[{index}]");
        writer.table("[[listeners.routes]]", &keys::ROUTES, &path, |key| values::of_route(route, key));
        let (section, path) = (&keys::ROUTE_MATCH, format!("{path}.match"));
        writer.table("[listeners.routes.match]", section, &path, |key| values::of_route_match(&route.when, key));
    }
}

fn cluster(writer: &mut Writer<'_>, section: &Section, cluster: &Cluster) {
    let (path, name) = (format!("clusters.{}", cluster.name), table_name(&cluster.name));
    writer.table(&format!("[clusters.{name}]"), section, &path, |key| values::of_cluster(cluster, key));
    let header = format!("[clusters.{name}.queue]");
    writer.table(&header, &keys::QUEUE, &format!("{path}.queue"), |key| values::of_queue(cluster.queue, key));
}

struct Writer<'a> {
    out: String,
    provenance: &'a Provenance,
}

impl Writer<'_> {
    /// A header and the keys below it that are no tables themselves.
    fn table(&mut self, header: &str, section: &Section, path: &str, value: impl Fn(&str) -> Option<String>) {
        let _ = writeln!(self.out, "\n{header}");
        for key in section.keys.iter().filter(|key| !is_table(key)) {
            let line = value(key.name).map_or_else(|| absent(key), |value| format!("{} = {value}", key.name));
            self.line(&line, path, key);
        }
    }

    /// A remark for each table of a section that is not there.
    fn absent_tables(&mut self, section: &Section, path: &str, is_there: impl Fn(&Key) -> bool) {
        for key in section.keys.iter().filter(|key| is_table(key) && !is_there(key)) {
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
