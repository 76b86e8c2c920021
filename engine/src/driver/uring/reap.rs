//! Reaping: from completion queues to completions.

use super::{held::SendHow, *};

impl UringDriver {
    pub(super) fn reap(&mut self, lane: usize) -> usize {
        let mut scratch = mem::take(&mut self.scratch);
        let queue = self.lanes[lane].ring.completion();
        self.cq_overflows = self.cq_overflows.max(u64::from(queue.overflow()));
        scratch.extend(queue);
        let count = scratch.len();
        for entry in scratch.drain(..) {
            self.handle(lane, &entry);
        }
        self.scratch = scratch;
        count
    }

    pub(super) fn handle(&mut self, lane: usize, entry: &cqueue::Entry) {
        let (kind, number) = decode(entry.user_data());
        match kind {
            Some(Kind::Recv) => self.received(lane, OpKey(number), entry),
            Some(Kind::BulkRecv) => self.received_bulk(lane, OpKey(number), entry),
            Some(Kind::Held) => self.held_done(lane, number, entry),
            Some(Kind::Wake) => {
                self.woken = true;
                if !cqueue::more(entry.flags()) {
                    self.arm_wake();
                }
            }
            Some(Kind::LaneWork) => {
                let number = OpKey(number).index() as usize;
                let signal = self.lanes.get(number).and_then(Lane::signal);
                if let Some(signal) = signal.filter(|_| !cqueue::more(entry.flags())) {
                    self.watch_lane(number, signal);
                }
            }
            Some(Kind::Silent) => {}
            None => debug_assert!(false, "a completion with user data that we never gave: {entry:?}"),
        }
    }

    pub(super) fn received(&mut self, lane: usize, key: OpKey, entry: &cqueue::Entry) {
        let (result, flags) = (entry.result(), entry.flags());
        let more = cqueue::more(flags);
        let bufs = &mut self.lanes[lane].bufs;
        let buffer = cqueue::buffer_select(flags).and_then(|id| bufs.take(id));
        if result == -libc::ENOBUFS {
            bufs.ran_dry();
        }
        let outcome = match (result, buffer) {
            (0, _) => Outcome::Eof,
            (len, Some(buffer)) if len > 0 => Outcome::Received { buffer, len: len.unsigned_abs() },
            (len, None) if len > 0 => Outcome::Failed(Errno(libc::EIO)),
            (errno, _) => Outcome::Failed(Errno(-errno)),
        };
        if !more {
            self.receives -= 1;
        }
        self.ready.push(Completion { key, outcome, more });
    }

    /// A completion of a bundle names its first buffer; the next are those that follow it in the ring.
    pub(super) fn received_bulk(&mut self, lane: usize, key: OpKey, entry: &cqueue::Entry) {
        let (result, flags) = (entry.result(), entry.flags());
        let more = cqueue::more(flags);
        let Some(bufs) = &mut self.lanes[lane].bulk else { return };
        if result == -libc::ENOBUFS {
            bufs.ran_dry();
        }
        if !more {
            self.receives -= 1;
        }
        let mut left = result;
        let mut next = cqueue::buffer_select(flags);
        while left > 0
            && let Some(id) = next
        {
            next = bufs.following(id);
            let Some(buffer) = bufs.take(id) else { break };
            let len = left.unsigned_abs().min(buffer.len() as u32);
            left -= len.cast_signed();
            let outcome = Outcome::Received { buffer, len };
            self.ready.push(Completion { key, outcome, more: more || left > 0 });
        }
        if result > 0 {
            debug_assert_eq!(left, 0, "a bundle of more bytes than its buffers hold");
            return;
        }
        // An end may name a buffer too; it is lent again.
        drop(next.and_then(|id| bufs.take(id)));
        let outcome = if result == 0 { Outcome::Eof } else { Outcome::Failed(Errno(-result)) };
        self.ready.push(Completion { key, outcome, more });
    }

    pub(super) fn held_done(&mut self, lane: usize, number: u64, entry: &cqueue::Entry) {
        let result = entry.result();
        let known = Key::from_u64(number).filter(|key| self.held.get_mut(*key).is_some());
        let Some(held_key) = known else {
            debug_assert!(false, "a completion of an operation that has ended");
            return;
        };
        if self.has_waited(lane, held_key, entry) {
            return;
        }
        let Some(held) = self.held.get_mut(held_key) else { return };
        if let What::Shutdown { desc } = held.what
            && result < 0
            && result != -libc::ECANCELED
        {
            held.what = What::ShutdownByRing;
            let data = user_data(lane, Kind::Held, held_key.index(), held_key.generation());
            let entry = on!(desc, |fd| opcode::Shutdown::new(fd, libc::SHUT_WR).build());
            self.push(lane, &entry.user_data(data));
            return;
        }
        if let What::Unacked { desc } = held.what
            && result < 0
            && result != -libc::ECANCELED
            && let Target::Direct { slot, .. } = desc.target()
        {
            held.what = What::UnackedByInstall;
            let data = user_data(lane, Kind::Held, held_key.index(), held_key.generation());
            self.push(lane, &opcode::FixedFdInstall::new(types::Fixed(slot), 0).build().user_data(data));
            return;
        }
        if let What::Batch { .. } = held.what
            && cqueue::more(entry.flags())
        {
            // A zero-copy send: the kernel looks at the bytes until its notification.
            let (key, result) = (held.key, sent(result));
            self.ready.push(Completion { key, outcome: Outcome::BatchSent { batch: None, result }, more: true });
            return;
        }
        let Some(Held { key, what }) = self.held.remove(held_key) else { return };
        if let What::Batch { batch, how, .. } = what {
            let outcome = if cqueue::notif(entry.flags()) {
                let registered = how == SendHow::ZeroCopyRegistered;
                Outcome::Released { batch, copied: result & ZC_COPIED != 0, registered }
            } else {
                Outcome::BatchSent { batch: Some(batch), result: sent(result) }
            };
            return self.finish(key, outcome);
        }
        let errno = (result < 0).then(|| Errno(-result));
        if let Some(outcome) = self.outcome(what, lane, result, errno)
            && key != OpKey::INTERNAL
        {
            self.finish(key, outcome);
        }
    }

