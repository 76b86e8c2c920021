//! What CI runs, and what a desk runs: `cargo ci`.
//!
//! The stages go from cheap to dear and the first that fails ends the run. Everything goes through the std library, so
//! that a fresh machine builds this program in a few seconds.
#![forbid(unsafe_code)]

mod pages;
mod process;
mod smoke;
mod stages;
mod tidy;
mod tree;

use stages::STAGES;
use std::process::ExitCode;

const HELP: &str = "\
cargo ci [STAGE ...]

Without a stage, all of the first list, in this order; the first that fails ends the run.
";

/// As `balance-shard`: what the user typed is wrong.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|a| a == "--help" || a == "-h" || a == "help") {
        print!("{HELP}\n{}", stages::list());
        return ExitCode::SUCCESS;
    }
    let root = match tree::workspace_root() {
        Ok(root) => root,
        Err(e) => {
            eprintln!("cargo ci: {e}");
            return ExitCode::FAILURE;
        }
    };
    let chosen: Result<Vec<_>, _> = if arguments.is_empty() {
        Ok(STAGES.iter().collect())
    } else {
        arguments.iter().map(|a| stages::find(a).ok_or(a)).collect()
    };
    match chosen {
        Ok(chosen) => stages::run(&root, &chosen),
        Err(unknown) => {
            eprintln!("cargo ci: there is no stage `{unknown}`\n\n{}", stages::list());
            ExitCode::from(EXIT_USAGE)
        }
    }
}
