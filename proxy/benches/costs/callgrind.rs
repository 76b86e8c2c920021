//! Instructions, counted by valgrind's callgrind in a child process.
//!
//! The child calls every candidate twice. Callgrind writes a dump of what has run since the last one before the
//! stopwatch's region begins and before the function that follows it; those of the second kind are the regions, and the
//! child says on its standard output whose they are.

use crate::{BY_OTHERS, Costs, cases::Part, chosen};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

/// The argument by which this program knows that it is the child.
pub(crate) const CHILD: &str = "--counted-child";
/// As symbols are called, demangled or not.
const BEGIN: &str = "*micro*frame*timed_region*";
const END: &str = "*micro*frame*region_is_over*";

/// Parts whose work is the kernel's: what is left of it here says little.
const IN_KERNEL: [&str; 2] = ["mailbox", "relay"];

/// Fill in the instructions of all parts that work in user space.
///
/// # Errors
/// Where valgrind is missing or fails.
pub(crate) fn count(parts: &[Part], costs: &mut Costs) -> Result<(), String> {
    let parts: Vec<&Part> = parts.iter().filter(|part| !IN_KERNEL.contains(&part.name)).collect();
    if parts.is_empty() {
        return Ok(());
    }
    let folder = Scratch::new()?;
    let said = run_child(&parts, &folder.0)?;
    let mut regions = regions(&folder.0)?.into_iter();
    for line in said.lines().filter_map(|line| line.strip_prefix("counted\t")) {
        let mut fields = line.split('\t');
        let mut next = || fields.next().ok_or_else(|| format!("the child says `{line}`"));
        let (part, case, candidate) = (next()?, next()?, next()?);
        let mut number = || next()?.parse::<usize>().map_err(|e| format!("the child says `{line}`: {e}"));
        let (operations, warm, counted) = (number()?, number()?, number()?);
        let of_this: Vec<u64> = regions.by_ref().take(warm + counted).skip(warm).collect();
        if of_this.len() != counted {
            return Err(format!("a dump is missing for `{line}`"));
        }
        let instructions: u64 = of_this.iter().sum();
        let all = costs.iter_mut().filter(|((p, c), _)| *p == part && *c == case).flat_map(|(_, costs)| costs);
        for cost in all.filter(|cost| cost.candidate == candidate) {
            cost.instructions = Some(instructions as f64 / operations as f64);
        }
    }
    match regions.count() {
        0 => Ok(()),
        left => Err(format!("{left} dumps are nobody's")),
    }
}

fn run_child(parts: &[&Part], folder: &Path) -> Result<String, String> {
    let me = std::env::current_exe().map_err(|e| format!("this program: {e}"))?;
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .args([BEGIN, END].map(|function| format!("--dump-before={function}")))
        .arg(format!("--callgrind-out-file={}", folder.join("dump").display()))
        .arg(me)
        .args(parts.iter().map(|part| part.name))
        .arg(CHILD)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("valgrind: {e} (on Debian: apt install valgrind)"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!("valgrind ended with {}:\n{words}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|e| format!("what the child says: {e}"))
}

/// The instructions of every region, in the order in which they were left.
fn regions(folder: &Path) -> Result<Vec<u64>, String> {
    let mut regions = Vec::new();
    for number in 1.. {
        let dump = folder.join(format!("dump.{number}"));
        // The last dump, at the end of the program, has no number.
        let Ok(text) = fs::read_to_string(&dump) else { break };
        let field = |name| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if field("desc: Trigger:").is_some_and(|trigger| trigger.contains("region_is_over")) {
            let total = field("totals:").and_then(|total| total.parse().ok());
            regions.push(total.ok_or_else(|| format!("{} has no totals", dump.display()))?);
        }
    }
    Ok(regions)
}

/// What runs under valgrind.
pub(crate) fn child(wanted: &[String]) -> ExitCode {
    for part in chosen(wanted) {
        for case in (part.cases)() {
            for mut candidate in case.candidates.into_iter().filter(|c| c.name != BY_OTHERS) {
                let (warm, counted) = (candidate.call().parts, candidate.call().parts);
                let (part, case, operations) = (part.name, case.name, candidate.operations);
                println!("counted\t{part}\t{case}\t{}\t{operations}\t{warm}\t{counted}", candidate.name);
            }
        }
    }
    ExitCode::SUCCESS
}

/// A folder that goes away with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("balance-costs-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _best_effort = fs::remove_dir_all(&self.0);
    }
}
