//! Moving bytes between two sockets, both ways at once, until both directions have ended.

use super::{
    direction::{Direction, Ends, Phase, Progress},
    ladder::LadderSettings,
    tally::Tally,
};
use crate::report::{ConnectionState, Reason, RungKind};
use balance_engine::{Handle, net::Socket};
use std::task::Context;

/// How far one call of [`Relay::poll`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Both sides are waited for.
    Waiting,
    /// The work budget is spent; the task runs again in the next turn.
    Yielded,
    Over(Reason),
}

/// What each direction did in one poll.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    pub(crate) up: Tally,
    pub(crate) down: Tally,
}

/// Both directions of a connection.
#[derive(Default)]
pub(crate) struct Relay {
    up: Direction,
    down: Direction,
}

impl Relay {
    /// Move what can be moved now.
    pub(crate) fn poll(
        &mut self,
        downstream: &mut Socket,
        upstream: &mut Socket,
        handle: &Handle,
        settings: &LadderSettings,
        moved: &mut Moved,
        context: &mut Context<'_>,
    ) -> Verdict {
        loop {
            let (source, sink, tally) = (&mut *downstream, &mut *upstream, &mut moved.up);
            let opposite = self.down.standing();
            let up = self.up.step(Ends { source, sink, opposite, settings, tally, context });
            let (source, sink, tally) = (&mut *upstream, &mut *downstream, &mut moved.down);
            let opposite = self.up.standing();
            let down = self.down.step(Ends { source, sink, opposite, settings, tally, context });
            match (up, down) {
                (Progress::SourceReset, _) => return Verdict::Over(Reason::DownstreamReset),
                (_, Progress::SourceReset) => return Verdict::Over(Reason::UpstreamReset),
                _ => {}
            }
            if let Some(reason) = self.over(upstream.is_sending() || downstream.is_sending()) {
                return Verdict::Over(reason);
            }
            if (up, down) == (Progress::Waiting, Progress::Waiting) {
                return Verdict::Waiting;
            }
            if moved.up.bytes() + moved.down.bytes() >= u64::from(settings.budget) {
                handle.yield_now(context);
                return Verdict::Yielded;
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
            (Phase::Broken | Phase::Lost, Phase::Ended | Phase::Broken | Phase::Lost) => Some(Reason::UpstreamReset),
            (Phase::Ended, Phase::Broken | Phase::Lost) => Some(Reason::DownstreamReset),
            _ => None,
        }
    }

    /// One side was reset: what is left to do is to bring its last bytes to the other, if that one takes them.
    pub(crate) fn reset(&self, downstream: &Socket, upstream: &Socket) -> Option<Reason> {
        if self.down.phase == Phase::Lost || downstream.is_broken() {
            return Some(Reason::DownstreamReset);
        }
        (self.up.phase == Phase::Lost || upstream.is_broken()).then_some(Reason::UpstreamReset)
    }

    /// The rungs that the directions are on: up, down.
    pub(crate) fn rungs(&self) -> (RungKind, RungKind) {
        (self.up.rung(), self.down.rung())
    }

    pub(crate) fn connection_state(&self) -> ConnectionState {
        match (self.up.phase, self.down.phase) {
            (Phase::Open, Phase::Open) => ConnectionState::Open,
            (Phase::Ended | Phase::Broken | Phase::Lost, _) => ConnectionState::HalfClosedDownstream,
            _ => ConnectionState::HalfClosedUpstream,
        }
    }
}
