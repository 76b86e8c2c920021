//! The value of every key that only HTTP has.

use super::values::{duration, limit, list, quote, quote_plain, size, text_or_list, texts, timeout};
use crate::model::{
    AcceptId, ClientIpFrom, Cluster, DirectResponse, EncodedSlashes, HeaderOp, Http, HttpRoute, Matcher, PathPattern,
    PathRewrite, Performance, Redirect, RequestId, RequestMatch, Rewrite, RouteAction, RouteTimeouts, Underscores,
    ValueMatch, WeightedCluster,
};

// All of these return `None` where a key has no value, and for tables.

pub(super) fn of_connection_pool(performance: &Performance, key: &str) -> Option<String> {
    let pool = &performance.connection_pool;
    Some(match key {
        "max_idle_per_host" => limit(pool.idle_per_endpoint_max),
        "max_conns_per_host" => limit(pool.per_endpoint_max),
        "idle_timeout" => timeout(pool.idle_timeout),
        _ => return None,
    })
}

pub(super) fn of_http(http: &Http, key: &str) -> Option<String> {
    Some(match key {
        "header_timeout" => duration(http.limits.header_timeout),
        "idle_timeout" => timeout(http.idle_timeout),
        "request_timeout" => timeout(http.request_timeout),
        "body_timeout" => timeout(http.body_progress.interval),
        "body_bytes_min" => size(http.body_progress.bytes_min.into()),
        "max_header_bytes" => size(http.limits.header_bytes_max.into()),
        "max_headers" => http.limits.headers_max.to_string(),
        "max_uri" => size(http.limits.uri_bytes_max.into()),
        "max_body_size" => http.limits.body_bytes_max.map_or_else(|| quote("unlimited"), |bytes| bytes.to_string()),
        "max_requests" => limit(http.requests_max),
        "upgrades" => list(http.upgrades.iter().map(|one| quote(one))),
        "merge_slashes" => http.path.merge_slashes.to_string(),
        "encoded_slashes" => quote(match http.path.encoded_slashes {
            EncodedSlashes::Keep => "keep",
            EncodedSlashes::Decode => "decode",
            EncodedSlashes::Reject => "reject",
        }),
        "underscores" => quote(match http.underscores {
            Underscores::Drop => "drop",
            Underscores::Keep => "keep",
            Underscores::Reject => "reject",
        }),
        "trusted_proxies" => return texts(&http.trusted_proxies),
        "client_ip_from" => quote(match http.client_ip_from {
            ClientIpFrom::XForwardedFor => "x-forwarded-for",
            ClientIpFrom::Forwarded => "forwarded",
            ClientIpFrom::XRealIp => "x-real-ip",
        }),
        "x_forwarded" => http.forwarding.x_forwarded.to_string(),
        "x_real_ip" => http.forwarding.x_real_ip.to_string(),
        "forwarded" => http.forwarding.forwarded.to_string(),
        "server" => quote(http.server.as_deref()?),
        _ => return None,
    })
}

pub(super) fn of_request_id(id: &RequestId, key: &str) -> Option<String> {
    Some(match key {
        "header" => quote(&id.header),
        "accept" => quote(match id.accept {
            AcceptId::Trusted => "trusted",
            AcceptId::Never => "never",
            AcceptId::Always => "always",
        }),
        "send" => id.send.to_string(),
        "respond" => id.respond.to_string(),
        _ => return None,
    })
}

pub(super) fn of_header_op(op: &HeaderOp, key: &str) -> Option<String> {
    let (action, name, value) = match op {
        HeaderOp::Set { name, value } => ("set", name, Some(value)),
        HeaderOp::Add { name, value } => ("add", name, Some(value)),
        HeaderOp::Append { name, value } => ("append", name, Some(value)),
        HeaderOp::Remove { name } => ("remove", name, None),
    };
    Some(match key {
        "action" => quote(action),
        "name" => quote(name),
        "value" => quote(&value?.to_string()),
        _ => return None,
    })
}

pub(super) fn of_http_route(route: &HttpRoute, key: &str) -> Option<String> {
    Some(match key {
        "name" => quote(&route.name),
        "priority" => route.priority.to_string(),
        "cluster" => match &route.action {
            RouteAction::Forward(all) => match &**all {
                [one] if one.weight == 1 => quote(&one.name),
                _ => return None,
            },
            _ => return None,
        },
        "retry" if matches!(route.action, RouteAction::Forward(_)) => route.retry.to_string(),
        _ => return None,
    })
}

/// The list of clusters where one name does not say it.
pub(super) fn weighted(route: &HttpRoute) -> &[WeightedCluster] {
    match &route.action {
        RouteAction::Forward(all) if !matches!(&**all, [WeightedCluster { weight: 1, .. }]) => all,
        _ => &[],
    }
}

pub(super) fn of_weighted(cluster: &WeightedCluster, key: &str) -> Option<String> {
    Some(match key {
        "name" => quote(&cluster.name),
        "weight" => cluster.weight.to_string(),
        _ => return None,
    })
}

