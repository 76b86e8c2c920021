//! Which endpoint a connection gets, seen from outside.
#![allow(clippy::disallowed_methods, reason = "tests give up after a while, by a clock of their own")]

use crate::harness::{
    Mode, Rig, cluster, dial, listener,
    pattern::Seed,
    peers::{Backend, read_text, round_trip},
};
use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

/// One shard, because each has a turn of its own.
fn one_shard(policy: &str, endpoints: &[(&Backend, u16)]) -> String {
    let list: Vec<String> =
        endpoints.iter().map(|(b, weight)| format!("{{ address = \"{}\", weight = {weight} }}", b.address)).collect();
    format!(
        "[runtime]\ncores = [0]\n{}[clusters.app]\npolicy = \"{policy}\"\nendpoints = [{}]\n",
        listener("web", "app", ""),
        list.join(", ")
    )
}

/// Who answers so many connections, one after another.
fn answers(rig: &mut Rig, count: usize) -> String {
    let web = rig.proxy.listening("web");
    (0..count).map(|_| read_text(&dial(web).unwrap()).unwrap()).collect()
}

fn round_robin_takes_turns(mode: Mode) {
    let (a, b, c) = (Backend::named("a"), Backend::named("b"), Backend::named("c"));
    let mut rig = Rig::start(mode, &one_shard("round-robin", &[(&a, 9), (&b, 1), (&c, 1)]));
    assert_eq!(answers(&mut rig, 9), "abcabcabc");
    rig.settled();
}
scenario!(round_robin_takes_turns: uring, epoll);

fn weights_are_smooth(mode: Mode) {
    let (a, b, c) = (Backend::named("a"), Backend::named("b"), Backend::named("c"));
    let mut rig = Rig::start(mode, &one_shard("weighted-round-robin", &[(&a, 5), (&b, 1), (&c, 1)]));
    assert_eq!(answers(&mut rig, 14), "aabacaaaabacaa");
    rig.settled();
}
scenario!(weights_are_smooth: uring, epoll);

/// Connections that stay: every new one goes to the endpoint with the fewest for its weight.
fn least_connections_levels(mode: Mode) {
    let backends: Vec<Backend> = (0..3).map(|_| Backend::echo()).collect();
    let weighted: Vec<(&Backend, u16)> = backends.iter().zip([1, 1, 2]).collect();
    let mut rig = Rig::start(mode, &one_shard("least-connections", &weighted));
    let mut held = Vec::new();
    for _ in 0..20 {
        let client = rig.connect();
        round_trip(&client, b"here").unwrap();
        held.push(client);
    }
    assert_eq!(rig.endpoints("active"), [5, 5, 10]);
    // Those of the first leave; the next ones go there.
    let peers: Vec<usize> = (0..20).filter(|i| i % 2 == 0).collect();
    for at in peers.into_iter().rev() {
        held.remove(at);
    }
    crate::harness::eventually("half of them", || (rig.active() == 10).then_some(()));
    for _ in 0..10 {
        let client = rig.connect();
        round_trip(&client, b"here").unwrap();
        held.push(client);
    }
    assert_eq!(rig.endpoints("active"), [5, 5, 10]);
    drop(held);
    rig.settled();
}
scenario!(least_connections_levels: uring, epoll);

fn random_two_levels_roughly(mode: Mode) {
    let backends: Vec<Backend> = (0..4).map(|_| Backend::echo()).collect();
    let weighted: Vec<(&Backend, u16)> = backends.iter().map(|b| (b, 1)).collect();
    let mut rig = Rig::start(mode, &one_shard("random-two", &weighted));
    let mut held = Vec::new();
    for _ in 0..80 {
        let client = rig.connect();
        round_trip(&client, b"here").unwrap();
        held.push(client);
    }
    let active = rig.endpoints("active");
    assert!(active.iter().all(|n| (14..=26).contains(n)), "{active:?}");
    drop(held);
    rig.settled();
}
scenario!(random_two_levels_roughly: uring, epoll);

const CROWD: usize = 1000;
const SWEEPERS: usize = 2;

/// Addresses of their own, so that nobody else takes a port while its backend is dead.
fn crowd_addresses(mode: Mode) -> Vec<SocketAddr> {
    let net = if mode.io == "uring" { 71 } else { 72 };
    let pid = std::process::id();
    (0..CROWD)
        .map(|i| {
            let ip = [127, net, (pid % 250) as u8 + 1, (i % 250) as u8 + 1];
            SocketAddr::from((ip, 20_000 + (i / 250) as u16))
        })
        .collect()
}

