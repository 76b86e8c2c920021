//! Records what a multishot receive of the real kernel completes with, for [`super::trace`] to replay.
//!
//! The files are under `engine/tests/traces/recorded`; `BALANCE_RECORD_TRACES=1 cargo test -p balance-engine recording`
//! writes them anew. Without that, each run records again and holds the kernel to what the files say of it: the same
//! bytes, the same kinds of completions, the same end. (How the bytes are cut is the kernel's affair.)

use super::trace::{Step, Trace};
use crate::{
    buf::{Budget, Buffer, BufferPool, Sizes},
    clock::Clock,
    driver::{
        CloseHow, Completion, Desc, Driver, Errno, Op, OpKey, Outcome, Token, Wait,
        uring::{UringConfig, UringDriver, probe},
    },
};
use std::{
    fmt::Write as _,
    io::Write as _,
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::{AsRawFd, OwnedFd},
    path::PathBuf,
    time::Duration,
};

const ACCEPT: OpKey = OpKey(1 << 32);
const RECEIVE: OpKey = OpKey(2 << 32);
const CLOSE: OpKey = OpKey(3 << 32);

/// A receiving socket on a real ring, and its peer.
struct Studio {
    driver: UringDriver,
    desc: Desc,
    token: Token,
    peer: TcpStream,
    steps: Vec<Step>,
    /// Buffers that came and were not given back.
    held: Vec<Buffer>,
    keep: bool,
    /// A receive is in flight.
    armed: bool,
    arrived: Vec<Completion>,
}

impl Studio {
    /// `buffers`: what the ring lends; there are 4 MiB of them in all.
    fn open(buffers: u16) -> Self {
        let sizes = Sizes { small: 4 << 10, medium: 32 << 10, large: 64 << 10, huge: 1 << 20 };
        let pool = BufferPool::new(sizes, Budget::new(4 << 20));
        let config = UringConfig { features: probe().expect("io_uring runs here"), ring_buffers: buffers };
        let mut driver = UringDriver::new(config, pool, Clock::monotonic()).expect("a ring");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let listener = driver.adopt_listener(OwnedFd::from(listener)).expect("adopted");
        driver.submit(ACCEPT, Op::Accept { listener });
        let peer = TcpStream::connect(address).expect("connected");
        peer.set_nodelay(true).expect("an option");
        let mut arrived = Vec::new();
        while arrived.is_empty() {
            driver.turn(Wait::Forever, &mut arrived).expect("a turn");
        }
        let Outcome::Accepted { desc, .. } = arrived.remove(0).outcome else { panic!("not accepted") };
        driver.submit(CLOSE, Op::Close { desc: listener, how: CloseHow::Graceful });
        let (steps, held) = (Vec::new(), Vec::new());
        let mut this = Self { driver, desc, token: Token::NONE, peer, steps, held, keep: false, armed: false, arrived };
        this.turn();
        this.arm();
        this
    }

    fn arm(&mut self) {
        self.armed = true;
        self.token = self.driver.submit(RECEIVE, Op::Recv { desc: self.desc, bulk: false, once: false });
        self.turn();
    }

    /// Take what there is within a few milliseconds.
    fn turn(&mut self) {
        for _ in 0..3 {
            let until = self.driver.now() + Duration::from_millis(2);
            self.driver.turn(Wait::Until(until), &mut self.arrived).expect("a turn");
        }
        for completion in self.arrived.drain(..).filter(|c| c.key == RECEIVE) {
            self.steps.extend(Step::of(&completion));
            self.armed &= completion.more;
            if let Outcome::Received { buffer, .. } = completion.outcome
                && self.keep
            {
                self.held.push(buffer);
            }
        }
    }

    fn say(&mut self, bytes: usize) {
        self.peer.write_all(&vec![7; bytes]).expect("written");
        self.turn();
    }

    /// Arm again where an operation has ended, until the stream has.
    fn finish(mut self) -> Trace {
        for _ in 0..500 {
            match self.steps.last() {
                Some(Step::Eof | Step::Err(_)) => break,
                _ if !self.armed => self.arm(),
                _ => self.turn(),
            }
        }
        assert!(matches!(self.steps.last(), Some(Step::Eof | Step::Err(_))), "no end: {:?}", self.steps);
        self.driver.submit(CLOSE, Op::Close { desc: self.desc, how: CloseHow::Graceful });
        while self.driver.in_flight() > 0 {
            self.turn();
        }
        Trace { steps: self.steps }
    }

    fn reset(self) -> Self {
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let size = size_of::<libc::linger>() as libc::socklen_t;
        // SAFETY: the option is a `linger`, of the size said, and only read during the call.
        let result = unsafe {
            libc::setsockopt(self.peer.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size)
        };
        assert_eq!(result, 0, "the option is not taken");
        self.hang_up(|_| {})
    }

