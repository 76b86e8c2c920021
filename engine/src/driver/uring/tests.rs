//! The contract over io_uring: with everything this kernel has, and with each reduced set.

use super::*;
use crate::driver::contract::{Setup, contract_tests};

/// How the driver is made with everything the kernel offers but this.
fn without(features: &[Feature], pool: BufferPool) -> Box<dyn Driver> {
    let config = UringConfig { features: probe().expect("io_uring runs here").minus(features), ring_buffers: 64 };
    Box::new(UringDriver::new(config, pool, Clock::monotonic()).expect("a ring"))
}

const fn setup(make: fn(BufferPool, u64) -> Box<dyn Driver>) -> Setup {
    Setup { make, seeds: 0..1, bulk: 8 << 20, scarce_bytes: 512 << 10, settled: Duration::from_millis(20) }
}

mod with_everything {
    use super::*;
    contract_tests!(setup(|pool, _| without(&[], pool)));
}

mod with_real_descriptors {
    use super::*;
    contract_tests!(setup(|pool, _| without(&[Feature::Direct], pool)));
}

mod as_on_linux_6_1 {
    use super::*;
    contract_tests!(setup(|pool, _| without(&Feature::ALL, pool)));
}

mod without_min_wait {
    use super::*;
    contract_tests!(setup(|pool, _| without(&[Feature::MinWait, Feature::NoIowait], pool)));
}

/// With a table of few descriptors every connection soon lies on another ring than the first.
mod over_many_lanes {
    use super::*;
    contract_tests!(setup(|pool, _| {
        let features = probe().expect("io_uring runs here");
        let config = UringConfig { features, ring_buffers: 64 };
        Box::new(UringDriver::with_table(config, pool, Clock::monotonic(), 24).expect("a ring"))
    }));
}

#[test]
fn user_data_round_trips() {
    for (lane, kind, index, generation) in [(0, Kind::Recv, 0, 1), (63, Kind::Held, (1 << 22) - 1, u32::MAX)] {
        let data = user_data(lane, kind, index, generation);
        let decoded = decode(data);
        assert_eq!(data >> 58, lane as u64);
        let key = OpKey(decoded.1);
        assert_eq!((decoded.0, key.index(), key.generation()), (Some(kind), index, generation));
    }
}

#[test]
fn descriptors_tell_their_sort_and_place() {
    assert!(matches!(Desc::real(7).target(), Target::Real(7)));
    assert!(matches!(Desc::direct(63, 32_767).target(), Target::Direct { lane: 63, slot: 32_767 }));
}

/// Connections on a later lane must wake a shard that waits in the first.
#[test]
fn work_on_another_lane_ends_the_wait() {
    use std::{io::Write, net::TcpStream};
    let features = probe().expect("io_uring runs here");
    if !features.has(Feature::Direct) {
        return;
    }
    let pool = BufferPool::new(crate::buf::Sizes::default(), crate::buf::Budget::new(1 << 24));
    let config = UringConfig { features, ring_buffers: 16 };
    let mut driver = UringDriver::with_table(config, pool, Clock::monotonic(), 1).expect("a ring");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let to = listener.local_addr().expect("an address");
    let listener = driver.adopt_listener(listener.into()).expect("adopted");
    let mut out = Vec::new();
    let mut open = Vec::new();
    for number in 1..=3 {
        let mut peer = TcpStream::connect(to).expect("connected");
        driver.submit(OpKey(number), Op::Accept { listener });
        let desc = loop {
            driver.turn(Wait::Forever, &mut out).expect("a turn");
            if let Some(Completion { outcome: Outcome::Accepted { desc, .. }, .. }) = out.pop() {
                break desc;
            }
        };
        driver.submit(OpKey(number), Op::Recv { desc, bulk: false, once: false });
        driver.turn(Wait::No, &mut out).expect("a turn");
        let writer = std::thread::spawn(move || {
            peer.write_all(b"hello").expect("written");
            peer
        });
        // Without a wake-up this would wait for ever.
        while !out.iter().any(|c| matches!(c.outcome, Outcome::Received { len: 5, .. })) {
            driver.turn(Wait::Forever, &mut out).expect("a turn");
        }
        out.clear();
        open.push(writer.join().expect("written"));
    }
    assert_eq!(driver.lanes.len(), 3);
    drop(open);
    while driver.in_flight() > 0 {
        driver.turn(Wait::Forever, &mut out).expect("a turn");
        out.clear();
    }
}

/// After some messages and a quiet while, the next message finds buffers of zeros, as the kernel gives them out.
#[test]
fn a_ring_that_is_not_used_gives_its_pages_back() {
    use std::{io::Write, net::TcpStream};
    let features = probe().expect("io_uring runs here");
    let pool = BufferPool::new(crate::buf::Sizes::default(), crate::buf::Budget::new(1 << 24));
    let config = UringConfig { features, ring_buffers: 16 };
    let mut driver = UringDriver::new(config, pool, Clock::monotonic()).expect("a ring");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let to = listener.local_addr().expect("an address");
    let listener = driver.adopt_listener(listener.into()).expect("adopted");
    let mut peer = TcpStream::connect(to).expect("connected");
    driver.submit(OpKey(1), Op::Accept { listener });
    let outcome = next(&mut driver);
    let Outcome::Accepted { desc, .. } = outcome else { panic!("{outcome:?}") };
    driver.submit(OpKey(1), Op::Recv { desc, bulk: false, once: false });
    let mut receive = |driver: &mut UringDriver, message: &[u8]| {
        peer.write_all(message).expect("written");
        let outcome = next(driver);
        let Outcome::Received { buffer, len } = outcome else { panic!("{outcome:?}") };
        assert_eq!(&buffer[..len as usize], message);
        buffer
    };
    assert!(!driver.has_leftovers());
    for _ in 0..40 {
        receive(&mut driver, b"hello");
    }
    driver.shrink();
    assert_ne!(receive(&mut driver, b"x")[1..5], [0; 4], "it was in use");
    driver.shrink();
    assert!(driver.has_leftovers());
    driver.shrink();
    assert!(!driver.has_leftovers());
    assert_eq!(receive(&mut driver, b"x")[1..5], [0; 4]);
    drop(peer);
    while driver.in_flight() > 0 {
        next(&mut driver);
    }
}

/// The outcome of the next completion.
fn next(driver: &mut UringDriver) -> Outcome {
    let mut out = Vec::new();
    while out.is_empty() {
        driver.turn(Wait::Forever, &mut out).expect("a turn");
    }
    assert_eq!(out.len(), 1);
    out.remove(0).outcome
}
