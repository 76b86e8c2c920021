//! Values that only HTTP has: hosts, paths, patterns, templates, and what named values must be.

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{
    lists::{Form, Placed},
    source::Place,
    value::{Input, Raw, Text, Value, Values},
};
use crate::{
    diagnostic::{Fault, quoted},
    http_names,
    keys::{Key, Kind, Named, Word},
    model::{Matcher, ValueMatch},
    pattern, suggest,
    template::{Scope, Template},
};

/// Of one list. Each name of a route is compiled by itself.
const ITEMS_MAX: usize = 1000;

const HOSTS: Form = Form { expected: "a host such as \"*.example.com\", or a list of hosts", or_one: true };
const PATHS: Form = Form { expected: "a path such as \"/api\", or a list of paths", or_one: true };
const PATTERNS: Form = Form { expected: "a regular expression, or a list of these", or_one: true };
const METHODS: Form = Form { expected: "a method such as \"GET\", or a list of methods", or_one: true };
const UPGRADES: Form = Form { expected: "a list of protocols such as [\"websocket\"]", or_one: false };
const WORDS: Form = Form { expected: "a list of words", or_one: true };

const KINDS: [&str; 4] = ["exact", "prefix", "regex", "present"];

impl Values<'_> {
    /// Kinds that only HTTP has.
    pub(crate) fn http(&mut self, key: &Key, input: &Input<'_>) -> Option<Value> {
        match key.kind {
            Kind::Hosts => {
                let all = self.list(key, input, HOSTS, http_names::parse_host)?;
                self.bounded(key, input, all).map(Value::Hosts)
            }
            Kind::Paths => {
                let all = self.list(key, input, PATHS, http_names::parse_path)?;
                self.bounded(key, input, all).map(Value::Texts)
            }
            Kind::Patterns => {
                // What a variable says may have commas of its own.
                let all = match &input.raw {
                    Raw::Text(text) => vec![self.item(input, text, parse_pattern)?],
                    _ => self.list(key, input, PATTERNS, parse_pattern)?,
                };
                self.bounded(key, input, all).map(Value::Texts)
            }
            Kind::Methods => {
                let all = self.list(key, input, METHODS, http_names::parse_method)?;
                self.bounded(key, input, all).map(Value::Texts)
            }
            Kind::Upgrades => {
                let all = self.list(key, input, UPGRADES, http_names::parse_upgrade)?;
                self.at_most(key, all).map(Value::Texts)
            }
            Kind::Words(words) => self.words(key, words, input),
            Kind::Matchers(named) => self.matchers(key, named, input),
            Kind::Percent { max } => self.percent(key, max, input),
            Kind::Template(scope) => self.template(key, scope, input),
            Kind::Path | Kind::Pattern | Kind::HeaderName | Kind::Line { .. } | Kind::Body { .. } => {
                let text = self.expect_text(key, input)?;
                let parsed = match key.kind {
                    Kind::Path => http_names::parse_path(&text.text),
                    Kind::Pattern => pattern::part(&text.text).map(|_| text.text.to_string()),
                    Kind::HeaderName => http_names::parse_header(&text.text),
                    Kind::Line { bytes_max } => line(&text.text, bytes_max),
                    Kind::Body { bytes_max } => at_most(&text.text, bytes_max),
                    _ => return None,
                };
                self.checked(input, text, parsed).map(Value::Text)
            }
            _ => None,
        }
    }

    fn bounded<T>(&mut self, key: &Key, input: &Input<'_>, all: Placed<T>) -> Option<Placed<T>> {
        let all = self.not_empty(key, input, all, false)?;
        self.at_most(key, all)
    }

    fn at_most<T>(&mut self, key: &Key, all: Placed<T>) -> Option<Placed<T>> {
        if let Some((_, place)) = all.get(ITEMS_MAX) {
            self.findings.error(place.clone(), format!("more than {ITEMS_MAX} in one `{}`", key.name), None);
            return None;
        }
        Some(all)
    }

    fn words(&mut self, key: &Key, words: &'static [Word], input: &Input<'_>) -> Option<Value> {
        let all = self.list(key, input, WORDS, |text| Ok(text.to_owned()))?;
        let mut found: Vec<&'static str> = Vec::new();
        let mut is_whole = true;
        for (text, place) in all {
            match words.iter().find(|word| word.name == text) {
                Some(word) if found.contains(&word.means) => {
                    self.findings.warning(place, format!("{} is there twice", quoted(&text)), None);
                }
                Some(word) => found.push(word.means),
                None => {
                    let near = suggest::nearest(&text, words.iter().map(|word| word.name));
                    let list = words.iter().map(|word| word.name).collect::<Vec<_>>().join(", ");
                    let help =
                        near.map_or_else(|| format!("known are {list}"), |near| format!("did you mean \"{near}\"?"));
                    self.findings.error(place, format!("`{}` has no {}", key.name, quoted(&text)), Some(help));
                    is_whole = false;
                }
            }
        }
        is_whole.then_some(Value::Words(found))
    }

    fn percent(&mut self, key: &Key, max: u64, input: &Input<'_>) -> Option<Value> {
        const EXPECTED: &str = "a share such as \"20%\"";
        let text = match &input.raw {
            Raw::Text(text) => &text.text,
            Raw::Integer(n) => return self.unexpected(key, input, EXPECTED, Some(format!("write \"{n}%\""))),
            _ => return self.unexpected(key, input, EXPECTED, None),
        };
        let number = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<u64>().ok());
        match number {
            Some(number) if number <= max => Some(Value::Integer(number)),
            Some(_) => {
                let message = format!("`{}` must be from 0% to {max}%", key.name);
                self.findings.error(input.place.clone(), message, None);
                None
            }
            None => self.unexpected(key, input, EXPECTED, None),
        }
    }

    fn template(&mut self, key: &Key, scope: Scope, input: &Input<'_>) -> Option<Value> {
        let text = self.expect_text(key, input)?;
        let parsed = Template::parse(&text.text, scope)
            .map_err(|fault| Fault { message: format!("`{}`: {}", key.name, fault.message), ..fault });
        let template = self.checked(input, text, parsed)?;
        let starts_with_slash = text.text.starts_with('/') || text.text.starts_with("{path}");
        if scope == Scope::Path && !starts_with_slash {
            let help = "write \"/…\", or begin with {path}";
            self.findings.error(input.place.clone(), "a path starts with a slash", Some(help.to_owned()));
            return None;
        }
        Some(Value::Template(template))
    }

    fn matchers(&mut self, key: &Key, named: Named, input: &Input<'_>) -> Option<Value> {
        let Raw::Table(table) = &input.raw else {
            let help = Some(format!("write {} = {{ NAME = \"value\" }}", key.name));
            return self.unexpected(key, input, "a table of names and what they must be", help);
        };
        let mut all: Placed<Matcher> = Vec::new();
        let mut is_whole = true;
        for (name, value) in table.iter() {
            let Some((matcher, place)) = self.matcher(key, named, name, value) else {
                is_whole = false;
                continue;
            };
            if all.iter().any(|(earlier, _)| earlier.name == matcher.name) {
                let message = format!("{} is there twice", quoted(&matcher.name));
                let help = "capital letters make no difference".to_owned();
                self.findings.error(place, message, Some(help));
                is_whole = false;
                continue;
            }
            all.push((matcher, place));
        }
        all.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        if all.is_empty() && is_whole {
            let help = format!("name at least one, or leave `{}` out", key.name);
            self.findings.error(input.place.clone(), format!("`{}` is empty", key.name), Some(help));
            return None;
        }
        is_whole.then_some(Value::Matchers(all))
    }

    fn matcher(
        &mut self,
        key: &Key,
        named: Named,
        name: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<(Matcher, Place)> {
        let place = Place::in_file(name.span());
        let parsed = match named {
            Named::Header => http_names::parse_header(name.get_ref()),
            Named::Query => not_empty(name.get_ref(), "a parameter"),
            Named::Cookie if http_names::is_token(name.get_ref()) => Ok(name.get_ref().to_string()),
            Named::Cookie => Err(Fault::new(format!("{} is not the name of a cookie", quoted(name.get_ref())))),
        };
        let parsed = parsed.map_err(|fault| self.findings.fault(&place, None, fault)).ok();
        if let Some(name) = parsed.as_deref().filter(|name| named == Named::Header && is_unseen(name)) {
            let help = match name {
                "host" => "write `host` beside `headers`",
                _ => "it belongs to the connection or frames the message",
            };
            self.findings.error(place, format!("routes do not see `{name}`"), Some(help.to_owned()));
            return None;
        }
        let input = self.input(value)?;
        let value = match &input.raw {
            Raw::Text(text) => self.checked(&input, text, line(&text.text, VALUE_BYTES_MAX)).map(ValueMatch::Exact),
            Raw::Table(table) => self.value_match(key, name.get_ref(), &input, table),
            _ => {
                let message = format!("{} of `{}` is a string or a table", quoted(name.get_ref()), key.name);
                self.findings.error(input.place.clone(), message, Some(FORMS.to_owned()));
                None
            }
        };
        Some((Matcher { name: parsed?, value: value? }, place))
    }

    fn value_match(&mut self, key: &Key, name: &str, input: &Input<'_>, table: &DeTable<'_>) -> Option<ValueMatch> {
        let title = format!("{} of `{}`", quoted(name), key.name);
        for kind in table.keys().filter(|kind| !KINDS.contains(&kind.get_ref().as_ref())) {
            let message = format!("unknown key {} in {title}", quoted(kind.get_ref()));
            self.unknown(kind, message, "", KINDS.iter().copied());
        }
        let mut known = table.iter().filter(|(kind, _)| KINDS.contains(&kind.get_ref().as_ref()));
        let (Some((kind, value)), None) = (known.next(), known.next()) else {
            if table.keys().all(|kind| KINDS.contains(&kind.get_ref().as_ref())) {
                let message = format!("{title} has not one key of exact, prefix, regex and present");
                self.findings.error(input.place.clone(), message, Some(FORMS.to_owned()));
            }
            return None;
        };
        let input = self.input(value)?;
        let kind: &str = kind.get_ref();
        match (&input.raw, kind) {
            (Raw::Bool(present), "present") => Some(ValueMatch::Present(*present)),
            (Raw::Text(text), "exact") => {
                self.checked(&input, text, line(&text.text, VALUE_BYTES_MAX)).map(ValueMatch::Exact)
            }
            (Raw::Text(text), "prefix") => self.checked(&input, text, prefix(text)).map(ValueMatch::Prefix),
            (Raw::Text(text), "regex") => self.checked(&input, text, parse_pattern(&text.text)).map(ValueMatch::Regex),
            (_, kind) => {
                let expected = if kind == "present" { "true or false" } else { "a string" };
                self.findings.error(input.place.clone(), format!("`{kind}` of {title} is {expected}"), None);
                None
            }
        }
    }
}

