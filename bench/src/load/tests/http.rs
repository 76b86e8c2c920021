//! `bench http` against our own backend, well behaved and not.

use super::*;
use crate::http::{
    request::{Content, Form, Request},
    url::Url,
};
use crate::plan::HttpPlan;

fn form() -> Form {
    Form { method: "GET".into(), headers: Vec::new(), body: Content::None, keep_alive: true, checks: true }
}

fn asking(form: Form, pipeline: u32, paths: &[&str], to: SocketAddr) -> Plan {
    let request = |path: &&str| Request::new(&form, &Url::parse(&format!("http://{to}{path}")).expect("a URL"));
    let requests = vec![paths.iter().map(request).collect()];
    let (url, keep_alive) = (paths[0].to_owned(), form.keep_alive);
    let http = HttpPlan { requests, pipeline, keep_alive, form, url };
    Plan { mode: Mode::Http, protocol: Protocol::Http(Arc::new(http)), ..plan(Mode::Http, to) }
}

fn backend() -> (Server, SocketAddr) {
    serve(Kind::Http)
}

/// One hundred requests for a path.
fn ask(path: &str) -> Outcome {
    let (server, to) = backend();
    let outcome = measure(asking(form(), 1, &[path], to));
    server.stop().expect("a clean end");
    outcome
}

#[test]
fn requests_are_answered_and_counted_exactly() {
    let (server, to) = backend();
    for io in [Io::Auto, Io::Epoll] {
        for pipeline in [1, 7] {
            let outcome = on(io, asking(form(), pipeline, &["/size/100", "/chunked/5000", "/size/0"], to));
            let tally = &outcome.tally;
            assert_eq!((tally.requests, tally.latency.len()), (100, 100), "{io:?}, {pipeline} ahead");
            assert_eq!(tally.errors.total(), 0, "{:?}", tally.errors);
            assert_eq!(tally.statuses.sorted(), [(200, 100)]);
            assert_eq!((tally.connected, tally.open), (4, 0));
        }
    }
    server.stop().expect("a clean end");
}

#[test]
fn bodies_of_every_form_and_size_are_checked() {
    for path in ["/size/3MiB", "/chunked/100KiB", "/until-close/100KiB", "/size/16KiB", "/size/16385"] {
        let outcome = ask(path);
        assert_eq!((outcome.tally.requests, outcome.tally.errors.total()), (100, 0), "{path}");
    }
}

#[test]
fn heads_without_bodies() {
    let (server, to) = backend();
    let head = Form { method: "HEAD".into(), ..form() };
    for path in ["/size/1KiB", "/chunked/1KiB", "/status/204"] {
        let outcome = measure(asking(head.clone(), 3, &[path], to));
        assert_eq!((outcome.tally.requests, outcome.tally.errors.total()), (100, 0), "{path}");
    }
    server.stop().expect("a clean end");
}

#[test]
fn bodies_are_sent_and_come_back() {
    let (server, to) = backend();
    for size in [1, 5000, 300_000] {
        for body in [Content::Pattern(size), Content::Bytes(vec![b'x'; size as usize])] {
            let checks = matches!(body, Content::Pattern(_));
            let form = Form { method: "POST".into(), body, checks, ..form() };
            let outcome = measure(asking(form, 1, &["/echo"], to));
            assert_eq!((outcome.tally.requests, outcome.tally.errors.total()), (100, 0), "{size}");
            assert!(outcome.tally.bytes_in > 100 * size && outcome.tally.bytes_out > 100 * size);
        }
    }
    server.stop().expect("a clean end");
}

#[test]
fn a_new_connection_for_each_request() {
    let (server, to) = backend();
    let outcome = measure(asking(Form { keep_alive: false, ..form() }, 1, &["/size/10"], to));
    assert_eq!((outcome.tally.requests, outcome.tally.connected, outcome.tally.errors.total()), (100, 100, 0));
    server.stop().expect("a clean end");
}

/// A server that closes after each answer is asked again for what it has not answered.
#[test]
fn a_server_may_close_between_answers() {
    let (server, to) = backend();
    for pipeline in [1, 5] {
        let outcome = measure(asking(form(), pipeline, &["/close/size/10"], to));
        assert_eq!((outcome.tally.requests, outcome.tally.errors.total()), (100, 0), "{:?}", outcome.tally.errors);
        assert!(outcome.tally.connected >= 100, "{}", outcome.tally.connected);
    }
    server.stop().expect("a clean end");
}

