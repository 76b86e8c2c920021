//! What leaves: copied in runs where it may be, and never what frames or concerns a connection.

use super::*;

/// Parses, writes, and shows the bytes.
fn rewritten(bytes: &[u8], how: &RequestOut<'_>) -> Result<String, Unwritable> {
    let limits = Limits::default();
    let mut head = Head::with_limits(&limits);
    let Parsed::Complete(request) = parse_request(bytes, &limits, &names(), &mut head) else {
        panic!("{} is not accepted", text(bytes));
    };
    let mut out = [0; 4096];
    let len = write_request(&mut out, bytes, &request, &head, how)?;
    let mut short = vec![0; len];
    assert_eq!(write_request(&mut short, bytes, &request, &head, how), Ok(len));
    for room in 0..len {
        assert_eq!(write_request(&mut short[..room], bytes, &request, &head, how), Err(Unwritable::Full), "{room}");
    }
    Ok(std::str::from_utf8(&out[..len]).unwrap().replace("\r\n", "\n"))
}

fn response_rewritten(bytes: &[u8], asked: Method, how: &ResponseOut<'_>) -> Result<String, Unwritable> {
    let limits = Limits::default();
    let mut head = Head::with_limits(&limits);
    let Parsed::Complete(response) = parse_response(bytes, &limits, &names(), asked, &mut head) else {
        panic!("{} is not accepted", text(bytes));
    };
    let mut out = [0; 4096];
    let len = write_response(&mut out, bytes, &response, &head, how)?;
    for room in 0..len {
        let full = write_response(&mut out[..room], bytes, &response, &head, how);
        assert_eq!(full, Err(Unwritable::Full), "{room}");
    }
    let len = write_response(&mut out, bytes, &response, &head, how)?;
    Ok(std::str::from_utf8(&out[..len]).unwrap().replace("\r\n", "\n"))
}

fn set(names_of: &[&str]) -> NameSet {
    let mut set = NameSet::default();
    names_of.iter().for_each(|name| set.insert(name.as_bytes(), &names()));
    set
}

/// O13: the options of `Connection` are read before it is removed, wherever the fields that they name stand.
#[test]
fn what_connection_names_is_removed_and_so_is_all_that_is_hop_by_hop() {
    let request =
        b"GET / HTTP/1.1\r\nX-Foo: 1\r\nHost: a\r\nConnection: x-foo, keep-alive, Priority\r\nKeep-Alive: 1\r\n\
        Proxy-Connection: x\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\npriority: u=1\r\nx-FOO: 2\r\n\
        X-Food: 3\r\nTrailer: x\r\n\r\n";
    let out = rewritten(request, &as_it_came(None)).unwrap();
    assert_eq!(out, "GET / HTTP/1.1\nHost: a\nX-Food: 3\nTrailer: x\n\n");
    let response = b"HTTP/1.1 200 OK\r\nX-Foo: 1\r\nContent-Length: 5\r\nConnection: X-Foo\r\nServer: x\r\n\r\n";
    let how = ResponseOut {
        body: Body::Length(5),
        edits: Edits { removed: &NOTHING, added: &[] },
        connection: Connection::Implied,
    };
    let out = response_rewritten(response, Method::Get, &how).unwrap();
    assert_eq!(out, "HTTP/1.1 200 OK\nServer: x\nContent-Length: 5\n\n");
}

/// S16: a client cannot have its own identity, or what frames the message, taken away on the way.
#[test]
fn what_is_for_all_recipients_cannot_be_named_away() {
    let named = [
        "Host: a",
        "Authorization: x",
        "Cookie: c",
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: h",
        "X-Forwarded-Port: 1",
        "X-Real-IP: 1.2.3.4",
        "Forwarded: for=x",
        "Via: 1.1 x",
        "Content-Type: t",
        "Cache-Control: no-store",
        "X-Request-Id: 7",
        "Origin: o",
    ];
    for field in named {
        let name = field.split(':').next().unwrap();
        let host = if name == "Host" { "" } else { "Host: a\r\n" };
        let request = format!("GET / HTTP/1.1\r\n{host}Connection: {name}\r\n{field}\r\n\r\n");
        let out = rewritten(request.as_bytes(), &as_it_came(None)).unwrap();
        assert!(out.contains(field), "{field}: {out}");
    }
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\n";
    let out = rewritten(request, &as_it_came(None)).unwrap();
    assert_eq!(out, "POST / HTTP/1.1\nHost: a\nContent-Length: 5\n\n");
}

#[test]
fn lines_that_are_not_canonical_are_written_anew() {
    let request = b"\r\nGET /a?b HTTP/1.1\r\nHost:a\r\nA: 1\r\nB:2\r\nC:  3\r\nD: 4 \r\nE: 5\r\nF:\r\nG: \t\r\n\r\n";
    let out = rewritten(request, &as_it_came(None)).unwrap();
    assert_eq!(out, "GET /a?b HTTP/1.1\nHost: a\nA: 1\nB: 2\nC: 3\nD: 4\nE: 5\nF: \nG: \n\n");
}

