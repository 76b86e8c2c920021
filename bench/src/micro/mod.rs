//! Parts of the engine, timed by themselves beside plain ways to do the same.
//!
//! A part is a file here that makes [`Case`]s; its line in [`Part`] and in [`Part::cases`] is all that it takes to be
//! run, printed and tested. `frame` runs the rounds, `table` prints what came out.
//!
//! Invariants:
//! * The candidates of a case do the same work, and prove it: each call ends with an answer, and all of them agree.
//! * In every round every candidate has its turn, so that a slow moment of the machine hits all of them.
//! * What is built or cleared away for a call is not timed.
//!
//! `cargo bench` runs the same cases, in `proxy/benches`: by criterion for their times, and for what they cost in
//! allocations and instructions.

mod buffers;
mod frame;
mod interner;
mod mailbox;
mod relay;
mod slab;
mod table;
mod tasks;
mod timers;

pub use frame::{Call, Candidate, Case, CaseResult, Effort, Figures, Stopwatch, measure};

use crate::{cli::MicroArgs, failure::Failure, report};
use balance_engine::cores;
use clap::ValueEnum;
use table::Suite;

/// What can be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Header names to ids
    Interner,
    /// The timer wheel
    Timers,
    /// The buffer pool
    Buffers,
    /// Rows that come and go, in the slab of every table
    Slab,
    /// Tasks that begin and end
    Tasks,
    /// Messages to a shard
    Mailbox,
    /// TCP messages through buffers of the pool, or of the allocator
    Relay,
}

impl Part {
    pub const ALL: [Self; 7] =
        [Self::Interner, Self::Timers, Self::Buffers, Self::Slab, Self::Tasks, Self::Mailbox, Self::Relay];

    pub fn name(self) -> &'static str {
        match self {
            Self::Interner => "interner",
            Self::Timers => "timers",
            Self::Buffers => "buffers",
            Self::Slab => "slab",
            Self::Tasks => "tasks",
            Self::Mailbox => "mailbox",
            Self::Relay => "relay",
        }
    }

    pub fn cases(self) -> Vec<Case> {
        match self {
            Self::Interner => interner::cases(),
            Self::Timers => timers::cases(),
            Self::Buffers => buffers::cases(),
            Self::Slab => slab::cases(),
            Self::Tasks => tasks::cases(),
            Self::Mailbox => mailbox::cases(),
            Self::Relay => relay::cases(),
        }
    }
}

/// `balance-shard bench micro`.
pub(crate) fn command(args: &MicroArgs) -> Result<(), Failure> {
    if let Some(core) = args.core {
        cores::pin(core).map_err(|e| Failure::usage(format!("--core: {e}")))?;
    }
    let parts = if args.parts.is_empty() { &Part::ALL } else { &args.parts[..] };
    let effort = Effort { rounds: args.rounds, sample: args.sample };
    let mut suites = Vec::new();
    for part in parts {
        let suite = Suite { name: part.name(), effort, core: args.core, results: measure(&mut part.cases(), effort)? };
        if !args.json {
            report::print(&suite.text())?;
        }
        suites.push(suite);
    }
    if args.json { report::print(&(table::json(&suites).to_string() + "\n")) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
