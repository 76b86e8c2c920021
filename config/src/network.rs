//! Networks (`10.0.0.0/8`), single addresses, and resolvers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{
    diagnostic::{Fault, quoted},
    model::Network,
};

const DNS_PORT: u16 = 53;

/// What is said of an address for which [`is_group`] is true.
pub(crate) const GROUP: &str = "that address is of a group of machines";

/// True for addresses of many machines at once, with which no connection is possible.
pub(crate) fn is_group(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_multicast(),
    }
}

/// `10.0.0.0/8`, `2001:db8::/32`; an address alone is the network that holds nothing else.
///
/// # Errors
/// Says what is wrong, and what was probably meant.
pub(crate) fn parse(text: &str) -> Result<Network, Fault> {
    let wrong = || Fault::new(format!("{} is not a network", quoted(text)));
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let Ok(ip) = address.parse::<IpAddr>() else {
        let socket = text.parse::<SocketAddr>().map(|socket| socket.ip());
        return Err(match (socket, address.trim_matches(['[', ']']).parse::<IpAddr>()) {
            (Ok(ip), _) => wrong().help(format!("leave out the port: \"{ip}\"")),
            (_, Ok(ip)) => wrong().help(format!("leave out the brackets: \"{ip}\"")),
            _ if matches!(text, "*" | "all" | "any") => wrong().help("write \"0.0.0.0/0\" and \"::/0\""),
            _ => wrong().help("write \"10.0.0.0/8\", \"2001:db8::/32\" or a single address"),
        });
    };
    let bits = bits(ip);
    let Some(prefix) = prefix else { return network(text, ip, bits) };
    if prefix.contains('.') {
        let help = prefix.parse::<Ipv4Addr>().ok().and_then(mask).filter(|_| ip.is_ipv4());
        let help = help.map_or_else(|| "write the number of bits".to_owned(), |n| format!("write \"{ip}/{n}\""));
        return Err(wrong().help(help));
    }
    let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
    let fault = || wrong().at(address.len() + 1..text.len().max(address.len() + 2));
    match prefix.parse::<u8>() {
        // Octal in some programs and decimal in others.
        Ok(length) if digits && length <= bits && prefix.starts_with('0') && prefix.len() > 1 => {
            Err(fault().help(format!("a number has no zeros in front: \"{address}/{length}\"")))
        }
        Ok(length) if digits && length <= bits => network(text, ip, length),
        _ => Err(fault().help(format!("the length of a prefix is a number from 0 to {bits} here"))),
    }
}

