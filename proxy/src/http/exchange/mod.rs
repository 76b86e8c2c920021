//! One request and its response.
//!
//! ```text
//!   head ──► plan ──┬─ our own answer ────────────────────────────────────────────────┐
//!                   └─ cluster ──► Opening ──► Talking ── response over ──► Answered ──┴─► all sent: over
//!                                     ▲  └ none ─┐ │ └── 101 ──► tunnel
//!                                     │          │ │
//!                                     └ again ◄──┴─┘ lost, nothing of a response came, and it is safe
//!                                                └──► 502, 503, 504
//! ```
//!
//! Both bodies move at once: a response may begin, and end, while the request's body is still on its way. Nothing is
//! read of either that cannot be sent on soon, so a slow peer holds no more than a few buffers.
//!
//! Invariants:
//! * A request is sent again only as long as the client has got nothing of a response, nothing of its body was taken
//!   from it, and either no byte of it was sent or its method is idempotent.
//! * A connection to an endpoint is used again only where request and response were both whole, nothing came behind
//!   the response, and it said that it would.
//! * What the client has got as a part is never made to look whole: the connection is reset.

mod late;
mod request;
mod response;

use super::inbox::{Inbox, NoBuffer, Run, buffer_for};
use super::outbox::Outbox;
use super::plan::{Action, Asked, Asking, Plan, Refused};
use super::pool;
use super::pool::Upstream;
use super::record::Record;
use super::transfer::Transfer;
use super::tube::Tube;
use crate::h1;
use crate::h1::{Body, Format, Head, Method, Patience, Refusal, Request};
use crate::permits::Place;
use crate::report::Reason;
use crate::state::{EndpointState, HttpTerms, Right};
use crate::table::RowGuard;
use crate::upstream::Opened;
use balance_engine::clock::Timestamp;
use balance_engine::net::{Socket, Timer};
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

/// What one exchange may move before others get their turn.
const TURN_BYTES_MAX: u64 = 1 << 20;
/// What may lie in one direction until the peer takes it.
const QUEUED_BYTES_MAX: u64 = 64 << 10;
/// A body of which so much is left is received into large buffers.
const BULK_BYTES: u64 = 16 << 10;
/// A body of which so much has not come yet is moved by splice.
const TUBE_BYTES_MIN: u64 = 16 << 10;
/// Bytes of a body that are copied behind its head, to go in one send; more is cheaper to send from where it lies.
const COPIED_BYTES_MAX: usize = 3 << 10;
/// Room for what is added to a head, mostly.
const ADDED_BYTES: usize = 1 << 10;
/// How soon a buffer is asked for again where there was none.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

type Opening = Pin<Box<dyn Future<Output = Result<Opened, Reason>>>>;

/// Where the exchange stands with its endpoint.
enum Stage {
    Opening(Opening),
    Talking(Upstream),
    /// With none: all that is left is to send to the client.
    Answered,
}

/// Where the response stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Awaited,
    /// Its head was handed on.
    Body,
    Over,
}

/// The client's side of a connection, as an exchange uses it.
pub(super) struct Client<'a> {
    pub(super) row: &'a RowGuard,
    pub(super) socket: &'a mut Socket,
    pub(super) inbox: &'a mut Inbox,
    pub(super) timer: &'a mut Timer,
}

/// How an exchange has ended.
pub(super) enum Ended {
    /// Another request may follow.
    Kept,
    /// The last response was sent.
    Close,
    /// Neither side may take what it has got for the whole.
    Abort(Reason),
    /// The endpoint has switched to another protocol; the client was told so.
    Upgraded(Socket, Inbox),
}

