//! Whole messages in memory.

use balance_engine::intern::Interner;

use super::*;

mod smoke;

pub(crate) fn names() -> Interner {
    Interner::new(4096, 1)
}
