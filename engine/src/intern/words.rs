//! Names eight bytes at a time: whether they are tokens, their lower case, their hash.

use crate::rng::splitmix64;

/// A byte in each byte of a word.
const fn all(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

const HIGH: u64 = all(0x80);

/// The last `len` bytes of a text, 1 to 7 of them, which are all of it or all but whole words. By loads that overlap,
/// where there is enough to overlap with.
#[inline]
fn last_word(text: &[u8], len: usize) -> u64 {
    if let Some(bytes) = text.last_chunk() {
        return u64::from_le_bytes(*bytes) >> (64 - 8 * len);
    }
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (len - 4));
    }
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        return u64::from(u16::from_le_bytes(*first)) | u64::from(u16::from_le_bytes(*last)) << (8 * (len - 2));
    }
    text.first().copied().map_or(0, u64::from)
}

/// The high bit of each byte that is from `first` to `last`, if all bytes are ASCII.
#[inline]
const fn within(word: u64, first: u8, last: u8) -> u64 {
    let from = word + all(0x80 - first);
    let beyond = word + all(0x7f - last);
    from & !beyond & HIGH
}

/// A word of ASCII in lower case.
#[inline]
const fn lower(word: u64) -> u64 {
    let word = word & !HIGH;
    word | within(word, b'A', b'Z') >> 2
}

/// The high bits of bytes other than letters in lower case, digits and `-`, of which nearly all names are made. Of a
/// word of ASCII.
#[inline]
const fn not_plain(word: u64) -> u64 {
    let is_no_dash = (word ^ all(b'-')) + all(0x7f);
    is_no_dash & !within(word, b'a', b'z') & !within(word, b'0', b'9') & HIGH
}

/// True when `small` is `name` in lower case.
#[inline]
pub(super) fn is_lower_of(small: &[u8], name: &[u8]) -> bool {
    if small.len() != name.len() {
        return false;
    }
    let ((whole, rest), (small_whole, small_rest)) = (name.as_chunks::<8>(), small.as_chunks::<8>());
    for (bytes, small) in whole.iter().zip(small_whole) {
        if lower(u64::from_le_bytes(*bytes)) != u64::from_le_bytes(*small) {
            return false;
        }
    }
    rest.is_empty() || lower(last_word(name, rest.len())) == last_word(small, small_rest.len())
}

/// By byte: whether it may stand in a token.
///
/// RFC 9110, 5.6.2: `tchar = "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~" /
/// DIGIT / ALPHA`.
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        let mark = matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        table[byte as usize] = mark || byte.is_ascii_alphanumeric();
        byte += 1;
    }
    table
};

/// True exactly when `name` is a token of RFC 9110, which a header name must be.
#[inline]
pub fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| TOKEN[usize::from(*byte)])
}

/// What the hash of names depends on besides the names: secret, or anybody could send names that have the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    start: u64,
    factor: u64,
    last: u64,
}

impl Keys {
    pub(super) fn new(mut seed: u64) -> Self {
        let mut next = || splitmix64(&mut seed);
        // An odd factor loses no bit of what it multiplies, where it stands alone.
        Self { start: next(), factor: next() | 1, last: next() | 1 }
    }

    /// The hash of a name, the same in any case; `None` when it is not a token.
    ///
    /// Words are folded in by products of 128 bits whose halves are added without carry, as wyhash and its successors
    /// do it: two at once as far as there are two, then what is left. That spreads names well and tells nothing to
    /// those who do not know the keys, but it is no SipHash: whoever could measure single lookups might find the keys
    /// out. They would gain chains of at most as many entries as the cap holds.
    #[inline]
    pub(super) fn hash_token(self, name: &[u8]) -> Option<u32> {
        if name.is_empty() {
            return None;
        }
        let mut hash = self.start ^ name.len() as u64;
        // A bit for each byte that is not plain. Whether it may stand in a token is asked only if there is one.
        let mut odd = 0;
        let (pairs, rest) = name.as_chunks::<16>();
        for pair in pairs {
            let [a, b] = halves(pair);
            let (low_a, low_b) = (lower(a), lower(b));
            odd |= (a | b) & HIGH | not_plain(low_a) | not_plain(low_b);
            hash = fold(hash ^ low_a, self.factor ^ low_b);
        }
        if let Some(first) = rest.first_chunk() {
            let word = u64::from_le_bytes(*first);
            let low = lower(word);
            odd |= word & HIGH | not_plain(low);
            hash = fold(hash ^ low, self.factor);
        }
        let rest = name.len() % 8;
        if rest > 0 {
            let word = last_word(name, rest);
            let low = lower(word);
            odd |= word & HIGH | not_plain(low | all(b'a') << (8 * rest));
            hash = fold(hash ^ low, self.factor);
        }
        (odd == 0 || is_token(name)).then(|| fold(hash, self.last) as u32)
    }
}

