//! Every kind of address, every way to say it, and a port that is taken.
#![allow(clippy::disallowed_methods, reason = "tests give up after a while, by a clock of their own")]

use crate::{
    common::{self, Proxy, Scratch, code, stderr},
    harness::{
        Mode, PREAMBLE, Rig, cluster, dial, eventually, listener,
        peers::{Backend, echo, read_text, round_trip},
        plain,
    },
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    thread,
    time::{Duration, Instant},
};

/// Unix sockets on both sides: 64 MiB each way, half-close included.
fn unix_sockets_carry_bytes(mode: Mode) {
    let scratch = Scratch::new();
    let (front, back) = (scratch.path("front.sock"), scratch.path("back.sock"));
    let backend = UnixListener::bind(&back).unwrap();
    let config = format!(
        "[[listeners]]\nname = \"web\"\nbind = \"unix:{}\"\ncluster = \"app\"\n[clusters.app]\nendpoints = [\"unix:{}\"]\n",
        front.display(),
        back.display()
    );
    let mut rig = Rig::start(mode, &config);
    let client = UnixStream::connect(&front).unwrap();
    let (server, _) = backend.accept().unwrap();
    let len = 64 << 20;
    thread::scope(|scope| {
        for (from, to, byte) in [(&client, &server, 1), (&server, &client, 2)] {
            scope.spawn(move || {
                let piece = vec![byte; 1 << 20];
                for _ in 0..64 {
                    (&mut &*from).write_all(&piece).unwrap();
                }
                from.shutdown(std::net::Shutdown::Write).unwrap();
            });
            scope.spawn(move || {
                let mut all = Vec::with_capacity(len);
                (&mut &*to).read_to_end(&mut all).unwrap();
                assert_eq!(all.len(), len);
                assert!(all.iter().all(|b| *b == byte));
            });
        }
    });
    drop((client, server));
    rig.settled();
    assert_eq!(rig.ended("finished"), 1);
}
scenario!(unix_sockets_carry_bytes: uring, epoll, uring_floor);

fn ipv6_on_both_sides(mode: Mode) {
    let backend = Backend::at("[::1]:0".parse().unwrap(), echo);
    let config = plain(backend.address).replace("127.0.0.1:0", "[::1]:0");
    let mut rig = Rig::start(mode, &config);
    let client = rig.connect();
    round_trip(&client, b"over six").unwrap();
    let rows = rig.json("/connections?peer=::1");
    assert_eq!(rows["connections"][0]["peer"], client.local_addr().unwrap().to_string());
    drop(client);
    rig.settled();
}
scenario!(ipv6_on_both_sides: uring, epoll, uring_floor);

fn a_dual_stack_listener_takes_both(mode: Mode) {
    let backend = Backend::echo();
    let mut rig = Rig::start(mode, &plain(backend.address).replace("127.0.0.1:0", "[::]:0"));
    let port = rig.proxy.listening("web").port();
    for ip in ["127.0.0.1", "::1"] {
        let client = dial(SocketAddr::new(ip.parse().unwrap(), port)).unwrap();
        round_trip(&client, b"hello").unwrap();
        let rows = rig.json(&format!("/connections?peer={ip}"));
        assert_eq!(rows["connections"].as_array().unwrap().len(), 1, "{ip}: {}", rig.json("/connections"));
    }
    rig.settled();
}
scenario!(a_dual_stack_listener_takes_both: uring, epoll);

fn an_ipv6_only_listener_refuses_ipv4(mode: Mode) {
    let backend = Backend::echo();
    let config = listener("web", "app", "ipv6_only = true").replace("127.0.0.1:0", "[::]:0")
        + &cluster("app", &[backend.address], "");
    let mut rig = Rig::start(mode, &config);
    let port = rig.proxy.listening("web").port();
    round_trip(&dial(SocketAddr::new("::1".parse().unwrap(), port)).unwrap(), b"six").unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    rig.settled();
}
scenario!(an_ipv6_only_listener_refuses_ipv4: uring, epoll);

