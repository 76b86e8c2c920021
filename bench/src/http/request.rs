//! Requests as they go on the wire, made once before a run.

use super::{BODY_HEADER, head, response::Expected, url::Url};
use crate::pattern::Pattern;

/// A body is kept in memory.
pub(crate) const BODY_MAX: u64 = 1 << 30;

/// What all requests of a run have in common.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) method: String,
    /// In order; one of the names that we send ourselves takes its place.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Content,
    pub(crate) keep_alive: bool,
    /// Bodies that come back are compared, where they are ours.
    pub(crate) checks: bool,
}

/// A request's body.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    None,
    /// Of the pattern that belongs to the target.
    Pattern(u64),
    Bytes(Vec<u8>),
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Pattern(length) => *length,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// One request, whole.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    pub(crate) expected: Expected,
}

impl Request {
    pub(crate) fn new(form: &Form, url: &Url) -> Self {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", form.method, url.target).into_bytes();
        let given = |name: &str| form.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let mut push = |name: &str, value: &str| bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        if !given("host") {
            push("Host", &url.authority);
        }
        for (name, value) in &form.headers {
            push(name, value);
        }
        if !form.keep_alive && !given("connection") {
            push("Connection", "close");
        }
        let pattern = Pattern::named(url.target.as_bytes());
        let body = match &form.body {
            Content::None => Vec::new(),
            Content::Bytes(bytes) => bytes.clone(),
            Content::Pattern(length) => {
                push(BODY_HEADER, &length.to_string());
                let mut body = vec![0; *length as usize];
                pattern.clone().fill(&mut body);
                body
            }
        };
        if !matches!(form.body, Content::None) && !given("content-length") {
            push("Content-Length", &body.len().to_string());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&body);
        let expected = Expected { no_body: form.method == "HEAD", pattern: form.checks.then_some(pattern) };
        Self { bytes, expected }
    }
}

/// `Name: value`.
///
/// # Errors
/// What would not be a header line.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write 'Name: value'")?;
    if name.is_empty() || !name.bytes().all(head::is_token) {
        return Err(format!("{name:?} is no name of a header"));
    }
    let value = value.trim();
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Err("a value has no control characters".into());
    }
    if name.eq_ignore_ascii_case("transfer-encoding") {
        return Err("bodies are sent with their length".into());
    }
    Ok((name.into(), value.into()))
}

/// A method as it is written in a request.
///
/// # Errors
/// What would not be one, or one after which the connection is not HTTP any more.
pub(crate) fn method(text: &str) -> Result<String, String> {
    if text.is_empty() || !text.bytes().all(head::is_token) {
        return Err("a method is a word, such as GET".into());
    }
    if text == "CONNECT" {
        return Err("CONNECT makes a tunnel, not an answer".into());
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> Form {
        let (headers, body) = (Vec::new(), Content::None);
        Form { method: "GET".into(), headers, body, keep_alive: true, checks: true }
    }

    fn text(form: &Form) -> String {
        String::from_utf8_lossy(&Request::new(form, &Url::parse("http://a:1/b?c").unwrap()).bytes).into_owned()
    }

    #[test]
    fn what_goes_on_the_wire() {
        assert_eq!(text(&form()), "GET /b?c HTTP/1.1\r\nHost: a:1\r\n\r\n");
        let headers = vec![header("host:x").unwrap(), header("A:  b ").unwrap()];
        let given = Form { headers, keep_alive: false, ..form() };
        assert_eq!(text(&given), "GET /b?c HTTP/1.1\r\nhost: x\r\nA: b\r\nConnection: close\r\n\r\n");
        let body = Form { method: "POST".into(), body: Content::Bytes(b"xyz".to_vec()), ..form() };
        assert_eq!(text(&body), "POST /b?c HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\n\r\nxyz");
    }

    #[test]
    fn a_pattern_says_what_it_is() {
        let request = Form { body: Content::Pattern(16), ..form() };
        let text = text(&request);
        assert!(text.contains("x-bench-body: 16\r\nContent-Length: 16\r\n\r\n"), "{text}");
    }

    #[test]
    fn nonsense_is_refused() {
        for wrong in ["no colon", ": x", "a b: c", "a: \u{7}", "Transfer-Encoding: chunked"] {
            assert!(header(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "GE T", "CONNECT"] {
            assert!(method(wrong).is_err(), "{wrong}");
        }
        assert_eq!(method("PURGE").as_deref(), Ok("PURGE"));
    }
}
