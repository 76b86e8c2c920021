//! What a request must have besides host and path.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
};

use balance_config::{
    model::{Matcher, RequestMatch, ValueMatch},
    pattern,
};
use regex_automata::{
    Input,
    meta::{Cache, Regex},
};

use super::view::{Name, RequestView};

/// Regular expressions of which a shard keeps what it built lazily, at most some tens of KiB each.
const CACHES_MAX: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RegexId(u32);

/// The regular expressions of a router, each there once.
#[derive(Debug)]
pub(super) struct Regexes {
    /// Tells routers apart, so that no cache is used for an expression that it was not made for.
    router: u64,
    all: Box<[Regex]>,
}

#[derive(Debug, Default)]
pub(super) struct RegexBuilder {
    by_text: HashMap<String, RegexId>,
    all: Vec<Regex>,
}

impl RegexBuilder {
    /// `None` for what is no expression, which loading a configuration rules out.
    pub(super) fn add(&mut self, text: &str) -> Option<RegexId> {
        if let Some(id) = self.by_text.get(text) {
            return Some(*id);
        }
        let id = RegexId(u32::try_from(self.all.len()).ok()?);
        self.all.push(pattern::whole(text).ok()?);
        self.by_text.insert(text.to_owned(), id);
        Some(id)
    }

    pub(super) fn build(self) -> Regexes {
        static ROUTERS: AtomicU64 = AtomicU64::new(0);
        Regexes { router: ROUTERS.fetch_add(1, Ordering::Relaxed), all: self.all.into() }
    }
}

/// Room for one look at a request. One for a shard, used again and again.
#[derive(Debug, Default)]
pub(crate) struct Matching {
    caches: Vec<Option<Cached>>,
    /// A value of the query, decoded.
    value: Vec<u8>,
    /// Nodes and alternatives that were looked at since it was made.
    #[cfg(test)]
    pub(super) steps: u32,
}

#[derive(Debug)]
struct Cached {
    router: u64,
    regex: RegexId,
    cache: Cache,
}

impl Matching {
    /// True when all of `text` matches.
    pub(super) fn is_match(&mut self, regexes: &Regexes, id: RegexId, text: &[u8]) -> bool {
        let Some(regex) = regexes.all.get(id.0 as usize) else { return false };
        let place = id.0 as usize % CACHES_MAX;
        if self.caches.len() <= place {
            self.caches.resize_with(place + 1, || None);
        }
        let Some(slot) = self.caches.get_mut(place) else { return false };
        let cached =
            slot.get_or_insert_with(|| Cached { router: regexes.router, regex: id, cache: regex.create_cache() });
        if (cached.router, cached.regex) != (regexes.router, id) {
            cached.cache.reset(regex);
            (cached.router, cached.regex) = (regexes.router, id);
        }
        regex.search_half_with(&mut cached.cache, &Input::new(text).earliest(true)).is_some()
    }
}

#[derive(Debug)]
pub(super) struct Conditions {
    methods: Methods,
    tests: Box<[Test]>,
}

#[derive(Debug)]
struct Test {
    of: Source,
    wanted: Wanted,
}

#[derive(Debug)]
enum Source {
    Header(Name),
    Query(Box<[u8]>),
    Cookie(Box<[u8]>),
}

#[derive(Debug)]
enum Wanted {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Regex(RegexId),
    Present(bool),
}

/// Those that are allowed; none: it does not matter.
#[derive(Debug)]
struct Methods {
    known: u16,
    others: Box<[Box<[u8]>]>,
}

const KNOWN: [&[u8]; 8] = [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE"];

fn known_method(method: &[u8]) -> Option<u16> {
    KNOWN.iter().position(|known| *known == method).map(|index| 1 << index)
}

/// What is looked up once for a request, however many routes ask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    method: Option<u16>,
}

impl Asked {
    pub(super) fn of(view: &impl RequestView) -> Self {
        Self { method: known_method(view.method()) }
    }
}

impl Methods {
    fn new(methods: &[String]) -> Self {
        let known = methods.iter().filter_map(|method| known_method(method.as_bytes())).fold(0, |all, one| all | one);
        let others = methods.iter().filter(|method| known_method(method.as_bytes()).is_none());
        Self { known, others: others.map(|method| method.as_bytes().into()).collect() }
    }

    fn is_any(&self) -> bool {
        self.known == 0 && self.others.is_empty()
    }

    fn allow(&self, asked: Asked, method: &[u8]) -> bool {
        match asked.method {
            _ if self.is_any() => true,
            Some(known) => self.known & known != 0,
            None => self.others.iter().any(|other| **other == *method),
        }
    }
}

impl Conditions {
    /// `None` when there are none.
    pub(super) fn new(when: &RequestMatch, regexes: &mut RegexBuilder) -> Option<Self> {
        let header = |name: &str| Source::Header(Name::new(name));
        let query = |name: &str| Source::Query(name.as_bytes().into());
        let cookie = |name: &str| Source::Cookie(name.as_bytes().into());
        let mut tests = Vec::new();
        let mut add = |all: &[Matcher], of: &dyn Fn(&str) -> Source| {
            for matcher in all {
                let wanted = match &matcher.value {
                    ValueMatch::Exact(text) => Wanted::Exact(text.as_bytes().into()),
                    ValueMatch::Prefix(text) => Wanted::Prefix(text.as_bytes().into()),
                    // One that is none matches nothing.
                    ValueMatch::Regex(text) => Wanted::Regex(regexes.add(text).unwrap_or(RegexId(u32::MAX))),
                    ValueMatch::Present(present) => Wanted::Present(*present),
                };
                tests.push(Test { of: of(&matcher.name), wanted });
            }
        };
        add(&when.headers, &header);
        add(&when.cookies, &cookie);
        add(&when.query, &query);
        let methods = Methods::new(&when.methods);
        (!tests.is_empty() || !methods.is_any()).then(|| Self { methods, tests: tests.into() })
    }

