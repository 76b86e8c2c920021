//! The tables: malformed and ambiguous messages, each with its clause and its one verdict, over every split.

use super::{table::rows, *};

const REQUESTS: &str = include_str!("requests.txt");
const RESPONSES: &str = include_str!("responses.txt");

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        other => panic!("{other} is not in the tables"),
    }
}

fn refused(refusal: Refusal) -> String {
    match refusal.side {
        Side::Request => format!("{} {}", refusal.status(), refusal.code()),
        Side::Response => refusal.code().to_owned(),
    }
}

/// Runs a table through `parse`, which says the verdict, and where the head ends if it does.
fn check(table: &'static str, columns: usize, mut parse: impl FnMut(&[u8], &[&str]) -> (String, Option<usize>)) {
    let mut wrong = Vec::new();
    for row in rows(table, columns) {
        let (verdict, end) = parse(&row.bytes, &row.columns);
        if verdict != row.columns[0] {
            wrong.push(format!("line {}: {verdict}, not {}", row.line, row.columns[0]));
            continue;
        }
        // Of what is long, not every place.
        for cut in (0..row.bytes.len()).step_by(1 + row.bytes.len() / 600) {
            let (early, _) = parse(&row.bytes[..cut], &row.columns);
            let expected = match end {
                Some(end) if cut >= end => early == verdict,
                Some(_) => early == "partial",
                None => early == "partial" || early == verdict,
            };
            if !expected {
                wrong.push(format!("line {}: {early} after {cut} bytes, then {verdict}", row.line));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_request_of_the_table_has_its_verdict_however_it_is_cut() {
    let (limits, names) = (Limits::default(), names());
    let mut head = Head::with_limits(&limits);
    check(REQUESTS, 3, |bytes, _| match parse_request(bytes, &limits, &names, &mut head) {
        Parsed::Partial => ("partial".to_owned(), None),
        Parsed::Complete(request) => (format!("ok {}", summary(bytes, &request)), Some(request.head_len)),
        Parsed::Refused(refusal) => (refused(refusal), None),
    });
}

#[test]
fn every_response_of_the_table_has_its_verdict_however_it_is_cut() {
    let (limits, names) = (Limits::default(), names());
    let mut head = Head::with_limits(&limits);
    check(RESPONSES, 4, |bytes, columns| match parse_response(bytes, &limits, &names, method(columns[1]), &mut head) {
        Parsed::Partial => ("partial".to_owned(), None),
        Parsed::Complete(response) => (format!("ok {}", response_summary(bytes, &response)), Some(response.head_len)),
        Parsed::Refused(refusal) => (refused(refusal), None),
    });
}

/// The same requests from a peer that sends byte by byte, parsed only when that is worth it.
#[test]
fn a_byte_at_a_time_comes_to_the_same_verdict() {
    let (limits, names) = (Limits::default(), names());
    let mut head = Head::with_limits(&limits);
    for row in rows(REQUESTS, 3) {
        let mut patience = Patience::NEW;
        let whole = parse_request(&row.bytes, &limits, &names, &mut head);
        let mut last = Parsed::Partial;
        for len in 1..=row.bytes.len() {
            if last == Parsed::Partial && patience.is_over(&row.bytes[..len], limits.head_bytes_max as usize) {
                last = parse_request(&row.bytes[..len], &limits, &names, &mut head);
            }
        }
        // A refusal may be due and wait for the empty line, which some rows do not have; completeness never waits.
        let waits = last == Parsed::Partial && matches!(whole, Parsed::Refused(_));
        assert!(last == whole || waits, "line {}: {last:?}, not {whole:?}", row.line);
    }
}

#[test]
fn the_tables_are_large_and_reach_every_reason() {
    let requests = rows(REQUESTS, 3);
    let responses = rows(RESPONSES, 4);
    let bodies = rows(chunks::TABLE, 3);
    let bad = |verdict: &str| !verdict.starts_with("ok") && verdict != "partial";
    let verdicts = || {
        let first = |row: &table::Row| row.columns[0];
        requests
            .iter()
            .map(first)
            .chain(responses.iter().map(first))
            .chain(bodies.iter().map(first))
            .collect::<Vec<_>>()
    };
    let refused = verdicts().into_iter().filter(|verdict| bad(verdict)).count();
    assert!(refused >= 300, "{refused}");
    // Those need a setting or a state; other tests reach them.
    let elsewhere = ["field_name_underscore", "switch_unasked", "incomplete", "too_many_interim"];
    for reason in Reason::ALL {
        let code = Refusal::request(*reason).code();
        let reached = verdicts().iter().any(|verdict| verdict.ends_with(code));
        assert!(reached || elsewhere.contains(&code), "no row ends in {code}");
    }
}

#[test]
fn every_clause_is_named() {
    for (table, columns) in [(REQUESTS, 3), (RESPONSES, 4), (chunks::TABLE, 3)] {
        for row in rows(table, columns) {
            let clause = row.columns[columns - 2];
            let is_number = clause.split_whitespace().all(|part| part.split('.').all(|n| n.parse::<u16>().is_ok()));
            assert!(clause == "ours" || is_number && !clause.is_empty(), "line {}: {clause}", row.line);
        }
    }
}

#[test]
fn limits_are_where_they_say() {
    #[track_caller]
    fn check(limits: &Limits, bytes: &str, expected: &str) {
        let mut head = Head::with_limits(limits);
        let verdict = match parse_request(bytes.as_bytes(), limits, &names(), &mut head) {
            Parsed::Partial => "partial",
            Parsed::Complete(_) => "ok",
            Parsed::Refused(refusal) => refusal.code(),
        };
        assert_eq!(verdict, expected, "{bytes:?}");
    }
    let bytes = "GET /ab HTTP/1.1\r\nHost: a\r\nX_y: 1\r\nContent-Length: 5\r\n\r\n";
    let exact = Limits {
        head_bytes_max: bytes.len() as u32,
        fields_max: 3,
        target_bytes_max: 3,
        field_bytes_max: "Content-Length: 5".len() as u32,
        body_bytes_max: 5,
        ..Limits::default()
    };
    check(&exact, bytes, "ok");
    check(&Limits { head_bytes_max: exact.head_bytes_max - 1, ..exact }, bytes, "head_too_long");
    check(&Limits { head_bytes_max: exact.head_bytes_max - 2, ..exact }, bytes, "head_too_long");
    check(&Limits { fields_max: 2, ..exact }, bytes, "too_many_fields");
    check(&Limits { target_bytes_max: 2, ..exact }, bytes, "target_too_long");
    check(&Limits { field_bytes_max: exact.field_bytes_max - 1, ..exact }, bytes, "field_too_long");
    check(&Limits { body_bytes_max: 4, ..exact }, bytes, "body_too_long");
    check(&Limits { underscores: Underscores::Refuse, ..exact }, bytes, "field_name_underscore");
    check(&Limits { underscores: Underscores::Keep, ..exact }, bytes, "ok");
    for len in 0..bytes.len() {
        check(&exact, &bytes[..len], "partial");
    }
}

#[test]
fn underscores_are_left_out_unless_they_are_kept() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX_User: root\r\nX-User: me\r\n\r\n";
    let parse = |underscores| {
        let limits = Limits { underscores, ..Limits::default() };
        let mut head = Head::with_limits(&limits);
        assert!(matches!(parse_request(bytes, &limits, &names(), &mut head), Parsed::Complete(_)));
        (head.fields().len(), head.left_out())
    };
    assert_eq!(parse(Underscores::Drop), (2, 1));
    assert_eq!(parse(Underscores::Keep), (3, 0));
}

#[test]
fn names_that_are_remembered_have_ids() {
    let (limits, mut names) = (Limits::default(), names());
    let canary = names.intern(b"x-canary").unwrap();
    let mut head = Head::with_limits(&limits);
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX-Canary: 1\r\nX-Other: 2\r\nx-canary: 3\r\n\r\n";
    let before = names.stats();
    assert!(matches!(parse_request(bytes, &limits, &names, &mut head), Parsed::Complete(_)));
    assert_eq!(head.values(bytes, canary).collect::<Vec<_>>(), [b"1", b"3"]);
    assert_eq!(head.value(bytes, balance_engine::intern::known::HOST), Some(&b"a"[..]));
    assert_eq!(head.fields()[2].name, None);
    assert_eq!(names.stats(), before, "a peer teaches nothing");
}
