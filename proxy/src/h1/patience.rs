//! When it is worth to parse a head again that was not complete.
//!
//! A head comes whole nearly always, so it is parsed at once. When it does not, it is parsed again when its empty
//! line has come, or when it has doubled: a peer that sends byte by byte costs a few passes over its bytes, not one for
//! each.

use super::bytes::find_byte;

/// What is remembered of a head that is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patience {
    /// No empty line ends before this place, less two for the bytes of one that may have begun.
    looked_at: u32,
    /// Parse again from so many bytes on.
    parse_at: u32,
}

impl Patience {
    pub(crate) const NEW: Self = Self { looked_at: 0, parse_at: 0 };

    /// True the first time, and then when `bytes`, those of before and more, may have another verdict. `bytes_max` is
    /// where a verdict is due whatever comes.
    pub(crate) fn is_over(&mut self, bytes: &[u8], bytes_max: usize) -> bool {
        let len = bytes.len();
        let ended = self.parse_at > 0 && ends(bytes, self.looked_at.saturating_sub(2) as usize);
        self.looked_at = len as u32;
        if ended || len >= self.parse_at as usize || len >= bytes_max {
            self.parse_at = (len as u32).saturating_mul(2).max(1);
            return true;
        }
        false
    }
}

/// An empty line from `at` on, whatever its line ends look like.
fn ends(bytes: &[u8], mut at: usize) -> bool {
    loop {
        at = find_byte(bytes, at, b'\n') + 1;
        match (bytes.get(at), bytes.get(at + 1)) {
            (None, _) => return false,
            (Some(b'\n'), _) | (Some(b'\r'), Some(b'\n')) => return true,
            (Some(_), _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_at_a_time_costs_a_few_passes() {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "v".repeat(5_000));
        let mut patience = Patience::NEW;
        let over: Vec<_> = (1..=head.len()).filter(|len| patience.is_over(&head.as_bytes()[..*len], 1 << 15)).collect();
        let doublings = (0..13).map(|power| 1 << power);
        assert_eq!(over, doublings.chain([head.len()]).collect::<Vec<_>>());
    }

    #[test]
    fn every_kind_of_empty_line_is_seen_however_it_is_cut() {
        for end in ["\r\n\r\n", "\n\n", "\n\r\n", "\r\n\n"] {
            let text = format!("0123456789{end}");
            for cut in 1..text.len() {
                let mut patience = Patience { looked_at: 0, parse_at: 1_000 };
                let early = patience.is_over(&text.as_bytes()[..cut], 1_000);
                assert!(!early, "{text:?} cut at {cut}");
                assert!(patience.is_over(text.as_bytes(), 1_000), "{text:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn at_the_limit_there_is_a_verdict() {
        let mut patience = Patience::NEW;
        assert!(patience.is_over(b"aaaa", 6));
        assert!(!patience.is_over(b"aaaaa", 6));
        assert!(patience.is_over(b"aaaaaa", 6));
    }
}
