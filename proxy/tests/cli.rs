//! The command line without a running proxy: exit codes and messages that scripts rely on.

mod common;

use common::{Scratch, code, command, config, run, stderr, stdout};
use std::net::TcpListener;

#[test]
fn version_and_help_work_without_anything() {
    let version = run(&["version"]);
    assert_eq!(
        (code(&version), stdout(&version)),
        (0, concat!("balance-shard ", env!("CARGO_PKG_VERSION"), "\n").into())
    );
    assert_eq!(stdout(&run(&["-V"])), stdout(&version));
    let json = run(&["version", "--json"]);
    assert!(stdout(&json).contains("\"version\":\""), "{}", stdout(&json));
    let help = run(&["--help"]);
    assert_eq!(code(&help), 0);
    for word in ["--listen", "check", "reload", "drain", "status", "BALANCE_CONFIG"] {
        assert!(stdout(&help).contains(word), "{word}");
    }
    assert!(!stdout(&help).contains("uring-without"));
}

#[test]
fn usage_errors_are_2() {
    for arguments in [
        &["--nonsense"][..],
        &["-c"],
        &["--listen", ":1"],
        &["--to", "127.0.0.1:1"],
        &["-c", "x", "--listen", ":1", "--to", "127.0.0.1:1"],
        &["--io", "kqueue"],
        &["check"],
        &["-t"],
        &["check", "x", "-c", "y"],
        &["check", "x", "--listen", ":1", "--to", "127.0.0.1:1"],
        &["run", "x", "-c", "y"],
        &["run", "x", "y"],
        &["config", "show", "x", "-c", "y"],
        &["status", "--admin", "nowhere"],
        &["drain", "--deadline", "soon"],
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert!(!stderr(&output).is_empty() && stdout(&output).is_empty(), "{arguments:?}");
    }
}

#[test]
fn check_tells_a_good_file_from_a_broken_one() {
    let scratch = Scratch::new();
    let good = scratch.write("good.toml", &config("127.0.0.1:0", "127.0.0.1:1"));
    let broken = scratch.write("broken.toml", "[runtime]\ncoers = \"0\"\n");
    for arguments in [&["check", "-c", &good][..], &["-t", "-c", &good], &["--check", "-c", &good]] {
        let output = run(arguments);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert!(stdout(&output).contains("good.toml: ok (1 listener, 1 cluster)"), "{}", stdout(&output));
    }
    for arguments in [&["check", "-c", &broken][..], &["-t", "-c", &broken], &["run", "-c", &broken]] {
        let output = run(arguments);
        assert_eq!(code(&output), 78);
        let said = stderr(&output);
        assert!(said.contains("broken.toml:2:1") && said.contains("cores"), "{said}");
    }
    let named = command().arg("check").env("BALANCE_CONFIG", &good).output().unwrap();
    assert_eq!(code(&named), 0);
}

#[test]
fn a_file_may_be_named_without_a_flag() {
    let scratch = Scratch::new();
    let good = scratch.write("good.toml", &config("127.0.0.1:0", "127.0.0.1:1"));
    let broken = scratch.write("broken.toml", "[runtime]\ncoers = \"0\"\n");
    // What is typed beats the variable, as with --config.
    let named = command().args(["check", &good]).env("BALANCE_CONFIG", &broken).output().unwrap();
    assert_eq!(code(&named), 0, "{}", stderr(&named));
    let (shown, by_flag) = (run(&["config", "show", &good]), run(&["config", "show", "-c", &good]));
    assert_eq!((code(&shown), stdout(&shown)), (0, stdout(&by_flag)));
    for command in [&["check"][..], &["run"], &["config", "show"]] {
        let output = run(&[command, &[&broken]].concat());
        assert_eq!(code(&output), 78);
        assert!(stderr(&output).contains("broken.toml:2:1"), "{}", stderr(&output));
    }
    let both = run(&["check", &good, "-c", &good]);
    assert!(stderr(&both).contains("cannot be used with '--config <FILE>'"), "{}", stderr(&both));
}

