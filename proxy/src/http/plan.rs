//! What is to be done with a request: its route, what the endpoint gets, and what the client will get.
//!
//! Everything about the head of the request is done at once, when it has come, in memory of the shard that all requests
//! use in turn ([`Spaces`]). What the response needs later is kept with the exchange ([`Asked`]).

use crate::{
    h1::{self, Body, Head, Request, RequestOut, Response, ResponseOut, Unwritable},
    route::{
        self, BadRewrite, Client, Entry, H1Request, H1Response, IdSource, Lines, Matching, Peer, RewriteSpace, Target,
        TargetSpace, Vars,
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
}

/// The client gets an answer that says what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) code: &'static str,
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

/// A request's head, as it was parsed.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    /// They begin with the head.
    pub(super) bytes: &'a [u8],
    pub(super) request: &'a Request,
    pub(super) head: &'a Head,
    /// What an answer of ours says about the client's connection.
    pub(super) connection: h1::Connection<'a>,
}

/// A response's head, as it was parsed, and how it goes on.
#[derive(Clone, Copy)]
pub(super) struct Answering<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) response: &'a Response,
    pub(super) head: &'a Head,
    /// Its address.
    pub(super) endpoint: &'a [u8],
    pub(super) body: Body,
    pub(super) connection: h1::Connection<'a>,
}

