//! Leaving under traffic.
#![allow(clippy::disallowed_methods, reason = "tests give up after a while, by a clock of their own")]

use crate::harness::{
    Mode, Rig, bind, cluster, dial, eventually, listener,
    pattern::{Pace, Side, end_of, exchange},
    peers::{Backend, round_trip},
    plain,
};
use std::{
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

/// 64 MiB each way, TERM in the middle: not ready at once, no new connections, and the transfer completes.
fn a_transfer_completes_over_a_drain(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &plain(backend.local_addr().unwrap()));
    let web = rig.proxy.listening("web");
    let (client, server) = rig.pair(&backend);
    let side = Side {
        len: 64 << 20,
        write: Pace::Brisk,
        read: Pace::Slow { piece: 128 << 10, rest: Duration::from_millis(2) },
    };
    thread::scope(|scope| {
        let transfer = scope.spawn(|| exchange(&client, side, &server, side));
        assert_eq!(rig.proxy.get("/readyz").0, 200);
        rig.proxy.signal("TERM");
        eventually("503", || (rig.proxy.get("/readyz").0 == 503).then_some(()));
        eventually("a refusal", || TcpStream::connect(web).is_err().then_some(()));
        assert!(!transfer.is_finished(), "the transfer is too short to prove anything");
        assert_eq!(rig.status()["phase"], "draining");
    });
    drop((client, server));
    assert_eq!(rig.proxy.wait().code(), Some(0));
    rig.proxy.says("  finished 1");
}
scenario!(a_transfer_completes_over_a_drain: uring, epoll, uring_floor, uring_crowd);

fn accepting_goes_on_for_the_minimum(mode: Mode) {
    let backend = Backend::echo();
    let config = plain(backend.address);
    let mut rig = Rig::start_by(&config, |path| {
        let mut command = mode.command(path);
        command.env("BALANCE__DRAIN__MIN", "1s");
        command
    });
    let web = rig.proxy.listening("web");
    rig.proxy.signal("TERM");
    eventually("503", || (rig.proxy.get("/readyz").0 == 503).then_some(()));
    round_trip(&dial(web).unwrap(), b"welcome all the same").unwrap();
    assert_eq!(rig.proxy.wait().code(), Some(0));
    rig.proxy.says("  finished 1");
}
scenario!(accepting_goes_on_for_the_minimum: uring, epoll);

fn the_deadline_ends_what_is_left(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start_by(&plain(backend.local_addr().unwrap()), |path| {
        let mut command = mode.command(path);
        command.env("BALANCE__DRAIN__DEADLINE", "500ms");
        command
    });
    let (client, server) = rig.pair(&backend);
    let start = Instant::now();
    rig.proxy.signal("TERM");
    end_of(&client);
    end_of(&server);
    assert!(start.elapsed() >= Duration::from_millis(450), "{:?}", start.elapsed());
    assert_eq!(rig.proxy.wait().code(), Some(0));
    rig.proxy.says("cut short 1");
}
scenario!(the_deadline_ends_what_is_left: uring, epoll, uring_floor, uring_crowd);

/// With a flood in both directions and stopped readers, too.
fn a_second_term_ends_at_once(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &plain(backend.local_addr().unwrap()));
    let pairs: Vec<_> = (0..20).map(|_| rig.pair(&backend)).collect();
    for (client, server) in &pairs {
        crate::harness::peers::fill(client, Duration::from_millis(10));
        crate::harness::peers::fill(server, Duration::from_millis(10));
    }
    rig.proxy.signal("TERM");
    eventually("503", || (rig.proxy.get("/readyz").0 == 503).then_some(()));
    let start = Instant::now();
    rig.proxy.signal("TERM");
    assert_eq!(rig.proxy.wait().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    drop(pairs);
}
scenario!(a_second_term_ends_at_once: uring, epoll, uring_floor, uring_crowd);

/// The half-open rest of a connection is a connection.
fn a_drain_waits_for_the_second_half(mode: Mode) {
    let backend = Backend::new(|mut stream| {
        drop(std::io::copy(&mut stream, &mut std::io::sink()));
        // tidy: sleep because a backend that takes its time is what this is about
        thread::sleep(Duration::from_millis(500));
        drop(std::io::Write::write_all(&mut stream, b"late answer"));
    });
    let mut rig = Rig::start(mode, &(listener("web", "app", "") + &cluster("app", &[backend.address], "")));
    let client = rig.connect();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    eventually("the connection", || (rig.active() == 1).then_some(()));
    rig.proxy.signal("TERM");
    assert_eq!(crate::harness::peers::read_text(&client).unwrap(), "late answer");
    assert_eq!(rig.proxy.wait().code(), Some(0));
    rig.proxy.says("  finished 1");
}
scenario!(a_drain_waits_for_the_second_half: uring, epoll);
