//! Against a model that keeps every address in a map for ever, and at sizes at which that would not do.

use super::*;
use balance_engine::rng::Rng;
use std::{
    collections::{HashMap, HashSet},
    net::{Ipv4Addr, Ipv6Addr},
};

const SEED: [u64; 2] = [0x5eed, 0x5a17];

fn limits(connections_max: u32, rate: Option<(u32, u32)>) -> Limits {
    let number = |number| NonZeroU32::new(number).unwrap();
    Limits {
        connections_max: NonZeroU32::new(connections_max),
        rate: rate.map(|(per_second, burst)| Rate { per_second: number(per_second), burst: number(burst) }),
    }
}

fn per_ip(entries_max: usize, limits: Limits) -> PerIp {
    PerIp::new(Shape { entries_max, v6_prefix: 64 }, limits, SEED)
}

fn millis(millis: u64) -> Timestamp {
    Timestamp::START + Duration::from_millis(millis)
}

fn v4(number: u32) -> IpAddr {
    Ipv4Addr::from(number).into()
}

fn admitted(verdict: Verdict) -> Option<Ticket> {
    match verdict {
        Verdict::Admitted(ticket) => Some(ticket),
        Verdict::Refused(_) => None,
    }
}

fn refusal(verdict: Verdict) -> Refusal {
    match verdict {
        Verdict::Refused(refusal) => refusal,
        Verdict::Admitted(ticket) => panic!("{ticket:?}"),
    }
}

#[test]
fn an_address_has_so_many_connections_and_no_more() {
    let mut per_ip = per_ip(100, limits(2, None));
    let first = admitted(per_ip.admit(v4(1), millis(0))).unwrap();
    let second = admitted(per_ip.admit(v4(1), millis(0))).unwrap();
    assert_eq!(refusal(per_ip.admit(v4(1), millis(9))), Refusal::TooManyConnections);
    let other = admitted(per_ip.admit(v4(2), millis(9))).unwrap();
    per_ip.release(first);
    let third = admitted(per_ip.admit(v4(1), millis(9))).unwrap();
    assert_eq!(refusal(per_ip.admit(v4(1), millis(9))), Refusal::TooManyConnections);
    [second, third, other].into_iter().for_each(|ticket| per_ip.release(ticket));
    assert_eq!(per_ip.table.in_use(millis(9)), 0);
}

#[test]
fn a_bucket_holds_its_burst_and_fills_at_its_rate() {
    let mut per_ip = per_ip(100, limits(0, Some((10, 3))));
    #[track_caller]
    fn check(per_ip: &mut PerIp, at: u64, expected: Result<(), u64>) {
        let retry_after = |millis| Refusal::TooFast { retry_after: Duration::from_millis(millis) };
        match (per_ip.admit(v4(1), millis(at)), expected) {
            (Verdict::Admitted(ticket), Ok(())) => per_ip.release(ticket),
            (Verdict::Refused(refusal), Err(after)) => assert_eq!(refusal, retry_after(after)),
            other => panic!("{other:?} at {at}"),
        }
    }
    (0..3).for_each(|_| check(&mut per_ip, 1000, Ok(())));
    check(&mut per_ip, 1000, Err(100));
    check(&mut per_ip, 1099, Err(1));
    check(&mut per_ip, 1100, Ok(()));
    check(&mut per_ip, 1100, Err(100));
    check(&mut per_ip, 1350, Ok(()));
    check(&mut per_ip, 1350, Ok(()));
    check(&mut per_ip, 1350, Err(50));
    (0..3).for_each(|_| check(&mut per_ip, 9000, Ok(())));
    check(&mut per_ip, 9000, Err(100));
}

