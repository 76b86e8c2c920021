//! Memory that zero-copy sends are made from, registered with the rings: the kernel has its pages at hand and need not
//! look them up, pin them and let go of them for every send (IORING_REGISTER_BUFFERS).
//!
//! ```text
//!   a direction expects zero copy ──► region of the pool ──► registered with the lane of its sink
//!                                        │ serves bulk receives first
//!                                        ▼
//!          a batch that lies in it goes as registered, every other one by addresses
//!   a second without such a send ──► unregistered, the region an ordinary part of the pool again
//! ```
//!
//! What is registered stays in memory and counts against RLIMIT_MEMLOCK, for each lane again, unless the process has
//! CAP_IPC_LOCK. So it is one region of bounded size for a shard, paid for from the pool's budget. Where it is refused,
//! zero-copy sends go on by addresses, and that lane is not asked again.

use super::{held::SendHow, *};
use crate::{
    batch::Batch,
    buf::{Class, Region},
};

/// The only entry of a lane's table of registered buffers.
const INDEX: u16 = 0;

/// Of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Registration {
    #[default]
    None,
    Done,
    Refused(Errno),
}

/// Of a shard.
#[derive(Default)]
pub(super) struct Registered {
    region: Option<Region>,
    /// Something was sent without a copy, or is about to be, since the last rest.
    is_used: bool,
    /// Lanes that could not register it.
    pub(super) refused: u64,
}

impl Registered {
    pub(super) fn is_open(&self) -> bool {
        self.region.is_some()
    }

    /// What this lane can send from.
    pub(super) fn of(&self, lane: &Lane) -> Option<&Region> {
        self.region.as_ref().filter(|_| lane.registration == Registration::Done)
    }

    pub(super) fn note(&mut self, how: SendHow) {
        self.is_used |= how != SendHow::Copied;
    }
}

impl UringDriver {
    /// See that the region is registered with a lane.
    ///
    /// # Errors
    /// EOPNOTSUPP where the kernel does not send from it, ENOBUFS where the pool has none, and those of registering:
    /// ENOMEM by RLIMIT_MEMLOCK.
    pub(super) fn register_memory(&mut self, lane: usize) -> Result<(), Errno> {
        match self.lanes[lane].registration {
            Registration::Done => return Ok(()),
            Registration::Refused(errno) => return Err(errno),
            Registration::None if !self.config.features.has(Feature::Registered) => {
                return Err(Errno(libc::EOPNOTSUPP));
            }
            Registration::None => {}
        }
        let result = self.register_region(lane);
        self.lanes[lane].registration = match result {
            Ok(()) => Registration::Done,
            Err(errno) => Registration::Refused(errno),
        };
        self.registered.refused += u64::from(result.is_err());
        result
    }

    fn register_region(&mut self, lane: usize) -> Result<(), Errno> {
        if self.registered.region.is_none() {
            self.registered.region = self.pool.open_region(Class::Medium);
        }
        let Some(region) = &self.registered.region else { return Err(Errno::NO_BUFFERS) };
        self.registered.is_used = true;
        let piece = libc::iovec { iov_base: region.as_ptr().cast_mut().cast(), iov_len: region.bytes() };
        // SAFETY: the region's memory is mapped, with the same pages, until the region is dropped; that is done after
        // every lane has unregistered it or was dropped itself.
        unsafe { self.lanes[lane].ring.submitter().register_buffers(&[piece]) }?;
        Ok(())
    }

    pub(super) fn registered_bytes(&self) -> u64 {
        let lanes = self.lanes.iter().filter(|lane| lane.registration == Registration::Done).count();
        let bytes = self.registered.region.as_ref().map_or(0, Region::bytes);
        (lanes * bytes) as u64
    }

    /// To be called now and then. A region that was not sent from since the last time is given up.
    pub(super) fn rest_registered(&mut self) {
        if mem::take(&mut self.registered.is_used) || self.registered.region.is_none() {
            return;
        }
        let done = self.lanes.iter_mut().filter(|lane| lane.registration == Registration::Done);
        for lane in done {
            if lane.ring.submitter().unregister_buffers().is_err() {
                // The kernel still has these pages; they must remain what they are.
                return;
            }
            lane.registration = Registration::None;
        }
        self.registered.region = None;
    }
}

/// The entry of a vectored send, and what it does with the bytes. `region`: what the lane of `desc` has registered.
pub(super) fn batch_entry(
    desc: Desc,
    batch: &mut Batch,
    zero_copy: bool,
    region: Option<&Region>,
    features: Features,
) -> (squeue::Entry, SendHow) {
    let (header, flags) = (batch.header(), submit::SEND_FLAGS as u32);
    if !zero_copy {
        let entry = on!(desc, |fd| opcode::SendMsg::new(fd, header).flags(flags).build());
        return (entry, SendHow::Copied);
    }
    let is_registered = region.is_some_and(|region| batch.lies_in(region));
    if is_registered && let Some((from, len)) = batch.one_piece() {
        let entry = on!(desc, |fd| opcode::SendZc::new(fd, from, len)
            .buf_index(Some(INDEX))
            .zc_flags(REPORT_ZC_USAGE)
            .flags(submit::SEND_FLAGS)
            .build());
        return (entry, SendHow::ZeroCopyRegistered);
    }
    let (index, how) = if is_registered && features.has(Feature::RegisteredVector) {
        (Some(INDEX), SendHow::ZeroCopyRegistered)
    } else {
        (None, SendHow::ZeroCopy)
    };
    let entry = on!(desc, |fd| opcode::SendMsgZc::new(fd, header)
        .buf_index(index)
        .ioprio(REPORT_ZC_USAGE)
        .flags(flags)
        .build());
    (entry, how)
}
