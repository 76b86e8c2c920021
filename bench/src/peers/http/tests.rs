//! The server as a careful client meets it, byte by byte.

use crate::{
    cli::Io,
    pattern::Pattern,
    peers::{Kind, Server},
    threads::Ground,
};
use std::{
    io::{Read, Write},
    net::TcpStream,
};

fn start() -> (Server, TcpStream) {
    let ground = Ground::test(1, Io::Auto);
    let server = Server::start(Kind::Http, &[([127, 0, 0, 1], 0).into()], &ground).expect("a server");
    let stream = TcpStream::connect(server.addresses[0]).expect("connect");
    (server, stream)
}

/// What comes back until the server closes.
fn said(request: &[u8]) -> Vec<u8> {
    let (server, mut stream) = start();
    stream.write_all(request).expect("the request goes out");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the answer comes in");
    server.stop().expect("a clean end");
    answer
}

fn text(request: &str) -> String {
    String::from_utf8_lossy(&said(request.as_bytes())).into_owned()
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let answer = text("GET /status/201 HTTP/1.1\r\n\r\nGET /status/202/close HTTP/1.1\r\n\r\n");
    let (first, second) = (answer.find("201").expect("one"), answer.find("202").expect("the other"));
    assert!(first < second && answer.matches("HTTP/1.1 ").count() == 2, "{answer}");
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let (server, mut stream) = start();
    stream.set_nodelay(true).expect("nodelay");
    for byte in b"\r\nPOST /echo/close HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" {
        stream.write_all(&[*byte]).expect("a byte");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    assert!(answer.contains("Content-Length: 5\r\n") && answer.ends_with("\r\n\r\nabcde"), "{answer}");
    server.stop().expect("a clean end");
}

#[test]
fn old_clients_and_those_that_ask_for_it_are_closed() {
    assert!(text("GET /size/1 HTTP/1.0\r\n\r\n").contains("Connection: close\r\n"));
    assert!(text("GET /size/1 HTTP/1.1\r\nConnection: close\r\n\r\n").contains("Connection: close\r\n"));
}

#[test]
fn what_is_no_request_is_refused_and_closed() {
    for wrong in ["nonsense\r\n\r\n", "GET / HTTP/2\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\na\r\n\r\n"]
    {
        assert!(text(wrong).starts_with("HTTP/1.1 400 "), "{wrong}");
    }
}

#[test]
fn a_body_that_is_not_what_it_was_said_to_be_is_noticed() {
    let post = |content: &[u8], length: usize| {
        let head = format!(
            "POST /size/1/close HTTP/1.1\r\nContent-Length: {}\r\nX-Bench-Body: {length}\r\n\r\n",
            content.len()
        );
        let answer = said(&[head.as_bytes(), content].concat());
        String::from_utf8_lossy(&answer[..12]).into_owned()
    };
    let mut content = [0; 100];
    Pattern::named(b"/size/1/close").fill(&mut content);
    assert_eq!(post(&content, 100), "HTTP/1.1 200");
    assert_eq!(post(&content[..99], 100), "HTTP/1.1 422");
    content[50] ^= 1;
    assert_eq!(post(&content, 100), "HTTP/1.1 422");
}

#[test]
fn leave_to_send_a_body_is_given() {
    let (server, mut stream) = start();
    let head = b"POST /echo/close HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head).expect("the head goes out");
    let mut leave = [0; 25];
    stream.read_exact(&mut leave).expect("leave comes");
    assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"ok").expect("the body goes out");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    assert!(answer.ends_with("ok"), "{answer}");
    server.stop().expect("a clean end");
}

#[test]
fn the_root_tells_what_there_is() {
    let answer = text("GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    assert!(answer.contains("/delay/TIME") && answer.contains("/never"), "{answer}");
}
