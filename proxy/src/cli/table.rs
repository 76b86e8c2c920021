//! `/status` as tables for people.

use crate::admin::status::{
    ClusterStatus, EndpointStatus, LimitStatus, ListenerStatus, NameStatus, ShardStatus, Status,
};

pub(super) fn status(status: &Status) -> String {
    let mut text = format!(
        "balance-shard {} (pid {}) {} for {}\n",
        status.version,
        status.pid,
        phase(status),
        time(status.uptime_s)
    );
    text += &config(status);
    if let Some(bytes) = status.memory_bytes {
        text += &format!("memory {}\n", size(bytes));
    }
    text.push('\n');
    text += &table(SHARD_HEAD, status.shards.iter().map(shard).collect());
    text.push('\n');
    text += &table(LISTENER_HEAD, status.listeners.iter().map(listener).collect());
    text.push('\n');
    if status.clusters.iter().any(has_limit_or_queue) {
        text += &table(CLUSTER_HEAD, status.clusters.iter().filter(|c| has_limit_or_queue(c)).map(cluster).collect());
        text.push('\n');
    }
    text += &table(ENDPOINT_HEAD, status.endpoints.iter().map(endpoint).collect());
    if !status.names.is_empty() {
        text.push('\n');
        text += &table(NAME_HEAD, status.names.iter().map(name).collect());
    }
    let endings: Vec<String> =
        status.endings.iter().filter(|e| e.count > 0).map(|e| format!("{} {}", e.reason, e.count)).collect();
    if !endings.is_empty() {
        text += &format!("\nended: {}\n", endings.join(", "));
    }
    text
}

fn phase(status: &Status) -> String {
    match status.drain_left_s {
        Some(left) => format!("draining (at most {} left), up", time(left)),
        None => status.phase.clone(),
    }
}

fn config(status: &Status) -> String {
    let config = &status.config;
    let mut text = format!("configuration version {} from {}", config.version, config.source);
    if !config.last_reload_applied {
        text += "; THE LAST RELOAD WAS REFUSED";
    }
    if !config.needs_restart.is_empty() {
        text += &format!("; needs a restart: {}", config.needs_restart.join(", "));
    }
    text + "\n"
}

const SHARD_HEAD: &[&str] =
    &["SHARD", "CORE", "STATE", "DRIVER", "CONFIG", "ACCEPTED", "ACTIVE", "UP", "DOWN", "BUFFERS", "FDS"];

fn shard(s: &ShardStatus) -> Vec<String> {
    let mut row = vec![
        s.shard.to_string(),
        s.core.map_or_else(|| "any".to_owned(), |c| c.to_string()),
        s.state.clone(),
        s.driver.clone(),
    ];
    if s.state == "stalled" || s.state == "ended" {
        row.resize(SHARD_HEAD.len(), "-".to_owned());
        return row;
    }
    row.extend([
        s.config_version.to_string(),
        s.accepted.to_string(),
        s.active.to_string(),
        size(s.bytes_up),
        size(s.bytes_down),
        size(s.buffer_bytes),
        s.descriptors.to_string(),
    ]);
    row
}

const LISTENER_HEAD: &[&str] = &["LISTENER", "ADDRESS", "ACCEPTED", "ACTIVE", "LIMIT", "UP", "DOWN"];

fn listener(l: &ListenerStatus) -> Vec<String> {
    let addresses = if l.addresses.is_empty() { "(removed)".to_owned() } else { l.addresses.join(" ") };
    vec![
        l.name.clone(),
        addresses,
        l.accepted.to_string(),
        l.active.to_string(),
        max(l.limit),
        size(l.bytes_up),
        size(l.bytes_down),
    ]
}

fn max(limit: LimitStatus) -> String {
    limit.max.map_or_else(|| "-".to_owned(), |max| max.to_string())
}

const CLUSTER_HEAD: &[&str] = &["CLUSTER", "ACTIVE", "LIMIT", "WAITING", "QUEUE", "QUEUED", "TIMED OUT", "REFUSED"];

fn has_limit_or_queue(c: &ClusterStatus) -> bool {
    c.limit.max.is_some() || c.queue_size > 0
}

