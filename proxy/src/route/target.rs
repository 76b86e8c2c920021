//! Host and path in the form in which they are compared.

use std::{fmt::Write as _, net::Ipv6Addr};

use balance_config::{
    http_path::{self, BadPath},
    model::PathRules,
};

use super::view::RequestView;

/// RFC 1035 section 2.3.4. No pattern is longer, so what is longer matches those for any host alone.
const HOST_BYTES_MAX: usize = 253;

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// In small letters, without a port and without a dot at the end. Empty when there is none, or none that a route
    /// could name.
    pub(crate) host: &'a [u8],
    /// See [`http_path::canonical`].
    pub(crate) path: &'a [u8],
    /// True when `path` is what came.
    pub(crate) is_as_it_came: bool,
}

/// Room for what is written in another form. Used again and again.
#[derive(Debug)]
pub(crate) struct TargetSpace {
    host: [u8; HOST_BYTES_MAX],
    path: Vec<u8>,
}

impl Default for TargetSpace {
    fn default() -> Self {
        Self { host: [0; HOST_BYTES_MAX], path: Vec::new() }
    }
}

impl<'a> Target<'a> {
    /// # Errors
    /// A path that servers read in different ways: the request gets 400.
    pub(crate) fn of<V: RequestView>(
        view: &'a V,
        rules: PathRules,
        space: &'a mut TargetSpace,
    ) -> Result<Self, BadPath> {
        let raw = view.path();
        let path = http_path::canonical(raw, rules, &mut space.path)?;
        // An absolute target may have no path at all; then one is written.
        let is_as_it_came = path.as_ptr() == raw.as_ptr() && !raw.is_empty();
        Ok(Self { host: host(view.host(), &mut space.host), path, is_as_it_came })
    }
}

fn host<'s>(host: &[u8], space: &'s mut [u8; HOST_BYTES_MAX]) -> &'s [u8] {
    if host.first() == Some(&b'[') {
        return address(host, space).unwrap_or(b"");
    }
    let host = host.strip_suffix(b".").unwrap_or(host);
    let Some(space) = space.get_mut(..host.len()) else { return b"" };
    space.copy_from_slice(host);
    space.make_ascii_lowercase();
    space
}

/// An IPv6 address in the one form of RFC 5952.
fn address<'s>(host: &[u8], space: &'s mut [u8; HOST_BYTES_MAX]) -> Option<&'s [u8]> {
    let text = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let address: Ipv6Addr = str::from_utf8(text).ok()?.parse().ok()?;
    let mut writer = Bounded { space, len: 0 };
    write!(writer, "[{address}]").ok()?;
    let Bounded { space, len } = writer;
    space.get(..len)
}

struct Bounded<'s> {
    space: &'s mut [u8; HOST_BYTES_MAX],
    len: usize,
}

impl std::fmt::Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.space.get_mut(self.len..self.len + text.len()).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_form() {
        for (given, expected) in [
            ("Example.COM", "example.com"),
            ("example.com.", "example.com"),
            ("", ""),
            (".", ""),
            ("[2001:DB8:0::1]", "[2001:db8::1]"),
            ("[::ffff:10.0.0.1]", "[::ffff:10.0.0.1]"),
            ("[x]", ""),
            ("[", ""),
            ("10.0.0.1", "10.0.0.1"),
            (&"a".repeat(254), ""),
        ] {
            let mut space = [0; HOST_BYTES_MAX];
            assert_eq!(host(given.as_bytes(), &mut space), expected.as_bytes(), "{given}");
        }
    }
}