    pub(super) fn outcome(&mut self, what: What, lane: usize, result: i32, errno: Option<Errno>) -> Option<Outcome> {
        Some(match (what, errno) {
            (What::Accept { slot, addr }, None) => {
                let peer = addr.peer();
                self.held.give_addr(addr);
                let desc = match slot {
                    Some(slot) => Desc::direct(lane, slot),
                    None => self.count_real(Desc::real(result)),
                };
                Outcome::Accepted { desc, peer }
            }
            (What::Accept { slot, addr }, Some(errno)) => {
                self.held.give_addr(addr);
                if let Some(slot) = slot {
                    self.lanes[lane].give_slot(slot);
                }
                Outcome::Failed(errno)
            }
            (What::Connect { desc, addr }, None) => {
                self.held.give_addr(addr);
                Outcome::Connected(desc)
            }
            (What::Connect { desc, addr }, Some(errno)) => {
                self.held.give_addr(addr);
                self.close(OpKey::INTERNAL, desc, CloseHow::Graceful);
                Outcome::Failed(errno)
            }
            (What::Send { buffer, .. }, None) => Outcome::Sent { buffer, sent: result.unsigned_abs() },
            (What::Send { buffer, .. }, Some(errno)) => Outcome::SendFailed { buffer, errno },
            (What::Shutdown { .. }, None) => {
                // SAFETY: FIXED_FD_INSTALL has just given us this descriptor; nobody else knows it.
                let fd = unsafe { OwnedFd::from_raw_fd(result) };
                done_or_failed(addr::shutdown_write(fd.as_raw_fd()))
            }
            (What::Splice { pipe }, _) => Outcome::Spliced { pipe, result: sent(result) },
            (What::Batch { batch, .. }, _) => Outcome::BatchSent { batch: Some(batch), result: sent(result) },
            (What::ShutdownByRing | What::Poll { .. }, None) => Outcome::Done,
            (What::Unacked { .. }, None) => Outcome::Unacked(result.unsigned_abs()),
            (What::UnackedByInstall, None) => {
                // SAFETY: FIXED_FD_INSTALL has just given us this descriptor; nobody else knows it.
                let fd = unsafe { OwnedFd::from_raw_fd(result) };
                unacked_or_failed(addr::unacked(fd.as_raw_fd()))
            }
            (What::Install { desc }, None) => {
                // SAFETY: FIXED_FD_INSTALL has just given us this descriptor; nobody else knows it.
                let fd = unsafe { OwnedFd::from_raw_fd(result) };
                self.keep_installed(desc, fd);
                Outcome::Done
            }
            (
                What::Shutdown { .. }
                | What::ShutdownByRing
                | What::Poll { .. }
                | What::Unacked { .. }
                | What::UnackedByInstall
                | What::Install { .. },
                Some(errno),
            ) => Outcome::Failed(errno),
            (What::Close { desc }, _) => {
                self.closed(desc);
                Outcome::Done
            }
            (What::Watch { .. }, _) => return None,
        })
    }

    pub(super) fn keep_installed(&mut self, desc: Desc, fd: OwnedFd) {
        if let Target::Direct { lane, slot } = desc.target() {
            self.lanes[lane].installed.insert(slot, fd);
        }
    }

    pub(super) fn count_real(&mut self, desc: Desc) -> Desc {
        self.real_open += 1;
        desc
    }

    pub(super) fn closed(&mut self, desc: Desc) {
        match desc.target() {
            Target::Real(_) => self.real_open = self.real_open.saturating_sub(1),
            Target::Direct { lane, slot } => self.lanes[lane].give_slot(slot),
        }
    }

    pub(super) fn arm_wake(&mut self) {
        let Some(fd) = self.wake else { return };
        let entry = opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32).multi(true).build().user_data(user_data(
            0,
            Kind::Wake,
            0,
            0,
        ));
        self.push(0, &entry);
    }

    pub(super) fn limit(&self, wait: Wait) -> Option<Limit> {
        let Wait::Until(deadline) = wait else { return None };
        let deadline = Duration::from_nanos(deadline.as_nanos());
        Some(if self.config.features.has(Feature::MinWait) {
            Limit::At(self.epoch + deadline)
        } else {
            Limit::For(deadline.saturating_sub(Duration::from_nanos(self.clock.now().as_nanos())))
        })
    }
}
