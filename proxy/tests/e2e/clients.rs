//! Who a client is and what it may do: PROXY headers in and out, lists of addresses, limits by address.

use crate::harness::{
    Mode, Rig, accept, bind, cluster, eventually, listener, patient,
    pattern::{End, Pace, end_of, receive_all, send_all},
    peers::{Backend, round_trip},
    plain,
};
use socket2::{Domain, Socket, Type};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
};

const SIXTEEN: &str = "[runtime]\ncores = [0]\nshards_per_core = 16\n";
const MIB: u64 = 1 << 20;

/// A connection from this loopback address.
fn dial_from(from: &str, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&format!("{from}:0").parse::<SocketAddr>().unwrap().into()).unwrap();
    // Whoever is refused may learn it here already.
    socket.connect(&to.into()).ok();
    let stream = TcpStream::from(socket);
    patient(&stream);
    stream
}

fn dial(to: SocketAddr) -> TcpStream {
    dial_from("127.0.0.1", to)
}

fn is_served(stream: &TcpStream) -> bool {
    round_trip(stream, b"hello").is_ok()
}

/// Ten for each address, over sixteen shards, whoever accepts them.
fn an_address_has_its_limit_over_all_shards(mode: Mode) {
    let backend = Backend::echo();
    let limits = "[listeners.per_ip]\nmax_connections = 10\n";
    let config = format!("{SIXTEEN}{}{}", listener("web", "app", limits), cluster("app", &[backend.address], ""));
    let mut rig = Rig::start(Mode { shards_per_core: 16, ..mode }, &config);
    let web = rig.address("web");
    for round in 1..=3 {
        let mine: Vec<_> = (0..25).map(|_| dial_from("127.0.0.1", web)).filter(is_served).collect();
        assert_eq!(mine.len(), 10);
        let others: Vec<_> = (0..25).map(|_| dial_from("127.0.0.2", web)).filter(is_served).collect();
        assert_eq!(others.len(), 10);
        assert_eq!(rig.ended("ip_connections"), 30 * round);
        drop((mine, others));
        eventually("all have left", || (rig.active() == 0).then_some(()));
    }
    rig.settled();
}
scenario!(an_address_has_its_limit_over_all_shards: uring, epoll);

/// Who was refused by rate is refused by RST, and the burst comes back.
fn an_address_opens_connections_at_its_rate(mode: Mode) {
    let backend = Backend::echo();
    let limits = "[listeners.per_ip]\nrate = 1\nburst = 5\n";
    let config = listener("web", "app", limits) + &cluster("app", &[backend.address], "");
    let mut rig = Rig::start(mode, &config);
    let web = rig.address("web");
    let served = (0..30).filter(|_| is_served(&dial_from("127.0.0.1", web))).count();
    assert!((5..30).contains(&served), "{served}");
    assert_eq!(rig.ended("ip_rate"), 30 - served as u64);
    assert!(is_served(&dial_from("127.0.0.3", web)), "others do not pay for it");
    eventually("another token", || is_served(&dial_from("127.0.0.1", web)).then_some(()));
    rig.settled();
}
scenario!(an_address_opens_connections_at_its_rate: uring, epoll, uring_floor);

fn limits_by_address_follow_a_reload(mode: Mode) {
    let backend = Backend::echo();
    let config = |max: u32| {
        let limits = format!("[listeners.per_ip]\nmax_connections = {max}\n");
        listener("web", "app", &limits) + &cluster("app", &[backend.address], "")
    };
    let mut rig = Rig::start(mode, &config(4));
    let web = rig.address("web");
    let mut kept: Vec<_> = (0..6).map(|_| dial(web)).filter(is_served).collect();
    assert_eq!(kept.len(), 4);
    rig.reload(&config(2));
    assert!(kept.iter().all(is_served), "those that are there stay");
    assert!(!is_served(&dial(web)));
    rig.reload(&config(6));
    kept.extend((0..4).map(|_| dial(web)).filter(is_served));
    assert_eq!(kept.len(), 6);
    rig.reload(&plain(backend.address));
    assert!(is_served(&dial(web)), "no limits any more");
    drop(kept);
    rig.settled();
}
scenario!(limits_by_address_follow_a_reload: uring, epoll);

const TRUSTED: &str = "[listeners.proxy_protocol]\ntrusted = [\"127.0.0.1\"]\n";

