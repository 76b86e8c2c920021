//! The stages of CI, from cheap to dear.

use crate::{pages, process, smoke, tidy, tree};
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

/// One step of CI. It prints what it does; an error says in one sentence what failed.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    what: &'static str,
    run: fn(&Path) -> Result<(), String>,
}

pub(crate) const STAGES: &[Stage] = &[
    Stage { name: "fmt", what: "the formatting of rustfmt.toml", run: fmt },
    Stage { name: "tidy", what: "house rules that no lint knows", run: tidy::run },
    Stage { name: "clippy", what: "lints, all targets, a warning is an error", run: clippy },
    Stage { name: "test", what: "every test of the workspace", run: test },
    Stage { name: "examples", what: "every example configuration passes `balance-shard check`", run: examples },
    Stage { name: "peers", what: "the rivals' workspace: it formats, builds and passes its tests", run: peers },
    Stage { name: "pages", what: "result pages are rendered by chromium, where it is installed", run: pages::run },
    Stage { name: "smoke", what: "the README's commands, as a user would run them", run: smoke::run },
];

/// Run when they are named: they take long, or something that not every machine has.
pub(crate) const ON_DEMAND: &[Stage] = &[Stage {
    name: "costs",
    what: "allocations and instructions of the data path's parts against their limits; wants valgrind",
    run: costs,
}];

pub(crate) fn find(name: &str) -> Option<&'static Stage> {
    STAGES.iter().chain(ON_DEMAND).find(|stage| stage.name == name)
}

pub(crate) fn list() -> String {
    let line = |mut out: String, stage: &Stage| {
        writeln!(out, "  {:<9} {}", stage.name, stage.what).expect("writing to a String cannot fail");
        out
    };
    let all = STAGES.iter().fold(String::from("Stages:\n"), line);
    ON_DEMAND.iter().fold(all + "\nOnly when named:\n", line)
}

pub(crate) fn run(root: &Path, stages: &[&Stage]) -> ExitCode {
    let mut took = Vec::new();
    for stage in stages {
        println!("\n=== {}: {}", stage.name, stage.what);
        let start = now();
        if let Err(reason) = (stage.run)(root) {
            println!("\n=== {} FAILED after {}\n{reason}", stage.name, seconds(now() - start));
            println!("To repeat only this stage: cargo ci {}", stage.name);
            return ExitCode::FAILURE;
        }
        let elapsed = now() - start;
        println!("=== {} ok in {}", stage.name, seconds(elapsed));
        took.push((stage.name, elapsed));
    }
    println!();
    for (name, elapsed) in &took {
        println!("{name:<9} {:>9}", seconds(*elapsed));
    }
    println!("all       {:>9}\ncargo ci: passed", seconds(took.iter().map(|(_, elapsed)| *elapsed).sum()));
    ExitCode::SUCCESS
}

/// The one clock of this program.
#[expect(clippy::disallowed_methods, reason = "CI measures its own stages; there is no shard here")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

fn seconds(d: Duration) -> String {
    format!("{:.1} s", d.as_secs_f64())
}

fn fmt(root: &Path) -> Result<(), String> {
    process::cargo(root, &["fmt", "--all", "--check"])
}

fn clippy(root: &Path) -> Result<(), String> {
    process::cargo(root, &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

/// `--no-fail-fast`: who waited for the build wants every failure, not the first.
fn test(root: &Path) -> Result<(), String> {
    process::cargo(root, &["test", "--locked", "--workspace", "--no-fail-fast"])
}

/// `bench/peers` is a workspace of its own, so none of the other stages sees it.
fn peers(root: &Path) -> Result<(), String> {
    let peers = root.join("bench/peers");
    process::cargo(&peers, &["fmt", "--all", "--check"])?;
    process::cargo(&peers, &["test", "--release", "--locked", "--workspace"])
}

fn costs(root: &Path) -> Result<(), String> {
    process::cargo(root, &["bench", "--locked", "--package", "balance-proxy", "--bench", "costs", "--", "--check"])
}

/// The example files, and the configurations printed in the README, which people copy.
fn examples(root: &Path) -> Result<(), String> {
    let mut files = example_files(root)?;
    let readme = tree::read(root, "README.md")?;
    let scratch = tree::Scratch::new()?;
    for (index, block) in tidy::markdown::fenced(&readme, "toml").into_iter().enumerate() {
        files.push(scratch.write(&format!("readme-{}.toml", index + 1), &block)?);
    }
    process::cargo(root, &["build", "--locked", "--package", "balance-proxy"])?;
    for file in &files {
        let file = file.to_str().ok_or("the name of an example is not UTF-8")?;
        process::cargo(root, &["run", "--quiet", "--locked", "--package", "balance-proxy", "--", "check", "-c", file])?;
    }
    println!("{} configurations are valid", files.len());
    Ok(())
}

fn example_files(root: &Path) -> Result<Vec<PathBuf>, String> {
    let directory = root.join("config/examples");
    let entries = fs::read_dir(&directory).map_err(|e| format!("config/examples: {e}"))?;
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.map(|e| e.path()).map_err(|e| format!("config/examples: {e}")))
        .collect::<Result<_, _>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    files.sort();
    if files.is_empty() {
        return Err("config/examples holds no .toml file".into());
    }
    Ok(files)
}
