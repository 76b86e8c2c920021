//! Names on the network: of hosts, of what TLS clients ask for, of protocols in ALPN.

use std::{
    net::{IpAddr, Ipv4Addr},
    ops::Range,
};

use crate::{
    diagnostic::{Fault, quoted},
    model::SniPattern,
};

/// RFC 1035 section 2.3.4, without the dot at the end.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;
/// RFC 7301 section 3.1: the length of a name takes one byte.
const ALPN_BYTES_MAX: usize = 255;
/// What people use. Others are taken as well, but a slip is found by these.
const ALPN_KNOWN: [&str; 6] = ["h2", "http/1.1", "http/1.0", "acme-tls/1", "postgresql", "imap"];

/// The name of a host in small letters. A dot at its end is kept.
///
/// # Errors
/// Says which part cannot be.
pub(crate) fn parse_host(text: &str) -> Result<String, Fault> {
    let name = text.strip_suffix('.').unwrap_or(text);
    check_labels(name, 0).map_err(|fault| named(fault, "is not the name of a host", text))?;
    Ok(text.to_ascii_lowercase())
}

/// # Errors
/// Says what a pattern looks like.
pub(crate) fn parse_sni(text: &str) -> Result<SniPattern, Fault> {
    let wrong = || Fault::new(format!("{} is not a name that TLS clients ask for", quoted(text)));
    if text == "*" {
        return Err(wrong().help("leave `sni` out to match every name"));
    }
    // RFC 6066 section 3: literal addresses are not permitted, and the name has no dot at its end.
    if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err(wrong().help("clients that connect to an address send no name"));
    }
    if let Some(short) = text.strip_suffix('.').filter(|short| !matches!(*short, "" | "*")) {
        return Err(wrong().help(format!("leave out the dot at the end: \"{short}\"")).at(short.len()..text.len()));
    }
    if let Some((_, port)) = text.rsplit_once(':')
        && port.parse::<u16>().is_ok()
    {
        return Err(wrong().help("leave out the port").at(text.len() - port.len() - 1..text.len()));
    }
    let under = text.strip_prefix("*.");
    let name = under.unwrap_or(text);
    if let Some(at) = name.find('*').map(|at| at + text.len() - name.len()) {
        let help = "a `*` stands for whole labels at the start, as in \"*.example.com\"";
        return Err(wrong().help(help).at(at..at + 1));
    }
    check_labels(name, text.len() - name.len())
        .map_err(|fault| named(fault, "is not a name that TLS clients ask for", text))?;
    let name = name.to_ascii_lowercase();
    Ok(if under.is_some() { SniPattern::Under(name) } else { SniPattern::Exact(name) })
}

/// # Errors
/// Says what a name of a protocol looks like.
pub(crate) fn parse_alpn(text: &str) -> Result<String, Fault> {
    let wrong = || Fault::new(format!("{} is not the name of a protocol in ALPN", quoted(text)));
    if text.is_empty() {
        return Err(wrong().help("write \"h2\" or \"http/1.1\""));
    }
    if text.len() > ALPN_BYTES_MAX {
        return Err(wrong().help(format!("it takes at most {ALPN_BYTES_MAX} bytes")));
    }
    if let Some((at, c)) = text.char_indices().find(|(_, c)| !c.is_ascii_graphic()) {
        return Err(wrong().help("write \"h2\" or \"http/1.1\"").at(at..at + c.len_utf8()));
    }
    let meant = match text.to_ascii_lowercase().as_str() {
        "http2" | "http/2" | "http/2.0" | "h2c" => Some("h2"),
        "http" | "http1" | "http1.1" | "http/1" | "h1" => Some("http/1.1"),
        _ => ALPN_KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(text) && *known != text),
    };
    match meant {
        Some(meant) => Err(wrong().help(format!("write \"{meant}\""))),
        None => Ok(text.to_owned()),
    }
}

/// True for what DNS would call a name, where an IPv4 address with a digit too many is none.
pub(crate) fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    check_labels(name, 0).is_ok() && could_be_asked(text)
}

/// True for what may have been meant as a name, well-formed or not.
pub(crate) fn could_be_asked(host: &str) -> bool {
    host.bytes().any(|b| b.is_ascii_alphabetic()) && !ends_in_a_number(host)
}

/// True when the last part is a number, in decimal or in hexadecimal: this is an attempt at an IPv4 address. No name
/// of the Internet looks so (RFC 1123 section 2.1), and the standard of URLs has the same rule ("ends in a number").
pub(crate) fn ends_in_a_number(host: &str) -> bool {
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    let is_decimal = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    is_decimal || hexadecimal(last).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The address that inet_aton(3) makes of one to four numbers, of which the last fills the rest. `None` where there is
/// none, and for numbers with a zero in front, which are octal for some programs and decimal for others.
pub(crate) fn ipv4_in_short(host: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = host.strip_suffix('.').unwrap_or(host).split('.').collect();
    let (last, first) = parts.split_last().filter(|(_, first)| first.len() < 4)?;
    let mut address = number(last).filter(|n| u64::from(*n) < 1 << (32 - 8 * first.len()))?;
    for (at, part) in first.iter().enumerate() {
        address |= number(part).filter(|n| *n < 256)? << (24 - 8 * at);
    }
    Some(Ipv4Addr::from_bits(address))
}

fn number(text: &str) -> Option<u32> {
    match hexadecimal(text) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => None,
        None => text.parse().ok(),
    }
}

