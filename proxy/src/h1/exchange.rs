//! One request and its responses: what goes on to the client, and which connections may be used again.

use super::{
    framing::{Body, Version},
    limits::Limits,
    refusal::{Reason, Refusal},
    request::{Method, Request},
    response::Response,
    write::Connection,
};

/// What a response head from upstream means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Another response follows; this one is not for the client.
    Swallow,
    /// Another response follows; this one goes to the client first, with [`Body::None`] and [`Connection::Implied`].
    Interim,
    /// The protocol that was offered begins on both connections, behind this head. Neither is HTTP any more.
    Switch,
    /// The answer. It goes to the client with a body that is framed like this.
    Final { body: Body },
}

/// What must be remembered of a request until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) method: Method,
    pub(crate) version: Version,
    keep_alive: bool,
    interim: u8,
}

impl Exchange {
    /// Of bytes that are no request.
    pub(crate) const NONE: Self =
        Self { method: Method::Other, version: Version::Http11, keep_alive: false, interim: 0 };

    /// An interim response has come.
    pub(crate) const fn has_begun(&self) -> bool {
        self.interim > 0
    }

    pub(crate) const fn new(request: &Request) -> Self {
        Self { method: request.method, version: request.version, keep_alive: request.keep_alive, interim: 0 }
    }

    /// Takes in a response head. `offered` is the protocol of `Upgrade` that went upstream, if any did.
    ///
    /// * 100 is swallowed: `Expect` is answered here and never went upstream, so it says nothing (RFC 9110, 10.1.1).
    /// * 101 counts only with the protocol that was offered, in its own words (RFC 9110, 7.8, 15.2.2).
    /// * Other interim responses go to HTTP/1.1 clients only (RFC 9110, 15.2).
    ///
    /// # Errors
    /// [`Reason::SwitchUnasked`] and [`Reason::TooManyInterim`]; the upstream connection is closed.
    pub(crate) fn answer(
        &mut self,
        bytes: &[u8],
        response: &Response,
        offered: Option<&[u8]>,
    ) -> Result<Answer, Refusal> {
        if response.status == 101 {
            let named = response.upgrade.map(|value| value.of(bytes));
            let agreed = offered.zip(named).is_some_and(|(offered, named)| named.eq_ignore_ascii_case(offered));
            return if agreed { Ok(Answer::Switch) } else { Err(Refusal::response(Reason::SwitchUnasked)) };
        }
        if !response.is_interim() {
            return Ok(Answer::Final { body: self.downstream(response.body) });
        }
        self.interim += 1;
        if self.interim > Limits::INTERIM_MAX {
            return Err(Refusal::response(Reason::TooManyInterim));
        }
        let wanted = response.status != 100 && self.version == Version::Http11;
        Ok(if wanted { Answer::Interim } else { Answer::Swallow })
    }

    /// RFC 9112, 6.1 and 6.3: HTTP/1.0 knows no chunks, and HTTP/1.1 need not lose its connection for want of a length.
    pub(crate) fn downstream(&self, body: Body) -> Body {
        match (body, self.version) {
            (Body::Chunked | Body::UntilClose, Version::Http11) => Body::Chunked,
            (Body::Chunked | Body::UntilClose, Version::Http10) => Body::UntilClose,
            (Body::None | Body::Length(_), _) => body,
        }
    }

    /// Whether the client's connection is used again, and what the response says about it. `request_read` is whether
    /// the request's body has been read to its end: what is left of it would be taken for a request. `wanted` is
    /// whether we want to.
    pub(crate) fn persistence(&self, body: Body, request_read: bool, wanted: bool) -> (bool, Connection<'static>) {
        let persists = self.keep_alive && request_read && wanted && body != Body::UntilClose;
        let said = match (persists, self.version) {
            (false, _) => Connection::Close,
            (true, Version::Http10) => Connection::KeepAlive,
            (true, Version::Http11) => Connection::Implied,
        };
        (persists, said)
    }
}
