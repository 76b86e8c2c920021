//! What our own ways may cost at most: limits.json beside this file, and how far from it is too far.

use crate::{Cost, Costs};
use serde_json::{Map, Value, json};
use std::{fs, path::PathBuf, process::ExitCode};

/// Of instructions: another compiler moves some.
const SLACK: f64 = 1.05;
/// Of allocations: a table grows now and then.
const ALLOCATIONS_SLACK: f64 = 0.01;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/costs/limits.json")
}

/// The first candidate of a case is ours.
fn ours(costs: &Costs) -> impl Iterator<Item = (&'static str, &'static str, &Cost)> {
    costs.iter().filter_map(|((part, case), costs)| Some((*part, *case, costs.first()?)))
}

/// # Errors
/// A file that cannot be read or is not what [`write`] wrote.
pub(crate) fn check(costs: &Costs) -> Result<ExitCode, String> {
    let text = fs::read_to_string(path()).map_err(|e| format!("{}: {e}", path().display()))?;
    let file: Value = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path().display()))?;
    let (mut worse, mut count) = (0, 0);
    for (part, case, cost) in ours(costs) {
        let limit = &file["limits"][part][case];
        let allocations = limit["allocations"].as_f64();
        let Some(allocations) = allocations else {
            println!("{part}, {case}: has no limit yet");
            worse += 1;
            continue;
        };
        count += 1;
        if cost.allocations > allocations + ALLOCATIONS_SLACK {
            println!("{part}, {case}: {:.3} allocations, and {allocations:.3} is the limit", cost.allocations);
            worse += 1;
        }
        let (Some(now), Some(limit)) = (cost.instructions, limit["instructions"].as_f64()) else { continue };
        if now > limit * SLACK {
            println!("{part}, {case}: {now:.1} instructions, {:.2} of the limit of {limit:.1}", now / limit);
            worse += 1;
        } else if now * SLACK < limit {
            println!("{part}, {case}: {now:.1} instructions, {:.2} of the limit: --bless it", now / limit);
        }
    }
    println!("{count} cases, {worse} above their limits, which were made by {}", file["rustc"]);
    Ok(if worse > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Limits of parts that were not measured stay.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn write(costs: &Costs) -> Result<ExitCode, String> {
    let before: Value = fs::read_to_string(path()).ok().and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default();
    let mut limits = before["limits"].as_object().cloned().unwrap_or_default();
    let measured: Vec<&str> = ours(costs).map(|(part, ..)| part).collect();
    limits.retain(|part, _| !measured.contains(&part.as_str()));
    for (part, case, cost) in ours(costs) {
        let part = limits.entry(part).or_insert_with(|| Map::new().into());
        let round = |number: f64| (number * 1000.0).round() / 1000.0;
        part[case] = json!({ "allocations": round(cost.allocations), "instructions": cost.instructions.map(round) });
    }
    let text = serde_json::to_string_pretty(&json!({ "rustc": rustc(), "limits": limits }));
    let text = text.map_err(|e| format!("limits: {e}"))? + "\n";
    fs::write(path(), text).map_err(|e| format!("{}: {e}", path().display()))?;
    println!("wrote {}", path().display());
    Ok(ExitCode::SUCCESS)
}

/// The compiler, or that it is not known.
fn rustc() -> String {
    let output = std::process::Command::new("rustc").arg("--version").output();
    output.map_or_else(|_| "an unknown compiler".into(), |o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
}
