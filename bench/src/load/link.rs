//! What a task of the load does with its connection: open it, use it once, give it up in time.

use super::{
    gate::Permit,
    line::Line,
    shard::{OpenGuard, Shard},
};
use crate::{
    pattern::Pattern,
    tally::{ConnectFault, Fault},
};
use balance_engine::{
    driver::StreamOptions,
    net::{self, Socket, Timer},
};
use std::{
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

const OPTIONS: StreamOptions = StreamOptions { nodelay: true, keepalive: None };
/// After a connect that failed, so that a server that is away is not asked without end.
const REST: Duration = Duration::from_millis(100);

/// An established connection, counted as such.
pub(super) struct Open {
    pub(super) socket: Socket,
    _counted: OpenGuard,
}

/// One of the connections of a run, over all its attempts.
pub(super) struct Link {
    pub(super) shard: Rc<Shard>,
    /// Counted over all shards.
    pub(super) number: u32,
    attempts: u32,
    pub(super) timer: Timer,
}

impl Link {
    pub(super) fn new(shard: Rc<Shard>, number: u32) -> Self {
        let timer = Timer::new(&shard.handle);
        Self { shard, number, attempts: 0, timer }
    }

    /// Open a connection. Whoever keeps the permit says when the next one may be opened.
    pub(super) async fn connect(&mut self, _permit: &Permit) -> Result<Open, Fault> {
        let shard = Rc::clone(&self.shard);
        self.attempts += 1;
        let started = shard.handle.now();
        let mut connecting = net::connect(&shard.handle, shard.plan.target(self.number), OPTIONS);
        let late = Fault::Connect(ConnectFault::Timeout);
        let connect =
            self.in_time(late, |_, context| Pin::new(&mut connecting).poll(context).map_err(Fault::of_connect));
        let socket = connect.await?;
        shard.tally.borrow_mut().connected(shard.handle.now() - started);
        Ok(Open { socket, _counted: OpenGuard::new(&shard) })
    }

    /// Open a connection and send one message through it: only then is it known to reach the server, and not to wait
    /// in somebody's accept queue.
    pub(super) async fn open(&mut self) -> Result<Line, Fault> {
        self.open_with(self.shard.plan.size).await
    }

    /// So, with a message of `bytes`.
    pub(super) async fn open_with(&mut self, bytes: u64) -> Result<Line, Fault> {
        let permit = self.shard.gate.enter().await;
        let open = self.connect(&permit).await?;
        let mut line = self.line(open);
        self.exchange_of(&mut line, bytes).await?;
        Ok(line)
    }

    pub(super) fn line(&self, open: Open) -> Line {
        Line::new(open, self.pattern(), self.shard.plan.bytes)
    }

    /// The stream of this attempt's connection.
    pub(super) fn pattern(&self) -> Pattern {
        Pattern::new(self.number, self.attempts)
    }

    /// One message there and back.
    pub(super) async fn exchange(&mut self, line: &mut Line) -> Result<(), Fault> {
        self.exchange_of(line, self.shard.plan.size).await
    }

    async fn exchange_of(&mut self, line: &mut Line, bytes: u64) -> Result<(), Fault> {
        let shard = Rc::clone(&self.shard);
        shard.busy.set(shard.busy.get() + 1);
        line.begin(bytes);
        let result = self.in_time(Fault::Timeout, |_, context| line.poll_exchange(context)).await;
        shard.busy.set(shard.busy.get() - 1);
        if result.is_ok() {
            shard.moved(bytes, bytes);
        }
        result
    }

    /// Poll `step` until it is ready, or until the time-out has passed.
    pub(super) async fn in_time<T>(
        &mut self,
        late: Fault,
        mut step: impl FnMut(&Shard, &mut Context<'_>) -> Poll<Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let deadline = self.shard.handle.now() + self.shard.plan.timeout;
        poll_fn(|context| match step(&self.shard, context) {
            Poll::Pending => self.timer.poll_lazily_at(deadline, context).map(|()| Err(late)),
            ready => ready,
        })
        .await
    }

    /// Count what went wrong. Rests where trying again at once would be no use.
    pub(super) async fn failed(&mut self, fault: Fault) {
        self.shard.tally.borrow_mut().errors.add(self.number, fault);
        if matches!(fault, Fault::Connect(_) | Fault::NoBuffers) {
            let until = self.shard.handle.now() + REST;
            poll_fn(|context| self.timer.poll_at(until, context)).await;
        }
    }
}
