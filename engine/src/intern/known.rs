//! The names that every shard knows from the start: constant ids, no memory, found without a search of the LRU.
//!
//! The table is built at compile time. Its hash looks at the length and four bytes and has no seed; nobody can flood
//! it, because nothing is ever added to it and a probe is bounded by what the compiler has checked.

use super::NameRef;

macro_rules! known {
    ($($constant:ident = $name:literal,)*) => {
        /// Gives each name its number, in the order of the list.
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "named as the constants are")]
        enum Number { $($constant,)* }

        $(pub const $constant: NameRef = NameRef::known(Number::$constant as u32);)*

        /// Lower case, by number.
        pub(super) const NAMES: &[&str] = &[$($name,)*];
    };
}

known! {
    ACCEPT = "accept",
    ACCEPT_CHARSET = "accept-charset",
    ACCEPT_ENCODING = "accept-encoding",
    ACCEPT_LANGUAGE = "accept-language",
    ACCEPT_RANGES = "accept-ranges",
    ACCESS_CONTROL_ALLOW_CREDENTIALS = "access-control-allow-credentials",
    ACCESS_CONTROL_ALLOW_HEADERS = "access-control-allow-headers",
    ACCESS_CONTROL_ALLOW_METHODS = "access-control-allow-methods",
    ACCESS_CONTROL_ALLOW_ORIGIN = "access-control-allow-origin",
    ACCESS_CONTROL_EXPOSE_HEADERS = "access-control-expose-headers",
    ACCESS_CONTROL_MAX_AGE = "access-control-max-age",
    ACCESS_CONTROL_REQUEST_HEADERS = "access-control-request-headers",
    ACCESS_CONTROL_REQUEST_METHOD = "access-control-request-method",
    AGE = "age",
    ALLOW = "allow",
    ALT_SVC = "alt-svc",
    AUTHORIZATION = "authorization",
    CACHE_CONTROL = "cache-control",
    CONNECTION = "connection",
    CONTENT_DISPOSITION = "content-disposition",
    CONTENT_ENCODING = "content-encoding",
    CONTENT_LANGUAGE = "content-language",
    CONTENT_LENGTH = "content-length",
    CONTENT_LOCATION = "content-location",
    CONTENT_RANGE = "content-range",
    CONTENT_SECURITY_POLICY = "content-security-policy",
    CONTENT_TYPE = "content-type",
    COOKIE = "cookie",
    DATE = "date",
    DNT = "dnt",
    ETAG = "etag",
    EXPECT = "expect",
    EXPIRES = "expires",
    FORWARDED = "forwarded",
    FROM = "from",
    GRPC_ENCODING = "grpc-encoding",
    GRPC_MESSAGE = "grpc-message",
    GRPC_STATUS = "grpc-status",
    GRPC_TIMEOUT = "grpc-timeout",
    HOST = "host",
    HTTP2_SETTINGS = "http2-settings",
    IF_MATCH = "if-match",
    IF_MODIFIED_SINCE = "if-modified-since",
    IF_NONE_MATCH = "if-none-match",
    IF_RANGE = "if-range",
    IF_UNMODIFIED_SINCE = "if-unmodified-since",
    KEEP_ALIVE = "keep-alive",
    LAST_MODIFIED = "last-modified",
    LINK = "link",
    LOCATION = "location",
    MAX_FORWARDS = "max-forwards",
    ORIGIN = "origin",
    PRAGMA = "pragma",
    PRIORITY = "priority",
    PROXY_AUTHENTICATE = "proxy-authenticate",
    PROXY_AUTHORIZATION = "proxy-authorization",
    PROXY_CONNECTION = "proxy-connection",
    RANGE = "range",
    REFERER = "referer",
    REFERRER_POLICY = "referrer-policy",
    RETRY_AFTER = "retry-after",
    SEC_CH_UA = "sec-ch-ua",
    SEC_CH_UA_MOBILE = "sec-ch-ua-mobile",
    SEC_CH_UA_PLATFORM = "sec-ch-ua-platform",
    SEC_FETCH_DEST = "sec-fetch-dest",
    SEC_FETCH_MODE = "sec-fetch-mode",
    SEC_FETCH_SITE = "sec-fetch-site",
    SEC_FETCH_USER = "sec-fetch-user",
    SEC_WEBSOCKET_ACCEPT = "sec-websocket-accept",
    SEC_WEBSOCKET_KEY = "sec-websocket-key",
    SEC_WEBSOCKET_PROTOCOL = "sec-websocket-protocol",
    SEC_WEBSOCKET_VERSION = "sec-websocket-version",
    SERVER = "server",
    SET_COOKIE = "set-cookie",
    STRICT_TRANSPORT_SECURITY = "strict-transport-security",
    TE = "te",
    TRACEPARENT = "traceparent",
    TRACESTATE = "tracestate",
    TRAILER = "trailer",
    TRANSFER_ENCODING = "transfer-encoding",
    UPGRADE = "upgrade",
    UPGRADE_INSECURE_REQUESTS = "upgrade-insecure-requests",
    USER_AGENT = "user-agent",
    VARY = "vary",
    VIA = "via",
    WWW_AUTHENTICATE = "www-authenticate",
    X_CONTENT_TYPE_OPTIONS = "x-content-type-options",
    X_FORWARDED_FOR = "x-forwarded-for",
    X_FORWARDED_HOST = "x-forwarded-host",
    X_FORWARDED_PORT = "x-forwarded-port",
    X_FORWARDED_PROTO = "x-forwarded-proto",
    X_FRAME_OPTIONS = "x-frame-options",
    X_REAL_IP = "x-real-ip",
    X_REQUEST_ID = "x-request-id",
    X_REQUESTED_WITH = "x-requested-with",
}

