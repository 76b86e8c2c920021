//! The request target in its four forms (RFC 9112, 3.2), and what may be a host.

use std::net::Ipv6Addr;

use super::{bytes::find_byte, head::Span, refusal::Reason, request::Method};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `/path?query`
    Origin,
    /// `http://host/path?query`; forwarded as [`Form::Origin`].
    Absolute,
    /// `*`, of OPTIONS.
    Asterisk,
}

/// A host and its port, as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// Both.
    pub(crate) whole: Span,
    /// With the brackets of an IPv6 address.
    pub(crate) host: Span,
    pub(crate) port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) form: Form,
    /// Empty where an absolute target has none, which means `/`.
    pub(super) path: Span,
    /// Without the question mark.
    pub(super) query: Option<Span>,
    pub(super) authority: Option<Authority>,
}

/// `at..end` is not empty and has only bytes that may be in a target.
#[inline]
pub(super) fn parse(bytes: &[u8], at: usize, end: usize, method: Method) -> Result<Target, Reason> {
    match bytes.get(at) {
        Some(b'/') => {
            let (path, query) = path_and_query(bytes, at, end);
            Ok(Target { form: Form::Origin, path, query, authority: None })
        }
        Some(b'*') if end - at == 1 && method == Method::Options => {
            Ok(Target { form: Form::Asterisk, path: Span::new(at, end), query: None, authority: None })
        }
        _ => absolute(bytes, at, end),
    }
}

#[inline]
fn path_and_query(bytes: &[u8], at: usize, end: usize) -> (Span, Option<Span>) {
    let bytes = bytes.get(..end).unwrap_or_default();
    let mark = find_byte(bytes, at, b'?');
    let query = (mark < end).then(|| Span::new(mark + 1, end));
    (Span::new(at, mark), query)
}

#[cold]
fn absolute(bytes: &[u8], at: usize, end: usize) -> Result<Target, Reason> {
    let target = bytes.get(at..end).unwrap_or_default();
    let has = |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| has(scheme)).ok_or(Reason::TargetForm)?;
    let start = at + scheme.len();
    let rest = bytes.get(start..end).unwrap_or_default();
    let stop = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).map_or(end, |offset| start + offset);
    let authority = authority(bytes, Span::new(start, stop)).ok_or(Reason::TargetAuthority)?;
    let (path, query) = path_and_query(bytes, stop, end);
    Ok(Target { form: Form::Absolute, path, query, authority: Some(authority) })
}

/// `uri-host [":" port]` (RFC 9110, 7.2), and a host that a name or an address can be: letters, digits, `-._~`, or an
/// IPv6 address in brackets.
///
/// That is less than RFC 3986, 3.2.2 allows: no percent-encoding, no sub-delimiters (a comma above all, by which two
/// fields look like one), no future IP version, no zone. None of these reaches anybody in a `Host`.
pub(super) fn authority(bytes: &[u8], whole: Span) -> Option<Authority> {
    let text = whole.of(bytes);
    let host_len = match text.first()? {
        b'[' => ip_literal(text)?,
        _ => text.iter().position(|byte| *byte == b':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at_checked(host_len)?;
    if host.is_empty() || (host.first() != Some(&b'[') && !host.iter().all(|byte| is_host_byte(*byte))) {
        return None;
    }
    let port = match rest.split_first() {
        None => None,
        Some((b':', [])) => None,
        Some((b':', digits)) => Some(port(digits)?),
        Some(_) => return None,
    };
    let at = whole.range().start;
    Some(Authority { whole, host: Span::new(at, at + host_len), port })
}

/// The length of the literal with its brackets.
fn ip_literal(text: &[u8]) -> Option<usize> {
    let close = text.iter().position(|byte| *byte == b']')?;
    let address = std::str::from_utf8(text.get(1..close)?).ok()?;
    address.parse::<Ipv6Addr>().ok()?;
    Some(close + 1)
}

const fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn port(digits: &[u8]) -> Option<u16> {
    if digits.len() > 5 {
        return None;
    }
    super::framing::decimal(digits)?.try_into().ok()
}
