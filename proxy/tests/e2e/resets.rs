//! A reset is never passed on as an end, whoever notices it first.
#![allow(clippy::disallowed_methods, reason = "tests give up after a while, by a clock of their own")]

use crate::harness::{
    Mode, Rig, bind, eventually,
    pattern::{End, Pace, Pattern, end_of, receive, receive_exactly, send},
    peers::{fill, reset},
    plain,
};
use std::{
    io::ErrorKind,
    thread,
    time::{Duration, Instant},
};

const MIB: u64 = 1 << 20;

/// A client that dies in the middle of a transfer both ways.
fn a_clients_rst_reaches_the_backend_as_rst(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &plain(backend.local_addr().unwrap()));
    for _ in 0..30 {
        let (client, server) = rig.pair(&backend);
        let sender = server.try_clone().unwrap();
        let flood = thread::spawn(move || send(&sender, 2, 1 << 40, Pace::Brisk));
        send(&client, 1, 3 * MIB, Pace::Brisk).err();
        receive_exactly(&client, &mut Pattern::new(2), 3 * MIB);
        reset(client);
        let (_, end) = receive(&server, 1, Pace::Brisk);
        // Whoever of the two threads comes second finds a broken pipe or a FIN; the error is reported once.
        let sent = flood.join().unwrap();
        let kinds = [end.err().map(|e| e.kind()), sent.err().map(|e| e.kind())];
        assert!(kinds.contains(&Some(ErrorKind::ConnectionReset)), "{kinds:?}");
        drop(server);
    }
    rig.ends("downstream_reset");
    rig.settled();
}
scenario!(a_clients_rst_reaches_the_backend_as_rst: uring, epoll, uring_floor);

fn a_backends_rst_reaches_the_client_as_rst(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &plain(backend.local_addr().unwrap()));
    for _ in 0..30 {
        let (client, server) = rig.pair(&backend);
        let sender = client.try_clone().unwrap();
        let flood = thread::spawn(move || send(&sender, 1, 1 << 40, Pace::Brisk));
        send(&server, 2, 3 * MIB, Pace::Brisk).unwrap();
        receive_exactly(&server, &mut Pattern::new(1), 3 * MIB);
        reset(server);
        let (_, end) = receive(&client, 2, Pace::Brisk);
        let sent = flood.join().unwrap();
        let kinds = [end.err().map(|e| e.kind()), sent.err().map(|e| e.kind())];
        assert!(kinds.contains(&Some(ErrorKind::ConnectionReset)), "{kinds:?}");
        drop(client);
    }
    rig.ends("upstream_reset");
    rig.settled();
}
scenario!(a_backends_rst_reaches_the_client_as_rst: uring, epoll, uring_floor);

/// Fill both directions until nothing moves, then `dies` is reset: the other one, who does not read, hears of it soon.
fn stuck_and_reset(mode: Mode, forward: &str, of_client: bool) {
    let backend = bind();
    let config = format!("[runtime]\nforward = \"{forward}\"\n") + &plain(backend.local_addr().unwrap());
    let mut rig = Rig::start(mode, &config);
    let (client, server) = rig.pair(&backend);
    let quiet = Duration::from_millis(300);
    while fill(&server, quiet) + fill(&client, quiet) > 0 {}
    let (dies, other, reason) =
        if of_client { (client, server, "downstream_reset") } else { (server, client, "upstream_reset") };
    reset(dies);
    let start = Instant::now();
    // It blocks, for there is no room, until there is an end.
    let told = send(&other, 1, 1 << 40, Pace::Brisk).unwrap_err();
    let took = start.elapsed();
    assert_eq!(told.kind(), ErrorKind::ConnectionReset, "{forward} {of_client}");
    assert!(took < Duration::from_secs(5), "{forward} {of_client}: {took:?}");
    rig.ends(reason);
    rig.settled();
}

fn a_client_that_dies_while_both_ways_are_stuck_is_let_go(mode: Mode) {
    for forward in ["auto", "copy", "bundle"] {
        stuck_and_reset(mode, forward, true);
    }
}
scenario!(a_client_that_dies_while_both_ways_are_stuck_is_let_go: uring, epoll, uring_floor);

fn a_backend_that_dies_while_both_ways_are_stuck_is_let_go(mode: Mode) {
    for forward in ["auto", "copy", "bundle"] {
        stuck_and_reset(mode, forward, false);
    }
}
scenario!(a_backend_that_dies_while_both_ways_are_stuck_is_let_go: uring, epoll, uring_floor);

/// Nobody who is cut may take what came for the whole.
fn a_connection_that_is_cut_is_reset(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &plain(backend.local_addr().unwrap()));
    let (client, server) = rig.pair(&backend);
    rig.proxy.signal("TERM");
    eventually("503", || (rig.proxy.get("/readyz").0 == 503).then_some(()));
    rig.proxy.signal("TERM");
    assert_eq!((end_of(&client), end_of(&server)), (End::Reset, End::Reset));
}
scenario!(a_connection_that_is_cut_is_reset: uring, epoll, uring_floor);
