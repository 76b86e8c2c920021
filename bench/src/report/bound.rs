//! Whether a run was limited by the load generator itself: then its figures are ours and not the target's.

use super::Outcome;
use std::time::Duration;

/// The share of a core above which a shard of ours may be what is slow.
const CPU_SHARE_MAX: f64 = 0.85;
/// Sends of an open loop that had a free connection began later than this after their moment, in one of a hundred.
const LAG_MAX: Duration = Duration::from_millis(1);

impl Outcome {
    /// Each shard's CPU time in the measured time, as a share of it.
    pub(crate) fn cpu_shares(&self) -> Vec<f64> {
        let seconds = self.tally.measured.as_secs_f64();
        let share = |cpu: &Duration| if seconds > 0.0 { cpu.as_secs_f64() / seconds } else { 0.0 };
        self.shard_cpu.iter().map(share).collect()
    }

    /// Why the load generator may have been the bottleneck, in words; empty where it was not.
    pub(crate) fn client_bound(&self) -> Vec<String> {
        let mut why = Vec::new();
        for (shard, share) in self.cpu_shares().into_iter().enumerate().filter(|(_, share)| *share > CPU_SHARE_MAX) {
            let core = self.cores.get(shard).copied().unwrap_or_default();
            why.push(format!("the load generator used {:.0} % of core {core}; give it more --cores", share * 100.0));
        }
        let lag = Duration::from_nanos(self.tally.lag.value_at_quantile(0.99));
        if lag > LAG_MAX {
            why.push(format!(
                "the load generator sent late although connections were free: p99 {:.1} ms after the moment",
                lag.as_secs_f64() * 1e3
            ));
        }
        why
    }
}
