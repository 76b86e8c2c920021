//! Values that are lists of short texts.

use toml::{
    Spanned,
    de::{DeArray, DeValue},
};

use super::{
    source::Place,
    value::{Input, Raw, Text, Value, Values},
};
use crate::{
    diagnostic::Fault,
    keys::{Default, Key, Kind},
    names, network,
};

/// Each is compared with each name of its route; clients offer two or three.
const ALPNS_MAX: usize = 32;

pub(crate) type Parse<T> = fn(&str) -> Result<T, Fault>;

/// A list, each item with the place where it stands.
pub(crate) type Placed<T> = Vec<(T, Place)>;

/// How the list may be written, and how messages show it.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    /// For "`allow` is …".
    pub(crate) expected: &'static str,
    /// One text may stand for a list of one.
    pub(crate) or_one: bool,
}

const NETWORKS: Form = Form { expected: "a list of networks such as [\"10.0.0.0/8\"]", or_one: false };
const SERVERS: Form = Form { expected: "a list of resolvers such as [\"10.0.0.2\"]", or_one: false };
const PATTERNS: Form = Form { expected: "a name such as \"*.example.com\", or a list of names", or_one: true };
const PROTOCOLS: Form = Form { expected: "a protocol such as \"h2\", or a list of these", or_one: true };

impl Values<'_> {
    /// Kinds that are lists of texts.
    pub(crate) fn texts(&mut self, key: &Key, input: &Input<'_>) -> Option<Value> {
        match key.kind {
            Kind::Networks { may_be_empty } => {
                let all = self.list(key, input, NETWORKS, network::parse)?;
                self.not_empty(key, input, all, may_be_empty).map(Value::Networks)
            }
            Kind::Servers => self.list(key, input, SERVERS, network::parse_server).map(Value::Servers),
            Kind::SniPatterns => {
                let all = self.list(key, input, PATTERNS, names::parse_sni)?;
                self.not_empty(key, input, all, false).map(Value::Patterns)
            }
            Kind::Alpns => {
                let all = self.list(key, input, PROTOCOLS, names::parse_alpn)?;
                if let Some((_, place)) = all.get(ALPNS_MAX) {
                    let message = format!("more than {ALPNS_MAX} protocols in one route");
                    self.findings.error(place.clone(), message, None);
                    return None;
                }
                self.not_empty(key, input, all, false).map(Value::Texts)
            }
            _ => None,
        }
    }

    pub(crate) fn not_empty<T>(
        &mut self,
        key: &Key,
        input: &Input<'_>,
        all: Placed<T>,
        may_be_empty: bool,
    ) -> Option<Placed<T>> {
        if all.is_empty() && !may_be_empty {
            let help = match key.default {
                Default::Required => "name at least one".to_owned(),
                _ => format!("name at least one, or leave `{}` out", key.name),
            };
            self.findings.error(input.place.clone(), format!("`{}` is empty", key.name), Some(help));
            return None;
        }
        Some(all)
    }

    pub(crate) fn list<T>(&mut self, key: &Key, input: &Input<'_>, form: Form, parse: Parse<T>) -> Option<Placed<T>> {
        match &input.raw {
            // Of a variable, so an empty one is an empty list.
            Raw::Text(text) if text.is_loose && text.text.trim().is_empty() => Some(Vec::new()),
            Raw::Text(text) if text.is_loose => self.split(input, text, parse),
            Raw::Text(text) if form.or_one => Some(vec![self.item(input, text, parse)?]),
            Raw::Text(text) => {
                let help =
                    (text.text.len() < 80 && !text.text.contains('"')).then(|| format!("write [\"{}\"]", text.text));
                self.unexpected(key, input, form.expected, help)
            }
            Raw::Array(array) => self.items(key, array, form, parse),
            _ => self.unexpected(key, input, form.expected, None),
        }
    }

    fn items<T>(&mut self, key: &Key, array: &DeArray<'_>, form: Form, parse: Parse<T>) -> Option<Placed<T>> {
        let mut read = |item: &Spanned<DeValue<'_>>| {
            let item = self.input(item)?;
            match &item.raw {
                Raw::Text(text) => self.item(&item, text, parse),
                other => {
                    let message = format!("an item of `{}` is a string, not {}", key.name, other.kind());
                    self.findings.error(
                        item.place.clone(),
                        message,
                        Some(format!("`{}` is {}", key.name, form.expected)),
                    );
                    None
                }
            }
        };
        // Every item is looked at before the first failure counts.
        array.iter().map(&mut read).collect::<Vec<_>>().into_iter().collect()
    }

    pub(crate) fn item<T>(&mut self, input: &Input<'_>, text: &Text<'_>, parse: Parse<T>) -> Option<(T, Place)> {
        self.checked(input, text, parse(&text.text)).map(|value| (value, input.place.clone()))
    }

    /// A list in one text, with commas in between.
    pub(crate) fn split<T>(&mut self, input: &Input<'_>, text: &Text<'_>, parse: Parse<T>) -> Option<Placed<T>> {
        let mut all = Some(Vec::new());
        let mut start = 0;
        for item in text.text.split(',') {
            let end = start + item.len();
            let trimmed = start + (item.len() - item.trim_start().len())..end - (item.len() - item.trim_end().len());
            let place = text.offset.map_or_else(
                || input.place.clone(),
                |o| input.place.part(trimmed.start + o..trimmed.end.max(trimmed.start + 1) + o),
            );
            start = end + 1;
            let parsed = parse(item.trim()).map_err(|fault| self.findings.fault(&place, text.offset.map(|_| 0), fault));
            match (parsed, &mut all) {
                (Ok(value), Some(all)) => all.push((value, place)),
                (Ok(_), None) => {}
                (Err(()), _) => all = None,
            }
        }
        all
    }

    /// An integer, or "unlimited".
    pub(crate) fn limit(&mut self, key: &Key, input: &Input<'_>) -> Option<Value> {
        let Kind::Limit { min, max } = key.kind else { return None };
        const EXPECTED: &str = "an integer or \"unlimited\"";
        let number = match &input.raw {
            Raw::Integer(n) => super::value::unsigned(n),
            Raw::Text(text) if text.text.trim() == "unlimited" => return Some(Value::Limit(None)),
            Raw::Text(text) => match (text.text.trim().parse::<u64>(), text.is_loose) {
                (Ok(number), true) => Some(number),
                (Ok(_), false) => return self.unexpected(key, input, EXPECTED, Some("remove the quotes".to_owned())),
                (Err(_), _) => {
                    let is_near = matches!(
                        &*text.text.trim().to_ascii_lowercase(),
                        "unlimited" | "none" | "never" | "inf" | "off"
                    );
                    return self.unexpected(key, input, EXPECTED, is_near.then(|| "write \"unlimited\"".to_owned()));
                }
            },
            _ => return self.unexpected(key, input, EXPECTED, None),
        };
        if let Some(number) = number.filter(|n| (min..=max).contains(n)) {
            return Some(Value::Limit(Some(number)));
        }
        // Elsewhere 0 often means that there is no limit.
        let help = (number == Some(0)).then(|| "write \"unlimited\" for no limit".to_owned());
        let message = format!("`{}` must be from {min} to {max}, or \"unlimited\"", key.name);
        self.findings.error(input.place.clone(), message, help);
        None
    }
}
