//! The state of the process as one document: what `/status` sends and `balance-shard status` reads.

use crate::{
    control::{Control, Phase, fleet::Answer},
    dns::{NameReport, Verdict},
    link::ShardLink,
    per_ip::{Addresses, OverflowCounts},
    permits::Limit,
    process,
    report::{EndpointHttpReport, Reason, RoomReport, RouteReport, RoutedReport, ShardReport},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::Instant;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) uptime_s: f64,
    /// "starting", "running" or "draining".
    pub(crate) phase: String,
    /// While draining: until connections are cut.
    pub(crate) drain_left_s: Option<f64>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) config: ConfigStatus,
    pub(crate) shards: Vec<ShardStatus>,
    /// Where connections take two real descriptors each: how many the process has some for.
    pub(crate) room: Option<RoomStatus>,
    pub(crate) listeners: Vec<ListenerStatus>,
    pub(crate) clusters: Vec<ClusterStatus>,
    pub(crate) endpoints: Vec<EndpointStatus>,
    /// Those that endpoints have in the configuration.
    pub(crate) names: Vec<NameStatus>,
    pub(crate) endings: Vec<EndingStatus>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ConfigStatus {
    pub(crate) source: String,
    pub(crate) version: u64,
    pub(crate) applied_at_unix: u64,
    pub(crate) last_reload_applied: bool,
    pub(crate) reloads_applied: u64,
    pub(crate) reloads_refused: u64,
    pub(crate) needs_restart: Vec<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ShardStatus {
    pub(crate) shard: u16,
    /// `None`: not pinned.
    pub(crate) core: Option<u16>,
    pub(crate) driver: String,
    pub(crate) features: Vec<String>,
    /// "running", "draining", "stalled" (no answer in time) or "ended". Only the first two come with numbers.
    pub(crate) state: String,
    pub(crate) config_version: u64,
    pub(crate) accepted: u64,
    pub(crate) active: u64,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
    pub(crate) tasks: u64,
    pub(crate) ops_in_flight: u64,
    pub(crate) descriptors: u64,
    pub(crate) buffer_bytes: u64,
    pub(crate) turns: u64,
    pub(crate) slowest_poll_us: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ListenerStatus {
    pub(crate) name: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) accepted: u64,
    pub(crate) active: u64,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
    pub(crate) limit: LimitStatus,
    /// Times that accepting paused because of it.
    pub(crate) limit_pauses: u64,
    /// Where its routes have led.
    pub(crate) routed: Vec<RoutedStatus>,
    /// Of HTTP, what its routes have served. For metrics.
    #[serde(skip)]
    pub(crate) routes: Vec<RouteReport>,
    /// Where connections are limited by address.
    pub(crate) per_ip: Option<PerIpStatus>,
}

/// Connections that went to a cluster, by a route or because none matched.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RoutedStatus {
    pub(crate) cluster: String,
    /// "route" or "default".
    pub(crate) by: String,
    pub(crate) count: u64,
}

/// The memory of `per_ip`. Who was refused is among the endings, `ip_connections` and `ip_rate`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct PerIpStatus {
    pub(crate) memory_bytes: u64,
    /// Connections admitted and refused by counters that addresses share, because `entries_max` were in use. Zero as
    /// long as that is large enough.
    pub(crate) overflow_admitted: u64,
    pub(crate) overflow_refused: u64,
}

/// How many connections there are descriptors for, by `ulimit -n`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RoomStatus {
    pub(crate) limit: LimitStatus,
    /// Times that accepting paused because of it.
    pub(crate) pauses: u64,
}

