//! The reference of every key, as Markdown.

use std::fmt::Write as _;

use crate::{
    file::variable,
    keys::{Default, Key, Kind, SECTIONS, Section},
    prose,
};

const COLUMNS: usize = 120;

const HEAD: &str = "\
# Reference of the configuration

<!-- Made by `balance-shard config reference` from the key table of the crate `config`. Change it there. -->

Every key of the file, with its default. `balance-shard check` tests a file, `balance-shard config show` prints it with
all of these filled in, and `balance-shard config schema` is the same as this page for editors: with
[taplo](https://taplo.tamasfe.dev), a first line `#:schema` and the path of
[balance.schema.json](schema/balance.schema.json) makes one complete and check as you type.

## How values are written

- A **duration** is whole numbers with the units `d`, `h`, `m`, `s` and `ms`, the longer unit first: `\"5s\"`,
  `\"1m30s\"`.
- A **size** is a whole number with `KiB`, `MiB`, `GiB` or `TiB`, which count in 1024: `\"64KiB\"`. A number without a
  unit is bytes.
- A **network** is an address and the length of a prefix, `\"10.0.0.0/8\"` or `\"2001:db8::/32\"`; an address alone is
  the network that holds nothing else.
- A **limit** that is off is written `\"unlimited\"`, a time-out that is off `\"never\"`.
- In every string, `${NAME}` is the environment variable, `${NAME:-default}` the same with a default, `${file:/path}`
  what the file holds, and `$$` a dollar sign. A string with a variable may stand for a number, a bool or, with commas,
  a list.

## What beats the file

A variable of the environment beats the file, and a flag beats both. The variable is named after the key, and for
listeners and clusters after their name, in capitals, with `_` for what is neither letter nor digit; each key below says
how. Lists are separated by commas. Lists of tables, and what is in them, have no variables.

## What a reload does

A reload (SIGHUP, `balance-shard reload`) reads the whole file again and takes all of it or, when anything is wrong,
nothing. *Live* keys are in force at once, for connections that come from then on unless the key says otherwise. What is
read *at start* waits for a restart, and the reload says so.
";

/// The reference as text.
pub fn render() -> String {
    let mut out = HEAD.to_owned();
    for section in SECTIONS {
        let _ = write!(out, "\n## {}\n\n{}\n", heading(section), paragraph(section.doc));
        if !section.more.is_empty() {
            let _ = write!(out, "\n{}\n", paragraph(section.more));
        }
        for key in section.keys {
            write_key(&mut out, section, key);
        }
    }
    out
}

fn heading(section: &Section) -> String {
    if section.header.starts_with('[') { format!("`{}`", section.header) } else { "Endpoints".to_owned() }
}

fn write_key(out: &mut String, section: &Section, key: &Key) {
    let _ = write!(out, "\n### `{}`\n\n{}\n", full_name(section, key), paragraph(key.doc));
    if !key.more.is_empty() {
        let _ = write!(out, "\n{}\n", paragraph(key.more));
    }
    let _ = write!(out, "\n{}\n", item(&format!("Takes: {}", prose::kind(key.kind))));
    if let Kind::Word(words) | Kind::Words(words) = key.kind {
        for word in prose::words(words) {
            let text = format!("- `\"{}\"`: {}", word.name, prose::markdown(word.doc));
            let _ = writeln!(out, "  {}", prose::wrap(&text, COLUMNS - 2, "    "));
        }
    }
    let _ = writeln!(out, "{}", item(&format!("Default: {}", default(key))));
    if let Some(protocol) = key.protocol {
        let _ = writeln!(out, "- For: listeners with `protocol = \"{protocol}\"`.");
    }
    let applied = if key.reloadable { "live" } else { "at start" };
    let _ = writeln!(out, "- Read: {applied}. Since {}.", key.since);
    if let Some(name) = variable_of(section, key) {
        let _ = writeln!(out, "- Variable: `{name}`");
    }
}

/// `runtime.cores`, `listeners.bind`, `listeners.routes.match.sni`: unique, and what people look for.
fn full_name(section: &Section, key: &Key) -> String {
    format!("{}.{}", section.path.replace("[]", "").replace(".*", ""), key.name)
}

fn default(key: &Key) -> String {
    match key.default {
        Default::Required => "none; it must be written".to_owned(),
        Default::RequiredWithout(others) => {
            let others = others.iter().map(|other| format!("`{other}`")).collect::<Vec<_>>().join(", ");
            let one_of = if others.contains(',') { "one of " } else { "" };
            format!("none; it must be written unless {one_of}{others} is")
        }
        Default::Absent(meaning) => meaning.to_owned(),
        Default::Parts => "as its keys say".to_owned(),
        Default::Is(text) => match key.kind {
            Kind::Bool | Kind::Integer { .. } => format!("`{text}`"),
            Kind::Limit { .. } if text != "unlimited" => format!("`{text}`"),
            _ => format!("\"{text}\""),
        },
    }
}

/// `None` for what cannot be given from outside.
fn variable_of(section: &Section, key: &Key) -> Option<String> {
    // Items of a list inside of a listener or a cluster have no names.
    let is_in_list = section.is_nested() && section.path.trim_start_matches("listeners[]").contains("[]");
    if is_in_list || matches!(key.kind, Kind::Name | Kind::Table(_) | Kind::Tables { .. }) {
        return None;
    }
    let path = section.path.replace("listeners[]", "listeners.NAME").replace("clusters.*", "clusters.NAME");
    Some(variable(&format!("{path}.{}", key.name)))
}

fn paragraph(text: &str) -> String {
    prose::wrap(&prose::markdown(text), COLUMNS, "")
}

fn item(text: &str) -> String {
    prose::wrap(&format!("- {}.", prose::markdown(text)), COLUMNS, "  ")
}
