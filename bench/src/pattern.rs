//! Bytes that prove themselves: what a connection sends, and what must come back.
//!
//! A connection's stream is a row of 64-bit words, each the last one plus an odd constant, from a seed that names the
//! connection and its attempt:
//!
//! ```text
//!   word 0 = MARK | connection and attempt     word i = word 0 + i × STEP     (little endian)
//! ```
//!
//! So a byte depends on whose it is and on its place in the whole stream, not in its message: bytes that are wrong,
//! lost, repeated, swapped or of another connection show, wherever a read happens to split them. No word comes twice in
//! a stream. Making and checking take an addition and a comparison a word, which the compiler does several at a time.

/// Odd, so that the row runs through every word; the bits of the golden ratio, so that every byte changes.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// The upper half of word 0, by which a receiver that does not know the connection knows a stream of ours.
const MARK: u64 = 0xba1a_ce5e << 32;
const WORD_BYTES: usize = 8;

/// A place in the stream of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    seed: u64,
    /// Of the next byte.
    position: u64,
}

impl Pattern {
    /// The start of the stream of a connection's `attempt`: one that was opened again does not take old bytes for new.
    pub(crate) fn new(connection: u32, attempt: u32) -> Self {
        let name = connection.wrapping_mul(0x9e37_79b1).wrapping_add(attempt.wrapping_mul(0x85eb_ca77));
        Self { seed: MARK | u64::from(name), position: 0 }
    }

    /// The stream of a name, such as the target of a request: an answer to another one does not pass for it.
    pub(crate) fn named(name: &[u8]) -> Self {
        // FNV-1a, 32 bits.
        let hash = name.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        Self { seed: MARK | u64::from(hash), position: 0 }
    }

    /// The stream that begins with this word, its first byte past the word; `None` where it is no stream of ours.
    fn after_first_word(word: u64) -> Option<Self> {
        let marked = word & (u64::MAX << 32) == MARK;
        marked.then_some(Self { seed: word, position: WORD_BYTES as u64 })
    }

    #[cfg(test)]
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Write the next bytes of the stream.
    pub(crate) fn fill(&mut self, out: &mut [u8]) {
        let (head, rest) = out.split_at_mut(self.bytes_to_next_word().min(out.len()));
        self.fill_few(head);
        let mut word = self.word();
        let (words, tail) = rest.as_chunks_mut::<WORD_BYTES>();
        for place in &mut *words {
            *place = word.to_le_bytes();
            word = word.wrapping_add(STEP);
        }
        self.position += (words.len() * WORD_BYTES) as u64;
        self.fill_few(tail);
    }

    /// Compare with the next bytes of the stream, and move past them where they are right.
    ///
    /// # Errors
    /// The place in the stream of the first byte that is wrong.
    pub(crate) fn check(&mut self, bytes: &[u8]) -> Result<(), u64> {
        let start = *self;
        let (head, rest) = bytes.split_at(self.bytes_to_next_word().min(bytes.len()));
        let mut difference = self.compare_few(head);
        let mut word = self.word();
        let (words, tail) = rest.as_chunks::<WORD_BYTES>();
        for place in words {
            difference |= u64::from_le_bytes(*place) ^ word;
            word = word.wrapping_add(STEP);
        }
        self.position += (words.len() * WORD_BYTES) as u64;
        difference |= self.compare_few(tail);
        if difference == 0 { Ok(()) } else { Err(start.first_wrong(bytes)) }
    }

    fn first_wrong(mut self, bytes: &[u8]) -> u64 {
        let right = bytes.iter().take_while(|byte| self.compare_few(&[**byte]) == 0).count();
        // `compare_few` has moved past the wrong byte, too.
        self.position - u64::from(right < bytes.len())
    }

    fn bytes_to_next_word(&self) -> usize {
        (self.position.wrapping_neg() % WORD_BYTES as u64) as usize
    }

    /// The word that the next byte is in.
    fn word(&self) -> u64 {
        self.seed.wrapping_add((self.position / WORD_BYTES as u64).wrapping_mul(STEP))
    }

    fn next_byte(&mut self) -> u8 {
        let byte = self.word().to_le_bytes()[(self.position % WORD_BYTES as u64) as usize];
        self.position += 1;
        byte
    }

    fn fill_few(&mut self, out: &mut [u8]) {
        for place in out {
            *place = self.next_byte();
        }
    }

