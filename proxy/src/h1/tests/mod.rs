//! Whole messages in memory.

use balance_engine::intern::Interner;

use super::*;

mod chunks;
mod corpus;
mod exchange;
mod roundtrip;
mod table;
mod write;

fn names() -> Interner {
    Interner::new(4096, 1)
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// As in the tables.
fn body(body: Body) -> String {
    match body {
        Body::None => "none".to_owned(),
        Body::Length(length) => format!("length={length}"),
        Body::Chunked => "chunked".to_owned(),
        Body::UntilClose => "until-close".to_owned(),
    }
}

fn keep(keep_alive: bool) -> &'static str {
    if keep_alive { "keep" } else { "close" }
}

fn plain(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A request as the tables show it.
fn summary(bytes: &[u8], request: &Request) -> String {
    let path = if request.path.is_empty() { "-".to_owned() } else { plain(request.path.of(bytes)) };
    let query = request.query.map(|query| format!("?{}", plain(query.of(bytes)))).unwrap_or_default();
    let authority = request.authority.map_or_else(|| "-".to_owned(), |found| plain(found.whole.of(bytes)));
    let mut words = vec![
        plain(request.method_text.of(bytes)),
        format!("{path}{query}"),
        authority,
        body(request.body),
        keep(request.keep_alive).to_owned(),
    ];
    words.extend(request.expect_continue.then(|| "continue".to_owned()));
    words.extend(request.upgrade.map(|value| format!("upgrade={}", plain(value.of(bytes)))));
    words.join(" ")
}

fn response_summary(bytes: &[u8], response: &Response) -> String {
    let mut words = vec![response.status.to_string(), body(response.body), keep(response.keep_alive).to_owned()];
    words.extend(response.length_told.map(|length| format!("told={length}")));
    words.extend(response.upgrade.map(|value| format!("upgrade={}", plain(value.of(bytes)))));
    words.join(" ")
}

/// What of a message goes on: names and values in order.
fn forwarded(bytes: &[u8], head: &Head) -> Vec<(String, String)> {
    let kept = head.fields().iter().filter(|field| !field.is_hop_by_hop());
    kept.map(|field| (text(field.name_of(bytes)), text(field.value_of(bytes)))).collect()
}

static NOTHING: NameSet = NameSet::EMPTY;

fn as_it_came(host: Option<&[u8]>) -> RequestOut<'_> {
    let edits = Edits { removed: &NOTHING, added: &[] };
    RequestOut { target: None, host, edits, connection: Connection::Implied }
}
