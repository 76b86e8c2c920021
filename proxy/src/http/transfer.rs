//! A body on its way from one peer to the other.
//!
//! ```text
//!   how it comes        how it goes on
//!   Length, UntilClose ─┬─ as it is ──► buffers are handed on, not copied
//!                       └─ chunked ───► copied between chunk headers of our own
//!   Chunked ────────────┬─ chunked ───► decoded and coded again: what one peer counts, the other counts the same
//!                       └─ as it is ──► decoded (for a peer that knows HTTP/1.0 only)
//! ```

use super::inbox::{Inbox, NoBuffer, Run, buffer_for};
use crate::h1::{
    Body, Head, Incoming, Limits, Refusal, Side, Unwritable,
    chunk::{CHUNK_END, ChunkHead, LAST_CHUNK, Step as Next},
    write_trailers,
};
use balance_engine::{buf::BufferPool, intern::Interner};

/// See the module's documentation.
pub(super) struct Transfer {
    incoming: Incoming,
    /// How it comes.
    body: Body,
    /// It goes on in chunks; otherwise as it is.
    is_chunked: bool,
    /// All of it has been taken.
    has_come: bool,
    /// The last chunk is still to be written.
    owes_end: bool,
    /// Data that was read over, is in the inbox, and was not taken yet.
    ready: usize,
    /// Bytes of the body itself that were taken.
    pub(super) bytes: u64,
}

/// What a step has come to.
pub(super) enum Step {
    Run(Run),
    /// Nothing more in what has come.
    Wanting,
    /// The whole body was handed on.
    Over,
}

/// What decoding needs beside the bytes.
pub(super) struct Tools<'a> {
    pub(super) pool: &'a BufferPool,
    pub(super) limits: &'a Limits,
    pub(super) names: &'a Interner,
    /// For a trailer section.
    pub(super) head: &'a mut Head,
}

/// Why a body cannot go on.
#[derive(Debug)]
pub(super) enum Failure {
    Refused(Refusal),
    NoBuffer,
}

impl From<NoBuffer> for Failure {
    fn from(_: NoBuffer) -> Self {
        Self::NoBuffer
    }
}

/// Room that a copy into chunks needs beside its data.
const CODING_BYTES: usize = ChunkHead::BYTES_MAX + CHUNK_END.len() + LAST_CHUNK.len();

impl Transfer {
    /// There is none.
    pub(super) const NONE: Self = Self::new(Side::Request, Body::None, Body::None);

    /// A body that comes as `body` says and goes on as `to` says.
    pub(super) const fn new(side: Side, body: Body, to: Body) -> Self {
        let is_chunked = matches!(to, Body::Chunked);
        let has_come = matches!(body, Body::None | Body::Length(0));
        let incoming = Incoming::new(side, body);
        Self { incoming, body, is_chunked, has_come, owes_end: is_chunked, ready: 0, bytes: 0 }
    }

    pub(super) fn is_over(&self) -> bool {
        self.has_come && !self.owes_end
    }

    /// All of it has been taken.
    pub(super) fn has_come(&self) -> bool {
        self.has_come
    }

    /// So many bytes are still to come; `None` where that is not known.
    pub(super) fn left(&self) -> Option<u64> {
        match self.body {
            Body::None => Some(0),
            Body::Length(_) => Some(self.incoming.left() + self.ready as u64),
            Body::Chunked | Body::UntilClose => None,
        }
    }

    /// So many bytes went another way, of a body that is plain.
    pub(super) fn moved(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.incoming.moved(bytes);
        self.has_come = self.incoming.is_over();
    }

    /// Buffers can be handed on as they are.
    pub(super) fn is_plain(&self) -> bool {
        !self.is_chunked && matches!(self.body, Body::Length(_) | Body::UntilClose) && self.ready == 0
    }

    /// The peer has closed its half. Returns whether the body is whole.
    pub(super) fn end(&mut self) -> bool {
        self.has_come |= self.incoming.connection_ended().is_ok();
        self.has_come
    }

