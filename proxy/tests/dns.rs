//! Endpoints by name, in a whole process: a resolver that is down, comes up, changes its mind and goes away.

mod common;
#[path = "common/name_server.rs"]
mod name_server;

use common::{PATIENCE, Proxy, Scratch, eventually, metric};
use name_server::{Manner, NameServer};
use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

/// A backend on 127.0.0.`last` that says its number when somebody connects, and then sends back what it gets. All of
/// them have the same port, as the addresses of one name do.
fn backend(last: u8, port: u16) -> io::Result<u16> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, last], port)))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                if stream.write_all(&[last]).is_ok() {
                    drop(io::copy(&mut &stream, &mut &stream));
                }
            });
        }
    });
    Ok(port)
}

/// Backends 1 to `count` on one port, which is returned.
fn backends(count: u8) -> u16 {
    eventually("a port that is free on every address", || {
        let port = backend(1, 0).ok()?;
        (2..=count).try_for_each(|last| backend(last, port).map(drop)).ok().map(|()| port)
    })
}

/// One listener in front of `app.test`, whose answers are good for a second, the shortest that there is.
fn config(server: &NameServer, port: u16, bind: &str) -> String {
    format!(
        "[runtime]\ncores = [0]\n\n[admin]\nlisten = \"127.0.0.1:0\"\n\n[drain]\nmin = \"0s\"\ndeadline = \"10s\"\n\n\
         [dns]\nservers = [\"{}\"]\nttl_min = \"1s\"\ntimeout = \"300ms\"\nfamily = \"v4\"\n\n\
         [[listeners]]\nname = \"web\"\nbind = \"{bind}\"\ncluster = \"app\"\n\n\
         [clusters.app]\nendpoints = [\"app.test:{port}\"]\n",
        server.address()
    )
}

/// The number of the backend that a new connection comes to; `None`: it was ended instead.
fn visit(web: SocketAddr) -> Option<u8> {
    let mut stream = TcpStream::connect(web).expect("the listener is there");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut number = [0];
    stream.read_exact(&mut number).ok()?;
    echo(&mut stream);
    Some(number[0])
}

fn echo(stream: &mut TcpStream) {
    stream.write_all(b"hello").expect("the backend reads");
    let mut back = [0; 5];
    stream.read_exact(&mut back).expect("the backend answers");
    assert_eq!(&back, b"hello");
}

fn name(proxy: &mut Proxy) -> serde_json::Value {
    let (status, body) = proxy.get("/status");
    assert_eq!(status, 200, "{body}");
    let status: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    status["names"][0].clone()
}

fn addresses(proxy: &mut Proxy) -> Vec<String> {
    let name = name(proxy);
    let all = name["addresses"].as_array().expect("a list").clone();
    all.iter().map(|a| a.as_str().expect("text").to_owned()).collect()
}

#[test]
fn a_proxy_starts_without_its_resolver_and_serves_once_it_is_there() {
    let port = backends(1);
    let server = NameServer::start(Manner::Never);
    server.set("app.test", &["127.0.0.1"], 3600);
    let scratch = Scratch::new();
    let mut proxy = Proxy::start(&["-c", &scratch.write("b.toml", &config(&server, port, "127.0.0.1:0"))], &[]);
    let web = proxy.listening("web");
    assert_eq!(visit(web), None);
    proxy.says("a name cannot be resolved");
    let seen = name(&mut proxy);
    assert_eq!((&seen["name"], &seen["last_error"]), (&"app.test".into(), &"timeout (A)".into()));
    assert_eq!((&seen["addresses"], &seen["age_s"]), (&serde_json::json!([]), &serde_json::Value::Null));
    let (_, page) = proxy.get("/metrics");
    assert_eq!(metric(&page, "balance_dns_addresses{name=\"app.test\"}"), Some(0.0));
    assert!(metric(&page, "balance_connections_ended_total{reason=\"no_endpoint\"}") >= Some(1.0), "{page}");

    server.behave(Manner::Right);
    eventually("a connection to the backend", || visit(web));
    let (_, page) = proxy.get("/metrics");
    assert_eq!(metric(&page, "balance_dns_addresses{name=\"app.test\"}"), Some(1.0));
    assert!(
        metric(&page, "balance_dns_resolutions_total{name=\"app.test\",result=\"timeout\"}") >= Some(1.0),
        "{page}"
    );
    assert_eq!(metric(&page, "balance_dns_resolutions_total{name=\"app.test\",result=\"ok\"}"), Some(1.0), "{page}");
    assert_eq!(metric(&page, "balance_config_reloads_total{result=\"applied\"}"), Some(0.0));
}

