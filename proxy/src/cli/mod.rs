//! The command line: what may be typed, and what each command does.

mod args;
mod check;
mod client;
mod orders;
mod table;

use crate::{
    control::run::{Setup, run},
    demo,
    exit::{Exit, Failure},
    source::{Chosen, Origin},
};
use args::{Cli, Command, ConfigCommand, Environment, RunArgs};
use balance_config::{reference, schema};
use clap::Parser;
use serde_json::{Value, json};
use std::{io::Write, process::ExitCode};

/// The version of the program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the program. Usage errors end it with 2 inside.
pub fn main() -> ExitCode {
    match dispatch(Cli::parse(), &Environment::of_process()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.exit.code())
        }
    }
}

fn dispatch(cli: Cli, env: &Environment) -> Result<(), Failure> {
    match cli.command {
        None if cli.dump => check::dump(&cli.run, env),
        None if cli.check => check::check(&cli.run, env, check::Format::Text, check::Strictness::Errors),
        None => start(cli.run, env),
        Some(Command::Run(args)) => start(*args, env),
        Some(Command::Check(args)) => args.check(env),
        Some(Command::Config { command }) => config(&command, env),
        Some(Command::Reload(args)) => orders::reload(&args.at, env),
        Some(Command::Drain(args)) => orders::drain(&args, env),
        Some(Command::Status(args)) => orders::status(&args, env),
        Some(Command::Version(args)) => version(args.json),
        Some(Command::Bench { what }) => balance_bench::run(&what).map_err(bench_failure),
    }
}

fn config(command: &ConfigCommand, env: &Environment) -> Result<(), Failure> {
    match command {
        ConfigCommand::Show(args) => args.show(env),
        ConfigCommand::Schema => print(&schema::render()),
        ConfigCommand::Reference => print(&reference::render()),
    }
}

fn start(args: RunArgs, env: &Environment) -> Result<(), Failure> {
    let origin = match args.origin(env)? {
        Some(origin) => origin,
        None => {
            let backends =
                demo::start().map_err(|e| Failure::runtime(format!("the demo backends cannot start: {e}")))?;
            Origin::Demo { pages: backends.pages, echo: backends.echoes }
        }
    };
    let chosen = Chosen { origin, overrides: args.overrides(env) };
    run(Setup { chosen, uring_without: args.uring_without })
}

fn bench_failure(failure: balance_bench::Failure) -> Failure {
    let exit = match failure.kind {
        balance_bench::FailureKind::Usage => Exit::Usage,
        balance_bench::FailureKind::OsFeature => Exit::OsFeature,
        balance_bench::FailureKind::Interrupted => Exit::Interrupted,
        balance_bench::FailureKind::Runtime => Exit::Runtime,
    };
    Failure::new(exit, failure.message)
}

fn version(as_json: bool) -> Result<(), Failure> {
    if as_json { print(&format!("{}\n", version_json())) } else { print(&format!("balance-shard {VERSION}\n")) }
}

/// What `version --json` and `/version` say.
pub(crate) fn version_json() -> Value {
    json!({
        "name": "balance-shard",
        "version": VERSION,
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "debug": cfg!(debug_assertions),
    })
}

/// Writes an answer to standard output. A reader that has seen enough (`| head`) is fine.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::runtime(format!("cannot write the answer: {e}")))
        }
        _ => Ok(()),
    }
}

fn complain(failure: &Failure) {
    let text = failure.to_string();
    if text.is_empty() {
        return;
    }
    // Diagnostics of a configuration say themselves what they are.
    let prefix = if text.starts_with("error") || text.starts_with("warning") { "" } else { "error: " };
    let _ = writeln!(std::io::stderr(), "{prefix}{text}");
}
