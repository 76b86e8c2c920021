//! Header names to ids: the engine's interner, a `HashMap`, and comparison with one name after the other.
//!
//! All of them take a name in whatever case and tell equal names. The interner also refuses what is no token and
//! forgets the name that was not used for longest; the other two do neither, except where a case says so.

use super::frame::{Candidate, Case};
use balance_engine::{intern::Interner, rng::Rng};
use std::{
    collections::{HashMap, VecDeque},
    hint::black_box,
};

/// Lookups of one call, in an order that a branch predictor does not learn by heart.
const LOOKUPS: usize = 1024;
/// Room for every name of a case.
const BYTES_MAX: usize = 1 << 20;
/// A full table holds so many names.
const FULL: usize = 256;
const SEED: u64 = 7;
/// What the interner takes at most.
const NAME_BYTES_MAX: usize = 128;

/// As browsers and proxies write them.
const KNOWN: [&str; 16] = [
    "Host",
    "User-Agent",
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Connection",
    "Content-Length",
    "Content-Type",
    "Cookie",
    "Referer",
    "Cache-Control",
    "Authorization",
    "If-None-Match",
    "Origin",
    "X-Forwarded-For",
    "Transfer-Encoding",
];

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("known names", KNOWN.map(|name| name.as_bytes().to_vec()).into(), Wants::Hits),
        case("learned names", various(32), Wants::Hits),
        case("first sight", various(FULL), Wants::Fresh),
        case("full table, every name new", various(2 * FULL), Wants::Evictions),
        case("full table, names present", various(FULL), Wants::HitsWhenFull),
        case("64 names of 32 bytes", alike(64, 32), Wants::Hits),
        case("64 names of the longest", alike(64, NAME_BYTES_MAX), Wants::Hits),
        case("64 names of one bucket", one_bucket(64), Wants::Hits),
    ]
}

type Names = Vec<Vec<u8>>;

/// What happens to the names of a case.
#[derive(Clone, Copy)]
enum Wants {
    /// They were seen before.
    Hits,
    /// So, and the tables have no room for more.
    HitsWhenFull,
    /// Each meets a new table.
    Fresh,
    /// They come round and round in a table with room for half of them: each is gone when it comes again.
    Evictions,
}

fn case(name: &'static str, names: Names, wants: Wants) -> Case {
    let room = match wants {
        Wants::Hits | Wants::Fresh => usize::MAX,
        Wants::HitsWhenFull | Wants::Evictions => FULL,
    };
    let bytes_max = if room == usize::MAX { BYTES_MAX } else { bytes_for(&names[..FULL]) };
    let candidates = vec![
        candidate("interner", &names, wants, move || Interned::new(bytes_max)),
        candidate("HashMap", &names, wants, move || Hashed::new(room)),
        candidate("comparison", &names, wants, move || Listed::new(room)),
    ];
    Case { name, operation: "lookup", candidates }
}

fn candidate<T: Table + 'static>(
    name: &'static str,
    names: &Names,
    wants: Wants,
    make: impl Fn() -> T + 'static,
) -> Candidate {
    let names = names.clone();
    match wants {
        Wants::Hits | Wants::HitsWhenFull => hits(name, names, make()),
        Wants::Fresh => fresh(name, names, make),
        Wants::Evictions => evictions(name, names, make()),
    }
}

/// Answers how many of the ids were the expected ones: all.
fn hits<T: Table + 'static>(name: &'static str, names: Names, mut table: T) -> Candidate {
    let ids: Vec<Option<T::Id>> = names.iter().map(|name| table.id(name)).collect();
    let mut rng = Rng::new(SEED);
    let order: Vec<usize> = (0..LOOKUPS).map(|_| rng.index(names.len())).collect();
    Candidate::new(name, LOOKUPS, move |watch| {
        watch.time(|| {
            let right = |at: &usize| u64::from(table.id(&names[*at]) == ids[*at]);
            order.iter().map(right).sum()
        })
    })
}

/// Answers how many names were learned: all. Tables are made and dropped off the clock.
fn fresh<T: Table + 'static>(name: &'static str, names: Names, make: impl Fn() -> T + 'static) -> Candidate {
    Candidate::new(name, names.len(), move |watch| {
        let mut table = make();
        watch.time(|| see_all(&mut table, &names));
        table.learned()
    })
}

/// Answers how many names were learned again: all.
fn evictions<T: Table + 'static>(name: &'static str, names: Names, mut table: T) -> Candidate {
    see_all(&mut table, &names);
    Candidate::new(name, names.len(), move |watch| {
        let before = table.learned();
        watch.time(|| see_all(&mut table, &names));
        table.learned() - before
    })
}

fn see_all<T: Table>(table: &mut T, names: &[Vec<u8>]) {
    for name in names {
        black_box(table.id(name));
    }
}

/// Names of the usual lengths, all different.
fn various(count: usize) -> Names {
    let stems =
        ["X-Id", "X-Tenant", "X-Request-Start", "X-Amz-Cf-Pop", "Sec-Fetch-Something", "X-A-Rather-Long-Name-Of-Ours"];
    (0..count).map(|number| format!("{}-{number:04}", stems[number % stems.len()]).into_bytes()).collect()
}

