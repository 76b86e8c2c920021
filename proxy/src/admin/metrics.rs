//! Metrics for Prometheus, put together at every scrape from the reports of the shards.
//!
//! No label comes from a client: shards, listeners, endpoints, names, reasons and buffer sizes are all bounded by the
//! configuration.

use super::http_metrics;
use super::status::{
    self, ClusterStatus, EndingStatus, EndpointStatus, LimitStatus, ListenerStatus, PerIpStatus, RoomStatus,
};
use crate::{
    control::{Control, Phase, ReloadCounts, fleet::Answer},
    dns::{NameReport, Verdict},
    process,
    report::{RungKind, RungReport, ShardReport},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, prometheus_text, text},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use std::{fmt, time::Duration};

/// The exposition formats, by the scraper's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    OpenMetrics,
    /// The classic text format, which also suits a person with curl.
    Text,
}

impl Format {
    pub(super) fn accepted_by(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Everything that one scrape shows.
#[derive(Debug)]
pub(super) struct Scrape {
    shards: Vec<Shard>,
    room: Option<RoomStatus>,
    listeners: Vec<ListenerStatus>,
    clusters: Vec<ClusterStatus>,
    endpoints: Vec<EndpointStatus>,
    names: Vec<NameReport>,
    endings: Vec<EndingStatus>,
    uptime: Duration,
    draining: bool,
    config_version: u64,
    needs_restart: usize,
    reloads: ReloadCounts,
    log_lines_dropped: u64,
    resident_bytes: Option<u64>,
    open_descriptors: Option<u64>,
}

#[derive(Debug)]
struct Shard {
    name: String,
    driver: &'static str,
    features: String,
    /// `None`: it did not answer in time, or has ended.
    report: Option<ShardReport>,
}

impl Scrape {
    pub(super) async fn gather(control: &Control) -> Self {
        let answers = control.fleet.reports().await;
        let shards: Vec<Shard> = control
            .fleet
            .links()
            .iter()
            .zip(answers)
            .map(|(link, answer)| Shard {
                name: link.shard().to_string(),
                driver: link.driver().name,
                features: link.driver().features.join(","),
                report: Answer::here(answer),
            })
            .collect();
        let reports: Vec<&ShardReport> = shards.iter().filter_map(|s| s.report.as_ref()).collect();
        let view = control.view();
        Self {
            room: status::room(control, &reports),
            listeners: status::listeners(control, &reports),
            clusters: status::clusters(control, &reports),
            endpoints: status::endpoints(control, &reports),
            names: control.dns.report(),
            endings: status::endings(&reports),
            shards,
            uptime: control.started.elapsed(),
            draining: matches!(control.phase(), Phase::Draining { .. }),
            config_version: view.as_ref().map_or(0, |v| v.snapshot.version),
            needs_restart: view.map_or(0, |v| v.needs_restart.len()),
            reloads: control.reloads(),
            log_lines_dropped: control.dropped_log_lines(),
            resident_bytes: process::resident_bytes(),
            open_descriptors: process::open_descriptors(),
        }
    }

    pub(super) fn text(self, format: Format) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        match format {
            Format::OpenMetrics => text::encode(&mut out, &registry)?,
            Format::Text => prometheus_text::encode(&mut out, &registry)?,
        }
        Ok(out)
    }
}

/// Buffer classes, smallest first, by their names in the configuration.
const CLASSES: [&str; 4] = ["small", "medium", "large", "huge"];

pub(super) type Labels = Vec<(&'static str, String)>;

/// Writes families one after another.
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    /// `name` goes without `_total`, which the encoder adds.
    pub(super) fn counter(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        self.family(name, help, rows.into_iter().map(|(l, v)| (l, ConstCounter::new(v))))
    }

    pub(super) fn gauge(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels, u64)>,
    ) -> fmt::Result {
        self.family(name, help, rows.into_iter().map(|(l, v)| (l, ConstGauge::new(v))))
    }

    fn seconds(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = (Labels, Duration)>) -> fmt::Result {
        let rows = rows.into_iter().map(|(l, v)| (l, ConstGauge::new(v.as_secs_f64())));
        self.family(name, help, rows)
    }

