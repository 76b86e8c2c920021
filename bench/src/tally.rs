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
    /// More bytes than were asked for.
    Extra,
    /// An answer that is none of its protocol.
    Malformed(Malformed),
    /// An answer that says that it went wrong.
    BadStatus(u16),
    Other(Errno),
    /// Our own buffers ran out.
    NoBuffers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    Head(&'static str),
    Chunk,
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
            Self::Extra => EXTRA,
            Self::Malformed(_) => 9,
            Self::BadStatus(_) => 10,
            Self::Other(_) | Self::NoBuffers => 11,
        }
    }

    /// In words, for an example.
    fn words(self) -> String {
        match self {
            Self::Connect(ConnectFault::Refused) => "nobody listens there".into(),
            Self::Connect(ConnectFault::Timeout) => "no answer to the connect in time".into(),
            Self::Connect(ConnectFault::NoPort) => {
                "the source addresses have no port left towards the target; give more --sources".into()
            }
            Self::Connect(ConnectFault::Other(errno)) => {
                let more = if errno == Errno::TOO_MANY_FILES { "; raise ulimit -n, or open fewer" } else { "" };
                format!("connecting failed: {errno}{more}")
            }
            Self::Timeout => "no answer in time".into(),
            Self::Reset => "the peer reset the connection".into(),
            Self::Short => "the peer closed before everything had come".into(),
            Self::Corrupt { position } => format!("byte {position} is not the one that was to come"),
            Self::Extra => "more bytes came than were asked for".into(),
            Self::Malformed(Malformed::Head(why)) => format!("no answer in HTTP/1.1: {why}"),
            Self::Malformed(Malformed::Chunk) => "no answer in HTTP/1.1: a chunk is malformed".into(),
            Self::BadStatus(status) => format!("status {status}"),
            Self::Other(errno) => errno.to_string(),
            Self::NoBuffers => "the load generator ran out of buffers".into(),
        }
    }
}

const CORRUPT: usize = 7;
const EXTRA: usize = 8;
const KINDS_COUNT: usize = 12;
/// By [`Fault::kind`]; these are the keys of the JSON, too.
const KINDS: [&str; KINDS_COUNT] = [
    "connect_refused",
    "connect_timeout",
    "connect_no_port",
    "connect_other",
    "timeout",
    "reset",
    "short",
    "corrupt",
    "extra",
    "malformed",
    "bad_status",
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
    counts: [u64; KINDS_COUNT],
    pub(crate) first_corruption: Option<Corruption>,
    /// The first of each kind, in words.
    examples: [Option<String>; KINDS_COUNT],
}

impl Errors {
    pub(crate) fn add(&mut self, connection: u32, fault: Fault) {
        let kind = fault.kind();
        self.counts[kind] += 1;
        if let Fault::Corrupt { position } = fault {
            self.first_corruption.get_or_insert(Corruption { connection, position });
        }
        self.examples[kind].get_or_insert_with(|| format!("connection {connection}: {}", fault.words()));
    }

    pub(crate) fn by_kind(&self) -> impl Iterator<Item = (&'static str, u64)> {
        KINDS.into_iter().zip(self.counts)
    }

    /// The kinds that there were, each with its first example.
    pub(crate) fn examples(&self) -> impl Iterator<Item = (&'static str, &str)> {
        KINDS.into_iter().zip(&self.examples).filter_map(|(kind, example)| Some((kind, example.as_deref()?)))
    }

    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Answers that had wrong bytes, or too many.
    pub(crate) fn corrupt(&self) -> u64 {
        self.counts[CORRUPT] + self.counts[EXTRA]
    }

    fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.first_corruption = self.first_corruption.or(other.first_corruption);
        for (mine, theirs) in self.examples.iter_mut().zip(&other.examples).filter(|(mine, _)| mine.is_none()) {
            mine.clone_from(theirs);
        }
    }
}

/// How often each status came. A run sees few of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statuses(Vec<(u16, u64)>);

impl Statuses {
    pub(crate) fn add(&mut self, status: u16, count: u64) {
        match self.0.iter_mut().find(|(other, _)| *other == status) {
            Some((_, counted)) => *counted += count,
            None => self.0.push((status, count)),
        }
    }

    /// In order of the status.
    pub(crate) fn sorted(&self) -> Vec<(u16, u64)> {
        let mut all = self.0.clone();
        all.sort_unstable();
        all
    }
}

