//! From a request to the entry that it takes, at a cost that does not depend on how many there are.
//!
//! Every pair of a host and a path that a route names is an alternative. Alternatives are sorted once, from the first
//! that is to be tried to the last, and an alternative's place in that order is its rank. Where one could match, its
//! rank stands in a list:
//!
//! ```text
//!   hosts ── exact ─────┐                       lists of a node: always   for any path, `*` too
//!         ── *.parent ──┼─► root ── segment ──► node ── … ──►    below    for what goes on after it
//!         ── any ───────┘                                        at       for what ends here or goes on
//!                                                                exact    for what ends here
//! ```
//!
//! A look-up walks the few roots that the host has, each along the segments of the path as far as there are nodes, and
//! keeps the lowest rank whose conditions hold. A list is sorted, so it is left at the first rank that is no better; a
//! subtree that has no better one is not entered. The work is the number of labels of the host times the depth of the
//! path, both bounded by what the configuration has, and the routes that differ in conditions alone.

use std::{cmp::Reverse, time::Duration};

use balance_config::{
    model::{self, HostPattern, PathPattern, RequestMatch, RouteAction},
    pattern,
};

use super::{
    conditions::{Asked, Conditions, Matching, RegexBuilder, RegexId, Regexes},
    entry::{ClusterIndex, Entry, EntryBuilder},
    table::{Keys, Table},
    target::Target,
    view::RequestView,
};

const NONE: u32 = u32::MAX;

/// The routes of a listener, compiled.
#[derive(Debug)]
pub(crate) struct Router {
    /// In the order of the file; the cluster of the listener comes last.
    entries: Box<[Entry]>,
    alternatives: Box<[Alternative]>,
    /// By entry.
    conditions: Box<[Option<Conditions>]>,
    regexes: Regexes,
    exact_hosts: Table,
    parents: Table,
    /// Dots in the names under which there are wildcards, at least and at most.
    parent_dots: (u32, u32),
    any_host: u32,
    segments: Table,
    nodes: Box<[Node]>,
    ranks: Box<[u32]>,
}

#[derive(Clone, Copy, Debug)]
struct Alternative {
    entry: u32,
    path: Option<RegexId>,
    /// True when no request can match, which loading a configuration rules out.
    is_void: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// Ranges of `ranks`.
    lists: [(u32, u32); 4],
    /// The lowest rank here and below.
    best: u32,
}

/// Which list of a node.
#[derive(Clone, Copy, Debug)]
enum List {
    Always,
    Below,
    At,
    Exact,
}

impl Router {
    /// `number_of` numbers clusters by name, `idle_timeout` is that of the listener. The cluster of the listener, if
    /// there is one, is what no route matches.
    pub(crate) fn compile(
        http: &model::Http,
        listener: &str,
        default: Option<&str>,
        idle_timeout: Option<Duration>,
        number_of: &mut dyn FnMut(&str) -> ClusterIndex,
    ) -> Self {
        let mut builder = EntryBuilder::new(http, listener, idle_timeout);
        let mut entries: Vec<Entry> = http.routes.iter().map(|route| builder.entry(route, number_of)).collect();
        let everything = RequestMatch::default();
        let mut matches: Vec<(&RequestMatch, u32)> =
            http.routes.iter().map(|route| (&route.when, route.priority)).collect();
        if let Some(default) = default {
            entries.push(builder.default_entry(default, number_of));
            matches.push((&everything, 0));
        }
        let mut index = IndexBuilder::default();
        let conditions = matches.iter().map(|(when, _)| Conditions::new(when, &mut index.regexes)).collect();
        index.build(&matches, entries, conditions)
    }

    /// Numbers the clusters in the order in which [`Router::compile`] does.
    pub(crate) fn number(http: &model::Http, default: Option<&str>, number_of: &mut dyn FnMut(&str) -> ClusterIndex) {
        for route in &http.routes {
            if let RouteAction::Forward(clusters) = &route.action {
                for cluster in clusters {
                    number_of(&cluster.name);
                }
            }
        }
        if let Some(default) = default {
            number_of(default);
        }
    }

    /// `None`: no route matches, and the listener has no cluster. The request gets 404.
    #[inline]
    pub(crate) fn find<V: RequestView>(&self, view: &V, target: &Target<'_>, room: &mut Matching) -> Option<&Entry> {
        let mut search = Search { router: self, view, asked: Asked::of(view), path: target.path, best: NONE, room };
        let host = target.host;
        if !host.is_empty() {
            if let Some(root) = self.exact_hosts.get(0, host) {
                search.walk(root);
            }
            self.each_parent(host, |parent| {
                if let Some(root) = self.parents.get(0, parent) {
                    search.walk(root);
                }
            });
        }
        search.walk(self.any_host);
        let best = search.best;
        let alternative = self.alternatives.get(best as usize)?;
        self.entries.get(alternative.entry as usize)
    }

