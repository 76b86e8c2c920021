//! What routing needs to know of a message, whichever protocol it came by.

use balance_engine::intern::{Interner, NameRef, known};

use crate::h1::{Field, Head, Request};

/// The name of a field, looked up once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// There exactly when the name is known to every shard.
    known: Option<NameRef>,
    /// In small letters.
    text: Box<[u8]>,
}

impl Name {
    pub(crate) fn new(name: &str) -> Self {
        let text = name.to_ascii_lowercase().into_bytes().into_boxed_slice();
        // One that remembers nothing: what it finds is known at compile time.
        Self { known: Interner::new(0, 0).lookup(&text), text }
    }

    #[cfg(test)]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    fn is(&self, field: &Field, bytes: &[u8]) -> bool {
        match self.known {
            Some(_) => field.name == self.known,
            None => field.name_of(bytes).eq_ignore_ascii_case(&self.text),
        }
    }
}

/// The fields of a message.
pub(crate) trait Fields {
    /// The values of all lines with this name, in their order, without the white space around them. Lines that hold for
    /// one connection only are none.
    fn values<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a [u8]>;
}

/// A request.
pub(crate) trait RequestView: Fields {
    fn method(&self) -> &[u8];
    /// Host and port as they were asked for; empty when there are none.
    fn authority(&self) -> &[u8];
    /// The host in it, with the brackets of an IPv6 address.
    fn host(&self) -> &[u8];
    fn port(&self) -> Option<u16>;
    /// As it came, without the query. Empty or `*` where there is no path.
    fn path(&self) -> &[u8];
    /// Without the question mark.
    fn query(&self) -> Option<&[u8]>;
}

/// A request of HTTP/1, parsed from `bytes`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct H1Request<'a> {
    pub(crate) request: &'a Request,
    pub(crate) head: &'a Head,
    pub(crate) bytes: &'a [u8],
}

/// The fields of a response of HTTP/1, parsed from `bytes`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct H1Response<'a> {
    pub(crate) head: &'a Head,
    pub(crate) bytes: &'a [u8],
}

fn values<'a>(head: &'a Head, bytes: &'a [u8], name: &'a Name) -> impl Iterator<Item = &'a [u8]> {
    let is_meant = move |field: &&Field| !field.is_hop_by_hop() && name.is(field, bytes);
    head.fields().iter().filter(is_meant).map(move |field| field.value_of(bytes))
}

impl Fields for H1Request<'_> {
    fn values<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a [u8]> {
        // The one field of the connection that routes may ask for, where it means something.
        let upgrade = self.request.upgrade.filter(|_| name.known == Some(known::UPGRADE));
        values(self.head, self.bytes, name).chain(upgrade.map(|upgrade| upgrade.of(self.bytes)))
    }
}

impl Fields for H1Response<'_> {
    fn values<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a [u8]> {
        values(self.head, self.bytes, name)
    }
}

impl RequestView for H1Request<'_> {
    fn method(&self) -> &[u8] {
        self.request.method_text.of(self.bytes)
    }

    fn authority(&self) -> &[u8] {
        self.request.authority.map_or(b"", |authority| authority.whole.of(self.bytes))
    }

    fn host(&self) -> &[u8] {
        self.request.authority.map_or(b"", |authority| authority.host.of(self.bytes))
    }

    fn port(&self) -> Option<u16> {
        self.request.authority.and_then(|authority| authority.port)
    }

    fn path(&self) -> &[u8] {
        self.request.path.of(self.bytes)
    }

    fn query(&self) -> Option<&[u8]> {
        self.request.query.map(|query| query.of(self.bytes))
    }
}
