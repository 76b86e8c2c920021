//! The load against servers that are known: our own, and some that misbehave.

mod http;

use super::*;
use crate::{
    cli::Io,
    peers::{Kind, Server},
    plan::{Bytes, Limit, Protocol},
    values::Destination,
};
use std::{
    collections::HashSet,
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Mutex,
};

fn plan(mode: Mode, to: SocketAddr) -> Plan {
    Plan {
        mode,
        protocol: Protocol::Tcp,
        rate: None,
        targets: vec![Destination::Ip(to)],
        sources: Vec::new(),
        connections: 4,
        halves: 0,
        size: 64,
        limit: Limit::Requests(100),
        warm: Duration::ZERO,
        timeout: Duration::from_secs(30),
        bytes: Bytes::Checked,
        hold: false,
        processes: Vec::new(),
    }
}

fn measure(plan: Plan) -> Outcome {
    on(Io::Auto, plan)
}

fn on(io: Io, plan: Plan) -> Outcome {
    try_on(&Ground::test(2, io), plan).expect("a run")
}

fn try_on(ground: &Ground, plan: Plan) -> Result<Outcome, Failure> {
    run(plan, &Way::quiet(ground, &Interrupt::default()))
}

fn compare(plan: &Plan, ground: &Ground, rounds: u32) -> Result<report::Comparison, Failure> {
    half::compare(plan, &Way::quiet(ground, &Interrupt::default()), rounds)
}

fn echo() -> (Server, SocketAddr) {
    serve(Kind::ECHO)
}

fn serve(kind: Kind) -> (Server, SocketAddr) {
    let server = Server::start(kind, &[([127, 0, 0, 1], 0).into()], &Ground::test(2, Io::Auto)).expect("a server");
    let address = server.addresses[0];
    (server, address)
}

/// A server that does `with` to every connection, on a thread that lives as long as the test program.
fn misbehaving(with: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address");
    thread::spawn(move || listener.incoming().flatten().for_each(with));
    address
}

/// Reads one message of 64 bytes, and answers it with what `change` makes of it.
fn answers(change: impl Fn(&mut Vec<u8>) + Send + 'static) -> SocketAddr {
    misbehaving(move |mut stream| {
        let mut message = vec![0; 64];
        // The client may be gone already at the end of its test.
        if stream.read_exact(&mut message).is_ok() {
            change(&mut message);
            let _ = stream.write_all(&message);
        }
    })
}

fn count(outcome: &Outcome, kind: &str) -> u64 {
    outcome.tally.errors.by_kind().find(|(name, _)| *name == kind).expect("a kind").1
}

#[test]
fn ping_pong_counts_exactly_what_was_asked() {
    let (server, to) = echo();
    for io in [Io::Auto, Io::Epoll] {
        let outcome = on(io, plan(Mode::PingPong, to));
        let tally = &outcome.tally;
        assert_eq!((tally.requests, tally.latency.len(), tally.errors.total()), (100, 100, 0), "{io:?}");
        assert_eq!((tally.bytes_out, tally.bytes_in, tally.connected), (6400, 6400, 4));
        assert_eq!(tally.unfinished, 0);
    }
    server.stop().expect("a clean end");
}

#[test]
fn messages_larger_than_a_buffer_go_there_and_back() {
    let (server, to) = echo();
    for size in [1, 4097, 3 << 20] {
        let outcome = measure(Plan { size, limit: Limit::Requests(8), ..plan(Mode::PingPong, to) });
        assert_eq!((outcome.tally.requests, outcome.tally.errors.total()), (8, 0), "{size}");
        assert_eq!(outcome.tally.bytes_in, 8 * size);
    }
    server.stop().expect("a clean end");
}

#[test]
fn a_run_for_a_time_ends_and_has_measured_something() {
    let (server, to) = echo();
    let limit = Limit::After(Duration::from_millis(50));
    let warm = Duration::from_millis(20);
    let outcome = measure(Plan { limit, warm, ..plan(Mode::PingPong, to) });
    assert!(outcome.tally.requests > 0);
    assert!(outcome.tally.measured >= Duration::from_millis(50));
    assert_eq!((outcome.tally.open, outcome.tally.errors.total()), (4, 0));
    server.stop().expect("a clean end");
}

