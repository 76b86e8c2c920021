//! `balance-shard bench` as a user meets it: exit codes, files, Ctrl-C, messages.

mod common;

use common::{Proxy, Scratch, code, command, run, stderr, stdout};
use serde_json::Value;
use std::fs;

/// A backend for HTTP and echo, and the two addresses.
fn backend() -> (Proxy, String, String) {
    let mut command = command();
    command.args(["bench", "backend", "--http", "127.0.0.1:0", "--echo", "127.0.0.1:0", "--cores", "0"]);
    let mut server = Proxy::begin(command);
    let (http, echo) = (server.line("http listening "), server.line("echo listening "));
    (server, http, echo)
}

fn bench(arguments: &[&str]) -> std::process::Output {
    let mut command = command();
    command.arg("bench").args(arguments).args(["--cores", "0"]);
    command.output().expect("the binary starts")
}

#[test]
fn latency_has_targets_and_an_exit_code() {
    let (_server, http, _) = backend();
    let url = format!("http://{http}/delay/20ms");
    let common = ["latency", "--url", &url, "--requests", "50", "--concurrency", "5", "--progress", "off"];
    let met = bench(&[&common[..], &["--target", "p99=10s", "--fail-on-miss"]].concat());
    assert_eq!(code(&met), 0, "{}", stderr(&met));
    assert!(stdout(&met).contains("✓ p99 "), "{}", stdout(&met));
    let missed = bench(&[&common[..], &["--target", "p50=1ms"]].concat());
    assert_eq!(code(&missed), 0, "it is only said");
    assert!(stdout(&missed).contains("✗ p50 "), "{}", stdout(&missed));
    let failed = bench(&[&common[..], &["--target", "p50=1ms", "--fail-on-miss"]].concat());
    assert_eq!(code(&failed), 1);
    assert!(stderr(&failed).contains("target of p50 was missed"), "{}", stderr(&failed));
    for line in ["requests ", "errors ", "latency min", "latency mean", "latency p99.99", "latency max"] {
        assert!(stdout(&met).contains(line), "{line}: {}", stdout(&met));
    }
}

#[test]
fn results_go_into_files() {
    let (_server, http, _) = backend();
    let scratch = Scratch::new();
    let path = |name: &str| scratch.path(name).to_str().expect("text").to_owned();
    let (json, hgrm, log, csv) = (path("a.json"), path("a.hgrm"), path("a.log"), path("a.csv"));
    let url = format!("http://{http}/size/64");
    let mut arguments = vec!["http", "--url", &url, "--rate", "500", "--duration", "1500ms", "--warm", "0s"];
    arguments.extend(["--json-file", &json, "--hgrm", &hgrm, "--hdr-log", &log, "--csv", &csv, "--json"]);
    let output = bench(&arguments);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let written: Value = serde_json::from_str(&fs::read_to_string(&json).expect("a file")).expect("JSON");
    assert_eq!(printed, written);
    assert_eq!(printed["proxy"]["requests"], 750, "each that was due in 1.5 s");
    assert_eq!(printed["proxy"]["statuses"]["200"], 750);
    let series = printed["series"].as_array().expect("a series");
    assert_eq!(series.len(), 2);
    assert_eq!(series.iter().map(|point| point["requests"].as_u64().unwrap_or(0)).sum::<u64>(), 750);
    for key in ["raw_hdr", "corrected_hdr"] {
        assert!(printed["latency"][key].as_str().is_some_and(|text| text.starts_with("HISTFAAA")), "{key}");
    }
    assert!(fs::read_to_string(&hgrm).expect("a file").contains("1/(1-Percentile)"));
    assert_eq!(fs::read_to_string(&log).expect("a file").matches("HISTFAAA").count(), 2);
    assert_eq!(fs::read_to_string(&csv).expect("a file").lines().count(), 3);
    assert!(stderr(&output).contains("client CPU"), "plain lines elsewhere than on a terminal: {}", stderr(&output));
}

