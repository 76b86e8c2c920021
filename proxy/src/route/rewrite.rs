//! The path and the host that an endpoint sees.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use balance_config::{
    http_path,
    model::{self, EncodedSlashes, PathRules},
    pattern,
    template::{Group, Variable},
};
use regex_automata::{
    Input, PatternID,
    meta::{Cache, Regex},
    util::{captures::Captures, iter::Searcher},
};

use super::{
    template::{Piece, Pieces, Place, Vars},
    view::RequestView,
};

/// A target that grows beyond this is no use to anybody.
const TARGET_BYTES_MAX: usize = 64 << 10;
/// Expressions of which a shard keeps what it built lazily.
const CACHES_MAX: usize = 16;

/// Why a request cannot be forwarded as its route says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRewrite {
    /// The new target is too long. The request gets 414.
    TooLong,
    /// The new path is one that servers read in different ways. The request gets 400.
    Path(http_path::BadPath),
}

impl fmt::Display for BadRewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("the target is too long once it is rewritten"),
            Self::Path(bad) => write!(f, "once it is rewritten, {bad}"),
        }
    }
}

/// Room for what is rewritten. One for a shard, used again and again.
#[derive(Debug, Default)]
pub(crate) struct RewriteSpace {
    target: Vec<u8>,
    other: Vec<u8>,
    caches: Vec<(u64, Cache, Captures)>,
}

#[derive(Debug)]
pub(crate) struct Rewrite {
    path: Option<Path>,
    host: Option<Pieces>,
}

#[derive(Debug)]
enum Path {
    Prefix { strip: Option<Box<[u8]>>, add: Option<Box<[u8]>> },
    Whole(Pieces),
    Regex(Box<Replace>),
}

#[derive(Debug)]
struct Replace {
    /// Tells expressions apart.
    number: u64,
    regex: Regex,
    with: Box<[Part]>,
}

#[derive(Debug)]
enum Part {
    Text(Box<[u8]>),
    Group(usize),
}

impl Rewrite {
    pub(super) fn new(from: &model::Rewrite, place: Place<'_>) -> Self {
        let bytes = |text: &String| text.as_bytes().into();
        let path = from.path.as_ref().and_then(|path| match path {
            model::PathRewrite::Prefix { strip, add } => Some(Path::Prefix {
                strip: strip.as_ref().map(bytes),
                // `/a/` before `/b` is `/a/b`.
                add: add.as_ref().map(|add| add.trim_end_matches('/').as_bytes().into()),
            }),
            model::PathRewrite::Whole(template) => Some(Path::Whole(Pieces::new(template, place))),
            model::PathRewrite::Regex { pattern, replacement } => {
                let with = Pieces::new(replacement, place);
                Replace::new(pattern, &with).map(|replace| Path::Regex(Box::new(replace)))
            }
        });
        Self { path, host: from.host.as_ref().map(|host| Pieces::new(host, place)) }
    }

    /// Path and query as the endpoint gets them; `None` when they are what came.
    ///
    /// # Errors
    /// The request cannot be forwarded.
    pub(crate) fn target<'s, V: RequestView>(
        &self,
        vars: &Vars<'_, V>,
        space: &'s mut RewriteSpace,
    ) -> Result<Option<&'s [u8]>, BadRewrite> {
        if self.path.is_none() && vars.target.is_as_it_came {
            return Ok(None);
        }
        self.path(vars, space)?;
        if let Some(query) = vars.view.query() {
            space.target.push(b'?');
            space.target.extend_from_slice(query);
        }
        if space.target.len() > TARGET_BYTES_MAX {
            return Err(BadRewrite::TooLong);
        }
        Ok(Some(&space.target))
    }

    /// Writes the path alone to `space.target`.
    fn path<V: RequestView>(&self, vars: &Vars<'_, V>, space: &mut RewriteSpace) -> Result<(), BadRewrite> {
        let path = vars.target.path;
        space.target.clear();
        match &self.path {
            // `*` of OPTIONS is about the server, not about a path.
            Some(_) if path == b"*" => space.target.extend_from_slice(path),
            None => space.target.extend_from_slice(path),
            Some(Path::Prefix { strip, add }) => {
                let rest = strip.as_deref().map_or(path, |strip| stripped(path, strip));
                space.target.extend_from_slice(add.as_deref().unwrap_or_default());
                space.target.extend_from_slice(rest);
            }
            Some(Path::Whole(pieces)) => {
                space.target.clear();
                pieces.expand(vars, &mut space.target);
                space.settle()?;
            }
            Some(Path::Regex(replace)) => {
                replace.write(path, space)?;
                space.settle()?;
            }
        }
        Ok(())
    }

    /// The path alone, for a redirect.
    ///
    /// # Errors
    /// As [`Rewrite::target`].
    pub(super) fn path_of<'s, V: RequestView>(
        &self,
        vars: &Vars<'_, V>,
        space: &'s mut RewriteSpace,
    ) -> Result<&'s [u8], BadRewrite> {
        self.path(vars, space)?;
        Ok(&space.target)
    }

    /// The host that the endpoint is asked for, written to `out`; false when it is the one that came.
    pub(crate) fn host<V: RequestView>(&self, vars: &Vars<'_, V>, out: &mut Vec<u8>) -> bool {
        out.clear();
        if let Some(host) = &self.host {
            host.expand(vars, out);
        }
        !out.is_empty()
    }
}

