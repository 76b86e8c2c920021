//! A log that a thousand names cannot flood.

use std::time::Duration;
use tokio::time::Instant;

const LINES_MAX: u32 = 10;
const PERIOD: Duration = Duration::from_secs(10);

/// Lets so many lines through a period, and remembers how many it held back.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    since: Option<Instant>,
    said: u32,
    held_back: u32,
}

impl Quiet {
    /// Whether a line may be written. The number is that of the lines held back before it.
    pub(super) fn may_say(&mut self, now: Instant) -> Option<u32> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= PERIOD) {
            self.since = Some(now);
            self.said = 0;
        }
        if self.said == LINES_MAX {
            self.held_back += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.held_back))
    }
}

/// Of the failures in a row, those worth a line: the first, the second, the fourth …
pub(super) const fn is_worth_a_line(streak: u32) -> bool {
    streak.is_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let mut quiet = Quiet::default();
        let start = Instant::now();
        let said = (0..1000).filter(|_| quiet.may_say(start) == Some(0)).count();
        assert_eq!(said as u32, LINES_MAX);
        assert_eq!(quiet.may_say(start + PERIOD / 2), None);
        assert_eq!(quiet.may_say(start + PERIOD), Some(991));
        assert_eq!(quiet.may_say(start + PERIOD), Some(0));
    }
}
