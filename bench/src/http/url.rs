//! `http://host:port/path?query`, and files of such lines.

use crate::values::{Destination, destination};

/// Where a request goes, and what it asks for there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// As it stands in the Host header.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) target: String,
}

/// Lines of a list at most.
const LINES_MAX: usize = 100_000;

impl Url {
    /// # Errors
    /// What is no URL, or one of a protocol that is not spoken here.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rest = match text.split_once("://") {
            None => text,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) => return Err(format!("only http:// is spoken, not {scheme}://")),
        };
        let cut = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(cut);
        if authority.is_empty() {
            return Err("write http://HOST:PORT/PATH".into());
        }
        if authority.contains('@') {
            return Err("a name and a password belong in --header 'Authorization: …'".into());
        }
        Ok(Self { authority: authority.into(), target: origin_form(target)? })
    }

    /// Looked up now; port 80 unless given.
    ///
    /// # Errors
    /// A name without an address.
    pub(crate) fn destination(&self) -> Result<Destination, String> {
        let has_port = self.authority.rsplit_once(':').is_some_and(|(host, port)| {
            !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']'))
        });
        if has_port { destination(&self.authority) } else { destination(&format!("{}:80", self.authority)) }
    }
}

/// Path and query as they go on the wire: no fragment, and nothing that would end the line.
fn origin_form(text: &str) -> Result<String, String> {
    let text = text.split('#').next().unwrap_or_default();
    if let Some(wrong) = text.chars().find(|c| !c.is_ascii_graphic()) {
        return Err(format!("{wrong:?} must be written as % and its code in a URL"));
    }
    Ok(if text.starts_with('/') { text.into() } else { format!("/{text}") })
}

/// A URL, or a path on the host of `base`, in each line; empty lines and those that begin with `#` are passed over.
///
/// # Errors
/// The first line that is wrong, with its number.
pub(crate) fn list(text: &str, base: Option<&Url>) -> Result<Vec<Url>, String> {
    let mut urls = Vec::new();
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if urls.len() == LINES_MAX {
            return Err(format!("line {number}: more than {LINES_MAX} URLs"));
        }
        let url = match (line.starts_with('/'), base) {
            (false, _) => Url::parse(line),
            (true, None) => Err("a path alone needs the host of --url".into()),
            (true, Some(base)) => origin_form(line).map(|target| Url { target, ..base.clone() }),
        };
        urls.push(url.map_err(|why| format!("line {number}: {why}"))?);
    }
    if urls.is_empty() { Err("it has no URL".into()) } else { Ok(urls) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parsed(text: &str, authority: &str, target: &str) {
        assert_eq!(Url::parse(text), Ok(Url { authority: authority.into(), target: target.into() }), "{text}");
    }

    #[test]
    fn parts_of_a_url() {
        parsed("http://a:80/b?c=d#e", "a:80", "/b?c=d");
        parsed("HTTP://a", "a", "/");
        parsed("a:81?x", "a:81", "/?x");
        parsed("http://[::1]:8080/", "[::1]:8080", "/");
        for (wrong, words) in
            [("https://a", "only http"), ("http:///a", "HOST:PORT"), ("http://a/ b", "%"), ("u:p@h", "Authorization")]
        {
            assert!(Url::parse(wrong).is_err_and(|why| why.contains(words)), "{wrong}");
        }
    }

    #[test]
    fn destinations_have_a_port() {
        let to = |text: &str| Url::parse(text).unwrap().destination().map(|d| d.to_string());
        assert_eq!(to("http://127.0.0.1/").as_deref(), Ok("127.0.0.1:80"));
        assert_eq!(to("http://127.0.0.1:81/").as_deref(), Ok("127.0.0.1:81"));
        assert_eq!(to("http://[::1]/").as_deref(), Ok("[::1]:80"));
    }

    #[test]
    fn lists_name_the_line_that_is_wrong() {
        let base = Url::parse("http://a:1/x").unwrap();
        let urls = list("# all\n/b\n\nhttp://c:2/d\n", Some(&base)).unwrap();
        assert_eq!(urls, [Url::parse("a:1/b").unwrap(), Url::parse("c:2/d").unwrap()]);
        assert!(list("/b", None).unwrap_err().starts_with("line 1: "));
        assert!(list("/b\nftp://x", Some(&base)).unwrap_err().starts_with("line 2: "));
        assert!(list("# nothing", None).is_err());
    }
}
