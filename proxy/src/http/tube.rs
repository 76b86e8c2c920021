//! The bulk of a response's body, moved by splice: it comes neither to user space nor into our buffers.
//!
//! ```text
//!   Pausing ── the receive rests, all that came was handed on and sent ──► Installing ──► Moving ──► Over
//!      │                                                                       │             │
//!      └───────────────── no descriptor, no pipe: what is left is copied ◄─────┴─────────────┘
//! ```
//!
//! A connection to an endpoint that has brought large bodies receives one small buffer at a time from then on: the head
//! of its next response, and what fits behind it. So the change costs nothing then, for nothing has to be stopped.

use crate::l4::rung::{Splice, Step};
use balance_engine::net::{Installing, Socket};
use std::task::{Context, Poll};

/// See the module's documentation.
pub(super) enum Tube {
    Pausing,
    Installing(Box<[Installing; 2]>),
    Moving(Box<Splice>),
}

/// What a step came to.
pub(super) enum Moved {
    /// So many bytes were taken from the endpoint, and as many sent, now or soon.
    Bytes(u64),
    Waiting,
    /// The endpoint has closed or reset before all had come.
    SourceLost,
    SinkBroken,
    /// It cannot be done; what has not come is to be received again.
    Refused,
}

impl Tube {
    /// Stop receiving, unless that rests already.
    pub(super) fn begin(source: &mut Socket) -> Self {
        source.pause_recv();
        Self::Pausing
    }

    /// All that came before has been handed on, and the receive rests: so many bytes may be moved now.
    pub(super) fn start(&mut self, source: &Socket, sink: &Socket) {
        *self = Self::Installing(Box::new([Installing::new(source), Installing::new(sink)]));
    }

    pub(super) fn is_pausing(&self) -> bool {
        matches!(self, Self::Pausing)
    }

    /// Nothing is in a pipe.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Pausing | Self::Installing(_) => true,
            Self::Moving(splice) => splice.is_empty(),
        }
    }

    /// Move what can be moved now, of `left` bytes that have not come yet.
    pub(super) fn step(&mut self, source: &Socket, sink: &Socket, left: u64, context: &mut Context<'_>) -> Moved {
        match self {
            Self::Pausing => Moved::Waiting,
            Self::Installing(installing) => {
                for one in installing.iter_mut() {
                    match one.poll(context) {
                        Poll::Pending => return Moved::Waiting,
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_no_descriptor)) => return Moved::Refused,
                    }
                }
                *self = Self::Moving(Box::new(Splice::limited(source, left)));
                Moved::Bytes(0)
            }
            Self::Moving(splice) => {
                let before = splice.left();
                let step = splice.step(source, sink, &mut None, context);
                let taken = before - splice.left();
                match step {
                    _ if splice.refused => Moved::Refused,
                    Step::Moved { .. } => Moved::Bytes(taken),
                    Step::Waiting if taken > 0 => Moved::Bytes(taken),
                    Step::Waiting => Moved::Waiting,
                    Step::SourceEnded | Step::SourceReset => Moved::SourceLost,
                    Step::SinkBroken(_) => Moved::SinkBroken,
                }
            }
        }
    }
}
