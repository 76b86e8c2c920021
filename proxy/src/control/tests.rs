//! The control thread in front of fake shards: what a reload, a drain and a stalled shard do to each other.

use super::{
    drain,
    events::{Events, Signals},
    fake::{Knobs, start_with},
    fixture::{cluster, config, listener, named},
    *,
};
use crate::{
    admin::status,
    dns::name_server::{Manner, NameServer},
    link::ShardLink,
    source::Source,
};
use balance_config::{
    diagnostic::{Diagnostic, Report, Severity},
    file::Loaded,
    model::{Address, Config, Cores, DnsFamily},
    provenance::Provenance,
};
use std::{net::TcpStream, sync::atomic::Ordering, time::Duration};
use tokio::sync::mpsc::Receiver;
use tokio::time::Instant;

/// Short, because the tests of stalled shards wait for it.
const ANSWER_WAIT: Duration = Duration::from_millis(200);

/// A source that says what the test says.
#[derive(Clone)]
struct Scripted(Arc<Mutex<Result<Config, Report>>>);

impl Scripted {
    fn new(config: Config) -> Self {
        Self(Arc::new(Mutex::new(Ok(config))))
    }

    fn set(&self, config: Config) {
        *self.0.lock().unwrap() = Ok(config);
    }

    fn break_it(&self) {
        let diagnostic = Diagnostic::about(Severity::Error, "test.toml", "unknown key `coers`");
        *self.0.lock().unwrap() = Err(Report::one(diagnostic));
    }
}

impl Source for Scripted {
    fn load(&self) -> Result<Loaded, Report> {
        let config = self.0.lock().unwrap().clone()?;
        Ok(Loaded { config, warnings: Vec::new(), provenance: Provenance::new("test.toml") })
    }

    fn name(&self) -> String {
        "test.toml".to_owned()
    }
}

struct World {
    control: Arc<Control>,
    orders: Option<Receiver<DrainOrder>>,
    source: Scripted,
    knobs: Vec<Arc<Knobs>>,
}

fn small() -> Config {
    config(vec![listener("web", &["127.0.0.1:0"], "app")], vec![cluster("app", &["10.0.0.1:1"])])
}

impl World {
    async fn new(shards: u16) -> Self {
        Self::with(shards, small()).await
    }

    async fn with(shards: u16, first: Config) -> Self {
        let knobs: Vec<Arc<Knobs>> = (0..shards).map(|_| Arc::default()).collect();
        let link = |(shard, knobs): (u16, &Arc<Knobs>)| -> Box<dyn ShardLink> {
            Box::new(start_with(shard, None, knobs.clone()).unwrap())
        };
        let links = (0..).zip(&knobs).map(link).collect();
        let source = Scripted::new(first);
        let (control, orders) = Control::started(links, Box::new(source.clone()), ANSWER_WAIT).await;
        Self { control, orders: Some(orders), source, knobs }
    }

    fn version(&self) -> u64 {
        self.control.view().unwrap().snapshot.version
    }

    fn address(&self, name: &str) -> std::net::SocketAddr {
        let view = self.control.view().unwrap();
        match view.listening.iter().find(|(n, _)| **n == *name) {
            Some((_, Address::Ip(address))) => *address,
            other => panic!("{name}: {other:?}"),
        }
    }

    /// The addresses of the first cluster and its endpoints' identities, as shards have them.
    fn endpoints(&self) -> (Vec<String>, Vec<u32>) {
        let view = self.control.view().unwrap();
        let endpoints = &view.snapshot.clusters[0].endpoints;
        (endpoints.iter().map(|e| e.address.to_string()).collect(), endpoints.iter().map(|e| e.id.0).collect())
    }

    /// Waits until the first cluster has these.
    async fn has_endpoints(&self, expected: &[&str]) {
        let has = async {
            while self.endpoints().0 != expected {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), has).await;
        assert!(waited.is_ok(), "{:?}, not {expected:?}", self.endpoints().0);
    }

    fn taken(&self, shard: usize) -> Vec<String> {
        self.knobs[shard].taken.lock().unwrap().clone()
    }

