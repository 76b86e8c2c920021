//! Reads requests as their bytes come.

use super::answer::{Answers, Prepared};
use crate::{
    http::{
        body::Body,
        head::{self, BadHead, Memory},
    },
    pattern::Pattern,
};
use std::rc::Rc;

/// A body that is to be sent back is kept whole.
const ECHO_MAX: usize = 16 << 20;

/// What a request's head says.
#[derive(Clone)]
pub(super) struct Head {
    pub(super) answer: Rc<Prepared>,
    pub(super) body: Body,
    pub(super) expects_continue: bool,
    /// What its body is said to be.
    pattern: Option<(Pattern, u64)>,
}

/// A request that is whole.
pub(super) struct Request {
    pub(super) head: Head,
    /// Of one that is to be sent back.
    pub(super) content: Vec<u8>,
    /// The body was what it was said to be.
    pub(super) is_right: bool,
}

/// What is to be done now.
pub(super) enum Event {
    /// Say that the body may come.
    Continue,
    Request(Request),
}

enum State {
    Head,
    /// The body goes on; so much of it has come.
    Body {
        head: Head,
        content: Vec<u8>,
        received: u64,
        is_right: bool,
    },
}

/// Bytes that are no request, or one that is too large.
pub(super) struct Bad;

pub(super) struct Reader {
    state: State,
    partial: Vec<u8>,
    memory: Rc<Memory<Head>>,
    answers: Rc<Answers>,
}

impl Reader {
    pub(super) fn new(memory: Rc<Memory<Head>>, answers: Rc<Answers>) -> Self {
        Self { state: State::Head, partial: Vec::new(), memory, answers }
    }

    /// Take bytes up to the next event. `None`: all are taken.
    pub(super) fn read(&mut self, bytes: &mut &[u8]) -> Result<Option<Event>, Bad> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Head => {
                    let Some(head) = self.read_head(bytes)? else { return Ok(None) };
                    if head.body == Body::NONE {
                        let is_right = head.pattern.is_none_or(|(_, length)| length == 0);
                        return Ok(Some(Event::Request(Request { head, content: Vec::new(), is_right })));
                    }
                    let expects = head.expects_continue;
                    self.state = State::Body { head, content: Vec::new(), received: 0, is_right: true };
                    if expects && bytes.is_empty() {
                        return Ok(Some(Event::Continue));
                    }
                }
                State::Body { head, content, received, is_right } => {
                    let echoes = head.answer.echoes();
                    let pattern = &mut head.pattern;
                    let taken = head.body.take(bytes, |part| {
                        *received += part.len() as u64;
                        if let Some((pattern, _)) = pattern {
                            *is_right &= pattern.check(part).is_ok();
                        }
                        if echoes && content.len() + part.len() <= ECHO_MAX {
                            content.extend_from_slice(part);
                        }
                    });
                    let (taken, over) = taken.map_err(|_| Bad)?;
                    *bytes = &bytes[taken..];
                    if echoes && *received > ECHO_MAX as u64 {
                        return Err(Bad);
                    }
                    if over {
                        return Ok(self.finish().map(Event::Request));
                    }
                }
            }
        }
        Ok(None)
    }

    fn finish(&mut self) -> Option<Request> {
        let state = std::mem::replace(&mut self.state, State::Head);
        let State::Body { head, content, received, is_right } = state else { return None };
        let is_right = is_right && head.pattern.is_none_or(|(_, length)| length == received);
        Some(Request { head, content, is_right })
    }

    fn read_head(&mut self, bytes: &mut &[u8]) -> Result<Option<Head>, Bad> {
        if self.partial.is_empty()
            && let Some((length, head)) = self.memory.recall(bytes)
        {
            *bytes = &bytes[length..];
            return Ok(Some(head));
        }
        // An empty line before a request is passed over (RFC 9112 section 2.2).
        if self.partial.is_empty() && bytes.starts_with(b"\r\n") {
            *bytes = &bytes[2..];
            return Ok(None);
        }
        let before = self.partial.len();
        let room = (head::HEAD_MAX + 1).saturating_sub(before).min(bytes.len());
        self.partial.extend_from_slice(&bytes[..room]);
        let parsed = self.parse().map_err(|_| Bad)?;
        let Some((length, head)) = parsed else {
            *bytes = &bytes[room..];
            return Ok(None);
        };
        self.memory.keep(&self.partial[..length], head.clone());
        *bytes = &bytes[length - before..];
        self.partial.clear();
        Ok(Some(head))
    }

    fn parse(&self) -> Result<Option<(usize, Head)>, BadHead> {
        let Some((length, line, fields)) = head::parse(&self.partial)? else { return Ok(None) };
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(BadHead::StartLine);
        };
        let minor = match version {
            b"HTTP/1.1" => 1,
            b"HTTP/1.0" => 0,
            _ => return Err(BadHead::StartLine),
        };
        if !method.iter().all(|byte| head::is_token(*byte)) {
            return Err(BadHead::StartLine);
        }
        let closes = fields.close || (minor == 0 && !fields.keep_alive);
        let answer = self.answers.get(target, method == b"HEAD", closes);
        let body = fields.body().unwrap_or(Body::NONE);
        let pattern = fields.pattern.map(|length| (Pattern::named(target), length));
        Ok(Some((length, Head { answer, body, expects_continue: fields.expects_continue, pattern })))
    }
}
