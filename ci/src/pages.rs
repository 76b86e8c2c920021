//! Result pages in a real browser: a run, two runs beside each other, and a duel are measured for a moment, written as
//! pages, and rendered by chromium, which says what it made of them. Where there is no chromium, that is said.

use crate::{process, tree};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// What distributions call it.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// A page that stayed blank is smaller as a picture.
const PICTURE_MIN: u64 = 20_000;
const FLAGS: [&str; 6] =
    ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,2000", "--no-first-run"];

pub(crate) fn run(root: &Path) -> Result<(), String> {
    process::cargo(root, &["build", "--locked", "--package", "balance-proxy"])?;
    let scratch = tree::Scratch::new()?;
    let directory = scratch.path();
    let (a, b) = (path(directory, "a.json"), path(directory, "b.json"));
    let server = Server::start(root)?;
    for file in [&a, &b] {
        let load = ["tcp", "--connections", "4", "--duration", "4s", "--warm", "0s", "--progress", "off"];
        bench(root, &[&load[..], &["--to", &server.address, "--json-file", file]].concat())?;
    }
    drop(server);
    let pages = ["run", "runs", "duel"].map(|name| path(directory, &format!("{name}.html")));
    bench(root, &["report", &a, "--html", &pages[0]])?;
    bench(root, &["report", &a, &b, "--html", &pages[1]])?;
    let duel = ["duel", "tcp-64b-100", "--proxies", "balance,balance-copy", "--rounds", "2", "--retries", "0"];
    let short = ["--duration", "300ms", "--warm", "100ms", "--html", &pages[2]];
    bench(root, &[&duel[..], &short].concat())?;

    let Some(browser) = BROWSERS.into_iter().find(|browser| can_start(browser)) else {
        println!("the pages were written, and not opened: none of {} is installed", BROWSERS.join(", "));
        return Ok(());
    };
    for (page, plots) in pages.iter().zip([3, 4, 4]) {
        open(browser, page, directory, plots)?;
    }
    println!("{browser} has rendered {} pages", pages.len());
    Ok(())
}

fn path(directory: &Path, name: &str) -> String {
    directory.join(name).display().to_string()
}

fn bench(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let start = ["run", "--quiet", "--locked", "--package", "balance-proxy", "--", "bench"];
    process::cargo(root, &[&start[..], arguments].concat())
}

fn can_start(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The page as the browser has understood it, and as a picture.
fn open(browser: &str, page: &str, directory: &Path, plots: usize) -> Result<(), String> {
    let url = format!("file://{page}");
    let profile = format!("--user-data-dir={}", directory.join("profile").display());
    let start = |flags: &[&str]| {
        let mut command = Command::new(browser);
        command.args(FLAGS).arg(&profile).args(flags).arg(&url).stdin(Stdio::null()).stderr(Stdio::null());
        command.output().map_err(|e| format!("{browser} does not start: {e}"))
    };
    let dom = String::from_utf8_lossy(&start(&["--dump-dom"])?.stdout).into_owned();
    let found = dom.matches("<svg").count();
    if found < plots || !dom.contains("<footer>") {
        return Err(format!("{browser} found {found} plots in {page}, and there are at least {plots}."));
    }
    // A broken document is mended by moving what cannot be where it is out of it.
    for (parent, child) in [("<svg", "<polyline"), ("<table", "<td")] {
        if dom.contains(child) && !dom.contains(parent) {
            return Err(format!("{browser} lost {parent}> around {child}> in {page}."));
        }
    }
    let picture = PathBuf::from(format!("{page}.png"));
    start(&[&format!("--screenshot={}", picture.display())])?;
    let bytes = fs::metadata(&picture).map_err(|e| format!("{browser} made no picture of {page}: {e}"))?.len();
    if bytes < PICTURE_MIN {
        return Err(format!("the picture of {page} has {bytes} bytes: the page is blank."));
    }
    println!("{page}: {found} plots, a picture of {bytes} bytes");
    Ok(())
}

/// `bench echo`, until this is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(root: &Path) -> Result<Self, String> {
        let start = ["run", "--quiet", "--locked", "--package", "balance-proxy", "--", "bench", "echo"];
        let listen = ["--listen", "127.0.0.1:0"];
        let mut command = process::cargo_command(root, &[&start[..], &listen].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().map_err(|e| format!("cargo does not start: {e}"))?;
        let mut line = String::new();
        let read = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
        match line.trim().strip_prefix("listening ") {
            Some(address) => Ok(Self { address: address.to_owned(), child }),
            None => Err(format!("bench echo does not say where it listens: {line:?} ({read:?})")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // `cargo run` becomes the program (exec), so this is the server itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
