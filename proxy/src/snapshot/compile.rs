//! From a configuration to a [`Snapshot`], with identities that survive a reload.
//!
//! Whatever a reload leaves alone is the same object afterwards: the shard compares pointers, and the old snapshot's
//! memory is shared, not copied.

use super::{Bind, BindId, Cluster, Endpoint, EndpointId, Http, Listener, PerIp, Routing, Snapshot};
use crate::{
    client_hello::Routes,
    guard::Guard,
    l4::{self, LadderSettings},
    per_ip::{Addresses, Limits, Rate, Shape},
    permits::{Limit, WaitList},
    report::RungKind,
    route::{ClusterIndex, Name, Router, TrustedProxies},
};
use balance_config::model::{self, Address, Config, EndpointAddress, SocketOptions};
use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    net::SocketAddr,
    num::NonZeroU32,
    path::PathBuf,
    sync::Arc,
};

/// The identities that the running snapshot uses. An identity is never given out again, so that a shard cannot mistake
/// a new thing for an old one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    binds: Table<BindKey>,
    endpoints: Table<EndpointKey>,
}

#[derive(Clone, Debug)]
struct Table<K> {
    known: HashMap<K, u32>,
    next: u32,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { known: HashMap::new(), next: 0 }
    }
}

impl<K: Eq + Hash> Table<K> {
    fn id(&mut self, key: K) -> u32 {
        let next = &mut self.next;
        *self.known.entry(key).or_insert_with(|| {
            *next += 1;
            *next
        })
    }

    /// Forgets what `used` does not name, so that years of reloads do not add up.
    fn keep(&mut self, used: impl Iterator<Item = u32>) {
        let used: HashSet<u32> = used.collect();
        self.known.retain(|_, id| used.contains(id));
    }
}

/// What makes two sockets the same one. The listener is part of it: a shard accepts for the listener that a socket came
/// with, so an address that passes to another listener comes with another socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum BindKey {
    Tcp {
        listener: String,
        address: SocketAddr,
        /// Port 0 asks for a port of one's own: the position tells such requests apart.
        position: Option<usize>,
        nodelay: bool,
        keepalive: Option<std::time::Duration>,
        backlog: u32,
        ipv6_only: bool,
    },
    /// TCP options mean nothing here.
    Unix { listener: String, path: PathBuf, backlog: u32 },
}

type EndpointKey = (String, Address);

impl BindKey {
    fn new(listener: &model::Listener, index: usize) -> Self {
        let (name, backlog) = (listener.name.clone(), listener.backlog);
        match &listener.bind[index] {
            Address::Unix(path) => Self::Unix { listener: name, path: path.clone(), backlog },
            Address::Ip(address) => Self::Tcp {
                listener: name,
                address: *address,
                position: (address.port() == 0).then_some(index),
                nodelay: listener.socket.nodelay,
                keepalive: listener.socket.keepalive,
                backlog,
                ipv6_only: listener.ipv6_only && address.is_ipv6(),
            },
        }
    }
}

/// The snapshot before, by names: a configuration may have ten thousand clusters.
#[derive(Default)]
struct Previous<'a> {
    clusters: HashMap<&'a str, &'a Arc<Cluster>>,
    listeners: HashMap<&'a str, &'a Arc<Listener>>,
}

impl<'a> Previous<'a> {
    fn new(snapshot: &'a Snapshot) -> Self {
        Self {
            clusters: snapshot.clusters.iter().map(|c| (&*c.name, c)).collect(),
            listeners: snapshot.listeners.iter().map(|l| (&*l.name, l)).collect(),
        }
    }
}

/// The address of an endpoint. A name has none by itself: whoever compiles puts addresses in its place before.
fn direct(endpoint: &model::Endpoint) -> Option<&Address> {
    match &endpoint.address {
        EndpointAddress::Address(address) => Some(address),
        EndpointAddress::Dns { .. } => None,
    }
}

