//! What no value tells alone: names that must be unique, references, sizes in order, addresses that collide.

mod binds;
mod clusters;
mod http;
mod listeners;

use super::{document::Document, findings::Findings, section::Read, source::Place};
use crate::units;

/// The C library asks 3 at most.
const SERVERS_MAX: usize = 8;

pub(crate) fn check(document: &Document, findings: &mut Findings) {
    buffer_sizes(&document.buffer_pool, findings);
    forward(document, findings);
    in_order(&document.pipes, ["size", "size_max"], findings);
    in_order(&document.pipes, ["size_max", "total_max"], findings);
    drain(&document.drain, findings);
    dns(&document.dns, findings);
    listeners::check(document, findings);
    binds::check(document, findings);
    clusters::check(document, findings);
    http::clusters(document, findings);
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

/// Two sizes of which the first must not be above the second.
fn in_order(read: &Read, [smaller, larger]: [&str; 2], findings: &mut Findings) {
    let (Some(a), Some(b)) = (read.integer::<u64>(smaller), read.integer::<u64>(larger)) else { return };
    if a > b {
        let at = if read.is_written(smaller) { smaller } else { larger };
        let (a, b) = (units::format_size(a), units::format_size(b));
        findings.error(read.place_of(at), format!("`{smaller}` ({a}) is above `{larger}` ({b})"), None);
    }
}

/// What would be taken and then have no effect.
fn forward(document: &Document, findings: &mut Findings) {
    let zc_min = document.forward.integer::<u64>("zc_min");
    if let (Some(min), Some(huge)) = (zc_min, document.buffer_pool.integer::<u64>("huge_size"))
        && min > huge
    {
        let at = if document.forward.is_written("zc_min") {
            document.forward.place_of("zc_min")
        } else {
            document.buffer_pool.place_of("huge_size")
        };
        let (min, huge) = (units::format_size(min), units::format_size(huge));
        let message = format!("no send is as large as `zc_min` ({min}), so send-zc would never be used");
        findings.warning(at, message, Some(format!("the largest buffers have `huge_size`, which is {huge}")));
    }
    if document.runtime.word("io") != Some("epoll") {
        return;
    }
    for read in std::iter::once(&document.runtime).chain(&document.listeners) {
        if let Some(word @ ("bundle" | "uring-splice" | "send-zc")) = read.word("forward") {
            let message = format!("{word} needs io_uring, and the driver is epoll");
            let help = "these connections will be forwarded as with \"auto\"; set `io` to \"uring\" or \"auto\"";
            findings.warning(read.place_of("forward"), message, Some(help.to_owned()));
        }
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

fn dns(dns: &Read, findings: &mut Findings) {
    if let (Some(min), Some(max)) = (dns.duration("ttl_min"), dns.duration("ttl_max"))
        && max < min
    {
        let at = if dns.is_written("ttl_max") { "ttl_max" } else { "ttl_min" };
        let (min, max) = (units::format_duration(min), units::format_duration(max));
        findings.error(dns.place_of(at), format!("`ttl_max` ({max}) is below `ttl_min` ({min})"), None);
    }
    let servers = dns.servers("servers").unwrap_or_default();
    if let Some((_, place)) = servers.get(SERVERS_MAX) {
        let help = format!("a name is only known not to resolve when all have been asked; {SERVERS_MAX} are the most");
        findings.error(place.clone(), "too many resolvers", Some(help));
        return;
    }
    for (index, (server, place)) in servers.iter().enumerate() {
        if servers[..index].iter().any(|(earlier, _)| earlier == server) {
            findings.error(place.clone(), format!("the resolver {server} is listed twice"), None);
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
