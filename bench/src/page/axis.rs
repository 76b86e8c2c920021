//! Where values lie on an axis, and what is written beside it.

/// How an axis runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// From zero.
    Linear {
        to: f64,
    },
    Log {
        from: f64,
        to: f64,
    },
    /// Quantiles by their number of nines: 0.9 is 1, 0.99 is 2.
    Nines {
        to: f64,
    },
}

/// Values further apart than this are not seen beside each other on a linear axis.
const APART: f64 = 15.0;

impl Scale {
    /// From zero to a round number that is not below `most`.
    pub(super) fn linear(most: f64) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let step = step(most);
        Self::Linear { to: (most / step - 1e-9).ceil() * step }
    }

    /// Whichever shows these values best.
    pub(super) fn fitting(values: impl IntoIterator<Item = f64>) -> Self {
        let values = values.into_iter().filter(|value| value.is_finite() && *value > 0.0);
        let (least, most) = values.fold((f64::INFINITY, 0.0_f64), |(a, b), v| (a.min(v), b.max(v)));
        if most / least <= APART || most == 0.0 {
            return Self::linear(most);
        }
        let down = |value: f64| 10_f64.powf(value.log10().floor());
        let from = [5.0, 2.0, 1.0].into_iter().map(|n| n * down(least)).find(|start| *start <= least);
        let to = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * down(most)).find(|end| *end >= most);
        Self::Log { from: from.unwrap_or(least), to: to.unwrap_or(most) }
    }

    /// Around 1, so far that all of `ratios` are on it.
    pub(super) fn around_one(ratios: impl IntoIterator<Item = f64>) -> Self {
        let ratios = ratios.into_iter().filter(|ratio| ratio.is_finite() && *ratio > 0.0);
        let furthest = ratios.fold(1.25_f64, |far, ratio| far.max(ratio).max(1.0 / ratio));
        let furthest = furthest.min(1e6) * 1.05;
        Self::Log { from: 1.0 / furthest, to: furthest }
    }

    /// From 0 at the beginning to 1 at the end.
    pub(super) fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear { to } => value / to,
            Self::Log { from, to } => (value.max(from) / from).ln() / (to / from).ln(),
            Self::Nines { to } => nines(value) / to,
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// What has a line and a number.
    pub(super) fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { to } => {
                let step = step(to);
                (0..=(to / step).round() as u32).map(|n| f64::from(n) * step).collect()
            }
            Self::Log { from, to } => log_ticks(from, to),
            Self::Nines { to } => {
                let quantiles = [0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999_999];
                quantiles.into_iter().filter(|q| nines(*q) <= to + 1e-9).collect()
            }
        }
    }
}

/// A round step that gives four to nine of them.
fn step(most: f64) -> f64 {
    let down = 10_f64.powf((most / 4.0).log10().floor());
    let steps = [5.0, 2.0, 1.0].map(|n| n * down);
    steps.into_iter().find(|step| most / step >= 4.0).unwrap_or(down)
}

fn log_ticks(from: f64, to: f64) -> Vec<f64> {
    let decades = (to / from).log10();
    let within: &[f64] = match decades {
        d if d < 0.5 => &[1.0, 1.1, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
        d if d < 3.5 => &[1.0, 2.0, 5.0],
        _ => &[1.0],
    };
    let first = from.log10().floor() as i32;
    let all = (first..=to.log10().ceil() as i32).flat_map(|e| within.iter().map(move |n| n * 10_f64.powi(e)));
    all.filter(|tick| (from * 0.999..=to * 1.001).contains(tick)).collect()
}

pub(super) fn nines(quantile: f64) -> f64 {
    -(1.0 - quantile).log10()
}

/// `12.5k`, `3M`: three digits that say something.
pub(super) fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    digits(value) + unit
}

/// Of microseconds.
pub(super) fn time(us: f64) -> String {
    match us {
        us if us >= 1e6 => digits(us / 1e6) + " s",
        us if us >= 1e3 => digits(us / 1e3) + " ms",
        us => digits(us) + " µs",
    }
}

pub(super) fn seconds(value: f64) -> String {
    digits(value) + " s"
}

/// `99.9 %`
pub(super) fn percent(quantile: f64) -> String {
    let text = format!("{:.4}", quantile * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned() + " %"
}

pub(super) fn ratio(value: f64) -> String {
    format!("× {}", digits(value))
}

fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_axes_end_at_round_numbers() {
        for (most, to, ticks) in [(93.0, 100.0, 6), (8.0, 8.0, 5), (100.0, 100.0, 6), (0.3, 0.3, 7), (0.0, 1.0, 6)] {
            let scale = Scale::linear(most);
            let Scale::Linear { to: end } = scale else { panic!("{scale:?}") };
            assert!((end - to).abs() < 1e-9, "{most}: {end}");
            assert_eq!(scale.ticks().len(), ticks, "{most}: {:?}", scale.ticks());
        }
        assert_eq!(Scale::linear(f64::NAN), Scale::linear(1.0));
        assert_eq!((Scale::linear(100.0).place(50.0), Scale::linear(100.0).place(500.0)), (0.5, 1.0));
    }

    #[test]
    fn values_far_apart_get_a_logarithmic_axis() {
        assert_eq!(Scale::fitting([3.0, 30.0]), Scale::linear(30.0));
        let scale = Scale::fitting([3.0, 700.0]);
        assert_eq!(scale, Scale::Log { from: 2.0, to: 1000.0 });
        assert_eq!(scale.ticks().first(), Some(&2.0));
        assert!((Scale::Log { from: 1.0, to: 100.0 }.place(10.0) - 0.5).abs() < 1e-9);
        assert_eq!(scale.place(0.0), 0.0);
    }

    #[test]
    fn quantiles_lie_by_their_nines() {
        let scale = Scale::Nines { to: 4.0 };
        assert!((scale.place(0.99) - 0.5).abs() < 1e-9);
        assert_eq!(scale.place(1.0), 0.0, "no place; it is not plotted");
        assert_eq!(scale.ticks(), [0.5, 0.9, 0.99, 0.999, 0.9999]);
    }

    #[test]
    fn ratios_lie_around_one() {
        let scale = Scale::around_one([0.5, 1.2]);
        assert!((scale.place(1.0) - 0.5).abs() < 1e-9);
        assert!(scale.place(0.5) > 0.0);
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(["12.3k", "3M", "950"].map(str::to_owned), [short(12_345.0), short(3e6), short(950.4)]);
        assert_eq!(["250 µs", "1.5 ms", "2 s", "0 µs"].map(str::to_owned), [250.0, 1500.0, 2e6, 0.0].map(time));
        assert_eq!(["50 %", "99.9 %", "0 %"].map(str::to_owned), [0.5, 0.999, 0.0].map(percent));
    }
}
