//! A proxy under test, the ways to run it, and what its counters must come back to.
#![allow(clippy::disallowed_methods, reason = "tests give up after a while, by a clock of their own")]
#![allow(dead_code, reason = "a harness has what scenarios may need")]

pub(crate) mod hello;
pub(crate) mod pattern;
pub(crate) mod peers;
pub(crate) mod web;

pub(crate) use crate::common::{PATIENCE, eventually};

use crate::common::{self, Proxy, Scratch};
use serde_json::Value;
use std::{
    fmt::Write as _,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// How the shards of one run talk to the kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    pub(crate) io: &'static str,
    /// For `--uring-without`.
    pub(crate) without: &'static str,
    pub(crate) shards_per_core: u16,
}

/// Each is the name of a test in the module that [`scenario`] makes.
pub(crate) mod mode {
    use super::Mode;

    const FULL: Mode = Mode { io: "uring", without: "", shards_per_core: 1 };

    pub(crate) const fn uring() -> Mode {
        FULL
    }

    pub(crate) const fn epoll() -> Mode {
        Mode { io: "epoll", ..FULL }
    }

    /// What the oldest supported kernel has.
    pub(crate) const fn uring_floor() -> Mode {
        Mode { without: "direct,install,setsockopt,bundle,nosqarray,minwait,noiowait,registeredvector", ..FULL }
    }

    /// Ordinary descriptors, and all else.
    pub(crate) const fn uring_real() -> Mode {
        Mode { without: "direct", ..FULL }
    }

    /// Zero-copy sends by addresses only.
    pub(crate) const fn uring_unregistered() -> Mode {
        Mode { without: "registered", ..FULL }
    }

    /// Two shards on each core.
    pub(crate) const fn uring_crowd() -> Mode {
        Mode { shards_per_core: 2, ..FULL }
    }

    pub(crate) const fn epoll_crowd() -> Mode {
        Mode { io: "epoll", shards_per_core: 2, ..FULL }
    }
}

/// Makes a test of the scenario function `name` for each mode.
macro_rules! scenario {
    ($name:ident: $($mode:ident),+) => {
        mod $name {
            $(#[test]
            fn $mode() {
                super::$name($crate::harness::mode::$mode());
            })+
        }
    };
}

/// What runs on the shards when nobody is connected. Scenarios come back to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counters {
    connections: usize,
    ops: u64,
    tasks: u64,
    queued: u64,
    timers: u64,
    descriptors: u64,
    starved: u64,
    /// Beyond those lent to the receive rings.
    buffers: i64,
}

pub(crate) struct Rig {
    pub(crate) proxy: Proxy,
    pub(crate) scratch: Scratch,
    idle: Counters,
}

/// A proxy on free ports, with a short drain.
pub(crate) const PREAMBLE: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n[drain]\nmin = \"0s\"\ndeadline = \"20s\"\n";

pub(crate) fn listener(name: &str, cluster: &str, more: &str) -> String {
    format!("[[listeners]]\nname = \"{name}\"\nbind = \"127.0.0.1:0\"\ncluster = \"{cluster}\"\n{more}\n")
}

pub(crate) fn cluster(name: &str, endpoints: &[SocketAddr], more: &str) -> String {
    let mut text = format!("[clusters.{name}]\nendpoints = [");
    for endpoint in endpoints {
        write!(text, "\"{endpoint}\", ").expect("a string takes all");
    }
    text + "]\n" + more + "\n"
}

/// A listener `web` in front of one endpoint, with default settings.
pub(crate) fn plain(endpoint: SocketAddr) -> String {
    listener("web", "app", "") + &cluster("app", &[endpoint], "")
}

impl Mode {
    /// The command of a proxy whose configuration is in `path`.
    pub(crate) fn command(self, path: &str) -> Command {
        let mut command = common::command();
        command.args(self.arguments(path));
        command
    }

    pub(crate) fn arguments(self, path: &str) -> Vec<String> {
        let mut arguments = vec!["--config".to_owned(), path.to_owned(), "--io".to_owned(), self.io.to_owned()];
        if !self.without.is_empty() {
            arguments.extend(["--uring-without".to_owned(), self.without.to_owned()]);
        }
        arguments.extend(["--shards-per-core".to_owned(), self.shards_per_core.to_string()]);
        arguments
    }
}

impl Rig {
    /// A proxy with [`PREAMBLE`] and `config`.
    pub(crate) fn start(mode: Mode, config: &str) -> Self {
        Self::start_by(config, |path| mode.command(path))
    }

    /// As [`Rig::start`], under `ulimit -n`.
    pub(crate) fn start_with_descriptors(mode: Mode, limit: u32, config: &str) -> Self {
        Self::start_by(config, |path| {
            let mut command = Command::new("sh");
            let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
            command.args(["-c", &script, env!("CARGO_BIN_EXE_balance-shard")]).args(mode.arguments(path));
            command
        })
    }

    pub(crate) fn start_by(config: &str, command: impl FnOnce(&str) -> Command) -> Self {
        let scratch = Scratch::new();
        let path = scratch.write("balance.toml", &format!("{PREAMBLE}{config}"));
        let mut proxy = Proxy::launch(command(&path));
        let idle = counters(&mut proxy);
        Self { proxy, scratch, idle }
    }

    pub(crate) fn config_path(&self) -> String {
        self.scratch.path("balance.toml").to_str().expect("a scratch path is text").to_owned()
    }

    pub(crate) fn write_config(&self, config: &str) {
        self.scratch.write("balance.toml", &format!("{PREAMBLE}{config}"));
    }

