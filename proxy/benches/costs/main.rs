//! What the parts of the data path cost: time, allocations and instructions an operation.
//!
//! ```text
//! cargo bench --bench costs                     everything, as tables
//! cargo bench --bench costs -- headers slab     some parts
//! cargo bench --bench costs -- --check          no times: are our own ways within limits.json? Exit 1 if not
//! cargo bench --bench costs -- --bless          writes limits.json
//! ```
//!
//! Times are medians of rounds in which all candidates of a case take turns. Allocations are those of one call after
//! another that is not counted. Instructions are counted by callgrind, in a child that runs the same cases: they are
//! the same from run to run and on a busy machine, so they are what a limit is set on. They know nothing of caches and
//! branch predictors, and of system calls only our side.

mod callgrind;
#[path = "../cases/mod.rs"]
mod cases;
mod limits;
mod table;

use balance_bench::micro::{Effort, measure};
use balance_engine::testing::CountingAllocator;
use cases::Part;
use std::{collections::BTreeMap, process::ExitCode, time::Duration};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const EFFORT: Effort = Effort { rounds: 41, sample: Duration::from_millis(1) };
/// Their work is done by other threads, so that what this one does is no measure of it.
const BY_OTHERS: &str = "thread";

/// What an operation of a candidate costs.
struct Cost {
    candidate: &'static str,
    allocations: f64,
    /// Where they were counted.
    instructions: Option<f64>,
}

/// By part and case.
type Costs = BTreeMap<(&'static str, &'static str), Vec<Cost>>;

fn main() -> ExitCode {
    let mut wanted = Vec::new();
    let (mut check, mut bless) = (false, false);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            // From cargo.
            "--bench" => {}
            "--check" => check = true,
            "--bless" => bless = true,
            callgrind::CHILD => return callgrind::child(&wanted),
            part if cases::parts().iter().any(|p| p.name == part) => wanted.push(argument),
            other => {
                let names: Vec<_> = cases::parts().iter().map(|part| part.name).collect();
                eprintln!("costs: what is `{other}`? There are --check, --bless, and these: {}", names.join(" "));
                return ExitCode::from(2);
            }
        }
    }
    match run(&chosen(&wanted), check, bless) {
        Ok(code) => code,
        Err(reason) => {
            eprintln!("costs: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// All, where none is named.
fn chosen(wanted: &[String]) -> Vec<Part> {
    let all = cases::parts().into_iter();
    all.filter(|part| wanted.is_empty() || wanted.iter().any(|name| name == part.name)).collect()
}

fn run(parts: &[Part], check: bool, bless: bool) -> Result<ExitCode, String> {
    let mut costs = allocations(parts);
    let counted = callgrind::count(parts, &mut costs);
    if check || bless {
        counted?;
        return if bless { limits::write(&costs) } else { limits::check(&costs) };
    }
    if let Err(reason) = counted {
        eprintln!("costs: no instructions are counted: {reason}");
    }
    for part in parts {
        let times = measure(&mut (part.cases)(), EFFORT).map_err(|e| e.message)?;
        print!("{}", table::text(part.name, &times, &costs));
    }
    Ok(ExitCode::SUCCESS)
}

/// Call every candidate twice; the second time counts.
fn allocations(parts: &[Part]) -> Costs {
    let mut costs = Costs::new();
    for part in parts {
        for case in (part.cases)() {
            let count = |mut candidate: balance_bench::micro::Candidate| {
                candidate.call();
                let allocations = candidate.call().allocations as f64 / candidate.operations as f64;
                Cost { candidate: candidate.name, allocations, instructions: None }
            };
            costs.insert((part.name, case.name), case.candidates.into_iter().map(count).collect());
        }
    }
    costs
}
