//! The simulated world: its time, its agenda, and the hosts that live in it.

use super::{
    faults::{Faults, strikes},
    journal::Journal,
    socket::{Conn, End, Listener},
};
use crate::{
    batch::Batch,
    buf::{Buffer, BufferPool},
    clock::{Timestamp, VirtualClock},
    driver::{Completion, Desc, Interest, OpKey, Outcome, Target, Turn, Wait},
    pipe::Pipe,
    rng::Rng,
    slab::{Key, Slab},
};
use std::{
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, BinaryHeap},
    net::SocketAddr,
    os::fd::RawFd,
    time::Duration,
};

/// Names an operation of any host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpRef {
    pub(super) host: usize,
    pub(super) op: Key,
}

/// An operation that has not come to its end.
pub(super) struct Pending {
    pub(super) key: OpKey,
    pub(super) place: Place,
    pub(super) job: Job,
    /// Its latest completion arrives then; the next may not overtake it.
    pub(super) last_at: Timestamp,
    pub(super) cancelled: bool,
    /// Does nothing until it is cancelled.
    pub(super) lost: bool,
}

/// Where an operation waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Listener(Key),
    Stream(End),
    /// A connect has no socket yet.
    Nowhere,
}

#[derive(Debug)]
pub(super) enum Job {
    Accept,
    Connect(Target),
    Recv,
    Send {
        buffer: Buffer,
        from: u32,
        to: u32,
    },
    Poll(Interest),
    /// `sent` bytes of it have gone; without a copy only whole batches are reported.
    Batch {
        batch: Box<Batch>,
        zero_copy: bool,
        sent: u32,
    },
    SpliceIn {
        desc: Desc,
        pipe: Box<Pipe>,
        max: usize,
    },
    SpliceOut {
        desc: Desc,
        pipe: Box<Pipe>,
        max: usize,
    },
}

/// What a descriptor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opened {
    Listener(Key),
    Stream(End),
}

/// One driver's part of the world.
pub(super) struct Host {
    pub(super) pool: BufferPool,
    pub(super) faults: Faults,
    pub(super) ops: Slab<Pending>,
    pub(super) open: BTreeMap<u32, Opened>,
    /// Descriptors that are fit for splice, each from a certain moment on.
    pub(super) installed: BTreeMap<u32, Timestamp>,
    /// Arrived, and handed out by the next turn.
    ready: Vec<Completion>,
    pub(super) in_flight: usize,
    /// What its last turn waited for, if that turn brought nothing and nothing was asked of the driver since.
    asleep: Option<Wait>,
    pub(super) wake: Option<RawFd>,
    /// Its wake descriptor was readable when the turn under way began. A simulated world has one thread: nobody writes
    /// during a turn.
    is_woken: bool,
    held_turns: u64,
    /// Every completion that was there at this moment has been handed out.
    pub(super) told_until: Timestamp,
    pub(super) overflows: u64,
    /// Its driver was dropped.
    gone: bool,
    /// It does not run for now, and nobody waits for it: a process under SIGSTOP, or one that has no turn to take.
    pub(super) stopped: bool,
}

impl Host {
    /// True when nothing but an event or a time to come can make it act.
    fn is_asleep(&self, now: Timestamp) -> bool {
        let waits = match self.asleep {
            None | Some(Wait::No) => false,
            Some(Wait::Forever) => true,
            Some(Wait::Until(moment)) => moment > now,
        };
        self.gone || self.stopped || waits && self.ready.is_empty() && !self.is_woken
    }

    fn alarm(&self) -> Option<Timestamp> {
        match self.asleep {
            Some(Wait::Until(moment)) if !self.gone && !self.stopped => Some(moment),
            _ => None,
        }
    }

    fn look_at_wake(&mut self) {
        self.is_woken = self.wake.is_some_and(is_readable);
    }
}

/// The wake descriptor is a real one, so that a real mailbox works in a simulated world.
fn is_readable(fd: RawFd) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry, alive during the call, which does not wait.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    ready == 1 && poll.revents & libc::POLLIN != 0
}

/// Something that will happen.
pub(super) enum What {
    Deliver {
        host: usize,
        completion: Completion,
    },
    Cancel(OpRef),
    Syn {
        op: OpRef,
        attempt: u32,
    },
    /// A listener looks whether an accept and a connection are there.
    Serve(Key),
    /// The first segment that this end has sent gets to the other.
    Arrive(End),
    /// This end hears that the other has reset the connection.
    Reset(End),
    /// This end looks whether a receive and something to receive are there.
    Pump(End),
    /// This end looks whether a send that waits can go on.
    Drain(End),
    /// A worker thread of the kernel gets to a splice.
    Splice(OpRef),
    /// The last acknowledgement of a batch that was sent without a copy.
    Release {
        host: usize,
        key: OpKey,
        batch: Box<Batch>,
    },
    Close {
        end: End,
        reset: bool,
    },
}

struct Event {
    at: Timestamp,
    /// What happens at the same time happens in random order.
    tie: u64,
    number: u64,
    what: What,
}

