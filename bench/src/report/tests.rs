use super::*;
use crate::{
    cli::Mode,
    plan::{Bytes, Limit, Plan, Protocol},
    series::Series,
    tally::Fault,
    values::Destination,
};
use balance_engine::driver::Errno;
use serde_json::Value;

pub(crate) fn outcome(mode: Mode, latency_us: u64) -> Outcome {
    let plan = Plan {
        mode,
        protocol: Protocol::Tcp,
        rate: None,
        targets: vec![Destination::Ip(([127, 0, 0, 1], 9000).into())],
        sources: Vec::new(),
        connections: 2,
        halves: 0,
        size: 1000,
        limit: Limit::After(Duration::from_secs(2)),
        warm: Duration::from_secs(1),
        timeout: Duration::from_secs(10),
        bytes: Bytes::Checked,
        hold: false,
        processes: Vec::new(),
    };
    let mut tally = Tally::new();
    tally.connected(Duration::from_micros(100));
    for _ in 0..2000 {
        tally.answered(Duration::from_micros(latency_us), None);
        tally.moved(plan.size, plan.size);
    }
    tally.measured = Duration::from_secs(2);
    let mut series = Series::new(1);
    let _ = series.add(0, 0, &tally, || None);
    series.finish(Duration::from_secs(1));
    Outcome {
        plan,
        tally,
        points: series.points,
        shard_cpu: vec![Duration::from_millis(250); 2],
        cpu: Duration::from_millis(500),
        target_cpu: None,
        driver: "io_uring",
        cores: vec![0, 1],
        started: SystemTime::UNIX_EPOCH,
        interrupted: false,
        busiest_thread: None,
    }
}

fn near(value: &Value, expected: f64) {
    let value = value.as_f64().expect("a number");
    assert!((value - expected).abs() <= expected.abs() * 0.001, "{value} is not {expected}");
}

#[test]
fn json_says_what_was_counted() {
    let json = Report::new("tcp", outcome(Mode::PingPong, 50), None).json();
    let proxy = &json["proxy"];
    assert_eq!(proxy["requests"], 2000);
    assert_eq!(proxy["errors"]["total"], 0);
    assert_eq!(json["settings"]["mode"], "ping-pong");
    near(&proxy["requests_per_s"], 1000.0);
    near(&proxy["out"]["mb_per_s"], 1.0);
    near(&proxy["in"]["mbit_per_s"], 8.0);
    near(&proxy["requests_per_cpu_s"], 4000.0);
    for key in ["min", "mean", "p50", "p90", "p95", "p99", "p99_9", "p99_99", "max"] {
        near(&proxy["latency_us"][key], 50.0);
    }
    assert!(json.get("direct").is_none() && json.get("difference").is_none());
}

#[test]
fn json_has_the_run_second_by_second_and_its_histograms() {
    let mut scheduled = outcome(Mode::PingPong, 50);
    let json = Report::new("tcp", outcome(Mode::PingPong, 50), None).json();
    let point = &json["series"][0];
    assert_eq!((&point["requests"], &point["errors"], &point["bytes"]), (&2000.into(), &0.into(), &4_000_000.into()));
    near(&point["t_s"], 1.0);
    near(&point["p999_us"], 50.0);
    assert!(json["latency"]["raw_hdr"].as_str().is_some_and(|text| text.starts_with("HISTFAAA")), "{json}");
    assert_eq!(json["latency"]["corrected_hdr"], Value::Null, "a closed loop intends nothing");
    assert!(json["machine"]["kernel"].is_string());
    scheduled.tally.answered(Duration::from_micros(50), Some(Duration::from_micros(10)));
    let json = Report::new("tcp", scheduled, None).json();
    near(&json["latency"]["corrected_us"]["max"], 60.0);
    near(&json["proxy"]["latency_us"]["max"], 60.0);
    near(&json["latency"]["raw_us"]["max"], 50.0);
}

#[test]
fn a_busy_client_says_so() {
    let mut busy = outcome(Mode::PingPong, 50);
    busy.shard_cpu = vec![Duration::from_millis(1600), Duration::from_millis(1800)];
    let json = Report::new("tcp", busy, None).json();
    assert_eq!((&json["client_bound"], &json["proxy"]["client_bound"]), (&true.into(), &true.into()));
    let why = json["proxy"]["client_bound_because"].to_string();
    assert!(why.contains("90 % of core 1") && !why.contains("core 0"), "{why}");
    let json = Report::new("tcp", outcome(Mode::PingPong, 50), None).json();
    assert_eq!(json["client_bound"], false);
}