/// Compiles `config` as the successor of `previous`.
///
/// # Panics
/// When a listener or a route names a cluster that is not there, which loading a configuration rules out.
pub(crate) fn compile(config: &Config, previous: Option<&Snapshot>, ids: &mut Ids) -> Snapshot {
    let version = previous.map_or(1, |p| p.version + 1);
    let old = previous.map(Previous::new).unwrap_or_default();
    let spoken_to = spoken_to(config);
    let compile_cluster = |from: &model::Cluster| {
        let limit = from.pool.per_endpoint_max.filter(|_| spoken_to.contains(&*from.name));
        cluster(from, limit, old.clusters.get(&*from.name).copied(), ids)
    };
    let clusters: Vec<_> = config.clusters.iter().map(compile_cluster).collect();
    let by_name: HashMap<&str, &Arc<Cluster>> = clusters.iter().map(|c| (&*c.name, c)).collect();
    let compile_listener = |from: &model::Listener| {
        let named = |name: &str| Arc::clone(by_name.get(name).expect("loading resolves every reference"));
        let old = old.listeners.get(&*from.name).copied();
        let routing = routing(from, named, old.and_then(|o| o.routing.as_ref()));
        let http = from.http.as_ref().map(|settings| http(from, settings, named, old));
        let to = Ways { cluster: from.cluster.as_deref().map(named), routing, http };
        listener(from, to, ladder(config, from), old, ids)
    };
    let listeners: Vec<_> = config.listeners.iter().map(compile_listener).collect();
    ids.binds.keep(listeners.iter().flat_map(|l| &l.binds).map(|b| b.id.0));
    ids.endpoints.keep(clusters.iter().flat_map(|c| &c.endpoints).map(|e| e.id.0));
    Snapshot { version, listeners, clusters }
}

/// The clusters to which HTTP is spoken.
fn spoken_to(config: &Config) -> HashSet<&str> {
    let of = |listener: &'_ model::Listener| {
        let mut names = Vec::new();
        let http = listener.http.as_ref()?;
        for route in &http.routes {
            if let model::RouteAction::Forward(clusters) = &route.action {
                names.extend(clusters.iter().map(|cluster| cluster.name.clone()));
            }
        }
        names.extend(listener.cluster.clone());
        Some(names)
    };
    let names: HashSet<String> = config.listeners.iter().filter_map(of).flatten().collect();
    config.clusters.iter().map(|cluster| &*cluster.name).filter(|name| names.contains(*name)).collect()
}

/// `endpoint_max`: connections to an endpoint that has no limit of its own.
fn cluster(
    from: &model::Cluster,
    endpoint_max: Option<u32>,
    old: Option<&Arc<Cluster>>,
    ids: &mut Ids,
) -> Arc<Cluster> {
    let limit = old.map_or_else(|| Limit::new(from.max_connections, WaitList::new()), |o| Arc::clone(&o.limit));
    let known: HashMap<EndpointId, &Arc<Endpoint>> = old.iter().flat_map(|c| &c.endpoints).map(|e| (e.id, e)).collect();
    let endpoints = from
        .endpoints
        .iter()
        .filter_map(|e| direct(e).map(|address| (e, address)))
        .map(|(e, address)| {
            let id = EndpointId(ids.endpoints.id((from.name.clone(), address.clone())));
            let known = known.get(&id).copied();
            let limit = known.map_or_else(
                || Limit::new(e.max_connections.or(endpoint_max), Arc::clone(limit.waits())),
                |known| Arc::clone(&known.limit),
            );
            let idle_limit = known.map_or_else(
                || Limit::new(from.pool.idle_per_endpoint_max, WaitList::new()),
                |known| Arc::clone(&known.idle_limit),
            );
            let new = Endpoint {
                id,
                address: address.clone(),
                weight: e.weight,
                max_connections: e.max_connections.or(endpoint_max),
                limit,
                idle_limit,
            };
            let same =
                |old: &Endpoint, new: &Endpoint| old.weight == new.weight && old.max_connections == new.max_connections;
            reuse(known, new, same)
        })
        .collect();
    let new = Cluster {
        name: old.map_or_else(|| from.name.as_str().into(), |o| o.name.clone()),
        policy: from.policy,
        endpoints,
        connect_timeout: from.connect_timeout,
        connect_attempts: from.connect_attempts,
        fail_timeout: from.fail_timeout,
        max_connections: from.max_connections,
        limit,
        idle_limit: old.map_or_else(|| Limit::new(from.pool.idle_max, WaitList::new()), |o| Arc::clone(&o.idle_limit)),
        pool: from.pool,
        timeouts: from.timeouts,
        retry: from.retry,
        queue: from.queue,
        socket: from.socket,
        proxy_protocol: from.proxy_protocol,
    };
    reuse(old, new, |old, new| {
        old.policy == new.policy
            && same_objects(&old.endpoints, &new.endpoints)
            && old.connect_timeout == new.connect_timeout
            && old.connect_attempts == new.connect_attempts
            && old.fail_timeout == new.fail_timeout
            && old.max_connections == new.max_connections
            && old.queue == new.queue
            && old.pool == new.pool
            && old.timeouts == new.timeouts
            && old.retry == new.retry
            && old.socket == new.socket
            && old.proxy_protocol == new.proxy_protocol
    })
}

