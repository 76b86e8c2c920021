//! Which rule a hello falls under. Compiled with a snapshot, then only read.
//!
//! A rule matches when both its names and its protocols do. Of those that match, the one with the closest name wins:
//! the exact name, then `*.suffix` from the longest suffix to the shortest, then rules for any name. Among rules for
//! the same name, those that ask for protocols come before one that takes all, and else the order in which they are
//! written counts.

use super::{
    Hello,
    name::{NAME_BYTES_MAX, host, lowered},
};
use std::{collections::HashMap, fmt};

/// A protocol of ALPN has a byte of length (RFC 7301 section 3.1).
const PROTOCOL_BYTES_MAX: usize = 255;

/// As it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule<'a> {
    /// `www.example.com`, `*.example.com` for every name below it at any depth, or `*` for any and for none. None at
    /// all is the same as `*`.
    pub(crate) names: &'a [&'a str],
    /// One of them must be among the client's; none means that it does not matter.
    pub(crate) alpn: &'a [&'a str],
}

#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// By lower-case name.
    exact: HashMap<Box<[u8]>, Choices>,
    /// By what follows `*.`, in lower case.
    below: HashMap<Box<[u8]>, Choices>,
    any: Choices,
}

impl Routes {
    /// # Errors
    /// A name or protocol that no hello can have, or a rule that can never be chosen because an earlier one is alike.
    pub(crate) fn compile<'a>(rules: impl IntoIterator<Item = Rule<'a>>) -> Result<Self, InvalidRoute> {
        let mut routes = Self::default();
        for (index, rule) in rules.into_iter().enumerate() {
            let invalid = |text: &str, fault| InvalidRoute { rule: index, text: text.to_owned(), fault };
            if let Some(odd) = rule.alpn.iter().find(|name| !(1..=PROTOCOL_BYTES_MAX).contains(&name.len())) {
                return Err(invalid(odd, Fault::Protocol));
            }
            for name in if rule.names.is_empty() { &["*"] } else { rule.names } {
                let choices = routes.choices(name).ok_or_else(|| invalid(name, Fault::Name))?;
                if !choices.add(index, rule.alpn) {
                    return Err(invalid(name, Fault::Unreachable));
                }
            }
        }
        Ok(routes)
    }

    /// Those of a name as it is written; `None` when it is none.
    fn choices(&mut self, name: &str) -> Option<&mut Choices> {
        let (map, name) = match name.strip_prefix("*.") {
            _ if name == "*" => return Some(&mut self.any),
            Some(suffix) => (&mut self.below, suffix),
            None => (&mut self.exact, name),
        };
        let name = host(name.as_bytes())?.to_ascii_lowercase();
        Some(map.entry(name.into_bytes().into()).or_default())
    }

    /// The index of the rule.
    pub(crate) fn find(&self, hello: &Hello<'_>) -> Option<usize> {
        let by_name = hello.sni.and_then(|sni| {
            let mut buffer = [0; NAME_BYTES_MAX];
            let name = lowered(sni, &mut buffer);
            let exact = self.exact.get(name).and_then(|choices| choices.find(hello));
            exact.or_else(|| suffixes(name).find_map(|suffix| self.below.get(suffix)?.find(hello)))
        });
        by_name.or_else(|| self.any.find(hello))
    }
}

/// What follows each dot, the longest first.
fn suffixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(dot, _)| &name[dot + 1..])
}

/// The rules of one name; those with protocols first.
#[derive(Debug, Default)]
struct Choices(Vec<Choice>);

#[derive(Debug)]
struct Choice {
    rule: usize,
    alpn: Box<[Box<[u8]>]>,
}

impl Choices {
    /// False when every hello for this one would be taken by an earlier rule.
    fn add(&mut self, rule: usize, alpn: &[&str]) -> bool {
        let alpn: Box<[Box<[u8]>]> = alpn.iter().map(|protocol| protocol.as_bytes().into()).collect();
        let covers = |earlier: &Choice| {
            earlier.alpn.is_empty() == alpn.is_empty() && alpn.iter().all(|protocol| earlier.alpn.contains(protocol))
        };
        if self.0.iter().any(covers) {
            return false;
        }
        self.0.push(Choice { rule, alpn });
        self.0.sort_by_key(|choice| choice.alpn.is_empty());
        true
    }

    fn find(&self, hello: &Hello<'_>) -> Option<usize> {
        self.0.iter().find(|choice| choice.takes(hello)).map(|choice| choice.rule)
    }
}

impl Choice {
    fn takes(&self, hello: &Hello<'_>) -> bool {
        self.alpn.is_empty() || hello.alpn.iter().any(|offered| self.alpn.iter().any(|wanted| **wanted == *offered))
    }
}

/// Why rules are not a table of routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvalidRoute {
    /// The index of the rule.
    pub(crate) rule: usize,
    /// The name or protocol.
    pub(crate) text: String,
    pub(crate) fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Name,
    Protocol,
    Unreachable,
}

impl fmt::Display for InvalidRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = &self.text;
        match self.fault {
            Fault::Name => write!(f, "{text:?} is no host name; write it as in www.example.com, *.example.com or *"),
            Fault::Protocol => write!(f, "{text:?} is no ALPN protocol, which has 1 to {PROTOCOL_BYTES_MAX} bytes"),
            Fault::Unreachable => write!(f, "this rule can never apply to {text:?}: an earlier one takes it all"),
        }
    }
}

impl std::error::Error for InvalidRoute {}
