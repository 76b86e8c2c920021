//! Rounds, in each of which every candidate of every case has its turn.

use crate::{failure::Failure, stats::median};
use balance_engine::{clock::Clock, testing::allocations};
use std::{hint::black_box, time::Duration};

/// One kind of work.
pub struct Case {
    pub name: &'static str,
    /// What an operation is, as in "ns a lookup".
    pub operation: &'static str,
    /// The engine's own comes first.
    pub candidates: Vec<Candidate>,
}

/// One way to do the work of a case.
pub struct Candidate {
    pub name: &'static str,
    /// Operations of one call.
    pub operations: u64,
    call: Box<dyn FnMut(&mut Stopwatch) -> u64>,
}

impl Candidate {
    /// `call` does `operations` of them under the stopwatch and ends with an answer that all candidates agree on, the
    /// first time as well as later. They should take some microseconds, or the clock is measured.
    pub fn new(name: &'static str, operations: usize, call: impl FnMut(&mut Stopwatch) -> u64 + 'static) -> Self {
        Self { name, operations: operations as u64, call: Box::new(call) }
    }

    /// Do the operations once.
    pub fn call(&mut self) -> Call {
        let mut watch = Stopwatch { clock: Clock::monotonic(), total: Duration::ZERO, parts: 0, allocations: 0 };
        let answer = (self.call)(&mut watch);
        Call { answer, took: watch.total, parts: watch.parts, allocations: watch.allocations }
    }
}

/// What one call of a candidate came to. Only what was done under the stopwatch counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    pub answer: u64,
    pub took: Duration,
    /// How often the stopwatch was started.
    pub parts: u64,
    /// Memory that was asked for by this thread, where [`balance_engine::testing::CountingAllocator`] is the
    /// program's allocator; zero elsewhere.
    pub allocations: u64,
}

/// Runs while the work is done, and stands still while the next is prepared.
pub struct Stopwatch {
    clock: Clock,
    total: Duration,
    parts: u64,
    allocations: u64,
}

impl Stopwatch {
    pub fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let allocated = allocations();
        let start = self.clock.now();
        let value = timed_region(work);
        region_is_over();
        self.total += self.clock.now() - start;
        self.parts += 1;
        self.allocations += allocations() - allocated;
        value
    }
}

/// Never inlined, so that a tool that counts instructions can be told by its name where to begin.
#[inline(never)]
fn timed_region<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

/// And by this one where to end.
#[inline(never)]
fn region_is_over() {
    black_box(());
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: u32,
    /// The least time of one candidate in one round.
    pub sample: Duration,
}

/// What came of a case.
pub struct CaseResult {
    pub name: &'static str,
    pub operation: &'static str,
    pub candidates: Vec<Figures>,
}

/// Nanoseconds an operation, by round.
pub struct Figures {
    pub name: &'static str,
    pub rounds: Vec<f64>,
}

impl Figures {
    pub fn median(&self) -> f64 {
        median(self.rounds.clone())
    }

    pub fn least(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn most(&self) -> f64 {
        self.rounds.iter().copied().fold(0.0, f64::max)
    }

    /// The median of the ratios within each round, this one's time over `other`'s.
    pub fn ratio(&self, other: &Self) -> f64 {
        median(self.rounds.iter().zip(&other.rounds).map(|(ours, theirs)| ours / theirs).collect())
    }
}

/// A round that does not count, for the caches and the allocator, and then the rounds of `effort`.
///
/// # Errors
/// Candidates that do not agree: then one of them does other work, and its time says nothing.
pub fn measure(cases: &mut [Case], effort: Effort) -> Result<Vec<CaseResult>, Failure> {
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
    let (mut total, mut operations) = (Duration::ZERO, 0);
    loop {
        let Call { answer, took, .. } = candidate.call();
        total += took;
        operations += candidate.operations;
        if total >= least {
            return (total.as_nanos() as f64 / operations as f64, answer);
        }
    }
}
