//! One turn of a duel: a server, a proxy before it, a load on that, and what it came to.

use super::{
    find::Found,
    proxy::{Mode, Setting},
    scenario::Scenario,
    template::Names,
};
use crate::{
    account::{Account, Memory},
    failure::Failure,
    results::{Run, Sample, Unit},
    scratch::Scratch,
};
use balance_engine::{
    child::{Group, Place},
    clock::{Clock, Timestamp},
};
use serde_json::Value;
use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

/// Where everything runs, and for how long.
pub(crate) struct Ground {
    pub(crate) proxy: Place,
    pub(crate) load: Place,
    pub(crate) duration: Duration,
    pub(crate) warm: Duration,
}

/// A proxy that does not listen by then does not work.
const START_MAX: Duration = Duration::from_secs(10);
/// A load that is not over so long after it should be hangs.
const LATE_MAX: Duration = Duration::from_secs(30);
/// How often a process is asked whether it is ready or over.
const POLL: Duration = Duration::from_millis(20);
/// Every so many polls the proxy's memory is looked at.
const LOOK: u32 = 20;

/// Why a turn came to nothing.
pub(crate) type Fault = String;

/// # Errors
/// What did not start, or ended, or said no.
pub(crate) fn take(scenario: &Scenario, found: &Found, mode: &Mode, ground: &Ground) -> Result<Sample, Fault> {
    let clock = Clock::monotonic();
    let scratch = Scratch::new().map_err(|e| format!("no place for its files: {e}"))?;
    let (server, to_port) = start_server(scenario, ground)?;
    let listen_port = free_port()?;
    let core = ground.proxy.cores.first().copied().unwrap_or_default();
    let setting = Setting { directory: &scratch, listen_port, to_port, core };
    let arguments = found.proxy.configure(mode, &setting).map_err(|f: Failure| f.message)?;
    let log = scratch.join("proxy.log");
    let mut command = Command::new(&found.program);
    command.args(arguments).current_dir(&*scratch);
    command.stdin(Stdio::null()).stdout(create(&log)?).stderr(create(&log)?);
    let mut proxy = start(&mut command, &ground.proxy)?;
    wait_until_it_listens(&mut proxy, listen_port, &log, &clock)?;
    let idle = Memory::of(proxy.id());
    let mut sample = load(scenario, &proxy, &server, listen_port, &scratch, ground, &clock)?;
    sample.idle_pss_bytes = idle.pss;
    if let Ok(Some(status)) = proxy.leader().try_wait() {
        return Err(format!("the proxy ended under load with {status}: {}", last_words(&log)));
    }
    Ok(sample)
}

fn ourselves() -> Result<Command, Fault> {
    let program = env::current_exe().map_err(|e| format!("this program's own file is unknown: {e}"))?;
    let mut command = Command::new(program);
    command.arg("bench").stdin(Stdio::null());
    Ok(command)
}