/// See the module's documentation. Used for one request after another, so that none of them allocates.
pub(super) struct Exchange {
    pub(super) head: Head,
    asked: Asked,
    pub(super) terms: Rc<HttpTerms>,
    plan: Option<Plan>,
    stage: Stage,
    answer: Answer,
    /// What the two sides owe each other.
    rules: h1::Exchange,
    format: Format,
    /// The head as endpoints get it. Kept as long as it may have to be sent again.
    request: Vec<u8>,
    request_len: usize,
    /// It is still to be put into the outbox.
    owes_request: bool,
    /// The client waits to be told to go on.
    owes_continue: bool,
    request_body: Transfer,
    response_body: Transfer,
    up: Outbox,
    down: Outbox,
    /// What came from the endpoint.
    inbox: Inbox,
    patience: Patience,
    avoid: Vec<Rc<EndpointState>>,
    tries: u8,
    /// Of the request on the connection in use, the kernel has taken so much.
    sent: u64,
    /// The client's connection may carry another request.
    is_kept: bool,
    /// The endpoint's connection may.
    is_reusable: bool,
    /// It was used before: its end may have been on its way when it was chosen.
    was_used: bool,
    /// The endpoint has switched to another protocol, as it was asked to.
    is_switched: bool,
    /// The client's socket receives into large buffers for now.
    is_bulk_upload: bool,
    /// Of a large body, what has not come is moved past us.
    tube: Option<Tube>,
    /// Bodies may be moved so.
    splices: bool,
    /// A buffer was wanted, and there was none.
    is_starved: bool,
    /// The last move in either direction.
    progress: Timestamp,
    tried_at: Timestamp,
    /// When the request was sent whole.
    asked_at: Option<Timestamp>,
    /// Since when the body of the request is measured, and how much of it there was then.
    body_since: (Timestamp, u64),
    pub(super) record: Record,
}

impl Exchange {
    pub(super) fn new(terms: Rc<HttpTerms>) -> Self {
        Self {
            head: Head::with_limits(&terms.limits),
            terms,
            asked: Asked::default(),
            plan: None,
            stage: Stage::Answered,
            answer: Answer::Over,
            rules: h1::Exchange::NONE,
            format: Format::Text,
            request: Vec::new(),
            request_len: 0,
            owes_request: false,
            owes_continue: false,
            request_body: Transfer::NONE,
            response_body: Transfer::NONE,
            up: Outbox::default(),
            down: Outbox::default(),
            inbox: Inbox::default(),
            patience: Patience::NEW,
            avoid: Vec::new(),
            tries: 0,
            sent: 0,
            is_kept: false,
            is_reusable: false,
            was_used: false,
            is_switched: false,
            is_bulk_upload: false,
            tube: None,
            splices: false,
            is_starved: false,
            progress: Timestamp::START,
            tried_at: Timestamp::START,
            asked_at: None,
            body_since: (Timestamp::START, 0),
            record: Record::new(Timestamp::START, Method::Other),
        }
    }
}

impl Exchange {
    /// Begin with a head that has come whole. Its bytes are at the start of the client's inbox, and are consumed.
    pub(super) fn begin(&mut self, request: &Request, may_be_kept: bool, client: &mut Client<'_>) {
        let state = Rc::clone(&client.row.state);
        let now = state.handle.now();
        self.rules = h1::Exchange::new(request);
        self.is_kept = may_be_kept;
        self.request_body = Transfer::new(h1::Side::Request, request.body, request.body);
        self.is_bulk_upload = self.request_body.left().is_some_and(|left| left >= BULK_BYTES);
        if self.is_bulk_upload {
            client.socket.set_bulk_recv(true);
        }
        self.owes_continue = request.expect_continue && !self.request_body.is_over();
        self.response_body = Transfer::NONE;
        self.tries = 0;
        self.is_switched = false;
        self.tube = None;
        self.splices = self.terms.splices;
        self.avoid.clear();
        self.progress = now;
        self.body_since = (now, 0);
        self.record = Record::new(now, request.method);
        let bytes = client.inbox.bytes();
        self.format = Format::accepted(self.head.value(bytes, balance_engine::intern::known::ACCEPT));
        let (_, connection) = self.rules.persistence(Body::None, self.request_body.has_come(), self.is_kept);
        let asking = Asking { bytes, request, head: &self.head, connection };
        let action = self.asked.plan(&self.terms, client.row, asking, &mut self.request);
        client.inbox.consume(request.head_len);
        self.answer = Answer::Awaited;
        match action {
            Ok(Action::Forward(plan, len)) => {
                plan.cluster.budget.save();
                self.plan = Some(plan);
                self.request_len = len;
                self.try_next(client);
            }
            Ok(Action::Respond { status, len }) => {
                self.record.status = status;
                self.respond(len, client);
            }
            Err(Refused { status, code }) => self.fail(status, code, client),
        }
    }

