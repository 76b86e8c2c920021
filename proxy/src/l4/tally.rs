//! What one poll of a connection moved, and on which rungs.

use super::rung::ZeroCopyReports;
use crate::report::{RungKind, RungReport};

/// Counted on the stack while a connection is polled, then added to the shard's counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    rungs: [RungReport; RungKind::ALL.len()],
    /// A rung was changed, or could not be.
    changed: bool,
    #[cfg(test)]
    changes: Changes,
}

/// Changes of rung: from, to.
#[cfg(test)]
pub(crate) type Changes = [[u64; RungKind::ALL.len()]; RungKind::ALL.len()];

impl Tally {
    pub(super) fn sent(&mut self, rung: RungKind, bytes: u32) {
        self.rungs[rung as usize].bytes += u64::from(bytes);
    }

    pub(super) fn changed(&mut self, from: RungKind, to: RungKind) {
        debug_assert_ne!(from, to, "a rung is not left for itself");
        self.rungs[to as usize].entered += 1;
        self.changed = true;
        #[cfg(test)]
        {
            self.changes[from as usize][to as usize] += 1;
        }
    }

    #[cfg(test)]
    pub(crate) fn add_changes_to(&self, totals: &mut Changes) {
        let parts = self.changes.as_flattened();
        totals.as_flattened_mut().iter_mut().zip(parts).for_each(|(total, part)| *total += part);
    }

    pub(super) fn zero_copy(&mut self, rung: RungKind, reports: ZeroCopyReports) {
        let of = &mut self.rungs[rung as usize];
        of.zero_copied += u64::from(reports.zero_copied);
        of.copied += u64::from(reports.copied);
        of.registered += u64::from(reports.registered);
        of.switched_off += u64::from(reports.switched_off);
        self.changed |= reports.zero_copied + reports.copied > 0;
    }

    pub(super) fn refused(&mut self, rung: RungKind) {
        self.rungs[rung as usize].refused += 1;
        self.changed = true;
    }

    /// Bytes on all rungs.
    pub(crate) fn bytes(&self) -> u64 {
        self.rungs.iter().map(|r| r.bytes).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.changed && self.bytes() == 0
    }

    /// Add this to what a shard has counted.
    pub(crate) fn add_to(&self, totals: &mut [RungReport; RungKind::ALL.len()]) {
        for (total, part) in totals.iter_mut().zip(&self.rungs) {
            total.bytes += part.bytes;
            total.entered += part.entered;
            total.refused += part.refused;
            total.zero_copied += part.zero_copied;
            total.copied += part.copied;
            total.registered += part.registered;
            total.switched_off += part.switched_off;
        }
    }
}