impl RewriteSpace {
    /// Brings a path that was put together into the form that no two servers read differently.
    fn settle(&mut self) -> Result<(), BadRewrite> {
        const RULES: PathRules = PathRules { merge_slashes: true, encoded_slashes: EncodedSlashes::Keep };
        if self.target.len() > TARGET_BYTES_MAX {
            return Err(BadRewrite::TooLong);
        }
        let is_settled = {
            let path = http_path::canonical(&self.target, RULES, &mut self.other).map_err(BadRewrite::Path)?;
            path.as_ptr() == self.target.as_ptr()
        };
        if !is_settled {
            std::mem::swap(&mut self.target, &mut self.other);
        }
        Ok(())
    }
}

/// What is left of a path. It starts with a slash; a path that has another start stays.
fn stripped<'p>(path: &'p [u8], strip: &[u8]) -> &'p [u8] {
    let strip = strip.strip_suffix(b"/").unwrap_or(strip);
    match path.strip_prefix(strip) {
        Some(b"") => b"/",
        Some(rest @ [b'/', ..]) => rest,
        _ => path,
    }
}

impl Replace {
    /// `None` for what is no expression, which loading a configuration rules out.
    fn new(text: &str, with: &Pieces) -> Option<Self> {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let regex = pattern::part(text).ok()?;
        let part = |piece: &Piece| match piece {
            Piece::Text(text) => Some(Part::Text(text.clone())),
            Piece::Variable(Variable::Group(Group::Number(number))) => Some(Part::Group(usize::from(*number))),
            Piece::Variable(Variable::Group(Group::Name(name))) => {
                regex.group_info().to_index(PatternID::ZERO, name).map(Part::Group)
            }
            _ => None,
        };
        let with = with.pieces().iter().map(part).collect::<Option<_>>()?;
        Some(Self { number: NUMBERS.fetch_add(1, Ordering::Relaxed), regex, with })
    }

    fn write(&self, path: &[u8], space: &mut RewriteSpace) -> Result<(), BadRewrite> {
        let known = space.caches.iter().position(|(number, ..)| *number == self.number);
        let index = known.unwrap_or_else(|| {
            let cached = (self.number, self.regex.create_cache(), self.regex.create_captures());
            if space.caches.len() < CACHES_MAX {
                space.caches.push(cached);
            } else {
                let oldest = self.number as usize % CACHES_MAX;
                space.caches[oldest] = cached;
            }
            space.caches.iter().position(|(number, ..)| *number == self.number).unwrap_or_default()
        });
        let Some((_, cache, captures)) = space.caches.get_mut(index) else { return Ok(()) };
        let mut searcher = Searcher::new(Input::new(path));
        let mut copied = 0;
        while let Some(found) = searcher.advance(|input| {
            self.regex.search_captures_with(cache, input, captures);
            Ok(captures.get_match())
        }) {
            space.target.extend_from_slice(path.get(copied..found.start()).unwrap_or_default());
            for part in &self.with {
                let text = match part {
                    Part::Text(text) => text,
                    Part::Group(group) => captures.get_group(*group).map_or(&b""[..], |span| &path[span]),
                };
                space.target.extend_from_slice(text);
            }
            copied = found.end();
            if space.target.len() > TARGET_BYTES_MAX {
                return Err(BadRewrite::TooLong);
            }
        }
        space.target.extend_from_slice(path.get(copied..).unwrap_or_default());
        Ok(())
    }
}

/// What a test sees of a rewrite without a request.
#[cfg(test)]
pub(super) fn strip(path: &str, prefix: &str) -> String {
    String::from_utf8_lossy(stripped(path.as_bytes(), prefix.as_bytes())).into_owned()
}
