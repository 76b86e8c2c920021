//! Sockets and the wires between them.
//!
//! ```text
//!   send ──► wire of this side: segments, each with the time of its arrival ──► inbox of the other side ──► receive
//!            counts against outbox_max until it has arrived                     inbox_max; full: the wire stalls
//! ```

use super::{
    faults::strikes,
    net::{Net, OpRef, What, latency},
    script::Script,
};
use crate::{
    clock::Timestamp,
    driver::{Errno, Peer},
    rng::Rng,
    slab::Key,
};
use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

pub(super) struct Listener {
    pub(super) address: SocketAddr,
    pub(super) backlog_max: usize,
    /// Established and not accepted: the listener's end of each.
    pub(super) backlog: VecDeque<End>,
    pub(super) accepts: VecDeque<OpRef>,
    /// Nobody accepts: every connection gets a peer that follows this.
    pub(super) script: Option<Script>,
}

impl Listener {
    pub(super) fn new(address: SocketAddr, backlog_max: usize) -> Self {
        Self { address, backlog_max, backlog: VecDeque::new(), accepts: VecDeque::new(), script: None }
    }

    pub(super) fn serves(&self, address: SocketAddr) -> bool {
        self.address.port() == address.port()
            && (self.address.ip() == address.ip() || self.address.ip().is_unspecified())
    }
}

/// One end of a connection: side 0 has connected, side 1 was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) conn: Key,
    pub(super) side: usize,
}

impl End {
    pub(super) fn other(self) -> Self {
        Self { side: 1 - self.side, ..self }
    }
}

/// Lives until both sides are closed; what is on the wire then is of no interest to anybody.
pub(super) struct Conn {
    pub(super) sides: [Side; 2],
    /// A reset from without comes after so many more segments.
    pub(super) reset_in: Option<u32>,
    /// A reset takes unread data with it.
    pub(super) discards: bool,
}

pub(super) struct Side {
    pub(super) address: SocketAddr,
    /// Arrived, not yet received.
    pub(super) inbox: VecDeque<u8>,
    inbox_max: usize,
    /// The other side's FIN has arrived.
    fin_in: bool,
    /// Reported once, to whoever asks first.
    error: Option<Errno>,
    /// An error was told then: an end of the stream that follows from it comes later.
    pub(super) failed_at: Timestamp,
    /// Reset: nothing comes and nothing goes any more.
    pub(super) dead: bool,
    /// The FIN is on the wire, or has arrived.
    fin_out: bool,
    closed: bool,
    wire: VecDeque<Segment>,
    /// Data on the wire.
    wire_bytes: usize,
    outbox_max: usize,
    segment_max: usize,
    /// An [`What::Arrive`] of this side is on the agenda.
    arriving: bool,
    /// The other side's inbox is full.
    stalled: bool,
    pub(super) readers: VecDeque<OpRef>,
    /// A [`What::Pump`] of this side is on the agenda.
    pumping: bool,
    pub(super) writers: VecDeque<OpRef>,
    /// Those who wait for readiness.
    pub(super) pollers: VecDeque<OpRef>,
    pub(super) script: Option<Script>,
}

struct Segment {
    at: Timestamp,
    what: Content,
}

enum Content {
    Data(VecDeque<u8>),
    Fin,
}

/// What came of an attempt to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    Taken(usize),
    Full,
    Failed(Errno),
}

/// What there is to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readable {
    Nothing,
    Bytes(usize),
    Eof,
    Failed(Errno),
}

impl Side {
    pub(super) fn new(address: SocketAddr, rng: &mut Rng) -> Self {
        Self {
            address,
            inbox: VecDeque::new(),
            inbox_max: size_between(rng, 1 << 10, 256 << 10),
            fin_in: false,
            error: None,
            failed_at: Timestamp::START,
            dead: false,
            fin_out: false,
            closed: false,
            wire: VecDeque::new(),
            wire_bytes: 0,
            outbox_max: size_between(rng, 1 << 10, 256 << 10),
            segment_max: size_between(rng, 500, 16 << 10),
            arriving: false,
            stalled: false,
            readers: VecDeque::new(),
            pumping: false,
            writers: VecDeque::new(),
            pollers: VecDeque::new(),
            script: None,
        }
    }

    /// The side of a machine that takes whatever is sent to it, keeps it, and says nothing.
    pub(super) fn machine(rng: &mut Rng) -> Self {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
        Self { inbox_max: usize::MAX, ..Self::new(address, rng) }
    }

