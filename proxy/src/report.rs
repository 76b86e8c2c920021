//! What a shard tells the control thread: copies, made on the shard when it is asked.

use balance_config::model::Address;
use balance_engine::stats::EngineStats;
use std::{sync::Arc, time::Duration};

/// One shard's answer to a status query.
#[derive(Clone, Debug)]
pub struct ShardReport {
    pub shard: u16,
    pub core: u16,
    /// "uring", "epoll" or "sim".
    pub driver: &'static str,
    /// Version of the snapshot that this shard runs.
    pub snapshot_version: u64,
    pub draining: bool,
    pub engine: EngineStats,
    pub listeners: Vec<ListenerReport>,
    pub clusters: Vec<ClusterReport>,
    pub endpoints: Vec<EndpointReport>,
    /// What connections keep of hellos that are not complete.
    pub peeked_bytes: u64,
    /// By [`RungKind`], in its order.
    pub rungs: [RungReport; RungKind::ALL.len()],
    /// Where connections take real descriptors.
    pub room: Option<RoomReport>,
    pub http: HttpReport,
    /// Connections ended, by reason; every [`Reason`] once, in its order.
    pub endings: Vec<(Reason, u64)>,
}

/// What a shard has of the connections that the process has descriptors for.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoomReport {
    /// Permits held.
    pub live: u64,
    /// Times that accepting paused for want of one.
    pub pauses: u64,
}

/// Counters of one listener on one shard. Counters outlive a reload as long as the listener keeps its name.
#[derive(Clone, Debug)]
pub struct ListenerReport {
    pub name: Arc<str>,
    pub accepted: u64,
    pub active: u64,
    /// Permits held. Above `active` for the turn in which sockets are closed.
    pub live: u64,
    /// Times that accepting paused because the limit was reached.
    pub limit_pauses: u64,
    /// Bytes from clients to endpoints.
    pub bytes_up: u64,
    /// Bytes from endpoints to clients.
    pub bytes_down: u64,
    /// Where its routes have led; none without routes. As long as the routes name it, a row outlives a reload.
    pub routed: Vec<RoutedReport>,
    /// Of HTTP, what its routes have served.
    pub routes: Vec<RouteReport>,
}

/// Connections that a listener's routes have led to a cluster.
#[derive(Clone, Debug)]
pub struct RoutedReport {
    pub cluster: Arc<str>,
    pub by: RoutedBy,
    pub count: u64,
}

/// What led a connection to its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutedBy {
    Route,
    /// No route did: the cluster is the listener's own.
    Default,
}

impl RoutedBy {
    /// The word for metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Default => "default",
        }
    }
}

/// Counters of one cluster on one shard. They outlive a reload as long as the cluster keeps its name.
#[derive(Clone, Debug)]
pub struct ClusterReport {
    pub name: Arc<str>,
    /// Permits held.
    pub live: u64,
    /// Connections that had to wait, whatever became of them.
    pub queued: u64,
    /// Connections over the limit that found no place in the queue.
    pub refused: u64,
    pub queue_timeouts: u64,
}

/// Counters of one endpoint on one shard.
#[derive(Clone, Debug)]
pub struct EndpointReport {
    pub cluster: Arc<str>,
    pub address: Address,
    pub weight: u16,
    pub active: u64,
    /// Permits held.
    pub live: u64,
    pub connects: u64,
    pub connect_failures: u64,
    pub bytes_up: u64,
    pub bytes_down: u64,
    /// Whether this shard passes it over for now after a failed connect.
    pub set_aside: bool,
    pub http: Option<Box<EndpointHttpReport>>,
}

/// How many buckets have an upper bound.
pub const BOUNDS: usize = 15;

/// Upper bounds of the buckets in which the time of requests is counted.
pub const LATENCY_BUCKETS: [Duration; BOUNDS] = [
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// How many methods are counted by themselves, and one for all others.
pub const METHOD_COUNT: usize = 9;

/// The methods that are counted by themselves, and all others.
pub const METHODS: [&str; METHOD_COUNT] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "other"];

/// Requests that are over.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestsReport {
    /// By [`METHODS`], and by class of status from 1xx on.
    pub by: [[u64; 5]; METHOD_COUNT],
    /// By [`LATENCY_BUCKETS`]; the last are those that took longer.
    pub buckets: [u64; BOUNDS + 1],
    /// How long they took together, from their heads to the last byte of their responses.
    pub sum: Duration,
}

