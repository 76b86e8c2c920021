//! NOT MENDED YET: each of these fails on the commit that added it, every time or now and then, and belongs into the
//! file of its subject when it passes.
#![allow(clippy::disallowed_methods, reason = "tests give up after a while, by a clock of their own")]

use crate::harness::{
    Mode, Rig, bind, cluster, eventually, listener,
    pattern::{End, Pace, Pattern, end_of, receive, receive_exactly, send},
    peers::{Backend, reset, round_trip},
    plain,
};
use socket2::SockRef;
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

const MIB: u64 = 1 << 20;
const IDLE: Duration = Duration::from_millis(400);

fn impatient(endpoint: SocketAddr) -> String {
    listener("web", "app", "idle_timeout = \"400ms\"\nhalf_close_timeout = \"400ms\"")
        + &cluster("app", &[endpoint], "")
}

fn nap(time: Duration) {
    // tidy: sleep because time passing is what this is about
    thread::sleep(time);
}

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

/// The client dies while bytes are stuck both ways. Its receive is stopped, so nobody sees the RST there; the send
/// that fails must end the connection, not half_close_timeout.
fn a_client_that_dies_behind_backpressure_is_let_go(mode: Mode) {
    let backend = Backend::echo();
    let mut rig = Rig::start(mode, &plain(backend.address));
    let stuck = rig.connect();
    let sent = crate::harness::peers::fill(&stuck, Duration::from_millis(300));
    assert!(sent > 0);
    for _ in 0..50 {
        round_trip(&rig.connect(), b"still here").unwrap();
    }
    drop(stuck);
    rig.settled();
}
scenario!(a_client_that_dies_behind_backpressure_is_let_go: uring, epoll, uring_floor);

/// A reader so slow that a send stays unfinished for longer than the time-out, while bytes keep moving.
fn a_trickling_reader_is_not_idle(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &impatient(backend.local_addr().unwrap()));
    let (client, server) = rig.pair(&backend);
    SockRef::from(&client).set_recv_buffer_size(64 << 10).unwrap();
    let flood = thread::spawn(move || {
        let piece = vec![1; 64 << 10];
        let mut total = 0;
        while let Ok(count @ 1..) = (&server).write(&piece) {
            total += count;
        }
        total
    });
    let start = Instant::now();
    let mut got = 0;
    let mut buffer = vec![0; 512 << 10];
    while start.elapsed() < IDLE * 6 {
        got += (&client).read(&mut buffer).unwrap_or_else(|e| panic!("after {got} bytes, {:?}: {e}", start.elapsed()));
        nap(IDLE / 4);
    }
    drop(client);
    assert!(flood.join().unwrap() >= got);
    assert_eq!(rig.ended("idle_timeout"), 0);
    rig.settled();
}
scenario!(a_trickling_reader_is_not_idle: uring, epoll, uring_floor);

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

/// 64 descriptors, 60 clients at once: those for whom there is none wait in the kernel's queue, at no cost.
fn whoever_is_accepted_without_descriptors_is_served_in_the_end(mode: Mode) {
    let backend = Backend::echo();
    let mut rig = Rig::start_with_descriptors(mode, 64, &plain(backend.address));
    let clients: Vec<TcpStream> = (0..60).map(|_| rig.connect()).collect();
    eventually("a pause", || (rig.metric("balance_loop_accept_pauses_total") > 0.0).then_some(()));
    let before = rig.cpu_time();
    let start = Instant::now();
    // tidy: sleep because the CPU time of doing nothing is what is measured
    thread::sleep(Duration::from_secs(2));
    let (spent, took) = (rig.cpu_time() - before, start.elapsed());
    assert!(spent < took / 10, "{spent:?} of CPU in {took:?} of pausing");
    // Those that are connected work; each that leaves lets another in.
    for (served, client) in clients.into_iter().enumerate() {
        round_trip(&client, b"hello").unwrap_or_else(|e| panic!("client {served}: {e}"));
    }
    for _ in 0..100 {
        round_trip(&rig.connect(), b"again").unwrap();
    }
    rig.settled();
    assert_eq!(rig.ended("finished"), 160);
}
scenario!(whoever_is_accepted_without_descriptors_is_served_in_the_end: uring_real, uring_floor, epoll);
