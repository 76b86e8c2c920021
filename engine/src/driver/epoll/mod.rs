//! The driver over epoll: readiness is turned into completions.
//!
//! A send is tried when it is submitted; a receive when epoll says that there is something. So a message relayed costs
//! three system calls: the wait, the receive, the send. The completions of what was done at submit time are handed out
//! by the next turn, which spares itself the wait (never twice in a row, so that no socket is forgotten).
//!
//! Level-triggered: what a turn leaves behind, the next one finds. Nothing may therefore be reported that nobody acts
//! upon, or the loop would spin; see [`sockets`].

mod ready;
mod sockets;
mod sys;
#[cfg(test)]
mod tests;

use super::{
    CloseHow, Completion, Desc, Driver, DriverCounters, DriverInfo, Errno, Interest, Op, OpKey, Outcome, Peer,
    StreamOptions, Target, Token, Turn, Wait,
    addr::{self, AddrBuf},
};
use crate::{
    batch::Batch,
    buf::{Buffer, BufferPool},
    clock::{Clock, Timestamp},
    pipe::{self, Pipe},
    slab::{Key, Slab},
};
use sockets::{Kind, Sockets};
use std::{
    io,
    os::fd::{OwnedFd, RawFd},
    time::Duration,
};

/// Events taken per wait; the rest stay ready for the next one.
const EVENTS_MAX: usize = 256;
/// Event data of the wake descriptor; no socket has it, since no descriptor is negative.
const WAKE: u64 = u64::MAX;
/// See the module's documentation.
pub struct EpollDriver {
    sockets: Sockets,
    ops: Slab<Pending>,
    pool: BufferPool,
    clock: Clock,
    events: Vec<sys::Event>,
    /// For the next turn to hand out.
    ready: Vec<Completion>,
    /// The last turn handed out completions without asking the kernel.
    spared_wait: bool,
    in_flight: usize,
    /// The kernel can wait to the nanosecond.
    precise: bool,
}

/// An operation that waits for its socket.
struct Pending {
    key: OpKey,
    desc: Desc,
    job: Job,
}

enum Job {
    Accept,
    Connect,
    Recv,
    Poll(Interest),
    Batch(Box<Batch>),
    Send { buffer: Buffer, from: u32, to: u32 },
}

impl EpollDriver {
    /// # Errors
    /// Those of making an epoll descriptor.
    pub fn new(pool: BufferPool, clock: Clock) -> io::Result<Self> {
        let epoll = sys::epoll_create()?;
        let nothing = sys::Event { events: 0, u64: 0 };
        let mut events = vec![nothing; EVENTS_MAX];
        let precise = sys::epoll_pwait2(&epoll, &mut events, Duration::ZERO).is_ok();
        Ok(Self {
            sockets: Sockets::new(epoll),
            ops: Slab::new(),
            pool,
            clock,
            events,
            ready: Vec::new(),
            spared_wait: false,
            in_flight: 0,
            precise,
        })
    }

    fn finish(&mut self, key: OpKey, outcome: Outcome) {
        self.ready.push(Completion { key, outcome, more: false });
    }

    fn fail(&mut self, key: OpKey, errno: Errno) {
        self.finish(key, Outcome::Failed(errno));
    }

    /// Ends a pending operation, with its resources given back.
    fn fail_pending(&mut self, pending: Pending, errno: Errno) {
        let Pending { key, job, .. } = pending;
        match job {
            Job::Send { buffer, .. } => self.finish(key, Outcome::SendFailed { buffer, errno }),
            Job::Batch(batch) => self.finish(key, Outcome::BatchSent { batch: Some(batch), result: Err(errno) }),
            Job::Accept | Job::Connect | Job::Recv | Job::Poll(_) => self.fail(key, errno),
        }
    }

    /// Keeps an operation until its socket is ready.
    fn park(&mut self, key: OpKey, desc: Desc, job: Job) -> Token {
        let readiness = match job {
            Job::Accept | Job::Recv | Job::Poll(Interest::Read) => sys::IN,
            Job::Connect | Job::Send { .. } | Job::Batch(_) | Job::Poll(Interest::Write) => sys::OUT,
        };
        let pending = Pending { key, desc, job };
        if let Err(errno) = self.sockets.watch(desc, readiness) {
            self.fail_pending(pending, errno);
            return Token::NONE;
        }
        let op = self.ops.insert(pending);
        if let Some(socket) = self.sockets.get_mut(desc) {
            let queue = match readiness {
                sys::IN => &mut socket.readers,
                _ => &mut socket.writers,
            };
            queue.push_back(op);
        }
        Token(op.to_u64())
    }

    /// Takes a pending operation out of the slab and out of its socket's queue.
    fn unpark(&mut self, op: Key) -> Option<Pending> {
        let pending = self.ops.remove(op)?;
        if let Some(socket) = self.sockets.get_mut(pending.desc) {
            // Mostly the first of its queue, mostly the only one.
            socket.readers.retain(|other| *other != op);
            socket.writers.retain(|other| *other != op);
        }
        Some(pending)
    }