#[test]
fn a_v6_prefix_is_one_client_and_a_mapped_address_is_v4() {
    #[track_caller]
    fn check(v6_prefix: u8, first: &str, second: &str, same: bool) {
        let shape = Shape { entries_max: 100, v6_prefix };
        let mut per_ip = PerIp::new(shape, limits(1, None), SEED);
        let ticket = admitted(per_ip.admit(first.parse().unwrap(), millis(0))).unwrap();
        assert_eq!(admitted(per_ip.admit(second.parse().unwrap(), millis(0))).is_none(), same);
        per_ip.release(ticket);
    }
    check(64, "2001:db8::1", "2001:db8::ffff:1", true);
    check(64, "2001:db8:0:1::1", "2001:db8:0:2::1", false);
    check(56, "2001:db8:0:1::1", "2001:db8:0:2::1", true);
    check(56, "2001:db8:0:100::1", "2001:db8:0:200::1", false);
    check(1, "2001::1", "7fff::1", true);
    check(64, "::ffff:192.0.2.1", "192.0.2.1", true);
    check(64, "::ffff:192.0.2.1", "::ffff:192.0.2.2", false);
    check(64, "192.0.2.1", "192.0.2.2", false);
    check(64, "::1", "::2", true);
    check(64, "0.0.0.0", "::", false);
}

#[test]
fn limits_change_under_way() {
    let mut per_ip = per_ip(100, limits(1, None));
    let counted = admitted(per_ip.admit(v4(1), millis(0))).unwrap();
    per_ip.set_limits(limits(0, None));
    let uncounted = admitted(per_ip.admit(v4(1), millis(0))).unwrap();
    per_ip.set_limits(limits(2, Some((1, 1))));
    let second = admitted(per_ip.admit(v4(1), millis(0))).unwrap();
    assert_eq!(refusal(per_ip.admit(v4(1), millis(0))), Refusal::TooManyConnections);
    per_ip.release(uncounted);
    assert_eq!(refusal(per_ip.admit(v4(1), millis(0))), Refusal::TooManyConnections);
    [counted, second].into_iter().for_each(|ticket| per_ip.release(ticket));
    assert!(matches!(per_ip.admit(v4(1), millis(999)), Verdict::Refused(Refusal::TooFast { .. })));
    assert!(admitted(per_ip.admit(v4(1), millis(1000))).is_some());
}

/// Every address for ever, its tokens in nanoseconds of filling.
#[derive(Default)]
struct Model(HashMap<IpAddr, (u32, u64, Timestamp)>);

impl Model {
    fn would_admit(&mut self, ip: IpAddr, limits: Limits, now: Timestamp) -> bool {
        let rate = limits.rate.map(|rate| (rate.interval().as_nanos() as u64, u64::from(rate.burst.get())));
        let (interval, burst) = rate.unwrap_or((0, 0));
        let (connections, tokens, at) = self.0.entry(ip).or_insert((0, interval * burst, now));
        *tokens = (*tokens + (now - *at).as_nanos() as u64).min(interval * burst);
        *at = now;
        limits.connections_max.is_none_or(|max| *connections < max.get()) && *tokens >= interval
    }

    fn admit(&mut self, ip: IpAddr, limits: Limits) {
        let (connections, tokens, _) = self.0.get_mut(&ip).unwrap();
        *connections += 1;
        *tokens -= limits.rate.map_or(0, |rate| rate.interval().as_nanos() as u64);
    }

    fn release(&mut self, ip: IpAddr) {
        self.0.get_mut(&ip).unwrap().0 -= 1;
    }
}

/// Connections come and go at random; how many verdicts differed. A connection that the model would refuse is never
/// admitted.
fn against_model(entries_max: usize, addresses: u32, limits: Limits, seed: u64) -> u32 {
    let (mut rng, mut model, mut per_ip) = (Rng::new(seed), Model::default(), per_ip(entries_max, limits));
    let (mut now, mut open, mut differed) = (millis(50), Vec::new(), 0);
    for _ in 0..20_000 {
        now = now + rng.duration_up_to(Duration::from_millis(8));
        let ip = v4(rng.below(addresses.into()) as u32 * 1_000_003);
        if rng.chance(1, 2) && !open.is_empty() {
            let (ip, ticket) = open.swap_remove(rng.index(open.len()));
            per_ip.release(ticket);
            model.release(ip);
            continue;
        }
        let allowed = model.would_admit(ip, limits, now);
        match admitted(per_ip.admit(ip, now)) {
            Some(ticket) => {
                assert!(allowed, "{ip} got more than its limits (seed {seed})");
                model.admit(ip, limits);
                open.push((ip, ticket));
            }
            None => differed += u32::from(allowed),
        }
    }
    open.into_iter().for_each(|(_, ticket)| per_ip.release(ticket));
    let later = now + Duration::from_secs(60);
    assert_eq!(per_ip.table.in_use(later), 0);
    assert_eq!(per_ip.overflow.usage(0, later), Usage::default());
    differed
}

