//! Pipes for splice(2): where bytes wait, still in the kernel, on their way from one socket to another.
//!
//! A pipe is borrowed while bytes are in it and not longer, so a shard needs as many as it has blocked directions, not
//! as many as it has connections. What pipes may hold, in all shards together, has a cap. The size of a pipe is a
//! ceiling and costs nothing by itself: the pages in it are the sockets' own.
//!
//! Where the kernel refuses a size (`fs.pipe-max-size`, or a user's `pipe-user-pages-soft`), the pipe stays as large as
//! it was given: 64 KiB, or less for a user over the limit. No connection fails for it.

use crate::{
    buf::{Budget, Lease},
    driver::Errno,
    stats::PipeStats,
};
use std::{
    cell::{Cell, RefCell},
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    rc::Rc,
    sync::Arc,
};

/// Limits of a shard's pipes.
#[derive(Clone, Copy, Debug)]
pub struct PipeSizes {
    /// Asked for at first.
    pub size: u32,
    /// A pipe that was filled to the brim grows up to this.
    pub size_max: u32,
}

impl Default for PipeSizes {
    fn default() -> Self {
        Self { size: 256 << 10, size_max: 1 << 20 }
    }
}

/// Pipes of one shard.
#[derive(Clone)]
pub struct PipePool(Rc<Inner>);

struct Inner {
    sizes: PipeSizes,
    budget: Arc<Budget>,
    idle: RefCell<Vec<Pipe>>,
    stats: Cell<PipeStats>,
}

/// Empty pipes kept for the next borrower. Each holds two descriptors.
const IDLE_MAX: usize = 32;
/// What a pipe holds when the kernel was not asked for more.
const KERNEL_SIZE: u32 = 64 << 10;

/// An empty or filled pipe. Dropping it discards what is in it.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    size: u32,
    /// Paid for by the cap.
    _lease: Lease,
}

impl Pipe {
    /// Bytes that it can hold.
    pub fn size(&self) -> usize {
        self.size as usize
    }

    pub(crate) fn read_fd(&self) -> RawFd {
        self.read.as_raw_fd()
    }

    pub(crate) fn write_fd(&self) -> RawFd {
        self.write.as_raw_fd()
    }
}

impl PipePool {
    pub fn new(sizes: PipeSizes, budget: Arc<Budget>) -> Self {
        Self(Rc::new(Inner { sizes, budget, idle: RefCell::default(), stats: Cell::default() }))
    }

    /// An empty pipe.
    ///
    /// # Errors
    /// EMFILE and its like, or ENOBUFS where the cap is reached. The caller goes on without.
    pub fn take(&self) -> Result<Pipe, Errno> {
        let kept = self.0.idle.borrow_mut().pop();
        let pipe = kept.map_or_else(|| self.open(), Ok);
        self.count(|s| match &pipe {
            Ok(_) => {
                s.taken_total += 1;
                s.in_use += 1;
            }
            Err(_) => s.refused_total += 1,
        });
        pipe
    }

    /// Give back a pipe that is empty.
    pub fn give(&self, pipe: Pipe) {
        self.count(|s| s.in_use -= 1);
        let mut idle = self.0.idle.borrow_mut();
        if idle.len() < IDLE_MAX {
            idle.push(pipe);
        }
    }

    /// Let go of a pipe with bytes in it: its connection is over.
    pub fn discard(&self, pipe: Pipe) {
        self.count(|s| s.in_use -= 1);
        drop(pipe);
    }

    /// A pipe is with the driver and will not come back: its borrower is gone.
    pub fn forget(&self) {
        self.count(|s| s.in_use -= 1);
    }

    /// It was filled to the brim: make it larger if that is allowed. Bytes in it stay.
    pub fn grow(&self, pipe: &mut Pipe) {
        if pipe.size >= self.0.sizes.size_max {
            return;
        }
        let Some(lease) = self.0.budget.lease(u64::from(self.0.sizes.size_max)) else { return };
        let size = set_size(&pipe.write, self.0.sizes.size_max);
        if size > pipe.size {
            pipe.size = size;
            pipe._lease = lease;
        } else {
            self.count(|s| s.size_refused_total += 1);
        }
    }

