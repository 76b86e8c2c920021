//! The report as one JSON object. Its keys are a promise to scripts.
//!
//! ```text
//! { bench, version, commit (null: not a release build), machine: {kernel, cpu, cores, memory_bytes},
//!   settings: {…everything that was asked for…},
//!   proxy: { to, requests, errors: {KIND: count, total, examples: {KIND: text}}, statuses: {STATUS: count}, latency_us, …every figure that is printed…,
//!            client_bound: bool, client_bound_because: [text], client: {cpu_shares, lag_us} },
//!   series: [ { t_s, span_s, requests, errors, bytes, p50_us, p99_us, p999_us, max_us, cpu_s, target_cpu_s } ],
//!   latency: { raw_us, corrected_us, raw_hdr, corrected_hdr },
//!   client_bound: bool,
//!   direct: as `proxy`, and with its own series and latency,     where --backend was given
//!   difference: {…proxy less direct…} }
//! ```
//!
//! * `series`: seconds of the measured time; `t_s` is the end of each, counted from its beginning, `span_s` how long it
//!   was (the last may be shorter), `bytes` both ways, `cpu_s` of the load generator's shards, `target_cpu_s` of --pid
//!   (null without). Its latencies are corrected ones where the load has a schedule; null where nothing was answered.
//! * `latency.raw_*` is from the actual send, `latency.corrected_*` from the intended one. In a closed loop nothing is
//!   intended: `corrected_us` and `corrected_hdr` are null there. `*_hdr` are histograms in nanoseconds, HdrHistogram's
//!   compressed V2 in base 64 ("HISTFAAA…").
//! * `latency_us` is what is printed as latency: corrected in an open loop, raw in a closed one.
//! * `statuses` is null where there are none, as in TCP. Of `bench latency` there are `targets` and `distribution`, too.

use super::{Outcome, Report, latencies};
use crate::{
    hdr, latency, machine,
    plan::{Bytes, Limit, Plan, Protocol},
    series::Point,
};
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use std::time::UNIX_EPOCH;

impl Report {
    pub(crate) fn json(&self) -> Value {
        let mut report = json!({
            "bench": self.bench,
            "version": env!("CARGO_PKG_VERSION"),
            "commit": machine::COMMIT,
            "machine": machine::json(),
            "settings": settings(&self.proxy),
            "proxy": outcome(&self.proxy),
            "series": series(&self.proxy),
            "latency": latencies_and_histograms(&self.proxy),
            "client_bound": !self.proxy.client_bound().is_empty(),
            "interrupted": self.proxy.interrupted,
            "started_unix_s": self.proxy.started.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        });
        if !self.targets.is_empty() {
            latency::add_json(self, &self.targets, &mut report);
        }
        if let Some(direct) = &self.direct {
            report["direct"] = outcome(direct);
            report["direct"]["series"] = series(direct);
            report["direct"]["latency"] = latencies_and_histograms(direct);
            report["difference"] = difference(&self.proxy, direct);
        }
        report
    }
}

pub(crate) fn settings(outcome: &Outcome) -> Value {
    let plan = &outcome.plan;
    json!({
        "mode": plan.mode.name(),
        "connections": plan.connections,
        "halves": plan.halves,
        "size": plan.size,
        "duration_s": if let Limit::After(duration) = plan.limit { Some(duration.as_secs_f64()) } else { None },
        "requests": if let Limit::Requests(requests) = plan.limit { Some(requests) } else { None },
        "warm_s": plan.warm.as_secs_f64(),
        "timeout_s": plan.timeout.as_secs_f64(),
        "rate": plan.rate,
        "loop": if plan.rate.is_some() { "open" } else { "closed" },
        "http": http(plan),
        "sources": plan.sources.len(),
        "bytes_checked": plan.bytes == Bytes::Checked,
        "cores": outcome.cores,
        "io": outcome.driver,
    })
}

fn http(plan: &Plan) -> Value {
    let Protocol::Http(http) = &plan.protocol else { return Value::Null };
    json!({
        "url": http.url,
        "urls": http.requests.iter().map(Vec::len).sum::<usize>(),
        "method": http.form.method,
        "headers": http.form.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>(),
        "body_bytes": http.form.body.len(),
        "pipeline": http.pipeline,
        "keep_alive": http.keep_alive,
    })
}

