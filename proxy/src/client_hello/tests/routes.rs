//! Which rule is chosen, and which are refused.

use super::{
    super::{hello::Alpn, routes::Fault},
    *,
};

const RULES: [Rule<'static>; 8] = [
    Rule { names: &["*.example.com"], alpn: &[] },
    Rule { names: &["www.example.com", "WWW.example.org."], alpn: &[] },
    Rule { names: &["*.eu.example.com"], alpn: &[] },
    Rule { names: &["www.example.com"], alpn: &["acme-tls/1", "h3"] },
    Rule { names: &["only.example.com"], alpn: &["h2"] },
    Rule { names: &["*.net"], alpn: &["h2"] },
    Rule { names: &[], alpn: &["h2"] },
    Rule { names: &["*"], alpn: &["postgresql"] },
];

#[track_caller]
fn check(rules: &[Rule<'_>], sni: Option<&str>, protocols: &[&[u8]], expected: Option<usize>) {
    let list: Vec<u8> = protocols.iter().flat_map(|protocol| vector8(protocol)).collect();
    let hello = Hello { sni, alpn: Alpn::of(&list) };
    assert_eq!(Routes::compile(rules.iter().copied()).unwrap().find(&hello), expected);
}

#[test]
fn the_closest_name_wins() {
    check(&RULES, Some("www.example.com"), &[], Some(1));
    check(&RULES, Some("wWw.eXample.Com"), &[], Some(1));
    check(&RULES, Some("www.example.org"), &[], Some(1));
    check(&RULES, Some("a.example.com"), &[], Some(0));
    check(&RULES, Some("a.b.c.example.com"), &[], Some(0));
    check(&RULES, Some("a.eu.example.com"), &[], Some(2));
    check(&RULES, Some("eu.example.com"), &[], Some(0));
    check(&RULES, Some("example.com"), &[], None);
    check(&RULES, Some("badexample.com"), &[], None);
    check(&RULES, Some("com"), &[], None);
    check(&RULES, None, &[], None);
    check(&[], Some("a.example"), &[b"h2"], None);
}

#[test]
fn a_rule_matches_by_its_protocols_too() {
    check(&RULES, Some("www.example.com"), &[b"acme-tls/1"], Some(3));
    check(&RULES, Some("www.example.com"), &[b"http/1.1", b"h3"], Some(3));
    check(&RULES, Some("www.example.com"), &[b"h2"], Some(1));
    check(&RULES, Some("only.example.com"), &[b"h2"], Some(4));
    check(&RULES, Some("only.example.com"), &[b"http/1.1"], Some(0));
    check(&RULES, Some("a.net"), &[b"h2"], Some(5));
    check(&RULES, Some("a.net"), &[b"H2"], None);
    check(&RULES, Some("a.net"), &[], None);
    check(&RULES, None, &[b"h2"], Some(6));
    check(&RULES, Some("example.com"), &[b"h2"], Some(6));
    check(&RULES, None, &[b"postgresql"], Some(7));
    check(&RULES, None, &[b"postgresql", b"h2"], Some(6));
}

#[test]
fn rules_that_cannot_match_are_refused() {
    #[track_caller]
    fn check(rules: &[Rule<'_>], rule: usize, text: &str, fault: Fault) {
        let error = Routes::compile(rules.iter().copied()).unwrap_err();
        assert_eq!(error, InvalidRoute { rule, text: text.to_owned(), fault });
        assert!(error.to_string().contains(text));
    }
    let named = |names| Rule { names, alpn: &[] };
    check(&[named(&["a.example", "a b"])], 0, "a b", Fault::Name);
    check(&[named(&["a.*.example"])], 0, "a.*.example", Fault::Name);
    check(&[named(&["*.*.example"])], 0, "*.*.example", Fault::Name);
    check(&[named(&["*example"])], 0, "*example", Fault::Name);
    check(&[named(&["*."])], 0, "*.", Fault::Name);
    check(&[named(&["192.0.2.1"])], 0, "192.0.2.1", Fault::Name);
    check(&[Rule { names: &[], alpn: &["h2", ""] }], 0, "", Fault::Protocol);
    check(&[named(&["a.example"]), named(&["b.example", "A.example"])], 1, "A.example", Fault::Unreachable);
    check(&[named(&[]), named(&["*"])], 1, "*", Fault::Unreachable);
    let with = |alpn| Rule { names: &["a.example"], alpn };
    check(&[with(&["h2", "h3"]), with(&["h3"])], 1, "a.example", Fault::Unreachable);
    assert!(Routes::compile([with(&["h2"]), with(&["h3", "h2"]), with(&[])]).is_ok());
}