fn routing(
    from: &model::Listener,
    named: impl Fn(&str) -> Arc<Cluster>,
    old: Option<&Arc<Routing>>,
) -> Option<Arc<Routing>> {
    if from.routes.is_empty() {
        return None;
    }
    let clusters = from.routes.iter().map(|route| named(&route.cluster)).collect();
    let new = Routing { routes: Routes::compile(&from.routes), clusters, peek: from.peek };
    let same = |old: &Routing, new: &Routing| {
        old.routes == new.routes && same_objects(&old.clusters, &new.clusters) && old.peek == new.peek
    };
    Some(reuse(old, new, same))
}

/// Where a listener's connections may go.
struct Ways {
    cluster: Option<Arc<Cluster>>,
    routing: Option<Arc<Routing>>,
    http: Option<Arc<Http>>,
}

/// `named` gives the cluster of a name.
fn http(
    from: &model::Listener,
    settings: &model::Http,
    named: impl Fn(&str) -> Arc<Cluster>,
    old: Option<&Arc<Listener>>,
) -> Arc<Http> {
    let (mut numbers, mut clusters) = (HashMap::new(), Vec::new());
    let mut number_of = |name: &str| {
        *numbers.entry(name.to_owned()).or_insert_with(|| {
            clusters.push(named(name));
            ClusterIndex(clusters.len() as u32 - 1)
        })
    };
    let default = from.cluster.as_deref();
    let is_same = |old: &&Arc<Listener>| {
        let old_default = old.cluster.as_ref().map(|cluster| &*cluster.name);
        old_default == default && old.idle_timeout == from.idle_timeout
    };
    let known = old.filter(is_same).and_then(|old| old.http.as_ref()).filter(|old| old.settings == *settings);
    // Clusters have their numbers by the order in which routes name them, so these are the same for the same routes.
    let router = known.map(|known| Arc::clone(&known.router));
    let router = match router {
        Some(router) => {
            Router::number(settings, default, &mut number_of);
            router
        }
        None => Arc::new(Router::compile(settings, &from.name, default, from.idle_timeout, &mut number_of)),
    };
    let new = Http {
        settings: settings.clone(),
        router,
        clusters,
        proxies: TrustedProxies::new(&settings.trusted_proxies, settings.client_ip_from),
        request_id: Name::new(&settings.request_id.header),
    };
    reuse(known, new, |old, new| same_objects(&old.clusters, &new.clusters))
}

