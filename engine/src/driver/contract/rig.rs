//! One driver under test, with a small loop around it and a bookkeeper that trusts nobody.

use crate::{
    buf::{Budget, Buffer, BufferPool, Class, Sizes},
    driver::{CloseHow, Completion, Desc, Driver, Errno, Op, OpKey, Outcome, StreamOptions, Target, Token, Wait},
    rng::Rng,
    slab::{Key, Slab},
};
use std::{
    collections::{BTreeMap, VecDeque},
    net::{SocketAddr, TcpListener},
    ops::Range,
    time::Duration,
};

/// How to make the driver under test.
pub(crate) struct Setup {
    pub(crate) make: fn(BufferPool, u64) -> Box<dyn Driver>,
    /// Every test runs once a seed. Drivers over the kernel have no use for more than one.
    pub(crate) seeds: Range<u64>,
    /// Bytes per direction of a big transfer: virtual wires carry less.
    pub(crate) bulk: u64,
    /// A cap on buffer memory that the driver can live with, and that a test can exhaust.
    pub(crate) scarce_bytes: u64,
    /// After this time, what was sent has come.
    pub(crate) settled: Duration,
}

impl Setup {
    pub(crate) fn each(&self, promise: impl Fn(&mut Rig)) {
        self.each_with(1 << 30, promise);
    }

    /// For a promise that takes long to test.
    pub(crate) fn few(&self, promise: impl Fn(&mut Rig)) {
        self.run(self.seeds.clone().take(2), 1 << 30, promise);
    }

    pub(crate) fn each_with(&self, pool_bytes_max: u64, promise: impl Fn(&mut Rig)) {
        self.run(self.seeds.clone(), pool_bytes_max, promise);
    }

    fn run(&self, seeds: impl Iterator<Item = u64>, pool_bytes_max: u64, promise: impl Fn(&mut Rig)) {
        for seed in seeds {
            println!("seed {seed}");
            let mut rig = Rig::new(self, seed, pool_bytes_max);
            promise(&mut rig);
            rig.finish();
        }
    }
}

/// Turns after which a test gives up. Each waits for at most [`PATIENCE`].
const TURNS_MAX: u64 = 1_000_000;
const PATIENCE: Duration = Duration::from_millis(100);
/// Turns in a row without a completion.
const DULL_TURNS_MAX: u64 = 3000;

/// An operation that has been submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) key: OpKey,
    token: Token,
}

#[derive(Clone, Copy)]
struct Live {
    /// It may have completions before its last.
    many: bool,
    token: Token,
}

pub(crate) struct Rig {
    pub(super) driver: Box<dyn Driver>,
    pub(super) pool: BufferPool,
    pub(super) rng: Rng,
    pub(super) bulk: u64,
    settled: Duration,
    started: u64,
    /// Operations whose last completion has not come. Named as the executor names its own, which a driver may rely on.
    live: Slab<Live>,
    arrived: BTreeMap<u64, VecDeque<Completion>>,
    open: Vec<Desc>,
    /// The driver opened these for itself, before anything was asked of it.
    own_descriptors: u64,
}

impl Rig {
    fn new(setup: &Setup, seed: u64, pool_bytes_max: u64) -> Self {
        crate::os::raise_nofile();
        let pool = BufferPool::new(Sizes::default(), Budget::new(pool_bytes_max));
        let driver = (setup.make)(pool.clone(), seed);
        Self {
            own_descriptors: driver.counters().descriptors,
            driver,
            pool,
            rng: Rng::new(seed ^ 0x00c0_ffee),
            bulk: setup.bulk,
            settled: setup.settled,
            started: 0,
            live: Slab::new(),
            arrived: BTreeMap::new(),
            open: Vec::new(),
        }
    }

