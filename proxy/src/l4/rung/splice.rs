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

pub(in crate::l4) struct Splice {
    pipes: PipePool,
    pipe: Option<Pipe>,
    /// Bytes in the pipe.
    filled: usize,
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
    pub(in crate::l4) refused: bool,
}

impl Splice {
    pub(in crate::l4) fn new(source: &Socket) -> Self {
        let handle = source.handle();
        Self {
            pipes: handle.pipes().clone(),
            pipe: None,
            filled: 0,
            readable: Readiness::new(handle, Interest::Read),
            writable: Readiness::new(handle, Interest::Write),
            read: 0,
            dry: false,
            short: false,
            refused: false,
        }
    }

    /// Nothing is in the pipe: the rung can be left without losing a byte.
    pub(in crate::l4) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    pub(in crate::l4) fn is_in_doubt(&self) -> bool {
        self.short
    }

    /// One read and one write at most. `read` is set to what a read brought that found nothing more behind it.
    pub(in crate::l4) fn step(
        &mut self,
        source: &Socket,
        sink: &Socket,
        read: &mut Option<u32>,
        context: &mut Context<'_>,
    ) -> Step {
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
        let Some(pipe) = self.borrow() else {
            self.refused = true;
            return Step::Waiting;
        };
        let size = pipe.size();
        match splice_in(source, pipe, size) {
            Ok(0) => {
                self.give_back();
                Step::SourceEnded
            }
            Ok(bytes) => {
                self.filled = bytes;
                self.read = bytes;
                self.dry = bytes < size;
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
