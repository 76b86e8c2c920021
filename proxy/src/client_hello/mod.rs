//! A look at a TLS ClientHello that stays unanswered: for which host, with which protocols, so that the connection can
//! be routed and its bytes, this hello first, be passed through.
//!
//! ```text
//!   bytes ──► Inspector (records ──► one handshake message ──► extensions) ──► Hello ──► Routes::find ──► route
//! ```
//!
//! Invariants:
//! * The verdict depends on the bytes alone, not on the segments or records in which they came.
//! * Memory is bounded: nothing is ever waited for behind the limit that an [`Inspector`] has. A hello in one record,
//!   which is nearly every one, is read where it lies and nothing is allocated. One in several records is put together
//!   in a second buffer, which never holds more than has arrived, nor more than the limit.
//! * Time is bounded: the inspector remembers where the next record begins, so a call costs what is new. The content
//!   is parsed once, when it is all there.
//! * What is found is well-formed: a receiver behind us that is stricter, or takes the last where others take the
//!   first, cannot be told another host than we were. Of an encrypted hello (ECH) this is the outer name.

mod hello;
mod name;
mod records;
mod routes;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use hello::Hello;
pub(crate) use routes::Routes;

use records::{Message, Records};

/// Looks at one connection's first bytes, as more and more of them come.
#[derive(Debug)]
pub(crate) struct Inspector {
    records: Records,
}

impl Inspector {
    /// A hello may have so many bytes, the headers of its records included.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { records: Records::new(bytes_max) }
    }

    /// `bytes` are all that the connection has brought: those of the call before, and more.
    pub(crate) fn inspect<'a>(&'a mut self, bytes: &'a [u8]) -> Progress<'a> {
        let found = self.records.message(bytes).and_then(|message| match message {
            Message::InPlace(range) => hello::parse(&bytes[range]),
            Message::Joined(message) => hello::parse(message),
        });
        match found {
            Ok(hello) => Progress::Found(hello),
            Err(Stop::Short(at_least)) => Progress::NeedMore { at_least },
            Err(Stop::NotTls) => Progress::NotTls,
            Err(Stop::Invalid(why)) => Progress::Invalid(why),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress<'a> {
    /// So many more bytes must come, at the least, before there is a verdict other than a refusal.
    NeedMore {
        at_least: usize,
    },
    Found(Hello<'a>),
    /// Another protocol, SSLv2 included; known from the first two bytes.
    NotTls,
    Invalid(Invalid),
}

/// Why there is no hello to show; the error of the parsers' `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Short(usize),
    NotTls,
    Invalid(Invalid),
}

impl From<Invalid> for Stop {
    fn from(why: Invalid) -> Self {
        Self::Invalid(why)
    }
}

/// What is wrong with something that began like TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// A record without content, or with more than 2^14 bytes.
    RecordLength,
    /// A record of another type, or of another major version, within the hello.
    Interleaved,
    /// The hello is cut into more records than anybody has a reason to.
    TooManyRecords,
    /// The first handshake message is another.
    NotClientHello,
    /// Longer than the limit.
    TooLong,
    /// A length that does not fit into what is around it, or leaves a rest.
    Malformed,
    TooManyExtensions,
    DuplicateExtension,
    /// Not exactly one name, or one that is no DNS name.
    ServerName,
    /// An empty list, an empty protocol, or too many.
    Alpn,
}

impl Invalid {
    /// The word for logs and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::RecordLength => "record_length",
            Self::Interleaved => "interleaved",
            Self::TooManyRecords => "too_many_records",
            Self::NotClientHello => "not_client_hello",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::TooManyExtensions => "too_many_extensions",
            Self::DuplicateExtension => "duplicate_extension",
            Self::ServerName => "server_name",
            Self::Alpn => "alpn",
        }
    }
}
