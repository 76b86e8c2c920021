//! The product's driver: one io_uring a shard, made and used on the shard's own thread.
//!
//! ```text
//!   submit ──► submission queue ──┐                       ┌──► ready ──► Driver::turn hands them out
//!              held table ◄───────┤ enter (once a turn)   │
//!   (memory the kernel looks at)  └──► kernel ──► completion queue: reap
//! ```
//!
//! The user data of an entry says what it is and whose:
//!
//! ```text
//!   63    58 57   54 53        32 31           0
//!  ┌────────┬───────┬────────────┬──────────────┐
//!  │  lane  │ kind  │   index    │  generation  │   of the op (receives) or of the held table (the rest)
//!  └────────┴───────┴────────────┴──────────────┘
//! ```

mod bufring;
mod features;
mod held;
mod lane;
mod probe;
#[cfg(test)]
mod tests;

pub use features::{Feature, Features, UnknownFeature};
pub use probe::{Unavailable, probe};

use super::{
    CloseHow, Completion, Desc, Driver, DriverCounters, DriverInfo, Errno, Interest, Op, OpKey, Outcome, Peer, Token,
    Turn, Wait,
    addr::{self, AddrBuf, LINGER_ZERO, SocketOption},
};
use crate::{
    batch::Batch,
    buf::{Buffer, BufferPool},
    clock::{Clock, Timestamp},
    pipe::{self, Pipe},
    slab::Key,
};
use held::{Held, HeldTable, What};
use io_uring::{cqueue, opcode, squeue, types};
use lane::{Lane, Limit, TABLE_MAX, destination};
use std::{
    io, mem,
    os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
    time::Duration,
};

/// Turns that reap more than this gather completions in their wait …
const GATHER_ABOVE: usize = 16;
/// … until one reaps less than this.
const GATHER_BELOW: usize = 4;
const LANES_MAX: usize = 64;
/// Handing over a full queue fails only while completions pile up; reaping them always helps, so this is never reached.
const PUSH_TRIES_MAX: usize = 1000;

/// Bit 31 of a [`Desc`]: the rest is a real descriptor, not a lane and a slot.
const REAL: u32 = 1 << 31;
const SLOT_BITS: u32 = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Recv = 0,
    Held = 1,
    /// Our own; its completion says nothing (cancels, options of sockets).
    Silent = 2,
    /// The wake descriptor's poll.
    Wake = 3,
    /// The poll of another lane's ring.
    LaneWork = 4,
    /// A receive into the bulk ring.
    BulkRecv = 5,
}

const INDEX_BITS: u32 = 22;

fn user_data(lane: usize, kind: Kind, index: u32, generation: u32) -> u64 {
    debug_assert!(index < 1 << INDEX_BITS, "more operations in flight than user data can name");
    (lane as u64) << 58 | (kind as u64) << 54 | u64::from(index) << 32 | u64::from(generation)
}

fn silent(lane: usize) -> u64 {
    user_data(lane, Kind::Silent, 0, 0)
}

/// The kind of entry, and the key of what it is about as a number: generation above, index below.
fn decode(data: u64) -> (Option<Kind>, u64) {
    let kind = match data >> 54 & 0xf {
        0 => Some(Kind::Recv),
        1 => Some(Kind::Held),
        2 => Some(Kind::Silent),
        3 => Some(Kind::Wake),
        4 => Some(Kind::LaneWork),
        5 => Some(Kind::BulkRecv),
        _ => None,
    };
    let index = data >> 32 & ((1 << INDEX_BITS) - 1);
    let generation = data & 0xffff_ffff;
    (kind, generation << 32 | index)
}

/// A descriptor as the ring takes it.
enum Target {
    Real(RawFd),
    Direct { lane: usize, slot: u32 },
}

impl Desc {
    fn real(fd: RawFd) -> Self {
        Self(REAL | fd.unsigned_abs())
    }

    fn direct(lane: usize, slot: u32) -> Self {
        Self((lane as u32) << SLOT_BITS | slot)
    }

    fn target(self) -> Target {
        if self.0 & REAL != 0 {
            Target::Real((self.0 & !REAL).cast_signed())
        } else {
            Target::Direct { lane: (self.0 >> SLOT_BITS) as usize, slot: self.0 & ((1 << SLOT_BITS) - 1) }
        }
    }

    fn lane(self) -> usize {
        match self.target() {
            Target::Real(_) => 0,
            Target::Direct { lane, .. } => lane,
        }
    }
}

