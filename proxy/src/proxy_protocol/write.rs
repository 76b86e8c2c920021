//! Headers for an endpoint that wants to know the client: into a buffer of the caller's, once a connection.

use super::{
    Addresses, Tlv, crc32c, kind,
    v2::{FIXED_BYTES, Family, LOCAL, PATH_BYTES, PROXY, SIGNATURE, VERSION_2},
};
use std::{
    fmt,
    io::Write,
    net::{Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
};

/// The longest line of version 1, CRLF included (spec 2.1): room enough for [`write_v1`].
pub(crate) const V1_BYTES_MAX: usize = 107;

/// The buffer is too small; or, in version 2, no buffer would do, the length having 16 bits and a path 108 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeaderTooLong;

/// Whether version 2 carries a checksum of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    None,
    Crc32c,
}

/// Write a line of version 1 to the beginning of `out`; how long it is.
pub(crate) fn write_v1(addresses: &Addresses<'_>, out: &mut [u8]) -> Result<usize, HeaderTooLong> {
    let room = out.len();
    let mut rest = out;
    let written = match *addresses {
        Addresses::Inet { source, destination } => match Pair::of(source, destination) {
            Pair::V4(from, to) => {
                write!(rest, "PROXY TCP4 {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port())
            }
            Pair::V6(from, to) => {
                let (from_ip, to_ip) = (Hexadecimal(*from.ip()), Hexadecimal(*to.ip()));
                write!(rest, "PROXY TCP6 {from_ip} {to_ip} {} {}\r\n", from.port(), to.port())
            }
        },
        Addresses::Local | Addresses::Unknown | Addresses::Unix { .. } => rest.write_all(b"PROXY UNKNOWN\r\n"),
    };
    written.map_err(|_| HeaderTooLong)?;
    Ok(room - rest.len())
}

/// Write a header of version 2 to the beginning of `out`; how long it is.
///
/// The TLVs may be those that came with a header: a checksum among them was of that one and is left out, as is padding.
pub(crate) fn write_v2<'a>(
    addresses: &Addresses<'_>,
    tlvs: impl IntoIterator<Item = Tlv<'a>>,
    checksum: Checksum,
    out: &mut [u8],
) -> Result<usize, HeaderTooLong> {
    let mut header = Writer { out, len: 0 };
    header.put(&SIGNATURE)?;
    let command = if matches!(addresses, Addresses::Local) { LOCAL } else { PROXY };
    header.put(&[VERSION_2 | command])?;
    put_addresses(&mut header, addresses)?;
    for tlv in tlvs.into_iter().filter(|tlv| !matches!(tlv.kind, kind::CRC32C | kind::NOOP)) {
        header.put_tlv(tlv)?;
    }
    if checksum == Checksum::Crc32c {
        header.put_tlv(Tlv { kind: kind::CRC32C, value: &[0; 4] })?;
    }
    let len = u16::try_from(header.len - FIXED_BYTES).map_err(|_| HeaderTooLong)?;
    let written = &mut header.out[..header.len];
    written[14..FIXED_BYTES].copy_from_slice(&len.to_be_bytes());
    if checksum == Checksum::Crc32c {
        let sum = crc32c::of(&[written]).to_be_bytes();
        let place = written.len() - sum.len();
        written[place..].copy_from_slice(&sum);
    }
    Ok(header.len)
}

/// From the byte of the family on, the length still zero.
fn put_addresses(header: &mut Writer<'_>, addresses: &Addresses<'_>) -> Result<(), HeaderTooLong> {
    match *addresses {
        Addresses::Local | Addresses::Unknown => header.put(&[Family::Unspecified as u8, 0, 0]),
        Addresses::Inet { source, destination } => match Pair::of(source, destination) {
            Pair::V4(from, to) => {
                header.put(&[Family::Inet as u8, 0, 0])?;
                header.put(&from.ip().octets())?;
                header.put(&to.ip().octets())?;
                header.put_ports(from.port(), to.port())
            }
            Pair::V6(from, to) => {
                header.put(&[Family::Inet6 as u8, 0, 0])?;
                header.put(&from.ip().octets())?;
                header.put(&to.ip().octets())?;
                header.put_ports(from.port(), to.port())
            }
        },
        Addresses::Unix { source, destination } => {
            header.put(&[Family::Unix as u8, 0, 0])?;
            header.put_path(source)?;
            header.put_path(destination)
        }
    }
}

/// A header has one family for both addresses.
enum Pair {
    V4(SocketAddrV4, SocketAddrV4),
    V6(SocketAddrV6, SocketAddrV6),
}

impl Pair {
    /// A v4 client on a socket of both families is v4; beside a v6 address, a v4 one is written v4-mapped (RFC 4291
    /// section 2.5.5.2), since UNKNOWN would lose what is known.
    fn of(source: SocketAddr, destination: SocketAddr) -> Self {
        let v4 = |address: SocketAddr| match address.ip().to_canonical() {
            std::net::IpAddr::V4(ip) => Some(SocketAddrV4::new(ip, address.port())),
            std::net::IpAddr::V6(_) => None,
        };
        let v6 = |address: SocketAddr| match address {
            SocketAddr::V4(address) => SocketAddrV6::new(address.ip().to_ipv6_mapped(), address.port(), 0, 0),
            SocketAddr::V6(address) => address,
        };
        match (v4(source), v4(destination)) {
            (Some(source), Some(destination)) => Self::V4(source, destination),
            _ => Self::V6(v6(source), v6(destination)),
        }
    }
}

/// As the grammar of spec 2.1 wants it, of hexadecimal groups only, where the standard library would end a mapped
/// address in dotted decimal.
struct Hexadecimal(Ipv6Addr);

impl fmt::Display for Hexadecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.to_ipv4_mapped(), self.0.segments()) {
            (Some(_), [.., high, low]) => write!(f, "::ffff:{high:x}:{low:x}"),
            (None, _) => self.0.fmt(f),
        }
    }
}

/// `out[..len]` is written.
struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), HeaderTooLong> {
        let place = self.out.get_mut(self.len..self.len + bytes.len()).ok_or(HeaderTooLong)?;
        place.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }

    fn put_ports(&mut self, source: u16, destination: u16) -> Result<(), HeaderTooLong> {
        self.put(&source.to_be_bytes())?;
        self.put(&destination.to_be_bytes())
    }

    fn put_path(&mut self, path: &[u8]) -> Result<(), HeaderTooLong> {
        let padding = PATH_BYTES.checked_sub(path.len()).ok_or(HeaderTooLong)?;
        self.put(path)?;
        self.put(&[0; PATH_BYTES][..padding])
    }

    fn put_tlv(&mut self, tlv: Tlv<'_>) -> Result<(), HeaderTooLong> {
        let len = u16::try_from(tlv.value.len()).map_err(|_| HeaderTooLong)?;
        self.put(&[tlv.kind])?;
        self.put(&len.to_be_bytes())?;
        self.put(tlv.value)
    }
}
