//! How long the parts of the data path take, by criterion: `cargo bench --bench micro`, `… -- interner` for some.
//!
//! One iteration is one call of a candidate, which does as many operations as the throughput says "elements". Only what
//! is under the candidate's stopwatch is timed. For two ways beside each other on a busy machine `balance-shard bench
//! micro` is the better tool: it lets them take turns, and gives the ratio.

mod cases;

use cases::Part;
use criterion::{Criterion, Throughput};
use std::time::Duration;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
        .configure_from_args();
    for part in cases::parts() {
        bench(&mut criterion, &part);
    }
    criterion.final_summary();
}

fn bench(criterion: &mut Criterion, part: &Part) {
    let mut group = criterion.benchmark_group(part.name);
    for case in (part.cases)() {
        for mut candidate in case.candidates {
            group.throughput(Throughput::Elements(candidate.operations));
            let name = format!("{}/{}", case.name, candidate.name);
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|calls| (0..calls).map(|_| candidate.call().took).sum());
            });
        }
    }
    group.finish();
}
