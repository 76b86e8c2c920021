//! Whether a peer takes what it was sent.

use super::Socket;
use crate::{
    core::Handle,
    driver::{Errno, Op, Outcome},
    slab::Key,
};
use std::task::{Context, Poll, ready};

/// Asks how much of what was sent the peer has not acknowledged yet. Dropping it gives up the answer.
pub struct Unacked {
    handle: Handle,
    key: Option<Key>,
}

impl Unacked {
    pub fn ask(socket: &Socket) -> Self {
        let handle = socket.handle().clone();
        let key = handle.submit(Op::Unacked { desc: socket.desc() });
        Self { handle, key: Some(key) }
    }

    /// The answer, once; pending for ever after it.
    ///
    /// # Errors
    /// Of a unix socket only: EMFILE and its like, where a descriptor would be needed to ask.
    pub fn poll(&mut self, context: &Context<'_>) -> Poll<Result<u32, Errno>> {
        let Some(key) = self.key else { return Poll::Pending };
        let outcome = ready!(self.handle.0.ops.borrow_mut().poll_single(key, context));
        self.key = None;
        Poll::Ready(match outcome {
            Outcome::Unacked(bytes) => Ok(bytes),
            Outcome::Failed(errno) => Err(errno),
            other => unreachable!("a question is answered or fails, not with {other:?}"),
        })
    }
}

impl Drop for Unacked {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.handle.abandon(key);
        }
    }
}
