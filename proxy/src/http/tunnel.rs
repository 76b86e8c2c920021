//! After a 101: both sides speak something else, and what they say is relayed like any TCP connection.
//!
//! What came early, behind the request or behind the 101, goes first, in order; only then does the relay read.

use super::{
    inbox::{Inbox, Run},
    outbox::Outbox,
};
use crate::{
    l4::{Moved, Relay, Silence, Verdict},
    report::{ConnectionState, Reason},
    state::Terms,
    table::RowGuard,
};
use balance_engine::{
    buf::BufferPool,
    net::{Socket, Timer},
};
use std::task::{Context, Poll};

/// See the module's documentation. Fields in the order in which they must go: what waits for sockets, then the sockets.
pub(super) struct Tunnel {
    early: Option<Box<Early>>,
    relay: Relay,
    silence: Silence,
    upstream: Socket,
}

/// What was received before the relay began.
struct Early {
    up: Outbox,
    down: Outbox,
    from_client: Inbox,
    from_endpoint: Inbox,
}

impl Tunnel {
    pub(super) fn new(upstream: Socket, from_client: Inbox, from_endpoint: Inbox) -> Self {
        let is_early = !from_client.is_empty() || !from_endpoint.is_empty();
        let early = Early { up: Outbox::default(), down: Outbox::default(), from_client, from_endpoint };
        Self {
            early: is_early.then(|| Box::new(early)),
            relay: Relay::default(),
            silence: Silence::new(Timer::new(upstream.handle())),
            upstream,
        }
    }

    /// Ready with the reason when it is over.
    pub(super) fn poll(
        &mut self,
        downstream: &mut Socket,
        terms: &Terms,
        row: &RowGuard,
        context: &mut Context<'_>,
    ) -> Poll<Reason> {
        let handle = row.state.handle.clone();
        if let Some(early) = &mut self.early {
            match early.poll(downstream, &mut self.upstream, handle.pool(), row, context) {
                Poll::Pending => return self.poll_silence(ConnectionState::Open, downstream, terms, row, context),
                Poll::Ready(Err(reason)) => return Poll::Ready(reason),
                Poll::Ready(Ok(())) => self.early = None,
            }
        }
        let mut moved = Moved::default();
        let verdict = self.relay.poll(downstream, &mut self.upstream, &handle, &terms.ladder, &mut moved, context);
        row.state.count_rungs(&[moved.up, moved.down]);
        let (state, rungs) = (self.relay.connection_state(), self.relay.rungs());
        let (up, down) = (moved.up.bytes(), moved.down.bytes());
        row.with(|row| {
            if up + down > 0 || row.state != state {
                row.progress = handle.now();
                row.count(up, down);
                self.silence.broken();
            }
            (row.rung_up, row.rung_down) = rungs;
            row.state = state;
        });
        match verdict {
            Verdict::Over(reason) => Poll::Ready(reason),
            Verdict::Yielded => Poll::Pending,
            Verdict::Waiting => self.poll_silence(state, downstream, terms, row, context),
        }
    }

    fn poll_silence(
        &mut self,
        state: ConnectionState,
        downstream: &mut Socket,
        terms: &Terms,
        row: &RowGuard,
        context: &mut Context<'_>,
    ) -> Poll<Reason> {
        let (limit, reason) = match state {
            ConnectionState::HalfClosedDownstream | ConnectionState::HalfClosedUpstream => {
                (terms.timeouts.half_close, Reason::HalfCloseTimeout)
            }
            _ => (terms.timeouts.idle, Reason::IdleTimeout),
        };
        let Some(limit) = limit else { return Poll::Pending };
        let mut progress = row.with(|row| row.progress);
        let over = self.silence.poll(&mut progress, limit, [downstream, &self.upstream], context);
        row.with(|row| row.progress = progress);
        over.map(|()| reason)
    }

    /// Let go of the endpoint as the reason demands.
    pub(super) fn close(self, reason: Reason) {
        drop(self.relay);
        match reason {
            Reason::Finished => drop(self.upstream),
            _ => self.upstream.reset(),
        }
    }
}

impl Early {
    /// Ready when all of it was sent.
    fn poll(
        &mut self,
        downstream: &mut Socket,
        upstream: &mut Socket,
        pool: &BufferPool,
        row: &RowGuard,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Reason>> {
        for (inbox, outbox) in [(&mut self.from_client, &mut self.up), (&mut self.from_endpoint, &mut self.down)] {
            // What there is of it is bounded: one buffer, or half a head.
            while let Ok(Some(Run { chunk, from })) = inbox.take(u64::MAX, pool) {
                outbox.push(Run { chunk, from });
            }
        }
        while let Poll::Ready(sent) = self.up.poll(upstream, context) {
            let Ok(bytes) = sent else { return Poll::Ready(Err(Reason::UpstreamReset)) };
            row.with(|row| row.count(bytes, 0));
        }
        while let Poll::Ready(sent) = self.down.poll(downstream, context) {
            let Ok(bytes) = sent else { return Poll::Ready(Err(Reason::DownstreamReset)) };
            row.with(|row| row.count(0, bytes));
        }
        let is_over = [&self.from_client, &self.from_endpoint].iter().all(|inbox| inbox.is_empty())
            && self.up.is_empty()
            && self.down.is_empty();
        if is_over { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}
