//! Waiting until a socket takes bytes.
//!
//! The kernel could do it: a send that finds no room is polled for and tried again. But its polls always report that
//! the peer has closed its half (POLLRDHUP), asked or not. So a send to such a peer, which reads slowly what it was
//! promised, is tried over and over, and after 128 times handed to a worker thread: that blocks until there is room, a
//! thread for each such peer; or it fails with EAGAIN, where the operation heeds O_NONBLOCK. (io_uring/poll.c,
//! `IO_POLL_UNMASK` and `APOLL_MAX_RETRY`, Linux 6.18.)
//!
//! ```text
//!   send ── EAGAIN ──► poll ── POLLOUT ───────────────────────────────► send again
//!                        └─ POLLRDHUP only ──► watch ── POLLOUT ──► cancel it, send again
//! ```
//!
//! A watch is a poll that goes on after a completion, and completes again only when something happens: a socket without
//! room tells once that its peer has closed, and then that there is room.

use super::{held::SendHow, *};

/// Room, or an end that the next send will tell of.
const ROOM: i32 = (libc::POLLOUT | libc::POLLERR | libc::POLLHUP) as i32;

impl UringDriver {
    /// Looks whether this completion is about waiting and not about the operation itself; if so it is done with.
    pub(super) fn has_waited(&mut self, lane: usize, held_key: Key, entry: &cqueue::Entry) -> bool {
        let (result, more) = (entry.result(), cqueue::more(entry.flags()));
        let Some(held) = self.held.get_mut(held_key) else { return false };
        if let What::Watch { of } = &mut held.what {
            let over = result < 0 || result & ROOM != 0 || !more;
            let told = if over { of.take() } else { None };
            if !more {
                self.held.remove(held_key);
            } else if over {
                self.push_silent(lane, opcode::AsyncCancel::new(entry.user_data()).build());
            }
            match told {
                Some(of) if result == -libc::ECANCELED => self.give_up(lane, of),
                Some(of) => self.writable(lane, of),
                None => {}
            }
            return true;
        }
        if held.what.sink().is_none() || more || cqueue::notif(entry.flags()) {
            return false;
        }
        let is_poll = matches!(held.what, What::Poll { .. });
        let Some(waits) = held.what.waits() else { return false };
        match (*waits, result) {
            (Waits::Not, _) if is_poll && result >= 0 && result & ROOM == 0 => self.watch(lane, held_key),
            (Waits::Not, _) if is_poll || result != -libc::EAGAIN => return false,
            (Waits::Not, _) => {
                *waits = Waits::Polled;
                self.poll_again(lane, held_key, entry.user_data());
            }
            (Waits::Polled, ..0) => return false,
            (Waits::Polled, _) if result & ROOM == 0 => self.watch(lane, held_key),
            (Waits::Polled | Waits::Watched(_), _) => self.writable(lane, held_key),
        }
        true
    }

    fn poll_again(&mut self, lane: usize, held_key: Key, data: u64) {
        let Some(desc) = self.held.get_mut(held_key).and_then(|held| held.what.sink()) else { return };
        let entry = on!(desc, |fd| opcode::PollAdd::new(fd, libc::POLLOUT as u32).build());
        self.push(lane, &entry.user_data(data));
    }

    fn watch(&mut self, lane: usize, of: Key) {
        let Some(desc) = self.held.get_mut(of).and_then(|held| held.what.sink()) else { return };
        let data = self.hold(lane, OpKey::INTERNAL, What::Watch { of: Some(of) });
        if let Some(waits) = self.held.get_mut(of).and_then(|held| held.what.waits()) {
            *waits = Waits::Watched(data);
        }
        let entry = on!(desc, |fd| opcode::PollAdd::new(fd, libc::POLLOUT as u32).multi(true).build());
        self.push(lane, &entry.user_data(data));
    }

    /// The socket takes bytes: the operation is submitted again; a poll is over.
    fn writable(&mut self, lane: usize, held_key: Key) {
        let data = user_data(lane, Kind::Held, held_key.index(), held_key.generation());
        let Some(held) = self.held.get_mut(held_key) else { return };
        if let Some(waits) = held.what.waits() {
            *waits = Waits::Not;
        }
        let entry = match &mut held.what {
            What::Send { buffer, desc, from, to, .. } => submit::send_entry(*desc, buffer, *from, *to),
            What::Batch { batch, desc, how, .. } => {
                // What was registered then need not be now.
                let region = self.registered.of(&self.lanes[lane]);
                let (zero_copy, features) = (*how != SendHow::Copied, self.config.features);
                let (entry, now) = registered::batch_entry(*desc, batch, zero_copy, region, features);
                *how = now;
                self.registered.note(now);
                entry
            }
            _ => {
                if let Some(Held { key, .. }) = self.held.remove(held_key) {
                    self.finish(key, Outcome::Done);
                }
                return;
            }
        };
        self.push(lane, &entry.user_data(data));
    }

    fn give_up(&mut self, lane: usize, held_key: Key) {
        let Some(Held { key, what }) = self.held.remove(held_key) else { return };
        if let Some(outcome) = self.outcome(what, lane, -libc::ECANCELED, Some(Errno::CANCELED)) {
            self.finish(key, outcome);
        }
    }

    /// Cancels an operation of which the kernel knows only the watch. Says whether it was one.
    pub(super) fn cancel_waiting(&mut self, lane: usize, token: Token) -> bool {
        let (Some(Kind::Held), number) = decode(token.0) else { return false };
        let Some(held_key) = Key::from_u64(number) else { return false };
        let Some(Waits::Watched(watch)) = self.held.get_mut(held_key).and_then(|held| held.what.waits().copied())
        else {
            return false;
        };
        let watch_key = Key::from_u64(decode(watch).1);
        if let Some(What::Watch { of }) = watch_key.and_then(|key| self.held.get_mut(key)).map(|held| &mut held.what) {
            *of = None;
        }
        self.push_silent(lane, opcode::AsyncCancel::new(watch).build());
        self.give_up(lane, held_key);
        true
    }
}
