//! Splice: bytes go at once from a simulated socket into a real pipe, and from there into another.

use super::{
    faults::strikes,
    net::{Job, Net, OpRef, Pending, Place, What},
    socket::{End, Put, Readable},
};
use crate::{
    driver::{Completion, Desc, Errno, Interest, OpKey, Outcome, Token},
    pipe::Pipe,
};
use std::os::fd::RawFd;

impl Net {
    /// # Panics
    /// When the socket is read in another way at the same time: which of the two gets a byte would be chance.
    pub(super) fn splice_in(&mut self, host: usize, from: Desc, pipe: &Pipe, max: usize) -> Result<usize, Errno> {
        let end = self.installed(host, from)?;
        let short = self.hosts[host].faults.short_recv;
        let told_until = self.hosts[host].told_until;
        let Self { conns, rng, .. } = self;
        let Some(side) = conns.get_mut(end.conn).map(|conn| &mut conn.sides[end.side]) else {
            return Err(Errno(libc::EBADF));
        };
        assert!(side.readers.is_empty(), "{from:?} is spliced while a receive is in flight");
        let mut len = match side.read_next() {
            Readable::Nothing => return Err(Errno::AGAIN),
            // Whoever took the error is told first (see the driver's contract), and has not been yet.
            Readable::Eof if side.has_failed() && side.failed_at > told_until => return Err(Errno::CONN_RESET),
            Readable::Eof => return Ok(0),
            Readable::Failed(errno) => return Err(errno),
            Readable::Bytes(len) => len.min(max),
        };
        if len > 1 && strikes(rng, short) {
            len = 1 + rng.index(len);
        }
        let len = write(pipe.write_fd(), &side.inbox.make_contiguous()[..len])?;
        side.inbox.drain(..len);
        self.window_opened(end);
        Ok(len)
    }

    /// # Panics
    /// When a send is in flight: the order of their bytes would be chance.
    pub(super) fn splice_out(&mut self, host: usize, pipe: &Pipe, to: Desc, max: usize) -> Result<usize, Errno> {
        let end = self.installed(host, to)?;
        let now = self.time.now();
        let (short, swallows) = (self.hosts[host].faults.short_send, self.hosts[host].faults.splice_swallows);
        let Self { conns, rng, .. } = self;
        let Some(side) = conns.get_mut(end.conn).map(|conn| &mut conn.sides[end.side]) else {
            return Err(Errno(libc::EBADF));
        };
        assert!(side.writers.is_empty(), "{to:?} is spliced to while a send is in flight");
        if let Put::Failed(errno) = side.put(&[], now, rng, 0.0) {
            if errno == Errno::CONN_RESET && max > 1 && strikes(rng, swallows) {
                // The reset came in the middle of the call, and these bytes go with it.
                return read(pipe.read_fd(), &mut vec![0; 1 + rng.index(max - 1)]);
            }
            return Err(errno);
        }
        let mut len = side.room().min(max);
        if len == 0 {
            return Err(Errno::AGAIN);
        }
        if len > 1 && strikes(rng, short) {
            len = 1 + rng.index(len);
        }
        let mut bytes = vec![0; len];
        let len = read(pipe.read_fd(), &mut bytes)?;
        let put = side.put(&bytes[..len], now, rng, 0.0);
        debug_assert_eq!(put, Put::Taken(len), "there was room");
        self.send_off(end);
        Ok(len)
    }

    pub(super) fn submit_splice(&mut self, host: usize, key: OpKey, desc: Desc, job: Job) -> Token {
        let end = self.stream(host, desc);
        let op = self.park(host, key, Place::Stream(end), job);
        self.soon(What::Splice(op));
        Token(op.op.to_u64())
    }

    /// It may have been cancelled meanwhile.
    pub(super) fn splice_by_worker(&mut self, op: OpRef) {
        if self.pending(op).is_none_or(|pending| pending.lost) {
            return;
        }
        if strikes(&mut self.rng, self.hosts[op.host].faults.splice_canceled) {
            return self.fail(op, Errno::CANCELED);
        }
        let Some(Pending { key, job, last_at, place, .. }) = self.retire(op) else { return };
        let (pipe, result) = match job {
            Job::SpliceIn { desc, pipe, max } => {
                let result = self.splice_in(op.host, desc, &pipe, max);
                (pipe, result)
            }
            Job::SpliceOut { desc, pipe, max } => {
                let result = self.splice_out(op.host, &pipe, desc, max);
                (pipe, result)
            }
            _ => return,
        };
        let outcome = Outcome::Spliced { pipe, result: result.map(|bytes| bytes as u32) };
        let at = self.deliver(op.host, Completion { key, outcome, more: false }, last_at);
        if result.is_err_and(|errno| errno != Errno::AGAIN) {
            self.note_failure(place, at);
        }
    }

    /// Ends the waits for a readiness that is there.
    pub(super) fn tell_pollers(&mut self, end: End) {
        let Some(side) = self.side(end) else { return };
        if side.pollers.is_empty() {
            return;
        }
        let (readable, writable) = (side.is_readable(), side.is_writable());
        let pollers: Vec<OpRef> = side.pollers.iter().copied().collect();
        for op in pollers {
            let spurious = strikes(&mut self.rng, self.hosts[op.host].faults.spurious_poll);
            let Some(pending) = self.pending(op).filter(|pending| !pending.lost) else { continue };
            let ready = match pending.job {
                Job::Poll(Interest::Read) => readable,
                Job::Poll(Interest::Write) => writable,
                _ => false,
            };
            if ready || spurious {
                self.finish(op, Outcome::Done);
            }
        }
    }
}

fn write(fd: RawFd, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the slice is readable during the call, which does not block: pipes are opened O_NONBLOCK.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(written).map_err(|_| std::io::Error::last_os_error().into())
}

fn read(fd: RawFd, bytes: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the slice is writable during the call, which does not block.
    let got = unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) };
    usize::try_from(got).map_err(|_| std::io::Error::last_os_error().into())
}
