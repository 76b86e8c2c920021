//! `bench find-max`: the highest rate at which a target keeps to an SLO, in an open loop.

mod search;
mod slo;

pub(crate) use slo::Slo;

use crate::{
    cli::{FindMaxArgs, Progress},
    failure::Failure,
    interrupt::Interrupt,
    load::{self, Way},
    machine,
    plan::{Limit, Plan},
    report::{self, Outcome, number},
    threads::Ground,
};
use hdrhistogram::Histogram;
use search::Search;
use serde_json::{Value, json};
use slo::error_share;
use std::{fs, time::Duration};

/// How long each rate is measured, unless told otherwise, and how long it is loaded before.
const STEP: Duration = Duration::from_secs(3);
const STEP_WARM: Duration = Duration::from_millis(500);
/// A rate that was not reached to this share was not tried.
const REACHED_MIN: f64 = 0.99;
/// Where the median waits so many times as long for a connection as then for the answer, connections were scarce.
const SCARCE: f64 = 1.0;
/// A thread of the target that used this share of a core is what was saturated.
const BUSY: f64 = 0.9;

/// What one rate came to.
struct Step {
    rate: f64,
    reached: f64,
    broken: Vec<String>,
    outcome: Outcome,
}

impl Step {
    fn is_good(&self) -> bool {
        self.broken.is_empty()
    }

    fn line(&self) -> String {
        let waits = self.outcome.tally.waits();
        let ms = |quantile| waits.value_at_quantile(quantile) as f64 / 1e6;
        format!(
            "{:>12}/s  {}  p50 {:.3} ms  p99 {:.3} ms  p99.9 {:.3} ms  errors {} %{}\n",
            number(self.rate, 0),
            if self.is_good() { "holds" } else { "fails" },
            ms(0.5),
            ms(0.99),
            ms(0.999),
            number(error_share(&self.outcome) * 100.0, 2),
            if self.is_good() { String::new() } else { format!("  ({})", self.broken.join(", ")) },
        )
    }

    fn json(&self) -> Value {
        let waits = self.outcome.tally.waits();
        let us = |quantile| waits.value_at_quantile(quantile) as f64 / 1e3;
        json!({
            "rate": self.rate,
            "reached": self.reached,
            "holds": self.is_good(),
            "broken": self.broken,
            "p50_us": us(0.5),
            "p99_us": us(0.99),
            "p999_us": us(0.999),
            "error_share": error_share(&self.outcome),
            "client_bound_because": self.outcome.client_bound(),
            "saturated": saturated(&self.outcome),
        })
    }
}

/// `balance-shard bench find-max`.
pub(crate) fn command(args: &FindMaxArgs) -> Result<(), Failure> {
    let load = &args.either.load;
    let refused = [
        ("--rate", load.rate.is_some()),
        ("--requests", load.requests.is_some()),
        ("--hgrm", load.output.hgrm.is_some()),
        ("--hdr-log", load.output.hdr_log.is_some()),
        ("--csv", load.output.csv.is_some()),
        ("--html", load.output.html.is_some()),
        ("--backend", !args.either.target.backend.is_empty()),
    ];
    if let Some((flag, _)) = refused.into_iter().find(|(_, given)| *given) {
        return Err(Failure::usage(format!("find-max tries many rates, each for a time; {flag} has no place in it")));
    }
    let plan = Plan {
        limit: Limit::After(load.duration.unwrap_or(STEP)),
        warm: load.warm.unwrap_or(STEP_WARM),
        ..Plan::either(&args.either)?
    };
    let interrupt = Interrupt::watch()?;
    let ground = Ground::new(&load.runtime)?.at_most(plan.connections);
    let way = Way::quiet(&ground, &interrupt);
    let says = !load.output.json && load.output.progress != Progress::Off;
    let (search, steps) = find(&plan, args, &way, |step| if says { report::print(&step.line()) } else { Ok(()) })?;
    let answer = answer(&search, &steps, &args.slo);
    if load.output.json {
        report::print(&format!("{}\n", json_of(&search, &steps, args, &answer)))?;
    } else {
        report::print(&answer)?;
    }
    if let Some(path) = &load.output.json_file {
        let text = format!("{}\n", json_of(&search, &steps, args, &answer));
        fs::write(path, text).map_err(|e| Failure::runtime(format!("cannot write {}: {e}", path.display())))?;
    }
    match search.good() {
        _ if interrupt.has_struck() => Err(Failure::interrupted()),
        Some(_) => Ok(()),
        None => Err(Failure::runtime("the SLO held at no rate")),
    }
}

