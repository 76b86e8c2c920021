//! What is to be done with a request (interim).

use crate::{
    h1::{self, Body, Edits, Head, NameSet, Request, RequestOut, Response, ResponseOut},
    state::{ClusterState, Destination},
    table::RowGuard,
};
use std::{rc::Rc, time::Duration};

pub(super) enum Action {
    Forward(Plan),
    Answer { status: u16, code: &'static str },
}

pub(super) struct Timeouts {
    pub(super) request: Option<Duration>,
    pub(super) per_try: Option<Duration>,
    pub(super) response: Option<Duration>,
    pub(super) idle: Option<Duration>,
}

pub(super) struct Plan {
    pub(super) cluster: Rc<ClusterState>,
    pub(super) timeouts: Timeouts,
}

impl Plan {
    pub(super) fn may_retry(&self, tries: u8, _unsent: bool) -> bool {
        tries < 2
    }
}

#[derive(Default)]
pub(super) struct Scratch {
    removed: NameSet,
    upgrade: Vec<u8>,
}

/// Heads that need more are refused.
const REQUEST_BYTES_MAX: usize = 64 << 10;

impl Scratch {
    pub(super) fn plan(&mut self, row: &RowGuard, bytes: &[u8], request: &Request, _head: &Head) -> Action {
        self.upgrade.clear();
        if let Some(upgrade) = request.upgrade {
            self.upgrade.extend_from_slice(upgrade.of(bytes));
        }
        let listener = row.with(|row| Rc::clone(row.listener.of()));
        match listener.destination() {
            Destination::Cluster(cluster) => Action::Forward(Plan {
                cluster,
                timeouts: Timeouts {
                    request: None,
                    per_try: None,
                    response: None,
                    idle: Some(Duration::from_secs(300)),
                },
            }),
            Destination::Routes(_) => Action::Answer { status: 404, code: "no_route" },
        }
    }

    pub(super) fn write_request(
        &self,
        out: &mut Vec<u8>,
        bytes: &[u8],
        request: &Request,
        head: &Head,
    ) -> Result<usize, (u16, &'static str)> {
        let connection =
            if self.upgrade.is_empty() { h1::Connection::Implied } else { h1::Connection::Upgrade(&self.upgrade) };
        let how = RequestOut {
            target: None,
            host: None,
            edits: Edits { removed: &self.removed, added: &[] },
            connection,
        };
        if out.is_empty() {
            out.resize(2 << 10, 0);
        }
        loop {
            match h1::write_request(out, bytes, request, head, &how) {
                Ok(len) => return Ok(len),
                Err(h1::Unwritable::Full) if out.len() < REQUEST_BYTES_MAX => out.resize(out.len() * 2, 0),
                Err(h1::Unwritable::Full) => return Err((431, "head_too_long")),
                Err(h1::Unwritable::NoHost) => return Err((400, "host_missing")),
                Err(h1::Unwritable::Invalid) => return Err((500, "invalid_rewrite")),
            }
        }
    }

    pub(super) fn added_bytes(&self) -> usize {
        0
    }

    pub(super) fn write_response(
        &self,
        out: &mut [u8],
        bytes: &[u8],
        response: &Response,
        head: &Head,
        body: Body,
        connection: h1::Connection<'_>,
    ) -> Result<usize, h1::Unwritable> {
        let how = ResponseOut { body, edits: Edits { removed: &self.removed, added: &[] }, connection };
        h1::write_response(out, bytes, response, head, &how)
    }

    pub(super) fn write_interim(
        &self,
        out: &mut [u8],
        bytes: &[u8],
        response: &Response,
        head: &Head,
    ) -> Result<usize, h1::Unwritable> {
        self.write_response(out, bytes, response, head, Body::None, h1::Connection::Implied)
    }

    pub(super) fn write_switch(
        &self,
        out: &mut [u8],
        bytes: &[u8],
        response: &Response,
        head: &Head,
    ) -> Result<usize, h1::Unwritable> {
        let connection = h1::Connection::Upgrade(&self.upgrade);
        self.write_response(out, bytes, response, head, Body::None, connection)
    }

    /// The client has asked for the protocol that an endpoint has switched to.
    pub(super) fn asked_upgrade(&self, token: &[u8]) -> bool {
        !self.upgrade.is_empty() && self.upgrade.eq_ignore_ascii_case(token)
    }
}
