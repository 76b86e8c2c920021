//! A body as it comes, whatever frames it.

use balance_engine::intern::Interner;

use super::{
    chunk::{Decoder, Step},
    framing::Body,
    head::Head,
    limits::Limits,
    refusal::{Reason, Refusal, Side},
};

/// Where in a body we are. It keeps no bytes.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    side: Side,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Length { left: u64 },
    Chunked(Decoder),
    UntilClose,
}

impl Incoming {
    pub(crate) const fn new(side: Side, body: Body) -> Self {
        let state = match body {
            Body::None => State::Length { left: 0 },
            Body::Length(left) => State::Length { left },
            Body::Chunked => State::Chunked(Decoder::new(side)),
            Body::UntilClose => State::UntilClose,
        };
        Self { side, state }
    }

    /// Reads up to the next run of data, the end of the body, or the end of `input`. `trailers` has the trailer fields
    /// at the end, as places in this `input`.
    pub(crate) fn read(&mut self, input: &[u8], limits: &Limits, names: &Interner, trailers: &mut Head) -> Step {
        match &mut self.state {
            State::Chunked(decoder) => decoder.decode(input, limits, names, trailers),
            State::Length { left: 0 } => {
                trailers.clear();
                Step::End { consumed: 0 }
            }
            State::Length { .. } | State::UntilClose if input.is_empty() => Step::NeedMore { consumed: 0 },
            State::Length { left } => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= len as u64;
                Step::Data { skip: 0, len }
            }
            State::UntilClose => Step::Data { skip: 0, len: input.len() },
        }
    }

    /// So many bytes that come next are data, and may be moved without being shown to [`read`](Self::read), if
    /// [`moved`](Self::moved) is told.
    pub(crate) fn left(&self) -> u64 {
        match &self.state {
            State::Length { left } => *left,
            State::Chunked(decoder) => decoder.left(),
            State::UntilClose => u64::MAX,
        }
    }

    /// So many bytes of data have gone another way: at most [`left`](Self::left).
    pub(crate) fn moved(&mut self, bytes: u64) {
        match &mut self.state {
            State::Length { left } => {
                debug_assert!(bytes <= *left, "more was moved than there is");
                *left = left.saturating_sub(bytes);
            }
            State::Chunked(decoder) => decoder.moved(bytes),
            State::UntilClose => {}
        }
    }

    /// True when nothing more of this body comes; never true of one that ends with its connection.
    pub(crate) fn is_over(&self) -> bool {
        match &self.state {
            State::Length { left } => *left == 0,
            State::Chunked(decoder) => decoder.is_over(),
            State::UntilClose => false,
        }
    }

    /// The connection has ended here (RFC 9112, 8).
    ///
    /// # Errors
    /// When the body has not: what was forwarded of it must not look whole, so the other side is closed, too.
    pub(crate) fn connection_ended(&self) -> Result<(), Refusal> {
        if self.is_over() || matches!(self.state, State::UntilClose) {
            return Ok(());
        }
        Err(Refusal { side: self.side, reason: Reason::Incomplete })
    }
}
