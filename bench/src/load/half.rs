//! `--mode half`: what silent peers, each with half a message sent, cost those that talk.

use super::{Way, run};
use crate::{
    cli::TcpArgs,
    failure::Failure,
    interrupt::Interrupt,
    plan::Plan,
    report::{self, Comparison, Pair},
    threads::Ground,
};

pub(super) fn command(args: &TcpArgs) -> Result<(), Failure> {
    let output = &args.load.output;
    let files = [&output.json_file, &output.hgrm, &output.hdr_log, &output.csv, &output.html];
    if files.iter().any(|file| file.is_some()) {
        return Err(Failure::usage("--mode half makes many runs, and writes none of them to a file; see --json"));
    }
    let plan = Plan::tcp(args)?;
    let ground = Ground::new(&args.load.runtime)?.at_most(plan.connections);
    let interrupt = Interrupt::watch()?;
    let comparison = compare(&plan, &Way::quiet(&ground, &interrupt), Plan::rounds(args))?;
    report::print(&if args.load.output.json { comparison.json().to_string() + "\n" } else { comparison.text() })?;
    comparison.verdict()
}

/// In every round one run with the halves and one without. Which of them comes first changes from round to round, for
/// the second finds a proxy that has just closed what the first had open.
pub(super) fn compare(plan: &Plan, way: &Way<'_>, rounds: u32) -> Result<Comparison, Failure> {
    let alone = || run(Plan { halves: 0, ..plan.clone() }, way);
    let beside = || run(plan.clone(), way);
    let mut pairs = Vec::new();
    for round in 0..rounds {
        if way.interrupt.has_struck() && !pairs.is_empty() {
            break;
        }
        pairs.push(if round % 2 == 0 {
            Pair { without: alone()?, with: beside()? }
        } else {
            let with = beside()?;
            Pair { without: alone()?, with }
        });
    }
    Ok(Comparison { pairs })
}
