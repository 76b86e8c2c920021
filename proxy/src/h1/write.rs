//! Heads as they leave: always written anew, from parts that were validated.
//!
//! A line that is already what would be written is copied, and so are all such lines in a row, start line included, in
//! one go. What frames the message and what concerns the connection is never copied.
//!
//! Names keep the case in which they came: some old peers still depend on it, and nobody on another.

use balance_engine::intern::{Interner, NameRef, is_token, known};

use super::{
    bytes::{find_not_target, find_not_text, is_text},
    framing::{Body, Version},
    head::{Field, Head, Span},
    request::{Method, Request, VERSION_BYTES},
    response::Response,
    target::Form,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwritable {
    /// The room is too small; what is in it now is of no use.
    Full,
    /// A target, host or value from outside the message has a byte that may not be there.
    Invalid,
    /// HTTP/1.0 came without `Host`, and no other was given.
    NoHost,
}

/// A field name of ours, good to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldName(Box<[u8]>);

impl FieldName {
    /// `None` for what is no token, and for fields that only the writer writes: those that frame the message or
    /// concern the connection, and `Host`.
    pub(crate) fn new(name: &[u8], names: &Interner) -> Option<Self> {
        use known as k;
        let ours = [
            k::CONTENT_LENGTH,
            k::TRANSFER_ENCODING,
            k::CONNECTION,
            k::KEEP_ALIVE,
            k::PROXY_CONNECTION,
            k::UPGRADE,
            k::TE,
            k::HOST,
        ];
        let is_ours = names.lookup(name).is_some_and(|id| ours.contains(&id));
        (is_token(name) && !is_ours).then(|| Self(name.into()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A set of field names, made once per configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameSet {
    /// By number.
    known: u128,
    /// Those without a number, in any case.
    others: Vec<Box<[u8]>>,
    /// What further names begin with, in small letters.
    prefixes: Vec<Box<[u8]>>,
}

const _: () = assert!(known::COUNT <= 128, "the known names need a wider set");

impl NameSet {
    pub(crate) const EMPTY: Self = Self { known: 0, others: Vec::new(), prefixes: Vec::new() };

    pub(crate) fn insert(&mut self, name: &[u8], names: &Interner) {
        match names.lookup(name).and_then(NameRef::known_number) {
            Some(number) => self.known |= 1 << number,
            None => self.others.push(name.into()),
        }
    }

    /// All names that begin so, in any case.
    pub(crate) fn insert_prefix(&mut self, prefix: &[u8]) {
        for number in (0..known::COUNT as u32).filter(|number| known::name(*number).as_bytes().starts_with(prefix)) {
            self.known |= 1 << number;
        }
        self.prefixes.push(prefix.into());
    }

    /// A name that is known to all is in it.
    fn has(&self, name: NameRef) -> bool {
        name.known_number().is_some_and(|number| self.known >> number & 1 != 0)
    }

    #[inline]
    fn contains(&self, field: &Field, bytes: &[u8]) -> bool {
        match field.name.and_then(NameRef::known_number) {
            Some(number) => self.known >> number & 1 != 0,
            None if self.others.is_empty() && self.prefixes.is_empty() => false,
            None => {
                let name = field.name_of(bytes);
                let starts = |prefix: &[u8]| name.get(..prefix.len()).is_some_and(|s| s.eq_ignore_ascii_case(prefix));
                self.others.iter().any(|other| other.eq_ignore_ascii_case(name))
                    || self.prefixes.iter().any(|prefix| starts(prefix))
            }
        }
    }
}

/// A field to be added behind those of the message. Its value is checked when it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Added<'a> {
    pub(crate) name: &'a FieldName,
    pub(crate) value: &'a [u8],
}

/// What changes on the way. To set a field is to remove and to add it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edits<'a> {
    pub(crate) removed: &'a NameSet,
    pub(crate) added: &'a [Added<'a>],
}

impl Edits<'static> {
    pub(crate) const NONE: Self = Self { removed: &NameSet::EMPTY, added: &[] };
}

/// What is said about the connection that the message goes out on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection<'a> {
    /// Nothing: HTTP/1.1 persists.
    Implied,
    /// `keep-alive`, for HTTP/1.0.
    KeepAlive,
    Close,
    /// `upgrade`, and to this protocol.
    Upgrade(&'a [u8]),
}

/// How a request goes out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestOut<'a> {
    /// Path and query instead of those that came.
    pub(crate) target: Option<&'a [u8]>,
    /// `Host` instead of the one that came.
    pub(crate) host: Option<&'a [u8]>,
    pub(crate) edits: Edits<'a>,
    pub(crate) connection: Connection<'a>,
}

