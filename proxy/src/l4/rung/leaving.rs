//! From one rung to another: the receive is stopped, what has come is copied in order, and both sockets get real
//! descriptors where the new rung needs them. Only then does it read its first byte, so none can be lost, repeated or
//! overtaken.

use super::{Copy, Step};
use crate::report::RungKind;
use balance_engine::net::{Installing, Socket};
use std::task::{Context, Poll};

pub(in crate::l4) struct Leaving {
    copy: Copy,
    from: RungKind,
    to: RungKind,
    installing: Option<[Installing; 2]>,
}

/// How far the change has come.
pub(in crate::l4) enum Left {
    /// Still on the way; this is what its copying did.
    Not(Step),
    /// The next rung may read.
    Ready,
    /// No descriptor was to be had; copying goes on.
    Refused,
}

impl Leaving {
    pub(in crate::l4) fn new(copy: Copy, from: RungKind, to: RungKind, source: &mut Socket) -> Self {
        source.pause_recv();
        Self { copy, from, to, installing: None }
    }

    pub(in crate::l4) fn from(&self) -> RungKind {
        self.from
    }

    pub(in crate::l4) fn to(&self) -> RungKind {
        self.to
    }

    pub(in crate::l4) fn step(&mut self, source: &mut Socket, sink: &mut Socket, context: &mut Context<'_>) -> Left {
        let Some(installing) = &mut self.installing else {
            let step = self.copy.step(source, sink, &mut 0, context);
            if step != Step::Waiting || sink.is_sending() || !source.recv_is_quiet() {
                return Left::Not(step);
            }
            if !needs_descriptors(self.to) {
                return Left::Ready;
            }
            self.installing = Some([Installing::new(source), Installing::new(sink)]);
            return Left::Not(Step::Moved { sent: 0 });
        };
        for installing in installing {
            match installing.poll(context) {
                Poll::Pending => return Left::Not(Step::Waiting),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_no_descriptor)) => return Left::Refused,
            }
        }
        Left::Ready
    }
}

/// System calls know real descriptors only.
fn needs_descriptors(rung: RungKind) -> bool {
    match rung {
        RungKind::Splice | RungKind::UringSplice => true,
        RungKind::Copy | RungKind::Bundle | RungKind::SendZc => false,
    }
}