    /// Our own answer, which lies where requests do.
    fn respond(&mut self, len: usize, client: &Client<'_>) {
        self.answer = Answer::Over;
        self.is_kept &= self.request_body.has_come();
        let pool = client.row.state.handle.pool();
        let mut written = 0;
        while written < len {
            let Some(mut buffer) = buffer_for(pool, len - written) else {
                // What there is of it must not look whole.
                self.is_kept = false;
                return;
            };
            let part = (len - written).min(buffer.capacity());
            buffer[..part].copy_from_slice(&self.request[written..written + part]);
            self.down.push(Run::whole(buffer, part as u32));
            written += part;
        }
    }

    /// A head that is not to be forwarded. What follows it cannot be trusted either.
    pub(super) fn refuse(&mut self, refusal: Refusal, client: &mut Client<'_>) {
        self.refuse_with(refusal.status(), refusal.code(), client);
    }

    fn refuse_with(&mut self, status: u16, code: &'static str, client: &mut Client<'_>) {
        let now = client.row.state.handle.now();
        self.record = Record::new(now, Method::Other);
        self.progress = now;
        self.rules = h1::Exchange::NONE;
        self.format = Format::Text;
        self.is_kept = false;
        self.request_body = Transfer::NONE;
        self.response_body = Transfer::NONE;
        self.answer = Answer::Awaited;
        self.fail(status, code, client);
    }

    /// The rest of a head has not come in time.
    pub(super) fn answer_late(&mut self, client: &mut Client<'_>) {
        self.refuse_with(408, Reason::HeaderTimeout.as_str(), client);
    }

    /// The connection ends in the middle of it.
    pub(super) fn abort(&mut self, client: &mut Client<'_>) {
        self.is_reusable = false;
        self.leave_upstream(client);
        self.down = Outbox::default();
        self.finish(client);
    }

    /// Nothing more will happen: count it.
    fn finish(&mut self, client: &mut Client<'_>) {
        if mem::take(&mut self.is_bulk_upload) {
            client.socket.set_bulk_recv(false);
        }
        self.record.ended = Some(client.row.state.handle.now());
        let route = self.asked.entry.and_then(|entry| self.terms.route(entry));
        client.row.state.finished(&self.record, route);
        self.plan = None;
    }

    /// Go on as far as it goes.
    pub(super) fn poll(&mut self, client: &mut Client<'_>, context: &mut Context<'_>) -> Poll<Ended> {
        let handle = client.row.state.handle.clone();
        let before = self.record.bytes();
        loop {
            self.is_starved = false;
            let moved = match self.step(client, context) {
                Ok(moved) => moved,
                Err(reason) => return Poll::Ready(Ended::Abort(reason)),
            };
            let is_left = self.is_switched && self.up.is_empty() || matches!(self.stage, Stage::Answered);
            if self.answer == Answer::Over && self.down.is_empty() && is_left {
                return Poll::Ready(self.end(client));
            }
            if !moved {
                break;
            }
            self.progress = handle.now();
            if self.record.bytes() - before >= TURN_BYTES_MAX {
                handle.yield_now(context);
                return Poll::Pending;
            }
            if !handle.spend(context) {
                return Poll::Pending;
            }
        }
        if client.socket.poll_broken(context).is_ready() {
            return Poll::Ready(Ended::Abort(Reason::DownstreamReset));
        }
        self.poll_deadline(client, context)
    }

    /// Each thing that can be done, once.
    fn step(&mut self, client: &mut Client<'_>, context: &mut Context<'_>) -> Result<bool, Reason> {
        let mut moved = match &mut self.stage {
            Stage::Opening(opening) => match opening.as_mut().poll(context) {
                Poll::Pending => false,
                Poll::Ready(opened) => {
                    self.opened(opened, client);
                    true
                }
            },
            Stage::Talking(_) => self.talk(client, context)?,
            Stage::Answered => false,
        };
        // What is left of the request is wanted no longer; what is under way of it is awaited, for the sake of the
        // connection.
        if self.answer == Answer::Over && !self.is_switched && (self.up.is_empty() || !self.request_body.is_over()) {
            self.leave_upstream(client);
        }
        match self.down.poll(client.socket, context) {
            Poll::Pending => {}
            Poll::Ready(Ok(bytes)) => {
                self.record.bytes_down += bytes;
                moved = true;
            }
            Poll::Ready(Err(_)) => return Err(Reason::DownstreamReset),
        }
        Ok(moved)
    }

