//! CRC-32C (RFC 9260 appendix A): once a connection over a few dozen bytes, so a table does.

/// The polynomial 0x1edc6f41, its bits reversed, since bytes go in with the lowest bit first.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What each value of a byte does to the remainder.
static TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            remainder = if remainder & 1 == 1 { (remainder >> 1) ^ POLYNOMIAL } else { remainder >> 1 };
            bit += 1;
        }
        table[byte] = remainder;
        byte += 1;
    }
    table
}

/// The checksum of the pieces put together.
pub(super) fn of(pieces: &[&[u8]]) -> u32 {
    let bytes = pieces.iter().copied().flatten();
    !bytes.fold(!0, |remainder, byte| (remainder >> 8) ^ TABLE[usize::from(remainder as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720 appendix B.4, and the check value that catalogues of checksums give.
    #[test]
    fn the_published_values_come_out() {
        assert_eq!(of(&[b"123456789"]), 0xe306_9283);
        assert_eq!(of(&[b"1234", b"", b"56789"]), 0xe306_9283);
        assert_eq!(of(&[&[0; 32]]), 0x8a91_36aa);
        assert_eq!(of(&[&[0xff; 32]]), 0x62a8_ab43);
        assert_eq!(of(&[]), 0);
    }
}
