//! The response's way back: its head, what comes before it, its body.

use super::super::inbox::{Filled, Run, buffer_for};
use super::super::plan::Answering;
use super::super::transfer::{Failure, Step, Tools, Transfer};
use super::super::tube::{Moved, Tube};
use super::{ADDED_BYTES, Answer, COPIED_BYTES_MAX, Client, Exchange, QUEUED_BYTES_MAX, Stage, TUBE_BYTES_MIN};
use crate::h1;
use crate::h1::{Body, Parsed, Patience, Response, ResponseOut, Unwritable};
use crate::report::Reason;
use balance_engine::buf::Class;
use std::rc::Rc;
use std::task::{Context, Poll};

impl Exchange {
    pub(super) fn read_answer(&mut self, client: &mut Client<'_>, context: &mut Context<'_>) -> Result<bool, Reason> {
        let mut moved = false;
        loop {
            if !matches!(self.stage, Stage::Talking(_)) {
                return Ok(moved);
            }
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
                    self.record.answered.get_or_insert_with(|| client.row.state.handle.now());
                }
                Poll::Ready(Filled::Ended) if self.answer == Answer::Body && self.response_body.end() => {}
                Poll::Ready(Filled::Ended | Filled::Broken) => {
                    self.lost(client)?;
                    return Ok(true);
                }
            }
        }
    }

    pub(super) fn response_step(&mut self, client: &Client<'_>) -> Result<Step, Failure> {
        let state = &client.row.state;
        let mut tools =
            Tools { pool: state.handle.pool(), limits: &self.terms.answers, names: &state.names, head: &mut self.head };
        self.response_body.step(&mut self.inbox, &mut tools)
    }

    /// A response's head has come, at the start of the inbox. Returns false where there was no buffer to write it to:
    /// it is read again later.
    pub(super) fn answered(&mut self, response: &Response, client: &mut Client<'_>) -> Result<bool, Reason> {
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
        let endpoint = client.row.with(|row| row.endpoint().map(|endpoint| Rc::clone(&endpoint.text)));
        let endpoint = endpoint.as_deref().unwrap_or_default().as_bytes();
        let answering = Answering { bytes, response, head: &self.head, endpoint, body, connection };
        let write = |buffer: &mut [u8]| self.asked.write_response(buffer, state, &self.terms, answering);
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
    pub(super) fn choose_tube(&mut self) {
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
    pub(super) fn move_body(&mut self, client: &Client<'_>, context: &mut Context<'_>) -> Result<bool, Reason> {
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
    pub(super) fn interim_came(&mut self, response: &Response, client: &Client<'_>) -> bool {
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
    pub(super) fn look_again(&mut self) -> bool {
        self.patience = Patience::NEW;
        self.is_starved = true;
        false
    }

    /// The endpoint speaks another protocol from here on, as it was asked to.
    pub(super) fn switched(&mut self, response: &Response, client: &mut Client<'_>) -> bool {
        let state = &client.row.state;
        let Some(mut buffer) = buffer_for(state.handle.pool(), response.head_len + ADDED_BYTES) else {
            return self.look_again();
        };
        let answering = Answering {
            bytes: self.inbox.bytes(),
            response,
            head: &self.head,
            endpoint: b"",
            body: Body::None,
            connection: h1::Connection::Upgrade(self.asked.upgrade()),
        };
        let written = self.asked.write_response(&mut buffer, state, &self.terms, answering);
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
}