/// How a response goes out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseOut<'a> {
    /// As it is framed downstream: [`Body::Chunked`] for HTTP/1.1 clients only.
    pub(crate) body: Body,
    pub(crate) edits: Edits<'a>,
    pub(crate) connection: Connection<'a>,
}

/// Writes the head of a request, as HTTP/1.1, to the start of `out`, and says how long it is.
///
/// # Errors
/// When `out` is too small, or something in `how` may not be written.
pub(crate) fn write_request(
    out: &mut [u8],
    bytes: &[u8],
    request: &Request,
    head: &Head,
    how: &RequestOut<'_>,
) -> Result<usize, Unwritable> {
    let absolute = (request.form == Form::Absolute).then_some(request.authority).flatten();
    let host = how.host.or_else(|| absolute.map(|authority| authority.whole.of(bytes)));
    if host.is_none() && request.authority.is_none() {
        return Err(Unwritable::NoHost);
    }
    let mut out = Out { bytes: out, len: 0 };
    let unchanged = how.target.is_none() && request.form != Form::Absolute && request.version == Version::Http11;
    let mut run = if unchanged {
        let line = Span::new(request.method_text.range().start, request.target.range().end + VERSION_BYTES + 3);
        line.range()
    } else {
        out.request_line(bytes, request, how.target)?;
        0..0
    };
    if let Some(host) = host {
        if host.is_empty() || find_not_target(host, 0) < host.len() {
            return Err(Unwritable::Invalid);
        }
        out.put(bytes.get(run).unwrap_or_default())?;
        run = 0..0;
        out.line(b"Host", host)?;
    }
    let skip = |field: &Field| host.is_some() && field.name == Some(known::HOST);
    out.fields(bytes, head, how.edits.removed, run, skip)?;
    out.added(how.edits.added)?;
    out.framing(request.body)?;
    out.connection(how.connection)?;
    out.put(b"\r\n")?;
    Ok(out.len)
}

/// Writes the head of a response, as HTTP/1.1, to the start of `out`, and says how long it is.
///
/// # Errors
/// When `out` is too small, or something in `how` may not be written.
pub(crate) fn write_response(
    out: &mut [u8],
    bytes: &[u8],
    response: &Response,
    head: &Head,
    how: &ResponseOut<'_>,
) -> Result<usize, Unwritable> {
    let mut out = Out { bytes: out, len: 0 };
    let phrase = response.phrase.range();
    // The phrase is behind the second space, unless that is missing.
    let run = if response.version == Version::Http11 && phrase.start == VERSION_BYTES + 5 {
        0..phrase.end + 2
    } else {
        out.put(b"HTTP/1.1 ")?;
        out.put(bytes.get(VERSION_BYTES + 1..VERSION_BYTES + 4).unwrap_or_default())?;
        out.put(b" ")?;
        out.put(response.phrase.of(bytes))?;
        out.put(b"\r\n")?;
        0..0
    };
    out.fields(bytes, head, how.edits.removed, run, |_| false)?;
    out.added(how.edits.added)?;
    match (how.body, response.length_told) {
        (Body::None, Some(length)) => out.length(length)?,
        (body, _) => out.framing(body)?,
    }
    out.connection(how.connection)?;
    out.put(b"\r\n")?;
    Ok(out.len)
}

/// Writes the last chunk and the trailer section to the start of `out`, and says how long they are. `bytes` and `head`
/// are those with which [`Decoder::decode`](super::chunk::Decoder::decode) came to the end.
///
/// # Errors
/// When `out` is too small.
pub(crate) fn write_trailers(out: &mut [u8], bytes: &[u8], head: &Head) -> Result<usize, Unwritable> {
    let mut out = Out { bytes: out, len: 0 };
    out.put(b"0\r\n")?;
    out.fields(bytes, head, &NameSet::default(), 0..0, |_| false)?;
    out.put(b"\r\n")?;
    Ok(out.len)
}

/// The answer to an `Expect: 100-continue`, when the body is wanted.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a response of our own looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ErrorOut<'a> {
    pub(crate) status: u16,
    /// The reason code, for the body.
    pub(crate) code: &'a str,
    pub(crate) format: Format,
    /// The request was HEAD: no body follows, though its length is told.
    pub(crate) head_only: bool,
    pub(crate) connection: Connection<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

