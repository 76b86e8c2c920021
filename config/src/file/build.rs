//! From what was read to the model.
//!
//! Every accessor returns `None` for a value that is wrong; that has been reported, and then there is no configuration.

use std::time::Duration;

use super::{
    document::{Document, Named},
    section::Read,
    value::Value,
};
use crate::model::{
    Address, Admin, BufferPool, Cluster, Config, Cores, Dns, DnsFamily, Drain, Endpoint, Forward, ForwardTuning,
    IoChoice, Listener, LogFormat, LogLevel, Logging, Peek, Performance, Pipes, Policy, Protocol, Queue, Runtime,
    ShardLimits, SocketOptions,
};

impl Read {
    pub(crate) fn bool(&self, name: &str) -> Option<bool> {
        if let Value::Bool(bool) = self.slot(name)?.value { Some(bool) } else { None }
    }

    pub(crate) fn integer<T: TryFrom<u64>>(&self, name: &str) -> Option<T> {
        if let Value::Integer(integer) = self.slot(name)?.value { T::try_from(integer).ok() } else { None }
    }

    /// The inner `None` is "never".
    pub(crate) fn timeout(&self, name: &str) -> Option<Option<Duration>> {
        if let Value::Duration(duration) = self.slot(name)?.value { Some(duration) } else { None }
    }

    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        self.timeout(name)?
    }

    pub(crate) fn word(&self, name: &str) -> Option<&'static str> {
        if let Value::Word(word) = self.slot(name)?.value { Some(word) } else { None }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        if let Value::Text(text) = &self.slot(name)?.value { Some(text) } else { None }
    }

    pub(crate) fn cores(&self, name: &str) -> Option<Cores> {
        if let Value::Cores(cores) = &self.slot(name)?.value { Some(cores.clone()) } else { None }
    }

    /// Each with the place where it stands.
    pub(crate) fn addresses(&self, name: &str) -> Option<&[(Address, super::source::Place)]> {
        if let Value::Addresses(addresses) = &self.slot(name)?.value { Some(addresses) } else { None }
    }

    pub(crate) fn endpoints(&self, name: &str) -> Option<&[(Endpoint, super::source::Place)]> {
        if let Value::Endpoints(endpoints) = &self.slot(name)?.value { Some(endpoints) } else { None }
    }

    fn socket(&self) -> Option<SocketOptions> {
        Some(SocketOptions { nodelay: self.bool("nodelay")?, keepalive: self.timeout("keepalive")? })
    }
}

pub(crate) fn config(document: &Document) -> Option<Config> {
    Some(Config {
        runtime: runtime(&document.runtime)?,
        performance: Performance {
            shard: shard(&document.shard)?,
            buffer_pool: buffer_pool(&document.buffer_pool)?,
            forward: FORWARD,
            pipes: PIPES,
        },
        admin: Admin { listen: document.admin.addresses("listen").and_then(|one| one.first()).map(|(a, _)| a.clone()) },
        logging: logging(&document.logging)?,
        drain: Drain { min: document.drain.duration("min")?, deadline: document.drain.duration("deadline")? },
        dns: dns(),
        listeners: document.listeners.iter().map(listener).collect::<Option<_>>()?,
        clusters: document.clusters.iter().map(cluster).collect::<Option<_>>()?,
    })
}

// The keys of these are not read yet.
const FORWARD: ForwardTuning = ForwardTuning {
    promote_bytes: 8 << 10,
    promote_after: 2,
    demote_after: 4,
    splice_budget: 1 << 20,
    zc_min: 64 << 10,
};
const PIPES: Pipes = Pipes { size: 256 << 10, size_max: 1 << 20, total_max: 256 << 20 };

fn dns() -> Dns {
    Dns {
        servers: Vec::new(),
        ttl_min: Duration::from_secs(5),
        ttl_max: Duration::from_secs(300),
        timeout: Duration::from_secs(2),
        family: DnsFamily::Any,
    }
}

fn runtime(read: &Read) -> Option<Runtime> {
    Some(Runtime {
        cores: read.cores("cores")?,
        shards_per_core: read.integer("shards_per_core")?,
        io: match read.word("io")? {
            "auto" => IoChoice::Auto,
            "uring" => IoChoice::Uring,
            "epoll" => IoChoice::Epoll,
            _ => return None,
        },
        require_io_uring: read.bool("require_io_uring")?,
        forward: Forward::Auto,
    })
}

fn shard(read: &Read) -> Option<ShardLimits> {
    Some(ShardLimits {
        max_tasks: read.integer("max_tasks")?,
        queue_size: read.integer("queue_size")?,
        max_idle_time: read.duration("max_idle_time")?,
    })
}

fn buffer_pool(read: &Read) -> Option<BufferPool> {
    Some(BufferPool {
        small_size: read.integer("small_size")?,
        medium_size: read.integer("medium_size")?,
        large_size: read.integer("large_size")?,
        huge_size: read.integer("huge_size")?,
        ring_buffers: read.integer("ring_buffers")?,
        memory_max: read.integer("memory_max")?,
    })
}

fn logging(read: &Read) -> Option<Logging> {
    Some(Logging {
        level: match read.word("level")? {
            "error" => LogLevel::Error,
            "warn" => LogLevel::Warn,
            "info" => LogLevel::Info,
            "debug" => LogLevel::Debug,
            "trace" => LogLevel::Trace,
            _ => return None,
        },
        format: match read.word("format")? {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => return None,
        },
    })
}

fn listener(read: &Read) -> Option<Listener> {
    Some(Listener {
        name: read.text("name")?.to_owned(),
        bind: read.addresses("bind")?.iter().map(|(address, _)| address.clone()).collect(),
        protocol: match read.word("protocol")? {
            "tcp" => Protocol::Tcp,
            _ => return None,
        },
        cluster: Some(read.text("cluster")?.to_owned()),
        forward: None,
        max_connections: None,
        allow: Vec::new(),
        deny: Vec::new(),
        proxy_protocol: None,
        per_ip: None,
        routes: Vec::new(),
        peek: Peek { timeout: Duration::from_secs(5), bytes_max: 16 << 10 },
        idle_timeout: read.timeout("idle_timeout")?,
        half_close_timeout: read.timeout("half_close_timeout")?,
        ipv6_only: read.bool("ipv6_only")?,
        backlog: read.integer("backlog")?,
        socket: read.socket()?,
    })
}

fn cluster(Named { name, read, .. }: &Named) -> Option<Cluster> {
    Some(Cluster {
        name: name.clone(),
        policy: match read.word("policy")? {
            "round-robin" => Policy::RoundRobin,
            "weighted-round-robin" => Policy::WeightedRoundRobin,
            "least-connections" => Policy::LeastConnections,
            "random-two" => Policy::RandomTwo,
            _ => return None,
        },
        endpoints: read.endpoints("endpoints")?.iter().map(|(endpoint, _)| endpoint.clone()).collect(),
        connect_timeout: read.duration("connect_timeout")?,
        connect_attempts: read.integer("connect_attempts")?,
        fail_timeout: read.duration("fail_timeout")?,
        max_connections: None,
        queue: Queue { size: 0, timeout: Duration::from_secs(5) },
        proxy_protocol: None,
        socket: read.socket()?,
    })
}