/// The counts of a run. Errors, connections and connect times are of the whole run, the rest of the measured time only.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Connections that were established.
    pub(crate) connected: u64,
    pub(crate) requests: u64,
    /// Of every answer that has one, the bad ones included.
    pub(crate) statuses: Statuses,
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
            statuses: Statuses::default(),
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

    /// An exchange is over. In an open loop it was to begin `lag` before it did.
    pub(crate) fn answered(&mut self, latency: Duration, lag: Option<Duration>) {
        self.requests += 1;
        self.latency.saturating_record(nanos(latency));
        if let Some(lag) = lag {
            self.corrected.saturating_record(nanos(latency.saturating_add(lag)));
        }
    }

    pub(crate) fn moved(&mut self, out: u64, back: u64) {
        self.bytes_out += out;
        self.bytes_in += back;
    }

    /// A send that had a free connection began so long after its moment.
    pub(crate) fn lagged(&mut self, lag: Duration) {
        self.lag.saturating_record(nanos(lag));
    }

    /// An exchange never began; at the end it had waited so long, which is the least that it would have taken.
    pub(crate) fn unsent(&mut self, waited: Duration) {
        self.unsent += 1;
        self.corrected.saturating_record(nanos(waited));
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
        // The statuses stay as rows without a count, so that no memory is asked for again.
        self.statuses.0.iter_mut().for_each(|(_, count)| *count = 0);
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
        other.statuses.0.iter().filter(|(_, count)| *count > 0).for_each(|(s, count)| self.statuses.add(*s, *count));
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
        first.answered(Duration::from_micros(10), None);
        first.moved(64, 64);
        first.errors.add(3, Fault::Corrupt { position: 9 });
        first.measured = Duration::from_secs(1);
        let mut second = Tally::new();
        second.answered(Duration::from_micros(30), Some(Duration::from_micros(30)));
        second.moved(64, 64);
        second.statuses.add(200, 1);
        second.errors.add(4, Fault::Corrupt { position: 1 });
        second.errors.add(4, Fault::of_stream(Errno::CONN_RESET));
        second.measured = Duration::from_secs(2);
        first.merge(&second);
        assert_eq!((first.requests, first.bytes_in, first.latency.len()), (2, 128, 2));
        assert_eq!((first.errors.total(), first.errors.corrupt()), (3, 2));
        assert_eq!((first.corrected.len(), first.corrected.max()), (1, 60_031), "to within a thousandth");
        assert_eq!(first.statuses.sorted(), [(200, 1)]);
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
        assert_eq!(named(Fault::Extra), "extra");
        assert_eq!(named(Fault::Malformed(Malformed::Chunk)), "malformed");
        assert_eq!(named(Fault::BadStatus(500)), "bad_status");
        assert_eq!(named(Fault::NoBuffers), "other");
    }

    #[test]
    fn the_first_of_each_kind_is_kept_in_words() {
        let mut errors = Errors::default();
        errors.add(4, Fault::Reset);
        errors.add(5, Fault::Reset);
        errors.add(6, Fault::of_connect(Errno::TOO_MANY_FILES));
        let examples: Vec<_> = errors.examples().collect();
        assert_eq!(examples[1], ("reset", "connection 4: the peer reset the connection"));
        assert!(examples[0].1.contains("ulimit -n"), "{examples:?}");
        assert_eq!(examples.len(), 2);
    }

    #[test]
    fn a_tally_that_was_reset_is_empty() {
        let mut tally = Tally::new();
        tally.answered(Duration::from_micros(10), Some(Duration::ZERO));
        tally.unsent(Duration::from_micros(10));
        tally.lagged(Duration::from_micros(10));
        tally.statuses.add(404, 1);
        tally.errors.add(1, Fault::Reset);
        tally.reset();
        let mut sum = Tally::new();
        sum.merge(&tally);
        assert_eq!((sum.requests, sum.unsent, sum.errors.total()), (0, 0, 0));
        assert_eq!((sum.latency.len(), sum.corrected.len(), sum.lag.len()), (0, 0, 0));
        assert_eq!(sum.statuses, Statuses::default());
    }

    #[test]
    fn a_latency_beyond_all_bounds_is_filed_at_the_end() {
        let mut tally = Tally::new();
        tally.answered(Duration::MAX, None);
        assert_eq!(tally.requests, tally.latency.len());
    }
}