impl RequestsReport {
    pub fn add(&mut self, other: &Self) {
        let all = self.by.iter_mut().flatten().zip(other.by.iter().flatten());
        all.for_each(|(sum, count)| *sum += count);
        self.buckets.iter_mut().zip(other.buckets).for_each(|(sum, count)| *sum += count);
        self.sum += other.sum;
    }
}

/// Requests of one route of a listener.
#[derive(Clone, Debug)]
pub struct RouteReport {
    pub name: Arc<str>,
    pub requests: RequestsReport,
}

/// What HTTP adds to an endpoint, once it has had a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndpointHttpReport {
    pub requests: RequestsReport,
    /// Connections without a request, now.
    pub idle: u64,
    /// Requests that went over a connection that was there.
    pub reused: u64,
    /// Connections that were there and had ended.
    pub stale: u64,
}

impl EndpointHttpReport {
    pub fn add(&mut self, other: &Self) {
        self.requests.add(&other.requests);
        self.idle += other.idle;
        self.reused += other.reused;
        self.stale += other.stale;
    }
}

/// What HTTP adds to a shard.
#[derive(Clone, Debug, Default)]
pub struct HttpReport {
    /// Requests that were answered here instead of by an endpoint, or broken off, by reason.
    pub errors: Vec<(&'static str, u64)>,
    /// Further tries.
    pub retries: u64,
    /// Tries that the budget of a cluster did not allow.
    pub retries_exhausted: u64,
}

/// A way to move the bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RungKind {
    /// Receive, send the same buffer.
    #[default]
    Copy,
    /// Bulk receives, gathered into vectored sends.
    Bundle,
    /// splice(2) from the shard's thread.
    Splice,
    /// IORING_OP_SPLICE.
    UringSplice,
    /// Vectored sends without a copy.
    SendZc,
}

impl RungKind {
    pub const ALL: [Self; 5] = [Self::Copy, Self::Bundle, Self::Splice, Self::UringSplice, Self::SendZc];

    /// The word for the configuration, metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Bundle => "bundle",
            Self::Splice => "splice",
            Self::UringSplice => "uring-splice",
            Self::SendZc => "send-zc",
        }
    }
}

/// What the directions of a shard's connections did on one rung.
#[derive(Clone, Copy, Debug, Default)]
pub struct RungReport {
    pub bytes: u64,
    /// Directions that came to it from another rung.
    pub entered: u64,
    /// Changes to it that could not be made, for want of descriptors or pipes.
    pub refused: u64,
    /// Zero-copy sends that were that, by the kernel's notification …
    pub zero_copied: u64,
    /// … and that were not.
    pub copied: u64,
    /// Of both, those from memory that was registered with the ring before.
    pub registered: u64,
    /// Directions that gave zero copy up, because it was none.
    pub switched_off: u64,
}

/// Why a connection ended: who, in which phase. One code for the log, the metric and the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Both sides closed in order.
    Finished,
    DownstreamReset,
    UpstreamReset,
    /// No bytes in either direction for `idle_timeout`.
    IdleTimeout,
    HalfCloseTimeout,
    /// Every attempt to connect failed.
    ConnectFailed,
    ConnectTimeout,
    /// The cluster has no endpoints.
    NoEndpoint,
    /// Over `max_connections`, and the queue is full or there is none.
    Limit,
    /// Over `max_connections`, and waited for the queue's time-out.
    QueueTimeout,
    /// Its address has as many connections as one may.
    IpConnections,
    /// Its address opens connections faster than one may.
    IpRate,
    /// The client left before an endpoint was connected.
    DownstreamGone,
    /// The client's address is denied, or not among those allowed.
    Denied,
    /// It did not come from a proxy that is trusted to send a PROXY header.
    Untrusted,
    /// No PROXY header where one must be, or a wrong one.
    BadPreface,
    /// The PROXY header did not come in time.
    PrefaceTimeout,
    /// No route matches, and the listener has no cluster of its own.
    NoRoute,
    /// A ClientHello that is wrong, or broken off by a FIN.
    BadHello,
    /// A ClientHello of more than `peek_bytes_max`.
    HelloTooLong,
    /// The ClientHello did not come in time; or nothing did, and the listener has no cluster of its own.
    PeekTimeout,
    /// The ClientHello came in pieces while the shard kept too much of others that did.
    PeekMemory,
    /// A request, or its body, that was refused.
    BadRequest,
    /// The head of a request did not come in time.
    HeaderTimeout,
    /// The body of a request came too slowly.
    BodyTimeout,
    /// A request took longer than it may.
    RequestTimeout,
    /// The endpoint has not begun to answer in time.
    ResponseTimeout,
    /// Drain deadline, or a second signal.
    Drained,
    /// The task panicked; a bug of ours.
    Panicked,
    /// Another error of a socket; the log has the errno.
    Error,
}

