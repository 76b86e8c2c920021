//! A path has one form: it stays as it is when it is brought into it again, and has no step in it.
//!
//! `cargo +nightly fuzz run path`, started from `config/fuzz`.
#![no_main]

use balance_config::{
    http_path::canonical,
    model::{EncodedSlashes, PathRules},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|path: &[u8]| {
    for merge_slashes in [true, false] {
        for encoded_slashes in [EncodedSlashes::Keep, EncodedSlashes::Decode, EncodedSlashes::Reject] {
            let rules = PathRules { merge_slashes, encoded_slashes };
            let (mut space, mut again) = (Vec::new(), Vec::new());
            let Ok(found) = canonical(path, rules, &mut space) else { continue };
            assert!(found.split(|byte| *byte == b'/').all(|part| !matches!(part, b"." | b"..")));
            assert_eq!(canonical(found, rules, &mut again), Ok(found));
        }
    }
});