    /// Ends as a shard does: cancel everything, drain, close.
    fn finish(mut self) {
        let tokens: Vec<Token> = self.live.iter().map(|(_, live)| live.token).collect();
        for token in tokens {
            self.driver.cancel(token);
        }
        self.run_until("no operation is left", |rig| rig.live.is_empty());
        // What came too late to be looked at, accepted descriptors among it, is closed with the rest.
        for desc in std::mem::take(&mut self.open) {
            let close = self.start(Op::Close { desc, how: CloseHow::Graceful });
            assert!(matches!(self.last(close), Outcome::Done));
        }
        self.run_until("nothing is in flight", |rig| rig.driver.in_flight() == 0);
        assert_eq!(self.driver.counters().descriptors, self.own_descriptors, "a descriptor leaked");
        self.arrived.clear();
        let Self { driver, pool, .. } = self;
        drop(driver);
        assert_eq!(pool.leaked(), 0, "a buffer leaked");
    }

    pub(super) fn start(&mut self, op: Op) -> Ticket {
        self.started += 1;
        let many = matches!(op, Op::Recv { .. } | Op::SendBatch { zero_copy: true, .. });
        let live = self.live.insert(Live { many, token: Token::NONE });
        let key = OpKey(live.to_u64());
        let token = self.driver.submit(key, op);
        self.live.get_mut(live).expect("just inserted").token = token;
        self.count();
        Ticket { key, token }
    }

    pub(super) fn cancel(&mut self, ticket: Ticket) {
        self.driver.cancel(ticket.token);
        self.count();
    }

    /// True until the last completion is in, looked at or not.
    pub(super) fn is_live(&self, ticket: Ticket) -> bool {
        live_key(ticket.key).is_some_and(|key| self.live.contains(key))
    }

    fn count(&self) {
        let (told, counted) = (self.driver.in_flight(), self.live.len());
        // uring has operations of its own, to watch the wake descriptor and to cancel.
        let exact = self.driver.info().name != "uring";
        assert!(told == counted || !exact && told > counted, "in flight: {told} says the driver, {counted} it must be");
    }

    /// One turn. Returns whether the wake descriptor was reported.
    pub(super) fn turn(&mut self, wait: Wait) -> bool {
        let mut out = Vec::new();
        let turn = self.driver.turn(wait, &mut out).expect("the driver works");
        for completion in out {
            self.book(completion);
        }
        self.count();
        turn.woken
    }

    fn book(&mut self, completion: Completion) {
        let key = completion.key;
        let live = live_key(key).and_then(|key| self.live.get(key));
        let Some(Live { many, .. }) = live.copied() else {
            panic!("{completion:?} of an operation that is over or never was");
        };
        assert!(many || !completion.more, "{completion:?} promises more");
        match &completion.outcome {
            Outcome::Received { buffer, len } => {
                assert!(many && *len > 0 && *len as usize <= buffer.len(), "{completion:?}");
            }
            // The batch comes with the last completion, whichever that is.
            Outcome::BatchSent { batch, .. } => assert_eq!(batch.is_none(), completion.more, "{completion:?}"),
            outcome => assert!(!completion.more, "{outcome:?} promises more"),
        }
        if let Outcome::Accepted { desc, .. } | Outcome::Connected(desc) = completion.outcome {
            assert!(!self.open.contains(&desc), "{desc:?} is given out twice");
            self.open.push(desc);
        }
        if !completion.more {
            live_key(key).and_then(|key| self.live.remove(key));
        }
        self.arrived.entry(key.0).or_default().push_back(completion);
    }

    /// What has come of an operation and was not looked at yet.
    pub(super) fn next(&mut self, ticket: Ticket) -> Option<Completion> {
        let queue = self.arrived.get_mut(&ticket.key.0)?;
        let completion = queue.pop_front();
        if queue.is_empty() {
            self.arrived.remove(&ticket.key.0);
        }
        completion
    }

    pub(super) fn run_until(&mut self, what: &str, mut reached: impl FnMut(&mut Self) -> bool) {
        let mut dull = 0;
        for _ in 0..TURNS_MAX {
            if reached(self) {
                return;
            }
            let before = (self.started, self.arrived.len(), self.live.len());
            let wait = Wait::Until(self.driver.now() + PATIENCE);
            self.turn(wait);
            dull = if before == (self.started, self.arrived.len(), self.live.len()) { dull + 1 } else { 0 };
            assert!(dull < DULL_TURNS_MAX, "nothing happens any more, and still not: {what}");
        }
        panic!("did not come about: {what}");
    }

