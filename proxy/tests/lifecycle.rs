//! A whole process: start, reload, drain, and what its admin endpoint says meanwhile.

mod common;

use common::{PATIENCE, Proxy, Scratch, code, config, eventually, exists, http, metric, run, stderr, stdout};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    thread,
};

/// A backend that sends back what it gets.
fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || drop(std::io::copy(&mut &stream, &mut &stream)));
        }
    });
    address
}

fn round_trip(stream: &mut TcpStream, text: &[u8]) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text).unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, text);
}

#[test]
fn the_embedded_example_answers_and_ends_with_its_statistics() {
    let free = [
        ("BALANCE__LISTENERS__PAGES__BIND", "127.0.0.1:0"),
        ("BALANCE__LISTENERS__ECHO__BIND", "127.0.0.1:0"),
        ("BALANCE__ADMIN__LISTEN", "127.0.0.1:0"),
        ("BALANCE__DRAIN__MIN", "0s"),
    ];
    let mut proxy = Proxy::start(&[], &free);
    let pages = proxy.listening("pages");
    let (status, body) = http(pages, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(status, 200);
    assert!(body.starts_with("Hello from demo backend "), "{body}");
    let (_, html) = http(pages, "GET / HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nConnection: close\r\n\r\n");
    assert!(html.starts_with("<!doctype html>"), "{html}");
    let mut stream = TcpStream::connect(proxy.listening("echo")).unwrap();
    round_trip(&mut stream, b"hello");
    drop(stream);
    eventually("the end of every connection", || {
        let (_, page) = proxy.get("/metrics");
        let active = |name| metric(&page, &format!("balance_listener_connections_active{{listener=\"{name}\"}}"));
        (active("pages")? + active("echo")? == 0.0).then_some(())
    });
    proxy.signal("TERM");
    assert_eq!(proxy.wait().code(), Some(0));
    proxy.says("  finished 3");
    assert!(proxy.lines().iter().any(|l| l.starts_with("  accepted 3 ")));
}

#[test]
fn every_page_is_there_and_mistakes_are_answered() {
    let scratch = Scratch::new();
    let file = scratch.write("b.toml", &config("127.0.0.1:0", &echo()));
    let mut proxy = Proxy::start(&["-c", &file], &[]);
    for page in ["/", "/healthz", "/readyz", "/status", "/version", "/metrics", "/connections", "/config"] {
        assert_eq!(proxy.get(page).0, 200, "{page}");
    }
    let (status, body) = proxy.get("/nothing");
    assert!(status == 404 && body.contains("/connections"), "{body}");
    assert_eq!(proxy.ask("POST", "/status").0, 405);
    assert_eq!(proxy.get("/reload").0, 405);
    let (status, body) = proxy.get("/connections?listner=web");
    assert!(status == 400 && body.contains("listener"), "{body}");
    let admin = proxy.admin().parse().unwrap();
    let from_a_page = "POST /drain HTTP/1.1\r\nHost: x\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n";
    assert_eq!(http(admin, from_a_page).0, 403);
}

#[test]
fn connections_are_listed_and_filtered() {
    let scratch = Scratch::new();
    let endpoint = echo();
    let file = scratch.write("b.toml", &config("127.0.0.1:0", &endpoint));
    let mut proxy = Proxy::start(&["-c", &file], &[]);
    let mut stream = TcpStream::connect(proxy.listening("web")).unwrap();
    round_trip(&mut stream, b"12345");
    let page = |proxy: &mut Proxy, query: &str| -> serde_json::Value {
        let (status, body) = proxy.get(&format!("/connections{query}"));
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    };
    let all = page(&mut proxy, "");
    let row = &all["connections"][0];
    assert_eq!(row["peer"], stream.local_addr().unwrap().to_string());
    assert_eq!((&row["listener"], &row["endpoint"]), (&"web".into(), &endpoint.into()));
    assert_eq!((&row["bytes_up"], &row["bytes_down"], &row["state"]), (&5.into(), &5.into(), &"open".into()));
    for (query, rows) in
        [("?state=open&limit=1", 1), ("?listener=other", 0), ("?idle_min=1h", 0), ("?peer=127.0.0.1", 1)]
    {
        assert_eq!(page(&mut proxy, query)["connections"].as_array().unwrap().len(), rows, "{query}");
    }
}

#[test]
fn a_reload_is_taken_whole_or_not_at_all() {
    let scratch = Scratch::new();
    let endpoint = echo();
    let file = scratch.write("b.toml", &config("127.0.0.1:0", &endpoint));
    let mut proxy = Proxy::start(&["-c", &file], &[]);
    let (admin, web) = (proxy.admin(), proxy.listening("web"));
    let mut open = TcpStream::connect(web).unwrap();
    round_trip(&mut open, b"before");

    fs::write(&file, "[runtime]\ncoers = \"0\"\n").unwrap();
    let refused = run(&["reload", "--admin", &admin]);
    assert_eq!(code(&refused), 78);
    assert!(stderr(&refused).contains("b.toml:2:1"), "{}", stderr(&refused));
    let (_, page) = proxy.get("/metrics");
    assert_eq!(metric(&page, "balance_config_last_reload_success"), Some(0.0));
    assert_eq!(metric(&page, "balance_config_reloads_total{result=\"refused\"}"), Some(1.0));
    assert_eq!(metric(&page, "balance_config_version"), Some(1.0));
    round_trip(&mut open, b"still there");

    let more = "\n[[listeners]]\nname = \"more\"\nbind = \"127.0.0.1:0\"\ncluster = \"app\"\n";
    fs::write(&file, config("127.0.0.1:0", &endpoint).replace("[0]", "\"auto\"") + more).unwrap();
    let taken = run(&["reload", "--admin", &admin]);
    assert_eq!(code(&taken), 0, "{}", stderr(&taken));
    assert!(stdout(&taken).contains("version 2"), "{}", stdout(&taken));
    assert!(stdout(&taken).contains("needs a restart to take effect: runtime.cores"), "{}", stdout(&taken));
    round_trip(&mut open, b"and now");
    round_trip(&mut TcpStream::connect(web).unwrap(), b"the same port");
    let (_, status) = proxy.get("/status");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let more: SocketAddr = status["listeners"][1]["addresses"][0].as_str().unwrap().parse().unwrap();
    round_trip(&mut TcpStream::connect(more).unwrap(), b"a new port");
    proxy.says(&format!("listening more {more}"));
    let (_, page) = proxy.get("/metrics");
    assert_eq!(metric(&page, "balance_config_last_reload_success"), Some(1.0));
}

#[test]
fn a_reload_that_wants_a_taken_port_is_refused_with_77() {
    let scratch = Scratch::new();
    let file = scratch.write("b.toml", &config("127.0.0.1:0", "127.0.0.1:1"));
    let mut proxy = Proxy::start(&["-c", &file], &[]);
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    fs::write(&file, config(&holder.local_addr().unwrap().to_string(), "127.0.0.1:1")).unwrap();
    let refused = run(&["reload", "--admin", &proxy.admin()]);
    assert_eq!(code(&refused), 77, "{}", stderr(&refused));
    assert!(TcpStream::connect(proxy.listening("web")).is_ok());
}

#[test]
fn hup_reloads() {
    let scratch = Scratch::new();
    let file = scratch.write("b.toml", &config("127.0.0.1:0", "127.0.0.1:1"));
    let mut proxy = Proxy::start(&["-c", &file], &[]);
    proxy.signal("HUP");
    eventually("version 2", || metric(&proxy.get("/metrics").1, "balance_config_version").filter(|v| *v == 2.0));
    fs::write(&file, "nonsense").unwrap();
    proxy.signal("HUP");
    proxy.says("reload refused");
    proxy.signal("USR1");
    proxy.says("signal without a meaning here");
}

#[test]
fn a_drain_lets_connections_finish() {
    let scratch = Scratch::new();
    let file = scratch.write("b.toml", &config("127.0.0.1:0", &echo()));
    let mut proxy = Proxy::start(&["-c", &file], &[]);
    let web = proxy.listening("web");
    let mut open = TcpStream::connect(web).unwrap();
    round_trip(&mut open, b"one");
    proxy.signal("TERM");
    eventually("readiness fails", || (proxy.get("/readyz").0 == 503).then_some(()));
    assert_eq!(proxy.get("/healthz").0, 200);
    proxy.says("not accepting any more");
    eventually("connections are refused", || TcpStream::connect(web).is_err().then_some(()));
    round_trip(&mut open, b"two");
    assert!(proxy.get("/status").1.contains("\"phase\":\"draining\""));
    drop(open);
    assert_eq!(proxy.wait().code(), Some(0));
    proxy.says("  finished 1");
}

#[test]
fn a_connection_that_stays_is_cut_at_the_deadline() {
    let scratch = Scratch::new();
    let file = scratch.write("b.toml", &config("127.0.0.1:0", &echo()));
    let mut proxy = Proxy::start(&["-c", &file], &[]);
    let mut open = TcpStream::connect(proxy.listening("web")).unwrap();
    round_trip(&mut open, b"one");
    let drained = run(&["drain", "--deadline", "200ms", "--admin", &proxy.admin()]);
    assert_eq!(code(&drained), 0, "{}", stderr(&drained));
    assert!(stdout(&drained).contains("it has ended"), "{}", stdout(&drained));
    assert_eq!(proxy.wait().code(), Some(0));
    proxy.says("cut short 1");
}

#[test]
fn a_second_signal_ends_at_once() {
    let scratch = Scratch::new();
    let text = config("127.0.0.1:0", &echo()).replace("deadline = \"10s\"", "deadline = \"1h\"");
    let file = scratch.write("b.toml", &text);
    let mut proxy = Proxy::start(&["-c", &file], &[]);
    let mut open = TcpStream::connect(proxy.listening("web")).unwrap();
    round_trip(&mut open, b"one");
    proxy.signal("TERM");
    proxy.says("not accepting any more");
    proxy.signal("INT");
    assert_eq!(proxy.wait().code(), Some(0));
    proxy.says("cut short 1");
}

#[test]
fn the_admin_socket_is_private_found_by_the_client_and_removed_at_the_end() {
    let scratch = Scratch::new();
    let text = config("127.0.0.1:0", "127.0.0.1:1").replace("listen = \"127.0.0.1:0\"\n", "");
    let file = scratch.write("b.toml", &text);
    let directory = scratch.path("run");
    let variable = [("RUNTIME_DIRECTORY", directory.to_str().unwrap())];
    let mut proxy = Proxy::start(&["-c", &file], &variable);
    let socket = directory.join("admin.sock");
    assert_eq!(proxy.admin(), format!("unix:{}", socket.display()));
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);

    let status = common::command().arg("status").envs(variable).output().unwrap();
    assert_eq!(code(&status), 0, "{}", stderr(&status));
    for word in ["SHARD", "LISTENER", "web", "app", "127.0.0.1:1", "running"] {
        assert!(stdout(&status).contains(word), "{word} in\n{}", stdout(&status));
    }
    let json = common::command().args(["status", "--json"]).envs(variable).output().unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&json.stdout).is_ok());

    // A second process must not take it away from the first.
    let mut second = Proxy::start(&["-c", &file], &variable);
    assert_ne!(second.admin(), proxy.admin());
    drop(second);
    proxy.signal("TERM");
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(!exists(&socket));
}