fn listener(
    from: &model::Listener,
    to: Ways,
    ladder: LadderSettings,
    old: Option<&Arc<Listener>>,
    ids: &mut Ids,
) -> Arc<Listener> {
    let bind = |(index, address): (usize, &Address)| Bind {
        id: BindId(ids.binds.id(BindKey::new(from, index))),
        address: address.clone(),
    };
    let new = Listener {
        name: old.map_or_else(|| from.name.as_str().into(), |o| o.name.clone()),
        binds: from.bind.iter().enumerate().map(bind).collect(),
        cluster: to.cluster,
        routing: to.routing,
        http: to.http,
        max_connections: from.max_connections,
        limit: old.map_or_else(|| Limit::new(from.max_connections, WaitList::new()), |o| Arc::clone(&o.limit)),
        idle_timeout: from.idle_timeout,
        half_close_timeout: from.half_close_timeout,
        ladder,
        guard: Arc::new(Guard::new(from)),
        per_ip: from.per_ip.map(|wanted| per_ip(&wanted, old)),
    };
    reuse(old, new, |old, new| {
        old.binds.iter().map(|b| b.id).eq(new.binds.iter().map(|b| b.id))
            && same_or_none(old.cluster.as_ref(), new.cluster.as_ref())
            && same_or_none(old.routing.as_ref(), new.routing.as_ref())
            && same_or_none(old.http.as_ref(), new.http.as_ref())
            && old.max_connections == new.max_connections
            && old.idle_timeout == new.idle_timeout
            && old.half_close_timeout == new.half_close_timeout
            && old.ladder == new.ladder
            && old.guard == new.guard
            && same_per_ip(old.per_ip.as_ref(), new.per_ip.as_ref())
    })
}

/// The addresses that are known stay known, unless they are to be filed otherwise.
fn per_ip(from: &model::PerIp, old: Option<&Arc<Listener>>) -> PerIp {
    let shape = Shape { entries_max: from.entries_max as usize, v6_prefix: from.v6_prefix };
    let rate = from.rate.and_then(|rate| {
        Some(Rate { per_second: NonZeroU32::new(rate.per_second)?, burst: NonZeroU32::new(rate.burst)? })
    });
    let limits = Limits { connections_max: from.max_connections.and_then(NonZeroU32::new), rate };
    let known = old.and_then(|old| old.per_ip.as_ref()).filter(|known| known.addresses.shape() == shape);
    let addresses = known.map_or_else(|| Addresses::new(shape, limits), |known| Arc::clone(&known.addresses));
    PerIp { limits, addresses }
}

fn same_per_ip(old: Option<&PerIp>, new: Option<&PerIp>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => old.limits == new.limits && Arc::ptr_eq(&old.addresses, &new.addresses),
        (None, None) => true,
        _ => false,
    }
}

fn ladder(config: &Config, listener: &model::Listener) -> LadderSettings {
    let tuning = config.performance.forward;
    LadderSettings {
        forward: forward(config.forward_of(listener)),
        promote_bytes: tuning.promote_bytes,
        promote_after: tuning.promote_after,
        demote_after: tuning.demote_after,
        zc_min: tuning.zc_min,
        budget: tuning.splice_budget,
    }
}

fn forward(from: model::Forward) -> l4::Forward {
    let rung = match from {
        model::Forward::Auto => return l4::Forward::Auto,
        model::Forward::Copy => RungKind::Copy,
        model::Forward::Bundle => RungKind::Bundle,
        model::Forward::Splice => RungKind::Splice,
        model::Forward::UringSplice => RungKind::UringSplice,
        model::Forward::SendZc => RungKind::SendZc,
    };
    l4::Forward::Always(rung)
}

fn reuse<T>(old: Option<&Arc<T>>, new: T, same: impl Fn(&T, &T) -> bool) -> Arc<T> {
    match old {
        Some(old) if same(old, &new) => old.clone(),
        _ => Arc::new(new),
    }
}

