//! Requests with their responses, bodies of every kind, and what all of it costs in memory.

use balance_engine::testing::allocations;

use super::{chunk::Step, *};

fn request(bytes: &str) -> Request {
    let limits = Limits::default();
    let mut head = Head::with_limits(&limits);
    match parse_request(bytes.as_bytes(), &limits, &names(), &mut head) {
        Parsed::Complete(request) => request,
        other => panic!("{other:?}"),
    }
}

fn response(bytes: &str, asked: Method) -> Response {
    let limits = Limits::default();
    let mut head = Head::with_limits(&limits);
    match parse_response(bytes.as_bytes(), &limits, &names(), asked, &mut head) {
        Parsed::Complete(response) => response,
        other => panic!("{other:?}"),
    }
}

const NEW: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OLD: &str = "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";

fn answer(asked: &str, answered: &str, offered: Option<&[u8]>) -> Result<Answer, &'static str> {
    let mut exchange = Exchange::new(&request(asked));
    let response = response(answered, exchange.method);
    exchange.answer(answered.as_bytes(), &response, offered).map_err(Refusal::code)
}

#[test]
fn interim_responses_go_to_who_can_take_them() {
    let early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    assert_eq!(answer(NEW, early, None), Ok(Answer::Interim));
    assert_eq!(answer(OLD, early, None), Ok(Answer::Swallow));
    assert_eq!(answer(NEW, "HTTP/1.1 100 Continue\r\n\r\n", None), Ok(Answer::Swallow));
    assert_eq!(answer(NEW, "HTTP/1.1 199 X\r\n\r\n", None), Ok(Answer::Interim));
}

#[test]
fn interim_responses_are_counted() {
    let mut exchange = Exchange::new(&request(NEW));
    let early = "HTTP/1.1 102 X\r\n\r\n";
    let head = response(early, Method::Get);
    for _ in 0..16 {
        assert_eq!(exchange.answer(early.as_bytes(), &head, None), Ok(Answer::Interim));
    }
    let refusal = exchange.answer(early.as_bytes(), &head, None).unwrap_err();
    assert_eq!(refusal.code(), "upstream_too_many_interim");
}

/// S3: a tunnel only after a 101 with the protocol that was offered.
#[test]
fn protocols_switch_only_as_offered() {
    let switch = "HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    let unasked = Err("upstream_switch_unasked");
    assert_eq!(answer(NEW, switch, Some(b"websocket")), Ok(Answer::Switch));
    assert_eq!(answer(NEW, switch, None), unasked);
    assert_eq!(answer(NEW, switch, Some(b"h2c")), unasked);
    let bare = "HTTP/1.1 101 X\r\n\r\n";
    assert_eq!(answer(NEW, bare, Some(b"websocket")), unasked);
    let unnamed = "HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(answer(NEW, unnamed, Some(b"websocket")), unasked);
    let two = "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket, h2c\r\n\r\n";
    assert_eq!(answer(NEW, two, Some(b"websocket")), unasked);
    let old = "HTTP/1.0 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(answer(NEW, old, Some(b"websocket")), unasked);
}

#[test]
fn bodies_are_framed_as_the_client_can_read_them() {
    let framed = |asked: &str, fields: &str| {
        let Ok(Answer::Final { body }) = answer(asked, &format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), None) else {
            panic!("no final answer");
        };
        body
    };
    assert_eq!(framed(NEW, "Content-Length: 5\r\n"), Body::Length(5));
    assert_eq!(framed(OLD, "Content-Length: 5\r\n"), Body::Length(5));
    assert_eq!(framed(NEW, "Transfer-Encoding: chunked\r\n"), Body::Chunked);
    assert_eq!(framed(OLD, "Transfer-Encoding: chunked\r\n"), Body::UntilClose);
    assert_eq!(framed(NEW, ""), Body::Chunked);
    assert_eq!(framed(OLD, ""), Body::UntilClose);
    assert_eq!(framed("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", ""), Body::None);
}

#[test]
fn a_clients_connection_persists_when_all_agree() {
    let exchange = |bytes| Exchange::new(&request(bytes));
    let length = Body::Length(5);
    assert_eq!(exchange(NEW).persistence(length, true, true), (true, Connection::Implied));
    assert_eq!(exchange(OLD).persistence(length, true, true), (true, Connection::KeepAlive));
    assert_eq!(exchange(OLD).persistence(Body::UntilClose, true, true), (false, Connection::Close));
    assert_eq!(exchange(NEW).persistence(length, false, true), (false, Connection::Close));
    assert_eq!(exchange(NEW).persistence(length, true, false), (false, Connection::Close));
    let closing = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(closing).persistence(length, true, true), (false, Connection::Close));
}

