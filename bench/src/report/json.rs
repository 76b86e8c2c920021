//! The report as one JSON object. Its keys are a promise to scripts.

use super::{Outcome, Report, latencies};
use crate::plan::{Bytes, Limit, Plan};
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

impl Report {
    pub(crate) fn json(&self) -> Value {
        let mut report = json!({
            "bench": "tcp",
            "version": env!("CARGO_PKG_VERSION"),
            "settings": settings(&self.proxy),
            "proxy": outcome(&self.proxy),
        });
        if let Some(direct) = &self.direct {
            report["direct"] = outcome(direct);
            report["difference"] = difference(&self.proxy, direct);
        }
        report
    }
}

pub(super) fn settings(outcome: &Outcome) -> Value {
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
        "sources": plan.sources.len(),
        "bytes_checked": plan.bytes == Bytes::Checked,
        "cores": outcome.cores,
        "io": outcome.driver,
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
        "unfinished": tally.unfinished,
        "requests_per_s": outcome.rate(tally.requests),
        "out": traffic(outcome, tally.bytes_out),
        "in": traffic(outcome, tally.bytes_in),
        "errors": errors(outcome),
        "latency_us": histogram(&tally.latency),
        "connect_us": histogram(&tally.connect),
        "client_cpu_s": outcome.cpu.as_secs_f64(),
        "requests_per_cpu_s": outcome.requests_per_cpu_second(),
        "target_cpu_s": outcome.target_cpu.map(|cpu| cpu.as_secs_f64()),
        "target_cpu_us_per_request": outcome.target_micros_per_request(),
        "target_cpu_s_per_gb": if outcome.plan.mode.is_stream() { outcome.target_seconds_per_gb() } else { None },
        "wall_s": tally.measured.as_secs_f64(),
    });
    if let Some(first) = tally.errors.first_corruption {
        value["first_corruption"] = json!({ "connection": first.connection, "position": first.position });
    }
    value
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
    map.insert("detail".into(), errors.detail.clone().into());
    map.into()
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
