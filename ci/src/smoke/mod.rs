//! The README's commands, run as a user runs them, on ports that are free.
//!
//! The first command is read out of the README, so that the document cannot promise what does not work. The embedded
//! example listens on fixed ports; here the environment moves it to port 0, and its banner says which ports those are:
//!
//! ```text
//! listening pages 127.0.0.1:43211
//! ```

mod http;
mod running;

use crate::{process, tidy::markdown, tree};
use running::{Running, exit_code};
use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::Duration,
};

/// Moves every listener of the embedded example to a port of the kernel's choice.
const FREE_PORTS: [(&str, &str); 3] = [
    ("BALANCE__LISTENERS__PAGES__BIND", "127.0.0.1:0"),
    ("BALANCE__LISTENERS__ECHO__BIND", "127.0.0.1:0"),
    ("BALANCE__ADMIN__LISTEN", "127.0.0.1:0"),
];

/// A broken configuration, as sysexits.h has it.
const EXIT_CONFIGURATION: i32 = 78;
/// Enough that some shard serves two pages, however the kernel spreads them.
const PAGES_FETCHED_MAX: usize = 256;
/// More than any buffer on the way holds at once in one piece.
const ECHO_BYTES: usize = 1 << 20;

pub(crate) fn run(root: &Path) -> Result<(), String> {
    let readme = tree::read(root, "README.md")?;
    let first = first_command(&readme)?;
    let arguments: Vec<&str> = first.split_whitespace().skip(1).collect();
    let build: Vec<&str> = ["build"].into_iter().chain(arguments.iter().skip(1).copied()).collect();
    // Apart, so that the time to compile is not mistaken for the time to start.
    process::cargo(root, &build)?;
    embedded_example(root, &arguments)?;
    one_line_proxy(root, &arguments)?;
    broken_configuration(root, &arguments)
}

/// The first line of the first `sh` block.
fn first_command(readme: &str) -> Result<String, String> {
    let block = markdown::fenced(readme, "sh").into_iter().next().unwrap_or_default();
    let first = block.lines().next().unwrap_or_default().split('#').next().unwrap_or_default().trim();
    if first.starts_with("cargo run") {
        Ok(first.to_owned())
    } else {
        Err(format!("README.md: the first command of a fresh machine must be `cargo run …`; it is `{first}`."))
    }
}

fn embedded_example(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut proxy = Running::start(root, arguments, &FREE_PORTS)?;
    let checked = check_embedded_example(&mut proxy);
    proxy.report(checked)?;
    proxy.finish("the embedded example")
}

fn check_embedded_example(proxy: &mut Running) -> Result<(), String> {
    let admin = proxy.address("admin")?;
    proxy.wait_until_ready(admin)?;
    let pages = proxy.address("pages")?;
    let fetched = fetch_pages(pages)?;
    echo(proxy.address("echo")?)?;
    for path in ["/healthz", "/status", "/version", "/connections", "/config"] {
        http::get_ok(admin, path)?;
    }
    metrics(admin, fetched + 1)
}

/// Fetches until a second backend has answered; returns how many fetches that took.
fn fetch_pages(address: SocketAddr) -> Result<usize, String> {
    let mut seen = BTreeSet::new();
    for fetched in 1..=PAGES_FETCHED_MAX {
        let page = http::get_ok(address, "/")?;
        if page.body.is_empty() {
            return Err(format!("http://{address}/ is an empty page"));
        }
        seen.insert(page.body);
        if seen.len() > 1 {
            println!("pages: {fetched} fetched through {address}, two backends answered");
            return Ok(fetched);
        }
    }
    Err(format!("http://{address}/ gave the same page {PAGES_FETCHED_MAX} times: no second backend answers"))
}

/// Sends while it reads, then closes its half, and wants every byte back before the other half closes.
fn echo(address: SocketAddr) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("echo through {address}: {e}");
    let mut stream = http::connect(address)?;
    let mut writer = stream.try_clone().map_err(failed)?;
    let sent: Vec<u8> = (0..ECHO_BYTES).map(|i| (i * 31 % 251) as u8).collect();
    let expected = sent.clone();
    let sender = thread::spawn(move || writer.write_all(&sent).and_then(|()| writer.shutdown(Shutdown::Write)));
    let mut received = Vec::with_capacity(ECHO_BYTES);
    stream.read_to_end(&mut received).map_err(failed)?;
    sender.join().map_err(|_| "the echo's sender panicked")?.map_err(failed)?;
    if received != expected {
        let same = received.iter().zip(&expected).take_while(|(a, b)| a == b).count();
        let (got, wanted) = (received.len(), expected.len());
        return Err(format!("echo through {address}: {got} of {wanted} bytes came back, {same} of them right"));
    }
    println!("echo: {ECHO_BYTES} bytes through {address} and back, half-close kept");
    Ok(())
}

