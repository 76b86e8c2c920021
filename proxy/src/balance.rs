//! Which endpoint gets the next connection. Pure: loads, weights and randomness come in as arguments.

use balance_config::model::Policy;
use balance_engine::rng::Rng;

/// What a policy may know of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// At least 1.
    pub weight: u16,
    /// Connections now, those being opened included.
    pub active: u32,
    /// Neither tried for this connection already, nor set aside after a failure, nor at its limit.
    pub usable: bool,
}

/// A policy with the memory it needs from one choice to the next. A shard has its own for each cluster.
#[derive(Debug)]
pub enum Balancer {
    RoundRobin {
        next: usize,
    },
    /// One credit an endpoint. A choice pays every usable endpoint its weight, takes the richest, and charges it the
    /// sum: 5:1:1 gives a a b a c a a, not a a a a a b c (the smooth algorithm of nginx).
    SmoothWeighted {
        credit: Vec<i64>,
    },
    LeastConnections {
        next: usize,
    },
    RandomTwo,
}

impl Balancer {
    pub fn new(policy: Policy, endpoints: usize) -> Self {
        match policy {
            Policy::RoundRobin => Self::RoundRobin { next: 0 },
            Policy::WeightedRoundRobin => Self::SmoothWeighted { credit: vec![0; endpoints] },
            Policy::LeastConnections => Self::LeastConnections { next: 0 },
            Policy::RandomTwo => Self::RandomTwo,
        }
    }

    /// The index of the chosen one; `None` when none is usable. `count` is the number of endpoints, `of` tells of each.
    pub fn choose(&mut self, count: usize, of: impl Fn(usize) -> Candidate, rng: &mut Rng) -> Option<usize> {
        match self {
            Self::RoundRobin { next } => {
                let chosen = from(*next, count).find(|i| of(*i).usable)?;
                *next = chosen + 1;
                Some(chosen)
            }
            Self::SmoothWeighted { credit } => smooth_weighted(credit, count, of),
            Self::LeastConnections { next } => {
                // Starting after the last choice makes equals take turns.
                let chosen = from(*next, count).filter(|i| of(*i).usable).min_by(|a, b| less(of(*a), of(*b)))?;
                *next = chosen + 1;
                Some(chosen)
            }
            Self::RandomTwo => random_two(count, of, rng),
        }
    }
}

/// All indices once, beginning at `start`.
fn from(start: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |step| (start + step) % count)
}

/// By load for each unit of weight. The connection to come is counted, so that an idle small endpoint does not look
/// like an idle big one.
fn less(a: Candidate, b: Candidate) -> std::cmp::Ordering {
    let load = |c: Candidate, other: Candidate| (u64::from(c.active) + 1) * u64::from(other.weight);
    load(a, b).cmp(&load(b, a))
}

fn smooth_weighted(credit: &mut [i64], count: usize, of: impl Fn(usize) -> Candidate) -> Option<usize> {
    let mut total = 0;
    let mut richest: Option<usize> = None;
    for i in (0..count.min(credit.len())).filter(|i| of(*i).usable) {
        let weight = i64::from(of(i).weight);
        credit[i] += weight;
        total += weight;
        if richest.is_none_or(|r| credit[i] > credit[r]) {
            richest = Some(i);
        }
    }
    let richest = richest?;
    credit[richest] -= total;
    Some(richest)
}

/// Two different ones at random, the less loaded of them. Few tries first, so that a large cluster costs no scan.
fn random_two(count: usize, of: impl Fn(usize) -> Candidate, rng: &mut Rng) -> Option<usize> {
    const TRIES: usize = 8;
    let mut picked: Option<usize> = None;
    for _ in 0..TRIES.min(count * 4) {
        let i = rng.below(count as u64) as usize;
        if !of(i).usable || picked == Some(i) {
            continue;
        }
        match picked {
            None => picked = Some(i),
            Some(other) => return Some(if less(of(i), of(other)).is_lt() { i } else { other }),
        }
    }
    picked.or_else(|| (0..count).find(|i| of(*i).usable))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Make `choices` choices among endpoints of these weights (0: unusable) that never end their connections, and
    /// count what each got.
    fn spread(policy: Policy, weights: &[u16], choices: usize) -> Vec<u32> {
        let mut balancer = Balancer::new(policy, weights.len());
        let mut rng = Rng::new(7);
        let mut active = vec![0; weights.len()];
        for _ in 0..choices {
            let of = |i: usize| Candidate { weight: weights[i].max(1), active: active[i], usable: weights[i] > 0 };
            if let Some(i) = balancer.choose(weights.len(), of, &mut rng) {
                active[i] += 1;
            }
        }
        active
    }

    fn order(policy: Policy, weights: &[u16], choices: usize) -> String {
        let mut balancer = Balancer::new(policy, weights.len());
        let mut rng = Rng::new(7);
        let of = |i: usize| Candidate { weight: weights[i].max(1), active: 0, usable: weights[i] > 0 };
        (0..choices)
            .map(|_| balancer.choose(weights.len(), of, &mut rng).map_or('-', |i| char::from(b'a' + i as u8)))
            .collect()
    }

    #[test]
    fn each_policy_in_a_line() {
        assert_eq!(order(Policy::RoundRobin, &[1, 1, 1], 7), "abcabca");
        assert_eq!(order(Policy::RoundRobin, &[1, 0, 1], 5), "acaca");
        assert_eq!(order(Policy::WeightedRoundRobin, &[5, 1, 1], 7), "aabacaa");
        assert_eq!(order(Policy::WeightedRoundRobin, &[1, 0, 2], 6), "caccac");
        assert_eq!(order(Policy::LeastConnections, &[1, 1, 1], 6), "abcabc");
        assert_eq!(spread(Policy::LeastConnections, &[1, 3], 400), [100, 300]);
        assert_eq!(spread(Policy::WeightedRoundRobin, &[1, 3], 400), [100, 300]);
    }

    #[test]
    fn nothing_usable_is_nothing_chosen() {
        for policy in [Policy::RoundRobin, Policy::WeightedRoundRobin, Policy::LeastConnections, Policy::RandomTwo] {
            assert_eq!(order(policy, &[0, 0], 2), "--", "{policy:?}");
            assert_eq!(order(policy, &[], 1), "-", "{policy:?}");
            assert_eq!(order(policy, &[0, 0, 1, 0], 2), "cc", "{policy:?}");
        }
    }

    #[test]
    fn random_two_levels_by_weight() {
        let got = spread(Policy::RandomTwo, &[1, 1, 2], 4000);
        for (got, fair) in got.iter().zip([1000, 1000, 2000]) {
            assert!(got.abs_diff(fair) < 150, "{got} of {fair}");
        }
    }
}
