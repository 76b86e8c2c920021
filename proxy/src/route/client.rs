//! Who asks: by the socket, and by what trusted proxies say.
//!
//! `X-Forwarded-For` grows to the right, each proxy adding the address that it was connected from. What a client wrote
//! itself is on the left. So the list is believed from the right: past addresses of trusted proxies, up to the first
//! that is none. That one is the client, and what stands left of it is its own tale.

use std::{
    fmt::{self, Write as _},
    net::{IpAddr, SocketAddr},
    sync::LazyLock,
};

use balance_config::model::{ClientIpFrom, Network, Scheme};

use super::{
    template::join,
    view::{Fields, Name, RequestView},
};
use crate::cidr::{self, NetworkSet};

/// The text of an address; empty for the peer of a unix socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct IpText {
    /// The longest is an IPv4 address mapped into IPv6, 45 bytes.
    bytes: [u8; 46],
    len: u8,
}

impl IpText {
    /// An IPv4 address mapped into IPv6 is written as what it is.
    pub(crate) fn new(ip: Option<IpAddr>) -> Self {
        let mut text = Self { bytes: [0; 46], len: 0 };
        if let Some(ip) = ip
            && write!(text, "{}", ip.to_canonical()).is_err()
        {
            text.len = 0;
        }
        text
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Write for IpText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let start = usize::from(self.len);
        let room = self.bytes.get_mut(start..start + text.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len() as u8;
        Ok(())
    }
}

impl fmt::Debug for IpText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

/// Whose word about a client counts, and in which header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustedProxies {
    networks: NetworkSet,
    from: ClientIpFrom,
}

impl TrustedProxies {
    pub(crate) fn new(networks: &[Network], from: ClientIpFrom) -> Self {
        let networks = networks.iter().filter_map(|network| cidr::Network::new(network.address, network.prefix).ok());
        Self { networks: networks.collect(), from }
    }

    fn trust(&self, ip: IpAddr) -> bool {
        self.networks.contains(ip)
    }
}

/// The other end of a connection. Made once for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    ip: Option<IpAddr>,
    text: IpText,
    is_trusted: bool,
    scheme: Scheme,
}

impl Peer {
    /// `ip` is that of the socket, or of the PROXY header that was taken; `None` for a unix socket, whose peers are
    /// trusted where anybody is.
    pub(crate) fn new(ip: Option<IpAddr>, scheme: Scheme, proxies: &TrustedProxies) -> Self {
        let ip = ip.map(|ip| ip.to_canonical());
        let is_trusted = ip.map_or(!proxies.networks.is_empty(), |ip| proxies.trust(ip));
        Self { ip, text: IpText::new(ip), is_trusted, scheme }
    }
}

/// Who sent a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    peer: Peer,
    ip: Option<IpAddr>,
    text: IpText,
    scheme: Scheme,
}

static FORWARDED_FOR: LazyLock<Name> = LazyLock::new(|| Name::new("x-forwarded-for"));
static FORWARDED_PROTO: LazyLock<Name> = LazyLock::new(|| Name::new("x-forwarded-proto"));
static FORWARDED_HOST: LazyLock<Name> = LazyLock::new(|| Name::new("x-forwarded-host"));
static FORWARDED: LazyLock<Name> = LazyLock::new(|| Name::new("forwarded"));
static REAL_IP: LazyLock<Name> = LazyLock::new(|| Name::new("x-real-ip"));

impl Client {
    /// The one whose request has these fields.
    pub(crate) fn of(peer: &Peer, proxies: &TrustedProxies, fields: &impl Fields) -> Self {
        let mut client = Self { peer: *peer, ip: peer.ip, text: peer.text, scheme: peer.scheme };
        if !peer.is_trusted {
            return client;
        }
        let found = match proxies.from {
            ClientIpFrom::XForwardedFor => last_untrusted(proxies, list(fields, &FORWARDED_FOR).map(address)),
            ClientIpFrom::Forwarded => last_untrusted(
                proxies,
                list(fields, &FORWARDED).map(|element| parameter(element, b"for").and_then(address)),
            ),
            ClientIpFrom::XRealIp => {
                let mut values = fields.values(&REAL_IP);
                values.next().filter(|_| values.next().is_none()).and_then(address)
            }
        };
        if let Some(ip) = found {
            (client.ip, client.text) = (Some(ip), IpText::new(Some(ip)));
        }
        // The nearest proxy wrote the last one.
        match list(fields, &FORWARDED_PROTO).last() {
            Some(proto) if proto.eq_ignore_ascii_case(b"https") => client.scheme = Scheme::Https,
            Some(proto) if proto.eq_ignore_ascii_case(b"http") => client.scheme = Scheme::Http,
            _ => {}
        }
        client
    }