impl Asked {
    /// Find the route, and write to `out` what it leads to.
    pub(super) fn plan(
        &mut self,
        terms: &HttpTerms,
        row: &RowGuard,
        asking: Asking<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Action, Refused> {
        let state = &row.state;
        let http = &terms.compiled;
        let spaces = &mut *state.spaces.borrow_mut();
        (self.entry, self.cluster, self.request) = (None, None, None);
        self.upgrade.clear();
        let view = H1Request { request: asking.request, head: asking.head, bytes: asking.bytes };
        let target = Target::of(&view, http.settings.path, &mut spaces.target).map_err(|_| BAD_PATH)?;
        let ip = row.with(|row| row.peer).socket_addr().map(|address| address.ip());
        let peer = Peer::new(ip, Scheme::Http, &http.proxies);
        let client = Client::of(&peer, &http.proxies, &view);
        self.request_id.clear();
        match route::taken(&view, &http.request_id, http.settings.request_id.accept, client.is_trusted()) {
            Some(id) => self.request_id.extend_from_slice(id),
            None => self.request_id.extend_from_slice(spaces.ids.next(state.wall_clock()).as_bytes()),
        }
        self.client = Some(client);
        let found = http.router.find(&view, &target, &mut spaces.matching);
        let entry = found.ok_or(Refused { status: 404, code: "no_route" })?;
        self.entry = Some(http.router.number_of(entry));
        let vars = Vars {
            view: &view,
            target,
            client: &client,
            request_id: &self.request_id,
            cluster: "",
            endpoint: b"",
            status: 0,
        };
        let to = match &entry.action {
            route::Action::Forward(split) => {
                split.pick(if split.is_single() { 0 } else { state.rng.borrow_mut().next_u64() })
            }
            route::Action::Redirect(redirect) => {
                redirect.location(&entry.rewrite, &vars, &mut spaces.rewrite, &mut spaces.location).map_err(refusal)?;
                let location = Some(&*spaces.location);
                let answer = Answer { status: redirect.status, location, content_type: b"", body: b"" };
                return respond(entry, &vars, &mut spaces.lines, (&answer, asking.connection), out);
            }
            route::Action::Respond(answer) => {
                let (content_type, body) = (&*answer.content_type, &*answer.body);
                let answer = Answer { status: answer.status, location: None, content_type, body };
                return respond(entry, &vars, &mut spaces.lines, (&answer, asking.connection), out);
            }
            route::Action::Nowhere => return Err(NO_CLUSTER),
        };
        let cluster = terms.cluster(to).ok_or(NO_CLUSTER)?;
        let upgrade = asking.request.upgrade.map(|upgrade| upgrade.of(asking.bytes));
        if let Some(token) = upgrade.filter(|token| terms.may_upgrade(token)) {
            self.upgrade.extend_from_slice(token);
        }
        let vars = Vars { cluster: &cluster.name, ..vars };
        let rest = (&mut spaces.rewrite, &mut spaces.host, &mut spaces.lines);
        let len = write_request(entry, &vars, rest, asking, &self.upgrade, out)?;
        self.keep(entry, asking);
        self.cluster = Some(Rc::clone(cluster));
        let timeouts = Timeouts {
            request: entry.timeouts.request,
            idle: entry.timeouts.idle,
            per_try: entry.timeouts.per_try(cluster.timeouts),
            response: cluster.timeouts.response,
        };
        Ok(Action::Forward(Plan { cluster: Rc::clone(cluster), timeouts, may_retry: entry.retry }, len))
    }

    /// What the response's fields may depend on.
    fn keep(&mut self, entry: &Entry, asking: Asking<'_>) {
        self.request = Some(*asking.request);
        if entry.response_headers.needs_request() {
            self.bytes.clear();
            self.bytes.extend_from_slice(&asking.bytes[..asking.request.head_len]);
            self.head.clone_from(asking.head);
        }
    }

    /// Write the head of a response as the client gets it.
    pub(super) fn write_response(
        &self,
        out: &mut [u8],
        state: &State,
        terms: &HttpTerms,
        answering: Answering<'_>,
    ) -> Result<usize, Unwritable> {
        let (Some(entry), Some(request), Some(client)) = (self.entry(terms), &self.request, &self.client) else {
            return Err(Unwritable::Invalid);
        };
        let Answering { bytes, response, head, endpoint, body, connection } = answering;
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

/// Write the head of the request as the endpoint gets it.
fn write_request<V: route::RequestView>(
    entry: &Entry,
    vars: &Vars<'_, V>,
    (rewrite, host, lines): (&mut RewriteSpace, &mut Vec<u8>, &mut Lines),
    asking: Asking<'_>,
    upgrade: &[u8],
    out: &mut Vec<u8>,
) -> Result<usize, Refused> {
    let Asking { bytes, request, head, .. } = asking;
    let target = entry.rewrite.target(vars, rewrite).map_err(refusal)?;
    let host = entry.rewrite.host(vars, host).then_some(&**host);
    entry.request_headers.expand(vars, vars.view, lines);
    let connection = if upgrade.is_empty() { h1::Connection::Implied } else { h1::Connection::Upgrade(upgrade) };
    let written = entry.request_headers.with_edits(lines, vars.client.is_trusted(), |edits| {
        grow(out, |out| h1::write_request(out, bytes, request, head, &RequestOut { target, host, edits, connection }))
    });
    written.map_err(|why| match why {
        Unwritable::Full => Refused { status: 431, code: "head_too_long" },
        Unwritable::NoHost => Refused { status: 400, code: "host_missing" },
        Unwritable::Invalid => Refused { status: 500, code: "invalid_rewrite" },
    })
}

const BAD_PATH: Refused = Refused { status: 400, code: "path" };
const NO_CLUSTER: Refused = Refused { status: 503, code: "no_cluster" };

fn refusal(bad: BadRewrite) -> Refused {
    match bad {
        BadRewrite::TooLong => Refused { status: 414, code: "target_too_long" },
        BadRewrite::Path(_) => BAD_PATH,
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
    entry: &Entry,
    vars: &Vars<'_, V>,
    lines: &mut Lines,
    (answer, connection): (&Answer<'_>, h1::Connection<'_>),
    out: &mut Vec<u8>,
) -> Result<Action, Refused> {
    let plan = &entry.response_headers;
    plan.expand(&Vars { status: answer.status, ..*vars }, &NoFields, lines);
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
        Ok(len) => Ok(Action::Respond { status: answer.status, len }),
        Err(_) => Err(Refused { status: 500, code: "invalid_response" }),
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
