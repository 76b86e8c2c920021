//! Reads answers, one after the other, as their bytes come.

use super::{
    body::Body,
    head::{self, BadHead, Memory},
};
use crate::{
    pattern::Pattern,
    tally::{Fault, Malformed},
};
use std::rc::Rc;

/// What an answer's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    status: u16,
    /// `None`: it lasts until the connection ends.
    body: Option<Body>,
    close: bool,
    pattern: Option<u64>,
}

/// What the request tells about its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The answer to HEAD has no body, whatever its head says.
    pub(crate) no_body: bool,
    /// What a body of our own backends is made of; `None`: bytes are not looked at.
    pub(crate) pattern: Option<Pattern>,
}

/// An answer that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) status: u16,
    pub(crate) close: bool,
}

enum State {
    Head,
    Body { status: u16, close: bool, body: Body, check: Check },
}

/// A body's content against what it was announced to be.
struct Check {
    pattern: Option<Pattern>,
    length: Option<u64>,
    received: u64,
    /// The place of the first wrong byte.
    wrong: Option<u64>,
}

/// See the module's documentation.
pub(crate) struct Reader {
    state: State,
    /// The beginning of a head whose end has not come.
    partial: Vec<u8>,
    memory: Rc<Memory<Head>>,
}

impl Reader {
    /// Connections that share a memory help each other.
    pub(crate) fn new(memory: Rc<Memory<Head>>) -> Self {
        Self { state: State::Head, partial: Vec::new(), memory }
    }

    /// For a new connection.
    pub(crate) fn restart(&mut self) {
        self.state = State::Head;
        self.partial.clear();
    }

    /// Something of an answer has come, and not all of it.
    pub(crate) fn is_within(&self) -> bool {
        !matches!(self.state, State::Head) || !self.partial.is_empty()
    }

    /// Take bytes up to the end of the answer to the oldest request. `None`: all are taken.
    ///
    /// # Errors
    /// What no server should say.
    pub(crate) fn read(&mut self, bytes: &mut &[u8], expected: Expected) -> Result<Option<Done>, Fault> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Head => {
                    let Some(head) = self.read_head(bytes)? else { return Ok(None) };
                    // 1xx are not the answer (RFC 9110 section 15.2); nobody asked for another protocol.
                    if head.status < 200 {
                        if head.status == 101 {
                            return Err(Fault::Malformed(Malformed::Head("nobody asked for 101")));
                        }
                        continue;
                    }
                    let no_body = expected.no_body || head.status == 204 || head.status == 304;
                    let body = if no_body { Body::NONE } else { head.body.unwrap_or(Body::UntilClose) };
                    if body == Body::NONE && (no_body || head.pattern.unwrap_or(0) == 0) {
                        return Ok(Some(Done { status: head.status, close: head.close }));
                    }
                    let pattern = expected.pattern.filter(|_| head.pattern.is_some());
                    let length = head.pattern.filter(|_| expected.pattern.is_some());
                    let check = Check { pattern, length, received: 0, wrong: None };
                    self.state = State::Body { status: head.status, close: head.close, body, check };
                    if body == Body::NONE {
                        return self.finish().map(Some);
                    }
                }
                State::Body { body, check, .. } => {
                    let taken = body.take(bytes, |content| check.see(content));
                    let (taken, over) = taken.map_err(|_| Fault::Malformed(Malformed::Chunk))?;
                    *bytes = &bytes[taken..];
                    if let Some(position) = check.wrong {
                        return Err(Fault::Corrupt { position });
                    }
                    if over {
                        return self.finish().map(Some);
                    }
                }
            }
        }
        Ok(None)
    }

    /// The connection has ended. The answer that this completes, if it does.
    ///
    /// # Errors
    /// The answer was not whole.
    pub(crate) fn end(&mut self) -> Result<Option<Done>, Fault> {
        match self.state {
            State::Body { body: Body::UntilClose, .. } => self.finish().map(Some),
            _ if self.is_within() => Err(Fault::Short),
            _ => Ok(None),
        }
    }

    fn finish(&mut self) -> Result<Done, Fault> {
        let State::Body { status, close, check, body } = std::mem::replace(&mut self.state, State::Head) else {
            return Err(Fault::Short);
        };
        match check.length {
            Some(length) if check.received < length => Err(Fault::Short),
            Some(length) if check.received > length => Err(Fault::Extra),
            _ => Ok(Done { status, close: close || body == Body::UntilClose }),
        }
    }

    fn read_head(&mut self, bytes: &mut &[u8]) -> Result<Option<Head>, Fault> {
        let bad = |why: BadHead| Fault::Malformed(Malformed::Head(why.words()));
        if !self.partial.is_empty() {
            let before = self.partial.len();
            let room = (head::HEAD_MAX + 1).saturating_sub(before).min(bytes.len());
            self.partial.extend_from_slice(&bytes[..room]);
            let Some((length, head)) = parse(&self.partial).map_err(bad)? else {
                *bytes = &bytes[room..];
                return Ok(None);
            };
            *bytes = &bytes[length - before..];
            self.partial.clear();
            return Ok(Some(head));
        }
        if let Some((length, head)) = self.memory.recall(bytes) {
            *bytes = &bytes[length..];
            return Ok(Some(head));
        }
        match parse(bytes).map_err(bad)? {
            Some((length, head)) => {
                self.memory.keep(&bytes[..length], head);
                *bytes = &bytes[length..];
                Ok(Some(head))
            }
            None => {
                self.partial.extend_from_slice(bytes);
                *bytes = &[];
                Ok(None)
            }
        }
    }
}