/// Builds an entry for a descriptor of either sort.
macro_rules! on {
    ($desc:expr, |$fd:ident| $build:expr) => {
        match $desc.target() {
            Target::Real(fd) => {
                let $fd = types::Fd(fd);
                $build
            }
            Target::Direct { slot, .. } => {
                let $fd = types::Fixed(slot);
                $build
            }
        }
    };
}

/// The settings of one shard's rings.
#[derive(Clone, Copy, Debug)]
pub struct UringConfig {
    pub features: Features,
    /// Buffers lent to the receive ring at most. A power of two.
    pub ring_buffers: u16,
}

/// See the module's documentation.
pub struct UringDriver {
    lanes: Vec<Lane>,
    held: HeldTable,
    /// Receives whose last completion is not in.
    receives: usize,
    /// Reaped, not yet handed out.
    ready: Vec<Completion>,
    scratch: Vec<cqueue::Entry>,
    config: UringConfig,
    table_max: u32,
    pool: BufferPool,
    clock: Clock,
    /// CLOCK_MONOTONIC at [`Timestamp::START`].
    epoch: Duration,
    wake: Option<RawFd>,
    woken: bool,
    real_open: u64,
    cq_overflows: u64,
    min_wait_turns: u64,
    gather: bool,
    broken: Option<io::Error>,
}

impl UringDriver {
    /// Make the ring; call it on the shard's own thread (SINGLE_ISSUER), after pinning (its memory belongs there).
    ///
    /// # Errors
    /// Those of io_uring_setup and io_uring_register.
    pub fn new(config: UringConfig, pool: BufferPool, clock: Clock) -> io::Result<Self> {
        Self::with_table(config, pool, clock, TABLE_MAX)
    }

    /// With descriptor tables of at most `table_max` entries.
    fn with_table(config: UringConfig, pool: BufferPool, clock: Clock, table_max: u32) -> io::Result<Self> {
        let lane = Lane::open(&config, pool.clone(), table_max)?;
        let epoch = monotonic_now().saturating_sub(Duration::from_nanos(clock.now().as_nanos()));
        Ok(Self {
            lanes: vec![lane],
            held: HeldTable::new(),
            receives: 0,
            ready: Vec::new(),
            scratch: Vec::new(),
            config,
            table_max,
            pool,
            clock,
            epoch,
            wake: None,
            woken: false,
            real_open: 0,
            cq_overflows: 0,
            min_wait_turns: 0,
            gather: false,
            broken: None,
        })
    }

    fn direct(&self) -> bool {
        self.config.features.has(Feature::Direct)
    }

    /// Queue an entry on a lane, reaping where the kernel insists on it.
    fn push(&mut self, lane: usize, entry: &squeue::Entry) {
        for _ in 0..PUSH_TRIES_MAX {
            if self.lanes[lane].push(entry).is_ok() {
                return;
            }
            if let Err(e) = self.lanes[lane].enter_now() {
                self.broken = Some(e);
                return;
            }
            self.reap(lane);
        }
        self.broken = Some(io::Error::other("the submission queue stays full"));
    }

    /// A lane with a free descriptor slot; opens another lane where all are full.
    fn lane_with_slot(&mut self) -> Result<usize, Errno> {
        if let Some(lane) = self.lanes.iter().position(Lane::has_slot) {
            return Ok(lane);
        }
        if self.lanes.len() == LANES_MAX {
            return Err(Errno::TOO_MANY_FILES);
        }
        let mut lane = Lane::open(&self.config, self.pool.clone(), self.table_max)?;
        let signal = lane.signal_work()?;
        let number = self.lanes.len();
        self.lanes.push(lane);
        self.watch_lane(number, signal);
        Ok(number)
    }

