//! What is changed in the fields of a message: which are left out, and which are written behind the others.
//!
//! All that is said about one name is folded into one rule when the configuration is compiled, so that a request costs
//! a look-up for each of its fields and a copy for each that is added.

use std::ops::Range;

use balance_config::model::{self, HeaderOp};
use balance_engine::intern::Interner;

use super::{
    template::{Piece, Pieces, Place, Vars, join},
    view::{Fields, Name, RequestView},
};
use crate::h1::{Added, Edits, FieldName, NameSet};

/// Fields that one plan may add: 24 of a listener, 24 of its route, and our own.
const ADDED_MAX: usize = 64;

/// What only a trusted proxy may say: it would be taken for the word of this one.
const CLAIMS: [&str; 2] = ["forwarded", "x-real-ip"];
const CLAIM_PREFIXES: [&str; 3] = ["x-forwarded-", "x-client-cert", "x-balance-"];

#[derive(Debug)]
pub(crate) struct HeaderPlan {
    removed: NameSet,
    /// The same, and the claims of a peer that is not trusted.
    removed_of_untrusted: NameSet,
    added: Box<[Addition]>,
    needs_request: bool,
}

#[derive(Debug)]
struct Addition {
    name: FieldName,
    /// The lines that are there come first, joined by commas.
    after: Option<Name>,
    value: Pieces,
}

/// The fields that are added to one message. Room that is used again and again.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    /// The number of an addition, and where its value is.
    lines: Vec<(usize, Range<usize>)>,
}

impl HeaderPlan {
    /// For requests: what endpoints are told about a client, then the changes of the listener, then those of the route.
    pub(super) fn of_request(http: &model::Http, route: &[HeaderOp], place: Place<'_>) -> Self {
        let mut fold = Fold::default();
        if http.forwarding.x_forwarded {
            fold.set("X-Forwarded-For", Pieces::of(Piece::ForwardedFor));
            fold.set("X-Forwarded-Proto", Pieces::of(Piece::ForwardedProto));
            fold.set("X-Forwarded-Host", Pieces::of(Piece::ForwardedHost));
        }
        if http.forwarding.x_real_ip {
            fold.set("X-Real-IP", Pieces::of(Piece::Variable(balance_config::template::Variable::ClientIp)));
        }
        if http.forwarding.forwarded {
            fold.set("Forwarded", Pieces::of(Piece::Forwarded));
        }
        if http.request_id.send {
            fold.set(&http.request_id.header, request_id());
        }
        fold.all(&http.request_headers, place);
        fold.all(route, place);
        fold.plan(true)
    }

    /// For responses: those of endpoints and our own.
    pub(super) fn of_response(http: &model::Http, route: &[HeaderOp], place: Place<'_>) -> Self {
        let mut fold = Fold::default();
        if let Some(server) = &http.server {
            fold.set("Server", Pieces::of(Piece::Text(server.as_bytes().into())));
        }
        if http.request_id.respond {
            fold.set(&http.request_id.header, request_id());
        }
        fold.all(&http.response_headers, place);
        fold.all(route, place);
        fold.plan(false)
    }

    /// True when the head of the request must still be there when this is filled in for its response.
    pub(crate) fn needs_request(&self) -> bool {
        self.needs_request
    }

    /// Fills in what is added to a message with these `fields`. A field whose value comes out empty is not added.
    pub(crate) fn expand<V: RequestView>(&self, vars: &Vars<'_, V>, fields: &impl Fields, lines: &mut Lines) {
        lines.bytes.clear();
        lines.lines.clear();
        for (number, addition) in self.added.iter().enumerate() {
            let start = lines.bytes.len();
            if let Some(name) = &addition.after {
                join(fields, name, &mut lines.bytes);
                if lines.bytes.len() > start {
                    lines.bytes.extend_from_slice(b", ");
                }
            }
            let own = lines.bytes.len();
            addition.value.expand(vars, &mut lines.bytes);
            if lines.bytes.len() == own {
                lines.bytes.truncate(own.saturating_sub(2).max(start));
            }
            clean(&mut lines.bytes, start);
            if lines.bytes.len() > start {
                lines.lines.push((number, start..lines.bytes.len()));
            }
        }
    }

