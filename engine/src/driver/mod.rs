//! The seam between a shard and the kernel: operations go in, completions come out.
//!
//! Three implementations, one contract, the same tests over all three:
//!
//! * `uring`: the product. One ring a shard (more when its descriptor table is full).
//! * `epoll`: where io_uring is forbidden, and the control in comparisons. Readiness is turned into completions.
//! * `sim`: virtual time, in-memory sockets, seeded faults, and replay of completions recorded from real kernels.
//!
//! The contract:
//!
//! 1. Whatever an operation needs (buffer, address, descriptor) is *moved* into the driver by [`Driver::submit`] and
//!    moved back by a completion. Nobody else can touch it meanwhile, so nothing lent to the kernel can be freed or
//!    reused early, whatever becomes of the future that asked for it.
//! 2. Every operation gets exactly one *last* completion (`more == false`), cancelled or not. Only [`Op::Recv`] and a
//!    zero-copy [`Op::SendBatch`] may get others before it.
//! 3. A completion is delivered by [`Driver::turn`] and by nothing else; `submit` and `cancel` never call back.
//! 4. Completions of one operation come in order. Between operations there is no promise but this: a connection tells
//!    its error once, to one operation; an end of stream that another reads because of it does not come before that.
//! 5. A result that is a resource is an owning value in the [`Outcome`]; who drops it gives it back, except for a
//!    [`Desc`], which its receiver must close with [`Op::Close`].

pub(crate) mod addr;
#[cfg(test)]
pub(crate) mod contract;
pub mod epoll;
pub mod sim;
pub mod uring;

use crate::{batch::Batch, buf::Buffer, clock::Timestamp, pipe::Pipe};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{OwnedFd, RawFd},
    path::PathBuf,
    time::Duration,
};

/// Names an open socket within one shard's driver; what the number means is the driver's own affair.
///
/// Not an owner: it is `Copy`, and [`Op::Close`] ends it. [`crate::net::Socket`] is the owner above this seam.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Desc(pub(crate) u32);

/// Names an operation for its submitter; comes back in each of its completions. Opaque to drivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpKey(pub(crate) u64);

/// The driver's own name of an operation in flight, for [`Driver::cancel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub(crate) u64);

impl OpKey {
    /// Of a driver's own operations, which nobody waits for.
    pub(crate) const INTERNAL: Self = Self(u64::MAX);

    pub(crate) fn index(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl Token {
    /// Of an operation that was over before it began: there is nothing to cancel.
    pub(crate) const NONE: Self = Self(u64::MAX);
}

/// What can be asked of the kernel.
#[derive(Debug)]
pub enum Op {
    /// Take one connection from a listener. Completes with [`Outcome::Accepted`].
    Accept { listener: Desc },
    /// Open a socket, set its options, connect it. Completes with [`Outcome::Connected`]; on error nothing stays open.
    Connect { to: Target, options: StreamOptions },
    /// Receive until told to stop: a completion for every buffer filled ([`Outcome::Received`], `more` mostly true),
    /// then a last one: [`Outcome::Eof`], an error, ECANCELED, ENOBUFS when the pool is empty, or simply a
    /// `Received` without `more`, after which the submitter re-arms.
    ///
    /// A `bulk` receive takes larger buffers, and several at once where the driver can. One that is to receive `once`
    /// should take no more than one buffer; a driver that cannot help it may bring more until it is cancelled.
    Recv { desc: Desc, bulk: bool, once: bool },
    /// Send `buffer[from..to]`. Completes with [`Outcome::Sent`], which may be short, or [`Outcome::SendFailed`].
    /// Both give the buffer back.
    Send { desc: Desc, buffer: Buffer, from: u32, to: u32 },
    /// Send a batch. Completes with [`Outcome::BatchSent`]; where `zero_copy` was heeded, that is not the last
    /// completion and [`Outcome::Released`] is: the kernel may look at the bytes until then.
    SendBatch { desc: Desc, batch: Box<Batch>, zero_copy: bool },
    /// splice by the ring, from a socket that was installed. Completes with [`Outcome::Spliced`].
    SpliceIn { from: Desc, pipe: Box<Pipe>, max: u32 },
    /// splice by the ring, to a socket that was installed: `max` must not be more than the pipe holds.
    SpliceOut { pipe: Box<Pipe>, to: Desc, max: u32 },
    /// Close the write half: the peer sees the end of the stream after all bytes sent before.
    Shutdown { desc: Desc },
    /// Wait until a descriptor is ready to be read or written. Completes with [`Outcome::Done`], also when it is
    /// broken: the attempt tells.
    Poll { desc: Desc, interest: Interest },
    /// Ask how much of what was sent the peer has not acknowledged yet. Completes with [`Outcome::Unacked`].
    Unacked { desc: Desc },
    /// Make a descriptor fit for [`Driver::splice_in`] and [`Driver::splice_out`]. It stays so until it is closed.
    Install { desc: Desc },
    /// Let go of a descriptor. Operations in flight on it must have been cancelled before (their last completions may
    /// still be out). Completes with [`Outcome::Done`], errors included: nothing can be done about them.
    Close { desc: Desc, how: CloseHow },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    Read,
    Write,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseHow {
    /// FIN after what is queued for sending.
    Graceful,
    /// RST at once (SO_LINGER of zero): how a reset of one side is passed on to the other.
    Reset,
}

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// To an address, and from a certain one if `from` is given (port 0: any).
    Ip {
        to: SocketAddr,
        from: Option<IpAddr>,
    },
    Unix(PathBuf),
}

/// Options of a new TCP stream; a unix socket has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StreamOptions {
    pub nodelay: bool,
    /// Idle time before the first keep-alive probe, in whole seconds, at least one.
    pub keepalive: Option<Duration>,
}

/// The address of an accepted peer, in the 20 bytes that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    V4([u8; 4], u16),
    V6([u8; 16], u16),
    /// A unix socket's peer has no name worth keeping.
    Unix,
}

