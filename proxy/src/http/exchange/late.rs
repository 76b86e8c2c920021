//! What may not be waited for any longer.

use super::{Answer, Client, Ended, Exchange, LOOK_AGAIN, QUEUED_BYTES_MAX, Stage};
use crate::report::Reason;
use balance_engine::clock::Timestamp;
use std::task::{Context, Poll};
use std::time::Duration;

impl Exchange {
    /// What is waited for may not be waited for any longer.
    pub(super) fn poll_deadline(&mut self, client: &mut Client<'_>, context: &mut Context<'_>) -> Poll<Ended> {
        let handle = client.row.state.handle.clone();
        let now = handle.now();
        let deadline = self.deadline();
        if let Some((at, late)) = deadline
            && at <= now
        {
            // Something was done about it, which is gone on with in the next turn.
            handle.yield_now(context);
            return match self.late(late, now, client) {
                Ok(()) => Poll::Pending,
                Err(reason) => Poll::Ready(Ended::Abort(reason)),
            };
        }
        let look = self.is_starved.then(|| now + LOOK_AGAIN);
        if let Some(at) = deadline.map(|(at, _)| at).into_iter().chain(look).min() {
            let _armed = client.timer.poll_lazily_at(at, context);
        }
        Poll::Pending
    }

    /// When is what too late?
    fn deadline(&self) -> Option<(Timestamp, Late)> {
        let timeouts = self.plan.as_ref().map(|plan| &plan.timeouts)?;
        let after = |since: Timestamp, limit: Option<Duration>, late| limit.map(|limit| (since + limit, late));
        let is_awaited = self.answer == Answer::Awaited;
        let body = &self.terms.body_progress;
        [
            after(self.record.started, timeouts.request, Late::Request),
            after(self.tried_at, timeouts.per_try, Late::Try).filter(|_| is_awaited),
            self.asked_at.and_then(|at| after(at, timeouts.response, Late::Response)).filter(|_| is_awaited),
            after(self.body_since.0, body.interval, Late::Body).filter(|_| self.is_body_awaited()),
            after(self.progress, timeouts.idle, Late::Idle).filter(|_| !matches!(self.stage, Stage::Opening(_))),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(at, _)| *at)
    }

    /// The client should be sending.
    fn is_body_awaited(&self) -> bool {
        matches!(self.stage, Stage::Talking(_)) && !self.request_body.has_come() && !self.up.is_full(QUEUED_BYTES_MAX)
    }

    fn late(&mut self, late: Late, now: Timestamp, client: &mut Client<'_>) -> Result<(), Reason> {
        let (status, reason) = match late {
            Late::Body
                if self.request_body.bytes - self.body_since.1 >= u64::from(self.terms.body_progress.bytes_min) =>
            {
                self.body_since = (now, self.request_body.bytes);
                return Ok(());
            }
            Late::Body => (408, Reason::BodyTimeout),
            Late::Request => (504, Reason::RequestTimeout),
            Late::Try | Late::Response => (504, Reason::ResponseTimeout),
            Late::Idle => (504, Reason::IdleTimeout),
        };
        if self.answer != Answer::Awaited {
            return Err(reason);
        }
        if late == Late::Try && self.may_try_again(client) {
            self.try_elsewhere(client);
            return Ok(());
        }
        self.is_kept &= late != Late::Body;
        self.fail(status, reason.as_str(), client);
        Ok(())
    }
}

/// What has not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    /// The whole exchange.
    Request,
    /// The response, since its endpoint was chosen.
    Try,
    /// The response, since the request was sent.
    Response,
    /// Enough of the request's body.
    Body,
    /// Anything.
    Idle,
}