#[test]
fn framing_is_written_from_what_was_understood() {
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    let check = |fields: &str, expected: &str| {
        let out = rewritten(post(fields).as_bytes(), &as_it_came(None)).unwrap();
        assert_eq!(out, format!("POST / HTTP/1.1\nHost: a\n{expected}\n"));
    };
    check("Content-Length: 007", "Content-Length: 7\n");
    check("content-length:0", "Content-Length: 0\n");
    check("Content-Length: 9999999999999999999", "Content-Length: 9999999999999999999\n");
    check("transfer-encoding:  CHUNKED", "Transfer-Encoding: chunked\n");
    check("Expect: 100-continue\r\nContent-Length: 1\r\nX: y", "X: y\nContent-Length: 1\n");
}

/// RFC 9112, 3.2.1, 3.2.2 and 3.2.4.
#[test]
fn absolute_targets_go_on_as_path_and_host() {
    let check = |start: &str, host: Option<&str>, expected: &str| {
        let request = format!("{start}\r\nX: y\r\nHost: ignored\r\nZ: z\r\n\r\n");
        let out = rewritten(request.as_bytes(), &as_it_came(host.map(str::as_bytes))).unwrap();
        assert_eq!(out, format!("{expected}\nX: y\nZ: z\n\n"));
    };
    check("GET http://b:81/p?q HTTP/1.1", None, "GET /p?q HTTP/1.1\nHost: b:81");
    check("GET http://b HTTP/1.1", None, "GET / HTTP/1.1\nHost: b");
    check("GET http://b?q HTTP/1.1", None, "GET /?q HTTP/1.1\nHost: b");
    check("OPTIONS http://b HTTP/1.1", None, "OPTIONS * HTTP/1.1\nHost: b");
    check("OPTIONS http://b/ HTTP/1.1", None, "OPTIONS / HTTP/1.1\nHost: b");
    check("OPTIONS * HTTP/1.1", Some("c"), "OPTIONS * HTTP/1.1\nHost: c");
    check("GET http://b/ HTTP/1.1", Some("c"), "GET / HTTP/1.1\nHost: c");
    check("GET / HTTP/1.1", Some("c"), "GET / HTTP/1.1\nHost: c");
    check("GET / HTTP/1.0", Some("c"), "GET / HTTP/1.1\nHost: c");
    assert_eq!(rewritten(b"GET / HTTP/1.0\r\n\r\n", &as_it_came(None)), Err(Unwritable::NoHost));
}

#[test]
fn targets_and_hosts_from_outside_are_checked() {
    let request = b"GET /old HTTP/1.1\r\nHost: a\r\n\r\n";
    let target = |target: &'static [u8]| rewritten(request, &RequestOut { target: Some(target), ..as_it_came(None) });
    assert_eq!(target(b"/new?q").unwrap(), "GET /new?q HTTP/1.1\nHost: a\n\n");
    for bad in [&b""[..], b"/ HTTP/1.1\r\nX: y", b"/a b", b"/a#b", b"/\xff", b"/\n"] {
        assert_eq!(target(bad), Err(Unwritable::Invalid), "{}", text(bad));
    }
    for bad in [&b"a\r\nX: y"[..], b"a b", b""] {
        assert_eq!(rewritten(request, &as_it_came(Some(bad))), Err(Unwritable::Invalid), "{}", text(bad));
    }
}

#[test]
fn fields_are_removed_and_added() {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: spoof\r\nx-own: 1\r\nX-Kept: 2\r\nX-OWN: 3\r\n\r\n";
    let (forwarded_for, own) = (FieldName::new(b"X-Forwarded-For", &names()), FieldName::new(b"X-New", &names()));
    let (forwarded_for, own) = (forwarded_for.unwrap(), own.unwrap());
    let added = [Added { name: &forwarded_for, value: b"192.0.2.1" }, Added { name: &own, value: b"" }];
    let removed = set(&["x-forwarded-for", "X-Own"]);
    let how = RequestOut { edits: Edits { removed: &removed, added: &added }, ..as_it_came(None) };
    let out = rewritten(request, &how).unwrap();
    assert_eq!(out, "GET / HTTP/1.1\nHost: a\nX-Kept: 2\nX-Forwarded-For: 192.0.2.1\nX-New: \n\n");
    for bad in [&b"a\r\nEvil: 1"[..], b"a\nb", b"a\0", b" a", b"a\t", b"\x7f"] {
        let added = [Added { name: &own, value: bad }];
        let how = RequestOut { edits: Edits { removed: &removed, added: &added }, ..as_it_came(None) };
        assert_eq!(rewritten(request, &how), Err(Unwritable::Invalid), "{}", text(bad));
    }
}

#[test]
fn fields_that_only_the_writer_writes_have_no_name() {
    for name in ["Content-Length", "TRANSFER-ENCODING", "connection", "Upgrade", "Host", "TE", "Keep-Alive", "", "a b"]
    {
        assert_eq!(FieldName::new(name.as_bytes(), &names()), None, "{name}");
    }
    assert!(FieldName::new(b"X-Anything", &names()).is_some());
}

