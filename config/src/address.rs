//! The addresses a listener binds and an endpoint is reached at.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use crate::{
    diagnostic::{Fault, is_invisible, quoted},
    model::{Address, EndpointAddress},
    names, network,
};

/// `sun_path` of a unix socket holds 108 bytes, the last of them NUL.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// What a listener may bind: `IP:port`, `:port` for every address of both families, `unix:/path`.
pub(crate) fn parse_bind(text: &str) -> Result<Address, Fault> {
    let fault = Fault::new(format!("{} is not an address to listen on", quoted(text)));
    match unix_or_ip(text)? {
        Some(Address::Ip(ip)) if network::is_group(ip.ip()) => {
            return Err(fault.help(format!("{}; write one of this machine", network::GROUP)));
        }
        Some(address) => return Ok(address),
        None => {}
    }
    if let Some(port) = text.strip_prefix(':').and_then(port) {
        return Ok(Address::Ip(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)));
    }
    Err(match text.rsplit_once(':') {
        _ if port(text).is_some() => fault.help(format!("write \":{text}\" for port {text} on every address")),
        Some(("localhost", p)) if port(p).is_some() => fault.help(format!("write \"127.0.0.1:{p}\" or \"[::1]:{p}\"")),
        Some(("*", p)) if port(p).is_some() => fault.help(format!("write \":{p}\" for every address")),
        _ => explain(fault, text, "write \"IP:port\", \":port\" for every address, or \"unix:/path\""),
    })
}

/// Where an endpoint may be: `IP:port`, `name:port`, `unix:/path`.
pub(crate) fn parse_endpoint(text: &str) -> Result<EndpointAddress, Fault> {
    let fault = || Fault::new(format!("{} is not the address of an endpoint", quoted(text)));
    match unix_or_ip(text)? {
        Some(Address::Ip(ip)) if ip.port() == 0 => return Err(fault().help("port 0 cannot be connected to")),
        Some(Address::Ip(ip)) if ip.ip().to_canonical().is_unspecified() => {
            return Err(fault().help(format!("name the machine, as in \"127.0.0.1:{}\"", ip.port())));
        }
        Some(Address::Ip(ip)) if network::is_group(ip.ip()) => {
            return Err(fault().help(format!("{}; write the address of one machine", network::GROUP)));
        }
        Some(address) => return Ok(EndpointAddress::Address(address)),
        None => {}
    }
    match text.rsplit_once(':') {
        Some(("", p)) if port(p).is_some() => Err(fault().help(format!("name the machine, as in \"127.0.0.1:{p}\""))),
        // Of an IPv6 address without brackets, or of an IPv4 address with a slip, nobody wants to be asked as a name.
        Some((host, p)) if !host.contains([':', '/', '[']) && names::could_be_asked(host) => match port(p) {
            Some(0) => Err(fault().help("port 0 cannot be connected to")),
            Some(port) => Ok(EndpointAddress::Dns { host: names::parse_host(host)?, port }),
            None => Err(fault().help("a port is a number from 1 to 65535")),
        },
        _ => Err(explain(fault(), text, "write \"IP:port\", \"name:port\" or \"unix:/path\"")),
    }
}

/// The forms both sides share; `None` where the text is neither.
fn unix_or_ip(text: &str) -> Result<Option<Address>, Fault> {
    match text.strip_prefix("unix:") {
        Some(path) => unix(path).map(Some),
        None => Ok(text.parse().ok().map(Address::Ip)),
    }
}

fn unix(path: &str) -> Result<Address, Fault> {
    if path.starts_with("//") || !path.starts_with('/') {
        let fault = Fault::new(format!("{} is not the absolute path of a unix socket", quoted(path)));
        return Err(fault.help("write \"unix:/run/app.sock\""));
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        let message =
            format!("the path of a unix socket has {} bytes, and the kernel takes {UNIX_PATH_BYTES_MAX}", path.len());
        return Err(Fault::new(message).help("use a shorter path, or a symbolic link to its directory"));
    }
    if path.contains(is_invisible) || path.ends_with('/') {
        return Err(Fault::new(format!("{} cannot be the name of a unix socket", quoted(path))));
    }
    Ok(Address::Unix(PathBuf::from(path)))
}

/// Mistakes that either side may make.
fn explain(fault: Fault, text: &str, otherwise: &str) -> Fault {
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.split('/').next().unwrap_or(rest);
        return fault.help(match scheme {
            "unix" => "write \"unix:/path\", with one slash".to_owned(),
            _ if rest.contains(':') => format!("leave out \"{scheme}://\" and any path"),
            _ => format!("leave out \"{scheme}://\" and any path, and add a port"),
        });
    }
    // "::1:80" is an address by itself, but hardly what was meant.
    if let Some((host, p)) = text.rsplit_once(':')
        && host.parse::<Ipv6Addr>().is_ok()
        && port(p).is_some()
    {
        return fault.help(format!("an IPv6 address with a port needs brackets: \"[{host}]:{p}\""));
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return fault.help(format!("add a port, as in \"{}\"", SocketAddr::new(ip, 80)));
    }
    if text.starts_with('/') {
        return fault.help(format!("write \"unix:{text}\""));
    }
    match text.rsplit_once(':') {
        Some((host, p)) if host.parse::<IpAddr>().is_ok() && !p.is_empty() => {
            fault.help("a port is a number from 1 to 65535")
        }
        Some((host, p)) if names::ends_in_a_number(host) && port(p).is_some() => {
            fault.help(match names::ipv4_in_short(host) {
                Some(ip) => format!("write all four numbers in decimal: \"{ip}:{p}\""),
                None => "a name does not end in a number, and an IPv4 address is four numbers from 0 to 255".to_owned(),
            })
        }
        None if names::is_host_name(text) => fault.help(format!("add a port; {otherwise}")),
        _ => fault.help(otherwise),
    }
}

