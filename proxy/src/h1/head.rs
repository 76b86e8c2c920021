//! What requests, responses and trailer sections have in common: field lines, as places in the bytes that were parsed.

use std::ops::Range;

use balance_engine::intern::{Interner, NameRef, is_token, known};

use super::{
    bytes::{find_byte, find_not_text},
    limits::{Limits, Underscores},
    refusal::{Reason, Refusal, Side},
};

/// What has become of bytes that may be a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed<T> {
    /// Right so far; more must come.
    Partial,
    Complete(T),
    Refused(Refusal),
}

impl<T> Parsed<T> {
    pub(super) fn of(side: Side, result: Result<Option<T>, Reason>) -> Self {
        match result {
            Ok(Some(message)) => Self::Complete(message),
            Ok(None) => Self::Partial,
            Err(reason) => Self::Refused(Refusal { side, reason }),
        }
    }
}

/// A place in the bytes that were parsed. It means nothing for others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    at: u32,
    len: u32,
}

impl Span {
    /// The ends are in order and below [`Limits::HEAD_BYTES_CEILING`], or no head would have been complete.
    pub(super) const fn new(at: usize, end: usize) -> Self {
        Self { at: at as u32, len: (end - at) as u32 }
    }

    #[inline]
    pub(crate) const fn range(self) -> Range<usize> {
        self.at as usize..self.at as usize + self.len as usize
    }

    /// Empty where `bytes` are not those that were parsed, but fewer.
    #[inline]
    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        let place = bytes.get(self.range());
        debug_assert!(place.is_some(), "a span is used with other bytes than were parsed");
        place.unwrap_or_default()
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// One field line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// `None` for a name that nobody here has a use for: compare the bytes.
    pub(crate) name: Option<NameRef>,
    line_at: u32,
    value_at: u32,
    value_len: u32,
    name_len: u16,
    flags: u8,
}

impl Field {
    /// The line is `name: value CRLF` with exactly one space, so that it may be copied as it is.
    const CANONICAL: u8 = 1;
    /// For this connection only: framing, hop-by-hop, or named by `Connection`.
    const HOP: u8 = 2;

    #[inline]
    pub(crate) fn name_of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let at = self.line_at as usize;
        Span::new(at, at + usize::from(self.name_len)).of(bytes)
    }

    /// Without the white space around it.
    #[inline]
    pub(crate) const fn value(&self) -> Span {
        Span { at: self.value_at, len: self.value_len }
    }

    #[inline]
    pub(crate) fn value_of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        self.value().of(bytes)
    }

    /// True for what is never forwarded as it came.
    #[inline]
    pub(crate) const fn is_hop_by_hop(&self) -> bool {
        self.flags & Self::HOP != 0
    }

    pub(super) const fn is_canonical(&self) -> bool {
        self.flags & Self::CANONICAL != 0
    }

    /// The whole line with its CRLF; only of a canonical one is the end known.
    pub(super) const fn canonical_line(&self) -> Range<usize> {
        self.line_at as usize..self.value_at as usize + self.value_len as usize + 2
    }

    pub(super) fn make_hop_by_hop(&mut self) {
        self.flags |= Self::HOP;
    }
}

/// Room for the fields of one message. It is used again and again, and allocates once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(super) fields: Vec<Field>,
    /// Lines that were counted and left out because of their names.
    pub(super) left_out: u16,
}

impl Head {
    /// With room for as many fields as a message may have.
    pub(crate) fn with_limits(limits: &Limits) -> Self {
        Self { fields: Vec::with_capacity(usize::from(limits.fields_max)), left_out: 0 }
    }

    #[inline]
    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// How many lines were left out because of an underscore in their names.
    #[cfg(test)]
    pub(crate) const fn left_out(&self) -> u16 {
        self.left_out
    }

