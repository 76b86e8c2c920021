//! Where a client is sent instead.

use std::io::Write as _;

use balance_config::model::{self, Scheme};

use super::{
    rewrite::{BadRewrite, Rewrite, RewriteSpace},
    template::{Pieces, Place, Vars},
    view::RequestView,
};

#[derive(Debug)]
pub(crate) struct Redirect {
    pub(crate) status: u16,
    scheme: Option<Scheme>,
    host: Option<Pieces>,
    port: Option<u16>,
    path: Option<Pieces>,
    keep_query: bool,
}

impl Redirect {
    pub(super) fn new(from: &model::Redirect, place: Place<'_>) -> Self {
        Self {
            status: from.status,
            scheme: from.scheme,
            host: from.host.as_ref().map(|host| Pieces::new(host, place)),
            port: from.port,
            path: from.path.as_ref().map(|path| Pieces::new(path, place)),
            keep_query: from.keep_query,
        }
    }

    /// Writes the value of `Location`. `rewrite` is that of the same route.
    ///
    /// # Errors
    /// As [`Rewrite::target`].
    pub(crate) fn location<V: RequestView>(
        &self,
        rewrite: &Rewrite,
        vars: &Vars<'_, V>,
        space: &mut RewriteSpace,
        out: &mut Vec<u8>,
    ) -> Result<(), BadRewrite> {
        out.clear();
        // Without a host, as HTTP/1.0 may ask, it stays where it is.
        let host = vars.target.host;
        if (self.host.is_some() || self.scheme.is_some() || self.port.is_some())
            && (self.host.is_some() || !host.is_empty())
        {
            self.origin(vars, out);
        }
        let path = rewrite.path_of(vars, space)?;
        let vars = Vars { target: super::Target { path, ..vars.target }, ..*vars };
        let start = out.len();
        match &self.path {
            Some(path) => path.expand(&vars, out),
            None => out.extend_from_slice(path),
        }
        // `//host` would be another place, not a path (RFC 3986 section 4.2).
        let slashes = out[start..].iter().take_while(|b| **b == b'/').count();
        match slashes {
            0 => {
                out.truncate(start);
                out.push(b'/');
            }
            1 => {}
            more => drop(out.drain(start + 1..start + more)),
        }
        if self.keep_query
            && let Some(query) = vars.view.query()
        {
            out.push(b'?');
            out.extend_from_slice(query);
        }
        Ok(())
    }

    fn origin<V: RequestView>(&self, vars: &Vars<'_, V>, out: &mut Vec<u8>) {
        let asked = vars.client.scheme();
        let scheme = self.scheme.unwrap_or(asked);
        out.extend_from_slice(scheme.as_str().as_bytes());
        out.extend_from_slice(b"://");
        match &self.host {
            Some(host) => host.expand(vars, out),
            None => out.extend_from_slice(vars.target.host),
        }
        let kept = if scheme == asked && self.host.is_none() { vars.view.port() } else { None };
        if let Some(port) = self.port.or(kept).filter(|port| *port != scheme.port()) {
            // A vector takes everything.
            let _ = write!(out, ":{port}");
        }
    }
}