    /// Drains as a signal would.
    async fn drain(&mut self, deadline: Option<Duration>) -> Result<(), Failure> {
        let orders = self.orders.take().unwrap();
        let mut events = Events::new(self.control.clone(), Signals::new().unwrap(), orders);
        drain::drain(&self.control, DrainOrder { deadline, why: "a test" }, &mut events).await
    }
}

#[tokio::test]
async fn a_reload_reaches_every_shard_and_keeps_the_port() {
    let world = World::new(3).await;
    let before = world.address("web");
    let mut next = small();
    next.listeners.push(listener("db", &["127.0.0.1:0"], "app"));
    world.source.set(next);

    let done = world.control.reload().await.unwrap();
    assert_eq!((done.version, done.lagging), (2, vec![]));
    assert_eq!(world.address("web"), before);
    for shard in 0..3 {
        assert_eq!(world.taken(shard), ["apply 1", "apply 2"]);
    }
    TcpStream::connect(world.address("db")).unwrap();
}

#[tokio::test]
async fn a_removed_listener_is_closed() {
    let world = World::new(2).await;
    let address = world.address("web");
    world.source.set(config(vec![], vec![]));
    world.control.reload().await.unwrap();
    assert!(TcpStream::connect(address).is_err());
    assert!(world.control.view().unwrap().listening.is_empty());
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_is_counted() {
    let world = World::new(2).await;
    world.source.break_it();
    let refusal = world.control.reload().await.unwrap_err();
    assert!(refusal.to_string().contains("unknown key `coers`"));
    assert_eq!(refusal_exit(&refusal), Exit::Config);
    assert_eq!(world.version(), 1);
    assert_eq!(world.taken(0), ["apply 1"]);
    let counts = world.control.reloads();
    assert_eq!((counts.applied, counts.refused, counts.last_applied), (0, 1, false));

    world.source.set(small());
    assert_eq!(world.control.reload().await.unwrap().version, 2);
    assert!(world.control.reloads().last_applied);
}

#[tokio::test]
async fn one_address_that_is_taken_refuses_the_whole_reload() {
    let world = World::new(2).await;
    let foreign = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = foreign.local_addr().unwrap();
    let mut next = small();
    // The first one can be had; it must be given back.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    next.listeners.push(listener("free", &[&free.to_string()], "app"));
    next.listeners.push(listener("taken", &[&taken.to_string()], "app"));
    world.source.set(next);

    let refusal = world.control.reload().await.unwrap_err();
    assert!(refusal.to_string().contains("listener \"taken\""), "{refusal}");
    assert_eq!(refusal_exit(&refusal), Exit::Permission);
    assert_eq!(world.version(), 1);
    assert_eq!(world.taken(0), ["apply 1"]);
    assert!(TcpStream::connect(free).is_err());
    TcpStream::connect(world.address("web")).unwrap();
}

#[tokio::test]
async fn a_stalled_shard_refuses_a_reload_and_does_not_delay_a_page() {
    let world = World::new(2).await;
    world.knobs[1].stalled.store(true, Ordering::Release);
    let refusal = world.control.reload().await.unwrap_err();
    assert!(matches!(&refusal, Refusal::Stalled(shards) if shards == &[1]), "{refusal}");
    assert_eq!(world.taken(0), ["apply 1"]);

    // More questions than its mailbox holds. The other shard answers each, and none waits longer than it may.
    for _ in 0..20 {
        let start = Instant::now();
        let answers = world.control.fleet.reports().await;
        assert!(matches!(&answers[..], [fleet::Answer::Here(_), fleet::Answer::Stalled]));
        assert!(start.elapsed() < ANSWER_WAIT * 10);
    }
    let page = status::gather(&world.control).await;
    let states: Vec<&str> = page.shards.iter().map(|s| s.state.as_str()).collect();
    assert_eq!(states, ["running", "stalled"]);

    world.knobs[1].stalled.store(false, Ordering::Release);
    assert_eq!(world.control.reload().await.unwrap().version, 2);
}

#[tokio::test]
async fn a_shard_that_has_ended_is_shown_and_does_not_stop_reloads() {
    let world = World::new(2).await;
    world.knobs[0].die.store(true, Ordering::Release);
    let link = &world.control.fleet.links()[0];
    while !link.finished() {
        tokio::task::yield_now().await;
    }
    let page = status::gather(&world.control).await;
    assert_eq!(page.shards[0].state, "ended");
    let done = world.control.reload().await.unwrap();
    assert_eq!((done.version, done.lagging), (2, vec![]));
}

#[tokio::test]
async fn reloads_take_turns() {
    let world = World::new(2).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let control = world.control.clone();
            tokio::spawn(async move { control.reload().await.unwrap().version })
        })
        .collect();
    let mut versions = Vec::new();
    for task in tasks {
        versions.push(task.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (2..=9).collect::<Vec<u64>>());
    assert_eq!(world.taken(1).len(), 9);
}

