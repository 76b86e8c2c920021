//! A buffer travels from receive to send without being copied or looked at.
//!
//! The receive of the source stays armed while the sink is busy; the engine stops it when too much has piled up.

use super::Step;
use balance_engine::{Received, net::Socket};
use std::task::{Context, Poll};

/// The buffer in flight: bytes `from..end` of it are still to be sent.
#[derive(Debug, Default)]
pub(in crate::l4) struct Copy {
    from: u32,
    end: u32,
}

impl Copy {
    /// Bytes received in the last step, if it received any.
    pub(in crate::l4) fn step(
        &mut self,
        source: &mut Socket,
        sink: &mut Socket,
        received: &mut u32,
        context: &mut Context<'_>,
    ) -> Step {
        if sink.is_sending() {
            return self.collect(sink, context);
        }
        match source.poll_recv(context) {
            Poll::Pending => Step::Waiting,
            Poll::Ready(Received::Data(chunk)) => {
                *received = chunk.len;
                self.from = 0;
                self.end = chunk.len;
                sink.start_send(chunk.buffer, 0, chunk.len);
                Step::Moved { sent: 0 }
            }
            Poll::Ready(Received::Eof) => Step::SourceEnded,
            Poll::Ready(Received::Failed(_)) => Step::SourceReset,
        }
    }

    fn collect(&mut self, sink: &mut Socket, context: &mut Context<'_>) -> Step {
        let Poll::Ready(done) = sink.poll_sent(context) else { return Step::Waiting };
        let sent = match done.result {
            Ok(sent) => sent,
            Err(errno) => return Step::SinkBroken(errno),
        };
        self.from += sent;
        if self.from < self.end {
            sink.start_send(done.buffer, self.from, self.end);
        }
        Step::Moved { sent }
    }
}
