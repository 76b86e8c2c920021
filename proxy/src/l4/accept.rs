//! A listener's accept loop: one task for every listening socket.

use super::connection::Connection;
use crate::{
    guard::Welcome,
    http,
    per_ip::Seat,
    permits::{Grants, Permit, Turn},
    report::Reason,
    state::{ListenerState, Room, State},
    table::{Extra, Row, RowGuard},
};
use balance_engine::{
    executor::Admission,
    net::{Accepted, Listener},
};
use std::{cell::Cell, future::poll_fn, rc::Rc, task::Poll};

/// Accept until aborted. While the shard has no room for another task, or the listener none for another connection,
/// connections wait in the kernel's queue.
pub(crate) async fn accept_loop(state: Rc<State>, listener_state: Rc<ListenerState>, mut listener: Listener) {
    loop {
        if !state.room.as_ref().is_none_or(Room::is_wide) {
            listener.narrow();
        }
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
        let room = state.room.as_ref();
        let (room_permit, no_room) = match room {
            Some(room) => {
                let (permit, waited) = permit(&state, &room.lease, &room.pauses, &mut listener).await;
                (Some(permit), waited)
            }
            None => (None, false),
        };
        let pauses = &listener_state.limit_pauses;
        let (permit, at_limit) = permit(&state, &listener_state, pauses, &mut listener).await;
        if !no_room && !at_limit && room.is_none_or(Room::is_wide) {
            listener.widen();
        }
        admit(&state, accepted, welcome, permit, Extra::of(seat, room_permit));
    }
}

/// Who is it, and may it come in? A client that a proxy is to tell us of is judged by its own address later.
fn receive(state: &State, listener: &ListenerState, accepted: &Accepted) -> Result<(Welcome, Option<Seat>), Reason> {
    let ip = accepted.peer.socket_addr().map(|a| a.ip());
    match listener.welcome(ip) {
        Welcome::Refused(reason) => Err(reason),
        Welcome::Client => Ok((Welcome::Client, listener.seat(ip, state.handle.now())?)),
        proxy @ Welcome::Proxy(_) => Ok((proxy, None)),
    }
}

/// A permit, and whether it had to be waited for.
async fn permit<G: Grants>(
    state: &State,
    of: &Rc<G>,
    pauses: &Cell<u64>,
    listener: &mut Listener,
) -> (Permit<G>, bool) {
    let waits = of.lease().limit().waits();
    // Not before other shards that wait for one.
    if waits.is_empty()
        && let Some(permit) = Permit::take(of)
    {
        return (permit, false);
    }
    pauses.set(pauses.get() + 1);
    listener.narrow();
    // Each accept loop waits once, so there is a bound without a bound.
    let turn = Turn::enter(&state.caller, waits, usize::MAX).expect("a list without a bound has room");
    let permit = poll_fn(|context| {
        let permit = if turn.is_called(context) { Permit::take(of) } else { None };
        permit.map_or(Poll::Pending, Poll::Ready)
    });
    (permit.await, true)
}

fn admit(
    state: &Rc<State>,
    accepted: Accepted,
    welcome: Welcome,
    permit: Permit<ListenerState>,
    extra: Option<Box<Extra>>,
) {
    let listener = Rc::clone(permit.of());
    listener.active.set(listener.active.get() + 1);
    let row = Row::new(permit, extra, accepted.peer, state.handle.now());
    let key = state.table.borrow_mut().insert(row);
    let guard = RowGuard { state: Rc::clone(state), key };
    // Refused only where accepts in flight brought more than there was room for: dropped, counted by the executor.
    let _refused = if listener.is_http() {
        state.handle.spawn(Admission::Bounded, http::Connection::new(guard, accepted.socket, welcome))
    } else {
        let connection = Connection::new(guard, accepted.socket, &listener, welcome);
        state.handle.spawn(Admission::Bounded, connection)
    };
}