impl Reason {
    pub const ALL: [Self; 30] = [
        Self::Finished,
        Self::DownstreamReset,
        Self::UpstreamReset,
        Self::IdleTimeout,
        Self::HalfCloseTimeout,
        Self::ConnectFailed,
        Self::ConnectTimeout,
        Self::NoEndpoint,
        Self::Limit,
        Self::QueueTimeout,
        Self::IpConnections,
        Self::IpRate,
        Self::DownstreamGone,
        Self::Denied,
        Self::Untrusted,
        Self::BadPreface,
        Self::PrefaceTimeout,
        Self::NoRoute,
        Self::BadHello,
        Self::HelloTooLong,
        Self::PeekTimeout,
        Self::PeekMemory,
        Self::BadRequest,
        Self::HeaderTimeout,
        Self::BodyTimeout,
        Self::RequestTimeout,
        Self::ResponseTimeout,
        Self::Drained,
        Self::Panicked,
        Self::Error,
    ];

    /// The word for logs, metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::DownstreamReset => "downstream_reset",
            Self::UpstreamReset => "upstream_reset",
            Self::IdleTimeout => "idle_timeout",
            Self::HalfCloseTimeout => "half_close_timeout",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::NoEndpoint => "no_endpoint",
            Self::Limit => "limit",
            Self::QueueTimeout => "queue_timeout",
            Self::IpConnections => "ip_connections",
            Self::IpRate => "ip_rate",
            Self::DownstreamGone => "downstream_gone",
            Self::Denied => "denied",
            Self::Untrusted => "untrusted",
            Self::BadPreface => "bad_preface",
            Self::PrefaceTimeout => "preface_timeout",
            Self::NoRoute => "no_route",
            Self::BadHello => "bad_client_hello",
            Self::HelloTooLong => "client_hello_too_long",
            Self::PeekTimeout => "peek_timeout",
            Self::PeekMemory => "peek_memory",
            Self::BadRequest => "bad_request",
            Self::HeaderTimeout => "header_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::RequestTimeout => "request_timeout",
            Self::ResponseTimeout => "response_timeout",
            Self::Drained => "drained",
            Self::Panicked => "panicked",
            Self::Error => "error",
        }
    }
}

/// A row of the connection table, copied.
#[derive(Clone, Debug)]
pub struct ConnectionReport {
    /// Unique in the process: shard in the upper 16 bits.
    pub id: u64,
    pub shard: u16,
    /// The client's address; `None` for an unnamed unix peer.
    pub peer: Option<std::net::SocketAddr>,
    pub listener: Arc<str>,
    /// `None` as long as its route is not known.
    pub cluster: Option<Arc<str>>,
    pub endpoint: Option<Address>,
    pub state: ConnectionState,
    /// The rungs that its directions are on.
    pub rung_up: RungKind,
    pub rung_down: RungKind,
    pub bytes_up: u64,
    pub bytes_down: u64,
    pub age: Duration,
    /// Since the last byte in either direction.
    pub idle: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Its first bytes are waited for, to choose its route.
    Peeking,
    /// Waits for its cluster or an endpoint to come below `max_connections`.
    Queued,
    Connecting,
    Open,
    /// The client has sent its FIN, the endpoint not yet.
    HalfClosedDownstream,
    /// The endpoint has sent its FIN, the client not yet.
    HalfClosedUpstream,
}

impl ConnectionState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Peeking => "peeking",
            Self::Queued => "queued",
            Self::Connecting => "connecting",
            Self::Open => "open",
            Self::HalfClosedDownstream => "half_closed_downstream",
            Self::HalfClosedUpstream => "half_closed_upstream",
        }
    }
}

/// Which connections a query wants.
#[derive(Clone, Debug, Default)]
pub struct ConnectionFilter {
    pub listener: Option<String>,
    pub cluster: Option<String>,
    pub endpoint: Option<String>,
    pub peer: Option<std::net::IpAddr>,
    pub state: Option<String>,
    /// Only those idle at least so long.
    pub idle_min: Option<Duration>,
    /// Rows that one answer may have, from all shards together.
    pub limit: usize,
}
