//! What is written reads back, strictly, as what was meant; of random requests, and of random damage to the tables.

use balance_engine::rng::Rng;

use super::{table::rows, *};

const ROUNDS: usize = 20_000;

/// Reads, writes and reads again; false when the first reading finds no whole request.
fn check_request(bytes: &[u8], limits: &Limits, context: &str) -> bool {
    let names = names();
    let mut head = Head::with_limits(limits);
    let Parsed::Complete(first) = parse_request(bytes, limits, &names, &mut head) else {
        return false;
    };
    let host = first.authority.is_none().then_some(&b"from.config"[..]);
    let (mut out, mut again) = ([0; 4096], [0; 4096]);
    let len = write_request(&mut out, bytes, &first, &head, &as_it_came(host)).expect(context);
    let out = &out[..len];
    let sent = forwarded(bytes, &head);

    let mut head = Head::with_limits(limits);
    let Parsed::Complete(second) = parse_request(out, limits, &names, &mut head) else {
        panic!("{context}: {} is not read again", text(out));
    };
    assert_eq!(second.head_len, len, "{context}");
    assert_eq!(second.method_text.of(out), first.method_text.of(bytes), "{context}");
    assert_eq!((second.body, second.method), (first.body, first.method), "{context}");
    let written_path = match first.path.of(bytes) {
        b"" if first.method == Method::Options && first.query.is_none() => b"*",
        b"" => &b"/"[..],
        path => path,
    };
    assert_eq!(text(second.path.of(out)), text(written_path), "{context}");
    assert_eq!(second.query.map(|query| text(query.of(out))), first.query.map(|query| text(query.of(bytes))));
    let authority = |request: &Request, bytes: &[u8]| request.authority.map(|found| text(found.whole.of(bytes)));
    let expected = authority(&first, bytes).or_else(|| Some("from.config".to_owned()));
    assert_eq!(authority(&second, out), expected, "{context}");
    let without_host = |mut fields: Vec<(String, String)>| {
        fields.retain(|(name, _)| !name.eq_ignore_ascii_case("host"));
        fields
    };
    assert_eq!(without_host(forwarded(out, &head)), without_host(sent), "{context}");

    let len = write_request(&mut again, out, &second, &head, &as_it_came(None)).expect(context);
    assert_eq!(text(&again[..len]), text(out), "{context}: writing twice changes nothing");
    true
}

fn check_response(bytes: &[u8], asked: Method, limits: &Limits, context: &str) -> bool {
    let names = names();
    let mut head = Head::with_limits(limits);
    let Parsed::Complete(first) = parse_response(bytes, limits, &names, asked, &mut head) else {
        return false;
    };
    let how =
        |body| ResponseOut { body, edits: Edits { removed: &NOTHING, added: &[] }, connection: Connection::Implied };
    let mut out = [0; 4096];
    let len = write_response(&mut out, bytes, &first, &head, &how(first.body)).expect(context);
    let (out, sent) = (&out[..len], forwarded(bytes, &head));
    let mut head = Head::with_limits(limits);
    let Parsed::Complete(second) = parse_response(out, limits, &names, asked, &mut head) else {
        panic!("{context}: {} is not read again", text(out));
    };
    assert_eq!((second.head_len, second.status, second.body), (len, first.status, first.body), "{context}");
    assert_eq!(second.length_told, first.length_told, "{context}");
    assert_eq!(forwarded(out, &head), sent, "{context}");
    true
}

const REQUESTS: &str = include_str!("requests.txt");
const RESPONSES: &str = include_str!("responses.txt");
/// The rows that fit the buffers here.
const BYTES_MAX: usize = 2_000;

#[test]
fn what_the_tables_accept_is_read_as_written() {
    let limits = Limits::default();
    let short = |row: &table::Row| row.bytes.len() < BYTES_MAX && row.columns[0].starts_with("ok");
    for row in rows(REQUESTS, 3).into_iter().filter(short) {
        assert!(check_request(&row.bytes, &limits, &format!("line {}", row.line)));
    }
    for row in rows(RESPONSES, 4).into_iter().filter(short) {
        let asked = if row.columns[1] == "HEAD" { Method::Head } else { Method::Get };
        assert!(check_response(&row.bytes, asked, &limits, &format!("line {}", row.line)));
    }
}

