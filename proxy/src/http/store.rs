//! The memory of exchanges, used again and again.

use super::exchange::Exchange;
use crate::state::HttpTerms;
use std::{cell::RefCell, rc::Rc};

/// Exchanges that are kept for the next requests. One takes a few KiB.
const KEPT_MAX: usize = 1024;

/// Exchanges of a shard that no request uses now.
#[derive(Default)]
pub(crate) struct Exchanges {
    #[expect(clippy::vec_box, reason = "a connection holds its exchange in a box; moving the box is a pointer")]
    free: RefCell<Vec<Box<Exchange>>>,
}

impl Exchanges {
    pub(super) fn take(&self, terms: &Rc<HttpTerms>) -> Box<Exchange> {
        let free = self.free.borrow_mut().pop();
        match free {
            Some(mut exchange) => {
                if !Rc::ptr_eq(&exchange.terms, terms) {
                    exchange.terms = Rc::clone(terms);
                }
                exchange
            }
            None => Box::new(Exchange::new(Rc::clone(terms))),
        }
    }

    pub(super) fn put(&self, exchange: Box<Exchange>) {
        let mut free = self.free.borrow_mut();
        if free.len() < KEPT_MAX {
            free.push(exchange);
        }
    }
}