    /// What the writer of heads takes, for the message for which `lines` was filled in. `is_trusted` is about the peer
    /// that sent it; for a response it means nothing.
    pub(crate) fn with_edits<T>(&self, lines: &Lines, is_trusted: bool, write: impl FnOnce(Edits<'_>) -> T) -> T {
        let removed = if is_trusted { &self.removed } else { &self.removed_of_untrusted };
        let Some(first) = self.added(lines).next() else { return write(Edits { removed, added: &[] }) };
        let mut added = [first; ADDED_MAX];
        let mut count = 0;
        for (room, line) in added.iter_mut().zip(self.added(lines)) {
            *room = line;
            count += 1;
        }
        write(Edits { removed, added: &added[..count] })
    }

    /// Name and value of each field that is added.
    pub(crate) fn added<'a>(&'a self, lines: &'a Lines) -> impl Iterator<Item = Added<'a>> {
        lines.lines.iter().filter_map(|(number, range)| {
            let name = &self.added.get(*number)?.name;
            Some(Added { name, value: lines.bytes.get(range.clone())? })
        })
    }
}

fn request_id() -> Pieces {
    Pieces::of(Piece::Variable(balance_config::template::Variable::RequestId))
}

/// No white space around it, and nothing that could end a line: what was parsed has none, and this must hold for
/// whatever else a value may come from.
fn clean(bytes: &mut Vec<u8>, start: usize) {
    while bytes.len() > start && matches!(bytes.last(), Some(b' ' | b'\t')) {
        bytes.pop();
    }
    let value = bytes.get_mut(start..).unwrap_or_default();
    let blank = value.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    for byte in value.iter_mut().filter(|b| (**b < b' ' && **b != b'\t') || **b == 0x7f) {
        *byte = b'?';
    }
    if blank > 0 {
        bytes.drain(start..start + blank);
    }
}

/// What has been said about each name so far, in the order in which the names came up.
#[derive(Default)]
struct Fold {
    rules: Vec<Rule>,
}

struct Rule {
    /// As it will be written.
    name: String,
    /// True when the lines that are there go.
    removes: bool,
    /// With true, behind the lines that are there.
    added: Vec<(bool, Pieces)>,
}

impl Fold {
    fn rule(&mut self, name: &str) -> &mut Rule {
        let known = self.rules.iter().position(|rule| rule.name.eq_ignore_ascii_case(name));
        let index = known.unwrap_or_else(|| {
            self.rules.push(Rule { name: name.to_owned(), removes: false, added: Vec::new() });
            self.rules.len() - 1
        });
        &mut self.rules[index]
    }

    fn set(&mut self, name: &str, value: Pieces) {
        let rule = self.rule(name);
        rule.removes = true;
        rule.added = vec![(false, value)];
    }

    fn all(&mut self, ops: &[HeaderOp], place: Place<'_>) {
        for op in ops {
            match op {
                HeaderOp::Set { name, value } => self.set(name, Pieces::new(value, place)),
                HeaderOp::Add { name, value } => self.rule(name).added.push((false, Pieces::new(value, place))),
                HeaderOp::Append { name, value } => {
                    let (rule, value) = (self.rule(name), Pieces::new(value, place));
                    match rule.added.pop() {
                        Some((after, before)) => rule.added.push((after, before.then(", ", value))),
                        None => {
                            let is_there = !rule.removes;
                            rule.removes = true;
                            rule.added.push((is_there, value));
                        }
                    }
                }
                HeaderOp::Remove { name } => {
                    let rule = self.rule(name);
                    rule.removes = true;
                    rule.added.clear();
                }
            }
        }
    }

    fn plan(self, is_request: bool) -> HeaderPlan {
        let names = Interner::new(0, 0);
        let mut removed = NameSet::default();
        let mut added = Vec::new();
        for rule in self.rules {
            if rule.removes {
                removed.insert(rule.name.as_bytes(), &names);
            }
            // Checked when the configuration was loaded: only the writer writes what it refuses.
            let Some(name) = FieldName::new(rule.name.as_bytes(), &names) else { continue };
            for (after, value) in rule.added {
                let after = after.then(|| Name::new(&rule.name));
                added.push(Addition { name: name.clone(), after, value });
            }
        }
        added.truncate(ADDED_MAX);
        let mut removed_of_untrusted = removed.clone();
        if is_request {
            for claim in CLAIMS {
                removed_of_untrusted.insert(claim.as_bytes(), &names);
            }
            for prefix in CLAIM_PREFIXES {
                removed_of_untrusted.insert_prefix(prefix.as_bytes());
            }
        }
        let needs_request = added.iter().any(|addition| addition.value.needs_request());
        HeaderPlan { removed, removed_of_untrusted, added: added.into(), needs_request }
    }
}