/// Serves a part of the crowd: accepts, echoes 16 bytes, and kills or revives one backend at every round.
fn sweep(addresses: &[SocketAddr], seed: u64, calm: &AtomicBool, stop: &AtomicBool, alive: &AtomicUsize) {
    let open = |address: &SocketAddr| {
        // A child that another test has just forked may hold the old socket until it is the other program.
        let listener = crate::harness::eventually("an address of our own", || TcpListener::bind(address).ok());
        listener.set_nonblocking(true).expect("a mode");
        listener
    };
    let mut seed = Seed(seed);
    let mut listeners: Vec<Option<TcpListener>> = addresses.iter().map(|a| Some(open(a))).collect();
    alive.fetch_add(listeners.len(), Ordering::AcqRel);
    while !stop.load(Ordering::Acquire) {
        let mut idle = true;
        for listener in listeners.iter().flatten() {
            while let Ok((stream, _)) = listener.accept() {
                idle = false;
                answer(stream);
            }
        }
        if calm.load(Ordering::Acquire) {
            for (listener, address) in listeners.iter_mut().zip(addresses) {
                if listener.is_none() {
                    *listener = Some(open(address));
                    alive.fetch_add(1, Ordering::AcqRel);
                }
            }
            if idle {
                crate::harness::pause();
            }
            continue;
        }
        for _ in 0..10 {
            let at = seed.below(listeners.len() as u64) as usize;
            match listeners[at].take() {
                Some(_) => alive.fetch_sub(1, Ordering::AcqRel),
                None => {
                    listeners[at] = Some(open(&addresses[at]));
                    alive.fetch_add(1, Ordering::AcqRel)
                }
            };
        }
    }
}

/// Ends the sweepers also when an assertion fails, because their scope waits for them.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn answer(mut stream: TcpStream) {
    crate::harness::patient(&stream);
    let mut text = [0; 16];
    if stream.read_exact(&mut text).is_ok() {
        drop(stream.write_all(&text));
    }
}

/// 1,000 backends of which up to half are dead at any time, each dying and returning, under load. A client may be cut
/// where its backend died with it in the queue; it is never answered wrongly, never left waiting. When the dying ends,
/// everybody is served, by everybody.
fn a_thousand_backends_die_and_return_under_load(mode: Mode) {
    let addresses = crowd_addresses(mode);
    let config = listener("web", "app", "")
        + &cluster("app", &addresses, "fail_timeout = \"200ms\"\nconnect_attempts = 8\npolicy = \"random-two\"");
    let (calm, stop, alive) = (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0));
    let mut rig = Rig::start(mode, &config);
    let web = rig.proxy.listening("web");
    thread::scope(|scope| {
        let _guard = StopOnDrop(&stop);
        for (index, part) in addresses.chunks(CROWD / SWEEPERS).enumerate() {
            let (calm, stop, alive) = (&calm, &stop, &alive);
            scope.spawn(move || sweep(part, index as u64, calm, stop, alive));
        }
        let clients: Vec<_> = (0..8u64)
            .map(|index| {
                scope.spawn(move || {
                    let mut outcomes: HashMap<Option<ErrorKind>, u32> = HashMap::new();
                    let start = Instant::now();
                    while start.elapsed() < Duration::from_secs(4) {
                        let text = format!("{index:04}{:012}", outcomes.len());
                        let done = dial(web).and_then(|stream| round_trip(&stream, text.as_bytes()));
                        *outcomes.entry(done.err().map(|e| e.kind())).or_default() += 1;
                    }
                    outcomes
                })
            })
            .collect();
        let mut all: HashMap<Option<ErrorKind>, u32> = HashMap::new();
        for client in clients {
            for (kind, count) in client.join().unwrap() {
                *all.entry(kind).or_default() += count;
            }
        }
        let served = all.remove(&None).unwrap_or(0);
        let cut: u32 = all.values().sum();
        assert!(served > 200 && cut < served / 4, "served {served}, cut {all:?}");
        let allowed = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::UnexpectedEof];
        assert!(all.keys().flatten().all(|k| allowed.contains(k)), "{all:?}");
        calm.store(true, Ordering::Release);
        crate::harness::eventually("all of them alive", || (alive.load(Ordering::Acquire) == CROWD).then_some(()));
        for _ in 0..300 {
            round_trip(&dial(web).unwrap(), b"everybody again!").unwrap();
        }
        rig.settled();
    });
}
scenario!(a_thousand_backends_die_and_return_under_load: uring, epoll);
