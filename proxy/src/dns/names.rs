//! What is known of every name, when it is asked for again, and what an answer changes. Pure: `now`, answers and the
//! seed of the jitter come in as arguments.
//!
//! A name has one question for each record type, A and AAAA, and each question lives by itself:
//!
//! ```text
//!            begin_due                  handle: addresses      → these, again after their TTL
//!   Due(t) ───────────► Asking ───────► handle: none, no name, → the last good ones, again after a pause that
//!      ▲                   │                    no answer        doubles
//!      └───────────────────┘
//! ```

use balance_config::model::{self, DnsFamily};
use balance_engine::rng::Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// Addresses that one record type of a name may have. A message of 64 KiB holds four thousand.
pub(super) const ADDRESSES_MAX: usize = 256;
/// Questions at once, so that ten thousand names are no burst that a resolver drops.
pub(super) const ASKING_MAX: usize = 16;
/// The longest pause while a name has no address at all, unless `ttl_min` is longer: connections are being refused.
const EMPTY_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Due times are spread by ± a tenth.
const JITTER_DIVISOR: u32 = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Record {
    A,
    Aaaa,
}

impl Record {
    const ALL: [Self; 2] = [Self::A, Self::Aaaa];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::A => Self::Aaaa,
            Self::Aaaa => Self::A,
        }
    }

    const fn is_of(self, family: DnsFamily) -> bool {
        matches!((self, family), (_, DnsFamily::Any) | (Self::A, DnsFamily::V4) | (Self::Aaaa, DnsFamily::V6))
    }
}

/// How asking went, as `resolutions_total` counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Ok,
    /// The name exists and has no address of this type, or its aliases lead in a circle.
    Empty,
    NxDomain,
    ServFail,
    Refused,
    Timeout,
    /// No server could be reached, or none is known.
    Unreachable,
    /// An answer that cannot be read, or is cut short even over TCP.
    BadAnswer,
}

impl Verdict {
    pub(crate) const ALL: [Self; 8] = [
        Self::Ok,
        Self::Empty,
        Self::NxDomain,
        Self::ServFail,
        Self::Refused,
        Self::Timeout,
        Self::Unreachable,
        Self::BadAnswer,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Empty => "empty",
            Self::NxDomain => "nxdomain",
            Self::ServFail => "servfail",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::BadAnswer => "bad_answer",
        }
    }
}

/// What is to be asked. Whoever has one must bring it back to [`Names::handle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) host: Arc<str>,
    pub(super) record: Record,
    /// Tells it from the same question before a change of the settings, whose answer means nothing any more.
    ticket: u64,
}

impl Question {
    #[cfg(test)]
    pub(super) fn new(host: &str, record: Record) -> Self {
        Self { host: host.into(), record, ticket: 0 }
    }
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Addresses {
        addresses: Vec<IpAddr>,
        ttl: Duration,
    },
    /// There is such a name, but no address of this type.
    Empty,
    /// Never [`Verdict::Ok`] nor [`Verdict::Empty`].
    Failed(Verdict),
}

impl Outcome {
    const fn verdict(&self) -> Verdict {
        match self {
            Self::Addresses { .. } => Verdict::Ok,
            Self::Empty => Verdict::Empty,
            Self::Failed(verdict) => *verdict,
        }
    }
}

/// What an outcome meant for its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Handled {
    /// The name has other addresses than before.
    pub(super) changed: bool,
    /// Set exactly when the question failed.
    pub(super) failed: Option<Failed>,
    /// It had failed so often before this good answer.
    pub(super) recovered_after: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) verdict: Verdict,
    /// Failures in a row, this one included.
    pub(super) streak: u32,
}

/// A name as operators see it.
#[derive(Clone, Debug)]
pub(crate) struct NameReport {
    pub(crate) name: Arc<str>,
    pub(crate) addresses: Vec<IpAddr>,
    /// Since an answer last confirmed these addresses; of the older one where there are two. `None`: it has none.
    pub(crate) age: Option<Duration>,
    /// The record type and why it failed, while the latest attempt did.
    pub(crate) failing: Option<(&'static str, Verdict)>,
    /// Failures in a row.
    pub(crate) streak: u32,
    pub(crate) results: [u64; Verdict::ALL.len()],
    /// Zero while it is being asked for.
    pub(crate) next_try: Duration,
}

/// Every name of the configuration.
#[derive(Debug)]
pub(super) struct Names {
    settings: model::Dns,
    names: BTreeMap<Arc<str>, Name>,
    /// Exactly the questions that are [`Turn::Due`].
    due: BTreeSet<(Instant, Arc<str>, Record)>,
    asking: usize,
    tickets: u64,
    rng: Rng,
}

#[derive(Debug, Default)]
struct Name {
    tracks: [Option<Track>; 2],
    results: [u64; Verdict::ALL.len()],
}

/// One question of a name.
#[derive(Debug)]
struct Track {
    turn: Turn,
    /// Sorted, each once.
    addresses: Vec<IpAddr>,
    good_at: Option<Instant>,
    failing: Option<Verdict>,
    streak: u32,
    /// An outcome has come, whatever it was.
    tried: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Due(Instant),
    Asking { ticket: u64 },
}

impl Track {
    fn new(now: Instant) -> Self {
        Self { turn: Turn::Due(now), addresses: Vec::new(), good_at: None, failing: None, streak: 0, tried: false }
    }
}

impl Name {
    fn track(&self, record: Record) -> Option<&Track> {
        self.tracks[record as usize].as_ref()
    }