    /// Another lane's completions must wake the wait of the first.
    fn watch_lane(&mut self, number: usize, signal: RawFd) {
        let entry = opcode::PollAdd::new(types::Fd(signal), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(user_data(0, Kind::LaneWork, number as u32, 0));
        self.push(0, &entry);
    }

    fn hold(&mut self, lane: usize, key: OpKey, what: What) -> u64 {
        let held = self.held.insert(key, what);
        user_data(lane, Kind::Held, held.index(), held.generation())
    }

    fn fail(&mut self, key: OpKey, errno: Errno) -> Token {
        self.finish(key, Outcome::Failed(errno));
        Token::NONE
    }

    fn finish(&mut self, key: OpKey, outcome: Outcome) {
        self.ready.push(Completion { key, outcome, more: false });
    }
}

/// Submitting, an operation each.
impl UringDriver {
    fn accept(&mut self, key: OpKey, listener: Desc) -> Token {
        let (lane, slot) = match self.slot_for_new() {
            Ok(place) => place,
            Err(errno) => return self.fail(key, errno),
        };
        let mut addr = self.held.take_addr();
        let (addr_ptr, len_ptr) = (addr.as_mut_ptr(), addr.len_mut_ptr());
        let data = self.hold(lane, key, What::Accept { slot, addr });
        let flags = libc::SOCK_NONBLOCK | if slot.is_none() { libc::SOCK_CLOEXEC } else { 0 };
        let entry = on!(listener, |fd| opcode::Accept::new(fd, addr_ptr, len_ptr)
            .file_index(slot.and_then(destination))
            .flags(flags)
            .build());
        self.push(lane, &entry.user_data(data));
        Token(data)
    }

    /// Where a new descriptor goes: a lane and a slot there, or the process's own table.
    fn slot_for_new(&mut self) -> Result<(usize, Option<u32>), Errno> {
        if !self.direct() {
            return Ok((0, None));
        }
        let lane = self.lane_with_slot()?;
        Ok((lane, self.lanes[lane].take_slot()))
    }

    fn connect(&mut self, key: OpKey, to: &super::Target, options: super::StreamOptions) -> Token {
        let opened = AddrBuf::try_from(to).and_then(|addr| Ok((addr, self.open(to, options)?)));
        let (addr, desc) = match opened {
            Ok(opened) => opened,
            Err(errno) => return self.fail(key, errno),
        };
        let mut kept = self.held.take_addr();
        *kept = addr;
        let (addr_ptr, addr_len) = (kept.as_ptr(), kept.len());
        let lane = desc.lane();
        let data = self.hold(lane, key, What::Connect { desc, addr: kept });
        let entry = on!(desc, |fd| opcode::Connect::new(fd, addr_ptr, addr_len).build());
        self.push(lane, &entry.user_data(data));
        Token(data)
    }

    /// An unconnected socket with its options. In the ring if it can be, with a system call where an address must be
    /// bound first.
    fn open(&mut self, to: &super::Target, options: super::StreamOptions) -> Result<Desc, Errno> {
        let (lane, slot) = self.slot_for_new()?;
        let Some(slot) = slot else {
            let fd = addr::open_stream(to, options)?;
            self.real_open += 1;
            return Ok(Desc::real(fd.into_raw_fd()));
        };
        if let super::Target::Ip { from: Some(_), .. } = to {
            let placed = addr::open_stream(to, options).and_then(|fd| self.register(lane, slot, &fd));
            return placed.inspect_err(|_| self.lanes[lane].give_slot(slot));
        }
        self.open_in_ring(lane, slot, to, options);
        Ok(Desc::direct(lane, slot))
    }

    /// # Errors
    /// Those of IORING_REGISTER_FILES_UPDATE.
    fn register(&mut self, lane: usize, slot: u32, fd: &OwnedFd) -> Result<Desc, Errno> {
        self.lanes[lane].ring.submitter().register_files_update(slot, &[fd.as_raw_fd()])?;
        Ok(Desc::direct(lane, slot))
    }

    /// The kernel issues entries in order, and these never block: the connect that follows finds the socket made. If
    /// making it failed, connecting says EBADF.
    fn open_in_ring(&mut self, lane: usize, slot: u32, to: &super::Target, options: super::StreamOptions) {
        let family = match to {
            super::Target::Ip { to, .. } if to.is_ipv4() => libc::AF_INET,
            super::Target::Ip { .. } => libc::AF_INET6,
            super::Target::Unix(_) => libc::AF_UNIX,
        };
        let entry = opcode::Socket::new(family, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0)
            .file_index(destination(slot))
            .build();
        self.push_silent(lane, entry);
        if family != libc::AF_UNIX {
            for option in addr::stream_options(options).into_iter().flatten() {
                self.set_option(lane, slot, option);
            }
        }
    }

    fn push_silent(&mut self, lane: usize, entry: squeue::Entry) {
        self.push(lane, &entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(silent(lane)));
    }

