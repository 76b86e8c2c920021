//! Small configurations for tests, built without a file.

use balance_config::model::*;
use std::time::Duration;

pub(crate) fn config(listeners: Vec<Listener>, clusters: Vec<Cluster>) -> Config {
    Config {
        runtime: Runtime {
            cores: Cores::Auto,
            shards_per_core: 1,
            io: IoChoice::Auto,
            require_io_uring: false,
            forward: Forward::Auto,
        },
        performance: Performance {
            shard: ShardLimits { max_tasks: 1024, queue_size: 64, max_idle_time: Duration::from_secs(10) },
            buffer_pool: BufferPool {
                small_size: 4096,
                medium_size: 32 << 10,
                large_size: 64 << 10,
                huge_size: 1 << 20,
                ring_buffers: 256,
                memory_max: 64 << 20,
            },
            forward: ForwardTuning {
                promote_bytes: 8 << 10,
                promote_after: 2,
                demote_after: 4,
                splice_budget: 1 << 20,
                zc_min: 64 << 10,
            },
            pipes: Pipes { size: 256 << 10, size_max: 1 << 20, total_max: 256 << 20 },
            connection_pool: ConnectionPool {
                idle_per_endpoint_max: Some(100),
                per_endpoint_max: Some(1000),
                idle_timeout: Some(Duration::from_secs(55)),
            },
        },
        admin: Admin { listen: None },
        logging: Logging { level: LogLevel::Info, format: LogFormat::Text },
        drain: Drain { min: Duration::from_millis(50), deadline: Duration::from_secs(1) },
        dns: Dns {
            servers: vec![],
            ttl_min: Duration::from_secs(5),
            ttl_max: Duration::from_secs(300),
            timeout: Duration::from_secs(2),
            family: DnsFamily::Any,
        },
        listeners,
        clusters,
    }
}

pub(crate) fn listener(name: &str, bind: &[&str], cluster: &str) -> Listener {
    Listener {
        name: name.into(),
        bind: bind.iter().map(|a| address(a)).collect(),
        protocol: Protocol::Tcp,
        http: None,
        cluster: Some(cluster.into()),
        forward: None,
        max_connections: None,
        allow: vec![],
        deny: vec![],
        proxy_protocol: None,
        per_ip: None,
        routes: vec![],
        peek: Peek { timeout: Duration::from_secs(5), bytes_max: 16 << 10 },
        idle_timeout: Some(Duration::from_secs(3600)),
        half_close_timeout: None,
        ipv6_only: false,
        backlog: 128,
        socket: SocketOptions { nodelay: true, keepalive: Some(Duration::from_secs(60)) },
    }
}

pub(crate) fn cluster(name: &str, endpoints: &[&str]) -> Cluster {
    Cluster {
        name: name.into(),
        policy: Policy::RoundRobin,
        endpoints: endpoints.iter().map(|a| endpoint(a)).collect(),
        connect_timeout: Duration::from_secs(2),
        connect_attempts: 2,
        fail_timeout: Duration::from_secs(10),
        max_connections: None,
        queue: Queue { size: 0, timeout: Duration::from_secs(5) },
        pool: Pool {
            idle_max: None,
            idle_per_endpoint_max: Some(100),
            per_endpoint_max: Some(1000),
            idle_timeout: Some(Duration::from_secs(55)),
            requests_max: None,
            age_max: None,
        },
        timeouts: ClusterTimeouts { response: None, per_try: None },
        retry: Retry {
            attempts: 2,
            on: RetryOn { connect: true, unsent: true, reset: true },
            budget_percent: 20,
            budget_min: 10,
        },
        proxy_protocol: None,
        socket: SocketOptions { nodelay: true, keepalive: None },
    }
}

fn endpoint(text: &str) -> Endpoint {
    Endpoint { address: EndpointAddress::Address(address(text)), weight: 1, max_connections: None }
}

/// An endpoint by name.
pub(crate) fn named(host: &str, port: u16) -> Endpoint {
    Endpoint { address: EndpointAddress::Dns { host: host.into(), port }, weight: 1, max_connections: None }
}

fn address(text: &str) -> Address {
    match text.strip_prefix("unix:") {
        Some(path) => Address::Unix(path.into()),
        None => Address::Ip(text.parse().expect("an address in a test")),
    }
}