#[test]
fn a_unix_listener_works_and_is_cleaned_up() {
    use std::os::unix::net::UnixStream;
    let scratch = Scratch::new();
    let path = scratch.path("web.sock");
    let file = scratch.write("b.toml", &config(&format!("unix:{}", path.display()), &echo()));
    let mut proxy = Proxy::start(&["-c", &file], &[]);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"hello");
    drop(stream);
    proxy.signal("TERM");
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(!exists(&path));
}

/// A killed process leaves the files of its sockets behind, and the kernel closes its ring's listening sockets only a
/// moment later.
#[test]
fn the_successor_of_a_killed_process_gets_its_addresses() {
    let scratch = Scratch::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (web, admin) = (scratch.path("web.sock"), scratch.path("admin.sock"));
    let binds = format!("bind = [\"{port}\", \"unix:{}\"]", web.display());
    let text = config("BIND", &echo())
        .replace("bind = \"BIND\"", &binds)
        .replace("listen = \"127.0.0.1:0\"", &format!("listen = \"unix:{}\"", admin.display()));
    let file = scratch.write("b.toml", &text);
    for _ in 0..3 {
        let mut proxy = Proxy::start(&["-c", &file], &[]);
        round_trip(&mut TcpStream::connect(port).unwrap(), b"hello");
        proxy.signal("KILL");
        proxy.wait();
    }
    assert!(exists(&web) && exists(&admin));
    let mut proxy = Proxy::start(&["-c", &file], &[]);
    proxy.signal("TERM");
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(!exists(&web) && !exists(&admin));
}

