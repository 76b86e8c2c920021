//! One ring with its descriptor table and its receive ring.
//!
//! A shard starts with one lane. The kernel lets no descriptor table be larger than RLIMIT_NOFILE, so when a table is
//! full the shard opens another lane: that is how 50,000 connections fit where `ulimit -n` is 20,000.

use super::registered::Registration;
use super::{
    UringConfig,
    bufring::BufRing,
    features::{Feature, Features},
};
use crate::buf::{BufferPool, Class};
use io_uring::{
    EnterFlags, IoUring, squeue,
    types::{DestinationSlot, SubmitArgs, Timespec},
};
use std::{
    collections::HashMap,
    io,
    os::fd::{AsRawFd, OwnedFd, RawFd},
    time::Duration,
};

const SQ_ENTRIES: u32 = 1024;
const CQ_ENTRIES: u32 = 4096;
/// A table of this size is enough for one lane; the next lane is cheap.
pub(super) const TABLE_MAX: u32 = 32_768;
/// Buffer groups.
const SMALL: u16 = 0;
const BULK: u16 = 1;
/// A bulk ring has so many times fewer buffers, which are so many times larger.
const BULK_SHARE: u16 = 8;
/// Where one wait under load gathers completions: at most this long, for at most so many.
const MIN_WAIT_MICROS: u32 = 50;
const MIN_WAIT_WANT: usize = 32;

pub(super) struct Lane {
    // Declared first, dropped first: the kernel lets go of the buffers before they are freed.
    pub(super) ring: IoUring,
    pub(super) bufs: BufRing,
    /// Larger buffers, for bulk receives; made when the first one is asked for.
    pub(super) bulk: Option<BufRing>,
    /// Free entries of the descriptor table, the next one last. Empty where direct descriptors are off.
    free: Vec<u32>,
    pub(super) table_size: u32,
    /// Real descriptors beside direct ones, by slot: what system calls need.
    pub(super) installed: HashMap<u32, OwnedFd>,
    /// Whether the memory for zero-copy sends is registered with this ring.
    pub(super) registration: Registration,
    features: Features,
    /// Counts up whenever the kernel has work for this lane.
    signal: Option<OwnedFd>,
}

/// Make a ring with the flags we insist on. Returns whether NO_SQARRAY was taken too.
///
/// SINGLE_ISSUER and DEFER_TASKRUN: completions are worked off by this thread when it asks for them, not in whatever it
/// is doing; SUBMIT_ALL: a bad entry does not strand those behind it.
pub(super) fn build_ring(no_sqarray: bool, sq: u32, cq: u32) -> io::Result<(IoUring, bool)> {
    let build = |no_sqarray: bool| {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(cq).setup_submit_all().setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
        if no_sqarray {
            builder.setup_no_sqarray();
        }
        builder.build(sq)
    };
    if no_sqarray && let Ok(ring) = build(true) {
        return Ok((ring, true));
    }
    build(false).map(|ring| (ring, false))
}

impl Lane {
    pub(super) fn open(config: &UringConfig, pool: BufferPool, table_max: u32) -> io::Result<Self> {
        let features = config.features;
        let (ring, _) = build_ring(features.has(Feature::NoSqArray), SQ_ENTRIES, CQ_ENTRIES)?;
        let bufs = BufRing::register(&ring, SMALL, config.ring_buffers, Class::Small, pool)?;
        let mut lane = Self {
            ring,
            bufs,
            bulk: None,
            free: Vec::new(),
            table_size: 0,
            installed: HashMap::new(),
            registration: Registration::default(),
            features,
            signal: None,
        };
        if features.has(Feature::Direct) {
            lane.register_table(table_max)?;
        }
        Ok(lane)
    }

    fn register_table(&mut self, table_max: u32) -> io::Result<()> {
        let size = u32::try_from(crate::os::nofile_limit()).unwrap_or(table_max).min(table_max);
        self.ring.submitter().register_files_sparse(size)?;
        self.free = (0..size).rev().collect();
        self.table_size = size;
        Ok(())
    }

    /// The buffer group of a receive.
    ///
    /// # Errors
    /// Those of registering the bulk ring.
    pub(super) fn group(&mut self, bulk: bool, config: &UringConfig, pool: &BufferPool) -> io::Result<u16> {
        if !bulk {
            return Ok(SMALL);
        }
        if self.bulk.is_none() {
            let size = (config.ring_buffers / BULK_SHARE).max(16);
            self.bulk = Some(BufRing::register(&self.ring, BULK, size, Class::Medium, pool.clone())?);
        }
        Ok(BULK)
    }

    pub(super) fn start_turn(&mut self) {
        self.bufs.start_turn();
        if let Some(bulk) = &mut self.bulk {
            bulk.start_turn();
        }
    }

    pub(super) fn rest(&mut self) {
        self.bufs.rest();
        if let Some(bulk) = &mut self.bulk {
            bulk.rest();
        }
    }

