//! The keys of one section of the file: overrides, then the file, then defaults, all by the key table.

use std::{borrow::Cow, collections::BTreeMap};

use toml::{
    Spanned,
    de::{DeString, DeTable},
};

use super::{
    overrides::{Given, Path},
    source::Place,
    value::{Input, Raw, Text, Value, Values},
};
use crate::{
    diagnostic::quoted,
    keys::{Default, Key, Kind, SECTIONS, Section},
    provenance::{Origin, Provenance},
    suggest,
};

/// The values of one section.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    section: &'static Section,
    /// As the keys of the section. `None` where a value is absent, or wrong and reported.
    slots: Vec<Option<Slot>>,
    /// Where the section starts.
    pub(crate) place: Place,
    /// For messages: `[runtime]`, `the listener "web"`.
    pub(crate) title: String,
    /// True exactly when everything that is written here was understood; what was not has been reported.
    pub(crate) is_whole: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) value: Value,
    /// `None` for a default, which nobody wrote.
    pub(crate) place: Option<Place>,
}

/// A table of the file, and what it is to the reader.
pub(crate) struct Written<'t> {
    pub(crate) section: &'static Section,
    pub(crate) path: Path,
    pub(crate) table: Option<&'t DeTable<'t>>,
    pub(crate) place: Place,
    pub(crate) title: String,
}

impl Read {
    pub(crate) fn slot(&self, name: &str) -> Option<&Slot> {
        let index = self.section.keys.iter().position(|key| key.name == name)?;
        self.slots.get(index)?.as_ref()
    }

    /// Where to point for a key: its value, or the start of the section.
    pub(crate) fn place_of(&self, name: &str) -> Place {
        self.slot(name).and_then(|slot| slot.place.clone()).unwrap_or_else(|| self.place.clone())
    }

    /// The keys that somebody wrote a value for.
    pub(crate) fn written(&self) -> impl Iterator<Item = &'static Key> {
        self.section.keys.iter().filter(|key| self.is_written(key.name))
    }

    /// True when somebody wrote a value for the key, in the file or elsewhere.
    pub(crate) fn is_written(&self, name: &str) -> bool {
        self.slot(name).is_some_and(|slot| slot.place.is_some())
    }
}

/// What is given for a whole file, and what is noted about it.
pub(crate) struct Around<'a> {
    pub(crate) given: &'a BTreeMap<Path, Given>,
    pub(crate) provenance: &'a mut Provenance,
}

