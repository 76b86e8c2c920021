//! The task in front of a real server on this machine.

use super::{
    name_server::{Manner, NameServer},
    service::Dns,
};
use crate::control::fixture::{cluster, config, named};
use balance_config::model::Config;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(20);

fn wanting(server: &NameServer, hosts: &[&str]) -> Config {
    let mut app = cluster("app", &[]);
    app.endpoints.extend(hosts.iter().map(|h| named(h, 80)));
    let mut config = config(vec![], vec![app]);
    config.dns.servers = vec![server.address()];
    config.dns.ttl_min = Duration::from_millis(20);
    config.dns.timeout = Duration::from_millis(200);
    config
}

fn started(config: &Config) -> Arc<Dns> {
    let dns = Dns::new(&config.dns);
    dns.want_only(config);
    tokio::spawn(dns.clone().run());
    dns
}

fn known(dns: &Dns, host: &str) -> Vec<String> {
    let addresses = dns.picture().addresses;
    addresses.get(host).map(|a| a.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

/// Waits for the change after which `host` has these addresses.
async fn becomes(dns: &Dns, host: &str, expected: &[&str]) {
    let changed = async {
        while known(dns, host) != expected {
            dns.changed().await;
        }
    };
    timeout(PATIENCE, changed).await.unwrap_or_else(|_| panic!("{host} has {:?}", known(dns, host)));
}

async fn first_answers(dns: &Dns) {
    dns.first_answers(Instant::now() + PATIENCE).await;
}

#[tokio::test]
async fn first_answers_are_waited_for() {
    let server = NameServer::start(Manner::Right);
    let names: Vec<String> = (0..100).map(|i| format!("h{i}.test")).collect();
    for name in &names {
        server.set(name, &["10.0.0.2", "10.0.0.1", "fd00::1"], 60);
    }
    let dns = started(&wanting(&server, &names.iter().map(String::as_str).collect::<Vec<_>>()));
    first_answers(&dns).await;
    assert!(names.iter().all(|n| known(&dns, n) == ["10.0.0.1", "10.0.0.2", "fd00::1"]));
    assert!(names.iter().all(|n| server.asked_for(n) == 2));
}

#[tokio::test]
async fn a_dead_resolver_is_waited_for_no_longer_than_said() {
    let server = NameServer::start(Manner::Never);
    let dns = started(&wanting(&server, &["app.test"]));
    let start = Instant::now();
    dns.first_answers(start + Duration::from_millis(50)).await;
    assert!(start.elapsed() < PATIENCE);
    assert_eq!(known(&dns, "app.test"), [""; 0]);
    server.set("app.test", &["10.0.0.1"], 60);
    server.behave(Manner::Right);
    becomes(&dns, "app.test", &["10.0.0.1"]).await;
}

#[tokio::test]
async fn a_change_is_told_and_a_turned_order_is_none() {
    let server = NameServer::start(Manner::Right);
    server.set("app.test", &["10.0.0.1", "10.0.0.2", "10.0.0.3"], 0);
    let dns = started(&wanting(&server, &["app.test"]));
    becomes(&dns, "app.test", &["10.0.0.1", "10.0.0.2", "10.0.0.3"]).await;
    let version = dns.picture().version;
    let mut heard = dns.answers();
    while server.asked_for("app.test") < 12 {
        heard.changed().await.unwrap();
    }
    assert_eq!(dns.picture().version, version);
    server.set("app.test", &["10.0.0.3", "10.0.0.4"], 0);
    becomes(&dns, "app.test", &["10.0.0.3", "10.0.0.4"]).await;
}

#[tokio::test]
async fn an_outage_takes_nothing_away_and_is_seen() {
    let server = NameServer::start(Manner::Right);
    server.set("app.test", &["10.0.0.1"], 0);
    let dns = started(&wanting(&server, &["app.test"]));
    becomes(&dns, "app.test", &["10.0.0.1"]).await;
    for (manner, why) in [
        (Manner::Never, "timeout"),
        (Manner::ServFail, "servfail"),
        (Manner::NxDomain, "nxdomain"),
        (Manner::Garbage, "bad_answer"),
    ] {
        server.behave(manner);
        let mut heard = dns.answers();
        while dns.report()[0].failing.is_none_or(|(_, verdict)| verdict.as_str() != why) {
            timeout(PATIENCE, heard.changed()).await.expect("the failure is seen").unwrap();
        }
        assert_eq!(known(&dns, "app.test"), ["10.0.0.1"], "{manner:?}");
    }
    server.set("app.test", &["10.0.0.2"], 0);
    server.behave(Manner::Right);
    becomes(&dns, "app.test", &["10.0.0.2"]).await;
}

#[tokio::test]
async fn other_servers_come_into_force_at_once() {
    let (old, new) = (NameServer::start(Manner::Right), NameServer::start(Manner::Right));
    old.set("app.test", &["10.0.0.1"], 3600);
    new.set("app.test", &["10.0.0.2"], 3600);
    let dns = started(&wanting(&old, &["app.test"]));
    becomes(&dns, "app.test", &["10.0.0.1"]).await;
    dns.want_only(&wanting(&new, &["app.test"]));
    assert_eq!(known(&dns, "app.test"), ["10.0.0.1"]);
    becomes(&dns, "app.test", &["10.0.0.2"]).await;
}
