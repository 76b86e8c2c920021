//! Tasks that are ended from outside while their sockets are busy: everything comes back, and the others live on.

use balance_engine::{
    Handle, Received,
    buf::{Budget, BufferPool, Class, Sizes},
    driver::{
        StreamOptions, Target,
        sim::{Faults, SimNet},
    },
    executor::{Admission, Limits},
    net::{Accepted, Listener, connect, sleep_until},
    shard,
};
use std::{cell::Cell, net::TcpListener, os::fd::OwnedFd, rc::Rc, time::Duration};

fn handle(net: &SimNet, faults: Faults) -> Handle {
    let pool = BufferPool::new(Sizes::default(), Budget::new(64 << 20));
    let driver = net.driver(pool.clone(), faults);
    Handle::new(Box::new(driver), pool, Limits::default(), Duration::from_secs(1))
}

/// How the echo of one of two connections is ended after a while.
#[derive(Clone, Copy)]
enum By {
    Deadline,
    Abort,
    Panic,
}

/// Two clients and two echo tasks; one of these is ended. Returns how many echoes each client got.
fn echoes(seed: u64, faults: Faults, by: By) -> (u32, u32) {
    let net = SimNet::new(seed);
    let handle = handle(&net, faults);
    let std = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = std.local_addr().expect("an address");
    let mut listener = Listener::new(&handle, OwnedFd::from(std)).expect("adopted");
    let server = handle.clone();
    let serving = async move {
        let mut first = true;
        loop {
            let Ok(Accepted { mut socket, .. }) = listener.accept().await else { continue };
            let doomed = std::mem::take(&mut first);
            let (own, panics) = (server.clone(), doomed && matches!(by, By::Panic));
            let echo = async move {
                while let Received::Data(chunk) = socket.recv().await {
                    assert!(!panics || own.now().as_nanos() < 50_000_000, "on purpose");
                    if socket.send_all(chunk.buffer, chunk.len).await.is_err() {
                        break;
                    }
                }
            };
            let task = server.spawn(Admission::Bounded, echo).expect("room").expect("admitted");
            let at = server.now() + Duration::from_millis(50);
            match by {
                By::Deadline if doomed => server.set_deadline(task, at),
                By::Abort if doomed => {
                    let own = server.clone();
                    let aborting = async move {
                        sleep_until(&own, at).await;
                        own.abort(task);
                    };
                    server.spawn(Admission::Always, aborting).expect("always admitted");
                }
                _ => {}
            }
        }
    };
    handle.spawn(Admission::Always, serving).expect("always admitted");
    let counts: Rc<[Cell<u32>; 2]> = Rc::default();
    let (client, counted) = (handle.clone(), Rc::clone(&counts));
    shard::block_on(&handle, async move {
        let mut sockets = Vec::new();
        for _ in 0..2 {
            let target = Target::Ip { to, from: None };
            let socket = connect(&client, target, StreamOptions::default()).await.expect("connected");
            // In order: the first to connect is the first to be accepted.
            sleep_until(&client, client.now() + Duration::from_millis(20)).await;
            sockets.push(socket);
        }
        for _ in 0..20 {
            for (number, socket) in sockets.iter_mut().enumerate() {
                let Some(mut buffer) = client.pool().take(Class::Small) else { continue };
                buffer[0] = 1;
                if socket.send_all(buffer, 1).await.is_ok() && matches!(socket.recv().await, Received::Data(_)) {
                    counted[number].set(counted[number].get() + 1);
                }
            }
            sleep_until(&client, client.now() + Duration::from_millis(10)).await;
        }
    })
    .expect("the driver works");
    let tasks = handle.stats().tasks;
    assert_eq!(tasks.expired, u64::from(matches!(by, By::Deadline)));
    assert_eq!(tasks.panicked, u64::from(matches!(by, By::Panic)));
    shard::finish(&handle).expect("drained");
    let stats = handle.stats();
    assert_eq!((stats.ops_in_flight, stats.descriptors, stats.tasks.live, stats.timers), (0, 0, 0, 0));
    assert_eq!(handle.pool().leaked(), 0);
    (counts[0].get(), counts[1].get())
}

#[test]
fn a_task_ended_from_outside_ends_alone() {
    let faults = Faults { short_send: 0.3, close_late: 0.3, cancel_race: 0.5, cq_overflow: 0.1, ..Faults::NONE };
    for by in [By::Deadline, By::Abort, By::Panic] {
        for seed in 0..20 {
            let (ended, other) = echoes(seed, faults.clone(), by);
            assert!((1..19).contains(&ended), "seed {seed}: {ended} echoes");
            assert_eq!(other, 20, "seed {seed}");
        }
    }
}