fn network(text: &str, address: IpAddr, prefix: u8) -> Result<Network, Fault> {
    if let IpAddr::V6(v6) = address
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        let help = match prefix.checked_sub(96) {
            Some(prefix) => {
                format!("write it as IPv4: \"{}\"", Network { address: truncate(v4.into(), prefix), prefix })
            }
            None => "clients that come over IPv4 are compared as IPv4".to_owned(),
        };
        return Err(Fault::new(format!("{} holds IPv4 addresses in the form of IPv6", quoted(text))).help(help));
    }
    let first = truncate(address, prefix);
    if first != address {
        let meant = Network { address: first, prefix };
        let one = Network { address, prefix: bits(address) };
        let fault = Fault::new(format!("{} has bits beyond its prefix", quoted(text)));
        return Err(fault.help(format!("write \"{meant}\" for the network, or \"{one}\" for the one address")));
    }
    Ok(Network { address, prefix })
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with every bit beyond the prefix at zero.
fn truncate(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// The length of the prefix that a mask such as 255.255.0.0 stands for.
fn mask(mask: Ipv4Addr) -> Option<u32> {
    let bits = mask.to_bits();
    (bits.leading_ones() + bits.trailing_zeros().min(32) == 32 || bits == u32::MAX).then(|| bits.leading_ones())
}

/// A resolver: an address, with port 53 unless it says another.
///
/// # Errors
/// Says what is wrong, and what was probably meant.
pub(crate) fn parse_server(text: &str) -> Result<SocketAddr, Fault> {
    let wrong = || Fault::new(format!("{} is not the address of a resolver", quoted(text)));
    let server = match (text.parse::<IpAddr>(), text.parse::<SocketAddr>()) {
        (Ok(ip), _) => SocketAddr::new(ip, DNS_PORT),
        (_, Ok(server)) => server,
        _ => {
            let bare = text.trim_matches(['[', ']']).parse::<IpAddr>();
            let help = bare.map_or_else(
                |_| "write an IP address, as in \"10.0.0.2\" or \"[2001:db8::2]:5353\"".to_owned(),
                |ip| format!("write \"{ip}\""),
            );
            return Err(wrong().help(help));
        }
    };
    if server.port() == 0 {
        return Err(wrong().help("port 0 cannot be connected to"));
    }
    if server.ip().to_canonical().is_unspecified() {
        return Err(wrong().help("name the machine, as in \"127.0.0.1\""));
    }
    if is_group(server.ip()) {
        return Err(wrong().help(format!("{GROUP}; write the address of one machine")));
    }
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(text: &str, expected: &str) {
        assert_eq!(parse(text).map(|network| network.to_string()), Ok(expected.to_owned()));
    }

    #[track_caller]
    fn refused(result: Result<impl std::fmt::Debug, Fault>, words: &str) {
        let fault = result.expect_err(words).to_string();
        assert!(fault.contains(words), "{fault}");
    }

    #[test]
    fn networks() {
        same("10.0.0.0/8", "10.0.0.0/8");
        same("0.0.0.0/0", "0.0.0.0/0");
        same("192.0.2.7", "192.0.2.7/32");
        same("192.0.2.7/32", "192.0.2.7/32");
        same("::/0", "::/0");
        same("2001:db8::/32", "2001:db8::/32");
        same("::1", "::1/128");
        same("128.0.0.0/1", "128.0.0.0/1");
    }

    #[test]
    fn networks_that_are_none() {
        refused(parse("10.0.0.1/8"), "write \"10.0.0.0/8\" for the network, or \"10.0.0.1/32\"");
        refused(parse("2001:db8::1/32"), "\"2001:db8::/32\"");
        refused(parse("1.0.0.0/0"), "\"0.0.0.0/0\"");
        refused(parse("10.0.0.0/33"), "from 0 to 32");
        refused(parse("::/129"), "from 0 to 128");
        refused(parse("10.0.0.0/"), "from 0 to 32");
        refused(parse("10.0.0.0/+8"), "from 0 to 32");
        refused(parse("10.0.0.0/-1"), "from 0 to 32");
        refused(parse("10.0.0.0/8/8"), "from 0 to 32");
        refused(parse("10.0.0.0/08"), "no zeros in front: \"10.0.0.0/8\"");
        refused(parse("0.0.0.0/00"), "\"0.0.0.0/0\"");
        refused(parse("2001:db8::/032"), "\"2001:db8::/32\"");
        refused(parse("10.0.0.0/099"), "from 0 to 32");
        refused(parse("10.0.0.0/255.0.0.0"), "write \"10.0.0.0/8\"");
        refused(parse("10.0.0.0/255.0.255.0"), "number of bits");
        refused(parse("10.0.0.1:80"), "\"10.0.0.1\"");
        refused(parse("[::1]:80"), "\"::1\"");
        refused(parse("[::1]"), "\"::1\"");
        refused(parse("[fe80::]/10"), "leave out the brackets");
        refused(parse("any"), "\"0.0.0.0/0\" and \"::/0\"");
        refused(parse("localhost"), "a single address");
        refused(parse(""), "a single address");
        refused(parse("10.0/16"), "a single address");
        refused(parse("::ffff:10.1.0.0/104"), "\"10.0.0.0/8\"");
        refused(parse("::ffff:10.0.0.1"), "\"10.0.0.1/32\"");
    }

    #[test]
    fn resolvers() {
        for (text, expected) in [
            ("10.0.0.2", "10.0.0.2:53"),
            ("10.0.0.2:5353", "10.0.0.2:5353"),
            ("::1", "[::1]:53"),
            ("[::1]:5353", "[::1]:5353"),
        ] {
            assert_eq!(parse_server(text).map(|server| server.to_string()), Ok(expected.to_owned()));
        }
        refused(parse_server("dns.example"), "write an IP address");
        refused(parse_server("[::1]"), "write \"::1\"");
        refused(parse_server("10.0.0.2:0"), "port 0");
        refused(parse_server("0.0.0.0"), "name the machine");
        refused(parse_server("[::ffff:0.0.0.0]:53"), "name the machine");
        for group in ["224.0.0.251", "255.255.255.255:53", "ff02::fb", "[ff02::fb]:5353", "::ffff:224.0.0.1"] {
            refused(parse_server(group), "write the address of one machine");
        }
        refused(parse_server("10.0.0.2:99999"), "write an IP address");
    }
}
