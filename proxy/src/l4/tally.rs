//! What one poll of a connection moved, and on which rungs.

use super::rung::ZeroCopyReports;
use crate::report::{RungKind, RungReport};

/// Counted on the stack while a connection is polled, then added to the shard's counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    rungs: [RungReport; RungKind::ALL.len()],
    /// A rung was changed, or could not be.
    changed: bool,
}

impl Tally {
    pub(super) fn sent(&mut self, rung: RungKind, bytes: u32) {
        self.rungs[rung as usize].bytes += u64::from(bytes);
    }

    pub(super) fn entered(&mut self, rung: RungKind) {
        self.rungs[rung as usize].entered += 1;
        self.changed = true;
    }

    pub(super) fn zero_copy(&mut self, rung: RungKind, reports: ZeroCopyReports) {
        let of = &mut self.rungs[rung as usize];
        of.zero_copied += u64::from(reports.zero_copied);
        of.copied += u64::from(reports.copied);
        of.switched_off += u64::from(reports.switched_off);
        self.changed |= reports.zero_copied + reports.copied > 0;
    }

    pub(super) fn refused(&mut self, rung: RungKind) {
        self.rungs[rung as usize].refused += 1;
        self.changed = true;
    }

    /// Bytes on all rungs.
    pub(super) fn bytes(&self) -> u64 {
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
            total.switched_off += part.switched_off;
        }
    }
}
