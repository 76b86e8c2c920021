//! The head of a request.

use balance_engine::intern::{Interner, NameRef, is_token, known};

use super::{
    bytes::find_not_target,
    framing::{Body, Framing, Version},
    head::{Head, Parsed, Section, Span, Use, is_line_end},
    limits::Limits,
    refusal::{Reason, Side},
    target::{self, Authority, Form, Target},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
    /// Another token; [`Request::method_text`] says which.
    Other,
}

impl Method {
    fn of(text: &[u8]) -> Self {
        match text {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// RFC 9110, 9.2.2; of an unknown one nothing is known.
    pub(crate) const fn is_idempotent(self) -> bool {
        !matches!(self, Self::Post | Self::Patch | Self::Connect | Self::Other)
    }
}

/// A request that may be forwarded. Spans are places in the bytes that were parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Where the body begins: an empty line before the request, the start line, the fields and the empty line.
    pub(crate) head_len: usize,
    pub(crate) method: Method,
    pub(crate) method_text: Span,
    pub(crate) version: Version,
    pub(crate) form: Form,
    /// The target as it was sent.
    pub(crate) target: Span,
    /// Empty where an absolute target has none, which means `/`, and `*` for OPTIONS. `*` in the asterisk form.
    pub(crate) path: Span,
    /// Without the question mark.
    pub(crate) query: Option<Span>,
    /// Of an absolute target, else of `Host` (RFC 9112, 3.2.2). `None` only in HTTP/1.0.
    pub(crate) authority: Option<Authority>,
    /// Never [`Body::UntilClose`].
    pub(crate) body: Body,
    /// What the client wants; false also for HTTP/1.0 that does not ask.
    pub(crate) keep_alive: bool,
    /// `Expect: 100-continue`, from HTTP/1.1 and with a body.
    pub(crate) expect_continue: bool,
    /// The value of `Upgrade`, if `Connection` names it, the version is 1.1 and there is no body.
    pub(crate) upgrade: Option<Span>,
    /// `TE: trailers`: the client can take a trailer section.
    pub(crate) te_trailers: bool,
}

/// Reads a request head from the start of `bytes`. `head` holds the fields afterwards, if it is complete.
///
/// A name has an id when it is known or `names` remembers it; nothing is learned from a client.
pub(crate) fn parse_request(bytes: &[u8], limits: &Limits, names: &Interner, head: &mut Head) -> Parsed<Request> {
    Parsed::of(Side::Request, parse(bytes, limits, names, head))
}

fn parse(bytes: &[u8], limits: &Limits, names: &Interner, head: &mut Head) -> Result<Option<Request>, Reason> {
    let bytes_max = limits.head_bytes_max.min(Limits::HEAD_BYTES_CEILING) as usize;
    let Some(start) = start_line(bytes, limits)? else {
        return if bytes.len() >= bytes_max { Err(Reason::HeadTooLong) } else { Ok(None) };
    };
    let section = Section { bytes, limits, names, bytes_max, underscores: limits.underscores };
    let mut seen = Seen::default();
    let Some(head_len) = section.parse(start.next, head, |name, value| seen.take(bytes, name, value))? else {
        return Ok(None);
    };
    seen.framing.mark_named(bytes, head);
    finish(start, seen, head_len, limits).map(Some)
}

/// What the start line has said.
struct Start {
    method: Method,
    method_text: Span,
    version: Version,
    text: Span,
    target: Target,
    next: usize,
}

#[inline]
fn start_line(bytes: &[u8], limits: &Limits) -> Result<Option<Start>, Reason> {
    let Some(at) = skip_empty_line(bytes)? else {
        return Ok(None);
    };
    let Some((method, method_text, at)) = method(bytes, at)? else {
        return Ok(None);
    };
    let end = find_not_target(bytes, at);
    if end - at > limits.target_bytes_max as usize {
        return Err(Reason::TargetTooLong);
    }
    match bytes.get(end) {
        None => return Ok(None),
        Some(b' ' | b'\r' | b'\n') if end == at => return Err(Reason::StartLine),
        Some(b' ') => {}
        Some(b'\r' | b'\n') => return Err(Reason::Http09),
        Some(_) => return Err(Reason::TargetByte),
    }
    let version_at = end + 1;
    let version = match version(bytes, version_at) {
        Ok(Some(version)) => version,
        Ok(None) => return Ok(None),
        Err(Reason::VersionUnsupported) if method_text.of(bytes) == b"PRI" => return Err(Reason::Http2Preface),
        Err(reason) => return Err(reason),
    };
    let next = version_at + VERSION_BYTES + 2;
    let target = target::parse(bytes, at, end, method)?;
    Ok(Some(Start { method, method_text, version, text: Span::new(at, end), target, next }))
}

/// RFC 9112, 2.2: an empty line before the request should be ignored. One is.
#[inline]
fn skip_empty_line(bytes: &[u8]) -> Result<Option<usize>, Reason> {
    if !matches!(bytes.first(), Some(b'\r' | b'\n')) {
        return Ok(Some(0));
    }
    if !is_line_end(bytes, 0, Reason::StartLine)? {
        return Ok(None);
    }
    if matches!(bytes.get(2), Some(b'\r' | b'\n')) { Err(Reason::EmptyLines) } else { Ok(Some(2)) }
}

/// The method, and where the target begins.
#[inline]
fn method(bytes: &[u8], at: usize) -> Result<Option<(Method, Span, usize)>, Reason> {
    let rest = bytes.get(at..).unwrap_or_default();
    if rest.starts_with(b"GET ") {
        return Ok(Some((Method::Get, Span::new(at, at + 3), at + 4)));
    }
    let looked_at = rest.get(..Limits::METHOD_BYTES_MAX + 1).unwrap_or(rest);
    let Some(len) = looked_at.iter().position(|byte| !is_token(&[*byte])) else {
        return if rest.len() > Limits::METHOD_BYTES_MAX { Err(Reason::MethodTooLong) } else { Ok(None) };
    };
    let (text, end) = rest.split_at(len);
    match end.first() {
        Some(b' ') if len > 0 => {}
        Some(b' ' | b'\r' | b'\n' | b'\t') => return Err(Reason::StartLine),
        _ => return Err(Reason::Method),
    }
    match Method::of(text) {
        Method::Connect => Err(Reason::Connect),
        method => Ok(Some((method, Span::new(at, at + len), at + len + 1))),
    }
}

/// `HTTP/1.1`.
pub(super) const VERSION_BYTES: usize = 8;

/// The version and the CRLF behind it; `None` when more must come.
#[inline]
fn version(bytes: &[u8], at: usize) -> Result<Option<Version>, Reason> {
    let rest = bytes.get(at..).unwrap_or_default();
    if rest.starts_with(b"HTTP/1.1\r\n") {
        return Ok(Some(Version::Http11));
    }
    let Some(version) = version_number(rest)? else {
        return Ok(None);
    };
    // One more digit makes another number; anything else is a part of the line too many.
    let otherwise = match rest.get(VERSION_BYTES) {
        Some(b'0'..=b'9' | b'.') => Reason::Version,
        _ => Reason::StartLine,
    };
    Ok(is_line_end(rest, VERSION_BYTES, otherwise)?.then_some(version))
}

/// `HTTP-version = "HTTP" "/" DIGIT "." DIGIT` (RFC 9112, 2.3), case-sensitive.
pub(super) fn version_number(rest: &[u8]) -> Result<Option<Version>, Reason> {
    for (place, wanted) in b"HTTP/d.d".iter().enumerate() {
        match rest.get(place) {
            None => return Ok(None),
            Some(byte) if byte == wanted || (*wanted == b'd' && byte.is_ascii_digit()) => {}
            Some(_) if place == 0 => return Err(Reason::StartLine),
            Some(_) => return Err(Reason::Version),
        }
    }
    match (rest.get(5), rest.get(7)) {
        (Some(b'1'), Some(b'1')) => Ok(Some(Version::Http11)),
        (Some(b'1'), Some(b'0')) => Ok(Some(Version::Http10)),
        _ => Err(Reason::VersionUnsupported),
    }
}

/// What the fields of a request have said so far.
#[derive(Debug, Default)]
struct Seen {
    framing: Framing,
    host: Option<Authority>,
    authorized: bool,
    expects: bool,
    expects_other: bool,
}

impl Seen {
    #[inline(always)]
    fn take(&mut self, bytes: &[u8], name: NameRef, value: Span) -> Result<Use, Reason> {
        match name {
            known::HOST => {
                if self.host.is_some() {
                    return Err(Reason::HostDuplicate);
                }
                self.host = Some(target::authority(bytes, value).ok_or(Reason::HostInvalid)?);
                Ok(Use::EndToEnd)
            }
            known::AUTHORIZATION if self.authorized => Err(Reason::FieldDuplicate),
            known::AUTHORIZATION => {
                self.authorized = true;
                Ok(Use::EndToEnd)
            }
            // Answered here and never forwarded, so that a refusal upstream cannot leave a body behind.
            known::EXPECT => {
                let is_continue = value.of(bytes).eq_ignore_ascii_case(b"100-continue");
                self.expects_other |= !is_continue;
                self.expects |= is_continue;
                Ok(Use::HopByHop)
            }
            _ => self.framing.take(bytes, name, value),
        }
    }
}

fn finish(start: Start, seen: Seen, head_len: usize, limits: &Limits) -> Result<Request, Reason> {
    let Start { method, method_text, version, text, target, .. } = start;
    let framing = &seen.framing;
    if version == Version::Http11 && seen.host.is_none() {
        return Err(Reason::HostMissing);
    }
    framing.check(version)?;
    let body = match framing.length {
        Some(length) => Body::Length(length),
        None if framing.chunked => Body::Chunked,
        None => Body::None,
    };
    let has_body = !matches!(body, Body::None | Body::Length(0));
    if method == Method::Trace && has_body {
        return Err(Reason::TraceBody);
    }
    if framing.length.is_some_and(|length| length > limits.body_bytes_max) {
        return Err(Reason::BodyTooLong);
    }
    // RFC 9110, 10.1.1: from HTTP/1.0 it is ignored.
    if seen.expects_other && version == Version::Http11 {
        return Err(Reason::Expectation);
    }
    Ok(Request {
        head_len,
        method,
        method_text,
        version,
        form: target.form,
        target: text,
        path: target.path,
        query: target.query,
        authority: target.authority.or(seen.host),
        body,
        keep_alive: framing.keep_alive(version),
        expect_continue: seen.expects && has_body && version == Version::Http11,
        upgrade: framing.upgrade(version).filter(|_| body == Body::None),
        te_trailers: framing.te_trailers,
    })
}
