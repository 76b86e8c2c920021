//! Chunked bodies, read and written.

use super::{
    chunk::{CHUNK_END, ChunkHead, Decoder, LAST_CHUNK, Step},
    table::rows,
    *,
};

pub(super) const TABLE: &str = include_str!("chunks.txt");

/// Decodes a body that comes in pieces of these sizes, and says what the table would.
fn decode(bytes: &[u8], pieces: impl Iterator<Item = usize>, limits: &Limits) -> String {
    let names = names();
    let mut decoder = Decoder::new(Side::Request);
    let mut head = Head::with_limits(limits);
    let (mut data, mut start, mut end) = (Vec::new(), 0, 0);
    for piece in pieces {
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
                    break;
                }
                Step::End { consumed } => {
                    assert_eq!(decoder.total(), data.len() as u64);
                    return ended(input, &data, &head, bytes.len() - start - consumed);
                }
                Step::Refused(refusal) => return refusal.code().to_owned(),
            }
        }
    }
    "partial".to_owned()
}

fn ended(input: &[u8], data: &[u8], head: &Head, rest: usize) -> String {
    let mut words = vec![format!("ok \"{}\"", text(data))];
    let kept = head.fields().iter().filter(|field| !field.is_hop_by_hop());
    words.extend(kept.map(|field| format!("{}: {}", plain(field.name_of(input)), plain(field.value_of(input)))));
    words.extend((rest > 0).then(|| format!("+{rest}")));
    words.join(" ")
}

#[test]
fn every_body_of_the_table_has_its_verdict_however_it_is_cut() {
    let limits = Limits::default();
    let mut wrong = Vec::new();
    for row in rows(TABLE, 3) {
        let len = row.bytes.len();
        let mut check = |pieces: &mut dyn Iterator<Item = usize>, how: String| {
            let verdict = decode(&row.bytes, pieces, &limits);
            if verdict != row.columns[0] {
                wrong.push(format!("line {}, {how}: {verdict}, not {}", row.line, row.columns[0]));
            }
        };
        check(&mut [len].into_iter(), "whole".to_owned());
        check(&mut std::iter::repeat_n(1, len), "byte by byte".to_owned());
        for cut in (1..len).step_by(1 + len / 600) {
            check(&mut [cut, len - cut].into_iter(), format!("cut at {cut}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_body_in_chunks_is_limited_by_what_they_announce() {
    let limits = Limits { body_bytes_max: 10, ..Limits::default() };
    let at_once = |bytes: &[u8]| decode(bytes, [bytes.len()].into_iter(), &limits);
    assert_eq!(at_once(b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"), "ok \"helloworld\"");
    assert_eq!(at_once(b"5\r\nhello\r\n6\r\n"), "body_too_long");
    assert_eq!(at_once(b"b\r\n"), "body_too_long");
}

#[test]
fn data_may_go_past_the_decoder() {
    let (limits, names) = (Limits::default(), names());
    let mut head = Head::with_limits(&limits);
    let mut decoder = Decoder::new(Side::Response);
    assert_eq!(decoder.left(), 0);
    let step = decoder.decode(b"100000\r\nabc", &limits, &names, &mut head);
    assert_eq!(step, Step::Data { skip: 8, len: 3 });
    assert_eq!(decoder.left(), (1 << 20) - 3);
    decoder.moved((1 << 20) - 4);
    assert_eq!(decoder.left(), 1);
    assert_eq!(decoder.decode(b"d\r\n0\r\n\r\n", &limits, &names, &mut head), Step::Data { skip: 0, len: 1 });
    assert_eq!(decoder.left(), 0);
    assert_eq!(decoder.decode(b"\r\n0\r\n\r\n", &limits, &names, &mut head), Step::End { consumed: 7 });
    assert_eq!(decoder.total(), 1 << 20);
    // It has ended for good: what follows is another message.
    assert_eq!(decoder.decode(b"0\r\n", &limits, &names, &mut head), Step::End { consumed: 0 });
}

#[test]
fn chunk_heads_are_what_the_decoder_reads() {
    let mut sizes: Vec<u64> = (0..64).flat_map(|bit| [1 << bit, (1 << bit) - 1, (1 << bit) + 1]).collect();
    sizes.push(u64::MAX);
    for size in sizes.into_iter().filter(|size| *size > 0) {
        let head = ChunkHead::new(size);
        assert_eq!(head.as_bytes(), format!("{size:x}\r\n").as_bytes());
    }
}

#[test]
fn what_is_written_in_chunks_is_read_again() {
    let limits = Limits::default();
    let mut wire = Vec::new();
    for size in [1, 15, 16, 17, 4096] {
        wire.extend(ChunkHead::new(size as u64).as_bytes());
        wire.extend(std::iter::repeat_n(b'x', size));
        wire.extend(CHUNK_END);
    }
    let plain = [&wire[..], LAST_CHUNK].concat();
    let expected = format!("ok \"{}\"", "x".repeat(1 + 15 + 16 + 17 + 4096));
    assert_eq!(decode(&plain, [plain.len()].into_iter(), &limits), expected);

    let trailers = b"0;x\r\nX:y\r\nCookie: a\r\ngrpc-status:  0 \r\n\r\n";
    let mut head = Head::with_limits(&limits);
    let mut decoder = Decoder::new(Side::Response);
    assert_eq!(decoder.decode(trailers, &limits, &names(), &mut head), Step::End { consumed: trailers.len() });
    let mut out = [0; 64];
    let len = write_trailers(&mut out, trailers, &head).unwrap();
    assert_eq!(text(&out[..len]), text(b"0\r\nX: y\r\ngrpc-status: 0\r\n\r\n"));
    let with_trailers = [&wire[..], &out[..len]].concat();
    let read = decode(&with_trailers, [with_trailers.len()].into_iter(), &limits);
    assert_eq!(read, format!("{expected} X: y grpc-status: 0"));
}
