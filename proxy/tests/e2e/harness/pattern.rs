//! Bytes that can be told from one another: what is sent, and the check of what arrives.
#![allow(clippy::disallowed_methods, reason = "tests give up after a while, by a clock of their own")]

use super::PATIENCE;
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

/// A small generator (splitmix64): the tests need repeatable, not good.
#[derive(Clone, Debug)]
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// An endless stream of bytes that depends on its seed; no period of it fits a buffer of the proxy.
#[derive(Clone)]
pub(crate) struct Pattern {
    table: Vec<u8>,
    at: usize,
}

/// A prime, so that every chunk boundary falls elsewhere in the table.
const PERIOD: usize = 1_048_573;

impl Pattern {
    pub(crate) fn new(seed: u64) -> Self {
        let mut seed = Seed(seed);
        let table = (0..=PERIOD / 8).flat_map(|_| seed.next().to_le_bytes()).take(PERIOD).collect();
        Self { table, at: 0 }
    }

    /// The next bytes, `most` or fewer.
    pub(crate) fn take(&mut self, most: usize) -> &[u8] {
        if self.at == PERIOD {
            self.at = 0;
        }
        let from = self.at;
        self.at = (from + most).min(PERIOD);
        &self.table[from..self.at]
    }

    /// # Panics
    /// Where `got` is not what comes next.
    pub(crate) fn check(&mut self, mut got: &[u8], offset: u64) {
        while !got.is_empty() {
            let expected = self.take(got.len());
            let (part, rest) = got.split_at(expected.len());
            if part != expected {
                let bad = part.iter().zip(expected).position(|(a, b)| a != b).expect("they differ");
                panic!("wrong byte near offset {} (chunk at {offset}, {bad} in)", offset + bad as u64);
            }
            got = rest;
        }
    }
}

/// How a side reads or writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// In pieces of 256 KiB, as fast as they go.
    Brisk,
    /// A piece, then a rest.
    Slow { piece: usize, rest: Duration },
    /// Random pieces of up to so many bytes.
    Crumbs { most: u64 },
    /// Random bursts of up to so many bytes, small ones as often as large ones, and a breath after each.
    Bursts { most: u64 },
}

const PIECE: usize = 256 << 10;

impl Pace {
    fn piece(self, seed: &mut Seed) -> usize {
        match self {
            Self::Brisk => PIECE,
            Self::Slow { piece, .. } => piece,
            Self::Crumbs { most } => 1 + seed.below(most) as usize,
            Self::Bursts { most } => {
                let bits = seed.below(u64::from(most.ilog2()) + 1);
                (1 + seed.below(1 << bits)) as usize
            }
        }
    }

    fn rest(self) {
        match self {
            // tidy: sleep because a slow peer is what this is about
            Self::Slow { rest, .. } => thread::sleep(rest),
            // tidy: sleep because a burst ends when nothing follows
            Self::Bursts { .. } => thread::sleep(Duration::from_millis(1)),
            Self::Brisk | Self::Crumbs { .. } => {}
        }
    }
}

/// Sends `len` bytes of the pattern.
pub(crate) fn send(mut stream: &TcpStream, seed: u64, len: u64, pace: Pace) -> io::Result<()> {
    let mut pattern = Pattern::new(seed);
    let mut sizes = Seed(seed);
    let mut left = len;
    while left > 0 {
        let piece = pattern.take(left.min(pace.piece(&mut sizes) as u64) as usize);
        stream.write_all(piece)?;
        left -= piece.len() as u64;
        pace.rest();
    }
    Ok(())
}

/// As [`send`], then FIN.
pub(crate) fn send_all(stream: &TcpStream, seed: u64, len: u64, pace: Pace) {
    send(stream, seed, len, pace).unwrap_or_else(|e| panic!("sending of {seed}: {e}"));
    stream.shutdown(Shutdown::Write).expect("a FIN");
}

/// Reads to FIN, or to the first error, and checks every byte. How many there were, and the error.
pub(crate) fn receive(mut stream: &TcpStream, seed: u64, pace: Pace) -> (u64, io::Result<()>) {
    let mut pattern = Pattern::new(seed);
    let mut sizes = Seed(seed);
    let mut buffer = vec![0; PIECE];
    let mut total = 0;
    loop {
        let most = pace.piece(&mut sizes).min(PIECE);
        match stream.read(&mut buffer[..most]) {
            Ok(0) => return (total, Ok(())),
            Ok(count) => {
                pattern.check(&buffer[..count], total);
                total += count as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return (total, Err(e)),
        }
        pace.rest();
    }
}

/// Reads exactly `len` bytes and checks them.
pub(crate) fn receive_exactly(mut stream: &TcpStream, pattern: &mut Pattern, len: u64) {
    let mut buffer = vec![0; PIECE];
    let mut total = 0;
    while total < len {
        let most = (len - total).min(PIECE as u64) as usize;
        let count = stream.read(&mut buffer[..most]).unwrap_or_else(|e| panic!("after {total} of {len} bytes: {e}"));
        assert!(count > 0, "FIN after {total} of {len} bytes");
        pattern.check(&buffer[..count], total);
        total += count as u64;
    }
}

/// # Panics
/// Unless there come `len` bytes of the pattern and a FIN.
pub(crate) fn receive_all(stream: &TcpStream, seed: u64, len: u64, pace: Pace) {
    let (got, end) = receive(stream, seed, pace);
    if let Err(e) = end {
        panic!("receiving of {seed}, after {got} of {len} bytes: {e}");
    }
    assert_eq!(got, len, "bytes of {seed} before the FIN");
}

/// What one end of a transfer does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) len: u64,
    pub(crate) write: Pace,
    pub(crate) read: Pace,
}

/// Both ends send all they have at once, each ending with FIN, and check what they get.
pub(crate) fn exchange(client: &TcpStream, up: Side, server: &TcpStream, down: Side) {
    thread::scope(|scope| {
        scope.spawn(|| send_all(client, 1, up.len, up.write));
        scope.spawn(|| send_all(server, 2, down.len, down.write));
        scope.spawn(|| receive_all(server, 1, up.len, down.read));
        receive_all(client, 2, down.len, up.read);
    });
}

/// Whether there is silence for a while: neither byte nor end.
pub(crate) fn is_silent(stream: &TcpStream, wait: Duration) -> bool {
    stream.set_read_timeout(Some(wait)).expect("a timeout");
    let result = (&mut &*stream).read(&mut [0; 1]);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    matches!(result, Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
}

/// How a connection ended for the one who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Fin,
    Reset,
}

/// Reads whatever comes until the end.
pub(crate) fn end_of(mut stream: &TcpStream) -> End {
    let mut buffer = vec![0; PIECE];
    let deadline = Instant::now() + PATIENCE;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return End::Fin,
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return End::Reset,
            Err(e) => panic!("neither FIN nor RST: {e}"),
        }
        assert!(Instant::now() < deadline, "it never ends");
    }
}