/// How many names are known.
pub const COUNT: usize = NAMES.len();

/// The name with this number, which is below [`COUNT`]; empty for any other.
pub fn name(number: u32) -> &'static str {
    NAMES.get(number as usize).copied().unwrap_or_default()
}

/// Sparse, so that most lookups of an unknown name end at the first probe.
const PLACES: usize = 512;
const EMPTY: u8 = u8::MAX;
/// What the compiler makes sure of below.
const PROBES_MAX: usize = 4;

/// By hash, the number of a name; collisions go to the next place.
static TABLE: [u8; PLACES] = table();

const fn table() -> [u8; PLACES] {
    assert!(NAMES.len() < EMPTY as usize, "a number must fit its place");
    let mut table = [EMPTY; PLACES];
    let mut number = 0;
    while number < NAMES.len() {
        let start = place(NAMES[number].as_bytes());
        let mut probe = 0;
        while table[(start + probe) % PLACES] != EMPTY {
            probe += 1;
        }
        assert!(probe < PROBES_MAX, "too many collisions: change the multipliers");
        table[(start + probe) % PLACES] = number as u8;
        number += 1;
    }
    table
}

/// The length and the first, the middle, the last and the last but two bytes, in lower case.
///
/// Setting bit 5 is lower case for letters; what it does to other bytes does not matter, since names are compared
/// afterwards.
const fn place(name: &[u8]) -> usize {
    let len = name.len();
    let first = name[0] as u32 | 0x20;
    let middle = name[len / 2] as u32 | 0x20;
    let late = name[len.saturating_sub(3)] as u32 | 0x20;
    let last = name[len - 1] as u32 | 0x20;
    let mixed = first | middle << 8 | late << 16 | last << 24;
    let hash = (mixed ^ (len as u32).wrapping_mul(0x9e37_79b1)).wrapping_mul(0x85eb_ca6b);
    (hash >> 23) as usize
}

/// The number of a known name, in any case.
#[inline]
pub(super) fn find(name: &[u8]) -> Option<u32> {
    if name.is_empty() {
        return None;
    }
    let start = place(name);
    for probe in 0..PROBES_MAX {
        let number = TABLE[(start + probe) % PLACES];
        // Past the last number lies only `EMPTY`.
        let known = NAMES.get(usize::from(number))?;
        if known.as_bytes().eq_ignore_ascii_case(name) {
            return Some(u32::from(number));
        }
    }
    None
}
