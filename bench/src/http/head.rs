//! The lines before a body (RFC 9112 sections 2 to 5), strictly: what a careful peer would refuse is refused.

use super::{
    BODY_HEADER,
    body::{Body, Chunked},
};
use std::cell::RefCell;

/// The largest head.
pub(crate) const HEAD_MAX: usize = 32 << 10;

/// Why a head is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHead {
    StartLine,
    HeaderLine,
    ContentLength,
    /// Both a length and chunks, or a coding that we do not know.
    TransferEncoding,
    TooLong,
}

impl BadHead {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::StartLine => "the first line is not HTTP/1",
            Self::HeaderLine => "a header line is malformed",
            Self::ContentLength => "the content length is no number, or there are two",
            Self::TransferEncoding => "the transfer encoding is not just chunked",
            Self::TooLong => "the head is longer than 32 KiB",
        }
    }
}

/// What the header lines say that matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) length: Option<u64>,
    pub(crate) chunked: bool,
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    /// A client waits for leave to send its body.
    pub(crate) expects_continue: bool,
    /// The body is pattern, of so many bytes.
    pub(crate) pattern: Option<u64>,
}

/// A head from its first byte on: how long it is, its first line and its fields. `None`: it is not all there.
///
/// # Errors
/// Bytes that cannot become a head.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(usize, &[u8], Fields)>, BadHead> {
    let Some(first) = line(bytes)? else { return unfinished(bytes) };
    if first.is_empty() {
        return Err(BadHead::StartLine);
    }
    let mut at = first.len() + 2;
    let mut fields = Fields::default();
    while let Some(line) = line(&bytes[at..])? {
        at += line.len() + 2;
        if at > HEAD_MAX {
            return Err(BadHead::TooLong);
        }
        if line.is_empty() {
            if fields.chunked && fields.length.is_some() {
                return Err(BadHead::TransferEncoding);
            }
            return Ok(Some((at, first, fields)));
        }
        fields.read(line)?;
    }
    unfinished(bytes)
}

fn unfinished<T>(bytes: &[u8]) -> Result<Option<T>, BadHead> {
    if bytes.len() > HEAD_MAX { Err(BadHead::TooLong) } else { Ok(None) }
}

/// Up to CRLF. A bare LF ends no line.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, BadHead> {
    let Some(lf) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    match lf.checked_sub(1).map(|cr| bytes.split_at(cr)) {
        Some((line, rest)) if rest[0] == b'\r' => Ok(Some(line)),
        _ => Err(BadHead::HeaderLine),
    }
}

impl Fields {
    fn read(&mut self, line: &[u8]) -> Result<(), BadHead> {
        let colon = line.iter().position(|byte| *byte == b':').ok_or(BadHead::HeaderLine)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return Err(BadHead::HeaderLine);
        }
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        // By length first: most headers are none of these.
        match name.len() {
            14 if is("content-length") => {
                let length = number(value).ok_or(BadHead::ContentLength)?;
                if self.length.is_some_and(|other| other != length) {
                    return Err(BadHead::ContentLength);
                }
                self.length = Some(length);
            }
            17 if is("transfer-encoding") => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(BadHead::TransferEncoding);
                }
                self.chunked = true;
            }
            10 if is("connection") => {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            6 if is("expect") => self.expects_continue = value.eq_ignore_ascii_case(b"100-continue"),
            12 if is(BODY_HEADER) => self.pattern = number(value),
            _ => {}
        }
        Ok(())
    }

    /// How the body comes, where there is one; `None`: neither a length nor chunks are promised.
    pub(crate) fn body(&self) -> Option<Body> {
        if self.chunked { Some(Body::Chunked(Chunked::START)) } else { self.length.map(Body::Length) }
    }
}

