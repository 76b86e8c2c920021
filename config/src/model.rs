//! The internal model: what every source of configuration (TOML file, command line, admin call, xDS) becomes.
//!
//! Plain values, already validated where one value alone can tell. No serde here: a wire or file format has its own
//! types and converts into these.

mod http;

pub use self::http::{
    AcceptId, BodyProgress, ClientIpFrom, ClusterTimeouts, ConnectionPool, DirectResponse, EncodedSlashes, Forwarding,
    HeaderOp, HostPattern, Http, HttpLimits, HttpRoute, Matcher, PathPattern, PathRewrite, PathRules, Pool, Redirect,
    RequestId, RequestMatch, Retry, RetryOn, Rewrite, RouteAction, RouteTimeouts, Scheme, Underscores, ValueMatch,
    WeightedCluster,
};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// A whole configuration. Names are unique and every reference resolves: [`crate::file`] checks before it builds one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub runtime: Runtime,
    pub performance: Performance,
    pub admin: Admin,
    pub logging: Logging,
    pub drain: Drain,
    pub dns: Dns,
    pub listeners: Vec<Listener>,
    pub clusters: Vec<Cluster>,
}

impl Config {
    /// The rung, or the choice between rungs, that holds for the connections of `listener`.
    pub fn forward_of(&self, listener: &Listener) -> Forward {
        listener.forward.unwrap_or(self.runtime.forward)
    }
}

/// Where shards run and on which driver. Read at start, but for `forward`; a reload that changes the rest says that a
/// restart is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    pub cores: Cores,
    /// More than one shard a core only makes sense in tests.
    pub shards_per_core: u16,
    pub io: IoChoice,
    /// Refuse to start (exit 71) where io_uring cannot run.
    pub require_io_uring: bool,
    /// For every listener that does not say its own.
    pub forward: Forward,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cores {
    /// Every core this process may run on.
    Auto,
    /// Sorted, without repeats, never empty.
    List(Vec<u16>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoChoice {
    Auto,
    Uring,
    Epoll,
}

/// How bytes get from socket to socket: by the choice of the ladder, or always on one rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forward {
    Auto,
    Copy,
    Bundle,
    Splice,
    UringSplice,
    SendZc,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Performance {
    pub shard: ShardLimits,
    pub buffer_pool: BufferPool,
    pub forward: ForwardTuning,
    pub pipes: Pipes,
    pub connection_pool: ConnectionPool,
}

/// Admission of one shard's executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardLimits {
    /// Tasks that may live at once; for L4, one a connection.
    pub max_tasks: u32,
    /// Tasks that may wait for admission beyond that. Then accepting pauses.
    pub queue_size: u32,
    /// How long freed slab pages and buffers are kept after a burst.
    pub max_idle_time: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferPool {
    pub small_size: u32,
    pub medium_size: u32,
    pub large_size: u32,
    pub huge_size: u32,
    /// Small buffers that a shard lends to its receive ring, at most. Power of two.
    pub ring_buffers: u16,
    /// What the buffers of all shards together may take.
    pub memory_max: u64,
}

/// When a direction changes its rung under [`Forward::Auto`], and how much it may move at once on any rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardTuning {
    /// A burst of so many bytes speaks for splice.
    pub promote_bytes: u32,
    /// So many such bursts in a row promote, at least 1.
    pub promote_after: u8,
    /// So many short reads in a row demote, at least 1.
    pub demote_after: u8,
    /// Bytes that one direction may move per wake-up before others get their turn.
    pub splice_budget: u32,
    /// Smaller sends are copied even on [`Forward::SendZc`].
    pub zc_min: u32,
}

/// The pipes through which splice moves bytes. `size <= size_max <= total_max`, the first two powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipes {
    pub size: u32,
    pub size_max: u32,
    /// What the pipes of all shards together may hold.
    pub total_max: u64,
}

/// The admin HTTP endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// `None`: a unix socket, mode 0600, in the runtime directory.
    pub listen: Option<Address>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logging {
    pub level: LogLevel,
    pub format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

/// What TERM does: readiness fails at once, accepting goes on for `min`, connections may finish until `deadline`
/// (counted from the signal).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    pub min: Duration,
    pub deadline: Duration,
}

/// How names of endpoints become addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Empty: what the system says (/etc/resolv.conf).
    pub servers: Vec<SocketAddr>,
    /// The TTL of an answer counts within these two. `ttl_min <= ttl_max`.
    pub ttl_min: Duration,
    pub ttl_max: Duration,
    /// For one question, whoever answers it.
    pub timeout: Duration,
    pub family: DnsFamily,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsFamily {
    Any,
    V4,
    V6,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub name: String,
    /// Never empty.
    pub bind: Vec<Address>,
    pub protocol: Protocol,
    /// There exactly when `protocol` is [`Protocol::Http`].
    pub http: Option<Http>,
    /// Where connections, or requests, go that no route matches. `None`: they are refused; then there is a route.
    pub cluster: Option<String>,
    /// `None`: as [`Runtime::forward`]. See [`Config::forward_of`].
    pub forward: Option<Forward>,
    /// Connections at once over all shards, at least 1. `None`: unlimited.
    pub max_connections: Option<u32>,
    /// Empty: everybody. `deny` wins over it. Both look at the address of the client, which is the one in the PROXY
    /// header where one was taken.
    pub allow: Vec<Network>,
    pub deny: Vec<Network>,
    /// `None`: no PROXY header is looked for.
    pub proxy_protocol: Option<ProxyProtocolIn>,
    /// `None`: no limit for a single address.
    pub per_ip: Option<PerIp>,
    /// Of TCP, tried in this order, the first that matches counts. Where there is one, the listener peeks at the
    /// ClientHello and passes TLS through. Those of HTTP are in `http`.
    pub routes: Vec<Route>,
    pub peek: Peek,
    /// No byte in either direction for so long ends the connection. `None`: never.
    pub idle_timeout: Option<Duration>,
    /// The same once one side has closed its half.
    pub half_close_timeout: Option<Duration>,
    /// `[::]` takes IPv4 too unless this is set.
    pub ipv6_only: bool,
    /// Connections that may wait for `accept`, as in listen(2).
    pub backlog: u32,
    pub socket: SocketOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Http,
}

