//! Bytes, FIN and RST: what goes in on one side comes out on the other, as it was and in order.

use crate::harness::{
    Mode, Rig, bind, cluster, eventually, listener, patient,
    pattern::{
        End, Pace, Pattern, Side, end_of, exchange, is_silent, receive, receive_all, receive_exactly, send, send_all,
    },
    peers::{reset, round_trip},
    plain,
};
use socket2::SockRef;
use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    thread,
    time::Duration,
};

const MIB: u64 = 1 << 20;
const BRISK: Side = Side { len: 256 * MIB, write: Pace::Brisk, read: Pace::Brisk };

fn transfer(mode: Mode, up: Side, down: Side) {
    let backend = bind();
    let mut rig = Rig::start(mode, &plain(backend.local_addr().unwrap()));
    let (client, server) = rig.pair(&backend);
    exchange(&client, up, &server, down);
    drop((client, server));
    rig.ends("finished");
    let (up_bytes, down_bytes) = (up.len as f64, down.len as f64);
    let moved =
        |direction| format!("balance_listener_forwarded_bytes_total{{listener=\"web\",direction=\"{direction}\"}}");
    assert_eq!((rig.metric(&moved("up")), rig.metric(&moved("down"))), (up_bytes, down_bytes));
    rig.settled();
}

/// 256 MiB each way at once.
fn every_byte_arrives_both_ways_at_once(mode: Mode) {
    transfer(mode, BRISK, BRISK);
}
scenario!(every_byte_arrives_both_ways_at_once: uring, epoll, uring_floor, uring_real, uring_crowd);

/// 48 MiB each way; the client reads 48 KiB a millisecond.
fn a_slow_client_loses_nothing(mode: Mode) {
    let slow = Pace::Slow { piece: 48 << 10, rest: Duration::from_millis(1) };
    transfer(mode, Side { len: 48 * MIB, read: slow, ..BRISK }, Side { len: 48 * MIB, ..BRISK });
}
scenario!(a_slow_client_loses_nothing: uring, epoll, uring_floor);

fn a_slow_backend_loses_nothing(mode: Mode) {
    let slow = Pace::Slow { piece: 48 << 10, rest: Duration::from_millis(1) };
    transfer(mode, Side { len: 48 * MIB, ..BRISK }, Side { len: 48 * MIB, read: slow, ..BRISK });
}
scenario!(a_slow_backend_loses_nothing: uring, epoll, uring_floor);

/// 4 MiB each way in random pieces of 1 to 600 bytes, read in random pieces.
fn crumbs_stay_in_order(mode: Mode) {
    let crumbs = Side { len: 4 * MIB, write: Pace::Crumbs { most: 600 }, read: Pace::Crumbs { most: 5000 } };
    transfer(mode, crumbs, crumbs);
}
scenario!(crumbs_stay_in_order: uring, epoll, uring_floor);

/// 64 connections at once, 4 MiB each way on each.
fn connections_are_not_mixed_up(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &plain(backend.local_addr().unwrap()));
    let pairs: Vec<_> = (0..64).map(|_| rig.pair(&backend)).collect();
    // Which server belongs to which client is told by the first byte.
    thread::scope(|scope| {
        for (index, (client, server)) in pairs.iter().enumerate() {
            let len = 4 * MIB;
            scope.spawn(move || {
                (&mut &*client).write_all(&[index as u8]).unwrap();
                send_all(client, 1000 + index as u64, len, Pace::Brisk);
            });
            scope.spawn(move || receive_all(client, 2000 + index as u64, len, Pace::Brisk));
            scope.spawn(move || {
                let mut who = [0];
                (&mut &*server).read_exact(&mut who).unwrap();
                let who = u64::from(who[0]);
                thread::scope(|inner| {
                    inner.spawn(|| receive_all(server, 1000 + who, len, Pace::Brisk));
                    send_all(server, 2000 + who, len, Pace::Brisk);
                });
            });
        }
    });
    drop(pairs);
    rig.settled();
}
scenario!(connections_are_not_mixed_up: uring, epoll, uring_floor, uring_crowd, epoll_crowd);

/// The client sends and closes its half while the backend is sending; the backend goes on for 16 MiB after that.
fn the_other_half_lives_on_after_the_clients_fin(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &plain(backend.local_addr().unwrap()));
    let (client, server) = rig.pair(&backend);
    let mut down = Pattern::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            receive_all(&server, 1, 8 * MIB, Pace::Brisk);
            send(&server, 2, 16 * MIB, Pace::Brisk).unwrap();
        });
        send_all(&client, 1, 8 * MIB, Pace::Brisk);
        receive_exactly(&client, &mut down, 16 * MIB);
    });
    assert!(is_silent(&client, Duration::from_millis(50)), "the backend has not closed yet");
    assert_eq!(rig.json("/connections?state=half_closed_downstream")["connections"].as_array().unwrap().len(), 1);
    drop(server);
    assert_eq!(end_of(&client), End::Fin);
    rig.ends("finished");
    rig.settled();
}
scenario!(the_other_half_lives_on_after_the_clients_fin: uring, epoll, uring_floor);

fn the_other_half_lives_on_after_the_backends_fin(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &plain(backend.local_addr().unwrap()));
    let (client, server) = rig.pair(&backend);
    let mut up = Pattern::new(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            receive_all(&client, 2, 8 * MIB, Pace::Brisk);
            send(&client, 1, 16 * MIB, Pace::Brisk).unwrap();
        });
        send_all(&server, 2, 8 * MIB, Pace::Brisk);
        receive_exactly(&server, &mut up, 16 * MIB);
    });
    assert!(is_silent(&server, Duration::from_millis(50)), "the client has not closed yet");
    assert_eq!(rig.json("/connections?state=half_closed_upstream")["connections"].as_array().unwrap().len(), 1);
    drop(client);
    assert_eq!(end_of(&server), End::Fin);
    rig.ends("finished");
    rig.settled();
}
scenario!(the_other_half_lives_on_after_the_backends_fin: uring, epoll, uring_floor);

