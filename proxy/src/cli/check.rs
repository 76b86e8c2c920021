//! `check`, `-t`, `-T` and `config show`: the configuration without running it.

use super::args::{Environment, RunArgs};
use crate::{
    exit::{Exit, Failure},
    source::{Chosen, Origin, Source},
};
use balance_config::{
    diagnostic::{Diagnostic, Report},
    effective,
    file::Loaded,
};
use clap::ValueEnum;
use serde_json::{Value, json};
use std::io::Write;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

/// What makes a check fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    Errors,
    Warnings,
}

type Outcome = Result<Loaded, Report>;

/// Tests each configuration by itself, and fails when one of them does.
pub(super) fn check(
    all: &[&RunArgs],
    env: &Environment,
    format: Format,
    strictness: Strictness,
) -> Result<(), Failure> {
    let mut any_failed = false;
    let mut outcomes = Vec::new();
    for args in all {
        let chosen = chosen(args, env)?;
        let outcome = chosen.load();
        let failed =
            outcome.as_ref().map_or(true, |loaded| strictness == Strictness::Warnings && !loaded.warnings.is_empty());
        any_failed |= failed;
        match format {
            Format::Json => outcomes.push(outcome),
            Format::Text => as_text(&chosen.name(), &outcome, failed)?,
        }
    }
    if format == Format::Json {
        super::print(&format!("{}\n", as_json(!any_failed, &outcomes)))?;
    }
    // Everything is said.
    if any_failed { Err(Failure::new(Exit::Config, "")) } else { Ok(()) }
}

fn as_text(name: &str, outcome: &Outcome, failed: bool) -> Result<(), Failure> {
    let mut err = std::io::stderr().lock();
    // Nobody may be there to read it; the exit code says the same.
    match outcome {
        Err(report) => drop(write!(err, "{report}")),
        Ok(loaded) => {
            drop(err);
            warn(loaded);
            let config = &loaded.config;
            let count = |n: usize, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
            let what = [count(config.listeners.len(), "listener"), count(config.clusters.len(), "cluster")].join(", ");
            if failed {
                drop(writeln!(std::io::stderr(), "{name}: refused, because warnings count as errors here"));
            } else {
                super::print(&format!("{name}: ok ({what})\n"))?;
            }
        }
    }
    Ok(())
}

fn as_json(ok: bool, outcomes: &[Outcome]) -> Value {
    let found = |outcome: &'_ Outcome| match outcome {
        Ok(loaded) => loaded.warnings.iter().map(diagnostic).collect::<Vec<_>>(),
        Err(report) => report.diagnostics.iter().map(diagnostic).collect(),
    };
    json!({
        "ok": ok,
        "diagnostics": outcomes.iter().flat_map(found).collect::<Vec<_>>(),
        "omitted": outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).map(|r| r.omitted).sum::<usize>(),
    })
}

fn diagnostic(from: &Diagnostic) -> Value {
    json!({
        "severity": from.severity.to_string(),
        "file": from.file,
        "line": from.line,
        "column": from.column,
        "message": from.message,
        "help": from.help,
    })
}

/// Tests and prints the configuration, as `nginx -T` does. Standard output holds nothing but TOML.
pub(super) fn dump(args: &RunArgs, env: &Environment) -> Result<(), Failure> {
    let loaded = load(args, env)?;
    warn(&loaded);
    super::print(&effective::render(&loaded))
}

pub(super) fn show(args: &RunArgs, env: &Environment, provenance: bool) -> Result<(), Failure> {
    let text = effective::render(&load(args, env)?);
    if provenance { super::print(&text) } else { super::print(&without_origins(&text)) }
}

fn load(args: &RunArgs, env: &Environment) -> Result<Loaded, Failure> {
    chosen(args, env)?.load().map_err(|report| Failure::config(report.to_string()))
}

fn warn(loaded: &Loaded) {
    let mut err = std::io::stderr().lock();
    for warning in &loaded.warnings {
        // Nobody may be there to read it.
        let _ = writeln!(err, "{warning}\n");
    }
}

/// The same text without the comment at the end of a line that says where its value comes from.
fn without_origins(text: &str) -> String {
    let is_origin = |comment: &str| {
        comment == "default" || ["file:", "env ", "flag "].iter().any(|start| comment.starts_with(start))
    };
    let line = |line: &str| match line.rsplit_once(" # ") {
        // Inside a string a comment cannot be the end of the line: a quote follows.
        Some((value, comment)) if is_origin(comment) && !comment.contains('"') => format!("{}\n", value.trim_end()),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn chosen(args: &RunArgs, env: &Environment) -> Result<Chosen, Failure> {
    let origin: Option<Origin> = args.origin(env)?;
    let origin =
        origin.ok_or_else(|| Failure::usage("no configuration is named: give --config FILE, or set BALANCE_CONFIG"))?;
    Ok(Chosen { origin, overrides: args.overrides(env) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_are_cut_off() {
        let text = "# The file # default x\na = 1      # default\nb = [\n  \"x # default\",\n]  # file:9\nc = \"y # z\"  # env A\n";
        let cut = "# The file # default x\na = 1\nb = [\n  \"x # default\",\n]\nc = \"y # z\"\n";
        assert_eq!(without_origins(text), cut);
    }
}