    /// The order is Linux's: first what has arrived, then the end, then the error, once; then an end for ever.
    pub(super) fn read_next(&mut self) -> Readable {
        if !self.inbox.is_empty() {
            return Readable::Bytes(self.inbox.len());
        }
        if self.fin_in {
            return Readable::Eof;
        }
        match self.error.take() {
            Some(errno) => Readable::Failed(errno),
            None if self.dead => Readable::Eof,
            None => Readable::Nothing,
        }
    }

    /// A look, to see whether another receive would bring something.
    pub(super) fn is_worth_a_pump(&self) -> bool {
        self.is_readable() && !self.readers.is_empty()
    }

    /// Its end is that of a connection that failed, not of a stream.
    pub(super) fn has_failed(&self) -> bool {
        self.dead && !self.fin_in
    }

    pub(super) fn is_readable(&self) -> bool {
        !self.inbox.is_empty() || self.fin_in || self.error.is_some() || self.dead
    }

    pub(super) fn is_writable(&self) -> bool {
        self.has_worthwhile_room() || self.fin_out || self.error.is_some() || self.dead
    }

    /// As in Linux, whoever waits for room is not told of every byte.
    fn has_worthwhile_room(&self) -> bool {
        self.room() >= self.outbox_max / 4
    }

    fn is_nearly_full(&self) -> bool {
        self.inbox_max - self.inbox.len() < self.inbox_max / 4
    }

    /// What a send would take.
    pub(super) fn room(&self) -> usize {
        self.outbox_max - self.wire_bytes
    }

    /// A send consumes the error as a receive does.
    pub(super) fn put(&mut self, bytes: &[u8], now: Timestamp, rng: &mut Rng, short: f64) -> Put {
        if let Some(errno) = self.error.take() {
            return Put::Failed(errno);
        }
        if self.dead || self.fin_out {
            return Put::Failed(Errno::BROKEN_PIPE);
        }
        let room = self.room();
        if room < bytes.len() && !self.has_worthwhile_room() {
            return Put::Full;
        }
        let mut len = room.min(bytes.len());
        if len > 1 && strikes(rng, short) {
            len = 1 + rng.index(len);
        }
        let mut rest = &bytes[..len];
        while !rest.is_empty() {
            let (segment, behind) = rest.split_at(1 + rng.index(rest.len().min(self.segment_max)));
            self.enqueue(Content::Data(segment.iter().copied().collect()), now, rng);
            rest = behind;
        }
        self.wire_bytes += len;
        Put::Taken(len)
    }

    /// Segments arrive in order, whatever the way takes.
    fn enqueue(&mut self, what: Content, now: Timestamp, rng: &mut Rng) {
        let earliest = self.wire.back().map_or(now, |last| last.at.max(now));
        self.wire.push_back(Segment { at: earliest + latency(rng), what });
    }
}

/// Small and large sizes are equally likely.
fn size_between(rng: &mut Rng, min: usize, max: usize) -> usize {
    let doublings = (max / min).ilog2() as usize;
    let size = min << rng.index(doublings + 1);
    (size + rng.index(size)).min(max)
}

pub(super) fn peer_of(address: SocketAddr) -> Peer {
    Peer::from(address)
}

/// The way of the bytes.
impl Net {
    pub(super) fn side(&mut self, end: End) -> Option<&mut Side> {
        Some(&mut self.conns.get_mut(end.conn)?.sides[end.side])
    }

    /// Sees to it that what is first on the wire arrives when it is due.
    pub(super) fn send_off(&mut self, end: End) {
        let now = self.time.now();
        let Some(side) = self.side(end) else { return };
        if side.arriving || side.stalled {
            return;
        }
        let Some(first) = side.wire.front() else { return };
        side.arriving = true;
        let at = first.at.max(now);
        self.schedule(at, What::Arrive(end));
    }

    pub(super) fn arrive(&mut self, end: End) {
        let Some(conn) = self.conns.get_mut(end.conn) else { return };
        conn.sides[end.side].arriving = false;
        if let Some(left) = &mut conn.reset_in {
            *left = left.saturating_sub(1);
            if *left == 0 {
                conn.reset_in = None;
                self.hear_reset(end);
                return self.hear_reset(end.other());
            }
        }
        let Some(segment) = self.side(end).and_then(|side| side.wire.pop_front()) else {
            return;
        };
        match segment.what {
            Content::Fin => self.fin_arrived(end.other()),
            Content::Data(bytes) => self.data_arrived(end, segment.at, bytes),
        }
        self.send_off(end);
    }

    fn fin_arrived(&mut self, to: End) {
        if let Some(side) = self.side(to) {
            side.fin_in = true;
            self.pump_soon(to);
        }
    }

