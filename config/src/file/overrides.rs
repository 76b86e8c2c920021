//! Values from environment variables and flags, matched with the keys they are meant for.

use std::{collections::BTreeMap, fmt};

use super::{
    Override,
    findings::Findings,
    source::{Place, Source},
};
use crate::{
    diagnostic::quoted,
    env::Env,
    keys::{CLUSTERS, Key, Kind, LISTENERS, SECTIONS, Section},
    provenance::Origin,
    suggest,
};

const PREFIX: &str = "BALANCE__";

/// Which key is meant: the table that has a name, `runtime` or `listeners.web`, and the way from there, `cores` or
/// `per_ip.rate`. Kept apart, because a name may have dots of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path {
    owner: String,
    /// Empty for the table itself.
    way: String,
}

impl Path {
    pub(crate) fn of(owner: String) -> Self {
        Self { owner, way: String::new() }
    }

    pub(crate) fn key(&self, name: &str) -> Self {
        let way = if self.way.is_empty() { name.to_owned() } else { format!("{}.{name}", self.way) };
        Self { owner: self.owner.clone(), way }
    }

    pub(crate) fn item(&self, index: usize) -> Self {
        Self { owner: self.owner.clone(), way: format!("{}[{index}]", self.way) }
    }

    /// True when this is a key of the table at `outer`, or deeper.
    pub(crate) fn is_in(&self, outer: &Self) -> bool {
        let rest = self.way.strip_prefix(&*outer.way);
        self.owner == outer.owner && rest.is_some_and(|rest| rest.starts_with('.'))
    }

    /// The variable that stands for this: what separates becomes `__`, and what shells do not take becomes `_`.
    fn variable(&self) -> String {
        let allowed = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let named = self.owner.split_once('.').filter(|(kind, _)| matches!(*kind, "listeners" | "clusters"));
        let mut parts: Vec<&str> = match named {
            Some((kind, name)) => vec![kind, name],
            None => self.owner.split('.').collect(),
        };
        parts.extend(self.way.split('.'));
        let parts: Vec<String> = parts.into_iter().map(|part| part.chars().map(allowed).collect()).collect();
        format!("{PREFIX}{}", parts.join("__"))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.owner)?;
        if self.way.is_empty() { Ok(()) } else { write!(f, ".{}", self.way) }
    }
}

/// A value that beats the file.
pub(crate) struct Given {
    pub(crate) value: String,
    pub(crate) place: Place,
    pub(crate) origin: Origin,
}

/// The names that the file defines, which paths go through.
pub(crate) struct Names {
    pub(crate) listeners: Vec<String>,
    pub(crate) clusters: Vec<String>,
}

/// What is given for each path. What matches no path has been reported.
pub(crate) fn resolve(
    names: &Names,
    env: &dyn Env,
    flags: &[Override],
    findings: &mut Findings,
) -> BTreeMap<Path, Given> {
    let mut variables: Vec<_> = env.vars().into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    variables.sort();
    let mut given = BTreeMap::new();
    if variables.is_empty() && flags.is_empty() {
        return given;
    }
    let paths = paths(names);
    from_variables(variables, &paths, findings, &mut given);
    // Later wins: a flag over a variable, the last of two flags over the first.
    from_flags(flags, &paths, findings, &mut given);
    given
}

fn from_variables(
    variables: Vec<(String, String)>,
    paths: &[Path],
    findings: &mut Findings,
    given: &mut BTreeMap<Path, Given>,
) {
    let mut by_variable: BTreeMap<String, Vec<&Path>> = BTreeMap::new();
    for path in paths {
        by_variable.entry(path.variable()).or_default().push(path);
    }
    for (name, value) in variables {
        let source = add(findings, format!("environment variable {name}"), format!("{name}={value}"));
        let place = Place { source, range: Some(name.len() + 1..name.len() + 1 + value.len()) };
        match by_variable.get(&name.to_ascii_uppercase()).map(Vec::as_slice) {
            Some([path]) => {
                given.insert((*path).clone(), Given { value, place, origin: Origin::Env(name) });
            }
            Some(several) => {
                let several: Vec<String> = several.iter().map(ToString::to_string).collect();
                let message = format!("{name} could mean {}", several.join(" or "));
                findings.error(
                    Place { source, range: Some(0..name.len()) },
                    message,
                    Some("rename one of them".to_owned()),
                );
            }
            None => unknown(findings, source, &name, by_variable.keys().map(String::as_str)),
        }
    }
}