impl Format {
    /// JSON for who names it in `Accept` and does not name HTML or plain text before it (RFC 9110, 12.5.1; weights are
    /// not weighed, for an error page is not worth it).
    pub(crate) fn accepted(accept: Option<&[u8]>) -> Self {
        let mut types = super::bytes::elements(accept.unwrap_or_default())
            .map(|element| element.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii());
        let named = types.find_map(|media| {
            let is = |name: &[u8]| media.eq_ignore_ascii_case(name);
            let is_json = is(b"application/json")
                || media.len() > 5
                    && media.get(media.len() - 5..).is_some_and(|end| end.eq_ignore_ascii_case(b"+json"));
            if is_json {
                Some(Self::Json)
            } else {
                (is(b"text/html") || is(b"text/plain") || is(b"text/*")).then_some(Self::Text)
            }
        });
        named.unwrap_or(Self::Text)
    }
}

#[cfg(test)]
impl ErrorOut<'static> {
    /// For a message that was refused: its connection is closed.
    pub(crate) fn of(refusal: super::Refusal, accept: Option<&[u8]>, asked: Option<Method>) -> Self {
        Self {
            status: refusal.status(),
            code: refusal.code(),
            format: Format::accepted(accept),
            head_only: asked == Some(Method::Head),
            connection: Connection::Close,
        }
    }
}

/// A response of ours with a body that the configuration gives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerOut<'a> {
    pub(crate) status: u16,
    /// Of a redirect.
    pub(crate) location: Option<&'a [u8]>,
    /// Of the body; means nothing where that is empty.
    pub(crate) content_type: &'a [u8],
    pub(crate) body: &'a [u8],
    /// The request was HEAD: no body follows, though its length is told.
    pub(crate) head_only: bool,
    pub(crate) edits: Edits<'a>,
    pub(crate) connection: Connection<'a>,
}

/// Writes a whole response to the start of `out`, and says how long it is. A field that is set instead of ours takes
/// its place.
///
/// # Errors
/// When `out` is too small, or something in `how` may not be written.
pub(crate) fn write_answer(out: &mut [u8], how: &AnswerOut<'_>) -> Result<usize, Unwritable> {
    let mut out = Out { bytes: out, len: 0 };
    for part in [&b"HTTP/1.1 "[..], Decimal::new(u64::from(how.status)).as_bytes(), b" "] {
        out.put(part)?;
    }
    out.put(phrase(how.status).as_bytes())?;
    out.put(b"\r\n")?;
    let has_body = !how.body.is_empty();
    type Own<'a> = (&'a [u8], NameRef, Option<&'a [u8]>);
    let own: [Own<'_>; 2] = [
        (b"Location", known::LOCATION, how.location),
        (b"Content-Type", known::CONTENT_TYPE, has_body.then_some(how.content_type)),
    ];
    for (name, id, value) in own {
        let Some(value) = value.filter(|_| !how.edits.removed.has(id)) else { continue };
        if find_not_text(value, 0) < value.len() {
            return Err(Unwritable::Invalid);
        }
        out.line(name, value)?;
    }
    out.added(how.edits.added)?;
    // RFC 9110, 8.6: no length is told where there can be no body.
    if how.status != 204 && how.status != 304 {
        out.length(how.body.len() as u64)?;
    }
    out.connection(how.connection)?;
    out.put(b"\r\n")?;
    if !how.head_only && how.status != 204 && how.status != 304 {
        out.put(how.body)?;
    }
    Ok(out.len)
}

/// Writes a whole response to the start of `out`, and says how long it is.
///
/// # Errors
/// When `out` is too small, or the code is more than letters, digits, `-`, `_` and spaces.
pub(crate) fn write_error(out: &mut [u8], how: &ErrorOut<'_>) -> Result<usize, Unwritable> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b' ');
    if !how.code.bytes().all(plain) {
        return Err(Unwritable::Invalid);
    }
    let digits = Decimal::new(u64::from(how.status));
    let phrase = phrase(how.status).as_bytes();
    let code = how.code.as_bytes();
    let (media, parts): (&[u8], [&[u8]; 7]) = match how.format {
        Format::Text => {
            (b"text/plain; charset=utf-8", [digits.as_bytes(), b" ", phrase, b"\nreason: ", code, b"\n", b""])
        }
        Format::Json => (
            b"application/json",
            [b"{\"status\":", digits.as_bytes(), b",\"error\":\"", phrase, b"\",\"reason\":\"", code, b"\"}\n"],
        ),
    };
    let mut out = Out { bytes: out, len: 0 };
    for part in [&b"HTTP/1.1 "[..], digits.as_bytes(), b" ", phrase, b"\r\n"] {
        out.put(part)?;
    }
    out.line(b"Content-Type", media)?;
    out.line(b"Cache-Control", b"no-store")?;
    out.length(parts.iter().map(|part| part.len() as u64).sum())?;
    out.connection(how.connection)?;
    out.put(b"\r\n")?;
    for part in parts.iter().filter(|_| !how.head_only) {
        out.put(part)?;
    }
    Ok(out.len)
}

