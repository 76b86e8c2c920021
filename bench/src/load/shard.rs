//! One shard of a run: what its connections share, and its side of the talk with the controller.
//!
//! ```text
//!   Opening ── all tried: Event::Opened ──► (waits) ── Message::Begin ──► warm ──► measuring ──► over: Event::Stopped
//! ```

use super::{
    Event, Message,
    gate::Gate,
    modes,
    pace::{Pace, Schedule, Seat},
};
use crate::{
    http::{head::Memory, request::Request, response::Head},
    plan::{Limit, Plan, Protocol},
    series::STEP,
    tally::{Fault, Tally},
};
use balance_engine::{
    Handle,
    buf::Class,
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
    task::{Context, Poll, Waker},
    time::Duration,
};

/// Requests are sent in pieces of this at most.
const PIECE_BYTES_MAX: usize = 64 << 10;
/// Connections that a shard opens at once. The accept queue of a small server has room for as many.
const OPENING_MAX: usize = 256;

/// Statuses from this one on say that something went wrong (RFC 9110 section 15).
const BAD_STATUS: u16 = 400;

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
    begun_at: Cell<Option<Timestamp>>,
    wait_for_begin: RefCell<Vec<Waker>>,
    measuring_since: Cell<Option<Timestamp>>,
    /// The end of the measured time, where something is still awaited after it.
    measuring_until: Cell<Option<Timestamp>>,
    /// Exchanges of a limited run that have not begun.
    tickets: Cell<u64>,
    over: Cell<bool>,
    place: Place,
    /// Of an open loop, once it has begun.
    pace: RefCell<Option<Rc<Pace>>>,
    /// Of each target.
    requests: Vec<Rc<[Request]>>,
    /// The last head that a server has sent.
    pub(super) heads: Rc<Memory<Head>>,
    /// In which what is said in requests is sent.
    pub(super) piece: Class,
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
    counts: bool,
    /// When it was to begin, in an open loop.
    intended: Option<Timestamp>,
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
    pub(super) fn new(handle: &Handle, plan: Arc<Plan>, place: Place) -> Rc<Self> {
        let connections = Plan::share(u64::from(plan.all_connections()), place.shard, place.shards) as u32;
        let tickets = match plan.limit {
            Limit::Requests(total) => Plan::share(total, place.shard, place.shards),
            Limit::After(_) | Limit::Told => 0,
        };
        let requests = match &plan.protocol {
            Protocol::Tcp => Vec::new(),
            Protocol::Http(http) => http.requests.iter().map(|list| list.as_slice().into()).collect(),
        };
        let longest = requests.iter().flat_map(|list: &Rc<[Request]>| list.iter()).map(|r| r.bytes.len()).max();
        let pipeline = if let Protocol::Http(http) = &plan.protocol { http.pipeline as usize } else { 1 };
        let piece = (longest.unwrap_or(0) * pipeline).min(PIECE_BYTES_MAX);
        let opening = if plan.opens_first() { connections } else { 0 };
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
            begun_at: Cell::new(None),
            wait_for_begin: RefCell::default(),
            measuring_since: Cell::new(None),
            measuring_until: Cell::new(None),
            tickets: Cell::new(tickets),
            over: Cell::new(false),
            place,
            pace: RefCell::default(),
            requests,
            heads: Rc::new(Memory::new()),
            piece: handle.pool().optimal(piece).unwrap_or(Class::Large),
        })
    }

    /// Start its connections.
    ///
    /// # Errors
    /// More connections than a shard has room for.
    pub(super) fn spawn_all(self: &Rc<Self>) -> io::Result<()> {
        let Place { shard, shards } = self.place;
        for number in (shard as u32..self.plan.all_connections()).step_by(shards) {
            self.handle.spawn(Admission::Always, modes::run(Rc::clone(self), number)).map_err(|_| full())?;
        }
        Ok(())
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

    /// Of the target of connection `number`.
    pub(super) fn requests(&self, number: u32) -> Rc<[Request]> {
        Rc::clone(&self.requests[number as usize % self.requests.len()])
    }

    /// Wait for the moment of the next exchange. `None`: enough has begun.
    pub(super) async fn next(&self, seat: &Rc<Seat>) -> Option<Ticket> {
        poll_fn(|context| self.poll_ticket(seat, context)).await
    }

    /// As [`Shard::next`].
    pub(super) fn poll_ticket(&self, seat: &Rc<Seat>, context: &Context<'_>) -> Poll<Option<Ticket>> {
        let pace = self.pace.borrow();
        let Some(pace) = &*pace else { return Poll::Ready(self.ticket()) };
        let counts = |intended| self.counts_from().is_some_and(|since| intended >= since);
        pace.poll_next(seat, context).map(|intended| {
            let intended = intended?;
            Some(Ticket { counts: counts(intended), intended: Some(intended) })
        })
    }

    /// In a closed loop there is always one, until there are enough.
    fn ticket(&self) -> Option<Ticket> {
        let limited = matches!(self.plan.limit, Limit::Requests(_));
        if limited && self.is_measuring() {
            self.tickets.set(self.tickets.get().checked_sub(1)?);
        }
        Some(Ticket { counts: !limited || self.is_measuring(), intended: None })
    }

    /// From when on an open loop is measured.
    fn counts_from(&self) -> Option<Timestamp> {
        self.begun_at.get().map(|begun| begun + self.plan.warm)
    }

    /// An exchange that began at `started` is over.
    pub(super) fn answered(&self, ticket: Ticket, started: Timestamp) {
        if self.counts(ticket) {
            let lag = ticket.intended.map(|intended| started - intended);
            self.tally.borrow_mut().answered(self.handle.now() - started, lag);
        }
    }

    /// So, and with this status, on connection `number`.
    pub(super) fn answered_with(&self, status: u16, ticket: Ticket, started: Timestamp, number: u32) {
        if !self.counts(ticket) {
            return;
        }
        self.tally.borrow_mut().statuses.add(status, 1);
        if status >= BAD_STATUS {
            self.tally.borrow_mut().errors.add(number, Fault::BadStatus(status));
        } else {
            self.answered(ticket, started);
        }
    }

    /// In an open loop that is decided by its moment, in a closed one by its end.
    fn counts(&self, ticket: Ticket) -> bool {
        ticket.counts && (ticket.intended.is_some() || self.is_measuring())
    }

    pub(super) fn moved(&self, out: u64, back: u64) {
        if self.is_measuring() {
            self.tally.borrow_mut().moved(out, back);
        }
    }

    fn begin(self: &Rc<Self>, at: Timestamp) {
        self.begun_at.set(Some(at));
        if let Some(rate) = self.plan.rate {
            let Place { shard, shards } = self.place;
            let mut schedule = Schedule::new(at, rate, shard, shards);
            match self.plan.limit {
                Limit::After(duration) => schedule = schedule.until(at + self.plan.warm + duration),
                Limit::Requests(_) => schedule = schedule.at_most(self.tickets.get()),
                Limit::Told => {}
            }
            let pace = Pace::new(&self.handle, schedule, self.alive.get() as usize);
            *self.pace.borrow_mut() = Some(Rc::clone(&pace));
            let shard = Rc::clone(self);
            let conduct = async move {
                let lagged = |moment, lag| {
                    if shard.counts_from().is_some_and(|since| moment >= since) {
                        shard.tally.borrow_mut().lagged(lag);
                    }
                };
                pace.conduct(lagged).await;
            };
            let _always_admitted = self.handle.spawn(Admission::Always, conduct);
        }
        self.begun.set(true);
        self.wait_for_begin.take().into_iter().for_each(Waker::wake);
    }

    /// The measured time is over. An open loop lets what has begun come to its end, so that a stall at the end is seen;
    /// what was to begin and has not counts as having waited until now.
    fn close(&self) {
        let pace = self.pace.borrow().clone();
        let Some(pace) = pace else { return self.over.set(true) };
        let now = self.handle.now();
        pace.close(|moment| self.tally.borrow_mut().unsent(now - moment));
    }

    /// What was counted since the last time, and with it the second that it is of. A second that is over is only ever
    /// followed by another.
    fn take(&self, next: Option<usize>) -> Part {
        let fresh = self.spare.take().unwrap_or_else(|| Box::new(Tally::new()));
        let mut tally = self.tally.replace(fresh);
        let cpu = os::thread_cpu();
        tally.cpu = cpu.saturating_sub(self.cpu_at.replace(cpu));
        Part { shard: self.place.shard, second: self.second.replace(next), tally }
    }

    fn finish(&self) -> Part {
        let mut part = self.take(None);
        part.tally.unfinished = self.busy.get();
        part.tally.open = self.open.get();
        let until = self.measuring_until.get().unwrap_or_else(|| self.handle.now());
        part.tally.measured = self.measuring_since.get().map(|since| until - since).unwrap_or_default();
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
    let shard = Shard::new(handle, plan, place);
    shard.spawn_all()?;
    let mut inbox = LoadInbox::new(&shard, events);
    shard::run(handle, &Clock::monotonic(), mailbox, &mut inbox)?;
    if handle.stats().tasks.panicked > 0 {
        return Err(io::Error::other("a connection's task panicked"));
    }
    Ok(())
}

fn full() -> io::Error {
    io::Error::other("the table of tasks is full")
}

/// What a shard hears from the controller, and what it tells it.
pub(super) struct LoadInbox {
    shard: Rc<Shard>,
    events: mpsc::Sender<Event>,
    /// [`Event::Opened`] is sent.
    announced: bool,
}

impl Inbox for LoadInbox {
    type Message = Message;

    fn handle(&mut self, message: Message) -> ControlFlow<()> {
        match message {
            Message::Begin(at) => {
                // Before the connections, so that with nothing to warm up their first exchange is measured.
                let clock = keep_time(Rc::clone(&self.shard), self.events.clone());
                let _always_admitted = self.shard.handle.spawn(Admission::Always, clock);
                self.shard.begin(at);
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
    pub(super) fn new(shard: &Rc<Shard>, events: mpsc::Sender<Event>) -> Self {
        Self { shard: Rc::clone(shard), events, announced: false }
    }

    fn tell(&self, event: Event) {
        // The controller listens until every shard has ended.
        let _ = self.events.send(event);
    }
}

/// The task that says when measuring begins, when a second is over and when all is.
async fn keep_time(shard: Rc<Shard>, events: mpsc::Sender<Event>) {
    let handle = &shard.handle;
    // What an open loop measures is decided by the moments of its exchanges, not by when we look.
    let planned = shard.counts_from().unwrap_or_else(|| handle.now());
    sleep_until(handle, planned).await;
    let since = if shard.plan.rate.is_some() { planned } else { handle.now() };
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
    if shard.plan.rate.is_some() {
        shard.measuring_until.set(Some(end));
    }
    shard.close();
}
