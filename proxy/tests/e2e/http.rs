//! Requests and responses through an HTTP listener, seen from both sides.

use crate::harness::{
    Mode, Rig, cluster,
    peers::nobody,
    web::{Client, Then, Web, answer, say},
};
use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr},
    sync::{Mutex, mpsc},
};

/// Connections to endpoints do not stay for long, so that counters settle.
const POOL: &str = "[clusters.app.pool]\nidle_timeout = \"200ms\"\n";

pub(crate) fn http(more: &str) -> String {
    format!(
        "[runtime]\ncores = [0]\n[[listeners]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\nprotocol = \"http\"\n{more}\n"
    )
}

/// One listener before one cluster.
fn plain(endpoints: &[SocketAddr]) -> String {
    http("cluster = \"app\"") + &cluster("app", endpoints, "") + POOL
}

fn client(rig: &mut Rig) -> Client {
    Client::connect(rig.proxy.listening("web"))
}

/// O1: what was asked for is what the endpoint is asked for. O21: connections are used again.
fn requests_follow_each_other_on_one_connection(mode: Mode) {
    let web = Web::named("a");
    let mut rig = Rig::start(mode, &plain(&[web.address()]));
    let mut client = client(&mut rig);
    for path in ["/", "/foo", "/api?id=1", "/a%20b?x=%2f&y", "/?"] {
        assert_eq!(client.get(path).text(), format!("a {path}"));
    }
    assert_eq!(web.backend.accepted(), 1);
    drop(client);
    rig.settled();
}
scenario!(requests_follow_each_other_on_one_connection: uring, epoll, uring_floor);

fn pipelined_requests_are_answered_in_order(mode: Mode) {
    let web = Web::named("a");
    let mut rig = Rig::start(mode, &plain(&[web.address()]));
    let mut client = client(&mut rig);
    let all: String = (0..50).map(|i| format!("GET /{i} HTTP/1.1\r\nHost: test\r\n\r\n")).collect();
    client.send(all);
    for i in 0..50 {
        assert_eq!(client.read().text(), format!("a /{i}"));
    }
    drop(client);
    rig.settled();
}
scenario!(pipelined_requests_are_answered_in_order: uring, epoll);

/// Of every length and in both codings, both ways.
fn bodies_arrive_whole(mode: Mode) {
    let web = Web::mirror();
    let mut rig = Rig::start(mode, &plain(&[web.address()]));
    let mut client = client(&mut rig);
    for size in [0, 1, 2, 1000, 4000, 4096, 5000, 16_384, 65_536, 1 << 20, 9 << 20] {
        let body: Vec<u8> = (0..size).map(|i| (i * 7 + i / 251) as u8).collect();
        client.send(format!("POST /p HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n"));
        let (mut up, copy) = (client.raw().get_ref().try_clone().expect("a socket"), body.clone());
        let sender = std::thread::spawn(move || up.write_all(&copy));
        assert!(client.read().body == body, "{size} bytes with their length");
        sender.join().expect("it ends").expect("it is taken");

        let mut chunked = b"POST /c HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for part in body.chunks(10_007) {
            chunked.extend(format!("{:x};ext=1\r\n", part.len()).bytes());
            chunked.extend(part);
            chunked.extend(b"\r\n");
        }
        chunked.extend(b"0\r\n\r\n");
        let mut up = client.raw().get_ref().try_clone().expect("a socket");
        let sender = std::thread::spawn(move || up.write_all(&chunked));
        assert!(client.read().body == body, "{size} bytes in chunks");
        sender.join().expect("it ends").expect("it is taken");
        assert_eq!(web.last().fields("transfer-encoding"), ["chunked"]);
    }
    drop(client);
    rig.settled();
}
scenario!(bodies_arrive_whole: uring, epoll, uring_floor);

