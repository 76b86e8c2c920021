//! One proxied connection, from accept to end.
//!
//! ```text
//!   Preface ──► Peek ──► Connecting ──► Introducing ──► Greeting ──► Relaying ── both done, error, time-out ──► (row
//!      │         │           └── no endpoint, over a limit, client gone ──► reset                            dropped)
//!      │         └── no route, a wrong ClientHello, too late ──► reset
//!      └── no PROXY header, a wrong one, too late ──► reset
//! ```
//!
//! No permit of a cluster is taken, nor is one waited for, before it is known which cluster that is.

use super::{
    greeting::Greeting,
    peek::Peek,
    preface::{Preface, Told},
    relay::{Moved, Relay, Verdict},
    silence::Silence,
};
use crate::{
    guard::Welcome,
    report::{ConnectionState, Reason},
    state::{ClusterState, Destination, ListenerState, Terms},
    table::RowGuard,
    upstream::{self, Opened, RowHandle, Wish},
};
use balance_config::model::ProxyProtocolVersion;
use balance_engine::{
    driver::Peer,
    net::{Installing, Socket, Timer},
};
use std::{
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

/// The task of a connection. Fields in the order in which they must go: what waits for sockets, the sockets, then the
/// row, so that the table never misses a connection that still has a socket.
pub(super) struct Connection {
    phase: Phase,
    silence: Silence,
    downstream: Option<Socket>,
    terms: Rc<Terms>,
    row: RowGuard,
}

/// The allocator's chunks are multiples of 16 bytes, 8 of them its own: one byte more than this takes 16. Tests have
/// fields of their own.
#[cfg(not(test))]
const _: () = assert!(size_of::<Connection>() <= 184);

/// When one side was reset: so long may the other take nothing of what that one sent before. Mostly it takes all at
/// once; one that is stuck is not waited for, because its own reset throws away what is queued for it anyway.
const LAST_BYTES: Duration = Duration::from_secs(1);

type Opening = Pin<Box<dyn Future<Output = Result<Opened, Reason>>>>;

/// Our own address of the client's socket is being found out, for the header that the endpoint wants.
struct Introduction {
    installing: Installing,
    told: Option<Box<Told>>,
    header: Option<ProxyProtocolVersion>,
}

enum Phase {
    Preface(Box<Preface>),
    /// The listener has routes.
    Peek(Box<Peek>),
    /// With what a PROXY header told and what was peeked at, until the endpoint is told.
    Connecting(Opening, Option<Box<Told>>),
    Introducing(Box<Introduction>, Socket),
    Greeting(Box<Greeting>, Socket),
    // The relay first: what it waits for goes before the sockets do.
    Relaying {
        relay: Relay,
        upstream: Socket,
    },
    Over,
}

impl Connection {
    pub(super) fn new(row: RowGuard, downstream: Socket, listener: &Rc<ListenerState>, welcome: Welcome) -> Self {
        let handle = row.state.handle.clone();
        let phase = match welcome {
            Welcome::Proxy(timeout) => Phase::Preface(Box::new(Preface::new(&downstream, handle.now() + timeout))),
            Welcome::Client | Welcome::Refused(_) => route(&row, listener, None),
        };
        Self {
            phase,
            silence: Silence::new(Timer::new(&handle)),
            downstream: Some(downstream),
            terms: listener.terms(),
            row,
        }
    }

    /// Ready when the endpoint has all it must have before the bytes are relayed.
    fn poll_opening(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        loop {
            let next = match &mut self.phase {
                Phase::Relaying { .. } => return Poll::Ready(Ok(())),
                Phase::Over => return Poll::Ready(Err(Reason::Error)),
                Phase::Preface(_) => ready!(self.poll_preface(context)),
                Phase::Peek(_) => ready!(self.poll_peek(context)),
                Phase::Connecting(..) => ready!(self.poll_connecting(context)),
                Phase::Introducing(..) => ready!(self.poll_introducing(context)),
                Phase::Greeting(..) => ready!(self.poll_greeting(context)),
            };
            match next {
                Ok(phase) => self.phase = phase,
                Err(reason) => return Poll::Ready(Err(reason)),
            }
        }
    }

    fn poll_preface(&mut self, context: &mut Context<'_>) -> Poll<Result<Phase, Reason>> {
        let (Phase::Preface(preface), Some(downstream)) = (&mut self.phase, &mut self.downstream) else {
            return Poll::Ready(Err(Reason::Error));
        };
        let told = ready!(preface.poll(downstream, context))?;
        let listener = self.row.with(|row| Rc::clone(row.listener.of()));
        if let Some((client, _)) = told.addresses {
            if let Welcome::Refused(reason) = listener.welcome_client(client.ip()) {
                return Poll::Ready(Err(reason));
            }
            let seat = listener.seat(Some(client.ip()), self.row.state.handle.now())?;
            self.row.with(|row| {
                row.peer = client.into();
                if seat.is_some() {
                    row.extra.get_or_insert_default().seat = seat;
                }
            });
        }
        Poll::Ready(Ok(route(&self.row, &listener, Some(Box::new(told)))))
    }

    fn poll_peek(&mut self, context: &mut Context<'_>) -> Poll<Result<Phase, Reason>> {
        let (Phase::Peek(peek), Some(downstream)) = (&mut self.phase, &mut self.downstream) else {
            return Poll::Ready(Err(Reason::Error));
        };
        let cluster = ready!(peek.poll(downstream, &self.row.state.peeked, context))?;
        let Phase::Peek(peek) = std::mem::replace(&mut self.phase, Phase::Over) else {
            return Poll::Ready(Err(Reason::Error));
        };
        self.row.choose(&cluster.name);
        Poll::Ready(Ok(connecting(&self.row, cluster, Some(peek.into_told()))))
    }

    fn poll_connecting(&mut self, context: &mut Context<'_>) -> Poll<Result<Phase, Reason>> {
        let (Phase::Connecting(opening, told), Some(downstream)) = (&mut self.phase, &mut self.downstream) else {
            return Poll::Ready(Err(Reason::Error));
        };
        if downstream.poll_broken(context).is_ready() {
            return Poll::Ready(Err(Reason::DownstreamGone));
        }
        let Opened { socket: upstream, header } = ready!(opening.as_mut().poll(context))?;
        // Waiting for a place and for the endpoint was not the client's idleness.
        let now = self.row.state.handle.now();
        self.row.with(|row| (row.state, row.progress) = (ConnectionState::Open, now));
        self.row.forget_choice();
        let told = told.take();
        let announced = told.as_ref().is_some_and(|told| told.addresses.is_some());
        if header.is_some() && !announced {
            let introduction = Introduction { installing: Installing::new(downstream), told, header };
            return Poll::Ready(Ok(Phase::Introducing(Box::new(introduction), upstream)));
        }
        Poll::Ready(Ok(greet(header, None, told, upstream)))
    }

    fn poll_introducing(&mut self, context: &mut Context<'_>) -> Poll<Result<Phase, Reason>> {
        let Phase::Introducing(about, _) = &mut self.phase else { return Poll::Ready(Err(Reason::Error)) };
        // Without a descriptor to ask, the header says UNKNOWN.
        let _known_or_not = ready!(about.installing.poll(context));
        let Phase::Introducing(about, upstream) = std::mem::replace(&mut self.phase, Phase::Over) else {
            return Poll::Ready(Err(Reason::Error));
        };
        let local = self.downstream.as_ref().and_then(|d| d.local_addr().ok()).and_then(Peer::socket_addr);
        let peer = self.row.with(|row| row.peer).socket_addr();
        Poll::Ready(Ok(greet(about.header, peer.zip(local), about.told, upstream)))
    }

    fn poll_greeting(&mut self, context: &mut Context<'_>) -> Poll<Result<Phase, Reason>> {
        let (Phase::Greeting(greeting, upstream), Some(downstream)) = (&mut self.phase, &mut self.downstream) else {
            return Poll::Ready(Err(Reason::Error));
        };
        let Poll::Ready(sent) = greeting.poll(downstream, upstream, context) else {
            if downstream.poll_broken(context).is_ready() {
                return Poll::Ready(Err(Reason::DownstreamReset));
            }
            let Some(limit) = self.terms.timeouts.idle else { return Poll::Pending };
            let mut progress = self.row.with(|row| row.progress);
            let over = self.silence.poll(&mut progress, limit, [downstream, upstream], context);
            self.row.with(|row| row.progress = progress);
            return over.map(|()| Err(Reason::IdleTimeout));
        };
        sent?;
        let bytes = greeting.client_bytes();
        self.row.with(|row| row.count(bytes, 0));
        let Phase::Greeting(_, upstream) = std::mem::replace(&mut self.phase, Phase::Over) else {
            return Poll::Ready(Err(Reason::Error));
        };
        Poll::Ready(Ok(Phase::Relaying { relay: Relay::default(), upstream }))
    }

    fn poll_relaying(&mut self, context: &mut Context<'_>) -> Poll<Reason> {
        let (Some(downstream), Phase::Relaying { upstream, relay }) = (&mut self.downstream, &mut self.phase) else {
            return Poll::Ready(Reason::Error);
        };
        let handle = self.row.state.handle.clone();
        let mut moved = Moved::default();
        let verdict = relay.poll(downstream, upstream, &handle, &self.terms.ladder, &mut moved, context);
        let (state, rungs) = (relay.connection_state(), relay.rungs());
        self.row.state.count_rungs(&[moved.up, moved.down]);
        let (up, down) = (moved.up.bytes(), moved.down.bytes());
        let mut progress = self.row.with(|row| {
            if up + down > 0 || row.state != state {
                row.progress = handle.now();
                row.count(up, down);
                self.silence.broken();
            }
            (row.rung_up, row.rung_down) = rungs;
            row.state = state;
            row.progress
        });
        match verdict {
            Verdict::Over(reason) => return Poll::Ready(reason),
            Verdict::Yielded => return Poll::Pending,
            Verdict::Waiting => {}
        }
        let (limit, reason) = match state {
            ConnectionState::Peeking
            | ConnectionState::Queued
            | ConnectionState::Connecting
            | ConnectionState::Open => (self.terms.timeouts.idle, Reason::IdleTimeout),
            _ => match (self.terms.timeouts.half_close, relay.reset(downstream, upstream)) {
                (limit, Some(reset)) => (Some(limit.map_or(LAST_BYTES, |l| l.min(LAST_BYTES))), reset),
                (limit, None) => (limit, Reason::HalfCloseTimeout),
            },
        };
        let Some(limit) = limit else { return Poll::Pending };
        let known = progress;
        let over = self.silence.poll(&mut progress, limit, [downstream, upstream], context);
        if progress != known {
            self.row.with(|row| row.progress = progress);
        }
        over.map(|()| reason)
    }

    /// Let go of both sockets as the reason demands.
    fn close(&mut self, reason: Reason) {
        self.row.with(|row| row.reason = reason);
        let upstream = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Relaying { relay, upstream } => {
                drop(relay);
                Some(upstream)
            }
            Phase::Introducing(about, upstream) => {
                drop(about);
                Some(upstream)
            }
            Phase::Greeting(_, upstream) => Some(upstream),
            Phase::Preface(_) | Phase::Peek(_) | Phase::Connecting(..) | Phase::Over => None,
        };
        let downstream = self.downstream.take();
        let sockets = [downstream, upstream].into_iter().flatten();
        match reason {
            Reason::Finished => sockets.for_each(drop),
            // Neither side may take what it has got for the whole.
            _ => sockets.for_each(Socket::reset),
        }
    }
}

