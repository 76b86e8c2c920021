//! Time-outs count from the last byte in either direction, not from the start of the connection.
#![allow(clippy::disallowed_methods, reason = "tests give up after a while, by a clock of their own")]

use crate::harness::{
    Mode, Rig, accept, bind, cluster, dial, listener,
    pattern::{End, Pace, Pattern, end_of, receive_exactly, send},
    peers::{Backend, NeverAccepts, dial_with_window, nobody, read_text, round_trip},
};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

const IDLE: Duration = Duration::from_millis(400);

/// For slow readers: their kernels acknowledge by half a buffer, which these take a quarter of a second to read.
const IDLE_SLOW: Duration = Duration::from_secs(1);
const SIP: u64 = 48 << 10;
const WINDOW: usize = 64 << 10;

fn patient(endpoint: SocketAddr) -> String {
    listener("web", "app", "idle_timeout = \"1s\"") + &cluster("app", &[endpoint], "")
}

fn impatient(endpoint: SocketAddr) -> String {
    listener("web", "app", "idle_timeout = \"400ms\"\nhalf_close_timeout = \"400ms\"")
        + &cluster("app", &[endpoint], "")
}

/// How a connection ends that nobody serves. It may do so before `connect` has returned.
fn refusal(rig: &mut Rig) -> End {
    match dial(rig.proxy.listening("web")) {
        Ok(stream) => end_of(&stream),
        Err(e) if e.kind() == ErrorKind::ConnectionReset => End::Reset,
        Err(e) => panic!("{e}"),
    }
}

fn nap(time: Duration) {
    // tidy: sleep because time passing is what this is about
    thread::sleep(time);
}

/// A byte every now and then, in one direction only, for five times [`IDLE`]. False when the connection was cut because
/// this thread, on a busy machine, was kept from sending for as long as that: then the stream was idle.
fn trickle(mut from: &TcpStream, mut to: &TcpStream) -> bool {
    let start = Instant::now();
    let mut last = start;
    while start.elapsed() < IDLE * 5 {
        let before = Instant::now();
        if let Err(e) = from.write_all(b"x").and_then(|()| to.read_exact(&mut [0])) {
            let silence = last.elapsed();
            assert!(silence >= IDLE, "cut after {silence:?}: {e}");
            return false;
        }
        last = before;
        nap(IDLE / 8);
    }
    true
}

/// Until a machine is quiet enough for `run` to say something. How many runs there were that did not.
fn undisturbed(mut run: impl FnMut() -> bool) -> u64 {
    (0..20).find(|_| run()).expect("a machine on which a thread may run every 400 ms")
}

fn an_active_stream_outlives_its_idle_timeout(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &impatient(backend.local_addr().unwrap()));
    let mut disturbed = 0;
    for upwards in [true, false] {
        disturbed += undisturbed(|| {
            let (client, server) = rig.pair(&backend);
            if upwards { trickle(&client, &server) } else { trickle(&server, &client) }
        });
    }
    rig.settled();
    assert_eq!((rig.ended("idle_timeout"), rig.ended("finished")), (disturbed, 2));
}
scenario!(an_active_stream_outlives_its_idle_timeout: uring, epoll, uring_floor);

fn an_idle_connection_ends_on_both_sides(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &impatient(backend.local_addr().unwrap()));
    let (client, server) = rig.pair(&backend);
    let start = Instant::now();
    (&client).write_all(b"x").unwrap();
    (&server).read_exact(&mut [0]).unwrap();
    assert_eq!(end_of(&client), End::Reset);
    assert_eq!(end_of(&server), End::Reset);
    let took = start.elapsed();
    assert!(took >= IDLE && took < IDLE * 6, "{took:?}");
    rig.ends("idle_timeout");
    rig.settled();
}
scenario!(an_idle_connection_ends_on_both_sides: uring, epoll, uring_floor);

/// A reader that has stopped is idle too: nothing moves.
fn a_stopped_reader_ends_by_idle_timeout(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &impatient(backend.local_addr().unwrap()));
    let (client, server) = rig.pair(&backend);
    assert!(crate::harness::peers::fill(&server, IDLE / 2) > 0);
    assert_eq!(end_of(&server), End::Reset);
    rig.ends("idle_timeout");
    drop(client);
    rig.settled();
}
scenario!(a_stopped_reader_ends_by_idle_timeout: uring, epoll, uring_floor);