fn port(text: &str) -> Option<u16> {
    // `parse` alone would take "+80".
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same<T: ToString>(parse: fn(&str) -> Result<T, Fault>, text: &str, expected: &str) {
        assert_eq!(parse(text).map(|a| a.to_string()), Ok(expected.to_owned()), "{text}");
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(parse: fn(&str) -> Result<T, Fault>, text: &str, words: &str) {
        let fault = parse(text).expect_err(text).to_string();
        assert!(fault.contains(words), "{fault}");
    }

    #[test]
    fn addresses_to_listen_on() {
        same(parse_bind, "0.0.0.0:8080", "0.0.0.0:8080");
        same(parse_bind, ":8080", "[::]:8080");
        same(parse_bind, "[::1]:80", "[::1]:80");
        same(parse_bind, "127.0.0.1:0", "127.0.0.1:0");
        same(parse_bind, "unix:/run/x.sock", "unix:/run/x.sock");
        refused(parse_bind, "8080", "write \":8080\"");
        refused(parse_bind, "localhost:80", "127.0.0.1:80");
        refused(parse_bind, "*:80", "write \":80\"");
        refused(parse_bind, "::1:80", "\"[::1]:80\"");
        refused(parse_bind, "127.0.0.1", "\"127.0.0.1:80\"");
        refused(parse_bind, "::1", "\"[::1]:80\"");
        refused(parse_bind, "127.0.0.1:65536", "1 to 65535");
        refused(parse_bind, "http://0.0.0.0:80/", "leave out \"http://\"");
        refused(parse_bind, "/run/x.sock", "write \"unix:/run/x.sock\"");
        refused(parse_bind, "unix:x.sock", "absolute path");
        refused(parse_bind, "unix:///x.sock", "absolute path");
        refused(parse_bind, "unix:/", "cannot be the name");
        refused(parse_bind, &format!("unix:/{}", "x".repeat(107)), "108 bytes");
        refused(parse_bind, "", "\"IP:port\"");
        refused(parse_bind, ":+80", "not an address");
        refused(parse_bind, "127.1:80", "\"127.0.0.1:80\"");
        for group in ["224.0.0.1:80", "255.255.255.255:80", "[ff02::1]:80", "[::ffff:224.0.0.1]:80"] {
            refused(parse_bind, group, "write one of this machine");
        }
    }

    #[test]
    fn addresses_of_endpoints() {
        same(parse_endpoint, "10.0.0.1:9001", "10.0.0.1:9001");
        same(parse_endpoint, "[2001:db8::1]:80", "[2001:db8::1]:80");
        same(parse_endpoint, "unix:/run/x.sock", "unix:/run/x.sock");
        same(parse_endpoint, "localhost:80", "localhost:80");
        same(parse_endpoint, "DB.example.com.:5432", "db.example.com.:5432");
        refused(parse_endpoint, "db.example.com:0", "port 0");
        refused(parse_endpoint, "db.example.com:http", "1 to 65535");
        refused(parse_endpoint, "db..example.com:80", "is empty");
        refused(parse_endpoint, "http://db.example.com:80/", "leave out \"http://\"");
        refused(parse_endpoint, "::1:80", "\"[::1]:80\"");
        refused(parse_endpoint, "db.example.com", "add a port");
        refused(parse_endpoint, ":80", "name the machine");
        refused(parse_endpoint, "0.0.0.0:80", "name the machine");
        refused(parse_endpoint, "127.0.0.1:0", "port 0");
        refused(parse_endpoint, "10.0.0.256:80", "four numbers from 0 to 255");
        refused(parse_endpoint, "[::ffff:0.0.0.0]:80", "name the machine");
        for group in ["224.0.0.1:80", "255.255.255.255:80", "[ff02::1]:80", "[::ffff:239.1.2.3]:80"] {
            refused(parse_endpoint, group, "write the address of one machine");
        }
    }

    /// Resolvers of the system would take some of these for addresses, and DNS knows of no such name.
    #[test]
    fn an_endpoint_whose_host_ends_in_a_number_is_no_name() {
        for (text, meant) in [
            ("127.1:80", "127.0.0.1:80"),
            ("1.2.3:80", "1.2.0.3:80"),
            ("0x7f.1:80", "127.0.0.1:80"),
            ("0x7f000001:80", "127.0.0.1:80"),
            ("2130706433:80", "127.0.0.1:80"),
            ("127.0.0.0X1:80", "127.0.0.1:80"),
            ("10.0.0.1.:80", "10.0.0.1:80"),
        ] {
            refused(parse_endpoint, text, &format!("in decimal: \"{meant}\""));
        }
        for text in ["db.1:80", "a.0x:80", "1.2.3.4.5:80", "010.0.0.1:80", "256.1:80", "1.0x1ffffff:80", "0x.:80"] {
            refused(parse_endpoint, text, "a name does not end in a number");
        }
        for name in ["1.example:80", "db1:80", "0x7f.local:80", "1.2.3.in-addr:80", "0xg:80", "x0:80"] {
            same(parse_endpoint, name, name);
        }
    }
}