    fn set_option(&mut self, lane: usize, slot: u32, option: SocketOption) {
        let value = static_value(option.value);
        let entry = opcode::SetSockOpt::new(
            types::Fixed(slot),
            option.level.unsigned_abs(),
            option.name.unsigned_abs(),
            std::ptr::from_ref(value).cast(),
            size_of::<i32>() as u32,
        );
        self.push_silent(lane, entry.build());
    }

    fn recv(&mut self, key: OpKey, desc: Desc, bulk: bool) -> Token {
        let (lane, index) = (desc.lane(), key.index());
        if index >= 1 << INDEX_BITS {
            return self.fail(key, Errno(libc::ENOMEM));
        }
        let bundle = bulk && self.config.features.has(Feature::Bundle);
        let group = match self.lanes[lane].group(bulk, &self.config, &self.pool) {
            Ok(group) => group,
            Err(error) => return self.fail(key, error.into()),
        };
        let kind = if bulk { Kind::BulkRecv } else { Kind::Recv };
        let data = user_data(lane, kind, index, key.generation());
        let entry = if bundle {
            on!(desc, |fd| opcode::RecvMultiBundle::new(fd, group).build())
        } else {
            on!(desc, |fd| opcode::RecvMulti::new(fd, group).build())
        };
        self.receives += 1;
        self.push(lane, &entry.user_data(data));
        Token(data)
    }

    fn send(&mut self, key: OpKey, desc: Desc, buffer: Buffer, from: u32, to: u32) -> Token {
        debug_assert!(from <= to && to as usize <= buffer.len(), "a range outside the buffer");
        let lane = desc.lane();
        let data_ptr = buffer[from as usize..].as_ptr();
        let data = self.hold(lane, key, What::Send { buffer });
        // WAITALL: the kernel goes on by itself after a short send.
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let entry = on!(desc, |fd| opcode::Send::new(fd, data_ptr, to - from).flags(flags).build());
        self.push(lane, &entry.user_data(data));
        Token(data)
    }

    fn send_batch(&mut self, key: OpKey, desc: Desc, mut batch: Box<Batch>, zero_copy: bool) -> Token {
        let lane = desc.lane();
        let header = batch.header();
        let data = self.hold(lane, key, What::Batch { batch });
        let flags = (libc::MSG_NOSIGNAL | libc::MSG_WAITALL) as u32;
        let entry = if zero_copy {
            on!(desc, |fd| opcode::SendMsgZc::new(fd, header).ioprio(REPORT_ZC_USAGE).flags(flags).build())
        } else {
            on!(desc, |fd| opcode::SendMsg::new(fd, header).flags(flags).build())
        };
        self.push(lane, &entry.user_data(data));
        Token(data)
    }

    fn splice_in_ring(&mut self, key: OpKey, from: Desc, pipe: Box<Pipe>, max: u32) -> Token {
        let (lane, write) = (from.lane(), types::Fd(pipe.write_fd()));
        let data = self.hold(lane, key, What::Splice { pipe });
        let entry = on!(from, |fd| opcode::Splice::new(fd, -1, write, -1, max).flags(pipe::FLAGS).build());
        self.push(lane, &entry.user_data(data));
        Token(data)
    }

    fn splice_out_ring(&mut self, key: OpKey, pipe: Box<Pipe>, to: Desc, max: u32) -> Token {
        let (lane, read) = (to.lane(), types::Fd(pipe.read_fd()));
        let data = self.hold(lane, key, What::Splice { pipe });
        let entry = on!(to, |fd| opcode::Splice::new(read, -1, fd, -1, max).flags(pipe::FLAGS).build());
        self.push(lane, &entry.user_data(data));
        Token(data)
    }

    /// IORING_OP_SHUTDOWN always goes to a worker thread, which costs more than the rest of a short connection. So a
    /// direct descriptor is installed for a moment, shut down by a plain system call, and closed.
    fn shutdown(&mut self, key: OpKey, desc: Desc) -> Token {
        match (self.real_fd(desc), desc.target()) {
            (Ok(fd), _) | (_, Target::Real(fd)) => {
                self.finish(key, done_or_failed(addr::shutdown_write(fd)));
                Token::NONE
            }
            (_, Target::Direct { lane, slot }) => {
                let data = self.hold(lane, key, What::Shutdown { desc });
                let entry = opcode::FixedFdInstall::new(types::Fixed(slot), 0).build().user_data(data);
                self.push(lane, &entry);
                Token(data)
            }
        }
    }

