//! The least HTTP that a smoke test needs, so that nothing of the product checks itself.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// How long one exchange may take before it counts as a hang.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
}

pub(super) fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let failed = |e: std::io::Error| format!("connect to {address}: {e}");
    let stream = TcpStream::connect_timeout(&address, TIMEOUT).map_err(failed)?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
    stream.set_write_timeout(Some(TIMEOUT)).map_err(failed)?;
    Ok(stream)
}

pub(super) fn get(address: SocketAddr, path: &str) -> Result<Answer, String> {
    let failed = |e: std::io::Error| format!("GET http://{address}{path}: {e}");
    let mut stream = connect(address)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    parse(&answer).map_err(|problem| format!("GET http://{address}{path}: {problem}"))
}

pub(super) fn get_ok(address: SocketAddr, path: &str) -> Result<Answer, String> {
    let answer = get(address, path)?;
    if answer.status == 200 {
        Ok(answer)
    } else {
        Err(format!("GET http://{address}{path}: status {}\n{}", answer.status, answer.body))
    }
}

/// A whole answer with a `content-length`, as the demo pages and the admin endpoint send them.
fn parse(answer: &[u8]) -> Result<Answer, String> {
    let text = std::str::from_utf8(answer).map_err(|_| "the answer is not UTF-8")?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("no whole head in `{text}`"))?;
    let mut lines = head.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|l| l.get(..3)).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| format!("not a status line: `{status_line}`"))?;
    let length: Option<usize> = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok());
    match length {
        Some(length) if length == body.len() => Ok(Answer { status, body: body.to_owned() }),
        Some(length) => Err(format!("{} of {length} body bytes", body.len())),
        None => Err("an answer without content-length".into()),
    }
}

/// Name and value of a line of the Prometheus text format; `None` when it is not one.
pub(super) fn sample(line: &str) -> Option<(&str, f64)> {
    let name_end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(name_end);
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == ':');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':') {
        return None;
    }
    let rest = if rest.starts_with('{') { after_labels(rest)? } else { rest };
    // A timestamp may follow the value.
    let mut fields = rest.strip_prefix(' ')?.split(' ');
    let value = fields.next()?.parse().ok()?;
    fields.all(|timestamp| timestamp.parse::<f64>().is_ok()).then_some((name, value))
}

/// What follows the `}` that ends the labels; a `}` in a label's value does not.
fn after_labels(text: &str) -> Option<&str> {
    let (mut in_value, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if in_value => escaped = true,
            '"' => in_value = !in_value,
            '}' if !in_value => return Some(&text[at + 1..]),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        let whole = parse(b"HTTP/1.1 503 Busy\r\nContent-Length: 3\r\n\r\nno\n").unwrap();
        assert_eq!((whole.status, whole.body.as_str()), (503, "no\n"));
        for broken in [
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nno\n",
            "HTTP/1.1 200 OK\r\n\r\nno\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3",
            "HTTQ/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "",
        ] {
            assert!(parse(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn samples_of_the_text_format() {
        assert_eq!(sample("balance_up 1"), Some(("balance_up", 1.0)));
        assert_eq!(sample(r#"a_total{x="}\"",y="2"} 2.5e3 1700000000"#), Some(("a_total", 2500.0)));
        assert_eq!(sample("a +Inf"), Some(("a", f64::INFINITY)));
        for broken in ["", "a", "a b", "1a 2", r#"a{x="1" 2"#, "a{x=\"1\"}2", "a-b 1", "a 1 now"] {
            assert_eq!(sample(broken), None, "{broken}");
        }
    }
}
