//! A growable set of small integers that answers "which is the lowest?" quickly.
//!
//! The slab and the buffer pool keep one to know which of their chunks have room. Taking the lowest is what makes both
//! compact again after a burst: the high chunks drain and can be freed.

/// Sixty-four members a word, and a hint so that a search need not start from the beginning.
#[derive(Clone, Debug, Default)]
pub(crate) struct BitSet {
    words: Vec<u64>,
    /// Every word below this one is zero.
    lowest: usize,
}

impl BitSet {
    pub(crate) fn insert(&mut self, member: usize) {
        let word = member / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (member % 64);
        self.lowest = self.lowest.min(word);
    }

    pub(crate) fn remove(&mut self, member: usize) {
        if let Some(word) = self.words.get_mut(member / 64) {
            *word &= !(1 << (member % 64));
        }
    }

    /// The lowest member.
    ///
    /// The common case is one load. In the worst case this walks one word for every 64 members ever inserted, which
    /// for a slab of a million entries is 256 words.
    #[inline]
    pub(crate) fn first(&mut self) -> Option<usize> {
        while let Some(&word) = self.words.get(self.lowest) {
            if word != 0 {
                return Some(self.lowest * 64 + word.trailing_zeros() as usize);
            }
            self.lowest += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_member_comes_first() {
        let mut set = BitSet::default();
        assert_eq!(set.first(), None);
        for member in [200, 64, 3] {
            set.insert(member);
        }
        for member in [3, 64, 200] {
            assert_eq!(set.first(), Some(member));
            set.remove(member);
        }
        assert_eq!(set.first(), None);
        set.insert(5);
        assert_eq!(set.first(), Some(5));
    }
}
