//! What the tests of both versions share: every input is also cut at every byte.

mod v1;
mod v2;
mod write;

use super::*;

/// What the client says after the header, which must not be touched.
const CLIENT: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

fn parse(bytes: &[u8]) -> Progress<'_> {
    Parser::default().parse(bytes)
}

/// `bytes` are a whole header. Each of its prefixes waits for no more than is still to come, and what follows the
/// header changes nothing.
fn valid(bytes: &[u8]) -> Header<'_> {
    for len in 0..bytes.len() {
        match parse(&bytes[..len]) {
            Progress::NeedMore { at_least } => {
                assert!((1..=bytes.len() - len).contains(&at_least), "{at_least} more after {len}");
            }
            other => panic!("{other:?} after {len} of {bytes:?}"),
        }
    }
    let followed = [bytes, CLIENT].concat();
    match (parse(bytes), parse(&followed)) {
        (Progress::Done { header, consumed }, Progress::Done { header: same, consumed: same_len }) => {
            assert_eq!((consumed, same_len), (bytes.len(), bytes.len()));
            assert_eq!(header, same);
            header
        }
        others => panic!("{others:?} for {bytes:?}"),
    }
}

/// `bytes` are invalid for this reason; some prefix of them already is, all longer ones are, and none is a header.
fn invalid(bytes: &[u8], why: Invalid) {
    assert_eq!(parse(bytes), Progress::Invalid(why), "{bytes:?}");
    let mut decided = false;
    for len in 0..bytes.len() {
        match parse(&bytes[..len]) {
            Progress::NeedMore { at_least } => assert!(!decided && at_least > 0, "undecided after {len} of {bytes:?}"),
            Progress::Invalid(first) => {
                assert_eq!(first, why, "after {len} of {bytes:?}");
                decided = true;
            }
            Progress::Done { .. } => panic!("done after {len} of {bytes:?}"),
        }
    }
}

fn inet(source: &str, destination: &str) -> Addresses<'static> {
    Addresses::Inet { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

/// A receive of exactly what is asked for ends at the last byte of the header, whatever comes behind.
#[test]
fn asking_for_no_more_than_at_least_never_takes_a_byte_of_the_client() {
    let mut binary = [0; 600];
    let tlv = Tlv { kind: kind::UNIQUE_ID, value: b"an id" };
    let addresses = inet("[2001:db8::1]:1", "[2001:db8::2]:2");
    let len = write_v2(&addresses, [tlv], Checksum::Crc32c, &mut binary).unwrap();
    for header in [b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n".as_slice(), b"PROXY UNKNOWN\r\n", &binary[..len]] {
        let stream = [header, CLIENT].concat();
        let mut taken = 0;
        while let Progress::NeedMore { at_least } = parse(&stream[..taken]) {
            taken += at_least;
        }
        assert_eq!(taken, header.len());
    }
}

#[test]
fn only_the_versions_that_are_wanted_are_taken() {
    #[track_caller]
    fn check(versions: Versions, bytes: &[u8], expected: Progress<'_>) {
        assert_eq!(Parser { versions, ..Parser::default() }.parse(bytes), expected);
    }
    check(Versions::One, b"", Progress::NeedMore { at_least: 15 });
    check(Versions::Two, b"", Progress::NeedMore { at_least: 16 });
    check(Versions::Both, b"", Progress::NeedMore { at_least: 15 });
    check(Versions::One, b"P", Progress::NeedMore { at_least: 14 });
    check(Versions::One, b"\r", Progress::Invalid(Invalid::Signature));
    check(Versions::Two, b"P", Progress::Invalid(Invalid::Signature));
    check(Versions::Two, b"\r", Progress::NeedMore { at_least: 15 });
}

#[test]
fn other_protocols_are_refused_at_their_first_odd_byte() {
    for (bytes, after) in [
        (b"GET / HTTP/1.1\r\n".as_slice(), 1),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 1),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 3),
        (b"PROPFIND / HTTP/1.1\r\n", 4),
        (b"proxy TCP4", 1),
        (b"\r\n\r\n\0\r\nQUIX", 11),
        (b"\r\nGET", 3),
        (b"\0", 1),
    ] {
        invalid(bytes, Invalid::Signature);
        assert!(matches!(parse(&bytes[..after - 1]), Progress::NeedMore { .. }));
        assert_eq!(parse(&bytes[..after]), Progress::Invalid(Invalid::Signature));
    }
}

/// Whatever comes, a call returns, and never asks for more than the limit.
#[test]
fn noise_neither_panics_nor_waits_for_ever() {
    let mut rng = balance_engine::rng::Rng::new(4);
    let starts: [&[u8]; 4] =
        [b"PROXY TCP4 ", b"PROXY TCP6 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11", b"\r\n\r\n\0\r\nQUIT\n\x21\x31"];
    for round in 0..20_000 {
        let mut bytes = vec![0; rng.index(64)];
        rng.fill(&mut bytes);
        if round % 2 == 0 {
            bytes.iter_mut().for_each(|byte| *byte = b"0123456789abcf:. \r\n"[usize::from(*byte) % 19]);
        }
        let bytes = [starts[rng.index(4)], &bytes].concat();
        if let Progress::NeedMore { at_least } = parse(&bytes) {
            assert!(bytes.len() + at_least <= HEADER_BYTES_MAX_DEFAULT);
        }
    }
}

#[test]
fn every_reason_has_a_word_of_its_own() {
    let reasons = [
        Invalid::Signature,
        Invalid::LineLength,
        Invalid::LineEnd,
        Invalid::Protocol,
        Invalid::Fields,
        Invalid::Address,
        Invalid::Port,
        Invalid::Version,
        Invalid::Command,
        Invalid::Family,
        Invalid::Length,
        Invalid::AddressLength,
        Invalid::Tlv,
        Invalid::DuplicateTlv,
        Invalid::Checksum,
    ];
    let words: std::collections::HashSet<_> = reasons.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), reasons.len());
}
