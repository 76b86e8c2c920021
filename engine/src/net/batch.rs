//! Sending several chunks at once, copied by the kernel or not.

use super::Socket;
use crate::{
    batch::Batch,
    core::Handle,
    driver::{Errno, Op, Outcome},
    slab::Key,
};
use std::task::{Context, Poll, ready};

/// A batch under way. Dropping it gives up the answer; the memory stays with the driver until the kernel is done.
pub struct BatchSend {
    handle: Handle,
    key: Option<Key>,
}

/// What has become of a batch.
#[derive(Debug)]
pub enum BatchEvent {
    /// So much was sent, or why nothing was. Without the batch, it comes by `Released` later.
    Sent { batch: Option<Box<Batch>>, result: Result<u32, Errno> },
    /// The kernel is done with the bytes. `copied`: zero copy it was not. `registered`: from memory that it knew.
    Released { batch: Box<Batch>, copied: bool, registered: bool },
}

impl BatchSend {
    /// Begin to send. One batch at a time on one socket, until it is `Sent`.
    pub fn start(socket: &Socket, batch: Box<Batch>, zero_copy: bool) -> Self {
        let handle = socket.handle().clone();
        let key = handle.submit_series(Op::SendBatch { desc: socket.desc(), batch, zero_copy });
        Self { handle, key: Some(key) }
    }

    /// The next event; pending for ever once the last one was taken.
    pub fn poll(&mut self, context: &Context<'_>) -> Poll<BatchEvent> {
        let Some(key) = self.key else { return Poll::Pending };
        let (outcome, last) = ready!(self.handle.0.ops.borrow_mut().poll_series(key, context));
        if last {
            self.key = None;
        }
        Poll::Ready(match outcome {
            Outcome::BatchSent { batch, result } => BatchEvent::Sent { batch, result },
            Outcome::Released { batch, copied, registered } => BatchEvent::Released { batch, copied, registered },
            other => unreachable!("a batch is sent or released, not {other:?}"),
        })
    }
}

impl Drop for BatchSend {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.handle.abandon(key);
        }
    }
}
