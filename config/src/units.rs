//! Durations (`5s`, `250ms`, `1m30s`) and sizes (`64KiB`), to and from text.

use std::time::Duration;

use crate::diagnostic::{Fault, quoted};

/// From long to short, in milliseconds: the clocks of the proxy know nothing finer.
const DURATIONS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZES: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// # Errors
/// Says what a duration looks like.
pub fn parse_duration(text: &str) -> Result<Duration, Fault> {
    let wrong = || Fault::new(format!("{} is not a duration", quoted(text)));
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong().help("write a number and a unit, as in \"5s\", \"250ms\" or \"1m30s\""));
    }
    let (mut total, mut last_unit_ms) = (0_u64, u64::MAX);
    while !rest.is_empty() {
        let (number, unit, after) = number_and_unit(rest);
        if number.is_empty() || unit.starts_with('.') {
            return Err(wrong().help(example_of(text)));
        }
        let Some(&(_, unit_ms)) = DURATIONS.iter().find(|(name, _)| *name == unit) else {
            return Err(wrong().help(unit_help(number, unit)));
        };
        if unit_ms >= last_unit_ms {
            return Err(wrong().help("write the longer unit first and each unit once, as in \"1m30s\""));
        }
        last_unit_ms = unit_ms;
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(unit_ms))
            .and_then(|ms| ms.checked_add(total))
            .ok_or_else(|| Fault::new(format!("the duration {} is too long to be counted", quoted(text))))?;
        rest = after;
    }
    Ok(Duration::from_millis(total))
}

/// # Errors
/// Says what a size looks like.
pub fn parse_size(text: &str) -> Result<u64, Fault> {
    let (number, unit, after) = number_and_unit(text.trim());
    let wrong = || Fault::new(format!("{} is not a size", quoted(text)));
    if number.is_empty() || unit.starts_with('.') || !after.is_empty() {
        return Err(wrong().help("write whole numbers with a unit, as in \"64KiB\" or \"1MiB\", or plain bytes"));
    }
    let unit = unit.trim();
    let factor = match SIZES.iter().find(|(name, _)| *name == unit) {
        Some(&(_, factor)) => factor,
        None if unit.is_empty() || unit == "B" => 1,
        None => {
            let meant = SIZES.iter().find(|(name, _)| name[..1].eq_ignore_ascii_case(unit.get(..1).unwrap_or("?")));
            return Err(match meant {
                Some((name, _)) => wrong().help(format!("sizes count in 1024: write \"{number}{name}\"")),
                None => wrong().help("the units are KiB, MiB, GiB and TiB"),
            });
        }
    };
    let too_large = || Fault::new(format!("the size {} is too large to be counted", quoted(text)));
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(too_large)
}

/// The text that [`parse_duration`] reads as `duration`, rounded down to milliseconds.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, unit_ms) in DURATIONS {
        if rest >= unit_ms {
            out += &format!("{}{unit}", rest / unit_ms);
            rest %= unit_ms;
        }
    }
    out
}

/// The text that [`parse_size`] reads as `bytes`.
pub fn format_size(bytes: u64) -> String {
    match SIZES.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

/// Splits `10ms5` into `10`, `ms` and `5`.
fn number_and_unit(text: &str) -> (&str, &str, &str) {
    let (number, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let (unit, after) = rest.split_at(rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len()));
    (number, unit, after)
}

fn example_of(text: &str) -> String {
    // "1.5s" is what people write; say the same in whole numbers.
    let seconds = text.trim().strip_suffix('s').and_then(|n| n.parse::<f64>().ok()).filter(|n| *n > 0.0 && *n < 1e6);
    match seconds {
        Some(seconds) => format!("use whole numbers: \"{}\"", format_duration(Duration::from_secs_f64(seconds))),
        None => "write whole numbers and units, as in \"5s\", \"250ms\" or \"1m30s\"".to_owned(),
    }
}

fn unit_help(number: &str, unit: &str) -> String {
    let meant = match unit.trim().to_ascii_lowercase().as_str() {
        "" => return format!("add a unit: \"{number}s\" for seconds, \"{number}ms\" for milliseconds"),
        "sec" | "secs" | "second" | "seconds" | "s" => "s",
        "min" | "mins" | "minute" | "minutes" | "m" => "m",
        "hour" | "hours" | "hr" | "hrs" | "h" => "h",
        "day" | "days" | "d" => "d",
        "msec" | "millis" | "milliseconds" | "ms" => "ms",
        _ => return "the units are d, h, m, s and ms".to_owned(),
    };
    format!("write \"{number}{meant}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_write() {
        for (text, ms) in [
            ("0s", 0),
            ("5s", 5_000),
            ("250ms", 250),
            ("1h", 3_600_000),
            ("1m30s", 90_000),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
            assert_eq!(format_duration(Duration::from_millis(ms)), text);
        }
    }

    #[track_caller]
    fn refused(result: Result<impl std::fmt::Debug, Fault>, words: &str) {
        let fault = result.expect_err(words).to_string();
        assert!(fault.contains(words), "{fault}");
    }

    #[test]
    fn durations_that_are_none() {
        refused(parse_duration(""), "a number and a unit");
        refused(parse_duration("5"), "\"5s\" for seconds");
        refused(parse_duration("1.5s"), "\"1s500ms\"");
        refused(parse_duration("5 sec"), "write \"5s\"");
        refused(parse_duration("5S"), "write \"5s\"");
        refused(parse_duration("5x"), "units are d, h, m, s and ms");
        refused(parse_duration("30s1m"), "longer unit first");
        refused(parse_duration("1s1s"), "each unit once");
        refused(parse_duration("-5s"), "not a duration");
        refused(parse_duration("never"), "not a duration");
        refused(parse_duration("99999999999999999999d"), "too long");
        refused(parse_duration("18446744073709551615d"), "too long");
        refused(parse_duration("٣s"), "not a duration");
    }

    #[test]
    fn sizes_read_and_write() {
        for (text, bytes) in
            [("0", 0), ("1000", 1000), ("4KiB", 4096), ("1MiB", 1 << 20), ("3GiB", 3 << 30), ("2TiB", 2 << 40)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(format_size(bytes), text);
        }
        assert_eq!(parse_size("64 KiB"), Ok(65536));
        assert_eq!(parse_size("12B"), Ok(12));
    }

    #[test]
    fn sizes_that_are_none() {
        refused(parse_size(""), "not a size");
        refused(parse_size("64k"), "write \"64KiB\"");
        refused(parse_size("1MB"), "write \"1MiB\"");
        refused(parse_size("1.5MiB"), "whole numbers");
        refused(parse_size("-1"), "not a size");
        refused(parse_size("10é"), "units are");
        refused(parse_size("18446744073709551615KiB"), "too large");
    }
}
