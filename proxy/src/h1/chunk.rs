//! The chunked transfer coding (RFC 9112, 7.1), read and written.
//!
//! ```text
//!   Size ──(digits)──► Extension ──CRLF──► Data ──► DataEnd ──CRLF──► Size      size > 0
//!                          └───────CRLF──► Trailers ──empty line──► Done        size = 0
//! ```
//!
//! The decoder keeps no bytes. It takes in sizes and extensions as they come, says where data lies, and wants only the
//! trailer section in one piece.

use balance_engine::intern::{Interner, NameRef, known};

use super::{
    bytes::find_not_text,
    head::{Head, Section, Use},
    limits::{Limits, Underscores},
    patience::Patience,
    refusal::{Reason, Refusal, Side},
};

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// `skip` bytes of framing, then `len` of data, at least one. All of them are consumed.
    Data {
        skip: usize,
        len: usize,
    },
    /// `consumed` bytes were framing; the rest, if any, belongs to a trailer section and must be shown again with more.
    NeedMore {
        consumed: usize,
    },
    /// The body ends `consumed` bytes further on. The trailer fields that may be forwarded are in the head.
    End {
        consumed: usize,
    },
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    /// The LF of the line with the size.
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// The state of one body.
#[derive(Clone, Debug)]
pub(crate) struct Decoder {
    side: Side,
    state: State,
    digits: u8,
    extension: u16,
    /// While reading digits: the size so far; later, what is left of the chunk.
    left: u64,
    total: u64,
    /// Bytes of extensions beyond what the data excuses.
    excess: u32,
    patience: Patience,
}

/// 64 bits.
const DIGITS_MAX: u8 = 16;
/// Extensions may so far exceed what is allowed for data: 16 bytes for each chunk, and twice its size. The figures are
/// those of Go's `net/http/internal`.
const EXCESS_MAX: u32 = 16 << 10;

impl Decoder {
    pub(crate) const fn new(side: Side) -> Self {
        Self {
            side,
            state: State::Size,
            digits: 0,
            extension: 0,
            left: 0,
            total: 0,
            excess: 0,
            patience: Patience::NEW,
        }
    }

    /// Bytes of data so far, forwarded or announced by the chunk that is being read.
    #[cfg(test)]
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// The data that is left in this chunk: so many bytes may be moved past the decoder, if [`Decoder::moved`] is told.
    pub(crate) fn left(&self) -> u64 {
        if self.state == State::Data { self.left } else { 0 }
    }

