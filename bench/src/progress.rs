//! How a run goes on, once a second, on standard error.

use crate::{cli::Progress, report::number, series::Point};
use std::{
    fmt::Write as _,
    io::{self, IsTerminal, Write as _},
};

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Off,
    /// One below the other.
    Lines,
    /// Each over the last one.
    Terminal,
}

/// See the module's documentation.
pub(crate) struct Display {
    style: Style,
    /// A line stands on the terminal.
    shown: bool,
    shards: usize,
}

/// Back to the line's beginning, and all of it erased.
const ERASE: &str = "\r\x1b[K";

impl Display {
    pub(crate) fn new(progress: Progress, shards: usize) -> Self {
        let style = match progress {
            Progress::Off => Style::Off,
            Progress::Plain => Style::Lines,
            Progress::Auto if io::stderr().is_terminal() => Style::Terminal,
            Progress::Auto => Style::Lines,
        };
        Self { style, shown: false, shards }
    }

    pub(crate) fn show(&mut self, point: &Point) {
        let text = line(point, self.shards);
        match self.style {
            Style::Off => {}
            Style::Lines => write(&(text + "\n")),
            Style::Terminal => {
                write(&format!("{ERASE}{text}"));
                self.shown = true;
            }
        }
    }
}

/// Whatever happens, the terminal has its line back.
impl Drop for Display {
    fn drop(&mut self) {
        if self.shown {
            write(ERASE);
        }
    }
}

/// Whoever does not want to read it does not stop the run.
fn write(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

fn line(point: &Point, shards: usize) -> String {
    let seconds = point.span.as_secs_f64().max(1e-9);
    let mut text = format!("{:4.0} s  {:>11}/s", point.end.as_secs_f64(), number(point.requests as f64 / seconds, 0));
    let millis = |nanos: u64| nanos as f64 / 1e6;
    if point.requests > 0 {
        let _ = write!(text, "  p50 {:.3} ms  p99 {:.3} ms", millis(point.p50), millis(point.p99));
    } else {
        let _ = write!(text, "  {:.1} MB/s", point.bytes as f64 / seconds / 1e6);
    }
    let _ = write!(text, "  errors {}", number(point.errors as f64, 0));
    let share = point.cpu.as_secs_f64() / seconds / shards.max(1) as f64;
    let _ = write!(text, "  client CPU {:.0} %", share * 100.0);
    if let Some(cpu) = point.target_cpu {
        let _ = write!(text, "  target CPU {:.0} %", cpu.as_secs_f64() / seconds * 100.0);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_line_says_how_it_goes() {
        let (second, half) = (Duration::from_secs(1), Duration::from_millis(500));
        let point = Point {
            end: second * 3,
            span: second,
            requests: 12_345,
            errors: 7,
            p50: 210_000,
            p99: 1_500_000,
            cpu: second,
            target_cpu: Some(half),
            ..Point::default()
        };
        assert_eq!(
            line(&point, 2),
            "   3 s       12,345/s  p50 0.210 ms  p99 1.500 ms  errors 7  client CPU 50 %  target CPU 50 %"
        );
        let stream = Point { end: second, span: second, bytes: 5_000_000, ..Point::default() };
        assert_eq!(line(&stream, 1), "   1 s            0/s  5.0 MB/s  errors 0  client CPU 0 %");
    }
}