fn responses_of_every_framing_arrive(mode: Mode) {
    let web = Web::new(|asked, stream| match asked.target() {
        "/chunked" => say(
            stream,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-Sum: 9\r\n\r\n",
        ),
        "/close" => say(stream, "HTTP/1.0 200 OK\r\n\r\nuntil the end").map(|_| Then::Close),
        "/none" => say(stream, "HTTP/1.1 204 No Content\r\n\r\n"),
        "/304" => say(stream, "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nETag: \"e\"\r\n\r\n"),
        "/hints" => say(stream, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").and_then(|_| answer(stream, "late")),
        _ => answer(stream, "plain"),
    });
    let mut rig = Rig::start(mode, &plain(&[web.address()]));
    let mut client = client(&mut rig);
    let chunked = client.get("/chunked");
    assert_eq!((chunked.text(), chunked.trailers.as_str()), ("hello world", "X-Sum: 9\r\n"));
    let closed = client.get("/close");
    assert_eq!((closed.text(), closed.fields("transfer-encoding")), ("until the end", vec!["chunked"]));
    assert_eq!(client.get("/none").status(), 204);
    let unchanged = client.get("/304");
    assert_eq!((unchanged.status(), unchanged.fields("content-length")), (304, vec!["99"]));
    assert_eq!(client.get("/hints").status(), 103);
    assert_eq!(client.read().text(), "late");
    client.send("HEAD /x HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.read_head().fields("content-length"), ["5"]);
    assert_eq!(client.get("/").text(), "plain");
    drop(client);
    rig.settled();
}
scenario!(responses_of_every_framing_arrive: uring, epoll);

fn an_old_client_gets_what_it_understands(mode: Mode) {
    let web = Web::new(|_, stream| {
        say(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    });
    let mut rig = Rig::start(mode, &plain(&[web.address()]));
    let mut client = client(&mut rig);
    client.send("GET / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n");
    let (text, ended) = client.rest();
    let text = String::from_utf8(text).expect("text");
    assert!(ended && text.ends_with("\r\n\r\nhello") && text.contains("Connection: close\r\n"), "{text}");
    assert!(!text.to_lowercase().contains("transfer-encoding"), "{text}");
    assert_eq!(web.last().start(), "GET / HTTP/1.1");
    drop(client);
    rig.settled();
}
scenario!(an_old_client_gets_what_it_understands: uring, epoll);

/// S1, S2: nothing of it reaches an endpoint.
fn what_is_ambiguous_is_refused(mode: Mode) {
    let web = Web::named("a");
    let mut rig = Rig::start(mode, &plain(&[web.address()]));
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ] {
        let mut client = client(&mut rig);
        client.send(request);
        let response = client.read();
        assert_eq!(response.status(), status, "{request}");
        assert_eq!(response.fields("connection"), ["close"], "{request}");
        assert!(client.is_closed());
    }
    let mut framed = client(&mut rig);
    assert_eq!(framed.get("/../../etc/passwd").status(), 400, "whose end is known, so the connection goes on");
    assert_eq!(framed.get("/a%00b").status(), 400);
    drop(framed);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000));
    let mut client = client(&mut rig);
    client.send(long);
    assert_eq!(client.read().status(), 414);
    drop(client);
    assert_eq!(web.asked().len(), 0);
    rig.settled();
}
scenario!(what_is_ambiguous_is_refused: uring, epoll);

/// Pain 3: an endpoint that closes kept connections when it likes costs no client anything.
fn an_endpoint_may_close_kept_connections(mode: Mode) {
    let web = Web::new(|asked, stream| {
        answer(stream, "here")?;
        Ok(if (asked.connection + asked.number) % 3 == 2 { Then::Close } else { Then::Keep })
    });
    let mut rig = Rig::start(mode, &plain(&[web.address()]));
    let mut clients: Vec<Client> = (0..8).map(|_| client(&mut rig)).collect();
    for round in 0..100 {
        for client in &mut clients {
            let response = client.get("/");
            assert_eq!(response.status(), 200, "round {round}: {response:?}");
        }
    }
    drop(clients);
    rig.settled();
}
scenario!(an_endpoint_may_close_kept_connections: uring, epoll);

