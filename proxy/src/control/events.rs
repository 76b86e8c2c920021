//! What may happen to a process that runs: signals, orders from the admin page, shards that end by themselves.

use super::{Control, DrainOrder};
use std::{collections::BTreeSet, io, sync::Arc, time::Duration};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Interval, interval},
};

/// How often the shards' threads are looked at.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// The signals that mean something. USR1 and USR2 are taken too, because their default is to kill the process.
pub(crate) struct Signals {
    hup: Signal,
    term: Signal,
    int: Signal,
    quit: Signal,
    usr1: Signal,
    usr2: Signal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caught {
    Reload,
    Drain(&'static str),
    Meaningless(&'static str),
}

impl Signals {
    /// # Errors
    /// The system refuses a handler.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            hup: signal(SignalKind::hangup())?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            usr1: signal(SignalKind::user_defined1())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    /// # Cancel safety
    /// A signal that was not returned is returned next time.
    async fn next(&mut self) -> Caught {
        tokio::select! {
            _ = self.hup.recv() => Caught::Reload,
            _ = self.term.recv() => Caught::Drain("TERM"),
            _ = self.int.recv() => Caught::Drain("INT"),
            _ = self.quit.recv() => Caught::Drain("QUIT"),
            _ = self.usr1.recv() => Caught::Meaningless("USR1"),
            _ = self.usr2.recv() => Caught::Meaningless("USR2"),
        }
    }
}

/// Why serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Drain(DrainOrder),
    NoShardLeft,
}

pub(crate) struct Events {
    control: Arc<Control>,
    signals: Signals,
    orders: mpsc::Receiver<DrainOrder>,
    watch: Interval,
    ended: BTreeSet<u16>,
}

impl Events {
    pub(crate) fn new(control: Arc<Control>, signals: Signals, orders: mpsc::Receiver<DrainOrder>) -> Self {
        Self { control, signals, orders, watch: interval(WATCH_EVERY), ended: BTreeSet::new() }
    }

    /// Serves reloads until the process shall end.
    pub(crate) async fn until_end(&mut self) -> End {
        loop {
            tokio::select! {
                caught = self.signals.next() => if let Some(order) = self.handle(caught) {
                    return End::Drain(order);
                },
                Some(order) = self.orders.recv() => return End::Drain(order),
                _ = self.watch.tick() => {
                    self.control.drop_retired();
                    if self.all_ended() {
                        return End::NoShardLeft;
                    }
                }
            }
        }
    }

    fn handle(&self, caught: Caught) -> Option<DrainOrder> {
        match caught {
            Caught::Reload => self.control.want_reload(),
            Caught::Meaningless(name) => tracing::info!(signal = name, "signal without a meaning here"),
            Caught::Drain(why) => return Some(DrainOrder { deadline: None, why }),
        }
        None
    }

    /// Logs every shard that has ended by itself, once.
    fn all_ended(&mut self) -> bool {
        let links = self.control.fleet.links();
        for link in links.iter().filter(|l| l.finished()) {
            if self.ended.insert(link.shard()) {
                tracing::error!(shard = link.shard(), "the shard's thread has ended; its connections are gone");
            }
        }
        self.ended.len() == links.len()
    }

    /// The second signal to end, for a process that drains already.
    pub(crate) async fn hurry(&mut self) -> &'static str {
        loop {
            match self.signals.next().await {
                Caught::Drain(why) => return why,
                Caught::Reload => tracing::warn!("draining: not reloaded"),
                Caught::Meaningless(_) => {}
            }
        }
    }
}