#[test]
fn verdicts_are_exact_while_the_table_is_large_enough() {
    for seed in 0..5 {
        assert_eq!(against_model(512, 200, limits(3, Some((2, 4))), seed), 0);
        assert_eq!(against_model(512, 200, limits(2, None), seed), 0);
        assert_eq!(against_model(512, 200, limits(0, Some((1, 2))), seed), 0);
        assert_eq!(against_model(512, 20, limits(1, Some((50, 1))), seed), 0);
    }
}

/// Sixteen entries for 200 addresses: they move between table and overflow all the time.
#[test]
fn no_limit_is_passed_when_the_table_is_too_small() {
    let mut differed = 0;
    for seed in 0..5 {
        differed += against_model(16, 200, limits(3, Some((2, 4))), seed);
        differed += against_model(16, 200, limits(2, None), seed);
        differed += against_model(16, 2000, limits(0, Some((1, 2))), seed);
    }
    assert!(differed > 0, "the overflow was not reached");
}

/// The ancestor kept a map that grew with every address. Ten million different ones come here within seconds, a
/// thousand connections open at a time, and one address tries to hide among them.
#[test]
fn ten_million_addresses_take_no_more_memory_than_one() {
    let entries = 1 << 16;
    let mut per_ip = per_ip(entries, limits(4, Some((100, 10))));
    let before = per_ip.memory_bytes();
    assert!(before <= entries * BYTES_PER_ENTRY + 1024, "{before}");
    let heavy = v4(u32::MAX);
    let (mut held, mut attempts) = (Vec::new(), 0);
    let mut open = std::collections::VecDeque::new();
    for number in 0..10_000_000_u32 {
        // Two million a second: 20,000 entries are in use, each for the 10 ms in which its token comes back.
        let now = Timestamp::from_nanos(u64::from(number) * 500);
        open.push_back(admitted(per_ip.admit(v4(number), now)).expect("a light address is admitted"));
        if open.len() > 1000 {
            per_ip.release(open.pop_front().unwrap());
        }
        if number % 1000 == 0 {
            attempts += 1;
            held.extend(admitted(per_ip.admit(heavy, now)));
        }
    }
    assert_eq!((attempts, held.len()), (10_000, 4));
    assert_eq!(per_ip.memory_bytes(), before);
    assert_eq!(per_ip.overflow_counts(), OverflowCounts::default());
    open.into_iter().chain(held).for_each(|ticket| per_ip.release(ticket));
    assert_eq!(per_ip.table.in_use(millis(60_000)), 0);
}

/// Twice as many addresses hold a connection as there are entries. Those with an entry notice nothing, none passes its
/// limit, and when they have gone everything is as before.
#[test]
fn a_full_table_errs_by_refusing_and_recovers() {
    let entries = 1 << 14;
    let mut per_ip = per_ip(entries, limits(4, None));
    let admit = |per_ip: &mut PerIp, ip: u32| admitted(per_ip.admit(v4(ip), millis(0)));
    let mut tickets: Vec<_> = (0..entries as u32 * 2).filter_map(|ip| admit(&mut per_ip, ip)).collect();
    assert!(per_ip.table.in_use(millis(0)) * 100 > per_ip.table.len() * 99);
    let counts = per_ip.overflow_counts();
    assert!(counts.admitted > (entries / 16 * 4 / 3) as u64, "less fits in than documented: {counts:?}");
    assert!(counts.refused > 0, "the overflow was not filled");
    for ip in 0..1000 {
        let more: Vec<_> = (0..9).filter_map(|_| admit(&mut per_ip, ip)).collect();
        assert_eq!(more.len(), 3, "{ip} has an entry and one connection");
        tickets.extend(more);
    }
    let heavy: Vec<_> = (0..100).filter_map(|_| admit(&mut per_ip, u32::MAX)).collect();
    assert!(heavy.len() <= 4);
    tickets.into_iter().chain(heavy).for_each(|ticket| per_ip.release(ticket));
    assert_eq!(per_ip.table.in_use(millis(0)), 0);
    for ip in 0..entries as u32 / 2 {
        let again: Vec<_> = (0..9).filter_map(|_| admit(&mut per_ip, ip)).collect();
        assert_eq!(again.len(), 4, "{ip} comes afresh");
    }
}

