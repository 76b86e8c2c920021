//! HTTP/1.1 as tests speak it: a backend with a script, and a client that reads what comes to the letter.

use super::{dial, peers::Backend};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// Start line and fields, with their line ends, without the empty line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// Behind the last chunk.
    pub(crate) trailers: String,
}

impl Message {
    pub(crate) fn start(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub(crate) fn status(&self) -> u16 {
        self.start().split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    /// The values of all lines with this name.
    pub(crate) fn fields<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

/// What a message ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    Request,
    Response,
    HeadOnly,
}

fn read_message(stream: &mut BufReader<TcpStream>, kind: Body) -> io::Result<Message> {
    let head = read_lines(stream)?;
    let mut message = Message { head, body: Vec::new(), trailers: String::new() };
    let status = message.status();
    let never = kind == Body::HeadOnly || (kind == Body::Response && (status < 200 || status == 204 || status == 304));
    if never {
        return Ok(message);
    }
    if message.fields("transfer-encoding") == ["chunked"] {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim_end_matches("\r\n"), 16)
                .map_err(|_| io::Error::other(format!("a chunk of {line:?}")))?;
            if size == 0 {
                message.trailers = read_lines(stream)?;
                return Ok(message);
            }
            let start = message.body.len();
            message.body.resize(start + size, 0);
            stream.read_exact(&mut message.body[start..])?;
            let mut end = [0; 2];
            stream.read_exact(&mut end)?;
            assert_eq!(&end, b"\r\n", "the end of a chunk");
        }
    }
    match message.fields("content-length").first().map(|length| length.parse().expect("a length")) {
        Some(length) => {
            message.body.resize(length, 0);
            stream.read_exact(&mut message.body)?;
        }
        None if kind == Body::Response => {
            stream.read_to_end(&mut message.body)?;
        }
        None => {}
    }
    Ok(message)
}

/// Up to the empty line, which is not part of it.
fn read_lines(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut lines = String::new();
    loop {
        let start = lines.len();
        if stream.read_line(&mut lines)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        assert!(lines.ends_with("\r\n"), "a line without its end: {lines:?}");
        if lines.len() == start + 2 {
            lines.truncate(start);
            return Ok(lines);
        }
    }
}

/// A client's connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> Self {
        Self { stream: BufReader::new(dial(to).expect("the proxy accepts")) }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).expect("the proxy takes it");
    }

    /// As [`Client::send`], where the other side may have closed.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    pub(crate) fn try_read(&mut self) -> io::Result<Message> {
        read_message(&mut self.stream, Body::Response)
    }

    pub(crate) fn read(&mut self) -> Message {
        self.try_read().expect("a response")
    }

    /// The response to a HEAD.
    pub(crate) fn read_head(&mut self) -> Message {
        read_message(&mut self.stream, Body::HeadOnly).expect("a response")
    }

    /// Send a GET and read the response.
    pub(crate) fn get(&mut self, path: &str) -> Message {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        self.read()
    }

    /// Nothing more comes, and the proxy has closed.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0; 1]), Ok(0) | Err(_))
    }

    /// All bytes until the end, and whether that was in order.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        let ended = self.stream.read_to_end(&mut bytes).is_ok();
        (bytes, ended)
    }

    pub(crate) fn raw(&mut self) -> &mut BufReader<TcpStream> {
        &mut self.stream
    }
}

/// A request as a backend gets it.
pub(crate) struct Asked {
    pub(crate) message: Message,
    /// Counts the connections of the backend, from 0.
    pub(crate) connection: usize,
    /// Counts the requests of the connection, from 0.
    pub(crate) number: usize,
}

impl Asked {
    /// The request target.
    pub(crate) fn target(&self) -> &str {
        self.message.start().split(' ').nth(1).unwrap_or_default()
    }
}

/// What a backend does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Keep,
    Close,
}

/// A backend that speaks HTTP, and everything it was asked.
pub(crate) struct Web {
    pub(crate) backend: Backend,
    asked: Arc<Mutex<Vec<Message>>>,
}

impl Web {
    /// For each request, `answer` writes what it likes.
    pub(crate) fn new(
        answer: impl Fn(&Asked, &mut BufReader<TcpStream>) -> io::Result<Then> + Send + Sync + 'static,
    ) -> Self {
        let asked = Arc::<Mutex<Vec<Message>>>::default();
        let (all, connections) = (Arc::clone(&asked), AtomicUsize::new(0));
        let backend = Backend::new(move |stream| {
            let connection = connections.fetch_add(1, Ordering::AcqRel);
            stream.set_read_timeout(None).expect("a timeout");
            let mut stream = BufReader::new(stream);
            for number in 0.. {
                let Ok(message) = read_message(&mut stream, Body::Request) else { return };
                all.lock().expect("no panic").push(message.clone());
                let asked = Asked { message, connection, number };
                if !matches!(answer(&asked, &mut stream), Ok(Then::Keep)) {
                    return;
                }
            }
        });
        Self { backend, asked }
    }

    /// Says who it is, and what it was asked for.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::new(move |asked, stream| answer(stream, &format!("{name} {}", asked.target())))
    }

    /// Sends the body of a request back.
    pub(crate) fn mirror() -> Self {
        Self::new(|asked, stream| {
            let body = &asked.message.body;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.get_mut().write_all(head.as_bytes())?;
            stream.get_mut().write_all(body)?;
            Ok(Then::Keep)
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.backend.address
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Message> {
        self.asked.lock().expect("no panic").clone()
    }

    pub(crate) fn last(&self) -> Message {
        self.asked().pop().expect("a request")
    }
}

/// An ordinary answer.
pub(crate) fn answer(stream: &mut BufReader<TcpStream>, text: &str) -> io::Result<Then> {
    say(stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()))
}

/// These bytes, and go on.
pub(crate) fn say(stream: &mut BufReader<TcpStream>, bytes: &str) -> io::Result<Then> {
    stream.get_mut().write_all(bytes.as_bytes())?;
    Ok(Then::Keep)
}