impl Peer {
    pub fn socket_addr(self) -> Option<SocketAddr> {
        match self {
            Self::V4(ip, port) => Some((IpAddr::from(ip), port).into()),
            Self::V6(ip, port) => Some((IpAddr::from(ip).to_canonical(), port).into()),
            Self::Unix => None,
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(a: SocketAddr) -> Self {
        match a.ip() {
            IpAddr::V4(ip) => Self::V4(ip.octets(), a.port()),
            IpAddr::V6(ip) => Self::V6(ip.octets(), a.port()),
        }
    }
}

/// An errno, as small as it is. Words are added where it is reported.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(pub i32);

impl Errno {
    /// Not now.
    pub const AGAIN: Self = Self(libc::EAGAIN);
    pub const CANCELED: Self = Self(libc::ECANCELED);
    pub const NO_BUFFERS: Self = Self(libc::ENOBUFS);
    pub const CONN_RESET: Self = Self(libc::ECONNRESET);
    pub const CONN_REFUSED: Self = Self(libc::ECONNREFUSED);
    pub const BROKEN_PIPE: Self = Self(libc::EPIPE);
    pub const TOO_MANY_FILES: Self = Self(libc::EMFILE);
    /// Every port of the source address is in use towards this destination.
    pub const NO_PORT: Self = Self(libc::EADDRNOTAVAIL);
    pub const TIMED_OUT: Self = Self(libc::ETIMEDOUT);

    /// The peer has torn the connection down: later bytes cannot arrive and a FIN would be a lie.
    pub fn is_reset(self) -> bool {
        self == Self::CONN_RESET || self == Self::BROKEN_PIPE
    }

    /// An accept failed because its one connection was gone already, as accept(2) reports it on Linux.
    pub fn concerns_one_connection(self) -> bool {
        matches!(
            self.0,
            libc::ECONNABORTED
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
        )
    }

    /// The machine or our limits are short of something (descriptors, memory); waiting may help.
    pub fn is_exhaustion(self) -> bool {
        matches!(self.0, libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
    }
}

impl std::fmt::Debug for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", io::Error::from_raw_os_error(self.0))
    }
}

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", io::Error::from_raw_os_error(self.0))
    }
}

impl std::error::Error for Errno {}

impl From<Errno> for io::Error {
    fn from(e: Errno) -> Self {
        Self::from_raw_os_error(e.0)
    }
}