pub(super) fn of_request_match(when: &RequestMatch, key: &str) -> Option<String> {
    match key {
        "host" => text_or_list(&when.hosts),
        "path" => text_or_list(&of_paths(when, |path| match path {
            PathPattern::Exact(text) => Some(text),
            _ => None,
        })),
        "path_prefix" => text_or_list(&of_paths(when, |path| match path {
            PathPattern::Prefix(text) => Some(text),
            _ => None,
        })),
        "path_regex" => text_or_list(&of_paths(when, |path| match path {
            PathPattern::Regex(text) => Some(text),
            _ => None,
        })),
        "methods" => text_or_list(&when.methods),
        "headers" => matchers(&when.headers),
        "query" => matchers(&when.query),
        "cookies" => matchers(&when.cookies),
        _ => None,
    }
}

fn of_paths(when: &RequestMatch, pick: fn(&PathPattern) -> Option<&String>) -> Vec<String> {
    when.paths.iter().filter_map(pick).cloned().collect()
}

fn matchers(all: &[Matcher]) -> Option<String> {
    let one = |matcher: &Matcher| {
        let value = match &matcher.value {
            ValueMatch::Exact(text) => quote(text),
            ValueMatch::Prefix(text) => format!("{{ prefix = {} }}", quote(text)),
            ValueMatch::Regex(text) => format!("{{ regex = {} }}", quote(text)),
            ValueMatch::Present(present) => format!("{{ present = {present} }}"),
        };
        // No variables are filled in in names.
        format!("{} = {value}", quote_plain(&matcher.name))
    };
    (!all.is_empty()).then(|| format!("{{ {} }}", all.iter().map(one).collect::<Vec<_>>().join(", ")))
}

pub(super) fn of_redirect(redirect: &Redirect, key: &str) -> Option<String> {
    Some(match key {
        "status" => redirect.status.to_string(),
        "scheme" => quote(redirect.scheme?.as_str()),
        "host" => quote(&redirect.host.as_ref()?.to_string()),
        "port" => redirect.port?.to_string(),
        "path" => quote(&redirect.path.as_ref()?.to_string()),
        "keep_query" => redirect.keep_query.to_string(),
        _ => return None,
    })
}

pub(super) fn of_response(response: &DirectResponse, key: &str) -> Option<String> {
    Some(match key {
        "status" => response.status.to_string(),
        "body" => quote(&response.body),
        "content_type" => quote(&response.content_type),
        _ => return None,
    })
}

pub(super) fn of_rewrite(rewrite: &Rewrite, key: &str) -> Option<String> {
    match (key, &rewrite.path) {
        ("host", _) => rewrite.host.as_ref().map(|host| quote(&host.to_string())),
        ("strip_prefix", Some(PathRewrite::Prefix { strip, .. })) => strip.as_deref().map(quote),
        ("add_prefix", Some(PathRewrite::Prefix { add, .. })) => add.as_deref().map(quote),
        ("path", Some(PathRewrite::Whole(path))) => Some(quote(&path.to_string())),
        ("regex", Some(PathRewrite::Regex { pattern, .. })) => Some(quote(pattern)),
        ("replacement", Some(PathRewrite::Regex { replacement, .. })) => Some(quote(&replacement.to_string())),
        _ => None,
    }
}

pub(super) fn of_route_timeouts(timeouts: &RouteTimeouts, key: &str) -> Option<String> {
    match key {
        "request" => timeouts.request.map(timeout),
        "per_try" => timeouts.per_try.map(timeout),
        "idle" => timeouts.idle.map(timeout),
        _ => None,
    }
}

pub(super) fn of_pool(cluster: &Cluster, key: &str) -> Option<String> {
    let pool = &cluster.pool;
    Some(match key {
        "max_idle" => limit(pool.idle_max),
        "max_idle_per_host" => limit(pool.idle_per_endpoint_max),
        "max_conns_per_host" => limit(pool.per_endpoint_max),
        "idle_timeout" => timeout(pool.idle_timeout),
        "max_requests" => limit(pool.requests_max),
        "max_age" => timeout(pool.age_max),
        _ => return None,
    })
}

pub(super) fn of_cluster_timeouts(cluster: &Cluster, key: &str) -> Option<String> {
    Some(match key {
        "response" => timeout(cluster.timeouts.response),
        "per_try" => timeout(cluster.timeouts.per_try),
        _ => return None,
    })
}

pub(super) fn of_retry(cluster: &Cluster, key: &str) -> Option<String> {
    let retry = &cluster.retry;
    Some(match key {
        "attempts" => retry.attempts.to_string(),
        "on" => {
            let on = [("connect", retry.on.connect), ("unsent", retry.on.unsent), ("reset", retry.on.reset)];
            list(on.into_iter().filter(|(_, is_on)| *is_on).map(|(word, _)| quote(word)))
        }
        "budget" => quote(&format!("{}%", retry.budget_percent)),
        "budget_min" => retry.budget_min.to_string(),
        _ => return None,
    })
}
