//! Servers to put behind a proxy: they are fast, and they keep their side of the pattern.

mod behaviour;
mod http;
mod listen;

use crate::{
    alarms::Alarms,
    cli::{BackendArgs, ServeArgs},
    failure::Failure,
    report,
    threads::{Ground, Shard},
};
use balance_engine::{
    Handle,
    clock::Clock,
    executor::{Admission, TaskFuture},
    mailbox::Receiver,
    net::Listener,
    shard::{self, Inbox},
};
use std::{fmt::Write, io, net::SocketAddr, ops::ControlFlow, os::fd::OwnedFd, rc::Rc};

/// What a server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain(Plain),
    /// Speaks HTTP/1.1 and behaves as its paths say.
    Http,
}

/// What is done with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plain {
    /// Sends back what it gets.
    Echo,
    /// Sends its pattern without end.
    Source,
    /// Takes a pattern, and resets the connection where it is broken.
    Sink,
}

impl Kind {
    pub(crate) const ECHO: Self = Self::Plain(Plain::Echo);
    pub(crate) const SOURCE: Self = Self::Plain(Plain::Source);
    pub(crate) const SINK: Self = Self::Plain(Plain::Sink);

    fn name(self) -> &'static str {
        match self {
            Self::Plain(Plain::Echo) => "echo",
            Self::Plain(Plain::Source) => "source",
            Self::Plain(Plain::Sink) => "sink",
            Self::Http => "http",
        }
    }
}

/// `balance-shard bench echo`, `source` and `sink`: run until killed.
pub(crate) fn command(kind: Kind, args: &ServeArgs) -> Result<(), Failure> {
    let wanted: Vec<_> = args.listen.iter().map(|address| (kind, *address)).collect();
    let server = Server::start_all(&wanted, &Ground::new(&args.runtime)?)?;
    let lines = server.addresses.iter().fold(String::new(), |mut text, address| {
        let _ = writeln!(text, "listening {address}");
        text
    });
    report::print(&lines)?;
    server.join()
}

/// `balance-shard bench backend`: runs until killed.
pub(crate) fn backend(args: &BackendArgs) -> Result<(), Failure> {
    let mut wanted = Vec::new();
    for (kind, addresses) in
        [(Kind::Http, &args.http), (Kind::ECHO, &args.echo), (Kind::SOURCE, &args.source), (Kind::SINK, &args.sink)]
    {
        wanted.extend(addresses.iter().map(|address| (kind, *address)));
    }
    if wanted.is_empty() {
        let words = "say what to serve and where, as in --http 127.0.0.1:9080 (or --echo, --source, --sink)";
        return Err(Failure::usage(words));
    }
    let server = Server::start_all(&wanted, &Ground::new(&args.runtime)?)?;
    let lines = wanted.iter().zip(&server.addresses).fold(String::new(), |mut text, ((kind, _), address)| {
        let _ = writeln!(text, "{} listening {address}", kind.name());
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
    #[cfg(test)]
    pub(crate) fn start(kind: Kind, wanted: &[SocketAddr], ground: &Ground) -> Result<Self, Failure> {
        Self::start_all(&wanted.iter().map(|address| (kind, *address)).collect::<Vec<_>>(), ground)
    }

    /// Listen on every address, on every core, and do there what is wanted.
    ///
    /// # Errors
    /// An address that cannot be bound, or a shard that cannot start.
    pub(crate) fn start_all(wanted: &[(Kind, SocketAddr)], ground: &Ground) -> Result<Self, Failure> {
        let mut addresses = Vec::new();
        let mut sockets: Vec<Vec<(Kind, OwnedFd)>> = ground.cores.iter().map(|_| Vec::new()).collect();
        for (kind, address) in wanted {
            let (bound, of_shards) = listen::open(*address, ground.cores.len())
                .map_err(|e| Failure::runtime(format!("cannot listen on {address}: {e}")))?;
            addresses.push(bound);
            sockets.iter_mut().zip(of_shards).for_each(|(list, socket)| list.push((*kind, socket)));
        }
        let sockets = std::cell::RefCell::new(sockets);
        let stall = http::Stall::default();
        let shards = ground.start(|number| {
            let sockets = std::mem::take(&mut sockets.borrow_mut()[number]);
            let stall = stall.clone();
            move |handle: &Handle, mailbox: &mut Receiver<Stop>| serve(handle, mailbox, number, sockets, &stall)
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
    shard: usize,
    sockets: Vec<(Kind, OwnedFd)>,
    stall: &http::Stall,
) -> io::Result<()> {
    listen_on(handle, shard, sockets, stall)?;
    shard::run(handle, &Clock::monotonic(), mailbox, &mut ServeInbox)
}

/// Start the tasks of a server's shard.
fn listen_on(handle: &Handle, shard: usize, sockets: Vec<(Kind, OwnedFd)>, stall: &http::Stall) -> io::Result<()> {
    let full = |_| io::Error::other("the table of tasks is full");
    let alarms = Alarms::new(handle);
    handle.spawn(Admission::Always, Rc::clone(&alarms).ring()).map_err(full)?;
    for (kind, socket) in sockets {
        let listener = Listener::new(handle, socket)?;
        let accepting: TaskFuture = match kind {
            Kind::Plain(plain) => Box::pin(behaviour::accept_all(handle.clone(), listener, plain, shard as u32)),
            Kind::Http => Box::pin(http::accept_all(handle.clone(), listener, stall.clone(), Rc::clone(&alarms))),
        };
        handle.spawn_boxed(Admission::Always, accepting).map_err(full)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