    /// Of what has a limit only: elsewhere the active connections say it all.
    fn limits(&mut self, what: &str, rows: &[(Labels, LimitStatus)]) -> fmt::Result {
        let limited = || rows.iter().filter_map(|(labels, limit)| Some((labels, limit, limit.max?)));
        let rows = limited().map(|(labels, _, max)| (labels.clone(), u64::from(max)));
        self.gauge(&format!("balance_{what}_connections_limit"), "Connections that may be, over all shards", rows)?;
        let rows = limited().map(|(labels, limit, _)| (labels.clone(), limit.live));
        self.gauge(&format!("balance_{what}_permits_live"), "Permits of the limit that connections hold", rows)?;
        let rows = limited().map(|(labels, limit, _)| (labels.clone(), limit.leased));
        let help = "Permits of the limit that shards have, for connections or in reserve";
        self.gauge(&format!("balance_{what}_permits_leased"), help, rows)
    }

    pub(super) fn family<M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl Iterator<Item = (Labels, M)>,
    ) -> fmt::Result {
        let mut rows = rows.peekable();
        let Some((_, first)) = rows.peek() else {
            return Ok(());
        };
        let mut family = self.0.encode_descriptor(name, help, None, first.metric_type())?;
        for (labels, value) in rows {
            value.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The value of a series without labels.
fn alone(value: u64) -> [(Labels, u64); 1] {
    [(Labels::new(), value)]
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.process(&mut page)?;
        self.config(&mut page)?;
        self.shards(&mut page)?;
        self.engines(&mut page)?;
        self.tasks(&mut page)?;
        self.buffers(&mut page)?;
        self.rungs(&mut page)?;
        self.room(&mut page)?;
        self.listeners(&mut page)?;
        self.clusters(&mut page)?;
        self.endpoints(&mut page)?;
        http_metrics::routes(&mut page, &self.listeners)?;
        http_metrics::endpoints(&mut page, &self.endpoints)?;
        http_metrics::errors(&mut page, self.shards.iter().filter_map(|s| Some(&s.report.as_ref()?.http)))?;
        self.names(&mut page)?;
        let endings = self.endings.iter().map(|e| (vec![("reason", e.reason.clone())], e.count));
        page.counter("balance_connections_ended", "Connections that ended, by reason", endings)
    }
}

impl Scrape {
    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        let build = vec![("version", crate::cli::VERSION.to_owned())];
        page.gauge("balance_build_info", "The version that runs", [(build, 1)])?;
        page.seconds("balance_uptime_seconds", "Time since the start of the process", [(Labels::new(), self.uptime)])?;
        if let Some(bytes) = self.resident_bytes {
            page.gauge("balance_process_resident_bytes", "Resident memory of the process", alone(bytes))?;
        }
        if let Some(count) = self.open_descriptors {
            let help = "Real descriptors that the process has open, without registered ones";
            page.gauge("balance_process_open_descriptors", help, alone(count))?;
        }
        let help = "Log lines that were dropped because standard error was too slow";
        page.counter("balance_log_lines_dropped", help, alone(self.log_lines_dropped))?;
        let help = "1 from the signal to drain on";
        page.gauge("balance_draining", help, alone(u64::from(self.draining)))
    }

    fn config(&self, page: &mut Page<'_>) -> fmt::Result {
        let help = "Version of the configuration in force, counted from 1 at the start";
        page.gauge("balance_config_version", help, alone(self.config_version))?;
        let help = "1 while the last load or reload was applied, 0 after one that was refused";
        let ok = u64::from(self.reloads.last_applied);
        page.gauge("balance_config_last_reload_success", help, alone(ok))?;
        let result = |name: &str| vec![("result", name.to_owned())];
        let rows = [(result("applied"), self.reloads.applied), (result("refused"), self.reloads.refused)];
        page.counter("balance_config_reloads", "Reloads since the start, by result", rows)?;
        let help = "Changed settings that wait for a restart";
        page.gauge("balance_config_needs_restart", help, alone(self.needs_restart as u64))
    }

    fn shards(&self, page: &mut Page<'_>) -> fmt::Result {
        let drivers = self.shards.iter().map(|s| {
            let labels =
                vec![("shard", s.name.clone()), ("driver", s.driver.to_owned()), ("features", s.features.clone())];
            (labels, 1)
        });
        page.gauge("balance_io_driver", "The driver of every shard and what it found in the kernel", drivers)?;
        let help = "1 while the shard answers in time";
        let up = self.shards.iter().map(|s| (vec![("shard", s.name.clone())], u64::from(s.report.is_some())));
        page.gauge("balance_shard_up", help, up)?;
        let help = "Version of the configuration that the shard runs";
        page.gauge("balance_shard_config_version", help, self.each(|r| r.snapshot_version))?;
        let help = "Connections that the shard accepted";
        let accepted = self.each(|r| r.listeners.iter().map(|l| l.accepted).sum());
        page.counter("balance_shard_connections_accepted", help, accepted)?;
        let help = "Connections that the shard has now";
        let active = self.each(|r| r.listeners.iter().map(|l| l.active).sum());
        page.gauge("balance_shard_connections_active", help, active)?;
        let help = "Bytes kept of ClientHellos that are not complete, at most; only listeners with routes read them";
        page.gauge("balance_shard_peeked_bytes", help, self.each(|r| r.peeked_bytes))?;
        let help = "Bytes that the shard forwarded; up is from clients to endpoints";
        let up = self.each_with("direction", "up", |r| r.listeners.iter().map(|l| l.bytes_up).sum());
        let down = self.each_with("direction", "down", |r| r.listeners.iter().map(|l| l.bytes_down).sum());
        page.counter("balance_shard_forwarded_bytes", help, up.chain(down))
    }

    fn engines(&self, page: &mut Page<'_>) -> fmt::Result {
        let help = "Passes of the shard's loop: wait, reap, run";
        page.counter("balance_loop_turns", help, self.each(|r| r.engine.loop_.turns))?;
        let help = "Completions reaped";
        page.counter("balance_loop_completions", help, self.each(|r| r.engine.loop_.completions))?;
        let help = "Turns that waited a little longer to reap more at once";
        page.counter("balance_loop_min_wait_turns", help, self.each(|r| r.engine.loop_.min_wait_turns))?;
        let help = "Receives that ended because no buffer was left";
        page.counter("balance_loop_starved", help, self.each(|r| r.engine.loop_.starved))?;
        let help = "Connections that wait for a buffer now";
        page.gauge("balance_loop_starved_connections", help, self.each(|r| r.engine.loop_.starved_now))?;
        let help = "Overflows of the completion queue";
        page.counter("balance_loop_cq_overflows", help, self.each(|r| r.engine.loop_.cq_overflows))?;
        let help = "Times accepting paused for want of descriptors, memory or admission";
        page.counter("balance_loop_accept_pauses", help, self.each(|r| r.engine.loop_.accept_pauses))?;
        let help = "Messages taken from the mailbox";
        page.counter("balance_loop_messages", help, self.each(|r| r.engine.loop_.messages))?;
        let help = "Longest turn seen in the sampled ones";
        page.seconds("balance_loop_slowest_turn_seconds", help, self.each(|r| r.engine.loop_.slowest_turn))?;
        let help = "Operations whose last completion is not in yet";
        page.gauge("balance_ops_in_flight", help, self.each(|r| r.engine.ops_in_flight))?;
        let help = "Descriptors of the shard, registered and real";
        page.gauge("balance_shard_descriptors", help, self.each(|r| r.engine.descriptors))?;
        page.gauge("balance_timers", "Timers that are set", self.each(|r| r.engine.timers))
    }

    fn tasks(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauge("balance_tasks_live", "Tasks now", self.each(|r| r.engine.tasks.live))?;
        page.gauge("balance_tasks_queued", "Tasks that wait for admission", self.each(|r| r.engine.tasks.queued))?;
        page.counter("balance_tasks_spawned", "Tasks started", self.each(|r| r.engine.tasks.spawned))?;
        page.counter("balance_tasks_ended", "Tasks ended", self.each(|r| r.engine.tasks.ended))?;
        let help = "Tasks ended by a panic, each a bug";
        page.counter("balance_tasks_panicked", help, self.each(|r| r.engine.tasks.panicked))?;
        let help = "Tasks ended by their deadline";
        page.counter("balance_tasks_expired", help, self.each(|r| r.engine.tasks.expired))?;
        let help = "Tasks refused because the table and its queue were full";
        page.counter("balance_tasks_refused", help, self.each(|r| r.engine.tasks.refused))?;
        page.counter("balance_task_polls", "Polls of tasks", self.each(|r| r.engine.tasks.polls))?;
        let help = "Polls that spent their work budget";
        page.counter("balance_task_yields", help, self.each(|r| r.engine.tasks.yielded))?;
        let help = "Slowest poll seen in the sampled turns";
        page.seconds("balance_task_slowest_poll_seconds", help, self.each(|r| r.engine.tasks.slowest_poll))
    }

    fn buffers(&self, page: &mut Page<'_>) -> fmt::Result {
        page.gauge("balance_buffers_size_bytes", "Size of a buffer, by class", self.each_class(|c| c.size))?;
        let help = "Buffers handed out now, by class";
        page.gauge("balance_buffers_in_use", help, self.each_class(|c| c.in_use))?;
        let help = "Buffers allocated, in use or free, by class";
        page.gauge("balance_buffers_capacity", help, self.each_class(|c| c.capacity))?;
        let help = "Buffers handed out since the start, by class";
        page.counter("balance_buffers_taken", help, self.each_class(|c| c.taken_total))?;
        let help = "Buffers refused by the process-wide cap, by class";
        page.counter("balance_buffers_refused", help, self.each_class(|c| c.refused_total))?;
        let help = "Small buffers lent to the receive ring";
        page.gauge("balance_buffers_ring", help, self.each(|r| r.engine.buffers.ring))?;
        let help = "Bytes of the process-wide buffer cap that the shard holds";
        page.gauge("balance_buffers_leased_bytes", help, self.each(|r| r.engine.buffers.leased_bytes))?;
        let help = "Bytes registered with io_uring for zero-copy sends, for each ring";
        page.gauge("balance_buffers_registered_bytes", help, self.each(|r| r.engine.buffers.registered_bytes))?;
        let help = "Rings with which no memory could be registered for zero-copy sends";
        page.counter(
            "balance_buffers_registrations_refused",
            help,
            self.each(|r| r.engine.buffers.registrations_refused),
        )
    }

    fn rungs(&self, page: &mut Page<'_>) -> fmt::Result {
        let each = |value: fn(&RungReport) -> u64| {
            RungKind::ALL.into_iter().flat_map(move |rung| {
                self.each_with("rung", rung.as_str(), move |r| value(&r.rungs[rung as usize])).collect::<Vec<_>>()
            })
        };
        let help = "Bytes forwarded, by the rung of the forwarding ladder that moved them";
        page.counter("balance_rung_bytes", help, each(|r| r.bytes))?;
        let help = "Directions of connections that came to a rung from another";
        page.counter("balance_rung_entered", help, each(|r| r.entered))?;
        let help = "Changes to a rung that could not be made for want of descriptors or pipes";
        page.counter("balance_rung_refused", help, each(|r| r.refused))?;
        let help = "Zero-copy sends that copied nothing, by the kernel's notification";
        page.counter("balance_rung_zero_copied", help, each(|r| r.zero_copied))?;
        let help = "Zero-copy sends that the kernel copied after all";
        page.counter("balance_rung_copied", help, each(|r| r.copied))?;
        let help = "Zero-copy sends, of both kinds, from memory that was registered with the ring before";
        page.counter("balance_rung_registered", help, each(|r| r.registered))?;
        let help = "Directions that gave zero copy up because it was none";
        page.counter("balance_rung_switched_off", help, each(|r| r.switched_off))?;
        let help = "Pipes with bytes in them now";
        page.gauge("balance_pipes_in_use", help, self.each(|r| r.engine.pipes.in_use))?;
        page.gauge("balance_pipes_idle", "Empty pipes kept", self.each(|r| r.engine.pipes.idle))?;
        page.counter("balance_pipes_taken", "Pipes borrowed", self.each(|r| r.engine.pipes.taken_total))?;
        let help = "Pipes not had: descriptors or the cap were used up";
        page.counter("balance_pipes_refused", help, self.each(|r| r.engine.pipes.refused_total))?;
        let help = "Larger pipe sizes that the kernel refused";
        page.counter("balance_pipes_size_refused", help, self.each(|r| r.engine.pipes.size_refused_total))
    }

    fn names(&self, page: &mut Page<'_>) -> fmt::Result {
        let label = |n: &NameReport| vec![("name", n.name.to_string())];
        let help = "Attempts to resolve a name of an endpoint, by result; A and AAAA count each";
        let results = self.names.iter().flat_map(|n| {
            let row = move |(verdict, count): (Verdict, u64)| {
                let mut labels = label(n);
                labels.push(("result", verdict.as_str().to_owned()));
                (labels, count)
            };
            Verdict::ALL.into_iter().zip(n.results).map(row)
        });
        page.counter("balance_dns_resolutions", help, results)?;
        let help = "Addresses that a name has now";
        page.gauge("balance_dns_addresses", help, self.names.iter().map(|n| (label(n), n.addresses.len() as u64)))?;
        let help = "Time since an answer confirmed the addresses of a name";
        let ages = self.names.iter().filter_map(|n| Some((label(n), n.age?)));
        page.seconds("balance_dns_age_seconds", help, ages)?;
        let help = "Failures in a row; 0 while a name can be resolved";
        page.gauge("balance_dns_failures_in_a_row", help, self.names.iter().map(|n| (label(n), u64::from(n.streak))))?;
        let help = "Time until a name is asked for again";
        page.seconds("balance_dns_next_try_seconds", help, self.names.iter().map(|n| (label(n), n.next_try)))
    }

    fn listeners(&self, page: &mut Page<'_>) -> fmt::Result {
        let each = |value: fn(&ListenerStatus) -> u64| {
            self.listeners.iter().map(move |l| (vec![("listener", l.name.clone())], value(l)))
        };
        let help = "Connections accepted by the listener";
        page.counter("balance_listener_connections_accepted", help, each(|l| l.accepted))?;
        let help = "Connections that the listener has now";
        page.gauge("balance_listener_connections_active", help, each(|l| l.active))?;
        let limits = self.listeners.iter().map(|l| (vec![("listener", l.name.clone())], l.limit));
        page.limits("listener", &limits.collect::<Vec<_>>())?;
        let help = "Accept loops that wait until the listener is below its limit";
        page.gauge("balance_listener_accept_paused", help, each(|l| l.limit.waiting))?;
        let help = "Times an accept loop paused because the listener was at its limit";
        page.counter("balance_listener_limit_pauses", help, each(|l| l.limit_pauses))?;
        let help = "Connections by the cluster that they were led to, and by what: a route, or that none matched";
        let routed = self.listeners.iter().flat_map(|l| {
            l.routed.iter().map(|r| {
                let of = |label, value: &str| (label, value.to_owned());
                (vec![of("listener", &l.name), of("cluster", &r.cluster), of("by", &r.by)], r.count)
            })
        });
        page.counter("balance_listener_connections_routed", help, routed)?;
        self.per_ip(page)?;
        let help = "Bytes forwarded for the listener; up is from clients to endpoints";
        let direction = |name: &'static str, rows: Vec<(Labels, u64)>| {
            rows.into_iter().map(move |(mut labels, value)| {
                labels.push(("direction", name.to_owned()));
                (labels, value)
            })
        };
        let up = direction("up", each(|l| l.bytes_up).collect());
        let down = direction("down", each(|l| l.bytes_down).collect());
        page.counter("balance_listener_forwarded_bytes", help, up.chain(down))
    }

    fn clusters(&self, page: &mut Page<'_>) -> fmt::Result {
        let each = |value: fn(&ClusterStatus) -> u64| {
            self.clusters.iter().map(move |c| (vec![("cluster", c.name.clone())], value(c)))
        };
        let limits = self.clusters.iter().map(|c| (vec![("cluster", c.name.clone())], c.limit));
        page.limits("cluster", &limits.collect::<Vec<_>>())?;
        let help = "Connections in the cluster's queue now";
        page.gauge("balance_cluster_queue_waiting", help, each(|c| c.limit.waiting))?;
        let help = "Connections that had to wait in the queue, whatever became of them";
        page.counter("balance_cluster_queued", help, each(|c| c.queued))?;
        let help = "Connections that left the queue because their time was over";
        page.counter("balance_cluster_queue_timeouts", help, each(|c| c.queue_timeouts))?;
        let help = "Connections over a limit that found no place in the queue";
        page.counter("balance_cluster_limit_refused", help, each(|c| c.refused))
    }

    /// Only where connections take real descriptors.
    fn room(&self, page: &mut Page<'_>) -> fmt::Result {
        let each = |value: fn(&RoomStatus) -> u64| self.room.iter().map(move |room| (Vec::new(), value(room)));
        let rows: Vec<_> = self.room.iter().map(|room| (Vec::new(), room.limit)).collect();
        page.limits("process", &rows)?;
        let help = "Times an accept loop paused because the process has no descriptors for another connection";
        page.counter("balance_process_descriptor_pauses", help, each(|r| r.pauses))
    }

    fn per_ip(&self, page: &mut Page<'_>) -> fmt::Result {
        let each = |value: fn(&PerIpStatus) -> u64| {
            let limited = self.listeners.iter().filter_map(|l| Some((l, l.per_ip.as_ref()?)));
            limited.map(move |(l, per_ip)| (vec![("listener", l.name.clone())], value(per_ip)))
        };
        let help = "Memory of the limits by address, all there will ever be";
        page.gauge("balance_listener_per_ip_memory_bytes", help, each(|p| p.memory_bytes))?;
        let result = |name: &'static str, rows: Vec<(Labels, u64)>| {
            rows.into_iter().map(move |(mut labels, value)| {
                labels.push(("result", name.to_owned()));
                (labels, value)
            })
        };
        let admitted = result("admitted", each(|p| p.overflow_admitted).collect());
        let refused = result("refused", each(|p| p.overflow_refused).collect());
        let help = "Connections judged by counters that addresses share, because per_ip.entries_max were in use";
        page.counter("balance_listener_per_ip_overflow", help, admitted.chain(refused))
    }

    fn endpoints(&self, page: &mut Page<'_>) -> fmt::Result {
        let labels = |e: &EndpointStatus| vec![("cluster", e.cluster.clone()), ("endpoint", e.address.clone())];
        let each = |value: fn(&EndpointStatus) -> u64| self.endpoints.iter().map(move |e| (labels(e), value(e)));
        let help = "Connections that the endpoint has now";
        page.gauge("balance_endpoint_connections_active", help, each(|e| e.active))?;
        let limits: Vec<_> = self.endpoints.iter().map(|e| (labels(e), e.limit)).collect();
        page.limits("endpoint", &limits)?;
        page.counter("balance_endpoint_connects", "Connects that worked", each(|e| e.connects))?;
        let help = "Connects that failed";
        page.counter("balance_endpoint_connect_failures", help, each(|e| e.connect_failures))?;
        let help = "Shards that pass the endpoint over after a failed connect";
        page.gauge("balance_endpoint_set_aside_shards", help, each(|e| e.set_aside_shards))?;
        page.gauge("balance_endpoint_weight", "Weight of the endpoint", each(|e| u64::from(e.weight)))?;
        let help = "Bytes forwarded to (up) and from (down) the endpoint";
        let rows = self.endpoints.iter().flat_map(|e| {
            [("up", e.bytes_up), ("down", e.bytes_down)].map(|(direction, bytes)| {
                let mut labels = labels(e);
                labels.push(("direction", direction.to_owned()));
                (labels, bytes)
            })
        });
        page.counter("balance_endpoint_forwarded_bytes", help, rows)
    }

    fn each<T>(&self, value: impl Fn(&ShardReport) -> T) -> impl Iterator<Item = (Labels, T)> {
        self.shards.iter().filter_map(move |s| s.report.as_ref().map(|r| (vec![("shard", s.name.clone())], value(r))))
    }

    fn each_with(
        &self,
        label: &'static str,
        name: &'static str,
        value: impl Fn(&ShardReport) -> u64,
    ) -> impl Iterator<Item = (Labels, u64)> {
        self.each(value).map(move |(mut labels, value)| {
            labels.push((label, name.to_owned()));
            (labels, value)
        })
    }

    fn each_class(
        &self,
        value: fn(&balance_engine::stats::BufferClassStats) -> u64,
    ) -> impl Iterator<Item = (Labels, u64)> {
        self.each(move |r| r.engine.buffers.classes).flat_map(move |(labels, classes)| {
            CLASSES.iter().zip(classes).map(move |(name, class)| {
                let mut labels = labels.clone();
                labels.push(("class", (*name).to_owned()));
                (labels, value(&class))
            })
        })
    }
}