    fn compare_few(&mut self, bytes: &[u8]) -> u64 {
        bytes.iter().fold(0, |difference, byte| difference | u64::from(byte ^ self.next_byte()))
    }
}

/// What a receiver expects.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Checker {
    /// Anything: the peer has bytes of its own.
    Any,
    /// This stream.
    Known(Pattern),
    /// Any stream of ours; the first word says which. So far `count` bytes of that word have come.
    Unknown { first_word: [u8; WORD_BYTES], count: usize },
}

impl Checker {
    pub(crate) const UNKNOWN: Self = Self::Unknown { first_word: [0; WORD_BYTES], count: 0 };

    /// # Errors
    /// The place in the stream of the first byte that is wrong; 0 where the stream is none of ours.
    pub(crate) fn check(&mut self, bytes: &[u8]) -> Result<(), u64> {
        match self {
            Self::Any => Ok(()),
            Self::Known(pattern) => pattern.check(bytes),
            Self::Unknown { first_word, count } => {
                let (now, rest) = bytes.split_at(bytes.len().min(WORD_BYTES - *count));
                first_word[*count..*count + now.len()].copy_from_slice(now);
                *count += now.len();
                if *count < WORD_BYTES {
                    return Ok(());
                }
                let pattern = Pattern::after_first_word(u64::from_le_bytes(*first_word)).ok_or(0_u64)?;
                *self = Self::Known(pattern);
                self.check(rest)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        Pattern::new(7, 0).fill(&mut bytes);
        bytes
    }

    #[test]
    fn right_bytes_pass_at_any_split() {
        let bytes = stream(200);
        for split in 0..=bytes.len() {
            let mut checker = Pattern::new(7, 0);
            assert_eq!(checker.check(&bytes[..split]), Ok(()), "before {split}");
            assert_eq!(checker.check(&bytes[split..]), Ok(()), "after {split}");
            assert_eq!(checker.position(), 200);
        }
    }

    #[test]
    fn pieces_filled_one_by_one_are_the_same_stream() {
        for piece in 1..40 {
            let mut pattern = Pattern::new(7, 0);
            let mut bytes = vec![0; 200];
            bytes.chunks_mut(piece).for_each(|part| pattern.fill(part));
            assert_eq!(bytes, stream(200), "pieces of {piece}");
        }
    }

    /// Every mutation of a transfer, at every place of it, with the place where it first shows at the latest.
    #[test]
    fn wrong_lost_repeated_and_swapped_bytes_are_found() {
        let good = stream(160);
        for at in 0..120 {
            let mut wrong = good.clone();
            wrong[at] ^= 0x10;
            assert_eq!(Pattern::new(7, 0).check(&wrong), Err(at as u64), "wrong at {at}");
            for length in [1, 7, 8, 16, 24] {
                let mut lost = good.clone();
                lost.drain(at..at + length);
                assert!(Pattern::new(7, 0).check(&lost).is_err(), "{length} lost at {at}");
                let mut repeated = good.clone();
                repeated.splice(at..at, good[at..at + length].iter().copied());
                assert!(Pattern::new(7, 0).check(&repeated).is_err(), "{length} repeated at {at}");
                let mut swapped = good.clone();
                swapped[at..at + length + 8].rotate_left(8);
                assert!(Pattern::new(7, 0).check(&swapped).is_err(), "{length} swapped at {at}");
            }
        }
    }

    #[test]
    fn another_connection_or_attempt_is_another_stream() {
        let bytes = stream(64);
        assert_eq!(Pattern::new(8, 0).check(&bytes), Err(0));
        assert!(Pattern::new(7, 1).check(&bytes).is_err());
    }

    #[test]
    fn a_receiver_learns_the_stream_from_its_first_word() {
        let bytes = stream(100);
        for piece in 1..20 {
            let mut checker = Checker::UNKNOWN;
            for (index, part) in bytes.chunks(piece).enumerate() {
                assert_eq!(checker.check(part), Ok(()), "part {index} of {piece}");
            }
        }
        let mut checker = Checker::UNKNOWN;
        assert_eq!(checker.check(b"GET / HTTP/1.1"), Err(0), "none of ours");
        let mut checker = Checker::UNKNOWN;
        checker.check(&bytes[..20]).unwrap();
        assert_eq!(checker.check(&bytes[21..]), Err(20), "a byte lost");
        assert_eq!(Checker::Any.check(b"whatever"), Ok(()));
    }
}
