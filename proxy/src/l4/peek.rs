//! The first bytes of a connection whose listener has routes: received, looked at, and kept for the endpoint, which
//! gets them unchanged. Bounded in bytes, for each connection and for all of a shard, and in time.
//!
//! ```text
//!   bytes ──► inspector ──┬─ a ClientHello ──► the first route that matches, or else ─┐
//!     ▲                   ├─ no TLS ───────────────────────────────────────────────── ├──► the listener's own
//!     │                   ├─ a wrong ClientHello, or one that is too long ──► refused │    cluster, or refused
//!     └─── not all yet ───┘                                                           │
//!          └── the time is over: after some bytes ──► refused, after none ────────────┘
//! ```

use super::preface::Told;
use crate::{
    client_hello::{Inspector, Invalid, Progress},
    report::Reason,
    state::{ClusterState, Routing},
};
use balance_engine::{
    Handle, Received,
    buf::{Budget, Lease},
    clock::Timestamp,
    net::{Socket, Timer},
};
use std::{
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
};

/// What the connections of one shard may keep of hellos that are not complete. Nearly all come in one piece and do not
/// count; the rest is what slow clients, and those who mean ill, have sent within `peek_timeout`.
pub(crate) const KEPT_BYTES_MAX: u64 = 32 << 20;

/// A connection being looked at.
pub(super) struct Peek {
    routing: Rc<Routing>,
    inspector: Inspector,
    /// What a PROXY header has told, and all bytes behind it so far.
    told: Box<Told>,
    /// For what is kept while more is waited for.
    lease: Option<Lease>,
    deadline: Timestamp,
    timer: Timer,
}

impl Peek {
    pub(super) fn new(handle: &Handle, routing: Rc<Routing>, told: Option<Box<Told>>) -> Self {
        let limits = routing.peek();
        Self {
            inspector: Inspector::new(limits.bytes_max as usize),
            told: told.unwrap_or_default(),
            lease: None,
            deadline: handle.now() + limits.timeout,
            timer: Timer::new(handle),
            routing,
        }
    }

    /// Ready with the cluster.
    ///
    /// # Errors
    /// The reason to refuse the connection with.
    ///
    /// # Cancel safety
    /// What has come is kept, for [`Peek::into_told`].
    pub(super) fn poll(
        &mut self,
        socket: &mut Socket,
        kept: &Arc<Budget>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Rc<ClusterState>, Reason>> {
        loop {
            // A PROXY header may have brought all of it.
            if let Some(decision) = self.look() {
                return Poll::Ready(decision);
            }
            match socket.poll_recv(context) {
                // A buffer is 32 KiB at most, and what was there before is not more than the limit.
                Poll::Ready(Received::Data(chunk)) => {
                    self.told.rest.extend_from_slice(&chunk.buffer[..chunk.len as usize]);
                }
                Poll::Ready(Received::Eof) if self.told.rest.is_empty() => {
                    return Poll::Ready(Err(Reason::DownstreamGone));
                }
                Poll::Ready(Received::Eof) => return Poll::Ready(Err(Reason::BadHello)),
                Poll::Ready(Received::Failed(_)) => return Poll::Ready(Err(Reason::DownstreamReset)),
                Poll::Pending if !self.pay(kept) => return Poll::Ready(Err(Reason::PeekMemory)),
                Poll::Pending => return self.timer.poll_at(self.deadline, context).map(|()| self.too_late()),
            }
        }
    }

    /// The decision, if the bytes so far allow one.
    fn look(&mut self) -> Option<Result<Rc<ClusterState>, Reason>> {
        let hello = match self.inspector.inspect(&self.told.rest) {
            Progress::NeedMore { .. } => return None,
            Progress::Found(hello) => Some(hello),
            Progress::NotTls => None,
            Progress::Invalid(why) => {
                tracing::debug!(why = why.as_str(), "ClientHello refused");
                let is_long = why == Invalid::TooLong;
                return Some(Err(if is_long { Reason::HelloTooLong } else { Reason::BadHello }));
            }
        };
        let cluster = self.routing.choose(hello.as_ref());
        let name = cluster.map(|cluster| &*cluster.name);
        tracing::debug!(sni = hello.and_then(|hello| hello.sni), cluster = name, "routed");
        Some(cluster.cloned().ok_or(Reason::NoRoute))
    }

    /// Who has said nothing waits for the server, as in protocols where that speaks first.
    fn too_late(&self) -> Result<Rc<ClusterState>, Reason> {
        let is_silent = self.told.rest.is_empty();
        let cluster = if is_silent { self.routing.choose(None) } else { None };
        cluster.cloned().ok_or(Reason::PeekTimeout)
    }

    /// Whether what is held may be held on.
    fn pay(&mut self, kept: &Arc<Budget>) -> bool {
        // The inspector may have a copy.
        let bytes = 2 * self.told.rest.capacity() as u64;
        if bytes > self.lease.as_ref().map_or(0, Lease::bytes) {
            self.lease = None;
            self.lease = kept.lease(bytes);
            return self.lease.is_some();
        }
        true
    }

    pub(super) fn into_told(self) -> Box<Told> {
        self.told
    }
}
