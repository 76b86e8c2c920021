//! How many connections an address has, and how fast it opens them: limits on both, in memory that never grows.
//!
//! ```text
//!                 ┌ known ───► its entry ─────────────────────┐
//!   address, now ─┼ new ─────► a vacant entry of its two sets ─┼─► admitted, with a ticket │ refused
//!                 └ no vacancy ─► the overflow: four counters, ┘
//!                                 shared with other addresses
//! ```
//!
//! An entry without connections whose bucket of tokens is full says nothing that an absent one would not: it is vacant
//! by itself, as time goes by, and is overwritten when its place is wanted. Hence no sweep, no list by age and no
//! timer; a call looks at sixteen entries at the most, and at four counters where they are in use.
//!
//! Invariants:
//! * All memory is allocated by [`PerIp::new`]: [`BYTES_PER_ENTRY`] for each of `entries_max`.
//! * No address ever has more than `max_connections`, nor opens more than its rate: not for an instant, not in the
//!   overflow, not while it moves between the two.
//! * An address that found an entry is refused only when it has itself reached a limit. One that comes while its sets
//!   are full of others in use may be refused on their account, and so, for as long as it may have connections left in
//!   the overflow, may one that was there; see [`overflow`] for how often.
//! * Where an address is filed depends on a secret seed, so nobody can choose addresses that get into each other's way.

mod overflow;
mod shared;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use shared::{Addresses, Seat};

use balance_engine::clock::Timestamp;
use overflow::Overflow;
use std::{
    hash::{DefaultHasher, Hasher},
    net::IpAddr,
    num::NonZeroU32,
    time::Duration,
};
use table::{Entry, Place, Table};

/// What a table of many entries costs for each; a small one has a little more.
const BYTES_PER_ENTRY: usize = 28;

/// What one address may do. A part that is `None` does not limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) connections_max: Option<NonZeroU32>,
    pub(crate) rate: Option<Rate>,
}

/// A bucket of `burst` tokens, filled again by `per_second`; a connection takes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) per_second: NonZeroU32,
    pub(crate) burst: NonZeroU32,
}

impl Rate {
    /// Between two tokens. Rounded up, so that the rate is never exceeded.
    fn interval(self) -> Duration {
        Duration::from_nanos(1_000_000_000_u64.div_ceil(self.per_second.get().into()))
    }
}

/// The shape of the table, for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// How many addresses can be in use at once: with connections, or with a bucket that is not full. The overflow
    /// begins to be used at about three quarters. Rounded up to whole sets.
    pub(crate) entries_max: usize,
    /// How many bits of a v6 address are one client: 1 to 64. A subscriber is given a /64 at least and may use all of
    /// it (RFC 6177), so a single v6 address limits nobody.
    pub(crate) v6_prefix: u8,
}

impl Shape {
    fn v6_mask(self) -> u64 {
        u64::MAX << (64 - self.v6_prefix.clamp(1, 64))
    }
}

/// The addresses of one stripe; see [`Addresses`].
#[derive(Debug)]
pub(crate) struct PerIp {
    limits: Limits,
    table: Table,
    overflow: Overflow,
    /// Has taken in the seed; a copy of it hashes one key. SipHash: keyed, and not to be steered from outside.
    hasher: DefaultHasher,
    v6_mask: u64,
    counts: OverflowCounts,
}

/// Answers given for want of an entry. Both stay zero as long as the table is large enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OverflowCounts {
    pub(crate) admitted: u64,
    /// Some of them wrongly.
    pub(crate) refused: u64,
}

#[derive(Debug)]
pub(crate) enum Verdict {
    Admitted(Ticket),
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    TooManyConnections,
    /// The next token is there after this time, if nobody else takes it.
    TooFast {
        retry_after: Duration,
    },
}

/// Stands for an admitted connection and goes back by [`PerIp::release`] when that ends. It knows where the connection
/// was counted, which its address does not: that may have got an entry meanwhile.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the connection is counted until the ticket is released"]
pub(crate) struct Ticket {
    key: Key,
    counted: Counted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Entry,
    Overflow,
    /// Connections were not limited when this one came.
    Nowhere,
}

/// The part of an address that is one client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Key(u64);

impl Key {
    /// A v4 address is filed as v6 prefix `0:1:…`, which is in a block that nobody is given (RFC 4291 section 2.4 and
    /// the IANA registry reserve `::/8`).
    fn of(ip: IpAddr, v6_mask: u64) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(1 << 32 | u64::from(u32::from(ip))),
            IpAddr::V6(ip) => Self((u128::from(ip) >> 64) as u64 & v6_mask),
        }
    }
}

