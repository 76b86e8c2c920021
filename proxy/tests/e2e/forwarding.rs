//! Every rung of the ladder moves every byte, and the ladder changes rungs when it should and not otherwise.
#![allow(clippy::disallowed_methods, reason = "tests give up after a while, by a clock of their own")]

use crate::harness::{
    Mode, Rig, accept, bind, cluster, dial, eventually, listener,
    pattern::{End, Pace, Pattern, Side, end_of, exchange, receive_exactly, send, send_all},
    peers::{Backend, echo, fill, reset, round_trip},
};
use std::{
    fmt::Write as _,
    io::Write,
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

const MIB: u64 = 1 << 20;
const RUNGS: [&str; 6] = ["auto", "copy", "bundle", "splice", "uring-splice", "send-zc"];
const BRISK: Side = Side { len: 256 * MIB, write: Pace::Brisk, read: Pace::Brisk };

/// A listener for every rung, named after it, in front of one backend.
struct Ladder {
    rig: Rig,
    backend: TcpListener,
}

impl Ladder {
    fn start(mode: Mode, more: &str) -> Self {
        let backend = bind();
        let mut config = more.to_owned() + &cluster("app", &[backend.local_addr().unwrap()], "");
        for rung in RUNGS {
            config += &listener(rung, "app", &format!("forward = \"{rung}\""));
        }
        Self { rig: Rig::start(mode, &config), backend }
    }

    fn pair(&mut self, rung: &str) -> (TcpStream, TcpStream) {
        println!("now {rung}");
        let client = dial(self.rig.address(rung)).unwrap();
        (client, accept(&self.backend))
    }

    /// Over all shards.
    fn rung_metric(&mut self, what: &str, rung: &str) -> f64 {
        let (name, label) = (format!("balance_rung_{what}_total{{"), format!("rung=\"{rung}\""));
        let page = self.rig.proxy.get("/metrics").1;
        let lines: Vec<_> = page.lines().filter(|l| l.starts_with(&name) && l.contains(&label)).collect();
        assert!(!lines.is_empty(), "no {name} of {rung}");
        lines.iter().map(|l| l.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok()).unwrap()).sum()
    }
}

/// 256 MiB each way at once, over every rung.
fn every_rung_moves_every_byte(mode: Mode) {
    let mut ladder = Ladder::start(mode, "");
    for rung in RUNGS {
        let (client, server) = ladder.pair(rung);
        exchange(&client, BRISK, &server, BRISK);
    }
    for rung in &RUNGS[1..] {
        let bytes = ladder.rung_metric("bytes", rung);
        // The first buffers of a connection are copied before its rung begins.
        assert!(bytes > 500.0 * MIB as f64, "{rung} has moved {bytes}");
    }
    ladder.rig.settled();
    assert_eq!(ladder.rig.ended("finished"), RUNGS.len() as u64);
}
scenario!(every_rung_moves_every_byte: uring, epoll, uring_floor, uring_real);

/// Large sends go out of registered memory where the kernel knows that, and from any other memory where it does not;
/// what is registered is given up when nothing is sent any more.
fn zero_copy_sends_come_from_registered_memory(mode: Mode) {
    let mut ladder = Ladder::start(mode, "[performance.forward]\nzc_min = \"4KiB\"\n");
    for _ in 0..4 {
        let (client, server) = ladder.pair("send-zc");
        let some = Side { len: 8 * MIB, ..BRISK };
        exchange(&client, some, &server, some);
    }
    let sends = ladder.rung_metric("copied", "send-zc") + ladder.rung_metric("zero_copied", "send-zc");
    let registered = ladder.rung_metric("registered", "send-zc");
    assert!(sends > 0.0, "nothing was sent without a copy");
    assert_eq!(registered > 0.0, !mode.without.contains("registered"), "{registered} of {sends}");
    assert!(registered <= sends, "{registered} of {sends}");
    assert_eq!(ladder.rig.metric("balance_buffers_registrations_refused_total"), 0.0);
    eventually("the memory back", || (ladder.rig.metric("balance_buffers_registered_bytes") == 0.0).then_some(()));
    ladder.rig.settled();
}
scenario!(zero_copy_sends_come_from_registered_memory: uring, uring_real, uring_unregistered);

