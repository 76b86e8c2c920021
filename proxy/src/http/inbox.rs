//! What a peer has sent and nobody has consumed yet.
//!
//! ```text
//!   receive buffer ── whole head in it ──► parsed where it lies ──► the rest is body, or the next request
//!         │
//!         └── half a head ──► copied to memory of exactly its size, the buffer goes back to the ring
//! ```
//!
//! So ten thousand peers with half a head each hold what they sent, and no buffer that others receive into.

use balance_engine::{
    Chunk, Received,
    buf::{Buffer, BufferPool, Class},
    net::Socket,
};
use std::{
    mem,
    task::{Context, Poll},
};

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Inbox {
    chunk: Option<Chunk>,
    /// Of the chunk, so many bytes are consumed; of `kept` as well, for only one of them is there.
    from: u32,
    kept: Vec<u8>,
}

/// What came of a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// There are more bytes than before.
    More,
    Ended,
    Broken,
}

/// A run of bytes that is handed on.
pub(super) struct Run {
    pub(super) chunk: Chunk,
    pub(super) from: u32,
}

impl Run {
    pub(super) fn whole(buffer: Buffer, len: u32) -> Self {
        Self { chunk: Chunk { buffer, len }, from: 0 }
    }

    pub(super) fn len(&self) -> u64 {
        u64::from(self.chunk.len - self.from)
    }
}

/// There was no buffer to copy to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoBuffer;

impl Inbox {
    /// These came before.
    pub(super) fn with(bytes: Vec<u8>) -> Self {
        Self { chunk: None, from: 0, kept: bytes }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        let from = self.from as usize;
        match &self.chunk {
            Some(chunk) => &chunk.buffer[from..chunk.len as usize],
            None => self.kept.get(from..).unwrap_or_default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Receive, behind what is there. A second chunk makes both be copied to one place, so this is asked for only while
    /// a head is not complete, or when all is consumed.
    pub(super) fn poll_fill(&mut self, socket: &mut Socket, context: &Context<'_>) -> Poll<Filled> {
        match socket.poll_recv(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Received::Eof) => Poll::Ready(Filled::Ended),
            Poll::Ready(Received::Failed(_)) => Poll::Ready(Filled::Broken),
            Poll::Ready(Received::Data(chunk)) => {
                self.add(chunk);
                Poll::Ready(Filled::More)
            }
        }
    }

    fn add(&mut self, chunk: Chunk) {
        if self.is_empty() {
            self.clear();
            self.chunk = Some(chunk);
            return;
        }
        self.keep();
        self.kept.extend_from_slice(&chunk.buffer[..chunk.len as usize]);
    }

    /// Copy what is there out of its receive buffer, which others need while more is waited for.
    pub(super) fn keep(&mut self) {
        if let Some(chunk) = self.chunk.take() {
            let rest = &chunk.buffer[self.from as usize..chunk.len as usize];
            self.kept.clear();
            self.kept.reserve_exact(rest.len());
            self.kept.extend_from_slice(rest);
            self.from = 0;
        }
    }

    /// These bytes are done with.
    pub(super) fn consume(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.bytes().len(), "more than there is");
        self.from += bytes as u32;
        if self.bytes().is_empty() {
            self.clear();
        }
    }

    /// Forget everything, and the memory of it.
    pub(super) fn clear(&mut self) {
        self.chunk = None;
        self.from = 0;
        self.kept = Vec::new();
    }

    /// Take up to `max` bytes, at least one, to be sent as they are. They are copied only where the buffer they are in
    /// has something else behind them. `None` where nothing is there.
    ///
    /// # Errors
    /// They must be copied, and there is no buffer.
    pub(super) fn take(&mut self, max: u64, pool: &BufferPool) -> Result<Option<Run>, NoBuffer> {
        let there = self.bytes().len() as u64;
        if there == 0 || max == 0 {
            return Ok(None);
        }
        if there <= max
            && let Some(chunk) = self.chunk.take()
        {
            let from = mem::take(&mut self.from);
            return Ok(Some(Run { chunk, from }));
        }
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(there as usize);
        let mut buffer = buffer_for(pool, max).ok_or(NoBuffer)?;
        let len = max.min(buffer.capacity());
        buffer[..len].copy_from_slice(&self.bytes()[..len]);
        self.consume(len);
        Ok(Some(Run::whole(buffer, len as u32)))
    }
}

/// A buffer for so many bytes, or the largest there is that is not too large for what it is for.
pub(super) fn buffer_for(pool: &BufferPool, bytes: usize) -> Option<Buffer> {
    let small = || pool.take(Class::Small);
    let Some(first) = small() else { return pool.take(Class::Medium) };
    if bytes <= first.capacity() {
        return Some(first);
    }
    Some(pool.take(Class::Medium).unwrap_or(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use balance_engine::buf::{Budget, Sizes};

    fn pool() -> BufferPool {
        BufferPool::new(Sizes::default(), Budget::new(4 << 20))
    }

    fn chunk(pool: &BufferPool, bytes: &[u8]) -> Chunk {
        let mut buffer = pool.take(Class::Small).expect("a buffer");
        buffer[..bytes.len()].copy_from_slice(bytes);
        Chunk { buffer, len: bytes.len() as u32 }
    }

    #[test]
    fn half_a_head_is_copied_out_of_its_buffer() {
        let pool = pool();
        let mut inbox = Inbox::default();
        inbox.add(chunk(&pool, b"GET / HT"));
        inbox.keep();
        assert_eq!((inbox.bytes(), pool.leaked()), (b"GET / HT".as_slice(), 0));
        inbox.add(chunk(&pool, b"TP/1.1\r\n"));
        assert_eq!((inbox.bytes(), pool.leaked()), (b"GET / HTTP/1.1\r\n".as_slice(), 0));
        inbox.consume(4);
        assert_eq!(inbox.bytes(), b"/ HTTP/1.1\r\n");
        inbox.consume(12);
        assert!(inbox.is_empty() && inbox.kept.capacity() == 0);
    }

    #[test]
    fn what_fills_the_rest_of_a_buffer_is_handed_on_without_a_copy() {
        let pool = pool();
        let mut inbox = Inbox::default();
        inbox.add(chunk(&pool, b"headbody"));
        inbox.consume(4);
        let address = inbox.bytes().as_ptr();
        let run = inbox.take(100, &pool).expect("a buffer").expect("bytes");
        assert_eq!((run.chunk.buffer[run.from as usize..].as_ptr(), run.len()), (address, 4));
        assert!(inbox.is_empty());
    }

    #[test]
    fn what_is_followed_by_another_request_is_copied() {
        let pool = pool();
        let mut inbox = Inbox::default();
        inbox.add(chunk(&pool, b"bodyGET"));
        let run = inbox.take(4, &pool).expect("a buffer").expect("bytes");
        assert_eq!((&run.chunk.buffer[..4], run.len(), inbox.bytes()), (b"body".as_slice(), 4, b"GET".as_slice()));
    }
}