    /// What follows each dot, the longest first, as far as there are wildcards for names of that many labels.
    fn each_parent(&self, host: &[u8], mut ask: impl FnMut(&[u8])) {
        let (least, most) = self.parent_dots;
        if least > most {
            return;
        }
        let mut left = host.iter().filter(|b| **b == b'.').count() as u32;
        for (at, _) in host.iter().enumerate().filter(|(_, byte)| **byte == b'.') {
            left -= 1;
            if left < least {
                return;
            }
            // A name that starts with a dot has no label of its own before it.
            if left <= most && at > 0 {
                ask(&host[at + 1..]);
            }
        }
    }

    /// The place of an entry of this router among its entries.
    #[inline]
    pub(crate) fn number_of(&self, entry: &Entry) -> usize {
        let offset = std::ptr::from_ref(entry).addr() - self.entries.as_ptr().addr();
        let number = offset / size_of::<Entry>();
        debug_assert!(self.entries.get(number).is_some_and(|own| std::ptr::eq(own, entry)), "of another router");
        number
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

struct Search<'r, 'v, V> {
    router: &'r Router,
    view: &'v V,
    asked: Asked,
    path: &'v [u8],
    /// The lowest rank that matches so far.
    best: u32,
    room: &'v mut Matching,
}

impl<V: RequestView> Search<'_, '_, V> {
    fn walk(&mut self, root: u32) {
        let router = self.router;
        let Some(mut node) = router.nodes.get(root as usize) else { return };
        if node.best >= self.best {
            return;
        }
        self.list(node, List::Always);
        let Some(mut rest) = self.path.strip_prefix(b"/") else { return };
        let mut at = root;
        loop {
            self.list(node, List::Below);
            let end = rest.iter().position(|b| *b == b'/');
            let segment = &rest[..end.unwrap_or(rest.len())];
            let Some(child) = router.segments.get(at, segment) else { return };
            let Some(found) = router.nodes.get(child as usize).filter(|node| node.best < self.best) else { return };
            (at, node) = (child, found);
            self.list(node, List::At);
            match end {
                Some(end) => rest = &rest[end + 1..],
                None => return self.list(node, List::Exact),
            }
        }
    }

    #[inline]
    fn list(&mut self, node: &Node, list: List) {
        #[cfg(test)]
        {
            self.room.steps += 1;
        }
        let (start, end) = node.lists[list as usize];
        if start == end {
            return;
        }
        let router = self.router;
        for rank in router.ranks.get(start as usize..end as usize).unwrap_or_default() {
            if *rank >= self.best {
                return;
            }
            if self.matches(*rank) {
                self.best = *rank;
                return;
            }
        }
    }

    fn matches(&mut self, rank: u32) -> bool {
        #[cfg(test)]
        {
            self.room.steps += 100;
        }
        let router = self.router;
        let Some(alternative) = router.alternatives.get(rank as usize).filter(|one| !one.is_void) else { return false };
        let path = alternative.path.is_none_or(|regex| self.room.is_match(&router.regexes, regex, self.path));
        let conditions = router.conditions.get(alternative.entry as usize).and_then(Option::as_ref);
        path && conditions.is_none_or(|all| all.hold(self.view, self.asked, &router.regexes, self.room))
    }
}

/// How specific an alternative is: larger is more so, field by field. The priority of its route comes before all else,
/// and the order of the file after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Weight {
    is_route: bool,
    priority: u32,
    host: (u8, usize),
    path: (u8, usize),
    conditions: u32,
}

fn host_weight(host: Option<&HostPattern>) -> (u8, usize) {
    match host {
        Some(HostPattern::Exact(_)) => (2, 0),
        Some(HostPattern::Under(parent)) => (1, parent.len()),
        None => (0, 0),
    }
}

fn path_weight(path: Option<&PathPattern>) -> (u8, usize) {
    match path {
        Some(PathPattern::Exact(_)) => (3, 0),
        Some(PathPattern::Prefix(prefix)) => (2, prefix.len()),
        Some(PathPattern::Regex(_)) => (1, 0),
        None => (0, 0),
    }
}

#[derive(Default)]
struct IndexBuilder {
    regexes: RegexBuilder,
    exact_hosts: Keys,
    parents: Keys,
    segments: Keys,
    /// By node.
    lists: Vec<[Vec<u32>; 4]>,
}

impl IndexBuilder {
    fn build(
        mut self,
        matches: &[(&RequestMatch, u32)],
        entries: Vec<Entry>,
        conditions: Box<[Option<Conditions>]>,
    ) -> Router {
        let routes = if entries.last().is_some_and(Entry::is_default) { entries.len() - 1 } else { entries.len() };
        let mut all: Vec<(Weight, usize, Option<&HostPattern>, Option<&PathPattern>)> = Vec::new();
        for (entry, (when, priority)) in matches.iter().enumerate() {
            let hosts = || when.hosts.iter().map(Some).chain(when.hosts.is_empty().then_some(None));
            let paths = || when.paths.iter().map(Some).chain(when.paths.is_empty().then_some(None));
            for (host, path) in hosts().flat_map(|host| paths().map(move |path| (host, path))) {
                let weight = Weight {
                    is_route: entry < routes,
                    priority: *priority,
                    host: host_weight(host),
                    path: path_weight(path),
                    conditions: Conditions::count(when),
                };
                all.push((weight, entry, host, path));
            }
        }
        all.sort_by_key(|(weight, entry, ..)| (Reverse(*weight), *entry));
        let any_host = self.node();
        let mut alternatives = Vec::with_capacity(all.len());
        let mut dots: Option<(u32, u32)> = None;
        for (rank, (_, entry, host, path)) in (0..).zip(all) {
            let root = match host {
                None => any_host,
                Some(HostPattern::Exact(name)) => {
                    Self::entry(&mut self.exact_hosts, &mut self.lists, 0, name.as_bytes())
                }
                Some(HostPattern::Under(parent)) => {
                    let count = parent.bytes().filter(|b| *b == b'.').count() as u32;
                    let (least, most) = dots.unwrap_or((count, count));
                    dots = Some((least.min(count), most.max(count)));
                    Self::entry(&mut self.parents, &mut self.lists, 0, parent.as_bytes())
                }
            };
            let regex = self.place(root, path, rank);
            let is_void = regex.is_none() && matches!(path, Some(PathPattern::Regex(_)));
            alternatives.push(Alternative { entry: entry as u32, path: regex, is_void });
        }
        let (nodes, ranks) = flatten(&self.lists, &self.segments);
        Router {
            entries: entries.into(),
            alternatives: alternatives.into(),
            conditions,
            regexes: self.regexes.build(),
            exact_hosts: self.exact_hosts.build(),
            parents: self.parents.build(),
            parent_dots: dots.unwrap_or((1, 0)),
            any_host,
            segments: self.segments.build(),
            nodes,
            ranks,
        }
    }

