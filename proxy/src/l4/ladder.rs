//! The forwarding ladder: when a direction changes its rung. Pure.
//!
//! ```text
//!   copy ── bursts of `promote_bytes`, `promote_after` in a row ──► splice
//!     ▲                                                              │
//!     └────────────── `demote_after` short reads in a row ───────────┘
//! ```
//!
//! Where splice was refused (no pipe or no descriptor was left), `bundle` takes its place for that direction: it needs
//! neither, and costs a fifth of copying on bulk. `uring-splice` and `send-zc` are never chosen: splice costs less than
//! either wherever it was measured.
//!
//! A burst is what a source delivers before it has nothing more. Ping-pong of small messages never makes one, so it
//! never leaves the cheapest rung for small messages; a response of a few hundred KiB makes several. Between the two
//! thresholds nothing changes. Every return to copy doubles the short reads that the next one takes, so a peer that
//! alternates between the two kinds of traffic does not make the ladder swing: it settles on the rung for bulk.

use crate::report::RungKind;

/// How a listener wants bytes forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// Start in copy, change as the bytes suggest.
    Auto,
    /// Stay on one rung, to compare.
    Always(RungKind),
    /// Change whenever a test says so.
    #[cfg(test)]
    Scripted(super::script::Script),
}

/// What the ladder goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LadderSettings {
    pub forward: Forward,
    /// A burst of this size speaks for splice.
    pub promote_bytes: u32,
    /// So many in a row decide.
    pub promote_after: u8,
    /// So many short reads in a row decide for copy.
    pub demote_after: u8,
    /// On `send-zc`: batches of at least so many bytes are sent without a copy.
    pub zc_min: u32,
    /// Bytes that one connection may move before others get their turn.
    pub budget: u32,
}

impl Default for LadderSettings {
    fn default() -> Self {
        Self {
            forward: Forward::Auto,
            promote_bytes: 8 << 10,
            promote_after: 2,
            demote_after: 4,
            zc_min: 64 << 10,
            budget: 1 << 20,
        }
    }
}

/// What to do after an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    Stay,
    Change(RungKind),
    /// Forced to copy: what has come is to be sent together from now on, several buffers at once …
    Together,
    /// … or each buffer alone again, which is cheaper for small messages.
    Alone,
}

/// The memory of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observer {
    /// Bytes of the burst that is under way, since it last spoke for a change.
    burst: u32,
    /// The burst under way has spoken for a change.
    spoke: bool,
    /// Observations in a row that speak for a change.
    streak: u8,
    /// Splice was refused; this direction does not ask again.
    no_splice: bool,
    /// Times it went back to copy. Each makes the next one twice as hard.
    returns: u8,
}

impl Observer {
    /// On the copy rung: bytes came.
    pub fn copied(&mut self, bytes: u32, settings: &LadderSettings) -> Advice {
        self.burst = self.burst.saturating_add(bytes);
        match settings.forward {
            Forward::Always(RungKind::Copy) if self.burst < settings.promote_bytes => Advice::Stay,
            Forward::Always(RungKind::Copy) => self.spoken(settings, Advice::Together),
            // Refused once, it is not asked for at every buffer again.
            Forward::Always(RungKind::Splice | RungKind::UringSplice) if self.no_splice => Advice::Stay,
            Forward::Always(other) => Advice::Change(other),
            #[cfg(test)]
            Forward::Scripted(_) => Advice::Stay,
            Forward::Auto if self.burst < settings.promote_bytes => Advice::Stay,
            Forward::Auto => {
                let to = if self.no_splice { RungKind::Bundle } else { RungKind::Splice };
                self.spoken(settings, Advice::Change(to))
            }
        }
    }

    /// A burst speaks for a change. A stream without a pause is one burst after another.
    fn spoken(&mut self, settings: &LadderSettings, change: Advice) -> Advice {
        self.burst = 0;
        self.spoke = true;
        self.streak = self.streak.saturating_add(1);
        self.decide(settings.promote_after, change)
    }

    /// On the copy rung: the source has nothing more for now.
    pub fn dried_up(&mut self) {
        if self.burst > 0 && !self.spoke {
            self.streak = 0;
        }
        self.burst = 0;
        self.spoke = false;
    }

    /// On a bulk rung: one read brought so many bytes, and the source has no more for now.
    pub fn bulk_read(&mut self, bytes: u32, settings: &LadderSettings) -> Advice {
        let back = match settings.forward {
            Forward::Auto => Advice::Change(RungKind::Copy),
            Forward::Always(RungKind::Copy) => Advice::Alone,
            _ => Advice::Stay,
        };
        if bytes >= settings.promote_bytes / 2 || back == Advice::Stay {
            self.streak = 0;
            return Advice::Stay;
        }
        self.streak = self.streak.saturating_add(1);
        let after = u32::from(settings.demote_after.max(1)) << self.returns.min(8);
        self.decide(u8::try_from(after).unwrap_or(u8::MAX), back)
    }

    /// Back on copy: count from the beginning.
    pub fn start_over(&mut self) {
        *self = Self { no_splice: self.no_splice, returns: self.returns.saturating_add(1), ..Self::default() };
    }

