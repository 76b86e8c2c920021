//! Can this process use io_uring? Found by moving bytes through a ring, not by asking for versions: a container's
//! seccomp filter, a sysctl or a limit may forbid what the kernel offers.

use super::{
    Feature, Features, UringConfig, UringDriver,
    lane::{Lane, build_ring},
};
use crate::{
    buf::{Budget, BufferPool, Class, Sizes},
    clock::Clock,
    driver::{Desc, Driver, Errno, Op, OpKey, Outcome, Wait},
};
use io_uring::{cqueue, opcode, types};
use std::{
    fmt,
    io::{self, Write},
    os::{fd::AsRawFd, unix::net::UnixStream},
};

/// Why io_uring is not used, with the step that failed.
#[derive(Debug)]
pub struct Unavailable {
    step: &'static str,
    error: io::Error,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match self.error.raw_os_error() {
            Some(libc::EPERM) => "; forbidden here by a seccomp filter or kernel.io_uring_disabled",
            Some(libc::ENOSYS) => "; the kernel has no io_uring, or a seccomp filter hides it",
            Some(libc::EINVAL) => "; the kernel is older than 6.1",
            Some(libc::ENOMEM) => "; the limit of locked memory (ulimit -l) is too low",
            _ => "",
        };
        write!(f, "{} failed: {}{hint}", self.step, self.error)
    }
}

impl std::error::Error for Unavailable {}

fn step<T>(step: &'static str, result: io::Result<T>) -> Result<T, Unavailable> {
    result.map_err(|error| Unavailable { step, error })
}

/// What the running kernel offers to this process.
///
/// # Errors
/// Where the floor (Linux 6.1 with everything permitted) is not reached.
pub fn probe() -> Result<Features, Unavailable> {
    let (ring, no_sqarray) = step("setting up a ring", build_ring(true, 8, 16))?;
    let setsockopt = has_setsockopt(ring);
    let (ring, _) = step("setting up a ring", build_ring(no_sqarray, 8, 16))?;
    let features = step("asking for its operations", Features::of(&ring, no_sqarray, setsockopt))?;
    drop(ring);
    step("receiving through a ring", receive_once(features))?;
    let bundles = features.has(Feature::Bundle) && bundles_keep_order(features).unwrap_or(false);
    let features = if bundles { features } else { features.without(Feature::Bundle) };
    let (piece, vector) = sends_from_registered(no_sqarray).unwrap_or((false, false));
    Ok(features.add_if(piece, Feature::Registered).add_if(piece && vector, Feature::RegisteredVector))
}

/// Set an option through a ring of its own: kernels before 6.7 refuse the command.
fn has_setsockopt(mut ring: io_uring::IoUring) -> bool {
    static ONE: i32 = 1;
    let Ok(listener) = std::net::TcpListener::bind(("127.0.0.1", 0)) else { return false };
    let entry = opcode::SetSockOpt::new(
        types::Fd(listener.as_raw_fd()),
        libc::IPPROTO_TCP as u32,
        libc::TCP_NODELAY as u32,
        std::ptr::from_ref(&ONE).cast(),
        size_of::<i32>() as u32,
    )
    .build();
    // SAFETY: the option's value is static.
    let pushed = unsafe { ring.submission().push(&entry) };
    pushed.is_ok() && ring.submit_and_wait(1).is_ok() && ring.completion().next().is_some_and(|c| c.result() == 0)
}

/// Send from registered memory without a copy: one piece (SEND_ZC), and several (SENDMSG_ZC, from Linux 6.15 on).
fn sends_from_registered(no_sqarray: bool) -> io::Result<(bool, bool)> {
    const BYTES: usize = 64;
    let pool = BufferPool::new(Sizes::default(), Budget::new(64 << 20));
    let region = pool.open_region(Class::Medium).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
    let piece = libc::iovec { iov_base: region.as_ptr().cast_mut().cast(), iov_len: BYTES };
    // SAFETY: plain data, for which all zeroes is a value: no address, no control data.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    let mut pieces = [piece];
    (header.msg_iov, header.msg_iovlen) = (pieces.as_mut_ptr(), pieces.len());
    // Behind what its entries point to, so that it goes first.
    let (mut ring, _) = build_ring(no_sqarray, 8, 16)?;
    // SAFETY: the region outlives the ring.
    unsafe { ring.submitter().register_buffers(&[piece]) }?;
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let sink = std::net::TcpStream::connect(listener.local_addr()?)?;
    let fd = types::Fd(sink.as_raw_fd());
    let one = opcode::SendZc::new(fd, region.as_ptr(), BYTES as u32).buf_index(Some(0)).build();
    let many = opcode::SendMsgZc::new(fd, &raw const header).buf_index(Some(0)).build();
    let mut works = [false; 2];
    for (entry, works) in [one, many].into_iter().zip(&mut works) {
        // SAFETY: all that the entry points to is above the ring.
        unsafe { ring.submission().push(&entry) }.map_err(|_| io::Error::from_raw_os_error(libc::EBUSY))?;
        loop {
            ring.submit_and_wait(1)?;
            let Some(done) = ring.completion().next() else { continue };
            *works |= !cqueue::notif(done.flags()) && done.result() == BYTES as i32;
            if !cqueue::more(done.flags()) {
                break;
            }
        }
    }
    Ok((works[0], works[1]))
}

