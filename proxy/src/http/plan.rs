//! What is to be done with a request: its route, what the endpoint gets, and what the client will get.
//!
//! Everything about the head of the request is done at once, when it has come, in memory of the shard that all requests
//! use in turn ([`Spaces`]). What the response needs later is kept with the exchange ([`Asked`]).

use crate::{
    h1::{self, Body, Head, Request, RequestOut, Response, ResponseOut, Unwritable},
    route::{
        self, BadRewrite, Client, Entry, H1Request, H1Response, HeaderPlan, IdSource, Lines, Matching, Peer, RewriteSpace,
        Target, TargetSpace, Vars,
    },
    state::{ClusterState, HttpTerms, State},
    table::RowGuard,
};
use balance_config::model::Scheme;
use std::{rc::Rc, time::Duration};

/// What to do.
pub(super) enum Action {
    /// The head as the endpoint gets it has this length.
    Forward(Plan, usize),
    /// The whole answer is written, and has this length.
    Respond { status: u16, len: usize },
    /// An answer that says what is wrong.
    Refuse { status: u16, code: &'static str },
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    pub(super) request: Option<Duration>,
    pub(super) per_try: Option<Duration>,
    pub(super) response: Option<Duration>,
    pub(super) idle: Option<Duration>,
}

/// Where a request goes.
pub(super) struct Plan {
    pub(super) cluster: Rc<ClusterState>,
    pub(super) timeouts: Timeouts,
    may_retry: bool,
}

impl Plan {
    /// `tries` were made, and of the last one nothing was sent if `unsent`.
    pub(super) fn may_retry(&self, tries: u8, unsent: bool) -> bool {
        let retry = &self.cluster.retry;
        self.may_retry && tries < retry.attempts && if unsent { retry.on.unsent } else { retry.on.reset }
    }

    /// Endpoints that one try may try to connect to. `None`: as the cluster says.
    pub(super) fn connects(&self) -> Option<u8> {
        (!self.may_retry || !self.cluster.retry.on.connect).then_some(1)
    }
}

/// Memory for one request's head after another.
pub(crate) struct Spaces {
    target: TargetSpace,
    matching: Matching,
    rewrite: RewriteSpace,
    host: Vec<u8>,
    location: Vec<u8>,
    lines: Lines,
    ids: IdSource,
}

impl Spaces {
    /// The seed is secret, and differs from shard to shard and from run to run.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            target: TargetSpace::default(),
            matching: Matching::default(),
            rewrite: RewriteSpace::default(),
            host: Vec::new(),
            location: Vec::new(),
            lines: Lines::default(),
            ids: IdSource::new(seed),
        }
    }
}

/// What was asked, as far as the response and the log need to know.
#[derive(Default)]
pub(super) struct Asked {
    /// The number of its route among those of the listener; `None` where there was none.
    pub(super) entry: Option<usize>,
    client: Option<Client>,
    pub(super) request_id: Vec<u8>,
    /// The protocol that the client wants to switch to, as far as it may.
    upgrade: Vec<u8>,
    cluster: Option<Rc<ClusterState>>,
    /// The head itself, where the response's fields depend on it.
    head: Head,
    bytes: Vec<u8>,
    request: Option<Request>,
}

/// Heads that need more are refused.
const HEAD_BYTES_MAX: usize = 128 << 10;
const HEAD_BYTES_MIN: usize = 2 << 10;

