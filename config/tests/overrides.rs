//! Flags beat variables, variables beat the file, the file beats defaults; and every value knows where it came from.

mod common;

use balance_config::{
    file::variable,
    keys::{Default, Kind, SECTIONS},
    model::{Cores, LogLevel},
};
use common::{parse_with, with};

type Triple<'a> = (&'a str, &'a str, &'a str);

#[track_caller]
fn level(file: bool, vars: &[(&str, &str)], flags: &[Triple<'_>], expected: LogLevel, origin: &str) {
    let text = with("logging", if file { "level = \"error\"" } else { "" });
    let loaded = parse_with(&text, vars, flags).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.config.logging.level, expected);
    assert_eq!(loaded.provenance.of("logging.level").to_string(), origin);
}

#[test]
fn precedence() {
    let (var, flag) = ([("BALANCE__LOGGING__LEVEL", "debug")], [("logging.level", "trace", "--log-level")]);
    level(false, &[], &[], LogLevel::Info, "default");
    level(true, &[], &[], LogLevel::Error, "file:2");
    level(true, &var, &[], LogLevel::Debug, "env BALANCE__LOGGING__LEVEL");
    level(true, &var, &flag, LogLevel::Trace, "flag --log-level");
    level(false, &[], &flag, LogLevel::Trace, "flag --log-level");
}

#[test]
fn variables_reach_listeners_and_clusters_by_name() {
    let text =
        with("cluster", "").replace("clusters.app", "clusters.\"my-app.v2\"").replace("\"app\"", "\"my-app.v2\"");
    let vars = [
        ("BALANCE__CLUSTERS__MY_APP_V2__CONNECT_TIMEOUT", "1s"),
        ("BALANCE__CLUSTERS__MY_APP_V2__ENDPOINTS", "10.0.0.7:80, unix:/x"),
        ("BALANCE__LISTENERS__WEB__BIND", "127.0.0.1:81,[::1]:81"),
        ("balance__listeners__web__backlog", "not ours: the prefix is in capitals"),
        ("BALANCE__LISTENERS__WEB__NODELAY", "false"),
        ("BALANCE__RUNTIME__CORES", "0-1"),
        ("BALANCE_CONFIG", "/etc/balance.toml"),
    ];
    let loaded = parse_with(&text, &vars, &[]).unwrap_or_else(|report| panic!("{report}"));
    let (listener, cluster) = (&loaded.config.listeners[0], &loaded.config.clusters[0]);
    assert_eq!(cluster.connect_timeout.as_secs(), 1);
    assert_eq!(cluster.endpoints.iter().map(|e| e.address.to_string()).collect::<Vec<_>>(), ["10.0.0.7:80", "unix:/x"]);
    assert_eq!((listener.bind.len(), listener.socket.nodelay), (2, false));
    assert_eq!(loaded.config.runtime.cores, Cores::List(vec![0, 1]));
}

#[test]
fn what_is_required_may_come_from_a_variable() {
    let text = "[[listeners]]\nname = \"web\"\n[clusters.app]\n";
    let vars = [
        ("BALANCE__LISTENERS__WEB__BIND", ":80"),
        ("BALANCE__LISTENERS__WEB__CLUSTER", "app"),
        ("BALANCE__CLUSTERS__APP__ENDPOINTS", "10.0.0.1:80"),
    ];
    assert!(parse_with(text, &vars, &[]).is_ok());
}

#[track_caller]
fn refused(name: &str, value: &str, words: &str) {
    let report = parse_with(&with("cluster", "[clusters.APP]\nendpoints = []"), &[(name, value)], &[])
        .expect_err(name)
        .to_string();
    assert!(report.contains(name) && report.contains(words), "{report}");
}

#[test]
fn variables_that_match_nothing_or_two_things() {
    refused("BALANCE__RUNTIME__CORE", "1", "did you mean BALANCE__RUNTIME__CORES?");
    refused("BALANCE__LISTENERS__WEP__BIND", ":80", "did you mean BALANCE__LISTENERS__WEB__BIND?");
    refused("BALANCE__X", "1", "matches no key");
    refused("BALANCE__LISTENERS__WEB__NAME", "x", "matches no key");
    refused("BALANCE__CLUSTERS__APP__POLICY", "random-two", "clusters.APP.policy or clusters.app.policy");
    refused("BALANCE__LISTENERS__WEB__BIND", "", "address to listen on");
    refused("BALANCE__LISTENERS__WEB__BACKLOG", "many", "an integer, not `many`");
    refused("BALANCE__LISTENERS__WEB__NODELAY", "on", "write true");
}

#[test]
fn a_value_that_is_overridden_must_still_be_one() {
    let text = with("logging", "level = \"loud\"");
    assert!(parse_with(&text, &[], &[("logging.level", "info", "--log-level")]).is_err());
}

#[test]
fn every_default_of_the_key_table_can_be_given_as_a_variable() {
    for section in SECTIONS.iter().filter(|section| section.path != "clusters.*.endpoints[]") {
        for key in section.keys.iter().filter(|key| !matches!(key.kind, Kind::Name)) {
            let Default::Is(value) = key.default else { continue };
            let path = section.path.replace("listeners[]", "listeners.web").replace("clusters.*", "clusters.app");
            let name = variable(&format!("{path}.{}", key.name));
            let plain = parse_with(&with("cluster", ""), &[], &[]).expect("the file alone");
            let given =
                parse_with(&with("cluster", ""), &[(&name, value)], &[]).unwrap_or_else(|report| panic!("{report}"));
            assert_eq!(given.config, plain.config, "{name}={value}");
        }
    }
}