impl PerIp {
    /// `seed` must be unknown to clients: from the system's source of randomness.
    pub(crate) fn new(shape: Shape, limits: Limits, seed: [u64; 2]) -> Self {
        let mut hasher = DefaultHasher::new();
        seed.into_iter().for_each(|word| hasher.write_u64(word));
        let table = Table::new(shape.entries_max);
        let overflow = Overflow::new(shape.entries_max);
        Self { limits, table, overflow, hasher, v6_mask: shape.v6_mask(), counts: OverflowCounts::default() }
    }

    /// From now on. Connections are counted while they are limited: one that came before there was a limit stays
    /// uncounted.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// May this address open one more connection? `now` never goes back.
    pub(crate) fn admit(&mut self, ip: IpAddr, now: Timestamp) -> Verdict {
        let key = Key::of(ip, self.v6_mask);
        let hash = self.hash(key);
        let place = self.table.find(key, hash, now);
        let usage = usage(&place, || self.overflow.usage(hash, now));
        let full_at = match self.limits.judge(usage, now) {
            Ok(full_at) => full_at,
            Err(refusal) => {
                self.counts.refused += u64::from(matches!(place, Place::Nowhere));
                return Verdict::Refused(refusal);
            }
        };
        let connections = u32::from(self.limits.connections_max.is_some());
        let counted = match place {
            Place::Known(entry) => {
                entry.charge(full_at, connections);
                Counted::Entry
            }
            Place::Vacant(entry) => {
                *entry = Entry { key, full_at, connections, elsewhere: usage.connections };
                Counted::Entry
            }
            Place::Nowhere => {
                self.counts.admitted += 1;
                self.overflow.charge(hash, full_at, connections);
                Counted::Overflow
            }
        };
        Verdict::Admitted(Ticket { key, counted: if connections == 0 { Counted::Nowhere } else { counted } })
    }

    /// An admitted connection has ended.
    pub(crate) fn release(&mut self, ticket: Ticket) {
        let hash = self.hash(ticket.key);
        match ticket.counted {
            Counted::Entry => self.table.release(ticket.key, hash),
            Counted::Overflow => self.overflow.release(hash),
            Counted::Nowhere => {}
        }
    }

    /// What the metrics show.
    pub(crate) fn overflow_counts(&self) -> OverflowCounts {
        self.counts
    }

    /// All that this will ever take.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.table.memory_bytes() + self.overflow.memory_bytes()
    }

    fn hash(&self, Key(key): Key) -> u64 {
        let mut hasher = self.hasher.clone();
        hasher.write_u64(key);
        hasher.finish()
    }
}

/// How far an address has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    connections: u32,
    /// When its bucket will be full again if it takes nothing more; in the past, it is full. One number that says what
    /// the tokens and the time of their counting would (the generic cell rate algorithm, ITU-T I.371).
    full_at: Timestamp,
}

/// What counts for the address at this place. `elsewhere` tells what it has used in the overflow at the most.
fn usage(place: &Place<'_>, elsewhere: impl FnOnce() -> Usage) -> Usage {
    match place {
        Place::Known(Entry { connections, elsewhere: 0, full_at, .. }) => {
            Usage { connections: *connections, full_at: *full_at }
        }
        // What it has in the overflow is from before it had this entry, and can only have become less.
        Place::Known(Entry { connections, elsewhere: before, full_at, .. }) => {
            let still = elsewhere().connections.min(*before);
            Usage { connections: connections.saturating_add(still), full_at: *full_at }
        }
        // One that is to get an entry takes along what it has spent. All zero unless the overflow is in use.
        Place::Vacant(_) | Place::Nowhere => elsewhere(),
    }
}

impl Limits {
    /// May one more come? If so, when the bucket will be full again after it.
    fn judge(self, usage: Usage, now: Timestamp) -> Result<Timestamp, Refusal> {
        if self.connections_max.is_some_and(|max| usage.connections >= max.get()) {
            return Err(Refusal::TooManyConnections);
        }
        let Some(rate) = self.rate else { return Ok(usage.full_at) };
        let interval = rate.interval();
        // All but one token may be missing.
        let missing_max = interval.saturating_mul(rate.burst.get() - 1);
        let missing = usage.full_at - now;
        if missing > missing_max {
            return Err(Refusal::TooFast { retry_after: missing - missing_max });
        }
        Ok(now + missing + interval)
    }
}
