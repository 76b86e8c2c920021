//! What the tests share: an environment made of literals, and files with one line changed.
#![allow(dead_code, reason = "each test file uses a part")]

use std::{io, path::Path};

use balance_config::{
    diagnostic::Report,
    env::Env,
    file::{self, Loaded, Override},
};

/// Variables and files that exist for one test.
#[derive(Default)]
pub(crate) struct Fixed<'a> {
    pub(crate) vars: &'a [(&'a str, &'a str)],
    pub(crate) files: &'a [(&'a str, &'a str)],
}

impl Env for Fixed<'_> {
    fn var(&self, name: &str) -> Option<String> {
        self.vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    fn vars(&self) -> Vec<(String, String)> {
        self.vars.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let file = self.files.iter().find(|(name, _)| Path::new(name) == path);
        file.map(|(_, text)| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

pub(crate) fn parse(text: &str) -> Result<Loaded, Report> {
    file::parse("balance.toml", text, &Fixed::default(), &[])
}

pub(crate) fn parse_with(text: &str, vars: &[(&str, &str)], flags: &[(&str, &str, &str)]) -> Result<Loaded, Report> {
    let flags: Vec<Override> = flags
        .iter()
        .map(|(path, value, origin)| Override {
            path: (*path).to_owned(),
            value: (*value).to_owned(),
            origin: (*origin).to_owned(),
        })
        .collect();
    file::parse("balance.toml", text, &Fixed { vars, files: &[] }, &flags)
}

/// A file that is right, with room for one more line in a section.
pub(crate) fn with(section: &str, line: &str) -> String {
    let extra = |name: &str| if section == name { line } else { "" };
    let endpoints =
        if section == "cluster" && line.contains("endpoints") { "" } else { "endpoints = [\"10.0.0.1:80\"]" };
    let bind = if section == "listener" && line.starts_with("bind") { "" } else { "bind = \":80\"" };
    let own = match section {
        "listener" | "cluster" => String::new(),
        name => format!("[{name}]\n{line}\n"),
    };
    format!(
        "{own}[[listeners]]\nname = \"web\"\ncluster = \"app\"\n{bind}\n{}\n[clusters.app]\n{endpoints}\n{}\n",
        extra("listener"),
        extra("cluster"),
    )
}
