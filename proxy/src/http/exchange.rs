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

use super::{
    inbox::{Filled, Inbox, NoBuffer, Run, buffer_for},
    outbox::Outbox,
    plan::{Action, Asked, Plan},
    pool::{self, Upstream},
    record::Record,
    transfer::{Failure, Step, Tools, Transfer},
    tube::{Moved, Tube},
};
use crate::{
    h1::{self, Body, CONTINUE, Format, Head, Method, Parsed, Patience, Refusal, Request, Response, ResponseOut, Unwritable},
    permits::Place,
    report::Reason,
    state::{EndpointState, HttpTerms, Right},
    table::RowGuard,
    upstream::{self, Opened, RowHandle, Wish},
};
use balance_engine::{
    buf::Class,
    clock::Timestamp,
    net::{Socket, Timer},
};
use std::{
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

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
        let parsed = (bytes, request, &self.head);
        let action = self.asked.plan(&self.terms, client.row, parsed, connection, &mut self.request);
        client.inbox.consume(request.head_len);
        self.answer = Answer::Awaited;
        match action {
            Action::Forward(plan, len) => {
                plan.cluster.budget.save();
                self.plan = Some(plan);
                self.request_len = len;
                self.try_next(client);
            }
            Action::Respond { status, len } => {
                self.record.status = status;
                self.respond(len, client);
            }
            Action::Refuse { status, code } => self.fail(status, code, client),
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
        client.row.state.finished(&self.record);
        self.plan = None;
    }

    /// Choose an endpoint and go there, by a connection that is open if there is one.
    fn try_next(&mut self, client: &Client<'_>) {
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

    fn opened(&mut self, opened: Result<Opened, Reason>, client: &mut Client<'_>) {
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

    /// Put what the client has sent where the endpoint gets it.
    fn fill_up(&mut self, client: &mut Client<'_>, context: &mut Context<'_>) -> Result<bool, Reason> {
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
                let mut tools =
                    Tools { pool, limits: &self.terms.limits, names: &state.names, head: &mut self.head };
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

    fn read_answer(&mut self, client: &mut Client<'_>, context: &mut Context<'_>) -> Result<bool, Reason> {
        let mut moved = false;
        loop {
            let Stage::Talking(upstream) = &mut self.stage else { return Ok(moved) };
            match self.answer {
                Answer::Over => return Ok(moved),
                Answer::Awaited => {
                    let max = self.terms.limits.head_bytes_max as usize;
                    if !self.inbox.is_empty() && self.patience.is_over(self.inbox.bytes(), max) {
                        let names = &client.row.state.names;
                        let bytes = self.inbox.bytes();
                        match h1::parse_response(bytes, &self.terms.answers, names, self.rules.method, &mut self.head) {
                            Parsed::Partial => self.inbox.keep(),
                            Parsed::Refused(refusal) => {
                                self.fail(refusal.status(), refusal.code(), client);
                                return Ok(true);
                            }
                            Parsed::Complete(response) => {
                                if !self.answered(&response, client)? {
                                    return Ok(moved);
                                }
                                moved = true;
                                continue;
                            }
                        }
                    }
                }
                Answer::Body if self.tube.as_ref().is_some_and(|tube| !tube.is_pausing()) => {
                    return Ok(self.move_body(client, context)? || moved);
                }
                Answer::Body if self.down.is_full(QUEUED_BYTES_MAX) => return Ok(moved),
                Answer::Body => match self.response_step(client) {
                    Ok(Step::Run(run)) => {
                        self.down.push(run);
                        moved = true;
                        continue;
                    }
                    Ok(Step::Over) => {
                        self.answer = Answer::Over;
                        return Ok(true);
                    }
                    Ok(Step::Wanting) => {}
                    Err(Failure::NoBuffer) => {
                        self.is_starved = true;
                        return Ok(moved);
                    }
                    Err(Failure::Refused(_)) => return Err(Reason::UpstreamReset),
                },
            }
            let Stage::Talking(upstream) = &mut self.stage else { return Ok(moved) };
            if upstream.is_large && self.tube.is_none() {
                upstream.socket.resume_recv();
            }
            match self.inbox.poll_fill(&mut upstream.socket, context) {
                Poll::Pending => return Ok(self.move_body(client, context)? || moved),
                Poll::Ready(Filled::More) => {
                    moved = true;
                    self.record.answered.get_or_insert(client.row.state.handle.now());
                }
                Poll::Ready(Filled::Ended) if self.answer == Answer::Body && self.response_body.end() => {}
                Poll::Ready(Filled::Ended | Filled::Broken) => {
                    self.lost(client)?;
                    return Ok(true);
                }
            }
        }
    }

    fn response_step(&mut self, client: &Client<'_>) -> Result<Step, Failure> {
        let state = &client.row.state;
        let mut tools = Tools {
            pool: state.handle.pool(),
            limits: &self.terms.answers,
            names: &state.names,
            head: &mut self.head,
        };
        self.response_body.step(&mut self.inbox, &mut tools)
    }

    /// A response's head has come, at the start of the inbox. Returns false where there was no buffer to write it to:
    /// it is read again later.
    fn answered(&mut self, response: &Response, client: &mut Client<'_>) -> Result<bool, Reason> {
        let offered = Some(self.asked.upgrade()).filter(|offered| !offered.is_empty());
        let body = match self.rules.answer(self.inbox.bytes(), response, offered) {
            Ok(h1::Answer::Final { body }) => body,
            Ok(h1::Answer::Switch) => return Ok(self.switched(response, client)),
            Ok(h1::Answer::Interim) => return Ok(self.interim_came(response, client)),
            Ok(h1::Answer::Swallow) => {
                self.inbox.consume(response.head_len);
                self.patience = Patience::NEW;
                return Ok(true);
            }
            Err(refusal) => {
                self.fail(refusal.status(), refusal.code(), client);
                return Ok(true);
            }
        };
        let state = &client.row.state;
        // Whether the rest of the request's body will come is not known, and a response says at its start what becomes
        // of the connection.
        let wanted = self.is_kept && !state.draining.get();
        let (is_kept, connection) = self.rules.persistence(body, self.request_body.has_come(), wanted);
        self.is_kept = is_kept;
        let Some(mut buffer) = buffer_for(state.handle.pool(), response.head_len + ADDED_BYTES) else {
            self.patience = Patience::NEW;
            self.is_starved = true;
            return Ok(false);
        };
        let bytes = self.inbox.bytes();
        let parsed = (bytes, response, &self.head);
        let endpoint = client.row.with(|row| row.endpoint().map(|endpoint| Rc::clone(&endpoint.text)));
        let endpoint = endpoint.as_deref().unwrap_or_default().as_bytes();
        let mut write = |buffer: &mut [u8]| {
            self.asked.write_response(buffer, state, &self.terms, parsed, endpoint, body, connection)
        };
        let mut written = write(&mut buffer);
        if written == Err(Unwritable::Full)
            && let Some(larger) = state.handle.pool().take(Class::Large)
        {
            buffer = larger;
            written = write(&mut buffer);
        }
        let Ok(mut len) = written else {
            self.fail(502, "upstream_head_too_long", client);
            return Ok(true);
        };
        self.record.status = response.status;
        self.is_reusable &= response.keep_alive;
        self.inbox.consume(response.head_len);
        self.answer = Answer::Body;
        self.response_body = Transfer::new(h1::Side::Response, response.body, body);
        if self.inbox.bytes().len() <= COPIED_BYTES_MAX {
            let mut tools = Tools {
                pool: state.handle.pool(),
                limits: &self.terms.answers,
                names: &state.names,
                head: &mut self.head,
            };
            match self.response_body.copy(&mut self.inbox, &mut buffer[len..], &mut tools) {
                Ok(more) => len += more,
                Err(Failure::NoBuffer) => {}
                Err(Failure::Refused(refusal)) => {
                    self.answer = Answer::Awaited;
                    self.fail(refusal.status(), refusal.code(), client);
                    return Ok(true);
                }
            }
        }
        self.down.push(Run::whole(buffer, len as u32));
        self.choose_tube();
        Ok(true)
    }

    /// Whether the rest of the body is moved past us.
    fn choose_tube(&mut self) {
        let Stage::Talking(upstream) = &mut self.stage else { return };
        let left = self.response_body.left().unwrap_or_default();
        let is_large = self.splices && self.response_body.is_plain() && left >= TUBE_BYTES_MIN;
        if upstream.is_large != is_large {
            upstream.is_large = is_large;
            upstream.socket.set_once_recv(is_large);
        }
        if is_large {
            self.tube = Some(Tube::begin(&mut upstream.socket));
        }
    }

    /// Move the body past us. Returns whether something was done.
    fn move_body(&mut self, client: &Client<'_>, context: &mut Context<'_>) -> Result<bool, Reason> {
        let (Some(tube), Stage::Talking(upstream)) = (&mut self.tube, &mut self.stage) else { return Ok(false) };
        if tube.is_pausing() {
            // What came before goes first, and nothing may be received after.
            if !self.down.is_empty() || !self.inbox.is_empty() || !upstream.socket.recv_is_quiet() {
                return Ok(false);
            }
            tube.start(&upstream.socket, client.socket);
        }
        let left = self.response_body.left().unwrap_or_default();
        match tube.step(&upstream.socket, client.socket, left, context) {
            Moved::Waiting => Ok(false),
            Moved::Bytes(bytes) => {
                self.record.bytes_down += bytes;
                self.response_body.moved(bytes);
                if self.response_body.is_over() && tube.is_empty() {
                    self.tube = None;
                }
                Ok(true)
            }
            Moved::SourceLost => Err(Reason::UpstreamReset),
            Moved::SinkBroken => Err(Reason::DownstreamReset),
            Moved::Refused => {
                self.tube = None;
                self.splices = false;
                upstream.is_large = false;
                upstream.socket.set_once_recv(false);
                Ok(true)
            }
        }
    }

    /// The client is told of something that comes before the response.
    fn interim_came(&mut self, response: &Response, client: &Client<'_>) -> bool {
        let Some(mut buffer) = buffer_for(client.row.state.handle.pool(), response.head_len + 64) else {
            return self.look_again();
        };
        let how = ResponseOut { body: Body::None, edits: h1::Edits::NONE, connection: h1::Connection::Implied };
        if let Ok(len) = h1::write_response(&mut buffer, self.inbox.bytes(), response, &self.head, &how) {
            self.down.push(Run::whole(buffer, len as u32));
        }
        self.inbox.consume(response.head_len);
        self.patience = Patience::NEW;
        true
    }

    /// There was no buffer for what a head would become: it is read again when there may be one.
    fn look_again(&mut self) -> bool {
        self.patience = Patience::NEW;
        self.is_starved = true;
        false
    }

    /// A few bytes of ours before the response.
    fn interim(&mut self, bytes: &[u8], client: &Client<'_>) -> Result<(), NoBuffer> {
        let mut buffer = buffer_for(client.row.state.handle.pool(), bytes.len()).ok_or(NoBuffer)?;
        buffer[..bytes.len()].copy_from_slice(bytes);
        self.down.push(Run::whole(buffer, bytes.len() as u32));
        Ok(())
    }

    /// The endpoint speaks another protocol from here on, as it was asked to.
    fn switched(&mut self, response: &Response, client: &mut Client<'_>) -> bool {
        let state = &client.row.state;
        let Some(mut buffer) = buffer_for(state.handle.pool(), response.head_len + ADDED_BYTES) else {
            return self.look_again();
        };
        let parsed = (self.inbox.bytes(), response, &self.head);
        let connection = h1::Connection::Upgrade(self.asked.upgrade());
        let written =
            self.asked.write_response(&mut buffer, state, &self.terms, parsed, b"", Body::None, connection);
        let Ok(len) = written else {
            self.fail(502, "upstream_head_too_long", client);
            return true;
        };
        self.record.status = 101;
        self.inbox.consume(response.head_len);
        self.down.push(Run::whole(buffer, len as u32));
        self.answer = Answer::Over;
        self.is_switched = true;
        true
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

    /// The endpoint has closed or reset the connection before the response was whole.
    fn lost(&mut self, client: &mut Client<'_>) -> Result<(), Reason> {
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
    fn try_elsewhere(&mut self, client: &Client<'_>) {
        let from = client.row.with(|row| row.endpoint().cloned());
        self.is_reusable = false;
        self.leave_upstream(client);
        let others = self.plan.as_ref().is_some_and(|plan| plan.cluster.endpoints.len() > 1);
        self.avoid.extend(from.filter(|_| others));
        self.record.retries += 1;
        self.try_next(client);
    }

    fn may_try_again(&self, client: &Client<'_>) -> bool {
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

    /// The client's body is wrong, or cannot be taken now.
    fn wrong_body(&mut self, failure: Failure, client: &mut Client<'_>) -> Result<bool, Reason> {
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

    /// What is waited for may not be waited for any longer.
    fn poll_deadline(&mut self, client: &mut Client<'_>, context: &mut Context<'_>) -> Poll<Ended> {
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
            Late::Body if self.request_body.bytes - self.body_since.1 >= u64::from(self.terms.body_progress.bytes_min) => {
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
