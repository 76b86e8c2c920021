//! How a hello comes: in segments, in records, too long, or not at all.

use super::*;
use balance_engine::rng::Rng;

fn usual() -> Vec<Vec<u8>> {
    vec![sni(b"www.example.com"), alpn(&[b"h2"]), extension(51, &[0x33; 40])]
}

fn usual_found() -> Verdict {
    found(Some("www.example.com"), &[b"h2"])
}

/// Two records, cut at every byte of the message; `inspect` cuts the segments at every byte too.
#[test]
fn a_hello_may_be_cut_into_records_anywhere() {
    let message = message(&usual());
    for cut in 1..message.len() {
        let bytes = [records(&message[..cut], 1 << 14), records(&message[cut..], 1 << 14)].concat();
        assert_eq!(inspect(&bytes), usual_found(), "cut at {cut}");
    }
    for size in 4..message.len() {
        assert_eq!(inspect(&records(&message, size)), usual_found(), "records of {size}");
    }
}

/// In one record, nothing is copied: the name lies in the bytes that came.
#[test]
fn a_hello_in_one_record_is_read_in_place() {
    let bytes = hello(&usual());
    let mut inspector = fresh();
    for len in 0..bytes.len() {
        assert!(matches!(inspector.inspect(&bytes[..len]), Progress::NeedMore { .. }));
    }
    let Progress::Found(Hello { sni: Some(name), .. }) = inspector.inspect(&bytes) else { panic!("no name") };
    assert!(bytes.as_ptr_range().contains(&name.as_ptr()));
}

/// With post-quantum key shares a hello is longer than a segment, then longer than a record.
#[test]
fn long_hellos_are_read() {
    for len in [1000, 2000, 4000, 9000, 16_000, 16_383, 16_384, 17_400] {
        let bytes = hello(&[extension(51, &vec![0x11; len]), sni(b"www.example.com")]);
        assert_eq!(inspect(&bytes), found(Some("www.example.com"), &[]), "{len}");
    }
}

/// A hello of so many bytes, the headers of its records included.
fn sized(len: usize) -> Vec<u8> {
    let records = if len > 5 + (1 << 14) { 2 } else { 1 };
    let overhead = message(&[extension(51, b"")]).len() + records * 5;
    let bytes = hello(&[extension(51, &vec![0; len - overhead])]);
    assert_eq!(bytes.len(), len);
    bytes
}

/// The message's own header tells its length: nobody waits for, or keeps, one over the limit.
#[test]
fn a_hello_over_the_limit_is_refused_at_a_header() {
    assert_eq!(inspect(&sized(BYTES_MAX)), found(None, &[]));
    for limit in [1 << 10, 1 << 12, 1 << 14] {
        let (good, long) = (sized(limit), sized(limit + 1).into_iter().take(9).collect::<Vec<_>>());
        assert_eq!(verdict(&mut Inspector::new(limit), &good), found(None, &[]), "{limit}");
        assert_eq!(verdict(&mut Inspector::new(limit), &long), Verdict::Invalid(Invalid::TooLong), "{limit}");
    }
    let long = sized(BYTES_MAX + 1);
    assert_eq!(inspect(&long), Verdict::Invalid(Invalid::TooLong));
    // One header of a record counts in any case, each of the others when it comes.
    assert_eq!(verdict(&mut fresh(), &sized(BYTES_MAX + 6)[..9]), Verdict::Invalid(Invalid::TooLong));
    assert_eq!(verdict(&mut fresh(), &long[..5 + (1 << 14) + 5]), Verdict::Invalid(Invalid::TooLong));
    assert_eq!(inspect(b"\x16\x03\x01\x02\0\x01\xff\xff\xff"), Verdict::Invalid(Invalid::TooLong));
    // The second record would pass the limit, before the message has said how long it is.
    let bytes = [&records(&long[5..8], 3)[..], &[22, 3, 1, 0x40, 0x00]].concat();
    let limit = 5 + 3 + 5 + (1 << 14);
    assert_eq!(verdict(&mut Inspector::new(limit - 1), &bytes), Verdict::Invalid(Invalid::TooLong));
    assert_eq!(verdict(&mut Inspector::new(limit), &bytes), Verdict::More(16_384));
}

/// With the limit at every byte of a hello in several records: it is taken where it fits, and else the same is said
/// however it comes.
#[test]
fn the_limit_counts_every_byte_of_every_record() {
    for size in [20, 50, 80] {
        let bytes = records(&message(&usual()), size);
        for limit in 0..=bytes.len() {
            let expected = if limit < bytes.len() { Verdict::Invalid(Invalid::TooLong) } else { usual_found() };
            assert_eq!(verdict(&mut Inspector::new(limit), &bytes), expected, "limit {limit}");
            let mut growing = Inspector::new(limit);
            let mut waited = 0;
            while let Verdict::More(at_least) = verdict(&mut growing, &bytes[..waited]) {
                assert!(waited + at_least <= limit, "limit {limit}: {at_least} after {waited}");
                waited += 1;
            }
            assert_eq!(verdict(&mut growing, &bytes[..waited]), expected, "limit {limit}");
        }
    }
}

