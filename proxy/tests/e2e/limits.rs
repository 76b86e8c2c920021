//! When something runs out: descriptors, memory, tasks. Service gets slower, and comes back.
#![allow(clippy::disallowed_methods, reason = "tests give up after a while, by a clock of their own")]

use crate::harness::{
    Mode, Rig, bind, cluster, dial, eventually, listener, patient,
    pattern::{Pace, receive_all, send, send_all},
    pause,
    peers::{Backend, fill, round_trip},
    plain,
};
use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

/// 64 descriptors and 60 clients at once: those for whom there are two each are served, the others wait in the kernel's
/// queue without cost, and every one of them gets its turn.
fn accepting_pauses_without_descriptors_and_recovers(mode: Mode) {
    let backend = Backend::echo();
    let mut rig = Rig::start_with_descriptors(mode, 64, &plain(backend.address));
    let mut waiting: VecDeque<TcpStream> = (0..60).map(|_| rig.connect()).collect();
    for client in &waiting {
        (&mut &*client).write_all(b"hello").unwrap();
        client.set_nonblocking(true).unwrap();
    }
    eventually("a pause", || (rig.metric("balance_process_descriptor_pauses_total") > 0.0).then_some(()));
    let room = rig.metric("balance_process_connections_limit");
    let before = rig.cpu_time();
    let start = Instant::now();
    // tidy: sleep because the CPU time of doing nothing is what is measured
    thread::sleep(Duration::from_secs(2));
    let (spent, took) = (rig.cpu_time() - before, start.elapsed());
    assert!(spent < took / 10, "{spent:?} of CPU in {took:?} of pausing");
    assert_eq!(rig.active() as f64, room);
    while !waiting.is_empty() {
        // Which of them were accepted is up to the kernel.
        let ready = eventually("an answer", || waiting.iter().position(|c| c.peek(&mut [0]).is_ok_and(|n| n > 0)));
        let mut client = waiting.remove(ready).unwrap();
        patient(&client);
        let mut text = [0; 5];
        client.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"hello");
    }
    eventually("room", || (rig.active() == 0).then_some(()));
    for _ in 0..100 {
        round_trip(&rig.connect(), b"again").unwrap();
    }
    rig.settled();
    assert_eq!(rig.ended("finished"), 160);
}
scenario!(accepting_pauses_without_descriptors_and_recovers: uring_real, uring_floor, epoll);

/// Two tasks at once and none waiting: the others wait in the kernel's queue, and all get their turn.
fn few_tasks_serve_everybody_in_turn(mode: Mode) {
    let backend = Backend::echo();
    let config = format!("[performance.shard]\nmax_tasks = 2\nqueue_size = 1\n{}", plain(backend.address));
    let mut rig = Rig::start(mode, &config);
    let web = rig.proxy.listening("web");
    thread::scope(|scope| {
        for _ in 0..60 {
            scope.spawn(move || round_trip(&dial(web).unwrap(), b"my turn").unwrap());
        }
    });
    rig.settled();
    assert_eq!(rig.metric("balance_tasks_refused_total"), 0.0);
}
scenario!(few_tasks_serve_everybody_in_turn: uring, epoll, uring_floor);

/// A fast sender and a reader that has stopped, one connection and then 50. Measured at 0.4 MiB for one on epoll and
/// about 1 MiB on the ring; the bound is 3 MiB a connection, and for 50 what `memory_max` (64 MiB) allows and 16 MiB.
fn a_stopped_reader_costs_bounded_memory(mode: Mode) {
    let backend = bind();
    let mut rig = Rig::start(mode, &plain(backend.local_addr().unwrap()));
    let warm = rig.pair(&backend);
    round_trip_with(&warm.0, &warm.1);
    let before = rig.resident_bytes();
    let first = rig.pair(&backend);
    assert!(fill(&first.1, Duration::from_millis(300)) > 0);
    let one = rig.resident_bytes().saturating_sub(before);
    assert!(one < 3 << 20, "{one} bytes for one connection");
    let many: Vec<_> = (0..49).map(|_| rig.pair(&backend)).collect();
    thread::scope(|scope| {
        for (_, server) in &many {
            scope.spawn(|| fill(server, Duration::from_millis(300)));
        }
    });
    let fifty = rig.resident_bytes().saturating_sub(before);
    println!("{mode:?}: {one} bytes for one, {fifty} for fifty");
    assert!(fifty < 80 << 20, "{fifty} bytes for fifty connections");
    round_trip_with(&warm.0, &warm.1);
    drop((many, first, warm));
    rig.settled();
}
scenario!(a_stopped_reader_costs_bounded_memory: uring, epoll, uring_floor);

fn round_trip_with(client: &TcpStream, server: &TcpStream) {
    for (mut from, mut to) in [(client, server), (server, client)] {
        from.write_all(b"hello").unwrap();
        let mut text = [0; 5];
        to.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"hello");
    }
}

