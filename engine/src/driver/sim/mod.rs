//! The driver over nothing: virtual time, sockets in memory, faults by seed.
//!
//! Everybody lives in one [`SimNet`]: clients, the proxy, backends. They may share one [`SimDriver`], or each have
//! their own on the same network, as several shards do; all of it on one thread. The same seed gives the same run, down
//! to the nanosecond; [`SimNet::digest`] tells two runs apart.
//!
//! TCP is modelled as far as a program can see it, and never kinder than Linux: buffers are bounded and of random size,
//! segments cut anywhere, a FIN comes after the data, a reset may overtake it, closing with unread data resets, a full
//! backlog keeps a connect waiting for seconds. What else may go wrong is in [`Faults`].
//!
//! Time advances by a little with every turn, and leaps when every driver of the network waits. Misuse that a kernel
//! would answer with EBADF, or worse, with somebody else's socket, panics here: a descriptor used after its close, or
//! closed under an operation that was not cancelled.

mod connect;
mod faults;
mod journal;
mod net;
mod ops;
#[cfg(test)]
mod recording;
mod script;
mod socket;
mod splice;
#[cfg(test)]
mod tests;
pub mod trace;

use super::{Completion, Desc, Driver, DriverCounters, DriverInfo, Errno, Op, OpKey, Peer, Token, Turn, Wait};
use crate::{
    buf::BufferPool,
    clock::{Clock, Timestamp},
    pipe::Pipe,
    slab::Key,
};
pub use faults::Faults;
use net::Net;
pub use net::OnStuck;
pub use script::Script;
use std::{
    cell::RefCell,
    io,
    net::{SocketAddr, TcpListener},
    os::fd::{OwnedFd, RawFd},
    rc::Rc,
};

/// Connections that may wait for an adopted listener to accept them.
const BACKLOG: usize = 128;

/// A handle to a simulated network.
#[derive(Clone)]
pub struct SimNet(Rc<RefCell<Net>>);

/// Names a driver of a network, also when a shard owns it already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostId(usize);

/// A peer that follows a [`Script`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptedPeer(Key);

impl SimNet {
    pub fn new(seed: u64) -> Self {
        Self(Rc::new(RefCell::new(Net::new(seed))))
    }

    /// One more host. Every driver of a network must go on turning, or be dropped: time waits for all of them.
    pub fn driver(&self, pool: BufferPool, faults: Faults) -> SimDriver {
        let host = self.0.borrow_mut().add_host(pool, faults);
        SimDriver { net: self.clone(), host }
    }

    /// Other weather from now on: what is under way is not touched.
    pub fn set_faults(&self, host: HostId, faults: Faults) {
        self.0.borrow_mut().hosts[host.0].faults = faults;
    }

    /// While a host is stopped nobody waits for it, and it must not turn. What reaches it meanwhile waits there.
    pub fn set_stopped(&self, host: HostId, stopped: bool) {
        self.0.borrow_mut().hosts[host.0].stopped = stopped;
    }

    /// From now on (or no longer) whoever connects to this address gets no answer at all.
    pub fn set_silent(&self, address: SocketAddr, silent: bool) {
        let mut net = self.0.borrow_mut();
        net.silent.retain(|other| *other != address);
        if silent {
            net.silent.push(address);
        }
    }

    /// A clock that shows this network's time.
    pub fn clock(&self) -> Clock {
        self.0.borrow().time.clock()
    }

    pub fn on_stuck(&self, on_stuck: OnStuck) {
        self.0.borrow_mut().on_stuck = on_stuck;
    }

    /// True when the last turn found that everybody waits for ever and nothing will happen.
    pub fn is_stuck(&self) -> bool {
        self.0.borrow().stuck
    }

    /// A number made of everything that has happened so far.
    pub fn digest(&self) -> u64 {
        self.0.borrow().journal.digest
    }

    /// From now on keep a line about every completion.
    pub fn record(&self) {
        self.0.borrow_mut().journal.lines = Some(Vec::new());
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.borrow().journal.lines.clone().unwrap_or_default()
    }

