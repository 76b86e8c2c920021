//! Moving bytes between two sockets, both ways at once, until both directions have ended.
//!
//! A direction, from source to sink:
//!
//! ```text
//!   Open ── end of source ──► FIN passed on: Ended
//!    └── sink refuses bytes ──► Broken (its own last bytes still come the other way)
//! ```
//!
//! The receive of a source stays armed while its sink is busy; the engine stops it when too much has piled up. A buffer
//! travels from receive to send without being copied or looked at.

use crate::report::{ConnectionState, Reason};
use balance_engine::{Handle, Received, net::Socket};
use std::task::{Context, Poll};

/// How far one call of [`Relay::poll`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Both sides are waited for.
    Waiting,
    /// The work budget is spent; the task runs again in the next turn.
    Yielded,
    Over(Reason),
}

/// Bytes that have been sent on since they were last asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Moved {
    pub(super) up: u64,
    pub(super) down: u64,
}

impl Moved {
    pub(super) fn any(self) -> bool {
        self.up + self.down > 0
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// The source has closed, and the sink has been told.
    Ended,
    /// The sink takes no more. Nothing is read from the source any longer.
    Broken,
}

/// One direction.
#[derive(Debug, Default)]
struct Direction {
    phase: Phase,
    /// The part of the buffer in flight that is still to be sent ends here.
    end: u32,
    /// … and begins here.
    from: u32,
    moved: u64,
}

/// What a step of a direction found.
enum Step {
    Moved,
    Waiting,
    /// The source was reset.
    SourceReset,
}

impl Direction {
    fn step(&mut self, source: &mut Socket, sink: &mut Socket, context: &mut Context<'_>) -> Step {
        if sink.is_sending() {
            let Poll::Ready(done) = sink.poll_sent(context) else { return Step::Waiting };
            match done.result {
                Ok(sent) => {
                    self.moved += u64::from(sent);
                    self.from += sent;
                    if self.from < self.end {
                        sink.start_send(done.buffer, self.from, self.end);
                    }
                }
                Err(_the_other_direction_ends_it) => self.phase = Phase::Broken,
            }
            return Step::Moved;
        }
        if self.phase != Phase::Open {
            return Step::Waiting;
        }
        match source.poll_recv(context) {
            Poll::Pending => Step::Waiting,
            Poll::Ready(Received::Data(chunk)) => {
                self.from = 0;
                self.end = chunk.len;
                sink.start_send(chunk.buffer, 0, chunk.len);
                Step::Moved
            }
            Poll::Ready(Received::Eof) => {
                self.phase = Phase::Ended;
                sink.shutdown();
                Step::Moved
            }
            Poll::Ready(Received::Failed(_)) => Step::SourceReset,
        }
    }
}

/// Both directions of a connection.
#[derive(Debug, Default)]
pub(super) struct Relay {
    up: Direction,
    down: Direction,
}

impl Relay {
    /// Move what can be moved now.
    pub(super) fn poll(
        &mut self,
        downstream: &mut Socket,
        upstream: &mut Socket,
        handle: &Handle,
        context: &mut Context<'_>,
    ) -> Verdict {
        loop {
            let up = self.up.step(downstream, upstream, context);
            let down = self.down.step(upstream, downstream, context);
            match (&up, &down) {
                (Step::SourceReset, _) => return Verdict::Over(Reason::DownstreamReset),
                (_, Step::SourceReset) => return Verdict::Over(Reason::UpstreamReset),
                _ => {}
            }
            if let Some(reason) = self.over(upstream.is_sending() || downstream.is_sending()) {
                return Verdict::Over(reason);
            }
            if matches!((&up, &down), (Step::Waiting, Step::Waiting)) {
                return Verdict::Waiting;
            }
            if !handle.spend(context) {
                return Verdict::Yielded;
            }
        }
    }

    /// A side that takes no more but has nothing left to say either is gone; so is everything when both have ended.
    fn over(&self, sending: bool) -> Option<Reason> {
        match (self.up.phase, self.down.phase) {
            (Phase::Ended, Phase::Ended) if !sending => Some(Reason::Finished),
            (Phase::Broken, Phase::Ended | Phase::Broken) => Some(Reason::UpstreamReset),
            (Phase::Ended, Phase::Broken) => Some(Reason::DownstreamReset),
            _ => None,
        }
    }

    pub(super) fn take_moved(&mut self) -> Moved {
        Moved { up: std::mem::take(&mut self.up.moved), down: std::mem::take(&mut self.down.moved) }
    }

    pub(super) fn connection_state(&self) -> ConnectionState {
        match (self.up.phase, self.down.phase) {
            (Phase::Open, Phase::Open) => ConnectionState::Open,
            (Phase::Ended | Phase::Broken, _) => ConnectionState::HalfClosedDownstream,
            _ => ConnectionState::HalfClosedUpstream,
        }
    }
}