#[test]
fn connect_mode_opens_a_connection_for_every_exchange() {
    let (server, to) = echo();
    let outcome = measure(plan(Mode::Connect, to));
    assert_eq!((outcome.tally.requests, outcome.tally.connected), (100, 100));
    assert_eq!((outcome.tally.open, outcome.tally.errors.total()), (0, 0));
    server.stop().expect("a clean end");
}

#[test]
fn connections_come_from_the_sources_they_were_given() {
    let peers = Arc::new(Mutex::new(HashSet::new()));
    let seen = Arc::clone(&peers);
    let to = misbehaving(move |mut stream| {
        seen.lock().expect("no panic").insert(stream.peer_addr().expect("peer").ip());
        thread::spawn(move || {
            let mut copy = stream.try_clone().expect("clone");
            io::copy(&mut stream, &mut copy)
        });
    });
    let sources = crate::values::loopback_sources(3);
    let outcome = measure(Plan { sources: sources.clone(), ..plan(Mode::PingPong, to) });
    assert_eq!((outcome.tally.requests, outcome.tally.errors.total()), (100, 0));
    assert_eq!(*peers.lock().expect("no panic"), sources.into_iter().collect());
}

#[test]
fn streams_move_bytes_both_ways() {
    let limit = Limit::After(Duration::from_millis(100));
    let (source, to) = serve(Kind::SOURCE);
    let down = measure(Plan { limit, size: 65_536, ..plan(Mode::StreamDown, to) });
    assert!(down.tally.bytes_in > 0 && down.tally.bytes_out == 0);
    assert_eq!(down.tally.errors.total(), 0, "{:?}", down.tally.errors);
    source.stop().expect("a clean end");
    let (sink, to) = serve(Kind::SINK);
    let up = measure(Plan { limit, size: 65_536, ..plan(Mode::StreamUp, to) });
    assert!(up.tally.bytes_out > 0 && up.tally.bytes_in == 0);
    assert_eq!(up.tally.errors.total(), 0, "{:?}", up.tally.errors);
    sink.stop().expect("a clean end");
}

#[test]
fn idle_connections_are_held() {
    let (server, to) = echo();
    let limit = Limit::After(Duration::from_millis(20));
    let outcome = measure(Plan { limit, connections: 600, ..plan(Mode::Idle, to) });
    assert_eq!((outcome.tally.connected, outcome.tally.open, outcome.tally.errors.total()), (600, 600, 0));
    server.stop().expect("a clean end");
}

#[test]
fn halves_stay_and_only_the_others_are_measured() {
    let (server, to) = echo();
    let limit = Limit::After(Duration::from_millis(20));
    let plan = Plan { limit, halves: 300, size: 65, ..plan(Mode::Half, to) };
    let comparison = compare(&plan, &Ground::test(2, Io::Auto), 2).expect("a comparison");
    assert_eq!(comparison.pairs.len(), 2);
    comparison.verdict().expect("all connections stayed");
    for pair in &comparison.pairs {
        let (without, with) = (&pair.without.tally, &pair.with.tally);
        assert_eq!((without.open, with.open), (4, 304));
        assert_eq!((without.errors.total(), with.errors.total()), (0, 0));
        assert_eq!(with.requests, with.latency.len());
        assert!(without.requests > 0 && with.requests > 0);
    }
    server.stop().expect("a clean end");
}

#[test]
fn halves_that_are_lost_spoil_the_comparison() {
    // Answers whole messages and closes; half a message brings nothing.
    let to = answers(|_| {});
    let limit = Limit::After(Duration::from_millis(20));
    let timeout = Duration::from_millis(20);
    let plan = Plan { limit, timeout, connections: 1, halves: 1, ..plan(Mode::Half, to) };
    let comparison = compare(&plan, &Ground::test(1, Io::Auto), 1).expect("a comparison");
    assert!(comparison.verdict().is_err());
}

