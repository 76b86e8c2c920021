//! One value of the file or of an override, read by the type its key has.

use std::{borrow::Cow, net::SocketAddr};

use toml::{
    Spanned,
    de::{DeArray, DeInteger, DeTable, DeValue},
};

use super::{findings::Findings, interpolate, lists::Placed, section::Read, source::Place};
use crate::{
    cores,
    diagnostic::{Fault, quoted},
    env::Env,
    keys::{Key, Kind, Word},
    model::{Address, Cores, Endpoint, EndpointAddress, HostPattern, Matcher, Network, SniPattern},
    suggest,
    template::Template,
    units,
};

/// A value as written.
pub(crate) struct Input<'t> {
    pub(crate) place: Place,
    pub(crate) raw: Raw<'t>,
}

pub(crate) enum Raw<'t> {
    Text(Text<'t>),
    Integer(&'t DeInteger<'t>),
    Bool(bool),
    Array(&'t DeArray<'t>),
    Table(&'t DeTable<'t>),
    Float,
    Datetime,
}

pub(crate) struct Text<'t> {
    pub(crate) text: Cow<'t, str>,
    /// Bytes from the start of the place to the text; `None` where escapes or variables make the two differ.
    pub(crate) offset: Option<usize>,
    /// True for overrides and strings with variables in them: such text may stand for a number, a bool or a list.
    pub(crate) is_loose: bool,
}

/// A value as meant.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Cores(Cores),
    Bool(bool),
    /// Sizes too, in bytes.
    Integer(u64),
    /// `None` is "never".
    Duration(Option<std::time::Duration>),
    Word(&'static str),
    Text(String),
    /// `None` is "unlimited".
    Limit(Option<u64>),
    Addresses(Placed<Address>),
    EndpointAddress(EndpointAddress),
    Endpoints(Placed<Endpoint>),
    Networks(Placed<Network>),
    Servers(Placed<SocketAddr>),
    Patterns(Placed<SniPattern>),
    Texts(Placed<String>),
    Words(Vec<&'static str>),
    Hosts(Placed<HostPattern>),
    Matchers(Placed<Matcher>),
    Template(Template),
    /// Boxed, because most values are small.
    Table(Box<Read>),
    Tables(Vec<Read>),
}

impl Raw<'_> {
    /// For "…, not a string".
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Bool(_) => "a bool",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
            Self::Float => "a number with a fraction",
            Self::Datetime => "a date",
        }
    }
}

/// Reads values and reports what is wrong with them.
pub(crate) struct Values<'f> {
    pub(crate) findings: &'f mut Findings,
    pub(crate) env: &'f dyn Env,
}