    pub(super) fn has_leftovers(&self) -> bool {
        self.bufs.has_leftovers() || self.bulk.as_ref().is_some_and(BufRing::has_leftovers)
    }

    /// Buffers lent to the kernel.
    pub(super) fn lent(&self) -> u64 {
        self.lent_by_class().iter().sum()
    }

    /// Small ones, and those for bulk.
    pub(super) fn lent_by_class(&self) -> [u64; 2] {
        [u64::from(self.bufs.lent()), self.bulk.as_ref().map_or(0, |b| u64::from(b.lent()))]
    }

    /// Have an eventfd signalled when this lane has work. Polling the ring itself would not do: with DEFER_TASKRUN,
    /// work that waits to be run wakes nobody but who waits in this very ring.
    ///
    /// # Errors
    /// Those of making and registering it.
    pub(super) fn signal_work(&mut self) -> io::Result<RawFd> {
        let signal = crate::os::eventfd()?;
        let fd = signal.as_raw_fd();
        self.ring.submitter().register_eventfd(fd)?;
        self.signal = Some(signal);
        Ok(fd)
    }

    pub(super) fn signal(&self) -> Option<RawFd> {
        self.signal.as_ref().map(AsRawFd::as_raw_fd)
    }

    pub(super) fn take_slot(&mut self) -> Option<u32> {
        self.free.pop()
    }

    pub(super) fn give_slot(&mut self, slot: u32) {
        debug_assert!(!self.free.contains(&slot) || self.free.len() > 64, "slot {slot} freed twice");
        self.free.push(slot);
    }

    pub(super) fn has_slot(&self) -> bool {
        !self.free.is_empty()
    }

    pub(super) fn slots_in_use(&self) -> u32 {
        self.table_size - self.free.len() as u32
    }

    /// Queue one entry; hands the queue to the kernel first where it is full.
    ///
    /// # Errors
    /// Those of the kernel refusing the queue. EBUSY is none: it means that completions must be reaped first, which
    /// the caller does.
    pub(super) fn push(&mut self, entry: &squeue::Entry) -> Result<(), NeedsReap> {
        for _ in 0..2 {
            // SAFETY: what the entry points to is owned by the driver's table of held memory until its completion.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            match self.ring.submit() {
                Ok(_) => {}
                Err(e) if e.raw_os_error() == Some(libc::EINTR) => {}
                Err(_) => return Err(NeedsReap),
            }
        }
        Err(NeedsReap)
    }

    /// Submit; do not wait; run the work that completions have deferred. No call where there is nothing to do.
    pub(super) fn enter_now(&mut self) -> io::Result<()> {
        let sq = self.ring.submission();
        let (queued, work) = (sq.len(), sq.taskrun() || sq.cq_overflow());
        drop(sq);
        if queued == 0 && !work {
            return Ok(());
        }
        forgive(self.enter(queued, EnterFlags::GETEVENTS))
    }

    fn enter(&self, queued: usize, flags: EnterFlags) -> io::Result<usize> {
        // SAFETY: no argument is passed; everything queued obeys `push`.
        unsafe { self.ring.submitter().enter::<libc::sigset_t>(queued as u32, 0, flags.bits(), None) }
    }

    /// Submit and wait for a completion, at most `limit`.
    pub(super) fn enter_wait(&mut self, limit: Option<Limit>, gather: bool) -> io::Result<()> {
        let flags = match limit {
            Some(Limit::At(_)) => EnterFlags::ABS_TIMER,
            _ => EnterFlags::empty(),
        };
        let flags = if self.features.has(Feature::NoIowait) { flags | EnterFlags::NO_IOWAIT } else { flags };
        let time = limit.map(|l| match l {
            Limit::At(t) | Limit::For(t) => Timespec::from(t),
        });
        let args = SubmitArgs::new();
        let args = if gather { args.min_wait_usec(MIN_WAIT_MICROS) } else { args };
        let want = if gather { MIN_WAIT_WANT } else { 1 };
        let submitter = self.ring.submitter();
        let result = match &time {
            Some(time) => submitter.submit_with_args_and_flags(want, &args.timespec(time), flags),
            None => submitter.submit_with_args_and_flags(want, &args, flags),
        };
        forgive(result)
    }
}

/// When a wait ends at the latest.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    /// This moment of CLOCK_MONOTONIC.
    At(Duration),
    /// After so long.
    For(Duration),
}

/// The submission queue is full and the kernel takes nothing before its completions are reaped.
#[derive(Debug)]
pub(super) struct NeedsReap;

/// Endings of a wait that are not errors: a signal, the time limit, and completions that must be reaped first.
fn forgive(result: io::Result<usize>) -> io::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN)) => Ok(()),
        Err(e) => Err(e),
    }
}

/// A direct descriptor's slot as a destination.
pub(super) fn destination(slot: u32) -> Option<DestinationSlot> {
    DestinationSlot::try_from_slot_target(slot).ok()
}
