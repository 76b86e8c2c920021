//! Several chunks that are sent by one operation, in order.

use crate::{buf::Region, ops::Chunk};
use std::collections::VecDeque;

/// Chunks on their way to one socket. Boxed when it is lent, so that the kernel's pointers into it hold.
#[derive(Default)]
pub struct Batch {
    parts: VecDeque<Part>,
    bytes: u64,
    vector: Vec<libc::iovec>,
    header: Option<Box<libc::msghdr>>,
}

/// A chunk of which `from..len` is still to be sent.
struct Part {
    chunk: Chunk,
    from: u32,
}

impl Part {
    fn len(&self) -> u32 {
        self.chunk.len - self.from
    }

    fn bytes(&self) -> &[u8] {
        &self.chunk.buffer[self.from as usize..self.chunk.len as usize]
    }
}

/// Chunks in one batch at most, far below the kernel's UIO_MAXIOV.
pub const BATCH_CHUNKS_MAX: usize = 64;

impl Batch {
    /// Room for another chunk.
    pub fn has_room(&self) -> bool {
        self.parts.len() < BATCH_CHUNKS_MAX
    }

    pub fn push(&mut self, chunk: Chunk) {
        self.push_from(chunk, 0);
    }

    /// Of this chunk only the bytes from `from` on are to be sent; there is at least one.
    pub fn push_from(&mut self, chunk: Chunk, from: u32) {
        debug_assert!(from < chunk.len, "nothing to send");
        let part = Part { chunk, from };
        self.bytes += u64::from(part.len());
        self.parts.push_back(part);
    }

    /// Take out the only chunk, and where sending it begins. `None` where there are more, or none.
    pub fn pop_single(&mut self) -> Option<(Chunk, u32)> {
        if self.parts.len() != 1 {
            return None;
        }
        let part = self.parts.pop_front()?;
        self.bytes = 0;
        Some((part.chunk, part.from))
    }

    /// Bytes that are still to be sent.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// So many bytes have been sent: give their buffers back.
    pub fn advance(&mut self, bytes: u32) {
        self.bytes = self.bytes.saturating_sub(u64::from(bytes));
        let mut left = bytes;
        while let Some(first) = self.parts.front_mut() {
            if left < first.len() {
                first.from += left;
                return;
            }
            left -= first.len();
            self.parts.pop_front();
        }
    }

    /// A copy of the first bytes that are still to be sent, `max` at most.
    pub(crate) fn first_bytes(&self, max: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in &self.parts {
            let left = max - bytes.len();
            bytes.extend(part.bytes().iter().take(left));
        }
        bytes
    }

    /// All of its memory is this region's.
    pub(crate) fn lies_in(&self, region: &Region) -> bool {
        self.parts.iter().all(|part| region.holds(&part.chunk.buffer))
    }

    /// Where the bytes are, if they lie one behind the other. To be asked after [`Batch::header`], and good as long.
    pub(crate) fn one_piece(&self) -> Option<(*const u8, u32)> {
        let [piece] = self.vector.as_slice() else { return None };
        Some((piece.iov_base.cast_const().cast(), u32::try_from(piece.iov_len).ok()?))
    }

    /// What sendmsg(2) is to be given. Good until the batch is changed or dropped.
    pub(crate) fn header(&mut self) -> *const libc::msghdr {
        self.vector.clear();
        for part in &self.parts {
            let bytes = part.bytes();
            match self.vector.last_mut() {
                // A full buffer, and its neighbour.
                Some(last) if last.iov_base.addr() + last.iov_len == bytes.as_ptr().addr() => {
                    last.iov_len += bytes.len();
                }
                _ => {
                    let iov_base = bytes.as_ptr().cast_mut().cast();
                    self.vector.push(libc::iovec { iov_base, iov_len: bytes.len() });
                }
            }
        }
        // SAFETY: msghdr is plain data, for which all zeroes is a value: no address, no control data.
        let header = self.header.get_or_insert_with(|| Box::new(unsafe { std::mem::zeroed() }));
        header.msg_iov = self.vector.as_mut_ptr();
        header.msg_iovlen = self.vector.len();
        &raw const **header
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("chunks", &self.parts.len()).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::{Budget, BufferPool, Class, Sizes};

    fn batch(lens: &[u32]) -> Batch {
        let pool = BufferPool::new(Sizes::default(), Budget::new(1 << 20));
        let mut batch = Batch::default();
        for len in lens {
            batch.push(Chunk { buffer: pool.take(Class::Small).expect("a buffer"), len: *len });
        }
        batch
    }

    #[test]
    fn advancing_drops_what_is_sent_and_keeps_the_rest() {
        let mut batch = batch(&[10, 20, 30]);
        for (sent, left, chunks) in [(5, 55, 3), (5, 50, 2), (19, 31, 2), (1, 30, 1), (30, 0, 0)] {
            batch.advance(sent);
            assert_eq!((batch.bytes(), batch.parts.len()), (left, chunks), "after {sent}");
        }
        assert!(batch.is_empty());
    }

    #[test]
    fn the_first_bytes_are_those_that_are_still_to_be_sent() {
        let mut batch = batch(&[2, 3, 4]);
        for (part, byte) in batch.parts.iter_mut().zip(1..) {
            part.chunk.buffer.fill(byte);
        }
        batch.advance(1);
        for (max, expected) in
            [(0, [].as_slice()), (2, &[1, 2]), (5, &[1, 2, 2, 2, 3]), (100, &[1, 2, 2, 2, 3, 3, 3, 3])]
        {
            assert_eq!(batch.first_bytes(max), expected);
        }
    }

    #[test]
    fn a_part_begins_where_it_was_told_to() {
        let mut batch = batch(&[]);
        let pool = BufferPool::new(Sizes::default(), Budget::new(1 << 20));
        let chunk = || Chunk { buffer: pool.take(Class::Small).expect("a buffer"), len: 10 };
        batch.push_from(chunk(), 4);
        assert_eq!(batch.bytes(), 6);
        assert_eq!(batch.pop_single().map(|(chunk, from)| (chunk.len, from)), Some((10, 4)));
        assert!(batch.is_empty());
        batch.push_from(chunk(), 4);
        batch.push_from(chunk(), 9);
        assert!(batch.pop_single().is_none(), "there are two");
        batch.advance(6);
        assert_eq!((batch.bytes(), batch.parts.len()), (1, 1));
    }

    #[test]
    fn the_vector_starts_where_sending_stopped() {
        let mut batch = batch(&[10, 20]);
        batch.advance(4);
        batch.header();
        let lens: Vec<usize> = batch.vector.iter().map(|v| v.iov_len).collect();
        assert_eq!(lens, [6, 20]);
        assert_eq!(batch.vector[0].iov_base.cast_const().cast(), batch.parts[0].bytes().as_ptr());
        assert_eq!(batch.one_piece(), None);
    }

    #[test]
    fn neighbours_are_one_piece() {
        let mut batch = batch(&[4096, 4096, 10, 5]);
        batch.advance(1);
        batch.header();
        let lens: Vec<usize> = batch.vector.iter().map(|v| v.iov_len).collect();
        assert_eq!(lens, [4095 + 4096 + 10, 5], "a buffer that is not full ends a piece");
        batch.advance(4095 + 4096);
        batch.advance(10);
        batch.header();
        assert_eq!(batch.one_piece(), Some((batch.parts[0].bytes().as_ptr(), 5)));
    }
}
