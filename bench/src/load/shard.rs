//! One shard of a run: what its connections share, and its side of the talk with the controller.
//!
//! ```text
//!   Opening ── all tried: Event::Opened ──► (waits) ── Message::Begin ──► warm ──► measuring ──► over: Event::Stopped
//! ```

use super::{Event, Message, gate::Gate, modes};
use crate::{
    plan::{Limit, Plan},
    series::STEP,
    tally::Tally,
};
use balance_engine::{
    Handle,
    clock::{Clock, Timestamp},
    executor::Admission,
    mailbox::Receiver,
    net::sleep_until,
    os,
    shard::{self, Inbox},
};
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    ops::ControlFlow,
    rc::Rc,
    sync::{Arc, mpsc},
    task::{Poll, Waker},
    time::Duration,
};

/// Connections that a shard opens at once. The accept queue of a small server has room for as many.
const OPENING_MAX: usize = 256;

/// What the connections of a shard share.
pub(super) struct Shard {
    pub(super) handle: Handle,
    pub(super) plan: Arc<Plan>,
    pub(super) gate: Rc<Gate>,
    /// What was counted since the controller last got it.
    pub(super) tally: RefCell<Box<Tally>>,
    /// An empty one to go on with. Absent only when the controller has not given the last one back yet.
    spare: Cell<Option<Box<Tally>>>,
    /// The second that is counted; `None` before measuring.
    second: Cell<Option<usize>>,
    /// CPU time of this thread when the second began.
    cpu_at: Cell<Duration>,
    /// Exchanges that have begun and are not over.
    pub(super) busy: Cell<u64>,
    open: Cell<u64>,
    /// Connections whose first attempt is not decided.
    opening: Cell<u32>,
    opened: Cell<u32>,
    /// Tasks that have not ended.
    alive: Cell<u32>,
    begun: Cell<bool>,
    wait_for_begin: RefCell<Vec<Waker>>,
    measuring_since: Cell<Option<Timestamp>>,
    /// Exchanges of a limited run that have not begun.
    tickets: Cell<u64>,
    over: Cell<bool>,
    shard: usize,
}

/// A piece of what a shard counts.
pub(super) struct Part {
    pub(super) shard: usize,
    /// Of the measured time; `None` before it.
    pub(super) second: Option<usize>,
    pub(super) tally: Box<Tally>,
}

/// The right to begin one exchange.
#[derive(Clone, Copy)]
pub(super) struct Ticket {
    /// It is one of those to be measured.
    pub(super) counts: bool,
}

/// Counts an open connection.
pub(super) struct OpenGuard(Rc<Shard>);