    fn poll(&mut self, key: OpKey, desc: Desc, interest: Interest) -> Token {
        let lane = desc.lane();
        let data = self.hold(lane, key, What::Poll);
        let events = match interest {
            Interest::Read => libc::POLLIN | libc::POLLRDHUP,
            Interest::Write => libc::POLLOUT,
        };
        let entry = on!(desc, |fd| opcode::PollAdd::new(fd, events as u32).build());
        self.push(lane, &entry.user_data(data));
        Token(data)
    }

    fn install(&mut self, key: OpKey, desc: Desc) -> Token {
        match desc.target() {
            Target::Direct { lane, slot } if !self.lanes[lane].installed.contains_key(&slot) => {
                let data = self.hold(lane, key, What::Install { desc });
                let entry = opcode::FixedFdInstall::new(types::Fixed(slot), 0).build().user_data(data);
                self.push(lane, &entry);
                Token(data)
            }
            _ => {
                self.finish(key, Outcome::Done);
                Token::NONE
            }
        }
    }

    /// The socket closes for its peer only when its last descriptor does, so the installed one goes first.
    fn uninstall(&mut self, desc: Desc) {
        if let Target::Direct { lane, slot } = desc.target() {
            self.lanes[lane].installed.remove(&slot);
        }
    }

    /// The real descriptor behind a descriptor.
    fn real_fd(&self, desc: Desc) -> Result<RawFd, Errno> {
        match desc.target() {
            Target::Real(fd) => Ok(fd),
            Target::Direct { lane, slot } => {
                self.lanes[lane].installed.get(&slot).map(AsRawFd::as_raw_fd).ok_or(Errno(libc::EBADF))
            }
        }
    }

    fn close(&mut self, key: OpKey, desc: Desc, how: CloseHow) -> Token {
        let lane = desc.lane();
        self.uninstall(desc);
        if how == CloseHow::Reset {
            match desc.target() {
                // An error means that there is no connection to reset.
                Target::Real(fd) => drop(addr::set_linger_zero(fd)),
                Target::Direct { slot, .. } => {
                    let linger = std::ptr::from_ref(&LINGER_ZERO).cast();
                    let entry = opcode::SetSockOpt::new(
                        types::Fixed(slot),
                        libc::SOL_SOCKET as u32,
                        libc::SO_LINGER as u32,
                        linger,
                        size_of::<libc::linger>() as u32,
                    );
                    self.push_silent(lane, entry.build());
                }
            }
        }
        let data = self.hold(lane, key, What::Close { desc });
        let entry = on!(desc, |fd| opcode::Close::new(fd).build());
        self.push(lane, &entry.user_data(data));
        Token(data)
    }
}

/// Reaping: from completion queues to [`Completion`]s.
impl UringDriver {
    fn reap(&mut self, lane: usize) -> usize {
        let mut scratch = mem::take(&mut self.scratch);
        let queue = self.lanes[lane].ring.completion();
        self.cq_overflows = self.cq_overflows.max(u64::from(queue.overflow()));
        scratch.extend(queue);
        let count = scratch.len();
        for entry in scratch.drain(..) {
            self.handle(lane, &entry);
        }
        self.scratch = scratch;
        count
    }

    fn handle(&mut self, lane: usize, entry: &cqueue::Entry) {
        let (kind, number) = decode(entry.user_data());
        match kind {
            Some(Kind::Recv) => self.received(lane, OpKey(number), entry),
            Some(Kind::BulkRecv) => self.received_bulk(lane, OpKey(number), entry),
            Some(Kind::Held) => self.held_done(lane, number, entry),
            Some(Kind::Wake) => {
                self.woken = true;
                if !cqueue::more(entry.flags()) {
                    self.arm_wake();
                }
            }
            Some(Kind::LaneWork) => {
                let number = OpKey(number).index() as usize;
                let signal = self.lanes.get(number).and_then(Lane::signal);
                if let Some(signal) = signal.filter(|_| !cqueue::more(entry.flags())) {
                    self.watch_lane(number, signal);
                }
            }
            Some(Kind::Silent) => {}
            None => debug_assert!(false, "a completion with user data that we never gave: {entry:?}"),
        }
    }