#[test]
fn cpu_time_of_named_processes_is_counted() {
    let (server, to) = echo();
    let ours = vec![std::process::id()];
    let outcome = measure(Plan { processes: ours, ..plan(Mode::PingPong, to) });
    assert!(outcome.target_cpu.is_some());
    let nobody = Plan { processes: vec![1 << 30], ..plan(Mode::PingPong, to) };
    let failure = try_on(&Ground::test(1, Io::Auto), nobody).err().expect("nobody there");
    assert!(failure.message.starts_with("--pid"), "{failure}");
    server.stop().expect("a clean end");
}

#[test]
fn a_lost_idle_connection_is_an_error() {
    // Answers the message, and closes.
    let to = answers(|_| {});
    let outcome = measure(Plan { limit: Limit::Told, ..plan(Mode::Idle, to) });
    assert_eq!((count(&outcome, "short"), outcome.tally.open), (4, 0));
}

#[test]
fn a_wrong_byte_is_corrupt() {
    let to = answers(|message| message[63] ^= 1);
    let outcome = measure(plan(Mode::Connect, to));
    assert_eq!((outcome.tally.requests, count(&outcome, "corrupt")), (0, 100));
    assert_eq!(outcome.tally.errors.first_corruption.expect("a place").position, 63);
    let report = Report::new("tcp", outcome, None);
    assert!(report.verdict().is_err_and(|f| f.message.starts_with("wrong bytes")));
}

#[test]
fn an_answer_that_is_too_long_is_extra() {
    for bytes in [Bytes::Checked, Bytes::Any] {
        let to = answers(|message| message.push(7));
        let outcome = measure(Plan { bytes, limit: Limit::Requests(4), ..plan(Mode::Connect, to) });
        assert_eq!((outcome.tally.requests, count(&outcome, "extra")), (0, 4), "{bytes:?}");
        assert!(outcome.verdict().is_err_and(|f| f.message.starts_with("wrong bytes")));
    }
}

#[test]
fn a_servers_own_bytes_pass_where_they_are_allowed() {
    let to = answers(|message| message.fill(b'x'));
    let outcome = measure(Plan { bytes: Bytes::Any, ..plan(Mode::Connect, to) });
    assert_eq!((outcome.tally.requests, outcome.tally.errors.total()), (100, 0));
}

#[test]
fn half_an_answer_is_short() {
    let to = answers(|message| message.truncate(32));
    let outcome = measure(plan(Mode::Connect, to));
    assert_eq!((outcome.tally.requests, count(&outcome, "short")), (0, 100));
}

#[test]
fn a_server_that_resets_is_a_reset() {
    // Closing with bytes unread makes the kernel send RST.
    let to = misbehaving(|stream| {
        let _ = stream.peek(&mut [0]);
    });
    let outcome = measure(plan(Mode::Connect, to));
    assert_eq!((outcome.tally.requests, count(&outcome, "reset")), (0, 100));
}

/// The first connections are answered once and closed, and then opened again.
#[test]
fn a_connection_that_was_lost_is_opened_again() {
    let to = answers(|_| {});
    let outcome = measure(plan(Mode::PingPong, to));
    let tally = &outcome.tally;
    // Each exchange opens a connection that answers once, for the opening; the counted one finds it closed.
    assert_eq!((tally.requests, tally.errors.total()), (0, 100));
    assert!(tally.connected >= 100, "{}", tally.connected);
}

#[test]
fn nobody_there_ends_the_run_with_refused() {
    let free = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address");
    // Without end if it were not for the failure.
    let outcome = measure(Plan { limit: Limit::Told, ..plan(Mode::PingPong, free) });
    assert_eq!((outcome.tally.connected, count(&outcome, "connect_refused")), (0, 4));
}

#[test]
fn a_server_that_never_answers_times_out() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("bind");
    let to = silent.local_addr().expect("address");
    let timeout = Duration::from_millis(20);
    let outcome = measure(Plan { timeout, limit: Limit::Requests(4), ..plan(Mode::Connect, to) });
    assert_eq!((outcome.tally.requests, count(&outcome, "timeout")), (0, 4));
}