/// RFC 9110, 15, for the statuses that come from here; RFC 6585, 5 for 431.
const fn phrase(status: u16) -> &'static str {
    match status {
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

struct Out<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl Out<'_> {
    #[inline]
    fn put(&mut self, part: &[u8]) -> Result<(), Unwritable> {
        let room = self.bytes.get_mut(self.len..).and_then(|room| room.get_mut(..part.len()));
        room.ok_or(Unwritable::Full)?.copy_from_slice(part);
        self.len += part.len();
        Ok(())
    }

    fn line(&mut self, name: &[u8], value: &[u8]) -> Result<(), Unwritable> {
        self.put(name)?;
        self.put(b": ")?;
        self.put(value)?;
        self.put(b"\r\n")
    }

    fn request_line(&mut self, bytes: &[u8], request: &Request, target: Option<&[u8]>) -> Result<(), Unwritable> {
        self.put(request.method_text.of(bytes))?;
        self.put(b" ")?;
        match target {
            Some(target) if target.is_empty() || find_not_target(target, 0) < target.len() => {
                return Err(Unwritable::Invalid);
            }
            Some(target) => self.put(target)?,
            None => self.own_target(bytes, request)?,
        }
        self.put(b" HTTP/1.1\r\n")
    }

    fn own_target(&mut self, bytes: &[u8], request: &Request) -> Result<(), Unwritable> {
        match (request.path.is_empty(), request.query) {
            // RFC 9112, 3.2.4: the last proxy makes an asterisk of it.
            (true, None) if request.method == Method::Options => return self.put(b"*"),
            (true, _) => self.put(b"/")?,
            (false, _) => self.put(request.path.of(bytes))?,
        }
        if let Some(query) = request.query {
            self.put(b"?")?;
            self.put(query.of(bytes))?;
        }
        Ok(())
    }

    /// The fields that are forwarded. `run` is what lies before the first of them and may be copied along with it.
    #[inline]
    fn fields(
        &mut self,
        bytes: &[u8],
        head: &Head,
        removed: &NameSet,
        mut run: std::ops::Range<usize>,
        skip: impl Fn(&Field) -> bool,
    ) -> Result<(), Unwritable> {
        for field in head.fields() {
            if field.is_hop_by_hop() || removed.contains(field, bytes) || skip(field) {
                continue;
            }
            if !field.is_canonical() {
                self.put(bytes.get(run).unwrap_or_default())?;
                run = 0..0;
                self.line(field.name_of(bytes), field.value_of(bytes))?;
                continue;
            }
            let line = field.canonical_line();
            if line.start != run.end {
                self.put(bytes.get(run).unwrap_or_default())?;
                run = line.start..line.start;
            }
            run.end = line.end;
        }
        self.put(bytes.get(run).unwrap_or_default())
    }

    fn added(&mut self, added: &[Added<'_>]) -> Result<(), Unwritable> {
        for Added { name, value } in added {
            let padded = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
            if find_not_text(value, 0) < value.len() || padded(value.first()) || padded(value.last()) {
                return Err(Unwritable::Invalid);
            }
            self.line(name.as_bytes(), value)?;
        }
        Ok(())
    }

    fn length(&mut self, length: u64) -> Result<(), Unwritable> {
        self.line(b"Content-Length", Decimal::new(length).as_bytes())
    }

    fn framing(&mut self, body: Body) -> Result<(), Unwritable> {
        match body {
            Body::None | Body::UntilClose => Ok(()),
            Body::Length(length) => self.length(length),
            Body::Chunked => self.put(b"Transfer-Encoding: chunked\r\n"),
        }
    }

    fn connection(&mut self, connection: Connection<'_>) -> Result<(), Unwritable> {
        match connection {
            Connection::Implied => Ok(()),
            Connection::KeepAlive => self.put(b"Connection: keep-alive\r\n"),
            Connection::Close => self.put(b"Connection: close\r\n"),
            Connection::Upgrade(protocol) => {
                if protocol.is_empty() || !protocol.iter().all(|byte| is_text(*byte)) {
                    return Err(Unwritable::Invalid);
                }
                self.put(b"Connection: upgrade\r\n")?;
                self.line(b"Upgrade", protocol)
            }
        }
    }
}

/// A number in digits.
struct Decimal {
    digits: [u8; 20],
    start: u8,
}

impl Decimal {
    fn new(mut number: u64) -> Self {
        let mut digits = [0; 20];
        let mut start = digits.len() as u8;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            start -= 1;
            if number == 0 {
                break;
            }
        }
        Self { digits, start }
    }

    fn as_bytes(&self) -> &[u8] {
        self.digits.get(usize::from(self.start)..).unwrap_or_default()
    }
}