/// Bursts of 1 B to 4 MiB with pauses, read in random pieces, both ways at once.
fn bursts_of_any_size_stay_in_order(mode: Mode) {
    let mut ladder = Ladder::start(mode, "");
    let bursts = Side { len: 48 * MIB, write: Pace::Bursts { most: 4 * MIB }, read: Pace::Crumbs { most: 200_000 } };
    for rung in RUNGS {
        let (client, server) = ladder.pair(rung);
        exchange(&client, bursts, &server, bursts);
    }
    ladder.rig.settled();
}
scenario!(bursts_of_any_size_stay_in_order: uring, epoll, uring_floor);

/// A reader that stops for a while with bytes in every place there is, and the other that goes on.
fn a_reader_that_stops_gets_everything_later(mode: Mode) {
    let mut ladder = Ladder::start(mode, "");
    let pairs: Vec<_> = RUNGS.iter().map(|rung| ladder.pair(rung)).collect();
    thread::scope(|scope| {
        for (client, server) in &pairs {
            scope.spawn(|| send_all(server, 7, 32 * MIB, Pace::Brisk));
            scope.spawn(|| {
                send_all(client, 8, 32 * MIB, Pace::Slow { piece: 512 << 10, rest: Duration::from_millis(5) })
            });
            scope.spawn(|| {
                receive_exactly(server, &mut Pattern::new(8), 32 * MIB);
                // Only now the client reads at all.
                receive_exactly(client, &mut Pattern::new(7), 32 * MIB);
                assert_eq!([end_of(client), end_of(server)], [End::Fin; 2]);
            });
        }
    });
    drop(pairs);
    ladder.rig.settled();
}
scenario!(a_reader_that_stops_gets_everything_later: uring, epoll, uring_floor);

/// FIN from either side, first, with bytes still in a pipe: they arrive before it.
fn a_half_closes_with_bytes_on_the_way(mode: Mode) {
    let mut ladder = Ladder::start(mode, "");
    for rung in RUNGS {
        let (client, server) = ladder.pair(rung);
        half_close(&client, &server);
        let (client, server) = ladder.pair(rung);
        half_close(&server, &client);
    }
    ladder.rig.settled();
}
scenario!(a_half_closes_with_bytes_on_the_way: uring, epoll, uring_floor);

fn half_close(first: &TcpStream, second: &TcpStream) {
    thread::scope(|scope| {
        scope.spawn(|| send_all(first, 5, 12 * MIB, Pace::Brisk));
        receive_exactly(second, &mut Pattern::new(5), 12 * MIB);
        assert_eq!(end_of(second), End::Fin);
    });
    thread::scope(|scope| {
        scope.spawn(|| send_all(second, 6, 12 * MIB, Pace::Brisk));
        receive_exactly(first, &mut Pattern::new(6), 12 * MIB);
        assert_eq!(end_of(first), End::Fin);
    });
}

/// RST from either side while the other has stopped reading and bytes wait everywhere.
fn a_reset_finds_bytes_in_a_pipe(mode: Mode) {
    let mut ladder = Ladder::start(mode, "");
    for rung in RUNGS {
        for _ in 0..5 {
            let (client, server) = ladder.pair(rung);
            assert!(fill(&server, Duration::from_millis(50)) > MIB);
            reset(client);
            assert_eq!(end_of(&server), End::Reset, "{rung}");
            let (client, server) = ladder.pair(rung);
            assert!(fill(&client, Duration::from_millis(50)) > MIB);
            reset(server);
            assert_eq!(end_of(&client), End::Reset, "{rung}");
        }
    }
    ladder.rig.settled();
    assert_eq!(ladder.rig.metric("balance_pipes_in_use"), 0.0);
}
scenario!(a_reset_finds_bytes_in_a_pipe: uring, epoll, uring_floor);

