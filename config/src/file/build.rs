//! From what was read to the model.
//!
//! Every accessor returns `None` for a value that is wrong; that has been reported, and then there is no configuration.

use std::{net::SocketAddr, time::Duration};

use super::{
    build_http,
    document::{Document, Named},
    section::Read,
    source::Place,
    value::Value,
};
use crate::model::{
    Address, Admin, BufferPool, Cluster, Config, ConnectionPool, ConnectionRate, Cores, Dns, DnsFamily, Drain,
    Endpoint, Forward, ForwardTuning, HostPattern, IoChoice, Listener, LogFormat, LogLevel, Logging, Matcher, Network,
    Peek, PerIp, Performance, Pipes, Policy, Protocol, ProxyProtocolIn, ProxyProtocolVersion, Queue, Route, RouteMatch,
    Runtime, ShardLimits, SniPattern, SocketOptions, Untrusted,
};
use crate::template::Template;

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

    /// The inner `None` is "unlimited".
    pub(crate) fn limit(&self, name: &str) -> Option<Option<u32>> {
        let Value::Limit(limit) = self.slot(name)?.value else { return None };
        limit.map_or(Some(None), |limit| u32::try_from(limit).ok().map(Some))
    }

    pub(crate) fn limit_u64(&self, name: &str) -> Option<Option<u64>> {
        if let Value::Limit(limit) = self.slot(name)?.value { Some(limit) } else { None }
    }

    // Each of a list with the place where it stands.

    pub(crate) fn addresses(&self, name: &str) -> Option<&[(Address, Place)]> {
        if let Value::Addresses(addresses) = &self.slot(name)?.value { Some(addresses) } else { None }
    }

    pub(crate) fn endpoints(&self, name: &str) -> Option<&[(Endpoint, Place)]> {
        if let Value::Endpoints(endpoints) = &self.slot(name)?.value { Some(endpoints) } else { None }
    }

    pub(crate) fn networks(&self, name: &str) -> Option<&[(Network, Place)]> {
        if let Value::Networks(networks) = &self.slot(name)?.value { Some(networks) } else { None }
    }

    pub(crate) fn servers(&self, name: &str) -> Option<&[(SocketAddr, Place)]> {
        if let Value::Servers(servers) = &self.slot(name)?.value { Some(servers) } else { None }
    }

    pub(crate) fn patterns(&self, name: &str) -> Option<&[(SniPattern, Place)]> {
        if let Value::Patterns(patterns) = &self.slot(name)?.value { Some(patterns) } else { None }
    }

    pub(crate) fn texts(&self, name: &str) -> Option<&[(String, Place)]> {
        if let Value::Texts(texts) = &self.slot(name)?.value { Some(texts) } else { None }
    }

    pub(crate) fn words(&self, name: &str) -> Option<&[&'static str]> {
        if let Value::Words(words) = &self.slot(name)?.value { Some(words) } else { None }
    }

    pub(crate) fn hosts(&self, name: &str) -> Option<&[(HostPattern, Place)]> {
        if let Value::Hosts(hosts) = &self.slot(name)?.value { Some(hosts) } else { None }
    }

    pub(crate) fn matchers(&self, name: &str) -> Option<&[(Matcher, Place)]> {
        if let Value::Matchers(matchers) = &self.slot(name)?.value { Some(matchers) } else { None }
    }

    pub(crate) fn template(&self, name: &str) -> Option<&Template> {
        if let Value::Template(template) = &self.slot(name)?.value { Some(template) } else { None }
    }

    pub(crate) fn table(&self, name: &str) -> Option<&Self> {
        if let Value::Table(read) = &self.slot(name)?.value { Some(read) } else { None }
    }

    /// Empty when there are none.
    pub(crate) fn tables(&self, name: &str) -> &[Self] {
        match self.slot(name).map(|slot| &slot.value) {
            Some(Value::Tables(all)) => all,
            _ => &[],
        }
    }

    /// The table `name` if it is there, as `build` makes it. The outer `None` is a table that is wrong.
    pub(super) fn optional<T>(&self, name: &str, build: impl Fn(&Self) -> Option<T>) -> Option<Option<T>> {
        self.table(name).map_or(Some(None), |table| build(table).map(Some))
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
            forward: forward_tuning(&document.forward)?,
            pipes: pipes(&document.pipes)?,
            connection_pool: connection_pool(&document.connection_pool)?,
        },
        admin: Admin { listen: document.admin.addresses("listen").and_then(|one| one.first()).map(|(a, _)| a.clone()) },
        logging: logging(&document.logging)?,
        drain: Drain { min: document.drain.duration("min")?, deadline: document.drain.duration("deadline")? },
        dns: dns(&document.dns)?,
        listeners: document.listeners.iter().map(listener).collect::<Option<_>>()?,
        clusters: {
            let pool = connection_pool(&document.connection_pool)?;
            document.clusters.iter().map(|named| cluster(named, pool)).collect::<Option<_>>()?
        },
    })
}

pub(super) fn values<T: Clone>(placed: Option<&[(T, Place)]>) -> Vec<T> {
    placed.into_iter().flatten().map(|(value, _)| value.clone()).collect()
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
        forward: forward(read.word("forward")?)?,
    })
}