    /// A peer connects to a listener there, and the receives of whoever accepts it follow the script. `None` when
    /// nobody listens.
    pub fn connect_scripted(&self, to: SocketAddr, script: Script) -> Option<ScriptedPeer> {
        self.0.borrow_mut().connect_scripted(to, script).map(ScriptedPeer)
    }

    /// From now on whoever connects to this address receives what the script says.
    pub fn listen_scripted(&self, address: SocketAddr, script: Script) {
        self.0.borrow_mut().listen_scripted(address, script);
    }

    /// What a scripted peer was sent, as far as it has arrived.
    pub fn heard(&self, peer: ScriptedPeer) -> Vec<u8> {
        self.0.borrow().heard(peer.0)
    }
}

/// See the module's documentation.
pub struct SimDriver {
    net: SimNet,
    host: usize,
}

impl SimDriver {
    /// A driver alone on a network of its own.
    pub fn new(pool: BufferPool, seed: u64, faults: Faults) -> Self {
        SimNet::new(seed).driver(pool, faults)
    }

    pub fn net(&self) -> SimNet {
        self.net.clone()
    }

    pub fn host(&self) -> HostId {
        HostId(self.host)
    }

    /// Several may listen on one address, as with SO_REUSEPORT. An unspecified address stands for all.
    pub fn listen(&mut self, address: SocketAddr, backlog_max: usize) -> Desc {
        self.net.0.borrow_mut().listen(self.host, address, backlog_max)
    }

    /// A connected socket whose receives follow the script. It takes whatever is sent.
    pub fn open_scripted(&mut self, script: Script) -> Desc {
        self.net.0.borrow_mut().open_scripted(self.host, script)
    }
}

impl Driver for SimDriver {
    fn info(&self) -> DriverInfo {
        DriverInfo { name: "sim", features: Vec::new() }
    }

    fn counters(&self) -> DriverCounters {
        let net = self.net.0.borrow();
        let host = &net.hosts[self.host];
        DriverCounters {
            descriptors: host.open.len() as u64,
            cq_overflows: host.overflows,
            ..DriverCounters::default()
        }
    }

    fn now(&self) -> Timestamp {
        self.net.0.borrow().time.now()
    }

    /// Listens, in the simulated network, on the address of the real socket, and closes that.
    fn adopt_listener(&mut self, fd: OwnedFd) -> io::Result<Desc> {
        let address = TcpListener::from(fd).local_addr()?;
        Ok(self.listen(address, BACKLOG))
    }

    fn watch_wake(&mut self, fd: RawFd) {
        self.net.0.borrow_mut().hosts[self.host].wake = Some(fd);
    }

    fn submit(&mut self, key: OpKey, op: Op) -> Token {
        self.net.0.borrow_mut().submit(self.host, key, op)
    }

    fn cancel(&mut self, token: Token) {
        self.net.0.borrow_mut().cancel(self.host, token);
    }

    fn turn(&mut self, wait: Wait, out: &mut Vec<Completion>) -> io::Result<Turn> {
        Ok(self.net.0.borrow_mut().turn(self.host, wait, out))
    }

    fn splice_in(&mut self, from: Desc, pipe: &Pipe, max: usize) -> Result<usize, Errno> {
        self.net.0.borrow_mut().splice_in(self.host, from, pipe, max)
    }

    fn splice_out(&mut self, pipe: &Pipe, to: Desc, max: usize) -> Result<usize, Errno> {
        self.net.0.borrow_mut().splice_out(self.host, pipe, to, max)
    }

    fn local_addr(&self, _desc: Desc) -> Result<Peer, Errno> {
        Err(Errno(libc::EOPNOTSUPP))
    }

    fn in_flight(&self) -> usize {
        self.net.0.borrow().hosts[self.host].in_flight
    }
}

impl Drop for SimDriver {
    fn drop(&mut self) {
        self.net.0.borrow_mut().remove_host(self.host);
    }
}
