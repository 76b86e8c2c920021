//! The keys of one section of the file: overrides, then the file, then defaults, all by the key table.

use std::{borrow::Cow, collections::BTreeMap};

use toml::{
    Spanned,
    de::{DeString, DeTable},
};

use super::{
    overrides::Given,
    source::Place,
    value::{Input, Raw, Text, Value, Values},
};
use crate::{
    diagnostic::quoted,
    keys::{Default, Key, SECTIONS, Section},
    provenance::{Origin, Provenance},
    suggest,
};

/// The values of one section.
pub(crate) struct Read {
    section: &'static Section,
    /// As the keys of the section. `None` where a value is absent, or wrong and reported.
    slots: Vec<Option<Slot>>,
    /// Where the section starts.
    pub(crate) place: Place,
}

pub(crate) struct Slot {
    pub(crate) value: Value,
    /// `None` for a default, which nobody wrote.
    pub(crate) place: Option<Place>,
}

/// A table of the file, and what it is to the reader.
pub(crate) struct Written<'t> {
    pub(crate) section: &'static Section,
    /// For overrides and provenance: `runtime`, `listeners.web`.
    pub(crate) path: String,
    pub(crate) table: Option<&'t DeTable<'t>>,
    pub(crate) place: Place,
    /// For "… has no `bind`": `listener "web"`.
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

    /// True when somebody wrote a value for the key, in the file or elsewhere.
    pub(crate) fn is_written(&self, name: &str) -> bool {
        self.slot(name).is_some_and(|slot| slot.place.is_some())
    }
}

impl Values<'_> {
    pub(crate) fn section(
        &mut self,
        written: Written<'_>,
        given: &BTreeMap<String, Given>,
        provenance: &mut Provenance,
    ) -> Read {
        let mut slots = Vec::new();
        for key in written.section.keys {
            let path = format!("{}.{}", written.path, key.name);
            let from_file = written.table.and_then(|table| table.get(key.name));
            let slot = if let Some(given) = given.get(&path) {
                // A value that is overridden must still be one.
                if let Some(value) = from_file {
                    self.input(value).and_then(|input| self.read(key, &input));
                }
                provenance.set(path, given.origin.clone());
                self.slot(key, loose(&given.value, given.place.clone()))
            } else if let Some(value) = from_file {
                provenance.set(path, Origin::File(self.findings.sources[0].line(value.span().start)));
                self.input(value).and_then(|input| self.slot(key, input))
            } else {
                self.default(key, &written)
            };
            slots.push(slot);
        }
        Read { section: written.section, slots, place: written.place }
    }

    fn slot(&mut self, key: &Key, input: Input<'_>) -> Option<Slot> {
        self.read(key, &input).map(|value| Slot { value, place: Some(input.place) })
    }

    fn default(&mut self, key: &Key, written: &Written<'_>) -> Option<Slot> {
        match key.default {
            // The table is tested to hold defaults that can be read.
            Default::Is(text) => {
                let value = self.read(key, &loose(text, Place::WHOLE_FILE))?;
                Some(Slot { value, place: None })
            }
            Default::Absent(_) => None,
            Default::Required => {
                self.missing(written.place.clone(), key, &written.title, written.table);
                None
            }
        }
    }

    /// Says so unless the key is there with a slip in its name, which has been reported, or may be in a part of the
    /// file that could not be read.
    pub(crate) fn missing(&mut self, place: Place, key: &Key, title: &str, table: Option<&DeTable<'_>>) {
        let mut names = table.into_iter().flat_map(DeTable::keys);
        let is_misspelt = names.any(|name| suggest::nearest(name.get_ref(), [key.name]).is_some());
        if !self.findings.is_broken() && !is_misspelt {
            let help = format!("add `{}`: {}", key.name, key.doc);
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

/// How a section is written: `[runtime]`, `[[listeners]]`, `[clusters.NAME]`.
pub(crate) fn header(path: &str) -> String {
    match path {
        "listeners[]" => "[[listeners]]".to_owned(),
        "clusters.*" => "[clusters.NAME]".to_owned(),
        "clusters.*.endpoints[]" => "an endpoint".to_owned(),
        _ => format!("[{path}]"),
    }
}

/// Where a key would be known.
fn elsewhere(name: &str, path: &str) -> Option<String> {
    let section = SECTIONS.iter().find(|section| section.path != path && section.key(name).is_some())?;
    Some(format!("`{name}` belongs to {}", header(section.path)))
}

fn list<'a>(known: impl Iterator<Item = &'a str>) -> String {
    known.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn loose(text: &str, place: Place) -> Input<'_> {
    Input { place, raw: Raw::Text(Text { text: Cow::Borrowed(text), offset: Some(0), is_loose: true }) }
}
