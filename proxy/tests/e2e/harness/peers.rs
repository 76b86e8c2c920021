//! Backends and clients, named for their sin.

use super::{PATIENCE, patient};
use socket2::{Domain, SockRef, Socket, Type};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// A backend with a thread for each connection. It dies when dropped, and its port then refuses.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicU64>,
    dying: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    pub(crate) fn new(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address"), serve)
    }

    pub(crate) fn at(address: SocketAddr, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        // A child that another test has just forked may hold the old socket until it is the other program.
        let listener = super::eventually("the backend's address", || TcpListener::bind(address).ok());
        let address = listener.local_addr().expect("bound");
        let (accepted, dying) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (count, end, serve) = (Arc::clone(&accepted), Arc::clone(&dying), Arc::new(serve));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if end.load(Ordering::Acquire) {
                    break;
                }
                count.fetch_add(1, Ordering::AcqRel);
                patient(&stream);
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(stream));
            }
        });
        Self { address, accepted, dying, thread: Some(thread) }
    }

    /// Sends back what it gets, then FIN for FIN.
    pub(crate) fn echo() -> Self {
        Self::new(echo)
    }

    /// Says `name` and closes.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::new(move |mut stream| drop(stream.write_all(name.as_bytes())))
    }

    /// Takes everything, says nothing, and closes after FIN.
    pub(crate) fn silent() -> Self {
        Self::new(|mut stream| drop(io::copy(&mut stream, &mut io::sink())))
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Acquire)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.dying.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

pub(crate) fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 16 << 10];
    // Silence is allowed here, however long: the test ends it.
    stream.set_read_timeout(None).expect("a timeout");
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..count]).is_err() {
            return;
        }
    }
    drop(stream.shutdown(Shutdown::Write));
}

/// An address that listens and whose queue is full, so that a connect is never answered.
pub(crate) struct NeverAccepts {
    pub(crate) address: SocketAddr,
    _listener: Socket,
    _queue: Vec<Socket>,
}

impl NeverAccepts {
    pub(crate) fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().expect("an address").into()).expect("a free port");
        listener.listen(0).expect("it listens");
        let address = listener.local_addr().expect("bound").as_socket().expect("an IP address");
        let mut queue = Vec::new();
        loop {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            let full = filler.connect_timeout(&address.into(), Duration::from_millis(200)).is_err();
            queue.push(filler);
            if full {
                break;
            }
        }
        Self { address, _listener: listener, _queue: queue }
    }
}

/// An address that refuses: a port that was just given back.
pub(crate) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port")
}

/// A client's connection with a small receive buffer.
pub(crate) fn dial_with_window(address: SocketAddr, bytes: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Before it connects, or the window has been promised already.
    socket.set_recv_buffer_size(bytes)?;
    socket.connect_timeout(&address.into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    patient(&stream);
    Ok(stream)
}

/// Ends a connection with RST.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
    drop(stream);
}

pub(crate) fn round_trip(mut stream: &TcpStream, text: &[u8]) -> io::Result<()> {
    stream.write_all(text)?;
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back)?;
    if back == text { Ok(()) } else { Err(io::Error::other(format!("{text:?} came back as {back:?}"))) }
}

/// Everything until FIN, as text.
pub(crate) fn read_text(mut stream: &TcpStream) -> io::Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text).map(|_| text)
}

/// Waits until the peer stops taking bytes: how many it took.
pub(crate) fn fill(mut stream: &TcpStream, quiet: Duration) -> u64 {
    stream.set_write_timeout(Some(quiet)).expect("a timeout");
    let piece = vec![0x5a; 64 << 10];
    let mut sent = 0;
    while let Ok(count) = stream.write(&piece) {
        sent += count as u64;
        // A part of a piece is what there was room for until the time was over.
        if count < piece.len() {
            break;
        }
    }
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    sent
}