#[test]
fn the_connection_is_spoken_of_as_asked() {
    let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let check = |connection, expected: &str| {
        let out = rewritten(request, &RequestOut { connection, ..as_it_came(None) }).unwrap();
        assert_eq!(out, format!("GET / HTTP/1.1\nHost: a\n{expected}\n"));
    };
    check(Connection::Implied, "");
    check(Connection::Close, "Connection: close\n");
    check(Connection::KeepAlive, "Connection: keep-alive\n");
    check(Connection::Upgrade(b"websocket"), "Connection: upgrade\nUpgrade: websocket\n");
    for bad in [&b""[..], b"a\r\nb"] {
        let how = RequestOut { connection: Connection::Upgrade(bad), ..as_it_came(None) };
        assert_eq!(rewritten(request, &how), Err(Unwritable::Invalid));
    }
}

#[test]
fn responses_are_framed_for_the_client() {
    let check = |response: &str, asked, body, connection, expected: &str| {
        let how = ResponseOut { body, edits: Edits { removed: &NOTHING, added: &[] }, connection };
        let response = response.replace('\n', "\r\n");
        let out = response_rewritten(response.as_bytes(), asked, &how).unwrap();
        assert_eq!(out, expected);
    };
    use Connection as C;
    let chunked = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nA: b\n\n";
    check(chunked, Method::Get, Body::Chunked, C::Implied, "HTTP/1.1 200 OK\nA: b\nTransfer-Encoding: chunked\n\n");
    check(chunked, Method::Get, Body::UntilClose, C::Close, "HTTP/1.1 200 OK\nA: b\nConnection: close\n\n");
    check(chunked, Method::Head, Body::None, C::Implied, "HTTP/1.1 200 OK\nA: b\n\n");
    let sized = "HTTP/1.0 404 Not Found\nContent-Length: 05\nA:b\n\n";
    check(
        sized,
        Method::Get,
        Body::Length(5),
        C::KeepAlive,
        "HTTP/1.1 404 Not Found\nA: b\nContent-Length: 5\nConnection: keep-alive\n\n",
    );
    check(sized, Method::Head, Body::None, C::Implied, "HTTP/1.1 404 Not Found\nA: b\nContent-Length: 5\n\n");
    check("HTTP/1.1 204\nContent-Length: 5\n\n", Method::Get, Body::None, C::Implied, "HTTP/1.1 204 \n\n");
    check(
        "HTTP/1.1 304 \nContent-Length: 5\n\n",
        Method::Get,
        Body::None,
        C::Implied,
        "HTTP/1.1 304 \nContent-Length: 5\n\n",
    );
}

#[test]
fn errors_say_why_in_text_or_json() {
    let refusal = Refusal::request(Reason::LengthAndChunked);
    let mut out = [0; 512];
    let mut written = |how: ErrorOut<'_>| {
        let len = write_error(&mut out, &how).unwrap();
        for room in 0..len {
            assert_eq!(write_error(&mut out[..room], &how), Err(Unwritable::Full));
        }
        let len = write_error(&mut out, &how).unwrap();
        std::str::from_utf8(&out[..len]).unwrap().replace("\r\n", "\n")
    };
    assert_eq!(
        written(ErrorOut::of(refusal, None, None)),
        "HTTP/1.1 400 Bad Request\nContent-Type: text/plain; charset=utf-8\nCache-Control: no-store\n\
         Content-Length: 43\nConnection: close\n\n400 Bad Request\nreason: length_and_chunked\n"
    );
    let json = written(ErrorOut::of(Refusal::response(Reason::Status), Some(b"application/json"), None));
    let (_, body) = json.split_once("\n\n").unwrap();
    let value: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(value["status"], 502);
    assert_eq!(value["reason"], "upstream_status");
    assert!(json.contains(&format!("Content-Length: {}\n", body.len())), "{json}");
    let head = written(ErrorOut::of(refusal, None, Some(Method::Head)));
    assert!(head.contains("Content-Length: 43\n") && head.ends_with("\n\n"), "{head}");
    let bad = ErrorOut { code: "a\"b", ..ErrorOut::of(refusal, None, None) };
    assert_eq!(write_error(&mut [0; 512], &bad), Err(Unwritable::Invalid));
}

#[test]
fn json_is_for_who_prefers_it() {
    let json = |accept: &str| Format::accepted(Some(accept.as_bytes())) == Format::Json;
    assert!(json("application/json"));
    assert!(json("Application/JSON;q=0.9, */*"));
    assert!(json("application/problem+json"));
    assert!(!json("text/html,application/json"));
    assert!(!json("*/*"));
    assert!(!json("application/jsonx"));
    assert!(!json("+json"));
    assert!(!json(""));
    assert_eq!(Format::accepted(None), Format::Text);
}
