//! Texts, sets against a list that is searched from end to end, and the two lists together.

use super::*;
use balance_engine::rng::Rng;

fn network(text: &str) -> Network {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn set(networks: &[&str]) -> NetworkSet {
    networks.iter().map(|text| network(text)).collect()
}

#[test]
fn networks_are_read() {
    #[track_caller]
    fn check(text: &str, written: &str) {
        assert_eq!(network(text).to_string(), written);
        assert_eq!(network(written), network(text));
    }
    check("10.0.0.0/8", "10.0.0.0/8");
    check("0.0.0.0/0", "0.0.0.0/0");
    check("192.0.2.1", "192.0.2.1/32");
    check("192.0.2.1/32", "192.0.2.1/32");
    check("::/0", "::/0");
    check("::1", "::1/128");
    check("2001:DB8:0::/32", "2001:db8::/32");
    check("2001:db8::8000/113", "2001:db8::8000/113");
    check("::ffff:192.0.2.1", "192.0.2.1/32");
    check("::ffff:10.0.0.0/104", "10.0.0.0/8");
    check("::ffff:0:0/96", "0.0.0.0/0");
    check("::fffe:0:0/95", "::fffe:0:0/95");
}

#[test]
fn a_mistake_is_answered_by_what_to_write() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = text.parse::<Network>().map(|network| network.to_string()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    check("10.0.0.1/8", "write 10.0.0.0/8 for the network, 10.0.0.1 for the address");
    check("10.0.0.1/0", "write 0.0.0.0/0 for");
    check("2001:db8::1/32", "write 2001:db8::/32 for the network, 2001:db8::1 for");
    check("::ffff:10.0.0.1/104", "write 10.0.0.0/8 for the network, 10.0.0.1 for");
    check("::ffff:10.0.0.0/95", "bits set beyond its prefix");
    check("10.0.0.0/33", "more than the 32 bits");
    check("::/129", "more than the 128 bits");
    for text in
        ["10.0.0.0/", "10.0.0.0/08", "10.0.0.0/+8", "10.0.0.0/-1", "10.0.0.0/ 8", "10.0.0.0/256", "::/1/2", "::/00"]
    {
        check(text, "number of bits");
    }
    for text in ["", "/", "/8", "10", "10.0.0/8", "10.0.0.0 /8", "010.0.0.0/8", "localhost", "[::1]", "fe80::1%lo", "*"]
    {
        check(text, "no IP address");
    }
}

#[test]
fn a_set_contains_what_its_networks_do() {
    #[track_caller]
    fn check(networks: &[&str], inside: &[&str], outside: &[&str]) {
        let set = set(networks);
        inside.iter().for_each(|text| assert!(set.contains(ip(text)), "{text}"));
        outside.iter().for_each(|text| assert!(!set.contains(ip(text)), "{text}"));
    }
    check(&[], &[], &["0.0.0.0", "::"]);
    check(
        &["10.0.0.0/8"],
        &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"],
        &["9.255.255.255", "11.0.0.0", "::10.0.0.1"],
    );
    check(&["0.0.0.0/0"], &["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], &["::", "::1"]);
    check(&["::/0"], &["::", "ffff::ffff", "::1.2.3.4"], &["1.2.3.4", "::ffff:1.2.3.4"]);
    check(&["::ffff:10.0.0.0/104"], &["10.1.1.1", "::ffff:10.1.1.1"], &["::10.1.1.1"]);
    check(&["192.0.2.1"], &["192.0.2.1"], &["192.0.2.0", "192.0.2.2"]);
    check(&["2001:db8::/32"], &["2001:db8::", "2001:db8:ffff::"], &["2001:db7:ffff::", "2001:db9::"]);
    check(&["10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8"], &["10.0.0.1", "10.1.0.1", "10.2.0.1"], &["11.0.0.0"]);
}

#[test]
fn networks_that_touch_become_one_range() {
    let halves = set(&["10.128.0.0/9", "10.0.0.0/9", "10.3.0.0/16"]);
    assert_eq!(halves, set(&["10.0.0.0/8"]));
    assert_eq!(set(&["0.0.0.0/1", "128.0.0.0/1"]), set(&["0.0.0.0/0"]));
    assert_eq!(set(&["::/1", "8000::/1"]), set(&["::/0"]));
    assert_eq!(set(&["255.255.255.255", "::"]).v4.len(), 1);
}

/// Addresses close to the edges of the networks, where a search that is off by one shows.
#[test]
fn a_set_answers_as_a_naive_search_does() {
    let mut rng = Rng::new(32);
    for _ in 0..200 {
        let networks: Vec<Network> = (0..rng.below(40)).map(|_| random_network(&mut rng)).collect();
        let set: NetworkSet = networks.iter().copied().collect();
        for _ in 0..200 {
            let address = random_ip(&mut rng);
            let naive = networks.iter().any(|network| {
                let (first, last) = network.range();
                let same_family = network.first.is_ipv4() == address.is_ipv4();
                same_family && (first..=last).contains(&Network::new(address, bits(address)).unwrap().range().0)
            });
            assert_eq!(set.contains(address), naive, "{address} in {networks:?}");
        }
    }
}

/// Few different bits, so that networks overlap and addresses hit.
fn random_ip(rng: &mut Rng) -> IpAddr {
    let bytes = |rng: &mut Rng| [0, 1, 127, 128, 255][rng.index(5)];
    match rng.below(2) {
        0 => IpAddr::from([10, 0, bytes(rng), bytes(rng)]),
        _ => IpAddr::from(std::array::from_fn::<u8, 16, _>(|at| if at < 13 { 0x20 } else { bytes(rng) })),
    }
}

fn random_network(rng: &mut Rng) -> Network {
    let ip = random_ip(rng);
    let prefix = bits(ip) - rng.below(20) as u8;
    match Network::new(ip, prefix) {
        Ok(network) | Err(InvalidNetwork::HostBits { network, .. }) => network,
        Err(error) => panic!("{error}"),
    }
}

/// 100,000 networks that do not touch: every second /20 of v4, then some.
#[test]
fn a_large_list_is_compiled_and_searched() {
    let v4 = (0..60_000_u32).map(|index| Network::new(Ipv4Addr::from(index << 13).into(), 20).unwrap());
    let v6 = (0..40_000_u128).map(|index| Network::new(Ipv6Addr::from(index << 81).into(), 48).unwrap());
    let set: NetworkSet = v4.chain(v6).collect();
    assert_eq!((set.v4.len(), set.v6.len()), (60_000, 40_000));
    for index in (0..60_000_u32).step_by(7) {
        assert!(set.contains(Ipv4Addr::from((index << 13) + 0xfff).into()));
        assert!(!set.contains(Ipv4Addr::from((index << 13) + 0x1000).into()));
    }
    assert!(set.contains(Ipv6Addr::from((39_999_u128 << 81) + 5).into()));
    assert!(!set.contains(Ipv6Addr::from(40_000_u128 << 81).into()));
}

#[test]
fn deny_wins_and_an_allow_list_excludes_the_rest() {
    #[track_caller]
    fn check(allow: &[&str], deny: &[&str], address: &str, expected: Access) {
        let list = AccessList { allow: set(allow), deny: set(deny) };
        assert_eq!(list.of(ip(address)), expected);
    }
    check(&[], &[], "192.0.2.1", Access::Allowed);
    check(&[], &["192.0.2.0/24"], "192.0.2.1", Access::Denied);
    check(&[], &["192.0.2.0/24"], "192.0.3.1", Access::Allowed);
    check(&[], &["192.0.2.0/24"], "::ffff:192.0.2.1", Access::Denied);
    check(&["192.0.2.0/24"], &[], "192.0.2.1", Access::Allowed);
    check(&["192.0.2.0/24"], &[], "192.0.3.1", Access::NotAllowed);
    check(&["192.0.2.0/24"], &[], "::1", Access::NotAllowed);
    check(&["192.0.2.1"], &["192.0.2.0/24"], "192.0.2.1", Access::Denied);
    check(&["192.0.2.0/24"], &["192.0.2.1"], "192.0.2.2", Access::Allowed);
}
