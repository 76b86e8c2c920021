//! Heads of requests: names as ids of the interner, as strings, and names and values as strings.
//!
//! `httparse` finds where names and values stand, the same for all. What differs is what is kept of them, and how a
//! header is found again: an id is compared as a number, a string byte by byte. After each head five names are asked
//! for that a proxy asks for.

use balance_bench::micro::{Candidate, Case};
use balance_engine::intern::{Interner, NameRef};
use std::ops::Range;

/// Each head so often in one call.
const ROUNDS: usize = 32;
const HEADERS_MAX: usize = 64;
const NAMES_BYTES_MAX: usize = 64 << 10;
const SEED: u64 = 29;
const ASKED: [&str; 5] = ["host", "connection", "content-length", "transfer-encoding", "upgrade"];

/// What a browser sends.
const BROWSER: &str = "\
GET /assets/app.css?v=20 HTTP/1.1\r
Host: www.example.com\r
Connection: keep-alive\r
sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r
sec-ch-ua-mobile: ?0\r
sec-ch-ua-platform: \"Linux\"\r
Upgrade-Insecure-Requests: 1\r
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r
Sec-Fetch-Site: same-origin\r
Sec-Fetch-Mode: navigate\r
Sec-Fetch-User: ?1\r
Sec-Fetch-Dest: document\r
Referer: https://www.example.com/\r
Accept-Encoding: gzip, deflate, br, zstd\r
Accept-Language: en-GB,en;q=0.9,de;q=0.8\r
Cookie: session=6f1d2c3b4a59687; theme=dark; consent=1\r
If-None-Match: \"5f-6a7b8c\"\r
\r
";

/// What comes from another proxy, with names of a company's own.
const INTERNAL: &str = "\
POST /v1/orders HTTP/1.1\r
Host: orders.internal\r
Content-Type: application/json\r
Content-Length: 312\r
Authorization: Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl\r
X-Request-Id: 0b7c5d1e-3f42-4a86-9d10-2e6f8a9b1c3d\r
X-Forwarded-For: 192.0.2.7, 198.51.100.4\r
X-Forwarded-Proto: https\r
X-Forwarded-Host: shop.example.com\r
X-Real-Ip: 192.0.2.7\r
Via: 1.1 edge-3\r
Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r
Tracestate: edge=t61rcWkgMzE\r
Baggage: tenant=blue,plan=pro\r
X-Tenant-Id: 4711\r
X-Shop-Region: eu-central\r
X-Shop-Experiment: checkout-b\r
X-Client-Version: 8.14.2\r
X-Device-Class: phone\r
X-Deadline-Ms: 1500\r
Accept: application/json\r
Accept-Encoding: gzip\r
User-Agent: shop-gateway/5.2\r
\r
";

/// What a script sends.
const SMALL: &str = "GET / HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: curl/8.9.1\r\nAccept: */*\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("browser, 17 headers", BROWSER),
        case("between services, 22 headers", INTERNAL),
        case("small, 3 headers", SMALL),
    ]
}

fn case(name: &'static str, head: &'static str) -> Case {
    let candidates = vec![
        candidate("interner", head, Ids::new()),
        candidate("String names", head, Names::default()),
        candidate("all Strings", head, Pairs::default()),
    ];
    Case { name, operation: "head", candidates }
}

/// Answers the headers that were kept and the lengths of the values that were found.
fn candidate<K: Keeper + 'static>(name: &'static str, head: &'static str, mut keeper: K) -> Candidate {
    Candidate::new(name, ROUNDS, move |watch| watch.time(|| (0..ROUNDS).map(|_| read(head, &mut keeper)).sum()))
}

fn read<K: Keeper>(head: &str, keeper: &mut K) -> u64 {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    if !request.parse(head.as_bytes()).is_ok_and(|status| status.is_complete()) {
        return 0;
    }
    keeper.clear();
    for header in &*request.headers {
        keeper.keep(head, header);
    }
    let found = (0..ASKED.len()).filter_map(|number| keeper.find(number)).sum::<usize>();
    (request.headers.len() + found) as u64
}

/// What is kept of a head, by one way or another. It keeps its memory from head to head.
trait Keeper {
    fn clear(&mut self);

    fn keep(&mut self, head: &str, header: &httparse::Header<'_>);

    /// The length of the value of a name out of [`ASKED`].
    fn find(&self, asked: usize) -> Option<usize>;
}

/// Where a value stands in the buffer in which the head arrived.
fn place(head: &str, value: &[u8]) -> Range<u32> {
    let from = value.as_ptr().addr() - head.as_ptr().addr();
    from as u32..(from + value.len()) as u32
}

struct Ids {
    interner: Interner,
    asked: Vec<Option<NameRef>>,
    kept: Vec<(Option<NameRef>, Range<u32>)>,
}

impl Ids {
    fn new() -> Self {
        let mut interner = Interner::new(NAMES_BYTES_MAX, SEED);
        let asked = ASKED.iter().map(|name| interner.intern(name.as_bytes())).collect();
        Self { interner, asked, kept: Vec::new() }
    }
}

impl Keeper for Ids {
    fn clear(&mut self) {
        self.kept.clear();
    }

    fn keep(&mut self, head: &str, header: &httparse::Header<'_>) {
        self.kept.push((self.interner.intern(header.name.as_bytes()), place(head, header.value)));
    }

    fn find(&self, asked: usize) -> Option<usize> {
        self.kept.iter().find(|(id, _)| *id == self.asked[asked]).map(|(_, value)| value.len())
    }
}

#[derive(Default)]
struct Names(Vec<(String, Range<u32>)>);

impl Keeper for Names {
    fn clear(&mut self) {
        self.0.clear();
    }

    fn keep(&mut self, head: &str, header: &httparse::Header<'_>) {
        self.0.push((header.name.to_ascii_lowercase(), place(head, header.value)));
    }

    fn find(&self, asked: usize) -> Option<usize> {
        self.0.iter().find(|(name, _)| name == ASKED[asked]).map(|(_, value)| value.len())
    }
}

#[derive(Default)]
struct Pairs(Vec<(String, Vec<u8>)>);

impl Keeper for Pairs {
    fn clear(&mut self) {
        self.0.clear();
    }

    fn keep(&mut self, _head: &str, header: &httparse::Header<'_>) {
        self.0.push((header.name.to_ascii_lowercase(), header.value.to_vec()));
    }

    fn find(&self, asked: usize) -> Option<usize> {
        self.0.iter().find(|(name, _)| name == ASKED[asked]).map(|(_, value)| value.len())
    }
}
