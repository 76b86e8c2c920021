//! A started proxy: what it printed, where it listens, and its end.

use super::{POLL, http};
use crate::{process, stages::now};
use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

/// From start to ready. Generous: cargo checks the build first, on a machine that may be busy.
const START_MAX: Duration = Duration::from_secs(60);
/// From TERM to the end. More than the drain of the embedded example may take.
const STOP_MAX: Duration = Duration::from_secs(60);

pub(super) struct Running {
    child: Child,
    lines: Receiver<String>,
    /// Everything printed so far, on either stream.
    transcript: Vec<String>,
}

impl Running {
    pub(super) fn start(root: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Self, String> {
        let set: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value} ")).collect();
        println!("$ {}cargo {}", set.concat(), arguments.join(" "));
        let mut command = process::cargo_command(root, arguments);
        command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("cargo does not start: {e}"))?;
        let (sender, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            collect(stdout, sender.clone());
        }
        if let Some(stderr) = child.stderr.take() {
            collect(stderr, sender);
        }
        Ok(Self { child, lines, transcript: Vec::new() })
    }

    /// Where the listener of that name listens, as soon as the banner says so.
    pub(super) fn address(&mut self, name: &str) -> Result<SocketAddr, String> {
        self.wait_for(&format!("`listening {name} ADDRESS`"), |line| {
            listening(line).filter(|(n, _)| *n == name).map(|(_, address)| address)
        })
    }

    pub(super) fn address_of_any_but(&mut self, name: &str) -> Result<SocketAddr, String> {
        self.wait_for("`listening NAME ADDRESS`", |line| {
            listening(line).filter(|(n, _)| *n != name).map(|(_, address)| address)
        })
    }

    fn wait_for<T>(&mut self, what: &str, found: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        if let Some(value) = self.transcript.iter().find_map(|line| found(line)) {
            return Ok(value);
        }
        let deadline = now() + START_MAX;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(now())) {
                Ok(line) => {
                    let value = found(&line);
                    self.transcript.push(line);
                    if let Some(value) = value {
                        return Ok(value);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Err(format!("no line {what} within {START_MAX:?}")),
                Err(RecvTimeoutError::Disconnected) => return Err(format!("it ended before it printed {what}")),
            }
        }
    }

    pub(super) fn wait_until_ready(&self, admin: SocketAddr) -> Result<(), String> {
        let deadline = now() + START_MAX;
        loop {
            let answer = http::get(admin, "/readyz");
            if answer.as_ref().is_ok_and(|a| a.status == 200) {
                return Ok(());
            }
            if now() > deadline {
                let last = answer.map_or_else(|e| e, |a| format!("status {}: {}", a.status, a.body));
                return Err(format!("not ready within {START_MAX:?}; last: {last}"));
            }
            // tidy: sleep because readiness can only be polled from outside
            thread::sleep(POLL);
        }
    }

    /// Passes a success on; ends the proxy after a failure and shows what it printed.
    pub(super) fn report(&mut self, checked: Result<(), String>) -> Result<(), String> {
        checked.map_err(|problem| self.fail(&problem))
    }

    /// TERM, then exit code 0 before the time is up.
    pub(super) fn finish(&mut self, what: &str) -> Result<(), String> {
        process::signal("TERM", self.child.id()).map_err(|e| self.fail(&e))?;
        let start = now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => break,
                Ok(Some(status)) => return Err(self.fail(&format!("{what}: after TERM it ended with {status}, not 0"))),
                Ok(None) if now() - start > STOP_MAX => {
                    return Err(self.fail(&format!("{what}: still running {STOP_MAX:?} after TERM")));
                }
                // tidy: sleep because std has no wait with a deadline
                Ok(None) => thread::sleep(POLL),
                Err(e) => return Err(self.fail(&format!("{what}: {e}"))),
            }
        }
        println!("{what}: TERM, and exit code 0 after {:.1} s", (now() - start).as_secs_f64());
        Ok(())
    }

    /// Ends what still runs, so that the transcript is whole.
    fn fail(&mut self, problem: &str) -> String {
        self.end();
        self.transcript.extend(self.lines.iter());
        format!("{problem}\nWhat it printed:\n  {}", self.transcript.join("\n  "))
    }

    fn end(&mut self) {
        // It may have ended by itself; either way wait() finds it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends every line on; ends with the stream.
fn collect(stream: impl Read + Send + 'static, lines: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}

/// Name and address of a banner line; a log's time and level may stand before it.
fn listening(line: &str) -> Option<(&str, SocketAddr)> {
    let mut words = line.split_whitespace().skip_while(|w| *w != "listening").skip(1);
    let name = words.next()?;
    Some((name, words.next()?.parse().ok()?))
}

/// The exit code, or the signal that ended it.
pub(super) fn exit_code(status: ExitStatus) -> Result<i32, String> {
    status.code().ok_or_else(|| format!("signal {}", status.signal().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banner_lines_are_read() {
        let address = "127.0.0.1:43211".parse().unwrap();
        assert_eq!(listening("listening pages 127.0.0.1:43211"), Some(("pages", address)));
        assert_eq!(listening("  INFO listening pages 127.0.0.1:43211 shards=2"), Some(("pages", address)));
        assert_eq!(listening("listening admin unix:/run/x"), None);
        assert_eq!(listening("listening"), None);
    }
}
