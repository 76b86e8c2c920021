//! Listening sockets, one for every shard.

use socket2::{Domain, Protocol, Socket, Type};
use std::{io, net::SocketAddr, os::fd::OwnedFd};

/// Connections that wait to be accepted; the kernel cuts it to net.core.somaxconn.
const BACKLOG: i32 = 65_535;

/// Sockets that share an address by SO_REUSEPORT, and the address they got.
///
/// # Errors
/// Those of binding; another process that listens there is one.
pub(super) fn open(wanted: SocketAddr, shards: usize) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
    refuse_foreign(wanted)?;
    let mut address = wanted;
    let mut sockets = Vec::with_capacity(shards);
    for _ in 0..shards {
        let socket = unbound(address)?;
        socket.set_reuse_port(true)?;
        // Accepted sockets inherit it.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        // With port 0 the first socket picks, and the others follow.
        address = socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("the socket has no IP address"))?;
        sockets.push(socket.into());
    }
    Ok((address, sockets))
}

/// SO_REUSEPORT lets a second process of the same user in, and each would get a part of the connections: so one bind
/// without it comes first.
fn refuse_foreign(address: SocketAddr) -> io::Result<()> {
    unbound(address)?.bind(&address.into())
}

/// An IPv6 socket for every address takes IPv4, too.
fn unbound(address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    Ok(socket)
}
