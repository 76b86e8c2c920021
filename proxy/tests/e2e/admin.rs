//! The admin endpoint under load, under bad clients, and next to the truth.
#![allow(clippy::disallowed_methods, reason = "tests give up after a while, by a clock of their own")]

use crate::{
    common::{code, http, run, stdout},
    harness::{
        Mode, Rig, bind, cluster, dial, eventually, listener, mode,
        peers::{Backend, round_trip},
        plain,
    },
};
use std::{
    io::Write,
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    thread,
    time::{Duration, Instant},
};

/// Every filter finds what it should and nothing else.
fn filters_find_their_connections(mode: Mode) {
    let (a, b) = (Backend::echo(), bind());
    let config = plain(a.address) + &listener("half", "other", "") + &cluster("other", &[b.local_addr().unwrap()], "");
    let mut rig = Rig::start(mode, &config);
    let open: Vec<TcpStream> = (0..3).map(|_| rig.connect()).collect();
    for client in &open {
        round_trip(client, b"hello").unwrap();
    }
    let half = dial(rig.address("half")).unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let _server = crate::harness::accept(&b);
    let count =
        |rig: &mut Rig, query: &str| rig.json(&format!("/connections{query}"))["connections"].as_array().unwrap().len();
    eventually("the half-closed one", || (count(&mut rig, "?state=half_closed_downstream") == 1).then_some(()));
    for (query, expected) in [
        (String::new(), 4),
        ("?listener=web".into(), 3),
        ("?cluster=other".into(), 1),
        (format!("?endpoint={}", a.address), 3),
        ("?state=open".into(), 3),
        ("?state=connecting".into(), 0),
        ("?peer=127.0.0.1".into(), 4),
        ("?peer=127.0.0.2".into(), 0),
        ("?idle_min=1h".into(), 0),
        ("?idle_min=0s".into(), 4),
        ("?limit=2".into(), 2),
        ("?listener=web&limit=2".into(), 2),
        ("?listener=nothing".into(), 0),
    ] {
        assert_eq!(count(&mut rig, &query), expected, "{query}");
    }
    assert_eq!(rig.json("/connections?limit=2")["limited"], true);
    let row = rig.json(&format!("/connections?endpoint={}", a.address))["connections"][0].clone();
    assert_eq!((row["bytes_up"].as_u64(), row["bytes_down"].as_u64()), (Some(5), Some(5)));
    for wrong in
        ["?nothing=1", "?limit=0", "?limit=-1", "?state=shut", "?peer=x", "?idle_min=5", "?limit=99999999999999"]
    {
        assert_eq!(rig.proxy.get(&format!("/connections{wrong}")).0, 400, "{wrong}");
    }
    drop((open, half, _server));
    rig.settled();
}
scenario!(filters_find_their_connections: uring, epoll, uring_crowd);

fn every_page_answers(mode: Mode) {
    let backend = Backend::echo();
    let mut rig = Rig::start(mode, &plain(backend.address));
    round_trip(&rig.connect(), b"hello").unwrap();
    rig.settled();
    for (path, word) in [
        ("/healthz", "ok"),
        ("/readyz", "ready"),
        ("/version", "version"),
        ("/config", "[[listeners]]"),
        ("/status", "\"shards\""),
        ("/metrics", "# TYPE"),
        ("/connections", "connections"),
    ] {
        let (status, body) = rig.proxy.get(path);
        assert_eq!(status, 200, "{path}");
        assert!(body.contains(word), "{path}: {body}");
    }
    assert_eq!(rig.proxy.get("/nothing").0, 404);
    assert_eq!(rig.proxy.get("/reload").0, 405);
    assert_eq!(rig.proxy.get("/drain").0, 405);
    assert_eq!(rig.proxy.ask("POST", "/reload").0, 200);
    let status = rig.status();
    let driver = &status["shards"][0]["driver"];
    assert_eq!(driver, mode.io);
    let sum =
        |field: &str| -> u64 { status["shards"].as_array().unwrap().iter().map(|s| s[field].as_u64().unwrap()).sum() };
    assert_eq!((sum("accepted"), sum("active"), sum("bytes_up"), sum("bytes_down")), (1, 0, 5, 5));
    let admin = rig.proxy.admin();
    let json = run(&["status", "--json", "--admin", &admin]);
    assert_eq!(code(&json), 0);
    let parsed: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(parsed["phase"], "running");
    let table = run(&["status", "--admin", &admin]);
    assert!(stdout(&table).contains("web"), "{}", stdout(&table));
}
scenario!(every_page_answers: uring, epoll, uring_floor, uring_crowd);

