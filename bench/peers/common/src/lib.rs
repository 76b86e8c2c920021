//! What every relay has in common: the command line, and how its socket listens.
//!
//! Each relay is what its runtime's own examples would make of the task: accept, connect, copy both ways until both
//! have ended. One thread; whoever starts it pins it.
#![forbid(unsafe_code)]

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::{
    env,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process, thread,
};

/// As for every rival of a duel.
const BACKLOG: i32 = 16_384;

/// `--listen IP:PORT --to IP:PORT [--buffer BYTES]`
#[derive(Clone, Copy, Debug)]
pub struct Args {
    pub listen: SocketAddr,
    pub to: SocketAddr,
    /// Of each direction of a connection. For the relay that splices: of a pipe.
    pub buffer: usize,
}

impl Args {
    /// From the command line; ends the process with 2 where it makes no sense.
    #[must_use]
    pub fn get(name: &str, buffer_default: usize) -> Self {
        parse(env::args().skip(1), buffer_default).unwrap_or_else(|message| {
            eprintln!("{name}: {message}\nusage: {name} --listen IP:PORT --to IP:PORT [--buffer BYTES]");
            process::exit(2)
        })
    }
}

fn parse(mut args: impl Iterator<Item = String>, buffer_default: usize) -> Result<Args, String> {
    let (mut listen, mut to, mut buffer) = (None, None, buffer_default);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} wants a value"))?;
        let bad = |e: &dyn std::fmt::Display| format!("{name} {value}: {e}");
        match name.as_str() {
            "--listen" => listen = Some(value.parse().map_err(|e| bad(&e))?),
            "--to" => to = Some(value.parse().map_err(|e| bad(&e))?),
            "--buffer" => buffer = value.parse().map_err(|e| bad(&e))?,
            _ => return Err(format!("there is no option {name}")),
        }
    }
    if buffer == 0 {
        return Err("--buffer 0: it holds at least one byte".into());
    }
    Ok(Args { listen: listen.ok_or("--listen is missing")?, to: to.ok_or("--to is missing")?, buffer })
}

/// A socket that listens and does not block.
///
/// # Errors
/// Those of binding.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// What every relay is tested for: bytes pass both ways, and so does the end of each direction by itself. `program` is
/// started between a client and a server of ours.
///
/// # Panics
/// Where it fails.
pub fn check(program: &str) {
    let server = TcpListener::bind("127.0.0.1:0").expect("a server");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let to = server.local_addr().expect("an address");
    let mut relay = process::Command::new(program)
        .args(["--listen", &free.to_string(), "--to", &to.to_string()])
        .spawn()
        .expect("the relay starts");
    let client = std::iter::repeat_with(|| {
        assert!(relay.try_wait().expect("it runs").is_none(), "the relay has ended");
        TcpStream::connect(free)
    });
    let mut client = client.flatten().next().expect("the relay listens");
    let echo = thread::spawn(move || {
        let (mut socket, _) = server.accept().expect("the relay connects");
        let mut bytes = Vec::new();
        // Nothing goes back before the client's end has come through.
        socket.read_to_end(&mut bytes).expect("the client's bytes");
        socket.write_all(&bytes).expect("the way back");
    });
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n ^ (n >> 8)) as u8).collect();
    client.write_all(&sent).expect("the way there");
    client.shutdown(Shutdown::Write).expect("half a close");
    let mut back = Vec::new();
    client.read_to_end(&mut back).expect("the bytes that come back");
    echo.join().expect("the server");
    relay.kill().and_then(|()| relay.wait()).expect("the end of the relay");
    assert!(back == sent, "{} of {} bytes came back", back.len(), sent.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Args, String> {
        parse(line.split_whitespace().map(String::from), 7)
    }

    #[test]
    fn the_command_line() {
        let args = parsed("--to 127.0.0.1:2 --listen 127.0.0.1:1").unwrap();
        assert_eq!((args.listen.port(), args.to.port(), args.buffer), (1, 2, 7));
        assert_eq!(parsed("--listen 127.0.0.1:1 --to 127.0.0.1:2 --buffer 9").unwrap().buffer, 9);
        for (wrong, words) in [
            ("", "--listen is missing"),
            ("--listen 127.0.0.1:1", "--to is missing"),
            ("--listen", "wants a value"),
            ("--listen here --to 127.0.0.1:2", "--listen here"),
            ("--port 1", "no option --port"),
            ("--listen 127.0.0.1:1 --to 127.0.0.1:2 --buffer 0", "--buffer 0"),
        ] {
            let message = parsed(wrong).expect_err(wrong);
            assert!(message.contains(words), "{wrong}: {message}");
        }
    }
}
