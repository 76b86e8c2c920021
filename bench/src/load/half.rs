//! `--mode half`: what silent peers, each with half a message sent, cost those that talk.

use super::{Announce, run};
use crate::{
    cli::TcpArgs,
    failure::Failure,
    plan::Plan,
    report::{self, Comparison, Pair},
    threads::Ground,
};

pub(super) fn command(args: &TcpArgs) -> Result<(), Failure> {
    let plan = Plan::new(args)?;
    let ground = Ground::new(&args.runtime)?.at_most(plan.connections);
    let comparison = compare(&plan, &ground, Plan::rounds(args))?;
    report::print(&if args.json { comparison.json().to_string() + "\n" } else { comparison.text() })?;
    comparison.verdict()
}

/// In every round one run with the halves and one without. Which of them comes first changes from round to round, for
/// the second finds a proxy that has just closed what the first had open.
pub(super) fn compare(plan: &Plan, ground: &Ground, rounds: u32) -> Result<Comparison, Failure> {
    let alone = || run(Plan { halves: 0, ..plan.clone() }, ground, Announce::Nowhere);
    let beside = || run(plan.clone(), ground, Announce::Nowhere);
    let mut pairs = Vec::new();
    for round in 0..rounds {
        pairs.push(if round % 2 == 0 {
            Pair { without: alone()?, with: beside()? }
        } else {
            let with = beside()?;
            Pair { without: alone()?, with }
        });
    }
    Ok(Comparison { pairs })
}
