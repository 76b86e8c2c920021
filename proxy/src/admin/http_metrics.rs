//! Metrics of requests: by route, by endpoint, and why some were not served.

use super::{
    metrics::{Labels, Page},
    status::{EndpointStatus, ListenerStatus},
};
use crate::report::{HttpReport, LATENCY_BUCKETS, METHODS, RequestsReport};
use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};
use std::{collections::BTreeMap, fmt};

/// The times of some requests.
struct Latency<'a>(&'a RequestsReport);

impl EncodeMetric for Latency<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = LATENCY_BUCKETS.iter().map(|bound| bound.as_secs_f64()).chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.0.buckets).collect();
        let count = self.0.buckets.iter().sum();
        encoder.encode_histogram::<NoLabelSet>(self.0.sum.as_secs_f64(), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// Statuses by their class.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The counts that are not zero, each with its method and class of status.
fn counts(of: &Labels, requests: &RequestsReport) -> Vec<(Labels, u64)> {
    let mut rows = Vec::new();
    for (method, classes) in METHODS.iter().zip(requests.by) {
        for (class, count) in CLASSES.iter().zip(classes).filter(|(_, count)| *count > 0) {
            let mut labels = of.clone();
            labels.extend([("method", (*method).to_owned()), ("status", (*class).to_owned())]);
            rows.push((labels, count));
        }
    }
    rows
}

/// Of listeners that speak HTTP.
pub(super) fn routes(page: &mut Page<'_>, listeners: &[ListenerStatus]) -> fmt::Result {
    let rows = || {
        listeners.iter().flat_map(|listener| {
            listener.routes.iter().map(|route| {
                (vec![("listener", listener.name.clone()), ("route", route.name.to_string())], &route.requests)
            })
        })
    };
    let help = "Requests that are over, by the route that they took";
    page.counter("balance_http_requests", help, rows().flat_map(|(labels, requests)| counts(&labels, requests)))?;
    let help = "From the head of a request to the last byte of its response, by route";
    page.family("balance_http_request_duration_seconds", help, rows().map(|(labels, r)| (labels, Latency(r))))
}

/// Of endpoints that have had requests. They are the backends of the names that dashboards know.
pub(super) fn endpoints(page: &mut Page<'_>, endpoints: &[EndpointStatus]) -> fmt::Result {
    let rows = || {
        endpoints.iter().filter_map(|endpoint| {
            let labels = vec![("cluster", endpoint.cluster.clone()), ("backend", endpoint.address.clone())];
            Some((labels, endpoint.http.as_deref()?))
        })
    };
    let help = "Requests that are over, by the endpoint that was asked last";
    page.counter("balance_requests", help, rows().flat_map(|(labels, http)| counts(&labels, &http.requests)))?;
    let help = "From the head of a request to the last byte of its response, by endpoint";
    page.family("balance_request_duration_seconds", help, rows().map(|(labels, h)| (labels, Latency(&h.requests))))?;
    let help = "Connections to the endpoint without a request, kept for the next one";
    page.gauge("balance_pool_connections_idle", help, rows().map(|(labels, http)| (labels, http.idle)))?;
    let help = "Requests that went over a connection that was there";
    page.counter("balance_pool_connections_reused", help, rows().map(|(labels, http)| (labels, http.reused)))?;
    let help = "Kept connections that had ended when they were wanted";
    page.counter("balance_pool_connections_stale", help, rows().map(|(labels, http)| (labels, http.stale)))
}

pub(super) fn errors<'a>(page: &mut Page<'_>, shards: impl Iterator<Item = &'a HttpReport>) -> fmt::Result {
    let (mut errors, mut retries, mut exhausted) = (BTreeMap::new(), 0, 0);
    for shard in shards {
        retries += shard.retries;
        exhausted += shard.retries_exhausted;
        for (code, count) in &shard.errors {
            *errors.entry(*code).or_insert(0) += count;
        }
    }
    let rows = errors.into_iter().map(|(code, count)| (vec![("error_type", code.to_owned())], count));
    page.counter("balance_request_errors", "Requests that no endpoint answered, by reason", rows)?;
    let one = |value: u64| [(Labels::new(), value)];
    page.counter("balance_retries", "Further tries of requests", one(retries))?;
    let help = "Further tries that the budget of a cluster did not allow";
    page.counter("balance_retries_exhausted", help, one(exhausted))
}