fn hexadecimal(text: &str) -> Option<&str> {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))
}

/// Puts the whole text in front of what is wrong with a part of it.
fn named(fault: Fault, what: &str, text: &str) -> Fault {
    let help = match fault.help {
        Some(help) => format!("{}; {help}", fault.message),
        None => fault.message,
    };
    Fault { message: format!("{} {what}", quoted(text)), help: Some(help), at: fault.at }
}

/// `start` is where the name starts in the text that places count in.
fn check_labels(name: &str, start: usize) -> Result<(), Fault> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Fault::new(format!("a name has at most {NAME_BYTES_MAX} bytes, and this one {}", name.len())));
    }
    let mut at = start;
    for label in name.split('.') {
        let range = at..at + label.len();
        at = range.end + 1;
        check_label(label, range)?;
    }
    Ok(())
}

/// As programs use them: with `_` too, which names of services have.
fn check_label(label: &str, at: Range<usize>) -> Result<(), Fault> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if label.is_empty() {
        return Err(Fault::new("a part between dots is empty"));
    }
    if let Some((offset, c)) = label.char_indices().find(|(_, c)| !allowed(*c)) {
        let at = at.start + offset..at.start + offset + c.len_utf8();
        let fault = Fault::new(format!("a name cannot contain {}", quoted(&c.to_string()))).at(at);
        return Err(if c.is_ascii() {
            fault
        } else {
            fault.help("write it as it is on the wire, starting with \"xn--\"")
        });
    }
    if label.len() > LABEL_BYTES_MAX {
        return Err(Fault::new(format!("a part between dots has at most {LABEL_BYTES_MAX} bytes")).at(at));
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(Fault::new("a part between dots cannot start or end with `-`").at(at));
    }
    Ok(())
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
    fn names_of_hosts() {
        for (text, expected) in
            [("db", "db"), ("DB.Internal", "db.internal"), ("a.b.", "a.b."), ("_pg.x-y.example", "_pg.x-y.example")]
        {
            assert_eq!(parse_host(text).as_deref(), Ok(expected));
        }
        let long = ["x".repeat(63).as_str(); 4].join(".");
        refused(parse_host(&long), "253 bytes");
        refused(parse_host(&"x".repeat(64)), "63 bytes");
        refused(parse_host("a..b"), "is empty");
        refused(parse_host(""), "is empty");
        refused(parse_host("."), "is empty");
        refused(parse_host("-a.b"), "start or end with `-`");
        refused(parse_host("a b"), "cannot contain ` `");
        refused(parse_host("bücher.example"), "xn--");
    }

    #[test]
    fn names_that_clients_ask_for() {
        for (text, expected) in [
            ("example.com", "example.com"),
            ("WWW.Example.com", "www.example.com"),
            ("*.Example.com", "*.example.com"),
            ("localhost", "localhost"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(parse_sni(text).map(|p| p.to_string()), Ok(expected.to_owned()));
        }
        refused(parse_sni("*"), "leave `sni` out");
        refused(parse_sni("*."), "is empty");
        refused(parse_sni(""), "is empty");
        refused(parse_sni("*example.com"), "whole labels");
        refused(parse_sni("a.*.com"), "whole labels");
        refused(parse_sni("*.*.com"), "whole labels");
        refused(parse_sni("example.com."), "\"example.com\"");
        refused(parse_sni("example.com:443"), "leave out the port");
        refused(parse_sni("10.0.0.1"), "send no name");
        refused(parse_sni("[::1]"), "send no name");
        refused(parse_sni("a/b"), "cannot contain `/`");
        refused(parse_sni("é.com"), "xn--");
        let fault = parse_sni("*.a_b.c d").expect_err("a space");
        assert_eq!(fault.at, Some(7..8));
    }

    #[test]
    fn names_of_protocols() {
        for text in ["h2", "http/1.1", "acme-tls/1", "my-proto", &"x".repeat(255)] {
            assert_eq!(parse_alpn(text).as_deref(), Ok(text));
        }
        refused(parse_alpn(""), "write \"h2\"");
        refused(parse_alpn("HTTP/2"), "write \"h2\"");
        refused(parse_alpn("H2"), "write \"h2\"");
        refused(parse_alpn("http1.1"), "write \"http/1.1\"");
        refused(parse_alpn("h 2"), "not the name of a protocol");
        refused(parse_alpn(&"x".repeat(256)), "255 bytes");
    }
}
