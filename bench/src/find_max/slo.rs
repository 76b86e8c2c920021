//! What must hold: `p99<5ms,errors<0.1%`.

use crate::{
    latency,
    report::{Outcome, number},
    values,
};
use std::{fmt, time::Duration};

#[derive(Clone, Debug, PartialEq)]
enum Term {
    Latency {
        name: String,
        quantile: f64,
        below: Duration,
    },
    /// A share, from 0 to 1, of all answers and failures.
    Errors {
        below: f64,
    },
}

/// All of it must hold.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slo(Vec<Term>);

impl Slo {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let terms = text.split(',').map(|term| Term::parse(term.trim()));
        terms.collect::<Result<_, _>>().map(Self)
    }

    /// What does not hold, with its figure; empty where everything does.
    pub(super) fn broken(&self, outcome: &Outcome) -> Vec<String> {
        self.0.iter().filter_map(|term| term.broken(outcome)).collect()
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&terms.join(","))
    }
}

impl Term {
    fn parse(text: &str) -> Result<Self, String> {
        let (name, limit) = text.split_once('<').ok_or_else(|| format!("{text:?}: write p99<5ms or errors<0.1%"))?;
        let (name, limit) = (name.trim(), limit.trim());
        if name == "errors" {
            let percent = limit.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
            return match percent {
                Some(percent) if percent > 0.0 && percent <= 100.0 => Ok(Self::Errors { below: percent / 100.0 }),
                _ => Err(format!("{limit:?} is no share of errors; write errors<0.1%")),
            };
        }
        let quantile = latency::quantile(name)?;
        Ok(Self::Latency { name: name.into(), quantile, below: values::time_span(limit)? })
    }

    fn broken(&self, outcome: &Outcome) -> Option<String> {
        match self {
            Self::Latency { name, quantile, below } => {
                let waits = outcome.tally.waits();
                let measured = Duration::from_nanos(waits.value_at_quantile(*quantile));
                let holds = !waits.is_empty() && measured < *below;
                (!holds).then(|| format!("{name} {:.2} ms", measured.as_secs_f64() * 1e3))
            }
            Self::Errors { below } => {
                let share = error_share(outcome);
                (share >= *below).then(|| format!("errors {} %", number(share * 100.0, 2)))
            }
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency { name, below, .. } => write!(f, "{name}<{}ms", below.as_secs_f64() * 1e3),
            Self::Errors { below } => write!(f, "errors<{}%", below * 100.0),
        }
    }
}

/// Of the measured time.
pub(super) fn error_share(outcome: &Outcome) -> f64 {
    let errors: u64 = outcome.points.iter().map(|point| point.errors).sum();
    let all = errors + outcome.tally.requests;
    if all == 0 { 1.0 } else { errors as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::Mode, report::tests::outcome};

    #[test]
    fn an_slo_as_it_is_written() {
        let slo = Slo::parse("p99<5ms, errors<0.1%").unwrap();
        assert_eq!(slo.to_string(), "p99<5ms,errors<0.1%");
        for wrong in ["", "p99", "p99<", "p99<5", "errors<5", "errors<0%", "mean<5ms", "p99<5ms,,", "p99>5ms"] {
            assert!(Slo::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn each_term_is_held_against_the_run() {
        let mut run = outcome(Mode::PingPong, 4_000);
        let broken = |run: &Outcome, slo: &str| Slo::parse(slo).unwrap().broken(run);
        assert!(broken(&run, "p99<5ms,errors<0.1%").is_empty());
        assert_eq!(broken(&run, "p99<3ms,max<9ms"), ["p99 4.00 ms"]);
        // 2000 were answered.
        run.points[0].errors = 2;
        assert!(broken(&run, "errors<0.1%").is_empty());
        run.points[0].errors = 20;
        assert_eq!(broken(&run, "errors<0.9%"), ["errors 0.99 %"]);
        run.tally = crate::tally::Tally::new();
        run.points.clear();
        assert_eq!(broken(&run, "p99<5ms,errors<50%").len(), 2, "nothing that came back is no success");
    }
}