/// Each is tested, whatever came of those before it.
#[test]
fn check_takes_several_files() {
    let scratch = Scratch::new();
    let good = scratch.write("good.toml", &config("127.0.0.1:0", "127.0.0.1:1"));
    let (one, two) = (scratch.write("one.toml", "[runtim]\n"), scratch.write("two.toml", "[admn]\n"));
    let output = run(&["check", &one, &good, &two]);
    assert_eq!(code(&output), 78);
    assert!(stdout(&output).contains("good.toml: ok"), "{}", stdout(&output));
    let said = stderr(&output);
    assert!(said.contains("one.toml:1:2") && said.contains("two.toml:1:2"), "{said}");
    assert_eq!(code(&run(&["check", &good, &good])), 0);
    let output = run(&["check", &one, &good, &two, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let files: Vec<&str> = json["diagnostics"].as_array().unwrap().iter().filter_map(|d| d["file"].as_str()).collect();
    assert!(code(&output) == 78 && json["ok"] == false, "{json}");
    assert!(files.contains(&&*one) && files.contains(&&*two) && !files.contains(&&*good), "{files:?}");
}

#[test]
fn check_speaks_json() {
    let scratch = Scratch::new();
    let broken = scratch.write("broken.toml", "[runtime]\ncoers = \"0\"\n");
    let output = run(&["check", "-c", &broken, "--format", "json"]);
    assert_eq!(code(&output), 78);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!((&json["diagnostics"][0]["line"], &json["diagnostics"][0]["column"]), (&2.into(), &1.into()));
    assert!(stderr(&output).is_empty());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    for arguments in [&["-c", "/nowhere/balance.toml"][..], &["check", "-c", "/nowhere/balance.toml"]] {
        let output = run(arguments);
        assert_eq!(code(&output), 78);
        assert!(stderr(&output).contains("/nowhere/balance.toml"), "{}", stderr(&output));
    }
}

#[test]
fn the_effective_configuration_reads_back() {
    let scratch = Scratch::new();
    let good = scratch.write("good.toml", &config("127.0.0.1:0", "127.0.0.1:1"));
    let shown = run(&["config", "show", "--effective", "-c", &good, "--log-level", "debug"]);
    assert_eq!(code(&shown), 0, "{}", stderr(&shown));
    assert!(stdout(&shown).contains("level = \"debug\""), "{}", stdout(&shown));
    let again = scratch.write("again.toml", &stdout(&shown));
    assert_eq!(code(&run(&["check", "-c", &again])), 0);
    assert!(!stdout(&shown).contains("# default"), "{}", stdout(&shown));
    let origins = run(&["config", "show", "--provenance", "-c", &good, "--log-level", "debug"]);
    assert!(stdout(&origins).contains("# flag --log-level"), "{}", stdout(&origins));
    let dumped = run(&["-T", "-c", &good]);
    let again = scratch.write("dumped.toml", &stdout(&dumped));
    assert_eq!(code(&run(&["check", "-c", &again])), 0);
    assert!(stdout(&dumped).contains("connect_timeout"), "{}", stdout(&dumped));
}

#[test]
fn a_port_in_use_is_77_and_the_holder_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let arguments = ["--listen", &address, "--to", "127.0.0.1:1", "--admin", "127.0.0.1:0", "--cores", "0"];
    let output = run(&arguments);
    assert_eq!(code(&output), 77);
    let said = stderr(&output);
    let port = address.rsplit(':').next().unwrap();
    assert!(said.contains("listener \"main\"") && said.contains(&address), "{said}");
    assert!(said.contains(&format!("port {port} is held by")), "{said}");
    assert!(said.contains(&std::process::id().to_string()), "{said}");
}

#[test]
fn an_admin_port_in_use_is_77() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let output = run(&["--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--admin", &address, "--cores", "0"]);
    assert_eq!(code(&output), 77);
    assert!(stderr(&output).contains("the admin endpoint cannot listen on"), "{}", stderr(&output));
}

#[test]
fn a_core_that_does_not_exist_is_78() {
    let output = run(&["--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--admin", "127.0.0.1:0", "--cores", "4000"]);
    assert_eq!(code(&output), 78, "{}", stderr(&output));
    assert!(stderr(&output).contains("4000"), "{}", stderr(&output));
}

#[test]
fn an_admin_endpoint_that_nobody_serves_is_69() {
    for arguments in [&["status"][..], &["reload"], &["drain"], &["status", "--json"]] {
        let all = [arguments, &["--admin", "unix:/nowhere/admin.sock"]].concat();
        let output = run(&all);
        assert_eq!(code(&output), 69, "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("unix:/nowhere/admin.sock"), "{}", stderr(&output));
    }
}
