//! Flags beat variables, variables beat the file, the file beats defaults; and every value knows where it came from.

mod common;

use balance_config::{
    file::variable,
    keys::{Default, Key, Kind, SECTIONS, Section},
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

/// The defaults of a section and of the tables in it, each with its way from the section.
fn defaults(section: &'static Section) -> Vec<(String, &'static str)> {
    let of_key = |key: &'static Key| match (key.kind, key.default) {
        (Kind::Table(inner), _) => {
            defaults(inner).into_iter().map(|(way, value)| (format!("{}.{way}", key.name), value)).collect()
        }
        (_, Default::Is(value)) => vec![(key.name.to_owned(), value)],
        _ => Vec::new(),
    };
    section.keys.iter().flat_map(of_key).collect()
}

#[test]
fn every_default_of_the_key_table_can_be_given_as_a_variable() {
    // The tables are there, so that a default in them changes nothing.
    let text = with("listener", "per_ip = { rate = 5 }\nproxy_protocol = { trusted = [\"10.0.0.1\"] }\n");
    let text = text.replace("rate = 5", "max_connections = \"unlimited\"");
    // A key for one protocol is an error with another.
    let count: usize = ["tcp", "http"].into_iter().map(|protocol| each_default(&text, protocol)).sum();
    assert!(count > 150, "{count}");
}

fn each_default(text: &str, protocol: &str) -> usize {
    let text = text.replace("bind =", &format!("protocol = \"{protocol}\"\nbind ="));
    let plain = parse_with(&text, &[], &[]).expect("the file alone");
    let is_meant = |section: &Section, way: &str| {
        let key = section.key(way.split('.').next().unwrap_or_default()).expect("a key");
        key.protocol.is_none_or(|wanted| wanted == protocol) && (way != "protocol" || protocol == "tcp")
    };
    let mut count = 0;
    for section in SECTIONS.iter().filter(|section| !section.is_nested()) {
        let path = section.path.replace("listeners[]", "listeners.web").replace("clusters.*", "clusters.app");
        for (way, value) in defaults(section).into_iter().filter(|(way, _)| is_meant(section, way)) {
            let (path, mut overridden) = (format!("{path}.{way}"), Vec::new());
            let name = variable(&path);
            overridden.push(parse_with(&text, &[(&name, value)], &[]));
            overridden.push(parse_with(&text, &[], &[(&path, value, "--set")]));
            for given in overridden {
                let given = given.unwrap_or_else(|report| panic!("{report}"));
                assert_eq!(given.config, plain.config, "{name}={value}");
                assert_ne!(given.provenance.of(&path).to_string(), "default");
            }
            count += 1;
        }
    }
    count
}

#[test]
fn a_variable_for_a_key_of_a_table_makes_the_table() {
    let vars = [
        ("BALANCE__LISTENERS__WEB__PER_IP__RATE", "50"),
        ("BALANCE__LISTENERS__WEB__PROXY_PROTOCOL__TRUSTED", "10.0.0.0/8, ::1"),
        ("BALANCE__LISTENERS__WEB__DENY", "192.0.2.1"),
        ("BALANCE__LISTENERS__WEB__MAX_CONNECTIONS", "1000"),
        ("BALANCE__CLUSTERS__APP__MAX_CONNECTIONS", "unlimited"),
        ("BALANCE__CLUSTERS__APP__QUEUE__TIMEOUT", "1s"),
        ("BALANCE__CLUSTERS__APP__ENDPOINTS", "db.internal:5432"),
        ("BALANCE__DNS__SERVERS", ""),
    ];
    let loaded = parse_with(&with("listener", ""), &vars, &[]).unwrap_or_else(|report| panic!("{report}"));
    let (listener, cluster) = (&loaded.config.listeners[0], &loaded.config.clusters[0]);
    let rate = listener.per_ip.and_then(|per_ip| per_ip.rate).map(|rate| (rate.per_second, rate.burst));
    assert_eq!((rate, listener.max_connections), (Some((50, 50)), Some(1000)));
    assert_eq!(listener.proxy_protocol.as_ref().map(|p| p.trusted.len()), Some(2));
    assert_eq!((cluster.max_connections, cluster.queue.timeout.as_secs()), (None, 1));
    assert_eq!(cluster.endpoints[0].address.to_string(), "db.internal:5432");
    assert_eq!(
        loaded.provenance.of("listeners.web.per_ip.rate").to_string(),
        "env BALANCE__LISTENERS__WEB__PER_IP__RATE"
    );
    // What the table must have is missed as if it were written.
    let vars = [("BALANCE__LISTENERS__WEB__PROXY_PROTOCOL__TIMEOUT", "1s")];
    let report = parse_with(&with("listener", ""), &vars, &[]).expect_err("nobody is trusted").to_string();
    assert!(report.contains("has no `trusted`"), "{report}");
}

/// `listeners.web.per_ip.max_connections` could be the limit of `web` for each address, or that of `web.per_ip`.
#[test]
fn a_name_with_dots_is_not_taken_for_a_table() {
    let second = "[[listeners]]\nname = \"web.per_ip\"\nbind = \":81\"\ncluster = \"app\"\n";
    let text = with("listener", "") + second;
    let limits = |name: &str| {
        let loaded = parse_with(&text, &[(name, "7")], &[]).unwrap_or_else(|report| panic!("{report}"));
        let of_web = loaded.config.listeners[0].per_ip.and_then(|per_ip| per_ip.max_connections);
        (of_web, loaded.config.listeners[1].max_connections)
    };
    assert_eq!(limits("BALANCE__LISTENERS__WEB__PER_IP__MAX_CONNECTIONS"), (Some(7), None));
    assert_eq!(limits("BALANCE__LISTENERS__WEB_PER_IP__MAX_CONNECTIONS"), (None, Some(7)));
    let flag = [("listeners.web.per_ip.max_connections", "7", "--set")];
    let report = parse_with(&text, &[], &flag).expect_err("two keys").to_string();
    assert!(report.contains("is the path of two keys"), "{report}");
}
