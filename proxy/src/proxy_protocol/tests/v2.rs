//! The binary header.

use super::*;

/// A header of these parts; the length is right.
fn header(version_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([version_command, family]);
    bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

const INET: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 0x04, 0x01, 0xbb];

/// A PROXY header over TCP and IPv4 with these TLVs behind its addresses.
fn with_tlvs(tlvs: &[u8]) -> Vec<u8> {
    header(0x21, 0x11, &[&INET, tlvs].concat())
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind, len[0], len[1]], value].concat()
}

#[test]
fn addresses_are_read() {
    #[track_caller]
    fn check(version_command: u8, family: u8, body: &[u8], expected: Addresses<'_>) {
        let bytes = header(version_command, family, body);
        let found = valid(&bytes);
        assert_eq!((found.version, found.addresses), (Version::Two, expected));
        assert_eq!(found.tlvs, Tlvs::default());
    }
    check(0x21, 0x11, &INET, inet("192.0.2.1:56324", "192.0.2.2:443"));
    let mut six = [0; 36];
    (six[0], six[15], six[31], six[33], six[35]) = (0xfe, 1, 2, 3, 4);
    check(0x21, 0x21, &six, inet("[fe00::1]:3", "[::2]:4"));

    let mut unix = [0; 216];
    unix[..9].copy_from_slice(b"/run/sock");
    unix[108..112].copy_from_slice(b"\0abs");
    check(0x21, 0x31, &unix, Addresses::Unix { source: b"/run/sock", destination: b"\0abs" });
    check(0x21, 0x31, &[b'x'; 216], Addresses::Unix { source: &[b'x'; 108], destination: &[b'x'; 108] });
    check(0x21, 0x31, &[0; 216], Addresses::Unix { source: b"", destination: b"" });
}

/// Spec 2.2: LOCAL is accepted whatever its block says, and the block is skipped. So is that of UNSPEC.
#[test]
fn the_block_of_local_and_of_unspec_is_skipped() {
    for family in [0x00, 0x11, 0x12, 0x21, 0x31, 0x99, 0xff] {
        assert_eq!(valid(&header(0x20, family, b"")).addresses, Addresses::Local);
        assert_eq!(valid(&header(0x20, family, &[0xff; 300])).addresses, Addresses::Local);
    }
    assert_eq!(valid(&header(0x21, 0x00, b"")).addresses, Addresses::Unknown);
    assert_eq!(valid(&header(0x21, 0x00, &[0xff; 7])).addresses, Addresses::Unknown);
}

#[test]
fn versions_commands_and_families_are_exact() {
    for version in (0x00..=0xf0).step_by(16).filter(|version| *version != 0x20) {
        invalid(&header(version | 1, 0x11, &INET), Invalid::Version);
    }
    for command in 2..=15 {
        invalid(&header(0x20 | command, 0x11, &INET), Invalid::Command);
    }
    for family in (0..=255).filter(|family| ![0x00, 0x11, 0x21, 0x31].contains(family)) {
        invalid(&header(0x21, family, &[0; 216]), Invalid::Family);
    }
}

/// The version is refused with its byte, before the length is even here.
#[test]
fn a_lie_is_refused_as_soon_as_it_is_told() {
    let bytes = header(0x31, 0x11, &INET);
    assert_eq!(parse(&bytes[..13]), Progress::Invalid(Invalid::Version));
    let bytes = header(0x21, 0x12, &INET);
    assert_eq!(parse(&bytes[..13]), Progress::NeedMore { at_least: 3 });
    assert_eq!(parse(&bytes[..14]), Progress::Invalid(Invalid::Family));
}

#[test]
fn a_length_below_that_of_the_addresses_is_refused() {
    for (family, whole) in [(0x11, 12), (0x21, 36), (0x31, 216)] {
        for len in 0..whole {
            let bytes = header(0x21, family, &vec![0; len]);
            invalid(&bytes, Invalid::AddressLength);
            assert_eq!(parse(&bytes[..16]), Progress::Invalid(Invalid::AddressLength));
        }
        valid(&header(0x21, family, &vec![0; whole]));
    }
}

/// Sixteen bytes decide: nobody waits for, or keeps, a header over the limit.
#[test]
fn a_length_above_the_limit_is_refused() {
    let padding = |len: usize| tlv(kind::NOOP, &vec![0; len - 16 - INET.len() - 3]);
    valid(&with_tlvs(&padding(HEADER_BYTES_MAX_DEFAULT)));
    let long = with_tlvs(&padding(HEADER_BYTES_MAX_DEFAULT + 1));
    invalid(&long, Invalid::Length);
    assert_eq!(parse(&long[..16]), Progress::Invalid(Invalid::Length));
    let local = header(0x20, 0, &[0; 0xffff]);
    assert_eq!(parse(&local[..16]), Progress::Invalid(Invalid::Length));

    let whole = Parser { header_bytes_max: usize::MAX, ..Parser::default() };
    assert!(matches!(whole.parse(&local), Progress::Done { consumed: 0x1000f, .. }));
}