    fn has_addresses(&self) -> bool {
        self.tracks.iter().flatten().any(|t| !t.addresses.is_empty())
    }
}

impl Names {
    pub(super) fn new(settings: model::Dns, seed: u64) -> Self {
        Self { settings, names: BTreeMap::new(), due: BTreeSet::new(), asking: 0, tickets: 0, rng: Rng::new(seed) }
    }

    /// Makes `wanted` known, due at once where they are new. Settings other than before make every name due.
    pub(super) fn add<'a>(&mut self, wanted: impl IntoIterator<Item = &'a str>, settings: &model::Dns, now: Instant) {
        for host in wanted {
            if !self.names.contains_key(host) {
                self.names.insert(host.into(), Name::default());
            }
        }
        if self.settings != *settings {
            self.settings = settings.clone();
            self.ask_again(now);
        }
        let family = self.settings.family;
        for (host, name) in &mut self.names {
            for record in Record::ALL.into_iter().filter(|r| r.is_of(family)) {
                if name.tracks[record as usize].is_none() {
                    name.tracks[record as usize] = Some(Track::new(now));
                    self.due.insert((now, host.clone(), record));
                }
            }
        }
    }

    /// Forgets every name but `wanted`.
    pub(super) fn retain(&mut self, wanted: &BTreeSet<&str>) {
        let asking = &mut self.asking;
        self.names.retain(|host, name| {
            let keep = wanted.contains(&**host);
            let lost = name.tracks.iter().flatten().filter(|t| !keep && matches!(t.turn, Turn::Asking { .. }));
            *asking -= lost.count();
            keep
        });
        let names = &self.names;
        self.due.retain(|(_, host, _)| names.contains_key(host));
    }

    /// Under new settings every answer may be another one. Addresses stay until there is one, but for those of a family
    /// that is not wanted any more.
    fn ask_again(&mut self, now: Instant) {
        self.due.clear();
        self.asking = 0;
        for (host, name) in &mut self.names {
            for record in Record::ALL {
                let slot = &mut name.tracks[record as usize];
                slot.take_if(|_| !record.is_of(self.settings.family));
                if let Some(track) = slot {
                    track.turn = Turn::Due(now);
                    track.streak = 0;
                    self.due.insert((now, host.clone(), record));
                }
            }
        }
    }

    /// A question whose time has come, while there may be another one at once.
    pub(super) fn begin_due(&mut self, now: Instant) -> Option<Question> {
        if self.next_due()? > now {
            return None;
        }
        let (_, host, record) = self.due.pop_first()?;
        self.tickets += 1;
        let ticket = self.tickets;
        let track = self.names.get_mut(&host)?.tracks[record as usize].as_mut()?;
        track.turn = Turn::Asking { ticket };
        self.asking += 1;
        Some(Question { host, record, ticket })
    }