/// The promises of the overflow's documentation, at the sizes it names.
#[test]
fn the_overflow_is_wrong_as_rarely_as_it_says() {
    let (entries, now) = (1 << 14, millis(0));
    let width = entries / 16;
    let full = |limits| {
        let mut per_ip = per_ip(entries, limits);
        for set in per_ip.table.sets_mut() {
            set.iter_mut().for_each(|entry| entry.charge(Timestamp::NEVER, 1));
        }
        per_ip
    };
    let mut by_rate = full(limits(0, Some((1, 1))));
    let admitted_of = |per_ip: &mut PerIp, count: usize| {
        (0..count as u32).filter(|ip| admitted(per_ip.admit(v4(ip * 7), now)).is_some()).count()
    };
    let admitted_by_rate = admitted_of(&mut by_rate, width / 2);
    assert!(admitted_by_rate * 100 >= width / 2 * 98, "{admitted_by_rate} of {}", width / 2);
    let mut by_connections = full(limits(30, None));
    let admitted_by_connections = admitted_of(&mut by_connections, width * 10);
    assert!(admitted_by_connections * 100 >= width * 10 * 98, "{admitted_by_connections} of {}", width * 10);
}

/// What the table's documentation says of two choices.
#[test]
fn the_overflow_is_little_used_before_the_table_is_full() {
    for seed in 0..4 {
        let entries = 1 << 16;
        let shape = Shape { entries_max: entries, v6_prefix: 64 };
        let mut per_ip = PerIp::new(shape, limits(1, None), [seed, 1]);
        let mut first = None;
        for ip in 0..entries {
            let _open = per_ip.admit(v4(ip as u32), millis(0));
            if per_ip.overflow_counts() != OverflowCounts::default() {
                first.get_or_insert(ip);
            }
        }
        assert!(first.is_some_and(|first| first * 100 >= entries * 70), "{first:?}");
        let OverflowCounts { admitted, refused } = per_ip.overflow_counts();
        assert!((admitted + refused) * 100 <= entries as u64 * 5, "{admitted} {refused}");
        assert!(refused <= 100, "{refused}");
    }
}

/// Addresses that are all filed in one set under one seed are spread under another.
#[test]
fn nobody_can_choose_addresses_that_collide() {
    let with_seed = |seed| PerIp::new(Shape { entries_max: 8 * 256, v6_prefix: 64 }, limits(1, None), seed);
    let (mine, theirs) = (with_seed([1, 2]), with_seed([1, 3]));
    let sets = |per_ip: &PerIp, ip: u32| per_ip.table.choices(per_ip.hash(Key::of(v4(ip), per_ip.v6_mask)));
    let collide: Vec<u32> = (0..200_000).filter(|ip| sets(&mine, *ip)[0] == 7).collect();
    assert!(collide.len() > 500);
    let elsewhere: HashSet<_> = collide.iter().map(|ip| sets(&theirs, *ip)[0]).collect();
    assert!(elsewhere.len() > 200, "{}", elsewhere.len());
}

#[test]
fn any_address_can_be_filed_in_the_smallest_table() {
    let mut rng = Rng::new(12);
    let mut per_ip = per_ip(0, limits(1, Some((1, 1))));
    for _ in 0..10_000 {
        let bits = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        if let Verdict::Admitted(ticket) = per_ip.admit(Ipv6Addr::from(bits).into(), millis(rng.below(10))) {
            per_ip.release(ticket);
        }
    }
}