#[test]
fn the_difference_is_proxy_less_direct() {
    let json = Report::new("tcp", outcome(Mode::PingPong, 50), Some(outcome(Mode::PingPong, 20))).json();
    near(&json["difference"]["latency_us"]["p99"], 30.0);
    near(&json["difference"]["requests_ratio"], 1.0);
}

#[test]
fn nothing_measured_is_null_and_not_zero() {
    let mut empty = outcome(Mode::PingPong, 50);
    empty.tally = Tally::new();
    let report = Report::new("tcp", empty, None);
    assert_eq!(report.json()["proxy"]["latency_us"], Value::Null);
    assert_eq!(report.verdict().expect_err("no request").message, "no exchange was completed");
}

#[test]
fn wrong_bytes_are_a_failure_and_other_errors_are_not() {
    let mut bad = outcome(Mode::PingPong, 50);
    bad.tally.errors.add(1, Fault::of_stream(Errno::CONN_RESET));
    let mut report = Report::new("tcp", bad, None);
    assert!(report.verdict().is_ok());
    report.proxy.tally.errors.add(1, Fault::Corrupt { position: 77 });
    let message = report.verdict().expect_err("corrupt").message;
    assert!(message.contains("connection 1, byte 77"), "{message}");
    assert!(report.text().contains("\n  corrupt"), "{}", report.text());
}

#[test]
fn text_has_a_column_for_each_run() {
    let alone = Report::new("tcp", outcome(Mode::PingPong, 50), None).text();
    assert!(alone.starts_with("ping-pong, 1000 B a message, 2 connections to 127.0.0.1:9000, 2s after 1s"), "{alone}");
    let row = |text: &str, name: &str| -> Vec<String> {
        let line = text.lines().find(|l| l.starts_with(name)).expect(name);
        line[name.len()..].split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(row(&alone, "requests/s"), ["1,000"]);
    assert_eq!(row(&alone, "latency p99.9 µs"), ["50.0"]);
    let both = Report::new("tcp", outcome(Mode::PingPong, 50), Some(outcome(Mode::PingPong, 20))).text();
    assert_eq!(row(&both, "requests/s"), ["1,000", "1,000", "×", "1.000"]);
    assert_eq!(row(&both, "latency max µs"), ["50.0", "20.0", "+30.0"]);
}

#[test]
fn a_stream_has_no_requests() {
    let text = Report::new("tcp", outcome(Mode::StreamUp, 50), None).text();
    assert!(!text.contains("requests") && text.contains("MB/s out"), "{text}");
}

#[test]
fn the_targets_cpu_is_shown_where_it_was_counted() {
    let mut counted = outcome(Mode::PingPong, 50);
    counted.target_cpu = Some(Duration::from_millis(20));
    let report = Report::new("tcp", counted, None);
    near(&report.json()["proxy"]["target_cpu_us_per_request"], 10.0);
    assert!(report.text().contains("target CPU µs/request              10.00\n"), "{}", report.text());
    let report = Report::new("tcp", outcome(Mode::PingPong, 50), None);
    assert_eq!(report.json()["proxy"]["target_cpu_s"], Value::Null);
    assert!(!report.text().contains("target CPU"));
}

#[test]
fn a_comparison_shows_each_round_and_the_middle_ratio() {
    let pair = |with| {
        let mut pair = Pair { without: outcome(Mode::Half, 50), with: outcome(Mode::Half, with) };
        (pair.without.tally.open, pair.with.tally.open) = (2, 5);
        pair.with.plan.halves = 3;
        pair
    };
    let mut comparison = Comparison { pairs: vec![pair(50), pair(60), pair(100)] };
    let json = comparison.json();
    let p99 = &json["summary"]["p99_us"];
    near(&p99["with"], 60.0);
    near(&p99["ratio"]["median"], 1.2);
    near(&p99["ratio"]["max"], 2.0);
    assert_eq!(json["rounds"].as_array().map(Vec::len), Some(3));
    let text = comparison.text();
    assert!(text.contains("beside 3 with half a message sent") && text.contains("1.20  (1.00–2.00)"), "{text}");
    assert!(comparison.verdict().is_ok());
    comparison.pairs[1].with.tally.open = 4;
    let message = comparison.verdict().expect_err("one was lost").message;
    assert_eq!(message, "of 5 connections 4 were open at the end of a run");
}