/// Other socket options are another socket, on a port that our old one still holds.
#[test]
fn changed_socket_options_take_the_port_over_from_ourselves() {
    let scratch = Scratch::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = config(&port.to_string(), &echo());
    let file = scratch.write("b.toml", &text);
    let mut proxy = Proxy::start(&["-c", &file], &[]);
    let mut open = TcpStream::connect(port).unwrap();
    round_trip(&mut open, b"before");
    for backlog in [17, 18, 19] {
        fs::write(&file, text.replace("cluster = \"app\"", &format!("cluster = \"app\"\nbacklog = {backlog}")))
            .unwrap();
        let reloaded = run(&["reload", "--admin", &proxy.admin()]);
        assert_eq!(code(&reloaded), 0, "{}", stderr(&reloaded));
        round_trip(&mut open, b"still there");
        round_trip(&mut TcpStream::connect(port).unwrap(), b"after");
    }
}

/// The same addresses under another name and in front of another cluster: nothing may go to the old one any more.
#[test]
fn a_renamed_listener_serves_its_new_cluster_on_the_old_addresses() {
    use std::os::unix::net::UnixStream;
    let scratch = Scratch::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let path = scratch.path("web.sock");
    let binds = format!("bind = [\"{port}\", \"unix:{}\"]", path.display());
    // Nobody listens at the first cluster's endpoint.
    let first = config("BIND", "127.0.0.1:1").replace("bind = \"BIND\"", &binds);
    let file = scratch.write("b.toml", &first);
    let mut proxy = Proxy::start(&["-c", &file], &[]);
    let renamed =
        first.replace("\"web\"", "\"site\"").replace("app", "other").replace("127.0.0.1:1\"", &(echo() + "\""));
    fs::write(&file, renamed).unwrap();
    let reloaded = run(&["reload", "--admin", &proxy.admin()]);
    assert_eq!(code(&reloaded), 0, "{}", stderr(&reloaded));
    round_trip(&mut TcpStream::connect(port).unwrap(), b"by tcp");
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"hello").unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).unwrap();
    drop(stream);
    proxy.signal("TERM");
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(!exists(&path));
}

#[test]
fn logs_are_json_when_asked() {
    let arguments = ["--listen", "127.0.0.1:0", "--to", "127.0.0.1:1", "--admin", "127.0.0.1:0", "--cores", "0"];
    let mut proxy = Proxy::start(&[&arguments[..], &["--log-format", "json"]].concat(), &[]);
    assert_eq!(proxy.ask("POST", "/reload").0, 200);
    proxy.says("\"message\":\"configuration applied\"");
    for line in proxy.lines().iter().filter(|l| l.contains("\"level\"")) {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
}

#[test]
fn a_slow_peer_does_not_keep_others_from_the_admin_endpoint() {
    let scratch = Scratch::new();
    let file = scratch.write("b.toml", &config("127.0.0.1:0", "127.0.0.1:1"));
    let mut proxy = Proxy::start(&["-c", &file], &[]);
    let admin = proxy.admin();
    let slow: Vec<_> = (0..32)
        .map(|_| {
            let mut stream = TcpStream::connect(&admin).unwrap();
            stream.write_all(b"GET /status HTTP/1.1\r\nHost").unwrap();
            stream
        })
        .collect();
    assert_eq!(proxy.get("/status").0, 200);
    drop(slow);
}
