//! Operations: what is done when they are submitted, and how they come to their ends.
//!
//! Effects take place in the order of submission, as in a kernel; completions come when they come.

use super::{
    faults::strikes,
    net::{Job, Net, OpRef, Opened, Pending, Place, What},
    socket::{End, Put, Readable},
};
use crate::{
    batch::Batch,
    buf::{Buffer, Class},
    clock::Timestamp,
    driver::{CloseHow, Completion, Desc, Errno, Op, OpKey, Outcome, Token},
    slab::Key,
};
use std::time::Duration;

impl Net {
    pub(super) fn submit(&mut self, host: usize, key: OpKey, op: Op) -> Token {
        self.touch(host);
        self.hosts[host].in_flight += 1;
        match op {
            Op::Accept { listener } => self.submit_accept(host, key, listener),
            Op::Connect { to, .. } => self.submit_connect(host, key, to),
            Op::Recv { desc, .. } => {
                let end = self.stream(host, desc);
                let op = self.park(host, key, Place::Stream(end), Job::Recv);
                if let Some(side) = self.side(end) {
                    side.readers.push_back(op);
                }
                self.pump_soon(end);
                Token(op.op.to_u64())
            }
            Op::Send { desc, buffer, from, to } => {
                let end = self.stream(host, desc);
                self.submit_send(host, key, end, Job::Send { buffer, from, to })
            }
            Op::SendBatch { desc, batch, zero_copy } => {
                let end = self.stream(host, desc);
                self.submit_send(host, key, end, Job::Batch { batch, zero_copy })
            }
            Op::SpliceIn { from, pipe, max } => {
                let job = Job::SpliceIn { desc: from, pipe, max: max as usize };
                self.submit_splice(host, key, from, job)
            }
            Op::SpliceOut { pipe, to, max } => {
                let job = Job::SpliceOut { desc: to, pipe, max: max as usize };
                self.submit_splice(host, key, to, job)
            }
            Op::Poll { desc, interest } => {
                let end = self.stream(host, desc);
                let op = self.park(host, key, Place::Stream(end), Job::Poll(interest));
                if let Some(side) = self.side(end) {
                    side.pollers.push_back(op);
                }
                self.pump_soon(end);
                Token(op.op.to_u64())
            }
            Op::Unacked { desc } => {
                let end = self.stream(host, desc);
                let unacked = self.side(end).map_or(0, |side| side.unacked());
                self.complete(host, key, Outcome::Unacked(unacked as u32));
                Token::NONE
            }
            Op::Install { desc } => {
                self.submit_install(host, key, desc);
                Token::NONE
            }
            Op::Shutdown { desc } => {
                let end = self.stream(host, desc);
                self.submit_shutdown(host, key, end);
                Token::NONE
            }
            Op::Close { desc, how } => {
                self.submit_close(host, key, desc, how);
                Token::NONE
            }
        }
    }

    /// The stream behind a descriptor that was made fit for splice.
    pub(super) fn installed(&mut self, host: usize, desc: Desc) -> Result<End, Errno> {
        let end = self.stream(host, desc);
        let since = self.hosts[host].installed.get(&desc.0);
        if since.is_some_and(|since| *since <= self.time.now()) { Ok(end) } else { Err(Errno(libc::EBADF)) }
    }

    fn opened(&mut self, host: usize, desc: Desc) -> Opened {
        match self.hosts[host].open.get(&desc.0) {
            Some(opened) => *opened,
            None => panic!("{desc:?} is not open: it was closed, or never given to this driver"),
        }
    }

    pub(super) fn stream(&mut self, host: usize, desc: Desc) -> End {
        match self.opened(host, desc) {
            Opened::Stream(end) => end,
            Opened::Listener(_) => panic!("{desc:?} is a listener"),
        }
    }

    /// Keeps an operation until it comes to its end. Whoever parks it puts it into its queue.
    pub(super) fn park(&mut self, host: usize, key: OpKey, place: Place, job: Job) -> OpRef {
        let of = &mut self.hosts[host];
        let lost = strikes(&mut self.rng, of.faults.lost);
        let op = of.ops.insert(Pending { key, place, job, last_at: Timestamp::START, cancelled: false, lost });
        OpRef { host, op }
    }

    /// Completes what was never parked.
    pub(super) fn complete(&mut self, host: usize, key: OpKey, outcome: Outcome) {
        self.deliver(host, Completion { key, outcome, more: false }, Timestamp::START);
    }

    fn submit_send(&mut self, host: usize, key: OpKey, end: End, job: Job) -> Token {
        let op = self.park(host, key, Place::Stream(end), job);
        if let Some(side) = self.side(end) {
            side.writers.push_back(op);
            if side.writers.len() == 1 {
                self.drain(end);
            }
        }
        Token(op.op.to_u64())
    }