/// Lines of a metrics page follow the text format: one HELP and TYPE a family, before its series, no series twice.
fn metrics_are_well_formed(mode: Mode) {
    let backend = Backend::echo();
    let mut rig = Rig::start(mode, &plain(backend.address));
    round_trip(&rig.connect(), b"hello").unwrap();
    let page = rig.proxy.get("/metrics").1;
    let mut families = std::collections::HashSet::new();
    let mut series = std::collections::HashSet::new();
    let mut current = String::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(families.insert(name.to_owned()), "{name} twice");
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            current = name.to_owned();
        } else if !line.starts_with('#') && !line.is_empty() {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(&current), "{line} under {current}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(series.insert(name.to_owned()), "{name} twice");
        }
    }
    assert!(families.len() > 30, "{}", families.len());
}
scenario!(metrics_are_well_formed: uring, epoll);

/// 100 clients of the admin endpoint that never finish their request, one that never reads its answer, one that sends
/// garbage: pages are still answered, and the data path does not notice.
fn bad_admin_clients_hurt_nobody(mode: Mode) {
    let backend = Backend::echo();
    let mut rig = Rig::start(mode, &plain(backend.address));
    let admin: SocketAddr = rig.proxy.admin().parse().unwrap();
    let client = rig.connect();
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut slow = dial(admin).unwrap();
        slow.write_all(b"GET /metrics HTTP/1.1\r\nHost:").unwrap();
        held.push(slow);
    }
    let mut unread = dial(admin).unwrap();
    for _ in 0..200 {
        unread.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    held.push(unread);
    let mut garbage = dial(admin).unwrap();
    garbage.write_all(&[0xff; 4096]).unwrap();
    held.push(garbage);
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(rig.proxy.get("/healthz").0, 200);
        round_trip(&client, b"not disturbed").unwrap();
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
    drop((held, client));
    rig.settled();
}
scenario!(bad_admin_clients_hurt_nobody: uring, epoll);

/// Pages are asked for all the time while bytes move.
fn pages_under_load_do_not_lose_bytes(mode: Mode) {
    let backend = Backend::echo();
    let mut rig = Rig::start(mode, &plain(backend.address));
    let admin: SocketAddr = rig.proxy.admin().parse().unwrap();
    let web = rig.proxy.listening("web");
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(move || {
                    for _ in 0..200 {
                        round_trip(&dial(web).unwrap(), &[9; 3000]).unwrap();
                    }
                })
            })
            .collect();
        while clients.iter().any(|c| !c.is_finished()) {
            for page in ["/metrics", "/connections", "/status"] {
                let request = format!("GET {page} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
                assert_eq!(http(admin, &request).0, 200);
            }
        }
    });
    rig.settled();
    assert_eq!(rig.ended("finished"), 800);
}
scenario!(pages_under_load_do_not_lose_bytes: uring, epoll, uring_crowd);

#[test]
fn an_admin_unix_socket_belongs_to_its_owner() {
    let backend = Backend::echo();
    let scratch = crate::common::Scratch::new();
    let socket = scratch.path("admin.sock");
    let text = plain(backend.address);
    let path = scratch.write("balance.toml", &text);
    let mut command = mode::uring().command(&path);
    let address = format!("unix:{}", socket.display());
    command.args(["--admin", &address]);
    let proxy = crate::common::Proxy::launch(command);
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let status = run(&["status", "--json", "--admin", &address]);
    assert_eq!(code(&status), 0);
    assert_eq!(code(&run(&["reload", "--admin", &address])), 0);
    assert_eq!(code(&run(&["drain", "--deadline", "1s", "--admin", &address])), 0);
    drop(proxy);
}
