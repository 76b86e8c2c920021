//! The load generator behind `balance-shard bench`, and the servers to point it at, on the engine's own shards.
//!
//! Reading order: [`cli`] says what can be asked; `plan` is what was asked, checked; `load` runs it (its controller on
//! the calling thread, `load::shard` on every core); `pattern` makes bytes that prove themselves; `tally` counts;
//! `report` prints. `peers` are the servers. `micro` times parts of the engine by themselves; a file each. `duel` lets
//! proxies take turns under the same load, each a process of its own; `results` reads what was saved of runs and duels,
//! `compare` sets runs beside each other, `page` plots.
//!
//! Invariants:
//! * A shard shares nothing with another while it measures; counts meet after the run.
//! * Every byte that comes back is compared, unless the user says that the peer has bytes of its own.
//! * Every exchange that began is either answered, or counted as an error, or as unfinished.
#![forbid(unsafe_code)]

mod account;
mod alarms;
mod bootstrap;
pub mod cli;
mod compare;
mod cpu;
mod duel;
mod failure;
mod files;
mod find_max;
mod hdr;
mod http;
mod interrupt;
mod latency;
mod load;
mod machine;
pub mod micro;
mod page;
mod pattern;
mod peers;
mod plan;
mod progress;
mod report;
mod results;
mod scratch;
mod series;
mod stats;
mod tally;
mod threads;
mod values;

pub use failure::{Failure, FailureKind};

/// Tests count what is asked of it.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: balance_engine::testing::CountingAllocator = balance_engine::testing::CountingAllocator;

/// Runs `balance-shard bench …` to its end. Answers go to standard output.
///
/// # Errors
/// Says in words what is wrong, and of which family it is: the command line, the system, or what was measured.
pub fn run(args: &cli::Args) -> Result<(), Failure> {
    balance_engine::os::raise_nofile();
    match args {
        cli::Args::Tcp(args) => load::tcp(args),
        cli::Args::Http(args) => load::http(args),
        cli::Args::Latency(args) => latency::command(args),
        cli::Args::FindMax(args) => find_max::command(args),
        cli::Args::Backend(args) => peers::backend(args),
        cli::Args::Echo(args) => peers::command(peers::Kind::ECHO, args),
        cli::Args::Source(args) => peers::command(peers::Kind::SOURCE, args),
        cli::Args::Sink(args) => peers::command(peers::Kind::SINK, args),
        cli::Args::Micro(args) => micro::command(args),
        cli::Args::Duel(args) => duel::command(args),
        cli::Args::Compare(args) => compare::command(args),
        cli::Args::Report(args) => page::command(args),
    }
}