/// RFC 9110 section 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The last head that was parsed and what it said. Heads of one server, or of one client, come again byte for byte
/// until the clock in them moves on: then comparing them is all there is to do. That bytes equal a head says that they
/// are one and where it ends.
pub(crate) struct Memory<T>(RefCell<(Vec<u8>, Option<T>)>);

impl<T: Clone> Memory<T> {
    pub(crate) fn new() -> Self {
        Self(RefCell::new((Vec::with_capacity(512), None)))
    }

    /// What the head at the beginning of `bytes` says, and how long it is, where it is the remembered one.
    pub(crate) fn recall(&self, bytes: &[u8]) -> Option<(usize, T)> {
        let memory = self.0.borrow();
        let (head, said) = &*memory;
        let said = said.as_ref()?;
        bytes.starts_with(head).then(|| (head.len(), said.clone()))
    }

    pub(crate) fn keep(&self, head: &[u8], said: T) {
        let mut memory = self.0.borrow_mut();
        memory.0.clear();
        memory.0.extend_from_slice(head);
        memory.1 = Some(said);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &str) -> Result<Fields, BadHead> {
        let text = format!("X\r\n{lines}\r\n\r\nrest");
        parse(text.as_bytes()).map(|head| {
            let (length, first, fields) = head.expect("whole");
            assert_eq!((length, first), (text.len() - 4, &b"X"[..]));
            fields
        })
    }

    #[test]
    fn fields_that_matter() {
        assert_eq!(fields("Content-Length: 12").unwrap().length, Some(12));
        assert_eq!(fields("content-length:12 \r\nContent-Length: 12").unwrap().length, Some(12));
        assert!(fields("Transfer-Encoding: Chunked").unwrap().chunked);
        assert!(fields("Connection: upgrade , CLOSE").unwrap().close);
        assert!(fields("connection: keep-alive").unwrap().keep_alive);
        assert_eq!(fields("X-Bench-Body: 7").unwrap().pattern, Some(7));
        assert!(fields("Expect: 100-continue").unwrap().expects_continue);
    }

    #[test]
    fn wrong_heads_are_refused() {
        for (lines, why) in [
            ("no colon", BadHead::HeaderLine),
            ("Name : value", BadHead::HeaderLine),
            (" folded: value", BadHead::HeaderLine),
            (": value", BadHead::HeaderLine),
            ("A: b\nC: d", BadHead::HeaderLine),
            ("Content-Length: 1\r\nContent-Length: 2", BadHead::ContentLength),
            ("Content-Length: +1", BadHead::ContentLength),
            ("Content-Length: 99999999999999999999", BadHead::ContentLength),
            ("Transfer-Encoding: gzip, chunked", BadHead::TransferEncoding),
            ("Transfer-Encoding: chunked\r\nContent-Length: 1", BadHead::TransferEncoding),
        ] {
            assert_eq!(fields(lines), Err(why), "{lines}");
        }
        assert_eq!(parse(b"\r\n\r\n"), Err(BadHead::StartLine));
        assert_eq!(parse("a".repeat(HEAD_MAX + 1).as_bytes()), Err(BadHead::TooLong));
        let many = format!("X\r\n{}\r\n", "a: b\r\n".repeat(HEAD_MAX / 6 + 1));
        assert_eq!(parse(many.as_bytes()), Err(BadHead::TooLong));
    }

    #[test]
    fn a_part_of_a_head_is_no_head_yet() {
        let whole = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), Ok(None), "{end}");
        }
        assert!(parse(whole).unwrap().is_some());
    }

    #[test]
    fn a_memory_knows_its_head_and_no_other() {
        let memory = Memory::new();
        assert_eq!(memory.recall(b"abc"), None);
        memory.keep(b"ab\r\n\r\n", 7);
        assert_eq!(memory.recall(b"ab\r\n\r\nbody"), Some((6, 7)));
        assert_eq!(memory.recall(b"ab\r\n\r"), None);
        assert_eq!(memory.recall(b"aB\r\n\r\n"), None);
    }
}
