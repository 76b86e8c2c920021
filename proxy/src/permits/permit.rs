//! Permits as connections hold them: a pointer to whoever has the lease, and no more.
//!
//! A connection needs what it has a permit of: its listener, its endpoint. So the permit is the reference to that as
//! well, and the permits of an endpoint and of the cluster around it are one [`Place`].

use super::{Lease, Ticket};
use std::{ops::Deref, rc::Rc};

/// Who has a lease. Permits of it keep it alive.
pub(crate) trait Grants {
    fn lease(&self) -> &Lease;
}

impl Grants for Lease {
    fn lease(&self) -> &Lease {
        self
    }
}

/// Who has a lease and is inside something else that has one, for as long as it lives.
pub(crate) trait Inside: Grants {
    type Outer: Grants;

    fn outer(&self) -> &Rc<Self::Outer>;
}

/// The right to one connection; dropping it gives it back.
#[must_use = "dropping a permit gives it back"]
pub(crate) struct Permit<G: Grants = Lease>(
    /// `None` only while it is being consumed.
    Option<Rc<G>>,
);

impl<G: Grants> Permit<G> {
    /// A permit, wherever there is one. Whether others waited for it longer is the caller's question.
    pub(crate) fn take(of: &Rc<G>) -> Option<Self> {
        of.lease().draw().then(|| Self(Some(Rc::clone(of))))
    }

    /// As dropping it, for who waits in the list at `mine` and need not be called because of it.
    pub(crate) fn put_back(mut self, mine: Option<Ticket>) {
        if let Some(of) = self.0.take() {
            of.lease().give_back(mine);
        }
    }

    /// Of whom it is.
    ///
    /// # Panics
    /// Never: only what consumes a permit leaves it empty.
    pub(crate) fn of(&self) -> &Rc<G> {
        self.0.as_ref().expect("a permit that was not consumed")
    }
}

impl<G: Grants> Deref for Permit<G> {
    type Target = G;

    fn deref(&self) -> &G {
        self.of()
    }
}

impl<G: Grants> Drop for Permit<G> {
    fn drop(&mut self) {
        if let Some(of) = self.0.take() {
            of.lease().give_back(None);
        }
    }
}

/// A permit of something and one of what that is inside of, or nothing. Dropping it gives back both.
#[must_use = "dropping a place gives it up"]
pub(crate) struct Place<G: Inside>(Option<Rc<G>>);

impl<G: Inside> Place<G> {
    pub(crate) const NONE: Self = Self(None);

    /// With a permit of what is around it. That comes back where `inner` has none.
    pub(crate) fn enter(mut outer: Permit<G::Outer>, inner: &Rc<G>) -> Result<Self, Permit<G::Outer>> {
        debug_assert!(Rc::ptr_eq(outer.of(), inner.outer()), "a permit of something else");
        let Some(mut permit) = Permit::take(inner) else { return Err(outer) };
        // Neither is given back: the place stands for them now.
        outer.0 = None;
        Ok(Self(permit.0.take()))
    }

    /// Where it is.
    pub(crate) fn get(&self) -> Option<&Rc<G>> {
        self.0.as_ref()
    }

    /// The two permits, by themselves again.
    pub(crate) fn split(&mut self) -> Option<(Permit<G>, Permit<G::Outer>)> {
        let inner = self.0.take()?;
        let outer = Rc::clone(inner.outer());
        Some((Permit(Some(inner)), Permit(Some(outer))))
    }
}

impl<G: Inside> Drop for Place<G> {
    fn drop(&mut self) {
        drop(self.split());
    }
}
