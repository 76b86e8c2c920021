//! What an endpoint gets before the first byte that is relayed: a PROXY header, and bytes of the client that were read
//! while its endpoint was being chosen.

use crate::{
    proxy_protocol::{Addresses, Checksum, write_v1, write_v2},
    report::Reason,
};
use balance_config::model::ProxyProtocolVersion;
use balance_engine::{buf::Class, net::Socket};
use std::{
    net::SocketAddr,
    task::{Context, Poll, ready},
};

/// Bytes on their way.
#[derive(Debug, Default)]
pub(super) struct Greeting {
    bytes: Vec<u8>,
    sent: usize,
    /// How many of them are the client's.
    client_bytes: usize,
}

impl Greeting {
    pub(super) fn new(
        version: Option<ProxyProtocolVersion>,
        addresses: Option<(SocketAddr, SocketAddr)>,
        rest: &[u8],
    ) -> Self {
        let mut bytes = version.map(|version| header(version, addresses)).unwrap_or_default();
        bytes.extend_from_slice(rest);
        Self { bytes, sent: 0, client_bytes: rest.len() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn client_bytes(&self) -> u64 {
        self.client_bytes as u64
    }

    /// Ready when all is sent.
    ///
    /// # Errors
    /// The endpoint broke the connection, or there was no buffer.
    pub(super) fn poll(&mut self, upstream: &mut Socket, context: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        loop {
            if upstream.is_sending() {
                let done = ready!(upstream.poll_sent(context));
                match done.result {
                    Ok(sent) => self.sent += sent as usize,
                    Err(_) => return Poll::Ready(Err(Reason::UpstreamReset)),
                }
            }
            if self.sent == self.bytes.len() {
                return Poll::Ready(Ok(()));
            }
            let Some(mut buffer) = upstream.handle().pool().take(Class::Small) else {
                return Poll::Ready(Err(Reason::Error));
            };
            let part = &self.bytes[self.sent..];
            let part = &part[..part.len().min(buffer.capacity())];
            buffer[..part.len()].copy_from_slice(part);
            upstream.start_send(buffer, 0, part.len() as u32);
        }
    }
}

/// Room for a header without TLVs, of either version.
const HEADER_BYTES_MAX: usize = 256;

fn header(version: ProxyProtocolVersion, addresses: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let addresses =
        addresses.map_or(Addresses::Unknown, |(source, destination)| Addresses::Inet { source, destination });
    let mut bytes = vec![0; HEADER_BYTES_MAX];
    let written = match version {
        ProxyProtocolVersion::V1 => write_v1(&addresses, &mut bytes),
        ProxyProtocolVersion::V2 => write_v2(&addresses, [], Checksum::None, &mut bytes),
    };
    // A header of two socket addresses is far shorter than the room it has.
    bytes.truncate(written.unwrap_or(0));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_both_versions_come_before_the_clients_bytes() {
        let addresses = Some(("192.0.2.1:1000".parse().expect("v4"), "192.0.2.2:80".parse().expect("v4")));
        let one = Greeting::new(Some(ProxyProtocolVersion::V1), addresses, b"GET");
        assert_eq!(one.bytes, b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\nGET");
        let two = Greeting::new(Some(ProxyProtocolVersion::V2), addresses, b"GET");
        assert_eq!(
            (two.bytes.len(), &two.bytes[..4], &two.bytes[28..]),
            (31, b"\r\n\r\n".as_slice(), b"GET".as_slice())
        );
        let none = Greeting::new(Some(ProxyProtocolVersion::V1), None, b"");
        assert_eq!(none.bytes, b"PROXY UNKNOWN\r\n");
        assert!(Greeting::new(None, addresses, b"").is_empty());
    }
}
