//! What operations in flight hold: the kernel's memory, until the last completion.

use crate::{
    batch::Batch,
    buf::Buffer,
    driver::{Desc, Interest, OpKey, addr::AddrBuf},
    pipe::Pipe,
    slab::{Key, Slab},
};

/// An operation whose memory or descriptor the driver keeps.
pub(super) struct Held {
    pub(super) key: OpKey,
    pub(super) what: What,
}

pub(super) enum What {
    /// `slot`: where the descriptor will be; `None` with real descriptors.
    Accept {
        slot: Option<u32>,
        addr: Box<AddrBuf>,
    },
    /// The socket exists; connecting may fail, then it is closed.
    Connect {
        desc: Desc,
        addr: Box<AddrBuf>,
    },
    Send {
        buffer: Buffer,
        desc: Desc,
        from: u32,
        to: u32,
        waits: Waits,
    },
    /// The direct descriptor is being installed, to be shut down by shutdown(2).
    Shutdown {
        desc: Desc,
    },
    /// The same, by the ring, which takes a worker thread: where no descriptor was left to install to.
    ShutdownByRing,
    /// A vectored send; with zero copy, to its notification.
    Batch {
        batch: Box<Batch>,
        desc: Desc,
        how: SendHow,
        waits: Waits,
    },
    Splice {
        pipe: Box<Pipe>,
    },
    Poll {
        desc: Desc,
        interest: Interest,
        waits: Waits,
    },
    /// Our own: looks on until this operation's socket takes bytes. `None`: nobody waits any more.
    Watch {
        of: Option<Key>,
    },
    /// The ring is asked for the length of the send queue.
    Unacked {
        desc: Desc,
    },
    /// The same by ioctl(2), for which the direct descriptor is being installed: the ring knows TCP only.
    UnackedByInstall,
    /// A direct descriptor is being given a real one beside it.
    Install {
        desc: Desc,
    },
    Close {
        desc: Desc,
    },
}

/// What becomes of the bytes of a vectored send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendHow {
    Copied,
    /// The kernel looks up the pages for this send …
    ZeroCopy,
    /// … or has them at hand.
    ZeroCopyRegistered,
}

/// How an operation waits for its socket to take bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Waits {
    /// The operation itself is in flight.
    #[default]
    Not,
    /// A poll that ends once is in flight in its stead.
    Polled,
    /// The operation of this user data, a [`What::Watch`], is.
    Watched(u64),
}

impl What {
    pub(super) fn waits(&mut self) -> Option<&mut Waits> {
        match self {
            Self::Send { waits, .. } | Self::Batch { waits, .. } | Self::Poll { waits, .. } => Some(waits),
            _ => None,
        }
    }

    /// The socket that is to take bytes.
    pub(super) fn sink(&self) -> Option<Desc> {
        match self {
            Self::Send { desc, .. } | Self::Batch { desc, .. } => Some(*desc),
            Self::Poll { desc, interest: Interest::Write, .. } => Some(*desc),
            _ => None,
        }
    }
}

/// All of them, and the address buffers waiting for their next use.
pub(super) struct HeldTable {
    table: Slab<Held>,
    #[expect(clippy::vec_box, reason = "the kernel has pointers to what is in the boxes")]
    spare_addrs: Vec<Box<AddrBuf>>,
}

/// Address buffers kept for reuse; accepts in flight of one shard are not many more.
const SPARE_ADDRS_MAX: usize = 64;

impl HeldTable {
    pub(super) fn new() -> Self {
        Self { table: Slab::new(), spare_addrs: Vec::new() }
    }

    pub(super) fn insert(&mut self, key: OpKey, what: What) -> Key {
        self.table.insert(Held { key, what })
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Held> {
        self.table.get_mut(key)
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Held> {
        self.table.remove(key)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn shrink(&mut self) {
        self.table.shrink();
    }

    pub(super) fn take_addr(&mut self) -> Box<AddrBuf> {
        self.spare_addrs.pop().unwrap_or_else(|| Box::new(AddrBuf::empty()))
    }

    pub(super) fn give_addr(&mut self, mut addr: Box<AddrBuf>) {
        if self.spare_addrs.len() < SPARE_ADDRS_MAX {
            addr.reset();
            self.spare_addrs.push(addr);
        }
    }
}