/// 1 MiB for all buffers and 40 readers that have stopped: others are served meanwhile, and when the readers go on,
/// each gets every byte.
fn starved_connections_recover(mode: Mode) {
    let backend = Backend::new(|stream| {
        let mut go = [0];
        if (&stream).read_exact(&mut go).is_ok() {
            send_all(&stream, 7, 12 << 20, Pace::Brisk);
        }
    });
    let echo = Backend::echo();
    let config = "[performance.buffer_pool]\nmemory_max = \"1MiB\"\nring_buffers = 64\n".to_owned()
        + &plain(backend.address)
        + &listener("echo", "echo", "")
        + &cluster("echo", &[echo.address], "");
    let mut rig = Rig::start(mode, &config);
    let other = rig.address("echo");
    let stuck: Vec<TcpStream> = (0..40).map(|_| rig.connect()).collect();
    for client in &stuck {
        (&mut &*client).write_all(b"g").unwrap();
    }
    rig.settle_bytes();
    for turn in 0..30 {
        round_trip(&dial(other).unwrap(), b"not starved for ever").unwrap_or_else(|e| panic!("round {turn}: {e}"));
    }
    thread::scope(|scope| {
        for client in &stuck {
            scope.spawn(move || receive_all(client, 7, 12 << 20, Pace::Brisk));
        }
    });
    drop(stuck);
    rig.settled();
}
scenario!(starved_connections_recover: uring, epoll, uring_floor);

/// Waits until no byte moves any more.
/// 200 readers that have stopped, and 16 MiB for all buffers: ordinary clients do not notice, and nothing spins.
fn stopped_readers_do_not_take_every_buffer(mode: Mode) {
    let flood = Backend::new(|stream| drop(send(&stream, 7, 1 << 40, Pace::Brisk)));
    let echo = Backend::echo();
    for forward in ["copy", "bundle", "send-zc"] {
        let config = "[performance.buffer_pool]\nmemory_max = \"16MiB\"\n".to_owned()
            + &listener("web", "app", &format!("forward = \"{forward}\""))
            + &cluster("app", &[flood.address], "")
            + &listener("echo", "echo", "")
            + &cluster("echo", &[echo.address], "");
        let mut rig = Rig::start(mode, &config);
        let stopped: Vec<TcpStream> = (0..200).map(|_| rig.connect()).collect();
        rig.settle_bytes();
        let other = rig.address("echo");
        let before = rig.cpu_time();
        let start = Instant::now();
        for _ in 0..50 {
            round_trip(&dial(other).unwrap(), b"hello").unwrap();
            pause();
        }
        let (spent, took) = (rig.cpu_time() - before, start.elapsed());
        assert!(spent < took / 4, "{forward}: {spent:?} of CPU in {took:?}");
        assert_eq!(rig.metric("balance_loop_starved_connections"), 0.0, "{forward}");
        drop(stopped);
        rig.settled();
    }
}
scenario!(stopped_readers_do_not_take_every_buffer: uring, epoll, uring_floor);

/// 2,000 clients that send half a message and stop, while 20 others are served.
fn half_messages_do_not_disturb_others(mode: Mode) {
    let backend = Backend::echo();
    let hold = bind();
    let config =
        plain(backend.address) + &listener("held", "held", "") + &cluster("held", &[hold.local_addr().unwrap()], "");
    let mut rig = Rig::start(mode, &config);
    let held = rig.address("held");
    let mut peers = Vec::new();
    for _ in 0..2000 {
        let mut client = dial(held).unwrap();
        client.write_all(b"half a mess").unwrap();
        peers.push((client, crate::harness::accept(&hold)));
    }
    let web = rig.proxy.listening("web");
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(move || {
                let stream = dial(web).unwrap();
                for _ in 0..100 {
                    round_trip(&stream, b"a whole message").unwrap();
                }
            });
        }
    });
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    eventually("the others' ends", || (rig.active() == 2000).then_some(()));
    for (_, server) in &mut peers {
        let mut half = [0; 11];
        server.read_exact(&mut half).unwrap();
        assert_eq!(&half, b"half a mess");
    }
    drop(peers);
    rig.settled();
}
scenario!(half_messages_do_not_disturb_others: uring, epoll);

/// Idle connections cost no CPU.
fn idle_connections_sleep(mode: Mode) {
    let backend = Backend::silent();
    let mut rig = Rig::start(mode, &plain(backend.address));
    let clients: Vec<TcpStream> = (0..200).map(|_| rig.connect()).collect();
    eventually("all of them", || (rig.active() == 200).then_some(()));
    let before = rig.cpu_time();
    // tidy: sleep because the CPU time of doing nothing is what is measured
    thread::sleep(Duration::from_secs(1));
    let spent = rig.cpu_time() - before;
    assert!(spent <= Duration::from_millis(60), "{spent:?}");
    drop(clients);
    rig.settled();
}
scenario!(idle_connections_sleep: uring, epoll, uring_floor);

/// A backend that answers byte by byte and a client that hangs up in between.
fn trickling_backends_are_left_behind(mode: Mode) {
    let backend = Backend::new(|mut stream| {
        while stream.write_all(b".").is_ok() {
            pause()
        }
    });
    let mut rig = Rig::start(mode, &plain(backend.address));
    for _ in 0..20 {
        let client = rig.connect();
        (&client).read_exact(&mut [0; 3]).unwrap();
    }
    rig.settled();
}
scenario!(trickling_backends_are_left_behind: uring, epoll);