/// One multishot receive from a socket pair into a provided buffer, as every connection will do.
fn receive_once(features: Features) -> io::Result<()> {
    const WORD: &[u8] = b"balance";
    let pool = BufferPool::new(Sizes::default(), Budget::new(u64::MAX));
    let mut lane = Lane::open(&UringConfig { features: features.without(Feature::Direct), ring_buffers: 16 }, pool, 0)?;
    let (mut theirs, ours) = UnixStream::pair()?;
    theirs.write_all(WORD)?;
    let entry = opcode::RecvMulti::new(types::Fd(ours.as_raw_fd()), lane.bufs.group()).build();
    lane.push(&entry).map_err(|_| io::Error::from_raw_os_error(libc::EBUSY))?;
    lane.enter_wait(None, false)?;
    let got = lane.ring.completion().next().ok_or_else(|| io::Error::other("no completion"))?;
    if got.result() < 0 {
        return Err(io::Error::from_raw_os_error(-got.result()));
    }
    let buffer = cqueue::buffer_select(got.flags()).and_then(|id| lane.bufs.take(id));
    let received = buffer.as_deref().and_then(|b| b.get(..got.result() as usize));
    // The receive is still armed; it must end before its buffers are freed.
    theirs.shutdown(std::net::Shutdown::Both)?;
    drop(theirs);
    while lane.ring.completion().next().is_none() {
        lane.enter_wait(None, false)?;
    }
    if received == Some(WORD) { Ok(()) } else { Err(io::Error::from(Errno(libc::EIO))) }
}

/// Of the only operation there is.
const PROBE_KEY: u64 = 1 << 32;

/// Receive more than a few buffers hold, in bundles, and see whether the bytes come in order: some kernels got that
/// wrong, and no feature bit tells.
fn bundles_keep_order(features: Features) -> io::Result<bool> {
    const BYTES: usize = 160 << 10;
    let sent: Vec<u8> = (0..BYTES).map(|i| (i / 251) as u8).collect();
    let (mut theirs, ours) = UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    let pool = BufferPool::new(Sizes::default(), Budget::new(u64::MAX));
    let config = UringConfig { features, ring_buffers: 256 };
    let mut driver = UringDriver::new(config, pool, Clock::monotonic())?;
    let desc = Desc::real(ours.as_raw_fd());
    driver.submit(OpKey(PROBE_KEY), Op::Recv { desc, bulk: true, once: false });
    let (mut written, mut received, mut out) = (0, Vec::new(), Vec::new());
    loop {
        match theirs.write(&sent[written..]) {
            Ok(bytes) => written += bytes,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
        if written == BYTES {
            theirs.shutdown(std::net::Shutdown::Write)?;
        }
        driver.turn(Wait::Forever, &mut out)?;
        for completion in out.drain(..) {
            match completion.outcome {
                Outcome::Received { buffer, len } => received.extend_from_slice(&buffer[..len as usize]),
                Outcome::Eof => return Ok(received == sent),
                _ => {}
            }
            if !completion.more {
                driver.submit(OpKey(PROBE_KEY), Op::Recv { desc, bulk: true, once: false });
            }
        }
    }
}

/// Linux 6.13.11 to 6.14.8 may hand out the buffers of a bundle in the wrong order, and no feature bit tells.
pub(super) fn reorders_bundles() -> bool {
    kernel_release().is_some_and(|release| ((6, 13, 11)..=(6, 14, 8)).contains(&release))
}

fn kernel_release() -> Option<(u32, u32, u32)> {
    parse_release(&std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?)
}

fn parse_release(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some((major, minor, numbers.next().and_then(Result::ok).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_are_in_order_here() {
        let features = probe().expect("io_uring runs here");
        if features.has(Feature::Bundle) {
            assert!(bundles_keep_order(features).expect("the ring works"));
        }
    }

    /// What comes with the kernel version must not be lost by the way it is asked for.
    #[test]
    fn registered_memory_is_sent_from_here() {
        let features = probe().expect("io_uring runs here");
        assert!(features.has(Feature::Registered));
        let release = kernel_release().expect("a release");
        assert_eq!(features.has(Feature::RegisteredVector), release >= (6, 15, 0));
    }

    #[test]
    fn releases_are_read_as_distributions_write_them() {
        assert_eq!(parse_release("6.18.44-fc-v595\n"), Some((6, 18, 44)));
        assert_eq!(parse_release("6.14.0-29-generic"), Some((6, 14, 0)));
        assert_eq!(parse_release("6.1-arch"), Some((6, 1, 0)));
        assert_eq!(parse_release("nonsense"), None);
    }
}
