//! A small DNS server on 127.0.0.1, over UDP and TCP, that answers as a test tells it to: rightly, wrongly or never.
//! The unit tests of the resolver use this file, too.
#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::{
    collections::HashMap,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const NO_ERROR: u8 = 0;
const SERV_FAIL: u8 = 2;
const NX_DOMAIN: u8 = 3;
const REFUSED: u8 = 5;
/// RFC 1035 section 4.2.1.
const UDP_BYTES_MAX: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Right,
    /// As if it were not there.
    Never,
    /// Not before [`NameServer::release`].
    Late,
    /// Answers to a question that was not asked, then never the right one.
    WrongId,
    WrongQuestion,
    /// Wrong ones first, then the right one.
    WrongThenRight,
    /// Every datagram is cut short; TCP is right.
    Truncated,
    /// Every datagram is cut short, and TCP is closed without an answer.
    TruncatedTcpFails,
    /// Cut short, and cut short again over TCP.
    TruncatedTwice,
    Garbage,
    ServFail,
    Refused,
    NxDomain,
}

struct Zone {
    manner: Manner,
    addresses: HashMap<String, (Vec<IpAddr>, u32)>,
    aliases: HashMap<String, String>,
    /// Name and record type of every question, in order.
    asked: Vec<(String, u16)>,
    over_tcp: u64,
    held: Vec<(Vec<u8>, SocketAddr)>,
    /// How far the next answer begins into the addresses, as round-robin DNS does it.
    turn: usize,
}

pub(crate) struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    udp: Arc<UdpSocket>,
    ended: Arc<AtomicBool>,
}

impl NameServer {
    pub(crate) fn start(manner: Manner) -> Self {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
            // The same port, which somebody else may have.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("it is bound")) {
                break (tcp, Arc::new(udp));
            }
        };
        let zone = Arc::new(Mutex::new(Zone {
            manner,
            addresses: HashMap::new(),
            aliases: HashMap::new(),
            asked: Vec::new(),
            over_tcp: 0,
            held: Vec::new(),
            turn: 0,
        }));
        let ended = Arc::new(AtomicBool::new(false));
        let server =
            Self { address: udp.local_addr().expect("it is bound"), zone: zone.clone(), udp: udp.clone(), ended };
        let ended = server.ended.clone();
        thread::spawn(move || serve_udp(&udp, &zone, &ended));
        let (zone, ended) = (server.zone.clone(), server.ended.clone());
        thread::spawn(move || serve_tcp(&tcp, &zone, &ended));
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, name: &str, addresses: &[&str], ttl: u32) {
        let addresses = addresses.iter().map(|a| a.parse().expect("an address")).collect();
        self.zone().addresses.insert(name.to_owned(), (addresses, ttl));
    }

    pub(crate) fn alias(&self, name: &str, target: &str) {
        self.zone().aliases.insert(name.to_owned(), target.to_owned());
    }

    pub(crate) fn behave(&self, manner: Manner) {
        self.zone().manner = manner;
    }

    /// Sends what was held back while late.
    pub(crate) fn release(&self) {
        let held = std::mem::take(&mut self.zone().held);
        for (message, to) in held {
            drop(self.udp.send_to(&message, to));
        }
    }

    /// Questions so far, over both transports.
    pub(crate) fn questions(&self) -> usize {
        self.zone().asked.len()
    }

    pub(crate) fn asked_for(&self, name: &str) -> usize {
        self.zone().asked.iter().filter(|(n, _)| n == name).count()
    }

    pub(crate) fn over_tcp(&self) -> u64 {
        self.zone().over_tcp
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().expect("no test panics with it")
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Both threads wait for something to come.
        drop(self.udp.send_to(&[], self.address));
        drop(TcpStream::connect(self.address));
    }
}

fn serve_udp(socket: &UdpSocket, zone: &Mutex<Zone>, ended: &AtomicBool) {
    let mut buffer = [0; 4096];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
        if ended.load(Ordering::Acquire) {
            return;
        }
        let Some(query) = Query::read(&buffer[..length]) else { continue };
        let mut zone = zone.lock().expect("no test panics with it");
        zone.asked.push((query.name.clone(), query.kind));
        for message in zone.datagrams(&query) {
            if zone.manner == Manner::Late {
                zone.held.push((message, peer));
            } else {
                drop(socket.send_to(&message, peer));
            }
        }
    }
}

fn serve_tcp(listener: &TcpListener, zone: &Arc<Mutex<Zone>>, ended: &AtomicBool) {
    for stream in listener.incoming().flatten() {
        if ended.load(Ordering::Acquire) {
            return;
        }
        let zone = zone.clone();
        thread::spawn(move || {
            let mut stream = stream;
            while answer_on(&mut stream, &zone).is_some() {}
        });
    }
}

/// RFC 1035 section 4.2.2: a length of two bytes before each message.
fn answer_on(stream: &mut TcpStream, zone: &Mutex<Zone>) -> Option<()> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).ok()?;
    let query = Query::read(&message)?;
    let answer = {
        let mut zone = zone.lock().expect("no test panics with it");
        zone.asked.push((query.name.clone(), query.kind));
        zone.over_tcp += 1;
        match zone.manner {
            Manner::TruncatedTcpFails => return None,
            Manner::TruncatedTwice => query.answer(NO_ERROR, true, &[]),
            _ => zone.right(&query),
        }
    };
    stream.write_all(&(u16::try_from(answer.len()).ok()?).to_be_bytes()).ok()?;
    stream.write_all(&answer).ok()
}

