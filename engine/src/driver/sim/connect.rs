//! How connections come about.

use super::{
    faults::strikes,
    net::{Job, Net, OpRef, Opened, Place, What, latency},
    script::Script,
    socket::{Conn, End, Listener, Side, peer_of},
};
use crate::{
    driver::{Desc, Errno, OpKey, Outcome, Target, Token},
    slab::Key,
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

/// As Linux does by default: the first try and six more, each after twice the time; then ETIMEDOUT, after 127 s.
const SYN_RETRIES: u32 = 6;

impl Net {
    pub(super) fn submit_accept(&mut self, host: usize, key: OpKey, listener: Desc) -> Token {
        let Some(Opened::Listener(listener)) = self.hosts[host].open.get(&listener.0).copied() else {
            panic!("{listener:?} is no open listener");
        };
        let op = self.park(host, key, Place::Listener(listener), Job::Accept);
        if let Some(listener) = self.listeners.get_mut(listener) {
            listener.accepts.push_back(op);
        }
        self.soon(What::Serve(listener));
        Token(op.op.to_u64())
    }

    pub(super) fn submit_connect(&mut self, host: usize, key: OpKey, to: Target) -> Token {
        let op = self.park(host, key, Place::Nowhere, Job::Connect(to));
        let faults = &self.hosts[host].faults;
        if strikes(&mut self.rng, faults.connect_exhausted) {
            let errno = [libc::EMFILE, libc::ENOMEM][self.rng.index(2)];
            self.fail(op, Errno(errno));
        } else if !strikes(&mut self.rng, faults.connect_silent) {
            let mut at = self.time.now() + latency(&mut self.rng);
            if strikes(&mut self.rng, faults.connect_late) {
                at = at + self.rng.duration_up_to(faults.late_max);
            }
            self.schedule(at, What::Syn { op, attempt: 0 });
        }
        Token(op.op.to_u64())
    }

    /// A connection request arrives, if it was not cancelled on its way.
    pub(super) fn syn(&mut self, op: OpRef, attempt: u32) {
        let Some(pending) = self.pending(op) else { return };
        if pending.lost {
            return;
        }
        if attempt > SYN_RETRIES {
            return self.fail(op, Errno::TIMED_OUT);
        }
        let (to, from) = match &pending.job {
            Job::Connect(Target::Ip { to, from }) => (*to, *from),
            Job::Connect(Target::Unix(_)) => return self.fail(op, Errno(libc::ENOENT)),
            _ => unreachable!("only connects send a SYN"),
        };
        if self.silent.contains(&to) {
            return self.knock_again(op, attempt);
        }
        let refused = self.hosts[op.host].faults.connect_refused;
        let listener = self.listener_of(to);
        let Some(listener) = listener.filter(|_| !strikes(&mut self.rng, refused)) else {
            return self.fail(op, Errno::CONN_REFUSED);
        };
        if self.has_room(listener) {
            return self.establish(op, listener, from);
        }
        self.knock_again(op, attempt);
    }

    fn knock_again(&mut self, op: OpRef, attempt: u32) {
        let at = self.time.now() + Duration::from_secs(1 << attempt);
        self.schedule(at, What::Syn { op, attempt: attempt + 1 });
    }

    /// One of those at this address, at random: listeners share it as with SO_REUSEPORT.
    fn listener_of(&mut self, address: SocketAddr) -> Option<Key> {
        let there = self.listeners.iter().filter(|(_, listener)| listener.serves(address));
        let keys: Vec<Key> = there.map(|(key, _)| key).collect();
        if keys.is_empty() { None } else { Some(keys[self.rng.index(keys.len())]) }
    }

    fn has_room(&self, listener: Key) -> bool {
        self.listeners.get(listener).is_some_and(|listener| listener.backlog.len() < listener.backlog_max)
    }

    /// The connecting side learns of it at once, the accepting one when it accepts.
    fn establish(&mut self, op: OpRef, listener: Key, from: Option<IpAddr>) {
        let Some(at) = self.listeners.get(listener) else { return };
        let (to, script) = (at.address, at.script.clone());
        let local = self.local_address(from, to);
        let mut sides = [Side::new(local, &mut self.rng), Side::new(to, &mut self.rng)];
        let scripted = script.is_some();
        if scripted {
            sides[1] = Side::machine(&mut self.rng);
            sides[0].script = script;
        }
        let faults = &self.hosts[op.host].faults;
        let reset = strikes(&mut self.rng, faults.reset);
        let reset_in = reset.then(|| 1 + self.rng.below(u64::from(faults.reset_segments_max)) as u32);
        let discards = strikes(&mut self.rng, faults.reset_discards);
        let conn = self.conns.insert(Conn { sides, reset_in, discards });
        if !scripted {
            self.queue_up(listener, End { conn, side: 1 });
        }
        let desc = self.new_desc(op.host, Opened::Stream(End { conn, side: 0 }));
        self.finish(op, Outcome::Connected(desc));
    }

    fn queue_up(&mut self, listener: Key, end: End) {
        if let Some(listener) = self.listeners.get_mut(listener) {
            listener.backlog.push_back(end);
        }
        self.soon(What::Serve(listener));
    }

    fn local_address(&mut self, from: Option<IpAddr>, to: SocketAddr) -> SocketAddr {
        let loopback = match to {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        self.last_port = self.last_port.checked_add(1).unwrap_or(32_768);
        SocketAddr::new(from.unwrap_or(loopback), self.last_port)
    }

    pub(super) fn listen(&mut self, host: usize, address: SocketAddr, backlog_max: usize) -> Desc {
        let listener = self.listeners.insert(Listener::new(address, backlog_max));
        self.new_desc(host, Opened::Listener(listener))
    }

    /// Joins the oldest connection and the oldest accept that is not lost.
    pub(super) fn serve(&mut self, key: Key) {
        let Self { listeners, hosts, .. } = self;
        let Some(listener) = listeners.get_mut(key) else { return };
        let is_lost = |op: &OpRef| hosts[op.host].ops.get(op.op).is_none_or(|pending| pending.lost);
        let Some(op) = listener.accepts.iter().find(|op| !is_lost(op)).copied() else {
            return;
        };
        let Some(end) = listener.backlog.front().copied() else {
            return;
        };
        if strikes(&mut self.rng, self.hosts[op.host].faults.accept_exhausted) {
            let errno = [libc::EMFILE, libc::ENFILE, libc::ENOMEM][self.rng.index(3)];
            self.fail(op, Errno(errno));
        } else {
            listener.backlog.pop_front();
            self.hand_over(op, end);
        }
        self.soon(What::Serve(key));
    }

    fn hand_over(&mut self, op: OpRef, end: End) {
        let Some(client) = self.side(end.other()) else { return };
        let peer = peer_of(client.address);
        let desc = self.new_desc(op.host, Opened::Stream(end));
        self.finish(op, Outcome::Accepted { desc, peer });
    }

    pub(super) fn close_listener(&mut self, listener: Key) {
        if let Some(listener) = self.listeners.remove(listener) {
            for end in listener.backlog {
                self.close_stream(end, true);
            }
        }
    }
}

/// Peers that follow a script.
impl Net {
    fn scripted(&mut self, side: usize, script: Script) -> End {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
        let mut sides = [Side::machine(&mut self.rng), Side::machine(&mut self.rng)];
        sides[side] = Side::new(address, &mut self.rng);
        sides[side].script = Some(script);
        let conn = self.conns.insert(Conn { sides, reset_in: None, discards: false });
        End { conn, side }
    }

    pub(super) fn open_scripted(&mut self, host: usize, script: Script) -> Desc {
        let end = self.scripted(0, script);
        self.new_desc(host, Opened::Stream(end))
    }

    /// False when nobody listens there.
    pub(super) fn connect_scripted(&mut self, to: SocketAddr, script: Script) -> Option<Key> {
        let listener = self.listener_of(to)?;
        let end = self.scripted(1, script);
        self.queue_up(listener, end);
        Some(end.conn)
    }

    pub(super) fn listen_scripted(&mut self, address: SocketAddr, script: Script) {
        let listener = Listener { script: Some(script), ..Listener::new(address, usize::MAX) };
        self.listeners.insert(listener);
    }

    /// What was sent to a scripted peer, as far as it has arrived.
    pub(super) fn heard(&self, conn: Key) -> Vec<u8> {
        let Some(conn) = self.conns.get(conn) else { return Vec::new() };
        let machine = conn.sides.iter().find(|side| side.script.is_none());
        machine.map(|side| side.inbox.iter().copied().collect()).unwrap_or_default()
    }
}
