//! What one shard counts, and the sum over shards.

use balance_engine::driver::Errno;
use hdrhistogram::Histogram;
use std::time::Duration;

/// Longer latencies are filed here: an hour.
const LATENCY_NANOS_MAX: u64 = 3_600_000_000_000;
/// A value is kept to within 0.1 %.
const DIGITS: u8 = 3;

/// Why an exchange, or the connect before it, came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Connect(ConnectFault),
    /// No answer, or no progress of a stream, for the time-out.
    Timeout,
    Reset,
    /// The peer closed before everything had come.
    Short,
    /// A byte that is not the one that was sent, or one that was never sent.
    Corrupt {
        position: u64,
    },
    Other(Errno),
    /// Our own buffers ran out.
    NoBuffers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectFault {
    Refused,
    Timeout,
    /// The source addresses have no port left towards the target.
    NoPort,
    Other(Errno),
}

impl Fault {
    pub(crate) fn of_connect(errno: Errno) -> Self {
        Self::Connect(match errno {
            Errno::CONN_REFUSED => ConnectFault::Refused,
            Errno::TIMED_OUT => ConnectFault::Timeout,
            Errno::NO_PORT => ConnectFault::NoPort,
            other => ConnectFault::Other(other),
        })
    }

    pub(crate) fn of_stream(errno: Errno) -> Self {
        match errno {
            e if e.is_reset() => Self::Reset,
            Errno::TIMED_OUT => Self::Timeout,
            other => Self::Other(other),
        }
    }

    fn kind(self) -> usize {
        match self {
            Self::Connect(ConnectFault::Refused) => 0,
            Self::Connect(ConnectFault::Timeout) => 1,
            Self::Connect(ConnectFault::NoPort) => 2,
            Self::Connect(ConnectFault::Other(_)) => 3,
            Self::Timeout => 4,
            Self::Reset => 5,
            Self::Short => 6,
            Self::Corrupt { .. } => CORRUPT,
            Self::Other(_) | Self::NoBuffers => 8,
        }
    }

    /// In words, where the kind does not say it all.
    fn detail(self) -> Option<String> {
        match self {
            Self::Connect(ConnectFault::Other(errno)) => Some(format!("connecting failed: {errno}")),
            Self::Other(errno) => Some(errno.to_string()),
            Self::NoBuffers => Some("the load generator ran out of buffers".into()),
            _ => None,
        }
    }
}

const CORRUPT: usize = 7;
/// By [`Fault::kind`]; these are the keys of the JSON, too.
const KINDS: [&str; 9] = [
    "connect_refused",
    "connect_timeout",
    "connect_no_port",
    "connect_other",
    "timeout",
    "reset",
    "short",
    "corrupt",
    "other",
];

/// The first wrong byte that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corruption {
    pub(crate) connection: u32,
    /// Of the byte, counted from the connection's first.
    pub(crate) position: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Errors {
    counts: [u64; KINDS.len()],
    pub(crate) first_corruption: Option<Corruption>,
    /// The first error whose kind does not say it all.
    pub(crate) detail: Option<String>,
}

impl Errors {
    pub(crate) fn add(&mut self, connection: u32, fault: Fault) {
        self.counts[fault.kind()] += 1;
        if let Fault::Corrupt { position } = fault {
            self.first_corruption.get_or_insert(Corruption { connection, position });
        }
        if self.detail.is_none() {
            self.detail = fault.detail();
        }
    }

    pub(crate) fn by_kind(&self) -> impl Iterator<Item = (&'static str, u64)> {
        KINDS.into_iter().zip(self.counts)
    }

    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn corrupt(&self) -> u64 {
        self.counts[CORRUPT]
    }

    fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.first_corruption = self.first_corruption.or(other.first_corruption);
        if self.detail.is_none() {
            self.detail.clone_from(&other.detail);
        }
    }
}

