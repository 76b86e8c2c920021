//! Where the connections of a listener go, as one shard has it, and how many went there.

use super::ClusterState;
use crate::{
    client_hello::Hello,
    report::{RoutedBy, RoutedReport},
    snapshot,
};
use balance_config::model::Peek;
use std::{cell::Cell, rc::Rc, sync::Arc};

#[derive(Clone)]
pub(crate) enum Destination {
    Cluster(Rc<ClusterState>),
    /// The first bytes of a connection decide.
    Routes(Rc<Routing>),
    /// There is no way that all of them go: of HTTP, requests have routes.
    Nowhere,
}

/// The routes of a listener. A connection keeps those that it began with.
pub(crate) struct Routing {
    compiled: Arc<snapshot::Routing>,
    /// By route.
    ways: Vec<Way>,
    default: Option<Way>,
}

/// A cluster, and what leads there. All routes to one cluster share a counter.
struct Way {
    cluster: Rc<ClusterState>,
    by: RoutedBy,
    count: Rc<Cell<u64>>,
}

impl Routing {
    /// Counters go on from those of `old`, as far as it has them.
    pub(super) fn new(
        compiled: &Arc<snapshot::Routing>,
        default: Option<Rc<ClusterState>>,
        cluster: impl Fn(&Arc<snapshot::Cluster>) -> Rc<ClusterState>,
        old: Option<&Self>,
    ) -> Self {
        let mut ways: Vec<Way> = Vec::with_capacity(compiled.clusters.len());
        for to in &compiled.clusters {
            let way = Way::new(cluster(to), RoutedBy::Route, ways.iter().chain(old.into_iter().flat_map(Self::ways)));
            ways.push(way);
        }
        let default = default.map(|c| Way::new(c, RoutedBy::Default, old.into_iter().flat_map(Self::ways)));
        Self { compiled: Arc::clone(compiled), ways, default }
    }

    fn ways(&self) -> impl Iterator<Item = &Way> {
        self.ways.iter().chain(&self.default)
    }

    pub(crate) fn peek(&self) -> Peek {
        self.compiled.peek
    }

    /// Decide about a connection, which is counted; `None` as a hello is what speaks no TLS, or not at all. `None` as
    /// an answer: it is refused.
    pub(crate) fn choose(&self, hello: Option<&Hello<'_>>) -> Option<&Rc<ClusterState>> {
        let route = hello.and_then(|hello| self.compiled.routes.find(hello)).map(|route| &self.ways[route]);
        let way = route.or(self.default.as_ref())?;
        way.count.set(way.count.get() + 1);
        Some(&way.cluster)
    }

    pub(super) fn report(&self) -> Vec<RoutedReport> {
        let mut rows: Vec<RoutedReport> = Vec::new();
        for way in self.ways() {
            if !rows.iter().any(|row| row.by == way.by && row.cluster == way.cluster.name) {
                rows.push(RoutedReport { cluster: way.cluster.name.clone(), by: way.by, count: way.count.get() });
            }
        }
        rows
    }

    /// All clusters that connections may go to.
    #[cfg(test)]
    pub(crate) fn clusters(&self) -> Vec<Rc<ClusterState>> {
        self.ways().map(|way| Rc::clone(&way.cluster)).collect()
    }
}

impl Way {
    fn new<'a>(cluster: Rc<ClusterState>, by: RoutedBy, mut known: impl Iterator<Item = &'a Self>) -> Self {
        let known = known.find(|way| way.by == by && way.cluster.name == cluster.name);
        let count = known.map_or_else(Rc::default, |way| Rc::clone(&way.count));
        Self { cluster, by, count }
    }
}