fn cores(place: &Place) -> String {
    place.cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Its address comes on its first line.
fn start_server(scenario: &Scenario, ground: &Ground) -> Result<(Group, u16), Fault> {
    let mut names = Names::default();
    names.set("listen", "127.0.0.1:0");
    let words = names.fill_all(&scenario.server).map_err(|f| f.to_string())?;
    let mut command = ourselves()?;
    command.args(words).args(["--cores", &cores(&ground.load)]).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut server = Group::start(&mut command, &ground.load).map_err(|e| format!("the server does not start: {e}"))?;
    let mut line = String::new();
    if let Some(out) = server.leader().stdout.take() {
        // It prints nothing after this, so nothing is lost by closing the pipe.
        let _ = BufReader::new(out).read_line(&mut line);
    }
    let port = line.trim().rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.map(|port| (server, port)).ok_or_else(|| format!("the server does not say where it listens: {line:?}"))
}

/// Free a moment ago. In a network namespace of our own nobody else can have taken it.
fn free_port() -> Result<u16, Fault> {
    let socket = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    socket.map(|address| address.port()).map_err(|e| format!("there is no free port: {e}"))
}

fn start(command: &mut Command, place: &Place) -> Result<Group, Fault> {
    Group::start(command, place).map_err(|e| format!("{} does not start: {e}", command.get_program().display()))
}

fn create(path: &Path) -> Result<File, Fault> {
    File::options().create(true).append(true).open(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn wait_until_it_listens(proxy: &mut Group, port: u16, log: &Path, clock: &Clock) -> Result<(), Fault> {
    let late = clock.now() + START_MAX;
    loop {
        if let Some(status) = proxy.leader().try_wait().map_err(|e| e.to_string())? {
            return Err(format!("it ended at once with {status}: {}", last_words(log)));
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        if clock.now() > late {
            return Err(format!("it does not listen after {} s: {}", START_MAX.as_secs(), last_words(log)));
        }
        // tidy: sleep because a program of somebody else's has no other way to say that it listens.
        thread::sleep(POLL);
    }
}

/// The last line that is one, for the table.
fn last_words(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing");
    line.chars().take(300).collect()
}

/// What is watched while the load runs.
struct Watched {
    at: Timestamp,
    proxy: Account,
    server: Account,
    load: Account,
}

impl Watched {
    fn now(processes: [u32; 3], clock: &Clock) -> Self {
        let [proxy, server, load] = processes.map(|id| Account::of(&[id]).unwrap_or_default());
        Self { at: clock.now(), proxy, server, load }
    }
}

fn load(
    scenario: &Scenario,
    proxy: &Group,
    server: &Group,
    port: u16,
    directory: &Path,
    ground: &Ground,
    clock: &Clock,
) -> Result<Sample, Fault> {
    let mut names = Names::default();
    names.set("to", format!("127.0.0.1:{port}"));
    let seconds = |time: Duration| format!("{}ms", time.as_millis());
    let mut command = ourselves()?;
    command.args(names.fill_all(&scenario.load).map_err(|f| f.to_string())?);
    command.args(["--json", "--cores", &cores(&ground.load), "--duration", &seconds(ground.duration)]);
    command.args(["--pid", &proxy.id().to_string(), "--progress", "off"]);
    let mut expected = ground.duration;
    // Silent connections have nothing to warm up.
    if scenario.unit != Unit::Connection {
        command.args(["--warm", &seconds(ground.warm)]);
        expected += ground.warm;
    }
    let (out, errors) = (directory.join("load.json"), directory.join("load.log"));
    command.stdout(create(&out)?).stderr(create(&errors)?);
    let mut load = start(&mut command, &ground.load)?;
    let processes = [proxy.id(), server.id(), load.id()];
    let before = Watched::now(processes, clock);
    let late = before.at + expected + LATE_MAX;
    let (status, memory, after) = watch(&mut load, processes, late, clock)?;
    let took = after.at.saturating_duration_since(before.at).max(POLL);
    if !status.success() {
        return Err(format!("the load failed: {}", last_words(&errors)));
    }
    let text = fs::read_to_string(&out).map_err(|e| format!("{}: {e}", out.display()))?;
    let value: Value = serde_json::from_str(&text).map_err(|e| format!("the load wrote no JSON: {e}"))?;
    let run = Run::read(&scenario.name, &value).map_err(|why| format!("the load's JSON is no run: {why}"))?;
    let part = |time: Duration| time.as_secs_f64() / took.as_secs_f64();
    let load_time = after.load.since(&before.load) + after.server.since(&before.server);
    Ok(Sample {
        requests_per_s: run.requests_per_s,
        bytes_per_s: run.bytes_per_s,
        cpu_per_unit: run.target_cpu_per_unit().filter(|_| scenario.unit != Unit::Connection),
        p50_us: run.latency("p50"),
        p99_us: run.latency("p99"),
        p99_9_us: run.latency("p99_9"),
        errors: run.errors,
        connections: run.connections,
        pss_bytes: memory.pss,
        rss_bytes: memory.rss,
        idle_pss_bytes: 0,
        proxy_busy: run.target_cpu_s.unwrap_or_default() / run.wall_s.max(f64::MIN_POSITIVE),
        load_busy: part(load_time) / ground.load.cores.len().max(1) as f64,
        waited: part(after.proxy.waited_since(&before.proxy)),
        run: value,
    })
}

/// Until the load is over. Returns its status, the most memory of the proxy, and everybody's CPU time just before.
fn watch(
    load: &mut Group,
    processes: [u32; 3],
    late: Timestamp,
    clock: &Clock,
) -> Result<(ExitStatus, Memory, Watched), Fault> {
    let [proxy, ..] = processes;
    let mut memory = Memory::of(proxy);
    let mut after = Watched::now(processes, clock);
    for poll in 0_u32.. {
        if let Some(status) = load.leader().try_wait().map_err(|e| e.to_string())? {
            return Ok((status, memory, after));
        }
        if poll.is_multiple_of(LOOK) {
            memory = memory.max(Memory::of(proxy));
            after = Watched::now(processes, clock);
        }
        if clock.now() > late {
            break;
        }
        // tidy: sleep because std waits for a child without a limit only.
        thread::sleep(POLL);
    }
    Err("the load did not end in time".into())
}
