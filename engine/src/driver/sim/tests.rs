use super::*;
use crate::{
    batch::Batch,
    buf::{Budget, Class, Sizes},
    driver::{
        CloseHow, Errno, Interest, Outcome, StreamOptions, Target,
        contract::{Setup, contract_tests, nothing_breaks_the_rules},
    },
    ops::Chunk,
    pipe::{PipePool, PipeSizes},
};
use std::{collections::BTreeMap, time::Duration};
use trace::{Step, Trace};

const KIND: Setup = Setup {
    make: |pool, seed| Box::new(SimDriver::new(pool, seed, Faults::NONE)),
    seeds: 0..10,
    bulk: 200_000,
    scarce_bytes: 256 << 10,
    settled: Duration::from_secs(5),
};

const UNKIND: Setup = Setup {
    make: |pool, seed| Box::new(SimDriver::new(pool, seed, Faults::HARMLESS)),
    seeds: 100..110,
    bulk: 100_000,
    ..KIND
};

/// Where connections fail too: the rules hold, the promises about connections do not.
const HARSH: Setup =
    Setup { make: |pool, seed| Box::new(SimDriver::new(pool, seed, Faults::HARSH)), seeds: 200..220, ..KIND };

mod kind {
    use super::*;
    contract_tests!(KIND, without_unix_sockets);
}

mod unkind {
    use super::*;
    contract_tests!(UNKIND, without_unix_sockets);
}

#[test]
fn harsh_days_break_no_rules() {
    nothing_breaks_the_rules(&HARSH);
}

fn pool() -> BufferPool {
    BufferPool::new(Sizes::default(), Budget::new(64 << 20))
}

fn address(port: u16) -> SocketAddr {
    ([10, 0, 0, 1], port).into()
}

fn connect_to(to: SocketAddr) -> Op {
    Op::Connect { to: Target::Ip { to, from: None }, options: StreamOptions::default() }
}

/// A driver with a list of what has come.
struct Lab {
    driver: SimDriver,
    arrived: Vec<Completion>,
}

impl Lab {
    fn new(seed: u64, faults: Faults) -> Self {
        Self::on(&SimNet::new(seed), faults)
    }

    fn on(net: &SimNet, faults: Faults) -> Self {
        Self { driver: net.driver(pool(), faults), arrived: Vec::new() }
    }

    fn submit(&mut self, key: u64, op: Op) -> Token {
        self.driver.submit(OpKey(key), op)
    }

    fn turn(&mut self) {
        self.driver.turn(Wait::Forever, &mut self.arrived).unwrap();
    }

    /// The next completion of an operation; those of others wait.
    fn next(&mut self, key: u64) -> Completion {
        loop {
            if let Some(at) = self.arrived.iter().position(|completion| completion.key == OpKey(key)) {
                return self.arrived.remove(at);
            }
            self.turn();
        }
    }

    fn send(&mut self, key: u64, desc: Desc, bytes: &[u8]) {
        let mut buffer = self.driver.net.0.borrow().hosts[self.driver.host].pool.take(Class::Small).unwrap();
        buffer[..bytes.len()].copy_from_slice(bytes);
        self.submit(key, Op::Send { desc, buffer, from: 0, to: bytes.len() as u32 });
        assert!(matches!(self.next(key).outcome, Outcome::Sent { .. }));
    }

    /// Waits for a time in which nothing happens.
    fn pass(&mut self, duration: Duration) {
        let moment = self.driver.now() + duration;
        while self.driver.now() < moment {
            self.driver.turn(Wait::Until(moment), &mut self.arrived).unwrap();
        }
    }

    /// Connects to a listener of its own: the connected end, and the accepted one.
    fn pair(&mut self) -> (Desc, Desc) {
        let listener = self.driver.listen(address(1), 10);
        self.submit(1, connect_to(address(1)));
        self.submit(2, Op::Accept { listener });
        let Outcome::Connected(client) = self.next(1).outcome else { panic!("not connected") };
        let Outcome::Accepted { desc, .. } = self.next(2).outcome else { panic!("not accepted") };
        self.submit(3, Op::Close { desc: listener, how: CloseHow::Graceful });
        self.next(3);
        (client, desc)
    }
}