#[tokio::test]
async fn an_old_snapshot_is_gone_after_the_reload() {
    let world = World::new(3).await;
    let old = Arc::downgrade(&world.control.view().unwrap().snapshot);
    world.control.reload().await.unwrap();
    assert_eq!(old.strong_count(), 0);
}

/// A cluster with `app.test`, whose answers are good for as short as it gets.
fn by_name(server: &NameServer) -> Config {
    let mut config = small();
    config.clusters[0].endpoints = vec![named("app.test", 80)];
    config.dns.servers = vec![server.address()];
    config.dns.ttl_min = Duration::from_millis(20);
    config
}

#[tokio::test]
async fn the_first_snapshot_has_the_addresses_of_names() {
    let server = NameServer::start(Manner::Right);
    server.set("app.test", &["10.0.0.2", "10.0.0.1"], 3600);
    let world = World::with(2, by_name(&server)).await;
    assert_eq!(world.endpoints().0, ["10.0.0.1:80", "10.0.0.2:80"]);
    // Nothing has changed, so nothing was installed again.
    assert_eq!(world.control.reload().await.unwrap().version, 2);
    assert_eq!(world.taken(0), ["apply 1", "apply 2"]);
    assert_eq!(server.questions(), 2);
}

#[tokio::test]
async fn a_resolver_that_is_down_stops_neither_start_nor_reload() {
    let server = NameServer::start(Manner::Never);
    let mut first = by_name(&server);
    first.dns.timeout = Duration::from_millis(100);
    // One question a name: the addresses are there exactly when it does not fail any more.
    first.dns.family = DnsFamily::V4;
    let world = World::with(1, first.clone()).await;
    assert_eq!(world.endpoints().0, [""; 0]);
    first.clusters[0].endpoints.push(named("more.test", 80));
    world.source.set(first);
    world.control.reload().await.unwrap();

    server.set("app.test", &["10.0.0.1"], 3600);
    server.set("more.test", &["10.0.0.2"], 3600);
    server.behave(Manner::Right);
    world.has_endpoints(&["10.0.0.1:80", "10.0.0.2:80"]).await;
    let page = status::gather(&world.control).await;
    assert_eq!(page.names[0].addresses, ["10.0.0.1"]);
    assert!(page.names[0].resolutions["timeout"] >= 1, "{:?}", page.names);
    assert_eq!(page.names[0].last_error, None);
    // New addresses are no reload.
    assert_eq!(page.config.reloads_applied, 1);
    assert!(page.config.version > 2);
}

#[tokio::test]
async fn endpoints_follow_their_name_and_those_that_stay_keep_their_identity() {
    let server = NameServer::start(Manner::Right);
    server.set("app.test", &["10.0.0.1", "10.0.0.2"], 0);
    let world = World::with(2, by_name(&server)).await;
    let (_, before) = world.endpoints();
    server.set("app.test", &["10.0.0.3", "10.0.0.2"], 0);
    world.has_endpoints(&["10.0.0.2:80", "10.0.0.3:80"]).await;
    let (_, after) = world.endpoints();
    assert_eq!(after[0], before[1]);
    assert!(!before.contains(&after[1]));
    server.behave(Manner::ServFail);
    let version = world.version();
    assert_eq!(world.control.reload().await.unwrap().version, version + 1);
    assert_eq!(world.endpoints(), (vec!["10.0.0.2:80".into(), "10.0.0.3:80".into()], after));
}