#[test]
fn tlvs_are_named() {
    let ssl = [&[7, 0, 0, 0, 9][..], &tlv(kind::SSL_VERSION, b"TLSv1.3"), &tlv(kind::SSL_COMMON_NAME, b"me")].concat();
    let all = [
        tlv(kind::ALPN, b"h2"),
        tlv(kind::AUTHORITY, "bücher.example".as_bytes()),
        tlv(kind::NOOP, b""),
        tlv(kind::UNIQUE_ID, &[0xff; 128]),
        tlv(kind::SSL, &ssl),
        tlv(kind::NETNS, b"blue"),
        tlv(kind::NOOP, b"\0\0"),
        tlv(0xe0, b"ours"),
        tlv(0xe0, b"ours again"),
    ];
    let bytes = with_tlvs(&all.concat());
    let tlvs = valid(&bytes).tlvs;
    assert_eq!((tlvs.alpn, tlvs.authority), (Some(b"h2".as_slice()), Some("bücher.example")));
    assert_eq!((tlvs.unique_id, tlvs.netns), (Some([0xff; 128].as_slice()), Some("blue")));
    let ssl = tlvs.ssl.unwrap();
    assert_eq!((ssl.client, ssl.verify), (7, 9));
    assert_eq!(ssl.get(kind::SSL_VERSION), Some(b"TLSv1.3".as_slice()));
    assert_eq!(ssl.get(kind::SSL_COMMON_NAME), Some(b"me".as_slice()));
    assert_eq!(ssl.get(0x23), None);
    assert!(!tlvs.checked);
    let again: Vec<u8> = tlvs.iter().flat_map(|found| tlv(found.kind, found.value)).collect();
    assert_eq!(again, all.concat());
}

#[test]
fn tlvs_that_lie_are_refused() {
    #[track_caller]
    fn check(tlvs: &[u8], why: Invalid) {
        invalid(&with_tlvs(tlvs), why);
    }
    check(&[kind::NOOP], Invalid::Tlv);
    check(&[kind::NOOP, 0], Invalid::Tlv);
    check(&[kind::NOOP, 0, 1], Invalid::Tlv);
    check(&[0xe0, 0xff, 0xff, 1, 2, 3], Invalid::Tlv);
    check(&[&tlv(kind::ALPN, b"h2")[..], &[0]].concat(), Invalid::Tlv);
    check(&tlv(kind::AUTHORITY, b"\xff"), Invalid::Tlv);
    check(&tlv(kind::NETNS, "blåu".as_bytes()), Invalid::Tlv);
    check(&tlv(kind::UNIQUE_ID, &[0; 129]), Invalid::Tlv);
    check(&tlv(kind::CRC32C, &[0; 3]), Invalid::Tlv);
    check(&tlv(kind::CRC32C, &[0; 5]), Invalid::Tlv);
    check(&tlv(kind::CRC32C, &[0; 4]), Invalid::Checksum);
    check(&tlv(kind::SSL, &[1, 0, 0, 0]), Invalid::Tlv);
    check(&tlv(kind::SSL, &[1, 0, 0, 0, 0, kind::SSL_VERSION, 0, 1]), Invalid::Tlv);
    check(&tlv(kind::SSL, &[1, 0, 0, 0, 0, kind::SSL_VERSION]), Invalid::Tlv);
    let once: [(u8, &[u8]); 6] = [
        (kind::ALPN, b"h2"),
        (kind::AUTHORITY, b"a"),
        (kind::UNIQUE_ID, b"1"),
        (kind::SSL, &[0; 5]),
        (kind::NETNS, b"n"),
        (kind::CRC32C, &[0; 4]),
    ];
    for (kind, value) in once {
        check(&tlv(kind, value).repeat(2), Invalid::DuplicateTlv);
    }
}

/// The checksum stands first, so that no flipped bit can take it away, but for the one that makes the command LOCAL and
/// those of its own type.
#[test]
fn no_flipped_bit_gets_past_the_checksum() {
    let rest = [tlv(kind::AUTHORITY, b"example.com"), tlv(kind::UNIQUE_ID, b"0123456789")].concat();
    let mut bytes = with_tlvs(&[tlv(kind::CRC32C, &[0; 4]), rest].concat());
    let sum = crc32c::of(&[&bytes]).to_be_bytes();
    let place = 16 + INET.len() + 3;
    bytes[place..place + 4].copy_from_slice(&sum);
    assert!(valid(&bytes).tlvs.checked);

    let (local, type_of_checksum) = (12 * 8, (place - 3) * 8..(place - 2) * 8);
    for bit in (0..bytes.len() * 8).filter(|bit| *bit != local && !type_of_checksum.contains(bit)) {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(!matches!(parse(&damaged), Progress::Done { .. }), "bit {bit}");
    }
}
