//! The line of text.

use super::*;

#[test]
fn lines_are_read() {
    #[track_caller]
    fn check(line: &str, expected: Addresses<'_>) {
        let bytes = format!("{line}\r\n");
        let header = valid(bytes.as_bytes());
        assert_eq!(header, Header { version: Version::One, addresses: expected, tlvs: Tlvs::default() });
    }
    check("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443", inet("192.168.0.1:56324", "192.168.0.11:443"));
    check("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0", inet("255.255.255.255:65535", "0.0.0.0:0"));
    check("PROXY TCP6 2001:db8::1 ::1 1 2", inet("[2001:db8::1]:1", "[::1]:2"));
    check("PROXY TCP6 2001:DB8:0:0:0:0:0:00a1 :: 1 2", inet("[2001:db8::a1]:1", "[::]:2"));
    check("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:202 1 2", inet("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2"));
    check("PROXY UNKNOWN", Addresses::Unknown);
    check("PROXY UNKNOWN ", Addresses::Unknown);
    check("PROXY UNKNOWN ffff::1 ffff::2 65535 65535", Addresses::Unknown);
    check("PROXY UNKNOWN \u{1}\u{7f} whatever  it is", Addresses::Unknown);
}

#[test]
fn the_grammar_is_exact() {
    #[track_caller]
    fn check(line: &str, why: Invalid) {
        invalid(format!("{line}\r\n").as_bytes(), why);
    }
    check("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2", Invalid::Protocol);
    check("PROXY TCP5 192.0.2.1 192.0.2.2 1 2", Invalid::Protocol);
    check("PROXY TCP 192.0.2.1 192.0.2.2 1 2", Invalid::Protocol);
    check("PROXY tcp4 192.0.2.1 192.0.2.2 1 2", Invalid::Protocol);
    check("PROXY UDP4 192.0.2.1 192.0.2.2 1 2", Invalid::Protocol);
    check("PROXY TCP4\t192.0.2.1 192.0.2.2 1 2", Invalid::Protocol);
    check("PROXY UNKNOWNS", Invalid::Protocol);
    check("PROXY UNKNOW", Invalid::Protocol);
    check("PROXY ", Invalid::Protocol);
    check("PROXY", Invalid::Signature);
    check("PROXYTCP4 192.0.2.1 192.0.2.2 1 2", Invalid::Signature);

    check("PROXY TCP4 ", Invalid::Fields);
    check("PROXY TCP4 192.0.2.1 192.0.2.2 1", Invalid::Fields);
    check("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 ", Invalid::Fields);
    check("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3", Invalid::Fields);
    check("PROXY TCP4 192.0.2.1  192.0.2.2 1 2", Invalid::Fields);
    check("PROXY TCP4  192.0.2.1 192.0.2.2 1", Invalid::Address);

    check("PROXY TCP4 192.0.2.256 192.0.2.2 1 2", Invalid::Address);
    check("PROXY TCP4 192.0.2 192.0.2.2 1 2", Invalid::Address);
    check("PROXY TCP4 192.0.2.01 192.0.2.2 1 2", Invalid::Address);
    check("PROXY TCP4 0300.0.2.1 192.0.2.2 1 2", Invalid::Address);
    check("PROXY TCP4 3221225985 192.0.2.2 1 2", Invalid::Address);
    check("PROXY TCP4 2001:db8::1 2001:db8::2 1 2", Invalid::Address);
    check("PROXY TCP4 192.0.2.1 2001:db8::2 1 2", Invalid::Address);
    check("PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2", Invalid::Address);
    check("PROXY TCP6 192.0.2.1 192.0.2.2 1 2", Invalid::Address);
    check("PROXY TCP6 2001::db8::1 ::1 1 2", Invalid::Address);
    check("PROXY TCP6 2001:db8:0:0:0:0:0:0:1 ::1 1 2", Invalid::Address);
    check("PROXY TCP6 2001:0db80::1 ::1 1 2", Invalid::Address);
    check("PROXY TCP6 fe80::1%eth0 ::1 1 2", Invalid::Address);
    check("PROXY TCP6 [::1] ::1 1 2", Invalid::Address);

    check("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2", Invalid::Port);
    check("PROXY TCP4 192.0.2.1 192.0.2.2 1 -2", Invalid::Port);
    check("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2", Invalid::Port);
    check("PROXY TCP4 192.0.2.1 192.0.2.2 01 2", Invalid::Port);
    check("PROXY TCP4 192.0.2.1 192.0.2.2 00 2", Invalid::Port);
    check("PROXY TCP4 192.0.2.1 192.0.2.2 0x1 2", Invalid::Port);
    check("PROXY TCP4 192.0.2.1 192.0.2.2 1  2", Invalid::Fields);
    check("PROXY TCP4 192.0.2.1 192.0.2.2  2", Invalid::Port);
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    invalid(b"PROXY TCP4 192.0.2.1 192.0.2.\xff 1 2\r\n", Invalid::Fields);
    invalid(b"PROXY \xff\r\n", Invalid::Protocol);
}

#[test]
fn a_line_ends_in_crlf_only() {
    invalid(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", Invalid::LineEnd);
    invalid(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r\n", Invalid::LineEnd);
    invalid(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n", Invalid::LineEnd);
    invalid(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rX", Invalid::LineEnd);
    invalid(b"PROXY UNKNOWN \n\r\n", Invalid::LineEnd);
    invalid(b"PROXY TCP4 192.0.2.1\r\n192.0.2.2 1 2\r\n", Invalid::Fields);
}

/// The longest line that spec 2.1 shows fits to the byte; one more does not, and nobody waits for its end.
#[test]
fn a_line_has_at_most_107_bytes() {
    let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY UNKNOWN {full} {full} 65535 65535\r\n");
    assert_eq!(longest.len(), V1_BYTES_MAX);
    assert_eq!(valid(longest.as_bytes()).addresses, Addresses::Unknown);

    let endless = format!("PROXY UNKNOWN {}", "x".repeat(1000));
    for len in 0..=endless.len() {
        let expected_end = len >= V1_BYTES_MAX - 1;
        let ended = parse(&endless.as_bytes()[..len]) == Progress::Invalid(Invalid::LineLength);
        assert_eq!(ended, expected_end, "after {len}");
    }
    invalid(format!("PROXY UNKNOWN {full} {full} 65535 65535 \r\n").as_bytes(), Invalid::LineLength);
    assert_eq!(parse(b"PROXY UNKNOWN "), Progress::NeedMore { at_least: 2 });
    assert_eq!(parse(b"PROXY UNKNOWN\r"), Progress::NeedMore { at_least: 1 });
}
