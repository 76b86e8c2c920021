//! splice(2) from the shard's thread through a pooled pipe: bytes never come to user space.
//!
//! ```text
//!   source readable ──► splice into the pipe ──► splice into the sink ──► pipe empty: given back
//!                                                   │ sink refuses
//!                                                   ▼
//!                                           wait for the sink; the source is not armed meanwhile
//! ```
//!
//! Why not IORING_OP_SPLICE: the kernel hands every one to a worker thread.

use super::Step;
use balance_engine::{
    driver::{Errno, Interest},
    net::{Readiness, Socket, splice_in, splice_out},
    pipe::{Pipe, PipePool},
};
use std::task::{Context, Poll};

pub(crate) struct Splice {
    pipes: PipePool,
    pipe: Option<Pipe>,
    /// Bytes in the pipe.
    filled: usize,
    /// So many bytes may still be read: what is behind them is something else.
    left: u64,
    readable: Readiness,
    writable: Readiness,
    /// What the last read brought …
    read: usize,
    /// … and whether it found nothing more behind that.
    dry: bool,
    /// The last write took less than was there. Its kernel loop may have met a reset after the bytes that it reports,
    /// and have taken it off the socket.
    short: bool,
    /// A pipe was refused; copying must go on.
    pub(crate) refused: bool,
}

impl Splice {
    /// Until the end of the source.
    pub(crate) fn new(source: &Socket) -> Self {
        Self::limited(source, u64::MAX)
    }

    /// So many bytes and no more.
    pub(crate) fn limited(source: &Socket, bytes: u64) -> Self {
        let handle = source.handle();
        Self {
            pipes: handle.pipes().clone(),
            pipe: None,
            filled: 0,
            left: bytes,
            readable: Readiness::new(handle, Interest::Read),
            writable: Readiness::new(handle, Interest::Write),
            read: 0,
            dry: false,
            short: false,
            refused: false,
        }
    }

    /// Nothing is in the pipe: the rung can be left without losing a byte.
    pub(crate) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Bytes that are still to be read.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    pub(in crate::l4) fn is_in_doubt(&self) -> bool {
        self.short
    }

    /// One read and one write at most. `read` is set to what a read brought that found nothing more behind it.
    pub(crate) fn step(
        &mut self,
        source: &Socket,
        sink: &Socket,
        read: &mut Option<u32>,
        context: &mut Context<'_>,
    ) -> Step {
        if self.filled == 0 && self.left == 0 {
            return Step::Waiting;
        }
        if self.filled == 0 {
            match self.fill(source, context) {
                Step::Moved { .. } => {}
                other => return other,
            }
        }
        match self.empty(sink, context) {
            Step::Moved { sent } => {
                if self.dry && self.filled == 0 {
                    *read = Some(u32::try_from(self.read).unwrap_or(u32::MAX));
                }
                Step::Moved { sent }
            }
            other => other,
        }
    }

    fn fill(&mut self, source: &Socket, context: &mut Context<'_>) -> Step {
        if self.readable.is_armed() && self.readable.poll(source, context).is_pending() {
            return Step::Waiting;
        }
        let left = self.left;
        let Some(pipe) = self.borrow() else {
            self.refused = true;
            return Step::Waiting;
        };
        let size = pipe.size();
        let max = usize::try_from(left).map_or(size, |left| size.min(left));
        match splice_in(source, pipe, max) {
            Ok(0) => {
                self.give_back();
                Step::SourceEnded
            }
            Ok(bytes) => {
                self.filled = bytes;
                self.read = bytes;
                self.left -= bytes as u64;
                self.dry = bytes < max;
                if bytes == size
                    && let Some(pipe) = &mut self.pipe
                {
                    self.pipes.grow(pipe);
                }
                Step::Moved { sent: 0 }
            }
            Err(Errno::AGAIN) => {
                self.give_back();
                match self.readable.poll(source, context) {
                    Poll::Pending => Step::Waiting,
                    Poll::Ready(()) => Step::Moved { sent: 0 },
                }
            }
            Err(_) => Step::SourceReset,
        }
    }

    fn empty(&mut self, sink: &Socket, context: &mut Context<'_>) -> Step {
        if self.filled == 0 {
            return Step::Moved { sent: 0 };
        }
        if self.writable.is_armed() && self.writable.poll(sink, context).is_pending() {
            return Step::Waiting;
        }
        let Some(pipe) = &self.pipe else { return Step::SinkBroken(Errno::BROKEN_PIPE) };
        match splice_out(pipe, sink, self.filled) {
            Ok(bytes) => {
                self.short = bytes < self.filled;
                self.filled -= bytes;
                Step::Moved { sent: u32::try_from(bytes).unwrap_or(u32::MAX) }
            }
            Err(Errno::AGAIN) => {
                // Nothing was wrong with the socket so far.
                self.short = false;
                match self.writable.poll(sink, context) {
                    Poll::Pending => Step::Waiting,
                    Poll::Ready(()) => Step::Moved { sent: 0 },
                }
            }
            Err(Errno::BROKEN_PIPE) if self.short => Step::SinkBroken(Errno::CONN_RESET),
            Err(errno) => Step::SinkBroken(errno),
        }
    }

    fn borrow(&mut self) -> Option<&Pipe> {
        if self.pipe.is_none() {
            self.pipe = self.pipes.take().ok();
        }
        self.pipe.as_ref()
    }

    fn give_back(&mut self) {
        if let Some(pipe) = self.pipe.take() {
            self.pipes.give(pipe);
        }
    }
}

impl Drop for Splice {
    fn drop(&mut self) {
        if let Some(pipe) = self.pipe.take() {
            if self.filled == 0 {
                self.pipes.give(pipe);
            } else {
                self.pipes.discard(pipe);
            }
        }
    }
}