fn same_or_none<T>(a: Option<&Arc<T>>, b: Option<&Arc<T>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

fn same_objects<T>(a: &[Arc<T>], b: &[Arc<T>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}

/// Everything that making a listening socket takes.
#[derive(Clone, Debug)]
pub(crate) struct BindPlan {
    pub(crate) id: BindId,
    pub(crate) listener: Arc<str>,
    pub(crate) address: Address,
    pub(crate) backlog: u32,
    pub(crate) ipv6_only: bool,
    pub(crate) socket: SocketOptions,
}

/// The sockets that `snapshot`, compiled from `config`, wants.
pub(crate) fn bind_plans(config: &Config, snapshot: &Snapshot) -> Vec<BindPlan> {
    let pairs = config.listeners.iter().zip(&snapshot.listeners);
    pairs
        .flat_map(|(from, compiled)| {
            compiled.binds.iter().map(|bind| BindPlan {
                id: bind.id,
                listener: compiled.name.clone(),
                address: bind.address.clone(),
                backlog: from.backlog,
                ipv6_only: from.ipv6_only,
                socket: from.socket,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::fixture::{cluster, config, listener};
    use std::time::Duration;

    fn two() -> Config {
        config(
            vec![listener("web", &["127.0.0.1:8080"], "app"), listener("db", &["127.0.0.1:0"], "db")],
            vec![cluster("app", &["10.0.0.1:1", "10.0.0.2:1"]), cluster("db", &["10.0.0.1:1"])],
        )
    }

    #[test]
    fn unchanged_things_are_the_same_objects_after_a_reload() {
        let mut ids = Ids::default();
        let first = compile(&two(), None, &mut ids);
        let mut changed = two();
        changed.clusters[1].policy = model::Policy::LeastConnections;
        let second = compile(&changed, Some(&first), &mut ids);

        assert_eq!((first.version, second.version), (1, 2));
        assert!(Arc::ptr_eq(&first.listeners[0], &second.listeners[0]));
        assert!(Arc::ptr_eq(&first.clusters[0], &second.clusters[0]));
        assert!(!Arc::ptr_eq(&first.clusters[1], &second.clusters[1]));
        assert!(Arc::ptr_eq(&first.clusters[1].endpoints[0], &second.clusters[1].endpoints[0]));
        // Its cluster changed, so the listener must be a new one, on the same socket.
        assert!(!Arc::ptr_eq(&first.listeners[1], &second.listeners[1]));
        assert_eq!(first.listeners[1].binds[0].id, second.listeners[1].binds[0].id);
    }

    /// What speaks HTTP, as a file says it.
    fn web(routes: &str) -> Config {
        let text = format!(
            "[[listeners]]\nname = \"web\"\nbind = \"127.0.0.1:80\"\nprotocol = \"http\"\ncluster = \"a\"\n{routes}\n\
             [clusters.a]\nendpoints = [\"10.0.0.1:1\"]\n[clusters.b]\nendpoints = [\"10.0.0.2:1\"]\n"
        );
        let loaded = balance_config::file::parse("test", &text, &balance_config::env::NoEnv, &[]);
        loaded.unwrap_or_else(|report| panic!("{report}")).config
    }

    #[test]
    fn routes_that_did_not_change_are_not_compiled_again() {
        let routes =
            "[[listeners.routes]]\nmatch = { path = \"/b\" }\nclusters = [{ name = \"b\" }, { name = \"a\" }]\n";
        let (config, mut ids) = (web(routes), Ids::default());
        let http = |s: &Snapshot| Arc::clone(s.listeners[0].http.as_ref().expect("it speaks HTTP"));
        let names = |http: &Http| http.clusters.iter().map(|cluster| cluster.name.to_string()).collect::<Vec<_>>();
        let first = compile(&config, None, &mut ids);
        assert_eq!(names(&http(&first)), ["b", "a"]);
        let second = compile(&config, Some(&first), &mut ids);
        assert!(Arc::ptr_eq(&first.listeners[0], &second.listeners[0]));

        let mut changed = config.clone();
        changed.clusters[0].retry.attempts = 1;
        let third = compile(&changed, Some(&second), &mut ids);
        assert!(!Arc::ptr_eq(&http(&second), &http(&third)));
        assert!(Arc::ptr_eq(&http(&second).router, &http(&third).router));
        assert_eq!(names(&http(&third)), ["b", "a"]);
        assert_eq!(http(&third).clusters[1].retry.attempts, 1);

        let fourth = compile(&web(&routes.replace("/b", "/c")), Some(&third), &mut ids);
        assert!(!Arc::ptr_eq(&http(&third).router, &http(&fourth).router));
        let mut moved = web(routes);
        moved.listeners[0].cluster = Some("b".to_owned());
        let fifth = compile(&moved, Some(&first), &mut ids);
        assert!(!Arc::ptr_eq(&http(&first).router, &http(&fifth).router));
    }

    #[test]
    fn an_endpoint_keeps_its_identity_when_only_its_weight_changes() {
        let mut ids = Ids::default();
        let first = compile(&two(), None, &mut ids);
        let mut changed = two();
        changed.clusters[0].endpoints[0].weight = 9;
        changed.clusters[0].endpoints.swap(0, 1);
        let second = compile(&changed, Some(&first), &mut ids);
        let (old, new) = (&first.clusters[0].endpoints, &second.clusters[0].endpoints);
        assert_eq!((old[0].id, old[1].id), (new[1].id, new[0].id));
        assert!(Arc::ptr_eq(&old[1], &new[0]));
        assert_eq!(new[1].weight, 9);
    }

    #[test]
    fn a_limit_outlives_a_reload_that_changes_its_number_and_is_not_changed_by_compiling() {
        let mut ids = Ids::default();
        let first = compile(&two(), None, &mut ids);
        let mut changed = two();
        changed.listeners[0].max_connections = Some(5);
        changed.clusters[0].max_connections = Some(6);
        changed.clusters[0].endpoints[0].max_connections = Some(7);
        let second = compile(&changed, Some(&first), &mut ids);
        let limits = |s: &Snapshot| {
            let cluster = &s.clusters[0];
            [&s.listeners[0].limit, &cluster.limit, &cluster.endpoints[0].limit].map(Arc::clone)
        };
        for (old, new) in limits(&first).iter().zip(&limits(&second)) {
            assert!(Arc::ptr_eq(old, new));
            assert_eq!(new.max(), None);
        }
        second.enforce_limits();
        assert_eq!(limits(&second).map(|l| l.max()), [Some(5), Some(6), Some(7)]);
        // Endpoints are waited for where their cluster is.
        let cluster = &second.clusters[0];
        assert!(Arc::ptr_eq(cluster.limit.waits(), cluster.endpoints[0].limit.waits()));
    }

    #[test]
    fn the_same_address_in_two_clusters_is_two_endpoints() {
        let snapshot = compile(&two(), None, &mut Ids::default());
        assert_ne!(snapshot.clusters[0].endpoints[0].id, snapshot.clusters[1].endpoints[0].id);
    }

    #[test]
    fn socket_options_make_a_new_socket_and_timeouts_do_not() {
        let mut ids = Ids::default();
        let first = compile(&two(), None, &mut ids);
        let id = |s: &Snapshot| s.listeners[0].binds[0].id;

        let mut timeouts = two();
        timeouts.listeners[0].idle_timeout = Some(Duration::from_secs(1));
        let second = compile(&timeouts, Some(&first), &mut ids);
        assert_eq!(id(&first), id(&second));

        let mut options = two();
        options.listeners[0].socket.nodelay = !options.listeners[0].socket.nodelay;
        assert_ne!(id(&first), id(&compile(&options, Some(&second), &mut ids)));
    }

    #[test]
    fn an_address_that_passes_to_another_listener_is_another_socket() {
        let mut ids = Ids::default();
        let first = compile(&two(), None, &mut ids);
        let mut renamed = two();
        renamed.listeners[0].name = "site".to_owned();
        let second = compile(&renamed, Some(&first), &mut ids);
        assert_ne!(first.listeners[0].binds[0].id, second.listeners[0].binds[0].id);
        assert_eq!(first.listeners[1].binds[0].id, second.listeners[1].binds[0].id);
    }

    #[test]
    fn port_zero_twice_is_two_sockets() {
        let c = config(
            vec![listener("a", &["127.0.0.1:0", "127.0.0.1:0"], "app"), listener("b", &["127.0.0.1:0"], "app")],
            vec![cluster("app", &[])],
        );
        let plans = bind_plans(&c, &compile(&c, None, &mut Ids::default()));
        let ids: HashSet<BindId> = plans.iter().map(|p| p.id).collect();
        assert_eq!(ids.len(), 3);
    }

    #[test]
    fn an_identity_is_not_given_out_again() {
        let mut ids = Ids::default();
        let first = compile(&two(), None, &mut ids);
        let gone = config(vec![], vec![]);
        let second = compile(&gone, Some(&first), &mut ids);
        let third = compile(&two(), Some(&second), &mut ids);
        assert_ne!(first.listeners[0].binds[0].id, third.listeners[0].binds[0].id);
        assert_ne!(first.clusters[0].endpoints[0].id, third.clusters[0].endpoints[0].id);
    }
}