/// `max_connections`, and what there is of it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LimitStatus {
    /// `None`: unlimited.
    pub(crate) max: Option<u32>,
    /// Permits that shards have, for connections or in reserve.
    pub(crate) leased: u64,
    /// Permits that connections hold.
    pub(crate) live: u64,
    /// Who waits: connections in the queue of a cluster, accept loops of a listener. Those of an endpoint wait in the
    /// queue of its cluster.
    pub(crate) waiting: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ClusterStatus {
    pub(crate) name: String,
    pub(crate) limit: LimitStatus,
    pub(crate) queue_size: u32,
    /// Connections that had to wait.
    pub(crate) queued: u64,
    pub(crate) refused: u64,
    pub(crate) queue_timeouts: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct EndpointStatus {
    pub(crate) cluster: String,
    pub(crate) address: String,
    pub(crate) weight: u16,
    pub(crate) active: u64,
    pub(crate) connects: u64,
    pub(crate) connect_failures: u64,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
    /// Shards that pass it over for now.
    pub(crate) set_aside_shards: u64,
    pub(crate) limit: LimitStatus,
    /// For metrics.
    #[serde(skip)]
    pub(crate) http: Option<Box<EndpointHttpReport>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct NameStatus {
    pub(crate) name: String,
    pub(crate) addresses: Vec<String>,
    /// Since an answer last confirmed the addresses. `None`: there are none.
    pub(crate) age_s: Option<f64>,
    /// Why the latest attempt failed, such as "timeout (AAAA)". `None`: it did not.
    pub(crate) last_error: Option<String>,
    /// Failures in a row.
    pub(crate) failures: u32,
    /// How often each result came, of those that did.
    pub(crate) resolutions: BTreeMap<String, u64>,
    pub(crate) next_try_s: f64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct EndingStatus {
    pub(crate) reason: String,
    pub(crate) count: u64,
}

/// Asks every shard and writes down what they say.
pub(crate) async fn gather(control: &Control) -> Status {
    let answers = control.fleet.reports().await;
    let shards = control.fleet.links().iter().zip(&answers).map(|(l, a)| shard(&**l, a)).collect();
    let reports: Vec<&ShardReport> = answers.iter().filter_map(Answer::get).collect();
    let phase = control.phase();
    Status {
        version: crate::cli::VERSION.to_owned(),
        pid: std::process::id(),
        uptime_s: seconds(control.started.elapsed()),
        phase: phase.as_str().to_owned(),
        drain_left_s: drain_left(phase),
        memory_bytes: process::resident_bytes(),
        config: config(control),
        shards,
        room: room(control, &reports),
        listeners: listeners(control, &reports),
        clusters: clusters(control, &reports),
        endpoints: endpoints(control, &reports),
        names: control.dns.report().iter().map(name).collect(),
        endings: endings(&reports),
    }
}

/// Milliseconds are enough for a person, and JSON stays short.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

fn drain_left(phase: Phase) -> Option<f64> {
    match phase {
        Phase::Draining { deadline, .. } => Some(seconds(deadline.saturating_duration_since(Instant::now()))),
        Phase::Starting | Phase::Running => None,
    }
}

fn config(control: &Control) -> ConfigStatus {
    let reloads = control.reloads();
    let view = control.view();
    let unix = |t: SystemTime| t.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    ConfigStatus {
        source: control.source_name(),
        version: view.as_ref().map_or(0, |v| v.snapshot.version),
        applied_at_unix: view.as_ref().map_or(0, |v| unix(v.at)),
        last_reload_applied: reloads.last_applied,
        reloads_applied: reloads.applied,
        reloads_refused: reloads.refused,
        needs_restart: view.map_or_else(Vec::new, |v| v.needs_restart.clone()),
    }
}

fn shard(link: &dyn ShardLink, answer: &Answer<ShardReport>) -> ShardStatus {
    let known = ShardStatus {
        shard: link.shard(),
        core: link.core(),
        driver: link.driver().name.to_owned(),
        features: link.driver().features.iter().map(|f| (*f).to_owned()).collect(),
        ..ShardStatus::default()
    };
    let report = match answer {
        Answer::Stalled => return ShardStatus { state: "stalled".to_owned(), ..known },
        Answer::Ended => return ShardStatus { state: "ended".to_owned(), ..known },
        Answer::Here(report) => report,
    };
    let engine = &report.engine;
    ShardStatus {
        state: if report.draining { "draining" } else { "running" }.to_owned(),
        config_version: report.snapshot_version,
        accepted: report.listeners.iter().map(|l| l.accepted).sum(),
        active: report.listeners.iter().map(|l| l.active).sum(),
        bytes_up: report.listeners.iter().map(|l| l.bytes_up).sum(),
        bytes_down: report.listeners.iter().map(|l| l.bytes_down).sum(),
        tasks: engine.tasks.live,
        ops_in_flight: engine.ops_in_flight,
        descriptors: engine.descriptors,
        buffer_bytes: engine.buffers.classes.iter().map(|c| c.in_use * c.size).sum(),
        turns: engine.loop_.turns,
        slowest_poll_us: u64::try_from(engine.tasks.slowest_poll.as_micros()).unwrap_or(u64::MAX),
        ..known
    }
}

/// All shards together, in the configuration's order; then listeners that are gone and still have connections.
pub(super) fn listeners(control: &Control, reports: &[&ShardReport]) -> Vec<ListenerStatus> {
    let mut rows: Vec<ListenerStatus> = Vec::new();
    let mut index: HashMap<Arc<str>, usize> = HashMap::new();
    let mut at = |name: &Arc<str>, rows: &mut Vec<ListenerStatus>| {
        *index.entry(name.clone()).or_insert_with(|| {
            rows.push(ListenerStatus { name: name.to_string(), ..Default::default() });
            rows.len() - 1
        })
    };
    if let Some(view) = control.view() {
        for (name, address) in &view.listening {
            let row = at(name, &mut rows);
            rows[row].addresses.push(address.to_string());
        }
        for listener in &view.snapshot.listeners {
            let row = at(&listener.name, &mut rows);
            rows[row].limit = limit(&listener.limit);
            rows[row].limit.waiting = listener.limit.waits().len() as u64;
            rows[row].per_ip = listener.per_ip.as_ref().map(|per_ip| self::per_ip(&per_ip.addresses));
        }
    }
    for from in reports.iter().flat_map(|r| &r.listeners) {
        let row = at(&from.name, &mut rows);
        let row = &mut rows[row];
        row.accepted += from.accepted;
        row.active += from.active;
        row.limit.live += from.live;
        row.limit_pauses += from.limit_pauses;
        row.bytes_up += from.bytes_up;
        row.bytes_down += from.bytes_down;
        for route in &from.routes {
            match row.routes.iter_mut().find(|row| row.name == route.name) {
                Some(row) => row.requests.add(&route.requests),
                None => row.routes.push(route.clone()),
            }
        }
        for routed in &from.routed {
            add_routed(&mut row.routed, routed);
        }
    }
    rows
}

fn add_routed(rows: &mut Vec<RoutedStatus>, from: &RoutedReport) {
    let is_it = |row: &RoutedStatus| row.cluster == *from.cluster && row.by == from.by.as_str();
    let at = rows.iter().position(is_it).unwrap_or_else(|| {
        rows.push(RoutedStatus { cluster: from.cluster.to_string(), by: from.by.as_str().to_owned(), count: 0 });
        rows.len() - 1
    });
    rows[at].count += from.count;
}

pub(super) fn room(control: &Control, reports: &[&ShardReport]) -> Option<RoomStatus> {
    let sum = |a: RoomReport, b: RoomReport| RoomReport { live: a.live + b.live, pauses: a.pauses + b.pauses };
    let RoomReport { live, pauses } = reports.iter().filter_map(|r| r.room).reduce(sum)?;
    let of = control.descriptors.limit();
    let waiting = of.waits().len() as u64;
    Some(RoomStatus { limit: LimitStatus { live, waiting, ..limit(of) }, pauses })
}

fn per_ip(addresses: &Addresses) -> PerIpStatus {
    let OverflowCounts { admitted, refused } = addresses.overflow_counts();
    PerIpStatus {
        memory_bytes: addresses.memory_bytes() as u64,
        overflow_admitted: admitted,
        overflow_refused: refused,
    }
}

fn limit(limit: &Limit) -> LimitStatus {
    LimitStatus { max: limit.max(), leased: limit.leased(), ..LimitStatus::default() }
}

/// All shards together, in the configuration's order.
pub(super) fn clusters(control: &Control, reports: &[&ShardReport]) -> Vec<ClusterStatus> {
    let Some(view) = control.view() else { return Vec::new() };
    let mut rows = Vec::with_capacity(view.snapshot.clusters.len());
    let mut index = HashMap::new();
    for cluster in &view.snapshot.clusters {
        index.insert(&cluster.name, rows.len());
        let waiting = cluster.limit.waits().len() as u64;
        rows.push(ClusterStatus {
            name: cluster.name.to_string(),
            limit: LimitStatus { waiting, ..limit(&cluster.limit) },
            queue_size: cluster.queue.size,
            ..Default::default()
        });
    }
    for from in reports.iter().flat_map(|r| &r.clusters) {
        // A shard that has not taken the newest snapshot yet may name one that is gone.
        let Some(at) = index.get(&from.name) else { continue };
        let row: &mut ClusterStatus = &mut rows[*at];
        row.limit.live += from.live;
        row.queued += from.queued;
        row.refused += from.refused;
        row.queue_timeouts += from.queue_timeouts;
    }
    rows
}

/// All shards together, in the order in which shards name them.
pub(super) fn endpoints(control: &Control, reports: &[&ShardReport]) -> Vec<EndpointStatus> {
    let view = control.view();
    let configured = view.iter().flat_map(|v| &v.snapshot.clusters);
    let limits: HashMap<_, _> =
        configured.flat_map(|c| c.endpoints.iter().map(move |e| ((&c.name, &e.address), &e.limit))).collect();
    let mut rows: Vec<EndpointStatus> = Vec::new();
    let mut index = HashMap::new();
    for from in reports.iter().flat_map(|r| &r.endpoints) {
        let at = *index.entry((from.cluster.clone(), from.address.clone())).or_insert_with(|| {
            rows.push(EndpointStatus {
                cluster: from.cluster.to_string(),
                address: from.address.to_string(),
                weight: from.weight,
                limit: limits.get(&(&from.cluster, &from.address)).map_or_else(Default::default, |l| limit(l)),
                ..Default::default()
            });
            rows.len() - 1
        });
        let row = &mut rows[at];
        row.active += from.active;
        row.limit.live += from.live;
        row.connects += from.connects;
        row.connect_failures += from.connect_failures;
        row.bytes_up += from.bytes_up;
        row.bytes_down += from.bytes_down;
        row.set_aside_shards += u64::from(from.set_aside);
        if let Some(http) = &from.http {
            row.http.get_or_insert_default().add(http);
        }
    }
    rows
}

fn name(from: &NameReport) -> NameStatus {
    let counted = Verdict::ALL.into_iter().zip(from.results).filter(|(_, count)| *count > 0);
    NameStatus {
        name: from.name.to_string(),
        addresses: from.addresses.iter().map(ToString::to_string).collect(),
        age_s: from.age.map(seconds),
        last_error: from.failing.map(|(record, verdict)| format!("{} ({record})", verdict.as_str())),
        failures: from.streak,
        resolutions: counted.map(|(verdict, count)| (verdict.as_str().to_owned(), count)).collect(),
        next_try_s: seconds(from.next_try),
    }
}

pub(super) fn endings(reports: &[&ShardReport]) -> Vec<EndingStatus> {
    let count = |reason: Reason| {
        let all = reports.iter().flat_map(|r| &r.endings);
        all.filter(|(r, _)| *r == reason).map(|(_, n)| n).sum()
    };
    Reason::ALL.iter().map(|r| EndingStatus { reason: r.as_str().to_owned(), count: count(*r) }).collect()
}
