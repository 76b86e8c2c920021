//! Any bytes as a request and as a response: one verdict however they are cut, and what is accepted is written so that
//! the same strict parser reads the same message.
//!
//! `cargo +nightly fuzz run h1_head corpus/h1_head seeds/h1_head`, started from `proxy/fuzz`.
#![no_main]
#![allow(dead_code, unused_imports, reason = "a part of a module is compiled here, without its crate")]

#[path = "../../src"]
mod proxy {
    pub(crate) mod h1;
}

use balance_engine::intern::Interner;
use libfuzzer_sys::fuzz_target;
use proxy::h1::{
    Connection, Edits, Head, Limits, Method, NameSet, Parsed, Request, RequestOut, Response, ResponseOut,
    parse_request, parse_response, write_request, write_response,
};

/// `parse` of all, after `parse` of shorter and shorter parts has said nothing else.
fn verdict<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    mut parse: impl FnMut(&[u8]) -> Parsed<T>,
    len: impl Fn(&T) -> usize,
) -> Parsed<T> {
    let whole = parse(bytes);
    // Short ones at every byte; of a long one, a few places.
    for cut in (0..bytes.len()).step_by(1 + bytes.len() / 100) {
        match (parse(&bytes[..cut]), &whole) {
            (Parsed::Partial, Parsed::Complete(message)) => assert!(cut < len(message)),
            (Parsed::Partial, _) => {}
            (early, whole) => assert_eq!(&early, whole),
        }
    }
    parse(bytes)
}

fn forwarded<'a>(bytes: &'a [u8], head: &Head) -> Vec<(&'a [u8], &'a [u8])> {
    let kept = head.fields().iter().filter(|field| !field.is_hop_by_hop());
    let pairs = kept.map(|field| (field.name_of(bytes), field.value_of(bytes)));
    pairs.filter(|(name, _)| !name.eq_ignore_ascii_case(b"host")).collect()
}

fn request(bytes: &[u8], limits: &Limits, names: &Interner) {
    let mut head = Head::with_limits(limits);
    let parsed = verdict(bytes, |part| parse_request(part, limits, names, &mut head), |request| request.head_len);
    let Parsed::Complete(first) = parsed else { return };
    let removed = NameSet::default();
    let edits = Edits { removed: &removed, added: &[] };
    let host = first.authority.is_none().then_some(&b"a"[..]);
    let mut out = vec![0; bytes.len() * 2 + 256];
    let how = RequestOut { target: None, host, edits, connection: Connection::Implied };
    let written = write_request(&mut out, bytes, &first, &head, &how).expect("room enough");
    let (out, before) = (&out[..written], forwarded(bytes, &head));
    let roomy = Limits { head_bytes_max: 1 << 20, field_bytes_max: 1 << 20, ..*limits };
    let mut head = Head::with_limits(&roomy);
    let Parsed::Complete(second) = parse_request(out, &roomy, names, &mut head) else {
        panic!("what is written is not read: {}", out.escape_ascii());
    };
    assert_eq!((second.head_len, second.method, second.body), (written, first.method, first.body));
    assert_eq!(second.query.map(|query| query.of(out)), first.query.map(|query| query.of(bytes)));
    assert!(first.path.is_empty() || second.path.of(out) == first.path.of(bytes));
    if let (Some(now), Some(then)) = (second.authority, first.authority) {
        assert_eq!(now.whole.of(out), then.whole.of(bytes));
    }
    assert_eq!(forwarded(out, &head), before);
}

fn response(bytes: &[u8], limits: &Limits, names: &Interner, asked: Method) {
    let mut head = Head::with_limits(limits);
    let parse = |part: &[u8]| parse_response(part, limits, names, asked, &mut head);
    let Parsed::Complete(first) = verdict(bytes, parse, |response| response.head_len) else { return };
    let removed = NameSet::default();
    let edits = Edits { removed: &removed, added: &[] };
    let mut out = vec![0; bytes.len() * 2 + 256];
    let how = ResponseOut { body: first.body, edits, connection: Connection::Implied };
    let written = write_response(&mut out, bytes, &first, &head, &how).expect("room enough");
    let (out, before) = (&out[..written], forwarded(bytes, &head));
    let roomy = Limits { head_bytes_max: 1 << 20, field_bytes_max: 1 << 20, ..*limits };
    let mut head = Head::with_limits(&roomy);
    let Parsed::Complete(second) = parse_response(out, &roomy, names, asked, &mut head) else {
        panic!("what is written is not read: {}", out.escape_ascii());
    };
    assert_eq!((second.head_len, second.status, second.body), (written, first.status, first.body));
    assert_eq!(forwarded(out, &head), before);
}

fuzz_target!(|bytes: &[u8]| {
    let mut names = Interner::new(4096, 1);
    names.intern(b"x-own");
    let small =
        Limits { head_bytes_max: 512, fields_max: 8, target_bytes_max: 64, field_bytes_max: 128, ..Limits::default() };
    for limits in [Limits::default(), small] {
        request(bytes, &limits, &names);
        response(bytes, &limits, &names, Method::Get);
        response(bytes, &limits, &names, Method::Head);
    }
});
