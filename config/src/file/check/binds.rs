//! Addresses that collide.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::where_is;
use crate::{
    file::{document::Document, findings::Findings, source::Place},
    model::Address,
};

/// Addresses that are taken, in a form in which those that collide are found without comparing all with all.
#[derive(Default)]
struct Taken {
    exact: HashMap<Address, Place>,
    /// By port and family: the address that takes all of the family, and any that takes one.
    wildcard: HashMap<(u16, Family), Bound>,
    some: HashMap<(u16, Family), Bound>,
}

#[derive(Clone)]
struct Bound {
    place: Place,
    /// True exactly for `[::]` without ipv6_only.
    is_dual: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Family {
    V4,
    V6,
}

pub(super) fn check(document: &Document, findings: &mut Findings) {
    let mut taken = Taken::default();
    for listener in &document.listeners {
        let ipv6_only = listener.bool("ipv6_only").unwrap_or(false);
        for (address, place) in listener.addresses("bind").unwrap_or_default() {
            taken.take(address, place, ipv6_only, findings);
        }
    }
    for (address, place) in document.admin.addresses("listen").unwrap_or_default() {
        taken.take(address, place, false, findings);
    }
}

impl Taken {
    fn take(&mut self, address: &Address, place: &Place, ipv6_only: bool, findings: &mut Findings) {
        if let Some(first) = self.exact.get(address) {
            let help = format!("it is already bound {}", where_is(first, findings));
            findings.error(place.clone(), format!("the address {address} is bound twice"), Some(help));
            return;
        }
        if let Address::Ip(ip) = address
            && ip.port() != 0
        {
            self.take_ip(address, ip.ip(), ip.port(), place, ipv6_only, findings);
        }
        let is_any_port = matches!(address, Address::Ip(ip) if ip.port() == 0);
        if !is_any_port {
            self.exact.insert(address.clone(), place.clone());
        }
    }

    fn take_ip(
        &mut self,
        address: &Address,
        ip: IpAddr,
        port: u16,
        place: &Place,
        ipv6_only: bool,
        findings: &mut Findings,
    ) {
        let families: &[Family] = match ip {
            IpAddr::V4(_) => &[Family::V4],
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) if !ipv6_only => &[Family::V6, Family::V4],
            IpAddr::V6(_) => &[Family::V6],
        };
        let is_wildcard = ip == IpAddr::V4(Ipv4Addr::UNSPECIFIED) || ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let bound = Bound { place: place.clone(), is_dual: families.len() == 2 };
        for family in families {
            let key = (port, *family);
            let clash = self.wildcard.get(&key).or_else(|| if is_wildcard { self.some.get(&key) } else { None });
            if let Some(first) = clash {
                let message = format!("{address} overlaps with the address bound {}", where_is(&first.place, findings));
                let help = if *family == Family::V4 && (first.is_dual || bound.is_dual) {
                    "[::] takes IPv4 too; set ipv6_only = true for it, or leave the other out"
                } else {
                    "an address for all interfaces takes every other of that port; use different ports"
                };
                findings.error(bound.place, message, Some(help.to_owned()));
                return;
            }
        }
        for family in families {
            let map = if is_wildcard { &mut self.wildcard } else { &mut self.some };
            map.entry((port, *family)).or_insert_with(|| bound.clone());
        }
    }
}
