//! Limits of the process, and what it asks of the system that is no socket.

use std::{
    fs::File,
    io::{self, Read},
    mem::MaybeUninit,
    os::fd::{FromRawFd, OwnedFd},
    time::Duration,
};

/// A counter that a ring can wait for.
///
/// # Errors
/// When the process or the system is out of descriptors.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: the call takes no memory from us.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made `fd` for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// INT and TERM, to be waited for on a thread instead of ending the process at once.
pub struct Interrupts {
    signals: File,
}

impl Interrupts {
    /// From here on they are held back, on this thread and on those that it starts later.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn hold() -> io::Result<Self> {
        let set = interrupts();
        mask(libc::SIG_BLOCK, &set)?;
        // SAFETY: the set is initialised and only read.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made `fd` for us, and nobody else knows it.
        let signals = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Self { signals })
    }

    /// Block until one has come. The next one ends the process, as it would have without us.
    ///
    /// # Errors
    /// Those of read(2), which there should be none of.
    pub fn wait(mut self) -> io::Result<()> {
        self.signals.read_exact(&mut [0; size_of::<libc::signalfd_siginfo>()])?;
        mask(libc::SIG_UNBLOCK, &interrupts())
    }
}

fn interrupts() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: sigemptyset initialises the set that it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: sigemptyset has initialised it.
    let mut set = unsafe { set.assume_init() };
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the set is initialised, the signals exist.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

fn mask(how: libc::c_int, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: the set is initialised and only read; the old one is not asked for.
    match unsafe { libc::pthread_sigmask(how, &raw const *set, std::ptr::null_mut()) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// How many descriptors this process may have open.
pub fn nofile_limit() -> u64 {
    limits().map_or(1024, |l| l.rlim_cur)
}

/// Raise the soft limit of open descriptors to the hard one, and that if we may. Returns the limit in force.
pub fn raise_nofile() -> u64 {
    if let Some(mut limit) = limits()
        && limit.rlim_cur < limit.rlim_max
    {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: setrlimit reads the struct that it is given. A refusal leaves the limit as it was.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
    nofile_limit()
}

/// User and system time of this thread so far; zero where the kernel does not tell.
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes the struct that it is given.
    if unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) } != 0 {
        return Duration::ZERO;
    }
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Let the kernel wake this thread when it asked to be woken and not, as it likes to, up to 50 µs later. See
/// PR_SET_TIMERSLACK(2const); a refusal leaves everything as it was.
pub fn sharpen_timers() {
    // SAFETY: this option takes a number and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) };
}

/// Give memory that the allocator holds free back to the system, after a burst.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim has no preconditions and is thread safe.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn limits() -> Option<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes the struct that it is given.
    let ok = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } == 0;
    ok.then_some(limit)
}