#[tokio::test]
async fn a_refused_reload_leaves_the_names_as_they_were() {
    let server = NameServer::start(Manner::Right);
    server.set("app.test", &["10.0.0.1"], 3600);
    let world = World::with(1, by_name(&server)).await;
    let foreign = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut next = by_name(&server);
    next.listeners.push(listener("taken", &[&foreign.local_addr().unwrap().to_string()], "app"));
    next.clusters[0].endpoints = vec![named("other.test", 80)];
    world.source.set(next);
    world.control.reload().await.unwrap_err();
    let page = status::gather(&world.control).await;
    let names: Vec<&str> = page.names.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["app.test"]);
    assert_eq!(world.endpoints().0, ["10.0.0.1:80"]);
}

#[tokio::test]
async fn new_addresses_wait_for_a_stalled_shard() {
    let server = NameServer::start(Manner::Right);
    server.set("app.test", &["10.0.0.1"], 0);
    let world = World::with(2, by_name(&server)).await;
    world.knobs[1].stalled.store(true, Ordering::Release);
    server.set("app.test", &["10.0.0.2"], 0);
    let waits = async {
        while world.control.dns.report()[0].addresses != ["10.0.0.2".parse::<std::net::IpAddr>().unwrap()] {
            tokio::task::yield_now().await;
        }
        // Asks the stalled shard itself, so that the new addresses have found it stalled, too.
        let _ = status::gather(&world.control).await;
    };
    waits.await;
    assert_eq!(world.endpoints().0, ["10.0.0.1:80"]);
    world.knobs[1].stalled.store(false, Ordering::Release);
    world.has_endpoints(&["10.0.0.2:80"]).await;
}

#[tokio::test]
async fn what_needs_a_restart_is_said_every_time() {
    let world = World::new(1).await;
    let mut next = small();
    next.runtime.cores = Cores::List(vec![0]);
    world.source.set(next);
    for _ in 0..2 {
        assert_eq!(world.control.reload().await.unwrap().needs_restart, ["runtime.cores"]);
    }
    world.source.set(small());
    assert!(world.control.reload().await.unwrap().needs_restart.is_empty());
}

#[tokio::test]
async fn a_drain_without_connections_lasts_for_the_minimum() {
    let mut world = World::new(2).await;
    let (control, knobs) = (world.control.clone(), world.knobs.clone());
    let start = Instant::now();
    let watcher = tokio::spawn(async move {
        while !matches!(control.phase(), Phase::Draining { .. }) {
            tokio::task::yield_now().await;
        }
        // Readiness has failed, and the shards accept on.
        assert_eq!(*knobs[0].taken.lock().unwrap(), ["apply 1"]);
        assert!(matches!(control.reload().await, Err(Refusal::Draining)));
    });
    world.drain(None).await.unwrap();
    let took = start.elapsed();
    watcher.await.unwrap();
    let drain = small().drain;
    assert!(took >= drain.min && took < drain.deadline, "{took:?}");
    for shard in 0..2 {
        assert_eq!(world.taken(shard), ["apply 1", "drain", "stop"]);
    }
}

#[tokio::test]
async fn a_drain_ends_when_the_last_connection_does() {
    let mut world = World::new(2).await;
    world.knobs[1].active.store(1, Ordering::Release);
    let knobs = world.knobs.clone();
    let last_client = tokio::spawn(async move {
        while knobs[1].taken.lock().unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        knobs[1].active.store(0, Ordering::Release);
    });
    let start = Instant::now();
    world.drain(Some(Duration::from_secs(60))).await.unwrap();
    last_client.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_connection_that_stays_is_cut_at_the_deadline() {
    let mut world = World::new(2).await;
    world.knobs[0].active.store(1, Ordering::Release);
    let start = Instant::now();
    let deadline = Duration::from_millis(200);
    world.drain(Some(deadline)).await.unwrap();
    assert!(start.elapsed() >= deadline);
    assert_eq!(world.taken(0), ["apply 1", "drain", "stop"]);
    assert!(world.control.fleet.links().iter().all(|l| l.finished()));
}

#[tokio::test]
async fn a_deadline_before_the_minimum_wins() {
    let mut world = World::new(1).await;
    let start = Instant::now();
    world.drain(Some(Duration::ZERO)).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_drain_is_ordered_once() {
    let world = World::new(1).await;
    assert!(world.control.order_drain(None));
    assert!(!world.control.order_drain(None));
}