#[test]
fn nothing_at_the_servers_address_is_no_reason_not_to_start() {
    let scratch = Scratch::new();
    let server = NameServer::start(Manner::Right);
    let text = config(&server, 1, "127.0.0.1:0");
    drop(server);
    let mut proxy = Proxy::start(&["-c", &scratch.write("b.toml", &text)], &[]);
    assert_eq!(visit(proxy.listening("web")), None);
    proxy.signal("TERM");
    assert_eq!(proxy.wait().code(), Some(0));
}

#[test]
fn endpoints_change_under_traffic_without_a_failed_connection() {
    let port = backends(4);
    let server = NameServer::start(Manner::Right);
    server.set("app.test", &["127.0.0.1", "127.0.0.2"], 0);
    let scratch = Scratch::new();
    let mut proxy = Proxy::start(&["-c", &scratch.write("b.toml", &config(&server, port, "127.0.0.1:0"))], &[]);
    let web = proxy.listening("web");
    // Addresses were there for the first snapshot, so the very first connection gets an endpoint.
    let mut old = TcpStream::connect(web).expect("the listener is there");
    old.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut number = [0];
    old.read_exact(&mut number).expect("a backend answers");
    let until = |wanted: &[u8]| {
        eventually(&format!("connections to {wanted:?} and no others"), || {
            let last: Vec<u8> = (0..8).map(|_| visit(web).expect("every connection is served")).collect();
            wanted.iter().all(|w| last.contains(w)).then_some(())?;
            last.iter().all(|l| wanted.contains(l)).then_some(())
        });
    };
    until(&[1, 2]);
    server.set("app.test", &["127.0.0.2", "127.0.0.3"], 0);
    until(&[2, 3]);
    server.set("app.test", &["127.0.0.4"], 0);
    until(&[4]);
    // Its endpoint is gone, and it goes on.
    echo(&mut old);
    let (_, page) = proxy.get("/metrics");
    for reason in ["no_endpoint", "connect_failed", "connect_timeout"] {
        let ended = metric(&page, &format!("balance_connections_ended_total{{reason=\"{reason}\"}}"));
        assert!(ended.is_none_or(|count| count == 0.0), "{reason}: {ended:?}");
    }
    proxy.says("endpoints follow the addresses of their names");
}

#[test]
fn the_last_good_set_is_kept_through_an_outage_and_a_reload() {
    let port = backends(2);
    let server = NameServer::start(Manner::Right);
    server.set("app.test", &["127.0.0.1"], 0);
    let scratch = Scratch::new();
    let file = scratch.write("b.toml", &config(&server, port, "127.0.0.1:0"));
    let mut proxy = Proxy::start(&["-c", &file], &[]);
    let web = proxy.listening("web");
    assert_eq!(visit(web), Some(1));
    for (manner, why) in [(Manner::ServFail, "servfail (A)"), (Manner::NxDomain, "nxdomain (A)")] {
        server.behave(manner);
        eventually(why, || (name(&mut proxy)["last_error"] == why).then_some(()));
        assert_eq!(visit(web), Some(1));
        assert_eq!(addresses(&mut proxy), ["127.0.0.1"]);
    }
    // A reload keeps what is known of names that stay.
    fs::write(&file, config(&server, port, "127.0.0.1:0") + "policy = \"least-connections\"\n").expect("a file");
    let (status, body) = proxy.ask("POST", "/reload");
    assert_eq!(status, 200, "{body}");
    assert_eq!(visit(web), Some(1));

    server.set("app.test", &["127.0.0.2"], 3600);
    server.behave(Manner::Right);
    eventually("the new address", || (visit(web)? == 2).then_some(()));
    assert_eq!(name(&mut proxy)["last_error"], serde_json::Value::Null);
}