/// Bytes that mean something somewhere.
const DAMAGE: &[u8] = b"\r\n\t \0:;,/?#@[]%_-\"*=0159aAzZhHTP\x7f\x80\xff";

fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..=rng.below(3) {
        let at = rng.below(bytes.len() as u64 + 1) as usize;
        let byte = DAMAGE[rng.below(DAMAGE.len() as u64) as usize];
        match rng.below(4) {
            0 if at < bytes.len() => drop(bytes.remove(at)),
            1 if at < bytes.len() => bytes[at] = byte,
            2 if at + 1 < bytes.len() => bytes.swap(at, at + 1),
            _ => bytes.insert(at, byte),
        }
    }
}

#[test]
fn damaged_messages_are_refused_or_read_as_written() {
    let limits = Limits::default();
    let requests: Vec<_> = rows(REQUESTS, 3).into_iter().filter(|row| row.bytes.len() < BYTES_MAX).collect();
    let responses: Vec<_> = rows(RESPONSES, 4).into_iter().filter(|row| row.bytes.len() < BYTES_MAX).collect();
    let (mut accepted, seed) = (0, 20_261_124);
    let mut rng = Rng::new(seed);
    for round in 0..ROUNDS {
        let mut bytes = requests[rng.below(requests.len() as u64) as usize].bytes.clone();
        damage(&mut bytes, &mut rng);
        let context = format!("round {round} of seed {seed}: {}", text(&bytes));
        accepted += usize::from(check_request(&bytes, &limits, &context));
        let mut bytes = responses[rng.below(responses.len() as u64) as usize].bytes.clone();
        damage(&mut bytes, &mut rng);
        let context = format!("round {round} of seed {seed}: {}", text(&bytes));
        accepted += usize::from(check_response(&bytes, Method::Get, &limits, &context));
    }
    assert!(accepted > ROUNDS / 10, "{accepted}");
}

fn pick<'a>(rng: &mut Rng, from: &[&'a str]) -> &'a str {
    from[rng.below(from.len() as u64) as usize]
}

/// A request that is right, with every freedom that the grammar leaves.
fn random_request(rng: &mut Rng) -> String {
    let method = pick(rng, &["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE", "x"]);
    let target =
        pick(rng, &["/", "/a/b", "/?", "/?a=b", "//", "/%41", "http://b", "https://b:81/x?y", "http://[::1]/"]);
    let mut fields = vec![format!("Host:{}a.example", pick(rng, &["", " ", "\t", "  "]))];
    for _ in 0..rng.below(20) {
        let name = pick(rng, &["X-A", "accept", "Cookie", "x-b", "Priority", "A.b~c", "User-Agent", "Via", "DNT"]);
        let value =
            pick(rng, &["", "1", "a b", "a\tb", "\"q\"", "\u{e9}", "a,b, c", "x:y", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"]);
        let (before, after) = (pick(rng, &["", " ", "\t ", "   "]), pick(rng, &["", " ", "\t"]));
        fields.push(format!("{name}:{before}{value}{after}"));
    }
    let framing = pick(rng, &["", "", "Content-Length: 0", "content-length:12", "Transfer-Encoding: chunked"]);
    let connection =
        pick(rng, &["", "Connection: close", "Connection: X-A, x-B", "connection: upgrade", "Keep-Alive: 1"]);
    fields.extend([framing, connection].into_iter().filter(|line| !line.is_empty()).map(str::to_owned));
    for at in (1..fields.len()).rev() {
        fields.swap(at, rng.below(at as u64 + 1) as usize);
    }
    format!("{method} {target} HTTP/1.1\r\n{}\r\n\r\n", fields.join("\r\n"))
}

#[test]
fn random_requests_are_accepted_and_read_as_written() {
    let (limits, seed) = (Limits::default(), 7);
    let mut rng = Rng::new(seed);
    for round in 0..ROUNDS {
        let request = random_request(&mut rng);
        let context = format!("round {round} of seed {seed}: {request:?}");
        assert!(check_request(request.as_bytes(), &limits, &context), "{context}");
    }
}