    /// What does not fit goes back on the wire, which then stands still until the receiver has made room.
    fn data_arrived(&mut self, from: End, at: Timestamp, mut bytes: VecDeque<u8>) {
        let to = from.other();
        let Some(receiver) = self.side(to) else { return };
        if receiver.closed || receiver.dead {
            return self.send_reset(to);
        }
        let fits = bytes.len().min(receiver.inbox_max - receiver.inbox.len());
        receiver.inbox.extend(bytes.drain(..fits));
        if let Some(sender) = self.side(from) {
            sender.wire_bytes -= fits;
            if !bytes.is_empty() {
                sender.stalled = true;
                sender.wire.push_front(Segment { at, what: Content::Data(bytes) });
            }
        }
        self.pump_soon(to);
        self.soon(What::Drain(from));
    }

    /// This end has received something: if the other was told to stop, it may go on.
    pub(super) fn window_opened(&mut self, end: End) {
        let (now, delay) = (self.time.now(), latency(&mut self.rng));
        let from = end.other();
        // Nor is a sender told of every byte that was received.
        if self.side(end).is_some_and(|side| !side.closed && !side.inbox.is_empty() && side.is_nearly_full()) {
            return;
        }
        let Some(sender) = self.side(from) else { return };
        if !std::mem::take(&mut sender.stalled) {
            return;
        }
        if let Some(first) = sender.wire.front_mut() {
            first.at = now + delay;
        }
        self.send_off(from);
    }

    /// Queues the end of the stream behind all that was sent.
    pub(super) fn send_fin(&mut self, end: End) {
        let now = self.time.now();
        let Self { conns, rng, .. } = self;
        let Some(conn) = conns.get_mut(end.conn) else { return };
        let side = &mut conn.sides[end.side];
        if side.dead || std::mem::replace(&mut side.fin_out, true) {
            return;
        }
        side.enqueue(Content::Fin, now, rng);
        self.send_off(end);
    }

    /// Tears the connection down from this end. What had left already may still arrive before the reset does; what was
    /// queued is gone.
    pub(super) fn send_reset(&mut self, end: End) {
        let now = self.time.now();
        let Self { conns, rng, .. } = self;
        let Some(conn) = conns.get_mut(end.conn) else { return };
        let side = &mut conn.sides[end.side];
        if std::mem::replace(&mut side.dead, true) {
            return;
        }
        side.wire.truncate(rng.index(side.wire.len() + 1));
        let last = side.wire.back().map_or(now, |last| last.at.max(now));
        let at = last + latency(rng) + Duration::from_nanos(1);
        self.schedule(at, What::Reset(end.other()));
    }

    pub(super) fn hear_reset(&mut self, end: End) {
        let Some(conn) = self.conns.get_mut(end.conn) else { return };
        conn.sides[1 - end.side].wire.clear();
        let side = &mut conn.sides[end.side];
        if side.closed || std::mem::replace(&mut side.dead, true) {
            return;
        }
        if conn.discards && !side.inbox.is_empty() {
            // What is missing now must not look like a whole.
            side.inbox.clear();
            side.fin_in = false;
        }
        // After a FIN nobody waits for bytes: only a send is told.
        side.error = Some(if side.fin_in { Errno::BROKEN_PIPE } else { Errno::CONN_RESET });
        side.wire.clear();
        side.wire_bytes = 0;
        self.pump_soon(end);
        self.soon(What::Drain(end));
    }

    pub(super) fn pump_soon(&mut self, end: End) {
        if let Some(side) = self.side(end)
            && !std::mem::replace(&mut side.pumping, true)
        {
            self.soon(What::Pump(end));
        }
    }

    /// The next reader of this end, now that it is its turn.
    pub(super) fn take_pump(&mut self, end: End) -> Option<OpRef> {
        let side = self.side(end)?;
        side.pumping = false;
        side.readers.front().copied()
    }

    /// True when a shutdown can do something: the other side has not torn the connection down.
    pub(super) fn is_connected(&mut self, end: End) -> bool {
        self.side(end).is_some_and(|side| !side.dead)
    }

    pub(super) fn close_stream(&mut self, end: End, reset: bool) {
        let Some(side) = self.side(end) else { return };
        side.closed = true;
        side.readers.clear();
        side.writers.clear();
        side.pollers.clear();
        // Data that nobody will read has been lost, and the sender must hear of it.
        if reset || !side.inbox.is_empty() {
            self.send_reset(end);
        } else {
            self.send_fin(end);
        }
        if let Some(side) = self.side(end) {
            side.inbox = VecDeque::new();
        }
        // The other side's data may have been waiting for room here.
        self.window_opened(end);
        if self.conns.get(end.conn).is_some_and(|conn| conn.sides.iter().all(|side| side.closed)) {
            self.conns.remove(end.conn);
        }
    }
}
