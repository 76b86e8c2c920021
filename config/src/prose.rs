//! The key table in words for people: what a key takes, and running text.

use crate::{
    keys::{Kind, Named, Word},
    template::Scope,
    units,
};

/// The words that may be written.
pub(crate) fn words(words: &'static [Word]) -> impl Iterator<Item = &'static Word> {
    words.iter().filter(|word| word.refused.is_none())
}

/// What a key takes, with its unit and bounds.
pub(crate) fn kind(kind: Kind) -> String {
    let or_list = |one: &str| format!("{one}, or a list of these");
    match kind {
        Kind::Cores => "\"auto\", ranges in a string, or a list of integers".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::Integer { min, max, power_of_two } => format!("integer from {min} to {max}{}", powers(power_of_two)),
        Kind::Limit { min, max } => format!("integer from {min} to {max}, or \"unlimited\""),
        Kind::Duration { min, max, whole_seconds, never } => {
            let (min, max) = (units::format_duration(min), units::format_duration(max));
            let unit = if whole_seconds { "duration in whole seconds" } else { "duration" };
            format!("{unit} from \"{min}\" to \"{max}\"{}", if never { ", or \"never\"" } else { "" })
        }
        Kind::Size { min, max, power_of_two } => {
            let (min, max) = (units::format_size(min), units::format_size(max));
            format!("size from \"{min}\" to \"{max}\"{}", powers(power_of_two))
        }
        Kind::Word(_) => "one of the words below".to_owned(),
        Kind::Name => "name".to_owned(),
        Kind::ClusterName => "name of a cluster".to_owned(),
        Kind::Bind => "address to listen on".to_owned(),
        Kind::Binds => or_list("address to listen on"),
        Kind::EndpointAddress => "address, or name with a port".to_owned(),
        Kind::Endpoints(_) => "list of addresses, names with a port, and tables".to_owned(),
        Kind::Networks { may_be_empty: true } => "list of networks and addresses".to_owned(),
        Kind::Networks { may_be_empty: false } => "list of networks and addresses, not empty".to_owned(),
        Kind::Servers => "list of addresses, each with or without a port".to_owned(),
        Kind::SniPatterns => or_list("name, or \"*.\" and a name"),
        Kind::Alpns => or_list("name of a protocol"),
        Kind::Words(_) => "list of the words below".to_owned(),
        Kind::Percent { max } => format!("share from \"0%\" to \"{max}%\""),
        Kind::Hosts => or_list("host, \"*.\" and a name, or address"),
        Kind::Path => "path".to_owned(),
        Kind::Paths => or_list("path"),
        Kind::Pattern => "regular expression".to_owned(),
        Kind::Patterns => or_list("regular expression"),
        Kind::Methods => or_list("method"),
        Kind::Matchers(Named::Header) => "table of headers".to_owned(),
        Kind::Matchers(Named::Query) => "table of parameters".to_owned(),
        Kind::Matchers(Named::Cookie) => "table of cookies".to_owned(),
        Kind::HeaderName => "name of a header".to_owned(),
        Kind::Upgrades => "list of names of protocols".to_owned(),
        Kind::Line { bytes_max } => format!("text of one line, at most {bytes_max} bytes"),
        Kind::Body { bytes_max } => format!("text of at most {bytes_max} bytes"),
        Kind::Template(scope) => {
            let names: Vec<String> = scope.names().map(|name| format!("`{{{name}}}`")).collect();
            match scope {
                Scope::Captures => "path with groups".to_owned(),
                Scope::Request | Scope::Response => {
                    format!("text of one line with {} and `{{header:NAME}}`", names.join(", "))
                }
                Scope::Path | Scope::Host => format!("text with {}", names.join(", ")),
            }
        }
        Kind::Table(_) => "table".to_owned(),
        Kind::Tables { .. } => "list of tables".to_owned(),
    }
}

fn powers(power_of_two: bool) -> &'static str {
    if power_of_two { ", a power of two" } else { "" }
}

/// Text of the key table as Markdown: what stands in quotes is what would be typed.
pub(crate) fn markdown(text: &str) -> String {
    let mut out = String::new();
    let (mut in_code, mut in_quotes) = (false, false);
    for c in text.chars() {
        match c {
            '`' => in_code = !in_code,
            '"' if !in_code => {
                in_quotes = !in_quotes;
                out += if in_quotes { "`\"" } else { "\"`" };
                continue;
            }
            _ => {}
        }
        out.push(c);
    }
    out
}

/// Breaks a paragraph into lines of at most `columns`, where words allow. Lines after the first start with `indent`.
/// What stands in backticks is not broken.
pub(crate) fn wrap(text: &str, columns: usize, indent: &str) -> String {
    let (mut out, mut used, mut in_code) = (String::new(), 0, false);
    let mut word = String::new();
    for piece in text.split(' ') {
        if !word.is_empty() {
            word.push(' ');
        }
        word += piece;
        in_code ^= piece.matches('`').count() % 2 == 1;
        if in_code {
            continue;
        }
        let length = word.chars().count();
        if used > 0 && used + 1 + length > columns {
            out = out + "\n" + indent;
            used = indent.chars().count();
        } else if used > 0 {
            out.push(' ');
            used += 1;
        }
        out += &word;
        used += length;
        word.clear();
    }
    out + &word
}

#[cfg(test)]
mod tests {
    use super::{markdown, wrap};

    #[test]
    fn quotes_become_code_and_code_stays() {
        assert_eq!(markdown("\"a\" and `b \"c\"`, \"*.d\""), "`\"a\"` and `b \"c\"`, `\"*.d\"`");
    }

    #[test]
    fn lines_break_between_words_and_not_in_code() {
        assert_eq!(wrap("aa bb cc dd", 5, ""), "aa bb\ncc dd");
        assert_eq!(wrap("aa bb cc dd", 6, "  "), "aa bb\n  cc\n  dd");
        assert_eq!(wrap("aa `bb cc` dd", 6, ""), "aa\n`bb cc`\ndd");
        assert_eq!(wrap("aaaaaaaa b", 3, ""), "aaaaaaaa\nb");
    }
}
