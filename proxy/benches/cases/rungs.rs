//! What a direction pays for the ladder: a look at each piece that it moves.

use balance_bench::micro::{Candidate, Case};
use balance_proxy::l4::{Advice, LadderSettings, Observer};
use std::hint::black_box;

/// Looks of one call.
const LOOKS: usize = 1024;
/// A small buffer, as the copy rung gets them.
const PIECE: u32 = 4096;
const BULK: u32 = 256 << 10;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("messages of 64 B on copy", |observer, settings| {
            let advice = observer.copied(64, settings);
            observer.dried_up();
            advice == Advice::Stay
        }),
        case("bulk on splice", |observer, settings| observer.bulk_read(BULK, settings) == Advice::Stay),
        case("bulk on copy, until it is to change", |observer, settings| {
            if observer.copied(PIECE, settings) != Advice::Stay {
                *observer = Observer::default();
            }
            true
        }),
    ]
}

/// Answers how often the ladder said what was expected: always.
fn case(name: &'static str, observe: fn(&mut Observer, &LadderSettings) -> bool) -> Case {
    let (mut observer, settings) = (Observer::default(), LadderSettings::default());
    let candidate = Candidate::new("ladder", LOOKS, move |watch| {
        watch.time(|| {
            let expected = |_| u64::from(observe(black_box(&mut observer), &settings));
            (0..LOOKS).map(expected).sum()
        })
    });
    Case { name, operation: "look", candidates: vec![candidate] }
}
