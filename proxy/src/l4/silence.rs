//! When a connection has been silent for too long.
//!
//! What the relay moves counts, and so does what a peer takes out of our kernel's send queue. That queue holds MiBs and
//! takes more in big steps only, so a slow reader would look dead for minutes. But the kernel knows what is not
//! acknowledged yet, and it is asked, while the relay moves nothing, at these moments:
//!
//! ```text
//!   last move        ¼ limit            ½           ¾           limit         1¼
//!   ├───────────────────┼───────────────┼───────────┼─────────────┤
//!   │                   │ queues empty ─────────────────────────► ask again: over
//!   │                   │ bytes in them: there is no telling since when, so this counts as a move
//!   │                   ├───────────────┼───────────┼─────────────┼─────────────┤
//!   │                                   └ asked at each: another figure is a move; the same one for `limit`: over
//! ```
//!
//! So nothing is cut that moved within `limit`, and a reader that has stopped is cut after at most 1¼ of it.

use balance_engine::{
    clock::Timestamp,
    net::{Socket, Timer, Unacked},
};
use std::{
    mem,
    task::{Context, Poll, ready},
    time::Duration,
};

/// An alarm that moves cannot set off. It asks for nothing while bytes move.
pub(crate) struct Silence {
    timer: Timer,
    /// Absent while bytes move, and where no kernel has anything to send: of a connection that is merely idle.
    look: Option<Box<Look>>,
}

/// A look at the queues of both sockets.
#[derive(Default)]
struct Look {
    /// What there was when it was last asked, since the relay moved something.
    unacked: u32,
    asking: Option<Asking>,
}

/// One question about each of both sockets, and the answer.
struct Asking([(Unacked, Option<u32>); 2]);

impl Silence {
    pub(crate) fn new(timer: Timer) -> Self {
        Self { timer, look: None }
    }

    /// The relay has moved something.
    pub(crate) fn broken(&mut self) {
        self.look = None;
    }

    /// Ready when there was no move for `limit`. `since` is the last move, as far as the relay knows; this knows more.
    pub(crate) fn poll(
        &mut self,
        since: &mut Timestamp,
        limit: Duration,
        sockets: [&Socket; 2],
        context: &Context<'_>,
    ) -> Poll<()> {
        let (now, step) = (sockets[0].handle().now(), limit / 4);
        loop {
            if let Some(look) = &mut self.look
                && let Some(asking) = &mut look.asking
            {
                let unacked = ready!(asking.poll(context));
                look.asking = None;
                if unacked != mem::replace(&mut look.unacked, unacked) {
                    *since = now;
                } else if now >= *since + limit {
                    return Poll::Ready(());
                }
                if unacked == 0 {
                    // Nothing gets into an empty queue but what the relay moves.
                    self.look = None;
                    return self.timer.poll_at(*since + limit, context);
                }
                return self.timer.poll_at((now + step).min(*since + limit), context);
            }
            if now < *since + step {
                return self.timer.poll_lazily_at(*since + step, context);
            }
            ready!(self.timer.poll_armed(*since + limit, context));
            self.look.get_or_insert_default().asking = Some(Asking::new(sockets));
        }
    }
}

impl Asking {
    fn new(sockets: [&Socket; 2]) -> Self {
        Self(sockets.map(|socket| (Unacked::ask(socket), None)))
    }

    /// The sum of both. What cannot be found out is taken for nothing.
    fn poll(&mut self, context: &Context<'_>) -> Poll<u32> {
        for (question, answer) in &mut self.0 {
            if answer.is_none() {
                *answer = Some(ready!(question.poll(context)).unwrap_or(0));
            }
        }
        Poll::Ready(self.0.iter().filter_map(|(_, answer)| *answer).fold(0, u32::wrapping_add))
    }
}
