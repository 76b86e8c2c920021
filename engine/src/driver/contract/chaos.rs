//! Everything at once, in random order, with no regard for what fails.
//!
//! The rig's rules are what is tested here, and one more: whatever becomes of a connection, what was received is the
//! beginning of what was sent.

use super::{
    flow::byte_at,
    rig::{Rig, Setup, Ticket},
};
use crate::driver::{CloseHow, Desc, Errno, Op, Outcome, Wait};
use std::{net::SocketAddr, time::Duration};

const STEPS: usize = 3000;
const SOCKETS_MAX: usize = 30;

pub(crate) fn nothing_breaks_the_rules(setup: &Setup) {
    setup.each(|rig| {
        let (listener, address) = rig.listen();
        let mut chaos = Chaos { listener, address, opening: Vec::new(), sockets: Vec::new() };
        for _ in 0..STEPS {
            chaos.collect(rig);
            chaos.do_something(rig);
            let moment = rig.driver.now() + Duration::from_micros(rig.rng.below(500));
            let wait = if rig.rng.chance(1, 2) { Wait::No } else { Wait::Until(moment) };
            rig.turn(wait);
        }
        chaos.collect(rig);
        for socket in std::mem::take(&mut chaos.sockets) {
            socket.end(rig);
        }
    });
}

struct Chaos {
    listener: Desc,
    address: SocketAddr,
    /// Accepts and connects.
    opening: Vec<Ticket>,
    sockets: Vec<Socket>,
}

struct Socket {
    desc: Desc,
    recv: Option<Ticket>,
    send: Option<Ticket>,
    received: u64,
    sent: u64,
    shut: bool,
}

impl Chaos {
    fn collect(&mut self, rig: &mut Rig) {
        let mut opened = Vec::new();
        self.opening.retain(|ticket| match rig.next(*ticket).map(|completion| completion.outcome) {
            Some(Outcome::Accepted { desc, .. } | Outcome::Connected(desc)) => {
                opened.push(desc);
                false
            }
            Some(Outcome::Failed(_)) => false,
            Some(other) => panic!("{other:?} of an accept or a connect"),
            None => true,
        });
        self.sockets.extend(opened.into_iter().map(Socket::new));
        self.sockets.iter_mut().for_each(|socket| socket.collect(rig));
    }

    fn do_something(&mut self, rig: &mut Rig) {
        if self.sockets.len() + self.opening.len() < SOCKETS_MAX && rig.rng.chance(1, 3) {
            let (listener, address) = (self.listener, self.address);
            self.opening.push(rig.start(Op::Accept { listener }));
            self.opening.push(rig.start_connect(address));
        }
        if !self.opening.is_empty() && rig.rng.chance(1, 20) {
            let ticket = self.opening[rig.rng.index(self.opening.len())];
            rig.cancel(ticket);
        }
        for _ in 0..3 {
            if self.sockets.is_empty() {
                return;
            }
            let index = rig.rng.index(self.sockets.len());
            if rig.rng.chance(1, 40) {
                self.sockets.swap_remove(index).end(rig);
            } else {
                self.sockets[index].do_something(rig);
            }
        }
    }
}

impl Socket {
    fn new(desc: Desc) -> Self {
        Self { desc, recv: None, send: None, received: 0, sent: 0, shut: false }
    }

    fn collect(&mut self, rig: &mut Rig) {
        while let Some(recv) = self.recv
            && let Some(completion) = rig.next(recv)
        {
            if !completion.more {
                self.recv = None;
            }
            if let Outcome::Received { buffer, len } = completion.outcome {
                for byte in &buffer[..len as usize] {
                    assert_eq!(*byte, byte_at(self.received), "wrong byte at {}", self.received);
                    self.received += 1;
                }
            }
        }
        if let Some(send) = self.send
            && let Some(completion) = rig.next(send)
        {
            self.send = None;
            match completion.outcome {
                Outcome::Sent { sent, .. } => self.sent += u64::from(sent),
                // Nothing of it was sent, so that the next may begin at the same byte.
                Outcome::SendFailed { errno: Errno::CANCELED, .. } => {}
                Outcome::SendFailed { .. } => self.shut = true,
                other => panic!("{other:?} of a send"),
            }
        }
    }

    fn do_something(&mut self, rig: &mut Rig) {
        match (rig.rng.below(12), self.recv, self.send) {
            (0..3, None, _) => {
                let bulk = rig.rng.chance(1, 3);
                self.recv = Some(rig.start(Op::Recv { desc: self.desc, bulk, once: false }));
            }
            (3..6, _, None) if !self.shut => self.send = Some(self.start_send(rig)),
            (6, Some(recv), _) => rig.cancel(recv),
            (7, _, Some(send)) => rig.cancel(send),
            (8, _, None) if rig.rng.chance(1, 4) => {
                self.shut = true;
                rig.start(Op::Shutdown { desc: self.desc });
            }
            _ => {}
        }
    }

    fn start_send(&self, rig: &mut Rig) -> Ticket {
        let mut buffer = rig.buffer();
        let to = 1 + rig.rng.index(buffer.len());
        for (offset, byte) in buffer[..to].iter_mut().enumerate() {
            *byte = byte_at(self.sent + offset as u64);
        }
        rig.start(Op::Send { desc: self.desc, buffer, from: 0, to: to as u32 })
    }

    fn end(self, rig: &mut Rig) {
        for op in self.recv.into_iter().chain(self.send) {
            rig.cancel(op);
        }
        let how = if rig.rng.chance(1, 3) { CloseHow::Reset } else { CloseHow::Graceful };
        rig.start_close(self.desc, how);
    }
}
