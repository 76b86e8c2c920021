//! Everything that is measured by itself: parts of the engine, and of the proxy what it decides and reads.

mod headers;
mod policies;
mod rungs;

use balance_bench::micro::{self, Case};

/// Cases that belong together.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) cases: Box<dyn Fn() -> Vec<Case>>,
}

pub(crate) fn parts() -> Vec<Part> {
    let engine = micro::Part::ALL.map(|part| Part { name: part.name(), cases: Box::new(move || part.cases()) });
    let own = [
        Part { name: "policies", cases: Box::new(policies::cases) },
        Part { name: "rungs", cases: Box::new(rungs::cases) },
        Part { name: "headers", cases: Box::new(headers::cases) },
    ];
    engine.into_iter().chain(own).collect()
}