    /// When [`Self::begin_due`] will have something; `None`: not before an outcome or another name has come.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let (at, ..) = self.due.first().filter(|_| self.asking < ASKING_MAX)?;
        Some(*at)
    }

    /// Every name has been answered, well or badly, at least once.
    pub(super) fn all_tried(&self) -> bool {
        self.names.values().all(|name| name.tracks.iter().flatten().all(|t| t.tried))
    }

    pub(super) fn handle(&mut self, question: &Question, outcome: Outcome, now: Instant) -> Handled {
        let Question { host, record, ticket } = question;
        let Some(name) = self.names.get_mut(host) else { return Handled::default() };
        let sibling = name.track(record.other()).map(|t| (t.tried, !t.addresses.is_empty()));
        let Some(track) = &mut name.tracks[*record as usize] else { return Handled::default() };
        if track.turn != (Turn::Asking { ticket: *ticket }) {
            return Handled::default();
        }
        self.asking -= 1;
        let outcome = cleaned(outcome);
        let verdict = outcome.verdict();
        name.results[verdict as usize] += 1;
        let before = track.streak;
        let mut handled = Handled::default();
        let pause = match outcome {
            Outcome::Addresses { addresses, ttl } => {
                handled.changed = track.addresses != addresses;
                track.addresses = addresses;
                track.good_at = Some(now);
                track.succeed();
                ttl.clamp(self.settings.ttl_min, self.settings.ttl_max)
            }
            // Most names have only one kind of address. To have none at all is another matter, and is decided when both
            // have been asked for.
            Outcome::Empty if matches!(sibling, Some((false, _) | (_, true))) => {
                track.succeed();
                if sibling.is_some_and(|(_, has_addresses)| has_addresses) {
                    handled.changed = !std::mem::take(&mut track.addresses).is_empty();
                    self.settings.ttl_max
                } else {
                    self.settings.ttl_min
                }
            }
            Outcome::Empty | Outcome::Failed(_) => {
                track.fail(verdict);
                handled.failed = Some(Failed { verdict, streak: track.streak });
                let streak = track.streak;
                pause(&self.settings, streak, name.has_addresses())
            }
        };
        if handled.failed.is_none() {
            handled.recovered_after = before;
        }
        let at = now + jittered(pause, &mut self.rng);
        if let Some(track) = &mut name.tracks[*record as usize] {
            track.turn = Turn::Due(at);
        }
        self.due.insert((at, host.clone(), *record));
        handled
    }

    /// The addresses of `host` now, sorted, each once.
    pub(super) fn addresses(&self, host: &str) -> Vec<IpAddr> {
        // IPv4 sorts before IPv6, and A comes first.
        let tracks = self.names.get(host).into_iter().flat_map(|n| n.tracks.iter().flatten());
        tracks.flat_map(|t| t.addresses.iter().copied()).collect()
    }

    pub(super) fn hosts(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.keys()
    }

    /// By name.
    pub(super) fn report(&self, now: Instant) -> Vec<NameReport> {
        let report = |(host, name): (&Arc<str>, &Name)| {
            let tracks = || Record::ALL.into_iter().filter_map(|r| Some((r, name.track(r)?)));
            let in_use = tracks().filter(|(_, t)| !t.addresses.is_empty());
            let next = tracks().map(|(_, t)| match t.turn {
                Turn::Due(at) => at.saturating_duration_since(now),
                Turn::Asking { .. } => Duration::ZERO,
            });
            NameReport {
                name: host.clone(),
                addresses: self.addresses(host),
                age: in_use.filter_map(|(_, t)| t.good_at).min().map(|at| now.saturating_duration_since(at)),
                failing: tracks().find_map(|(r, t)| Some((r.as_str(), t.failing?))),
                streak: tracks().map(|(_, t)| t.streak).max().unwrap_or(0),
                results: name.results,
                next_try: next.min().unwrap_or_default(),
            }
        };
        self.names.iter().map(report).collect()
    }
}

impl Track {
    fn succeed(&mut self) {
        self.tried = true;
        self.failing = None;
        self.streak = 0;
    }

    fn fail(&mut self, verdict: Verdict) {
        self.tried = true;
        self.failing = Some(verdict);
        self.streak = self.streak.saturating_add(1);
    }
}

/// How long to wait after so many failures in a row: `ttl_min`, twice that, four times …
fn pause(settings: &model::Dns, streak: u32, has_addresses: bool) -> Duration {
    let longest = if has_addresses { settings.ttl_max } else { settings.ttl_max.min(EMPTY_PAUSE_MAX) };
    let doubled = 1_u32.checked_shl(streak.saturating_sub(1)).unwrap_or(u32::MAX);
    settings.ttl_min.saturating_mul(doubled).min(longest.max(settings.ttl_min))
}

fn jittered(pause: Duration, rng: &mut Rng) -> Duration {
    let tenth = pause / JITTER_DIVISOR;
    pause - tenth + rng.duration_up_to(2 * tenth)
}

/// Sorted, each once, not too many, and only what can be an endpoint: 0.0.0.0 is what some resolvers say for a name
/// that they block, and would be this machine.
fn cleaned(outcome: Outcome) -> Outcome {
    let Outcome::Addresses { mut addresses, ttl } = outcome else { return outcome };
    addresses.retain(|a| match a {
        IpAddr::V4(v4) => !(v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast()),
        IpAddr::V6(v6) => !(v6.is_unspecified() || v6.is_multicast()),
    });
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ADDRESSES_MAX);
    if addresses.is_empty() { Outcome::Empty } else { Outcome::Addresses { addresses, ttl } }
}

#[cfg(test)]
mod tests;
