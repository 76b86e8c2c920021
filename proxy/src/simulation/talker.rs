//! A task that plays one end's part of a script, and enters what it does and sees into the ledger.

use super::{
    ledger::{HEADER, Ledger, Party, Told},
    script::{Finish, Part, Reading, When},
};
use balance_engine::{
    Handle, Received,
    buf::Class,
    clock::Timestamp,
    driver::Errno,
    net::{Socket, Timer},
};
use std::{
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

/// Where a party's script comes from: a client has it, a backend finds it when it hears who its client is.
pub(super) type Lookup = Rc<dyn Fn(Party) -> Option<Part>>;

pub(super) struct Talker {
    handle: Handle,
    ledger: Rc<Ledger>,
    me: Party,
    socket: Option<Socket>,
    part: Part,
    lookup: Option<Lookup>,
    started: Timestamp,
    events: u32,
    next_burst: usize,
    /// Bytes of the burst under way that were not handed to the socket yet.
    left: u64,
    /// The next burst may start then.
    ready_at: Option<Timestamp>,
    /// What of the buffer under way was not taken yet.
    sending: u64,
    taken: u64,
    fin_sent: bool,
    fin_ready_at: Option<Timestamp>,
    /// A send failed: with ECONNRESET whatever reads like an end after it is none.
    refused: Option<Errno>,
    eof: bool,
    /// Nobody is left to talk to.
    gives_up: bool,
    reads_again_at: Option<Timestamp>,
    read_since_pause: u64,
    pace: Timer,
    rest: Timer,
    fuse: Timer,
}

enum Over {
    /// Close it as any program does when it is through.
    Close,
    Reset,
}

impl Talker {
    pub(super) fn new(ledger: &Rc<Ledger>, me: Party, socket: Socket, part: Part, lookup: Option<Lookup>) -> Self {
        let handle = socket.handle().clone();
        let now = handle.now();
        ledger.with(me, |record| record.connected = Some(now));
        Self {
            ledger: Rc::clone(ledger),
            me,
            socket: Some(socket),
            part,
            lookup,
            started: now,
            events: 0,
            next_burst: 0,
            left: 0,
            ready_at: None,
            sending: 0,
            taken: 0,
            fin_sent: false,
            fin_ready_at: None,
            refused: None,
            eof: false,
            gives_up: false,
            reads_again_at: None,
            read_since_pause: 0,
            pace: Timer::new(&handle),
            rest: Timer::new(&handle),
            fuse: Timer::new(&handle),
            handle,
        }
    }

    pub(super) async fn run(mut self) {
        let over = poll_fn(|context| self.poll(context)).await;
        self.leave(over);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Over> {
        let Some(mut socket) = self.socket.take() else { return Poll::Ready(Over::Close) };
        let poll = loop {
            if let Poll::Ready(over) = self.violence(context) {
                break Poll::Ready(over);
            }
            let sent = self.send(&mut socket, context);
            let received = self.receive(&mut socket, context);
            if let Some(over) = self.outcome() {
                break Poll::Ready(over);
            }
            if !sent && !received {
                break Poll::Pending;
            }
        };
        self.socket = Some(socket);
        poll
    }

    fn violence(&mut self, context: &Context<'_>) -> Poll<Over> {
        let Some(violence) = self.part.violence else { return Poll::Pending };
        let due = match violence.when {
            When::Events(events) => self.events >= events,
            When::Elapsed(elapsed) => self.fuse.poll_at(self.started + elapsed, context).is_ready(),
        };
        match (due, violence.reset) {
            (false, _) => Poll::Pending,
            (true, true) => Poll::Ready(Over::Reset),
            (true, false) => Poll::Ready(Over::Close),
        }
    }

    /// One step of sending. True when something was done.
    fn send(&mut self, socket: &mut Socket, context: &Context<'_>) -> bool {
        if socket.is_sending() {
            let Poll::Ready(done) = socket.poll_sent(context) else { return false };
            self.events += 1;
            match done.result {
                Ok(sent) => self.sent(socket, u64::from(sent), done.buffer),
                Err(errno) => {
                    self.refused = Some(errno);
                    self.sending = 0;
                }
            }
            return true;
        }
        if self.refused.is_some() || self.fin_sent {
            return false;
        }
        if self.left == 0 && !self.next(context) {
            return self.finish(socket, context);
        }
        self.start(socket);
        true
    }

    fn sent(&mut self, socket: &mut Socket, sent: u64, buffer: balance_engine::buf::Buffer) {
        let now = self.handle.now();
        self.sending -= sent;
        self.taken += sent;
        self.ledger.with(self.me, |record| {
            record.sent += sent;
            if self.sending > 0 {
                record.last_sent = now;
            }
        });
        if self.sending > 0 {
            socket.start_send(buffer, self.taken as u32, (self.taken + self.sending) as u32);
        }
    }

    /// The next burst, if it is time for it. True when there is something to send.
    fn next(&mut self, context: &Context<'_>) -> bool {
        let Some(burst) = self.part.bursts.get(self.next_burst).copied() else { return false };
        if self.ledger.with(self.me, |record| record.received) < burst.after_received {
            // What it waits for will not come any more.
            self.gives_up |= self.eof;
            return false;
        }
        let ready_at = *self.ready_at.get_or_insert_with(|| self.handle.now() + burst.pause);
        if self.pace.poll_at(ready_at, context).is_pending() {
            return false;
        }
        self.ready_at = None;
        self.next_burst += 1;
        self.left = burst.bytes;
        self.left > 0 || self.next(context)
    }

    fn start(&mut self, socket: &mut Socket) {
        let class = if self.left > 4096 { Class::Medium } else { Class::Small };
        let Some(mut buffer) = self.handle.pool().take(class) else {
            return self.ledger.fail("the peers' own buffers have run out".to_owned());
        };
        let len = self.left.min(buffer.len() as u64);
        self.left -= len;
        self.sending = len;
        let now = self.handle.now();
        let at = self.ledger.with(self.me, |record| {
            record.offered += len;
            record.last_sent = now;
            record.sent
        });
        self.taken = 0;
        self.ledger.write(self.me, at, &mut buffer[..len as usize]);
        socket.start_send(buffer, 0, len as u32);
    }

    /// Close the write half when the script says so.
    fn finish(&mut self, socket: &mut Socket, context: &Context<'_>) -> bool {
        if self.next_burst < self.part.bursts.len() {
            return false;
        }
        let due = match self.part.finish {
            Finish::AfterSending => true,
            Finish::AfterPeer { pause } => {
                self.eof && {
                    let at = *self.fin_ready_at.get_or_insert_with(|| self.handle.now() + pause);
                    self.pace.poll_at(at, context).is_ready()
                }
            }
            Finish::Never => return self.is_left_alone(context),
        };
        if due {
            socket.shutdown();
            self.fin_sent = true;
            self.note_fin(false);
        }
        due
    }

    /// Of one that never closes and has read the end: nothing more will tell it that its peer is gone.
    fn is_left_alone(&mut self, context: &Context<'_>) -> bool {
        if !self.eof {
            return false;
        }
        let peer = self.ledger.with(self.me, |record| record.peer);
        self.gives_up = peer.is_none_or(|peer| self.ledger.with(peer, |record| record.over));
        let look_again = self.handle.now() + Duration::from_millis(50);
        self.gives_up || self.pace.poll_lazily_at(look_again, context).is_ready()
    }

    fn note_fin(&self, cut: bool) {
        let now = self.handle.now();
        self.ledger.with(self.me, |record| {
            if !std::mem::replace(&mut record.fin, true) {
                record.cut = cut;
                record.fin_at = now;
            }
        });
    }

    /// One receive. True when something came.
    fn receive(&mut self, socket: &mut Socket, context: &Context<'_>) -> bool {
        if self.eof || self.is_resting(context) {
            return false;
        }
        let now = self.handle.now();
        if matches!(self.part.reading, Reading::Never) {
            let Poll::Ready(errno) = socket.poll_broken(context) else {
                // One that does not read does not hear of an end either.
                self.eof = true;
                let waits = !self.is_left_alone(context);
                self.eof = self.gives_up;
                return !waits;
            };
            self.eof = true;
            self.refused = Some(errno);
            self.told_reset(errno);
            return true;
        }
        match socket.poll_recv(context) {
            Poll::Pending => false,
            Poll::Ready(Received::Data(chunk)) => {
                self.events += 1;
                self.ledger.receive(self.me, &chunk.buffer[..chunk.len as usize], now);
                self.read_since_pause += u64::from(chunk.len);
                self.learn();
                true
            }
            Poll::Ready(Received::Eof) => {
                self.eof = true;
                if self.refused.is_none_or(|errno| errno == Errno::BROKEN_PIPE) {
                    self.ledger.receive_end(self.me, now);
                }
                true
            }
            Poll::Ready(Received::Failed(errno)) => {
                self.eof = true;
                self.refused = Some(errno);
                self.told_reset(errno);
                true
            }
        }
    }

    fn told_reset(&self, errno: Errno) {
        let now = self.handle.now();
        self.ledger.with(self.me, |record| {
            record.told.get_or_insert(Told::Reset(errno));
            record.ended_at = now;
        });
    }

    fn is_resting(&mut self, context: &Context<'_>) -> bool {
        let Reading::Slow { every, pause } = self.part.reading else { return false };
        if self.read_since_pause >= every {
            self.read_since_pause = 0;
            self.reads_again_at = Some(self.handle.now() + pause.max(Duration::from_millis(1)));
        }
        let Some(at) = self.reads_again_at else { return false };
        if self.rest.poll_at(at, context).is_pending() {
            return true;
        }
        self.reads_again_at = None;
        false
    }

    /// A backend finds its part when it has heard who its client is.
    fn learn(&mut self) {
        let Some(lookup) = &self.lookup else { return };
        let (received, peer) = self.ledger.with(self.me, |record| (record.received, record.peer));
        if received < HEADER {
            return;
        }
        if let Some(part) = peer.and_then(|peer| lookup(peer)) {
            self.part = part;
        }
        self.lookup = None;
    }

    fn outcome(&mut self) -> Option<Over> {
        if self.sending > 0 || !self.eof {
            return None;
        }
        if let Some(errno) = self.refused {
            self.told_reset(errno);
            return Some(Over::Close);
        }
        if self.gives_up {
            return Some(Over::Close);
        }
        if !self.fin_sent {
            return None;
        }
        let whole = self.next_burst == self.part.bursts.len();
        self.ledger.with(self.me, |record| record.complete = whole);
        Some(Over::Close)
    }

    fn leave(&mut self, over: Over) {
        let Some(socket) = self.socket.take() else { return };
        match over {
            Over::Reset => socket.reset(),
            Over::Close => {
                self.note_fin(socket.is_sending());
                drop(socket);
            }
        }
        self.ledger.with(self.me, |record| record.over = true);
    }
}

/// A task that is dropped closes its socket, as the kernel does for a process that is killed.
impl Drop for Talker {
    fn drop(&mut self) {
        self.leave(Over::Close);
        let now = self.handle.now();
        self.ledger.with(self.me, |record| {
            record.over = true;
            if record.ended_at == Timestamp::START {
                record.ended_at = now;
            }
        });
    }
}
