//! The examples are right, and what is written out of them reads back the same.

mod common;

use std::{fs, path::Path};

use balance_config::{
    effective::render,
    env::{NoEnv, ProcessEnv},
    file,
    keys::{Default, Kind, SECTIONS},
};
use common::{Fixed, with};

fn examples() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut all: Vec<(String, String)> = fs::read_dir(folder)
        .expect("the folder of examples")
        .map(|entry| entry.expect("an example").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| (path.display().to_string(), fs::read_to_string(&path).expect("an example")))
        .collect();
    all.sort();
    all
}

#[test]
fn examples_have_nothing_to_complain_about() {
    assert!(examples().len() >= 12);
    for (name, text) in examples() {
        let loaded = file::parse(&name, &text, &NoEnv, &[]).unwrap_or_else(|report| panic!("{report}"));
        assert_eq!(loaded.warnings, [], "{name}");
    }
}

#[test]
fn effective_output_reads_back_as_the_same_configuration() {
    for (name, text) in examples() {
        let loaded = file::parse(&name, &text, &NoEnv, &[]).unwrap_or_else(|report| panic!("{report}"));
        let out = render(&loaded);
        let again = file::parse("effective", &out, &NoEnv, &[]).unwrap_or_else(|report| panic!("{out}\n{report}"));
        assert_eq!(again.config, loaded.config, "{out}");
        assert_eq!(again.warnings, []);
    }
}

#[test]
fn effective_output_says_where_values_come_from() {
    let vars = [("BALANCE__DRAIN__MIN", "1s")];
    let flags = [file::Override { path: "runtime.cores".into(), value: "0-3".into(), origin: "--cores".into() }];
    let loaded =
        file::parse("b.toml", &with("logging", "level = \"debug\""), &Fixed { vars: &vars, files: &[] }, &flags)
            .unwrap_or_else(|report| panic!("{report}"));
    let out = render(&loaded);
    let lines: Vec<String> = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for expected in [
        "cores = \"0-3\" # flag --cores",
        "io = \"auto\" # default",
        "# listen: a unix socket with mode 0600 in the runtime directory # default",
        "level = \"debug\" # file:2",
        "min = \"1s\" # env BALANCE__DRAIN__MIN",
        "name = \"web\" # file:4",
    ] {
        assert!(lines.iter().any(|line| line == expected), "{expected} is not in\n{out}");
    }
}

/// One listener for each protocol, with every key between the two.
const EVERYTHING: &str = r#"
[admin]
listen = "127.0.0.1:1"
[dns]
servers = ["10.0.0.2"]

[[listeners]]
name = "tls"
bind = ":443"
cluster = "app"
forward = "copy"
allow = ["10.0.0.0/8"]
deny = ["10.1.0.0/16"]
per_ip = { rate = 5 }
proxy_protocol = { trusted = ["10.0.0.1"] }
[[listeners.routes]]
match = { sni = "a", alpn = "h2" }
cluster = "tcp"

[[listeners]]
name = "web"
bind = ":80"
protocol = "http"
[listeners.http]
trusted_proxies = ["10.0.0.0/8"]
server = "me"
request_headers = [{ name = "x-a", value = "{client_ip}" }]
response_headers = [{ action = "add", name = "x-b", value = "{{" }]
[[listeners.routes]]
name = "all"
priority = 3
cluster = "app"
match = { host = ["a.example", "*.b.example"], path = "/x", methods = "GET", headers = { "x$y" = "1", b = { prefix = "$$p" } }, query = { "a \"b" = { regex = "[0-9]+" } }, cookies = { c = { present = false } } }
request_headers = [{ action = "append", name = "x-a", value = "1" }, { action = "remove", name = "x-b" }]
response_headers = [{ name = "x-c", value = "{status}" }]
rewrite = { strip_prefix = "/x", add_prefix = "/y", host = "b.internal:81" }
timeouts = { request = "1m", per_try = "never", idle = "10s" }
[[listeners.routes]]
match = { path_prefix = ["/p", "/q/"] }
clusters = [{ name = "app", weight = 3 }, { name = "other", weight = 0 }]
retry = false
rewrite = { path = "/new{path}" }
[[listeners.routes]]
match = { path_regex = "/r/.*" }
redirect = { status = 307, scheme = "https", host = "www.{host}", port = 8443, path = "/r{path}", keep_query = false }
[[listeners.routes]]
match = { path = "/s" }
response = { status = 503, body = "down\n", content_type = "text/html" }
[[listeners.routes]]
match = { path = "/t" }
clusters = [{ name = "other", weight = 5 }]
rewrite = { regex = "^/(.*)", replacement = "/{1}" }

