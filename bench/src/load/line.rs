//! One connection and its two streams of pattern: messages go out, and what comes back is compared.

use super::link::Open;
use crate::{
    pattern::{Checker, Pattern},
    plan::Bytes,
    tally::Fault,
};
use balance_engine::{Chunk, Received, buf::Class, net::SendDone};
use std::task::{Context, Poll};

/// A message is sent in pieces of one buffer each; this many bytes suit every message but a huge one.
const PIECE_BYTES_MAX: u64 = 64 << 10;

pub(super) struct Line {
    open: Open,
    out: Pattern,
    back: Checker,
    /// Bytes of the message that are in no buffer yet.
    to_fill: u64,
    /// The part of the buffer on its way that is not sent yet.
    sending: std::ops::Range<u32>,
    /// Bytes of the answer that have not come yet.
    to_come: u64,
}

impl Line {
    pub(super) fn new(open: Open, pattern: Pattern, bytes: Bytes) -> Self {
        let back = match bytes {
            Bytes::Checked => Checker::Known(pattern),
            Bytes::Any => Checker::Any,
        };
        Self { open, out: pattern, back, to_fill: 0, sending: 0..0, to_come: 0 }
    }

    /// The next exchange is one message of `size` bytes, and as many back.
    pub(super) fn begin(&mut self, size: u64) {
        debug_assert!(self.to_fill == 0 && self.to_come == 0, "an exchange begins before the last one is over");
        self.to_fill = size;
        self.to_come = size;
    }

    /// Ready when the exchange is over: the message sent, the answer here.
    ///
    /// Sending and receiving go on side by side, for the server may send back the beginning of a large message before
    /// it takes the rest.
    pub(super) fn poll_exchange(&mut self, context: &Context<'_>) -> Poll<Result<(), Fault>> {
        if let Err(fault) = self.send(context).and_then(|()| self.receive(context)) {
            return Poll::Ready(Err(fault));
        }
        let over = self.to_come == 0 && self.to_fill == 0 && !self.open.socket.is_sending();
        if over { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Ready when the connection, which should say nothing, is of no use any more.
    pub(super) fn poll_lost(&mut self, context: &Context<'_>) -> Poll<Fault> {
        self.open.socket.poll_recv(context).map(|received| match received {
            Received::Data(_) => Fault::Extra,
            Received::Eof => Fault::Short,
            Received::Failed(errno) => Fault::of_stream(errno),
        })
    }

    fn send(&mut self, context: &Context<'_>) -> Result<(), Fault> {
        loop {
            if self.open.socket.is_sending() {
                match self.open.socket.poll_sent(context) {
                    Poll::Ready(done) => self.sent(done)?,
                    Poll::Pending => return Ok(()),
                }
            } else if self.to_fill > 0 {
                self.send_piece()?;
            } else {
                return Ok(());
            }
        }
    }

    fn send_piece(&mut self) -> Result<(), Fault> {
        let bytes = self.to_fill.min(PIECE_BYTES_MAX);
        let pool = self.open.socket.handle().pool();
        let class = pool.optimal(bytes as usize).unwrap_or(Class::Huge);
        let mut buffer = pool.take(class).ok_or(Fault::NoBuffers)?;
        self.out.fill(&mut buffer[..bytes as usize]);
        self.to_fill -= bytes;
        self.sending = 0..bytes as u32;
        self.open.socket.start_send(buffer, 0, bytes as u32);
        Ok(())
    }

    fn sent(&mut self, done: SendDone) -> Result<(), Fault> {
        self.sending.start += done.result.map_err(Fault::of_stream)?;
        if !self.sending.is_empty() {
            self.open.socket.start_send(done.buffer, self.sending.start, self.sending.end);
        }
        Ok(())
    }

    fn receive(&mut self, context: &Context<'_>) -> Result<(), Fault> {
        while self.to_come > 0 {
            match self.open.socket.poll_recv(context) {
                Poll::Ready(Received::Data(chunk)) => self.received(&chunk)?,
                Poll::Ready(Received::Eof) => return Err(Fault::Short),
                Poll::Ready(Received::Failed(errno)) => return Err(Fault::of_stream(errno)),
                Poll::Pending => return Ok(()),
            }
        }
        Ok(())
    }

    fn received(&mut self, chunk: &Chunk) -> Result<(), Fault> {
        let bytes = &chunk.buffer[..chunk.len as usize];
        let expected = bytes.len().min(usize::try_from(self.to_come).unwrap_or(usize::MAX));
        self.back.check(&bytes[..expected]).map_err(|position| Fault::Corrupt { position })?;
        // They may be right, but of a message that nobody has sent yet.
        if bytes.len() > expected {
            return Err(Fault::Extra);
        }
        self.to_come -= expected as u64;
        Ok(())
    }
}
