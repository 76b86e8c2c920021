//! What HTTP adds to the model: routes, what they do, and the bounds of a listener and a cluster.

use std::{fmt, time::Duration};

use super::Network;
use crate::template::Template;

/// What a listener with [`super::Protocol::Http`] has besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// By priority, then the most specific one, then the first.
    pub routes: Vec<HttpRoute>,
    pub limits: HttpLimits,
    /// Between two requests. `None`: never.
    pub idle_timeout: Option<Duration>,
    /// For a whole exchange, unless the route says otherwise. `None`: never.
    pub request_timeout: Option<Duration>,
    pub body_progress: BodyProgress,
    /// Requests on one connection, at least 1. `None`: unlimited.
    pub requests_max: Option<u32>,
    /// In small letters.
    pub upgrades: Vec<String>,
    pub path: PathRules,
    pub underscores: Underscores,
    pub trusted_proxies: Vec<Network>,
    /// Where trusted proxies say who the client is.
    pub client_ip_from: ClientIpFrom,
    pub forwarding: Forwarding,
    /// What the header `Server` of every response says. `None`: what the endpoint says.
    pub server: Option<String>,
    pub request_id: RequestId,
    pub request_headers: Vec<HeaderOp>,
    pub response_headers: Vec<HeaderOp>,
}

/// What the head and the body of a request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpLimits {
    /// For a whole head, from its first byte; for the first byte, from accept.
    pub header_timeout: Duration,
    pub header_bytes_max: u32,
    pub headers_max: u16,
    pub uri_bytes_max: u32,
    /// `None`: unlimited.
    pub body_bytes_max: Option<u64>,
}

/// `bytes_min` of a request's body must come in every `interval`, unless it is then complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyProgress {
    pub bytes_min: u32,
    /// `None`: no such limit.
    pub interval: Option<Duration>,
}

/// How a path is brought into the form that routes and endpoints see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathRules {
    pub merge_slashes: bool,
    pub encoded_slashes: EncodedSlashes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodedSlashes {
    Keep,
    Decode,
    Reject,
}

/// What becomes of headers with `_` in their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Underscores {
    Drop,
    Keep,
    Reject,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientIpFrom {
    XForwardedFor,
    Forwarded,
    XRealIp,
}

/// What endpoints are told about a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    pub x_forwarded: bool,
    pub x_real_ip: bool,
    /// RFC 7239.
    pub forwarded: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// In small letters.
    pub header: String,
    pub accept: AcceptId,
    /// Endpoints get it.
    pub send: bool,
    /// Clients get it.
    pub respond: bool,
}

/// Whose numbers are taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptId {
    Trusted,
    Never,
    Always,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRoute {
    /// Unique in its listener.
    pub name: String,
    pub when: RequestMatch,
    /// Higher comes first.
    pub priority: u32,
    pub action: RouteAction,
    pub rewrite: Rewrite,
    pub request_headers: Vec<HeaderOp>,
    pub response_headers: Vec<HeaderOp>,
    pub timeouts: RouteTimeouts,
    /// False: a request is tried once, whatever its cluster says.
    pub retry: bool,
}

/// All must match, each by one of its list; an empty list matches all. Never are all empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestMatch {
    pub hosts: Vec<HostPattern>,
    /// All of one kind.
    pub paths: Vec<PathPattern>,
    pub methods: Vec<String>,
    /// Each of these must match. In the order of their names, which for headers are in small letters; none is there
    /// twice.
    pub headers: Vec<Matcher>,
    pub query: Vec<Matcher>,
    pub cookies: Vec<Matcher>,
}

/// In small letters, without a port and without a dot at the end. An IPv6 address stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    Exact(String),
    /// Of `*.example.com`, the part `example.com`. Stands for every name that ends in it after one or more labels of
    /// its own, so not for `example.com`.
    Under(String),
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Under(parent) => write!(f, "*.{parent}"),
        }
    }
}

/// Paths are in the form that [`crate::http_path::canonical`] makes of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    Exact(String),
    /// By whole segments: `/a` stands for `/a` and `/a/…`; `/a/` for `/a/…`.
    Prefix(String),
    /// For the whole path. [`crate::pattern::whole`] compiles it.
    Regex(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Matcher {
    pub name: String,
    pub value: ValueMatch,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ValueMatch {
    Exact(String),
    Prefix(String),
    /// For the whole value. [`crate::pattern::whole`] compiles it.
    Regex(String),
    Present(bool),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteAction {
    /// Never empty, and the sum of weights is above 0.
    Forward(Vec<WeightedCluster>),
    Redirect(Redirect),
    Respond(DirectResponse),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedCluster {
    pub name: String,
    pub weight: u32,
}

/// What is `None` is as the client asked for it. Never are scheme, host, port and path all `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    pub scheme: Option<Scheme>,
    pub host: Option<Template>,
    pub port: Option<u16>,
    pub path: Option<Template>,
    pub keep_query: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectResponse {
    /// 200..=599.
    pub status: u16,
    pub body: String,
    pub content_type: String,
}

/// What the endpoint sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    pub path: Option<PathRewrite>,
    pub host: Option<Template>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// The first is taken off, then the second put before. Both begin with `/`; never are both `None`.
    Prefix {
        strip: Option<String>,
        add: Option<String>,
    },
    Whole(Template),
    /// Each part of the path that the pattern matches is replaced. [`crate::pattern::part`] compiles it.
    Regex {
        pattern: String,
        replacement: Template,
    },
}

/// Names are in small letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderOp {
    Set { name: String, value: Template },
    Add { name: String, value: Template },
    Append { name: String, value: Template },
    Remove { name: String },
}

/// The outer `None`: as listener or cluster say. The inner one: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    pub request: Option<Option<Duration>>,
    pub per_try: Option<Option<Duration>>,
    pub idle: Option<Option<Duration>>,
}

/// What is kept of connections to the endpoints of a cluster, over all shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// For the whole cluster. `None`: unlimited.
    pub idle_max: Option<u32>,
    /// For one endpoint. `None`: unlimited.
    pub idle_per_endpoint_max: Option<u32>,
    /// In use or not, where the endpoint has no limit of its own. `None`: unlimited.
    pub per_endpoint_max: Option<u32>,
    pub idle_timeout: Option<Duration>,
    /// Requests on one connection, at least 1.
    pub requests_max: Option<u32>,
    pub age_max: Option<Duration>,
}

/// `None`: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterTimeouts {
    /// From the last byte of a request to the head of its response.
    pub response: Option<Duration>,
    /// From the choice of an endpoint to the head of its response.
    pub per_try: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// At least 1, the first try included.
    pub attempts: u8,
    pub on: RetryOn,
    /// Further tries in hundredths of the requests.
    pub budget_percent: u8,
    /// Further tries per second that are allowed besides.
    pub budget_min: u32,
}

/// What is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOn {
    pub connect: bool,
    pub unsent: bool,
    pub reset: bool,
}

/// For clusters that do not say their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionPool {
    pub idle_per_endpoint_max: Option<u32>,
    pub per_endpoint_max: Option<u32>,
    pub idle_timeout: Option<Duration>,
}