/// Of one length, and equal up to the last bytes.
fn alike(count: usize, len: usize) -> Names {
    (0..count).map(|number| format!("{}{number:04}", "x".repeat(len - 4)).into_bytes()).collect()
}

/// What somebody would send who knew the interner's seed.
fn one_bucket(count: usize) -> Names {
    let interner = Interner::new(BYTES_MAX, SEED);
    let bucket = |name: &[u8]| interner.bucket_of(name).expect("a token").0;
    let wanted = bucket(b"x-0000000");
    let all = (0_u32..).map(|number| format!("x-{number:07}").into_bytes());
    all.filter(|name| bucket(name) == wanted).take(count).collect()
}

/// The cap that just holds these names.
fn bytes_for(names: &[Vec<u8>]) -> usize {
    let mut interner = Interner::new(BYTES_MAX, SEED);
    names.iter().for_each(|name| assert!(interner.intern(name).is_some()));
    interner.stats().bytes as usize
}

/// Names to ids, by one way or another.
trait Table {
    type Id: Copy + PartialEq;

    fn id(&mut self, name: &[u8]) -> Option<Self::Id>;

    /// How often a name was new.
    fn learned(&self) -> u64;
}

struct Interned(Interner);

impl Interned {
    fn new(bytes_max: usize) -> Self {
        Self(Interner::new(bytes_max, SEED))
    }
}

impl Table for Interned {
    type Id = balance_engine::intern::NameRef;

    #[inline]
    fn id(&mut self, name: &[u8]) -> Option<Self::Id> {
        self.0.intern(name)
    }

    fn learned(&self) -> u64 {
        self.0.stats().misses
    }
}

/// The map of the standard library, with its secret seed. At its limit the oldest name goes.
struct Hashed {
    ids: HashMap<Box<[u8]>, u32>,
    room: usize,
    /// Kept only where there is a limit.
    oldest_first: VecDeque<Box<[u8]>>,
    next: u32,
}

impl Hashed {
    fn new(room: usize) -> Self {
        Self { ids: HashMap::new(), room, oldest_first: VecDeque::new(), next: 0 }
    }

    #[cold]
    fn learn(&mut self, name: &[u8]) -> u32 {
        if self.ids.len() >= self.room
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.ids.remove(&oldest);
        }
        if self.room != usize::MAX {
            self.oldest_first.push_back(name.into());
        }
        self.next += 1;
        self.ids.insert(name.into(), self.next);
        self.next
    }
}

impl Table for Hashed {
    type Id = u32;

    #[inline]
    fn id(&mut self, name: &[u8]) -> Option<u32> {
        let mut space = [0; NAME_BYTES_MAX];
        let lower = space.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let found = self.ids.get(&*lower).copied();
        Some(found.unwrap_or_else(|| self.learn(lower)))
    }

    fn learned(&self) -> u64 {
        u64::from(self.next)
    }
}

/// One name after the other; the lengths are compared first. At its limit the oldest name goes.
struct Listed {
    names: VecDeque<(Box<[u8]>, u32)>,
    room: usize,
    next: u32,
}

impl Listed {
    fn new(room: usize) -> Self {
        Self { names: VecDeque::new(), room, next: 0 }
    }
}

impl Table for Listed {
    type Id = u32;

    #[inline]
    fn id(&mut self, name: &[u8]) -> Option<u32> {
        if let Some((_, id)) = self.names.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Some(*id);
        }
        if self.names.len() >= self.room {
            self.names.pop_front();
        }
        self.next += 1;
        self.names.push_back((name.to_ascii_lowercase().into(), self.next));
        Some(self.next)
    }

    fn learned(&self) -> u64 {
        u64::from(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_what_their_cases_say() {
        let interner = Interner::new(BYTES_MAX, SEED);
        let buckets: Vec<_> = one_bucket(5).iter().map(|name| interner.bucket_of(name)).collect();
        assert!(buckets.len() == 5 && buckets.iter().all(|b| *b == buckets[0]), "{buckets:?}");
        let mut interner = Interner::new(BYTES_MAX, SEED);
        assert!(KNOWN.iter().all(|name| interner.intern(name.as_bytes()).is_some_and(|id| id.is_known())));
        assert!(
            various(9)
                .iter()
                .chain(&alike(3, NAME_BYTES_MAX))
                .all(|n| interner.intern(n).is_some_and(|id| !id.is_known()))
        );
        assert!(alike(3, 32).iter().all(|name| name.len() == 32));
    }

    #[test]
    fn a_full_table_holds_as_many_names_as_the_others() {
        let names = various(2 * FULL);
        let mut interner = Interner::new(bytes_for(&names[..FULL]), SEED);
        names.iter().for_each(|name| assert!(interner.intern(name).is_some()));
        let held = interner.stats().entries as usize;
        assert!((FULL - 1..=FULL + 1).contains(&held), "{held}");
    }
}
