//! Names in HTTP: of hosts, headers, methods, and of what a connection may be upgraded to.

use std::net::{IpAddr, Ipv6Addr};

use crate::{
    diagnostic::{Fault, quoted},
    http_path,
    model::{EncodedSlashes, HostPattern, PathRules},
    names,
};

const NAME_BYTES_MAX: usize = 128;
const PATH_BYTES_MAX: usize = 4096;

/// RFC 9110 section 5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    let is_char = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(is_char)
}

fn check_token(text: &str, what: &str) -> Result<(), Fault> {
    if text.is_empty() {
        return Err(Fault::new(format!("the name of {what} cannot be empty")));
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(Fault::new(format!("the name of {what} has at most {NAME_BYTES_MAX} bytes")));
    }
    match text.char_indices().find(|(_, c)| !is_token(&c.to_string())) {
        Some((at, c)) => {
            let message = format!("the name of {what} cannot contain {}", quoted(&c.to_string()));
            Err(Fault::new(message).at(at..at + c.len_utf8()))
        }
        None => Ok(()),
    }
}

/// The name of a header in small letters.
///
/// # Errors
/// What is no token (RFC 9110 section 5.1).
pub(crate) fn parse_header(text: &str) -> Result<String, Fault> {
    check_token(text, "a header")?;
    Ok(text.to_ascii_lowercase())
}