fn forward(word: &str) -> Option<Forward> {
    Some(match word {
        "auto" => Forward::Auto,
        "copy" => Forward::Copy,
        "bundle" => Forward::Bundle,
        "splice" => Forward::Splice,
        "uring-splice" => Forward::UringSplice,
        "send-zc" => Forward::SendZc,
        _ => return None,
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

fn forward_tuning(read: &Read) -> Option<ForwardTuning> {
    Some(ForwardTuning {
        promote_bytes: read.integer("promote_bytes")?,
        promote_after: read.integer("promote_after")?,
        demote_after: read.integer("demote_after")?,
        splice_budget: read.integer("splice_budget")?,
        zc_min: read.integer("zc_min")?,
    })
}

fn pipes(read: &Read) -> Option<Pipes> {
    Some(Pipes {
        size: read.integer("size")?,
        size_max: read.integer("size_max")?,
        total_max: read.integer("total_max")?,
    })
}

fn connection_pool(read: &Read) -> Option<ConnectionPool> {
    Some(ConnectionPool {
        idle_per_endpoint_max: read.limit("max_idle_per_host")?,
        per_endpoint_max: read.limit("max_conns_per_host")?,
        idle_timeout: read.timeout("idle_timeout")?,
    })
}

fn dns(read: &Read) -> Option<Dns> {
    Some(Dns {
        servers: values(read.servers("servers")),
        ttl_min: read.duration("ttl_min")?,
        ttl_max: read.duration("ttl_max")?,
        timeout: read.duration("timeout")?,
        family: match read.word("family")? {
            "any" => DnsFamily::Any,
            "v4" => DnsFamily::V4,
            "v6" => DnsFamily::V6,
            _ => return None,
        },
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
    let protocol = match read.word("protocol")? {
        "tcp" => Protocol::Tcp,
        "http" => Protocol::Http,
        _ => return None,
    };
    let (routes, http) = match protocol {
        Protocol::Tcp => (read.tables("routes").iter().map(route).collect::<Option<_>>()?, None),
        Protocol::Http => (Vec::new(), Some(build_http::http(read)?)),
    };
    Some(Listener {
        name: read.text("name")?.to_owned(),
        bind: values(Some(read.addresses("bind")?)),
        protocol,
        http,
        // Absent only where routes make up for it, which is checked.
        cluster: read.text("cluster").map(str::to_owned),
        forward: read.word("forward").and_then(forward),
        max_connections: read.limit("max_connections")?,
        allow: values(read.networks("allow")),
        deny: values(read.networks("deny")),
        proxy_protocol: read.optional("proxy_protocol", proxy_protocol)?,
        per_ip: read.optional("per_ip", per_ip)?,
        routes,
        peek: Peek { timeout: read.duration("peek_timeout")?, bytes_max: read.integer("peek_bytes_max")? },
        idle_timeout: read.timeout("idle_timeout")?,
        half_close_timeout: read.timeout("half_close_timeout")?,
        ipv6_only: read.bool("ipv6_only")?,
        backlog: read.integer("backlog")?,
        socket: read.socket()?,
    })
}

fn proxy_protocol(read: &Read) -> Option<ProxyProtocolIn> {
    Some(ProxyProtocolIn {
        trusted: values(Some(read.networks("trusted")?)),
        untrusted: match read.word("untrusted")? {
            "reject" => Untrusted::Reject,
            "plain" => Untrusted::Plain,
            _ => return None,
        },
        timeout: read.duration("timeout")?,
    })
}

fn per_ip(read: &Read) -> Option<PerIp> {
    let rate = read.limit("rate")?;
    let burst = |rate| read.integer("burst").unwrap_or(rate);
    Some(PerIp {
        max_connections: read.limit("max_connections")?,
        rate: rate.map(|per_second| ConnectionRate { per_second, burst: burst(per_second) }),
        entries_max: read.integer("entries_max")?,
        v6_prefix: read.integer("v6_prefix")?,
    })
}

fn route(read: &Read) -> Option<Route> {
    let when = read.table("match")?;
    Some(Route {
        when: RouteMatch { sni: values(when.patterns("sni")), alpn: values(when.texts("alpn")) },
        cluster: read.text("cluster")?.to_owned(),
    })
}

fn cluster(Named { name, read, .. }: &Named, pool: ConnectionPool) -> Option<Cluster> {
    Some(Cluster {
        name: name.clone(),
        policy: match read.word("policy")? {
            "round-robin" => Policy::RoundRobin,
            "weighted-round-robin" => Policy::WeightedRoundRobin,
            "least-connections" => Policy::LeastConnections,
            "random-two" => Policy::RandomTwo,
            _ => return None,
        },
        endpoints: values(Some(read.endpoints("endpoints")?)),
        connect_timeout: read.duration("connect_timeout")?,
        connect_attempts: read.integer("connect_attempts")?,
        fail_timeout: read.duration("fail_timeout")?,
        max_connections: read.limit("max_connections")?,
        queue: queue(read.table("queue")?)?,
        pool: build_http::pool(read.table("pool")?, pool)?,
        timeouts: build_http::cluster_timeouts(read.table("timeouts")?)?,
        retry: build_http::retry(read.table("retry")?)?,
        proxy_protocol: read.word("proxy_protocol").and_then(proxy_version),
        socket: read.socket()?,
    })
}

fn queue(read: &Read) -> Option<Queue> {
    Some(Queue { size: read.integer("size")?, timeout: read.duration("timeout")? })
}

fn proxy_version(word: &str) -> Option<ProxyProtocolVersion> {
    match word {
        "v1" => Some(ProxyProtocolVersion::V1),
        "v2" => Some(ProxyProtocolVersion::V2),
        _ => None,
    }
}