    fn unpark_and_fail(&mut self, op: Key, errno: Errno) {
        if let Some(pending) = self.unpark(op) {
            self.fail_pending(pending, errno);
        }
    }
}

/// What is done when an operation is submitted.
impl EpollDriver {
    fn submit_connect(&mut self, key: OpKey, to: &Target, options: StreamOptions) -> Token {
        let opened = AddrBuf::try_from(to).and_then(|address| Ok((addr::open_stream(to, options)?, address)));
        let (fd, address) = match opened {
            Ok(opened) => opened,
            Err(errno) => {
                self.fail(key, errno);
                return Token::NONE;
            }
        };
        match sys::connect(&fd, &address) {
            Ok(()) => {
                let desc = self.sockets.insert(fd, Kind::Stream);
                self.finish(key, Outcome::Connected(desc));
                Token::NONE
            }
            Err(Errno(libc::EINPROGRESS | libc::EINTR)) => {
                let desc = self.sockets.insert(fd, Kind::Stream);
                let token = self.park(key, desc, Job::Connect);
                if token == Token::NONE {
                    self.sockets.remove(desc);
                }
                token
            }
            Err(errno) => {
                self.fail(key, errno);
                Token::NONE
            }
        }
    }

    fn submit_send(&mut self, key: OpKey, desc: Desc, buffer: Buffer, from: u32, to: u32) -> Token {
        let sent = match self.sockets.get_mut(desc) {
            None => Err(Errno(libc::EBADF)),
            // Behind those that wait already, or the bytes would change places.
            Some(socket) if !socket.writers.is_empty() => Err(Errno(libc::EAGAIN)),
            Some(_) => sys::send(desc.0 as RawFd, &buffer[from as usize..to as usize]),
        };
        match sent {
            Ok(sent) => {
                let sent = sent as u32;
                self.finish(key, Outcome::Sent { buffer, sent });
                Token::NONE
            }
            Err(errno) if sys::is_transient(errno) => self.park(key, desc, Job::Send { buffer, from, to }),
            Err(errno) => {
                self.finish(key, Outcome::SendFailed { buffer, errno });
                Token::NONE
            }
        }
    }

    /// epoll has no notifications of its own, so a zero-copy batch is sent like any other.
    fn submit_batch(&mut self, key: OpKey, desc: Desc, mut batch: Box<Batch>) -> Token {
        let sent = match self.sockets.get_mut(desc) {
            None => Err(Errno(libc::EBADF)),
            Some(socket) if !socket.writers.is_empty() => Err(Errno::AGAIN),
            Some(_) => sys::send_batch(desc.0 as RawFd, &mut batch),
        };
        match sent {
            Err(errno) if sys::is_transient(errno) => self.park(key, desc, Job::Batch(batch)),
            result => {
                let result = result.map(|n| n as u32);
                self.finish(key, Outcome::BatchSent { batch: Some(batch), result });
                Token::NONE
            }
        }
    }

    fn submit_shutdown(&mut self, key: OpKey, desc: Desc) {
        let shut = match self.sockets.get_mut(desc) {
            None => Err(Errno(libc::EBADF)),
            Some(_) => addr::shutdown_write(desc.0 as RawFd),
        };
        match shut {
            Ok(()) => self.finish(key, Outcome::Done),
            Err(errno) => self.fail(key, errno),
        }
    }

    fn submit_unacked(&mut self, key: OpKey, desc: Desc) {
        let unacked = match self.sockets.get_mut(desc) {
            None => Err(Errno(libc::EBADF)),
            Some(_) => addr::unacked(desc.0 as RawFd),
        };
        self.finish(key, unacked.map_or_else(Outcome::Failed, Outcome::Unacked));
    }

    fn submit_close(&mut self, key: OpKey, desc: Desc, how: CloseHow) {
        if let Some(socket) = self.sockets.get_mut(desc) {
            debug_assert_eq!(socket.wanted(), 0, "closed under a running operation");
            let waiting: Vec<Key> = socket.readers.drain(..).chain(socket.writers.drain(..)).collect();
            for op in waiting {
                self.unpark_and_fail(op, Errno::CANCELED);
            }
            if how == CloseHow::Reset {
                // Fails on unix sockets only, which know no reset.
                addr::set_linger_zero(desc.0 as RawFd).ok();
            }
            self.sockets.remove(desc);
        }
        self.finish(key, Outcome::Done);
    }
}

