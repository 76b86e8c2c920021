//! The rungs of the ladder: ways to move one direction's bytes. Each has a file and knows nothing of the others.
//!
//! A rung moves bytes from a source to a sink in steps that never block. What it holds (buffers, a pipe) it holds only
//! while bytes are in it.

mod copy;
mod gather;
mod leaving;
mod splice;
mod uring_splice;

pub(super) use copy::Copy;
pub(super) use gather::{Gather, ZeroCopy, ZeroCopyReports};
pub(super) use leaving::{Leaving, Left};
pub(crate) use splice::Splice;
pub(super) use uring_splice::UringSplice;

use balance_engine::driver::Errno;

/// What one step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something was done; another step may do more.
    Moved { sent: u32 },
    /// A socket is waited for.
    Waiting,
    /// The source has closed its write half, and all of its bytes have been sent on.
    SourceEnded,
    /// The source was reset.
    SourceReset,
    /// The sink takes no more, and why.
    SinkBroken(Errno),
}