/// The address of the header is the client's: for its limits, for lists, for the table, for the endpoint.
fn a_header_says_who_the_client_is(mode: Mode) {
    let backend = bind();
    let more = format!("deny = [\"192.0.2.66\"]\n{TRUSTED}[listeners.per_ip]\nmax_connections = 1\n");
    let endpoints = [backend.local_addr().unwrap()];
    let config = listener("web", "app", &more) + &cluster("app", &endpoints, "proxy_protocol = \"v1\"");
    let mut rig = Rig::start(mode, &config);
    let web = rig.address("web");
    let mut first = dial(web);
    first.write_all(b"PROXY TCP4 192.0.2.1 198.51.100.1 5000 443\r\nhello").unwrap();
    let mut server = accept(&backend);
    let expected = b"PROXY TCP4 192.0.2.1 198.51.100.1 5000 443\r\nhello";
    let mut got = vec![0; expected.len()];
    server.read_exact(&mut got).unwrap();
    assert_eq!(got, expected);
    let rows = rig.json("/connections");
    assert!(rows.to_string().contains("192.0.2.1:5000"), "{rows}");

    for (header, reason) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.1 5001 443\r\n", "ip_connections"),
        ("PROXY TCP4 192.0.2.66 198.51.100.1 5001 443\r\n", "denied"),
        ("PROXY TCP4 192.0.2.1 198.51.100.1 99999 443\r\n", "bad_preface"),
        ("GET / HTTP/1.1\r\n\r\n", "bad_preface"),
    ] {
        let before = rig.ended(reason);
        let mut other = dial(web);
        other.write_all(header.as_bytes()).unwrap();
        assert_eq!(end_of(&other), End::Reset, "{header}");
        eventually(reason, || (rig.ended(reason) == before + 1).then_some(()));
    }
    // Whoever is not trusted cannot say who he is.
    let mut stranger = dial_from("127.0.0.9", web);
    stranger.write_all(b"PROXY TCP4 192.0.2.3 198.51.100.1 5000 443\r\nhello").err();
    assert!(!is_served(&stranger));
    rig.ends("untrusted");

    thread::scope(|scope| {
        scope.spawn(|| send_all(&first, 3, 64 * MIB, Pace::Brisk));
        receive_all(&server, 3, 64 * MIB, Pace::Brisk);
    });
    drop((first, server));
    rig.settled();
}
scenario!(a_header_says_who_the_client_is: uring, epoll, uring_floor);

/// Cut at every byte, followed by bulk in the same piece.
fn a_header_may_come_in_any_pieces(mode: Mode) {
    let backend = bind();
    let endpoints = [backend.local_addr().unwrap()];
    let config = listener("web", "app", TRUSTED) + &cluster("app", &endpoints, "proxy_protocol = \"v2\"");
    let mut rig = Rig::start(mode, &config);
    let web = rig.address("web");
    // Version 2, PROXY, TCP over IPv4: 192.0.2.1:5000 to 198.51.100.1:443.
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x01\x13\x88\x01\xbb";
    for cut in 0..header.len() {
        let mut client = dial(web);
        client.write_all(&header[..cut]).unwrap();
        // A turn of the proxy in between, by another connection's round.
        let mut other = dial(web);
        other.write_all(header).unwrap();
        let mut beside = accept(&backend);
        let mut got = vec![0; header.len()];
        beside.read_exact(&mut got).unwrap();
        assert_eq!(got, header);
        client.write_all(&[&header[cut..], b"hello"].concat()).unwrap();
        let mut server = accept(&backend);
        let mut got = vec![0; header.len() + 5];
        server.read_exact(&mut got).unwrap();
        assert_eq!(got, [&header[..], b"hello"].concat(), "cut at {cut}");
    }
    rig.settled();
}
scenario!(a_header_may_come_in_any_pieces: uring, epoll, uring_floor);

/// Without one at the door, the header for the endpoint has the socket's own addresses.
fn an_endpoint_is_told_the_clients_address(mode: Mode) {
    let backend = bind();
    let endpoints = [backend.local_addr().unwrap()];
    let config = listener("web", "app", "") + &cluster("app", &endpoints, "proxy_protocol = \"v1\"");
    let mut rig = Rig::start(mode, &config);
    let web = rig.address("web");
    let client = dial_from("127.0.0.5", web);
    let mut server = accept(&backend);
    let port = client.local_addr().unwrap().port();
    let expected = format!("PROXY TCP4 127.0.0.5 127.0.0.1 {port} {}\r\n", web.port());
    let mut got = vec![0; expected.len()];
    server.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), expected);
    drop((client, server));
    rig.settled();
}
scenario!(an_endpoint_is_told_the_clients_address: uring, epoll, uring_floor);

fn lists_say_who_may_connect(mode: Mode) {
    let backend = Backend::echo();
    let lists = "allow = [\"127.0.0.0/29\"]\ndeny = [\"127.0.0.3\"]\n";
    let config = listener("web", "app", lists) + &cluster("app", &[backend.address], "");
    let mut rig = Rig::start(mode, &config);
    let web = rig.address("web");
    let served = |last: u8| is_served(&dial_from(&format!("127.0.0.{last}"), web));
    assert_eq!([1, 2, 3, 7, 8].map(served), [true, true, false, true, false]);
    assert_eq!(rig.ended("denied"), 2);
    rig.reload(&plain(backend.address));
    assert_eq!([3, 8].map(served), [true, true]);
    rig.settled();
}
scenario!(lists_say_who_may_connect: uring, epoll);
