//! Version 2, binary.
//!
//! ```text
//!   0            12         13       14       16
//!   ┌────────────┬──────────┬────────┬────────┬───────────┬──────
//!   │ signature  │ version, │ family,│ length │ addresses │ TLVs
//!   │            │ command  │ transp.│ of rest│           │
//!   └────────────┴──────────┴────────┴────────┴───────────┴──────
//! ```

use super::{Addresses, Header, Invalid, Stop, Tlvs, Version, agree};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What stands before the addresses.
pub(super) const FIXED_BYTES: usize = 16;
pub(super) const VERSION_2: u8 = 0x20;
pub(super) const LOCAL: u8 = 0;
pub(super) const PROXY: u8 = 1;
/// A path of an AF_UNIX address, padded.
pub(super) const PATH_BYTES: usize = 108;

/// Family and transport in one byte: those that can be spoken over a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Family {
    Unspecified = 0x00,
    Inet = 0x11,
    Inet6 = 0x21,
    Unix = 0x31,
}

impl Family {
    /// Spec 2.2: other values "must be rejected as invalid by receivers". Datagrams (0x12, 0x22, 0x32) are valid there
    /// and a lie on a TCP connection.
    fn from_byte(byte: u8) -> Result<Self, Invalid> {
        match byte {
            0x00 => Ok(Self::Unspecified),
            0x11 => Ok(Self::Inet),
            0x21 => Ok(Self::Inet6),
            0x31 => Ok(Self::Unix),
            _ => Err(Invalid::Family),
        }
    }

    const fn address_bytes(self) -> usize {
        match self {
            Self::Unspecified => 0,
            Self::Inet => 2 * 4 + 2 * 2,
            Self::Inet6 => 2 * 16 + 2 * 2,
            Self::Unix => 2 * PATH_BYTES,
        }
    }
}

/// Whom a header speaks for.
#[derive(Clone, Copy)]
enum Command {
    Local,
    Proxy(Family),
}

pub(super) fn parse(bytes: &[u8], header_bytes_max: usize) -> Result<(Header<'_>, usize), Stop> {
    if !agree(bytes, &SIGNATURE) {
        return Err(Invalid::Signature.into());
    }
    let short = |len: usize| Stop::Short(len - bytes.len());
    let [version_command, family] = match bytes.get(SIGNATURE.len()..) {
        Some([version_command, family, ..]) => [*version_command, *family],
        Some([version_command]) => {
            command(*version_command, 0)?;
            return Err(short(FIXED_BYTES));
        }
        _ => return Err(short(FIXED_BYTES)),
    };
    let command = command(version_command, family)?;
    let Some(fixed) = bytes.first_chunk::<FIXED_BYTES>() else { return Err(short(FIXED_BYTES)) };
    let len = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if len > header_bytes_max {
        return Err(Invalid::Length.into());
    }
    if let Command::Proxy(family) = command
        && len - FIXED_BYTES < family.address_bytes()
    {
        return Err(Invalid::AddressLength.into());
    }
    let header = bytes.get(..len).ok_or_else(|| short(len))?;
    Ok((decode(header, command)?, len))
}

fn command(version_command: u8, family: u8) -> Result<Command, Invalid> {
    // Spec 2.2: the version "must always be sent as \x2 and the receiver must only accept this value."
    if version_command & 0xf0 != VERSION_2 {
        return Err(Invalid::Version);
    }
    match version_command & 0x0f {
        // Spec 2.2: the receiver must "discard the protocol block including the family which is ignored."
        LOCAL => Ok(Command::Local),
        PROXY => Family::from_byte(family).map(Command::Proxy),
        // Spec 2.2: "Receivers must drop connections presenting unexpected values here."
        _ => Err(Invalid::Command),
    }
}

/// `header` is complete and has room for the addresses of its family.
fn decode(header: &[u8], command: Command) -> Result<Header<'_>, Invalid> {
    let body = &header[FIXED_BYTES..];
    let (addresses, family) = match command {
        Command::Local => (Addresses::Local, Family::Unspecified),
        Command::Proxy(Family::Unspecified) => (Addresses::Unknown, Family::Unspecified),
        Command::Proxy(Family::Inet) => (inet(body), Family::Inet),
        Command::Proxy(Family::Inet6) => (inet6(body), Family::Inet6),
        Command::Proxy(Family::Unix) => (unix(body), Family::Unix),
    };
    // Where the TLVs begin is known only behind addresses of a known length; of the others spec 2.2 asks no more than
    // to skip them.
    let tlvs = match family {
        Family::Unspecified => Tlvs::default(),
        family => Tlvs::parse(header, FIXED_BYTES + family.address_bytes())?,
    };
    Ok(Header { version: Version::Two, addresses, tlvs })
}

fn inet(body: &[u8]) -> Addresses<'static> {
    let ip = |at: usize| Ipv4Addr::from(array::<4>(body, at));
    let port = |at: usize| u16::from_be_bytes(array(body, at));
    Addresses::Inet {
        source: SocketAddr::new(ip(0).into(), port(8)),
        destination: SocketAddr::new(ip(4).into(), port(10)),
    }
}

fn inet6(body: &[u8]) -> Addresses<'static> {
    let ip = |at: usize| Ipv6Addr::from(array::<16>(body, at));
    let port = |at: usize| u16::from_be_bytes(array(body, at));
    Addresses::Inet {
        source: SocketAddr::new(ip(0).into(), port(32)),
        destination: SocketAddr::new(ip(16).into(), port(34)),
    }
}

fn unix(body: &[u8]) -> Addresses<'_> {
    Addresses::Unix { source: path(&body[..PATH_BYTES]), destination: path(&body[PATH_BYTES..2 * PATH_BYTES]) }
}

/// A path ends at its first NUL. An abstract name begins with one and may have more: only the padding is cut off, and
/// with nothing before it the socket has no name.
fn path(padded: &[u8]) -> &[u8] {
    let len = match padded {
        [0, ..] => padded.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1),
        _ => padded.iter().position(|byte| *byte == 0).unwrap_or(padded.len()),
    };
    &padded[..len]
}

/// `N` bytes from `at`, which the caller has made sure of.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|index| bytes[at + index])
}
