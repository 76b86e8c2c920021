//! What a task needs to move bytes between two sockets through a pipe, without seeing them.

use super::Socket;
use crate::{
    core::Handle,
    driver::{Errno, Interest, Op, Outcome},
    pipe::Pipe,
    slab::Key,
};
use std::task::{Context, Poll, ready};

/// Move up to `max` bytes from a socket into a pipe, now. Zero: the peer has closed its write half.
///
/// # Errors
/// [`Errno::AGAIN`]: nothing has come, wait for [`Interest::Read`]. EBADF: the socket is not [`Installing`]-ed.
pub fn splice_in(from: &Socket, pipe: &Pipe, max: usize) -> Result<usize, Errno> {
    from.handle().splice_in(from.desc(), pipe, max)
}

/// Move up to `max` bytes out of a pipe into a socket, now.
///
/// # Errors
/// [`Errno::AGAIN`]: wait for [`Interest::Write`].
pub fn splice_out(pipe: &Pipe, to: &Socket, max: usize) -> Result<usize, Errno> {
    to.handle().splice_out(pipe, to.desc(), max)
}

/// One wait for a socket to be ready, armed when it is first polled. Dropping it gives it up; it must go before its
/// socket does.
pub struct Readiness {
    handle: Handle,
    interest: Interest,
    armed: Option<Key>,
}

impl Readiness {
    pub fn new(handle: &Handle, interest: Interest) -> Self {
        Self { handle: handle.clone(), interest, armed: None }
    }

    pub fn is_armed(&self) -> bool {
        self.armed.is_some()
    }

    /// Ready when it is worth trying again.
    pub fn poll(&mut self, socket: &Socket, context: &Context<'_>) -> Poll<()> {
        let key = match self.armed {
            Some(key) => key,
            None => *self.armed.insert(self.handle.submit(Op::Poll { desc: socket.desc(), interest: self.interest })),
        };
        let _ready_or_broken = ready!(self.handle.0.ops.borrow_mut().poll_single(key, context));
        self.armed = None;
        Poll::Ready(())
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        if let Some(key) = self.armed.take() {
            self.handle.abandon(key);
        }
    }
}

/// Makes a socket fit for splice: a direct descriptor gets a real one beside it.
pub struct Installing {
    handle: Handle,
    key: Option<Key>,
}

impl Installing {
    pub fn new(socket: &Socket) -> Self {
        let handle = socket.handle().clone();
        let key = handle.submit(Op::Install { desc: socket.desc() });
        Self { handle, key: Some(key) }
    }

    /// # Errors
    /// EMFILE and its like: the process has no real descriptor left.
    pub fn poll(&mut self, context: &Context<'_>) -> Poll<Result<(), Errno>> {
        let Some(key) = self.key else { return Poll::Ready(Ok(())) };
        let outcome = ready!(self.handle.0.ops.borrow_mut().poll_single(key, context));
        self.key = None;
        Poll::Ready(match outcome {
            Outcome::Failed(errno) => Err(errno),
            _ => Ok(()),
        })
    }
}

impl Drop for Installing {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.handle.abandon(key);
        }
    }
}

/// A splice that the ring does, with a worker thread: for comparison with [`splice_in`] and [`splice_out`].
pub struct Splicing {
    handle: Handle,
    key: Option<Key>,
}

impl Splicing {
    /// Out of a socket that was installed.
    pub fn start_in(from: &Socket, pipe: Box<Pipe>, max: u32) -> Self {
        Self::start(from.handle(), Op::SpliceIn { from: from.desc(), pipe, max })
    }

    /// Into a socket that was installed. Asking for more than the pipe holds would wait for it.
    pub fn start_out(pipe: Box<Pipe>, to: &Socket, max: u32) -> Self {
        Self::start(to.handle(), Op::SpliceOut { pipe, to: to.desc(), max })
    }

    fn start(handle: &Handle, op: Op) -> Self {
        Self { handle: handle.clone(), key: Some(handle.submit(op)) }
    }

    /// The pipe again, and what was moved.
    pub fn poll(&mut self, context: &Context<'_>) -> Poll<(Box<Pipe>, Result<u32, Errno>)> {
        let Some(key) = self.key else { return Poll::Pending };
        let outcome = ready!(self.handle.0.ops.borrow_mut().poll_single(key, context));
        self.key = None;
        match outcome {
            Outcome::Spliced { pipe, result } => Poll::Ready((pipe, result)),
            other => unreachable!("a splice gives its pipe back, not {other:?}"),
        }
    }
}

impl Drop for Splicing {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.handle.abandon(key);
        }
    }
}
