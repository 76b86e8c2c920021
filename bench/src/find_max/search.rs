//! The search itself: which rate to try next, from what the last ones came to.
//!
//! ```text
//!   ladder: twice the rate until one fails ──► bisection between the last good and the first bad ──► close enough
//! ```

/// Rates that are tried in all at most: enough for a ladder from one a second to a billion, and a bisection.
const STEPS_MAX: u32 = 60;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Search {
    good: Option<f64>,
    bad: Option<f64>,
    next: f64,
    /// How near the good and the bad must be, as a share.
    within: f64,
    steps: u32,
}

impl Search {
    pub(super) fn new(from: f64, within: f64) -> Self {
        Self { good: None, bad: None, next: from, within, steps: 0 }
    }

    /// The rate to try; `None`: the answer is as near as it was to be.
    pub(super) fn next(&self) -> Option<f64> {
        let found = self.good.zip(self.bad).is_some_and(|(good, bad)| bad - good <= good * self.within);
        let hopeless = self.good.is_none() && self.bad.is_some_and(|bad| bad < 1.0);
        (!found && !hopeless && self.steps < STEPS_MAX).then_some(self.next)
    }

    /// What that rate came to.
    pub(super) fn tried(&mut self, is_good: bool) {
        self.steps += 1;
        if is_good {
            self.good = Some(self.next);
        } else {
            self.bad = Some(self.next);
        }
        self.next = match (self.good, self.bad) {
            (Some(good), Some(bad)) => f64::midpoint(good, bad),
            (Some(good), None) => good * 2.0,
            (None, Some(bad)) => bad / 2.0,
            (None, None) => self.next,
        };
    }

    /// The highest rate that was good.
    pub(super) fn good(&self) -> Option<f64> {
        self.good
    }

    /// The lowest rate that was not.
    pub(super) fn bad(&self) -> Option<f64> {
        self.bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(from: f64, limit: f64) -> (Option<f64>, Option<f64>, u32) {
        let mut search = Search::new(from, 0.05);
        while let Some(rate) = search.next() {
            search.tried(rate <= limit);
        }
        (search.good(), search.bad(), search.steps)
    }

    #[test]
    fn the_knee_is_found_from_below_and_from_above() {
        for from in [1.0, 1000.0, 41_000.0, 1e6] {
            let (good, bad, steps) = find(from, 41_234.0);
            let (good, bad) = (good.expect("found"), bad.expect("found"));
            assert!(good <= 41_234.0 && bad > 41_234.0, "{good} to {bad} from {from}");
            assert!(bad - good <= good * 0.05 && steps < 30, "{steps} steps");
        }
    }

    #[test]
    fn what_never_holds_and_what_always_does_come_to_an_end() {
        let (good, bad, _) = find(1000.0, 0.0);
        assert!(good.is_none() && bad.is_some_and(|bad| bad < 1.0));
        let (good, bad, steps) = find(1000.0, f64::INFINITY);
        assert!(good.is_some() && bad.is_none() && steps == STEPS_MAX);
    }
}