/// The digest and the lines of a run in which much goes wrong.
fn run(seed: u64) -> (u64, Vec<String>) {
    let setup = Setup {
        make: |pool, seed| {
            let driver = SimDriver::new(pool, seed, Faults::HARSH);
            driver.net().record();
            LAST_NET.set(Some(driver.net()));
            Box::new(driver)
        },
        seeds: seed..seed + 1,
        ..KIND
    };
    nothing_breaks_the_rules(&setup);
    let net = LAST_NET.take().unwrap();
    (net.digest(), net.lines())
}

thread_local! {
    static LAST_NET: std::cell::Cell<Option<SimNet>> = const { std::cell::Cell::new(None) };
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (first, second, other) = (run(1), run(1), run(2));
    assert_eq!(first.1, second.1);
    assert_eq!(first.0, second.0);
    assert_ne!(first.0, other.0);
}

/// A fault that never strikes tests nothing.
#[test]
fn every_kind_of_trouble_comes_about() {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for line in (300..310).flat_map(|seed| run(seed).1) {
        let words: Vec<&str> = line.split(' ').skip(5).collect();
        let kind = match words[..] {
            ["failed" | "send-failed", _] => words.join(" "),
            _ => [&words[..1], &words[2..]].concat().join(" "),
        };
        *seen.entry(kind).or_default() += 1;
    }
    println!("{seen:#?}");
    let errors = [
        ("failed", libc::EMFILE),
        ("failed", libc::ENOMEM),
        ("failed", libc::ENOBUFS),
        ("failed", libc::ECANCELED),
        ("failed", libc::ECONNRESET),
        ("failed", libc::ECONNREFUSED),
        ("send-failed", libc::ECANCELED),
        ("send-failed", libc::ECONNRESET),
        ("send-failed", libc::EPIPE),
    ];
    let good = ["accepted", "connected", "received more", "received", "eof", "sent", "done"].map(String::from);
    for kind in errors.map(|(kind, errno)| format!("{kind} {errno}")).into_iter().chain(good) {
        assert!(seen.get(&kind).is_some_and(|times| *times >= 5), "{kind} hardly ever comes: {seen:?}");
    }
}

#[test]
fn drivers_share_a_network() {
    let net = SimNet::new(5);
    let (mut left, mut right) = (Lab::on(&net, Faults::HARMLESS), Lab::on(&net, Faults::HARMLESS));
    let listener = right.driver.listen(address(80), 10);
    right.submit(1, Op::Accept { listener });
    left.submit(1, connect_to(address(80)));
    while left.arrived.is_empty() || right.arrived.is_empty() {
        left.turn();
        right.turn();
    }
    let (Outcome::Connected(client), Outcome::Accepted { desc: server, .. }) =
        (left.arrived.remove(0).outcome, right.arrived.remove(0).outcome)
    else {
        panic!("not connected")
    };
    right.submit(2, Op::Recv { desc: server, bulk: false, once: false });
    let buffer = pool().take(Class::Small).unwrap();
    left.submit(2, Op::Send { desc: client, buffer, from: 0, to: 1 });
    while right.arrived.is_empty() {
        left.turn();
        right.turn();
    }
    assert!(matches!(right.arrived[0].outcome, Outcome::Received { len: 1, .. } | Outcome::Failed(Errno::NO_BUFFERS)));
    // A host that goes away closes what it had; whoever is left is told.
    drop(left);
    right.arrived.clear();
    right.turn();
    assert!(!right.arrived.is_empty());
}

