//! The request's way to an endpoint: where it goes, what is sent, and whether it is sent again.

use super::super::inbox::{Filled, Run, buffer_for};
use super::super::pool::Upstream;
use super::super::transfer::{Failure, Step, Tools};
use super::{Answer, COPIED_BYTES_MAX, Client, Exchange, QUEUED_BYTES_MAX, Stage};
use crate::h1::{CONTINUE, Patience};
use crate::report::Reason;
use crate::upstream;
use crate::upstream::{Opened, RowHandle, Wish};
use std::rc::Rc;
use std::task::{Context, Poll};

impl Exchange {
    /// Choose an endpoint and go there, by a connection that is open if there is one.
    pub(super) fn try_next(&mut self, client: &Client<'_>) {
        let Some(plan) = &self.plan else { return };
        let state = &client.row.state;
        self.tries += 1;
        self.tried_at = state.handle.now();
        self.asked_at = None;
        self.sent = 0;
        self.owes_request = true;
        self.is_reusable = true;
        self.patience = Patience::NEW;
        let row = RowHandle::of(client.row);
        let chosen = upstream::choose(state, &plan.cluster, &row, &self.avoid);
        if let Some((upstream, place)) = chosen.as_ref().and_then(|endpoint| endpoint.pool.take(state)) {
            let _none = client.row.with(|row| row.go_to(place));
            self.was_used = true;
            self.stage = Stage::Talking(Upstream { requests: upstream.requests + 1, ..upstream });
            return;
        }
        let wish = Wish { endpoint: chosen, avoid: self.avoid.clone(), connects: plan.connects() };
        let opening = upstream::open(Rc::clone(state), Rc::clone(&plan.cluster), row, wish);
        self.was_used = false;
        self.stage = Stage::Opening(Box::pin(opening));
    }

    pub(super) fn opened(&mut self, opened: Result<Opened, Reason>, client: &mut Client<'_>) {
        match opened {
            Ok(Opened { socket, header: _ }) => {
                let opened = client.row.state.handle.now();
                self.record.connected = Some(opened);
                self.stage = Stage::Talking(Upstream { socket, opened, requests: 1, is_large: false });
            }
            Err(reason) => {
                let status = match reason {
                    Reason::ConnectTimeout | Reason::QueueTimeout => 504,
                    Reason::ConnectFailed => 502,
                    _ => 503,
                };
                self.fail(status, reason.as_str(), client);
            }
        }
    }

    /// Put what the client has sent where the endpoint gets it.
    pub(super) fn fill_up(&mut self, client: &mut Client<'_>, context: &mut Context<'_>) -> Result<bool, Reason> {
        let state = &client.row.state;
        let pool = state.handle.pool();
        let mut moved = false;
        if self.owes_continue && self.interim(CONTINUE, client).is_ok() {
            self.owes_continue = false;
            moved = true;
        }
        if self.owes_request {
            let Some(mut buffer) = buffer_for(pool, self.request_len + 512) else {
                self.is_starved = true;
                return Ok(moved);
            };
            if buffer.capacity() < self.request_len {
                self.is_starved = true;
                return Ok(moved);
            }
            buffer[..self.request_len].copy_from_slice(&self.request[..self.request_len]);
            let mut len = self.request_len;
            if !self.request_body.is_over() && client.inbox.bytes().len() <= COPIED_BYTES_MAX {
                let mut tools = Tools { pool, limits: &self.terms.limits, names: &state.names, head: &mut self.head };
                match self.request_body.copy(client.inbox, &mut buffer[len..], &mut tools) {
                    Ok(more) => len += more,
                    Err(failure) => return self.wrong_body(failure, client),
                }
            }
            self.up.push(Run::whole(buffer, len as u32));
            self.owes_request = false;
            moved = true;
        }
        while !self.request_body.is_over() && !self.up.is_full(QUEUED_BYTES_MAX) {
            let mut tools = Tools { pool, limits: &self.terms.limits, names: &state.names, head: &mut self.head };
            match self.request_body.step(client.inbox, &mut tools) {
                Ok(Step::Over) => break,
                Ok(Step::Run(run)) => {
                    self.up.push(run);
                    moved = true;
                    continue;
                }
                Ok(Step::Wanting) => {}
                Err(failure) => return self.wrong_body(failure, client),
            }
            match client.inbox.poll_fill(client.socket, context) {
                Poll::Pending => break,
                Poll::Ready(Filled::More) => moved = true,
                Poll::Ready(Filled::Ended) => return Err(Reason::DownstreamGone),
                Poll::Ready(Filled::Broken) => return Err(Reason::DownstreamReset),
            }
        }
        Ok(moved)
    }

    /// The client's body is wrong, or cannot be taken now.
    pub(super) fn wrong_body(&mut self, failure: Failure, client: &mut Client<'_>) -> Result<bool, Reason> {
        match failure {
            Failure::NoBuffer => {
                self.is_starved = true;
                Ok(false)
            }
            Failure::Refused(_) if self.answer != Answer::Awaited => Err(Reason::BadRequest),
            Failure::Refused(refusal) => {
                self.is_kept = false;
                self.fail(refusal.status(), refusal.code(), client);
                Ok(true)
            }
        }
    }

    /// The endpoint has closed or reset the connection before the response was whole.
    pub(super) fn lost(&mut self, client: &mut Client<'_>) -> Result<(), Reason> {
        self.is_reusable = false;
        if self.answer != Answer::Awaited {
            return Err(Reason::UpstreamReset);
        }
        if self.may_try_again(client) {
            self.try_elsewhere(client);
            return Ok(());
        }
        let code = if self.inbox.is_empty() { "upstream_closed" } else { "upstream_incomplete" };
        self.fail(502, code, client);
        Ok(())
    }

    /// Give this endpoint up, and go to another if there is one.
    pub(super) fn try_elsewhere(&mut self, client: &Client<'_>) {
        let from = client.row.with(|row| row.endpoint().cloned());
        self.is_reusable = false;
        self.leave_upstream(client);
        let others = self.plan.as_ref().is_some_and(|plan| plan.cluster.endpoints.len() > 1);
        self.avoid.extend(from.filter(|_| others));
        self.record.retries += 1;
        self.try_next(client);
    }

    pub(super) fn may_try_again(&self, client: &Client<'_>) -> bool {
        let Some(plan) = &self.plan else { return false };
        let nothing_came = self.inbox.is_empty() && !self.rules.has_begun();
        // What was read of a body is gone.
        let nothing_taken = self.request_body.bytes == 0;
        let is_safe = self.sent == 0 || self.rules.method.is_idempotent();
        nothing_came
            && nothing_taken
            && is_safe
            && plan.may_retry(self.tries, self.sent == 0)
            && plan.cluster.budget.take(client.row.state.handle.now())
    }
}