/// A reload and then a drain while every rung has a transfer under way.
fn a_reload_and_a_drain_in_mid_transfer(mode: Mode) {
    let mut ladder = Ladder::start(mode, "");
    let pairs: Vec<_> = RUNGS.iter().map(|rung| ladder.pair(rung)).collect();
    let slow = Pace::Slow { piece: 128 << 10, rest: Duration::from_millis(2) };
    let side = Side { len: 48 * MIB, write: Pace::Brisk, read: slow };
    let backend = ladder.backend.local_addr().unwrap();
    let mut config = cluster("app", &[backend], "");
    for (index, rung) in RUNGS.iter().enumerate() {
        // Each listener gets another rung, for those who come from now on.
        config += &listener(rung, "app", &format!("forward = \"{}\"", RUNGS[(index + 1) % RUNGS.len()]));
    }
    thread::scope(|scope| {
        for (client, server) in &pairs {
            scope.spawn(move || exchange(client, side, server, side));
        }
        ladder.rig.reload(&config);
        ladder.rig.proxy.ask("POST", "/drain");
    });
    drop(pairs);
    assert!(ladder.rig.proxy.wait().success());
}
scenario!(a_reload_and_a_drain_in_mid_transfer: uring, epoll);

/// How long the rungs get alternating messages.
#[derive(Clone, Copy)]
enum Effort {
    Messages(u64),
    Time(Duration),
}

impl Effort {
    /// `BALANCE_ALTERNATE_SECONDS` for each rung, or so many messages.
    fn of(messages: u64) -> Self {
        let seconds = std::env::var("BALANCE_ALTERNATE_SECONDS").ok();
        let seconds = seconds.map(|text| text.parse().expect("BALANCE_ALTERNATE_SECONDS is a number"));
        seconds.map_or(Self::Messages(messages), |seconds| Self::Time(Duration::from_secs(seconds)))
    }

    /// 1 B, 1 MiB, 1 B, … to an echo and back, every byte checked. How many messages there were.
    fn alternate(self, client: &TcpStream) -> u64 {
        let (mut sent, mut back) = (Pattern::new(4), Pattern::new(4));
        let start = Instant::now();
        let mut messages = 0;
        loop {
            let more = match self {
                Self::Messages(most) => messages < most,
                Self::Time(time) => start.elapsed() < time,
            };
            if !more {
                return messages;
            }
            write_next(client, &mut sent, 1);
            receive_exactly(client, &mut back, 1);
            thread::scope(|scope| {
                scope.spawn(|| write_next(client, &mut sent, MIB));
                receive_exactly(client, &mut back, MIB);
            });
            messages += 2;
        }
    }
}

fn write_next(mut stream: &TcpStream, pattern: &mut Pattern, mut len: u64) {
    while len > 0 {
        let piece = pattern.take(len as usize);
        stream.write_all(piece).unwrap();
        len -= piece.len() as u64;
    }
}

/// 1 B, 1 MiB, 1 B, … both ways, on every rung: the ladder makes up its mind, and does not swing.
fn a_peer_that_alternates_does_not_make_the_ladder_swing(mode: Mode) {
    let mut ladder = Ladder::start(mode, "");
    for rung in RUNGS {
        let (client, server) = ladder.pair(rung);
        let echo = thread::spawn(|| echo(server));
        let effort = Effort::of(if rung == "auto" { 3000 } else { 300 });
        let before = ladder.rig.metric("balance_rung_entered_total");
        let messages = effort.alternate(&client);
        let changes = ladder.rig.metric("balance_rung_entered_total") - before;
        println!("{rung}: {messages} messages, {changes} changes of rung");
        // A return takes 255 short reads in a row in the end, of which there may be some on a slow machine.
        let most = 40.0 + messages as f64 / 255.0;
        let expected = if rung == "copy" { 0.0..=0.0 } else { 1.0..=most };
        assert!(expected.contains(&changes), "{rung}: {changes} changes of rung in {messages} messages");
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(end_of(&client), End::Fin);
        echo.join().unwrap();
    }
    ladder.rig.settled();
    assert_eq!(ladder.rig.metric("balance_pipes_in_use"), 0.0);
    assert_eq!(ladder.rig.ended("finished"), RUNGS.len() as u64);
}
scenario!(a_peer_that_alternates_does_not_make_the_ladder_swing: uring, epoll, uring_floor);

