//! Socket addresses in the kernel's form, at an address that does not move while the kernel looks at it.

use super::{Errno, Peer, StreamOptions, Target};
use std::{
    ffi::c_void,
    io, mem,
    net::SocketAddr,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// A `sockaddr_storage` with its length, as accept(2) fills it and connect(2) reads it.
#[repr(C)]
pub(crate) struct AddrBuf {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl AddrBuf {
    /// Room for any address, for accept.
    pub(crate) fn empty() -> Self {
        // SAFETY: sockaddr_storage is plain data, for which all zeroes is a value (AF_UNSPEC).
        let storage = unsafe { mem::zeroed() };
        Self { storage, len: size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    /// Make it ready to be filled again.
    pub(crate) fn reset(&mut self) {
        self.len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        self.storage.ss_family = libc::AF_UNSPEC as libc::sa_family_t;
    }

    pub(crate) fn from_ip(addr: SocketAddr) -> Self {
        let mut buf = Self::empty();
        match addr {
            SocketAddr::V4(a) => buf.write(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: a.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(a.ip().octets()) },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(a) => buf.write(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: a.port().to_be(),
                sin6_flowinfo: a.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: a.ip().octets() },
                sin6_scope_id: a.scope_id(),
            }),
        }
        buf
    }

    /// # Errors
    /// ENAMETOOLONG where the path does not fit `sun_path` with its closing zero.
    pub(crate) fn from_path(path: &Path) -> Result<Self, Errno> {
        let bytes = path.as_os_str().as_bytes();
        let mut un = libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; 108] };
        if bytes.len() >= un.sun_path.len() || bytes.contains(&0) {
            return Err(Errno(libc::ENAMETOOLONG));
        }
        for (to, from) in un.sun_path.iter_mut().zip(bytes) {
            *to = from.cast_signed();
        }
        let mut buf = Self::empty();
        buf.write(un);
        Ok(buf)
    }

    fn write<T>(&mut self, addr: T) {
        const { assert!(size_of::<T>() <= size_of::<libc::sockaddr_storage>()) };
        self.len = size_of::<T>() as libc::socklen_t;
        // SAFETY: every sockaddr type fits sockaddr_storage in size (checked above) and alignment (POSIX).
        unsafe { std::ptr::from_mut(&mut self.storage).cast::<T>().write(addr) };
    }

    fn read<T: Copy>(&self) -> T {
        const { assert!(size_of::<T>() <= size_of::<libc::sockaddr_storage>()) };
        // SAFETY: size and alignment as in `write`; the storage is initialised and any bits make a sockaddr.
        unsafe { std::ptr::from_ref(&self.storage).cast::<T>().read() }
    }

    pub(crate) fn peer(&self) -> Peer {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                let a: libc::sockaddr_in = self.read();
                Peer::V4(a.sin_addr.s_addr.to_ne_bytes(), u16::from_be(a.sin_port))
            }
            libc::AF_INET6 => {
                let a: libc::sockaddr_in6 = self.read();
                Peer::V6(a.sin6_addr.s6_addr, u16::from_be(a.sin6_port))
            }
            _ => Peer::Unix,
        }
    }

    pub(crate) fn as_ptr(&self) -> *const libc::sockaddr {
        std::ptr::from_ref(&self.storage).cast()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        std::ptr::from_mut(&mut self.storage).cast()
    }

    pub(crate) fn len(&self) -> libc::socklen_t {
        self.len
    }

    pub(crate) fn len_mut_ptr(&mut self) -> *mut libc::socklen_t {
        &raw mut self.len
    }
}

impl TryFrom<&Target> for AddrBuf {
    type Error = Errno;

    fn try_from(target: &Target) -> Result<Self, Errno> {
        match target {
            Target::Ip { to, .. } => Ok(Self::from_ip(*to)),
            Target::Unix(path) => Self::from_path(path),
        }
    }
}

/// An unconnected, non-blocking stream socket for `target`, with its options set and its source address bound.
///
/// # Errors
/// Those of socket(2), setsockopt(2) and bind(2).
pub(crate) fn open_stream(target: &Target, options: StreamOptions) -> Result<OwnedFd, Errno> {
    let family = match target {
        Target::Ip { to: SocketAddr::V4(_), .. } => libc::AF_INET,
        Target::Ip { to: SocketAddr::V6(_), .. } => libc::AF_INET6,
        Target::Unix(_) => libc::AF_UNIX,
    };
    // SAFETY: socket(2) takes no memory from us.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error().into());
    }
    // SAFETY: the kernel has just given us this descriptor; nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    if let Target::Ip { from, .. } = target {
        for option in stream_options(options).into_iter().flatten() {
            set_option(fd.as_raw_fd(), option)?;
        }
        if let Some(from) = from {
            // The port is chosen at connect, so that one port serves several destinations.
            let lazily = SocketOption { level: libc::IPPROTO_IP, name: libc::IP_BIND_ADDRESS_NO_PORT, value: 1 };
            set_option(fd.as_raw_fd(), lazily)?;
            bind(fd.as_raw_fd(), &AddrBuf::from_ip(SocketAddr::new(*from, 0)))?;
        }
    }
    Ok(fd)
}

