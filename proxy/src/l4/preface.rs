//! The PROXY header of a proxy in front, read before anything else. Bounded in bytes and in time.
//!
//! What came with it and is the client's own goes to the endpoint first, unchanged.

use crate::{
    proxy_protocol::{Addresses, Parser, Progress},
    report::Reason,
};
use balance_engine::{
    Received,
    clock::Timestamp,
    net::{Socket, Timer},
};
use std::{
    net::SocketAddr,
    task::{Context, Poll},
};

/// A header being read.
pub(crate) struct Preface {
    bytes: Vec<u8>,
    deadline: Timestamp,
    timer: Timer,
}

/// What a header has told.
#[derive(Default)]
pub(crate) struct Told {
    /// The client and the address it connected to; `None`: those of the socket count.
    pub(crate) addresses: Option<(SocketAddr, SocketAddr)>,
    /// What follows the header, and more of it that was read to choose a cluster: the client's first bytes.
    pub(crate) rest: Vec<u8>,
}

impl Preface {
    pub(crate) fn new(socket: &Socket, deadline: Timestamp) -> Self {
        Self { bytes: Vec::new(), deadline, timer: Timer::new(socket.handle()) }
    }

    /// Ready with what the header says.
    ///
    /// # Errors
    /// No header, a wrong one, or not in time.
    pub(crate) fn poll(&mut self, socket: &mut Socket, context: &mut Context<'_>) -> Poll<Result<Told, Reason>> {
        loop {
            match socket.poll_recv(context) {
                // A buffer is 32 KiB at most and a header ends or is refused within 3, so what is kept is bounded.
                Poll::Ready(Received::Data(chunk)) => {
                    self.bytes.extend_from_slice(&chunk.buffer[..chunk.len as usize]);
                }
                Poll::Ready(Received::Eof | Received::Failed(_)) => return Poll::Ready(Err(Reason::BadPreface)),
                Poll::Pending => {
                    return self.timer.poll_at(self.deadline, context).map(|()| Err(Reason::PrefaceTimeout));
                }
            }
            match Parser::default().parse(&self.bytes) {
                Progress::NeedMore { .. } => {}
                Progress::Invalid(why) => {
                    tracing::debug!(why = why.as_str(), "PROXY header refused");
                    return Poll::Ready(Err(Reason::BadPreface));
                }
                Progress::Done { header, consumed } => {
                    let addresses = match header.addresses {
                        Addresses::Inet { source, destination } => Some((source, destination)),
                        Addresses::Local | Addresses::Unknown | Addresses::Unix { .. } => None,
                    };
                    return Poll::Ready(Ok(Told { addresses, rest: self.bytes[consumed..].to_vec() }));
                }
            }
        }
    }
}
