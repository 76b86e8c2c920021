//! IORING_OP_SPLICE: splice as an operation of the ring.
//!
//! Here to be compared, and never chosen by itself: the kernel hands every such operation to a worker thread, so it
//! costs several times what a plain splice(2) from the shard's thread costs. Exactly the bytes that are in the pipe are
//! asked for on the way out; asking for more would wait for them.

use super::Step;
use balance_engine::{
    driver::{Errno, Interest},
    net::{Readiness, Socket, Splicing},
    pipe::{Pipe, PipePool},
};
use std::task::{Context, Poll};

pub(in crate::l4) struct UringSplice {
    pipes: PipePool,
    at: At,
    readable: Readiness,
    writable: Readiness,
    /// The last write took less than was there, and may have taken a reset off the socket with it.
    short: bool,
    /// A pipe was refused.
    pub(in crate::l4) refused: bool,
}

enum At {
    /// The source is to be readable.
    Source,
    Filling(Splicing),
    /// Bytes in the pipe; the sink is to take them.
    Filled(Box<Pipe>, u32),
    Emptying(Splicing, u32),
}

impl UringSplice {
    pub(in crate::l4) fn new(source: &Socket) -> Self {
        let handle = source.handle();
        Self {
            pipes: handle.pipes().clone(),
            at: At::Source,
            readable: Readiness::new(handle, Interest::Read),
            writable: Readiness::new(handle, Interest::Write),
            short: false,
            refused: false,
        }
    }

    /// No pipe is in use: the rung can be left without losing a byte.
    pub(in crate::l4) fn is_empty(&self) -> bool {
        matches!(self.at, At::Source)
    }

    /// A worker thread may have taken a reset off the socket in the middle of a write before that write tells of
    /// itself; a receive that is told of the end in between was told too much. The socket is non-blocking, so no write
    /// is under way for long.
    pub(in crate::l4) fn is_in_doubt(&self) -> bool {
        self.short || self.is_emptying()
    }

    pub(in crate::l4) fn is_emptying(&self) -> bool {
        matches!(self.at, At::Emptying(..))
    }

    pub(in crate::l4) fn step(&mut self, source: &Socket, sink: &Socket, context: &mut Context<'_>) -> Step {
        match std::mem::replace(&mut self.at, At::Source) {
            At::Source => self.start_filling(source, context),
            At::Filling(splicing) => self.fill(splicing, context),
            At::Filled(pipe, bytes) => self.start_emptying(pipe, bytes, sink, context),
            At::Emptying(splicing, bytes) => self.empty(splicing, bytes, context),
        }
    }

    fn start_filling(&mut self, source: &Socket, context: &mut Context<'_>) -> Step {
        if self.readable.poll(source, context).is_pending() {
            return Step::Waiting;
        }
        let Ok(pipe) = self.pipes.take() else {
            self.refused = true;
            return Step::Waiting;
        };
        let max = u32::try_from(pipe.size()).unwrap_or(u32::MAX);
        self.at = At::Filling(Splicing::start_in(source, Box::new(pipe), max));
        Step::Moved { sent: 0 }
    }

    fn fill(&mut self, mut splicing: Splicing, context: &mut Context<'_>) -> Step {
        let Poll::Ready((pipe, result)) = splicing.poll(context) else {
            self.at = At::Filling(splicing);
            return Step::Waiting;
        };
        match result {
            Ok(0) => {
                self.pipes.give(*pipe);
                Step::SourceEnded
            }
            Ok(bytes) => {
                self.at = At::Filled(pipe, bytes);
                Step::Moved { sent: 0 }
            }
            Err(Errno::AGAIN) => {
                self.pipes.give(*pipe);
                Step::Moved { sent: 0 }
            }
            Err(_) => {
                self.pipes.give(*pipe);
                Step::SourceReset
            }
        }
    }

    fn start_emptying(&mut self, pipe: Box<Pipe>, bytes: u32, sink: &Socket, context: &mut Context<'_>) -> Step {
        // After a short write the next follows at once, to tell whether that was a reset or only a full socket.
        if !self.short && self.writable.poll(sink, context).is_pending() {
            self.at = At::Filled(pipe, bytes);
            return Step::Waiting;
        }
        self.at = At::Emptying(Splicing::start_out(pipe, sink, bytes), bytes);
        Step::Moved { sent: 0 }
    }

    fn empty(&mut self, mut splicing: Splicing, bytes: u32, context: &mut Context<'_>) -> Step {
        let Poll::Ready((pipe, result)) = splicing.poll(context) else {
            self.at = At::Emptying(splicing, bytes);
            return Step::Waiting;
        };
        let sent = match result {
            Ok(sent) => {
                self.short = sent < bytes;
                sent
            }
            Err(Errno::AGAIN) => {
                self.short = false;
                0
            }
            Err(Errno::BROKEN_PIPE) if self.short => {
                self.pipes.discard(*pipe);
                return Step::SinkBroken(Errno::CONN_RESET);
            }
            Err(errno) => {
                self.pipes.discard(*pipe);
                return Step::SinkBroken(errno);
            }
        };
        if sent < bytes {
            self.at = At::Filled(pipe, bytes - sent);
        } else {
            self.pipes.give(*pipe);
        }
        Step::Moved { sent }
    }
}

impl Drop for UringSplice {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.at, At::Source) {
            At::Filled(pipe, _) => self.pipes.discard(*pipe),
            // The pipe is with the driver and ends there, with what is in it.
            At::Filling(_) | At::Emptying(..) => self.pipes.forget(),
            At::Source => {}
        }
    }
}
