//! Two duels: everybody who was in both, in every scenario that was.
//!
//! Rounds of two duels are not pairs. What was measured on another day met another machine, so beside the figures
//! themselves stand those in relation to the reference, which met it too.

use super::{Compared, Comparison};
use crate::{
    bootstrap,
    failure::Failure,
    results::{Contest, Duel, Entrant, Figure},
    stats::median,
};

pub(super) fn compare(base: &Duel, other: &Duel) -> Result<Vec<Comparison>, Failure> {
    let mut comparisons = Vec::new();
    for contest in &base.scenarios {
        let Some(theirs) = other.scenarios.iter().find(|c| c.name == contest.name) else { continue };
        for entrant in &contest.proxies {
            let Some(their_entrant) = theirs.entrant(&entrant.name) else { continue };
            comparisons.push(of_entrant([contest, theirs], [entrant, their_entrant], warnings(base, other)));
        }
    }
    if comparisons.is_empty() {
        return Err(Failure::usage("the duels have no proxy in common that was in the same scenario"));
    }
    Ok(comparisons)
}

fn of_entrant(contests: [&Contest; 2], entrants: [&Entrant; 2], warnings: Vec<String>) -> Comparison {
    let [base, other] = contests;
    let mut figures = Vec::new();
    for figure in base.figures() {
        let values = [0, 1].map(|side| contests[side].values(entrants[side], figure));
        figures.extend(compared(figure.name(base.unit).to_owned(), figure, values));
        let to_reference = [0, 1].map(|side| contests[side].ratios(entrants[side], figure));
        if base.reference == other.reference && base.reference != entrants[0].name {
            let name = format!("{}, × {}", figure.name(base.unit), base.reference);
            figures.extend(compared(name, figure, to_reference));
        }
    }
    let name = |side: &str| format!("{} {} ({side})", base.name, entrants[0].name);
    Comparison { base: name("first"), other: name("other"), warnings, figures }
}

fn compared(name: String, figure: &Figure, [base, other]: [Vec<f64>; 2]) -> Option<Compared> {
    if base.is_empty() || other.is_empty() {
        return None;
    }
    let middle = |values: &[f64], places: &[usize]| median(places.iter().map(|place| values[*place]).collect());
    let mut row = Compared::new(name, figure.less_is_better, median(base.clone()), median(other.clone()));
    row.interval = bootstrap::of_two([base.len(), other.len()], |b, o| middle(&other, o) / middle(&base, b));
    Some(row)
}

fn warnings(base: &Duel, other: &Duel) -> Vec<String> {
    let (ours, theirs) = (&base.settings, &other.settings);
    let mut warnings = Vec::new();
    let mut differ = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            warnings.push(format!("{what} differs: {ours}, {theirs}"));
        }
    };
    differ("duration", format!("{} s", ours.duration_s), format!("{} s", theirs.duration_s));
    differ("priority", ours.priority.clone(), theirs.priority.clone());
    differ("network", ours.network.clone(), theirs.network.clone());
    for key in ["kernel", "cpu", "cores"] {
        differ(key, base.machine[key].to_string(), other.machine[key].to_string());
    }
    for (name, value) in &ours.equal {
        differ(name, value.clone(), theirs.equal.get(name).cloned().unwrap_or_default());
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::a_duel;

    #[test]
    fn the_same_duel_twice_does_not_differ() {
        let duel = a_duel();
        let comparisons = compare(&duel, &duel).expect("the same proxies");
        assert_eq!(comparisons.len(), 3, "a broken one has no figures, and is there");
        for figure in comparisons.iter().flat_map(|c| &c.figures) {
            assert_eq!(figure.ratio, Some(1.0), "{figure:?}");
        }
        assert!(comparisons.iter().all(|c| c.warnings.is_empty()));
    }

    #[test]
    fn a_slower_machine_is_seen_beside_the_relation_to_the_reference() {
        let base = a_duel();
        let mut other = a_duel();
        let samples =
            other.scenarios[0].proxies.iter_mut().flat_map(|e| &mut e.rounds).filter_map(|r| r.sample.as_mut());
        samples.for_each(|sample| sample.cpu_per_unit = sample.cpu_per_unit.map(|cpu| cpu * 3.0));
        other.settings.priority = "SCHED_RR".into();
        let comparisons = compare(&base, &other).expect("the same proxies");
        let ratio = |entrant: &str, name: &str| {
            let comparison = comparisons.iter().find(|c| c.base == format!("test {entrant} (first)"));
            comparison.and_then(|c| c.figures.iter().find(|f| f.name == name)).and_then(|f| f.ratio)
        };
        assert_eq!(ratio("other", "CPU µs/req"), Some(3.0));
        assert_eq!(ratio("other", "CPU µs/req, × reference"), Some(1.0));
        assert_eq!(ratio("reference", "CPU µs/req, × reference"), None, "it is always 1");
        assert_eq!(comparisons[0].warnings, ["priority differs: ordinary priority, SCHED_RR"]);
    }

    #[test]
    fn duels_with_nothing_in_common_are_refused() {
        let mut other = a_duel();
        other.scenarios[0].name = "something else".into();
        assert!(compare(&a_duel(), &other).is_err_and(|e| e.message.contains("no proxy in common")));
    }
}
