//! Looking for bytes, eight at a time, without `unsafe`.
//!
//! A byte is hit when the top bit of its lane is set. Borrows run upwards, so a lane may be hit falsely only above one
//! that is hit truly: the lowest hit, which is the first byte, is always true.

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = LOW << 7;
const WORD: usize = size_of::<u64>();

/// Lanes below `bound`, which is at most 0x80.
const fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(LOW * bound as u64) & !word & HIGH
}

const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (LOW * byte as u64), 1)
}

/// From `at`, the first place where `word` hits or, for the last few bytes, where `byte` is true; else the length.
#[inline(always)]
fn find(bytes: &[u8], mut at: usize, word: impl Fn(u64) -> u64, byte: impl Fn(u8) -> bool) -> usize {
    while let Some(lanes) = bytes.get(at..).and_then(<[u8]>::first_chunk::<WORD>) {
        let hit = word(u64::from_le_bytes(*lanes));
        if hit != 0 {
            return at + (hit.trailing_zeros() / 8) as usize;
        }
        at += WORD;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    rest.iter().position(|one| byte(*one)).map_or(bytes.len(), |offset| at + offset)
}

/// The first `wanted`, or the length.
#[inline]
pub(super) fn find_byte(bytes: &[u8], at: usize, wanted: u8) -> usize {
    find(bytes, at, |word| equal(word, wanted), |byte| byte == wanted)
}

/// True for what may stand in a field value: HTAB, SP, VCHAR and obs-text (RFC 9110, 5.5).
pub(super) const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// The first byte that may not stand in a field value, or the length.
#[inline]
pub(super) fn find_not_text(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at = find(bytes, at, |word| below(word, b' ') | equal(word, 0x7f), |byte| byte < b' ' || byte == 0x7f);
        // A tab is rare enough to begin anew behind it.
        if bytes.get(at) != Some(&b'\t') {
            return at;
        }
        at += 1;
    }
}

/// The first byte that ends or spoils a request target: not visible US-ASCII, or `#`.
#[inline]
pub(super) fn find_not_target(bytes: &[u8], at: usize) -> usize {
    find(
        bytes,
        at,
        |word| below(word, b'!') | equal(word, 0x7f) | equal(word, b'#') | (word & HIGH),
        |byte| !byte.is_ascii_graphic() || byte == b'#',
    )
}

/// Without the white space that may surround a value (OWS, RFC 9110, 5.6.3).
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let is_ows = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = bytes.iter().position(|byte| !is_ows(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !is_ows(byte)).map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}

/// The elements of a comma-separated list, trimmed, without the empty ones (RFC 9110, 5.6.1.2).
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim).filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte at every offset in lines of many lengths, against one byte at a time.
    #[test]
    fn eight_at_a_time_finds_what_one_at_a_time_does() {
        fn naive(bytes: &[u8], at: usize, wanted: impl Fn(u8) -> bool) -> usize {
            (at..bytes.len()).find(|at| wanted(bytes[*at])).unwrap_or(bytes.len())
        }
        for len in 0..20 {
            for place in 0..len {
                for byte in 0..=255 {
                    // What follows would borrow, were the lanes read the other way round.
                    for filler in [b'a', 0x80, b' ', b'!'] {
                        let mut line = vec![filler; len];
                        line[place] = byte;
                        for at in [0, place, place + 1] {
                            let context = format!("{line:?} from {at}");
                            assert_eq!(find_not_text(&line, at), naive(&line, at, |b| !is_text(b)), "{context}");
                            let not_target = |b: u8| !b.is_ascii_graphic() || b == b'#';
                            assert_eq!(find_not_target(&line, at), naive(&line, at, not_target), "{context}");
                            assert_eq!(find_byte(&line, at, b':'), naive(&line, at, |b| b == b':'), "{context}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn lists_have_no_empty_elements() {
        let all = |value: &'static [u8]| elements(value).collect::<Vec<_>>();
        assert_eq!(all(b" a ,, b\t,c d,"), [&b"a"[..], b"b", b"c d"]);
        assert!(all(b" , ,").is_empty());
        assert!(all(b"").is_empty());
    }
}