/// Records of one byte, five bytes of header each, are how to make a peer keep much for little. Neither what the
/// caller has to keep nor what is kept here passes its bound.
#[test]
fn tiny_records_are_bounded() {
    let bytes = records(&message(&usual()), 1);
    let refused = 64 * 6;
    assert!(bytes.len() > refused);
    assert_eq!(verdict(&mut fresh(), &bytes[..refused - 1]), Verdict::More(1));
    assert_eq!(verdict(&mut fresh(), &bytes[..refused]), Verdict::Invalid(Invalid::TooManyRecords));
    assert_eq!(inspect(&bytes), Verdict::Invalid(Invalid::TooManyRecords));
    // Exactly 64 are taken.
    let message = message(&usual());
    let bytes = [records(&message[..63], 1), records(&message[63..], 1 << 14)].concat();
    assert_eq!(inspect(&bytes), usual_found());
}

#[test]
fn whatever_comes_no_more_is_waited_for_than_promised() {
    let mut rng = Rng::new(16);
    for _ in 0..300 {
        let max = rng.index(3000);
        let mut inspector = Inspector::new(max);
        let mut bytes = Vec::new();
        while let Verdict::More(at_least) = verdict(&mut inspector, &bytes) {
            assert!(bytes.len() + at_least <= max, "limit {max}");
            // A record that promises a long message, then as much as can be had.
            let size = 1 + rng.index(200);
            let mut content = vec![0; size];
            if bytes.is_empty() {
                let claimed = u32::try_from(max).unwrap().to_be_bytes();
                content.splice(.., [1, claimed[1], claimed[2], claimed[3]]);
            }
            bytes.extend(records(&content, size.max(4)));
        }
    }
}

#[test]
fn other_protocols_are_not_tls() {
    #[track_caller]
    fn check(bytes: &[u8]) {
        assert_eq!(inspect(bytes), Verdict::NotTls);
    }
    check(b"GET / HTTP/1.1\r\n\r\n");
    check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    check(b"SSH-2.0-OpenSSH_9.6\r\n");
    check(b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10");
    check(b"\x80\x46\x01\x03\x01\x00\x2d\x00\x00\x00\x10");
    check(b"\x16\xfe\xfd\x00\x00");
    check(b"\x15\x03\x01\x00\x02\x02\x28");
    check(b"\x17\x03\x03\x00\x05hello");
    check(b"\x00\x00\x00\x08\x04\xd2\x16\x2f");
}

#[test]
fn records_are_exact() {
    #[track_caller]
    fn check(bytes: &[u8], why: Invalid) {
        assert_eq!(inspect(bytes), Verdict::Invalid(why));
    }
    let message = message(&usual());
    let first = records(&message[..50], 50);
    let rest = records(&message[50..], 1 << 14);
    let join = |middle: &[u8]| [&first, middle, &rest[..]].concat();
    check(b"\x16\x03\x01\x00\x00", Invalid::RecordLength);
    check(&join(b"\x16\x03\x01\x00\x00"), Invalid::RecordLength);
    check(b"\x16\x03\x01\x40\x01", Invalid::RecordLength);
    check(b"\x16\x03\x01\xff\xff", Invalid::RecordLength);
    check(&join(b"\x15\x03\x03\x00\x02\x01\x00"), Invalid::Interleaved);
    check(&join(b"\x14\x03\x03\x00\x01\x01"), Invalid::Interleaved);
    check(&join(b"GET / HTTP/1.1"), Invalid::Interleaved);
    check(b"\x16\x03\x01\x00\x04\x02\x00\x00\x26", Invalid::NotClientHello);
    check(b"\x16\x03\x01\x00\x04\x16", Invalid::NotClientHello);
    // Something behind the hello in its record: in the first, in a later one, and in that where its header ends.
    let longer = [&message[..], b"\x01"].concat();
    check(&records(&longer, 1 << 14), Invalid::Malformed);
    check(&records(&longer, 50), Invalid::Malformed);
    check(&records(&[&handshake(1, b"")[..], b"\0\0"].concat(), 3), Invalid::Malformed);
}

/// Early data, or whatever else the client has already sent, is not looked at.
#[test]
fn what_follows_the_hello_does_not_matter() {
    for behind in [b"\x14\x03\x03\x00\x01\x01".as_slice(), b"\x17\x03\x03\x00\x02ab", b"garbage"] {
        for size in [1 << 14, 50] {
            let bytes = [&records(&message(&usual()), size), behind].concat();
            assert_eq!(inspect(&bytes), usual_found());
        }
    }
}

/// One flipped byte of a hello in two records: any verdict, but the same one however it comes (`inspect` looks).
#[test]
fn damaged_hellos_have_one_verdict_however_they_come() {
    let mut rng = Rng::new(17);
    let good = records(&message(&usual()), 80);
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << rng.below(8);
        inspect(&bytes);
        bytes[at] = 0xff;
        inspect(&bytes);
    }
}
