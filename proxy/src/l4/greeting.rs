//! What an endpoint gets before the first byte that is relayed: a PROXY header, and bytes of the client that were read
//! while its endpoint was being chosen.

use crate::{
    proxy_protocol::{Addresses, Checksum, write_v1, write_v2},
    report::Reason,
};
use balance_config::model::ProxyProtocolVersion;
use balance_engine::{
    Received,
    buf::{Buffer, Class},
    net::{Socket, Timer},
};
use std::{
    net::SocketAddr,
    task::{Context, Poll, ready},
    time::Duration,
};

/// How soon a buffer is asked for again where there was none. Everybody else waits for one to receive into.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Bytes on their way.
#[derive(Default)]
pub(super) struct Greeting {
    bytes: Vec<u8>,
    sent: usize,
    /// How many of them are the client's.
    client_bytes: usize,
    /// While there is no buffer.
    look_again: Option<Timer>,
}

impl Greeting {
    pub(super) fn new(
        version: Option<ProxyProtocolVersion>,
        addresses: Option<(SocketAddr, SocketAddr)>,
        rest: Vec<u8>,
    ) -> Self {
        let client_bytes = rest.len();
        let bytes = version.map_or_else(Vec::new, |version| header(version, addresses));
        let bytes = if bytes.is_empty() { rest } else { [bytes, rest].concat() };
        Self { bytes, sent: 0, client_bytes, look_again: None }
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
    /// The endpoint broke the connection, or the client did.
    pub(super) fn poll(
        &mut self,
        downstream: &mut Socket,
        upstream: &mut Socket,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Reason>> {
        let mut free = None;
        loop {
            if upstream.is_sending() {
                let done = ready!(upstream.poll_sent(context));
                match done.result {
                    Ok(sent) => self.sent += sent as usize,
                    Err(_) => return Poll::Ready(Err(Reason::UpstreamReset)),
                }
                free = Some(done.buffer);
            }
            if self.sent == self.bytes.len() {
                return Poll::Ready(Ok(()));
            }
            let pooled = free.take().or_else(|| upstream.handle().pool().take(Class::Small));
            let mut buffer = match pooled {
                Some(buffer) => buffer,
                None => ready!(self.poll_buffer(downstream, context))?,
            };
            let part = &self.bytes[self.sent..];
            let part = &part[..part.len().min(buffer.capacity())];
            buffer[..part.len()].copy_from_slice(part);
            upstream.start_send(buffer, 0, part.len() as u32);
        }
    }

    /// A buffer while the pool has none. What the client has sent meanwhile is in one: who waited for another and held
    /// on to that would in the end wait for those who wait for him.
    fn poll_buffer(&mut self, downstream: &mut Socket, context: &mut Context<'_>) -> Poll<Result<Buffer, Reason>> {
        match downstream.poll_recv(context) {
            Poll::Ready(Received::Data(chunk)) => {
                self.bytes.extend_from_slice(&chunk.buffer[..chunk.len as usize]);
                self.client_bytes += chunk.len as usize;
                Poll::Ready(Ok(chunk.buffer))
            }
            Poll::Ready(Received::Failed(_)) => Poll::Ready(Err(Reason::DownstreamReset)),
            // An end is told as often as it is asked for.
            Poll::Ready(Received::Eof) | Poll::Pending => {
                let handle = downstream.handle();
                let timer = self.look_again.get_or_insert_with(|| Timer::new(handle));
                let _armed = timer.poll_lazily_at(handle.now() + LOOK_AGAIN, context);
                Poll::Pending
            }
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
        let one = Greeting::new(Some(ProxyProtocolVersion::V1), addresses, b"GET".to_vec());
        assert_eq!(one.bytes, b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\nGET");
        let two = Greeting::new(Some(ProxyProtocolVersion::V2), addresses, b"GET".to_vec());
        assert_eq!(
            (two.bytes.len(), &two.bytes[..4], &two.bytes[28..]),
            (31, b"\r\n\r\n".as_slice(), b"GET".as_slice())
        );
        let none = Greeting::new(Some(ProxyProtocolVersion::V1), None, Vec::new());
        assert_eq!(none.bytes, b"PROXY UNKNOWN\r\n");
        assert!(Greeting::new(None, addresses, Vec::new()).is_empty());
    }
}