#[track_caller]
fn fails(path: &str, kind: &str) -> Outcome {
    let outcome = ask(path);
    assert_eq!((outcome.tally.requests, count(&outcome, kind)), (0, 100), "{path}: {:?}", outcome.tally.errors);
    let example = outcome.tally.errors.examples().find(|(name, _)| *name == kind).expect("an example").1;
    assert!(example.starts_with("connection "), "{example}");
    outcome
}

#[test]
fn every_sin_has_its_name() {
    fails("/half", "short");
    fails("/reset", "reset");
    fails("/wrong/size/1KiB", "corrupt");
    fails("/wrong/size/1MiB", "corrupt");
    let bad = fails("/status/503", "bad_status");
    assert_eq!(bad.tally.statuses.sorted(), [(503, 100)]);
    fails("/nothing/here", "bad_status");
}

#[test]
fn bytes_that_nobody_asked_for_are_extra() {
    let outcome = ask("/extra/size/10");
    assert_eq!((outcome.tally.requests, count(&outcome, "extra")), (100, 100), "each answer, and what comes after");
    assert!(outcome.verdict().is_err());
}

#[test]
fn a_server_that_never_answers_times_out_each_time() {
    let (server, to) = backend();
    let timeout = Duration::from_millis(20);
    let limit = Limit::Requests(8);
    let outcome = measure(Plan { timeout, limit, ..asking(form(), 1, &["/never"], to) });
    assert_eq!((outcome.tally.requests, count(&outcome, "timeout")), (0, 8));
    server.stop().expect("a clean end");
}

#[test]
fn what_is_no_http_is_malformed() {
    let to = misbehaving(|mut stream| {
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
    });
    let outcome = measure(asking(form(), 1, &["/"], to));
    assert_eq!((outcome.tally.requests, count(&outcome, "malformed")), (0, 100));
}

#[test]
fn nobody_there_is_refused_and_ends_the_run() {
    let free = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address");
    let outcome = measure(Plan { limit: Limit::Told, ..asking(form(), 1, &["/"], free) });
    assert_eq!((outcome.tally.connected, count(&outcome, "connect_refused")), (0, 4));
}

#[test]
fn a_share_of_errors_is_that_share() {
    let (server, to) = backend();
    let limit = Limit::Requests(1000);
    let outcome = try_on(&Ground::test(1, Io::Auto), Plan { limit, ..asking(form(), 1, &["/error-rate/0.1"], to) });
    let tally = outcome.expect("a run").tally;
    assert_eq!(tally.requests + tally.errors.total(), 1000);
    // The connections of one shard of ours may have met both of the server's, each with its own row of chances.
    assert!((98..=102).contains(&tally.errors.total()), "{:?}", tally.errors);
    server.stop().expect("a clean end");
}

#[test]
fn requests_in_an_open_loop_begin_at_their_moments() {
    let (server, to) = backend();
    for keep_alive in [true, false] {
        let plan = asking(Form { keep_alive, ..form() }, 1, &["/size/10"], to);
        let outcome = measure(Plan { rate: Some(2000.0), limit: Limit::Requests(400), ..plan });
        let tally = &outcome.tally;
        assert_eq!((tally.requests, tally.errors.total(), tally.unsent), (400, 0, 0));
        assert_eq!((tally.corrected.len(), tally.latency.len()), (400, 400));
        assert!(tally.corrected.max() >= tally.latency.max());
        // 400 at 2000 a second cannot be over sooner, whatever the machine does.
        assert!(tally.measured >= Duration::from_millis(199), "{:?}", tally.measured);
    }
    server.stop().expect("a clean end");
}

/// What was due and found no connection free is in the corrected figures as having waited.
#[test]
fn an_open_loop_shows_what_could_not_be_sent() {
    let (server, to) = backend();
    let limit = Limit::After(Duration::from_millis(200));
    let timeout = Duration::from_millis(300);
    let plan = Plan { rate: Some(1000.0), limit, timeout, ..asking(form(), 1, &["/never"], to) };
    let outcome = measure(plan);
    let tally = &outcome.tally;
    assert_eq!((tally.requests, tally.latency.len()), (0, 0));
    assert_eq!(tally.unsent + tally.errors.total(), 200, "all that was due: {tally:?}");
    assert_eq!(tally.corrected.len(), tally.unsent);
    assert_eq!(tally.measured, Duration::from_millis(200));
    server.stop().expect("a clean end");
}
