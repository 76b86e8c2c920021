//! Networks of addresses, and who may connect.
//!
//! Invariants:
//! * An address has one form: a v4-mapped v6 address (`::ffff:192.0.2.1`), which is what a socket of both families
//!   shows for a v4 client, is the v4 address, in lists and in questions alike.
//! * The families do not mix: `0.0.0.0/0` is every v4 address and `::/0` every v6 one; neither contains the other.
//! * A list is compiled once and then only read. A question costs a binary search, also with 100,000 networks.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU8,
    str::FromStr,
};

/// A network as it is written: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network {
    /// No bit beyond the prefix is set, and no v4-mapped address is in here.
    first: IpAddr,
    prefix: u8,
}

impl Network {
    /// # Errors
    /// The prefix is longer than an address, or `ip` has bits set that are not part of it.
    pub(crate) fn new(ip: IpAddr, prefix: u8) -> Result<Self, InvalidNetwork> {
        let bits = bits(ip);
        let given = Self { first: ip, prefix };
        let Some(host_bits) = bits.checked_sub(prefix) else { return Err(InvalidNetwork::Prefix { given, max: bits }) };
        let last = ones(host_bits);
        let first = match ip {
            IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from(u32::from(ip) & !(last as u32))),
            IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) & !last)),
        };
        let network = Self { first, prefix }.canonical();
        if first == ip { Ok(network) } else { Err(InvalidNetwork::HostBits { given, network }) }
    }

    /// Written as a v4 network where it is one: `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
    fn canonical(self) -> Self {
        match (self.first.to_canonical(), self.prefix.checked_sub(96)) {
            (first @ IpAddr::V4(_), Some(prefix)) if self.first.is_ipv6() => Self { first, prefix },
            _ => self,
        }
    }

    /// The first and the last address, as numbers.
    fn range(self) -> (u128, u128) {
        let first = match self.first {
            IpAddr::V4(ip) => u32::from(ip).into(),
            IpAddr::V6(ip) => ip.into(),
        };
        (first, first | ones(bits(self.first) - self.prefix))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
        let ip: IpAddr = ip.parse().map_err(|_| InvalidNetwork::Address)?;
        match prefix {
            Some(prefix) => Self::new(ip, parse_prefix(prefix).ok_or(InvalidNetwork::Number)?),
            None => Self::new(ip, bits(ip)),
        }
    }
}

/// Digits only, without leading zeros: `/08` is a typing error, not octal and not 8.
fn parse_prefix(text: &str) -> Option<u8> {
    let plain = text == "0" || NonZeroU8::from_str(text).is_ok_and(|_| !text.starts_with(['0', '+']));
    text.parse().ok().filter(|_| plain)
}

const fn bits(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// A number with so many of its lowest bits set, of at most 128.
fn ones(count: u8) -> u128 {
    u128::MAX.checked_shr(128 - u32::from(count)).unwrap_or(0)
}

/// Why a text is not a network. The words are for whoever wrote it and say what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvalidNetwork {
    Address,
    Number,
    Prefix {
        given: Network,
        max: u8,
    },
    /// Both readings are plausible, so neither is taken: the network, or this one address.
    HostBits {
        given: Network,
        network: Network,
    },
}

impl fmt::Display for InvalidNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => write!(f, "no IP address; write it as in 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32"),
            Self::Number => write!(f, "what follows the / is no number of bits, such as 8 or 32"),
            Self::Prefix { given, max } => {
                write!(f, "{given} has a prefix of more than the {max} bits of {}", given.first)
            }
            Self::HostBits { given, network } => write!(
                f,
                "{given} has bits set beyond its prefix; write {network} for the network, {} for the address",
                given.first.to_canonical()
            ),
        }
    }
}

impl std::error::Error for InvalidNetwork {}

/// A set of networks, compiled: sorted ranges, of which no two touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkSet {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl NetworkSet {
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => within(&self.v4, ip.into()),
            IpAddr::V6(ip) => within(&self.v6, ip.into()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

/// Networks may repeat and contain each other.
impl FromIterator<Network> for NetworkSet {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let (v4, v6): (Vec<Network>, Vec<_>) = networks.into_iter().partition(|network| network.first.is_ipv4());
        let narrow = |(first, last): (u128, u128)| (first as u32, last as u32);
        Self { v4: merged(v4).into_iter().map(narrow).collect(), v6: merged(v6).into() }
    }
}

fn merged(networks: Vec<Network>) -> Vec<(u128, u128)> {
    let mut ranges: Vec<_> = networks.into_iter().map(Network::range).collect();
    ranges.sort_unstable();
    // Neighbours become one as well: 10.0.0.0/9 and 10.128.0.0/9 are a single entry.
    ranges.dedup_by(|(first, last), (_, last_before)| {
        let touches = *first <= last_before.saturating_add(1);
        if touches {
            *last_before = (*last_before).max(*last);
        }
        touches
    });
    ranges
}

/// The only range that can contain `address` is the last one that begins at or before it.
fn within<T: Ord + Copy>(ranges: &[(T, T)], address: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= address);
    after.checked_sub(1).is_some_and(|index| address <= ranges[index].1)
}

/// The allow and deny lists of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccessList {
    pub(crate) allow: NetworkSet,
    pub(crate) deny: NetworkSet,
}

/// What an [`AccessList`] says of an address; the refusals are apart for whoever reads a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Allowed,
    /// On the deny list, which wins over the other.
    Denied,
    /// There is an allow list, and this address is not on it.
    NotAllowed,
}

impl AccessList {
    pub(crate) fn of(&self, ip: IpAddr) -> Access {
        if self.deny.contains(ip) {
            return Access::Denied;
        }
        if self.allow.is_empty() || self.allow.contains(ip) { Access::Allowed } else { Access::NotAllowed }
    }
}
