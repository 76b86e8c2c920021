//! One proxied connection, from accept to end.
//!
//! ```text
//!   Connecting ── connected ──► Relaying ── both ends done, error, time-out ──► (row dropped)
//!       └── no endpoint, client gone ──► reset
//! ```

use super::{
    ladder::LadderSettings,
    relay::{Moved, Relay, Verdict},
};
use crate::{
    report::{ConnectionState, Reason},
    state::{ListenerState, Timeouts},
    table::{Row, RowGuard},
    upstream::{self, RowHandle},
};
use balance_engine::net::{Socket, Timer};
use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

/// The task of a connection. Fields in the order in which they must go: what waits for sockets, the sockets, then the
/// row, so that the table never misses a connection that still has a socket.
pub(super) struct Connection {
    phase: Phase,
    downstream: Option<Socket>,
    timer: Timer,
    timeouts: Timeouts,
    ladder: Rc<LadderSettings>,
    row: RowGuard,
}

type Opening = Pin<Box<dyn Future<Output = Result<Socket, Reason>>>>;

enum Phase {
    Connecting(Opening),
    // The relay first: what it waits for goes before the sockets do.
    Relaying { relay: Relay, upstream: Socket },
    Over,
}

impl Connection {
    pub(super) fn new(row: RowGuard, downstream: Socket, listener: &Rc<ListenerState>) -> Self {
        let state = Rc::clone(&row.state);
        let timer = Timer::new(&state.handle);
        let opening = upstream::open(state, listener.cluster(), RowHandle::of(&row));
        let timeouts = listener.settings.get();
        Self {
            downstream: Some(downstream),
            phase: Phase::Connecting(Box::pin(opening)),
            timer,
            timeouts,
            ladder: listener.ladder(),
            row,
        }
    }

    /// Ready with whether the endpoint is connected.
    fn poll_connecting(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        let Phase::Connecting(opening) = &mut self.phase else { return Poll::Ready(Ok(())) };
        let Some(downstream) = &mut self.downstream else { return Poll::Ready(Err(Reason::Error)) };
        if downstream.poll_broken(context).is_ready() {
            return Poll::Ready(Err(Reason::DownstreamGone));
        }
        let upstream = ready!(opening.as_mut().poll(context))?;
        // Waiting for a place and for the endpoint was not the client's idleness.
        let now = self.row.state.handle.now();
        self.row.with(|row| (row.state, row.progress) = (ConnectionState::Open, now));
        self.phase = Phase::Relaying { upstream, relay: Relay::default() };
        Poll::Ready(Ok(()))
    }

    fn poll_relaying(&mut self, context: &mut Context<'_>) -> Poll<Reason> {
        let (Some(downstream), Phase::Relaying { upstream, relay }) = (&mut self.downstream, &mut self.phase) else {
            return Poll::Ready(Reason::Error);
        };
        let handle = self.row.state.handle.clone();
        let mut moved = Moved::default();
        let verdict = relay.poll(downstream, upstream, &handle, &self.ladder, &mut moved, context);
        let (state, rungs) = (relay.connection_state(), relay.rungs());
        self.row.state.count_rungs(&[moved.up, moved.down]);
        let (up, down) = (moved.up.bytes(), moved.down.bytes());
        let progress = self.row.with(|row| {
            if up + down > 0 || row.state != state {
                row.progress = handle.now();
                count(row, up, down);
            }
            (row.rung_up, row.rung_down) = rungs;
            row.state = state;
            row.progress
        });
        match verdict {
            Verdict::Over(reason) => return Poll::Ready(reason),
            Verdict::Yielded => return Poll::Pending,
            Verdict::Waiting => {}
        }
        let (limit, reason) = match state {
            ConnectionState::Connecting | ConnectionState::Open => (self.timeouts.idle(), Reason::IdleTimeout),
            _ => (self.timeouts.half_close(), Reason::HalfCloseTimeout),
        };
        let Some(limit) = limit else { return Poll::Pending };
        self.timer.poll_lazily_at(progress + limit, context).map(|()| reason)
    }

    /// Let go of both sockets as the reason demands.
    fn close(&mut self, reason: Reason) {
        self.row.with(|row| row.reason = reason);
        let upstream = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Relaying { relay, upstream } => {
                drop(relay);
                Some(upstream)
            }
            Phase::Connecting(_) | Phase::Over => None,
        };
        let downstream = self.downstream.take();
        let sockets = [downstream, upstream].into_iter().flatten();
        match reason {
            Reason::Finished => sockets.for_each(drop),
            // Neither side may take what it has got for the whole.
            _ => sockets.for_each(Socket::reset),
        }
    }
}

/// Dropped before its end: by a panic, a deadline, or the end of the shard. Its peers must not take that for the end of
/// their streams.
impl Drop for Connection {
    fn drop(&mut self) {
        if !matches!(self.phase, Phase::Over) {
            self.close(Reason::Error);
        }
    }
}

fn count(row: &mut Row, up: u64, down: u64) {
    row.bytes_up += up;
    row.bytes_down += down;
    row.listener.bytes_up.set(row.listener.bytes_up.get() + up);
    row.listener.bytes_down.set(row.listener.bytes_down.get() + down);
    if let Some(endpoint) = &row.endpoint {
        endpoint.bytes_up.set(endpoint.bytes_up.get() + up);
        endpoint.bytes_down.set(endpoint.bytes_down.get() + down);
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let reason = match ready!(this.poll_connecting(context)) {
            Ok(()) => ready!(this.poll_relaying(context)),
            Err(reason) => reason,
        };
        this.close(reason);
        Poll::Ready(())
    }
}