const VALUE_BYTES_MAX: usize = 4096;
const FORMS: &str = "write \"value\", { prefix = \"…\" }, { regex = \"…\" } or { present = true }";

/// Headers that no route can ask for. An upgrade is known by its header.
fn is_unseen(name: &str) -> bool {
    name != "upgrade" && http_names::is_managed(name)
}

fn parse_pattern(text: &str) -> Result<String, Fault> {
    pattern::whole(text).map(|_| text.to_owned())
}

fn prefix(text: &Text<'_>) -> Result<String, Fault> {
    if text.text.is_empty() {
        return Err(Fault::new("everything begins with nothing").help("write { present = true }"));
    }
    line(&text.text, VALUE_BYTES_MAX)
}

fn not_empty(text: &str, what: &str) -> Result<String, Fault> {
    if text.is_empty() { Err(Fault::new(format!("the name of {what} cannot be empty"))) } else { Ok(text.to_owned()) }
}

/// Text for a header: no control characters.
fn line(text: &str, bytes_max: usize) -> Result<String, Fault> {
    if let Some((at, c)) = text.char_indices().find(|(_, c)| c.is_control()) {
        let message = format!("it cannot contain the control character {}", quoted(&c.to_string()));
        return Err(Fault::new(message).at(at..at + c.len_utf8()));
    }
    at_most(text, bytes_max)
}

fn at_most(text: &str, bytes_max: usize) -> Result<String, Fault> {
    if text.len() > bytes_max {
        return Err(Fault::new(format!("it has {} bytes, and at most {bytes_max} are taken", text.len())));
    }
    Ok(text.to_owned())
}