impl Zone {
    fn datagrams(&mut self, query: &Query) -> Vec<Vec<u8>> {
        let with_id = |mut message: Vec<u8>| {
            message[1] ^= 0xff;
            message
        };
        let about_another =
            |answers: &[Answer]| Query { name: "other.test".into(), ..query.clone() }.answer(NO_ERROR, false, answers);
        let forged = [Answer { owner: None, ttl: 3600, data: Data::Address([203, 0, 113, 66].into()) }];
        let cut = || vec![query.answer(NO_ERROR, true, &[])];
        match self.manner {
            Manner::Never => vec![],
            Manner::Right | Manner::Late => {
                let answer = self.right(query);
                if answer.len() > UDP_BYTES_MAX { cut() } else { vec![answer] }
            }
            Manner::WrongId => vec![with_id(query.answer(NO_ERROR, false, &forged))],
            Manner::WrongQuestion => vec![about_another(&forged)],
            Manner::WrongThenRight => {
                vec![with_id(query.answer(NO_ERROR, false, &forged)), about_another(&forged), self.right(query)]
            }
            Manner::Truncated | Manner::TruncatedTcpFails | Manner::TruncatedTwice => cut(),
            Manner::Garbage => {
                // The right id, so that it is not passed over, and counts that promise what is not there.
                let id = query.id.to_be_bytes();
                vec![[&id[..], &[0x81, 0x80, 0, 1, 0xff, 0xff, 0, 0, 0, 0, 0xc0, 0x0c, 0xff, 0xff]].concat()]
            }
            Manner::ServFail => vec![query.answer(SERV_FAIL, false, &[])],
            Manner::Refused => vec![query.answer(REFUSED, false, &[])],
            Manner::NxDomain => vec![query.answer(NX_DOMAIN, false, &[])],
        }
    }

    fn right(&mut self, query: &Query) -> Vec<u8> {
        let mut answers = Vec::new();
        let mut name = query.name.clone();
        if let Some(target) = self.aliases.get(&name) {
            answers.push(Answer { owner: None, ttl: 60, data: Data::Alias(target.clone()) });
            name.clone_from(target);
        }
        let owner = (name != query.name).then(|| name.clone());
        let Some((addresses, ttl)) = self.addresses.get(&name) else {
            let code = if answers.is_empty() { NX_DOMAIN } else { NO_ERROR };
            return query.answer(code, false, &answers);
        };
        let of_kind: Vec<IpAddr> = addresses.iter().copied().filter(|a| a.is_ipv4() == (query.kind == A)).collect();
        if !of_kind.is_empty() {
            self.turn += 1;
        }
        let turned = (0..of_kind.len()).map(|i| of_kind[(i + self.turn) % of_kind.len()]);
        answers.extend(turned.map(|a| Answer { owner: owner.clone(), ttl: *ttl, data: Data::Address(a) }));
        query.answer(NO_ERROR, false, &answers)
    }
}

#[derive(Clone)]
struct Query {
    id: u16,
    name: String,
    kind: u16,
}

struct Answer {
    /// `None`: the name that was asked for.
    owner: Option<String>,
    ttl: u32,
    data: Data,
}

enum Data {
    Address(IpAddr),
    Alias(String),
}

impl Query {
    fn read(message: &[u8]) -> Option<Self> {
        let id = u16::from_be_bytes(message.get(..2)?.try_into().ok()?);
        let mut labels = Vec::new();
        let mut at = 12;
        loop {
            let length = usize::from(*message.get(at)?);
            if length == 0 {
                break;
            }
            let label = message.get(at + 1..at + 1 + length)?;
            labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
            at += 1 + length;
        }
        let kind = u16::from_be_bytes(message.get(at + 1..at + 3)?.try_into().ok()?);
        Some(Self { id, name: labels.join("."), kind })
    }

    fn answer(&self, code: u8, truncated: bool, answers: &[Answer]) -> Vec<u8> {
        let mut out = self.id.to_be_bytes().to_vec();
        // A response, recursion desired and available.
        out.extend([0x81 | u8::from(truncated) << 1, 0x80 | code]);
        for count in [1, answers.len(), 0, 0] {
            out.extend(u16::try_from(count).expect("a message holds so many").to_be_bytes());
        }
        out.extend(encoded(&self.name));
        out.extend(self.kind.to_be_bytes());
        out.extend(1_u16.to_be_bytes());
        for answer in answers {
            // A pointer to the name in the question is two bytes.
            out.extend(answer.owner.as_ref().map_or_else(|| vec![0xc0, 12], |o| encoded(o)));
            let (kind, data) = match &answer.data {
                Data::Address(IpAddr::V4(v4)) => (A, v4.octets().to_vec()),
                Data::Address(IpAddr::V6(v6)) => (AAAA, v6.octets().to_vec()),
                Data::Alias(target) => (CNAME, encoded(target)),
            };
            out.extend(kind.to_be_bytes());
            out.extend(1_u16.to_be_bytes());
            out.extend(answer.ttl.to_be_bytes());
            out.extend(u16::try_from(data.len()).expect("data of a record is short").to_be_bytes());
            out.extend(data);
        }
        out
    }
}

fn encoded(name: &str) -> Vec<u8> {
    let label = |l: &str| [&[u8::try_from(l.len()).expect("a label is short")], l.as_bytes()].concat();
    let mut out: Vec<u8> = name.split('.').filter(|l| !l.is_empty()).flat_map(label).collect();
    out.push(0);
    out
}