impl Asked {
    /// Find the route, and write to `out` what it leads to. `bytes` begin with the head.
    pub(super) fn plan(
        &mut self,
        terms: &HttpTerms,
        row: &RowGuard,
        (bytes, request, head): (&[u8], &Request, &Head),
        connection: h1::Connection<'_>,
        out: &mut Vec<u8>,
    ) -> Action {
        let state = &row.state;
        let http = &terms.compiled;
        let spaces = &mut *state.spaces.borrow_mut();
        (self.entry, self.cluster, self.request) = (None, None, None);
        let view = H1Request { request, head, bytes };
        let Ok(target) = Target::of(&view, http.settings.path, &mut spaces.target) else {
            return Action::Refuse { status: 400, code: "path" };
        };
        let ip = row.with(|row| row.peer).socket_addr().map(|address| address.ip());
        let peer = Peer::new(ip, Scheme::Http, &http.proxies);
        let client = &*self.client.insert(Client::of(&peer, &http.proxies, &view));
        self.request_id.clear();
        match route::taken(&view, &http.request_id, http.settings.request_id.accept, client.is_trusted()) {
            Some(id) => self.request_id.extend_from_slice(id),
            None => self.request_id.extend_from_slice(spaces.ids.next(state.wall_clock()).as_bytes()),
        }
        let Some(entry) = http.router.find(&view, &target, &mut spaces.matching) else {
            return Action::Refuse { status: 404, code: "no_route" };
        };
        self.entry = Some(http.router.number_of(entry));
        let mut vars = Vars {
            view: &view,
            target,
            client,
            request_id: &self.request_id,
            cluster: "",
            endpoint: b"",
            status: 0,
        };
        let split = match &entry.action {
            route::Action::Forward(split) => split,
            route::Action::Redirect(redirect) => {
                let to = redirect.location(&entry.rewrite, &vars, &mut spaces.rewrite, &mut spaces.location);
                if let Err(bad) = to {
                    return refusal(bad);
                }
                vars.status = redirect.status;
                let answer = Answer { status: redirect.status, location: Some(&spaces.location), content_type: b"", body: b"" };
                return respond(&entry.response_headers, &vars, &mut spaces.lines, (&answer, connection), out);
            }
            route::Action::Respond(answer) => {
                vars.status = answer.status;
                let answer = Answer {
                    status: answer.status,
                    location: None,
                    content_type: &answer.content_type,
                    body: &answer.body,
                };
                return respond(&entry.response_headers, &vars, &mut spaces.lines, (&answer, connection), out);
            }
            route::Action::Nowhere => return Action::Refuse { status: 503, code: "no_cluster" },
        };
        let chosen = split.pick(if split.is_single() { 0 } else { state.rng.borrow_mut().next_u64() });
        let Some(cluster) = terms.cluster(chosen) else {
            return Action::Refuse { status: 503, code: "no_cluster" };
        };
        vars.cluster = &cluster.name;
        self.upgrade.clear();
        if let Some(token) = request.upgrade.map(|upgrade| upgrade.of(bytes)).filter(|token| terms.may_upgrade(token)) {
            self.upgrade.extend_from_slice(token);
        }
        let target = match entry.rewrite.target(&vars, &mut spaces.rewrite) {
            Ok(target) => target,
            Err(bad) => return refusal(bad),
        };
        let host = entry.rewrite.host(&vars, &mut spaces.host).then_some(&*spaces.host);
        entry.request_headers.expand(&vars, &view, &mut spaces.lines);
        let connection =
            if self.upgrade.is_empty() { h1::Connection::Implied } else { h1::Connection::Upgrade(&self.upgrade) };
        let written = entry.request_headers.with_edits(&spaces.lines, client.is_trusted(), |edits| {
            grow(out, |out| {
                h1::write_request(out, bytes, request, head, &RequestOut { target, host, edits, connection })
            })
        });
        let len = match written {
            Ok(len) => len,
            Err(Unwritable::Full) => return Action::Refuse { status: 431, code: "head_too_long" },
            Err(Unwritable::NoHost) => return Action::Refuse { status: 400, code: "host_missing" },
            Err(Unwritable::Invalid) => return Action::Refuse { status: 500, code: "invalid_rewrite" },
        };
        if entry.response_headers.needs_request() {
            self.bytes.clear();
            self.bytes.extend_from_slice(&bytes[..request.head_len]);
            self.head.clone_from(head);
        }
        self.request = Some(*request);
        let timeouts = Timeouts {
            request: entry.timeouts.request,
            idle: entry.timeouts.idle,
            per_try: entry.timeouts.per_try(cluster.timeouts),
            response: cluster.timeouts.response,
        };
        self.cluster = Some(Rc::clone(cluster));
        Action::Forward(Plan { cluster: Rc::clone(cluster), timeouts, may_retry: entry.retry }, len)
    }

