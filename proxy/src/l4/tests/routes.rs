//! Listeners with routes: where a connection is led by its first bytes, however these come, and that its endpoint gets
//! every one of them.

use super::*;
use crate::{client_hello::tests::hello_in, l4::KEPT_BYTES_MAX};
use balance_config::model::{Peek, Route, RouteMatch, SniPattern};

const BYTES_MAX: u32 = 1 << 10;

fn routed(has_default: bool, timeout: Duration) -> Wishes {
    let when = |sni: &[&str], alpn: &[&str]| RouteMatch {
        sni: sni.iter().map(|name| SniPattern::Under((*name).to_owned())).collect(),
        alpn: alpn.iter().map(|protocol| (*protocol).to_owned()).collect(),
    };
    let route = |when| Route { when, cluster: "r".to_owned() };
    let routes = vec![route(when(&["example.com"], &[])), route(when(&[], &["acme-tls/1"]))];
    let peek = Peek { timeout, bytes_max: BYTES_MAX };
    Wishes { routed: Some(Routed { routes, peek, has_default }), ..Wishes::default() }
}

fn with_default() -> Wishes {
    routed(true, Duration::from_secs(5))
}

fn without_default() -> Wishes {
    routed(false, Duration::from_secs(5))
}

/// What the echo got from a client that says `pieces`, without the header that tells the way; and whether a route led
/// there.
#[track_caller]
fn led(wishes: Wishes, pieces: &[&[u8]]) -> (bool, Vec<u8>) {
    let (got, reasons) = told_bytes(wishes, pieces);
    assert_eq!(reasons, [Reason::Finished]);
    let got = got.expect("echoed");
    let by_route = got.starts_with(b"PROXY TCP4 127.0.0.1 127.0.0.1 ");
    let header =
        if by_route { 1 + got.iter().position(|byte| *byte == b'\n').expect("an end of the header") } else { 0 };
    (by_route, got[header..].to_vec())
}

#[track_caller]
fn refused(wishes: Wishes, pieces: &[&[u8]], reason: Reason) {
    assert_eq!(told_bytes(wishes, pieces), (None, vec![reason]));
}

#[test]
fn a_route_leads_by_name_or_protocol_and_the_rest_goes_to_the_listeners_own_cluster() {
    for (name, protocols, expected) in [
        ("a.example.com", [b"h2".as_slice()], true),
        ("A.B.EXAMPLE.com.", [b"h2"], true),
        ("example.com", [b"h2"], false),
        ("b.example.net", [b"acme-tls/1"], true),
        ("b.example.net", [b"http/1.1"], false),
    ] {
        let bytes = [&hello_in(1 << 14, name, &protocols)[..], b"and more"].concat();
        assert_eq!(led(with_default(), &[&bytes]), (expected, bytes), "{name}");
    }
    for other in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"\x80\x2e\x01\x00\x02", b"\0", b"\x16\x02\x00\x00"] {
        assert_eq!(led(with_default(), &[other]), (false, other.to_vec()));
    }
}

/// Cut into two segments at every byte, behind the hello too.
#[test]
fn the_endpoint_gets_every_byte_wherever_they_are_cut() {
    let bytes = [&hello_in(30, "www.example.com", &[b"h2", b"http/1.1"])[..], b"early"].concat();
    for cut in 1..bytes.len() {
        let (led, got) = led(with_default(), &[&bytes[..cut], &bytes[cut..]]);
        assert!(led && got == bytes, "cut at {cut}: {led}, {got:02x?} of {bytes:02x?}");
    }
    let each: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(led(without_default(), &each), (true, bytes.clone()));
}

#[test]
fn a_hello_behind_a_proxy_header_is_read_wherever_they_are_cut() {
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 443\r\n";
    let hello = hello_in(1 << 14, "www.example.com", &[b"h2"]);
    let bytes = [&header[..], &hello, b"early"].concat();
    for cut in 1..bytes.len() {
        let wishes = Wishes { guard: trusting(loopback(8), Untrusted::Reject), ..without_default() };
        let (got, reasons) = told_bytes(wishes, &[&bytes[..cut], &bytes[cut..]]);
        // The endpoint hears of the same client, and then the same bytes.
        assert_eq!((got.as_deref(), &reasons[..]), (Some(&bytes[..]), &[Reason::Finished][..]), "cut at {cut}");
    }
    let wishes = Wishes { guard: trusting(loopback(8), Untrusted::Reject), ..without_default() };
    refused(wishes, &[header, b"GET / HTTP/1.1\r\n\r\n"], Reason::NoRoute);
}

