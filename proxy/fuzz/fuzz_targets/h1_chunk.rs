//! Any bytes as a chunked body: one verdict and the same data however they are cut, and what is decoded is encoded so
//! that it is decoded again.
//!
//! The first byte says how the rest is cut. `cargo +nightly fuzz run h1_chunk corpus/h1_chunk seeds/h1_chunk`, started
//! from `proxy/fuzz`.
#![no_main]
#![allow(dead_code, unused_imports, reason = "a part of a module is compiled here, without its crate")]

#[path = "../../src"]
mod proxy {
    pub(crate) mod h1;
}

use balance_engine::intern::Interner;
use libfuzzer_sys::fuzz_target;
use proxy::h1::{
    Head, Limits, Refusal, Side,
    chunk::{CHUNK_END, ChunkHead, Decoder, Step},
    write_trailers,
};

#[derive(Debug, PartialEq)]
enum End {
    Partial,
    /// Where the body ends, and its trailers as they are written.
    Over(usize, Vec<u8>),
    Refused(Refusal),
}

fn decode(bytes: &[u8], piece: usize, limits: &Limits) -> (Vec<u8>, End) {
    let names = Interner::new(4096, 1);
    let mut decoder = Decoder::new(Side::Response);
    let mut head = Head::with_limits(limits);
    let (mut data, mut start, mut end) = (Vec::new(), 0, 0);
    while end < bytes.len() {
        end = (end + piece).min(bytes.len());
        loop {
            let input = &bytes[start..end];
            match decoder.decode(input, limits, &names, &mut head) {
                Step::Data { skip, len } => {
                    assert!(len > 0);
                    data.extend(&input[skip..skip + len]);
                    start += skip + len;
                }
                Step::NeedMore { consumed } => {
                    start += consumed;
                    assert!(end - start <= limits.trailer_bytes_max as usize, "more is kept than promised");
                    break;
                }
                Step::End { consumed } => {
                    let mut out = vec![0; input.len() * 2 + 64];
                    let len = write_trailers(&mut out, input, &head).expect("room enough");
                    out.truncate(len);
                    return (data, End::Over(start + consumed, out));
                }
                Step::Refused(refusal) => return (data, End::Refused(refusal)),
            }
        }
    }
    (data, End::Partial)
}

fuzz_target!(|input: &[u8]| {
    let Some((piece, bytes)) = input.split_first() else { return };
    let small = Limits {
        body_bytes_max: 100,
        chunk_ext_bytes_max: 8,
        trailer_bytes_max: 64,
        fields_max: 4,
        ..Limits::default()
    };
    for limits in [Limits::default(), small] {
        let (data, end) = decode(bytes, bytes.len().max(1), &limits);
        let (in_pieces, also) = decode(bytes, usize::from(*piece).max(1), &limits);
        match (&end, &also) {
            // A refusal may wait for the rest of a line that never comes.
            (End::Refused(_), End::Partial) => {}
            _ => assert_eq!(end, also),
        }
        assert_eq!(data, in_pieces);
        let End::Over(_, trailers) = end else { continue };
        let mut again = Vec::new();
        for part in data.chunks(7) {
            again.extend(ChunkHead::new(part.len() as u64).as_bytes());
            again.extend(part);
            again.extend(CHUNK_END);
        }
        again.extend(&trailers);
        let roomy = Limits { trailer_bytes_max: 1 << 20, field_bytes_max: 1 << 20, ..limits };
        assert_eq!(decode(&again, again.len(), &roomy), (data, End::Over(again.len(), trailers)));
    }
});
