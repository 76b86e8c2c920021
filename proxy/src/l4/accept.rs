//! A listener's accept loop: one task for every listening socket.

use super::connection::Connection;
use crate::{
    guard::Welcome,
    per_ip,
    permits::{Permit, Turn},
    report::{ConnectionState, Reason, RungKind},
    state::{ListenerState, State},
    table::{Permits, Row, RowGuard},
};
use balance_engine::{
    executor::Admission,
    net::{Accepted, Listener},
};
use std::{future::poll_fn, rc::Rc, task::Poll};

/// Accept until aborted. While the shard has no room for another task, or the listener none for another connection,
/// connections wait in the kernel's queue.
pub(crate) async fn accept_loop(state: Rc<State>, listener_state: Rc<ListenerState>, mut listener: Listener) {
    loop {
        let accepted = poll_fn(|context| {
            if !state.handle.has_room() {
                state.handle.wait_for_room(context);
                return Poll::Pending;
            }
            if !state.handle.spend(context) {
                return Poll::Pending;
            }
            listener.poll_accept(context)
        });
        // An error here is one client's that went away before it was accepted.
        let Ok(accepted) = accepted.await else { continue };
        listener_state.accepted.set(listener_state.accepted.get() + 1);
        let (welcome, seat) = match receive(&state, &listener_state, &accepted) {
            Ok(received) => received,
            Err(reason) => {
                state.count_ending(reason);
                accepted.socket.reset();
                continue;
            }
        };
        let permit = match at_once(&listener_state) {
            Some(permit) => {
                listener.widen();
                permit
            }
            None => {
                listener_state.limit_pauses.set(listener_state.limit_pauses.get() + 1);
                listener.narrow();
                in_turn(&state, &listener_state).await
            }
        };
        let rights = (Permits { listener: Some(permit), ..Permits::default() }, seat);
        admit(&state, &listener_state, accepted, welcome, rights);
    }
}

/// Who is it, and may it come in? A client that a proxy is to tell us of is judged by its own address later.
fn receive(state: &State, listener: &ListenerState, accepted: &Accepted) -> Result<(Welcome, Seat), Reason> {
    let ip = accepted.peer.socket_addr().map(|a| a.ip());
    match listener.welcome(ip) {
        Welcome::Refused(reason) => Err(reason),
        Welcome::Client => Ok((Welcome::Client, listener.seat(ip, state.handle.now())?)),
        proxy @ Welcome::Proxy(_) => Ok((proxy, None)),
    }
}

type Seat = Option<Box<per_ip::Seat>>;

/// A permit, unless other shards wait for one.
fn at_once(listener: &ListenerState) -> Option<Permit> {
    if listener.lease.limit().waits().is_empty() { listener.lease.take() } else { None }
}

async fn in_turn(state: &State, listener: &ListenerState) -> Permit {
    // Each accept loop waits once, so there is a bound without a bound.
    let waits = listener.lease.limit().waits();
    let turn = Turn::enter(&state.caller, waits, usize::MAX).expect("a list without a bound has room");
    poll_fn(|context| {
        let permit = if turn.is_called(context) { listener.lease.take() } else { None };
        permit.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

fn admit(
    state: &Rc<State>,
    listener: &Rc<ListenerState>,
    accepted: Accepted,
    welcome: Welcome,
    rights: (Permits, Seat),
) {
    listener.active.set(listener.active.get() + 1);
    let now = state.handle.now();
    let (permits, seat) = rights;
    let row = Row {
        id: state.next_id(),
        listener: Rc::clone(listener),
        endpoint: None,
        permits,
        seat,
        opened: now,
        progress: now,
        bytes_up: 0,
        bytes_down: 0,
        peer: accepted.peer,
        state: ConnectionState::Connecting,
        rung_up: RungKind::default(),
        rung_down: RungKind::default(),
        reason: Reason::Error,
    };
    let key = state.table.borrow_mut().insert(row);
    let guard = RowGuard { state: Rc::clone(state), key };
    let connection = Connection::new(guard, accepted.socket, listener, welcome);
    // Refused only where accepts in flight brought more than there was room for: dropped, counted by the executor.
    let _refused = state.handle.spawn(Admission::Bounded, connection);
}
