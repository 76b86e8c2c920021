//! The content of a ClientHello (RFC 8446 section 4.1.2), complete and in one piece.

use super::{Invalid, Stop, name, records::MESSAGE_HEADER_BYTES};

/// Browsers send about twenty. More than this is no client but somebody who wants duplicates to be searched for.
const EXTENSIONS_MAX: usize = 128;
/// Browsers send two or three.
const PROTOCOLS_MAX: usize = 64;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const HOST_NAME: u8 = 0;

/// What a connection can be routed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello<'a> {
    /// A DNS name in the case in which it was sent, without a trailing dot.
    pub(crate) sni: Option<&'a str>,
    pub(crate) alpn: Alpn<'a>,
}

/// The protocols that the client offers, in the order of its preference; none when it says nothing. GREASE (RFC 8701)
/// is among them like any protocol that nobody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Alpn<'a>(
    /// Splits into names with a byte of length before each, without rest.
    &'a [u8],
);

impl<'a> Alpn<'a> {
    pub(crate) fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = Reader(self.0);
        std::iter::from_fn(move || rest.vector8().ok())
    }

    #[cfg(test)]
    pub(super) const fn of(list: &'a [u8]) -> Self {
        Self(list)
    }
}

/// `message` includes its header, whose length is right.
pub(super) fn parse(message: &[u8]) -> Result<Hello<'_>, Stop> {
    let mut body = Reader(&message[MESSAGE_HEADER_BYTES..]);
    // legacy_version and random: the major version is that of every record.
    let [major, ..] = body.take::<34>()?;
    let session_id = body.vector8()?;
    let cipher_suites = body.vector16()?;
    let compression_methods = body.vector8()?;
    let sound = *major == 3
        && session_id.len() <= 32
        && !cipher_suites.is_empty()
        && cipher_suites.len().is_multiple_of(2)
        && !compression_methods.is_empty();
    if !sound {
        return Err(Invalid::Malformed.into());
    }
    // RFC 5246 section 7.4.1.2: a client before TLS 1.3 may have no extensions at all.
    let extensions = if body.0.is_empty() { &[] } else { body.vector16()? };
    body.end()?;
    Ok(from_extensions(Reader(extensions))?)
}

fn from_extensions(mut rest: Reader<'_>) -> Result<Hello<'_>, Invalid> {
    let mut hello = Hello { sni: None, alpn: Alpn::default() };
    let mut seen = [0; EXTENSIONS_MAX];
    let mut count = 0;
    while !rest.0.is_empty() {
        let kind = rest.u16()?;
        let content = Reader(rest.vector16()?);
        // RFC 8446 section 4.2: "There MUST NOT be more than one extension of the same type in a given extension
        // block." GREASE values are no exception: a client draws different ones (RFC 8701 section 3.1).
        if seen[..count].contains(&kind) {
            return Err(Invalid::DuplicateExtension);
        }
        *seen.get_mut(count).ok_or(Invalid::TooManyExtensions)? = kind;
        count += 1;
        match kind {
            SERVER_NAME => hello.sni = Some(server_name(content).ok_or(Invalid::ServerName)?),
            ALPN => hello.alpn = alpn(content).ok_or(Invalid::Alpn)?,
            _ => {}
        }
    }
    Ok(hello)
}

/// RFC 6066 section 3: a list, which "MUST NOT contain more than one name of the same name_type", and one type is all
/// there is. "Currently, the only server names supported are DNS hostnames".
fn server_name(mut content: Reader<'_>) -> Option<&str> {
    let mut list = Reader(content.vector16().ok()?);
    let kind = list.u8().ok()?;
    let host = list.vector16().ok()?;
    list.end().ok()?;
    content.end().ok()?;
    if kind == HOST_NAME { name::host(host) } else { None }
}

/// RFC 7301 section 3.1: "Empty strings MUST NOT be included and byte strings MUST NOT be truncated."
fn alpn(mut content: Reader<'_>) -> Option<Alpn<'_>> {
    let list = content.vector16().ok()?;
    content.end().ok()?;
    let mut rest = Reader(list);
    let mut count = 0;
    while !rest.0.is_empty() {
        count += 1;
        if rest.vector8().ok()?.is_empty() || count > PROTOCOLS_MAX {
            return None;
        }
    }
    if count == 0 { None } else { Some(Alpn(list)) }
}

/// What is still to be read. A length that reaches past the end is [`Invalid::Malformed`].
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], Invalid> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Invalid::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Invalid> {
        self.take().map(|[byte]| *byte)
    }

    fn u16(&mut self) -> Result<u16, Invalid> {
        self.take().copied().map(u16::from_be_bytes)
    }

    fn bytes(&mut self, len: usize) -> Result<&'a [u8], Invalid> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Invalid::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Bytes after one byte of length.
    fn vector8(&mut self) -> Result<&'a [u8], Invalid> {
        let len = self.u8()?;
        self.bytes(len.into())
    }

    /// Bytes after two bytes of length.
    fn vector16(&mut self) -> Result<&'a [u8], Invalid> {
        let len = self.u16()?;
        self.bytes(len.into())
    }

    fn end(self) -> Result<(), Invalid> {
        if self.0.is_empty() { Ok(()) } else { Err(Invalid::Malformed) }
    }
}
