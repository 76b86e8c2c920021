//! Any text is a configuration or a report, and a configuration reads back the same from its effective form.
//!
//! `cargo +nightly fuzz run file -- -dict=toml.dict`, started from `config/fuzz` with the examples as the corpus:
//! `mkdir -p corpus/file && cp ../examples/*.toml corpus/file`.
#![no_main]

use std::{io, path::Path};

use balance_config::{effective::render, env::Env, file};
use libfuzzer_sys::fuzz_target;

/// Some names are set, so that filling in works and fails.
struct SomeVariables;

impl Env for SomeVariables {
    fn var(&self, name: &str) -> Option<String> {
        name.starts_with('A').then(|| "127.0.0.1:80".to_owned())
    }

    fn vars(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn read(&self, _path: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fuzz_target!(|text: &str| {
    match file::parse("fuzz", text, &SomeVariables, &[]) {
        Ok(loaded) => {
            let again =
                file::parse("effective", &render(&loaded), &SomeVariables, &[]).expect("what was written reads back");
            assert_eq!(again.config, loaded.config);
        }
        Err(report) => assert!(report.diagnostics.iter().any(|d| d.is_error())),
    }
});