fn cluster(c: &ClusterStatus) -> Vec<String> {
    vec![
        c.name.clone(),
        c.limit.live.to_string(),
        max(c.limit),
        c.limit.waiting.to_string(),
        c.queue_size.to_string(),
        c.queued.to_string(),
        c.queue_timeouts.to_string(),
        c.refused.to_string(),
    ]
}

const ENDPOINT_HEAD: &[&str] =
    &["CLUSTER", "ENDPOINT", "WEIGHT", "ACTIVE", "LIMIT", "CONNECTS", "FAILED", "UP", "DOWN", "SET ASIDE"];

fn endpoint(e: &EndpointStatus) -> Vec<String> {
    let aside = match e.set_aside_shards {
        0 => "no".to_owned(),
        1 => "by 1 shard".to_owned(),
        n => format!("by {n} shards"),
    };
    vec![
        e.cluster.clone(),
        e.address.clone(),
        e.weight.to_string(),
        e.active.to_string(),
        max(e.limit),
        e.connects.to_string(),
        e.connect_failures.to_string(),
        size(e.bytes_up),
        size(e.bytes_down),
        aside,
    ]
}

const NAME_HEAD: &[&str] = &["NAME", "ADDRESSES", "AGE", "NEXT TRY", "LAST ERROR"];

/// As many addresses as fit beside the rest.
const NAME_ADDRESSES_MAX: usize = 4;

fn name(n: &NameStatus) -> Vec<String> {
    let shown = n.addresses.iter().take(NAME_ADDRESSES_MAX).map(String::as_str);
    let mut addresses = shown.collect::<Vec<_>>().join(" ");
    match n.addresses.len() {
        0 => addresses = "none".to_owned(),
        more if more > NAME_ADDRESSES_MAX => addresses += &format!(" and {} more", more - NAME_ADDRESSES_MAX),
        _ => {}
    }
    let error = match (&n.last_error, n.failures) {
        (None, _) => "-".to_owned(),
        (Some(error), 0 | 1) => error.clone(),
        (Some(error), times) => format!("{error}, {times} times"),
    };
    let age = n.age_s.map_or_else(|| "-".to_owned(), time);
    vec![n.name.clone(), addresses, age, time(n.next_try_s), error]
}

/// Columns as wide as their widest cell; numbers to the right, words to the left.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|r| r[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    let head = head.iter().map(ToString::to_string).collect();
    for (index, row) in std::iter::once(&head).chain(&rows).enumerate() {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let sample = if index == 0 { rows.first().map_or(cell, |r| &r[column]) } else { cell };
            let width = widths[column];
            let right = column > 0 && sample.starts_with(|c: char| c.is_ascii_digit()) && !sample.contains(':');
            line += &if right { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// "532 B", "1.2 MiB".
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// "12 s", "3 min 5 s", "2 h 7 min", "40 d 3 h".
fn time(seconds: f64) -> String {
    let s = seconds.max(0.0) as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86400, s % 86400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!([size(0), size(1023), size(1536), size(5 << 30)], ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
        assert_eq!([time(0.4), time(61.0), time(3660.0), time(90_000.0)], ["0 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["web".into(), "9".into()], vec!["x".into(), "1234".into()]];
        assert_eq!(table(&["NAME", "N"], rows), "NAME     N\nweb      9\nx     1234\n");
    }

    #[test]
    fn a_name_is_shown_with_its_trouble() {
        let addresses = |count: usize| vec!["10.0.0.1".to_owned(); count];
        let good = NameStatus { name: "db".into(), addresses: addresses(6), age_s: Some(3.2), ..Default::default() };
        assert_eq!(name(&good)[1..], ["10.0.0.1 10.0.0.1 10.0.0.1 10.0.0.1 and 2 more", "3 s", "0 s", "-"]);
        let bad = NameStatus { last_error: Some("timeout (A)".into()), failures: 7, ..Default::default() };
        assert_eq!(name(&bad)[1..], ["none", "-", "0 s", "timeout (A), 7 times"]);
    }

    #[test]
    fn a_stalled_shard_shows_no_old_numbers() {
        let stalled =
            ShardStatus { state: "stalled".into(), driver: "uring".into(), accepted: 7, ..Default::default() };
        let row = shard(&stalled);
        assert_eq!(row.len(), SHARD_HEAD.len());
        assert!(row[4..].iter().all(|cell| cell == "-"));
    }
}
