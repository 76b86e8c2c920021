//! Wrong input: a clear message, the right exit code, and never a panic; at the start, in `check`, and in a reload.

use crate::{
    common::{Scratch, code, run, stderr},
    harness::{PREAMBLE, Rig, mode, peers::Backend, peers::round_trip, plain},
};
use std::net::TcpListener;

const GOOD: &str = "[[listeners]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\ncluster = \"app\"\n\
                    [clusters.app]\nendpoints = [\"127.0.0.1:1\"]\n";

/// Both commands refuse `file` with 78 and say each of `words`.
fn refused(file: &str, words: &[&str]) {
    for command in ["check", "run"] {
        let output = run(&[command, "-c", file]);
        let message = stderr(&output);
        let shown: String = message.chars().take(2000).collect();
        assert_eq!(code(&output), 78, "{command}: {shown}");
        assert!(!message.contains("panicked"), "{command}: {shown}");
        assert!(message.len() < 64 << 10, "{command}: {} bytes of message", message.len());
        for word in words {
            assert!(message.contains(word), "{command} does not say {word:?}: {shown}");
        }
    }
}

fn refused_text(text: &str, words: &[&str]) {
    let scratch = Scratch::new();
    refused(&scratch.write("balance.toml", text), words);
}

#[test]
fn an_unknown_key_is_named_with_its_place_and_a_suggestion() {
    refused_text(
        &format!("{GOOD}polcy = \"random-two\"\n"),
        &["balance.toml:7:1", "polcy = \"random-two\"", "`policy`"],
    );
}

#[test]
fn a_duplicate_name_is_named() {
    let twice = "[[listeners]]\nname = \"web\"\nbind = \"127.0.0.1:0\"\ncluster = \"app\"\n";
    refused_text(&format!("{twice}{GOOD}"), &["web", "balance.toml:6"]);
    refused_text(&format!("{GOOD}[clusters.app]\nendpoints = []\n"), &["app", "balance.toml:7"]);
}

#[test]
fn a_cluster_that_does_not_exist_is_named_with_a_suggestion() {
    let text = GOOD.replace("cluster = \"app\"", "cluster = \"ap\"");
    refused_text(&text, &["`ap`", "balance.toml:4", "app"]);
}

#[test]
fn all_errors_are_said_at_once() {
    let text = "[runtime]\ncoers = 1\n[drain]\nmin = \"soon\"\n[[listeners]]\nname = \"web\"\nbind = \"nowhere\"\n\
                cluster = \"none\"\n[clusters.app]\npolicy = \"best\"\nendpoints = [\"localhost:80\", \"127.0.0.1:99999\"]\n";
    refused_text(text, &["coers", "soon", "nowhere", "none", "best", "localhost", "99999"]);
}

#[test]
fn a_core_that_does_not_exist_lists_those_that_do() {
    let text = format!("[runtime]\ncores = \"4000\"\n{GOOD}");
    let scratch = Scratch::new();
    let output = run(&["-c", &scratch.write("balance.toml", &text)]);
    assert_eq!(code(&output), 78, "{}", stderr(&output));
    assert!(stderr(&output).contains("4000") && stderr(&output).contains('0'), "{}", stderr(&output));
}

#[test]
fn a_file_that_is_none_is_named() {
    let scratch = Scratch::new();
    let missing = scratch.path("missing.toml").to_str().unwrap().to_owned();
    refused(&missing, &["missing.toml"]);
    let directory = scratch.path("directory.toml");
    std::fs::create_dir(&directory).unwrap();
    refused(directory.to_str().unwrap(), &["directory"]);
    // A file without a reader's permission can still be read by root; a socket can be read by nobody.
    let socket = scratch.path("socket.toml");
    let _held = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    refused(socket.to_str().unwrap(), &["socket.toml"]);
    let dangling = scratch.path("dangling.toml");
    std::os::unix::fs::symlink(scratch.path("nothing"), &dangling).unwrap();
    refused(dangling.to_str().unwrap(), &["dangling.toml"]);
}

#[test]
fn garbage_is_refused_in_few_words() {
    let scratch = Scratch::new();
    let mut seed = crate::harness::pattern::Seed(42);
    let bytes: Vec<u8> = (0..10 << 17).flat_map(|_| seed.next().to_le_bytes()).collect();
    let path = scratch.path("garbage.toml");
    std::fs::write(&path, &bytes).unwrap();
    refused(path.to_str().unwrap(), &["garbage.toml"]);
    // The same in text: 10 MiB without a line break, and 10 MiB of lines that are each an error.
    refused(&scratch.write("long.toml", &"x".repeat(10 << 20)), &["long.toml"]);
    refused(&scratch.write("lines.toml", &"wrong = 1\n".repeat(1 << 20)), &["lines.toml"]);
    let nested = format!("a = {}", "[".repeat(1 << 20));
    refused(&scratch.write("nested.toml", &nested), &["nested.toml"]);
    refused(&scratch.write("zeros.toml", &"\0".repeat(1 << 20)), &["zeros.toml"]);
}

#[test]
fn an_empty_file_is_refused_with_what_it_needs() {
    refused_text("", &["balance.toml", "listener"]);
    refused_text("\n# nothing\n", &["balance.toml", "listener"]);
}

#[test]
fn an_admin_port_in_use_is_77() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let scratch = Scratch::new();
    let path = scratch.write("balance.toml", GOOD);
    let output = run(&["-c", &path, "--admin", &taken.local_addr().unwrap().to_string()]);
    assert_eq!(code(&output), 77);
    assert!(stderr(&output).contains(&taken.local_addr().unwrap().to_string()), "{}", stderr(&output));
}

/// Every wrong file in turn, as a reload of a proxy that serves: it serves on.
#[test]
fn a_running_proxy_survives_every_wrong_file() {
    let backend = Backend::echo();
    let mut rig = Rig::start(mode::uring(), &plain(backend.address));
    let client = rig.connect();
    let admin = rig.proxy.admin();
    let path = rig.scratch.path("balance.toml");
    let mut wrong: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        vec![0xff; 1 << 20],
        b"x".repeat(10 << 20),
        "a = [".repeat(100_000).into_bytes(),
        format!("{PREAMBLE}{}", plain(backend.address).replace("app", "")).into_bytes(),
    ];
    let good = format!("{PREAMBLE}{}", plain(backend.address));
    // Truncated anywhere: never a crash; refused, or right by chance.
    wrong.extend((0..good.len()).step_by(7).map(|end| good.as_bytes()[..end].to_vec()));
    for text in wrong {
        std::fs::write(&path, &text).unwrap();
        let output = run(&["reload", "--admin", &admin]);
        assert!([0, 78].contains(&code(&output)), "{}", stderr(&output));
        round_trip(&client, b"still here").unwrap();
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(code(&run(&["reload", "--admin", &admin])), 78);
    std::fs::create_dir(&path).unwrap();
    assert_eq!(code(&run(&["reload", "--admin", &admin])), 78);
    std::fs::remove_dir(&path).unwrap();
    rig.reload(&plain(backend.address));
    round_trip(&client, b"still here").unwrap();
    drop(client);
    rig.settled();
}
