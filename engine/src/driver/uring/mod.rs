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
mod reap;
mod registered;
mod submit;
#[cfg(test)]
mod tests;
mod writable;

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
use held::{Held, HeldTable, Waits, What};
use io_uring::{cqueue, opcode, squeue, types};
use lane::{Lane, Limit, TABLE_MAX, destination};
use registered::Registered;
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
use on;

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
    // Behind the lanes: the rings let go of this memory before it is freed.
    registered: Registered,
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
            registered: Registered::default(),
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

    /// While buffers are scarce, nobody receives into large ones.
    fn receives_bulk(&self, wanted: bool) -> bool {
        wanted && !self.pool.is_scarce()
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
            registered_bytes: self.registered_bytes(),
            registrations_refused: self.registered.refused,
        }
    }

    fn expect_zero_copy(&mut self, desc: Desc) -> Result<(), Errno> {
        self.register_memory(desc.lane())
    }

    fn lent(&self) -> Option<[u64; 2]> {
        self.lanes.iter().map(Lane::lent_by_class).reduce(|sum, lane| [sum[0] + lane[0], sum[1] + lane[1]])
    }

    fn has_lent(&self, desc: Desc, bulk: bool) -> bool {
        let bulk = self.receives_bulk(bulk);
        self.lanes[desc.lane()].lent_by_class()[usize::from(bulk)] > 0
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
            Op::Recv { desc, bulk, once } => self.recv(key, desc, bulk, once),
            Op::Send { desc, buffer, from, to } => self.send(key, desc, buffer, from, to),
            Op::SendBatch { desc, batch, zero_copy } => self.send_batch(key, desc, batch, zero_copy),
            Op::SpliceIn { from, pipe, max } => self.splice_in_ring(key, from, pipe, max),
            Op::SpliceOut { pipe, to, max } => self.splice_out_ring(key, pipe, to, max),
            Op::Shutdown { desc } => self.shutdown(key, desc),
            Op::Poll { desc, interest } => self.poll(key, desc, interest),
            Op::Unacked { desc } => self.unacked(key, desc),
            Op::Install { desc } => self.install(key, desc),
            Op::Close { desc, how } => self.close(key, desc, how),
        }
    }

    fn cancel(&mut self, token: Token) {
        if token == Token::NONE {
            return;
        }
        let lane = (token.0 >> 58) as usize;
        if self.cancel_waiting(lane, token) {
            return;
        }
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
        self.lanes.iter().any(Lane::has_leftovers) || self.registered.is_open()
    }

    fn shrink(&mut self) {
        self.held.shrink();
        // Before the lanes, whose buffers may now give their pages back.
        self.rest_registered();
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
            mem::forget(mem::take(&mut self.registered));
        }
    }
}

/// SOCKET_URING_OP_SIOCOUTQ: as old as the setting of options, without which there are no direct descriptors.
const SIOCOUTQ: u32 = 1;
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

fn unacked_or_failed(result: Result<u32, Errno>) -> Outcome {
    result.map_or_else(Outcome::Failed, Outcome::Unacked)
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