    /// Write the head of a response as the client gets it.
    pub(super) fn write_response(
        &self,
        out: &mut [u8],
        state: &State,
        terms: &HttpTerms,
        (bytes, response, head): (&[u8], &Response, &Head),
        endpoint: &[u8],
        body: Body,
        connection: h1::Connection<'_>,
    ) -> Result<usize, Unwritable> {
        let (Some(entry), Some(request), Some(client)) = (self.entry(terms), &self.request, &self.client) else {
            return Err(Unwritable::Invalid);
        };
        let spaces = &mut *state.spaces.borrow_mut();
        let plan = &entry.response_headers;
        let view = H1Request { request, head: &self.head, bytes: &self.bytes };
        let target = if plan.needs_request() {
            Target::of(&view, terms.compiled.settings.path, &mut spaces.target).map_err(|_| Unwritable::Invalid)?
        } else {
            Target { host: b"", path: b"", is_as_it_came: true }
        };
        let vars = Vars {
            view: &view,
            target,
            client,
            request_id: &self.request_id,
            cluster: self.cluster.as_ref().map_or("", |cluster| &cluster.name),
            endpoint,
            status: response.status,
        };
        plan.expand(&vars, &H1Response { head, bytes }, &mut spaces.lines);
        plan.with_edits(&spaces.lines, true, |edits| {
            h1::write_response(out, bytes, response, head, &ResponseOut { body, edits, connection })
        })
    }

    fn entry<'t>(&self, terms: &'t HttpTerms) -> Option<&'t Entry> {
        terms.compiled.router.entries().get(self.entry?)
    }

    /// The protocol that the endpoint may switch to; empty where it may not.
    pub(super) fn upgrade(&self) -> &[u8] {
        &self.upgrade
    }
}

fn refusal(bad: BadRewrite) -> Action {
    match bad {
        BadRewrite::TooLong => Action::Refuse { status: 414, code: "target_too_long" },
        BadRewrite::Path(_) => Action::Refuse { status: 400, code: "path" },
    }
}

/// A response of ours.
struct Answer<'a> {
    status: u16,
    location: Option<&'a [u8]>,
    content_type: &'a [u8],
    body: &'a [u8],
}

fn respond<V: route::RequestView>(
    plan: &HeaderPlan,
    vars: &Vars<'_, V>,
    lines: &mut Lines,
    (answer, connection): (&Answer<'_>, h1::Connection<'_>),
    out: &mut Vec<u8>,
) -> Action {
    plan.expand(vars, &NoFields, lines);
    let written = plan.with_edits(lines, true, |edits| {
        let how = h1::AnswerOut {
            status: answer.status,
            location: answer.location,
            content_type: answer.content_type,
            body: answer.body,
            head_only: vars.view.method() == b"HEAD",
            edits,
            connection,
        };
        grow(out, |out| h1::write_answer(out, &how))
    });
    match written {
        Ok(len) => Action::Respond { status: answer.status, len },
        Err(_) => Action::Refuse { status: 500, code: "invalid_response" },
    }
}

/// The fields of a response of ours, before any are added.
struct NoFields;

impl route::Fields for NoFields {
    fn values<'a>(&'a self, _: &'a route::Name) -> impl Iterator<Item = &'a [u8]> {
        std::iter::empty()
    }
}

/// Write with more and more room.
fn grow(out: &mut Vec<u8>, write: impl Fn(&mut [u8]) -> Result<usize, Unwritable>) -> Result<usize, Unwritable> {
    if out.len() < HEAD_BYTES_MIN {
        out.resize(HEAD_BYTES_MIN, 0);
    }
    loop {
        match write(out) {
            Err(Unwritable::Full) if out.len() < HEAD_BYTES_MAX => out.resize(out.len() * 2, 0),
            done => return done,
        }
    }
}
