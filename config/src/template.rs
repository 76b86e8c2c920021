//! Text with variables in braces: `{client_ip}`; `{{` and `}}` are braces.

use std::{fmt, ops::Range};

use crate::{
    diagnostic::{Fault, quoted},
    http_names, suggest,
};

/// Parts of one text, which bounds what it costs to fill in.
const PARTS_MAX: usize = 64;
const BYTES_MAX: usize = 4096;

/// A text, cut at its variables. No two texts follow each other, and none is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Template {
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Text(String),
    Variable(Variable),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Variable {
    /// The address of the client, after what trusted proxies said.
    ClientIp,
    /// The address of the socket.
    PeerIp,
    RequestId,
    Scheme,
    /// As the client asked for it, in small letters and without a port.
    Host,
    /// As it was matched, before any rewrite.
    Path,
    /// Without `?`; empty when there is none.
    Query,
    Method,
    Route,
    Cluster,
    Endpoint,
    Listener,
    /// A header of the request, its lines joined by a comma; empty when there is none.
    Header(String),
    Status,
    /// Of the regular expression that goes with it.
    Group(Group),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    Number(u16),
    Name(String),
}

/// Where a text stands, and so which variables it knows and which characters it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The value of a request's header.
    Request,
    /// The value of a response's header.
    Response,
    /// The path of a target or of a redirect.
    Path,
    /// A host.
    Host,
    /// A path with the groups of a regular expression in it.
    Captures,
}

const NAMES: &[(&str, Variable)] = &[
    ("client_ip", Variable::ClientIp),
    ("peer_ip", Variable::PeerIp),
    ("request_id", Variable::RequestId),
    ("scheme", Variable::Scheme),
    ("host", Variable::Host),
    ("path", Variable::Path),
    ("query", Variable::Query),
    ("method", Variable::Method),
    ("route", Variable::Route),
    ("cluster", Variable::Cluster),
    ("endpoint", Variable::Endpoint),
    ("listener", Variable::Listener),
    ("status", Variable::Status),
];

impl Scope {
    fn knows(self, variable: &Variable) -> bool {
        match self {
            Self::Request => !matches!(variable, Variable::Status | Variable::Group(_)),
            Self::Response => !matches!(variable, Variable::Group(_)),
            Self::Path => matches!(variable, Variable::Path | Variable::Host | Variable::Method | Variable::Scheme),
            Self::Host => matches!(variable, Variable::Host | Variable::Endpoint | Variable::Cluster),
            Self::Captures => matches!(variable, Variable::Group(_)),
        }
    }

    /// The variables that need no more than their name.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        NAMES.iter().filter(move |(_, variable)| self.knows(variable)).map(|(name, _)| *name)
    }

    /// Characters of its own that a text may have.
    fn allows(self, c: char) -> bool {
        match self {
            Self::Request | Self::Response => !c.is_control() || c == '\t',
            Self::Path | Self::Captures => {
                c.is_ascii_graphic() && !matches!(c, '?' | '#' | '\\' | '"' | '<' | '>' | '^' | '`' | '{' | '|' | '}')
            }
            Self::Host => c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '[' | ']'),
        }
    }
}

impl Template {
    /// True when it says the same whatever comes.
    pub fn is_constant(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Text(_) => None,
        })
    }

    /// A text without variables.
    pub fn constant(text: &str) -> Self {
        let parts = if text.is_empty() { Vec::new() } else { vec![Part::Text(text.to_owned())] };
        Self { parts }
    }

    /// # Errors
    /// A brace without its other, a variable that does not exist in this place, or a character that cannot stand here.
    pub fn parse(text: &str, scope: Scope) -> Result<Self, Fault> {
        if text.len() > BYTES_MAX {
            return Err(Fault::new(format!("it has {} bytes, and at most {BYTES_MAX} are taken", text.len())));
        }
        let mut parts = Parts::default();
        let mut at = 0;
        while let Some(found) = text[at..].find(['{', '}']).map(|i| i + at) {
            parts.text(text, at..found, scope)?;
            let rest = &text[found..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                parts.text(text, found..found + 1, scope)?;
                at = found + 2;
                continue;
            }
            let end = rest.find('}').map(|end| found + end);
            let (true, Some(end)) = (rest.starts_with('{'), end) else {
                let fault =
                    Fault::new("a brace stands alone").help("write {{ and }} for braces, {client_ip} for a variable");
                return Err(fault.at(found..found + 1));
            };
            let variable = variable(&text[found + 1..end], scope).map_err(|fault| fault.at(found..end + 1))?;
            parts.0.push(Part::Variable(variable));
            at = end + 1;
        }
        parts.text(text, at..text.len(), scope)?;
        if parts.0.len() > PARTS_MAX {
            return Err(Fault::new(format!("it has {} parts, and at most {PARTS_MAX} are taken", parts.0.len())));
        }
        Ok(Self { parts: parts.0 })
    }
}

#[derive(Default)]
struct Parts(Vec<Part>);