/// Waiting.
impl EpollDriver {
    /// Asks the kernel what is ready and acts upon it. True when the wake descriptor is.
    fn poll(&mut self, wait: Wait) -> io::Result<bool> {
        let filled = match self.wait(wait) {
            Ok(filled) => filled,
            Err(Errno(libc::EINTR)) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let mut woken = false;
        for index in 0..filled {
            let event = self.events[index];
            if event.u64 == WAKE {
                woken = true;
            } else {
                self.handle_event(event);
            }
        }
        Ok(woken)
    }

    fn wait(&mut self, wait: Wait) -> sys::Result<usize> {
        let (epoll, events) = (self.sockets.epoll(), &mut self.events[..]);
        let left = match wait {
            Wait::No => return sys::epoll_wait(epoll, events, 0),
            Wait::Forever => return sys::epoll_wait(epoll, events, -1),
            Wait::Until(moment) => moment - self.clock.now(),
        };
        if left.is_zero() {
            sys::epoll_wait(epoll, events, 0)
        } else if self.precise {
            sys::epoll_pwait2(epoll, events, left)
        } else {
            sys::epoll_wait(epoll, events, millis_ceil(left))
        }
    }
}

/// Rounded up: a turn that ends before its moment would only wait again.
fn millis_ceil(left: Duration) -> i32 {
    let millis = left.as_nanos().div_ceil(1_000_000);
    i32::try_from(millis).unwrap_or(i32::MAX)
}

impl Driver for EpollDriver {
    fn info(&self) -> DriverInfo {
        DriverInfo { name: "epoll", features: if self.precise { vec!["pwait2"] } else { Vec::new() } }
    }

    fn counters(&self) -> DriverCounters {
        DriverCounters { descriptors: self.sockets.open(), ..DriverCounters::default() }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn adopt_listener(&mut self, fd: OwnedFd) -> io::Result<Desc> {
        sys::set_nonblocking(&fd)?;
        Ok(self.sockets.insert(fd, Kind::Listener))
    }

    /// # Panics
    /// When the kernel refuses to watch it: a shard that cannot be woken is none.
    fn watch_wake(&mut self, fd: RawFd) {
        sys::epoll_add(self.sockets.epoll(), fd, sys::IN, WAKE).expect("epoll watches the wake descriptor");
    }

    fn submit(&mut self, key: OpKey, op: Op) -> Token {
        self.in_flight += 1;
        match op {
            Op::Accept { listener } => self.park(key, listener, Job::Accept),
            Op::Connect { to, options } => self.submit_connect(key, &to, options),
            Op::Recv { desc, bulk, once: _ } => {
                if let Some(socket) = self.sockets.get_mut(desc) {
                    socket.burst = bulk;
                }
                self.park(key, desc, Job::Recv)
            }
            Op::Send { desc, buffer, from, to } => self.submit_send(key, desc, buffer, from, to),
            Op::Poll { desc, interest } => self.park(key, desc, Job::Poll(interest)),
            Op::Unacked { desc } => {
                self.submit_unacked(key, desc);
                Token::NONE
            }
            Op::Install { .. } => {
                // Descriptors are real ones here.
                self.finish(key, Outcome::Done);
                Token::NONE
            }
            Op::SendBatch { desc, batch, .. } => self.submit_batch(key, desc, batch),
            Op::SpliceIn { from, pipe, max } => {
                let result = pipe::splice(from.0 as RawFd, pipe.write_fd(), max as usize).map(|n| n as u32);
                self.finish(key, Outcome::Spliced { pipe, result });
                Token::NONE
            }
            Op::SpliceOut { pipe, to, max } => {
                let result = pipe::splice(pipe.read_fd(), to.0 as RawFd, max as usize).map(|n| n as u32);
                self.finish(key, Outcome::Spliced { pipe, result });
                Token::NONE
            }
            Op::Shutdown { desc } => {
                self.submit_shutdown(key, desc);
                Token::NONE
            }
            Op::Close { desc, how } => {
                self.submit_close(key, desc, how);
                Token::NONE
            }
        }
    }

    fn cancel(&mut self, token: Token) {
        let Some(pending) = Key::from_u64(token.0).and_then(|op| self.unpark(op)) else {
            return;
        };
        if matches!(pending.job, Job::Connect) {
            self.sockets.remove(pending.desc);
        }
        self.fail_pending(pending, Errno::CANCELED);
    }

    fn turn(&mut self, wait: Wait, out: &mut Vec<Completion>) -> io::Result<Turn> {
        let pending = !self.ready.is_empty();
        self.spared_wait = pending && !self.spared_wait;
        let woken = match (self.spared_wait, pending) {
            (true, _) => false,
            (false, true) => self.poll(Wait::No)?,
            (false, false) => self.poll(wait)?,
        };
        self.in_flight -= self.ready.iter().filter(|completion| !completion.more).count();
        out.append(&mut self.ready);
        let now = self.clock.now();
        Ok(Turn { now, woken })
    }

    fn splice_in(&mut self, from: Desc, pipe: &Pipe, max: usize) -> Result<usize, Errno> {
        pipe::splice(from.0 as RawFd, pipe.write_fd(), max)
    }

    fn splice_out(&mut self, pipe: &Pipe, to: Desc, max: usize) -> Result<usize, Errno> {
        pipe::splice(pipe.read_fd(), to.0 as RawFd, max)
    }

    fn local_addr(&self, desc: Desc) -> Result<Peer, Errno> {
        addr::local_addr(desc.0 as RawFd)
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }
}
