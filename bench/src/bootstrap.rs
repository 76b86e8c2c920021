//! How sure a ratio is: percentile intervals by resampling (Efron and Tibshirani, "An Introduction to the Bootstrap",
//! chapter 13).
//!
//! What was measured one after the other on one machine is alike (a busy neighbour stays for seconds), so consecutive
//! values are drawn in blocks (Künsch's moving blocks). The blocks of rounds, which lie further apart, are one long.
//! The same values give the same interval: the random numbers start from a fixed seed.

use balance_engine::rng::Rng;

/// Between these two lie 95 of 100 resampled results.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// With fewer values an interval would be a guess.
pub(crate) const VALUES_MIN: usize = 4;
pub(crate) const RESAMPLES: usize = 4000;
const SEED: u64 = 0x0062_616c_616e_6365;

/// Of rounds, or of anything else whose values do not depend on their neighbours.
pub(crate) fn independent(count: usize, statistic: impl Fn(&[usize]) -> f64) -> Option<Interval> {
    resample(&[(count, 1)], |drawn| statistic(drawn[0]))
}

/// Of two sets of rounds that have nothing to do with each other.
pub(crate) fn of_two(counts: [usize; 2], statistic: impl Fn(&[usize], &[usize]) -> f64) -> Option<Interval> {
    resample(&counts.map(|count| (count, 1)), |drawn| statistic(drawn[0], drawn[1]))
}

/// Of two series, each resampled by itself, in blocks; `statistic` gets the places drawn of each.
pub(crate) fn of_two_series(counts: [usize; 2], statistic: impl Fn(&[usize], &[usize]) -> f64) -> Option<Interval> {
    resample(&counts.map(|count| (count, block(count))), |drawn| statistic(drawn[0], drawn[1]))
}

/// The cube root of the number of values, as the theory has it up to a factor.
fn block(count: usize) -> usize {
    (count as f64).cbrt().ceil() as usize
}

/// `None` for too few values, and where the statistic is no number.
fn resample(series: &[(usize, usize)], statistic: impl Fn(&[&[usize]]) -> f64) -> Option<Interval> {
    if series.iter().any(|(count, _)| *count < VALUES_MIN) {
        return None;
    }
    let mut rng = Rng::new(SEED);
    let mut places: Vec<Vec<usize>> = series.iter().map(|(count, _)| Vec::with_capacity(*count)).collect();
    let mut results = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        for (places, (count, block)) in places.iter_mut().zip(series) {
            draw(places, *count, *block, &mut rng);
        }
        let views: Vec<&[usize]> = places.iter().map(Vec::as_slice).collect();
        results.push(statistic(&views));
    }
    results.retain(|value| value.is_finite());
    results.sort_by(f64::total_cmp);
    let at = |part: f64| results.get(((results.len() as f64 - 1.0) * part).round() as usize).copied();
    Some(Interval { low: at(0.025)?, high: at(0.975)? })
}

/// As many places as there are values, in whole blocks, the last of which is cut.
fn draw(places: &mut Vec<usize>, count: usize, block: usize, rng: &mut Rng) {
    places.clear();
    while places.len() < count {
        let first = rng.index(count + 1 - block);
        places.extend((first..first + block).take(count - places.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_leave_no_doubt() {
        let values = [2.0; 10];
        let mean = |places: &[usize]| places.iter().map(|p| values[*p]).sum::<f64>() / 10.0;
        assert_eq!(independent(10, mean), Some(Interval { low: 2.0, high: 2.0 }));
        let over = |a: &[usize], b: &[usize]| mean(a) / b.len() as f64;
        assert_eq!(of_two([10, 5], over).map(|i| i.low), Some(0.4));
        assert_eq!(of_two_series([10, 5], over).map(|i| i.low), Some(0.4));
    }

    #[test]
    fn three_values_are_too_few() {
        assert_eq!(independent(VALUES_MIN - 1, |_| 1.0), None);
        assert_eq!(of_two_series([100, VALUES_MIN - 1], |_, _| 1.0), None);
        assert_eq!(independent(5, |_| f64::NAN), None);
    }

    /// The mean of 0..=99 has a standard error of 2.9 (28.9 / √100), so the interval is 49.5 ± 5.7.
    #[test]
    fn an_interval_has_the_width_that_theory_says() {
        let mean = |places: &[usize]| places.iter().sum::<usize>() as f64 / places.len() as f64;
        let Interval { low, high } = independent(100, mean).expect("enough values");
        assert!((42.8..44.8).contains(&low) && (54.2..56.2).contains(&high), "{low} {high}");
        assert_eq!(independent(100, mean), Some(Interval { low, high }), "the same again");
    }

    #[test]
    fn blocks_keep_neighbours_together_and_within_bounds() {
        let mut places = Vec::new();
        let mut rng = Rng::new(1);
        for count in VALUES_MIN..50 {
            draw(&mut places, count, block(count), &mut rng);
            assert_eq!(places.len(), count);
            assert!(places.iter().all(|place| *place < count), "{places:?}");
            let whole = places.chunks_exact(block(count));
            assert!(whole.into_iter().all(|b| b.windows(2).all(|w| w[0] + 1 == w[1])), "{places:?}");
        }
    }
}