    /// The one that logs, limits and hashes use.
    #[cfg(test)]
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.ip
    }

    pub(crate) fn ip(&self) -> &IpText {
        &self.text
    }

    pub(crate) fn peer(&self) -> &IpText {
        &self.peer.text
    }

    /// As the client asked, which may be before a proxy took TLS off.
    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.peer.is_trusted
    }

    /// What a trusted proxy has said, and the proxy; of any other peer, its address alone.
    pub(super) fn forwarded_for(&self, fields: &impl Fields, out: &mut Vec<u8>) {
        self.extended(fields, &FORWARDED_FOR, out);
        // The peer of a unix socket has no address to add.
        if self.peer.text.len == 0 && out.ends_with(b", ") {
            out.truncate(out.len() - 2);
        }
        out.extend_from_slice(self.peer.text.as_bytes());
    }

    fn extended(&self, fields: &impl Fields, name: &Name, out: &mut Vec<u8>) {
        let start = out.len();
        if self.peer.is_trusted {
            join(fields, name, out);
        }
        if out.len() > start {
            out.extend_from_slice(b", ");
        }
    }

    pub(super) fn forwarded_proto(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.scheme.as_str().as_bytes());
    }

    pub(super) fn forwarded_host<V: RequestView>(&self, view: &V, out: &mut Vec<u8>) {
        let said = view.values(&FORWARDED_HOST).next().filter(|_| self.peer.is_trusted);
        out.extend_from_slice(said.unwrap_or_else(|| view.authority()));
    }

    /// RFC 7239 section 4.
    pub(super) fn forwarded<V: RequestView>(&self, view: &V, out: &mut Vec<u8>) {
        self.extended(view, &FORWARDED, out);
        out.extend_from_slice(b"for=");
        match self.peer.ip {
            Some(IpAddr::V4(_)) => out.extend_from_slice(self.peer.text.as_bytes()),
            // "Note that an IPv6 address is always enclosed in square brackets", and these want quotes.
            Some(IpAddr::V6(_)) => {
                out.extend_from_slice(b"\"[");
                out.extend_from_slice(self.peer.text.as_bytes());
                out.extend_from_slice(b"]\"");
            }
            None => out.extend_from_slice(b"unknown"),
        }
        let host = view.authority();
        if !host.is_empty() && !host.iter().any(|b| matches!(b, b'"' | b'\\')) {
            out.extend_from_slice(b";host=\"");
            out.extend_from_slice(host);
            out.push(b'"');
        }
        out.extend_from_slice(b";proto=");
        out.extend_from_slice(self.peer.scheme.as_str().as_bytes());
    }
}

/// The elements of all lines of a header (RFC 9110 section 5.6.1), without empty ones.
fn list<'a>(fields: &'a impl Fields, name: &'a Name) -> impl Iterator<Item = &'a [u8]> {
    let elements =
        |line: &'a [u8]| line.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty());
    fields.values(name).flat_map(elements)
}

/// The last address that is not trusted; where all are, the first. An element that is no address hides what is before
/// it: then it is the one after that, which wrote it.
fn last_untrusted(proxies: &TrustedProxies, addresses: impl Iterator<Item = Option<IpAddr>>) -> Option<IpAddr> {
    let mut found = None;
    for address in addresses {
        match address {
            Some(ip) if found.is_none() || !proxies.trust(ip) => found = Some(ip),
            Some(_) => {}
            None => found = None,
        }
    }
    found
}

/// An address, with or without a port, brackets or quotes.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse().ok().or_else(|| text.parse().ok().map(|socket: SocketAddr| socket.ip()));
    ip.map(|ip: IpAddr| ip.to_canonical())
}

/// The value of a parameter of one element of `Forwarded`; `None` for one that has it twice.
fn parameter<'a>(element: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut values = element.split(|b| *b == b';').filter_map(|pair| {
        let at = pair.iter().position(|b| *b == b'=')?;
        pair[..at].trim_ascii().eq_ignore_ascii_case(name).then(|| pair[at + 1..].trim_ascii())
    });
    values.next().filter(|_| values.next().is_none())
}