/// The text format holds line by line, and the connections made so far are counted.
fn metrics(admin: SocketAddr, connections: usize) -> Result<(), String> {
    let page = http::get_ok(admin, "/metrics")?;
    let (mut samples, mut accepted) = (0, 0.0);
    for line in page.body.lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let (name, value) = http::sample(line).ok_or_else(|| format!("/metrics: not a sample: `{line}`"))?;
        samples += 1;
        if name.contains("accepted") {
            accepted += value;
        }
    }
    if accepted < connections as f64 {
        return Err(format!("/metrics: `…accepted…` adds up to {accepted} after {connections} connections"));
    }
    println!("metrics: {samples} samples, {accepted} connections accepted");
    Ok(())
}

/// `balance-shard --listen … --to …`, in front of two echo backends of our own.
fn one_line_proxy(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let to = format!("{},{}", echo_backend()?, echo_backend()?);
    let one_line = ["--", "--listen", "127.0.0.1:0", "--to", &to];
    let arguments: Vec<&str> = arguments.iter().copied().chain(one_line).collect();
    let mut proxy = Running::start(root, &arguments, &[("BALANCE__ADMIN__LISTEN", "127.0.0.1:0")])?;
    let checked = check_one_line_proxy(&mut proxy);
    proxy.report(checked)?;
    proxy.finish("--listen … --to …")
}

fn check_one_line_proxy(proxy: &mut Running) -> Result<(), String> {
    let admin = proxy.address("admin")?;
    proxy.wait_until_ready(admin)?;
    let listener = proxy.address_of_any_but("admin")?;
    echo(listener)?;
    echo(listener)
}

/// An echo server that serves until this program ends.
fn echo_backend() -> Result<SocketAddr, String> {
    let failed = |e: std::io::Error| format!("an echo backend: {e}");
    let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || echo_back(&stream));
        }
    });
    Ok(address)
}

/// A peer that resets ends its own echo; the side that checks the bytes reports it.
fn echo_back(stream: &TcpStream) {
    let (mut from, mut to) = (stream, stream);
    if std::io::copy(&mut from, &mut to).is_ok() {
        drop(stream.shutdown(Shutdown::Write));
    }
}

/// A misspelt key is refused with exit code 78, and the message names the place.
fn broken_configuration(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let scratch = tree::Scratch::new()?;
    let file = scratch.write("broken.toml", "[runtime]\ncoers = \"0\"\n")?;
    let path = file.to_str().ok_or("the scratch directory is not UTF-8")?;
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--", "check", "-c", path]).collect();
    println!("$ cargo {}", arguments.join(" "));
    let output = process::cargo_command(root, &arguments).output().map_err(|e| format!("cargo does not start: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    let code = exit_code(output.status);
    if code != Ok(EXIT_CONFIGURATION) || !said.contains("broken.toml:2:1") || !said.contains("cores") {
        let wanted = "exit code 78, `broken.toml:2:1`, and `cores` suggested";
        return Err(format!("a misspelt key wants {wanted}; it got {code:?} and:\n{said}"));
    }
    println!("check: a misspelt key is refused with its place and a suggestion");
    Ok(())
}

/// Between two polls of something that cannot signal us.
const POLL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_command_is_read_out_of_the_readme() {
        let readme = "# Balance\n```sh\ncargo run --release     # starts it\ncargo ci\n```\n";
        assert_eq!(first_command(readme).unwrap(), "cargo run --release");
        assert!(first_command("# Balance\n```sh\nmake\n```\n").is_err());
        assert!(first_command("# Balance\n").is_err());
    }

    #[test]
    fn the_echo_check_passes_on_an_echo_and_fails_on_a_thief() {
        echo(echo_backend().unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thief = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(&all[1..]).unwrap();
        });
        assert!(echo(address).unwrap_err().contains("bytes came back"));
        thief.join().unwrap();
    }
}
