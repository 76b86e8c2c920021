//! From TLS records (RFC 8446 section 5.1) to the one handshake message in them.
//!
//! ```text
//!   0    1         3        5
//!   ┌────┬─────────┬────────┬──────────────────┐ ┌────┬─────────┬────────┬──────────
//!   │ 22 │ 3, any  │ length │ content          │ │ 22 │ …       │        │ content
//!   └────┴─────────┴────────┴──────────────────┘ └────┴─────────┴────────┴──────────
//!                           ┌───┬────────┬────────────────────────────────────────┐
//!                           │ 1 │ length │ ClientHello                            │
//!                           └───┴────────┴────────────────────────────────────────┘
//! ```

use super::{Invalid, Stop};
use std::ops::Range;

const RECORD_HEADER_BYTES: usize = 5;
/// RFC 8446 section 5.1: "The length MUST NOT exceed 2^14 bytes."
const RECORD_BYTES_MAX: usize = 1 << 14;
const HANDSHAKE: u8 = 22;
/// Of every version from SSL 3.0 to TLS 1.3. The minor one "MUST be ignored for all purposes" (section 5.1).
const MAJOR_VERSION: u8 = 3;
/// Type and length.
pub(super) const MESSAGE_HEADER_BYTES: usize = 4;
const CLIENT_HELLO: u8 = 1;
/// Two would do for a long hello. Some clients cut it into a dozen, so that a filter on the way does not find the name.
const RECORDS_MAX: usize = 64;

/// A complete message, header included.
pub(super) enum Message<'a> {
    /// Where it stands in the input.
    InPlace(Range<usize>),
    Joined(&'a [u8]),
}

#[derive(Debug)]
pub(super) struct Records {
    /// Of the input: all records, their headers included.
    bytes_max: usize,
    /// Where the header of the first record begins that is not in `joined`.
    next: usize,
    count: usize,
    /// The content of all records before `next`.
    joined: Vec<u8>,
}

impl Records {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, next: 0, count: 0, joined: Vec::new() }
    }

    pub(super) fn message(&mut self, bytes: &[u8]) -> Result<Message<'_>, Stop> {
        while !self.is_complete()? {
            if self.count == RECORDS_MAX {
                return Err(Invalid::TooManyRecords.into());
            }
            let start = self.next + RECORD_HEADER_BYTES;
            // Every record has content.
            if start >= self.bytes_max {
                return Err(Invalid::TooLong.into());
            }
            let content = start..start + self.record_len(bytes)?;
            let arrived = bytes.get(start..content.end.min(bytes.len())).unwrap_or_default();
            let total = self.check_fits(&content, arrived)?;
            if arrived.len() < content.len() {
                return Err(Stop::Short(content.len() - arrived.len()));
            }
            if self.count == 0 && total == Some(content.len()) {
                return Ok(Message::InPlace(content));
            }
            self.joined.extend_from_slice(arrived);
            self.next = content.end;
            self.count += 1;
        }
        Ok(Message::Joined(&self.joined))
    }

    /// Whether `joined` is the message, all of it.
    fn is_complete(&self) -> Result<bool, Invalid> {
        match self.total(&self.joined)? {
            // The record in which the message's own header ended went on behind the message.
            Some(total) if total < self.joined.len() => Err(Invalid::Malformed),
            total => Ok(total == Some(self.joined.len())),
        }
    }

    /// The length of the record at `next`, each byte of whose header is judged when it is there.
    fn record_len(&self, bytes: &[u8]) -> Result<usize, Stop> {
        let header = bytes.get(self.next..).unwrap_or_default();
        let expected = [HANDSHAKE, MAJOR_VERSION];
        if header.iter().zip(expected).any(|(found, expected)| *found != expected) {
            // Section 5.1: "Handshake messages MUST NOT be interleaved with other record types."
            return Err(if self.count == 0 { Stop::NotTls } else { Invalid::Interleaved.into() });
        }
        let &[_, _, _, high, low, ..] = header else { return Err(Stop::Short(RECORD_HEADER_BYTES - header.len())) };
        match usize::from(u16::from_be_bytes([high, low])) {
            // Section 5.1: "Implementations MUST NOT send zero-length fragments of Handshake types".
            0 => Err(Invalid::RecordLength.into()),
            len if len > RECORD_BYTES_MAX => Err(Invalid::RecordLength.into()),
            len => Ok(len),
        }
    }

    /// Refuse a record for its length, before its content is waited for. What comes back is the length of the message,
    /// where it is known before this record is complete.
    fn check_fits(&self, content: &Range<usize>, arrived: &[u8]) -> Result<Option<usize>, Invalid> {
        if content.end > self.bytes_max {
            return Err(Invalid::TooLong);
        }
        let joined = self.joined.len() + content.len();
        let total = self.total(if self.count == 0 { arrived } else { &self.joined })?;
        // A client says nothing behind its hello before the answer, but for early data, which has records of its own.
        if total.is_some_and(|total| joined > total) { Err(Invalid::Malformed) } else { Ok(total) }
    }

    /// How long the message that begins with `start` is by its own account; `None` before its header is there.
    fn total(&self, start: &[u8]) -> Result<Option<usize>, Invalid> {
        if start.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(Invalid::NotClientHello);
        }
        let Some(&[_, a, b, c]) = start.first_chunk() else { return Ok(None) };
        let total = u32::from_be_bytes([0, a, b, c]) as usize + MESSAGE_HEADER_BYTES;
        if total + RECORD_HEADER_BYTES > self.bytes_max { Err(Invalid::TooLong) } else { Ok(Some(total)) }
    }
}