#[test]
fn ctrl_c_gives_the_report_of_what_there_was() {
    let (_server, http, echo) = backend();
    let url = format!("http://{http}/size/64");
    for arguments in [
        &["http", "--url", &url, "--duration", "1h", "--warm", "0s"][..],
        &["http", "--url", &url, "--duration", "1h", "--warm", "0s", "--rate", "100"],
        &["tcp", "--to", &echo, "--backend", &echo, "--duration", "1h", "--warm", "0s"],
    ] {
        let mut command = command();
        command.arg("bench").args(arguments).args(["--cores", "0"]);
        let mut bench = Proxy::begin(command);
        // The first second is over.
        bench.says("client CPU");
        bench.signal("INT");
        assert_eq!(bench.wait().code(), Some(130), "{arguments:?}");
        bench.says("interrupted: these are figures of a part of the run");
        bench.says("requests/s");
    }
}

#[test]
fn an_unreachable_target_is_a_failure_with_its_reason() {
    let output = bench(&["http", "--url", "http://127.0.0.1:1/", "--duration", "1s"]);
    assert_eq!(code(&output), 1);
    assert!(stdout(&output).contains("first connect refused: connection "), "{}", stdout(&output));
    assert!(stderr(&output).contains("no exchange was completed"), "{}", stderr(&output));
}

/// With epoll every connection is a descriptor.
#[test]
fn more_connections_than_descriptors_are_named() {
    let (_server, http, _) = backend();
    let script = r#"ulimit -n 40; exec "$0" "$@""#;
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_balance-shard"), "bench", "http", "--cores", "0", "--io", "epoll"]);
    command.args(["--url", &format!("http://{http}/size/1"), "--connections", "100", "--duration", "300ms"]);
    let output = command.output().expect("sh runs");
    assert_eq!(code(&output), 0, "the others go on: {}", stderr(&output));
    assert!(stdout(&output).contains("raise ulimit -n"), "{}", stdout(&output));
}

#[test]
fn find_max_finds_what_a_delay_allows() {
    let (_server, http, _) = backend();
    let url = format!("http://{http}/delay/100ms");
    // Five connections of a tenth of a second each: fifty a second, and not sixty.
    let output = bench(&[
        "find-max",
        "--url",
        &url,
        "--slo",
        "p50<190ms,errors<1%",
        "--connections",
        "5",
        "--from",
        "25",
        "--within",
        "20",
        "--duration",
        "2s",
        "--warm",
        "0s",
        "--json",
    ]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rate = json["max_rate"].as_f64().expect("a rate");
    assert!((25.0..=60.0).contains(&rate), "{json}");
    assert!(json["failed_rate"].as_f64().is_some_and(|failed| failed > rate), "{json}");
}

#[test]
fn nonsense_is_refused_in_words() {
    for (arguments, words) in [
        (&["http", "--url", "ftp://x/"][..], "only http://"),
        (&["http"], "--url"),
        (&["http", "--url", "http://127.0.0.1/", "--rate", "many"], "a second"),
        (&["latency", "--url", "http://127.0.0.1/", "--target", "fast"], "p99=10ms"),
        (&["find-max", "--url", "http://127.0.0.1/", "--slo", "quick"], "p99<5ms"),
        (&["find-max", "--url", "http://127.0.0.1/", "--slo", "p99<5ms", "--rate", "5"], "no place"),
        (&["backend"], "--http"),
        (&["tcp", "--to", "127.0.0.1:1", "--mode", "idle", "--rate", "5"], "--mode idle"),
        (&["http", "--url", "http://127.0.0.1/", "--csv", "/nowhere/x.csv"], "cannot write /nowhere/x.csv"),
    ] {
        let output = run(&[&["bench"], arguments].concat());
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{arguments:?}: {}", stderr(&output));
    }
}
