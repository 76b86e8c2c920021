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

pub(super) fn check(args: &RunArgs, env: &Environment, format: Format, strictness: Strictness) -> Result<(), Failure> {
    let chosen = chosen(args, env)?;
    let outcome = chosen.load();
    let (warnings, report) = match &outcome {
        Ok(loaded) => (loaded.warnings.as_slice(), None),
        Err(report) => (&[][..], Some(report)),
    };
    let failed = report.is_some() || (strictness == Strictness::Warnings && !warnings.is_empty());
    match format {
        Format::Json => super::print(&format!("{}\n", as_json(!failed, warnings, report)))?,
        Format::Text => as_text(&chosen.name(), &outcome, failed)?,
    }
    // Everything is said.
    if failed { Err(Failure::new(Exit::Config, "")) } else { Ok(()) }
}

fn as_text(name: &str, outcome: &Result<Loaded, Report>, failed: bool) -> Result<(), Failure> {
    let mut err = std::io::stderr().lock();
    // Nobody may be there to read it; the exit code says the same.
    match outcome {
        Err(report) => {
            let _ = write!(err, "{report}");
        }
        Ok(loaded) => {
            for warning in &loaded.warnings {
                let _ = writeln!(err, "{warning}\n");
            }
            if failed {
                let _ = writeln!(err, "{name}: refused, because warnings count as errors here");
                return Ok(());
            }
            let (listeners, clusters) = (loaded.config.listeners.len(), loaded.config.clusters.len());
            super::print(&format!("{name}: ok ({listeners} listeners, {clusters} clusters)\n"))?;
        }
    }
    Ok(())
}

fn as_json(ok: bool, warnings: &[Diagnostic], report: Option<&Report>) -> Value {
    let all = warnings.iter().chain(report.iter().flat_map(|r| &r.diagnostics));
    json!({
        "ok": ok,
        "diagnostics": all.map(diagnostic).collect::<Vec<_>>(),
        "omitted": report.map_or(0, |r| r.omitted),
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

/// Tests and prints the configuration, as `nginx -T` does.
pub(super) fn dump(args: &RunArgs, env: &Environment) -> Result<(), Failure> {
    check(args, env, Format::Text, Strictness::Errors)?;
    show(args, env, true)
}

pub(super) fn show(args: &RunArgs, env: &Environment, provenance: bool) -> Result<(), Failure> {
    let loaded = chosen(args, env)?.load().map_err(|report| Failure::config(report.to_string()))?;
    let mut text = effective::render(&loaded);
    if provenance {
        text += &origins(&loaded);
    }
    super::print(&text)
}

fn origins(loaded: &Loaded) -> String {
    loaded.provenance.iter().map(|(path, origin)| format!("# {path}: {origin}\n")).collect()
}

fn chosen(args: &RunArgs, env: &Environment) -> Result<Chosen, Failure> {
    let origin: Option<Origin> = args.origin(env)?;
    let origin =
        origin.ok_or_else(|| Failure::usage("no configuration is named: give --config FILE, or set BALANCE_CONFIG"))?;
    Ok(Chosen { origin, overrides: args.overrides(env) })
}
