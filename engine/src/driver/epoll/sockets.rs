//! The open sockets of an epoll driver and what epoll has been told about each.
//!
//! Interest is kept lazily. A socket is registered when somebody first waits for it, and stays so while operations come
//! and go: re-arming a receive costs no system call. What is no longer wanted is taken back when an event arrives that
//! nobody waits for, and not before ([`Sockets::refuse`]).

use super::sys;
use crate::{driver::Desc, slab::Key};
use std::{
    collections::VecDeque,
    os::fd::{AsRawFd, OwnedFd},
};

pub(super) struct Socket {
    fd: OwnedFd,
    pub(super) kind: Kind,
    /// Tells the events of this socket from those of an earlier one of the same number. A closed descriptor goes on
    /// reporting as long as a forked child holds a copy.
    generation: u32,
    /// What epoll reports: readiness bits, zero exactly when the socket is not registered.
    interest: u32,
    /// Accepts, or receives.
    pub(super) readers: VecDeque<Key>,
    /// The connect, or sends that did not fit.
    pub(super) writers: VecDeque<Key>,
    /// The last receive filled its buffer: more is coming in than small buffers should carry.
    pub(super) burst: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Listener,
    Stream,
}

impl Socket {
    /// The readiness that operations wait for.
    pub(super) fn wanted(&self) -> u32 {
        let reading = if self.readers.is_empty() { 0 } else { sys::IN };
        let writing = if self.writers.is_empty() { 0 } else { sys::OUT };
        reading | writing
    }

    fn data(&self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.fd.as_raw_fd() as u32)
    }

    /// Tells epoll to report exactly `interest`.
    fn set_interest(&mut self, epoll: &OwnedFd, interest: u32) -> sys::Result<()> {
        let (fd, data) = (self.fd.as_raw_fd(), self.data());
        match (self.interest, interest) {
            (old, new) if old == new => {}
            (_, 0) => sys::epoll_delete(epoll, fd)?,
            (0, new) if self.kind == Kind::Listener => {
                sys::epoll_add(epoll, fd, new | sys::EXCLUSIVE, data)?;
            }
            (0, new) => sys::epoll_add(epoll, fd, new, data)?,
            // Never a listener: its only interest is IN, and what is exclusive cannot be modified.
            (_, new) => sys::epoll_modify(epoll, fd, new, data)?,
        }
        self.interest = interest;
        Ok(())
    }
}

/// Indexed by descriptor, which the kernel keeps dense.
pub(super) struct Sockets {
    epoll: OwnedFd,
    table: Vec<Option<Socket>>,
    open: u64,
    generation: u32,
}

impl Sockets {
    pub(super) fn new(epoll: OwnedFd) -> Self {
        Self { epoll, table: Vec::new(), open: 0, generation: 0 }
    }

    pub(super) fn epoll(&self) -> &OwnedFd {
        &self.epoll
    }

    pub(super) fn open(&self) -> u64 {
        self.open
    }

    pub(super) fn insert(&mut self, fd: OwnedFd, kind: Kind) -> Desc {
        let number = fd.as_raw_fd() as usize;
        if self.table.len() <= number {
            self.table.resize_with(number + 1, || None);
        }
        self.generation = self.generation.wrapping_add(1);
        self.open += 1;
        self.table[number] = Some(Socket {
            fd,
            kind,
            generation: self.generation,
            interest: 0,
            readers: VecDeque::new(),
            writers: VecDeque::new(),
            burst: false,
        });
        Desc(number as u32)
    }

    pub(super) fn get_mut(&mut self, desc: Desc) -> Option<&mut Socket> {
        self.table.get_mut(desc.0 as usize)?.as_mut()
    }

    /// Closes the descriptor.
    pub(super) fn remove(&mut self, desc: Desc) -> Option<Socket> {
        let mut socket = self.table.get_mut(desc.0 as usize)?.take()?;
        self.open -= 1;
        if socket.kind == Kind::Listener {
            // Whoever bound it may hold another copy, which would keep the registration alive.
            socket.set_interest(&self.epoll, 0).ok();
        }
        Some(socket)
    }

    /// The socket an event is about, if it is still open.
    pub(super) fn of_event(&mut self, data: u64) -> Option<(Desc, u32)> {
        let desc = Desc(data as u32);
        let socket = self.get_mut(desc)?;
        (u64::from(socket.generation) == data >> 32).then(|| (desc, socket.wanted()))
    }

    /// Sees to it that `readiness` is reported. One system call the first time, mostly none later.
    pub(super) fn watch(&mut self, desc: Desc, readiness: u32) -> sys::Result<()> {
        let Self { epoll, table, .. } = self;
        match table.get_mut(desc.0 as usize) {
            Some(Some(socket)) => socket.set_interest(epoll, socket.interest | readiness),
            _ => Err(crate::driver::Errno(libc::EBADF)),
        }
    }

    /// As [`Sockets::watch`], and stops reporting everything else.
    pub(super) fn watch_only(&mut self, desc: Desc, readiness: u32) -> sys::Result<()> {
        let Self { epoll, table, .. } = self;
        match table.get_mut(desc.0 as usize) {
            Some(Some(socket)) => socket.set_interest(epoll, readiness),
            _ => Err(crate::driver::Errno(libc::EBADF)),
        }
    }

    /// An event has come that nobody waits for: without this it would come again at once, for ever.
    ///
    /// A socket with no interest left is taken out altogether, because a hang-up is reported even to those who asked
    /// for nothing.
    pub(super) fn refuse(&mut self, desc: Desc, readiness: u32) {
        let Self { epoll, table, .. } = self;
        if let Some(Some(socket)) = table.get_mut(desc.0 as usize) {
            let left = if socket.wanted() == 0 { 0 } else { socket.interest & !readiness };
            // Taking interest back needs no memory; it cannot fail on a socket that is registered.
            let done = socket.set_interest(epoll, left);
            debug_assert_eq!(done, Ok(()));
        }
    }
}