impl From<io::Error> for Errno {
    fn from(e: io::Error) -> Self {
        Self(e.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// What became of an operation, with everything it yields or gives back.
#[derive(Debug)]
pub enum Outcome {
    Accepted {
        desc: Desc,
        peer: Peer,
    },
    Connected(Desc),
    /// `buffer[..len]` is what came, never empty.
    Received {
        buffer: Buffer,
        len: u32,
    },
    /// The peer closed its write half. Always last.
    Eof,
    Sent {
        buffer: Buffer,
        sent: u32,
    },
    SendFailed {
        buffer: Buffer,
        errno: Errno,
    },
    /// What was sent of a batch, which comes back now or with [`Outcome::Released`].
    BatchSent {
        batch: Option<Box<Batch>>,
        result: Result<u32, Errno>,
    },
    /// The kernel is done with the bytes of a batch. `copied`: it had to copy them after all. `registered`: they were
    /// in memory that it knew before.
    Released {
        batch: Box<Batch>,
        copied: bool,
        registered: bool,
    },
    Spliced {
        pipe: Box<Pipe>,
        result: Result<u32, Errno>,
    },
    /// Bytes that wait in the socket's send queue or are on their way. A unix socket counts in pieces as they were
    /// sent, with what the kernel needs to keep them.
    Unacked(u32),
    Done,
    Failed(Errno),
}

/// One event of one operation.
#[derive(Debug)]
pub struct Completion {
    pub key: OpKey,
    pub outcome: Outcome,
    /// More completions of this operation will follow.
    pub more: bool,
}

/// How long a turn may block for its first completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: tasks are ready to run.
    No,
    /// Until a completion, the wake descriptor, or this moment.
    Until(Timestamp),
    /// Until a completion or the wake descriptor.
    Forever,
}

/// What a turn brought besides completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The one clock reading of the turn, taken after the wait.
    pub now: Timestamp,
    /// The wake descriptor has become readable: somebody has written to the mailbox.
    pub woken: bool,
}

/// How a driver introduces itself: in the banner, in a metric, in `status`.
#[derive(Clone, Debug, Default)]
pub struct DriverInfo {
    pub name: &'static str,
    /// Optional features in use, in a fixed order.
    pub features: Vec<&'static str>,
}

/// Counters that only the driver knows.
#[derive(Clone, Copy, Debug, Default)]
pub struct DriverCounters {
    pub descriptors: u64,
    pub cq_overflows: u64,
    pub min_wait_turns: u64,
    /// Small buffers lent to the kernel's receive ring.
    pub ring_buffers: u64,
    /// Bytes registered for zero-copy sends now, with each ring.
    pub registered_bytes: u64,
    /// Rings with which no memory could be registered.
    pub registrations_refused: u64,
}

/// See the module's contract.
pub trait Driver {
    fn info(&self) -> DriverInfo;

    fn counters(&self) -> DriverCounters;

    /// Buffers that are lent for receives, small ones and those for bulk; `None` where nothing is lent in advance.
    fn lent(&self) -> Option<[u64; 2]> {
        None
    }

    /// Whether one of them is where a receive of this descriptor would look.
    fn has_lent(&self, _desc: Desc, _bulk: bool) -> bool {
        true
    }

    /// The moment now. Reads the clock; only for what happens outside turns.
    fn now(&self) -> Timestamp;

    /// Take over a listening socket, bound and listening.
    ///
    /// # Errors
    /// Those of registering it.
    fn adopt_listener(&mut self, fd: OwnedFd) -> io::Result<Desc>;

    /// The descriptor (an eventfd) whose readability turns report as `woken`: at least once every time that it becomes
    /// readable, so who is told must read it.
    fn watch_wake(&mut self, fd: RawFd);

    /// Zero-copy sends to this descriptor are about to come: register memory for them, from which bulk receives then
    /// take their buffers first. They work without, too.
    ///
    /// # Errors
    /// EOPNOTSUPP where there is no such thing, ENOMEM by RLIMIT_MEMLOCK, ENOBUFS where the pool has no memory for it.
    fn expect_zero_copy(&mut self, _desc: Desc) -> Result<(), Errno> {
        Err(Errno(libc::EOPNOTSUPP))
    }

    /// Start an operation. Never fails here: what is wrong comes as a completion.
    fn submit(&mut self, key: OpKey, op: Op) -> Token;

    /// Ask for an operation's end. Its last completion still comes: ECANCELED, or what it had come to before.
    fn cancel(&mut self, token: Token);

    /// Hand what was submitted to the kernel, wait as told, append all completions there are to `out`.
    ///
    /// # Errors
    /// Only when the driver itself is broken; the shard then ends.
    fn turn(&mut self, wait: Wait, out: &mut Vec<Completion>) -> io::Result<Turn>;

    /// Move up to `max` bytes from a socket that was installed into a pipe, at once and without blocking. Zero: the
    /// peer has closed its write half.
    ///
    /// # Errors
    /// [`Errno::AGAIN`] when nothing has come, ECONNRESET and its like when the connection is broken.
    fn splice_in(&mut self, from: Desc, pipe: &Pipe, max: usize) -> Result<usize, Errno>;

    /// Move up to `max` bytes out of a pipe to a socket that was installed.
    ///
    /// # Errors
    /// [`Errno::AGAIN`] when the socket takes none now.
    fn splice_out(&mut self, pipe: &Pipe, to: Desc, max: usize) -> Result<usize, Errno>;

    /// Our own address of a socket that was installed.
    ///
    /// # Errors
    /// Those of getsockname(2); EBADF for one that was not installed.
    fn local_addr(&self, desc: Desc) -> Result<Peer, Errno>;

    /// Operations whose last completion is not delivered yet, the driver's own included. A shard ends by cancelling
    /// all of its operations and turning until this is zero.
    fn in_flight(&self) -> usize;

    /// [`Driver::shrink`] may have something to give back, now or later.
    fn has_leftovers(&self) -> bool {
        false
    }

    /// Give back memory that a burst has left behind.
    fn shrink(&mut self) {}
}