    /// The values of all fields with this name, in order.
    #[cfg(test)]
    pub(crate) fn values<'a>(&'a self, bytes: &'a [u8], name: NameRef) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |field| field.name == Some(name)).map(|field| field.value_of(bytes))
    }

    /// The first value with this name.
    pub(crate) fn value<'a>(&'a self, bytes: &'a [u8], name: NameRef) -> Option<&'a [u8]> {
        self.fields.iter().find(|field| field.name == Some(name)).map(|field| field.value_of(bytes))
    }

    pub(super) fn clear(&mut self) {
        self.fields.clear();
        self.left_out = 0;
    }
}

/// What a field line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    EndToEnd,
    HopByHop,
    /// Counted, and forgotten.
    LeftOut,
}

/// A run of field lines up to its empty line.
pub(super) struct Section<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) limits: &'a Limits,
    pub(super) names: &'a Interner,
    /// The section, and what is before it in `bytes`, may be so long.
    pub(super) bytes_max: usize,
    pub(super) underscores: Underscores,
}

impl Section<'_> {
    /// From `at`, the start of a line, to behind the empty line; `None` when that has not come yet.
    ///
    /// `known` is asked about each field whose name has an id that is known at compile time.
    #[inline(always)]
    pub(super) fn parse(
        &self,
        mut at: usize,
        head: &mut Head,
        mut known: impl FnMut(NameRef, Span) -> Result<Use, Reason>,
    ) -> Result<Option<usize>, Reason> {
        let bytes = self.bytes;
        head.clear();
        loop {
            match bytes.get(at) {
                None => return self.partial(),
                Some(b'\r' | b'\n') => return self.end(at),
                Some(_) => {}
            }
            if head.fields.len() + usize::from(head.left_out) >= usize::from(self.limits.fields_max) {
                return Err(Reason::TooManyFields);
            }
            let colon = find_byte(bytes, at, b':');
            let name = bytes.get(at..colon).unwrap_or_default();
            let id = self.names.lookup(name);
            if colon == bytes.len() || (id.is_none() && !is_token(name)) || name.len() > Limits::NAME_BYTES_MAX {
                name_fault(name, colon < bytes.len())?;
                return self.partial();
            }
            let Some((value, spaced, next)) = self.value(at, colon + 1)? else {
                return self.partial();
            };
            at = self.record(head, Line { at, id, name, value, spaced, next }, &mut known)?;
        }
    }

    /// The trimmed value behind a colon, whether the line is canonical, and where the next line begins.
    #[inline(always)]
    fn value(&self, line: usize, after_colon: usize) -> Result<Option<(Span, bool, usize)>, Reason> {
        let bytes = self.bytes;
        let one_space = bytes.get(after_colon) == Some(&b' ');
        let from = after_colon + usize::from(one_space);
        let end = find_not_text(bytes, from);
        if end - line > self.limits.field_bytes_max as usize {
            return Err(Reason::FieldTooLong);
        }
        if !is_line_end(bytes, end, Reason::FieldValue)? {
            return Ok(None);
        }
        let next = end + 2;
        if next > self.bytes_max {
            return Err(Reason::HeadTooLong);
        }
        let (mut start, mut stop) = (from, end);
        while start < stop && matches!(bytes.get(start), Some(b' ' | b'\t')) {
            start += 1;
        }
        while start < stop && matches!(bytes.get(stop - 1), Some(b' ' | b'\t')) {
            stop -= 1;
        }
        let canonical = one_space && start == from && stop == end;
        Ok(Some((Span::new(start, stop), canonical, next)))
    }

    #[inline(always)]
    fn record(
        &self,
        head: &mut Head,
        line: Line<'_>,
        known: &mut impl FnMut(NameRef, Span) -> Result<Use, Reason>,
    ) -> Result<usize, Reason> {
        let used = match line.id {
            Some(id) if id.is_known() => known(id, line.value)?,
            _ => self.unknown(line.name)?,
        };
        let hop = match used {
            Use::EndToEnd => 0,
            Use::HopByHop => Field::HOP,
            Use::LeftOut => {
                head.left_out += 1;
                return Ok(line.next);
            }
        };
        head.fields.push(Field {
            name: line.id,
            line_at: line.at as u32,
            value_at: line.value.at,
            value_len: line.value.len,
            name_len: line.name.len() as u16,
            flags: hop | if line.spaced { Field::CANONICAL } else { 0 },
        });
        Ok(line.next)
    }

    fn unknown(&self, name: &[u8]) -> Result<Use, Reason> {
        if self.underscores == Underscores::Keep || !name.contains(&b'_') {
            return Ok(Use::EndToEnd);
        }
        match self.underscores {
            Underscores::Refuse => Err(Reason::FieldNameUnderscore),
            Underscores::Drop | Underscores::Keep => Ok(Use::LeftOut),
        }
    }

    /// At a CR or LF where a line would begin.
    fn end(&self, at: usize) -> Result<Option<usize>, Reason> {
        if !is_line_end(self.bytes, at, Reason::BareCr)? {
            return self.partial();
        }
        if at + 2 > self.bytes_max { Err(Reason::HeadTooLong) } else { Ok(Some(at + 2)) }
    }

    fn partial(&self) -> Result<Option<usize>, Reason> {
        if self.bytes.len() >= self.bytes_max { Err(Reason::HeadTooLong) } else { Ok(None) }
    }
}

