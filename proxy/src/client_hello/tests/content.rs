//! What is in a hello, and what is wrong with one.

use super::*;

#[test]
fn the_name_and_the_protocols_are_found() {
    #[track_caller]
    fn check(extensions: &[Vec<u8>], name: Option<&str>, protocols: &[&[u8]]) {
        assert_eq!(inspect(&hello(extensions)), found(name, protocols));
    }
    check(&[], None, &[]);
    check(&[sni(b"example.com")], Some("example.com"), &[]);
    check(&[alpn(&[b"h2", b"http/1.1"])], None, &[b"h2", b"http/1.1"]);
    check(&[sni(b"a.example"), alpn(&[b"\x0a\x0a", b"h2"])], Some("a.example"), &[b"\x0a\x0a", b"h2"]);
    // GREASE: reserved values as extensions, empty and not, and unknown ones (RFC 8701).
    check(&[extension(0x0a0a, b""), sni(b"a.example"), extension(0xfafa, b"\0")], Some("a.example"), &[]);
    check(&[extension(0xffff, &[0; 999]), sni(b"a.example")], Some("a.example"), &[]);
}

#[test]
fn a_hello_may_end_before_the_extensions() {
    let bytes = records(&handshake(1, &start()), 1 << 14);
    assert_eq!(inspect(&bytes), found(None, &[]));
}

/// As OpenSSL 3 sends them.
#[test]
fn hellos_of_a_real_client_are_read() {
    let with_alpn = include_bytes!("../../../fuzz/seeds/client_hello/openssl-h2");
    assert_eq!(inspect(with_alpn), found(Some("www.example.com"), &[b"h2", b"http/1.1"]));
    let without = include_bytes!("../../../fuzz/seeds/client_hello/openssl-no-alpn");
    assert_eq!(inspect(without), found(Some("mail.example.org"), &[]));
}

#[test]
fn names_are_dns_names() {
    #[track_caller]
    fn good(name: &str, expected: &str) {
        assert_eq!(inspect(&hello(&[sni(name.as_bytes())])), found(Some(expected), &[]));
    }
    #[track_caller]
    fn bad(name: &[u8]) {
        assert_eq!(inspect(&hello(&[sni(name)])), Verdict::Invalid(Invalid::ServerName));
    }
    good("localhost", "localhost");
    good("Example.COM", "Example.COM");
    good("example.com.", "example.com");
    good("xn--bcher-kva.example", "xn--bcher-kva.example");
    good("_dmarc.a_b.example", "_dmarc.a_b.example");
    good("1.2.3.4.example", "1.2.3.4.example");
    good("3com.4x", "3com.4x");
    let label = "a".repeat(63);
    good(&format!("{label}.example"), &format!("{label}.example"));
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    good(&longest, &longest);
    good(&format!("{longest}."), &longest);

    for name in
        ["", ".", "..", "a..b", ".a", "a.b..", "-a.b", "a-.b", "a b", "a/b", "*.a", "a,b", "a:443", "bücher.example"]
    {
        bad(name.as_bytes());
    }
    for name in ["1.2.3.4", "1.2.3.4.", "127.1", "16909060", "a.1", "::1", "[::1]", "2001:db8::1"] {
        bad(name.as_bytes());
    }
    bad(b"a\0.example");
    bad(b"example.com\0");
    bad(b"a\xff.example");
    bad(format!("{label}a.example").as_bytes());
    bad(format!("{longest}a").as_bytes());
}

#[test]
fn a_list_of_names_has_one_host_name() {
    let name = |kind: u8, name: &[u8]| [&[kind], &vector16(name)[..]].concat();
    #[track_caller]
    fn check(content: &[u8]) {
        assert_eq!(inspect(&hello(&[extension(0, content)])), Verdict::Invalid(Invalid::ServerName));
    }
    check(b"");
    check(&vector16(b""));
    check(&vector16(&name(1, b"a.example")));
    check(&vector16(&[name(0, b"a.example"), name(0, b"b.example")].concat()));
    check(&vector16(&[name(0, b"a.example"), name(1, b"b.example")].concat()));
    check(&[vector16(&name(0, b"a.example")), vec![0]].concat());
    check(&vector16(&[&name(0, b"a.example")[..], b"\0"].concat()));
    check(&[0, 12, 0, 0, 10, b'a', b'.', b'e', b'x', b'a', b'm', b'p', b'l', b'e']);
    check(&[0, 13, 0, 0, 9, b'a', b'.', b'e', b'x', b'a', b'm', b'p', b'l', b'e']);
}