impl Event {
    fn rank(&self) -> (Timestamp, u64, u64) {
        (self.at, self.tie, self.number)
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

pub(super) struct Net {
    pub(super) time: VirtualClock,
    pub(super) rng: Rng,
    agenda: BinaryHeap<Reverse<Event>>,
    events: u64,
    pub(super) hosts: Vec<Host>,
    pub(super) listeners: Slab<Listener>,
    pub(super) conns: Slab<Conn>,
    pub(super) last_port: u16,
    /// Whoever connects there gets no answer.
    pub(super) silent: Vec<SocketAddr>,
    last_desc: u32,
    pub(super) journal: Journal,
    pub(super) on_stuck: OnStuck,
    /// Nothing can happen any more, and everybody waits for ever.
    pub(super) stuck: bool,
}

/// What to do about a deadlock: when every driver waits for ever and the agenda is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStuck {
    /// Fail the test, naming what is in flight.
    Panic,
    /// Return from the turn and let [`super::SimNet::is_stuck`] tell.
    Report,
}

impl Net {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            time: VirtualClock::new(),
            rng: Rng::new(seed),
            agenda: BinaryHeap::new(),
            events: 0,
            hosts: Vec::new(),
            listeners: Slab::new(),
            conns: Slab::new(),
            last_port: 32_767,
            silent: Vec::new(),
            last_desc: 2,
            journal: Journal::default(),
            on_stuck: OnStuck::Panic,
            stuck: false,
        }
    }

    pub(super) fn add_host(&mut self, pool: BufferPool, faults: Faults) -> usize {
        self.hosts.push(Host {
            pool,
            faults,
            ops: Slab::new(),
            open: BTreeMap::new(),
            installed: BTreeMap::new(),
            ready: Vec::new(),
            in_flight: 0,
            asleep: None,
            wake: None,
            is_woken: false,
            held_turns: 0,
            told_until: Timestamp::START,
            overflows: 0,
            gone: false,
            stopped: false,
        });
        self.hosts.len() - 1
    }

    /// As the kernel does with what a process leaves behind.
    pub(super) fn remove_host(&mut self, host: usize) {
        self.hosts[host].gone = true;
        let ops: Vec<Key> = self.hosts[host].ops.iter().map(|(op, _)| op).collect();
        for op in ops {
            self.retire(OpRef { host, op });
        }
        for opened in std::mem::take(&mut self.hosts[host].open).into_values() {
            match opened {
                Opened::Listener(listener) => self.close_listener(listener),
                Opened::Stream(end) => self.close_stream(end, false),
            }
        }
        self.hosts[host].ready.clear();
        self.agenda.retain(|Reverse(event)| !matches!(event.what, What::Deliver { host: of, .. } if of == host));
    }

    /// Never used twice, so that whoever uses one after its close is found out.
    pub(super) fn new_desc(&mut self, host: usize, opened: Opened) -> Desc {
        self.last_desc += 1;
        self.hosts[host].open.insert(self.last_desc, opened);
        Desc(self.last_desc)
    }
}

/// Time.
impl Net {
    pub(super) fn schedule(&mut self, at: Timestamp, what: What) {
        self.events += 1;
        let event = Event { at, tie: self.rng.next_u64(), number: self.events, what };
        self.agenda.push(Reverse(event));
    }

    pub(super) fn soon(&mut self, what: What) {
        let at = self.time.now() + latency(&mut self.rng);
        self.schedule(at, what);
    }

    /// Sends a completion on its way and returns when it will be there, which is after `after`.
    pub(super) fn deliver(&mut self, host: usize, completion: Completion, after: Timestamp) -> Timestamp {
        let faults = &self.hosts[host].faults;
        let mut delay = self.rng.duration_up_to(Duration::from_micros(5));
        if strikes(&mut self.rng, faults.late) {
            delay += self.rng.duration_up_to(faults.late_max);
        }
        let at = (self.time.now() + delay).max(after + Duration::from_nanos(1));
        self.schedule(at, What::Deliver { host, completion });
        at
    }

    fn run_due(&mut self) {
        while self.agenda.peek().is_some_and(|Reverse(event)| event.at <= self.time.now()) {
            if let Some(Reverse(event)) = self.agenda.pop() {
                self.happen(event.what);
            }
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Deliver { host, completion } => self.hosts[host].ready.push(completion),
            What::Cancel(op) => self.cancel_now(op),
            What::Syn { op, attempt } => self.syn(op, attempt),
            What::Serve(listener) => self.serve(listener),
            What::Arrive(end) => self.arrive(end),
            What::Reset(end) => self.hear_reset(end),
            What::Pump(end) => self.pump(end),
            What::Drain(end) => self.drain(end),
            What::Splice(op) => self.splice_by_worker(op),
            What::Release { host, key, batch } => self.release(host, key, batch),
            What::Close { end, reset } => self.close_stream(end, reset),
        }
    }