impl Values<'_> {
    /// Fills in the variables of a string. `None` when that failed, which has then been reported.
    pub(crate) fn input<'t>(&mut self, value: &'t Spanned<DeValue<'t>>) -> Option<Input<'t>> {
        let place = Place::in_file(value.span());
        let raw = match value.get_ref() {
            DeValue::String(text) => Raw::Text(self.text(text, &value.span())?),
            DeValue::Integer(integer) => Raw::Integer(integer),
            DeValue::Boolean(bool) => Raw::Bool(*bool),
            DeValue::Array(array) => Raw::Array(array),
            DeValue::Table(table) => Raw::Table(table),
            DeValue::Float(_) => Raw::Float,
            DeValue::Datetime(_) => Raw::Datetime,
        };
        Some(Input { place, raw })
    }

    fn text<'t>(&mut self, text: &'t str, span: &std::ops::Range<usize>) -> Option<Text<'t>> {
        let offset = self.findings.sources[0].is_quoted_plainly(span, text).then_some(1);
        match interpolate::expand(text, self.env) {
            Ok(Cow::Borrowed(text)) => Some(Text { text: Cow::Borrowed(text), offset, is_loose: false }),
            Ok(filled) => Some(Text { is_loose: text.contains("${"), text: filled, offset: None }),
            Err(faults) => {
                for fault in faults {
                    self.findings.fault(&Place::in_file(span.clone()), offset, fault);
                }
                None
            }
        }
    }

    /// `None` when the value cannot be what the key takes, which has then been reported.
    pub(crate) fn read(&mut self, key: &Key, input: &Input<'_>) -> Option<Value> {
        match key.kind {
            Kind::Cores => self.cores(key, input),
            Kind::Bool => self.bool(key, input),
            Kind::Integer { .. } | Kind::Size { .. } => self.integer(key, input),
            Kind::Duration { .. } => self.duration(key, input),
            Kind::Word(words) => self.word(key, words, input),
            Kind::Name => self.name(key, input),
            Kind::ClusterName => Some(Value::Text(self.expect_text(key, input)?.text.clone().into_owned())),
            Kind::Bind => self.bind(key, input).map(|one| Value::Addresses(vec![one])),
            Kind::Binds => self.binds(key, input),
            Kind::EndpointAddress => self.endpoint_address(key, input).map(Value::EndpointAddress),
            Kind::Endpoints(section) => self.endpoints(key, section, input),
            Kind::Limit { .. } => self.limit(key, input),
            Kind::Networks { .. } | Kind::Servers | Kind::SniPatterns | Kind::Alpns => self.texts(key, input),
            Kind::Hosts
            | Kind::Paths
            | Kind::Path
            | Kind::Patterns
            | Kind::Pattern
            | Kind::Methods
            | Kind::Matchers(_)
            | Kind::HeaderName
            | Kind::Upgrades
            | Kind::Line { .. }
            | Kind::Body { .. }
            | Kind::Template(_)
            | Kind::Words(_)
            | Kind::Percent { .. } => self.http(key, input),
            // Read as sections, with what overrides say of their keys.
            Kind::Table(_) | Kind::Tables { .. } => None,
        }
    }

    fn cores(&mut self, key: &Key, input: &Input<'_>) -> Option<Value> {
        match &input.raw {
            Raw::Text(text) => self.checked(input, text, cores::parse(&text.text)).map(Value::Cores),
            Raw::Array(array) => {
                let mut list = Vec::new();
                for item in array.iter() {
                    let core = item.get_ref().as_integer().and_then(unsigned).filter(|n| *n <= cores::CORE_MAX.into());
                    match core.and_then(|n| u16::try_from(n).ok()) {
                        Some(core) => list.push(core),
                        None => self.findings.error(
                            Place::in_file(item.span()),
                            format!("a core is a number from 0 to {}", cores::CORE_MAX),
                            Some("ranges go into one string, as in \"0-3,8\"".to_owned()),
                        ),
                    }
                }
                if array.is_empty() {
                    self.findings.error(
                        input.place.clone(),
                        "no cores are given",
                        Some("write \"auto\" for all".to_owned()),
                    );
                }
                (list.len() == array.len() && !list.is_empty()).then(|| Value::Cores(cores::list(list)))
            }
            Raw::Integer(n) => {
                let help = format!("write [{n}] for core {n} alone, or a range such as \"0-3\"");
                self.unexpected(key, input, "\"auto\", a string of ranges or a list of integers", Some(help))
            }
            _ => self.unexpected(key, input, "\"auto\", a string of ranges or a list of integers", None),
        }
    }

    fn bool(&mut self, key: &Key, input: &Input<'_>) -> Option<Value> {
        let (word, is_loose) = match &input.raw {
            Raw::Bool(bool) => return Some(Value::Bool(*bool)),
            Raw::Text(text) => (text.text.trim(), text.is_loose),
            _ => return self.unexpected(key, input, "true or false", None),
        };
        let bool = match word.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => true,
            "false" | "no" | "off" | "0" => false,
            _ => return self.unexpected(key, input, "true or false", None),
        };
        if is_loose && (word == "true" || word == "false") {
            return Some(Value::Bool(bool));
        }
        let help = if is_loose { format!("write {bool}") } else { format!("write {bool}, without quotes") };
        self.unexpected(key, input, "true or false", Some(help))
    }

    /// Integers and sizes; the two differ in the text they take.
    fn integer(&mut self, key: &Key, input: &Input<'_>) -> Option<Value> {
        let (min, max, power_of_two, is_size) = match key.kind {
            Kind::Integer { min, max, power_of_two } => (min, max, power_of_two, false),
            Kind::Size { min, max, power_of_two } => (min, max, power_of_two, true),
            _ => return None,
        };
        let expected = if is_size { "a size such as \"64KiB\"" } else { "an integer" };
        let number = match &input.raw {
            Raw::Integer(n) => unsigned(n),
            Raw::Text(text) if is_size => Some(self.checked(input, text, units::parse_size(&text.text))?),
            Raw::Text(text) => match (text.text.trim().parse::<u64>(), text.is_loose) {
                (Ok(number), true) => Some(number),
                (Ok(_), false) => return self.unexpected(key, input, expected, Some("remove the quotes".to_owned())),
                (Err(_), _) => return self.unexpected(key, input, expected, None),
            },
            _ => return self.unexpected(key, input, expected, None),
        };
        let say = |n: u64| if is_size { units::format_size(n) } else { n.to_string() };
        let number = number.filter(|n| (min..=max).contains(n));
        let Some(number) = number else {
            let message = format!("`{}` must be from {} to {}", key.name, say(min), say(max));
            self.findings.error(input.place.clone(), message, None);
            return None;
        };
        if power_of_two && !number.is_power_of_two() {
            let near = number.checked_next_power_of_two().filter(|n| *n <= max).unwrap_or(max);
            let help = format!("the next one is {}", say(near));
            self.findings.error(input.place.clone(), format!("`{}` must be a power of two", key.name), Some(help));
            return None;
        }
        Some(Value::Integer(number))
    }

    fn duration(&mut self, key: &Key, input: &Input<'_>) -> Option<Value> {
        let Kind::Duration { min, max, whole_seconds, never } = key.kind else { return None };
        let text = match &input.raw {
            Raw::Text(text) => text,
            Raw::Integer(n) => {
                return self.unexpected(key, input, EXPECTED_DURATION, Some(format!("write \"{n}s\" for seconds")));
            }
            other => {
                let is_off = never && matches!(other, Raw::Bool(false));
                let help = is_off.then(|| "write \"never\" to switch it off".to_owned());
                return self.unexpected(key, input, EXPECTED_DURATION, help);
            }
        };
        if text.text.trim() == "never" {
            if never {
                return Some(Value::Duration(None));
            }
            self.findings.error(input.place.clone(), format!("`{}` cannot be \"never\"", key.name), None);
            return None;
        }
        let duration = self.checked(input, text, units::parse_duration(&text.text))?;
        let say = units::format_duration;
        if !(min..=max).contains(&duration) {
            let message = format!("`{}` must be from {} to {}", key.name, say(min), say(max));
            let help = never.then(|| "write \"never\" to switch it off".to_owned());
            self.findings.error(input.place.clone(), message, help);
            return None;
        }
        if whole_seconds && duration.subsec_nanos() != 0 {
            self.findings.error(input.place.clone(), format!("`{}` must be whole seconds", key.name), None);
            return None;
        }
        Some(Value::Duration(Some(duration)))
    }

    fn word(&mut self, key: &Key, words: &'static [Word], input: &Input<'_>) -> Option<Value> {
        let known = || words.iter().filter(|word| word.refused.is_none()).map(|word| word.name);
        let list = known().collect::<Vec<_>>().join(", ");
        let expected = if known().count() == 1 { list } else { format!("one of {list}") };
        let Raw::Text(text) = &input.raw else { return self.unexpected(key, input, &expected, None) };
        let found = text.text.trim();
        match words.iter().find(|word| word.name == found) {
            Some(Word { refused: Some(reason), .. }) => {
                let message = format!("`{}` cannot be {}", key.name, quoted(found));
                self.findings.error(input.place.clone(), message, Some((*reason).to_owned()));
                None
            }
            Some(word) => Some(Value::Word(word.means)),
            None => {
                let help = suggest::nearest(found, known()).map(|name| format!("did you mean \"{name}\"?"));
                let message = format!("`{}` is {expected}, not {}", key.name, quoted(found));
                self.findings.error(input.place.clone(), message, help);
                None
            }
        }
    }

    fn name(&mut self, key: &Key, input: &Input<'_>) -> Option<Value> {
        let text = self.expect_text(key, input)?;
        let name = text.text.clone().into_owned();
        self.checked(input, text, check_name(&name)).map(|()| Value::Text(name))
    }

    pub(crate) fn expect_text<'i, 't>(&mut self, key: &Key, input: &'i Input<'t>) -> Option<&'i Text<'t>> {
        match &input.raw {
            Raw::Text(text) => Some(text),
            _ => self.unexpected(key, input, "a string", None),
        }
    }

    /// Passes a result on, or reports its fault at the part of the text that is meant.
    pub(crate) fn checked<T>(&mut self, input: &Input<'_>, text: &Text<'_>, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.findings.fault(&input.place, text.offset, fault)).ok()
    }

    pub(crate) fn unexpected<T>(
        &mut self,
        key: &Key,
        input: &Input<'_>,
        expected: &str,
        help: Option<String>,
    ) -> Option<T> {
        let found = match &input.raw {
            Raw::Text(text) => quoted(&text.text),
            other => other.kind().to_owned(),
        };
        self.findings.error(input.place.clone(), format!("`{}` is {expected}, not {found}", key.name), help);
        None
    }
}

const EXPECTED_DURATION: &str = "a duration such as \"5s\"";

/// Names go into metrics, logs, paths of the admin API and names of variables.
pub(crate) fn check_name(name: &str) -> Result<(), Fault> {
    const CHARS_MAX: usize = 64;
    const RULE: &str = "names are made of letters, digits, '.', '_' and '-'";
    if name.is_empty() {
        return Err(Fault::new("a name cannot be empty").help(RULE));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some((at, c)) = name.char_indices().find(|(_, c)| !allowed(*c)) {
        let message = format!("a name cannot contain {}", quoted(&c.to_string()));
        return Err(Fault::new(message).help(RULE).at(at..at + c.len_utf8()));
    }
    if name.len() > CHARS_MAX {
        return Err(
            Fault::new(format!("a name of {} characters is too long", name.len())).help(format!("at most {CHARS_MAX}"))
        );
    }
    Ok(())
}

/// `None` for what is negative or too large, which no key allows.
pub(crate) fn unsigned(integer: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}
