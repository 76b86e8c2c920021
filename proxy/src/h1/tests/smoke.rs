//! One request and one response, there and back.

use super::*;

#[test]
fn a_request_is_read_and_written() {
    let (limits, names) = (Limits::default(), names());
    let mut head = Head::with_limits(&limits);
    let bytes = b"GET /a?b=c HTTP/1.1\r\nHost: example.com:8080\r\nConnection: x-hop, keep-alive\r\nX-Hop: 1\r\nAccept:  */* \r\n\r\nrest";
    let Parsed::Complete(request) = parse_request(bytes, &limits, &names, &mut head) else { panic!() };
    assert_eq!(request.head_len, bytes.len() - 4);
    assert_eq!(request.path.of(bytes), b"/a");
    let mut out = [0; 1024];
    let none = NameSet::default();
    let how = RequestOut {
        target: None,
        host: None,
        edits: Edits { removed: &none, added: &[] },
        connection: Connection::Implied,
    };
    let len = write_request(&mut out, bytes, &request, &head, &how).unwrap();
    assert_eq!(
        std::str::from_utf8(&out[..len]).unwrap(),
        "GET /a?b=c HTTP/1.1\r\nHost: example.com:8080\r\nAccept: */*\r\n\r\n"
    );
}