impl OpenGuard {
    pub(super) fn new(shard: &Rc<Shard>) -> Self {
        shard.open.set(shard.open.get() + 1);
        Self(Rc::clone(shard))
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

/// Counts a task.
pub(super) struct AliveGuard(Rc<Shard>);

impl Drop for AliveGuard {
    fn drop(&mut self) {
        self.0.alive.set(self.0.alive.get() - 1);
    }
}

impl Shard {
    fn new(handle: &Handle, plan: Arc<Plan>, place: Place) -> Rc<Self> {
        let connections = Plan::share(u64::from(plan.all_connections()), place.shard, place.shards) as u32;
        let tickets = match plan.limit {
            Limit::Requests(total) => Plan::share(total, place.shard, place.shards),
            Limit::After(_) | Limit::Told => 0,
        };
        let opening = if plan.mode.opens_first() { connections } else { 0 };
        Rc::new(Self {
            handle: handle.clone(),
            plan,
            gate: Gate::new(OPENING_MAX),
            tally: RefCell::new(Box::new(Tally::new())),
            spare: Cell::new(Some(Box::new(Tally::new()))),
            second: Cell::new(None),
            cpu_at: Cell::new(Duration::ZERO),
            busy: Cell::new(0),
            open: Cell::new(0),
            opening: Cell::new(opening),
            opened: Cell::new(0),
            alive: Cell::new(connections),
            begun: Cell::new(false),
            wait_for_begin: RefCell::default(),
            measuring_since: Cell::new(None),
            tickets: Cell::new(tickets),
            over: Cell::new(false),
            shard: place.shard,
        })
    }

    /// To be held by a connection's task. The shard counts its tasks before they run.
    pub(super) fn alive(self: &Rc<Self>) -> AliveGuard {
        AliveGuard(Rc::clone(self))
    }

    /// A connection's first attempt is decided.
    pub(super) fn opened(&self, ok: bool) {
        self.opening.set(self.opening.get() - 1);
        self.opened.set(self.opened.get() + u32::from(ok));
    }

    /// Wait for the moment from which all shards load.
    pub(super) async fn begun(&self) {
        poll_fn(|context| {
            if self.begun.get() {
                return Poll::Ready(());
            }
            self.wait_for_begin.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(super) fn is_measuring(&self) -> bool {
        self.measuring_since.get().is_some()
    }

    /// `None`: enough has begun.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        let limited = matches!(self.plan.limit, Limit::Requests(_));
        if limited && self.is_measuring() {
            self.tickets.set(self.tickets.get().checked_sub(1)?);
        }
        Some(Ticket { counts: !limited || self.is_measuring() })
    }

    fn begin(&self) {
        self.begun.set(true);
        self.wait_for_begin.take().into_iter().for_each(Waker::wake);
    }

    /// What was counted since the last time, and with it the second that it is of. A second that is over is only ever
    /// followed by another.
    fn take(&self, next: Option<usize>) -> Part {
        let fresh = self.spare.take().unwrap_or_else(|| Box::new(Tally::new()));
        let mut tally = self.tally.replace(fresh);
        let cpu = os::thread_cpu();
        tally.cpu = cpu.saturating_sub(self.cpu_at.replace(cpu));
        Part { shard: self.shard, second: self.second.replace(next), tally }
    }

    fn finish(&self) -> Part {
        let mut part = self.take(None);
        part.tally.unfinished = self.busy.get();
        part.tally.open = self.open.get();
        part.tally.measured = self.measuring_since.get().map(|since| self.handle.now() - since).unwrap_or_default();
        part
    }
}

/// Which of the shards this is.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) shard: usize,
    pub(super) shards: usize,
}

/// Run the connections of one shard until the plan's limit, or until told to stop.
///
/// What it counts goes to the controller every second.
///
/// # Errors
/// A driver that broke, or a task that panicked: its counts cannot be trusted.
pub(super) fn live(
    handle: &Handle,
    mailbox: &mut Receiver<Message>,
    plan: Arc<Plan>,
    place: Place,
    events: mpsc::Sender<Event>,
) -> io::Result<()> {
    let shard = Shard::new(handle, Arc::clone(&plan), place);
    for number in (place.shard as u32..plan.all_connections()).step_by(place.shards) {
        handle.spawn(Admission::Always, modes::run(Rc::clone(&shard), number)).map_err(|_| full())?;
    }
    let mut inbox = LoadInbox { shard: Rc::clone(&shard), events, announced: false };
    shard::run(handle, &Clock::monotonic(), mailbox, &mut inbox)?;
    if handle.stats().tasks.panicked > 0 {
        return Err(io::Error::other("a connection's task panicked"));
    }
    Ok(())
}

fn full() -> io::Error {
    io::Error::other("the table of tasks is full")
}

struct LoadInbox {
    shard: Rc<Shard>,
    events: mpsc::Sender<Event>,
    /// [`Event::Opened`] is sent.
    announced: bool,
}

impl Inbox for LoadInbox {
    type Message = Message;

    fn handle(&mut self, message: Message) -> ControlFlow<()> {
        match message {
            Message::Begin => {
                // Before the connections, so that with nothing to warm up their first exchange is measured.
                let clock = keep_time(Rc::clone(&self.shard), self.events.clone());
                let _always_admitted = self.shard.handle.spawn(Admission::Always, clock);
                self.shard.begin();
            }
            // Seen after this turn.
            Message::Stop => self.shard.over.set(true),
            Message::Counted(empty) => self.shard.spare.set(Some(empty)),
        }
        ControlFlow::Continue(())
    }

    fn after_turn(&mut self) -> ControlFlow<()> {
        let shard = &self.shard;
        if !self.announced && shard.opening.get() == 0 {
            self.announced = true;
            self.tell(Event::Opened { connections: shard.opened.get() });
        }
        let all_ended = shard.begun.get() && shard.alive.get() == 0;
        if !shard.over.get() && !all_ended {
            return ControlFlow::Continue(());
        }
        let last = shard.finish();
        self.tell(Event::Counted(last));
        self.tell(Event::Stopped);
        ControlFlow::Break(())
    }
}

impl LoadInbox {
    fn tell(&self, event: Event) {
        // The controller listens until every shard has ended.
        let _ = self.events.send(event);
    }
}

/// The task that says when measuring begins, when a second is over and when all is.
async fn keep_time(shard: Rc<Shard>, events: mpsc::Sender<Event>) {
    let handle = &shard.handle;
    sleep_until(handle, handle.now() + shard.plan.warm).await;
    let since = handle.now();
    // The controller listens until every shard has ended.
    let _ = events.send(Event::Counted(shard.take(Some(0))));
    shard.measuring_since.set(Some(since));
    let _ = events.send(Event::Measuring);
    let end = if let Limit::After(duration) = shard.plan.limit { since + duration } else { Timestamp::NEVER };
    for second in 1_u32.. {
        let at = since + STEP * second;
        if at >= end {
            break;
        }
        sleep_until(handle, at).await;
        let _ = events.send(Event::Counted(shard.take(Some(second as usize))));
    }
    sleep_until(handle, end).await;
    shard.over.set(true);
}
