//! As much of JSON as writing a schema takes.

use std::fmt::{self, Write as _};

#[derive(Clone, Debug)]
pub(super) enum Json {
    Bool(bool),
    Integer(u64),
    Text(String),
    List(Vec<Self>),
    /// In this order.
    Object(Vec<(String, Self)>),
}

impl Json {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn texts<'a>(all: impl IntoIterator<Item = &'a str>) -> Self {
        Self::List(all.into_iter().map(Self::text).collect())
    }
}

/// An object of these members.
pub(super) fn object<const N: usize>(members: [(&str, Json); N]) -> Json {
    Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Indented by two spaces; a list or an object that is short and holds no other stays on its line.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out, 0)?;
        f.write_str(&out)
    }
}

const SHORT_BYTES_MAX: usize = 100;

impl Json {
    fn write(&self, out: &mut String, depth: usize) -> fmt::Result {
        if let Some(line) = self.in_one_line().filter(|line| line.len() + 2 * depth <= SHORT_BYTES_MAX) {
            return out.write_str(&line);
        }
        let indent = "  ".repeat(depth + 1);
        let (open, close, items): (_, _, Vec<(Option<&str>, &Self)>) = match self {
            Self::List(list) => ('[', ']', list.iter().map(|item| (None, item)).collect()),
            Self::Object(members) => ('{', '}', members.iter().map(|(name, item)| (Some(&**name), item)).collect()),
            scalar => return write!(out, "{}", scalar.in_one_line().unwrap_or_default()),
        };
        out.push(open);
        for (index, (name, item)) in items.into_iter().enumerate() {
            write!(out, "{}\n{indent}", if index == 0 { "" } else { "," })?;
            if let Some(name) = name {
                write!(out, "{}: ", quote(name))?;
            }
            item.write(out, depth + 1)?;
        }
        write!(out, "\n{}{close}", "  ".repeat(depth))
    }

    /// `None` for what holds something that is itself made of parts.
    fn in_one_line(&self) -> Option<String> {
        let is_scalar = |json: &Self| !matches!(json, Self::List(_) | Self::Object(_));
        Some(match self {
            Self::Bool(bool) => bool.to_string(),
            Self::Integer(integer) => integer.to_string(),
            Self::Text(text) => quote(text),
            Self::List(list) if list.iter().all(is_scalar) => {
                format!("[{}]", list.iter().filter_map(Self::in_one_line).collect::<Vec<_>>().join(", "))
            }
            Self::Object(members) if members.iter().all(|(_, item)| is_scalar(item)) => {
                let all =
                    members.iter().filter_map(|(name, item)| Some(format!("{}: {}", quote(name), item.in_one_line()?)));
                format!("{{ {} }}", all.collect::<Vec<_>>().join(", "))
            }
            _ => return None,
        })
    }
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out += "\\n",
            c if c.is_control() => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_json() {
        let json = object([
            ("a", Json::List(vec![Json::Integer(1), object([("b", Json::Bool(true))])])),
            ("\"\\\n\u{1}é", Json::texts(["x", "y"])),
            ("empty", Json::List(Vec::new())),
        ]);
        let expected = "{\n  \"a\": [\n    1,\n    { \"b\": true }\n  ],\n  \"\\\"\\\\\\n\\u0001é\": [\"x\", \"y\"],\n  \"empty\": []\n}";
        assert_eq!(json.to_string(), expected);
    }
}