#[test]
fn a_body_is_read_to_its_length() {
    let (limits, names) = (Limits::default(), names());
    let mut head = Head::with_limits(&limits);
    let mut body = Incoming::new(Side::Response, Body::Length(10));
    assert_eq!(body.read(b"", &limits, &names, &mut head), Step::NeedMore { consumed: 0 });
    assert_eq!(body.read(b"abc", &limits, &names, &mut head), Step::Data { skip: 0, len: 3 });
    assert_eq!(body.left(), 7);
    assert_eq!(body.connection_ended().unwrap_err().code(), "upstream_incomplete");
    body.moved(5);
    assert_eq!(body.read(b"abcd", &limits, &names, &mut head), Step::Data { skip: 0, len: 2 });
    assert!(body.is_over());
    assert_eq!(body.read(b"cd", &limits, &names, &mut head), Step::End { consumed: 0 });
    assert_eq!(body.connection_ended(), Ok(()));
    let mut none = Incoming::new(Side::Request, Body::None);
    assert_eq!(none.read(b"GET", &limits, &names, &mut head), Step::End { consumed: 0 });
}

#[test]
fn a_body_without_length_ends_with_its_connection() {
    let (limits, names) = (Limits::default(), names());
    let mut head = Head::with_limits(&limits);
    let mut body = Incoming::new(Side::Response, Body::UntilClose);
    assert_eq!(body.read(b"abc", &limits, &names, &mut head), Step::Data { skip: 0, len: 3 });
    body.moved(1 << 40);
    assert!(!body.is_over());
    assert_eq!(body.connection_ended(), Ok(()));
}

#[test]
fn a_chunked_body_that_is_cut_off_is_incomplete() {
    let (limits, names) = (Limits::default(), names());
    let mut head = Head::with_limits(&limits);
    let mut body = Incoming::new(Side::Request, Body::Chunked);
    let _ = body.read(b"0\r\n", &limits, &names, &mut head);
    assert_eq!(body.connection_ended().unwrap_err().code(), "incomplete");
    assert_eq!(body.read(b"\r\n", &limits, &names, &mut head), Step::End { consumed: 2 });
    assert_eq!(body.connection_ended(), Ok(()));
}

#[test]
fn a_message_costs_no_allocation() {
    let (limits, names) = (Limits::default(), names());
    let mut head = Head::with_limits(&limits);
    let fields: String = (0..98).map(|number| format!("X-Field-{number}: {number}\r\n")).collect();
    let asked = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: x-field-1\r\n{fields}\r\n");
    let answered = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{fields}\r\n");
    let body = b"5;x\r\nhello\r\n0\r\nX: y\r\n\r\n";
    let name = FieldName::new(b"X-Forwarded-For", &names).unwrap();
    let added = [Added { name: &name, value: b"192.0.2.1" }];
    let mut removed = NameSet::default();
    removed.insert(b"x-field-2", &names);
    let edits = Edits { removed: &removed, added: &added };
    let mut out = [0; 8192];
    let before = allocations();
    for _ in 0..3 {
        let Parsed::Complete(request) = parse_request(asked.as_bytes(), &limits, &names, &mut head) else { panic!() };
        let how = RequestOut { target: Some(b"/b"), host: Some(b"b"), edits, connection: Connection::Implied };
        write_request(&mut out, asked.as_bytes(), &request, &head, &how).unwrap();
        let parsed = parse_response(answered.as_bytes(), &limits, &names, request.method, &mut head);
        let Parsed::Complete(response) = parsed else { panic!() };
        let how = ResponseOut { body: response.body, edits, connection: Connection::Close };
        write_response(&mut out, answered.as_bytes(), &response, &head, &how).unwrap();
        let mut incoming = Incoming::new(Side::Response, response.body);
        assert_eq!(incoming.read(body, &limits, &names, &mut head), Step::Data { skip: 5, len: 5 });
        assert!(matches!(incoming.read(&body[10..], &limits, &names, &mut head), Step::End { .. }));
        write_trailers(&mut out, &body[10..], &head).unwrap();
        write_error(&mut out, &ErrorOut::of(Refusal::response(Reason::Status), None, None)).unwrap();
    }
    assert_eq!(allocations(), before);
    // That it counts at all.
    drop(std::hint::black_box(Box::new(1)));
    assert!(allocations() > before);
}