    /// The peer goes away.
    fn hang_up(mut self, last_words: impl FnOnce(&mut TcpStream)) -> Self {
        last_words(&mut self.peer);
        let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stand_in = TcpStream::connect(elsewhere.local_addr().expect("an address")).expect("connected");
        drop(std::mem::replace(&mut self.peer, stand_in));
        self.turn();
        self
    }
}

fn requests_and_an_end() -> Trace {
    let mut studio = Studio::open(64);
    for bytes in [1, 100, 4096, 4097, 300] {
        studio.say(bytes);
    }
    studio.peer.shutdown(Shutdown::Write).expect("shut down");
    studio.finish()
}

fn bulk() -> Trace {
    let mut studio = Studio::open(64);
    for _ in 0..4 {
        studio.say(48 << 10);
    }
    studio.peer.shutdown(Shutdown::Write).expect("shut down");
    studio.finish()
}

/// The reader keeps every buffer until none is left, gives them back, and arms again.
fn starvation() -> Trace {
    let mut studio = Studio::open(64);
    studio.keep = true;
    let mut said = 0;
    while !matches!(studio.steps.last(), Some(Step::End(_))) {
        // While buffers are scarce, a receive takes one and ends.
        if !studio.armed {
            studio.arm();
            continue;
        }
        studio.say(32 << 10);
        said += 32 << 10;
        assert!(said < 16 << 20, "the buffers do not run out: {:?}", studio.steps);
    }
    studio.keep = false;
    studio.held.clear();
    studio.arm();
    studio.peer.shutdown(Shutdown::Write).expect("shut down");
    studio.finish()
}

/// Data is there when the cancellation is asked for.
fn cancelled_with_data() -> Trace {
    let mut studio = Studio::open(64);
    studio.say(500);
    studio.peer.write_all(&[7; 10_000]).expect("written");
    studio.driver.cancel(studio.token);
    studio.turn();
    assert_eq!(studio.steps.last(), Some(&Step::End(Errno::CANCELED)));
    studio.peer.write_all(&[7; 64]).expect("written");
    studio.arm();
    studio.hang_up(|_| {}).finish()
}

/// The cancellation comes to an idle receive, twice in a row.
fn cancelled_idle() -> Trace {
    let mut studio = Studio::open(64);
    for _ in 0..2 {
        studio.driver.cancel(studio.token);
        studio.turn();
        studio.arm();
    }
    studio.say(12);
    studio.hang_up(|_| {}).finish()
}

fn reset_behind_data() -> Trace {
    let mut studio = Studio::open(64);
    studio.say(100);
    studio.peer.write_all(&[7; 9000]).expect("written");
    studio.reset().finish()
}

fn reset_at_once() -> Trace {
    Studio::open(64).reset().finish()
}

type Scene = (&'static str, &'static str, fn() -> Trace);

const SCENES: [Scene; 7] = [
    ("requests_and_an_end", "Five messages, then the peer closes its half.", requests_and_an_end),
    ("bulk", "48 KiB at a time, then the end.", bulk),
    ("starvation", "The reader keeps all buffers: ENOBUFS; then it gives them back and arms again.", starvation),
    ("cancelled_with_data", "A cancellation while data is there, then a new receive.", cancelled_with_data),
    ("cancelled_idle", "A cancellation while nothing is there, twice.", cancelled_idle),
    ("reset_behind_data", "Data with a reset behind it.", reset_behind_data),
    ("reset_at_once", "A reset and nothing else.", reset_at_once),
];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/traces/recorded").join(format!("{name}.trace"))
}

fn kernel() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    text.split('-').next().unwrap_or_default().trim().to_owned()
}

fn bytes(trace: &Trace) -> u64 {
    let of = |step: &Step| if let Step::Recv { len, .. } = step { u64::from(*len) } else { 0 };
    trace.steps.iter().map(of).sum()
}

/// How the operations of a trace ended.
fn ends(trace: &Trace) -> Vec<Step> {
    trace.steps.iter().copied().filter(|step| !matches!(step, Step::Recv { .. })).collect()
}

#[test]
fn the_kernel_does_what_the_recorded_traces_say() {
    for (name, about, scene) in SCENES {
        let trace = scene();
        if std::env::var("BALANCE_RECORD_TRACES").is_ok() {
            let mut text = String::new();
            writeln!(text, "# {about}").expect("a string grows");
            writeln!(text, "# Recorded from io_uring on Linux {}.", kernel()).expect("a string grows");
            write!(text, "{trace}").expect("a string grows");
            std::fs::create_dir_all(path(name).parent().expect("a folder")).expect("a folder");
            std::fs::write(path(name), text).expect("written");
        }
        let text = std::fs::read_to_string(path(name)).expect("recorded before");
        let known: Trace = text.parse().expect("a trace");
        if name != "starvation" {
            assert_eq!(bytes(&trace), bytes(&known), "{name}: {trace}");
        }
        assert_eq!(ends(&trace), ends(&known), "{name}: {trace}");
    }
}
