//! The connection table of a shard: a row for every connection, from accept to end.

use crate::{
    per_ip::Seat,
    permits::{Permit, Place},
    report::{ConnectionFilter, ConnectionReport, ConnectionState, Reason, RungKind},
    state::{EndpointState, ListenerState, Right, State},
};
use balance_engine::{clock::Timestamp, driver::Peer, executor::Ending, slab::Key};
use std::{rc::Rc, sync::Arc};

/// What the shard knows of one connection.
pub(crate) struct Row {
    pub(crate) listener: Permit<ListenerState>,
    /// At the endpoint that it is connected to, or being connected to, and in the cluster of that.
    place: Place<EndpointState>,
    pub(crate) extra: Option<Box<Extra>>,
    pub(crate) opened: Timestamp,
    /// The last turn in which a byte moved or the state changed.
    pub(crate) progress: Timestamp,
    pub(crate) bytes_up: u64,
    pub(crate) bytes_down: u64,
    pub(crate) peer: Peer,
    pub(crate) state: ConnectionState,
    pub(crate) rung_up: RungKind,
    pub(crate) rung_down: RungKind,
    /// Why it ended; as long as it lives, what it would be counted as if its task just vanished.
    pub(crate) reason: Reason,
}

/// An idle connection keeps a row and little else, so what a row takes shows: with its generation it is 88 bytes.
const _: () = assert!(size_of::<Row>() <= 80);

/// What few connections need.
#[derive(Default)]
pub(crate) struct Extra {
    /// Its place among the connections of its address, where those are limited.
    pub(crate) seat: Option<Seat>,
    /// For two descriptors of the process.
    pub(crate) room: Option<Permit>,
    /// The cluster that a route has led it to, until the row has its endpoint.
    pub(crate) cluster: Option<Arc<str>>,
}

impl Extra {
    /// Without any right, without memory.
    pub(crate) fn of(seat: Option<Seat>, room: Option<Permit>) -> Option<Box<Self>> {
        (seat.is_some() || room.is_some()).then(|| Box::new(Self { seat, room, cluster: None }))
    }
}

/// Keeps a row in the table; dropping it ends the connection for all accounts.
pub(crate) struct RowGuard {
    pub(crate) state: Rc<State>,
    pub(crate) key: Key,
}

impl RowGuard {
    /// A route has led the connection to this cluster.
    pub(crate) fn choose(&self, cluster: &Arc<str>) {
        self.with(|row| {
            row.state = ConnectionState::Connecting;
            row.extra.get_or_insert_default().cluster = Some(Arc::clone(cluster));
        });
    }

    /// The row has an endpoint, and will keep it.
    pub(crate) fn forget_choice(&self) {
        self.with(|row| {
            let of = |extra: Box<Extra>| Extra::of(extra.seat, extra.room);
            if row.extra.as_ref().is_some_and(|extra| extra.cluster.is_some()) {
                row.extra = row.extra.take().and_then(of);
            }
        });
    }

    /// # Panics
    /// Never: the row lives as long as its guard.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Row) -> T) -> T {
        let mut table = self.state.table.borrow_mut();
        change(table.get_mut(self.key).expect("a row lives as long as its guard"))
    }
}

impl Row {
    /// A connection that was just accepted.
    pub(crate) fn new(listener: Permit<ListenerState>, extra: Option<Box<Extra>>, peer: Peer, now: Timestamp) -> Self {
        Self {
            listener,
            place: Place::NONE,
            extra,
            opened: now,
            progress: now,
            bytes_up: 0,
            bytes_down: 0,
            peer,
            state: ConnectionState::Connecting,
            rung_up: RungKind::default(),
            rung_down: RungKind::default(),
            reason: Reason::Error,
        }
    }

    /// The one it is connected to, or being connected to.
    pub(crate) fn endpoint(&self) -> Option<&Rc<EndpointState>> {
        self.place.get()
    }

    /// So many bytes have gone to the endpoint and to the client.
    pub(crate) fn count(&mut self, up: u64, down: u64) {
        self.bytes_up += up;
        self.bytes_down += down;
        self.listener.bytes_up.set(self.listener.bytes_up.get() + up);
        self.listener.bytes_down.set(self.listener.bytes_down.get() + down);
        if let Some(endpoint) = self.endpoint() {
            endpoint.bytes_up.set(endpoint.bytes_up.get() + up);
            endpoint.bytes_down.set(endpoint.bytes_down.get() + down);
        }
    }