#[inline]
fn halves(pair: &[u8; 16]) -> [u64; 2] {
    let both = u128::from_le_bytes(*pair);
    [both as u64, (both >> 64) as u64]
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Every length, so every way to load what is left over, and nothing from beyond the end.
    #[test]
    fn what_is_left_over_is_the_end_of_the_text() {
        let text: Vec<u8> = (1..=40).collect();
        for len in 1..=text.len() {
            let rest = len % 8;
            let mut padded = text[len - rest..len].to_vec();
            padded.resize(8, 0);
            let expected = padded.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
            assert!(rest == 0 || Some(last_word(&text[..len], rest)) == expected, "{len}");
        }
    }

    /// Each byte at each place of each length up to four words, with neighbours that carry if anything does.
    #[test]
    fn tokens_and_lower_case_are_those_of_single_bytes() {
        let keys = Keys::new(1);
        for neighbour in [b'a', b'Z', b'~', b'!'] {
            for len in 1..=32 {
                for at in 0..len {
                    for byte in 0..=u8::MAX {
                        let mut name = vec![neighbour; len];
                        name[at] = byte;
                        let hash = keys.hash_token(&name);
                        assert_eq!(hash.is_some(), is_token(&name), "{name:?}");
                        let small = name.to_ascii_lowercase();
                        if hash.is_some() {
                            assert_eq!(keys.hash_token(&small), hash, "{name:?}");
                            assert!(is_lower_of(&small, &name), "{name:?}");
                            assert_eq!(is_lower_of(&name, &name), small == name, "{name:?}");
                            name[at] ^= 1;
                            assert!(!is_lower_of(&small, &name) && !is_lower_of(&small[1..], &name), "{name:?}");
                        }
                    }
                }
            }
        }
    }

    /// Names as alike as names can be, into as many buckets as names: no bucket gets many, whatever the seed.
    #[test]
    fn names_that_are_alike_spread() {
        const NAMES: usize = 4096;
        let numbered = |len: usize| move |n: usize| format!("{}{n:04}", "x".repeat(len - 4));
        let in_front = |n: usize| format!("{n:04}{}", "x".repeat(20));
        // Of one byte each, at places all over the name.
        let flipped = |n: usize| {
            let mut name = vec![b'x'; 128];
            name[n / 32] = b'a' + (n % 32) as u8 % 23;
            name[(n / 32 + 64) % 128] = b'a' + (n % 32) as u8 / 23;
            String::from_utf8(name).expect("letters")
        };
        let ways: [&dyn Fn(usize) -> String; 5] = [&numbered(4), &numbered(11), &numbered(32), &in_front, &flipped];
        let mut seeds = Rng::new(3);
        for _ in 0..20 {
            let keys = Keys::new(seeds.next_u64());
            for (number, way) in ways.iter().enumerate() {
                let names: std::collections::BTreeSet<String> = (0..NAMES).map(way).collect();
                let mut buckets = vec![0_u32; NAMES];
                for name in &names {
                    buckets[keys.hash_token(name.as_bytes()).expect("a token") as usize % NAMES] += 1;
                }
                // Thrown at random, 4096 into 4096 come to 9 in one bucket once in 200 times.
                let most = buckets.iter().max().copied().unwrap_or(0);
                let square: u32 = buckets.iter().map(|count| count * count).sum();
                let mean = f64::from(square) / names.len() as f64;
                assert!(most <= 11 && mean < 2.2, "way {number}: {most} in one bucket, {mean} on average");
            }
        }
    }
}