fn bind(fd: RawFd, addr: &AddrBuf) -> Result<(), Errno> {
    // SAFETY: `addr` is alive and as long as it says.
    match unsafe { libc::bind(fd, addr.as_ptr(), addr.len()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// An integer socket option.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketOption {
    pub(crate) level: i32,
    pub(crate) name: i32,
    pub(crate) value: i32,
}

/// What setsockopt(2) has to be told for these options.
pub(crate) fn stream_options(options: StreamOptions) -> [Option<SocketOption>; 3] {
    let idle = options.keepalive.map(|d| i32::try_from(d.as_secs().max(1)).unwrap_or(i32::MAX));
    [
        options.nodelay.then_some(SocketOption { level: libc::IPPROTO_TCP, name: libc::TCP_NODELAY, value: 1 }),
        idle.map(|_| SocketOption { level: libc::SOL_SOCKET, name: libc::SO_KEEPALIVE, value: 1 }),
        idle.map(|value| SocketOption { level: libc::IPPROTO_TCP, name: libc::TCP_KEEPIDLE, value }),
    ]
}

pub(crate) fn set_option(fd: RawFd, option: SocketOption) -> Result<(), Errno> {
    set_raw_option(fd, option.level, option.name, &option.value)
}

/// Make the coming close of `fd` a reset.
pub(crate) fn set_linger_zero(fd: RawFd) -> Result<(), Errno> {
    set_raw_option(fd, libc::SOL_SOCKET, libc::SO_LINGER, &LINGER_ZERO)
}

/// Closing drops what is queued and sends RST.
pub(crate) static LINGER_ZERO: libc::linger = libc::linger { l_onoff: 1, l_linger: 0 };

fn set_raw_option<T>(fd: RawFd, level: i32, name: i32, value: &T) -> Result<(), Errno> {
    let value_ptr = std::ptr::from_ref(value).cast::<c_void>();
    // SAFETY: `value` is alive and of the length given.
    match unsafe { libc::setsockopt(fd, level, name, value_ptr, size_of::<T>() as libc::socklen_t) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// Our own address of a socket.
pub(crate) fn local_addr(fd: RawFd) -> Result<Peer, Errno> {
    let mut addr = AddrBuf::empty();
    let (addr_ptr, len_ptr) = (addr.as_mut_ptr(), addr.len_mut_ptr());
    // SAFETY: both pointers are into `addr`, which has room for any address.
    match unsafe { libc::getsockname(fd, addr_ptr, len_ptr) } {
        0 => Ok(addr.peer()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// Close the write half of a real descriptor.
pub(crate) fn shutdown_write(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: shutdown(2) takes no memory from us.
    match unsafe { libc::shutdown(fd, libc::SHUT_WR) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

/// What was sent and is not acknowledged, of a real descriptor.
pub(crate) fn unacked(fd: RawFd) -> Result<u32, Errno> {
    let mut bytes: i32 = 0;
    // SAFETY: SIOCOUTQ, which has TIOCOUTQ's number, writes one int to where `bytes` is.
    match unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut bytes) } {
        0 => Ok(bytes.max(0).unsigned_abs()),
        _ => Err(io::Error::last_os_error().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn addresses_survive_the_kernels_form() {
        for text in ["127.0.0.1:80", "[2001:db8::1]:65535", "0.0.0.0:0"] {
            let addr: SocketAddr = text.parse().expect("a literal");
            assert_eq!(AddrBuf::from_ip(addr).peer().socket_addr(), Some(addr));
        }
        let mapped = SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), 7);
        assert_eq!(Peer::from(mapped).socket_addr().map(|a| a.to_string()).as_deref(), Some("127.0.0.1:7"));
        let v6 = AddrBuf::from_ip((Ipv6Addr::LOCALHOST, 1).into());
        assert!(matches!(v6.peer(), Peer::V6(_, 1)));
    }

    #[test]
    fn long_unix_paths_are_refused() {
        assert!(AddrBuf::from_path(Path::new(&"x".repeat(107))).is_ok());
        assert_eq!(AddrBuf::from_path(Path::new(&"x".repeat(108))).err(), Some(Errno(libc::ENAMETOOLONG)));
    }
}
