//! Version 1, a line: `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443` and CRLF.

use super::{Addresses, Header, Invalid, Stop, Tlvs, Version, agree, write::V1_BYTES_MAX};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

const PREFIX: &[u8] = b"PROXY ";
/// `PROXY UNKNOWN` and CRLF.
pub(super) const LINE_BYTES_MIN: usize = 15;
/// What follows the prefix, each with the byte after it where only one is possible.
const PROTOCOLS: [&[u8]; 3] = [b"TCP4 ", b"TCP6 ", b"UNKNOWN"];

pub(super) fn parse(bytes: &[u8]) -> Result<(Header<'_>, usize), Stop> {
    if !agree(bytes, PREFIX) {
        return Err(Invalid::Signature.into());
    }
    // Spec 2.1 recommends "to abort the connection as soon as possible".
    let rest = bytes.get(PREFIX.len()..).unwrap_or_default();
    if !PROTOCOLS.iter().any(|protocol| agree(rest, protocol)) {
        return Err(Invalid::Protocol.into());
    }
    let end = line_end(bytes)?;
    let addresses = addresses(&bytes[PREFIX.len()..end])?;
    Ok((Header { version: Version::One, addresses, tlvs: Tlvs::default() }, end + 2))
}

/// Where the CRLF stands.
fn line_end(bytes: &[u8]) -> Result<usize, Stop> {
    let short = |rest: usize| Stop::Short(LINE_BYTES_MIN.saturating_sub(bytes.len()).max(rest));
    // Spec 2.1: "If the CRLF sequence is not found in the first 107 characters, the receiver should declare the line
    // invalid." So the CR is among the first 106.
    let before_lf = &bytes[..bytes.len().min(V1_BYTES_MAX - 1)];
    let Some(end) = before_lf.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        let full = before_lf.len() == V1_BYTES_MAX - 1;
        return Err(if full { Invalid::LineLength.into() } else { short(2) });
    };
    // Spec 2.1: "The receiver must not tolerate a single CR or LF character to end the line".
    match (bytes[end], bytes.get(end + 1)) {
        (b'\r', None) => Err(short(1)),
        (b'\r', Some(b'\n')) => Ok(end),
        _ => Err(Invalid::LineEnd.into()),
    }
}

fn addresses(fields: &[u8]) -> Result<Addresses<'static>, Invalid> {
    match fields {
        [b'T', b'C', b'P', b'4', b' ', rest @ ..] => inet::<Ipv4Addr>(rest),
        // The specification's grammar has hexadecimal groups only. Rust takes `::ffff:192.0.2.1` too, which is how
        // everybody's inet_ntop prints such an address, so some senders do write it.
        [b'T', b'C', b'P', b'6', b' ', rest @ ..] => inet::<Ipv6Addr>(rest),
        // Spec 2.1: "the receiver must ignore anything presented before the CRLF is found."
        [b'U', b'N', b'K', b'N', b'O', b'W', b'N'] | [b'U', b'N', b'K', b'N', b'O', b'W', b'N', b' ', ..] => {
            Ok(Addresses::Unknown)
        }
        _ => Err(Invalid::Protocol),
    }
}

/// `source destination source-port destination-port`, one space apart.
fn inet<Ip: FromStr + Into<IpAddr>>(fields: &[u8]) -> Result<Addresses<'static>, Invalid> {
    let text = str::from_utf8(fields).map_err(|_| Invalid::Fields)?;
    let mut fields = text.split(' ');
    let mut next = || fields.next().ok_or(Invalid::Fields);
    let [source, destination, source_port, destination_port] = [next()?, next()?, next()?, next()?];
    if fields.next().is_some() {
        return Err(Invalid::Fields);
    }
    let source = SocketAddr::new(ip::<Ip>(source)?, port(source_port)?);
    let destination = SocketAddr::new(ip::<Ip>(destination)?, port(destination_port)?);
    Ok(Addresses::Inet { source, destination })
}

/// The parser of the standard library is as strict as we need: no leading zeros in a v4 address, no zone in a v6 one.
fn ip<Ip: FromStr + Into<IpAddr>>(text: &str) -> Result<IpAddr, Invalid> {
    text.parse::<Ip>().map(Into::into).map_err(|_| Invalid::Address)
}

/// Spec 2.1: an integer in the range [0..65535]; "a leading zero is not permitted" but for 0 itself. The standard
/// library would take a plus sign and zeros.
fn port(text: &str) -> Result<u16, Invalid> {
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    text.parse().ok().filter(|_| plain).ok_or(Invalid::Port)
}