impl Check {
    fn see(&mut self, content: &[u8]) {
        self.received += content.len() as u64;
        if let Some(pattern) = &mut self.pattern
            && self.wrong.is_none()
            && self.length.is_none_or(|length| self.received <= length)
        {
            self.wrong = pattern.check(content).err();
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Option<(usize, Head)>, BadHead> {
    // Wrong from the first byte on is known before the line has ended.
    let start = &bytes[..bytes.len().min(7)];
    if !b"HTTP/1.".starts_with(start) {
        return Err(BadHead::StartLine);
    }
    let Some((length, first, fields)) = head::parse(bytes)? else { return Ok(None) };
    let (minor, status) = status_line(first).ok_or(BadHead::StartLine)?;
    let close = fields.close || (minor == 0 && !fields.keep_alive);
    let head = Head { status, body: fields.body(), close, pattern: fields.pattern };
    Ok(Some((length, head)))
}

/// `HTTP/1.x SSS` and a reason, which may be missing (RFC 9112 section 4).
fn status_line(line: &[u8]) -> Option<(u8, u16)> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let [minor @ (b'0' | b'1'), b' ', a, b, c, reason @ ..] = rest else { return None };
    let is_status = [a, b, c].iter().all(|digit| digit.is_ascii_digit()) && (b'1'..=b'9').contains(a);
    let digit = |byte: &u8| u16::from(byte - b'0');
    (is_status && matches!(reason, [] | [b' ', ..])).then(|| (minor - b'0', digit(a) * 100 + digit(b) * 10 + digit(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Expected = Expected { no_body: false, pattern: None };

    fn reader() -> Reader {
        Reader::new(Rc::new(Memory::new()))
    }

    /// Everything that came of these bytes in pieces, and then the end of the connection.
    fn conversation(bytes: &[u8], piece: usize, expected: Expected) -> Result<Vec<Done>, Fault> {
        let (mut reader, mut done) = (reader(), Vec::new());
        for mut part in bytes.chunks(piece) {
            while let Some(one) = reader.read(&mut part, expected)? {
                done.push(one);
            }
        }
        done.extend(reader.end()?);
        Ok(done)
    }

    #[track_caller]
    fn check(text: &str, expected: Expected, result: &Result<Vec<Done>, Fault>) {
        for piece in [1, 2, 3, 7, text.len()] {
            assert_eq!(&conversation(text.as_bytes(), piece, expected), result, "{text:?} in pieces of {piece}");
        }
    }

    fn ok(status: u16) -> Done {
        Done { status, close: false }
    }

    #[test]
    fn answers_in_every_form() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", PLAIN, &Ok(vec![ok(200)]));
        check("HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n", PLAIN, &Ok(vec![ok(503)]));
        let two = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nHTTP/1.1 204 No\r\n\r\n";
        check(two, PLAIN, &Ok(vec![ok(200), ok(204)]));
        let twice = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".repeat(2);
        check(&twice, PLAIN, &Ok(vec![ok(200), ok(200)]));
        let last = Done { status: 200, close: true };
        check("HTTP/1.1 200 OK\r\n\r\nas long as it lasts", PLAIN, &Ok(vec![last]));
        check("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", PLAIN, &Ok(vec![last]));
        check("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", PLAIN, &Ok(vec![ok(200)]));
        let head = Expected { no_body: true, pattern: None };
        check("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", head, &Ok(vec![ok(200)]));
    }

    #[test]
    fn what_is_no_answer() {
        let bad = |why: BadHead| Err(Fault::Malformed(Malformed::Head(why.words())));
        check("HTTP/2 200\r\n\r\n", PLAIN, &bad(BadHead::StartLine));
        check("HTTP/1.1 20 OK\r\n\r\n", PLAIN, &bad(BadHead::StartLine));
        check("HTTP/1.1 2000 OK\r\n\r\n", PLAIN, &bad(BadHead::StartLine));
        check("nonsense", PLAIN, &bad(BadHead::StartLine));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx";
        check(chunked, PLAIN, &Err(Fault::Malformed(Malformed::Chunk)));
        for short in ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", "HTTP/1.1 200", "H"] {
            check(short, PLAIN, &Err(Fault::Short));
        }
    }

    #[test]
    fn bodies_of_our_backends_are_checked() {
        let mut content = [0; 20];
        Pattern::named(b"/x").fill(&mut content);
        let with = |length: usize, content: &[u8]| {
            let length = format!("Content-Length: {}\r\nX-Bench-Body: {length}\r\n\r\n", content.len());
            [b"HTTP/1.1 200 OK\r\n", length.as_bytes(), content].concat()
        };
        let named = |name: &[u8]| Expected { no_body: false, pattern: Some(Pattern::named(name)) };
        assert_eq!(conversation(&with(20, &content), 9, named(b"/x")), Ok(vec![ok(200)]));
        assert_eq!(conversation(&with(20, &content), 9, named(b"/y")), Err(Fault::Corrupt { position: 0 }));
        assert_eq!(conversation(&with(20, &content), 9, PLAIN), Ok(vec![ok(200)]), "nobody looks");
        assert_eq!(conversation(&with(21, &content), 9, named(b"/x")), Err(Fault::Short));
        assert_eq!(conversation(&with(19, &content), 90, named(b"/x")), Err(Fault::Extra));
        content[17] ^= 1;
        assert_eq!(conversation(&with(20, &content), 9, named(b"/x")), Err(Fault::Corrupt { position: 17 }));
    }
}