#[test]
fn time_waits_for_every_driver() {
    let net = SimNet::new(6);
    let (mut left, mut right) = (Lab::on(&net, Faults::NONE), Lab::on(&net, Faults::NONE));
    net.on_stuck(OnStuck::Report);
    let second = Timestamp::START + Duration::from_secs(1);
    let hour = Timestamp::START + Duration::from_secs(3600);
    let first = left.driver.turn(Wait::Until(hour), &mut left.arrived).unwrap().now;
    assert!(first < second, "the other may have something to do before");
    assert_eq!(right.driver.turn(Wait::Until(second), &mut right.arrived).unwrap().now, second);
    assert!(left.driver.turn(Wait::Until(hour), &mut left.arrived).unwrap().now < hour, "the other is awake");
    drop(right);
    assert_eq!(left.driver.turn(Wait::Until(hour), &mut left.arrived).unwrap().now, hour);
}

/// Three chunks of a hundred bytes.
fn batch() -> Box<Batch> {
    let mut batch = Box::<Batch>::default();
    for _ in 0..3 {
        batch.push(Chunk { buffer: pool().take(Class::Small).unwrap(), len: 100 });
    }
    batch
}

#[test]
fn a_copied_batch_comes_back_with_what_was_sent() {
    let mut lab = Lab::new(31, Faults::NONE);
    let (client, _server) = lab.pair();
    lab.submit(10, Op::SendBatch { desc: client, batch: batch(), zero_copy: false });
    let Completion { outcome: Outcome::BatchSent { batch: Some(mut batch), result: Ok(300) }, more: false, .. } =
        lab.next(10)
    else {
        panic!("not sent")
    };
    batch.advance(300);
    assert!(batch.is_empty());
}

#[test]
fn a_batch_that_is_not_copied_is_told_first_and_released_later() {
    let mut lab = Lab::new(32, Faults { short_send: 1.0, ..Faults::NONE });
    let (client, _server) = lab.pair();
    lab.submit(10, Op::SendBatch { desc: client, batch: batch(), zero_copy: true });
    let told = lab.next(10);
    assert!(matches!(told.outcome, Outcome::BatchSent { batch: None, result: Ok(1..300) }) && told.more, "{told:?}");
    let last = lab.next(10);
    assert!(matches!(last.outcome, Outcome::Released { .. }) && !last.more, "{last:?}");
}