fn listen_and_to_need_no_file(mode: Mode) {
    let (a, b) = (Backend::named("a"), Backend::named("b"));
    let to = format!("{},{}", a.address, b.address);
    let mut command = common::command();
    command.args(["--listen", "127.0.0.1:0", "--to", &to, "--admin", "127.0.0.1:0", "--io", mode.io, "--cores", "0"]);
    command.env("BALANCE__DRAIN__MIN", "0s");
    let mut proxy = Proxy::launch(command);
    let address: SocketAddr = eventually("a listening line", || {
        let lines = proxy.lines();
        lines.iter().find_map(|l| l.strip_prefix("listening ").filter(|l| !l.starts_with("admin")).map(str::to_owned))
    })
    .rsplit(' ')
    .next()
    .and_then(|a| a.parse().ok())
    .expect("an address");
    let four: String = (0..4).map(|_| read_text(&dial(address).unwrap()).unwrap()).collect();
    assert_eq!(four, "abab");
    proxy.signal("TERM");
    assert_eq!(proxy.wait().code(), Some(0));
}
scenario!(listen_and_to_need_no_file: uring, epoll);

/// The embedded example: pages that name their backend, and each of them in turn.
fn the_example_shows_its_backends(mode: Mode) {
    let mut command = common::command();
    command.args(["--io", mode.io]).env("BALANCE__LISTENERS__PAGES__BIND", "127.0.0.1:0");
    command.env("BALANCE__LISTENERS__ECHO__BIND", "127.0.0.1:0").env("BALANCE__ADMIN__LISTEN", "127.0.0.1:0");
    command.env("BALANCE__DRAIN__MIN", "0s");
    let mut proxy = Proxy::launch(command);
    let pages = proxy.listening("pages");
    let ask = || common::http(pages, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").1;
    let mut seen = std::collections::BTreeSet::new();
    eventually("three backends", || {
        seen.insert(ask().lines().next().unwrap_or_default().to_owned());
        (seen.len() == 3).then_some(())
    });
    assert!(seen.iter().all(|line| line.starts_with("Hello from demo backend ")), "{seen:?}");
    round_trip(&dial(proxy.listening("echo")).unwrap(), b"echo").unwrap();
}
scenario!(the_example_shows_its_backends: uring, epoll);

/// Killed with connections open, and started again on the same port: it serves within seconds.
fn a_killed_proxy_starts_again_on_its_port(mode: Mode) {
    let backend = Backend::echo();
    let mut rig = Rig::start(mode, &plain(backend.address));
    let web = rig.proxy.listening("web");
    let open: Vec<TcpStream> = (0..20).map(|_| rig.connect()).collect();
    for client in &open {
        round_trip(client, b"before").unwrap();
    }
    rig.proxy.signal("KILL");
    rig.proxy.wait();
    let start = Instant::now();
    let config = plain(backend.address).replace("127.0.0.1:0", &web.to_string());
    let mut next = Rig::start(mode, &config);
    round_trip(&dial(web).unwrap(), b"after").unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    for client in open {
        assert!(round_trip(&client, b"gone").is_err());
    }
    next.settled();
}
scenario!(a_killed_proxy_starts_again_on_its_port: uring, epoll, uring_crowd);

/// Both a stranger's socket and another proxy's, which SO_REUSEPORT would let pass.
fn a_taken_port_is_refused_with_77(mode: Mode) {
    let backend = Backend::echo();
    let mut first = Rig::start(mode, &plain(backend.address));
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    for taken in [first.proxy.listening("web"), stranger.local_addr().unwrap()] {
        let scratch = Scratch::new();
        let text = format!(
            "{PREAMBLE}{}",
            plain(backend.address).replace("bind = \"127.0.0.1:0\"", &format!("bind = \"{taken}\""))
        );
        let path = scratch.write("second.toml", &text);
        let refused = mode.command(&path).output().unwrap();
        assert_eq!(code(&refused), 77, "{}", stderr(&refused));
        let message = stderr(&refused);
        assert!(message.contains("web") && message.contains(&taken.to_string()), "{message}");
        assert!(!message.contains("panicked"), "{message}");
    }
    for _ in 0..20 {
        round_trip(&first.connect(), b"all mine").unwrap();
    }
    first.settled();
}
scenario!(a_taken_port_is_refused_with_77: uring, epoll, uring_crowd);
