//! A client's connection to an HTTP listener, from accept to end: one request after another.
//!
//! ```text
//!             ┌─────────────── kept ───────────────┐
//!   Preface ──┴──► Waiting ── a head ──► Serving ──┴──► Lingering ──► (row dropped)
//!                     │                     └── 101 ──► Tunnel ─────► (row dropped)
//!                     └── closed, idle for too long, half a head for too long
//! ```
//!
//! While it waits, a connection has its socket, its row, and what came of a head. What a request needs is taken from
//! the shard's store for as long as the request lasts.

use super::{
    exchange::{Client, Ended, Exchange},
    inbox::{Filled, Inbox},
    tunnel::Tunnel,
};
use crate::{
    guard::Welcome,
    h1::{Parsed, Patience, Reason as Wrong, Refusal, parse_request},
    l4::Preface,
    report::{ConnectionState, Reason},
    state::{HttpTerms, ListenerState},
    table::RowGuard,
};
use balance_engine::{
    Received,
    clock::Timestamp,
    net::{Socket, Timer},
};
use std::{
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

/// After the last response: so long may a client that still sends go on, and so much may it send, before it is cut off.
/// Closed at once, unread bytes would make the kernel send a reset, which can take the response away before it is read.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: u64 = 4 << 20;

/// The task of a connection. Fields in the order in which they must go: what waits for sockets, the sockets, the row.
pub(crate) struct Connection {
    phase: Phase,
    timer: Timer,
    socket: Option<Socket>,
    inbox: Inbox,
    patience: Patience,
    /// When the head that is waited for had its first byte; where it has none, when the last response was over.
    since: Timestamp,
    /// Requests so far.
    served: u32,
    row: RowGuard,
}

/// The allocator's chunks are multiples of 16 bytes, 8 of them its own.
const _: () = assert!(size_of::<Connection>() <= 280);

enum Phase {
    Preface(Box<Preface>),
    Waiting,
    Serving(Box<Exchange>),
    Tunnel(Box<Tunnel>),
    Lingering { until: Timestamp, left: u64 },
    Over,
}

impl Connection {
    pub(crate) fn new(row: RowGuard, socket: Socket, welcome: Welcome) -> Self {
        let handle = &row.state.handle;
        let now = handle.now();
        let phase = match welcome {
            Welcome::Proxy(timeout) => Phase::Preface(Box::new(Preface::new(&socket, now + timeout))),
            Welcome::Client | Welcome::Refused(_) => Phase::Waiting,
        };
        row.with(|row| row.state = ConnectionState::Open);
        let timer = Timer::new(handle);
        let inbox = Inbox::default();
        Self { phase, timer, socket: Some(socket), inbox, patience: Patience::NEW, since: now, served: 0, row }
    }

    fn listener(&self) -> Rc<ListenerState> {
        self.row.with(|row| Rc::clone(row.listener.of()))
    }

    fn poll_preface(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        let (Phase::Preface(preface), Some(socket)) = (&mut self.phase, &mut self.socket) else {
            return Poll::Ready(Err(Reason::Error));
        };
        let told = ready!(preface.poll(socket, context))?;
        if let Some((client, _)) = told.addresses {
            let listener = self.listener();
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
        self.inbox = Inbox::with(told.rest);
        self.phase = Phase::Waiting;
        Poll::Ready(Ok(()))
    }

    /// Wait for a head. Ready when there is one, or something that is none; an error ends the connection.
    fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<Result<Box<Exchange>, Reason>> {
        let state = Rc::clone(&self.row.state);
        let now = state.handle.now();
        let Some(terms) = self.listener().http_terms() else { return Poll::Ready(Err(Reason::Error)) };
        loop {
            let bytes = self.inbox.bytes();
            let max = terms.limits.head_bytes_max as usize;
            if !bytes.is_empty() && self.patience.is_over(bytes, max) {
                let mut exchange = state.exchanges.take(&terms);
                let parsed = parse_request(bytes, &terms.limits, &state.names, &mut exchange.head);
                if let Parsed::Partial = parsed {
                    state.exchanges.put(exchange);
                    self.inbox.keep();
                } else {
                    return Poll::Ready(Ok(self.begin(exchange, &parsed, &terms)));
                }
            }
            let Some(socket) = &mut self.socket else { return Poll::Ready(Err(Reason::Error)) };
            let was_empty = self.inbox.is_empty();
            match self.inbox.poll_fill(socket, context) {
                Poll::Ready(Filled::More) if was_empty => self.since = now,
                Poll::Ready(Filled::More) => {}
                Poll::Ready(Filled::Ended) if was_empty => return Poll::Ready(Err(Reason::Finished)),
                Poll::Ready(Filled::Ended) => return Poll::Ready(Err(Reason::DownstreamGone)),
                Poll::Ready(Filled::Broken) if was_empty && self.served > 0 => {
                    return Poll::Ready(Err(Reason::Finished));
                }
                Poll::Ready(Filled::Broken) => return Poll::Ready(Err(Reason::DownstreamReset)),
                Poll::Pending => break,
            }
        }
        // Who is asked to go between two requests has lost nothing.
        let is_idle = self.inbox.is_empty();
        if is_idle && state.draining.get() {
            return Poll::Ready(Err(Reason::Finished));
        }
        let limit = if is_idle && self.served > 0 { terms.idle_timeout } else { Some(terms.header_timeout) };
        let Some(limit) = limit else { return Poll::Pending };
        let at = self.since + limit;
        if now < at {
            let _armed = self.timer.poll_lazily_at(at, context);
            return Poll::Pending;
        }
        if is_idle {
            return Poll::Ready(Err(if self.served > 0 { Reason::Finished } else { Reason::HeaderTimeout }));
        }
        let mut exchange = state.exchanges.take(&terms);
        self.with_client(|client| exchange.answer_late(client));
        Poll::Ready(Ok(exchange))
    }

    fn begin(
        &mut self,
        mut exchange: Box<Exchange>,
        parsed: &Parsed<crate::h1::Request>,
        terms: &HttpTerms,
    ) -> Box<Exchange> {
        self.served = self.served.saturating_add(1);
        let may_be_kept = terms.requests_max.is_none_or(|max| self.served < max) && !self.row.state.draining.get();
        self.with_client(|client| match parsed {
            Parsed::Complete(request) => exchange.begin(request, may_be_kept, client),
            Parsed::Refused(refusal) => exchange.refuse(*refusal, client),
            Parsed::Partial => exchange.refuse(Refusal::request(Wrong::Incomplete), client),
        });
        exchange
    }

    fn with_client<T>(&mut self, act: impl FnOnce(&mut Client<'_>) -> T) -> Option<T> {
        let socket = self.socket.as_mut()?;
        let (row, inbox, timer) = (&self.row, &mut self.inbox, &mut self.timer);
        Some(act(&mut Client { row, socket, inbox, timer }))
    }

    /// Ready when the request is over and the connection is in another phase.
    fn poll_serving(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        let (Phase::Serving(exchange), Some(socket)) = (&mut self.phase, &mut self.socket) else {
            return Poll::Ready(Err(Reason::Error));
        };
        let client = &mut Client { row: &self.row, socket, inbox: &mut self.inbox, timer: &mut self.timer };
        let ended = ready!(exchange.poll(client, context));
        let now = self.row.state.handle.now();
        self.since = now;
        self.patience = Patience::NEW;
        self.row.with(|row| row.progress = now);
        let next = match ended {
            Ended::Kept => Phase::Waiting,
            Ended::Close => {
                socket.shutdown();
                Phase::Lingering { until: now + LINGER, left: LINGER_BYTES_MAX }
            }
            Ended::Abort(reason) => return Poll::Ready(Err(reason)),
            Ended::Upgraded(upstream, from_endpoint) => {
                Phase::Tunnel(Box::new(Tunnel::new(upstream, mem::take(&mut self.inbox), from_endpoint)))
            }
        };
        if let Phase::Serving(exchange) = mem::replace(&mut self.phase, next) {
            self.row.state.exchanges.put(exchange);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_tunnel(&mut self, context: &mut Context<'_>) -> Poll<Reason> {
        let terms = self.listener().terms();
        let (Phase::Tunnel(tunnel), Some(socket)) = (&mut self.phase, &mut self.socket) else {
            return Poll::Ready(Reason::Error);
        };
        tunnel.poll(socket, &terms, &self.row, context)
    }

    /// Until the client has closed as well, or has gone on for too long.
    fn poll_lingering(&mut self, context: &mut Context<'_>) -> Poll<Reason> {
        let (Phase::Lingering { until, left }, Some(socket)) = (&mut self.phase, &mut self.socket) else {
            return Poll::Ready(Reason::Error);
        };
        loop {
            match socket.poll_recv(context) {
                Poll::Ready(Received::Data(chunk)) if *left > u64::from(chunk.len) => *left -= u64::from(chunk.len),
                Poll::Ready(_) => return Poll::Ready(Reason::Finished),
                Poll::Pending => return self.timer.poll_at(*until, context).map(|()| Reason::Finished),
            }
        }
    }

    fn close(&mut self, reason: Reason) {
        self.row.with(|row| row.reason = reason);
        match mem::replace(&mut self.phase, Phase::Over) {
            Phase::Serving(mut exchange) => {
                let aborted = self.with_client(|client| exchange.abort(client));
                if aborted.is_some() {
                    self.row.state.exchanges.put(exchange);
                }
            }
            Phase::Tunnel(tunnel) => tunnel.close(reason),
            Phase::Preface(_) | Phase::Waiting | Phase::Lingering { .. } | Phase::Over => {}
        }
        self.inbox.clear();
        let Some(socket) = self.socket.take() else { return };
        match reason {
            Reason::Finished => drop(socket),
            _ => socket.reset(),
        }
    }
}

/// Dropped before its end: by a panic, a deadline, or the end of the shard.
impl Drop for Connection {
    fn drop(&mut self) {
        if self.socket.is_some() {
            self.close(Reason::Error);
        }
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let reason = loop {
            let next = match &this.phase {
                Phase::Preface(_) => ready!(this.poll_preface(context)),
                Phase::Waiting => {
                    ready!(this.poll_waiting(context)).map(|exchange| this.phase = Phase::Serving(exchange))
                }
                Phase::Serving(_) => ready!(this.poll_serving(context)),
                Phase::Tunnel(_) => Err(ready!(this.poll_tunnel(context))),
                Phase::Lingering { .. } => Err(ready!(this.poll_lingering(context))),
                Phase::Over => Err(Reason::Error),
            };
            if let Err(reason) = next {
                break reason;
            }
        };
        this.close(reason);
        Poll::Ready(())
    }
}