/// Headers that frame a message or hold for one connection, which the proxy writes by itself.
pub(crate) fn is_managed(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "content-length"
            | "expect"
            | "host"
            | "http2-settings"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// # Errors
/// What is no token, and what is known by another spelling.
pub(crate) fn parse_method(text: &str) -> Result<String, Fault> {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    check_token(text, "a method")?;
    // RFC 9110 section 9.1: "The method token is case-sensitive".
    match KNOWN.iter().find(|known| known.eq_ignore_ascii_case(text)) {
        Some(&"CONNECT") => Err(Fault::new("CONNECT is refused before any route is looked at")),
        Some(known) if *known != text => {
            Err(Fault::new(format!("{} is no method", quoted(text))).help(format!("write \"{known}\"")))
        }
        _ => Ok(text.to_owned()),
    }
}

/// # Errors
/// What is no token, and what would let requests past the routes.
pub(crate) fn parse_upgrade(text: &str) -> Result<String, Fault> {
    check_token(text.split('/').next().unwrap_or_default(), "a protocol")?;
    let lower = text.to_ascii_lowercase();
    match &*lower {
        "h2c" | "h2" => Err(Fault::new("HTTP cannot be upgraded to HTTP/2 through a proxy")
            .help("requests would pass unseen; leave it out")),
        _ if text.split('/').any(|part| !is_token(part)) => Err(Fault::new(format!("{} is no protocol", quoted(text)))),
        _ => Ok(lower),
    }
}

/// # Errors
/// Says what a pattern looks like.
pub(crate) fn parse_host(text: &str) -> Result<HostPattern, Fault> {
    let wrong = || Fault::new(format!("{} is not a host", quoted(text)));
    if text == "*" {
        return Err(wrong().help("leave `host` out to match every host"));
    }
    if let Some((_, after)) = text.split_once("://") {
        let host = after.split('/').next().unwrap_or_default();
        return Err(wrong().help(format!("write the host alone: \"{host}\"")));
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(text).parse::<Ipv6Addr>() {
        return Ok(HostPattern::Exact(format!("[{address}]")));
    }
    if let Some((_, port)) = text.rsplit_once(':')
        && port.parse::<u16>().is_ok()
    {
        let at = text.len() - port.len() - 1..text.len();
        return Err(wrong().help("leave out the port: hosts are compared without it").at(at));
    }
    if let Ok(IpAddr::V4(address)) = text.parse() {
        return Ok(HostPattern::Exact(address.to_string()));
    }
    let under = text.strip_prefix("*.");
    let name = under.unwrap_or(text);
    if let Some(at) = name.find('*').map(|at| at + text.len() - name.len()) {
        let help = "a `*` stands for whole labels at the start, as in \"*.example.com\"";
        return Err(wrong().help(help).at(at..at + 1));
    }
    let name = names::parse_host(name)?;
    let name = name.strip_suffix('.').unwrap_or(&name).to_owned();
    Ok(if under.is_some() { HostPattern::Under(name) } else { HostPattern::Exact(name) })
}

/// A path in the form that routes compare, which is the one that does not depend on the rules of a listener.
///
/// # Errors
/// Says what a path looks like.
pub(crate) fn parse_path(text: &str) -> Result<String, Fault> {
    // What these decide does not occur: several slashes are refused below, and encoded ones stay what they are.
    const RULES: PathRules = PathRules { merge_slashes: false, encoded_slashes: EncodedSlashes::Keep };
    let wrong = || Fault::new(format!("{} is not a path", quoted(text)));
    if !text.starts_with('/') {
        let help =
            if text.is_empty() { "write \"/\"".to_owned() } else { format!("it starts with a slash: \"/{text}\"") };
        return Err(if text.contains("://") {
            wrong().help("write it without scheme and host")
        } else {
            wrong().help(help)
        });
    }
    if text.len() > PATH_BYTES_MAX {
        return Err(Fault::new(format!("a path has at most {PATH_BYTES_MAX} bytes, and this one {}", text.len())));
    }
    if let Some(at) = text.find('?') {
        return Err(wrong().help("what follows the ? is matched by `query`").at(at..text.len()));
    }
    if let Some(at) = text.find(['*', '{']).filter(|at| text[*at..].starts_with('{') || text.ends_with('*')) {
        return Err(wrong().help("use `path_prefix` or `path_regex` for paths that begin alike").at(at..text.len()));
    }
    let mut space = Vec::new();
    let path = http_path::canonical(text.as_bytes(), RULES, &mut space).map_err(|bad| wrong().help(bad.to_string()))?;
    Ok(String::from_utf8_lossy(path).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(result: Result<impl std::fmt::Debug, Fault>, words: &str) {
        let fault = result.expect_err(words).to_string();
        assert!(fault.contains(words), "{fault}");
    }

    #[test]
    fn hosts() {
        for (text, expected) in [
            ("Example.COM", "example.com"),
            ("*.Example.com.", "*.example.com"),
            ("10.0.0.1", "10.0.0.1"),
            ("[::1]", "[::1]"),
            ("2001:DB8::0", "[2001:db8::]"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(parse_host(text).map(|host| host.to_string()), Ok(expected.to_owned()));
        }
        refused(parse_host("*"), "leave `host` out");
        refused(parse_host("https://a.example/x"), "\"a.example\"");
        refused(parse_host("a.example:80"), "leave out the port");
        refused(parse_host("[::1]:80"), "leave out the port");
        refused(parse_host("a.*.example"), "whole labels");
        refused(parse_host("a..b"), "is empty");
        refused(parse_host("a b"), "cannot contain ` `");
        refused(parse_host(""), "is empty");
    }

    #[test]
    fn headers_methods_and_upgrades() {
        assert_eq!(parse_header("X-Canary").as_deref(), Ok("x-canary"));
        refused(parse_header("X: y"), "cannot contain `:`");
        refused(parse_header("a\r\nb"), "cannot contain");
        refused(parse_header(""), "cannot be empty");
        refused(parse_header(&"a".repeat(200)), "128 bytes");
        assert_eq!(parse_method("PURGE").as_deref(), Ok("PURGE"));
        refused(parse_method("get"), "write \"GET\"");
        refused(parse_method("GE T"), "cannot contain");
        refused(parse_method("CONNECT"), "before any route");
        assert_eq!(parse_upgrade("WebSocket").as_deref(), Ok("websocket"));
        assert_eq!(parse_upgrade("TLS/1.2").as_deref(), Ok("tls/1.2"));
        refused(parse_upgrade("h2c"), "unseen");
        refused(parse_upgrade("a/"), "no protocol");
    }

    #[test]
    fn paths() {
        for (text, expected) in
            [("/", "/"), ("/a/", "/a/"), ("/%7Ea/%c3", "/~a/%C3"), ("/a/./b", "/a/b"), ("/a*b", "/a*b")]
        {
            assert_eq!(parse_path(text).as_deref(), Ok(expected));
        }
        refused(parse_path(""), "write \"/\"");
        refused(parse_path("api"), "\"/api\"");
        refused(parse_path("http://a/b"), "without scheme");
        refused(parse_path("/a?b=1"), "`query`");
        refused(parse_path("/api/*"), "`path_prefix`");
        refused(parse_path("/api/{id}"), "`path_regex`");
        refused(parse_path("/a b"), "must be encoded");
        refused(parse_path("/../a"), "leaves the root");
    }
}