struct Line<'a> {
    at: usize,
    id: Option<NameRef>,
    name: &'a [u8],
    value: Span,
    spaced: bool,
    next: usize,
}

/// True for a CRLF at `at`; false when that may still come. Any other byte than CR and LF is `otherwise`.
#[inline(always)]
pub(super) fn is_line_end(bytes: &[u8], at: usize, otherwise: Reason) -> Result<bool, Reason> {
    match (bytes.get(at), bytes.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => Ok(true),
        (Some(b'\r'), None) | (None, _) => Ok(false),
        (Some(b'\r'), Some(_)) => Err(Reason::BareCr),
        (Some(b'\n'), _) => Err(Reason::BareLf),
        (Some(_), _) => Err(otherwise),
    }
}

/// What is wrong with a name, or with what there is of one; `Ok` when nothing is, so far.
#[cold]
fn name_fault(name: &[u8], has_colon: bool) -> Result<(), Reason> {
    let stop = name.iter().position(|byte| !is_token(&[*byte])).unwrap_or(name.len());
    if stop > Limits::NAME_BYTES_MAX {
        return Err(Reason::FieldNameTooLong);
    }
    let rest = name.get(stop..).unwrap_or_default();
    let only_space = rest.iter().all(|byte| matches!(byte, b' ' | b'\t'));
    match rest.first() {
        None if has_colon => Err(Reason::FieldNameEmpty),
        None => Ok(()),
        Some(b' ' | b'\t') if stop == 0 => Err(Reason::ObsFold),
        Some(b' ' | b'\t') if only_space && has_colon => Err(Reason::SpaceBeforeColon),
        // A colon may follow, or not.
        Some(b' ' | b'\t') if only_space && name.len() <= Limits::NAME_BYTES_MAX => Ok(()),
        Some(_) => Err(Reason::FieldName),
    }
}

/// Fields that `Connection` cannot take away, whatever a client names there: they frame, route, authorise or say where
/// a request comes from, and are for all recipients (RFC 9110, 7.6.1: such a field must not be named).
pub(super) const fn is_beyond_nomination(name: NameRef) -> bool {
    use known as k;
    matches!(
        name,
        k::HOST
            | k::CONTENT_LENGTH
            | k::CONTENT_TYPE
            | k::CONTENT_ENCODING
            | k::CONTENT_RANGE
            | k::AUTHORIZATION
            | k::COOKIE
            | k::SET_COOKIE
            | k::CACHE_CONTROL
            | k::ORIGIN
            | k::FORWARDED
            | k::VIA
            | k::X_FORWARDED_FOR
            | k::X_FORWARDED_HOST
            | k::X_FORWARDED_PORT
            | k::X_FORWARDED_PROTO
            | k::X_REAL_IP
            | k::X_REQUEST_ID
            | k::TRACEPARENT
            | k::TRACESTATE
    )
}
