//! The internal model: what every source of configuration (TOML file, command line, admin call, xDS) becomes.
//!
//! Plain values, already validated where one value alone can tell. No serde here: a wire or file format has its own
//! types and converts into these.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

/// A whole configuration. Names are unique and every reference resolves: [`crate::file`] checks before it builds one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub runtime: Runtime,
    pub performance: Performance,
    pub admin: Admin,
    pub logging: Logging,
    pub drain: Drain,
    pub listeners: Vec<Listener>,
    pub clusters: Vec<Cluster>,
}

/// Where shards run and on which driver. Read at start; a reload that changes it says that a restart is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    pub cores: Cores,
    /// More than one shard a core only makes sense in tests.
    pub shards_per_core: u16,
    pub io: IoChoice,
    /// Refuse to start (exit 71) where io_uring cannot run.
    pub require_io_uring: bool,
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Performance {
    pub shard: ShardLimits,
    pub buffer_pool: BufferPool,
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub name: String,
    /// Never empty.
    pub bind: Vec<Address>,
    pub protocol: Protocol,
    pub cluster: String,
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
    pub socket: SocketOptions,
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
    pub address: Address,
    /// 1..=65535.
    pub weight: u16,
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
