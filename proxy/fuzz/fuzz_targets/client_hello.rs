//! Any bytes: one verdict however they are cut, no more kept than promised, and names that a rule can be looked up by.
//!
//! `cargo +nightly fuzz run client_hello corpus/client_hello seeds/client_hello`, started from `proxy/fuzz`.
#![no_main]
#![allow(dead_code, unfulfilled_lint_expectations, reason = "a part of a module is compiled here, without its crate")]

#[path = "../../src"]
mod proxy {
    pub(crate) mod client_hello;
}

use libfuzzer_sys::fuzz_target;
use proxy::client_hello::{HELLO_BYTES_MAX_DEFAULT, Inspector, Progress, Routes, Rule};

const RULES: [Rule<'static>; 3] = [
    Rule { names: &["www.example.com"], alpn: &["h2"] },
    Rule { names: &["*.example.com"], alpn: &[] },
    Rule { names: &["*"], alpn: &[] },
];

fuzz_target!(|bytes: &[u8]| {
    let mut at_once = Inspector::new(HELLO_BYTES_MAX_DEFAULT);
    let whole = at_once.inspect(bytes);
    let mut growing = Inspector::new(HELLO_BYTES_MAX_DEFAULT);
    for len in (0..=bytes.len()).step_by(1 + bytes.len() / 500) {
        match growing.inspect(&bytes[..len]) {
            Progress::NeedMore { at_least } => {
                assert!(at_least > 0 && len + at_least <= Inspector::input_bytes_max(HELLO_BYTES_MAX_DEFAULT));
            }
            earlier => assert_eq!(earlier, whole),
        }
    }
    if let Progress::Found(hello) = &whole {
        let routes = Routes::compile(RULES).expect("the rules are sound");
        let rule = routes.find(hello);
        match hello.sni {
            Some(name) => {
                assert!(!name.is_empty() && name.is_ascii() && name.len() <= 253);
                let below = name.to_ascii_lowercase().ends_with(".example.com");
                assert!(matches!((below, rule), (true, Some(0 | 1)) | (false, Some(2))));
            }
            None => assert_eq!(rule, Some(2)),
        }
        assert!(hello.alpn.iter().all(|protocol| !protocol.is_empty()));
    }
});
