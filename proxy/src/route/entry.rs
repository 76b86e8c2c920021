//! What a route does, compiled.

use std::{sync::Arc, time::Duration};

use balance_config::model::{self, ClusterTimeouts, HttpRoute, RouteAction};

use super::{headers::HeaderPlan, redirect::Redirect, rewrite::Rewrite, split::Split, template::Place};

/// A cluster of a listener, by its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClusterIndex(pub(crate) u32);

#[derive(Debug)]
pub(crate) struct Entry {
    /// For metrics and logs.
    pub(crate) name: Arc<str>,
    pub(crate) action: Action,
    pub(crate) rewrite: Rewrite,
    pub(crate) request_headers: Arc<HeaderPlan>,
    pub(crate) response_headers: Arc<HeaderPlan>,
    pub(crate) timeouts: Timeouts,
    /// False: a request is tried once, whatever its cluster says.
    pub(crate) retry: bool,
    is_default: bool,
}

#[derive(Debug)]
pub(crate) enum Action {
    Forward(Split),
    Redirect(Redirect),
    Respond(Answer),
    /// Every weight is 0, which loading a configuration rules out.
    Nowhere,
}

/// A response of our own. HEAD gets its head alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: Box<[u8]>,
    pub(crate) body: Box<[u8]>,
}

/// `None`: never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// For the whole exchange.
    pub(crate) request: Option<Duration>,
    /// For what moves within it.
    pub(crate) idle: Option<Duration>,
    per_try: Option<Option<Duration>>,
}

impl Timeouts {
    /// From the choice of an endpoint of this cluster to the head of its response.
    pub(crate) fn per_try(&self, cluster: ClusterTimeouts) -> Option<Duration> {
        self.per_try.unwrap_or(cluster.per_try)
    }
}

impl Entry {
    /// True for the cluster of the listener, where goes what no route matches.
    pub(crate) fn is_default(&self) -> bool {
        self.is_default
    }
}

/// What the entries of one listener share.
pub(super) struct EntryBuilder<'a> {
    http: &'a model::Http,
    listener: &'a str,
    idle_timeout: Option<Duration>,
    /// For routes that change no header themselves, as long as no template says which route it is.
    plans: Option<(Arc<HeaderPlan>, Arc<HeaderPlan>)>,
}

impl<'a> EntryBuilder<'a> {
    pub(super) fn new(http: &'a model::Http, listener: &'a str, idle_timeout: Option<Duration>) -> Self {
        let ops = http.request_headers.iter().chain(&http.response_headers);
        let names_route = ops
            .filter_map(value)
            .any(|value| value.variables().any(|variable| *variable == balance_config::template::Variable::Route));
        let place = Place { listener, route: "" };
        let plans = (!names_route).then(|| {
            (HeaderPlan::of_request(http, &[], place).into(), HeaderPlan::of_response(http, &[], place).into())
        });
        Self { http, listener, idle_timeout, plans }
    }

    pub(super) fn entry(&mut self, route: &HttpRoute, number_of: &mut dyn FnMut(&str) -> ClusterIndex) -> Entry {
        let place = Place { listener: self.listener, route: &route.name };
        let action = match &route.action {
            RouteAction::Forward(clusters) => {
                let weights = clusters.iter().map(|cluster| (number_of(&cluster.name), cluster.weight));
                Split::new(weights).map_or(Action::Nowhere, Action::Forward)
            }
            RouteAction::Redirect(redirect) => Action::Redirect(Redirect::new(redirect, place)),
            RouteAction::Respond(response) => Action::Respond(Answer {
                status: response.status,
                content_type: response.content_type.as_bytes().into(),
                body: response.body.as_bytes().into(),
            }),
        };
        let shared = self.plans.as_ref();
        let request = shared.filter(|_| route.request_headers.is_empty()).map(|(request, _)| Arc::clone(request));
        let response = shared.filter(|_| route.response_headers.is_empty()).map(|(_, response)| Arc::clone(response));
        Entry {
            name: route.name.as_str().into(),
            action,
            rewrite: Rewrite::new(&route.rewrite, place),
            request_headers: request
                .unwrap_or_else(|| HeaderPlan::of_request(self.http, &route.request_headers, place).into()),
            response_headers: response
                .unwrap_or_else(|| HeaderPlan::of_response(self.http, &route.response_headers, place).into()),
            timeouts: Timeouts {
                request: route.timeouts.request.unwrap_or(self.http.request_timeout),
                idle: route.timeouts.idle.unwrap_or(self.idle_timeout),
                per_try: route.timeouts.per_try,
            },
            retry: route.retry,
            is_default: false,
        }
    }

    /// The cluster of the listener.
    pub(super) fn default_entry(&mut self, cluster: &str, number_of: &mut dyn FnMut(&str) -> ClusterIndex) -> Entry {
        let route = HttpRoute {
            name: "default".to_owned(),
            when: model::RequestMatch::default(),
            priority: 0,
            action: RouteAction::Forward(vec![model::WeightedCluster { name: cluster.to_owned(), weight: 1 }]),
            rewrite: model::Rewrite::default(),
            request_headers: Vec::new(),
            response_headers: Vec::new(),
            timeouts: model::RouteTimeouts::default(),
            retry: true,
        };
        Entry { is_default: true, ..self.entry(&route, number_of) }
    }
}

fn value(op: &model::HeaderOp) -> Option<&balance_config::template::Template> {
    match op {
        model::HeaderOp::Set { value, .. }
        | model::HeaderOp::Add { value, .. }
        | model::HeaderOp::Append { value, .. } => Some(value),
        model::HeaderOp::Remove { .. } => None,
    }
}
