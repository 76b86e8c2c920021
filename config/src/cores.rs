//! Which cores: `auto`, or a list of numbers and ranges such as `0-3,8,10-11`.

use crate::{
    diagnostic::{Fault, quoted},
    model::Cores,
};

/// The highest core that sched_setaffinity(2) can name with the `cpu_set_t` of the C library.
pub const CORE_MAX: u16 = 1023;

/// Reads what `runtime.cores` and `--cores` take. Whether the machine has these cores is not known here.
///
/// # Errors
/// Names the item that is wrong, by its place in the text.
pub fn parse(text: &str) -> Result<Cores, Fault> {
    if text.trim() == "auto" {
        return Ok(Cores::Auto);
    }
    if text.trim().is_empty() {
        return Err(Fault::new("no cores are given").help(EXAMPLE));
    }
    let mut cores = Vec::new();
    let mut start = 0;
    for item in text.split(',') {
        let end = start + item.len();
        let at = if item.is_empty() { start.saturating_sub(1)..end.max(1) } else { start..end };
        let (first, last) = range(item.trim()).map_err(|fault| fault.at(at))?;
        cores.extend(first..=last);
        start = end + 1;
    }
    Ok(list(cores))
}

/// Sorts and removes repeats.
pub(crate) fn list(mut cores: Vec<u16>) -> Cores {
    cores.sort_unstable();
    cores.dedup();
    Cores::List(cores)
}

/// The text that [`parse`] reads as `cores`.
pub fn format(cores: &Cores) -> String {
    let Cores::List(list) = cores else { return "auto".to_owned() };
    let mut items = Vec::new();
    for run in list.chunk_by(|a, b| a.checked_add(1) == Some(*b)) {
        match run {
            [] => {}
            [one] => items.push(one.to_string()),
            [first, .., last] => items.push(format!("{first}-{last}")),
        }
    }
    items.join(",")
}

const EXAMPLE: &str = "write \"auto\", numbers or ranges, as in \"0-3\" or \"0,2,4-7\"";

fn range(item: &str) -> Result<(u16, u16), Fault> {
    if item.is_empty() {
        return Err(Fault::new("an item of the list of cores is empty").help("remove the comma"));
    }
    let Some((first, last)) = item.split_once('-') else {
        let one = number(item)?;
        return Ok((one, one));
    };
    if first.trim().is_empty() || last.trim().is_empty() {
        return Err(Fault::new(format!(
            "the range {} has no {}",
            quoted(item),
            if first.trim().is_empty() { "start" } else { "end" }
        ))
        .help(EXAMPLE));
    }
    let (first, last) = (number(first.trim())?, number(last.trim())?);
    if first > last {
        return Err(Fault::new(format!("the range {} is reversed", quoted(item))).help(format!("write {last}-{first}")));
    }
    Ok((first, last))
}

fn number(text: &str) -> Result<u16, Fault> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Fault::new(format!("{} is not the number of a core", quoted(text))).help(EXAMPLE));
    }
    match text.parse::<u16>() {
        Ok(core) if core <= CORE_MAX => Ok(core),
        _ => Err(Fault::new(format!("core {} is beyond {CORE_MAX}, the highest that can be pinned", quoted(text)))),
    }
}

#[cfg(test)]
mod tests {
    use super::{format, parse};
    use crate::model::Cores;

    #[track_caller]
    fn check(text: &str, expected: &[u16]) {
        assert_eq!(parse(text), Ok(Cores::List(expected.to_vec())), "{text}");
    }

    #[track_caller]
    fn refused(text: &str, words: &str, part: &str) {
        let fault = parse(text).expect_err(text);
        assert!(fault.message.contains(words), "{text}: {fault}");
        assert_eq!(&text[fault.at.clone().unwrap_or(0..text.len())], part, "{fault}");
    }

    #[test]
    fn lists_and_ranges() {
        assert_eq!(parse("auto"), Ok(Cores::Auto));
        check("0", &[0]);
        check("0-3", &[0, 1, 2, 3]);
        check(" 0 , 2-3 ", &[0, 2, 3]);
        check("5,1,1-2", &[1, 2, 5]);
        check("1023", &[1023]);
        check("7-7", &[7]);
    }

    #[test]
    fn each_mistake_is_named_at_its_place() {
        refused("", "no cores", "");
        refused("  ", "no cores", "  ");
        refused("3-1", "reversed", "3-1");
        refused("0,5-2,7", "reversed", "5-2");
        refused("0,,2", "empty", ",");
        refused("0,", "empty", ",");
        refused(",0", "empty", ",");
        refused("0-", "no end", "0-");
        refused("-3", "no start", "-3");
        refused("1024", "beyond 1023", "1024");
        refused("99999999999999999999", "beyond 1023", "99999999999999999999");
        refused("0-3-5", "not the number", "0-3-5");
        refused("all", "not the number", "all");
        refused("0, +1", "not the number", " +1");
        refused("٣", "not the number", "٣");
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for text in ["auto", "0", "0-3", "0,2,4-7", "1022-1023"] {
            assert_eq!(parse(text).map(|cores| format(&cores)), Ok(text.to_owned()));
        }
    }
}
