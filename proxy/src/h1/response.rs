//! The head of a response.

use balance_engine::intern::Interner;

use super::{
    bytes::find_not_text,
    framing::{Body, Framing, Version},
    head::{Head, Parsed, Section, Span, is_line_end},
    limits::{Limits, Underscores},
    refusal::{Reason, Side},
    request::{Method, VERSION_BYTES, version_number},
};

/// A response that may be forwarded. Spans are places in the bytes that were parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// Where the body begins.
    pub(crate) head_len: usize,
    pub(crate) version: Version,
    /// From 100 to 599.
    pub(crate) status: u16,
    /// The reason phrase, often empty.
    pub(crate) phrase: Span,
    pub(crate) body: Body,
    /// What `Content-Length` says of a body that does not follow: of HEAD and 304.
    pub(crate) length_told: Option<u64>,
    /// The connection may be used again once the body has been read to its end. Never with [`Body::UntilClose`], nor
    /// behind a 101.
    pub(crate) keep_alive: bool,
    /// The value of `Upgrade`, if `Connection` names it and the version is 1.1.
    pub(crate) upgrade: Option<Span>,
}

impl Response {
    /// Another response follows to the same request (RFC 9110, 15.2). A 101 is no interim response: HTTP ends there.
    pub(crate) const fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }
}

/// Reads the head of a response to a request with the given method from the start of `bytes`.
pub(crate) fn parse_response(
    bytes: &[u8],
    limits: &Limits,
    names: &Interner,
    asked: Method,
    head: &mut Head,
) -> Parsed<Response> {
    Parsed::of(Side::Response, parse(bytes, limits, names, asked, head))
}

fn parse(
    bytes: &[u8],
    limits: &Limits,
    names: &Interner,
    asked: Method,
    head: &mut Head,
) -> Result<Option<Response>, Reason> {
    let bytes_max = limits.head_bytes_max.min(Limits::HEAD_BYTES_CEILING) as usize;
    let Some(start) = start_line(bytes)? else {
        return if bytes.len() >= bytes_max { Err(Reason::HeadTooLong) } else { Ok(None) };
    };
    let section = Section { bytes, limits, names, bytes_max, underscores: Underscores::Keep };
    let mut framing = Framing::default();
    let Some(head_len) = section.parse(start.next, head, |name, value| framing.take(bytes, name, value))? else {
        return Ok(None);
    };
    framing.mark_named(bytes, head);
    finish(start, &framing, head_len, asked).map(Some)
}

struct Start {
    version: Version,
    status: u16,
    phrase: Span,
    next: usize,
}

/// `HTTP-version SP status-code SP [ reason-phrase ] CRLF` (RFC 9112, 4). The second space may be missing where no
/// phrase follows, which many servers do, and which changes nothing.
#[inline]
fn start_line(bytes: &[u8]) -> Result<Option<Start>, Reason> {
    let Some(version) = version_number(bytes)? else {
        return Ok(None);
    };
    let Some(status) = status(bytes)? else {
        return Ok(None);
    };
    let after = VERSION_BYTES + 4;
    let from = match bytes.get(after) {
        None => return Ok(None),
        Some(b' ') => after + 1,
        Some(b'\r' | b'\n') => after,
        Some(_) => return Err(Reason::Status),
    };
    let end = find_not_text(bytes, from);
    if !is_line_end(bytes, end, Reason::Phrase)? {
        return Ok(None);
    }
    Ok(Some(Start { version, status, phrase: Span::new(from, end), next: end + 2 }))
}

/// Behind the version, a space and three digits.
fn status(bytes: &[u8]) -> Result<Option<u16>, Reason> {
    match bytes.get(VERSION_BYTES) {
        None => return Ok(None),
        Some(b' ') => {}
        Some(_) => return Err(Reason::StartLine),
    }
    let mut status = 0;
    for place in VERSION_BYTES + 1..VERSION_BYTES + 4 {
        match bytes.get(place) {
            None => return Ok(None),
            Some(digit @ b'0'..=b'9') => status = status * 10 + u16::from(digit - b'0'),
            Some(_) => return Err(Reason::Status),
        }
    }
    if (100..600).contains(&status) { Ok(Some(status)) } else { Err(Reason::Status) }
}

fn finish(start: Start, framing: &Framing, head_len: usize, asked: Method) -> Result<Response, Reason> {
    let Start { version, status, phrase, .. } = start;
    framing.check(version)?;
    let never = status < 200 || status == 204;
    if never && framing.chunked {
        return Err(Reason::TransferEncodingNoBody);
    }
    // RFC 9112, 6.3, in its order.
    let body = if never || status == 304 || asked == Method::Head {
        Body::None
    } else if framing.chunked {
        Body::Chunked
    } else {
        framing.length.map_or(Body::UntilClose, Body::Length)
    };
    // RFC 9110, 8.6: a server must not send it with 1xx and 204, and it would say nothing.
    let length_told = framing.length.filter(|_| body == Body::None && !never);
    Ok(Response {
        head_len,
        version,
        status,
        phrase,
        body,
        length_told,
        keep_alive: framing.keep_alive(version) && body != Body::UntilClose && status != 101,
        upgrade: framing.upgrade(version),
    })
}