/// Dropped before its end: by a panic, a deadline, or the end of the shard. Its peers must not take that for the end of
/// their streams.
impl Drop for Connection {
    fn drop(&mut self) {
        if self.downstream.is_some() {
            self.close(Reason::Error);
        }
    }
}

/// The client's own bytes are next.
fn route(row: &RowGuard, listener: &ListenerState, told: Option<Box<Told>>) -> Phase {
    match listener.destination() {
        Destination::Cluster(cluster) => connecting(row, cluster, told),
        Destination::Nowhere => Phase::Over,
        Destination::Routes(routing) => {
            row.with(|row| row.state = ConnectionState::Peeking);
            Phase::Peek(Box::new(Peek::new(&row.state.handle, routing, told)))
        }
    }
}

fn connecting(row: &RowGuard, cluster: Rc<ClusterState>, told: Option<Box<Told>>) -> Phase {
    let opening = upstream::open(Rc::clone(&row.state), cluster, RowHandle::of(row), Wish::default());
    Phase::Connecting(Box::pin(opening), told)
}

/// What goes to the endpoint first, if anything does.
fn greet(
    header: Option<ProxyProtocolVersion>,
    addresses: Option<(SocketAddr, SocketAddr)>,
    told: Option<Box<Told>>,
    upstream: Socket,
) -> Phase {
    let told = told.map_or_else(Told::default, |told| *told);
    let greeting = Greeting::new(header, told.addresses.or(addresses), told.rest);
    if greeting.is_empty() {
        return Phase::Relaying { relay: Relay::default(), upstream };
    }
    Phase::Greeting(Box::new(greeting), upstream)
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let reason = match ready!(this.poll_opening(context)) {
            Ok(()) => ready!(this.poll_relaying(context)),
            Err(reason) => reason,
        };
        this.close(reason);
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What only some connections go through, and all only for a moment, is boxed.
    #[test]
    fn no_phase_is_larger_than_relaying() {
        assert!(size_of::<Phase>() <= size_of::<Relay>() + size_of::<Socket>() + size_of::<usize>());
    }
}
