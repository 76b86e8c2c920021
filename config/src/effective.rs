//! A configuration written out in full, defaults included, as TOML that reads back as the same configuration.

use std::{fmt::Write as _, time::Duration};

use crate::{
    cores,
    file::{Loaded, escape},
    keys::{Default, Key, SECTIONS, Section},
    model::{Address, Cluster, Config, Endpoint, IoChoice, Listener, LogFormat, LogLevel, Policy, Protocol},
    provenance::Provenance,
    units,
};

/// Where comments start, when the value leaves room.
const COMMENT_COLUMN: usize = 40;

/// Every key with its value, and a comment that says where the value came from.
pub fn render(loaded: &Loaded) -> String {
    let mut out = format!("# The effective configuration. file: {}\n", one_line(&loaded.provenance.file));
    let (config, provenance) = (&loaded.config, &loaded.provenance);
    for section in SECTIONS {
        match section.path {
            "listeners[]" => {
                for listener in &config.listeners {
                    out += "\n[[listeners]]\n";
                    let path = format!("listeners.{}", listener.name);
                    keys(&mut out, section, &path, provenance, |key| of_listener(listener, key));
                }
            }
            "clusters.*" => {
                for cluster in &config.clusters {
                    let _ = writeln!(out, "\n[clusters.{}]", table_name(&cluster.name));
                    let path = format!("clusters.{}", cluster.name);
                    keys(&mut out, section, &path, provenance, |key| of_cluster(cluster, key));
                }
            }
            // Written with their cluster.
            "clusters.*.endpoints[]" => {}
            path => {
                let _ = writeln!(out, "\n[{path}]");
                keys(&mut out, section, path, provenance, |key| of_section(config, path, key));
            }
        }
    }
    out
}

fn keys(
    out: &mut String,
    section: &Section,
    path: &str,
    provenance: &Provenance,
    value: impl Fn(&str) -> Option<String>,
) {
    for key in section.keys {
        let line = match value(key.name) {
            Some(value) => format!("{} = {value}", key.name),
            None => absent(key),
        };
        let origin = provenance.of(&format!("{path}.{}", key.name));
        // The comment follows the last line of a list.
        let (before, last) = line.rsplit_once('\n').map_or(("", &*line), |(before, last)| (before, last));
        if !before.is_empty() {
            let _ = writeln!(out, "{before}");
        }
        let _ = writeln!(out, "{last:<COMMENT_COLUMN$} # {}", one_line(&origin.to_string()));
    }
}

fn absent(key: &Key) -> String {
    match key.default {
        Default::Absent(meaning) => format!("# {}: {meaning}", key.name),
        _ => format!("# {}", key.name),
    }
}

/// `None` where a key has no value, which the model allows for `admin.listen` alone.
fn of_section(config: &Config, path: &str, key: &str) -> Option<String> {
    let (runtime, shard, pool) = (&config.runtime, &config.performance.shard, &config.performance.buffer_pool);
    Some(match (path, key) {
        ("runtime", "cores") => quote(&cores::format(&runtime.cores)),
        ("runtime", "shards_per_core") => runtime.shards_per_core.to_string(),
        ("runtime", "io") => quote(io(runtime.io)),
        ("runtime", "require_io_uring") => runtime.require_io_uring.to_string(),
        ("performance.shard", "max_tasks") => shard.max_tasks.to_string(),
        ("performance.shard", "queue_size") => shard.queue_size.to_string(),
        ("performance.shard", "max_idle_time") => duration(shard.max_idle_time),
        ("performance.buffer_pool", "small_size") => size(pool.small_size.into()),
        ("performance.buffer_pool", "medium_size") => size(pool.medium_size.into()),
        ("performance.buffer_pool", "large_size") => size(pool.large_size.into()),
        ("performance.buffer_pool", "huge_size") => size(pool.huge_size.into()),
        ("performance.buffer_pool", "ring_buffers") => pool.ring_buffers.to_string(),
        ("performance.buffer_pool", "memory_max") => size(pool.memory_max),
        ("admin", "listen") => address(config.admin.listen.as_ref()?),
        ("logging", "level") => quote(level(config.logging.level)),
        ("logging", "format") => quote(format(config.logging.format)),
        ("drain", "min") => duration(config.drain.min),
        ("drain", "deadline") => duration(config.drain.deadline),
        _ => return None,
    })
}

fn of_listener(listener: &Listener, key: &str) -> Option<String> {
    Some(match key {
        "name" => quote(&listener.name),
        "bind" => match &*listener.bind {
            [one] => address(one),
            several => list(several.iter().map(address)),
        },
        "protocol" => quote(match listener.protocol {
            Protocol::Tcp => "tcp",
        }),
        "cluster" => quote(listener.cluster.as_deref()?),
        "idle_timeout" => timeout(listener.idle_timeout),
        "half_close_timeout" => timeout(listener.half_close_timeout),
        "ipv6_only" => listener.ipv6_only.to_string(),
        "backlog" => listener.backlog.to_string(),
        "nodelay" => listener.socket.nodelay.to_string(),
        "keepalive" => timeout(listener.socket.keepalive),
        _ => return None,
    })
}

fn of_cluster(cluster: &Cluster, key: &str) -> Option<String> {
    Some(match key {
        "policy" => quote(policy(cluster.policy)),
        "endpoints" => list(cluster.endpoints.iter().map(endpoint)),
        "connect_timeout" => duration(cluster.connect_timeout),
        "connect_attempts" => cluster.connect_attempts.to_string(),
        "fail_timeout" => duration(cluster.fail_timeout),
        "nodelay" => cluster.socket.nodelay.to_string(),
        "keepalive" => timeout(cluster.socket.keepalive),
        _ => return None,
    })
}

fn io(io: IoChoice) -> &'static str {
    match io {
        IoChoice::Auto => "auto",
        IoChoice::Uring => "uring",
        IoChoice::Epoll => "epoll",
    }
}

fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    }
}

fn format(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    }
}

fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::RoundRobin => "round-robin",
        Policy::WeightedRoundRobin => "weighted-round-robin",
        Policy::LeastConnections => "least-connections",
        Policy::RandomTwo => "random-two",
    }
}

fn duration(duration: Duration) -> String {
    quote(&units::format_duration(duration))
}

fn timeout(timeout: Option<Duration>) -> String {
    timeout.map_or_else(|| quote("never"), duration)
}

fn size(bytes: u64) -> String {
    quote(&units::format_size(bytes))
}

fn address(address: &Address) -> String {
    quote(&address.to_string())
}

fn endpoint(endpoint: &Endpoint) -> String {
    match endpoint.weight {
        1 => quote(&endpoint.address.to_string()),
        weight => format!("{{ address = {}, weight = {weight} }}", quote(&endpoint.address.to_string())),
    }
}

/// One item a line, for lists of more than one.
fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    match &*items {
        [] => "[]".to_owned(),
        [one] => format!("[{one}]"),
        several => several.iter().fold("[\n".to_owned(), |out, item| out + "  " + item + ",\n") + "]",
    }
}

/// A TOML string that means `text` after variables have been filled in.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in escape(text).chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
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
