//! TCP listening sockets.

use crate::snapshot::BindPlan;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::{io, net::SocketAddr, os::fd::OwnedFd, time::Duration};
use tokio::time::{Instant, sleep};

/// A killed predecessor's ring can hold its port for a moment: the kernel closes a ring's files in the background.
const PORT_WAIT: Duration = Duration::from_secs(2);
const PORT_RETRY: Duration = Duration::from_millis(50);

/// Fails when another process listens on `address`. SO_REUSEPORT would let a second process of the same user in, and
/// each would get a share of the connections; so one bind without it comes first.
///
/// # Cancel safety
/// Holds nothing across an await.
pub(super) async fn refuse_foreign(plan: &BindPlan, address: SocketAddr) -> io::Result<()> {
    let deadline = Instant::now() + PORT_WAIT;
    loop {
        let probe = unbound(plan, address)?;
        match probe.bind(&address.into()).and_then(|()| probe.listen(1)) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {}
            done => return done,
        }
        drop(probe);
        sleep(PORT_RETRY).await;
    }
}

/// One listening socket for every shard, and the address they share.
pub(super) fn open(plan: &BindPlan, wanted: SocketAddr, shards: usize) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
    let mut address = wanted;
    let mut sockets = Vec::with_capacity(shards);
    for _ in 0..shards {
        let socket = one(plan, address)?;
        // With port 0 the first socket picks, and the others follow.
        address = bound_address(&socket)?;
        sockets.push(socket.into());
    }
    Ok((address, sockets))
}

fn one(plan: &BindPlan, address: SocketAddr) -> io::Result<Socket> {
    let socket = unbound(plan, address)?;
    socket.set_reuse_port(true)?;
    // Linux lets accepted sockets inherit these, which saves the shards two system calls a connection.
    socket.set_tcp_nodelay(plan.socket.nodelay)?;
    if let Some(idle) = plan.socket.keepalive {
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle.max(Duration::from_secs(1))))?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(plan.backlog).unwrap_or(i32::MAX))?;
    Ok(socket)
}

/// A socket with the options that decide what its address means. Non-blocking, because a shard never waits in accept.
fn unbound(plan: &BindPlan, address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(plan.ipv6_only)?;
    }
    Ok(socket)
}

fn bound_address(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?;
    address.as_socket().ok_or_else(|| io::Error::other("the socket has no IP address"))
}