    fn received(&mut self, lane: usize, key: OpKey, entry: &cqueue::Entry) {
        let (result, flags) = (entry.result(), entry.flags());
        let more = cqueue::more(flags);
        let bufs = &mut self.lanes[lane].bufs;
        let buffer = cqueue::buffer_select(flags).and_then(|id| bufs.take(id));
        if result == -libc::ENOBUFS {
            bufs.ran_dry();
        }
        let outcome = match (result, buffer) {
            (0, _) => Outcome::Eof,
            (len, Some(buffer)) if len > 0 => Outcome::Received { buffer, len: len.unsigned_abs() },
            (len, None) if len > 0 => Outcome::Failed(Errno(libc::EIO)),
            (errno, _) => Outcome::Failed(Errno(-errno)),
        };
        if !more {
            self.receives -= 1;
        }
        self.ready.push(Completion { key, outcome, more });
    }

    /// A completion of a bundle names its first buffer; the next are those that follow it in the ring.
    fn received_bulk(&mut self, lane: usize, key: OpKey, entry: &cqueue::Entry) {
        let (result, flags) = (entry.result(), entry.flags());
        let more = cqueue::more(flags);
        let Some(bufs) = &mut self.lanes[lane].bulk else { return };
        if result == -libc::ENOBUFS {
            bufs.ran_dry();
        }
        if !more {
            self.receives -= 1;
        }
        let mut left = result;
        let mut next = cqueue::buffer_select(flags);
        while left > 0
            && let Some(id) = next
        {
            next = bufs.following(id);
            let Some(buffer) = bufs.take(id) else { break };
            let len = left.unsigned_abs().min(buffer.len() as u32);
            left -= len.cast_signed();
            let outcome = Outcome::Received { buffer, len };
            self.ready.push(Completion { key, outcome, more: more || left > 0 });
        }
        if result > 0 {
            debug_assert_eq!(left, 0, "a bundle of more bytes than its buffers hold");
            return;
        }
        // An end may name a buffer too; it is lent again.
        drop(next.and_then(|id| bufs.take(id)));
        let outcome = if result == 0 { Outcome::Eof } else { Outcome::Failed(Errno(-result)) };
        self.ready.push(Completion { key, outcome, more });
    }

    fn held_done(&mut self, lane: usize, number: u64, entry: &cqueue::Entry) {
        let result = entry.result();
        let known = Key::from_u64(number).and_then(|key| Some((key, self.held.get_mut(key)?)));
        let Some((held_key, held)) = known else {
            debug_assert!(false, "a completion of an operation that has ended");
            return;
        };
        if let What::Shutdown { desc } = held.what
            && result < 0
            && result != -libc::ECANCELED
        {
            held.what = What::ShutdownByRing;
            let data = user_data(lane, Kind::Held, held_key.index(), held_key.generation());
            let entry = on!(desc, |fd| opcode::Shutdown::new(fd, libc::SHUT_WR).build());
            self.push(lane, &entry.user_data(data));
            return;
        }
        if let What::Batch { .. } = held.what
            && cqueue::more(entry.flags())
        {
            // A zero-copy send: the kernel looks at the bytes until its notification.
            let (key, result) = (held.key, sent(result));
            self.ready.push(Completion { key, outcome: Outcome::BatchSent { batch: None, result }, more: true });
            return;
        }
        let Some(Held { key, what }) = self.held.remove(held_key) else { return };
        if let What::Batch { batch } = what {
            let outcome = if cqueue::notif(entry.flags()) {
                Outcome::Released { batch, copied: result & ZC_COPIED != 0 }
            } else {
                Outcome::BatchSent { batch: Some(batch), result: sent(result) }
            };
            return self.finish(key, outcome);
        }
        let errno = (result < 0).then(|| Errno(-result));
        if let Some(outcome) = self.outcome(what, lane, result, errno)
            && key != OpKey::INTERNAL
        {
            self.finish(key, outcome);
        }
    }