    /// How many there are: more are more specific.
    pub(super) fn count(when: &RequestMatch) -> u32 {
        let count = usize::from(!when.methods.is_empty()) + when.headers.len() + when.query.len() + when.cookies.len();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    pub(super) fn hold(&self, view: &impl RequestView, asked: Asked, regexes: &Regexes, room: &mut Matching) -> bool {
        self.methods.allow(asked, view.method()) && self.tests.iter().all(|test| test.holds(view, regexes, room))
    }
}

impl Test {
    fn holds(&self, view: &impl RequestView, regexes: &Regexes, room: &mut Matching) -> bool {
        match &self.of {
            Source::Header(name) => self.wanted.by_any(view.values(name), regexes, room),
            Source::Cookie(name) => {
                let cookie = cookie_name();
                let values = view.values(cookie).flat_map(cookies).filter(|(found, _)| *found == &**name);
                self.wanted.by_any(values.map(|(_, value)| value), regexes, room)
            }
            Source::Query(name) => {
                let all = parameters(view.query().unwrap_or_default());
                let mut values =
                    all.filter(|(found, _)| decoded(found).eq(name.iter().copied())).map(|(_, value)| value);
                match &self.wanted {
                    Wanted::Exact(text) => values.any(|value| decoded(value).eq(text.iter().copied())),
                    Wanted::Prefix(text) => values.any(|value| {
                        let mut value = decoded(value);
                        text.iter().all(|byte| value.next() == Some(*byte))
                    }),
                    Wanted::Regex(id) => values.any(|value| {
                        let mut space = std::mem::take(&mut room.value);
                        space.clear();
                        space.extend(decoded(value));
                        let is_match = room.is_match(regexes, *id, &space);
                        room.value = space;
                        is_match
                    }),
                    Wanted::Present(present) => values.next().is_some() == *present,
                }
            }
        }
    }
}

impl Wanted {
    /// True when one of the values is what is wanted.
    fn by_any<'a>(&self, mut values: impl Iterator<Item = &'a [u8]>, regexes: &Regexes, room: &mut Matching) -> bool {
        match self {
            Self::Exact(text) => values.any(|value| value == &**text),
            Self::Prefix(text) => values.any(|value| value.starts_with(text)),
            Self::Regex(id) => values.any(|value| room.is_match(regexes, *id, value)),
            Self::Present(present) => values.next().is_some() == *present,
        }
    }
}

fn cookie_name() -> &'static Name {
    static NAME: std::sync::LazyLock<Name> = std::sync::LazyLock::new(|| Name::new("cookie"));
    &NAME
}

/// Names and values of a `Cookie` (RFC 6265 section 4.2.1). What has no `=` is no cookie.
fn cookies(line: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    line.split(|b| *b == b';').filter_map(|pair| {
        let pair = pair.trim_ascii();
        let at = pair.iter().position(|b| *b == b'=')?;
        Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
    })
}

/// Names and values of a query, still encoded. One without `=` has an empty value.
fn parameters(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|b| *b == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let at = pair.iter().position(|b| *b == b'=');
        at.map_or((pair, &b""[..]), |at| (&pair[..at], &pair[at + 1..]))
    })
}

/// As forms encode (WHATWG URL, application/x-www-form-urlencoded): `+` is a space, and a `%` that stands alone is one.
fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut rest = text;
    std::iter::from_fn(move || {
        let (first, after) = rest.split_first()?;
        if let (b'%', [high, low, after @ ..]) = (first, after)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            rest = after;
            return Some(high << 4 | low);
        }
        rest = after;
        Some(if *first == b'+' { b' ' } else { *first })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        for (given, expected) in
            [("a+b", "a b"), ("a%20b", "a b"), ("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("%41%2b", "A+"), ("", "")]
        {
            assert!(decoded(given.as_bytes()).eq(expected.bytes()), "{given}");
        }
        let all: Vec<_> = parameters(b"a=1&&b&=x&a=2=3").collect();
        let pair = |a: &'static str, b: &'static str| (a.as_bytes(), b.as_bytes());
        assert_eq!(all, [pair("a", "1"), pair("b", ""), pair("", "x"), pair("a", "2=3")]);
    }

    #[test]
    fn cookies_are_split() {
        let all: Vec<_> = cookies(b"a=1; b = 2;c;; d==").collect();
        let pair = |a: &'static str, b: &'static str| (a.as_bytes(), b.as_bytes());
        assert_eq!(all, [pair("a", "1"), pair("b", "2"), pair("d", "=")]);
    }

    #[test]
    fn a_cache_is_not_used_for_another_expression() {
        let routers: Vec<Regexes> = (0..3)
            .map(|router| {
                let mut builder = RegexBuilder::default();
                for number in 0..200 {
                    builder.add(&format!("r{router}-{number}-[a-z]+"));
                }
                builder.build()
            })
            .collect();
        let mut room = Matching::default();
        for round in 0..3 {
            for (router, regexes) in routers.iter().enumerate() {
                for number in 0..200_u32 {
                    let text = format!("r{router}-{number}-abc");
                    assert!(room.is_match(regexes, RegexId(number), text.as_bytes()), "{round} {text}");
                    assert!(!room.is_match(regexes, RegexId(number), b"x"), "{round} {text}");
                }
            }
        }
        assert!(room.caches.len() <= CACHES_MAX);
        assert!(!room.is_match(&routers[0], RegexId(u32::MAX), b""));
    }
}