/// A POST whose connection is lost is not sent twice.
fn only_what_is_safe_is_sent_again(mode: Mode) {
    let web = Web::new(|asked, stream| if asked.number == 0 { answer(stream, "first") } else { Ok(Then::Close) });
    let mut rig = Rig::start(mode, &plain(&[web.address()]));
    let mut client = client(&mut rig);
    assert_eq!(client.get("/").text(), "first");
    assert_eq!(client.get("/again").text(), "first", "sent again, on another connection");
    assert_eq!(web.asked().len(), 3);
    client.send("POST /p HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(client.read().status(), 502);
    assert_eq!(web.asked().iter().filter(|m| m.start().starts_with("POST")).count(), 1);
    assert_eq!(client.get("/").text(), "first", "the client's connection goes on");
    drop(client);
    rig.settled();
}
scenario!(only_what_is_safe_is_sent_again: uring, epoll);

fn a_dead_endpoint_is_passed_over(mode: Mode) {
    let web = Web::named("alive");
    let mut rig = Rig::start(mode, &plain(&[nobody(), web.address()]));
    let mut client = client(&mut rig);
    for _ in 0..10 {
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(client.read().text(), "alive /");
    }
    drop(client);
    rig.settled();
}
scenario!(a_dead_endpoint_is_passed_over: uring, epoll);

fn without_an_endpoint_there_is_an_answer(mode: Mode) {
    let mut rig = Rig::start(mode, &plain(&[nobody()]));
    let mut client = client(&mut rig);
    let response = client.get("/");
    assert_eq!((response.status(), response.text()), (502, "502 Bad Gateway\nreason: connect_failed\n"));
    client.send("GET / HTTP/1.1\r\nHost: test\r\nAccept: application/json\r\n\r\n");
    let response = client.read();
    assert_eq!(response.fields("content-type"), ["application/json"]);
    let body: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!((&body["status"], &body["reason"]), (&502.into(), &"connect_failed".into()));
    drop(client);
    rig.settled();
}
scenario!(without_an_endpoint_there_is_an_answer: uring, epoll);

/// S5: a part is never made to look whole.
fn a_response_that_breaks_off_is_a_reset(mode: Mode) {
    let web = Web::new(|asked, stream| {
        say(
            stream,
            match asked.target() {
                "/length" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
                _ => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
            },
        )?;
        Ok(Then::Close)
    });
    let mut rig = Rig::start(mode, &plain(&[web.address()]));
    for path in ["/length", "/chunked"] {
        let mut client = client(&mut rig);
        client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        assert!(client.try_read().is_err(), "{path}");
    }
    rig.settled();
}
scenario!(a_response_that_breaks_off_is_a_reset: uring, epoll);

/// S5: what comes behind a response is nobody's.
fn bytes_behind_a_response_are_thrown_away(mode: Mode) {
    let web = Web::new(|_, stream| {
        say(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmineHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nothers",
        )
    });
    let mut rig = Rig::start(mode, &plain(&[web.address()]));
    let mut client = client(&mut rig);
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "mine");
    }
    assert_eq!(web.backend.accepted(), 5, "no such connection is used again");
    drop(client);
    rig.settled();
}
scenario!(bytes_behind_a_response_are_thrown_away: uring, epoll);

/// S6: the client is answered here, and the endpoint never sees the expectation.
fn a_client_that_waits_for_100_gets_it(mode: Mode) {
    let web = Web::mirror();
    let mut rig = Rig::start(mode, &plain(&[web.address()]));
    let mut client = client(&mut rig);
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.read().status(), 100);
    client.send("hello");
    assert_eq!(client.read().text(), "hello");
    assert!(web.last().fields("expect").is_empty(), "{}", web.last().head);
    drop(client);
    rig.settled();
}
scenario!(a_client_that_waits_for_100_gets_it: uring, epoll);