    /// Some turns of whatever happens.
    pub(super) fn idle(&mut self, turns: u64) {
        for _ in 0..turns {
            let wait = Wait::Until(self.driver.now() + Duration::from_millis(1));
            self.turn(wait);
        }
    }

    /// Time enough for what was sent to arrive.
    pub(super) fn settle(&mut self) {
        let moment = self.driver.now() + self.settled;
        while self.driver.now() < moment {
            self.turn(Wait::Until(moment));
        }
    }

    /// Waits for the last completion, which must be the only one.
    pub(super) fn last(&mut self, ticket: Ticket) -> Outcome {
        self.run_until("the last completion", |rig| !rig.is_live(ticket));
        let completion = self.next(ticket).expect("a last completion");
        assert!(self.next(ticket).is_none(), "there was one before {completion:?}");
        completion.outcome
    }
}

fn live_key(key: OpKey) -> Option<Key> {
    Key::from_u64(key.0)
}

/// Ordinary conversations.
impl Rig {
    /// A listener on a fresh port of the loopback.
    pub(super) fn listen(&mut self) -> (Desc, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let desc = self.adopt(listener.into());
        (desc, address)
    }

    pub(super) fn adopt(&mut self, fd: std::os::fd::OwnedFd) -> Desc {
        let desc = self.driver.adopt_listener(fd).expect("a listener");
        self.open.push(desc);
        desc
    }

    pub(super) fn start_connect(&mut self, to: SocketAddr) -> Ticket {
        let options = StreamOptions { nodelay: true, keepalive: Some(Duration::from_secs(30)) };
        self.start(Op::Connect { to: Target::Ip { to, from: None }, options })
    }

    pub(super) fn connected(&mut self, ticket: Ticket) -> Desc {
        match self.last(ticket) {
            Outcome::Connected(desc) => desc,
            other => panic!("{other:?} instead of a connection"),
        }
    }

    pub(super) fn accepted(&mut self, ticket: Ticket) -> Desc {
        match self.last(ticket) {
            Outcome::Accepted { desc, .. } => desc,
            other => panic!("{other:?} instead of a connection"),
        }
    }

    /// Both ends of a new connection, the connecting one first.
    pub(super) fn pair(&mut self) -> (Desc, Desc) {
        let (listener, address) = self.listen();
        let (connect, accept) = (self.start_connect(address), self.start(Op::Accept { listener }));
        let ends = (self.connected(connect), self.accepted(accept));
        self.close(listener, CloseHow::Graceful);
        ends
    }

    pub(super) fn start_close(&mut self, desc: Desc, how: CloseHow) -> Ticket {
        let at = self.open.iter().position(|open| *open == desc).expect("it is open");
        self.open.swap_remove(at);
        self.start(Op::Close { desc, how })
    }

    pub(super) fn close(&mut self, desc: Desc, how: CloseHow) {
        let close = self.start_close(desc, how);
        assert!(matches!(self.last(close), Outcome::Done));
    }

    pub(super) fn buffer(&mut self) -> Buffer {
        self.pool.take(Class::Small).expect("a buffer")
    }

    /// Sends until everything is sent.
    pub(super) fn send_all(&mut self, desc: Desc, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let mut buffer = self.buffer();
            let len = buffer.len().min(bytes.len() - at);
            buffer[..len].copy_from_slice(&bytes[at..at + len]);
            at += self.send_some(desc, buffer, len as u32).expect("the peer listens") as usize;
        }
    }

    /// Sends once.
    pub(super) fn send_some(&mut self, desc: Desc, buffer: Buffer, to: u32) -> Result<u32, Errno> {
        let send = self.start(Op::Send { desc, buffer, from: 0, to });
        match self.last(send) {
            Outcome::Sent { sent, .. } => {
                assert!(sent <= to);
                Ok(sent)
            }
            Outcome::SendFailed { errno, .. } => Err(errno),
            other => panic!("{other:?} of a send"),
        }
    }
}
