//! The contract over io_uring: with everything this kernel has, and with each reduced set.

use super::*;
use crate::driver::contract::{Setup, contract_tests};
use crate::ops::Chunk;

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

/// One piece can be sent from registered memory, several cannot.
mod as_on_linux_6_14 {
    use super::*;
    contract_tests!(setup(|pool, _| without(&[Feature::RegisteredVector, Feature::NoIowait], pool)));
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

/// A driver and a connection of it, with the other end in our hands.
fn driver_and_peer(features: Features) -> (UringDriver, BufferPool, Desc, std::net::TcpStream) {
    let pool = BufferPool::new(crate::buf::Sizes::default(), crate::buf::Budget::new(1 << 30));
    let config = UringConfig { features, ring_buffers: 128 };
    let mut driver = UringDriver::new(config, pool.clone(), Clock::monotonic()).expect("a ring");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let to = listener.local_addr().expect("an address");
    let listener = driver.adopt_listener(listener.into()).expect("adopted");
    let peer = std::net::TcpStream::connect(to).expect("connected");
    driver.submit(OpKey(1), Op::Accept { listener });
    let outcome = next(&mut driver);
    let Outcome::Accepted { desc, .. } = outcome else { panic!("{outcome:?}") };
    (driver, pool, desc, peer)
}

/// A batch of chunks of these lengths, and what is in it.
fn batch_of(pool: &BufferPool, lens: &[u32]) -> (Box<Batch>, Vec<u8>) {
    let (mut batch, mut bytes) = (Box::<Batch>::default(), Vec::new());
    for (len, byte) in lens.iter().zip(1..) {
        let mut buffer = pool.take(crate::buf::Class::Medium).expect("a buffer");
        buffer[..*len as usize].fill(byte);
        bytes.extend_from_slice(&buffer[..*len as usize]);
        batch.push(Chunk { buffer, len: *len });
    }
    (batch, bytes)
}

/// Sends it without a copy; whether that was from registered memory.
fn send_zero_copy(
    driver: &mut UringDriver,
    desc: Desc,
    peer: &mut std::net::TcpStream,
    (batch, expected): (Box<Batch>, Vec<u8>),
) -> bool {
    use std::io::Read;
    driver.submit(OpKey(2), Op::SendBatch { desc, batch, zero_copy: true });
    let mut got = vec![0; expected.len()];
    let mut out = Vec::new();
    while out.is_empty() {
        driver.turn(Wait::Forever, &mut out).expect("a turn");
    }
    peer.read_exact(&mut got).expect("read");
    assert!(got == expected, "other bytes than were sent");
    while out.last().is_some_and(|last| last.more) {
        driver.turn(Wait::Forever, &mut out).expect("a turn");
    }
    match out.as_slice() {
        [sent, Completion { outcome: Outcome::Released { registered, .. }, .. }] => {
            assert!(matches!(sent.outcome, Outcome::BatchSent { batch: None, result: Ok(_) }), "{sent:?}");
            *registered
        }
        other => panic!("{other:?}"),
    }
}

/// The kernel refuses to register a second table; so it would for want of locked memory.
#[test]
fn a_refused_registration_is_told_and_sends_go_on_without() {
    let (mut driver, pool, desc, mut peer) = driver_and_peer(probe().expect("io_uring runs here"));
    driver.lanes[0].ring.submitter().register_buffers_sparse(1).expect("a table");
    assert_eq!(driver.expect_zero_copy(desc), Err(Errno(libc::EBUSY)));
    assert_eq!(driver.expect_zero_copy(desc), Err(Errno(libc::EBUSY)), "it is not asked again, but told");
    assert!(!send_zero_copy(&mut driver, desc, &mut peer, batch_of(&pool, &[100, 200])));
    let counters = driver.counters();
    assert_eq!((counters.registrations_refused, counters.registered_bytes), (1, 0));
    for _ in 0..2 {
        driver.shrink();
    }
    assert!(pool.open_region(crate::buf::Class::Medium).is_some(), "a region that is of no use is not kept");
}

#[test]
fn without_vectors_one_piece_is_sent_from_registered_memory_and_several_are_not() {
    let features = probe().expect("io_uring runs here");
    for (features, vectors) in [(features, true), (features.minus(&[Feature::RegisteredVector]), false)] {
        let (mut driver, pool, desc, mut peer) = driver_and_peer(features);
        driver.expect_zero_copy(desc).expect("registered");
        for (lens, registered) in [([32 << 10, 7].as_slice(), true), (&[7, 7], vectors), (&[7], true)] {
            let batch = batch_of(&pool, lens);
            assert_eq!(send_zero_copy(&mut driver, desc, &mut peer, batch), registered, "{lens:?}");
        }
    }
}

#[test]
fn a_kernel_without_registered_sends_is_told_so_and_sends() {
    let features = probe().expect("io_uring runs here").minus(&[Feature::Registered]);
    let (mut driver, pool, desc, mut peer) = driver_and_peer(features);
    assert_eq!(driver.expect_zero_copy(desc), Err(Errno(libc::EOPNOTSUPP)));
    assert!(!send_zero_copy(&mut driver, desc, &mut peer, batch_of(&pool, &[7, 7])));
    assert_eq!(driver.counters().registrations_refused, 0);
}

/// The pages that were registered are those that are sent, whatever the pool thinks of idle memory; and when nothing
/// was sent for a while, they go back.
#[test]
fn registered_memory_is_kept_in_use_and_given_back_after() {
    use std::io::Write;
    let (mut driver, pool, desc, mut peer) = driver_and_peer(probe().expect("io_uring runs here"));
    driver.expect_zero_copy(desc).expect("registered");
    // Lends buffers of the region to a ring, which then rests.
    driver.submit(OpKey(3), Op::Recv { desc, bulk: true, once: false });
    driver.turn(Wait::No, &mut Vec::new()).expect("a turn");
    for round in 0..4 {
        let message = vec![b'a' + round; 3000];
        peer.write_all(&message).expect("written");
        let outcome = next(&mut driver);
        let Outcome::Received { buffer, len } = outcome else { panic!("{outcome:?}") };
        let mut batch = Box::<Batch>::default();
        batch.push(Chunk { buffer, len });
        assert!(send_zero_copy(&mut driver, desc, &mut peer, (batch, message)), "round {round}");
        driver.shrink();
        // Nothing is received for a while: the ring rests, what it has lent stays registered.
        assert!(send_zero_copy(&mut driver, desc, &mut peer, batch_of(&pool, &[5])));
        driver.shrink();
        pool.shrink(driver.now(), Duration::ZERO);
        assert_eq!(driver.counters().registered_bytes, 2 << 20);
        assert!(driver.has_leftovers());
    }
    driver.shrink();
    driver.shrink();
    assert_eq!(driver.counters().registered_bytes, 0);
    assert!(!driver.has_leftovers());
    assert!(
        send_zero_copy(&mut driver, desc, &mut peer, batch_of(&pool, &[5])),
        "and is registered again when it is wanted"
    );
    drop(peer);
    let mut out = Vec::new();
    while driver.in_flight() > 0 {
        driver.turn(Wait::Forever, &mut out).expect("a turn");
    }
}