/// Its window is small and the proxy's queue for it is large, which the kernel calls writable again in big steps only.
/// But its peer's kernel acknowledges bytes all the time.
fn a_slow_reader_outlives_the_idle_timeout(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &patient(backend.local_addr().unwrap()));
    let client = dial_with_window(rig.proxy.listening("web"), WINDOW).unwrap();
    let server = accept(&backend);
    let flood = thread::spawn(move || send(&server, 2, 1 << 40, Pace::Brisk));
    let mut pattern = Pattern::new(2);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        receive_exactly(&client, &mut pattern, SIP);
        nap(IDLE_SLOW / 10);
    }
    assert_eq!(rig.ended("idle_timeout"), 0);
    // Now it takes no more, and that is idleness.
    let start = Instant::now();
    rig.ends("idle_timeout");
    let took = start.elapsed();
    assert!(took >= IDLE_SLOW / 2 && took < IDLE_SLOW * 6, "{took:?}");
    assert_eq!(flood.join().unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
    drop(client);
    rig.settled();
}
scenario!(a_slow_reader_outlives_the_idle_timeout: uring, epoll, uring_floor);

/// The last bytes of an answer are all in the kernel, the backend waits for the next question, and the client reads on.
fn the_rest_of_an_answer_is_not_cut_while_it_is_read(mode: Mode) {
    const ANSWER: u64 = 20 * SIP;
    let backend = bind();
    let mut rig = Rig::start(mode, &patient(backend.local_addr().unwrap()));
    let client = dial_with_window(rig.proxy.listening("web"), WINDOW).unwrap();
    let server = accept(&backend);
    send(&server, 2, ANSWER, Pace::Brisk).unwrap();
    let mut pattern = Pattern::new(2);
    for _ in 0..ANSWER / SIP {
        receive_exactly(&client, &mut pattern, SIP);
        nap(IDLE_SLOW / 10);
    }
    round_trip_between(&client, &server);
    drop((client, server));
    rig.settled();
    assert_eq!((rig.ended("idle_timeout"), rig.ended("finished")), (0, 1));
}
scenario!(the_rest_of_an_answer_is_not_cut_while_it_is_read: uring, epoll, uring_floor);

fn round_trip_between(mut client: &TcpStream, mut server: &TcpStream) {
    client.write_all(b"?").unwrap();
    server.read_exact(&mut [0]).unwrap();
    server.write_all(b"!").unwrap();
    client.read_exact(&mut [0]).unwrap();
}

fn a_half_closed_connection_has_its_own_timeout(mode: Mode) {
    let backend = bind();
    let config = listener("web", "app", "idle_timeout = \"1h\"\nhalf_close_timeout = \"400ms\"")
        + &cluster("app", &[backend.local_addr().unwrap()], "");
    let mut rig = Rig::start(mode, &config);
    let mut ended = 0;
    for of_client in [true, false] {
        ended += undisturbed(|| {
            let (client, server) = rig.pair(&backend);
            let (closer, mut other) = if of_client { (&client, &server) } else { (&server, &client) };
            closer.shutdown(Shutdown::Write).unwrap();
            assert_eq!(other.read(&mut [0; 10]).unwrap(), 0);
            // Bytes the other way are progress.
            let undisturbed = trickle(other, closer);
            assert!(!undisturbed || end_of(closer) == End::Reset);
            undisturbed
        });
        ended += 1;
        crate::harness::eventually("the ends", || (rig.ended("half_close_timeout") == ended).then_some(()));
    }
    rig.settled();
}
scenario!(a_half_closed_connection_has_its_own_timeout: uring, epoll, uring_floor);

