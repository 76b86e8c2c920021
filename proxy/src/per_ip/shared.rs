//! One listener's addresses, for all shards: a client's connections are spread over them, and its limits are not.
//!
//! The addresses are divided by hash into stripes, each a [`PerIp`] under a lock of its own. A connection takes the
//! lock of its stripe twice, as it comes and as it goes, for as long as looking at sixteen entries takes. Listeners
//! without limits by address have none of this.

use super::{Key, Limits, OverflowCounts, PerIp, Refusal, Shape, Ticket, Verdict};
use balance_engine::clock::Timestamp;
use std::{
    array, fmt,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// With fewer entries than this, another stripe costs more (in addresses that meet full sets) than it spares.
const STRIPE_ENTRIES_MIN: usize = 512;
/// Far more than shards that accept at the same instant.
const STRIPES_MAX: usize = 64;

/// The addresses of a listener. Lives as long as the listener keeps its name and these their shape.
pub(crate) struct Addresses {
    shape: Shape,
    stripes: Box<[Mutex<Stripe>]>,
    /// Chooses the stripe. Keyed by itself, so that the places within a stripe are as they would be in one table.
    random: RandomState,
}

#[derive(Debug)]
struct Stripe {
    per_ip: PerIp,
    /// Shards read the clock once a turn, so one may be behind another.
    latest: Timestamp,
}

impl Addresses {
    pub(crate) fn new(shape: Shape, limits: Limits) -> Arc<Self> {
        let count = (shape.entries_max / STRIPE_ENTRIES_MIN).clamp(1, STRIPES_MAX);
        let part = Shape { entries_max: shape.entries_max.div_ceil(count), ..shape };
        // The standard library takes these keys from the system's source of randomness.
        let random = RandomState::new();
        let stripe = |number: usize| {
            let seed = array::from_fn(|word| random.hash_one((number, word)));
            Mutex::new(Stripe { per_ip: PerIp::new(part, limits, seed), latest: Timestamp::START })
        };
        Arc::new(Self { shape, stripes: (0..count).map(stripe).collect(), random: RandomState::new() })
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// From now on, on every shard.
    pub(crate) fn set_limits(&self, limits: Limits) {
        self.stripes.iter().for_each(|stripe| lock(stripe).per_ip.set_limits(limits));
    }

    /// May this address open one more connection? Dropping the seat says that it has ended.
    ///
    /// # Errors
    /// Which limit the address has reached.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr, now: Timestamp) -> Result<Seat, Refusal> {
        let key = Key::of(ip, self.shape.v6_mask());
        let stripe = (self.random.hash_one(key.0) % self.stripes.len() as u64) as u32;
        let mut locked = lock(&self.stripes[stripe as usize]);
        locked.latest = locked.latest.max(now);
        let now = locked.latest;
        match locked.per_ip.admit(ip, now) {
            Verdict::Admitted(ticket) => Ok(Seat { addresses: Arc::clone(self), stripe, ticket: Some(ticket) }),
            Verdict::Refused(refusal) => Err(refusal),
        }
    }

    pub(crate) fn overflow_counts(&self) -> OverflowCounts {
        self.stripes.iter().map(|stripe| lock(stripe).per_ip.overflow_counts()).fold(
            OverflowCounts::default(),
            |sum, counts| OverflowCounts {
                admitted: sum.admitted + counts.admitted,
                refused: sum.refused + counts.refused,
            },
        )
    }

    /// All that these will ever take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.stripes.iter().map(|stripe| lock(stripe).per_ip.memory_bytes()).sum()
    }
}

/// No panic of ours leaves a table half changed.
fn lock(stripe: &Mutex<Stripe>) -> MutexGuard<'_, Stripe> {
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Addresses").field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// A connection's place among those of its address.
#[must_use = "dropping a seat gives it back"]
pub(crate) struct Seat {
    addresses: Arc<Addresses>,
    stripe: u32,
    ticket: Option<Ticket>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            lock(&self.addresses.stripes[self.stripe as usize]).per_ip.release(ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{net::Ipv4Addr, num::NonZeroU32, thread};

    fn at_most(connections: u32) -> Limits {
        Limits { connections_max: NonZeroU32::new(connections), rate: None }
    }

    fn shape(entries_max: usize) -> Shape {
        Shape { entries_max, v6_prefix: 64 }
    }

    /// Eight threads take and give for the same hundred addresses. An address of which seats are kept count never has
    /// more than its limit, and in the end all of them are free.
    #[test]
    fn a_limit_holds_over_threads() {
        let addresses = Addresses::new(shape(4096), at_most(3));
        let ip = |number: u32| IpAddr::from(Ipv4Addr::from(number));
        let kept: Vec<Seat> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let mut kept = Vec::new();
                        for round in 0..2_000 {
                            let seat = addresses.admit(ip(round % 100), Timestamp::START);
                            if round % 7 == 0 {
                                kept.extend(seat);
                            }
                        }
                        kept
                    })
                })
                .collect();
            threads.into_iter().flat_map(|t| t.join().expect("no panic")).collect()
        });
        assert_eq!(kept.len(), 300, "three for each of a hundred");
        assert!((0..100).all(|n| addresses.admit(ip(n), Timestamp::START).is_err()));
        drop(kept);
        for number in 0..100 {
            let seats: Vec<_> = (0..4).map(|_| addresses.admit(ip(number), Timestamp::START).ok()).collect();
            assert_eq!(seats.iter().flatten().count(), 3);
        }
        assert_eq!(addresses.overflow_counts(), OverflowCounts::default());
    }

    #[test]
    fn lower_limits_hold_at_once_and_seats_stay() {
        let addresses = Addresses::new(shape(65_536), at_most(2));
        let ip = IpAddr::from([192, 0, 2, 7]);
        let seats = [1, 2].map(|_| addresses.admit(ip, Timestamp::START).ok());
        assert!(seats.iter().all(Option::is_some));
        addresses.set_limits(at_most(1));
        assert_eq!(addresses.admit(ip, Timestamp::START).err(), Some(Refusal::TooManyConnections));
        drop(seats);
        assert!(addresses.admit(ip, Timestamp::START).is_ok());
    }

    /// Stripes do not multiply the memory: 28 bytes an entry, and some for each stripe.
    #[test]
    fn memory_is_what_entries_take() {
        for entries in [1, 1_000, 65_536, 1 << 20] {
            let bytes = Addresses::new(shape(entries), at_most(1)).memory_bytes();
            assert!(bytes <= entries * super::super::BYTES_PER_ENTRY * 11 / 10 + 8_192, "{bytes} for {entries}");
        }
    }

    /// A clock that is behind does not fill buckets twice.
    #[test]
    fn a_shard_that_is_behind_adds_nothing() {
        let one = NonZeroU32::MIN;
        let limits = Limits { connections_max: None, rate: Some(super::super::Rate { per_second: one, burst: one }) };
        let addresses = Addresses::new(shape(64), limits);
        let ip = IpAddr::from([192, 0, 2, 7]);
        let at = |seconds: u64| Timestamp::from_nanos(seconds * 1_000_000_000);
        assert!(addresses.admit(ip, at(10)).is_ok());
        assert!(addresses.admit(ip, at(5)).is_err());
        assert!(addresses.admit(ip, at(10)).is_err());
        assert!(addresses.admit(ip, at(11)).is_ok());
    }
}