    /// Take what there is, as far as one run goes.
    ///
    /// # Errors
    /// Wrong chunks, or no buffer to copy to.
    pub(super) fn step(&mut self, inbox: &mut Inbox, tools: &mut Tools<'_>) -> Result<Step, Failure> {
        if self.is_over() {
            return Ok(Step::Over);
        }
        if self.is_plain() {
            let max = self.left().unwrap_or(u64::MAX);
            let Some(run) = inbox.take(max, tools.pool)? else { return Ok(Step::Wanting) };
            self.moved(run.len());
            return Ok(Step::Run(run));
        }
        if inbox.is_empty() && !self.has_come() {
            return Ok(Step::Wanting);
        }
        let mut buffer = buffer_for(tools.pool, inbox.bytes().len() + CODING_BYTES).ok_or(NoBuffer)?;
        let len = self.copy(inbox, &mut buffer, tools)? as u32;
        if len == 0 {
            return Ok(if self.is_over() { Step::Over } else { Step::Wanting });
        }
        Ok(Step::Run(Run::whole(buffer, len)))
    }

    /// Copy what there is and has room. Returns how much was written.
    ///
    /// # Errors
    /// Wrong chunks.
    pub(super) fn copy(&mut self, inbox: &mut Inbox, out: &mut [u8], tools: &mut Tools<'_>) -> Result<usize, Failure> {
        let mut written = 0;
        while out.len() - written > CODING_BYTES {
            let room = out.len() - written - CODING_BYTES;
            let there = match self.data_in(inbox, tools, &mut out[written..])? {
                Data::Here(bytes) => bytes,
                Data::End { trailers } => {
                    written += trailers;
                    break;
                }
                Data::TrailersNeedRoom if written == 0 => return Err(Failure::NoBuffer),
                Data::TrailersNeedRoom => return Ok(written),
            };
            let data = there.min(room);
            if data == 0 {
                break;
            }
            written += self.put(&inbox.bytes()[..data], &mut out[written..]);
            inbox.consume(data);
            self.ready -= data;
            self.bytes += data as u64;
            self.has_come = self.ready == 0 && self.incoming.is_over();
        }
        if self.owes_end && self.has_come() && out.len() - written >= LAST_CHUNK.len() {
            self.owes_end = false;
            out[written..written + LAST_CHUNK.len()].copy_from_slice(LAST_CHUNK);
            written += LAST_CHUNK.len();
        }
        Ok(written)
    }

    /// How much data lies at the start of the inbox, once framing before it was consumed.
    fn data_in(&mut self, inbox: &mut Inbox, tools: &mut Tools<'_>, out: &mut [u8]) -> Result<Data, Failure> {
        if self.has_come {
            return Ok(Data::End { trailers: 0 });
        }
        if self.ready > 0 {
            return Ok(Data::Here(self.ready));
        }
        let bytes = inbox.bytes();
        // A trailer section is to be written from the bytes that it was read from, at once.
        let before = self.incoming.clone();
        match self.incoming.read(bytes, tools.limits, tools.names, tools.head) {
            Next::Refused(refusal) => Err(Failure::Refused(refusal)),
            Next::NeedMore { consumed } => {
                inbox.consume(consumed);
                Ok(Data::Here(0))
            }
            Next::Data { skip, len } => {
                inbox.consume(skip);
                self.ready = len;
                Ok(Data::Here(len))
            }
            Next::End { consumed } => {
                let mut trailers = 0;
                if self.is_chunked && !tools.head.fields().is_empty() {
                    match write_trailers(out, bytes, tools.head) {
                        Ok(len) => trailers = len,
                        Err(Unwritable::Full) => {
                            self.incoming = before;
                            return Ok(Data::TrailersNeedRoom);
                        }
                        Err(Unwritable::Invalid | Unwritable::NoHost) => {}
                    }
                    self.owes_end &= trailers == 0;
                }
                inbox.consume(consumed);
                self.has_come = true;
                Ok(Data::End { trailers })
            }
        }
    }

    fn put(&self, data: &[u8], out: &mut [u8]) -> usize {
        if !self.is_chunked {
            out[..data.len()].copy_from_slice(data);
            return data.len();
        }
        let head = ChunkHead::new(data.len() as u64);
        let mut at = 0;
        for part in [head.as_bytes(), data, CHUNK_END] {
            out[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        at
    }
}

/// What is next in a body.
enum Data {
    Here(usize),
    /// Nothing; its trailer section has taken so many bytes of what was to be written.
    End {
        trailers: usize,
    },
    /// The trailer section does not fit into what is left.
    TrailersNeedRoom,
}