pub(super) fn outcome(outcome: &Outcome) -> Value {
    let tally = &outcome.tally;
    let mut value = json!({
        "to": targets(&outcome.plan),
        "connections": {
            "asked": outcome.plan.connections,
            "established": tally.connected,
            "open_at_end": tally.open,
        },
        "requests": tally.requests,
        "statuses": statuses(outcome),
        "unfinished": tally.unfinished,
        "requests_per_s": outcome.rate(tally.requests),
        "out": traffic(outcome, tally.bytes_out),
        "in": traffic(outcome, tally.bytes_in),
        "errors": errors(outcome),
        "unsent": tally.unsent,
        "latency_us": histogram(tally.waits()),
        "connect_us": histogram(&tally.connect),
        "client_bound": !outcome.client_bound().is_empty(),
        "client_bound_because": outcome.client_bound(),
        "client": { "cpu_shares": outcome.cpu_shares(), "lag_us": histogram(&tally.lag) },
        "client_cpu_s": outcome.cpu.as_secs_f64(),
        "requests_per_cpu_s": outcome.requests_per_cpu_second(),
        "target_cpu_s": outcome.target_cpu.map(|cpu| cpu.as_secs_f64()),
        "target_busiest_thread": outcome.busiest_thread.as_ref().map(|thread| json!({
            "name": thread.name,
            "share": thread.used.as_secs_f64() / tally.measured.as_secs_f64().max(1e-9),
        })),
        "target_cpu_us_per_request": outcome.target_micros_per_request(),
        "target_cpu_s_per_gb": if outcome.plan.mode.is_stream() { outcome.target_seconds_per_gb() } else { None },
        "wall_s": tally.measured.as_secs_f64(),
    });
    if let Some(first) = tally.errors.first_corruption {
        value["first_corruption"] = json!({ "connection": first.connection, "position": first.position });
    }
    value
}

fn series(outcome: &Outcome) -> Value {
    outcome.points.iter().map(point).collect()
}

fn point(point: &Point) -> Value {
    let us = |nanos: u64| (point.requests > 0).then_some(nanos as f64 / 1e3);
    json!({
        "t_s": point.end.as_secs_f64(),
        "span_s": point.span.as_secs_f64(),
        "requests": point.requests,
        "errors": point.errors,
        "bytes": point.bytes,
        "p50_us": us(point.p50),
        "p99_us": us(point.p99),
        "p999_us": us(point.p999),
        "max_us": us(point.max),
        "cpu_s": point.cpu.as_secs_f64(),
        "target_cpu_s": point.target_cpu.map(|cpu| cpu.as_secs_f64()),
    })
}

fn latencies_and_histograms(outcome: &Outcome) -> Value {
    let tally = &outcome.tally;
    let text = |histogram: &Histogram<u64>| (!histogram.is_empty()).then(|| hdr::text(histogram));
    json!({
        "raw_us": histogram(&tally.latency),
        "corrected_us": histogram(&tally.corrected),
        "raw_hdr": text(&tally.latency),
        "corrected_hdr": text(&tally.corrected),
    })
}

fn targets(plan: &Plan) -> Vec<String> {
    plan.targets.iter().map(ToString::to_string).collect()
}

fn traffic(outcome: &Outcome, bytes: u64) -> Value {
    let rate = outcome.rate(bytes);
    json!({ "bytes": bytes, "mb_per_s": rate / 1e6, "mbit_per_s": rate * 8.0 / 1e6 })
}

fn errors(outcome: &Outcome) -> Value {
    let errors = &outcome.tally.errors;
    let mut map: Map<String, Value> = errors.by_kind().map(|(kind, count)| (kind.into(), count.into())).collect();
    map.insert("total".into(), errors.total().into());
    let examples: Map<String, Value> = errors.examples().map(|(kind, words)| (kind.into(), words.into())).collect();
    map.insert("examples".into(), examples.into());
    map.into()
}

/// `null` where the protocol has none.
fn statuses(outcome: &Outcome) -> Value {
    let statuses = outcome.tally.statuses.sorted();
    if statuses.is_empty() {
        return Value::Null;
    }
    statuses.into_iter().map(|(status, count)| (status.to_string(), count.into())).collect::<Map<_, _>>().into()
}

/// `null` where nothing was measured: a zero would be a figure.
fn histogram(histogram: &Histogram<u64>) -> Value {
    if histogram.is_empty() {
        return Value::Null;
    }
    let map: Map<String, Value> = latencies(histogram).map(|(key, _, us)| (key.into(), us.into())).collect();
    map.into()
}

/// What the proxy adds: the rates as ratios, the latencies as differences.
fn difference(proxy: &Outcome, direct: &Outcome) -> Value {
    let ratio = |of: fn(&Outcome) -> u64| {
        let base = direct.rate(of(direct));
        (base > 0.0).then(|| proxy.rate(of(proxy)) / base)
    };
    let (ours, base) = (&proxy.tally.latency, &direct.tally.latency);
    let added: Option<Map<String, Value>> = (!ours.is_empty() && !base.is_empty()).then(|| {
        latencies(ours)
            .zip(latencies(base))
            .map(|((key, _, us), (_, _, base))| (key.into(), (us - base).into()))
            .collect()
    });
    json!({
        "requests_ratio": ratio(|o| o.tally.requests),
        "out_ratio": ratio(|o| o.tally.bytes_out),
        "in_ratio": ratio(|o| o.tally.bytes_in),
        "latency_us": added,
    })
}
