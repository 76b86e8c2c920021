//! Any bytes: one verdict however they are cut, and a header that is read can be written and read again.
//!
//! `cargo +nightly fuzz run proxy_protocol corpus/proxy_protocol seeds/proxy_protocol`, started from `proxy/fuzz`.
#![no_main]
#![allow(dead_code, unfulfilled_lint_expectations, reason = "a part of a module is compiled here, without its crate")]

#[path = "../../src"]
mod proxy {
    pub(crate) mod proxy_protocol;
}

use libfuzzer_sys::fuzz_target;
use proxy::proxy_protocol::{Addresses, Checksum, Header, Parser, Progress, write_v2};

fuzz_target!(|bytes: &[u8]| {
    let parser = Parser::default();
    let whole = parser.parse(bytes);
    // Short ones at every byte; of a long one, a few places.
    for len in (0..bytes.len()).step_by(1 + bytes.len() / 200) {
        match parser.parse(&bytes[..len]) {
            Progress::NeedMore { at_least } => {
                assert!(at_least > 0);
                match whole {
                    Progress::Done { consumed, .. } => assert!(len + at_least <= consumed),
                    Progress::NeedMore { at_least: later } => assert!(len + at_least <= bytes.len() + later),
                    Progress::Invalid(_) => {}
                }
            }
            earlier => assert_eq!(earlier, whole),
        }
    }
    if let Progress::Done { header, consumed } = whole {
        assert!(consumed <= bytes.len());
        reads_back(&header);
    }
});

fn reads_back(header: &Header<'_>) {
    let mut out = [0; 8192];
    for checksum in [Checksum::None, Checksum::Crc32c] {
        let len = write_v2(&header.addresses, header.tlvs.iter(), checksum, &mut out).expect("it came in less");
        let Progress::Done { header: again, consumed } = Parser::default().parse(&out[..len]) else {
            // Room for the checksum was not part of the limit.
            assert!(len > 2500);
            continue;
        };
        assert_eq!(consumed, len);
        match (header.addresses, again.addresses) {
            (Addresses::Inet { source, destination }, Addresses::Inet { source: from, destination: to }) => {
                let both = [(source, from), (destination, to)];
                assert!(
                    both.iter().all(|(a, b)| a.ip().to_canonical() == b.ip().to_canonical() && a.port() == b.port())
                );
            }
            (one, other) => assert_eq!(one, other),
        }
        assert_eq!((header.tlvs.alpn, header.tlvs.authority), (again.tlvs.alpn, again.tlvs.authority));
        assert_eq!((header.tlvs.ssl, header.tlvs.netns), (again.tlvs.ssl, again.tlvs.netns));
    }
}