    /// Lets time pass until there is something for somebody to do.
    fn sleep(&mut self) {
        loop {
            let now = self.time.now();
            if !self.hosts.iter().all(|host| host.is_asleep(now)) {
                return;
            }
            let alarm = self.hosts.iter().filter_map(Host::alarm).min();
            let event = self.agenda.peek().map(|Reverse(event)| event.at);
            let Some(next) = alarm.into_iter().chain(event).min() else {
                return self.get_stuck();
            };
            self.time.advance_to(next);
            self.run_due();
        }
    }

    fn get_stuck(&mut self) {
        self.stuck = true;
        if self.on_stuck == OnStuck::Panic {
            let waiting: Vec<String> = self
                .hosts
                .iter()
                .enumerate()
                .flat_map(|(host, of)| {
                    of.ops.iter().map(move |(_, pending)| format!("host {host}: {:?} {:?}", pending.key, pending.job))
                })
                .collect();
            panic!("deadlock: everybody waits for ever, and nothing will happen; in flight: {waiting:#?}");
        }
    }

    pub(super) fn touch(&mut self, host: usize) {
        self.hosts[host].asleep = None;
        self.stuck = false;
    }

    pub(super) fn turn(&mut self, host: usize, wait: Wait, out: &mut Vec<Completion>) -> Turn {
        // What a turn itself takes. So time passes even in a loop that never waits.
        let cost = Duration::from_nanos(200 + self.rng.below(3000));
        self.time.advance(cost);
        self.hosts.iter_mut().for_each(Host::look_at_wake);
        self.run_due();
        self.hosts[host].asleep = Some(wait);
        self.sleep();
        let now = self.time.now();
        if !self.hosts[host].is_asleep(now) {
            self.hosts[host].asleep = None;
        }
        self.hand_out(host, out);
        Turn { now, woken: self.hosts[host].is_woken }
    }

    fn hand_out(&mut self, host: usize, out: &mut Vec<Completion>) {
        let of = &mut self.hosts[host];
        if of.held_turns > 0 {
            of.held_turns -= 1;
            return;
        }
        if !of.ready.is_empty() && strikes(&mut self.rng, of.faults.cq_overflow) {
            of.held_turns = self.rng.below(4);
            of.overflows += 1;
            return;
        }
        of.told_until = self.time.now();
        for completion in of.ready.drain(..) {
            of.in_flight -= usize::from(!completion.more);
            self.journal.note(self.time.now(), host, &completion);
            out.push(completion);
        }
    }
}

/// Mostly a short way, now and then a long one.
pub(super) fn latency(rng: &mut Rng) -> Duration {
    let max = if rng.chance(1, 16) { Duration::from_millis(2) } else { Duration::from_micros(40) };
    rng.duration_up_to(max)
}

/// The end of operations.
impl Net {
    pub(super) fn pending(&mut self, op: OpRef) -> Option<&mut Pending> {
        self.hosts[op.host].ops.get_mut(op.op)
    }

    /// Takes an operation out of the world; its last completion is the caller's to send.
    pub(super) fn retire(&mut self, op: OpRef) -> Option<Pending> {
        let pending = self.hosts[op.host].ops.remove(op.op)?;
        match pending.place {
            Place::Listener(listener) => {
                if let Some(listener) = self.listeners.get_mut(listener) {
                    listener.accepts.retain(|other| *other != op);
                }
            }
            Place::Stream(end) => {
                if let Some(side) = self.side(end) {
                    side.readers.retain(|other| *other != op);
                    side.writers.retain(|other| *other != op);
                    side.pollers.retain(|other| *other != op);
                }
            }
            Place::Nowhere => {}
        }
        Some(pending)
    }

    pub(super) fn finish(&mut self, op: OpRef, outcome: Outcome) {
        if let Some(Pending { key, last_at, .. }) = self.retire(op) {
            self.deliver(op.host, Completion { key, outcome, more: false }, last_at);
        }
    }

    /// An error of a connection is told then.
    pub(super) fn note_failure(&mut self, place: Place, at: Timestamp) {
        if let Place::Stream(end) = place
            && let Some(side) = self.side(end)
        {
            side.failed_at = at.max(side.failed_at);
        }
    }

    pub(super) fn fail(&mut self, op: OpRef, errno: crate::driver::Errno) {
        let Some(Pending { key, job, last_at, place, .. }) = self.retire(op) else {
            return;
        };
        let outcome = match job {
            Job::Send { buffer, .. } => Outcome::SendFailed { buffer, errno },
            // As in Linux: the bytes that have gone are told, and the error is told to nobody.
            Job::Batch { batch, zero_copy, sent } if sent > 0 => {
                let at = self.report_batch(op.host, key, batch, zero_copy, sent, last_at);
                return self.note_failure(place, at);
            }
            Job::Batch { batch, .. } => Outcome::BatchSent { batch: Some(batch), result: Err(errno) },
            Job::SpliceIn { pipe, .. } | Job::SpliceOut { pipe, .. } => Outcome::Spliced { pipe, result: Err(errno) },
            Job::Accept | Job::Connect(_) | Job::Recv | Job::Poll(_) => Outcome::Failed(errno),
        };
        let at = self.deliver(op.host, Completion { key, outcome, more: false }, last_at);
        self.note_failure(place, at);
    }
}