/// An address and those that begin as it does. No bit after the prefix is set, and the prefix fits the family; an IPv4
/// network is never written as IPv6, so whoever compares takes the canonical form of a client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    pub address: IpAddr,
    pub prefix: u8,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A PROXY header, version 1 or 2, that comes before the first byte of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyProtocolIn {
    /// Who must send one and is believed. Never empty. The peers of a unix socket are trusted as well.
    pub trusted: Vec<Network>,
    pub untrusted: Untrusted,
    /// For the whole header, from accept.
    pub timeout: Duration,
}

/// What happens to a connection from an address that is not trusted to send a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untrusted {
    Reject,
    /// Its bytes are those of the client, whatever they look like.
    Plain,
}

/// Limits for each address of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerIp {
    /// At once, at least 1. `None`: unlimited.
    pub max_connections: Option<u32>,
    /// `None`: unlimited.
    pub rate: Option<ConnectionRate>,
    /// Addresses that are remembered, at least 1.
    pub entries_max: u32,
    /// IPv6 addresses that share so many bits count as one. 1..=64.
    pub v6_prefix: u8,
}

/// A bucket that holds `burst` tokens and gets `per_second` of them a second; a connection takes one. Both at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionRate {
    pub per_second: u32,
    pub burst: u32,
}

/// Where connections go whose ClientHello looks like this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub when: RouteMatch,
    pub cluster: String,
}

/// Both must match, each by one of its list; an empty list matches all. Never are both empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    pub sni: Vec<SniPattern>,
    /// Names of protocols as in the ALPN extension, 1 to 255 bytes: `h2`, `http/1.1`.
    pub alpn: Vec<String>,
}

/// In small letters, without a dot at the end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SniPattern {
    Exact(String),
    /// Of `*.example.com`, the part `example.com`. Stands for every name that ends in it after one or more labels of
    /// its own, so not for `example.com`.
    Under(String),
}

impl fmt::Display for SniPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Under(parent) => write!(f, "*.{parent}"),
        }
    }
}

/// Bounds of looking at a ClientHello before it is forwarded. Means nothing without routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peek {
    /// For the whole ClientHello, from the first chance to receive it.
    pub timeout: Duration,
    pub bytes_max: u32,
}

/// Options of a TCP socket; a unix socket ignores them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    pub nodelay: bool,
    /// Idle time before the first keep-alive probe. `None`: no keep-alive.
    pub keepalive: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub name: String,
    pub policy: Policy,
    /// May be empty: connections are then refused with a reason.
    pub endpoints: Vec<Endpoint>,
    pub connect_timeout: Duration,
    /// Endpoints tried for one connection before it is given up, at least 1.
    pub connect_attempts: u8,
    /// An endpoint whose connect failed is passed over for this long, then tried again by one connection.
    pub fail_timeout: Duration,
    /// Connections at once over all shards, at least 1. `None`: unlimited.
    pub max_connections: Option<u32>,
    pub queue: Queue,
    pub pool: Pool,
    pub timeouts: ClusterTimeouts,
    pub retry: Retry,
    /// The PROXY header that endpoints get before the first byte. `None`: none.
    pub proxy_protocol: Option<ProxyProtocolVersion>,
    pub socket: SocketOptions,
}

/// Connections that wait until `max_connections` lets them through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// How many may wait, over all shards. 0: none, what is over the limit is refused at once.
    pub size: u32,
    pub timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyProtocolVersion {
    V1,
    V2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    RoundRobin,
    /// Smooth weighted round-robin, as nginx does it.
    WeightedRoundRobin,
    /// Fewest active connections divided by weight.
    LeastConnections,
    /// Two at random, the less loaded one (by weight) wins.
    RandomTwo,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub address: EndpointAddress,
    /// 1..=65535. A name gives it to each of its addresses.
    pub weight: u16,
    /// Connections at once over all shards, at least 1. `None`: unlimited. A name gives it to each of its addresses.
    pub max_connections: Option<u32>,
}

/// Where an endpoint is, or the name under which that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    Address(Address),
    /// The host in small letters. A dot at its end is kept: it says that no search list applies.
    Dns {
        host: String,
        port: u16,
    },
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Dns { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    Ip(SocketAddr),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(a) => a.fmt(f),
            Self::Unix(p) => write!(f, "unix:{}", p.display()),
        }
    }
}