    /// Writes another configuration and waits until HUP has brought it into force.
    pub(crate) fn reload(&mut self, config: &str) {
        let before = self.status()["config"]["version"].as_u64();
        self.write_config(config);
        self.proxy.signal("HUP");
        eventually("the reload", || (self.status()["config"]["version"].as_u64() > before).then_some(()));
    }

    pub(crate) fn status(&mut self) -> Value {
        self.json("/status")
    }

    pub(crate) fn json(&mut self, path: &str) -> Value {
        let (status, body) = self.proxy.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// All series of one name, added up.
    pub(crate) fn metric(&mut self, name: &str) -> f64 {
        total(&self.proxy.get("/metrics").1, name)
    }

    /// How many connections have ended so.
    pub(crate) fn ended(&mut self, reason: &str) -> u64 {
        self.metric(&format!("balance_connections_ended_total{{reason=\"{reason}\"}}")) as u64
    }

    /// Waits until a connection has ended so.
    pub(crate) fn ends(&mut self, reason: &str) {
        let mut seen = Value::Null;
        let deadline = Instant::now() + PATIENCE;
        while self.ended(reason) == 0 {
            seen = self.status()["endings"].take();
            assert!(Instant::now() < deadline, "no connection ended as {reason}: {seen}");
            pause();
        }
        drop(seen);
    }

    /// Where a listener listens, also one that a reload has brought.
    pub(crate) fn address(&mut self, name: &str) -> SocketAddr {
        let status = self.status();
        let rows = status["listeners"].as_array().expect("a list").clone();
        let row = rows.iter().find(|r| r["name"] == name).unwrap_or_else(|| panic!("no listener {name}: {status}"));
        row["addresses"][0].as_str().expect("an address").parse().expect("an IP address")
    }

    pub(crate) fn connect(&mut self) -> TcpStream {
        let address = self.proxy.listening("web");
        dial(address).expect("the proxy accepts")
    }

    /// Both ends of a new connection through the proxy.
    pub(crate) fn pair(&mut self, backend: &TcpListener) -> (TcpStream, TcpStream) {
        let client = self.connect();
        (client, accept(backend))
    }

    /// A field of every endpoint, in the order of the configuration.
    pub(crate) fn endpoints(&mut self, field: &str) -> Vec<u64> {
        let status = self.status();
        let rows = status["endpoints"].as_array().expect("a list");
        rows.iter().map(|r| r[field].as_u64().expect("a number")).collect()
    }

    pub(crate) fn active(&mut self) -> u64 {
        self.metric("balance_listener_connections_active") as u64
    }

    /// Waits until every counter is where it was before the first connection.
    pub(crate) fn settled(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = counters(&mut self.proxy);
            if now == self.idle {
                break;
            }
            assert!(Instant::now() < deadline, "not settled: idle {:?}\nnow {now:?}", self.idle);
            pause();
        }
        assert_eq!(self.metric("balance_tasks_panicked_total"), 0.0);
        assert_eq!(self.ended("panicked"), 0);
    }

    pub(crate) fn resident_bytes(&mut self) -> u64 {
        self.metric("balance_process_resident_bytes") as u64
    }

    /// Waits until no byte has moved for a while.
    pub(crate) fn settle_bytes(&mut self) {
        let mut last = -1.0;
        let mut same = 0;
        eventually("quiet", || {
            let now = self.metric("balance_listener_forwarded_bytes_total");
            same = if now == last { same + 1 } else { 0 };
            last = now;
            (same >= 20).then_some(())
        });
    }

    /// Threads of the process, those of the kernel that work for it included.
    pub(crate) fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.proxy.pid())).expect("it runs").count()
    }

    /// CPU time that the process has used so far, kernel time included.
    pub(crate) fn cpu_time(&self) -> Duration {
        let path = format!("/proc/{}/stat", self.proxy.pid());
        let stat = std::fs::read_to_string(path).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
        // utime and stime are fields 14 and 15, the name being 2; a tick is 10 ms on every Linux of today.
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    }
}

pub(crate) fn pause() {
    // tidy: sleep because another process can only be polled
    thread::sleep(Duration::from_millis(10));
}

fn counters(proxy: &mut Proxy) -> Counters {
    let rows: Value = serde_json::from_str(&proxy.get("/connections").1).expect("JSON");
    let page = proxy.get("/metrics").1;
    let count = |name: &str| total(&page, name) as u64;
    Counters {
        connections: rows["connections"].as_array().expect("a list").len(),
        ops: count("balance_ops_in_flight"),
        tasks: count("balance_tasks_live"),
        queued: count("balance_tasks_queued"),
        timers: count("balance_timers"),
        descriptors: count("balance_shard_descriptors"),
        starved: count("balance_loop_starved_connections"),
        buffers: total(&page, "balance_buffers_in_use") as i64 - total(&page, "balance_buffers_ring") as i64,
    }
}

/// Adds up the series of a metrics page: those of a name, or one with its labels.
pub(crate) fn total(page: &str, name: &str) -> f64 {
    let mut found = false;
    let mut sum = 0.0;
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix(name)
            && (rest.starts_with('{') || rest.starts_with(' '))
        {
            found = true;
            sum += line.rsplit(' ').next().and_then(|v| v.parse::<f64>().ok()).expect("a number");
        }
    }
    assert!(found, "no metric {name}");
    sum
}

/// A client's connection that never waits for ever.
pub(crate) fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    patient(&stream);
    Ok(stream)
}

pub(crate) fn patient(stream: &TcpStream) {
    stream.set_nonblocking(false).expect("a mode");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("an option");
}

pub(crate) fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("a mode");
    let stream = eventually("a connection to the backend", || listener.accept().ok()).0;
    patient(&stream);
    stream
}
