//! Text with variables, filled in.

use balance_config::template::{Part, Template, Variable};

use super::{
    client::Client,
    target::Target,
    view::{Fields, Name, RequestView},
};

/// What variables stand for. Routes and listeners are known when a template is compiled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vars<'a, V> {
    pub(crate) view: &'a V,
    pub(crate) target: Target<'a>,
    pub(crate) client: &'a Client,
    pub(crate) request_id: &'a [u8],
    /// Empty until one is chosen.
    pub(crate) cluster: &'a str,
    /// As it is written; empty until one is chosen.
    pub(crate) endpoint: &'a [u8],
    /// Of the response; 0 until there is one.
    pub(crate) status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(Box<[u8]>),
    Variable(Variable),
    /// Of the request.
    Header(Name),
    ForwardedFor,
    ForwardedProto,
    ForwardedHost,
    Forwarded,
}

/// A template, compiled for one route of one listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pieces(Box<[Piece]>);

/// What is known where a template is compiled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) listener: &'a str,
    pub(super) route: &'a str,
}

impl Pieces {
    pub(super) fn new(template: &Template, place: Place<'_>) -> Self {
        let mut pieces: Vec<Piece> = Vec::new();
        for part in &template.parts {
            let text = match part {
                Part::Text(text) => text,
                Part::Variable(Variable::Listener) => place.listener,
                Part::Variable(Variable::Route) => place.route,
                Part::Variable(Variable::Header(name)) => {
                    pieces.push(Piece::Header(Name::new(name)));
                    continue;
                }
                Part::Variable(variable) => {
                    pieces.push(Piece::Variable(variable.clone()));
                    continue;
                }
            };
            if let Some(Piece::Text(before)) = pieces.last_mut() {
                *before = [&**before, text.as_bytes()].concat().into();
            } else {
                pieces.push(Piece::Text(text.as_bytes().into()));
            }
        }
        Self(pieces.into())
    }

    pub(super) fn of(piece: Piece) -> Self {
        Self([piece].into())
    }

    /// One after the other, with a text between.
    pub(super) fn then(self, between: &str, other: Self) -> Self {
        let between = Piece::Text(between.as_bytes().into());
        Self(self.0.into_iter().chain([between]).chain(other.0).collect())
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// True when the head of the request must still be there to fill it in.
    pub(super) fn needs_request(&self) -> bool {
        use Variable as V;
        self.0.iter().any(|piece| match piece {
            Piece::Text(_) => false,
            Piece::Variable(
                V::Status | V::Cluster | V::Endpoint | V::ClientIp | V::PeerIp | V::RequestId | V::Scheme,
            ) => false,
            Piece::Variable(_) | Piece::Header(_) => true,
            Piece::ForwardedFor | Piece::ForwardedProto | Piece::ForwardedHost | Piece::Forwarded => true,
        })
    }

    pub(super) fn expand<V: RequestView>(&self, vars: &Vars<'_, V>, out: &mut Vec<u8>) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Variable(variable) => expand(variable, vars, out),
                Piece::Header(name) => join(vars.view, name, out),
                Piece::ForwardedFor => vars.client.forwarded_for(vars.view, out),
                Piece::ForwardedProto => vars.client.forwarded_proto(out),
                Piece::ForwardedHost => vars.client.forwarded_host(vars.view, out),
                Piece::Forwarded => vars.client.forwarded(vars.view, out),
            }
        }
    }
}

/// Values as one list (RFC 9110 section 5.3). Empty ones are left out.
pub(super) fn join(fields: &impl Fields, name: &Name, out: &mut Vec<u8>) {
    let start = out.len();
    for value in fields.values(name).filter(|value| !value.is_empty()) {
        if out.len() > start {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(value);
    }
}

fn expand<V: RequestView>(variable: &Variable, vars: &Vars<'_, V>, out: &mut Vec<u8>) {
    let text: &[u8] = match variable {
        Variable::ClientIp => vars.client.ip().as_bytes(),
        Variable::PeerIp => vars.client.peer().as_bytes(),
        Variable::RequestId => vars.request_id,
        Variable::Scheme => vars.client.scheme().as_str().as_bytes(),
        Variable::Host => vars.target.host,
        Variable::Path => vars.target.path,
        Variable::Query => vars.view.query().unwrap_or_default(),
        Variable::Method => vars.view.method(),
        Variable::Cluster => vars.cluster.as_bytes(),
        Variable::Endpoint => vars.endpoint,
        Variable::Status => return status(vars.status, out),
        // Filled in when they are compiled, or by the rewrite that they belong to.
        Variable::Route | Variable::Listener | Variable::Header(_) | Variable::Group(_) => b"",
    };
    out.extend_from_slice(text);
}

fn status(status: u16, out: &mut Vec<u8>) {
    if (100..=999).contains(&status) {
        out.extend([status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8));
    }
}
