//! Rounds, in each of which every candidate of every case has its turn.

use crate::{failure::Failure, stats::median};
use balance_engine::clock::Clock;
use std::{hint::black_box, time::Duration};

/// One kind of work.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// What an operation is, as in "ns a lookup".
    pub(super) operation: &'static str,
    /// The engine's own comes first.
    pub(super) candidates: Vec<Candidate>,
}

/// One way to do the work of a case.
pub(super) struct Candidate {
    name: &'static str,
    /// Operations of one call.
    operations: u64,
    call: Box<dyn FnMut(&mut Stopwatch) -> u64>,
}

impl Candidate {
    /// `call` does `operations` of them under the stopwatch and ends with an answer that all candidates agree on, the
    /// first time as well as later. They should take some microseconds, or the clock is measured.
    pub(super) fn new(
        name: &'static str,
        operations: usize,
        call: impl FnMut(&mut Stopwatch) -> u64 + 'static,
    ) -> Self {
        Self { name, operations: operations as u64, call: Box::new(call) }
    }
}

/// Runs while the work is done, and stands still while the next is prepared.
pub(super) struct Stopwatch {
    clock: Clock,
    total: Duration,
}

impl Stopwatch {
    pub(super) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = self.clock.now();
        let value = black_box(work());
        self.total += self.clock.now() - start;
        value
    }
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    pub(super) rounds: u32,
    /// The least time of one candidate in one round.
    pub(super) sample: Duration,
}

/// What came of a case.
pub(super) struct CaseResult {
    pub(super) name: &'static str,
    pub(super) operation: &'static str,
    pub(super) candidates: Vec<Figures>,
}

/// Nanoseconds an operation, by round.
pub(super) struct Figures {
    pub(super) name: &'static str,
    pub(super) rounds: Vec<f64>,
}

impl Figures {
    pub(super) fn median(&self) -> f64 {
        median(self.rounds.clone())
    }

    pub(super) fn least(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(super) fn most(&self) -> f64 {
        self.rounds.iter().copied().fold(0.0, f64::max)
    }

    /// The median of the ratios within each round, this one's time over `other`'s.
    pub(super) fn ratio(&self, other: &Self) -> f64 {
        median(self.rounds.iter().zip(&other.rounds).map(|(ours, theirs)| ours / theirs).collect())
    }
}

/// A round that does not count, for the caches and the allocator, and then the rounds of `effort`.
///
/// # Errors
/// Candidates that do not agree: then one of them does other work, and its time says nothing.
pub(super) fn measure(mut cases: Vec<Case>, effort: Effort) -> Result<Vec<CaseResult>, Failure> {
    let mut results: Vec<CaseResult> = cases.iter().map(empty).collect();
    for round in 0..=effort.rounds as usize {
        for (case, result) in cases.iter_mut().zip(&mut results) {
            let mut agreed = None;
            for turn in 0..case.candidates.len() {
                // Each round another one begins, for whoever comes after a greedy one finds cold caches.
                let number = (round + turn) % case.candidates.len();
                let candidate = &mut case.candidates[number];
                let (nanos, answer) = sample(candidate, effort.sample);
                let agreed = *agreed.get_or_insert(answer);
                if answer != agreed {
                    return Err(Failure::runtime(format!(
                        "{}: {} answers {answer} where {agreed} was the answer before",
                        case.name, candidate.name
                    )));
                }
                if round > 0 {
                    result.candidates[number].rounds.push(nanos);
                }
            }
        }
    }
    Ok(results)
}

fn empty(case: &Case) -> CaseResult {
    let candidates = case.candidates.iter().map(|c| Figures { name: c.name, rounds: Vec::new() }).collect();
    CaseResult { name: case.name, operation: case.operation, candidates }
}

/// Nanoseconds an operation, and the answer of the last call.
fn sample(candidate: &mut Candidate, least: Duration) -> (f64, u64) {
    let mut watch = Stopwatch { clock: Clock::monotonic(), total: Duration::ZERO };
    let mut operations = 0;
    loop {
        let answer = (candidate.call)(&mut watch);
        operations += candidate.operations;
        if watch.total >= least {
            return (watch.total.as_nanos() as f64 / operations as f64, answer);
        }
    }
}
