//! The PROXY protocol: who the client really is, said by the proxy in front of us in the first bytes of a connection.
//!
//! HAProxy's specification of 2020-03-05, versions 1 (a line of text) and 2 (binary, with TLVs), both ways. Clauses
//! are quoted as "spec 2.1".
//!
//! ```text
//!   bytes ──► Parser::parse ──► NeedMore   receive again, parse the longer prefix
//!                          ├──► Done       header, and where the client's own bytes begin
//!                          └──► Invalid    abort: spec 2 leaves no other way
//! ```
//!
//! Invariants:
//! * The verdict depends on the bytes alone, not on how they were cut: a prefix of a valid header is `NeedMore`, and
//!   once a prefix is `Invalid`, so is everything longer.
//! * A header is never guessed at. Whether one must come, and from whom it is believed, is configuration (spec 5); a
//!   connection that should begin with one and does not is `Invalid`.
//! * Waiting is bounded by `header_bytes_max`, and so is the work: a version 1 line is searched again by every call,
//!   but has at most 107 bytes; of a version 2 header a call reads the first 16 bytes, and the rest once, when it is
//!   there.
//! * Nothing here allocates.

mod crc32c;
#[cfg(test)]
mod tests;
mod tlv;
mod v1;
mod v2;
mod write;

use std::net::SocketAddr;

pub(crate) use tlv::{Tlv, Tlvs, kind};
#[cfg_attr(not(test), expect(unused_imports, reason = "not wired into the accept path yet"))]
pub(crate) use write::{Checksum, HeaderTooLong, V1_BYTES_MAX, write_v1, write_v2};

/// Spec 2 promises that a header without TLVs fits the smallest segment that TCP must accept, 536 bytes; the rest is
/// room for TLVs, of which a certificate's names are the longest in use.
pub(crate) const HEADER_BYTES_MAX_DEFAULT: usize = 536 + 2048;

/// Reads headers; a value, without memory of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parser {
    pub(crate) versions: Versions,
    /// The longest version 2 header that is waited for. Version 1 has its own limit, from the specification.
    pub(crate) header_bytes_max: usize,
}

impl Default for Parser {
    fn default() -> Self {
        Self { versions: Versions::Both, header_bytes_max: HEADER_BYTES_MAX_DEFAULT }
    }
}

impl Parser {
    /// Look at all bytes that the connection has brought so far.
    pub(crate) fn parse<'a>(&self, bytes: &'a [u8]) -> Progress<'a> {
        let outcome = match (bytes.first(), self.versions) {
            (None, Versions::Two) => Err(Stop::Short(v2::FIXED_BYTES)),
            (None, Versions::One | Versions::Both) => Err(Stop::Short(v1::LINE_BYTES_MIN)),
            (Some(b'P'), Versions::One | Versions::Both) => v1::parse(bytes),
            (Some(b'\r'), Versions::Two | Versions::Both) => v2::parse(bytes, self.header_bytes_max),
            // Spec 2.2: "otherwise the protocol is not covered by this specification and the connection must be
            // dropped."
            (Some(_), _) => Err(Stop::Invalid(Invalid::Signature)),
        };
        match outcome {
            Ok((header, consumed)) => Progress::Done { header, consumed },
            Err(Stop::Short(at_least)) => Progress::NeedMore { at_least },
            Err(Stop::Invalid(why)) => Progress::Invalid(why),
        }
    }
}

/// Which versions a listener takes (spec 2.2 lets it be configured).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    One,
    Two,
    Both,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress<'a> {
    /// So many more bytes must come, at the least, before this can be `Done`. A receive of no more than that never
    /// takes a byte that is not of the header.
    NeedMore {
        at_least: usize,
    },
    /// `consumed` bytes are the header; what follows them is the client's.
    Done {
        header: Header<'a>,
        consumed: usize,
    },
    Invalid(Invalid),
}

/// Why the readers have no header to show; the error of their `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Short(usize),
    Invalid(Invalid),
}

impl From<Invalid> for Stop {
    fn from(why: Invalid) -> Self {
        Self::Invalid(why)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header<'a> {
    pub(crate) version: Version,
    pub(crate) addresses: Addresses<'a>,
    /// Always empty in version 1, and beside addresses that are `Local` or `Unknown`.
    pub(crate) tlvs: Tlvs<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// Whose connection it is, both to read and to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addresses<'a> {
    /// The sender speaks for itself, as for a health check: the socket's own addresses count. Version 1 has no word
    /// for it and writes UNKNOWN.
    Local,
    /// The sender relays somebody and cannot say whom: the socket's own addresses count.
    Unknown,
    /// As they came: a v4-mapped address is left as it is.
    Inet { source: SocketAddr, destination: SocketAddr },
    /// Paths of unix sockets without their padding, empty when unnamed; an abstract one begins with NUL. Version 1 has
    /// no word for it and writes UNKNOWN.
    Unix { source: &'a [u8], destination: &'a [u8] },
}

/// What is wrong with a header: the peer is not a proxy, or is lying, or the bytes were damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// Neither "PROXY " nor the signature of version 2, or not a version that is taken here.
    Signature,
    /// No CRLF within 107 bytes.
    LineLength,
    /// CR without LF, or LF without CR.
    LineEnd,
    /// Not TCP4, TCP6 or UNKNOWN.
    Protocol,
    /// Not exactly four fields, one space apart.
    Fields,
    Address,
    Port,
    /// The binary signature with another version than 2.
    Version,
    Command,
    /// A family or transport that is unassigned, that does not go with the other, or a datagram's.
    Family,
    /// Longer than `header_bytes_max`.
    Length,
    /// Shorter than the addresses of its own family.
    AddressLength,
    /// A TLV that reaches past the end, or whose value is not of its kind.
    Tlv,
    /// A TLV twice that can have one meaning only.
    DuplicateTlv,
    Checksum,
}

impl Invalid {
    /// The word for logs and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::LineLength => "line_length",
            Self::LineEnd => "line_end",
            Self::Protocol => "protocol",
            Self::Fields => "fields",
            Self::Address => "address",
            Self::Port => "port",
            Self::Version => "version",
            Self::Command => "command",
            Self::Family => "family",
            Self::Length => "length",
            Self::AddressLength => "address_length",
            Self::Tlv => "tlv",
            Self::DuplicateTlv => "duplicate_tlv",
            Self::Checksum => "checksum",
        }
    }
}

/// Whether `bytes` are the beginning of `whole`, or begin with all of it.
fn agree(bytes: &[u8], whole: &[u8]) -> bool {
    bytes.iter().zip(whole).all(|(a, b)| a == b)
}
