//! A relay between TCP sockets: with a buffer of the pool for each piece, of the allocator, or one that it keeps.
//!
//! Client, relay and server are one thread with blocking sockets, and only the relay's part is timed: for each of 64
//! connections one receive and one send upstream, then as many back. The candidates differ in where the memory comes
//! from and in nothing else. The allocator's is zeroed, as it must be where a program cannot read what it did not
//! write.

use super::frame::{Candidate, Case, Stopwatch};
use balance_engine::buf::{Budget, BufferPool, Class, Sizes};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

/// A request on each; all are a call.
const CONNECTIONS: usize = 64;
const BYTES_MAX: u64 = 1 << 30;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("64 B through 4 KiB", 64, Class::Small),
        case("64 B through 32 KiB", 64, Class::Medium),
        case("16 KiB through 32 KiB", 16 << 10, Class::Medium),
        case("64 B through 1 MiB", 64, Class::Huge),
    ]
}

fn case(name: &'static str, message: usize, class: Class) -> Case {
    let pool = BufferPool::new(Sizes::default(), Budget::new(BYTES_MAX));
    let bytes = pool.size(class);
    // It lives as long as the relay, so it is always a few instructions away: as good as it gets.
    let mut kept = Some(vec![0_u8; bytes]);
    let candidates = vec![
        relay("pool", message, move |piece| {
            let mut buffer = pool.take(class).expect("within the budget");
            piece(&mut buffer);
        }),
        relay("allocator", message, move |piece| piece(&mut vec![0_u8; bytes])),
        relay("one for ever", message, move |piece| {
            let mut buffer = kept.take().expect("nobody else takes it");
            piece(&mut buffer);
            kept = Some(buffer);
        }),
    ];
    Case { name, operation: "request", candidates }
}

/// Takes a buffer, hands its bytes to what moves a piece, gives the buffer back.
trait WithBuffer: FnMut(&mut dyn FnMut(&mut [u8])) {}

impl<F: FnMut(&mut dyn FnMut(&mut [u8]))> WithBuffer for F {}

/// Answers how many bytes the clients got back: all that they sent.
fn relay(name: &'static str, message: usize, mut with_buffer: impl WithBuffer + 'static) -> Candidate {
    let mut conversations: Option<Vec<Conversation>> = None;
    Candidate::new(name, CONNECTIONS, move |watch| {
        let all = conversations.get_or_insert_with(|| (0..CONNECTIONS).map(|_| Conversation::new(message)).collect());
        round(all, watch, &mut with_buffer)
    })
}

fn round(all: &mut [Conversation], watch: &mut Stopwatch, with_buffer: &mut impl WithBuffer) -> u64 {
    all.iter_mut().for_each(|c| c.client.write_all(&c.words).expect("loopback"));
    watch
        .time(|| all.iter_mut().for_each(|c| move_all(&mut c.downstream, &mut c.upstream, c.words.len(), with_buffer)));
    for c in &mut *all {
        c.server.read_exact(&mut c.space).expect("loopback");
        c.server.write_all(&c.space).expect("loopback");
    }
    watch
        .time(|| all.iter_mut().for_each(|c| move_all(&mut c.upstream, &mut c.downstream, c.words.len(), with_buffer)));
    let mut heard = 0;
    for c in all {
        c.client.read_exact(&mut c.space).expect("loopback");
        heard += c.space.len() as u64;
    }
    heard
}

/// Until as much has been moved as there was said.
fn move_all(from: &mut TcpStream, to: &mut TcpStream, bytes: usize, with_buffer: &mut impl WithBuffer) {
    let mut moved = 0;
    while moved < bytes {
        with_buffer(&mut |buffer| {
            let got = from.read(buffer).expect("loopback");
            to.write_all(&buffer[..got]).expect("loopback");
            moved += got;
        });
    }
}

/// A client, a server, and the two sockets of the relay between them.
struct Conversation {
    client: TcpStream,
    downstream: TcpStream,
    upstream: TcpStream,
    server: TcpStream,
    words: Vec<u8>,
    space: Vec<u8>,
}

impl Conversation {
    fn new(message: usize) -> Self {
        let (client, downstream) = pair();
        let (upstream, server) = pair();
        Self { client, downstream, upstream, server, words: vec![1; message], space: vec![0; message] }
    }
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let ours = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
    let (theirs, _) = listener.accept().expect("a connection");
    for socket in [&ours, &theirs] {
        socket.set_nodelay(true).expect("an option of TCP");
    }
    (ours, theirs)
}
