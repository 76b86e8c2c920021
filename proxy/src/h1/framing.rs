//! How long a message is and what becomes of its connection: the fields that say it, each taken at its strictest.

use balance_engine::intern::{NameRef, known};

use super::{
    bytes::elements,
    head::{Head, Span, Use, is_beyond_nomination},
    limits::Limits,
    refusal::Reason,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    Http10,
    Http11,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    None,
    /// As many bytes as `Content-Length` says; may be zero.
    Length(u64),
    Chunked,
    /// Of a response only: whatever comes until the connection ends.
    UntilClose,
}

/// What the fields have said so far.
#[derive(Debug, Default)]
pub(super) struct Framing {
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    close: bool,
    keep_alive: bool,
    upgrade_named: bool,
    /// `Connection` names something else than those three.
    names_others: bool,
    options: usize,
    upgrade: Option<Span>,
    upgrades: u8,
    pub(super) te_trailers: bool,
}

impl Framing {
    /// Takes in one field. Those that it has no interest in are for all recipients.
    #[inline]
    pub(super) fn take(&mut self, bytes: &[u8], name: NameRef, value: Span) -> Result<Use, Reason> {
        match name {
            known::CONTENT_LENGTH => self.content_length(value.of(bytes))?,
            known::TRANSFER_ENCODING => self.transfer_encoding(value.of(bytes))?,
            known::CONNECTION => self.connection(value.of(bytes))?,
            known::UPGRADE => {
                self.upgrade = Some(value);
                self.upgrades = self.upgrades.saturating_add(1);
            }
            known::TE => self.te_trailers |= elements(value.of(bytes)).any(|e| e.eq_ignore_ascii_case(b"trailers")),
            known::KEEP_ALIVE | known::PROXY_CONNECTION | known::HTTP2_SETTINGS => {}
            _ => return Ok(Use::EndToEnd),
        }
        Ok(Use::HopByHop)
    }

    /// RFC 9110, 8.6: `1*DIGIT`. RFC 9112, 6.3: a list, even of equal values, may be refused, and is.
    fn content_length(&mut self, value: &[u8]) -> Result<(), Reason> {
        if self.length.is_some() || value.contains(&b',') {
            return Err(Reason::ContentLengthDuplicate);
        }
        self.length = Some(decimal(value).ok_or(Reason::ContentLength)?);
        Ok(())
    }

    /// RFC 9112, 6.1: the one coding that is spoken here is `chunked`, alone and once.
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Reason> {
        if self.chunked {
            return Err(Reason::TransferEncoding);
        }
        if value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
            return Ok(());
        }
        let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
        let last_only = value.rsplit(|byte| *byte == b',').next().is_some_and(|last| is_chunked(last.trim_ascii()))
            && elements(value).filter(|coding| is_chunked(coding)).count() == 1
            && elements(value).count() > 1;
        Err(if last_only { Reason::TransferCoding } else { Reason::TransferEncoding })
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), Reason> {
        if value.eq_ignore_ascii_case(b"keep-alive") {
            self.keep_alive = true;
            return Ok(());
        }
        for option in elements(value) {
            self.options += 1;
            if self.options > Limits::CONNECTION_OPTIONS_MAX {
                return Err(Reason::ConnectionTooMany);
            }
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade_named = true;
            } else if balance_engine::intern::is_token(option) {
                self.names_others = true;
            } else {
                return Err(Reason::Connection);
            }
        }
        Ok(())
    }

    /// RFC 9112, 9.3.
    pub(super) const fn keep_alive(&self, version: Version) -> bool {
        match version {
            Version::Http10 => self.keep_alive && !self.close,
            Version::Http11 => !self.close,
        }
    }

    /// RFC 9110, 7.8: named by `Connection`, and not from HTTP/1.0. More than one line is none.
    pub(super) fn upgrade(&self, version: Version) -> Option<Span> {
        let asks = self.upgrade_named && self.upgrades == 1 && version == Version::Http11;
        self.upgrade.filter(|value| asks && !value.is_empty())
    }

    /// Marks what `Connection` names (RFC 9110, 7.6.1), except what is not for a client to take away.
    ///
    /// `Connection` lines are read again because a field may come before the line that names it.
    pub(super) fn mark_named(&self, bytes: &[u8], head: &mut Head) {
        if self.names_others {
            mark_named(bytes, head);
        }
    }

    /// RFC 9112, 6.1 and 6.3, for either side.
    pub(super) fn check(&self, version: Version) -> Result<(), Reason> {
        if !self.chunked {
            return Ok(());
        }
        if self.length.is_some() {
            return Err(Reason::LengthAndChunked);
        }
        if version == Version::Http10 {
            return Err(Reason::TransferEncodingHttp10);
        }
        Ok(())
    }
}

#[cold]
fn mark_named(bytes: &[u8], head: &mut Head) {
    for line in 0..head.fields.len() {
        let field = head.fields[line];
        if field.name != Some(known::CONNECTION) {
            continue;
        }
        for option in elements(field.value_of(bytes)) {
            for named in &mut head.fields {
                let kept = named.name.is_some_and(is_beyond_nomination);
                if !kept && named.name_of(bytes).eq_ignore_ascii_case(option) {
                    named.make_hop_by_hop();
                }
            }
        }
    }
}

/// Digits only, of which 19 always fit.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits.iter().try_fold(0, |value: u64, digit| digit.is_ascii_digit().then(|| value * 10 + u64::from(*digit - b'0')))
}
