//! What is to be sent to a peer, in order, one operation at a time.

use super::inbox::Run;
use balance_engine::{
    Chunk,
    batch::Batch,
    driver::Errno,
    net::{BatchEvent, BatchSend, Socket},
};
use std::{
    mem,
    task::{Context, Poll, ready},
};

/// See the module's documentation. One buffer is sent by a plain send, several by a vectored one.
#[derive(Default)]
pub(super) struct Outbox {
    waiting: Box<Batch>,
    sending: Sending,
    /// Of what is being sent.
    in_flight: u64,
}

#[derive(Default)]
enum Sending {
    #[default]
    Nothing,
    /// The buffer is with the socket: `from..end` of it.
    One {
        from: u32,
        end: u32,
    },
    Many(BatchSend),
}

impl Outbox {
    /// No more should be put in for now.
    pub(super) fn is_full(&self, max: u64) -> bool {
        !self.waiting.has_room() || self.bytes() >= max
    }

    /// Bytes that the kernel has not taken yet.
    pub(super) fn bytes(&self) -> u64 {
        self.waiting.bytes() + self.in_flight
    }

    /// The kernel has taken everything.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes() == 0 && !self.is_sending()
    }

    pub(super) fn is_sending(&self) -> bool {
        !matches!(self.sending, Sending::Nothing)
    }

    pub(super) fn push(&mut self, run: Run) {
        self.waiting.push_from(run.chunk, run.from);
    }

    /// Send. Ready with what the kernel has taken, whenever it has; pending while it takes its time, and where there is
    /// nothing to be sent.
    ///
    /// # Errors
    /// Those of sending. Nothing can be sent any more.
    pub(super) fn poll(&mut self, socket: &mut Socket, context: &mut Context<'_>) -> Poll<Result<u64, Errno>> {
        if !self.is_sending() {
            if self.waiting.is_empty() {
                return Poll::Pending;
            }
            self.start(socket);
        }
        let sent = match &mut self.sending {
            Sending::Nothing => return Poll::Pending,
            Sending::One { from, end } => {
                let done = ready!(socket.poll_sent(context));
                match done.result {
                    Err(errno) => {
                        self.sending = Sending::Nothing;
                        return Poll::Ready(Err(errno));
                    }
                    Ok(sent) => {
                        *from += sent;
                        if *from < *end {
                            socket.start_send(done.buffer, *from, *end);
                        } else {
                            self.sending = Sending::Nothing;
                        }
                        sent
                    }
                }
            }
            Sending::Many(sending) => match ready!(sending.poll(context)) {
                BatchEvent::Sent { result: Err(errno), .. } => {
                    self.sending = Sending::Nothing;
                    return Poll::Ready(Err(errno));
                }
                BatchEvent::Sent { batch: Some(mut batch), result: Ok(sent) } => {
                    self.sending = Sending::Nothing;
                    batch.advance(sent);
                    if batch.is_empty() {
                        // Mostly nothing has come meanwhile, and its memory is used again.
                        if self.waiting.is_empty() {
                            self.waiting = batch;
                        }
                    } else {
                        self.sending = Sending::Many(BatchSend::start(socket, batch, false));
                    }
                    sent
                }
                // Only of sends without a copy, which these are not.
                BatchEvent::Sent { batch: None, .. } | BatchEvent::Released { .. } => {
                    self.sending = Sending::Nothing;
                    return Poll::Ready(Err(Errno::BROKEN_PIPE));
                }
            },
        };
        self.in_flight = self.in_flight.saturating_sub(u64::from(sent));
        Poll::Ready(Ok(u64::from(sent)))
    }

    fn start(&mut self, socket: &mut Socket) {
        self.in_flight = self.waiting.bytes();
        if let Some((Chunk { buffer, len }, from)) = self.waiting.pop_single() {
            socket.start_send(buffer, from, len);
            self.sending = Sending::One { from, end: len };
        } else {
            let batch = mem::take(&mut self.waiting);
            self.sending = Sending::Many(BatchSend::start(socket, batch, false));
        }
    }
}