impl Values<'_> {
    pub(crate) fn section(&mut self, written: Written<'_>, around: &mut Around<'_>) -> Read {
        let slots: Vec<Option<Slot>> = written
            .section
            .keys
            .iter()
            .map(|key| match key.kind {
                Kind::Table(section) => self.table(key, section, &written, around),
                Kind::Tables { section, item } => self.tables(key, (section, item), &written, around),
                _ => self.value(key, &written, around),
            })
            .collect();
        let names = || written.table.into_iter().flat_map(DeTable::keys).map(|name| name.get_ref());
        let is_understood = |name: &DeString<'_>| {
            let index = written.section.keys.iter().position(|key| key.name == name);
            index.and_then(|index| slots.get(index)).is_some_and(Option::is_some)
        };
        let is_whole = names().all(is_understood);
        Read { section: written.section, slots, place: written.place, title: written.title, is_whole }
    }

    fn value(&mut self, key: &Key, written: &Written<'_>, around: &mut Around<'_>) -> Option<Slot> {
        let path = written.path.key(key.name);
        let from_file = written.table.and_then(|table| table.get(key.name));
        if let Some(given) = around.given.get(&path) {
            // A value that is overridden must still be one.
            if let Some(value) = from_file {
                self.input(value).and_then(|input| self.read(key, &input));
            }
            around.provenance.set(path.to_string(), given.origin.clone());
            self.slot(key, loose(&given.value, given.place.clone()))
        } else if let Some(value) = from_file {
            self.note(&path, value.span().start, around);
            self.input(value).and_then(|input| self.slot(key, input))
        } else {
            self.default(key, written)
        }
    }

    fn note(&self, path: &Path, at: usize, around: &mut Around<'_>) {
        around.provenance.set(path.to_string(), Origin::File(self.findings.sources[0].line(at)));
    }

    /// A table inside of a section. It is there when it is written, when something is given for one of its keys, and
    /// when its keys have their defaults anyway.
    fn table(
        &mut self,
        key: &Key,
        section: &'static Section,
        outer: &Written<'_>,
        around: &mut Around<'_>,
    ) -> Option<Slot> {
        let path = outer.path.key(key.name);
        let title = format!("`{}` of {}", key.name, outer.title);
        let written = match outer.table.and_then(|table| table.get_key_value(key.name)) {
            Some((name, value)) => {
                self.note(&path, name.span().start, around);
                let Some(table) = value.get_ref().as_table() else {
                    let input = self.input(value)?;
                    let help = format!("write {}, or {} = {{ … }}", section.header, key.name);
                    return self.unexpected(key, &input, "a table", Some(help));
                };
                self.unknown_keys(section, table, &title);
                Some((table, Place::in_file(name.span())))
            }
            None => None,
        };
        let is_given = around.given.range(path.clone()..).next().is_some_and(|(given, _)| given.is_in(&path));
        if written.is_none() && !is_given && !matches!(key.default, Default::Parts) {
            return self.default(key, outer);
        }
        let is_written = written.is_some() || is_given;
        let (table, place) = written.map_or_else(|| (None, outer.place.clone()), |(table, place)| (Some(table), place));
        let read = self.section(Written { section, path, table, place: place.clone(), title }, around);
        Some(Slot { value: Value::Table(Box::new(read)), place: is_written.then_some(place) })
    }

    /// A list of tables inside of a section. They have no names, so nothing can be given for them.
    fn tables(
        &mut self,
        key: &Key,
        (section, item): (&'static Section, &'static str),
        outer: &Written<'_>,
        around: &mut Around<'_>,
    ) -> Option<Slot> {
        let Some((name, value)) = outer.table.and_then(|table| table.get_key_value(key.name)) else {
            return self.default(key, outer);
        };
        let path = outer.path.key(key.name);
        self.note(&path, name.span().start, around);
        let Some(array) = value.get_ref().as_array() else {
            let input = self.input(value)?;
            let help = format!("write {} before the keys of each", section.header);
            return self.unexpected(key, &input, "a list of tables", Some(help));
        };
        let mut all = Vec::new();
        for (index, value) in array.iter().enumerate() {
            let place = Place::in_file(value.span());
            let Some(table) = value.get_ref().as_table() else {
                let help = format!("write {} before its keys", section.header);
                self.findings.misplaced(place, format!("{item} is a table"), Some(help));
                continue;
            };
            let title = format!("{item} of {}", outer.title);
            self.unknown_keys(section, table, &title);
            let path = path.item(index);
            self.note(&path, value.span().start, around);
            all.push(self.section(Written { section, path, table: Some(table), place, title }, around));
        }
        // Items that are no tables are left out, which has been reported.
        Some(Slot { value: Value::Tables(all), place: Some(Place::in_file(name.span())) })
    }

    fn slot(&mut self, key: &Key, input: Input<'_>) -> Option<Slot> {
        self.read(key, &input).map(|value| Slot { value, place: Some(input.place) })
    }

    fn default(&mut self, key: &Key, written: &Written<'_>) -> Option<Slot> {
        let is_required = match key.default {
            // The table is tested to hold defaults that can be read.
            Default::Is(text) => {
                let value = self.read(key, &loose(text, Place::WHOLE_FILE))?;
                return Some(Slot { value, place: None });
            }
            Default::Absent(_) | Default::Parts => false,
            Default::Required => true,
            Default::RequiredWithout(others) => {
                !written.table.is_some_and(|table| others.iter().any(|other| table.contains_key(*other)))
            }
        };
        if is_required {
            self.missing(written.place.clone(), key, &written.title, written.table);
        }
        None
    }

    /// Says so unless the key is there with a slip in its name, which has been reported, or may be in a part of the
    /// file that could not be read.
    pub(crate) fn missing(&mut self, place: Place, key: &Key, title: &str, table: Option<&DeTable<'_>>) {
        let mut names = table.into_iter().flat_map(DeTable::keys);
        // `untrusted` is no slip of `trusted`: a name that is a key somewhere is meant.
        let is_key = |name: &str| SECTIONS.iter().any(|section| section.key(name).is_some());
        let is_misspelt =
            names.any(|name| !is_key(name.get_ref()) && suggest::nearest(name.get_ref(), [key.name]).is_some());
        if !self.findings.is_broken() && !is_misspelt {
            let or = match key.default {
                Default::RequiredWithout(others @ [_, _, ..]) => format!(", or {}", list(others.iter().copied())),
                _ => String::new(),
            };
            let help = format!("add `{}`{or}: {}", key.name, key.doc);
            self.findings.error(place, format!("{title} has no `{}`", key.name), Some(help));
        }
    }

    /// Reports what a table has besides the keys of its section. `title` is what the table is called.
    pub(crate) fn unknown_keys(&mut self, section: &Section, table: &DeTable<'_>, title: &str) {
        for name in table.keys().filter(|name| section.key(name.get_ref()).is_none()) {
            let message = format!("unknown key {} in {title}", quoted(name.get_ref()));
            self.unknown(name, message, section.path, section.keys.iter().map(|key| key.name));
        }
    }

    /// Reports a name that is none of the `known` ones, with a guess at what was meant.
    pub(crate) fn unknown<'a>(
        &mut self,
        name: &Spanned<DeString<'_>>,
        message: String,
        path: &str,
        known: impl Iterator<Item = &'a str> + Clone,
    ) {
        let help = self.findings.suggest(|| {
            let near = suggest::nearest(name.get_ref(), known.clone()).map(|near| format!("did you mean `{near}`?"));
            near.or_else(|| elsewhere(name.get_ref(), path)).or_else(|| Some(format!("known here are {}", list(known))))
        });
        self.findings.error(Place::in_file(name.span()), message, help);
    }
}

/// Where a key would be known.
fn elsewhere(name: &str, path: &str) -> Option<String> {
    let section = SECTIONS.iter().find(|section| section.path != path && section.key(name).is_some())?;
    Some(format!("`{name}` belongs to {}", section.header))
}

fn list<'a>(known: impl Iterator<Item = &'a str>) -> String {
    known.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn loose(text: &str, place: Place) -> Input<'_> {
    Input { place, raw: Raw::Text(Text { text: Cow::Borrowed(text), offset: Some(0), is_loose: true }) }
}