#[test]
fn the_ring_splices_there_and_back() {
    let mut lab = Lab::new(33, Faults::NONE);
    let (client, server) = lab.pair();
    let pipe = Box::new(PipePool::new(PipeSizes::default(), Budget::new(64 << 20)).take().unwrap());
    lab.submit(10, Op::Install { desc: server });
    lab.next(10);
    lab.send(11, client, b"hello");
    lab.submit(12, Op::Poll { desc: server, interest: Interest::Read });
    lab.next(12);
    lab.submit(13, Op::SpliceIn { from: server, pipe, max: 1000 });
    let Outcome::Spliced { pipe, result: Ok(moved) } = lab.next(13).outcome else { panic!("not spliced") };
    lab.submit(14, Op::SpliceOut { pipe, to: server, max: moved });
    let Outcome::Spliced { result, .. } = lab.next(14).outcome else { panic!("not spliced") };
    assert_eq!(result, Ok(moved));
    lab.submit(15, Op::Recv { desc: client, bulk: false, once: false });
    let Outcome::Received { buffer, len } = lab.next(15).outcome else { panic!("nothing came") };
    // A segment may end anywhere.
    assert!(len > 0 && b"hello".starts_with(&buffer[..len as usize]));
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_deadlock_is_found() {
    let mut lab = Lab::new(7, Faults::NONE);
    let listener = lab.driver.listen(address(1), 1);
    lab.submit(1, Op::Accept { listener });
    lab.turn();
}

#[test]
fn a_deadlock_can_be_reported_instead() {
    let mut lab = Lab::new(7, Faults::NONE);
    let net = lab.driver.net();
    net.on_stuck(OnStuck::Report);
    lab.turn();
    assert!(net.is_stuck());
    lab.submit(1, connect_to(address(1)));
    assert!(!net.is_stuck());
    assert!(matches!(lab.next(1).outcome, Outcome::Failed(Errno::CONN_REFUSED)));
}

#[test]
fn a_full_backlog_keeps_a_connect_waiting() {
    let mut lab = Lab::new(8, Faults::NONE);
    let listener = lab.driver.listen(address(1), 1);
    for key in 1..=2 {
        lab.submit(key, connect_to(address(1)));
    }
    lab.pass(Duration::from_millis(100));
    assert_eq!(lab.arrived.len(), 1);
    lab.submit(3, Op::Accept { listener });
    lab.pass(Duration::from_millis(100));
    assert_eq!(lab.arrived.len(), 2, "room alone does not help: the request must come again");
    lab.pass(Duration::from_secs(1));
    assert_eq!(lab.arrived.len(), 3);
    lab.submit(4, connect_to(address(1)));
    lab.pass(Duration::from_secs(100));
    assert_eq!(lab.arrived.len(), 3);
    assert!(matches!(lab.next(4).outcome, Outcome::Failed(Errno::TIMED_OUT)));
}

#[test]
fn a_lost_operation_ends_when_it_is_cancelled() {
    let mut lab = Lab::new(9, Faults { lost: 1.0, ..Faults::NONE });
    let (listener, to) = (lab.driver.listen(address(1), 1), address(1));
    let tokens = [lab.submit(1, Op::Accept { listener }), lab.submit(2, connect_to(to))];
    lab.pass(Duration::from_secs(1000));
    assert_eq!((lab.arrived.len(), lab.driver.in_flight()), (0, 2));
    for token in tokens {
        lab.driver.cancel(token);
    }
    assert!(matches!(lab.next(1).outcome, Outcome::Failed(Errno::CANCELED)));
    assert!(matches!(lab.next(2).outcome, Outcome::Failed(Errno::CANCELED)));
}

#[test]
fn what_came_before_a_reset_can_still_be_received() {
    for (discards, expected) in [(0.0, "received err"), (1.0, "err")] {
        let mut lab = Lab::new(10, Faults { reset_discards: discards, ..Faults::NONE });
        let (client, server) = lab.pair();
        lab.send(4, client, b"last words");
        lab.pass(Duration::from_secs(1));
        lab.submit(5, Op::Close { desc: client, how: CloseHow::Reset });
        lab.pass(Duration::from_secs(1));
        lab.submit(6, Op::Recv { desc: server, bulk: false, once: false });
        let mut came = Vec::new();
        while came.last() != Some(&"err") {
            came.push(match lab.next(6).outcome {
                Outcome::Received { len: 10, .. } => "received",
                Outcome::Failed(Errno::CONN_RESET) => "err",
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(came.join(" "), expected);
    }
}

#[test]
#[should_panic(expected = "is not open")]
fn a_descriptor_used_after_its_close_is_found() {
    let mut lab = Lab::new(11, Faults::NONE);
    let (client, _) = lab.pair();
    lab.submit(4, Op::Close { desc: client, how: CloseHow::Graceful });
    lab.submit(5, Op::Shutdown { desc: client });
}

#[test]
#[should_panic(expected = "closed under a running operation")]
fn a_close_under_a_running_operation_is_found() {
    let mut lab = Lab::new(12, Faults::NONE);
    let (client, _) = lab.pair();
    lab.submit(4, Op::Recv { desc: client, bulk: false, once: false });
    lab.submit(5, Op::Close { desc: client, how: CloseHow::Graceful });
}

const TRACES: [(&str, &str); 7] = [
    ("request_in_two_pieces", include_str!("../../../tests/traces/request_in_two_pieces.trace")),
    ("upload_that_starves", include_str!("../../../tests/traces/upload_that_starves.trace")),
    ("ends_without_error", include_str!("../../../tests/traces/ends_without_error.trace")),
    ("data_before_ecanceled", include_str!("../../../tests/traces/data_before_ecanceled.trace")),
    ("cancelled_at_the_last_byte", include_str!("../../../tests/traces/cancelled_at_the_last_byte.trace")),
    ("reset_in_the_middle", include_str!("../../../tests/traces/reset_in_the_middle.trace")),
    ("bundle", include_str!("../../../tests/traces/bundle.trace")),
];

#[test]
fn a_trace_comes_back_to_the_letter() {
    for (name, text) in TRACES {
        let trace: Trace = text.parse().unwrap();
        for seed in 0..5 {
            let mut lab = Lab::new(seed, Faults { late: 0.3, cancel_race: 0.5, ..Faults::NONE });
            let payload: Vec<u8> = (0..=255).collect();
            let desc = lab.driver.open_scripted(Script::new(&trace, &payload));
            let (replayed, bytes) = replay(&mut lab, desc, &trace);
            assert_eq!(replayed, trace, "{name}, seed {seed}");
            assert!(bytes.iter().enumerate().all(|(place, byte)| *byte == place as u8), "{name}, seed {seed}");
        }
    }
}

/// Receives as often as the trace did, and cancels where it was cancelled.
fn replay(lab: &mut Lab, desc: Desc, trace: &Trace) -> (Trace, Vec<u8>) {
    let (mut steps, mut bytes, mut key) = (Vec::new(), Vec::new(), 10);
    let mut token = lab.submit(key, Op::Recv { desc, bulk: false, once: false });
    for step in &trace.steps {
        if *step == Step::End(Errno::CANCELED) {
            lab.driver.cancel(token);
        }
        let completion = lab.next(key);
        steps.extend(Step::of(&completion));
        if let Outcome::Received { buffer, len } = completion.outcome {
            bytes.extend_from_slice(&buffer[..len as usize]);
        }
        if !completion.more {
            key += 1;
            token = lab.submit(key, Op::Recv { desc, bulk: false, once: false });
        }
    }
    (Trace { steps }, bytes)
}

#[test]
fn a_cancellation_that_was_not_recorded_ends_the_receive() {
    let mut lab = Lab::new(13, Faults::NONE);
    let trace = "recv 5 more\nrecv 5 more\neof".parse().unwrap();
    let desc = lab.driver.open_scripted(Script::new(&trace, b"hello"));
    let token = lab.submit(1, Op::Recv { desc, bulk: false, once: false });
    lab.driver.cancel(token);
    assert!(matches!(lab.next(1).outcome, Outcome::Failed(Errno::CANCELED)));
    lab.submit(2, Op::Recv { desc, bulk: false, once: false });
    assert!(matches!(lab.next(2).outcome, Outcome::Received { len: 5, .. }));
}

#[test]
fn scripted_peers_connect_and_are_connected_to() {
    let mut lab = Lab::new(14, Faults::NONE);
    let net = lab.driver.net();
    let script = Script::new(&"recv 5 more\neof".parse().unwrap(), b"hello");
    assert_eq!(net.connect_scripted(address(1), script.clone()), None);
    net.listen_scripted(address(2), script.clone());
    let listener = lab.driver.listen(address(1), 1);
    let peer = net.connect_scripted(address(1), script).unwrap();
    lab.submit(1, Op::Accept { listener });
    lab.submit(2, connect_to(address(2)));
    let Outcome::Accepted { desc: server, .. } = lab.next(1).outcome else { panic!("not accepted") };
    let Outcome::Connected(client) = lab.next(2).outcome else { panic!("not connected") };
    for (key, desc) in [(3, server), (4, client)] {
        lab.submit(key, Op::Recv { desc, bulk: false, once: false });
        let Outcome::Received { buffer, len } = lab.next(key).outcome else { panic!("not received") };
        assert_eq!(&buffer[..len as usize], b"hello");
        assert!(matches!(lab.next(key).outcome, Outcome::Eof));
    }
    lab.send(5, server, b"answer");
    lab.submit(6, Op::Close { desc: server, how: CloseHow::Graceful });
    lab.pass(Duration::from_secs(1));
    assert_eq!(net.heard(peer), b"answer");
}
