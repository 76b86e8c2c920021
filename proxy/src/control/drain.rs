//! Leaving without losing a connection.
//!
//! ```text
//!  signal          min                                deadline
//!    │ /readyz 503  │ stop accepting                      │ end what is left
//!    ├──────────────┼─────────────────────────────────────┤
//!    │ accepting    │ connections finish; none left: done │
//! ```
//! Accepting goes on for `min` because load balancers in front of us take a while to see the 503.

use super::{
    Control, Phase,
    events::Events,
    fleet::{ANSWER_WAIT, Answer},
};
use crate::{
    exit::Failure,
    report::{Reason, ShardReport},
};
use std::{io::Write, time::Duration};
use tokio::time::{Instant, sleep_until, timeout_at};

/// How long a shard may take to cancel, drain its ring and leave.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// The same after a second signal.
const STOP_GRACE_HURRIED: Duration = Duration::from_secs(1);
/// How long the last statistics are waited for then. A shard answers within a turn, but a machine that is short of CPU
/// may not give it one at once.
const LAST_WORDS_HURRIED: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DrainOrder {
    /// Instead of the configured one.
    pub(crate) deadline: Option<Duration>,
    pub(crate) why: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// No connection was left.
    Finished,
    DeadlinePassed,
    Hurried,
}

/// Drains, stops the shards and prints the last statistics.
///
/// # Errors
/// A shard that did not leave.
pub(crate) async fn drain(control: &Control, order: DrainOrder, events: &mut Events) -> Result<(), Failure> {
    let (accept_until, deadline) = begin(control, order);
    let outcome = tokio::select! {
        outcome = wait_for_connections(control, accept_until, deadline) => outcome,
        why = events.hurry() => {
            tracing::warn!(signal = why, "a second signal: ending at once");
            Outcome::Hurried
        }
    };
    let (last_words, grace) = match outcome {
        Outcome::Hurried => (LAST_WORDS_HURRIED, STOP_GRACE_HURRIED),
        Outcome::Finished | Outcome::DeadlinePassed => (ANSWER_WAIT, STOP_GRACE),
    };
    let reports = control.fleet.reports_within(last_words).await;
    let left = control.fleet.stop(grace).await;
    let last = Last::new(&reports, control.started.elapsed());
    if last.active > 0 {
        tracing::warn!(connections = last.active, "connections were ended before they finished");
    }
    // Nobody may be there to read it, which is no reason to fail.
    let _ = std::io::stdout().write_all(last.text().as_bytes());
    control.installer.lock().await.close();
    if left.is_empty() {
        return Ok(());
    }
    Err(Failure::runtime(format!("shard {left:?} did not stop within {grace:?}")))
}

/// Fails readiness from now on.
fn begin(control: &Control, order: DrainOrder) -> (Instant, Instant) {
    let settings = control.view().map(|v| v.loaded.config.drain);
    let (min, deadline) = settings.map_or((Duration::ZERO, Duration::ZERO), |d| (d.min, d.deadline));
    let wait = order.deadline.unwrap_or(deadline);
    let since = Instant::now();
    let deadline = since + wait;
    control.shared().phase = Phase::Draining { since, deadline };
    tracing::info!(why = order.why, deadline = ?wait, "draining");
    (since + min.min(wait), deadline)
}

/// # Cancel safety
/// The shards go on draining; nothing else is held.
async fn wait_for_connections(control: &Control, accept_until: Instant, deadline: Instant) -> Outcome {
    sleep_until(accept_until).await;
    let pending = control.fleet.drain(deadline).await;
    tracing::info!("not accepting any more");
    for drained in pending {
        // An answer that is dropped is a shard that has ended: nothing is left there either.
        if timeout_at(deadline, drained).await.is_err() {
            tracing::warn!("the drain deadline has passed");
            return Outcome::DeadlinePassed;
        }
    }
    Outcome::Finished
}

/// The numbers of a whole life.
#[derive(Debug, Default)]
struct Last {
    uptime: Duration,
    accepted: u64,
    bytes_up: u64,
    bytes_down: u64,
    /// Still there when the shards were stopped.
    active: u64,
    endings: Vec<(&'static str, u64)>,
    silent: usize,
}

impl Last {
    fn new(answers: &[Answer<ShardReport>], uptime: Duration) -> Self {
        let reports: Vec<_> = answers.iter().filter_map(Answer::get).collect();
        let listeners = || reports.iter().flat_map(|r| &r.listeners);
        let ended = |reason: Reason| {
            let all = reports.iter().flat_map(|r| &r.endings);
            all.filter(|(r, _)| *r == reason).map(|(_, count)| count).sum::<u64>()
        };
        Self {
            uptime,
            accepted: listeners().map(|l| l.accepted).sum(),
            bytes_up: listeners().map(|l| l.bytes_up).sum(),
            bytes_down: listeners().map(|l| l.bytes_down).sum(),
            active: listeners().map(|l| l.active).sum(),
            endings: Reason::ALL.iter().map(|r| (r.as_str(), ended(*r))).filter(|e| e.1 > 0).collect(),
            silent: answers.len() - reports.len(),
        }
    }

    fn text(&self) -> String {
        use std::fmt::Write;
        let mut text = format!(
            "ended after {:.1?}\n  accepted {}  bytes up {}  down {}\n",
            self.uptime, self.accepted, self.bytes_up, self.bytes_down
        );
        for (reason, count) in &self.endings {
            let _ = writeln!(text, "  {reason} {count}");
        }
        if self.active > 0 {
            let _ = writeln!(text, "  cut short {}", self.active);
        }
        if self.silent > 0 {
            let _ = writeln!(text, "  without the numbers of {} shards that did not answer", self.silent);
        }
        text
    }
}