/// The only endpoint never answers: the client is told after `connect_timeout`.
fn a_backend_that_never_answers_costs_the_connect_timeout(mode: Mode) {
    let mute = NeverAccepts::new();
    let config = listener("web", "app", "") + &cluster("app", &[mute.address], "connect_timeout = \"300ms\"");
    let mut rig = Rig::start(mode, &config);
    let start = Instant::now();
    assert_eq!(end_of(&rig.connect()), End::Reset);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(5), "{took:?}");
    rig.ends("connect_timeout");
    assert_eq!(rig.endpoints("connect_failures"), [1]);
    rig.settled();
}
scenario!(a_backend_that_never_answers_costs_the_connect_timeout: uring, epoll, uring_floor);

/// One mute, one refusing, one good endpoint: everybody is served, and bytes sent early are not lost.
fn a_failed_connect_is_retried_elsewhere(mode: Mode) {
    let (mute, good) = (NeverAccepts::new(), Backend::echo());
    let config = listener("web", "app", "")
        + &cluster(
            "app",
            &[mute.address, nobody(), good.address],
            "connect_timeout = \"200ms\"\nfail_timeout = \"1h\"",
        );
    let mut rig = Rig::start(mode, &config);
    for _ in 0..30 {
        let client = rig.connect();
        round_trip(&client, b"sent before the upstream is there").unwrap();
    }
    assert_eq!(good.accepted(), 30);
    rig.settled();
    assert_eq!(rig.ended("finished"), 30);
}
scenario!(a_failed_connect_is_retried_elsewhere: uring, epoll, uring_floor);

fn when_all_endpoints_are_dead_the_client_is_told_at_once(mode: Mode) {
    let config = listener("web", "app", "") + &cluster("app", &[nobody(), nobody(), nobody()], "");
    let mut rig = Rig::start(mode, &config);
    for turn in 1..=5 {
        let start = Instant::now();
        assert_eq!(refusal(&mut rig), End::Reset);
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!(rig.ended("connect_failed"), turn);
    }
    rig.settled();
}
scenario!(when_all_endpoints_are_dead_the_client_is_told_at_once: uring, epoll);

fn a_cluster_without_endpoints_refuses(mode: Mode) {
    let mut rig = Rig::start(mode, &(listener("web", "app", "") + &cluster("app", &[], "")));
    assert_eq!(refusal(&mut rig), End::Reset);
    rig.ends("no_endpoint");
    rig.settled();
}
scenario!(a_cluster_without_endpoints_refuses: uring, epoll);

/// O4: no health checker, no reload: the endpoint that comes back is used again.
fn an_endpoint_that_returns_is_used_again(mode: Mode) {
    let steady = Backend::named("steady");
    let mortal = Backend::named("mortal");
    let address = mortal.address;
    let config = "[runtime]\ncores = [0]\n".to_owned()
        + &listener("web", "app", "")
        + &cluster("app", &[steady.address, address], "fail_timeout = \"300ms\"");
    let mut rig = Rig::start(mode, &config);
    let web = rig.proxy.listening("web");
    let who = || read_text(&dial(web).unwrap()).unwrap();
    drop(mortal);
    for _ in 0..10 {
        assert_eq!(who(), "steady");
    }
    assert!(rig.endpoints("connect_failures")[1] >= 1);
    let _mortal = Backend::at(address, |mut stream| drop(stream.write_all(b"mortal")));
    crate::harness::eventually("the endpoint that came back", || (who() == "mortal").then_some(()));
    let seen: Vec<String> = (0..4).map(|_| who()).collect();
    assert_eq!(seen.iter().filter(|w| *w == "mortal").count(), 2, "{seen:?}");
    rig.settled();
}
scenario!(an_endpoint_that_returns_is_used_again: uring, epoll);

/// A client that gives up while its connect is pending.
fn a_client_that_gives_up_ends_the_connect(mode: Mode) {
    let mute = NeverAccepts::new();
    let config = listener("web", "app", "") + &cluster("app", &[mute.address], "connect_timeout = \"1h\"");
    let mut rig = Rig::start(mode, &config);
    let client = rig.connect();
    crate::harness::eventually("the connection", || (rig.active() == 1).then_some(()));
    crate::harness::peers::reset(client);
    rig.ends("downstream_gone");
    rig.settled();
}
scenario!(a_client_that_gives_up_ends_the_connect: uring, epoll, uring_floor);