fn small_messages_never_leave_copy(mode: Mode) {
    let backend = Backend::echo();
    let config = listener("web", "app", "") + &cluster("app", &[backend.address], "");
    let mut rig = Rig::start(mode, &config);
    let clients: Vec<_> = (0..8).map(|_| rig.connect()).collect();
    for round in 0..5000 {
        let mut text = String::new();
        write!(text, "{round:064}").unwrap();
        round_trip(&clients[round % clients.len()], text.as_bytes()).unwrap();
    }
    assert_eq!(rig.metric("balance_rung_entered_total"), 0.0);
    drop(clients);
    rig.settled();
}
scenario!(small_messages_never_leave_copy: uring, epoll);

/// A client that has closed its half and reads nothing of what it asked for, on every rung: it costs no time and no
/// threads while it stands still, and gets everything when it goes on.
fn a_half_closed_client_that_stops_costs_nothing(mode: Mode) {
    let mut ladder = Ladder::start(mode, "");
    let threads = ladder.rig.threads();
    let pairs: Vec<_> = RUNGS.iter().map(|rung| ladder.pair(rung)).collect();
    thread::scope(|scope| {
        for (client, server) in &pairs {
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(end_of(server), End::Fin);
            scope.spawn(|| send_all(server, 7, 24 * MIB, Pace::Brisk));
        }
        ladder.rig.settle_bytes();
        let before = ladder.rig.cpu_time();
        let start = Instant::now();
        // tidy: sleep because the CPU time of doing nothing is what is measured
        thread::sleep(Duration::from_secs(2));
        let (spent, took) = (ladder.rig.cpu_time() - before, start.elapsed());
        assert!(spent < took / 10, "{spent:?} of CPU in {took:?} of standing still");
        // The ring's own splices are made by threads of the kernel, two for a ring that has few.
        assert!(ladder.rig.threads() <= threads + 4, "{} threads instead of {threads}", ladder.rig.threads());
        for (client, _) in &pairs {
            scope.spawn(|| {
                receive_exactly(client, &mut Pattern::new(7), 24 * MIB);
                assert_eq!(end_of(client), End::Fin);
            });
        }
    });
    drop(pairs);
    ladder.rig.settled();
}
scenario!(a_half_closed_client_that_stops_costs_nothing: uring, epoll, uring_floor);

/// One pipe for all, and somebody sits on it: the others bundle, and lose nothing.
fn without_pipes_bulk_is_bundled(mode: Mode) {
    let pipes = "[performance.pipes]\nsize = \"64KiB\"\nsize_max = \"64KiB\"\ntotal_max = \"64KiB\"\n";
    let mut ladder = Ladder::start(mode, pipes);
    let (stuck, holder) = ladder.pair("auto");
    assert!(fill(&holder, Duration::from_millis(100)) > MIB);
    eventually("a pipe in use", || (ladder.rig.metric("balance_pipes_in_use") > 0.0).then_some(()));
    for rung in ["auto", "splice", "uring-splice"] {
        let (client, server) = ladder.pair(rung);
        let side = Side { len: 32 * MIB, ..BRISK };
        exchange(&client, side, &server, side);
    }
    assert!(ladder.rung_metric("refused", "splice") >= 1.0);
    assert!(ladder.rung_metric("bytes", "bundle") > 30.0 * MIB as f64);
    drop((stuck, holder));
    ladder.rig.settled();
}
scenario!(without_pipes_bulk_is_bundled: uring, epoll, uring_floor);

/// A client that sends while it reads nothing, on every rung at once, does not hold up small messages beside it.
fn stalled_bulk_leaves_others_alone(mode: Mode) {
    let mut ladder = Ladder::start(mode, "[runtime]\ncores = [0]\n");
    let stalled: Vec<_> = RUNGS.iter().map(|rung| ladder.pair(rung)).collect();
    for (client, server) in &stalled {
        fill(client, Duration::from_millis(50));
        fill(server, Duration::from_millis(50));
    }
    let (client, server) = ladder.pair("auto");
    for _ in 0..500 {
        for (from, to) in [(&client, &server), (&server, &client)] {
            send(from, 9, 64, Pace::Brisk).unwrap();
            receive_exactly(to, &mut Pattern::new(9), 64);
        }
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(end_of(&server), End::Fin);
    drop((stalled, client, server));
    ladder.rig.settled();
}
scenario!(stalled_bulk_leaves_others_alone: uring, epoll, uring_floor);