/// The endpoint answers before it has read all: the client gets that, and the connection ends.
fn an_early_answer_reaches_a_client_that_still_sends(mode: Mode) {
    let backend = crate::harness::peers::Backend::new(|mut stream| {
        let mut head = [0; 1024];
        let _some = stream.read(&mut head);
        let _sent = stream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno\n");
        let _rest = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut rig = Rig::start(mode, &plain(&[backend.address]));
    let mut client = client(&mut rig);
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", 64 << 20));
    client.send(vec![7; 200_000]);
    let response = client.read();
    assert_eq!((response.status(), response.text()), (413, "no\n"));
    assert_eq!(response.fields("connection"), ["close"]);
    let _ignored = client.try_send(vec![7; 100_000]);
    drop(client);
    rig.settled();
}
scenario!(an_early_answer_reaches_a_client_that_still_sends: uring, epoll);

/// O19, S3: the tunnel begins with the 101 and not before; what came early comes first.
fn a_websocket_is_a_tunnel_after_101(mode: Mode) {
    let web = Web::new(|asked, stream| {
        assert_eq!(asked.message.fields("upgrade"), ["websocket"]);
        say(stream, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly")?;
        let mut frame = [0; 5];
        stream.read_exact(&mut frame)?;
        assert_eq!(&frame, b"frame");
        let mut more = [0; 4];
        stream.read_exact(&mut more)?;
        stream.get_mut().write_all(&more)?;
        stream.get_ref().shutdown(Shutdown::Write)?;
        Ok(Then::Close)
    });
    let mut rig = Rig::start(mode, &plain(&[web.address()]));
    let mut client = client(&mut rig);
    client.send("GET /ws HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nframe");
    let response = client.read();
    assert_eq!((response.status(), response.fields("upgrade")), (101, vec!["websocket"]));
    let mut early = [0; 5];
    client.raw().read_exact(&mut early).expect("what came early");
    assert_eq!(&early, b"early");
    client.send("more");
    client.raw().get_ref().shutdown(Shutdown::Write).expect("a FIN");
    assert_eq!(client.rest(), (b"more".to_vec(), true));
    drop(client);
    rig.settled();
}
scenario!(a_websocket_is_a_tunnel_after_101: uring, epoll);

/// S3: a switch that nobody asked for is an error of the endpoint.
fn a_101_that_nobody_asked_for_is_refused(mode: Mode) {
    let web = Web::new(|_, stream| {
        say(stream, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    });
    let mut rig = Rig::start(mode, &plain(&[web.address()]));
    let mut client = client(&mut rig);
    assert_eq!(client.get("/").status(), 502);
    drop(client);
    rig.settled();
}
scenario!(a_101_that_nobody_asked_for_is_refused: uring, epoll);

/// O2, O7, O13, and what routes do besides.
fn routes_and_headers(mode: Mode) {
    let (a, b) = (Web::named("a"), Web::named("b"));
    let routes = "cluster = \"app\"\n\
        [[listeners.routes]]\nname = \"api\"\nmatch = { host = \"api.test\", path_prefix = \"/v1\" }\ncluster = \"api\"\n\
        rewrite = { strip_prefix = \"/v1\" }\nrequest_headers = [{ action = \"set\", name = \"X-Route\", value = \"{route}\" }]\n\
        response_headers = [{ action = \"set\", name = \"X-Served-By\", value = \"{cluster}\" }]\n\
        [[listeners.routes]]\nname = \"old\"\nmatch = { path = \"/old\" }\nredirect = { status = 301, path = \"/new\" }\n\
        [[listeners.routes]]\nname = \"ping\"\nmatch = { path = \"/ping\" }\nresponse = { status = 200, body = \"pong\" }\n";
    let config = http(routes)
        + &cluster("app", &[a.address()], "")
        + POOL
        + &cluster("api", &[b.address()], "")
        + "[clusters.api.pool]\nidle_timeout = \"200ms\"\n";
    let mut rig = Rig::start(mode, &config);
    let mut client = client(&mut rig);
    assert_eq!(client.get("/v1/x").text(), "a /v1/x");
    client.send("GET /v1/x?y HTTP/1.1\r\nHost: API.test:80\r\nConnection: X-Secret\r\nX-Secret: 1\r\nX-Forwarded-For: 9.9.9.9\r\n\r\n");
    let response = client.read();
    assert_eq!((response.text(), response.fields("x-served-by")), ("b /x?y", vec!["api"]));
    let asked = b.last();
    assert_eq!((asked.fields("x-route"), asked.fields("x-forwarded-for")), (vec!["api"], vec!["127.0.0.1"]));
    assert_eq!((asked.fields("x-secret"), asked.fields("connection")), (vec![], vec![]));
    let moved = client.get("/old?q=1");
    assert_eq!((moved.status(), moved.fields("location")), (301, vec!["/new?q=1"]));
    assert_eq!(client.get("/ping").text(), "pong");
    client.send("HEAD /ping HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.read_head().fields("content-length"), ["4"]);
    assert_eq!(client.get("/").text(), "a /");
    drop(client);
    rig.settled();
}
scenario!(routes_and_headers: uring, epoll);

fn what_is_late_has_an_answer(mode: Mode) {
    let web = Web::new(|_, stream| {
        // Until the proxy has closed.
        let _end = std::io::copy(stream, &mut std::io::sink());
        Ok(Then::Close)
    });
    let config = http("cluster = \"app\"\n[listeners.http]\nheader_timeout = \"300ms\"\nidle_timeout = \"300ms\"")
        + &cluster("app", &[web.address()], "")
        + POOL
        + "[clusters.app.timeouts]\nresponse = \"200ms\"\n";
    let mut rig = Rig::start(mode, &config);
    let mut slow = client(&mut rig);
    slow.send("GET / HTTP/1.1\r\nHo");
    let response = slow.read();
    assert_eq!((response.status(), response.text()), (408, "408 Request Timeout\nreason: header_timeout\n"));
    assert!(slow.is_closed());
    let mut waiting = client(&mut rig);
    waiting.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    let response = waiting.read();
    assert_eq!((response.status(), response.text()), (504, "504 Gateway Timeout\nreason: response_timeout\n"));
    assert!(waiting.is_closed(), "idle for too long");
    drop((slow, waiting));
    rig.settled();
}
scenario!(what_is_late_has_an_answer: uring, epoll);

/// A reload between two requests on one connection: the second goes the new way.
fn a_reload_holds_from_the_next_request_on(mode: Mode) {
    let (a, b) = (Web::named("a"), Web::named("b"));
    let mut rig = Rig::start(mode, &plain(&[a.address()]));
    let mut client = client(&mut rig);
    assert_eq!(client.get("/").text(), "a /");
    rig.reload(&plain(&[b.address()]));
    assert_eq!(client.get("/").text(), "b /");
    drop(client);
    rig.settled();
}
scenario!(a_reload_holds_from_the_next_request_on: uring, epoll);

/// TERM: a request under way is answered, with word that the connection ends; one that waits for none just ends.
fn a_drain_ends_connections_between_requests(mode: Mode) {
    let (tell, told) = mpsc::channel();
    let (open, opened) = mpsc::channel::<()>();
    let gate = Mutex::new(Some(opened));
    let web = Web::new(move |asked, stream| {
        if asked.target() == "/slow" {
            tell.send(()).expect("the test waits");
            let opened = gate.lock().expect("no panic").take().expect("once");
            opened.recv().expect("the test goes on");
        }
        answer(stream, "done")
    });
    let mut rig = Rig::start(mode, &plain(&[web.address()]));
    let (mut idle, mut busy) = (client(&mut rig), client(&mut rig));
    assert_eq!(idle.get("/").text(), "done");
    busy.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    told.recv().expect("it is asked");
    rig.proxy.signal("TERM");
    assert!(idle.is_closed());
    open.send(()).expect("the endpoint waits");
    let response = busy.read();
    assert_eq!((response.text(), response.fields("connection")), ("done", vec!["close"]));
    assert_eq!(rig.proxy.wait().code(), Some(0));
}
scenario!(a_drain_ends_connections_between_requests: uring, epoll);

/// Every name that dashboards of the origin know and that HTTP has so far.
fn requests_are_counted(mode: Mode) {
    let web = Web::new(|asked, stream| match asked.target() {
        "/bad" => say(stream, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
        _ => answer(stream, "fine"),
    });
    let mut rig = Rig::start(mode, &plain(&[web.address()]));
    let mut client = client(&mut rig);
    for _ in 0..3 {
        client.get("/");
    }
    client.get("/bad");
    client.get("/../..");
    let at = web.address();
    let of = format!("cluster=\"app\",backend=\"{at}\"");
    for (name, value) in [
        (format!("balance_requests_total{{{of},method=\"GET\",status=\"2xx\"}}"), 3.0),
        (format!("balance_requests_total{{{of},method=\"GET\",status=\"5xx\"}}"), 1.0),
        (format!("balance_request_duration_seconds_count{{{of}}}"), 4.0),
        (format!("balance_pool_connections_reused_total{{{of}}}"), 3.0),
        (
            "balance_http_requests_total{listener=\"web\",route=\"default\",method=\"GET\",status=\"2xx\"}".to_owned(),
            3.0,
        ),
        ("balance_request_errors_total{error_type=\"path\"}".to_owned(), 1.0),
        ("balance_retries_total".to_owned(), 0.0),
    ] {
        assert_eq!(rig.metric(&name), value, "{name}");
    }
    drop(client);
    rig.settled();
}
scenario!(requests_are_counted: uring, epoll);