fn from_flags(flags: &[Override], paths: &[Path], findings: &mut Findings, given: &mut BTreeMap<Path, Given>) {
    if flags.is_empty() {
        return;
    }
    let mut by_name: BTreeMap<String, Vec<&Path>> = BTreeMap::new();
    for path in paths {
        by_name.entry(path.to_string()).or_default().push(path);
    }
    for flag in flags {
        let source = add(findings, flag.origin.clone(), format!("{} {}", flag.origin, flag.value));
        let start = flag.origin.len() + 1;
        let place = Place { source, range: Some(start..start + flag.value.len()) };
        match by_name.get(&flag.path).map(Vec::as_slice) {
            Some([path]) => {
                let origin = Origin::Flag(flag.origin.clone());
                given.insert((*path).clone(), Given { value: flag.value.clone(), place, origin });
            }
            Some(_) => {
                let message = format!("{} is the path of two keys", quoted(&flag.path));
                findings.error(place, message, Some("rename one of the two that share it".to_owned()));
            }
            None => unknown(findings, source, &flag.path, by_name.keys().map(String::as_str)),
        }
    }
}

fn add(findings: &mut Findings, name: String, text: String) -> usize {
    findings.sources.push(Source::one_line(name, text));
    findings.sources.len() - 1
}

fn unknown<'a>(findings: &mut Findings, source: usize, name: &str, known: impl Iterator<Item = &'a str>) {
    if findings.is_broken() {
        // The listener or cluster it is for may be in the part that could not be read.
        return;
    }
    let help = findings.suggest(|| suggest::nearest(name, known).map(|name| format!("did you mean {name}?")));
    let help = help.or_else(|| Some("it is named after a key and, for listeners and clusters, their name".to_owned()));
    findings.error(
        Place { source, range: None },
        format!("{} matches no key of the configuration", quoted(name)),
        help,
    );
}

/// Every path that can be given. Names are who they are and cannot be.
fn paths(names: &Names) -> Vec<Path> {
    let mut paths = Vec::new();
    for section in SECTIONS.iter().filter(|section| !section.is_nested()) {
        let ways = ways(section);
        let owners: Vec<String> = match section.path {
            "listeners[]" => names.listeners.iter().map(|name| format!("listeners.{name}")).collect(),
            "clusters.*" => names.clusters.iter().map(|name| format!("clusters.{name}")).collect(),
            path => vec![path.to_owned()],
        };
        for owner in owners {
            paths.extend(ways.iter().map(|way| Path { owner: owner.clone(), way: way.clone() }));
        }
    }
    paths.sort();
    // Two listeners of one name are an error of their own.
    paths.dedup();
    paths
}

/// The ways from a section to keys that can be given, through the tables in it. Lists of tables have no names to go by.
fn ways(section: &Section) -> Vec<String> {
    let of_key = |key: &Key| match key.kind {
        Kind::Name | Kind::Tables { .. } => Vec::new(),
        Kind::Table(inner) => ways(inner).into_iter().map(|way| format!("{}.{way}", key.name)).collect(),
        _ => vec![key.name.to_owned()],
    };
    section.keys.iter().flat_map(of_key).collect()
}

/// The variable that stands for a path such as `runtime.cores`, `listeners.web.bind` or `clusters.app.queue.size`.
pub fn variable(path: &str) -> String {
    split(path).variable()
}

/// A name may have dots of its own: it ends before the longest way that leads to a key.
fn split(path: &str) -> Path {
    let of = |owner: &str, way: &str| Path { owner: owner.to_owned(), way: way.to_owned() };
    let named = [("listeners.", &LISTENERS), ("clusters.", &CLUSTERS)];
    if let Some((_, section)) = named.iter().find(|(start, _)| path.starts_with(start)) {
        let fits = |way: &String| path.strip_suffix(&**way).is_some_and(|owner| owner.ends_with('.'));
        if let Some(way) = ways(section).into_iter().filter(fits).max_by_key(String::len) {
            return of(&path[..path.len() - way.len() - 1], &way);
        }
    }
    path.rsplit_once('.').map_or_else(|| of(path, ""), |(owner, way)| of(owner, way))
}

#[cfg(test)]
mod tests {
    use super::variable;

    #[test]
    fn paths_have_variables() {
        assert_eq!(variable("runtime.cores"), "BALANCE__RUNTIME__CORES");
        assert_eq!(variable("performance.shard.max_tasks"), "BALANCE__PERFORMANCE__SHARD__MAX_TASKS");
        assert_eq!(variable("clusters.my-app.v2.connect_timeout"), "BALANCE__CLUSTERS__MY_APP_V2__CONNECT_TIMEOUT");
        assert_eq!(variable("listeners.web.bind"), "BALANCE__LISTENERS__WEB__BIND");
        assert_eq!(variable("listeners.a.b.per_ip.rate"), "BALANCE__LISTENERS__A_B__PER_IP__RATE");
        assert_eq!(variable("clusters.app.queue.size"), "BALANCE__CLUSTERS__APP__QUEUE__SIZE");
    }
}
