//! Unix listening sockets, and the files they leave behind.

use socket2::{Domain, SockAddr, Socket, Type};
use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

/// The file of a socket of ours. Dropping it removes the file, unless another socket has taken the name meanwhile.
#[derive(Debug)]
pub(crate) struct SocketPath {
    /// Where the file is now.
    path: PathBuf,
    /// Where it goes once it may replace the one that is there.
    destination: Option<PathBuf>,
    device_and_inode: (u64, u64),
}

impl SocketPath {
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), destination: None, device_and_inode: identity(path)? })
    }

    /// Moves the file to its destination. A client finds the old socket or the new one, never none.
    pub(super) fn publish(&mut self) -> io::Result<()> {
        if let Some(destination) = self.destination.take() {
            fs::rename(&self.path, &destination)?;
            self.path = destination;
        }
        Ok(())
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.device_and_inode) {
            // Nobody is left to tell; the next start removes a stale file anyway.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|m| (m.dev(), m.ino()))
}

/// Listens on `path`. `mode` is set before anybody can connect.
pub(crate) fn bind(path: &Path, mode: Option<u32>, backlog: u32) -> io::Result<(Socket, SocketPath)> {
    remove_stale(path)?;
    let socket = unbound()?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketPath::new(path)?;
    if let Some(mode) = mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok((socket, file))
}

/// Listens beside `path`, where a socket of ours serves, to take its place when [`SocketPath::publish`] is called.
pub(super) fn stage(path: &Path, backlog: u32) -> io::Result<(Socket, SocketPath)> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let (socket, mut file) = bind(Path::new(&beside), None, backlog)?;
    file.destination = Some(path.to_owned());
    Ok((socket, file))
}

/// The same socket, as a descriptor for every shard.
pub(super) fn share(socket: Socket, shards: usize) -> io::Result<Vec<OwnedFd>> {
    let mut descriptors = Vec::with_capacity(shards);
    for _ in 1..shards {
        descriptors.push(socket.try_clone()?.into());
    }
    if shards > 0 {
        descriptors.push(socket.into());
    }
    Ok(descriptors)
}

/// Removes what a process that was killed left behind; a socket that somebody serves is an error.
fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
        Ok(meta) if !meta.file_type().is_socket() => {
            let what = "a file that is not a socket is in the way";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
        }
        Ok(_) => {}
    }
    match unbound()?.connect(&SockAddr::unix(path)?) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Err(e),
        // Connected, or its queue is full: either way somebody serves it.
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process serves this socket")),
    }
}

fn unbound() -> io::Result<Socket> {
    Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)
}
