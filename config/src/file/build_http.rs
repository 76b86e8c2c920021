//! From what was read of HTTP to the model.

use super::{build::values, section::Read};
use crate::model::{
    AcceptId, BodyProgress, ClientIpFrom, ClusterTimeouts, ConnectionPool, DirectResponse, EncodedSlashes, Forwarding,
    HeaderOp, Http, HttpLimits, HttpRoute, PathPattern, PathRewrite, PathRules, Pool, Redirect, RequestId,
    RequestMatch, Retry, RetryOn, Rewrite, RouteAction, RouteTimeouts, Scheme, Underscores, WeightedCluster,
};

pub(super) fn http(listener: &Read) -> Option<Http> {
    let read = listener.table("http")?;
    Some(Http {
        routes: listener.tables("routes").iter().enumerate().map(route).collect::<Option<_>>()?,
        limits: HttpLimits {
            header_timeout: read.duration("header_timeout")?,
            header_bytes_max: read.integer("max_header_bytes")?,
            headers_max: read.integer("max_headers")?,
            uri_bytes_max: read.integer("max_uri")?,
            body_bytes_max: read.limit_u64("max_body_size")?,
        },
        idle_timeout: read.timeout("idle_timeout")?,
        request_timeout: read.timeout("request_timeout")?,
        body_progress: BodyProgress {
            bytes_min: read.integer("body_bytes_min")?,
            interval: read.timeout("body_timeout")?,
        },
        requests_max: read.limit("max_requests")?,
        upgrades: values(Some(read.texts("upgrades")?)),
        path: path_rules(read)?,
        underscores: match read.word("underscores")? {
            "drop" => Underscores::Drop,
            "keep" => Underscores::Keep,
            "reject" => Underscores::Reject,
            _ => return None,
        },
        trusted_proxies: values(read.networks("trusted_proxies")),
        client_ip_from: match read.word("client_ip_from")? {
            "x-forwarded-for" => ClientIpFrom::XForwardedFor,
            "forwarded" => ClientIpFrom::Forwarded,
            "x-real-ip" => ClientIpFrom::XRealIp,
            _ => return None,
        },
        forwarding: Forwarding {
            x_forwarded: read.bool("x_forwarded")?,
            x_real_ip: read.bool("x_real_ip")?,
            forwarded: read.bool("forwarded")?,
        },
        server: read.text("server").map(str::to_owned),
        request_id: request_id(read.table("request_id")?)?,
        request_headers: header_ops(read, "request_headers")?,
        response_headers: header_ops(read, "response_headers")?,
    })
}

pub(super) fn path_rules(http: &Read) -> Option<PathRules> {
    Some(PathRules {
        merge_slashes: http.bool("merge_slashes")?,
        encoded_slashes: match http.word("encoded_slashes")? {
            "keep" => EncodedSlashes::Keep,
            "decode" => EncodedSlashes::Decode,
            "reject" => EncodedSlashes::Reject,
            _ => return None,
        },
    })
}

fn request_id(read: &Read) -> Option<RequestId> {
    Some(RequestId {
        header: read.text("header")?.to_owned(),
        accept: match read.word("accept")? {
            "trusted" => AcceptId::Trusted,
            "never" => AcceptId::Never,
            "always" => AcceptId::Always,
            _ => return None,
        },
        send: read.bool("send")?,
        respond: read.bool("respond")?,
    })
}

fn header_ops(read: &Read, key: &str) -> Option<Vec<HeaderOp>> {
    read.tables(key).iter().map(header_op).collect()
}

fn header_op(read: &Read) -> Option<HeaderOp> {
    let name = read.text("name")?.to_owned();
    let value = read.template("value").cloned();
    Some(match (read.word("action")?, value) {
        ("set", Some(value)) => HeaderOp::Set { name, value },
        ("add", Some(value)) => HeaderOp::Add { name, value },
        ("append", Some(value)) => HeaderOp::Append { name, value },
        ("remove", None) => HeaderOp::Remove { name },
        _ => return None,
    })
}

/// What a route is called that has no name of its own.
pub(super) fn route_name(read: &Read, index: usize) -> String {
    read.text("name").map_or_else(|| format!("route-{}", index + 1), str::to_owned)
}

fn route((index, read): (usize, &Read)) -> Option<HttpRoute> {
    Some(HttpRoute {
        name: route_name(read, index),
        when: request_match(read.table("match")?),
        priority: read.integer("priority")?,
        action: action(read)?,
        rewrite: read.optional("rewrite", rewrite)?.unwrap_or_default(),
        request_headers: header_ops(read, "request_headers")?,
        response_headers: header_ops(read, "response_headers")?,
        timeouts: read.table("timeouts").map(timeouts).unwrap_or_default(),
        retry: read.bool("retry")?,
    })
}

