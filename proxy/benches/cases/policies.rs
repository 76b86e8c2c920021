//! Choosing an endpoint. What it costs to look at an endpoint's state is not in it: the candidates stand in a row.

use balance_bench::micro::{Candidate, Case};
use balance_config::model::Policy;
use balance_engine::rng::Rng;
use balance_proxy::balance::{self, Balancer};

/// Choices of one call.
const CHOICES: usize = 1024;
/// Connections that are open; whenever one begins the oldest ends.
const OPEN: usize = 1000;
const SEED: u64 = 23;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("round-robin, 4 endpoints", Policy::RoundRobin, 4),
        case("round-robin, 256 endpoints", Policy::RoundRobin, 256),
        case("weighted round-robin, 4 endpoints", Policy::WeightedRoundRobin, 4),
        case("weighted round-robin, 256 endpoints", Policy::WeightedRoundRobin, 256),
        case("least connections, 4 endpoints", Policy::LeastConnections, 4),
        case("least connections, 256 endpoints", Policy::LeastConnections, 256),
        case("random two, 4 endpoints", Policy::RandomTwo, 4),
        case("random two, 256 endpoints", Policy::RandomTwo, 256),
    ]
}

/// A quarter of the endpoints has twice the weight. Answers how many choices found one: all.
fn case(name: &'static str, policy: Policy, endpoints: usize) -> Case {
    let mut balancer = Balancer::new(policy, endpoints);
    let mut rng = Rng::new(SEED);
    let mut active = vec![0_u32; endpoints];
    let mut open = vec![0_usize; OPEN];
    for (number, place) in open.iter_mut().enumerate() {
        *place = number % endpoints;
        active[*place] += 1;
    }
    let mut oldest = 0;
    let candidate = Candidate::new("balancer", CHOICES, move |watch| {
        watch.time(|| {
            let mut found = 0;
            for _ in 0..CHOICES {
                let of = |i: usize| {
                    let weight = if i.is_multiple_of(4) { 2 } else { 1 };
                    balance::Candidate { weight, active: active[i], usable: true }
                };
                let Some(chosen) = balancer.choose(endpoints, of, &mut rng) else { continue };
                found += 1;
                active[chosen] += 1;
                active[std::mem::replace(&mut open[oldest], chosen)] -= 1;
                oldest = (oldest + 1) % OPEN;
            }
            found
        })
    });
    Case { name, operation: "choice", candidates: vec![candidate] }
}