    /// Lets sends go on, in order, until one does not fit.
    pub(super) fn drain(&mut self, end: End) {
        self.tell_pollers(end);
        while let Some(op) = self.side(end).and_then(|side| side.writers.front().copied()) {
            let put = self.put(end, op);
            self.send_off(end);
            match put {
                Put::Full => return,
                Put::Failed(errno) => self.fail(op, errno),
                Put::Taken(sent) => self.taken(op, sent as u32),
            }
        }
    }

    fn taken(&mut self, op: OpRef, taken: u32) {
        let Some(Pending { key, job, last_at, .. }) = self.retire(op) else { return };
        match job {
            Job::Send { buffer, .. } => {
                let outcome = Outcome::Sent { buffer, sent: taken };
                self.deliver(op.host, Completion { key, outcome, more: false }, last_at);
            }
            Job::Batch { batch, zero_copy } => {
                self.report_batch(op.host, key, batch, zero_copy, taken, last_at);
            }
            _ => {}
        }
    }

    /// Tells what was sent of a batch. Without a copy, the batch itself comes back some time later.
    fn report_batch(
        &mut self,
        host: usize,
        key: OpKey,
        batch: Box<Batch>,
        zero_copy: bool,
        sent: u32,
        after: Timestamp,
    ) {
        let (kept, batch) = if zero_copy { (Some(batch), None) } else { (None, Some(batch)) };
        let outcome = Outcome::BatchSent { batch, result: Ok(sent) };
        let told = self.deliver(host, Completion { key, outcome, more: zero_copy }, after);
        if let Some(batch) = kept {
            let at = told + self.rng.duration_up_to(Duration::from_millis(5));
            self.schedule(at, What::Release { host, key, batch });
        }
    }

    pub(super) fn release(&mut self, host: usize, key: OpKey, batch: Box<Batch>) {
        let copied = self.rng.chance(1, 2);
        let outcome = Outcome::Released { batch, copied, registered: false };
        let now = self.time.now();
        self.deliver(host, Completion { key, outcome, more: false }, now);
    }

    fn put(&mut self, end: End, op: OpRef) -> Put {
        let now = self.time.now();
        let Self { hosts, conns, rng, .. } = self;
        let host = &hosts[op.host];
        match (host.ops.get(op.op), conns.get_mut(end.conn)) {
            (Some(Pending { job: Job::Send { buffer, from, to }, lost: false, .. }), Some(conn)) => {
                let bytes = &buffer[*from as usize..*to as usize];
                conn.sides[end.side].put(bytes, now, rng, host.faults.short_send)
            }
            (Some(Pending { job: Job::Batch { batch, .. }, lost: false, .. }), Some(conn)) => {
                let side = &mut conn.sides[end.side];
                // One byte more than there is room for, so that a full socket is seen to be full.
                let bytes = batch.first_bytes(side.room() + 1);
                side.put(&bytes, now, rng, host.faults.short_send)
            }
            _ => Put::Full,
        }
    }

    fn submit_install(&mut self, host: usize, key: OpKey, desc: Desc) {
        self.stream(host, desc);
        if strikes(&mut self.rng, self.hosts[host].faults.install_exhausted) {
            return self.complete(host, key, Outcome::Failed(Errno::TOO_MANY_FILES));
        }
        let completion = Completion { key, outcome: Outcome::Done, more: false };
        let at = self.deliver(host, completion, Timestamp::START);
        let since = self.hosts[host].installed.entry(desc.0).or_insert(at);
        *since = at.min(*since);
    }

    fn submit_shutdown(&mut self, host: usize, key: OpKey, end: End) {
        if self.is_connected(end) {
            self.send_fin(end);
            self.drain(end);
            self.complete(host, key, Outcome::Done);
        } else {
            self.complete(host, key, Outcome::Failed(Errno(libc::ENOTCONN)));
        }
    }

    fn submit_close(&mut self, host: usize, key: OpKey, desc: Desc, how: CloseHow) {
        let opened = self.opened(host, desc);
        self.end_cancelled(host, opened);
        self.hosts[host].open.remove(&desc.0);
        self.hosts[host].installed.remove(&desc.0);
        let faults = &self.hosts[host].faults;
        let mut at = self.time.now();
        if strikes(&mut self.rng, faults.close_late) {
            at = at + self.rng.duration_up_to(faults.late_max);
        }
        match opened {
            Opened::Listener(listener) => self.close_listener(listener),
            Opened::Stream(end) => {
                let reset = how == CloseHow::Reset;
                if at == self.time.now() {
                    self.close_stream(end, reset);
                } else {
                    self.schedule(at, What::Close { end, reset });
                }
            }
        }
        self.deliver(host, Completion { key, outcome: Outcome::Done, more: false }, at);
    }

