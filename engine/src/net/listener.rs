//! A listening socket with several accepts in flight.

use super::{Socket, Timer};
use crate::{
    clock::Timestamp,
    core::Handle,
    driver::{CloseHow, Desc, Errno, Op, Outcome, Peer},
    slab::Key,
};
use std::{
    io,
    os::fd::OwnedFd,
    task::{Context, Poll},
    time::Duration,
};

/// Accepts in flight on one listener. Single shots, because only those carry each peer's address into a direct
/// descriptor; several, so that a burst is taken in one turn.
const IN_FLIGHT: usize = 16;
/// How long accepting rests when descriptors or memory have run out. A connection that ends meanwhile makes room.
const REST: Duration = Duration::from_millis(50);

/// A new connection.
pub struct Accepted {
    pub socket: Socket,
    pub peer: Peer,
}

/// A listening socket. Dropping it stops accepting and closes the descriptor.
pub struct Listener {
    handle: Handle,
    desc: Desc,
    accepts: [Option<Key>; IN_FLIGHT],
    /// Accepts to keep in flight.
    width: usize,
    /// Where to look first, so that no accept is always the last one asked.
    next: usize,
    resting: Option<Timestamp>,
    timer: Timer,
}

impl Listener {
    /// Take over a socket that is bound and listening.
    ///
    /// # Errors
    /// Those of the driver.
    pub fn new(handle: &Handle, fd: OwnedFd) -> io::Result<Self> {
        let desc = handle.adopt_listener(fd)?;
        Ok(Self::adopted(handle, desc))
    }

    pub(crate) fn adopted(handle: &Handle, desc: Desc) -> Self {
        let timer = Timer::new(handle);
        Self {
            handle: handle.clone(),
            desc,
            accepts: [None; IN_FLIGHT],
            width: IN_FLIGHT,
            next: 0,
            resting: None,
            timer,
        }
    }

    /// The next connection, or an error that concerns one connection only (it went away before it was accepted).
    ///
    /// When descriptors or memory run out, or the listener itself is broken, accepting rests for a moment and goes on:
    /// nothing spins, and nothing is reported but the counter.
    pub fn poll_accept(&mut self, context: &Context<'_>) -> Poll<Result<Accepted, Errno>> {
        if let Some(until) = self.resting {
            if self.timer.poll_at(until, context).is_pending() {
                // Accepts that were in flight when the first one failed may still succeed.
                return self.poll_in_flight(context);
            }
            self.resting = None;
        }
        self.arm();
        loop {
            match self.poll_in_flight(context) {
                // Narrowed meanwhile; nothing was lost by it.
                Poll::Ready(Err(Errno::CANCELED)) => self.arm(),
                Poll::Ready(Err(errno)) if !errno.concerns_one_connection() => {
                    if self.resting.is_none() {
                        self.handle.count(|s| s.accept_pauses += 1);
                        let until = self.handle.now() + REST;
                        self.resting = Some(until);
                        let _pending = self.timer.poll_at(until, context);
                    }
                }
                other => return other,
            }
        }
    }

    /// Take connections one at a time, and only while somebody polls: those that come meanwhile wait in the kernel.
    /// Accepts in flight beyond that are cancelled; what they have brought already is still given out.
    pub fn narrow(&mut self) {
        if self.width == 1 {
            return;
        }
        self.width = 1;
        for key in self.accepts.iter().flatten() {
            let token = self.handle.0.ops.borrow().token_in_flight(*key);
            if let Some(token) = token {
                self.handle.cancel(token);
            }
        }
    }

    /// Take bursts in one turn again.
    pub fn widen(&mut self) {
        self.width = IN_FLIGHT;
    }

    fn arm(&mut self) {
        let mut missing = self.width.saturating_sub(self.accepts.iter().flatten().count());
        for slot in &mut self.accepts {
            if slot.is_none() && missing > 0 {
                *slot = Some(self.handle.submit(Op::Accept { listener: self.desc }));
                missing -= 1;
            }
        }
    }

    fn poll_in_flight(&mut self, context: &Context<'_>) -> Poll<Result<Accepted, Errno>> {
        for step in 0..IN_FLIGHT {
            let index = (self.next + step) % IN_FLIGHT;
            let Some(key) = self.accepts[index] else { continue };
            let outcome = self.handle.0.ops.borrow_mut().poll_single(key, context);
            let Poll::Ready(outcome) = outcome else { continue };
            self.accepts[index] = None;
            self.next = (index + 1) % IN_FLIGHT;
            return Poll::Ready(match outcome {
                Outcome::Accepted { desc, peer } => {
                    Ok(Accepted { socket: Socket::new(self.handle.clone(), desc), peer })
                }
                Outcome::Failed(errno) => Err(errno),
                other => unreachable!("accepting ends accepted or failed, not with {other:?}"),
            });
        }
        Poll::Pending
    }

    /// # Cancel safety
    /// No connection is lost: accepts in flight stay with the listener.
    ///
    /// # Errors
    /// As [`Listener::poll_accept`].
    pub async fn accept(&mut self) -> Result<Accepted, Errno> {
        std::future::poll_fn(|context| self.poll_accept(context)).await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for key in self.accepts.iter_mut().filter_map(Option::take) {
            self.handle.abandon(key);
        }
        self.handle.close(self.desc, CloseHow::Graceful);
    }
}