    /// So many bytes of data have gone another way. At most what is [`left`](Decoder::left) counts.
    pub(crate) fn moved(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.left(), "more was moved than the chunk has");
        self.take(bytes.min(self.left()));
    }

    /// True once the empty line behind the trailers has been read.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Done
    }

    /// Reads up to the next run of data, the end, or the end of `input`.
    pub(crate) fn decode(&mut self, input: &[u8], limits: &Limits, names: &Interner, trailers: &mut Head) -> Step {
        match self.advance(input, limits, names, trailers) {
            Ok(step) => step,
            Err(reason) => Step::Refused(Refusal { side: self.side, reason }),
        }
    }

    fn advance(&mut self, input: &[u8], limits: &Limits, names: &Interner, head: &mut Head) -> Result<Step, Reason> {
        let mut at = 0;
        loop {
            match self.state {
                State::Done => return Ok(Step::End { consumed: at }),
                State::Trailers => return self.trailers(input, at, limits, names, head),
                State::Extension => {
                    at = self.extension(input, at, limits)?;
                    if at == input.len() && self.state == State::Extension {
                        return Ok(Step::NeedMore { consumed: at });
                    }
                    continue;
                }
                State::Size | State::SizeLf | State::Data | State::DataCr | State::DataLf => {}
            }
            let Some(byte) = input.get(at) else {
                return Ok(Step::NeedMore { consumed: at });
            };
            match self.state {
                State::Size => self.size(*byte, limits)?,
                State::SizeLf => self.size_ends(*byte)?,
                State::Data => {
                    let here = input.len() - at;
                    let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(here);
                    self.take(len as u64);
                    return Ok(Step::Data { skip: at, len });
                }
                State::DataCr if *byte == b'\r' => self.state = State::DataLf,
                State::DataLf if *byte == b'\n' => self.begin_size(),
                State::DataCr | State::DataLf => return Err(Reason::ChunkEnd),
                State::Extension | State::Trailers | State::Done => {}
            }
            at += 1;
        }
    }

    fn begin_size(&mut self) {
        (self.state, self.digits, self.extension, self.left) = (State::Size, 0, 0, 0);
    }

    /// `chunk-size = 1*HEXDIG`. White space behind it, which RFC 9112, 7.1.1 lets a recipient remove, is refused.
    fn size(&mut self, byte: u8, limits: &Limits) -> Result<(), Reason> {
        let Some(digit) = char::from(byte).to_digit(16) else {
            if self.digits == 0 {
                return Err(Reason::ChunkSize);
            }
            return self.digits_end(byte, limits);
        };
        if self.digits == DIGITS_MAX {
            return Err(Reason::ChunkSize);
        }
        self.digits += 1;
        self.left = self.left << 4 | u64::from(digit);
        Ok(())
    }

    fn digits_end(&mut self, byte: u8, limits: &Limits) -> Result<(), Reason> {
        self.state = match byte {
            b'\r' => State::SizeLf,
            b';' => State::Extension,
            b'\n' => return Err(Reason::BareLf),
            _ => return Err(Reason::ChunkSize),
        };
        self.total = self.total.checked_add(self.left).ok_or(Reason::BodyTooLong)?;
        if self.total > limits.body_bytes_max {
            return Err(Reason::BodyTooLong);
        }
        Ok(())
    }

    /// Extensions are not forwarded (RFC 9112, 7.1.1). A quoted string in one has neither CR nor LF, so the line ends
    /// at the first of them.
    fn extension(&mut self, input: &[u8], at: usize, limits: &Limits) -> Result<usize, Reason> {
        let end = find_not_text(input, at);
        let len = usize::from(self.extension) + (end - at);
        if len > usize::from(limits.chunk_ext_bytes_max) {
            return Err(Reason::ChunkExtensionTooLong);
        }
        self.extension = len as u16;
        match input.get(end) {
            None => return Ok(end),
            Some(b'\r') => self.state = State::SizeLf,
            Some(b'\n') => return Err(Reason::BareLf),
            Some(_) => return Err(Reason::ChunkExtension),
        }
        let excused = self.left.saturating_mul(2).saturating_add(16);
        let excess = u64::from(self.excess + u32::from(self.extension)).saturating_sub(excused);
        self.excess = excess as u32;
        if self.excess > EXCESS_MAX {
            return Err(Reason::ChunkExtensionTooLong);
        }
        Ok(end + 1)
    }

    fn size_ends(&mut self, byte: u8) -> Result<(), Reason> {
        if byte != b'\n' {
            return Err(Reason::BareCr);
        }
        self.state = if self.left == 0 { State::Trailers } else { State::Data };
        Ok(())
    }

    fn take(&mut self, bytes: u64) {
        self.left -= bytes;
        if self.left == 0 && self.state == State::Data {
            self.state = State::DataCr;
        }
    }

    fn trailers(
        &mut self,
        input: &[u8],
        at: usize,
        limits: &Limits,
        names: &Interner,
        head: &mut Head,
    ) -> Result<Step, Reason> {
        let bytes_max = limits.trailer_bytes_max.min(Limits::HEAD_BYTES_CEILING) as usize;
        let rest = input.get(at..).unwrap_or_default();
        if !self.patience.is_over(rest, bytes_max) {
            return Ok(Step::NeedMore { consumed: at });
        }
        let underscores = match self.side {
            Side::Request => limits.underscores,
            Side::Response => Underscores::Keep,
        };
        let section = Section { bytes: input, limits, names, bytes_max: at + bytes_max, underscores };
        match section.parse(at, head, |name, _| trailer(name))? {
            None => Ok(Step::NeedMore { consumed: at }),
            Some(end) => {
                self.state = State::Done;
                Ok(Step::End { consumed: end })
            }
        }
    }
}

/// RFC 9110, 6.5.1: a trailer must not frame, route, authorise, modify the request or say what the content is.
///
/// What frames and routes is refused, for it has no honest use. Of the other known names only those that are made for
/// the end of a body are forwarded. Names that are not known here are: they stay in the trailer section, never joined
/// to the header.
const fn trailer(name: NameRef) -> Result<Use, Reason> {
    match name {
        known::CONTENT_LENGTH | known::TRANSFER_ENCODING | known::HOST => Err(Reason::TrailerField),
        known::ETAG | known::GRPC_STATUS | known::GRPC_MESSAGE | known::LAST_MODIFIED | known::LINK => {
            Ok(Use::EndToEnd)
        }
        _ => Ok(Use::LeftOut),
    }
}

/// The line before a chunk's data; [`CHUNK_END`] comes behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkHead {
    bytes: [u8; Self::BYTES_MAX],
    len: u8,
}

/// Behind the data of each chunk.
pub(crate) const CHUNK_END: &[u8] = b"\r\n";
/// The last chunk and an empty trailer section.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

impl ChunkHead {
    pub(crate) const BYTES_MAX: usize = DIGITS_MAX as usize + 2;

    /// Of a chunk with `len` bytes. A chunk without data would end the body: that is [`LAST_CHUNK`].
    pub(crate) fn new(len: u64) -> Self {
        debug_assert!(len > 0, "an empty chunk ends the body");
        let digits = (u64::BITS - (len | 1).leading_zeros()).div_ceil(4);
        let mut bytes = [0; Self::BYTES_MAX];
        let shifts = (0..digits).rev().map(|digit| digit * 4);
        let hex = shifts.map(|shift| b"0123456789abcdef"[(len >> shift & 15) as usize]);
        for (place, byte) in bytes.iter_mut().zip(hex.chain(*b"\r\n")) {
            *place = byte;
        }
        Self { bytes, len: digits as u8 + 2 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}
