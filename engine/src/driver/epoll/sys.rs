//! The system calls of the epoll driver, each as a function without surprises.

use crate::{
    batch::Batch,
    driver::{Errno, addr::AddrBuf},
};
use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    time::Duration,
};

pub(super) type Event = libc::epoll_event;
pub(super) type Result<T> = std::result::Result<T, Errno>;

pub(super) const IN: u32 = libc::EPOLLIN as u32;
pub(super) const OUT: u32 = libc::EPOLLOUT as u32;
/// Reported whether asked for or not.
pub(super) const BROKEN: u32 = (libc::EPOLLHUP | libc::EPOLLERR) as u32;
/// One waiter is woken per connection, not every shard that watches the same listener.
pub(super) const EXCLUSIVE: u32 = libc::EPOLLEXCLUSIVE as u32;

#[cfg(test)]
thread_local! {
    /// So that tests can hold the driver to its budget of system calls.
    pub(super) static CALLS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// What a call returned, or its errno.
fn check<T: Default + PartialOrd>(returned: T) -> Result<T> {
    #[cfg(test)]
    CALLS.set(CALLS.get() + 1);
    if returned < T::default() {
        return Err(io::Error::last_os_error().into());
    }
    Ok(returned)
}

/// Nothing is wrong: try again when the socket says so.
pub(super) fn is_transient(errno: Errno) -> bool {
    matches!(errno.0, libc::EAGAIN | libc::EINTR)
}

pub(super) fn epoll_create() -> Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(super) fn epoll_add(epoll: &OwnedFd, fd: RawFd, interest: u32, data: u64) -> Result<()> {
    control(epoll, libc::EPOLL_CTL_ADD, fd, interest, data)
}

pub(super) fn epoll_modify(epoll: &OwnedFd, fd: RawFd, interest: u32, data: u64) -> Result<()> {
    control(epoll, libc::EPOLL_CTL_MOD, fd, interest, data)
}

pub(super) fn epoll_delete(epoll: &OwnedFd, fd: RawFd) -> Result<()> {
    control(epoll, libc::EPOLL_CTL_DEL, fd, 0, 0)
}

fn control(epoll: &OwnedFd, what: i32, fd: RawFd, interest: u32, data: u64) -> Result<()> {
    let mut event = Event { events: interest, u64: data };
    // SAFETY: the event outlives the call, which only reads it.
    check(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), what, fd, &raw mut event) })?;
    Ok(())
}

/// Waits whole milliseconds, -1 for ever. Returns how many of `events` were filled.
pub(super) fn epoll_wait(epoll: &OwnedFd, events: &mut [Event], millis: i32) -> Result<usize> {
    let (at, room) = (events.as_mut_ptr(), events.len() as i32);
    // SAFETY: the kernel writes at most `room` events, all of them inside the slice.
    let filled = check(unsafe { libc::epoll_wait(epoll.as_raw_fd(), at, room, millis) })?;
    Ok(filled as usize)
}

/// As the kernel reads it, on every architecture.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanos: i64,
}

/// As [`epoll_wait`], to the nanosecond. ENOSYS before Linux 5.11. Called by number: old C libraries do not wrap it.
pub(super) fn epoll_pwait2(epoll: &OwnedFd, events: &mut [Event], timeout: Duration) -> Result<usize> {
    let timeout =
        Timespec { seconds: timeout.as_secs().min(i64::MAX as u64) as i64, nanos: i64::from(timeout.subsec_nanos()) };
    // SAFETY: the kernel writes at most as many events as the slice holds and only reads `timeout`; without a signal
    // mask its size is not looked at.
    let filled = check(unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            events.as_mut_ptr(),
            events.len() as libc::c_int,
            &raw const timeout,
            std::ptr::null::<libc::sigset_t>(),
            0_usize,
        )
    })?;
    Ok(filled as usize)
}

pub(super) fn recv(fd: RawFd, buffer: &mut [u8]) -> Result<usize> {
    let (at, room) = (buffer.as_mut_ptr().cast(), buffer.len());
    // SAFETY: the kernel writes inside the slice.
    let received = check(unsafe { libc::recv(fd, at, room, 0) })?;
    Ok(received as usize)
}

pub(super) fn send(fd: RawFd, bytes: &[u8]) -> Result<usize> {
    let (at, len) = (bytes.as_ptr().cast(), bytes.len());
    // SAFETY: the kernel reads inside the slice.
    let sent = check(unsafe { libc::send(fd, at, len, libc::MSG_NOSIGNAL) })?;
    Ok(sent as usize)
}

pub(super) fn send_batch(fd: RawFd, batch: &mut Batch) -> Result<usize> {
    let header = batch.header();
    // SAFETY: the header and what it points to are owned by `batch`, which is not touched meanwhile.
    check(unsafe { libc::sendmsg(fd, header, libc::MSG_NOSIGNAL) }).map(isize::cast_unsigned)
}

pub(super) fn accept(listener: RawFd) -> Result<(OwnedFd, AddrBuf)> {
    let mut from = AddrBuf::empty();
    let at = from.as_mut_ptr();
    let len = from.len_mut_ptr();
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: both pointers lead into `from`, which is large enough for an address of any family.
    let fd = check(unsafe { libc::accept4(listener, at, len, flags) })?;
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    Ok((unsafe { OwnedFd::from_raw_fd(fd) }, from))
}

/// EINPROGRESS when the answer is still to come.
pub(super) fn connect(socket: &OwnedFd, address: &AddrBuf) -> Result<()> {
    // SAFETY: the address outlives the call, which only reads it.
    check(unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr(), address.len()) })?;
    Ok(())
}

/// How a connect ended.
pub(super) fn take_socket_error(fd: RawFd) -> Result<()> {
    let mut error: i32 = 0;
    let mut len = size_of::<i32>() as libc::socklen_t;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_ERROR);
    // SAFETY: the kernel writes at most `len` bytes to `error`, which is that long, and the new length to `len`.
    check(unsafe { libc::getsockopt(fd, level, name, (&raw mut error).cast(), &raw mut len) })?;
    if error == 0 { Ok(()) } else { Err(Errno(error)) }
}

pub(super) fn set_nonblocking(socket: &OwnedFd) -> Result<()> {
    // SAFETY: no pointers.
    let flags = check(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_GETFL) })?;
    let flags = flags | libc::O_NONBLOCK;
    // SAFETY: no pointers.
    check(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETFL, flags) })?;
    Ok(())
}
