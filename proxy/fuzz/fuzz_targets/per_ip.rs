//! A sequence of connections that come and go, in a table too small for them: nobody gets more than the limits, and in
//! the end nothing is left.
//!
//! `cargo +nightly fuzz run per_ip corpus/per_ip seeds/per_ip`, started from `proxy/fuzz`.
#![no_main]
#![allow(dead_code, reason = "a part of a module is compiled here, without its crate")]

#[path = "../../src"]
mod proxy {
    pub(crate) mod per_ip;
}

use balance_engine::clock::Timestamp;
use libfuzzer_sys::fuzz_target;
use proxy::per_ip::{Limits, PerIp, Rate, Shape, Verdict};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    time::Duration,
};

const CONNECTIONS_MAX: u32 = 3;
const BURST: u32 = 2;

fuzz_target!(|bytes: &[u8]| {
    let number = |number| NonZeroU32::new(number).expect("not zero");
    let rate = Rate { per_second: number(100), burst: number(BURST) };
    let limits = Limits { connections_max: Some(number(CONNECTIONS_MAX)), rate: Some(rate) };
    let mut per_ip = PerIp::new(Shape { entries_max: 16, v6_prefix: 64 }, limits, [1, 2]);
    let memory = per_ip.memory_bytes();
    let mut now = Timestamp::START;
    let mut open = Vec::new();
    let mut came: HashMap<IpAddr, (u32, Vec<Timestamp>)> = HashMap::new();
    // Two bytes an operation: what, and who or how long.
    for &[operation, argument] in bytes.as_chunks().0 {
        match operation % 4 {
            0 => now = now + Duration::from_millis(argument.into()),
            1 if !open.is_empty() => {
                let (ip, ticket) = open.swap_remove(usize::from(argument) % open.len());
                per_ip.release(ticket);
                came.entry(ip).or_default().0 -= 1;
            }
            _ => {
                let ip = IpAddr::from(Ipv4Addr::new(10, 0, operation / 128, argument));
                if let Verdict::Admitted(ticket) = per_ip.admit(ip, now) {
                    open.push((ip, ticket));
                    let (connections, times) = came.entry(ip).or_default();
                    *connections += 1;
                    times.push(now);
                    assert!(*connections <= CONNECTIONS_MAX);
                    // Of BURST + n tokens, n have come at 100 a second.
                    for (n, since) in times.iter().rev().skip(BURST as usize).enumerate() {
                        assert!(now - *since >= Duration::from_millis(10 * (n as u64 + 1)));
                    }
                }
            }
        }
    }
    open.into_iter().for_each(|(_, ticket)| per_ip.release(ticket));
    assert_eq!(per_ip.memory_bytes(), memory);
    let later = now + Duration::from_secs(1);
    let fresh = IpAddr::from([192, 0, 2, 1]);
    assert!((0..BURST).all(|_| matches!(per_ip.admit(fresh, later), Verdict::Admitted(_))));
});
