//! Looking for an endpoint that may be used, and for the permits to use it.

use super::RowHandle;
use crate::{
    balance::Candidate,
    permits::{Look, Permit, Place, Ticket},
    state::{ClusterState, EndpointState, Gate, State},
};
use balance_engine::clock::Timestamp;
use std::{cell::Cell, rc::Rc};

/// Several shards may be after the last permit of an endpoint: so often another is chosen.
const RACES_MAX: usize = 3;

/// One look around for one connection.
pub(super) struct Search<'a> {
    pub(super) state: &'a State,
    pub(super) cluster: &'a ClusterState,
    /// Endpoints that were tried for this connection.
    pub(super) tried: &'a [Rc<EndpointState>],
    pub(super) row: &'a RowHandle,
    /// The connection's place in the queue, where it has one.
    pub(super) mine: Option<Ticket>,
}

pub(super) enum Found {
    /// The row has a place there.
    Endpoint(Rc<EndpointState>),
    /// There is one, and a limit forbids it.
    AtLimit,
    /// There is none that was not tried.
    Nothing,
}

/// Which endpoints are looked at, of those that were not tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Among {
    /// Those that are not set aside.
    Trusted,
    All,
}

impl Search<'_> {
    /// `entry`: a permit of the cluster, where the connection has one already. It is used up where a place is found.
    pub(super) fn find(&self, entry: &mut Option<Permit<Gate>>) -> Found {
        match self.find_among(Among::Trusted, entry) {
            Found::Nothing => self.find_among(Among::All, entry),
            found => found,
        }
    }

    /// Where those that are trusted are at their limit.
    pub(super) fn find_set_aside(&self, entry: &mut Option<Permit<Gate>>) -> Found {
        self.find_among(Among::All, entry)
    }

    /// When an endpoint that is set aside may be tried again.
    pub(super) fn next_comeback(&self) -> Option<Timestamp> {
        let now = self.state.handle.now();
        self.cluster.endpoints.iter().filter_map(|e| e.set_aside_until.get()).filter(|until| *until > now).min()
    }

    fn find_among(&self, among: Among, entry: &mut Option<Permit<Gate>>) -> Found {
        for _ in 0..RACES_MAX {
            let endpoint = match self.choose(among) {
                Found::Endpoint(endpoint) => endpoint,
                neither => return neither,
            };
            if let Some(found) = self.enter(&endpoint, entry) {
                return found;
            }
        }
        Found::AtLimit
    }

    /// `None`: somebody else has got the last permit of the endpoint.
    pub(super) fn enter(&self, endpoint: &Rc<EndpointState>, entry: &mut Option<Permit<Gate>>) -> Option<Found> {
        let has_entered = entry.is_some();
        let Some(permit) = entry.take().or_else(|| Permit::take(&endpoint.gate)) else { return Some(Found::AtLimit) };
        match Place::enter(permit, endpoint) {
            Ok(place) => {
                if endpoint.set_aside_until.get().is_some() {
                    // This connection is the one that tries it again; others wait for its verdict.
                    let verdict = self.state.handle.now() + self.cluster.connect_timeout;
                    endpoint.set_aside_until.set(Some(verdict));
                }
                self.row.go_to(place);
                return Some(Found::Endpoint(Rc::clone(endpoint)));
            }
            Err(permit) if has_entered => *entry = Some(permit),
            Err(permit) => permit.put_back(self.mine),
        }
        None
    }

    /// Among those that are trusted, also one at its limit that a connection of this shard lies idle to.
    pub(super) fn choose_for_request(&self) -> Option<Rc<EndpointState>> {
        let may = |endpoint: &EndpointState| !endpoint.pool.is_empty() || endpoint.lease.has_some(Look::Near);
        match self.choose_where(Among::Trusted, may) {
            Found::Endpoint(endpoint) => Some(endpoint),
            Found::AtLimit | Found::Nothing => None,
        }
    }

    fn choose(&self, among: Among) -> Found {
        let near = self.choose_with(among, Look::Near);
        if let Found::AtLimit = near { self.choose_with(among, Look::Everywhere) } else { near }
    }

    /// The balancer's choice. The row does not have the permits yet.
    fn choose_with(&self, among: Among, look: Look) -> Found {
        self.choose_where(among, |endpoint| endpoint.lease.has_some(look))
    }

    /// The balancer's choice among those to which there `may` be a connection.
    fn choose_where(&self, among: Among, may: impl Fn(&EndpointState) -> bool) -> Found {
        let now = self.state.handle.now();
        let endpoints = &self.cluster.endpoints;
        let limited = Cell::new(false);
        let of = |i: usize| {
            let endpoint: &Rc<EndpointState> = &endpoints[i];
            let is_wanted = (among == Among::All || !endpoint.is_set_aside(now))
                && !self.tried.iter().any(|tried| Rc::ptr_eq(tried, endpoint));
            let usable = is_wanted && may(endpoint);
            limited.set(limited.get() || (is_wanted && !usable));
            Candidate { weight: endpoint.weight.get(), active: endpoint.active.get(), usable }
        };
        let mut rng = self.state.rng.borrow_mut();
        match self.cluster.balancer.borrow_mut().choose(endpoints.len(), of, &mut rng) {
            Some(index) => Found::Endpoint(Rc::clone(&endpoints[index])),
            None if limited.get() => Found::AtLimit,
            None => Found::Nothing,
        }
    }
}