#[test]
fn lists_of_protocols_are_exact() {
    #[track_caller]
    fn check(content: &[u8]) {
        assert_eq!(inspect(&hello(&[extension(16, content)])), Verdict::Invalid(Invalid::Alpn));
    }
    check(b"");
    check(&vector16(b""));
    check(&vector16(&vector8(b"")));
    check(&vector16(&[vector8(b"h2"), vector8(b"")].concat()));
    check(&vector16(b"\x03h2"));
    check(&[&vector16(&vector8(b"h2"))[..], b"\0"].concat());
    check(&[0, 4, 2, b'h', b'2']);
    check(&vector16(&vector8(b"x").repeat(65)));
    let most: [&[u8]; 64] = [b"x"; 64];
    assert_eq!(inspect(&hello(&[alpn(&most)])), found(None, &most));
}

#[test]
fn an_extension_comes_once() {
    #[track_caller]
    fn check(extensions: &[Vec<u8>]) {
        assert_eq!(inspect(&hello(extensions)), Verdict::Invalid(Invalid::DuplicateExtension));
    }
    check(&[sni(b"a.example"), sni(b"b.example")]);
    check(&[sni(b"a.example"), sni(b"a.example")]);
    check(&[alpn(&[b"h2"]), extension(5, b""), alpn(&[b"h2"])]);
    check(&[extension(0x0a0a, b""), sni(b"a.example"), extension(0x0a0a, b"")]);
    let many: Vec<_> = (100..229).map(|kind| extension(kind, b"")).collect();
    assert_eq!(inspect(&hello(&many[..128])), found(None, &[]));
    assert_eq!(inspect(&hello(&many)), Verdict::Invalid(Invalid::TooManyExtensions));
}

#[test]
fn lengths_that_lie_are_refused() {
    #[track_caller]
    fn check(body: &[u8]) {
        assert_eq!(inspect(&records(&handshake(1, body), 1 << 14)), Verdict::Invalid(Invalid::Malformed));
    }
    let fixed = [&[3, 3][..], &[0; 32]].concat();
    let with = |rest: &[&[u8]]| [&fixed, &rest.concat()[..]].concat();
    check(b"");
    check(&fixed[..33]);
    check(&fixed);
    check(&with(&[&vector8(&[0; 33]), &vector16(&[0; 2]), &vector8(&[0])]));
    check(&with(&[&vector8(b""), &vector16(&[0; 3]), &vector8(&[0])]));
    check(&with(&[&vector8(b""), &vector16(b""), &vector8(&[0])]));
    check(&with(&[&vector8(b""), &vector16(&[0; 2]), &vector8(b"")]));
    check(&with(&[&vector8(b""), &vector16(&[0; 2]), &[2, 0]]));
    check(&[&[2], &start()[1..]].concat());
    check(&[&start()[..], &[0]].concat());
    check(&[&start()[..], &[0, 1]].concat());
    check(&[&start()[..], &vector16(&[0, 0, 0])].concat());
    check(&[&start()[..], &vector16(&[0, 9, 0, 1])].concat());
    check(&[&start()[..], &vector16(&sni(b"a.example")), &[0]].concat());
}

#[test]
fn every_reason_has_a_word_of_its_own() {
    let reasons = [
        Invalid::RecordLength,
        Invalid::Interleaved,
        Invalid::TooManyRecords,
        Invalid::NotClientHello,
        Invalid::TooLong,
        Invalid::Malformed,
        Invalid::TooManyExtensions,
        Invalid::DuplicateExtension,
        Invalid::ServerName,
        Invalid::Alpn,
    ];
    let words: std::collections::HashSet<_> = reasons.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), reasons.len());
}