/// The counts of a run. Errors, connections and connect times are of the whole run, the rest of the measured time only.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Connections that were established.
    pub(crate) connected: u64,
    pub(crate) requests: u64,
    pub(crate) bytes_out: u64,
    pub(crate) bytes_in: u64,
    /// Exchanges that had begun and were not over at the end.
    pub(crate) unfinished: u64,
    /// Connections open at the end.
    pub(crate) open: u64,
    pub(crate) errors: Errors,
    /// From the actual send to the answer, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    /// From the moment for which the send was intended; empty where nothing was (a closed loop).
    pub(crate) corrected: Histogram<u64>,
    /// How long after its intended moment a send began that had a free connection: the load generator's own fault.
    pub(crate) lag: Histogram<u64>,
    /// Exchanges that were due within the measured time and could not begin: every connection was busy.
    pub(crate) unsent: u64,
    /// CPU time of the shard's thread.
    pub(crate) cpu: Duration,
    /// How long connects took, in nanoseconds.
    pub(crate) connect: Histogram<u64>,
    /// How long was measured. Of several shards: the longest.
    pub(crate) measured: Duration,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            connected: 0,
            requests: 0,
            bytes_out: 0,
            bytes_in: 0,
            unfinished: 0,
            open: 0,
            errors: Errors::default(),
            latency: histogram(),
            corrected: histogram(),
            lag: histogram(),
            unsent: 0,
            cpu: Duration::ZERO,
            connect: histogram(),
            measured: Duration::ZERO,
        }
    }

    pub(crate) fn connected(&mut self, took: Duration) {
        self.connected += 1;
        self.connect.saturating_record(nanos(took));
    }

    pub(crate) fn answered(&mut self, latency: Duration, bytes_each_way: u64) {
        self.requests += 1;
        self.bytes_out += bytes_each_way;
        self.bytes_in += bytes_each_way;
        self.latency.saturating_record(nanos(latency));
    }

    /// An exchange that was to begin `lag` before it did.
    pub(crate) fn answered_late(&mut self, latency: Duration, lag: Duration, bytes_each_way: u64) {
        self.answered(latency, bytes_each_way);
        self.corrected.saturating_record(nanos(latency.saturating_add(lag)));
    }

    /// What people wait for: from the intended send where there is one, from the actual one elsewhere.
    pub(crate) fn waits(&self) -> &Histogram<u64> {
        if self.corrected.is_empty() { &self.latency } else { &self.corrected }
    }

    /// As new, with its memory kept.
    pub(crate) fn reset(&mut self) {
        let Self { latency, corrected, lag, connect, .. } = self;
        for histogram in [latency, corrected, lag, connect] {
            if !histogram.is_empty() {
                histogram.reset();
            }
        }
        self.errors = Errors::default();
        for count in [&mut self.connected, &mut self.requests, &mut self.bytes_out, &mut self.bytes_in] {
            *count = 0;
        }
        for count in [&mut self.unfinished, &mut self.open, &mut self.unsent] {
            *count = 0;
        }
        self.cpu = Duration::ZERO;
        self.measured = Duration::ZERO;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.connected += other.connected;
        self.requests += other.requests;
        self.bytes_out += other.bytes_out;
        self.bytes_in += other.bytes_in;
        self.unfinished += other.unfinished;
        self.open += other.open;
        self.unsent += other.unsent;
        self.cpu += other.cpu;
        self.errors.merge(&other.errors);
        // The bounds are the same, so that nothing is out of range.
        self.latency += &other.latency;
        self.corrected += &other.corrected;
        self.lag += &other.lag;
        self.connect += &other.connect;
        self.measured = self.measured.max(other.measured);
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_NANOS_MAX, DIGITS).expect("constants within the bounds of the crate")
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_add_up() {
        let mut first = Tally::new();
        first.answered(Duration::from_micros(10), 64);
        first.errors.add(3, Fault::Corrupt { position: 9 });
        first.measured = Duration::from_secs(1);
        let mut second = Tally::new();
        second.answered(Duration::from_micros(30), 64);
        second.errors.add(4, Fault::Corrupt { position: 1 });
        second.errors.add(4, Fault::of_stream(Errno::CONN_RESET));
        second.measured = Duration::from_secs(2);
        first.merge(&second);
        assert_eq!((first.requests, first.bytes_in, first.latency.len()), (2, 128, 2));
        assert_eq!((first.errors.total(), first.errors.corrupt()), (3, 2));
        assert_eq!(first.errors.first_corruption, Some(Corruption { connection: 3, position: 9 }));
        assert_eq!(first.measured, Duration::from_secs(2));
        assert!((19_990.0..20_010.0).contains(&first.latency.mean()), "{}", first.latency.mean());
    }

    #[test]
    fn every_kind_has_its_name() {
        let named = |fault: Fault| KINDS[fault.kind()];
        assert_eq!(named(Fault::of_connect(Errno::CONN_REFUSED)), "connect_refused");
        assert_eq!(named(Fault::of_connect(Errno::NO_PORT)), "connect_no_port");
        assert_eq!(named(Fault::of_connect(Errno::TOO_MANY_FILES)), "connect_other");
        assert_eq!(named(Fault::of_stream(Errno::BROKEN_PIPE)), "reset");
        assert_eq!(named(Fault::Short), "short");
        assert_eq!(named(Fault::Corrupt { position: 0 }), "corrupt");
        assert_eq!(named(Fault::NoBuffers), "other");
    }

    #[test]
    fn what_the_kind_does_not_say_is_kept_in_words() {
        let mut errors = Errors::default();
        errors.add(0, Fault::Reset);
        assert_eq!(errors.detail, None);
        errors.add(0, Fault::of_connect(Errno::TOO_MANY_FILES));
        assert!(errors.detail.expect("a detail").starts_with("connecting failed: "));
    }

    #[test]
    fn a_latency_beyond_all_bounds_is_filed_at_the_end() {
        let mut tally = Tally::new();
        tally.answered(Duration::MAX, 1);
        assert_eq!(tally.requests, tally.latency.len());
    }
}