    fn node(&mut self) -> u32 {
        self.lists.push(Default::default());
        self.lists.len() as u32 - 1
    }

    fn entry(keys: &mut Keys, lists: &mut Vec<[Vec<u32>; 4]>, parent: u32, key: &[u8]) -> u32 {
        keys.entry(parent, key, || {
            lists.push(Default::default());
            lists.len() as u32 - 1
        })
    }

    /// The node at the end of these segments, which begin with a slash or are empty.
    fn descend(&mut self, root: u32, path: &[u8]) -> u32 {
        let mut segments = path.split(|b| *b == b'/');
        segments.next();
        segments.fold(root, |node, segment| Self::entry(&mut self.segments, &mut self.lists, node, segment))
    }

    /// Puts a rank where its path leads; the expression that must match besides, if there is one.
    fn place(&mut self, root: u32, path: Option<&PathPattern>, rank: u32) -> Option<RegexId> {
        let mut regex = None;
        let (node, list) = match path {
            None => (root, List::Always),
            Some(PathPattern::Exact(path)) => (self.descend(root, path.as_bytes()), List::Exact),
            Some(PathPattern::Prefix(path)) => match path.strip_suffix('/') {
                Some(path) => (self.descend(root, path.as_bytes()), List::Below),
                None => (self.descend(root, path.as_bytes()), List::At),
            },
            Some(PathPattern::Regex(text)) => {
                regex = self.regexes.add(text);
                let literal = pattern::literal_start(text).unwrap_or_default();
                // What it begins with, by whole segments.
                match literal.iter().rposition(|b| *b == b'/') {
                    Some(slash) if literal.first() == Some(&b'/') => {
                        (self.descend(root, &literal[..slash]), List::Below)
                    }
                    _ => (root, List::Always),
                }
            }
        };
        if let Some(lists) = self.lists.get_mut(node as usize) {
            lists[list as usize].push(rank);
        }
        regex
    }
}

fn flatten(lists: &[[Vec<u32>; 4]], segments: &Keys) -> (Box<[Node]>, Box<[u32]>) {
    let mut ranks = Vec::new();
    let mut nodes: Vec<Node> = lists
        .iter()
        .map(|lists| {
            let mut node = Node { best: lists.iter().flatten().copied().min().unwrap_or(NONE), ..Node::default() };
            for (range, list) in node.lists.iter_mut().zip(lists) {
                let start = ranks.len() as u32;
                ranks.extend_from_slice(list);
                *range = (start, ranks.len() as u32);
            }
            node
        })
        .collect();
    // A node is made after its parent, so from the last to the first each is complete when it is looked at.
    let mut parents: Vec<(u32, u32)> = segments.links().collect();
    parents.sort_unstable_by_key(|(_, child)| Reverse(*child));
    for (parent, child) in parents {
        let best = nodes.get(child as usize).map_or(NONE, |node| node.best);
        if let Some(node) = nodes.get_mut(parent as usize) {
            node.best = node.best.min(best);
        }
    }
    (nodes.into(), ranks.into())
}
