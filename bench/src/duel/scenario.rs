//! A scenario: what every proxy of a duel has to do. A data file; ours are in the program.

use super::template::Names;
use crate::{failure::Failure, results::Unit};
use serde::Deserialize;
use std::{fmt::Write, fs, path::Path};

/// What is spoken through the proxy, and so which of its configurations is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    Tcp,
    Http,
}

impl Protocol {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// The name of the file.
    #[serde(skip)]
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) protocol: Protocol,
    pub(crate) unit: Unit,
    /// What stands after `balance-shard bench` to start the server; `{{listen}}` is where.
    pub(crate) server: Vec<String>,
    /// And to start the load; `{{to}}` is the proxy.
    pub(crate) load: Vec<String>,
}

macro_rules! ours {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),*]
    };
}

/// In the order in which they are listed.
const OURS: &[(&str, &str)] = ours!(
    "tcp-64b-100",
    "tcp-64b-1000",
    "tcp-1k-100",
    "tcp-1k-1000",
    "tcp-connect",
    "tcp-down-1",
    "tcp-down-16",
    "tcp-up-1",
    "tcp-up-16",
    "tcp-64b-rate",
    "tcp-idle",
    "http-small",
    "http-headers",
    "http-64k",
    "http-1m",
    "http-post",
    "http-close",
    "http-pipelined",
    "http-rate",
);

/// What is run when nothing is named.
pub(crate) const DECISIVE: [&str; 4] = ["tcp-64b-100", "tcp-connect", "tcp-down-16", "http-small"];

impl Scenario {
    /// One of ours, or else a file.
    ///
    /// # Errors
    /// A name that is neither, or a file that is no scenario.
    pub(crate) fn find(name: &str) -> Result<Self, Failure> {
        if let Some((name, text)) = OURS.iter().find(|(ours, _)| *ours == name) {
            return Self::parse(name, name, text);
        }
        if !name.contains(['/', '.']) {
            let mut message = format!("there is no scenario `{name}`, and it is no file; there are:");
            OURS.iter().for_each(|(ours, _)| write!(message, " {ours}").expect("writing to a String cannot fail"));
            return Err(Failure::usage(message));
        }
        let text = fs::read_to_string(name).map_err(|e| Failure::usage(format!("{name}: {e}")))?;
        let stem = Path::new(name).file_stem().map_or_else(|| name.into(), |stem| stem.to_string_lossy());
        Self::parse(&stem, name, &text)
    }

    /// # Errors
    /// None of ours has any; a test sees to it.
    pub(crate) fn ours() -> Result<Vec<Self>, Failure> {
        OURS.iter().map(|(name, text)| Self::parse(name, name, text)).collect()
    }

    fn parse(name: &str, origin: &str, text: &str) -> Result<Self, Failure> {
        let scenario: Self = toml::from_str(text)
            .map_err(|e| Failure::usage(format!("{origin} is no scenario: {}", e.to_string().trim_end())))?;
        let scenario = Self { name: name.to_owned(), ..scenario };
        let wrong = |words: String| Err(Failure::usage(format!("{origin}: {words}")));
        let mut names = Names::default();
        names.set("listen", "");
        names.set("to", "");
        for (key, words, needed) in [("server", &scenario.server, "{{listen}}"), ("load", &scenario.load, "{{to}}")] {
            if let Err(fault) = names.fill_all(words) {
                return wrong(format!("{key}: {fault}"));
            }
            if !words.iter().any(|word| word.contains(needed)) {
                return wrong(format!("{key}: nothing in it says {needed}"));
            }
            if words.iter().any(|word| OUR_FLAGS.contains(&word.as_str())) {
                return wrong(format!("{key}: {} are for the duel to give", OUR_FLAGS.join(", ")));
            }
        }
        Ok(scenario)
    }
}

/// What the duel adds to the command line of a load.
const OUR_FLAGS: [&str; 7] = ["--json", "--duration", "-d", "--warm", "--cores", "--pid", "--progress"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(subcommand)]
        what: cli::Args,
    }

    #[test]
    fn ours_are_all_the_files_there_are() {
        let mut ours: Vec<String> = OURS.iter().map(|(name, _)| format!("{name}.toml")).collect();
        let mut files: Vec<String> = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios"))
            .expect("the directory")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        ours.sort();
        files.sort();
        assert_eq!(ours, files);
        DECISIVE.iter().for_each(|name| drop(Scenario::find(name).expect("one of ours")));
    }

    #[test]
    fn ours_are_command_lines_that_the_load_generator_takes() {
        let mut names = Names::default();
        names.set("listen", "127.0.0.1:0");
        names.set("to", "127.0.0.1:1");
        for scenario in Scenario::ours().expect("valid") {
            assert!(!scenario.about.is_empty(), "{}", scenario.name);
            for words in [&scenario.server, &scenario.load] {
                let words = ["bench".to_owned()].into_iter().chain(names.fill_all(words).expect("names"));
                Program::try_parse_from(words).unwrap_or_else(|e| panic!("{}: {e}", scenario.name));
            }
        }
    }

    #[track_caller]
    fn refused(text: &str, words: &str) {
        let message = Scenario::parse("x", "dir/x.toml", text).expect_err(text).message;
        assert!(message.contains("dir/x.toml") && message.contains(words), "{message}");
    }

    const GOOD: &str = "about = \"a\"\nprotocol = \"tcp\"\nunit = \"request\"\n\
        server = [\"echo\", \"--listen\", \"{{listen}}\"]\nload = [\"tcp\", \"--to\", \"{{to}}\"]\n";

    #[test]
    fn a_file_that_is_no_scenario_says_where_and_why() {
        assert!(Scenario::parse("x", "x", GOOD).is_ok());
        refused("what is this", "TOML parse error at line 1");
        refused("about = 1", "expected a string");
        refused(&GOOD.replace("about", "abuot"), "unknown field `abuot`");
        refused(&GOOD.replace("\"tcp\"\nunit", "\"udp\"\nunit"), "unknown variant `udp`");
        refused(&GOOD.replace("{{to}}", "{{too}}"), "nothing is called {{too}}");
        refused(&GOOD.replace("{{to}}", "127.0.0.1:1"), "nothing in it says {{to}}");
        refused(&GOOD.replace("\"tcp\", ", "\"tcp\", \"--json\", "), "for the duel to give");
        let message = Scenario::find("tcp-65b").expect_err("no such name").message;
        assert!(message.contains("tcp-64b-100"), "{message}");
        let message = Scenario::find("no/such/file.toml").expect_err("no such file").message;
        assert!(message.contains("No such file"), "{message}");
    }
}
