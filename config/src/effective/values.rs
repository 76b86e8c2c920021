//! The value of every key as TOML text, taken from the model.

use std::{fmt::Write as _, time::Duration};

use crate::{
    cores,
    file::escape,
    model::{
        Address, Cluster, Config, DnsFamily, Endpoint, Forward, IoChoice, Listener, LogFormat, LogLevel, PerIp,
        Performance, Policy, Protocol, ProxyProtocolIn, ProxyProtocolVersion, Queue, Route, RouteMatch, Untrusted,
    },
    units,
};

// All of these return `None` where a key has no value, and for tables.

pub(super) fn of_section(config: &Config, path: &str, key: &str) -> Option<String> {
    if let Some(name) = path.strip_prefix("performance.") {
        return of_performance(&config.performance, name, key);
    }
    let (runtime, dns) = (&config.runtime, &config.dns);
    Some(match (path, key) {
        ("runtime", "cores") => quote(&cores::format(&runtime.cores)),
        ("runtime", "shards_per_core") => runtime.shards_per_core.to_string(),
        ("runtime", "io") => quote(io(runtime.io)),
        ("runtime", "require_io_uring") => runtime.require_io_uring.to_string(),
        ("runtime", "forward") => quote(forward(runtime.forward)),
        ("admin", "listen") => address(config.admin.listen.as_ref()?),
        ("logging", "level") => quote(level(config.logging.level)),
        ("logging", "format") => quote(format(config.logging.format)),
        ("drain", "min") => duration(config.drain.min),
        ("drain", "deadline") => duration(config.drain.deadline),
        ("dns", "servers") => return texts(&dns.servers),
        ("dns", "ttl_min") => duration(dns.ttl_min),
        ("dns", "ttl_max") => duration(dns.ttl_max),
        ("dns", "timeout") => duration(dns.timeout),
        ("dns", "family") => quote(match dns.family {
            DnsFamily::Any => "any",
            DnsFamily::V4 => "v4",
            DnsFamily::V6 => "v6",
        }),
        _ => return None,
    })
}

fn of_performance(performance: &Performance, section: &str, key: &str) -> Option<String> {
    let Performance { shard, buffer_pool: pool, forward, pipes, .. } = performance;
    Some(match (section, key) {
        ("shard", "max_tasks") => shard.max_tasks.to_string(),
        ("shard", "queue_size") => shard.queue_size.to_string(),
        ("shard", "max_idle_time") => duration(shard.max_idle_time),
        ("buffer_pool", "small_size") => size(pool.small_size.into()),
        ("buffer_pool", "medium_size") => size(pool.medium_size.into()),
        ("buffer_pool", "large_size") => size(pool.large_size.into()),
        ("buffer_pool", "huge_size") => size(pool.huge_size.into()),
        ("buffer_pool", "ring_buffers") => pool.ring_buffers.to_string(),
        ("buffer_pool", "memory_max") => size(pool.memory_max),
        ("forward", "promote_bytes") => size(forward.promote_bytes.into()),
        ("forward", "promote_after") => forward.promote_after.to_string(),
        ("forward", "demote_after") => forward.demote_after.to_string(),
        ("forward", "splice_budget") => size(forward.splice_budget.into()),
        ("forward", "zc_min") => size(forward.zc_min.into()),
        ("pipes", "size") => size(pipes.size.into()),
        ("pipes", "size_max") => size(pipes.size_max.into()),
        ("pipes", "total_max") => size(pipes.total_max),
        ("connection_pool", key) => return super::http::of_connection_pool(performance, key),
        _ => return None,
    })
}

pub(super) fn of_listener(listener: &Listener, key: &str) -> Option<String> {
    Some(match key {
        "name" => quote(&listener.name),
        "bind" => match &*listener.bind {
            [one] => address(one),
            several => list(several.iter().map(address)),
        },
        "protocol" => quote(match listener.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Http => "http",
        }),
        "cluster" => quote(listener.cluster.as_deref()?),
        "forward" => quote(forward(listener.forward?)),
        "max_connections" => limit(listener.max_connections),
        "allow" => return texts(&listener.allow),
        "deny" => return texts(&listener.deny),
        "peek_timeout" => duration(listener.peek.timeout),
        "peek_bytes_max" => size(listener.peek.bytes_max.into()),
        "idle_timeout" => timeout(listener.idle_timeout),
        "half_close_timeout" => timeout(listener.half_close_timeout),
        "ipv6_only" => listener.ipv6_only.to_string(),
        "backlog" => listener.backlog.to_string(),
        "nodelay" => listener.socket.nodelay.to_string(),
        "keepalive" => timeout(listener.socket.keepalive),
        _ => return None,
    })
}