    fn open(&self) -> Result<Pipe, Errno> {
        let wanted = self.0.sizes.size;
        let lease = self.0.budget.lease(u64::from(wanted)).ok_or(Errno::NO_BUFFERS)?;
        let mut ends = [-1; 2];
        // SAFETY: pipe2 writes two descriptors into the array.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) } < 0 {
            return Err(io::Error::last_os_error().into());
        }
        // SAFETY: the kernel has just given us this descriptor; nobody else knows it.
        let read = unsafe { OwnedFd::from_raw_fd(ends[0]) };
        // SAFETY: as above.
        let write = unsafe { OwnedFd::from_raw_fd(ends[1]) };
        let size = set_size(&write, wanted);
        if size < wanted {
            self.count(|s| s.size_refused_total += 1);
        }
        Ok(Pipe { read, write, size, _lease: lease })
    }

    /// Close the pipes that nobody uses.
    pub fn shrink(&self) {
        self.0.idle.borrow_mut().clear();
    }

    pub fn stats(&self) -> PipeStats {
        let mut stats = self.0.stats.get();
        stats.idle = self.0.idle.borrow().len() as u64;
        stats
    }

    fn count(&self, change: impl FnOnce(&mut PipeStats)) {
        let mut stats = self.0.stats.get();
        change(&mut stats);
        self.0.stats.set(stats);
    }
}

/// Ask for a size, or half of it, and so on. Returns what the pipe has.
fn set_size(pipe: &OwnedFd, wanted: u32) -> u32 {
    let mut size = wanted;
    while size > KERNEL_SIZE {
        // SAFETY: F_SETPIPE_SZ takes a number.
        let got = unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_SETPIPE_SZ, size as libc::c_int) };
        if got > 0 {
            return got.unsigned_abs();
        }
        size /= 2;
    }
    // SAFETY: F_GETPIPE_SZ takes nothing.
    let got = unsafe { libc::fcntl(pipe.as_raw_fd(), libc::F_GETPIPE_SZ) };
    if got > 0 { got.unsigned_abs() } else { KERNEL_SIZE }
}

/// Move pages where that can be done; never wait for the pipe.
pub(crate) const FLAGS: u32 = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;

/// splice(2) between a socket and a pipe, without blocking. The socket must be O_NONBLOCK: from a socket, splice heeds
/// the file's flag and not its own.
pub(crate) fn splice(from: RawFd, to: RawFd, max: usize) -> Result<usize, Errno> {
    // SAFETY: no memory is passed, only descriptors; a wrong one is an error.
    let moved = unsafe { libc::splice(from, std::ptr::null_mut(), to, std::ptr::null_mut(), max, FLAGS) };
    usize::try_from(moved).map_err(|_| io::Error::last_os_error().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    fn pool(budget: u64) -> PipePool {
        PipePool::new(PipeSizes::default(), Budget::new(budget))
    }

    #[test]
    fn bytes_pass_through() {
        let pool = pool(1 << 30);
        let pipe = pool.take().expect("a pipe");
        let (mut from, source) = UnixStream::pair().expect("a pair");
        let (sink, mut to) = UnixStream::pair().expect("a pair");
        source.set_nonblocking(true).expect("a flag");
        from.write_all(b"hello").expect("written");
        assert_eq!(splice(source.as_raw_fd(), pipe.write_fd(), pipe.size()), Ok(5));
        assert_eq!(splice(source.as_raw_fd(), pipe.write_fd(), pipe.size()), Err(Errno(libc::EAGAIN)));
        assert_eq!(splice(pipe.read_fd(), sink.as_raw_fd(), 5), Ok(5));
        let mut got = [0; 5];
        to.read_exact(&mut got).expect("read");
        assert_eq!(&got, b"hello");
        drop(from);
        assert_eq!(splice(source.as_raw_fd(), pipe.write_fd(), pipe.size()), Ok(0));
        pool.give(pipe);
        assert_eq!((pool.stats().in_use, pool.stats().idle), (0, 1));
    }

    #[test]
    fn the_cap_refuses_and_a_return_makes_room() {
        let pool = pool(300 << 10);
        let first = pool.take().expect("within the cap");
        assert_eq!(pool.take().err(), Some(Errno::NO_BUFFERS));
        pool.give(first);
        assert!(pool.take().is_ok());
    }

    #[test]
    fn growing_keeps_to_the_maximum_and_the_cap() {
        let roomy = pool(1 << 30);
        let mut pipe = roomy.take().expect("a pipe");
        let before = pipe.size();
        roomy.grow(&mut pipe);
        assert!(pipe.size() >= before && pipe.size() <= 1 << 20);
        let tight = pool(300 << 10);
        let mut pipe = tight.take().expect("a pipe");
        let before = pipe.size();
        tight.grow(&mut pipe);
        assert_eq!(pipe.size(), before);
    }
}
