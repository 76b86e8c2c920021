//! What we write, as text and as bytes, and that we read it back.

use super::*;
use balance_engine::rng::Rng;
use std::net::{IpAddr, SocketAddr};

#[test]
fn lines_are_written() {
    #[track_caller]
    fn check(addresses: Addresses<'_>, expected: &str) {
        let mut out = [0; V1_BYTES_MAX];
        let len = write_v1(&addresses, &mut out).unwrap();
        assert_eq!(str::from_utf8(&out[..len]).unwrap(), format!("{expected}\r\n"));
        valid(&out[..len]);
        for room in 0..len {
            assert_eq!(write_v1(&addresses, &mut out[..room]), Err(HeaderTooLong));
        }
    }
    check(inet("192.0.2.1:56324", "192.0.2.2:443"), "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443");
    check(inet("[2001:db8::1]:1", "[::1]:65535"), "PROXY TCP6 2001:db8::1 ::1 1 65535");
    check(inet("[::ffff:192.0.2.1]:1", "192.0.2.2:2"), "PROXY TCP4 192.0.2.1 192.0.2.2 1 2");
    check(inet("192.0.2.1:1", "[2001:db8::2]:2"), "PROXY TCP6 ::ffff:c000:201 2001:db8::2 1 2");
    check(inet("[2001:db8::2]:2", "192.0.2.1:1"), "PROXY TCP6 2001:db8::2 ::ffff:c000:201 2 1");
    let widest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let address = format!("[{widest}]:65535");
    check(inet(&address, &address), &format!("PROXY TCP6 {widest} {widest} 65535 65535"));
    check(Addresses::Local, "PROXY UNKNOWN");
    check(Addresses::Unknown, "PROXY UNKNOWN");
    check(Addresses::Unix { source: b"/a", destination: b"/b" }, "PROXY UNKNOWN");
}

#[test]
fn binary_headers_are_written() {
    #[track_caller]
    fn check(addresses: Addresses<'_>, expected: &[u8]) {
        let mut out = [0xaa; 300];
        let len = write_v2(&addresses, [], Checksum::None, &mut out).unwrap();
        assert_eq!(&out[..12], b"\r\n\r\n\0\r\nQUIT\n");
        assert_eq!(&out[12..len], expected);
        assert!(out[len..].iter().all(|byte| *byte == 0xaa), "nothing behind the header is touched");
    }
    check(Addresses::Local, &[0x20, 0, 0, 0]);
    check(Addresses::Unknown, &[0x21, 0, 0, 0]);
    check(inet("192.0.2.1:258", "192.0.2.2:443"), &[0x21, 0x11, 0, 12, 192, 0, 2, 1, 192, 0, 2, 2, 1, 2, 1, 0xbb]);
    let mapped = [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 1]].concat();
    let six = [&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 11], &[1]].concat();
    check(inet("192.0.2.1:1", "[2001:db8::1]:2"), &[&[0x21, 0x21, 0, 36][..], &mapped, &six, &[0, 1, 0, 2]].concat());
}

#[test]
fn what_does_not_fit_is_an_error() {
    let big = [0; 0xffff];
    let tlv = |len: usize| [Tlv { kind: 0xe0, value: &big[..len] }];
    let mut out = vec![0; 0x2_0000];
    let addresses = inet("192.0.2.1:1", "192.0.2.2:2");
    let most = 0xffff - 12 - 3;
    assert_eq!(write_v2(&addresses, tlv(most), Checksum::None, &mut out), Ok(16 + 0xffff));
    assert_eq!(write_v2(&addresses, tlv(most + 1), Checksum::None, &mut out), Err(HeaderTooLong));
    let long = Addresses::Unix { source: &[b'x'; 109], destination: b"" };
    assert_eq!(write_v2(&long, [], Checksum::None, &mut out), Err(HeaderTooLong));
    let len = write_v2(&addresses, tlv(9), Checksum::Crc32c, &mut out).unwrap();
    for room in 0..len {
        assert_eq!(write_v2(&addresses, tlv(9), Checksum::Crc32c, &mut out[..room]), Err(HeaderTooLong));
    }
}

/// What was received goes on to the next proxy, but for its checksum and padding, which were of the other header.
#[test]
fn received_tlvs_can_be_sent_on() {
    let (id, padding) = (Tlv { kind: kind::UNIQUE_ID, value: b"1" }, Tlv { kind: kind::NOOP, value: b"12345" });
    let addresses = inet("192.0.2.1:1", "192.0.2.2:2");
    let (mut first, mut second) = ([0; 100], [0; 100]);
    let len = write_v2(&addresses, [id], Checksum::Crc32c, &mut first).unwrap();
    let received = valid(&first[..len]);
    assert!(received.tlvs.checked);
    let tlvs = received.tlvs.iter().chain([padding]);
    let len = write_v2(&received.addresses, tlvs, Checksum::None, &mut second).unwrap();
    let sent = valid(&second[..len]);
    assert!(sent.tlvs.iter().eq([id]) && !sent.tlvs.checked);
}

fn random_address(rng: &mut Rng) -> SocketAddr {
    let ip = match rng.below(3) {
        0 => IpAddr::from((rng.next_u64() as u32).to_be_bytes()),
        1 => IpAddr::from((u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).to_be_bytes()),
        _ => IpAddr::from((0xffff_0000_0000_u128 | u128::from(rng.next_u64() as u32)).to_be_bytes()),
    };
    SocketAddr::new(ip, rng.next_u64() as u16)
}

/// Both versions, every mixture of families, any TLVs: the same addresses come back, v4-mapped or not.
#[test]
fn what_is_written_reads_back() {
    let mut rng = Rng::new(44);
    let same = |a: SocketAddr, b: SocketAddr| (a.ip().to_canonical(), a.port()) == (b.ip().to_canonical(), b.port());
    for _ in 0..2000 {
        let (from, to) = (random_address(&mut rng), random_address(&mut rng));
        let addresses = Addresses::Inet { source: from, destination: to };
        let mut value = vec![0; rng.index(40)];
        rng.fill(&mut value);
        let tlvs = [Tlv { kind: 0xe0 + rng.below(16) as u8, value: &value }, Tlv { kind: kind::ALPN, value: &value }];
        let checksum = if rng.chance(1, 2) { Checksum::Crc32c } else { Checksum::None };
        let mut out = [0; 300];
        let len = write_v2(&addresses, tlvs, checksum, &mut out).unwrap();
        let binary = valid(&out[..len]);
        assert!(binary.tlvs.iter().filter(|tlv| tlv.kind != kind::CRC32C).eq(tlvs));
        assert_eq!(binary.tlvs.checked, checksum == Checksum::Crc32c);
        let mut line = [0; V1_BYTES_MAX];
        let len = write_v1(&addresses, &mut line).unwrap();
        for header in [binary, valid(&line[..len])] {
            let Addresses::Inet { source, destination } = header.addresses else { panic!("{header:?}") };
            assert!(same(source, from) && same(destination, to), "{from} {to} {header:?}");
        }
    }
}
