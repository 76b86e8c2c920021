//! Any bytes: one verdict however they are cut, no more kept than promised, and names that a route can be looked up by.
//!
//! `cargo +nightly fuzz run client_hello corpus/client_hello seeds/client_hello`, started from `proxy/fuzz`.
#![no_main]
#![allow(dead_code, unfulfilled_lint_expectations, reason = "a part of a module is compiled here, without its crate")]

#[path = "../../src"]
mod proxy {
    pub(crate) mod client_hello;
}

use balance_config::model::{Route, RouteMatch, SniPattern};
use libfuzzer_sys::fuzz_target;
use proxy::client_hello::{Inspector, Progress, Routes};

/// Records and all.
const BYTES_MAX: usize = 16 << 10;

fn routes() -> Routes {
    let route = |sni: &[SniPattern], alpn: &[&str]| {
        let alpn = alpn.iter().map(|protocol| (*protocol).to_owned()).collect();
        Route { when: RouteMatch { sni: sni.to_vec(), alpn }, cluster: "any".to_owned() }
    };
    let www = SniPattern::Exact("www.example.com".to_owned());
    let below = SniPattern::Under("example.com".to_owned());
    Routes::compile(&[route(&[www], &["h2"]), route(&[below], &[]), route(&[], &["h2"])])
}

fuzz_target!(|bytes: &[u8]| {
    let mut at_once = Inspector::new(BYTES_MAX);
    let whole = at_once.inspect(bytes);
    let mut growing = Inspector::new(BYTES_MAX);
    for len in (0..=bytes.len()).step_by(1 + bytes.len() / 500) {
        match growing.inspect(&bytes[..len]) {
            Progress::NeedMore { at_least } => {
                assert!(at_least > 0 && len + at_least <= BYTES_MAX);
            }
            earlier => assert_eq!(earlier, whole),
        }
    }
    if let Progress::Found(hello) = &whole {
        let route = routes().find(hello);
        let offers = hello.alpn.iter().any(|protocol| protocol == b"h2");
        let else_by_protocol = offers.then_some(2);
        match hello.sni {
            Some(name) => {
                assert!(!name.is_empty() && name.is_ascii() && name.len() <= 253);
                let below = name.to_ascii_lowercase().ends_with(".example.com");
                assert!(if below { matches!(route, Some(0 | 1)) } else { route == else_by_protocol });
            }
            None => assert_eq!(route, else_by_protocol),
        }
        assert!(hello.alpn.iter().all(|protocol| !protocol.is_empty()));
    }
});