fn request_match(read: &Read) -> RequestMatch {
    RequestMatch {
        hosts: values(read.hosts("host")),
        paths: paths(read).into_iter().map(|(pattern, _)| pattern).collect(),
        methods: values(read.texts("methods")),
        headers: values(read.matchers("headers")),
        query: values(read.matchers("query")),
        cookies: values(read.matchers("cookies")),
    }
}

/// The paths of a match, with their places. Only one of the keys is there, which is checked.
pub(super) fn paths(read: &Read) -> Vec<(PathPattern, super::source::Place)> {
    type Make = fn(String) -> PathPattern;
    let kinds: [(&str, Make); 3] =
        [("path", PathPattern::Exact), ("path_prefix", PathPattern::Prefix), ("path_regex", PathPattern::Regex)];
    kinds
        .into_iter()
        .flat_map(|(key, make)| {
            let all = read.texts(key).unwrap_or_default();
            all.iter().map(move |(text, place)| (make(text.clone()), place.clone()))
        })
        .collect()
}

fn action(read: &Read) -> Option<RouteAction> {
    if let Some(read) = read.table("redirect") {
        return Some(RouteAction::Redirect(redirect(read)?));
    }
    if let Some(read) = read.table("response") {
        return Some(RouteAction::Respond(DirectResponse {
            status: read.integer("status")?,
            body: read.text("body")?.to_owned(),
            content_type: read.text("content_type")?.to_owned(),
        }));
    }
    if let Some(name) = read.text("cluster") {
        return Some(RouteAction::Forward(vec![WeightedCluster { name: name.to_owned(), weight: 1 }]));
    }
    let weighted =
        |read: &Read| Some(WeightedCluster { name: read.text("name")?.to_owned(), weight: read.integer("weight")? });
    let clusters: Vec<_> = read.tables("clusters").iter().map(weighted).collect::<Option<_>>()?;
    (!clusters.is_empty()).then_some(RouteAction::Forward(clusters))
}

fn redirect(read: &Read) -> Option<Redirect> {
    Some(Redirect {
        status: read.integer("status")?,
        scheme: read.word("scheme").map(|word| if word == "https" { Scheme::Https } else { Scheme::Http }),
        host: read.template("host").cloned(),
        port: read.integer("port"),
        path: read.template("path").cloned(),
        keep_query: read.bool("keep_query")?,
    })
}

fn rewrite(read: &Read) -> Option<Rewrite> {
    let path = |key| read.text(key).map(str::to_owned);
    let (strip, add) = (path("strip_prefix"), path("add_prefix"));
    let whole = read.template("path").cloned();
    let path = match (whole, read.text("regex")) {
        (Some(whole), _) => Some(PathRewrite::Whole(whole)),
        (None, Some(pattern)) => {
            Some(PathRewrite::Regex { pattern: pattern.to_owned(), replacement: read.template("replacement")?.clone() })
        }
        (None, None) if strip.is_some() || add.is_some() => Some(PathRewrite::Prefix { strip, add }),
        (None, None) => None,
    };
    Some(Rewrite { path, host: read.template("host").cloned() })
}

fn timeouts(read: &Read) -> RouteTimeouts {
    RouteTimeouts { request: read.timeout("request"), per_try: read.timeout("per_try"), idle: read.timeout("idle") }
}

pub(super) fn pool(read: &Read, defaults: ConnectionPool) -> Option<Pool> {
    Some(Pool {
        idle_max: read.limit("max_idle")?,
        idle_per_endpoint_max: read.limit("max_idle_per_host").unwrap_or(defaults.idle_per_endpoint_max),
        per_endpoint_max: read.limit("max_conns_per_host").unwrap_or(defaults.per_endpoint_max),
        idle_timeout: read.timeout("idle_timeout").unwrap_or(defaults.idle_timeout),
        requests_max: read.limit("max_requests")?,
        age_max: read.timeout("max_age")?,
    })
}

pub(super) fn cluster_timeouts(read: &Read) -> Option<ClusterTimeouts> {
    Some(ClusterTimeouts { response: read.timeout("response")?, per_try: read.timeout("per_try")? })
}

pub(super) fn retry(read: &Read) -> Option<Retry> {
    let on = read.words("on")?;
    Some(Retry {
        attempts: read.integer("attempts")?,
        on: RetryOn { connect: on.contains(&"connect"), unsent: on.contains(&"unsent"), reset: on.contains(&"reset") },
        budget_percent: read.integer("budget")?,
        budget_min: read.integer("budget_min")?,
    })
}
