//! Buffers: the shard's pool, a plain list of free ones, and the allocator.
//!
//! Whoever takes one writes its first byte. So the allocator pays for the pages that it gives back to the system and
//! gets again, as a program that uses it would.

use super::frame::{Candidate, Case};
use balance_engine::{
    buf::{Budget, BufferPool, Class, Sizes},
    rng::Rng,
};
use std::{cell::RefCell, rc::Rc};

/// Operations of one call.
const OPERATIONS: usize = 1024;
const SEED: u64 = 13;
const BYTES_MAX: u64 = 1 << 30;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("small, one at a time", Class::Small, 1),
        case("small, 64 at a time", Class::Small, 64),
        case("small, 1,024 at a time", Class::Small, 1024),
        case("large, one at a time", Class::Large, 1),
        case("large, 64 at a time", Class::Large, 64),
        case("huge, one at a time", Class::Huge, 1),
    ]
}

fn case(name: &'static str, class: Class, at_once: usize) -> Case {
    let pool = BufferPool::new(Sizes::default(), Budget::new(BYTES_MAX));
    let bytes = pool.size(class);
    let free = Rc::new(RefCell::new(Vec::new()));
    let candidates = vec![
        take_and_drop("pool", at_once, move |byte| {
            let mut buffer = pool.take(class).expect("within the budget");
            buffer[0] = byte;
            (buffer.capacity(), buffer)
        }),
        take_and_drop("list", at_once, move |byte| {
            let mut buffer = Kept::take(&free, bytes);
            buffer.memory[0] = byte;
            (buffer.memory.len(), buffer)
        }),
        take_and_drop("allocator", at_once, move |byte| {
            let mut buffer = Vec::with_capacity(bytes);
            buffer.push(byte);
            (buffer.capacity(), buffer)
        }),
    ];
    Case { name, operation: "take and drop", candidates }
}

/// `at_once` buffers are taken, and dropped in any order. Answers the sum of their capacities.
fn take_and_drop<B: 'static>(
    name: &'static str,
    at_once: usize,
    take: impl Fn(u8) -> (usize, B) + 'static,
) -> Candidate {
    let mut order: Vec<usize> = (0..at_once).collect();
    Rng::new(SEED).shuffle(&mut order);
    let mut out: Vec<Option<B>> = (0..at_once).map(|_| None).collect();
    Candidate::new(name, OPERATIONS, move |watch| {
        watch.time(|| {
            let mut bytes = 0;
            for byte in 0..OPERATIONS / at_once {
                for place in &mut out {
                    let (capacity, buffer) = take(byte as u8);
                    bytes += capacity as u64;
                    *place = Some(buffer);
                }
                order.iter().for_each(|at| out[*at] = None);
            }
            bytes
        })
    })
}

/// One that goes back to a list.
struct Kept {
    memory: Box<[u8]>,
    free: Rc<RefCell<Vec<Box<[u8]>>>>,
}

impl Kept {
    #[inline]
    fn take(free: &Rc<RefCell<Vec<Box<[u8]>>>>, bytes: usize) -> Self {
        let memory = free.borrow_mut().pop().unwrap_or_else(|| vec![0; bytes].into());
        Self { memory, free: Rc::clone(free) }
    }
}

impl Drop for Kept {
    #[inline]
    fn drop(&mut self) {
        self.free.borrow_mut().push(std::mem::take(&mut self.memory));
    }
}
