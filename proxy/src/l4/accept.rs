//! A listener's accept loop: one task for every listening socket.

use super::connection::Connection;
use crate::{
    guard::Welcome,
    report::{ConnectionState, Reason, RungKind},
    state::{ListenerState, State},
    table::{Row, RowGuard},
};
use balance_engine::{
    executor::Admission,
    net::{Accepted, Listener},
};
use std::{future::poll_fn, rc::Rc, task::Poll};

/// Accept until aborted. While the shard has no room for another task, connections wait in the kernel's queue.
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
        if let Ok(accepted) = accepted.await {
            admit(&state, &listener_state, accepted);
        }
    }
}

fn admit(state: &Rc<State>, listener: &Rc<ListenerState>, accepted: Accepted) {
    listener.accepted.set(listener.accepted.get() + 1);
    let welcome = listener.welcome(accepted.peer.socket_addr().map(|a| a.ip()));
    if let Welcome::Refused(reason) = welcome {
        state.count_ending(reason);
        return accepted.socket.reset();
    }
    listener.active.set(listener.active.get() + 1);
    let now = state.handle.now();
    let row = Row {
        id: state.next_id(),
        listener: Rc::clone(listener),
        endpoint: None,
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