/// A rate that fails is tried once more, for a busy moment of the machine is no limit of the target.
fn find(
    plan: &Plan,
    args: &FindMaxArgs,
    way: &Way<'_>,
    mut tell: impl FnMut(&Step) -> Result<(), Failure>,
) -> Result<(Search, Vec<Step>), Failure> {
    let mut search = Search::new(args.from, f64::from(args.within) / 100.0);
    let mut steps = Vec::new();
    while let Some(rate) = search.next() {
        let mut step = try_rate(plan, rate, &args.slo, way)?;
        if !step.is_good() && !way.interrupt.has_struck() {
            tell(&step)?;
            step = try_rate(plan, rate, &args.slo, way)?;
        }
        if way.interrupt.has_struck() {
            break;
        }
        tell(&step)?;
        search.tried(step.is_good());
        steps.push(step);
    }
    Ok((search, steps))
}

fn try_rate(plan: &Plan, rate: f64, slo: &Slo, way: &Way<'_>) -> Result<Step, Failure> {
    let outcome = load::run(Plan { rate: Some(rate), ..plan.clone() }, way)?;
    let errors: u64 = outcome.points.iter().map(|point| point.errors).sum();
    let reached = outcome.rate(outcome.tally.requests + errors);
    let mut broken = slo.broken(&outcome);
    if reached < rate * REACHED_MIN {
        broken.push(format!("only {}/s came to an end", number(reached, 0)));
    }
    Ok(Step { rate, reached, broken, outcome })
}

/// What was at its limit, in words; empty where nothing shows.
fn saturated(outcome: &Outcome) -> Vec<String> {
    let mut what = outcome.client_bound();
    let median = |histogram: &Histogram<u64>| histogram.value_at_quantile(0.5) as f64;
    let (raw, corrected) = (median(&outcome.tally.latency), median(&outcome.tally.corrected));
    if corrected > raw * (1.0 + SCARCE) {
        let connections = outcome.plan.connections;
        what.push(format!("all {connections} connections were busy; more --connections may bring more"));
    }
    let seconds = outcome.tally.measured.as_secs_f64().max(1e-9);
    if let Some(thread) = &outcome.busiest_thread {
        let share = thread.used.as_secs_f64() / seconds;
        if share > BUSY {
            what.push(format!("the target's thread {} used {:.0} % of a core", thread.name, share * 100.0));
        }
    }
    what.extend(outcome.tally.errors.examples().map(|(kind, words)| format!("{}: {words}", kind.replace('_', " "))));
    what
}

/// Ends with a newline.
fn answer(search: &Search, steps: &[Step], slo: &Slo) -> String {
    let good = match search.good() {
        Some(rate) => format!("{slo} holds up to {}/s", number(rate, 0)),
        None => format!("{slo} holds at no rate that was tried"),
    };
    let failed = search.bad().and_then(|bad| steps.iter().rev().find(|step| !step.is_good() && step.rate <= bad));
    let Some(failed) = failed else { return good + "; no rate that was tried is too high\n" };
    let mut text = format!("{good}; at {}/s {}\n", number(failed.rate, 0), failed.broken.join(", "));
    let what = saturated(&failed.outcome);
    if !failed.outcome.client_bound().is_empty() {
        text += "the load generator was at its limit: the target may be able to do more\n";
    }
    if what.is_empty() {
        let hint = if failed.outcome.plan.processes.is_empty() { "; --pid shows the target's CPU" } else { "" };
        text += &format!("nothing was seen to be at its limit{hint}\n");
    }
    for what in what {
        text += &format!("saturated: {what}\n");
    }
    text
}

fn json_of(search: &Search, steps: &[Step], args: &FindMaxArgs, answer: &str) -> Value {
    json!({
        "bench": "find-max",
        "version": env!("CARGO_PKG_VERSION"),
        "commit": machine::COMMIT,
        "machine": machine::json(),
        "settings": steps.first().map(|step| report::settings(&step.outcome)),
        "slo": args.slo.to_string(),
        "max_rate": search.good(),
        "failed_rate": search.bad(),
        "answer": answer,
        "steps": steps.iter().map(Step::json).collect::<Vec<_>>(),
    })
}
