//! Values from environment variables and flags, matched with the keys they are meant for.

use std::collections::BTreeMap;

use super::{
    Override,
    findings::Findings,
    source::{Place, Source},
};
use crate::{
    diagnostic::quoted,
    env::Env,
    keys::{Kind, SECTIONS},
    provenance::Origin,
    suggest,
};

const PREFIX: &str = "BALANCE__";

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
) -> BTreeMap<String, Given> {
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
    paths: &[String],
    findings: &mut Findings,
    given: &mut BTreeMap<String, Given>,
) {
    let mut by_variable: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for path in paths {
        by_variable.entry(variable(path)).or_default().push(path);
    }
    for (name, value) in variables {
        let source = add(findings, format!("environment variable {name}"), format!("{name}={value}"));
        let place = Place { source, range: Some(name.len() + 1..name.len() + 1 + value.len()) };
        match by_variable.get(&name.to_ascii_uppercase()).map(Vec::as_slice) {
            Some([path]) => {
                given.insert((*path).to_owned(), Given { value, place, origin: Origin::Env(name) });
            }
            Some(several) => {
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

fn from_flags(flags: &[Override], paths: &[String], findings: &mut Findings, given: &mut BTreeMap<String, Given>) {
    for flag in flags {
        let source = add(findings, flag.origin.clone(), format!("{} {}", flag.origin, flag.value));
        let start = flag.origin.len() + 1;
        let place = Place { source, range: Some(start..start + flag.value.len()) };
        if paths.binary_search(&flag.path).is_ok() {
            let origin = Origin::Flag(flag.origin.clone());
            given.insert(flag.path.clone(), Given { value: flag.value.clone(), place, origin });
        } else {
            unknown(findings, source, &flag.path, paths.iter().map(String::as_str));
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

/// Every path that can be given, sorted. Names are who they are and cannot be.
fn paths(names: &Names) -> Vec<String> {
    let mut paths = Vec::new();
    for section in SECTIONS.iter().filter(|section| !section.path.ends_with("endpoints[]")) {
        let keys = section.keys.iter().filter(|key| !matches!(key.kind, Kind::Name));
        for key in keys {
            match section.path {
                "listeners[]" => paths.extend(names.listeners.iter().map(|n| format!("listeners.{n}.{}", key.name))),
                "clusters.*" => paths.extend(names.clusters.iter().map(|n| format!("clusters.{n}.{}", key.name))),
                path => paths.push(format!("{path}.{}", key.name)),
            }
        }
    }
    paths.sort();
    paths.dedup();
    paths
}

/// The variable that stands for a path: dots that separate become `__`, and what shells do not take becomes `_`.
pub fn variable(path: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    // A name may have dots of its own; only the first and the last dot of a path separate.
    let separated = match (path.split_once('.'), path.rsplit_once('.')) {
        (Some((section, rest)), Some((_, key))) if rest != key && matches!(section, "listeners" | "clusters") => {
            vec![section, &rest[..rest.len() - key.len() - 1], key]
        }
        _ => path.split('.').collect(),
    };
    let parts: Vec<String> = separated.iter().map(|part| part.chars().map(allowed).collect()).collect();
    format!("{PREFIX}{}", parts.join("__"))
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
    }
}