    fn outcome(&mut self, what: What, lane: usize, result: i32, errno: Option<Errno>) -> Option<Outcome> {
        Some(match (what, errno) {
            (What::Accept { slot, addr }, None) => {
                let peer = addr.peer();
                self.held.give_addr(addr);
                let desc = match slot {
                    Some(slot) => Desc::direct(lane, slot),
                    None => self.count_real(Desc::real(result)),
                };
                Outcome::Accepted { desc, peer }
            }
            (What::Accept { slot, addr }, Some(errno)) => {
                self.held.give_addr(addr);
                if let Some(slot) = slot {
                    self.lanes[lane].give_slot(slot);
                }
                Outcome::Failed(errno)
            }
            (What::Connect { desc, addr }, None) => {
                self.held.give_addr(addr);
                Outcome::Connected(desc)
            }
            (What::Connect { desc, addr }, Some(errno)) => {
                self.held.give_addr(addr);
                self.close(OpKey::INTERNAL, desc, CloseHow::Graceful);
                Outcome::Failed(errno)
            }
            (What::Send { buffer }, None) => Outcome::Sent { buffer, sent: result.unsigned_abs() },
            (What::Send { buffer }, Some(errno)) => Outcome::SendFailed { buffer, errno },
            (What::Shutdown { .. }, None) => {
                // SAFETY: FIXED_FD_INSTALL has just given us this descriptor; nobody else knows it.
                let fd = unsafe { OwnedFd::from_raw_fd(result) };
                done_or_failed(addr::shutdown_write(fd.as_raw_fd()))
            }
            (What::Splice { pipe }, _) => Outcome::Spliced { pipe, result: sent(result) },
            (What::Batch { batch }, _) => Outcome::BatchSent { batch: Some(batch), result: sent(result) },
            (What::ShutdownByRing | What::Poll, None) => Outcome::Done,
            (What::Install { desc }, None) => {
                // SAFETY: FIXED_FD_INSTALL has just given us this descriptor; nobody else knows it.
                let fd = unsafe { OwnedFd::from_raw_fd(result) };
                self.keep_installed(desc, fd);
                Outcome::Done
            }
            (What::Shutdown { .. } | What::ShutdownByRing | What::Poll | What::Install { .. }, Some(errno)) => {
                Outcome::Failed(errno)
            }
            (What::Close { desc }, _) => {
                self.closed(desc);
                Outcome::Done
            }
        })
    }

    fn keep_installed(&mut self, desc: Desc, fd: OwnedFd) {
        if let Target::Direct { lane, slot } = desc.target() {
            self.lanes[lane].installed.insert(slot, fd);
        }
    }

    fn count_real(&mut self, desc: Desc) -> Desc {
        self.real_open += 1;
        desc
    }

    fn closed(&mut self, desc: Desc) {
        match desc.target() {
            Target::Real(_) => self.real_open = self.real_open.saturating_sub(1),
            Target::Direct { lane, slot } => self.lanes[lane].give_slot(slot),
        }
    }

    fn arm_wake(&mut self) {
        let Some(fd) = self.wake else { return };
        let entry = opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32).multi(true).build().user_data(user_data(
            0,
            Kind::Wake,
            0,
            0,
        ));
        self.push(0, &entry);
    }

    fn limit(&self, wait: Wait) -> Option<Limit> {
        let Wait::Until(deadline) = wait else { return None };
        let deadline = Duration::from_nanos(deadline.as_nanos());
        Some(if self.config.features.has(Feature::MinWait) {
            Limit::At(self.epoch + deadline)
        } else {
            Limit::For(deadline.saturating_sub(Duration::from_nanos(self.clock.now().as_nanos())))
        })
    }
}

impl Driver for UringDriver {
    fn info(&self) -> DriverInfo {
        self.config.features.info()
    }