impl Parts {
    /// Adds a part of the whole text.
    fn text(&mut self, whole: &str, range: Range<usize>, scope: Scope) -> Result<(), Fault> {
        let text = &whole[range.clone()];
        if let Some((at, c)) = text.char_indices().find(|(_, c)| !scope.allows(*c)) {
            let at = range.start + at;
            return Err(Fault::new(format!("it cannot contain {}", quoted(&c.to_string()))).at(at..at + c.len_utf8()));
        }
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text(last)) => last.push_str(text),
            _ => self.0.push(Part::Text(text.to_owned())),
        }
        Ok(())
    }
}

fn variable(name: &str, scope: Scope) -> Result<Variable, Fault> {
    if scope == Scope::Captures {
        return group(name).map(Variable::Group);
    }
    if let Some((_, variable)) = NAMES.iter().find(|(known, _)| *known == name) {
        if scope.knows(variable) {
            return Ok(variable.clone());
        }
        let known = scope.names().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ");
        return Err(Fault::new(format!("the variable {{{name}}} is not known here")).help(format!("known are {known}")));
    }
    if let Some(header) = name.strip_prefix("header:") {
        if !matches!(scope, Scope::Request | Scope::Response) {
            return Err(Fault::new("headers cannot stand here"));
        }
        return http_names::parse_header(header).map(Variable::Header);
    }
    let near = suggest::nearest(name, scope.names()).map(|near| format!("did you mean {{{near}}}?"));
    let known = || {
        let known = scope.names().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ");
        format!("known are {known}; {{{{ is a brace")
    };
    Err(Fault::new(format!("there is no variable {}", quoted(name))).help(near.unwrap_or_else(known)))
}

fn group(name: &str) -> Result<Group, Fault> {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if let Ok(number) = name.parse::<u16>() {
        return Ok(Group::Number(number));
    }
    if !name.is_empty() && name.bytes().all(is_word) {
        return Ok(Group::Name(name.to_owned()));
    }
    Err(Fault::new(format!("{} is no group", quoted(name))).help("write {1}, or {name} for a group (?<name>…)"))
}

/// As it would be written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Part::Variable(variable) => write!(f, "{{{variable}}}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Group(Group::Number(number)) => number.fmt(f),
            Self::Group(Group::Name(name)) => f.write_str(name),
            other => {
                let name = NAMES.iter().find(|(_, variable)| variable == other).map(|(name, _)| *name);
                f.write_str(name.unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, scope: Scope, words: &str, part: &str) {
        let fault = Template::parse(text, scope).expect_err(text);
        assert!(fault.to_string().contains(words), "{fault}");
        assert_eq!(fault.at.map(|at| &text[at]), Some(part), "{text}");
    }

    #[test]
    fn what_is_read_is_written_the_same() {
        for text in ["", "plain", "{client_ip}", "a{host}b{{c}}", "{header:x-y}, {status}"] {
            let template = Template::parse(text, Scope::Response).expect(text);
            assert_eq!(template.to_string(), text);
        }
        let parts = Template::parse("a{{{host}}}", Scope::Request).expect("braces").parts;
        let text = |text: &str| Part::Text(text.to_owned());
        assert_eq!(parts, [text("a{"), Part::Variable(Variable::Host), text("}")]);
        assert!(Template::parse("x{{", Scope::Request).expect("a brace").is_constant());
    }

    #[test]
    fn what_is_not_known_is_refused_at_its_place() {
        refused("a {clientip}", Scope::Request, "did you mean {client_ip}?", "{clientip}");
        refused("{nonsense}", Scope::Request, "known are {client_ip}", "{nonsense}");
        refused("{status}", Scope::Request, "not known here", "{status}");
        refused("/{client_ip}", Scope::Path, "not known here", "{client_ip}");
        refused("a{b", Scope::Request, "stands alone", "{");
        refused("a}b", Scope::Request, "stands alone", "}");
        refused("a\r\nx: y", Scope::Request, "cannot contain", "\r");
        refused("/a?b", Scope::Path, "cannot contain", "?");
        refused("/a b", Scope::Path, "cannot contain", " ");
        refused("a/b", Scope::Host, "cannot contain", "/");
        refused("/{a-b}", Scope::Captures, "is no group", "{a-b}");
        refused("{header:a b}", Scope::Request, "header", "{header:a b}");
    }

    #[test]
    fn groups_are_numbers_and_names() {
        let parts = Template::parse("/x/{1}/{id}", Scope::Captures).expect("groups").parts;
        assert_eq!(parts[1], Part::Variable(Variable::Group(Group::Number(1))));
        assert_eq!(parts[3], Part::Variable(Variable::Group(Group::Name("id".to_owned()))));
    }

    #[test]
    fn there_is_a_limit() {
        assert!(Template::parse(&"a".repeat(5000), Scope::Request).is_err());
        assert!(Template::parse(&"{host}-".repeat(40), Scope::Request).is_err());
    }
}