[clusters.app]
endpoints = ["10.0.0.1:80"]
pool = { max_idle = 10, max_idle_per_host = 1, max_conns_per_host = "unlimited", idle_timeout = "1s" }
retry = { on = ["connect"], budget = "5%" }

[clusters.other]
endpoints = ["10.0.0.1:81"]
retry = { on = [] }

[clusters.tcp]
endpoints = ["10.0.0.1:82"]
proxy_protocol = "v1"
"#;

#[test]
fn effective_output_has_every_key() {
    let loaded = file::parse("x", EVERYTHING, &NoEnv, &[]).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.warnings, []);
    let out = render(&loaded);
    let again = file::parse("effective", &out, &NoEnv, &[]).unwrap_or_else(|report| panic!("{out}\n{report}"));
    assert_eq!(again.config, loaded.config, "{out}");
    let is_table = |kind| matches!(kind, Kind::Table(_) | Kind::Tables { .. });
    for section in SECTIONS.iter().filter(|section| !section.path.ends_with("endpoints[]")) {
        let headers = ["app", "tcp"].map(|name| format!("\n{}\n", section.header.replace("NAME", name)));
        let tables = headers.iter().flat_map(|header| out.split(header.as_str()).skip(1));
        let below: Vec<&str> = tables.filter_map(|below| below.split("\n[").next()).collect();
        assert!(!below.is_empty(), "no {} in\n{out}", section.header);
        for key in section.keys.iter().filter(|key| !is_table(key.kind)) {
            let start = format!("{} = ", key.name);
            let is_there = below.iter().any(|keys| keys.lines().any(|line| line.starts_with(&start)));
            assert!(is_there, "{} {} in\n{out}", section.header, key.name);
        }
    }
}

#[test]
fn effective_output_escapes_what_means_something_else() {
    let text = with("cluster", r#"endpoints = ["unix:/a\"b\\c$$d # é", "unix:/x$${A}"]"#);
    let loaded = file::parse("a\nb", &text, &NoEnv, &[]).unwrap_or_else(|report| panic!("{report}"));
    let again = file::parse("effective", &render(&loaded), &NoEnv, &[]).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(again.config, loaded.config);
}

#[test]
fn the_key_table_is_whole() {
    for section in SECTIONS {
        for key in section.keys {
            assert!(key.doc.ends_with('.') && !key.doc.contains('\n') && !key.since.is_empty(), "{}", key.name);
            assert!(
                key.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{}",
                key.name
            );
            assert!(!key.more.contains('\n') && (key.more.is_empty() || key.more.ends_with('.')), "{}", key.name);
            if let Default::RequiredWithout(others) = key.default {
                assert!(others.iter().all(|other| section.key(other).is_some()), "{}", key.name);
            }
            if let Kind::Word(words) = key.kind {
                assert!(words.iter().all(|w| words.iter().any(|other| other.name == w.means)), "{}", key.name);
            }
        }
    }
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let folder = std::env::temp_dir().join(format!("balance-config-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).expect("a file");
        path
    };
    let large = write("large.toml", b"");
    fs::File::options().write(true).open(&large).and_then(|f| f.set_len(file::FILE_BYTES_MAX + 1)).expect("a length");
    let cases = [
        (folder.clone(), "is a directory"),
        (folder.join("absent.toml"), "No such file"),
        (write("latin1.toml", b"# ok\n# caf\xe9\n"), "latin1.toml:2:6"),
        (write("nul.toml", b"a\0b"), "NUL bytes"),
        (write("empty.toml", b""), "no listeners"),
        (large, "larger than 16777216 bytes"),
    ];
    for (path, words) in cases {
        let report = file::load(&path, &ProcessEnv, &[]).expect_err(words).to_string();
        assert!(report.contains(words), "{report}");
    }
    let good = write("good.toml", with("cluster", "").as_bytes());
    assert!(file::load(&good, &NoEnv, &[]).is_ok());
    fs::remove_dir_all(&folder).expect("to clean up");
}
