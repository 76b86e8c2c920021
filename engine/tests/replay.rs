//! Recorded completions, replayed to sockets as tasks use them: every byte in order, every receive armed again.

use balance_engine::{
    Handle, Received,
    buf::{Budget, BufferPool, Sizes},
    driver::{
        Errno,
        sim::{
            Faults, OnStuck, Script, SimNet,
            trace::{Step, Trace},
        },
    },
    executor::Limits,
    net::{Accepted, Listener, Socket, Timer},
    shard,
};
use std::{net::TcpListener, os::fd::OwnedFd, path::PathBuf, time::Duration};

fn traces() -> Vec<(String, Trace)> {
    let base = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/traces");
    let mut found = Vec::new();
    for folder in [base.clone(), base.join("recorded")] {
        for entry in std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "trace") {
                let text = std::fs::read_to_string(&path).expect("readable");
                found.push((path.display().to_string(), text.parse().expect("a trace")));
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(found.len() >= 14, "traces are missing: {found:?}");
    found
}

/// Not a power of two, so that a shift by whole buffers shows.
fn pattern() -> Vec<u8> {
    (0..=250).collect()
}

/// What a reader of a trace must see: so many bytes, then this.
fn expected(trace: &Trace) -> (u64, Option<Errno>) {
    let mut bytes = 0;
    for step in &trace.steps {
        match step {
            Step::Recv { len, .. } => bytes += u64::from(*len),
            Step::End(_) => {}
            Step::Eof => return (bytes, None),
            Step::Err(errno) => return (bytes, Some(*errno)),
        }
    }
    panic!("the trace does not end: {trace}");
}

/// Reads to the end. Where the trace was cancelled, the reader pauses and resumes every millisecond: the script lets
/// everything up to the recorded cancellation still come.
async fn read(socket: &mut Socket, pauses: bool) -> (Vec<u8>, Option<Errno>) {
    let mut bytes = Vec::new();
    let mut timer = Timer::new(socket.handle());
    loop {
        let received = std::future::poll_fn(|context| {
            let polled = socket.poll_recv(context);
            if pauses && polled.is_pending() {
                socket.pause_recv();
                socket.resume_recv();
                let next = socket.handle().now() + Duration::from_millis(1);
                let _woken_then = timer.poll_at(next, context);
            }
            polled
        });
        match received.await {
            Received::Data(chunk) => bytes.extend_from_slice(&chunk.buffer[..chunk.len as usize]),
            Received::Eof => return (bytes, None),
            Received::Failed(errno) => return (bytes, Some(errno)),
        }
    }
}

fn replay(name: &str, trace: &Trace, seed: u64, faults: Faults) {
    let pool = BufferPool::new(Sizes::default(), Budget::new(64 << 20));
    let net = SimNet::new(seed);
    net.on_stuck(OnStuck::Panic);
    let driver = net.driver(pool.clone(), faults);
    let handle = Handle::new(Box::new(driver), pool.clone(), Limits::default(), Duration::from_secs(1));
    let std = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = std.local_addr().expect("an address");
    let mut listener = Listener::new(&handle, OwnedFd::from(std)).expect("adopted");
    let peer = net.connect_scripted(address, Script::new(trace, &pattern())).expect("a listener");
    let pauses = trace.steps.contains(&Step::End(Errno::CANCELED));
    let (got, end) = shard::block_on(&handle, async move {
        let Accepted { mut socket, .. } = listener.accept().await.expect("a connection");
        read(&mut socket, pauses).await
    })
    .expect("the driver works");
    let (bytes, wanted) = expected(trace);
    assert_eq!((got.len() as u64, end), (bytes, wanted), "{name}, seed {seed}");
    let pattern = pattern();
    let wrong = got.iter().enumerate().position(|(at, byte)| *byte != pattern[at % pattern.len()]);
    assert_eq!(wrong, None, "{name}, seed {seed}: the first byte out of order");
    let _unused = peer;
    shard::finish(&handle).expect("drained");
    let stats = handle.stats();
    assert_eq!((stats.ops_in_flight, stats.descriptors, stats.tasks.live), (0, 0, 0), "{name}, seed {seed}");
    assert_eq!(pool.leaked(), 0, "{name}, seed {seed}");
}

#[test]
fn every_trace_is_read_to_its_end_in_order() {
    for (name, trace) in traces() {
        for seed in 0..20 {
            replay(&name, &trace, seed, Faults::NONE);
        }
    }
}

#[test]
fn late_completions_and_slow_cancellations_change_nothing() {
    let faults = Faults { late: 0.3, cancel_race: 0.5, cq_overflow: 0.2, close_late: 0.3, ..Faults::NONE };
    for (name, trace) in traces() {
        for seed in 100..120 {
            replay(&name, &trace, seed, faults.clone());
        }
    }
}
