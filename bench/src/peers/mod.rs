//! Servers to put behind a proxy: they are fast, and they keep their side of the pattern.

mod behaviour;
mod listen;

use crate::{
    cli::ServeArgs,
    failure::Failure,
    report,
    threads::{Ground, Shard},
};
use balance_engine::{
    Handle,
    clock::Clock,
    executor::Admission,
    mailbox::Receiver,
    net::Listener,
    shard::{self, Inbox},
};
use std::{fmt::Write, io, net::SocketAddr, ops::ControlFlow, os::fd::OwnedFd};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sends back what it gets.
    Echo,
    /// Sends its pattern without end.
    Source,
    /// Takes a pattern, and resets the connection where it is broken.
    Sink,
}

/// `balance-shard bench echo`, `source` and `sink`: run until killed.
pub(crate) fn command(kind: Kind, args: &ServeArgs) -> Result<(), Failure> {
    let server = Server::start(kind, &args.listen, &Ground::new(&args.runtime)?)?;
    let lines = server.addresses.iter().fold(String::new(), |mut text, address| {
        let _ = writeln!(text, "listening {address}");
        text
    });
    report::print(&lines)?;
    server.join()
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) addresses: Vec<SocketAddr>,
    shards: Vec<Shard<Stop, ()>>,
}

/// The only thing that a server can be told.
pub(crate) struct Stop;

impl Server {
    /// Listen on every address, on every core.
    ///
    /// # Errors
    /// An address that cannot be bound, or a shard that cannot start.
    pub(crate) fn start(kind: Kind, wanted: &[SocketAddr], ground: &Ground) -> Result<Self, Failure> {
        let mut addresses = Vec::new();
        let mut sockets: Vec<Vec<OwnedFd>> = ground.cores.iter().map(|_| Vec::new()).collect();
        for address in wanted {
            let (bound, of_shards) = listen::open(*address, ground.cores.len())
                .map_err(|e| Failure::runtime(format!("cannot listen on {address}: {e}")))?;
            addresses.push(bound);
            sockets.iter_mut().zip(of_shards).for_each(|(list, socket)| list.push(socket));
        }
        let sockets = std::cell::RefCell::new(sockets);
        let shards = ground.start(|number| {
            let sockets = std::mem::take(&mut sockets.borrow_mut()[number]);
            move |handle: &Handle, mailbox: &mut Receiver<Stop>| serve(handle, mailbox, kind, number, sockets)
        })?;
        Ok(Self { addresses, shards })
    }

    /// Wait for its end, which comes only when something breaks or [`Server::stop`] is called.
    ///
    /// # Errors
    /// What broke.
    pub(crate) fn join(self) -> Result<(), Failure> {
        self.shards.into_iter().try_for_each(Shard::join)
    }

    /// # Errors
    /// What broke while it ran.
    #[cfg(test)]
    pub(crate) fn stop(self) -> Result<(), Failure> {
        for shard in &self.shards {
            // A shard that has ended says why when it is joined.
            let _ = shard.mailbox.try_send(Stop);
        }
        self.join()
    }
}

struct ServeInbox;

impl Inbox for ServeInbox {
    type Message = Stop;

    fn handle(&mut self, Stop: Stop) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

/// The life of a server's shard.
fn serve(
    handle: &Handle,
    mailbox: &mut Receiver<Stop>,
    kind: Kind,
    shard: usize,
    sockets: Vec<OwnedFd>,
) -> io::Result<()> {
    for socket in sockets {
        let listener = Listener::new(handle, socket)?;
        let accepting = behaviour::accept_all(handle.clone(), listener, kind, shard as u32);
        handle.spawn(Admission::Always, accepting).map_err(|_| io::Error::other("the table of tasks is full"))?;
    }
    shard::run(handle, &Clock::monotonic(), mailbox, &mut ServeInbox)
}

#[cfg(test)]
mod tests;