    fn counters(&self) -> DriverCounters {
        DriverCounters {
            descriptors: self.real_open + self.lanes.iter().map(|l| u64::from(l.slots_in_use())).sum::<u64>(),
            cq_overflows: self.cq_overflows,
            min_wait_turns: self.min_wait_turns,
            ring_buffers: self.lanes.iter().map(Lane::lent).sum(),
        }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn adopt_listener(&mut self, fd: OwnedFd) -> io::Result<Desc> {
        Ok(self.count_real(Desc::real(fd.into_raw_fd())))
    }

    fn watch_wake(&mut self, fd: RawFd) {
        self.wake = Some(fd);
        self.arm_wake();
    }

    fn submit(&mut self, key: OpKey, op: Op) -> Token {
        match op {
            Op::Accept { listener } => self.accept(key, listener),
            Op::Connect { to, options } => self.connect(key, &to, options),
            Op::Recv { desc, bulk } => self.recv(key, desc, bulk),
            Op::Send { desc, buffer, from, to } => self.send(key, desc, buffer, from, to),
            Op::SendBatch { desc, batch, zero_copy } => self.send_batch(key, desc, batch, zero_copy),
            Op::SpliceIn { from, pipe, max } => self.splice_in_ring(key, from, pipe, max),
            Op::SpliceOut { pipe, to, max } => self.splice_out_ring(key, pipe, to, max),
            Op::Shutdown { desc } => self.shutdown(key, desc),
            Op::Poll { desc, interest } => self.poll(key, desc, interest),
            Op::Install { desc } => self.install(key, desc),
            Op::Close { desc, how } => self.close(key, desc, how),
        }
    }

    fn cancel(&mut self, token: Token) {
        if token == Token::NONE {
            return;
        }
        let lane = (token.0 >> 58) as usize;
        self.push_silent(lane, opcode::AsyncCancel::new(token.0).build());
    }

    fn turn(&mut self, wait: Wait, out: &mut Vec<Completion>) -> io::Result<Turn> {
        for lane in &mut self.lanes {
            lane.start_turn();
        }
        let mut count = 0;
        for number in 1..self.lanes.len() {
            self.lanes[number].enter_now()?;
            count += self.reap(number);
        }
        // Whatever is known already must not wait for what is not.
        if wait == Wait::No || count > 0 || !self.ready.is_empty() {
            self.lanes[0].enter_now()?;
        } else {
            let gather = self.gather && self.config.features.has(Feature::MinWait);
            self.min_wait_turns += u64::from(gather);
            let limit = self.limit(wait);
            self.lanes[0].enter_wait(limit, gather)?;
        }
        count += self.reap(0);
        self.gather = count > GATHER_ABOVE || (self.gather && count >= GATHER_BELOW);
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        out.append(&mut self.ready);
        Ok(Turn { now: self.clock.now(), woken: mem::take(&mut self.woken) })
    }

    fn splice_in(&mut self, from: Desc, pipe: &Pipe, max: usize) -> Result<usize, Errno> {
        pipe::splice(self.real_fd(from)?, pipe.write_fd(), max)
    }

    fn splice_out(&mut self, pipe: &Pipe, to: Desc, max: usize) -> Result<usize, Errno> {
        pipe::splice(pipe.read_fd(), self.real_fd(to)?, max)
    }

    fn local_addr(&self, desc: Desc) -> Result<Peer, Errno> {
        addr::local_addr(self.real_fd(desc)?)
    }

    fn in_flight(&self) -> usize {
        self.held.len() + self.receives + self.ready.len()
    }

    fn has_leftovers(&self) -> bool {
        self.lanes.iter().any(Lane::has_leftovers)
    }

    fn shrink(&mut self) {
        self.held.shrink();
        for lane in &mut self.lanes {
            lane.rest();
        }
        if self.ready.is_empty() {
            self.ready = Vec::new();
            self.scratch = Vec::new();
        }
    }
}

impl Drop for UringDriver {
    /// A shard drains before it drops its driver. If it could not (a broken ring), what the kernel may still look at
    /// is leaked rather than freed.
    fn drop(&mut self) {
        if self.held.len() + self.receives > 0 {
            mem::forget(mem::replace(&mut self.held, HeldTable::new()));
            mem::forget(mem::take(&mut self.lanes));
        }
    }
}

/// The kernel tells in the notification whether it copied.
const REPORT_ZC_USAGE: u16 = 1 << 3;
/// Bit of a notification's result: it did.
const ZC_COPIED: i32 = i32::MIN;

fn sent(result: i32) -> Result<u32, Errno> {
    u32::try_from(result).map_err(|_| Errno(-result))
}

fn done_or_failed(result: Result<(), Errno>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(errno) => Outcome::Failed(errno),
    }
}

/// A copy of an option's value that outlives every entry pointing to it. The values are switches and whole seconds out
/// of the configuration, so few ever differ.
fn static_value(value: i32) -> &'static i32 {
    use std::{collections::HashMap, sync::Mutex};
    static ONE: i32 = 1;
    static OTHERS: Mutex<Option<HashMap<i32, &'static i32>>> = Mutex::new(None);
    if value == 1 {
        return &ONE;
    }
    thread_local!(static LAST: std::cell::Cell<Option<&'static i32>> = const { std::cell::Cell::new(None) });
    if let Some(last) = LAST.get()
        && *last == value
    {
        return last;
    }
    // Not on the request path: a shard comes here once for every value that it has not used last.
    let mut others = OTHERS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let kept = others.get_or_insert_default().entry(value).or_insert_with(|| Box::leak(Box::new(value)));
    LAST.set(Some(kept));
    kept
}

fn monotonic_now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes to the timespec that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