#[test]
fn each_refusal_has_its_reason() {
    let hello = hello_in(1 << 14, "www.example.com", &[b"h2"]);
    refused(without_default(), &[b"GET / HTTP/1.1\r\n\r\n"], Reason::NoRoute);
    refused(without_default(), &[&hello_in(1 << 14, "www.example.net", &[b"h2"])], Reason::NoRoute);
    for wishes in [with_default, without_default] {
        refused(wishes(), &[], Reason::DownstreamGone);
        for cut in [1, 2, 9, hello.len() - 1] {
            refused(wishes(), &[&hello[..cut]], Reason::BadHello);
        }
        refused(wishes(), &[&hello_in(1 << 14, "192.0.2.1", &[b"h2"])], Reason::BadHello);
        refused(wishes(), &[&hello_in(1, "www.example.com", &[b"h2"])], Reason::BadHello);
        refused(wishes(), &[b"\x16\x03\x01\0\0"], Reason::BadHello);
        // One byte too long, by the length in its own header, and by what its records come to.
        refused(wishes(), &[b"\x16\x03\x01\x03\xfc\x01\0\x03\xf8"], Reason::HelloTooLong);
        let protocol = [b'x'; 200];
        let long = hello_in(300, "www.example.com", &[protocol.as_slice(); 5]);
        refused(wishes(), &[&long], Reason::HelloTooLong);
    }
}

fn pieces(bytes: &[u8], size: usize) -> Vec<Vec<u8>> {
    bytes.chunks(size).map(<[u8]>::to_vec).collect()
}

/// Send `pieces`, and never close.
async fn linger(handle: Handle, front: SocketAddr, pieces: Vec<Vec<u8>>, pause: Duration) -> Received {
    let mut socket = open(&handle, front).await;
    for piece in pieces {
        let mut buffer = handle.pool().take(Class::Small).expect("a buffer");
        buffer[..piece.len()].copy_from_slice(&piece);
        if socket.send_all(buffer, piece.len() as u32).await.is_err() {
            break;
        }
        net::sleep_until(&handle, handle.now() + pause).await;
    }
    socket.recv().await
}

/// One byte after another does not make the time longer, and it is counted from accept.
#[test]
fn the_whole_hello_has_one_deadline() {
    const LIMIT: Duration = Duration::from_millis(300);
    let hello = hello_in(1 << 14, "www.example.com", &[b"h2"]);
    let first = |count| pieces(&hello[..count], 1);
    for (pieces, pause) in [(first(hello.len()), LIMIT / 20), (first(3), LIMIT), (first(1), Duration::ZERO)] {
        let handle = handle();
        let (state, front) = world(&handle, routed(true, LIMIT));
        let started = handle.now();
        let client = linger(handle.clone(), front, pieces, pause);
        // A send that was told of the reset has used it up.
        let end = shard::block_on(&handle, client).expect("the ring works");
        assert!(!matches!(end, Received::Data(_)), "{end:?}");
        let took = handle.now() - started;
        assert!((LIMIT..LIMIT * 4).contains(&took), "{took:?}");
        let ended = state.report().endings;
        assert_eq!(ended.iter().find(|(reason, _)| *reason == Reason::PeekTimeout).map(|(_, n)| *n), Some(1));
        shard::finish(&handle).expect("drained");
    }
}

/// What waits for more of its hello pays for what is kept, and is refused where nothing is left; a hello in one piece
/// needs none of it.
#[test]
fn what_is_kept_of_all_connections_together_is_bounded() {
    let handle = handle();
    let (state, front) = world(&handle, without_default());
    let hello = hello_in(1 << 14, "www.example.com", &[b"h2"]);
    let others = state.peeked.lease(KEPT_BYTES_MAX).expect("nothing is kept yet");
    let client = linger(handle.clone(), front, pieces(&hello[..20], 20), Duration::ZERO);
    let end = shard::block_on(&handle, client).expect("the ring works");
    assert!(matches!(end, Received::Failed(_)), "{end:?}");
    let whole = linger(handle.clone(), front, vec![hello.clone()], Duration::ZERO);
    assert!(matches!(shard::block_on(&handle, whole), Ok(Received::Data(_))));
    drop(others);
    let paused = linger(handle.clone(), front, pieces(&hello, 20), Duration::from_millis(1));
    assert!(matches!(shard::block_on(&handle, paused), Ok(Received::Data(_))));
    let report = state.report();
    assert_eq!(report.peeked_bytes, 0);
    assert_eq!(report.endings.iter().find(|(reason, _)| *reason == Reason::PeekMemory).map(|(_, n)| *n), Some(1));
    shard::finish(&handle).expect("drained");
}
