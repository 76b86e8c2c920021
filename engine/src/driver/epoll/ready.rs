//! What the driver does when a socket is ready.

use super::{EpollDriver, Job, Pending, sockets::Kind, sys};
use crate::{
    buf::{Buffer, BufferPool, Class},
    driver::{Completion, Desc, Errno, Outcome},
    slab::Key,
};
use std::os::fd::RawFd;

/// Receives of one socket per turn, so that a fast sender cannot starve the others.
pub(super) const RECEIVES_PER_EVENT: usize = 4;

/// What a try at a receive says about trying again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Received {
    /// The buffer is full: there may be more.
    Filled,
    Drained,
}

impl EpollDriver {
    pub(super) fn handle_event(&mut self, event: sys::Event) {
        let (data, fired) = (event.u64, event.events);
        let Some((desc, wanted)) = self.sockets.of_event(data) else {
            return;
        };
        let broken = fired & sys::BROKEN != 0;
        let unwanted = fired & !wanted & (sys::IN | sys::OUT);
        if unwanted != 0 || wanted == 0 {
            self.sockets.refuse(desc, unwanted);
        }
        if wanted & sys::IN != 0 && (broken || fired & sys::IN != 0) {
            self.handle_readable(desc);
        }
        if wanted & sys::OUT != 0 && (broken || fired & sys::OUT != 0) {
            self.handle_writable(desc);
        }
    }

    fn handle_readable(&mut self, desc: Desc) {
        match self.sockets.get_mut(desc).map(|socket| socket.kind) {
            Some(Kind::Listener) => while self.accept_one(desc) {},
            Some(Kind::Stream) => {
                if self.poll_ended(desc) {
                    return;
                }
                for _ in 0..RECEIVES_PER_EVENT {
                    if self.receive_one(desc) == Received::Drained {
                        break;
                    }
                }
            }
            None => {}
        }
    }

    /// Serves the oldest accept in flight. False when there is none, no connection, or no descriptor to be had: the
    /// error then ends that one accept, and the others come to theirs in later turns, so that the submitter hears of
    /// it before all of them are gone.
    fn accept_one(&mut self, desc: Desc) -> bool {
        let Some(op) = self.sockets.get_mut(desc).and_then(|listener| listener.readers.front().copied()) else {
            return false;
        };
        match sys::accept(desc.0 as RawFd) {
            Ok((fd, from)) => {
                let peer = from.peer();
                let accepted = self.sockets.insert(fd, Kind::Stream);
                if let Some(pending) = self.unpark(op) {
                    self.finish(pending.key, Outcome::Accepted { desc: accepted, peer });
                }
                true
            }
            Err(errno) if sys::is_transient(errno) => false,
            Err(errno) => {
                self.unpark_and_fail(op, errno);
                false
            }
        }
    }

    /// Tells the one who waits for a socket to be readable. Nobody receives from it meanwhile.
    fn poll_ended(&mut self, desc: Desc) -> bool {
        let Some(op) = self.sockets.get_mut(desc).and_then(|socket| socket.readers.front().copied()) else {
            return false;
        };
        if !self.ops.get(op).is_some_and(|pending| matches!(pending.job, Job::Poll(_))) {
            return false;
        }
        if let Some(pending) = self.unpark(op) {
            self.finish(pending.key, Outcome::Done);
        }
        true
    }

    fn receive_one(&mut self, desc: Desc) -> Received {
        let Some(socket) = self.sockets.get_mut(desc) else {
            return Received::Drained;
        };
        let (Some(op), burst) = (socket.readers.front().copied(), socket.burst) else {
            return Received::Drained;
        };
        let Some(mut buffer) = take_for_receive(&self.pool, burst) else {
            self.unpark_and_fail(op, Errno::NO_BUFFERS);
            return Received::Drained;
        };
        match sys::recv(desc.0 as RawFd, &mut buffer) {
            Ok(0) => {
                if let Some(pending) = self.unpark(op) {
                    self.finish(pending.key, Outcome::Eof);
                }
                Received::Drained
            }
            Ok(len) => self.received(desc, op, buffer, len),
            Err(errno) if sys::is_transient(errno) => Received::Drained,
            Err(errno) => {
                self.unpark_and_fail(op, errno);
                Received::Drained
            }
        }
    }

    fn received(&mut self, desc: Desc, op: Key, buffer: Buffer, len: usize) -> Received {
        let filled = len == buffer.capacity();
        if let Some(socket) = self.sockets.get_mut(desc) {
            socket.burst = filled;
        }
        if let Some(pending) = self.ops.get(op) {
            let len = len as u32;
            self.ready.push(Completion { key: pending.key, outcome: Outcome::Received { buffer, len }, more: true });
        }
        if filled { Received::Filled } else { Received::Drained }
    }

    fn handle_writable(&mut self, desc: Desc) {
        while let Some(op) = self.sockets.get_mut(desc).and_then(|socket| socket.writers.front().copied()) {
            let Some(pending) = self.ops.get_mut(op) else {
                return;
            };
            match &mut pending.job {
                Job::Batch(batch) => {
                    let sent = sys::send_batch(desc.0 as RawFd, batch);
                    if !self.send_ended(op, sent) {
                        return;
                    }
                }
                Job::Send { buffer, from, to } => {
                    let bytes = &buffer[*from as usize..*to as usize];
                    let sent = sys::send(desc.0 as RawFd, bytes);
                    if !self.send_ended(op, sent) {
                        return;
                    }
                }
                Job::Connect => return self.connect_ended(desc, op),
                Job::Poll(_) => {
                    if let Some(pending) = self.unpark(op) {
                        self.finish(pending.key, Outcome::Done);
                    }
                }
                Job::Accept | Job::Recv => unreachable!("readers do not queue among writers"),
            }
        }
    }

    /// False when the socket still takes nothing.
    fn send_ended(&mut self, op: Key, sent: sys::Result<usize>) -> bool {
        if sent.is_err_and(sys::is_transient) {
            return false;
        }
        let Some(pending) = self.unpark(op) else {
            return false;
        };
        match (sent, pending) {
            (Ok(sent), Pending { key, job: Job::Send { buffer, .. }, .. }) => {
                let sent = sent as u32;
                self.finish(key, Outcome::Sent { buffer, sent });
            }
            (Ok(sent), Pending { key, job: Job::Batch(batch), .. }) => {
                let result = Ok(sent as u32);
                self.finish(key, Outcome::BatchSent { batch: Some(batch), result });
            }
            (Ok(_), _) => unreachable!("only sends are sent"),
            (Err(errno), pending) => self.fail_pending(pending, errno),
        }
        true
    }

    fn connect_ended(&mut self, desc: Desc, op: Key) {
        let ended = sys::take_socket_error(desc.0 as RawFd)
            // A receive comes next, nearly always: one system call now, instead of one to be rid of an interest in
            // writing and another to gain one in reading.
            .and_then(|()| self.sockets.watch_only(desc, sys::IN));
        let Some(pending) = self.unpark(op) else {
            return;
        };
        match ended {
            Ok(()) => self.finish(pending.key, Outcome::Connected(desc)),
            Err(errno) => {
                self.sockets.remove(desc);
                self.fail(pending.key, errno);
            }
        }
    }
}

/// Small, so that few bytes do not occupy much; bigger for a socket that fills what it is given.
fn take_for_receive(pool: &BufferPool, burst: bool) -> Option<Buffer> {
    let medium = if burst && !pool.is_scarce() { pool.take(Class::Medium) } else { None };
    medium.or_else(|| pool.take(Class::Small))
}