pub(super) fn of_cluster(cluster: &Cluster, key: &str) -> Option<String> {
    Some(match key {
        "policy" => quote(policy(cluster.policy)),
        "endpoints" => list(cluster.endpoints.iter().map(endpoint)),
        "connect_timeout" => duration(cluster.connect_timeout),
        "connect_attempts" => cluster.connect_attempts.to_string(),
        "fail_timeout" => duration(cluster.fail_timeout),
        "max_connections" => limit(cluster.max_connections),
        "proxy_protocol" => quote(match cluster.proxy_protocol? {
            ProxyProtocolVersion::V1 => "v1",
            ProxyProtocolVersion::V2 => "v2",
        }),
        "nodelay" => cluster.socket.nodelay.to_string(),
        "keepalive" => timeout(cluster.socket.keepalive),
        _ => return None,
    })
}

pub(super) fn of_proxy_protocol(from: &ProxyProtocolIn, key: &str) -> Option<String> {
    Some(match key {
        "trusted" => return texts(&from.trusted),
        "untrusted" => quote(match from.untrusted {
            Untrusted::Reject => "reject",
            Untrusted::Plain => "plain",
        }),
        "timeout" => duration(from.timeout),
        _ => return None,
    })
}

pub(super) fn of_per_ip(per_ip: &PerIp, key: &str) -> Option<String> {
    Some(match key {
        "max_connections" => limit(per_ip.max_connections),
        "rate" => limit(per_ip.rate.map(|rate| rate.per_second)),
        "burst" => per_ip.rate?.burst.to_string(),
        "entries_max" => per_ip.entries_max.to_string(),
        "v6_prefix" => per_ip.v6_prefix.to_string(),
        _ => return None,
    })
}

pub(super) fn of_route(route: &Route, key: &str) -> Option<String> {
    (key == "cluster").then(|| quote(&route.cluster))
}

pub(super) fn of_route_match(when: &RouteMatch, key: &str) -> Option<String> {
    match key {
        "sni" => text_or_list(&when.sni),
        "alpn" => text_or_list(&when.alpn),
        _ => None,
    }
}

pub(super) fn of_queue(queue: Queue, key: &str) -> Option<String> {
    Some(match key {
        "size" => queue.size.to_string(),
        "timeout" => duration(queue.timeout),
        _ => return None,
    })
}

fn forward(forward: Forward) -> &'static str {
    match forward {
        Forward::Auto => "auto",
        Forward::Copy => "copy",
        Forward::Bundle => "bundle",
        Forward::Splice => "splice",
        Forward::UringSplice => "uring-splice",
        Forward::SendZc => "send-zc",
    }
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

pub(super) fn duration(duration: Duration) -> String {
    quote(&units::format_duration(duration))
}

pub(super) fn timeout(timeout: Option<Duration>) -> String {
    timeout.map_or_else(|| quote("never"), duration)
}

pub(super) fn size(bytes: u64) -> String {
    quote(&units::format_size(bytes))
}

fn address(address: &Address) -> String {
    quote(&address.to_string())
}

pub(super) fn limit(limit: Option<u32>) -> String {
    limit.map_or_else(|| quote("unlimited"), |limit| limit.to_string())
}

/// A list of strings; `None` for an empty one.
pub(super) fn texts<T: ToString>(all: &[T]) -> Option<String> {
    (!all.is_empty()).then(|| list(all.iter().map(|one| quote(&one.to_string()))))
}

/// The same, but one alone stands for itself.
pub(super) fn text_or_list<T: ToString>(all: &[T]) -> Option<String> {
    match all {
        [one] => Some(quote(&one.to_string())),
        several => texts(several),
    }
}

fn endpoint(endpoint: &Endpoint) -> String {
    let address = quote(&endpoint.address.to_string());
    let mut more = String::new();
    if endpoint.weight != 1 {
        let _ = write!(more, ", weight = {}", endpoint.weight);
    }
    if let Some(max_connections) = endpoint.max_connections {
        let _ = write!(more, ", max_connections = {max_connections}");
    }
    if more.is_empty() { address } else { format!("{{ address = {address}{more} }}") }
}

/// One item a line, for lists of more than one.
pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    match &*items {
        [] => "[]".to_owned(),
        [one] => format!("[{one}]"),
        several => several.iter().fold("[\n".to_owned(), |out, item| out + "  " + item + ",\n") + "]",
    }
}

/// A TOML string that means `text` after variables have been filled in.
pub(super) fn quote(text: &str) -> String {
    quote_plain(&escape(text))
}

/// A TOML string where no variables are filled in.
pub(super) fn quote_plain(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
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