    /// Send to the endpoint, and take what it says.
    fn talk(&mut self, client: &mut Client<'_>, context: &mut Context<'_>) -> Result<bool, Reason> {
        let mut moved = self.fill_up(client, context)?;
        let Stage::Talking(upstream) = &mut self.stage else { return Ok(moved) };
        match self.up.poll(&mut upstream.socket, context) {
            Poll::Pending => {}
            Poll::Ready(Ok(bytes)) => {
                self.sent += bytes;
                self.record.bytes_up += bytes;
                if self.request_body.is_over() && self.up.is_empty() {
                    self.asked_at = Some(client.row.state.handle.now());
                }
                moved = true;
            }
            // What it has to say about that may still be there to be read.
            Poll::Ready(Err(_)) => {
                self.is_reusable = false;
                self.is_kept &= self.request_body.is_over();
                self.request_body = Transfer::NONE;
                if self.sent == 0 || self.answer != Answer::Awaited {
                    return self.lost(client).map(|()| true);
                }
            }
        }
        Ok(self.read_answer(client, context)? || moved)
    }

    /// A few bytes of ours before the response.
    fn interim(&mut self, bytes: &[u8], client: &Client<'_>) -> Result<(), NoBuffer> {
        let mut buffer = buffer_for(client.row.state.handle.pool(), bytes.len()).ok_or(NoBuffer)?;
        buffer[..bytes.len()].copy_from_slice(bytes);
        self.down.push(Run::whole(buffer, bytes.len() as u32));
        Ok(())
    }

    /// The endpoint's connection is done with: another request may have it, or it is closed.
    fn leave_upstream(&mut self, client: &Client<'_>) {
        let stage = mem::replace(&mut self.stage, Stage::Answered);
        self.tube = None;
        let state = &client.row.state;
        let is_whole = self.answer == Answer::Over && self.request_body.is_over() && self.up.is_empty();
        self.is_kept &= self.request_body.has_come();
        let place = client.row.with(|row| row.go_to(Place::NONE));
        let mut upstream = match stage {
            Stage::Talking(upstream) => upstream,
            Stage::Opening(opening) => {
                drop(opening);
                return state.give_back_after_close([Right::Place(place)]);
            }
            Stage::Answered => return,
        };
        let endpoint = place.get().cloned();
        self.record.endpoint.clone_from(&endpoint);
        match (endpoint, &self.plan) {
            (Some(endpoint), Some(plan)) if is_whole && self.is_reusable && self.inbox.is_empty() => {
                if upstream.is_large {
                    // An end that comes meanwhile is to be known.
                    upstream.socket.resume_recv();
                }
                pool::put(state, &plan.cluster, &endpoint, upstream, place);
            }
            _ => {
                // A send may be under way on it: that goes first.
                self.up = Outbox::default();
                drop(upstream);
                state.give_back_after_close([Right::Place(place)]);
            }
        }
        self.inbox.clear();
    }

    /// Answer ourselves, in place of the endpoint.
    fn fail(&mut self, status: u16, code: &'static str, client: &mut Client<'_>) {
        self.is_reusable = false;
        self.is_kept &= self.request_body.has_come() && !client.row.state.draining.get();
        self.leave_upstream(client);
        self.owes_request = false;
        self.record.status = status;
        self.record.code = code;
        self.answer = Answer::Over;
        let how = h1::ErrorOut {
            status,
            code,
            format: self.format,
            head_only: self.rules.method == Method::Head,
            connection: self.rules.persistence(Body::None, true, self.is_kept).1,
        };
        let buffer = buffer_for(client.row.state.handle.pool(), 512);
        let written = buffer.and_then(|mut buffer| {
            let len = h1::write_error(&mut buffer, &how).ok()?;
            Some(Run::whole(buffer, len as u32))
        });
        match written {
            Some(run) => self.down.push(run),
            None => self.is_kept = false,
        }
    }

    /// All that is to be sent was sent.
    fn end(&mut self, client: &mut Client<'_>) -> Ended {
        if self.is_switched
            && let Stage::Talking(upstream) = mem::replace(&mut self.stage, Stage::Answered)
        {
            return Ended::Upgraded(upstream.socket, mem::take(&mut self.inbox));
        }
        self.finish(client);
        if self.is_kept { Ended::Kept } else { Ended::Close }
    }
}