/// Both sides send 32 MiB and close at once without waiting; the slow one still gets everything.
fn what_was_sent_before_a_fin_is_delivered_to_a_slow_reader(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &plain(backend.local_addr().unwrap()));
    let (client, server) = rig.pair(&backend);
    SockRef::from(&client).set_recv_buffer_size(128 << 10).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            assert_eq!(end_of(&server), End::Fin);
            send(&server, 2, 12 * MIB, Pace::Brisk).unwrap();
            drop(server);
        });
        receive_all(&client, 2, 12 * MIB, Pace::Slow { piece: 32 << 10, rest: Duration::from_micros(500) });
    });
    rig.ends("finished");
    drop(client);
    rig.settled();
}
scenario!(what_was_sent_before_a_fin_is_delivered_to_a_slow_reader: uring, epoll, uring_floor);

/// Quiet connections: only the RST moves.
fn rst_of_a_quiet_connection_is_not_a_fin(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &plain(backend.local_addr().unwrap()));
    let (client, server) = rig.pair(&backend);
    reset(client);
    assert_eq!(end_of(&server), End::Reset);
    drop(server);
    rig.ends("downstream_reset");
    let (client, server) = rig.pair(&backend);
    reset(server);
    assert_eq!(end_of(&client), End::Reset);
    drop(client);
    rig.ends("upstream_reset");
    rig.settled();
}
scenario!(rst_of_a_quiet_connection_is_not_a_fin: uring, epoll, uring_floor);

/// The backend has sent more than the client has read, and dies. What the client still gets is a correct beginning, and
/// the end is a RST; the proxy does not hold the rest for ever.
fn rst_overtakes_what_was_not_read(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &plain(backend.local_addr().unwrap()));
    let (client, server) = rig.pair(&backend);
    server.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    send(&server, 2, 1 << 40, Pace::Brisk).unwrap_err();
    reset(server);
    let (got, end) = receive(&client, 2, Pace::Brisk);
    assert!(got > 0);
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    drop(client);
    rig.settled();
}
scenario!(rst_overtakes_what_was_not_read: uring, epoll, uring_floor);

/// A backend that answers a request which it has not read to the end, and closes: its kernel sends answer, then RST.
/// The answer is worth more than the RST.
fn an_answer_before_a_rst_is_delivered(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &plain(backend.local_addr().unwrap()));
    for _ in 0..20 {
        let (client, mut server) = rig.pair(&backend);
        (&client).write_all(&[7; 100]).unwrap();
        server.read_exact(&mut [0; 10]).unwrap();
        send(&server, 2, 40_000, Pace::Brisk).unwrap();
        drop(server);
        let (got, _rst) = receive(&client, 2, Pace::Brisk);
        assert_eq!(got, 40_000);
    }
    rig.settled();
}
scenario!(an_answer_before_a_rst_is_delivered: uring, epoll, uring_floor);

/// The client has closed its half, has unread data, and dies: the kernel says so to whoever sends.
fn a_client_that_dies_after_its_fin_does_not_hold_the_backend(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &plain(backend.local_addr().unwrap()));
    let (client, server) = rig.pair(&backend);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(end_of(&server), End::Fin);
    (&server).write_all(b"first").unwrap();
    (&client).read_exact(&mut [0; 5]).unwrap();
    reset(client);
    let refused = eventually("an error for the backend", || (&server).write_all(&[0; 1000]).err());
    assert!(matches!(refused.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{refused}");
    drop(server);
    rig.settled();
}
scenario!(a_client_that_dies_after_its_fin_does_not_hold_the_backend: uring, epoll, uring_floor);

/// 300 clients that are gone before the backend has accepted them.
fn clients_that_leave_at_once_leave_nothing_behind(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &plain(backend.local_addr().unwrap()));
    for index in 0..300 {
        let client = rig.connect();
        match index % 3 {
            0 => reset(client),
            1 => drop(client),
            _ => {
                (&client).write_all(b"gone").unwrap();
                reset(client);
            }
        }
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        // The backend takes them late and closes each.
        scope.spawn(|| {
            backend.set_nonblocking(true).unwrap();
            while !stop.load(std::sync::atomic::Ordering::Acquire) {
                match backend.accept() {
                    Ok((stream, _)) => patient(&stream),
                    Err(_) => crate::harness::pause(),
                }
            }
        });
        rig.settled();
        stop.store(true, std::sync::atomic::Ordering::Release);
    });
}
scenario!(clients_that_leave_at_once_leave_nothing_behind: uring, epoll, uring_floor, uring_crowd);

/// One peer stops reading; others on the same shard are served.
fn a_stopped_reader_does_not_block_others(mode: Mode) {
    let backend = crate::harness::peers::Backend::echo();
    let config = listener("web", "app", "half_close_timeout = \"500ms\"") + &cluster("app", &[backend.address], "");
    let mut rig = Rig::start(mode, &config);
    let stuck = rig.connect();
    let sent = crate::harness::peers::fill(&stuck, Duration::from_millis(300));
    assert!(sent > 0);
    for _ in 0..50 {
        round_trip(&rig.connect(), b"still here").unwrap();
    }
    drop(stuck);
    rig.settled();
}
scenario!(a_stopped_reader_does_not_block_others: uring, epoll, uring_floor);
