//! The floor of a TCP relay on this kernel: one thread, level-triggered epoll, and either a copy through a buffer or
//! splice(2) through a pipe. No time-outs, no limits, nothing else: what a proxy costs above it is what it adds.
//!
//! A direction reads only while nothing of it is waiting to be written. For bulk that is half the cost: a relay that is
//! woken for readable bytes while its sink is blocked moves crumbs.
#![forbid(unsafe_code)]

use common::Args;
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    io::Errno,
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with, sockopt},
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
};
use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::OwnedFd,
};

/// How bytes get from socket to socket.
#[derive(Clone, Copy)]
pub enum Way {
    Copy,
    Splice,
}

/// Chunks of a direction that are moved before another has its turn.
const CHUNKS: usize = 8;
const LISTENER: u64 = u64::MAX;

enum Store {
    Buffer(Vec<u8>),
    Pipe { from: OwnedFd, to: OwnedFd, size: usize },
}

/// A socket, and what came in on it and is not out on the other.
struct Side {
    socket: TcpStream,
    store: Store,
    /// Bytes in the store, the first of which is at `offset`.
    held: usize,
    offset: usize,
    ended: bool,
    /// The other side's bytes wait for room in this socket.
    full: bool,
    /// What epoll waits for.
    armed: EventFlags,
}

type Pair = [Side; 2];

/// Until something breaks that is not one connection's own.
///
/// # Errors
/// Those of listening and of epoll.
pub fn run(args: Args, way: Way) -> io::Result<()> {
    let listener = common::listen(args.listen)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut pairs: Vec<Option<Pair>> = Vec::new();
    let mut free = Vec::new();
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        // Taken up again after the events of this turn, which may name the old owner of the place.
        let mut ended = Vec::new();
        for event in &events {
            let (key, flags) = (event.data.u64(), event.flags);
            if key == LISTENER {
                accept_all(&listener, &epoll, &mut pairs, &mut free, args, way);
                continue;
            }
            let (place, side) = ((key >> 1) as usize, (key & 1) as usize);
            let Some(pair) = &mut pairs[place] else { continue };
            if serve(&epoll, pair, place, side, flags).is_err() || pair.iter().all(|s| s.ended && s.held == 0) {
                pairs[place] = None;
                ended.push(place);
            }
        }
        free.append(&mut ended);
    }
}

fn accept_all(
    listener: &TcpListener,
    epoll: &OwnedFd,
    pairs: &mut Vec<Option<Pair>>,
    free: &mut Vec<usize>,
    args: Args,
    way: Way,
) {
    while let Ok((client, _)) = listener.accept() {
        // A failure ends this connection and nothing else.
        let Ok(pair) = connect(client, args, way) else { continue };
        let place = free.pop().unwrap_or(pairs.len());
        let added = (0..2).all(|side| epoll::add(epoll, &pair[side].socket, data(place, side), EventFlags::IN).is_ok());
        let pair = added.then_some(pair);
        match pairs.get_mut(place) {
            Some(slot) => *slot = pair,
            None => pairs.push(pair),
        }
    }
}

fn data(place: usize, side: usize) -> EventData {
    EventData::new_u64((place as u64) << 1 | side as u64)
}

/// A connect on loopback is answered at once, so that a blocking one is the simplest.
fn connect(client: TcpStream, args: Args, way: Way) -> io::Result<Pair> {
    client.set_nonblocking(true)?;
    let server = open(args.to)?;
    let side = |socket| {
        let (store, armed) = (store(args.buffer, way)?, EventFlags::IN);
        io::Result::Ok(Side { socket, store, held: 0, offset: 0, ended: false, full: false, armed })
    };
    Ok([side(client)?, side(server)?])
}

fn open(to: SocketAddr) -> io::Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::connect(&socket, &to)?;
    let socket = TcpStream::from(socket);
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn store(size: usize, way: Way) -> io::Result<Store> {
    Ok(match way {
        Way::Copy => Store::Buffer(vec![0; size]),
        Way::Splice => {
            let (from, to) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
            fcntl_setpipe_size(&to, size)?;
            Store::Pipe { from, to, size }
        }
    })
}

/// What became possible on one side of a pair.
fn serve(epoll: &OwnedFd, pair: &mut Pair, place: usize, side: usize, flags: EventFlags) -> Result<(), Errno> {
    if flags.contains(EventFlags::OUT) {
        pair[side].full = false;
        pump(pair, 1 - side)?;
    }
    if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
        pump(pair, side)?;
    }
    for side in 0..2 {
        let this = &mut pair[side];
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::IN, this.held == 0 && !this.ended);
        wanted.set(EventFlags::OUT, this.full);
        if wanted != this.armed {
            epoll::modify(epoll, &this.socket, data(place, side), wanted)?;
            this.armed = wanted;
        }
    }
    Ok(())
}

/// Move what comes in on `side` to the other.
fn pump(pair: &mut Pair, side: usize) -> Result<(), Errno> {
    let [first, second] = pair;
    let (from, to) = if side == 0 { (first, second) } else { (second, first) };
    for _ in 0..CHUNKS {
        if from.held == 0 && !from.ended {
            match take(from) {
                Ok(0) => from.ended = true,
                Ok(count) => (from.held, from.offset) = (count, 0),
                Err(Errno::AGAIN) => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        if from.held > 0 {
            match give(from, to) {
                Ok(count) => (from.held, from.offset) = (from.held - count, from.offset + count),
                Err(Errno::AGAIN) => {}
                Err(e) => return Err(e),
            }
            if from.held > 0 {
                to.full = true;
                return Ok(());
            }
        }
        if from.ended {
            // The other side may be gone already, and then its own end is on its way.
            let _ = to.socket.shutdown(Shutdown::Write);
            return Ok(());
        }
    }
    Ok(())
}

fn take(from: &mut Side) -> Result<usize, Errno> {
    match &mut from.store {
        Store::Buffer(buffer) => recv(&from.socket, &mut buffer[..], RecvFlags::empty()).map(|(_, count)| count),
        Store::Pipe { to, size, .. } => splice(&from.socket, None, to, None, *size, FLAGS),
    }
}

fn give(from: &Side, to: &Side) -> Result<usize, Errno> {
    match &from.store {
        Store::Buffer(buffer) => send(&to.socket, &buffer[from.offset..from.offset + from.held], SendFlags::NOSIGNAL),
        Store::Pipe { from: pipe, .. } => splice(pipe, None, &to.socket, None, from.held, FLAGS),
    }
}

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);
