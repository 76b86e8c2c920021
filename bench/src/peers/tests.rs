use super::*;
use crate::{
    cli::Io,
    pattern::{Checker, Pattern},
};
use std::{
    io::{Read, Write as _},
    net::{Shutdown, TcpStream},
};

fn start(kind: Kind) -> (Server, TcpStream) {
    let server = Server::start(kind, &[([127, 0, 0, 1], 0).into()], &Ground::test(2, Io::Auto)).expect("a server");
    let stream = TcpStream::connect(server.addresses[0]).expect("connect");
    (server, stream)
}

#[test]
fn echo_sends_back_everything_before_it_closes() {
    let (server, mut stream) = start(Kind::ECHO);
    let mut sent = vec![0; 300_000];
    Pattern::new(1, 1).fill(&mut sent);
    let mut writer = stream.try_clone().expect("clone");
    let copy = sent.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&copy).expect("write");
        writer.shutdown(Shutdown::Write).expect("shutdown");
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).expect("read");
    writing.join().expect("the writer");
    assert!(back == sent, "{} of {} bytes", back.len(), sent.len());
    server.stop().expect("a clean end");
}

#[test]
fn source_sends_a_stream_that_can_be_checked() {
    let (server, mut stream) = start(Kind::SOURCE);
    let mut bytes = vec![0; 1 << 20];
    stream.read_exact(&mut bytes).expect("read");
    let mut checker = Checker::UNKNOWN;
    assert_eq!(checker.check(&bytes), Ok(()));
    drop(stream);
    server.stop().expect("a clean end");
}

#[test]
fn sink_takes_a_pattern_and_resets_on_a_wrong_byte() {
    let (server, mut stream) = start(Kind::SINK);
    let mut bytes = vec![0; 100_000];
    Pattern::new(1, 1).fill(&mut bytes);
    stream.write_all(&bytes).expect("the pattern is taken");
    stream.write_all(b"something else").expect("still open");
    let error = stream.read(&mut [0]).expect_err("a reset, not an end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    server.stop().expect("a clean end");
}

#[test]
fn another_server_on_the_port_is_an_error() {
    let (server, _stream) = start(Kind::ECHO);
    let taken = Server::start(Kind::ECHO, &server.addresses, &Ground::test(1, Io::Auto));
    let message = taken.err().expect("the port is taken").message;
    assert!(message.starts_with("cannot listen on 127.0.0.1:"), "{message}");
    server.stop().expect("a clean end");
}