    /// Cancellations that take their time end with the descriptor at the latest.
    fn end_cancelled(&mut self, host: usize, opened: Opened) {
        let place = match opened {
            Opened::Listener(listener) => Place::Listener(listener),
            Opened::Stream(end) => Place::Stream(end),
        };
        let here = self.hosts[host].ops.iter().filter(|(_, pending)| pending.place == place);
        let ops: Vec<(Key, bool)> = here.map(|(op, pending)| (op, pending.cancelled)).collect();
        for (op, cancelled) in ops {
            assert!(cancelled, "closed under a running operation");
            self.fail(OpRef { host, op }, Errno::CANCELED);
        }
    }

    pub(super) fn cancel(&mut self, host: usize, token: Token) {
        self.touch(host);
        let Some(op) = Key::from_u64(token.0).map(|op| OpRef { host, op }) else {
            return;
        };
        let Some(pending) = self.pending(op) else { return };
        if std::mem::replace(&mut pending.cancelled, true) {
            return;
        }
        if strikes(&mut self.rng, self.hosts[host].faults.cancel_race) {
            self.soon(What::Cancel(op));
        } else {
            self.cancel_now(op);
        }
    }

    pub(super) fn cancel_now(&mut self, op: OpRef) {
        let place = self.pending(op).map(|pending| pending.place);
        if let Some(Place::Stream(end)) = place
            && self.side(end).is_some_and(|side| side.script.is_some() && side.readers.contains(&op))
        {
            // The script knows what comes of it.
            return self.pump_soon(end);
        }
        self.fail(op, Errno::CANCELED);
    }
}

/// Receiving.
impl Net {
    pub(super) fn pump(&mut self, end: End) {
        self.tell_pollers(end);
        let Some(op) = self.take_pump(end) else { return };
        if self.side(end).is_some_and(|side| side.script.is_some()) {
            return self.pump_script(end, op);
        }
        if self.pending(op).is_none_or(|pending| pending.lost) {
            return;
        }
        match self.side(end).map_or(Readable::Nothing, |side| side.read_next()) {
            Readable::Nothing => {}
            Readable::Bytes(len) => self.receive(end, op, len),
            Readable::Eof => self.end_of_stream(end, op),
            Readable::Failed(errno) => self.fail(op, errno),
        }
        if self.side(end).is_some_and(|side| side.is_worth_a_pump()) {
            self.pump_soon(end);
        }
    }

    fn end_of_stream(&mut self, end: End, op: OpRef) {
        let after = self.side(end).map_or(Timestamp::START, |side| side.failed_at);
        if let Some(pending) = self.pending(op) {
            pending.last_at = pending.last_at.max(after);
        }
        self.finish(op, Outcome::Eof);
    }

    fn receive(&mut self, end: End, op: OpRef, len: usize) {
        let host = &self.hosts[op.host];
        let (short, last) = (host.faults.short_recv, host.faults.multishot_end);
        let starved = strikes(&mut self.rng, host.faults.no_buffers);
        let buffer = if starved { None } else { self.buffer(op.host, len) };
        let Some(mut buffer) = buffer else {
            return self.fail(op, Errno::NO_BUFFERS);
        };
        let mut len = len.min(buffer.len());
        if len > 1 && strikes(&mut self.rng, short) {
            len = 1 + self.rng.index(len);
        }
        if let Some(side) = self.side(end) {
            for (to, from) in buffer.iter_mut().zip(side.inbox.drain(..len)) {
                *to = from;
            }
        }
        self.window_opened(end);
        let more = !strikes(&mut self.rng, last);
        self.received(op, Outcome::Received { buffer, len: len as u32 }, more);
    }

    /// Drivers choose sizes as they please.
    fn buffer(&mut self, host: usize, len: usize) -> Option<Buffer> {
        let pool = &self.hosts[host].pool;
        let bigger = len > pool.size(Class::Small) && self.rng.chance(1, 4);
        let medium = if bigger { pool.take(Class::Medium) } else { None };
        medium.or_else(|| pool.take(Class::Small))
    }

    pub(super) fn received(&mut self, op: OpRef, outcome: Outcome, more: bool) {
        if !more {
            return self.finish(op, outcome);
        }
        let Some(pending) = self.pending(op) else { return };
        let (key, after) = (pending.key, pending.last_at);
        let at = self.deliver(op.host, Completion { key, outcome, more }, after);
        if let Some(pending) = self.pending(op) {
            pending.last_at = at;
        }
    }
}
