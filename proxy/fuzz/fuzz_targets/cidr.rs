//! Lines of text, each a network or not: what is read reads back, and a set contains what its networks do.
//!
//! `cargo +nightly fuzz run cidr corpus/cidr seeds/cidr`, started from `proxy/fuzz`.
#![no_main]
#![allow(dead_code, reason = "a part of a module is compiled here, without its crate")]

#[path = "../../src"]
mod proxy {
    pub(crate) mod cidr;
}

use libfuzzer_sys::fuzz_target;
use proxy::cidr::{InvalidNetwork, Network, NetworkSet};
use std::net::IpAddr;

fuzz_target!(|text: &str| {
    let mut networks = Vec::new();
    for line in text.lines() {
        match line.parse::<Network>() {
            Ok(network) => {
                assert_eq!(network.to_string().parse(), Ok(network));
                networks.push(network);
            }
            Err(InvalidNetwork::HostBits { network, .. }) => {
                assert_eq!(network.to_string().parse(), Ok(network), "what the message says to write is right");
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    let set: NetworkSet = networks.iter().copied().collect();
    for ip in text.lines().filter_map(|line| line.parse::<IpAddr>().ok()) {
        let one_by_one = networks.iter().any(|network| NetworkSet::from_iter([*network]).contains(ip));
        assert_eq!(set.contains(ip), one_by_one);
        assert!(set.contains(ip), "the address is one of the lines");
    }
});
