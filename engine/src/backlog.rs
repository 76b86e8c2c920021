//! What was received and is not read yet: the chunks of all sockets in one slab, with a list for each socket.
//!
//! A socket for which nothing has come has an empty list, and the memory of its list's ends and length.

use crate::{ops::Chunk, slab::Slab};

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Backlog {
    chunks: Slab<Waiting>,
}

struct Waiting {
    chunk: Chunk,
    /// Means nothing in the last of a list.
    next: u32,
}

/// The chunks of one socket, oldest first. They are the backlog's: whoever drops the list clears it before.
#[derive(Debug, Default)]
pub(crate) struct List {
    /// Means nothing in an empty list; nor does `last`.
    first: u32,
    last: u32,
    len: u32,
}

impl List {
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Backlog {
    #[inline]
    pub(crate) fn push(&mut self, list: &mut List, chunk: Chunk) {
        let added = self.chunks.insert(Waiting { chunk, next: u32::MAX }).index();
        if list.is_empty() {
            list.first = added;
        } else if let Some(last) = self.chunks.get_index_mut(list.last) {
            last.next = added;
        }
        list.last = added;
        list.len += 1;
    }

    #[inline]
    pub(crate) fn pop(&mut self, list: &mut List) -> Option<Chunk> {
        if list.is_empty() {
            return None;
        }
        let Waiting { chunk, next } = self.chunks.remove_index(list.first)?;
        list.first = next;
        list.len -= 1;
        Some(chunk)
    }

    pub(crate) fn clear(&mut self, list: &mut List) {
        while self.pop(list).is_some() {}
    }

    pub(crate) fn is_sparse(&self) -> bool {
        self.chunks.is_sparse()
    }

    pub(crate) fn shrink(&mut self) {
        self.chunks.shrink();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        buf::{Budget, BufferPool, Class, Sizes},
        rng::Rng,
    };
    use std::collections::VecDeque;

    #[test]
    fn lists_keep_their_order_and_do_not_mix() {
        let pool = BufferPool::new(Sizes::default(), Budget::new(16 << 20));
        let mut rng = Rng::new(1);
        let mut backlog = Backlog::default();
        let mut lists: [(List, VecDeque<u32>); 5] = Default::default();
        for number in 0..5_000 {
            let (list, model) = &mut lists[rng.index(5)];
            if rng.chance(1, 50) {
                backlog.clear(list);
                model.clear();
            } else if rng.chance(1, 2) {
                backlog.push(list, Chunk { buffer: pool.take(Class::Small).expect("a buffer"), len: number });
                model.push_back(number);
            } else {
                assert_eq!(backlog.pop(list).map(|chunk| chunk.len), model.pop_front());
            }
            assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
        }
        let left: usize = lists.iter().map(|(_, model)| model.len()).sum();
        assert_eq!((backlog.chunks.len(), pool.leaked()), (left, left as u64));
        lists.iter_mut().for_each(|(list, _)| backlog.clear(list));
        backlog.shrink();
        assert_eq!((backlog.chunks.capacity(), pool.leaked()), (0, 0));
    }
}