    /// The connection goes to an endpoint, where it counts as active, or to none. Where it was is the caller's now, to
    /// be given back once its socket is closed.
    pub(crate) fn go_to(&mut self, place: Place<EndpointState>) -> Place<EndpointState> {
        if let Some(new) = place.get() {
            new.active.set(new.active.get() + 1);
        }
        let left = std::mem::replace(&mut self.place, place);
        if let Some(old) = left.get() {
            old.active.set(old.active.get() - 1);
        }
        left
    }
}

impl Drop for RowGuard {
    fn drop(&mut self) {
        let Some(mut row) = self.state.table.borrow_mut().remove(self.key) else { return };
        let place = row.go_to(Place::NONE);
        let reason = match self.state.handle.ending() {
            Ending::Panicked => Reason::Panicked,
            Ending::Aborted | Ending::Expired => Reason::Drained,
            Ending::Returned => row.reason,
        };
        let listener = &row.listener;
        listener.active.set(listener.active.get() - 1);
        self.state.count_ending(reason);
        let id = self.state.connection_id(self.key);
        if reason == Reason::Panicked {
            tracing::error!(connection = id, listener = &*listener.name, "connection ended by a panic");
        } else {
            tracing::debug!(
                connection = id,
                listener = &*listener.name,
                reason = reason.as_str(),
                bytes_up = row.bytes_up,
                bytes_down = row.bytes_down,
                "connection ended"
            );
        }
        // Whatever ended it: its sockets were dropped before its row.
        let room = row.extra.take().and_then(|mut extra| extra.room.take()).map(Right::Room);
        let rights = [Some(Right::Place(place)), Some(Right::Listener(row.listener)), room];
        self.state.give_back_after_close(rights.into_iter().flatten());
    }
}

/// The rows that a query wants, at most as many as it allows.
pub(crate) fn select(state: &State, filter: &ConnectionFilter) -> Vec<ConnectionReport> {
    let now = state.handle.now();
    let table = state.table.borrow();
    let rows = table.iter().map(|(key, row)| (key, row, cluster_of(row)));
    let wanted = rows.filter(|(_, row, cluster)| matches(row, cluster.as_deref(), filter, now));
    wanted.take(filter.limit).map(|(key, row, cluster)| report(state, key, row, cluster, now)).collect()
}

/// `None` as long as its route is not known.
fn cluster_of(row: &Row) -> Option<Arc<str>> {
    let endpoint = row.endpoint().map(|endpoint| Arc::clone(&endpoint.cluster));
    let chosen = || row.extra.as_ref().and_then(|extra| extra.cluster.clone());
    endpoint.or_else(chosen).or_else(|| row.listener.cluster_name())
}

fn matches(row: &Row, cluster: Option<&str>, filter: &ConnectionFilter, now: Timestamp) -> bool {
    let is = |wanted: &Option<String>, actual: &str| wanted.as_deref().is_none_or(|w| w == actual);
    let endpoint = || row.endpoint().map(|e| e.address.to_string());
    is(&filter.listener, &row.listener.name)
        && is(&filter.cluster, cluster.unwrap_or_default())
        && is(&filter.state, row.state.as_str())
        && filter.endpoint.as_ref().is_none_or(|wanted| endpoint().as_ref() == Some(wanted))
        && filter.peer.is_none_or(|ip| row.peer.socket_addr().is_some_and(|a| a.ip() == ip))
        && filter.idle_min.is_none_or(|min| now - row.progress >= min)
}

fn report(state: &State, key: Key, row: &Row, cluster: Option<Arc<str>>, now: Timestamp) -> ConnectionReport {
    ConnectionReport {
        id: state.connection_id(key),
        shard: state.shard,
        peer: row.peer.socket_addr(),
        listener: row.listener.name.clone(),
        cluster,
        endpoint: row.endpoint().map(|e| e.address.clone()),
        state: row.state,
        rung_up: row.rung_up,
        rung_down: row.rung_down,
        bytes_up: row.bytes_up,
        bytes_down: row.bytes_down,
        age: now - row.opened,
        idle: now - row.progress,
    }
}
