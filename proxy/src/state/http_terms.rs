//! What a listener of HTTP has of its configuration on one shard, and what is counted of its routes.

use super::ClusterState;
use crate::{
    h1,
    http::Requests,
    l4::{self, LadderSettings},
    report::{RouteReport, RungKind},
    route::ClusterIndex,
    snapshot,
};
use balance_config::model::{self, BodyProgress};
use std::{collections::HashMap, rc::Rc, sync::Arc, time::Duration};

/// What an HTTP listener grants its requests. One keeps what it began with, whatever a reload changes.
pub(crate) struct HttpTerms {
    /// Of requests.
    pub(crate) limits: h1::Limits,
    /// Of responses.
    pub(crate) answers: h1::Limits,
    pub(crate) header_timeout: Duration,
    /// Between two requests.
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) requests_max: Option<u32>,
    pub(crate) body_progress: BodyProgress,
    pub(crate) compiled: Arc<snapshot::Http>,
    /// Large bodies are moved by splice.
    pub(crate) splices: bool,
    /// By the number that its router gives them.
    clusters: Vec<Rc<ClusterState>>,
    /// By the number of the route.
    routes: Vec<Rc<Requests>>,
}

impl HttpTerms {
    pub(super) fn new(
        compiled: &Arc<snapshot::Http>,
        ladder: &LadderSettings,
        known: Option<&Self>,
        cluster: impl Fn(&Arc<snapshot::Cluster>) -> Rc<ClusterState>,
    ) -> Rc<Self> {
        let from = &compiled.settings;
        let limits = h1::Limits {
            head_bytes_max: from.limits.header_bytes_max,
            fields_max: from.limits.headers_max,
            target_bytes_max: from.limits.uri_bytes_max,
            body_bytes_max: from.limits.body_bytes_max.unwrap_or(u64::MAX),
            underscores: match from.underscores {
                model::Underscores::Drop => h1::Underscores::Drop,
                model::Underscores::Keep => h1::Underscores::Keep,
                model::Underscores::Reject => h1::Underscores::Refuse,
            },
            ..h1::Limits::default()
        };
        let answers = h1::Limits { body_bytes_max: u64::MAX, ..limits };
        Rc::new(Self {
            limits,
            answers,
            header_timeout: from.limits.header_timeout,
            idle_timeout: from.idle_timeout,
            requests_max: from.requests_max,
            body_progress: from.body_progress,
            compiled: Arc::clone(compiled),
            splices: matches!(ladder.forward, l4::Forward::Auto | l4::Forward::Always(RungKind::Splice)),
            clusters: compiled.clusters.iter().map(cluster).collect(),
            routes: counters(compiled, known),
        })
    }

    /// What is counted of a route.
    pub(crate) fn route(&self, number: usize) -> Option<&Requests> {
        self.routes.get(number).map(|requests| &**requests)
    }

    pub(super) fn report(&self) -> Vec<RouteReport> {
        let entries = self.compiled.router.entries().iter().zip(&self.routes);
        entries.map(|(entry, requests)| RouteReport { name: entry.name.clone(), requests: requests.report() }).collect()
    }

    pub(crate) fn cluster(&self, number: ClusterIndex) -> Option<&Rc<ClusterState>> {
        self.clusters.get(number.0 as usize)
    }

    /// The client may switch to this protocol, if the endpoint will.
    pub(crate) fn may_upgrade(&self, token: &[u8]) -> bool {
        self.compiled.settings.upgrades.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(token))
    }
}

/// A route that keeps its name keeps its counters.
fn counters(compiled: &Arc<snapshot::Http>, known: Option<&HttpTerms>) -> Vec<Rc<Requests>> {
    let entries = |http: &'_ Arc<snapshot::Http>| -> Vec<Arc<str>> {
        http.router.entries().iter().map(|entry| entry.name.clone()).collect()
    };
    let old: HashMap<Arc<str>, &Rc<Requests>> =
        known.map(|known| entries(&known.compiled).into_iter().zip(&known.routes).collect()).unwrap_or_default();
    entries(compiled)
        .iter()
        .map(|name| old.get(name).map_or_else(Rc::default, |counters| Rc::clone(counters)))
        .collect()
}
