//! Results as a page of HTML: one file with its style and its plots in it, which asks nothing of any network and runs
//! no script.
//!
//! `html` is text, `axis`, `lines` and `bars` are pictures of numbers; `run` and `duel` say what is shown of which.

mod axis;
mod bars;
mod duel;
mod html;
mod lines;
mod run;

use crate::{
    compare,
    failure::Failure,
    report::Report,
    results::{self, Duel, File, Run},
};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// What --json wrote; runs are plotted beside each other and compared with the first of them
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The page to write
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
}

/// `balance-shard bench report`.
pub(crate) fn command(args: &ReportArgs) -> Result<(), Failure> {
    results::write(&args.html, &of_files(&results::read_all(&args.files)?)?)
}

/// # Errors
/// Results of two kinds, or several duels: they are compared by figures, not by pictures.
fn of_files(files: &[File]) -> Result<String, Failure> {
    if let [File::Duel(duel)] = files {
        return Ok(of_duel(duel));
    }
    let run = |file: &File| match file {
        File::Run(run) => Some((**run).clone()),
        File::Duel(_) => None,
    };
    let runs: Option<Vec<Run>> = files.iter().map(run).collect();
    let runs = runs.ok_or_else(|| Failure::usage("a page shows one duel, or runs; see bench compare for duels"))?;
    of_runs(&runs)
}

pub(crate) fn of_duel(duel: &Duel) -> String {
    duel::page(duel)
}

/// # Errors
/// None for runs.
pub(crate) fn of_runs(runs: &[Run]) -> Result<String, Failure> {
    let files: Vec<File> = runs.iter().map(|run| File::Run(Box::new(run.clone()))).collect();
    Ok(run::page(runs, &compare::all(&files)?))
}

/// Of a run that has just ended, named for where it went.
///
/// # Errors
/// None for what we write ourselves.
pub(crate) fn of_report(report: &Report) -> Result<String, Failure> {
    let to: Vec<String> = report.proxy.plan.targets.iter().map(ToString::to_string).collect();
    let run = Run::read(&to.join(","), &report.json()).map_err(|why| Failure::runtime(format!("no page: {why}")))?;
    of_runs(&[run])
}

/// What was measured where, in one line.
fn place(machine: &serde_json::Value, version: &str, commit: Option<&str>) -> String {
    let mut parts = Vec::new();
    if let Some(cpu) = machine["cpu"].as_str() {
        parts.push(cpu.to_owned());
    }
    if let Some(cores) = machine["cores"].as_u64() {
        parts.push(format!("{cores} cores"));
    }
    if let Some(kernel) = machine["kernel"].as_str() {
        parts.push(format!("Linux {kernel}"));
    }
    parts.push(format!("balance-shard {version}{}", commit.map_or_else(String::new, |c| format!(" ({c})"))));
    parts.join(" · ")
}

#[cfg(test)]
mod tests;
