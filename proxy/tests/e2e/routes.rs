//! Routes by what a TLS client asks for: where connections go, that their endpoints get every byte, and what becomes of
//! clients that say it slowly, wrongly, or not at all.
#![allow(clippy::disallowed_methods, reason = "tests give up after a while, by a clock of their own")]

use crate::{
    common::{self, Scratch, code, stderr},
    harness::{
        Mode, Rig, accept, bind, cluster, eventually,
        hello::{hello, in_records},
        listener,
        pattern::{Pace, Side, end_of, exchange, is_silent},
        pause,
        peers::{Backend, read_text, reset, round_trip},
    },
};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// As in the example: each cluster with one endpoint, and routes that tell them apart.
const ROUTES: &str = "
[[listeners.routes]]
match = { sni = \"api.example.com\", alpn = \"h2\" }
cluster = \"grpc\"
[[listeners.routes]]
match = { sni = [\"api.example.com\", \"*.api.example.com\"] }
cluster = \"api\"
[[listeners.routes]]
match = { sni = [\"*.example.net\", \"example.net\"] }
cluster = \"net\"
[[listeners.routes]]
match = { alpn = \"acme-tls/1\" }
cluster = \"acme\"
";

const CLUSTERS: [&str; 5] = ["web", "grpc", "api", "net", "acme"];

/// Endpoints that a test accepts connections of.
struct Site {
    sockets: Vec<TcpListener>,
}

impl Site {
    fn new() -> Self {
        Self { sockets: CLUSTERS.iter().map(|_| bind()).collect() }
    }

    /// Connections that match no route go to `web`.
    fn config(&self, settings: &str) -> String {
        self.clusters("") + &listener("web", "web", &format!("{settings}{ROUTES}"))
    }

    fn config_without_default(&self, settings: &str) -> String {
        self.config(settings).replacen("cluster = \"web\"\n", "", 1)
    }

    fn clusters(&self, more: &str) -> String {
        let each = CLUSTERS.iter().zip(&self.sockets);
        each.map(|(name, socket)| cluster(name, &[socket.local_addr().unwrap()], more)).collect()
    }

    /// The next connection of a cluster's endpoint.
    fn accept(&self, name: &str) -> TcpStream {
        let at = CLUSTERS.iter().position(|cluster| *cluster == name).expect("one of them");
        accept(&self.sockets[at])
    }

    fn nobody_came(&self) -> bool {
        self.sockets.iter().all(|socket| {
            socket.set_nonblocking(true).unwrap();
            socket.accept().is_err()
        })
    }
}

fn say(mut stream: &TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
}

/// These bytes and no others are what comes next.
fn hear(mut stream: &TcpStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    stream.read_exact(&mut got).unwrap();
    assert!(got == bytes, "other bytes than were sent");
}

/// A server's answer finds its way, and both sides close.
fn part(client: &TcpStream, server: &TcpStream) {
    say(server, b"an answer");
    hear(client, b"an answer");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_text(server).unwrap(), "");
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_text(client).unwrap(), "");
}

fn the_first_route_that_matches_leads(mode: Mode) {
    let site = Site::new();
    let mut rig = Rig::start(mode, &site.config(""));
    let cases = [
        ("api.example.com", &["h2", "http/1.1"][..], "grpc"),
        ("API.Example.COM", &["http/1.1", "h2"], "grpc"),
        ("api.example.com.", &["http/1.1"], "api"),
        ("v1.api.example.com", &["h2"], "api"),
        ("example.net", &[], "net"),
        ("a.b.example.net", &["acme-tls/1"], "net"),
        ("elsewhere.org", &["acme-tls/1"], "acme"),
        ("", &["acme-tls/1"], "acme"),
        ("example.com", &["h2"], "web"),
        ("badexample.net", &[], "web"),
        ("", &[], "web"),
    ];
    for (name, protocols, expected) in cases {
        let client = rig.connect();
        let bytes = hello(name, protocols);
        say(&client, &bytes);
        let server = site.accept(expected);
        hear(&server, &bytes);
        let rows = rig.json(&format!("/connections?cluster={expected}"));
        assert_eq!(rows["connections"].as_array().unwrap().len(), 1, "{name}: {rows}");
        part(&client, &server);
    }
    let client = rig.connect();
    say(&client, b"GET / HTTP/1.1\r\n\r\n");
    let server = site.accept("web");
    hear(&server, b"GET / HTTP/1.1\r\n\r\n");
    part(&client, &server);
    rig.settled();
    assert_eq!(rig.ended("finished"), cases.len() as u64 + 1);
    let mut led = |cluster: &str, by: &str| {
        let labels = format!("{{listener=\"web\",cluster=\"{cluster}\",by=\"{by}\"}}");
        rig.metric(&format!("balance_listener_connections_routed_total{labels}")) as u64
    };
    assert_eq!([led("grpc", "route"), led("api", "route"), led("net", "route"), led("acme", "route")], [2; 4]);
    assert_eq!(led("web", "default"), 4);
    let status = rig.status();
    assert_eq!(status["listeners"][0]["routed"].as_array().unwrap().len(), 5, "{status}");
}
scenario!(the_first_route_that_matches_leads: uring, epoll, uring_floor);

/// A segment ends at each byte in turn, and then at every byte; in one record and in many.
fn a_hello_in_pieces_arrives_whole(mode: Mode) {
    let site = Site::new();
    let mut rig = Rig::start(mode, &site.config_without_default(""));
    let whole = in_records(1 << 14, "api.example.com", &["h2"], 0);
    let many = in_records(9, "api.example.com", &["h2"], 0);
    let deliver = |rig: &mut Rig, bytes: &[u8], pieces: &[&[u8]]| {
        let client = rig.connect();
        for piece in pieces {
            say(&client, piece);
            // A segment of its own, as far as loopback lets it be.
            thread::yield_now();
        }
        let server = site.accept("grpc");
        hear(&server, bytes);
        part(&client, &server);
    };
    for bytes in [&whole, &many] {
        for cut in 1..bytes.len() {
            deliver(&mut rig, bytes, &[&bytes[..cut], &bytes[cut..]]);
        }
        deliver(&mut rig, bytes, &bytes.chunks(1).collect::<Vec<_>>());
    }
    rig.settled();
    assert_eq!(rig.ended("finished") as usize, whole.len() + many.len());
}
scenario!(a_hello_in_pieces_arrives_whole: uring, epoll, uring_floor);

/// Much behind the hello, both ways, whatever way it is forwarded.
fn bulk_follows_the_hello(mode: Mode) {
    let len = 32 << 20;
    for forward in ["auto", "copy", "bundle", "splice", "uring-splice", "send-zc"] {
        let site = Site::new();
        let mut rig = Rig::start(mode, &site.config(&format!("forward = \"{forward}\"")));
        let bytes = in_records(1 << 14, "a.example.net", &["h2"], 12_000);
        let client = rig.connect();
        thread::scope(|scope| {
            scope.spawn(|| say(&client, &bytes));
            let server = site.accept("net");
            hear(&server, &bytes);
            let side = |len, read| Side { len, write: Pace::Brisk, read };
            let up = side(len, Pace::Brisk);
            let down = side(len + 7, Pace::Slow { piece: 1 << 20, rest: Duration::from_millis(1) });
            exchange(&client, up, &server, down);
        });
        drop(client);
        rig.settled();
        assert_eq!(rig.ended("finished"), 1, "{forward}");
    }
}
scenario!(bulk_follows_the_hello: uring, epoll, uring_floor);

/// The server speaks first: it is asked when the client has said nothing for the whole time.
fn who_says_nothing_goes_to_the_listeners_own_cluster(mode: Mode) {
    let site = Site::new();
    let mut rig = Rig::start(mode, &site.config("peek_timeout = \"300ms\""));
    let start = Instant::now();
    let client = rig.connect();
    eventually("a row that peeks", || {
        let rows = rig.json("/connections?state=peeking");
        (rows["connections"].as_array()?.len() == 1 && rows["connections"][0]["cluster"].is_null()).then_some(())
    });
    let server = site.accept("web");
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    say(&server, b"220 ready\r\n");
    hear(&client, b"220 ready\r\n");
    say(&client, b"EHLO x\r\n");
    hear(&server, b"EHLO x\r\n");
    part(&client, &server);
    rig.settled();
    assert!(site.nobody_came());

    let mut rig = Rig::start(mode, &site.config_without_default("peek_timeout = \"300ms\""));
    assert_ne!(read_text(&rig.connect()).ok().as_deref(), Some("220 ready\r\n"));
    rig.settled();
    assert_eq!(rig.ended("peek_timeout"), 1);
    assert!(site.nobody_came());
}
scenario!(who_says_nothing_goes_to_the_listeners_own_cluster: uring, epoll, uring_floor);

/// A byte now and then is no progress that counts, and one byte commits to a hello.
fn slow_hellos_are_cut_off_in_time(mode: Mode) {
    let site = Site::new();
    let mut rig = Rig::start(mode, &site.config("peek_timeout = \"500ms\""));
    let bytes = hello("api.example.com", &["h2"]);
    let address = rig.proxy.listening("web");
    thread::scope(|scope| {
        for count in [1, 3, 8, bytes.len() - 1] {
            let bytes = &bytes;
            scope.spawn(move || {
                let client = crate::harness::dial(address).unwrap();
                let start = Instant::now();
                for byte in &bytes[..count] {
                    if (&client).write_all(&[*byte]).is_err() {
                        break;
                    }
                    if start.elapsed() > Duration::from_secs(5) {
                        panic!("it is not cut off");
                    }
                    pause();
                }
                let _reset = (&client).read(&mut [0; 1]);
                let took = start.elapsed();
                assert!((Duration::from_millis(450)..Duration::from_secs(3)).contains(&took), "{count}: {took:?}");
            });
        }
    });
    rig.settled();
    assert_eq!(rig.ended("peek_timeout"), 4);
    assert!(site.nobody_came());
    assert_eq!(rig.metric("balance_shard_peeked_bytes"), 0.0);
}
scenario!(slow_hellos_are_cut_off_in_time: uring, epoll, uring_floor);

fn each_refusal_has_its_reason(mode: Mode) {
    let site = Site::new();
    let mut rig = Rig::start(mode, &site.config_without_default("peek_bytes_max = \"4KiB\""));
    let good = hello("api.example.com", &["h2"]);
    let mut wrong = good.clone();
    wrong[9] ^= 1;
    let cases = [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "no_route"),
        (hello("nowhere.org", &["h2"]), "no_route"),
        (hello("", &[]), "no_route"),
        (wrong, "bad_client_hello"),
        (hello("192.0.2.1", &[]), "bad_client_hello"),
        (in_records(1, "api.example.com", &["h2"], 64), "bad_client_hello"),
        (in_records(1 << 14, "api.example.com", &["h2"], 4100), "client_hello_too_long"),
        (in_records(1000, "api.example.com", &["h2"], 4100), "client_hello_too_long"),
        ([&in_records(1 << 14, "api.example.com", &["h2"], 9000)[..], &[0; 90_000]].concat(), "client_hello_too_long"),
    ];
    let mut expected = std::collections::BTreeMap::new();
    for (bytes, reason) in cases {
        let client = rig.connect();
        // It may be over before all of it is sent.
        let _refused = (&client).write_all(&bytes);
        let _reset = (&client).read(&mut [0; 1]);
        *expected.entry(reason).or_insert(0) += 1;
        eventually("the ending", || (rig.ended(reason) == expected[reason]).then_some(()));
    }
    for count in [1, 5, good.len() - 1] {
        let client = rig.connect();
        say(&client, &good[..count]);
        client.shutdown(Shutdown::Write).unwrap();
        end_of(&client);
    }
    eventually("FINs", || (rig.ended("bad_client_hello") == 6).then_some(()));
    for count in [1, 5, good.len() - 1] {
        let client = rig.connect();
        say(&client, &good[..count]);
        eventually("it is read", || (rig.metric("balance_shard_peeked_bytes") > 0.0).then_some(()));
        reset(client);
        eventually("it is forgotten", || (rig.metric("balance_shard_peeked_bytes") == 0.0).then_some(()));
    }
    assert_eq!(rig.ended("downstream_reset"), 3);
    let client = rig.connect();
    client.shutdown(Shutdown::Write).unwrap();
    end_of(&client);
    eventually("who left", || (rig.ended("downstream_gone") == 1).then_some(()));
    assert!(site.nobody_came());
    rig.settled();
}
scenario!(each_refusal_has_its_reason: uring, epoll, uring_floor);

/// A PROXY header before the hello, and one before it on the other side.
fn proxy_headers_come_before_the_hello(mode: Mode) {
    let site = Site::new();
    let settings = "proxy_protocol = { trusted = [\"127.0.0.1\"] }\ndeny = [\"192.0.2.66\"]\n";
    let config = site.clusters("proxy_protocol = \"v1\"") + &listener("web", "web", &format!("{settings}{ROUTES}"));
    let mut rig = Rig::start(mode, &config);
    let header = "PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\r\n";
    let bytes = [header.as_bytes(), &hello("x.example.net", &["h2"]), b"early"].concat();
    for cut in [1, header.len() - 1, header.len(), header.len() + 1, header.len() + 7, bytes.len() - 5, bytes.len()] {
        let client = rig.connect();
        say(&client, &bytes[..cut]);
        pause();
        say(&client, &bytes[cut..]);
        let server = site.accept("net");
        hear(&server, &bytes);
        assert_eq!(rig.json("/connections?peer=192.0.2.7")["connections"][0]["cluster"], "net");
        part(&client, &server);
    }
    let client = rig.connect();
    say(&client, b"PROXY TCP4 192.0.2.66 198.51.100.1 4000 443\r\n");
    end_of(&client);
    rig.ends("denied");
    rig.settled();
}
scenario!(proxy_headers_come_before_the_hello: uring, epoll, uring_floor);

/// Limits and queues are those of the cluster that the route leads to, and nobody holds a permit before that is known.
fn limits_are_those_of_the_cluster_chosen(mode: Mode) {
    let site = Site::new();
    let more = "max_connections = 1\nqueue = { size = 1, timeout = \"20s\" }";
    let config = site.clusters(more) + &listener("web", "web", &format!("peek_timeout = \"30s\"{ROUTES}"));
    let mut rig = Rig::start(mode, &config);
    let silent: Vec<TcpStream> = (0..5).map(|_| rig.connect()).collect();
    let net = hello("example.net", &[]);
    let go = |rig: &mut Rig, bytes: &[u8]| {
        let client = rig.connect();
        say(&client, bytes);
        client
    };
    let first = go(&mut rig, &net);
    let first_server = site.accept("net");
    hear(&first_server, &net);
    assert_eq!(rig.metric("balance_cluster_permits_live"), 1.0);
    let second = go(&mut rig, &net);
    eventually("a place in the queue", || {
        let rows = rig.json("/connections?cluster=net&state=queued");
        (rows["connections"].as_array()?.len() == 1).then_some(())
    });
    let third = go(&mut rig, &net);
    end_of(&third);
    rig.ends("limit");
    // Another cluster has its own.
    let api = hello("api.example.com", &[]);
    let other = go(&mut rig, &api);
    let other_server = site.accept("api");
    hear(&other_server, &api);
    assert_eq!(rig.metric("balance_cluster_permits_live"), 2.0);
    part(&first, &first_server);
    let second_server = site.accept("net");
    hear(&second_server, &net);
    part(&second, &second_server);
    part(&other, &other_server);
    assert_eq!(rig.json("/connections?state=peeking")["connections"].as_array().unwrap().len(), 5);
    assert_eq!(rig.metric("balance_cluster_permits_live"), 0.0);
    drop(silent);
    rig.settled();
    assert_eq!(rig.ended("downstream_gone"), 5);
}
scenario!(limits_are_those_of_the_cluster_chosen: uring, epoll, uring_floor);

/// Whoever is there stays where they are; the counters of what stays go on.
fn a_reload_changes_the_routes_of_new_connections(mode: Mode) {
    let site = Site::new();
    let mut rig = Rig::start(mode, &site.config(""));
    let bytes = hello("api.example.com", &["h2"]);
    let old = rig.connect();
    say(&old, &bytes);
    let old_server = site.accept("grpc");
    hear(&old_server, &bytes);
    rig.reload(&site.config("").replacen("cluster = \"grpc\"", "cluster = \"acme\"", 1).replace("\"h2\"", "\"h3\""));
    let new = rig.connect();
    say(&new, &bytes);
    let new_server = site.accept("api");
    hear(&new_server, &bytes);
    let h3 = hello("api.example.com", &["h3"]);
    let newest = rig.connect();
    say(&newest, &h3);
    let newest_server = site.accept("acme");
    hear(&newest_server, &h3);
    assert_eq!(rig.json("/connections?cluster=grpc")["connections"].as_array().unwrap().len(), 1);
    // From routes to none.
    rig.reload(&(site.clusters("") + &listener("web", "net", "")));
    let plain = rig.connect();
    say(&plain, &bytes[..3]);
    let plain_server = site.accept("net");
    hear(&plain_server, &bytes[..3]);
    rig.reload(&site.config(""));
    let again = rig.connect();
    say(&again, &bytes);
    let again_server = site.accept("grpc");
    hear(&again_server, &bytes);
    for (client, server) in [
        (&old, &old_server),
        (&new, &new_server),
        (&newest, &newest_server),
        (&plain, &plain_server),
        (&again, &again_server),
    ] {
        part(client, server);
    }
    rig.settled();
    assert_eq!(rig.ended("finished"), 5);
}
scenario!(a_reload_changes_the_routes_of_new_connections: uring, epoll, uring_crowd);

/// A thousand clients that each keep most of a large hello to themselves: others are served meanwhile, and the memory
/// is what they sent and little more.
fn many_half_hellos_disturb_nobody(mode: Mode) {
    const CLIENTS: usize = 1000;
    let backend = Backend::echo();
    let endpoints: [SocketAddr; 1] = [backend.address];
    let route = "peek_timeout = \"30s\"\n[[listeners.routes]]\nmatch = { sni = \"a.example\" }\ncluster = \"app\"\n";
    let mut rig = Rig::start(mode, &(listener("web", "app", route) + &cluster("app", &endpoints, "")));
    let bytes = in_records(1 << 14, "a.example", &["h2"], 8000);
    let before = rig.resident_bytes();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let client = rig.connect();
        say(&client, &bytes[..8000]);
        clients.push(client);
    }
    eventually("all of it", || (rig.metric("balance_shard_peeked_bytes") >= (CLIENTS * 8000) as f64).then_some(()));
    assert!(rig.metric("balance_shard_peeked_bytes") <= (CLIENTS * 33_000) as f64);
    let grown = rig.resident_bytes().saturating_sub(before);
    assert!(grown < 40 << 20, "{grown} bytes for {CLIENTS} half hellos");
    for _ in 0..100 {
        let client = rig.connect();
        round_trip(&client, &bytes).unwrap();
    }
    let (last, rest) = clients.split_last().unwrap();
    say(last, &bytes[8000..]);
    hear(last, &bytes);
    assert!(is_silent(&rest[0], Duration::from_millis(20)));
    drop(clients);
    rig.settled();
}
scenario!(many_half_hellos_disturb_nobody: uring, epoll, uring_floor);

#[test]
fn a_route_to_nowhere_is_named_with_its_place() {
    let text = "[[listeners]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\n[[listeners.routes]]\n\
                match = { sni = \"a.example\" }\ncluster = \"ap\"\n[[listeners.routes]]\n\
                match = { sni = \"*.b.example\" }\ncluster = \"app\"\n[[listeners.routes]]\n\
                match = { sni = \"a.b.example\" }\ncluster = \"app\"\n[clusters.app]\nendpoints = [\"127.0.0.1:1\"]\n";
    let scratch = Scratch::new();
    let output = common::run(&["check", "-c", &scratch.write("balance.toml", text)]);
    let message = stderr(&output);
    assert_eq!(code(&output), 78, "{message}");
    for words in ["balance.toml:6:11", "there is no cluster `ap`", "balance.toml:11:17", "an earlier route"] {
        assert!(message.contains(words), "{words:?}: {message}");
    }
}
