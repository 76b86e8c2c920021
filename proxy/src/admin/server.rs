//! The admin socket and the bounded HTTP server behind it.

use super::{
    address::{SOCKET, Surroundings},
    pages,
};
use crate::{
    control::Control,
    exit::{Exit, Failure},
    listen::{self, SocketPath},
};
use axum::Router;
use balance_config::model::{Address, Admin};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::{sleep, timeout},
};

/// Peers served at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;
/// For a whole request head. Also ends connections that idle between two requests.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// A head with every header a browser sends takes 2 KiB.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// A connection is asked to leave after this long, and made to after as long again: a peer that does not read its
/// answer must not keep it in memory.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// When the process is out of descriptors, accepting again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const BACKLOG: u32 = 128;
/// Whoever may connect may drain the process.
const SOCKET_MODE: u32 = 0o600;

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The admin socket, bound and not served yet.
pub(crate) struct Endpoint {
    socket: Socket,
    address: Address,
    path: Option<SocketPath>,
}

/// Serves until it is dropped, and removes the socket's file then.
pub(crate) struct Running {
    task: JoinHandle<()>,
    _path: Option<SocketPath>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Binds the admin socket where the configuration says, or where the client will look for it.
///
/// # Errors
/// Says which address, and why.
pub(crate) fn open(settings: &Admin) -> Result<Endpoint, Failure> {
    let opened = match &settings.listen {
        Some(Address::Ip(address)) => open_tcp(*address),
        Some(Address::Unix(path)) => open_unix(path),
        None => open_default(&Surroundings::of_process()),
    };
    opened.map_err(|e| {
        let address = settings.listen.as_ref();
        let name = address.map_or_else(|| "its default place".to_owned(), ToString::to_string);
        let hint = address.and_then(|a| listen::hint(a, &e));
        let hint = hint.map_or_else(String::new, |h| format!("\nhint: {h}"));
        Failure::new(Exit::Permission, format!("the admin endpoint cannot listen on {name}: {e}{hint}"))
    })
}

fn open_tcp(address: SocketAddr) -> io::Result<Endpoint> {
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "the admin endpoint is open to the network and asks for no password");
    }
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = Address::Ip(listener.local_addr()?);
    Ok(Endpoint { socket: Socket::Tcp(TcpListener::from_std(listener)?), address, path: None })
}

fn open_unix(path: &Path) -> io::Result<Endpoint> {
    let (socket, file) = listen::bind_unix(path, Some(SOCKET_MODE), BACKLOG)?;
    let listener = UnixListener::from_std(std::os::fd::OwnedFd::from(socket).into())?;
    Ok(Endpoint { socket: Socket::Unix(listener), address: Address::Unix(path.to_owned()), path: Some(file) })
}

/// The first place that can be had. Where another instance serves already, the socket gets a name of its own.
fn open_default(surroundings: &Surroundings) -> io::Result<Endpoint> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for place in surroundings.places() {
        let attempt = surroundings.prepare(&place).and_then(|()| open_unix(&place.directory.join(SOCKET)));
        match attempt {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
                let own = format!("admin-{}.sock", std::process::id());
                return open_unix(&place.directory.join(own));
            }
            Err(e) => last = io::Error::new(e.kind(), format!("{}: {e}", place.directory.display())),
            done => return done,
        }
    }
    Err(last)
}

impl Endpoint {
    /// The real one: a port 0 is a number here.
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn serve(self, control: Arc<Control>) -> Running {
        let router = pages::router(control);
        Running { task: tokio::spawn(accept(self.socket, router)), _path: self.path }
    }
}

async fn accept(socket: Socket, router: Router) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // The semaphore is never closed, so this loop ends with its task.
    while let Ok(slot) = slots.clone().acquire_owned().await {
        let accepted = match &socket {
            Socket::Tcp(l) => l.accept().await.map(|(stream, _)| spawn(stream, router.clone(), slot)),
            Socket::Unix(l) => l.accept().await.map(|(stream, _)| spawn(stream, router.clone(), slot)),
        };
        if let Err(error) = accepted {
            tracing::warn!(%error, "the admin endpoint cannot accept");
            sleep(ACCEPT_PAUSE).await;
        }
    }
}

fn spawn<S>(stream: S, router: Router, slot: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        serve_connection(stream, router).await;
        drop(slot);
    });
}

async fn serve_connection<S>(stream: S, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut connection = Box::pin(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WAIT)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)),
    );
    let ended = timeout(CONNECTION_LIFE, connection.as_mut()).await;
    if ended.is_err() {
        connection.as_mut().graceful_shutdown();
        // Dropped if it does not leave by itself; its errors are the peer's business.
        let _ = timeout(CONNECTION_LIFE, connection).await;
    }
}
