//! A started `balance-shard`, as a script sees it: its lines, its admin pages, its exit code.
#![allow(dead_code, reason = "each test file uses its own part of it")]
#![allow(clippy::disallowed_methods, reason = "tests give up after a while, by a clock of their own")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Generous: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_balance-shard"));
    for variable in ["BALANCE_CONFIG", "BALANCE_LISTEN", "BALANCE_LOG_LEVEL", "RUNTIME_DIRECTORY"] {
        command.env_remove(variable);
    }
    command
}

/// Runs to the end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    command().args(arguments).output().expect("the binary starts")
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Waits until `ready` gives something.
pub(crate) fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "{what} did not happen");
        // tidy: sleep because another process can only be polled
        thread::sleep(POLL);
    }
}

/// A directory of this test's own, removed at the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("balance-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a scratch directory");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("a scratch file");
        path.to_str().expect("a scratch path is text").to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A proxy that serves; killed when a test fails.
pub(crate) struct Proxy {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Waits for its last line of the banner, so that signals and pages work.
    pub(crate) fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = command();
        command.args(arguments).envs(variables.iter().copied());
        Self::launch(command)
    }

    /// As [`Proxy::start`], for a command that becomes the binary.
    pub(crate) fn launch(command: Command) -> Self {
        let mut proxy = Self::begin(command);
        proxy.line("listening admin ");
        proxy
    }

    /// Any command of the binary that goes on for a while.
    pub(crate) fn begin(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let lines = Arc::default();
        collect(child.stdout.take().expect("piped"), &lines);
        collect(child.stderr.take().expect("piped"), &lines);
        Self { child, lines }
    }

    /// What follows `prefix` on the first line that starts with it.
    pub(crate) fn line(&mut self, prefix: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = matches!(self.child.try_wait(), Ok(Some(_)));
            let found = self.lines().iter().find_map(|l| l.strip_prefix(prefix).map(str::to_owned));
            if let Some(rest) = found {
                return rest;
            }
            assert!(!ended && Instant::now() < deadline, "no line {prefix:?} in:\n{}", self.lines().join("\n"));
            // tidy: sleep because another process can only be polled
            thread::sleep(POLL);
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic holds it").clone()
    }

    /// Waits for a line with `text` in it.
    pub(crate) fn says(&self, text: &str) {
        eventually(text, || self.lines().iter().any(|l| l.contains(text)).then_some(()));
    }

    pub(crate) fn listening(&mut self, name: &str) -> SocketAddr {
        self.line(&format!("listening {name} ")).parse().expect("an address")
    }

    pub(crate) fn admin(&mut self) -> String {
        self.line("listening admin ")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the end of the process", || self.child.try_wait().expect("it is our child"))
    }

    /// The answer's status and body.
    pub(crate) fn ask(&mut self, method: &str, path: &str) -> (u16, String) {
        let admin: SocketAddr = self.admin().parse().expect("the test has the admin endpoint on TCP");
        http(admin, &format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
    }

    pub(crate) fn get(&mut self, path: &str) -> (u16, String) {
        self.ask("GET", path)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            let lines = self.lines();
            let from = lines.len().saturating_sub(100);
            eprintln!("the last of what it printed:\n{}", lines[from..].join("\n"));
        }
    }
}

fn collect(stream: impl Read + Send + 'static, lines: &Arc<Mutex<Vec<String>>>) {
    let lines = Arc::clone(lines);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines.lock().expect("no panic holds it").push(line);
        }
    });
}

/// Sends a request that ends its connection, and reads the answer.
pub(crate) fn http(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("the request goes out");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer is text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    (status, body.to_owned())
}

/// One listener on `bind`, one cluster with `endpoint`, the admin endpoint on a free TCP port, a short drain.
pub(crate) fn config(bind: &str, endpoint: &str) -> String {
    format!(
        "[runtime]\ncores = [0]\n\n[admin]\nlisten = \"127.0.0.1:0\"\n\n[drain]\nmin = \"50ms\"\ndeadline = \"10s\"\n\n\
         [[listeners]]\nname = \"web\"\nbind = \"{bind}\"\ncluster = \"app\"\n\n\
         [clusters.app]\nendpoints = [\"{endpoint}\"]\n"
    )
}

/// The value of the series that starts with `name` on the metrics page.
pub(crate) fn metric(page: &str, name: &str) -> Option<f64> {
    let line = page.lines().find(|l| l.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

pub(crate) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