    /// Splice could not be had (descriptors or pipes were used up): this direction does without from here on.
    pub fn refused(&mut self) {
        *self = Self { no_splice: true, ..Self::default() };
    }

    fn decide(&mut self, after: u8, change: Advice) -> Advice {
        if self.streak < after.max(1) {
            return Advice::Stay;
        }
        self.streak = 0;
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: LadderSettings = LadderSettings {
        forward: Forward::Auto,
        promote_bytes: 32_768,
        promote_after: 2,
        demote_after: 3,
        zc_min: 1,
        budget: 1 << 20,
    };

    /// Bursts of these sizes, each delivered in buffers of 4 KiB; how many bursts until splice is advised.
    fn bursts_until_splice(bursts: &[u32]) -> Option<usize> {
        let mut observer = Observer::default();
        for (number, burst) in bursts.iter().enumerate() {
            let mut left = *burst;
            while left > 0 {
                let piece = left.min(4096);
                left -= piece;
                if observer.copied(piece, &SETTINGS) == Advice::Change(RungKind::Splice) {
                    return Some(number);
                }
            }
            observer.dried_up();
        }
        None
    }

    #[test]
    fn small_messages_never_leave_copy() {
        assert_eq!(bursts_until_splice(&[64; 10_000]), None);
        assert_eq!(bursts_until_splice(&[16 << 10; 10_000]), None);
    }

    #[test]
    fn bulk_is_spliced_soon() {
        assert_eq!(bursts_until_splice(&[64 << 10]), Some(0));
        assert_eq!(bursts_until_splice(&[64, 64, 1 << 20]), Some(2));
    }

    #[test]
    fn without_splice_bulk_is_bundled() {
        let mut observer = Observer::default();
        observer.refused();
        let advice = [4096; 16].map(|bytes| observer.copied(bytes, &SETTINGS));
        assert_eq!(advice[..15], [Advice::Stay; 15]);
        assert_eq!(advice[15], Advice::Change(RungKind::Bundle));
        observer.start_over();
        let again = [4096; 16].map(|bytes| observer.copied(bytes, &SETTINGS));
        assert_eq!(again[15], Advice::Change(RungKind::Bundle), "it does not ask for splice again");
    }

    #[test]
    fn a_burst_a_little_over_the_threshold_counts_as_one() {
        assert_eq!(bursts_until_splice(&[33 << 10, 33 << 10]), Some(1));
    }

    #[test]
    fn a_lone_burst_decides_nothing() {
        assert_eq!(bursts_until_splice(&[40 << 10, 64, 40 << 10, 64, 40 << 10]), None);
    }

    #[test]
    fn short_reads_in_a_row_lead_back_and_long_ones_in_between_do_not() {
        let mut observer = Observer::default();
        let mut advise = |bytes| observer.bulk_read(bytes, &SETTINGS);
        for bytes in [1, 1, 1 << 20, 1, 1, 20 << 10] {
            assert_eq!(advise(bytes), Advice::Stay);
        }
        assert_eq!([1, 1, 1].map(advise), [Advice::Stay, Advice::Stay, Advice::Change(RungKind::Copy)]);
    }

    #[test]
    fn a_peer_that_alternates_does_not_make_the_ladder_swing() {
        let mut observer = Observer::default();
        for round in 0..1000 {
            let bytes = if round % 2 == 0 { 1 } else { 1 << 20 };
            assert_eq!(observer.bulk_read(bytes, &SETTINGS), Advice::Stay);
        }
    }

    /// Long rows of short reads, again and again: each return takes more of them, and in the end there is none.
    #[test]
    fn every_return_makes_the_next_one_harder() {
        let mut observer = Observer::default();
        let mut rows = Vec::new();
        for _ in 0..10 {
            let row = (1..=1000).find(|_| observer.bulk_read(1, &SETTINGS) == Advice::Change(RungKind::Copy));
            rows.extend(row);
            observer.start_over();
        }
        assert_eq!(rows, [3, 6, 12, 24, 48, 96, 192, 255, 255, 255]);
    }

    #[test]
    fn a_forced_rung_is_taken_at_once_and_kept() {
        let forced = LadderSettings { forward: Forward::Always(RungKind::Splice), ..SETTINGS };
        let mut observer = Observer::default();
        assert_eq!(observer.copied(1, &forced), Advice::Change(RungKind::Splice));
        for _ in 0..100 {
            assert_eq!(observer.bulk_read(1, &forced), Advice::Stay);
        }
    }

    #[test]
    fn forced_to_copy_bulk_is_sent_together_and_small_messages_are_not() {
        let copy = LadderSettings { forward: Forward::Always(RungKind::Copy), ..SETTINGS };
        let mut observer = Observer::default();
        for _ in 0..100 {
            assert_eq!(observer.copied(20 << 10, &copy), Advice::Stay);
            observer.dried_up();
        }
        assert_eq!([1 << 20, 1 << 20].map(|b| observer.copied(b, &copy)), [Advice::Stay, Advice::Together]);
        observer.start_over();
        for bytes in [1, 1, 1 << 20, 1, 1, 1, 1, 1] {
            assert_eq!(observer.bulk_read(bytes, &copy), Advice::Stay);
        }
        assert_eq!(observer.bulk_read(1, &copy), Advice::Alone);
    }
}
