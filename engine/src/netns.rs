//! A network namespace of our own (network_namespaces(7)): only loopback is there, and its settings are ours.

use std::{fs, io, os::fd::AsRawFd, os::unix::net::UnixDatagram};

/// What a measurement on loopback wants: no pacing, ports enough, accept queues as long as asked for. Beneath
/// `/proc/sys/net`.
const SETTINGS: [(&str, &str); 5] = [
    // bbr, where a host has it for its default, paces loopback as if it were a line.
    ("ipv4/tcp_congestion_control", "reno"),
    ("ipv4/ip_local_port_range", "10000 65000"),
    ("ipv4/tcp_tw_reuse", "1"),
    ("ipv4/tcp_max_syn_backlog", "16384"),
    ("core/somaxconn", "65535"),
];

/// Put the calling thread, and every process that it starts from now on, into a fresh network namespace.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN. Settings that a namespace may not choose on this kernel are left as they are.
pub fn enter() -> io::Result<()> {
    // SAFETY: the call takes no memory from us. Descriptors that are open keep their own namespace.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } < 0 {
        return Err(io::Error::last_os_error());
    }
    loopback_up()?;
    for (name, value) in SETTINGS {
        // The kernel shows and takes the settings of the namespace of whoever opens the file.
        let _ = fs::write(format!("/proc/sys/net/{name}"), value);
    }
    Ok(())
}

/// netdevice(7): a fresh namespace has its `lo`, and it is down.
fn loopback_up() -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    // SAFETY: an ifreq is plain numbers, for which zero is fine.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the kernel reads the struct, which outlives the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
