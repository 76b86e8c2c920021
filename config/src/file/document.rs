//! The sections of a whole file, read one by one.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    interpolate,
    overrides::{Names, Path},
    section::{Around, Read, Written},
    source::Place,
    value::{Values, check_name},
};
use crate::{
    diagnostic::quoted,
    keys::{self, Section},
    provenance::Origin,
};

/// Everything that was read, before it is checked as a whole.
pub(crate) struct Document {
    pub(crate) runtime: Read,
    pub(crate) shard: Read,
    pub(crate) buffer_pool: Read,
    pub(crate) forward: Read,
    pub(crate) pipes: Read,
    pub(crate) connection_pool: Read,
    pub(crate) admin: Read,
    pub(crate) logging: Read,
    pub(crate) drain: Read,
    pub(crate) dns: Read,
    pub(crate) listeners: Vec<Read>,
    pub(crate) clusters: Vec<Named>,
}

pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) read: Read,
}

/// The names that overrides may go through, before anything is checked.
pub(crate) fn names(root: &DeTable<'_>, values: &Values<'_>) -> Names {
    let clusters = root.get("clusters").and_then(|value| value.get_ref().as_table());
    let listeners = root.get("listeners").and_then(|value| value.get_ref().as_array());
    let name_of = |item: &Spanned<DeValue<'_>>| {
        let name = item.get_ref().as_table()?.get("name")?.get_ref().as_str()?;
        interpolate::expand(name, values.env).ok().map(std::borrow::Cow::into_owned)
    };
    Names {
        listeners: listeners.into_iter().flat_map(|list| list.iter()).filter_map(name_of).collect(),
        clusters: clusters.into_iter().flat_map(DeTable::keys).map(|key| key.get_ref().to_string()).collect(),
    }
}

const TOP: [&str; 8] = ["runtime", "performance", "admin", "logging", "drain", "dns", "listeners", "clusters"];
const PERFORMANCE: [&str; 5] = ["shard", "buffer_pool", "forward", "pipes", "connection_pool"];

/// Reads a root table in the order of the reference.
pub(crate) struct Reader<'v, 'f, 't> {
    pub(crate) values: &'v mut Values<'f>,
    pub(crate) root: &'t DeTable<'t>,
    pub(crate) around: Around<'v>,
}

impl<'t> Reader<'_, '_, 't> {
    pub(crate) fn document(mut self) -> Document {
        for (name, value) in self.root.iter().filter(|(name, _)| !TOP.contains(&name.get_ref().as_ref())) {
            let message = match value.get_ref() {
                DeValue::Table(_) | DeValue::Array(_) => format!("unknown section {}", quoted(name.get_ref())),
                _ => format!("the key {} stands outside of any section", quoted(name.get_ref())),
            };
            self.values.unknown(name, message, "", TOP.iter().copied());
        }
        let performance = self.table(self.root, "performance", "[performance.shard]").map(|(table, _)| table);
        let strangers = performance.into_iter().flat_map(DeTable::keys);
        for name in strangers.filter(|name| !PERFORMANCE.contains(&name.get_ref().as_ref())) {
            let message = format!("unknown key {} in [performance]", quoted(name.get_ref()));
            self.values.unknown(name, message, "performance", PERFORMANCE.iter().copied());
        }
        Document {
            runtime: self.single(Some(self.root), &keys::RUNTIME),
            shard: self.single(performance, &keys::SHARD),
            buffer_pool: self.single(performance, &keys::BUFFER_POOL),
            forward: self.single(performance, &keys::FORWARD),
            pipes: self.single(performance, &keys::PIPES),
            connection_pool: self.single(performance, &keys::CONNECTION_POOL),
            admin: self.single(Some(self.root), &keys::ADMIN),
            logging: self.single(Some(self.root), &keys::LOGGING),
            drain: self.single(Some(self.root), &keys::DRAIN),
            dns: self.single(Some(self.root), &keys::DNS),
            listeners: self.listeners(),
            clusters: self.clusters(),
        }
    }

    /// A section that exists once, whether it is written or not.
    fn single(&mut self, parent: Option<&'t DeTable<'t>>, section: &'static Section) -> Read {
        let name = section.path.rsplit('.').next().unwrap_or(section.path);
        let found = parent.and_then(|parent| self.table(parent, name, section.header));
        if let Some((table, _)) = found {
            self.values.unknown_keys(section, table, section.header);
        }
        let (table, place) = found.map_or((None, Place::WHOLE_FILE), |(table, place)| (Some(table), place));
        let title = section.header.to_owned();
        self.read(Written { section, path: Path::of(section.path.to_owned()), table, place, title })
    }

    fn listeners(&mut self) -> Vec<Read> {
        let Some((key, value)) = self.root.get_key_value("listeners") else { return Vec::new() };
        let DeValue::Array(array) = value.get_ref() else {
            let help = Some("write [[listeners]], with two brackets, before each listener".to_owned());
            self.values.findings.misplaced(Place::in_file(key.span()), "`listeners` is a list of tables", help);
            return Vec::new();
        };
        let mut all = Vec::new();
        for (index, item) in array.iter().enumerate() {
            let place = Place::in_file(item.span());
            let Some(table) = item.get_ref().as_table() else {
                let help = Some("write [[listeners]] before its keys".to_owned());
                self.values.findings.misplaced(place, "a listener is a table", help);
                continue;
            };
            let name = table.get("name").and_then(|name| name.get_ref().as_str());
            let name = name.and_then(|name| interpolate::expand(name, self.values.env).ok());
            let title = name
                .as_ref()
                .map_or_else(|| "this listener".to_owned(), |name| format!("the listener {}", quoted(name)));
            self.values.unknown_keys(&keys::LISTENERS, table, &title);
            let name = name.map_or_else(|| index.to_string(), |name| name.into_owned());
            let path = Path::of(format!("listeners.{name}"));
            all.push(self.read(Written { section: &keys::LISTENERS, path, table: Some(table), place, title }));
        }
        all
    }

    fn clusters(&mut self) -> Vec<Named> {
        let help = "write [clusters.NAME] before the keys of each cluster";
        let Some((table, _)) = self.table(self.root, "clusters", "[clusters.NAME]") else { return Vec::new() };
        // The tree sorts by name; people read files from top to bottom.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut all = Vec::new();
        for (name, value) in entries {
            let place = Place::in_file(name.span());
            let Some(table) = value.get_ref().as_table() else {
                let message = format!("a cluster is a table, and {} is none", quoted(name.get_ref()));
                self.values.findings.misplaced(place, message, Some(help.to_owned()));
                continue;
            };
            let name = name.get_ref().to_string();
            if let Err(fault) = check_name(&name) {
                self.values.findings.fault(&place, None, fault);
                continue;
            }
            let (path, title) = (Path::of(format!("clusters.{name}")), format!("[clusters.{name}]"));
            self.values.unknown_keys(&keys::CLUSTERS, table, &title);
            let written = Written { section: &keys::CLUSTERS, path, table: Some(table), place: place.clone(), title };
            all.push(Named { name, place, read: self.read(written) });
        }
        all
    }

    /// The table `name` of `parent` and where it is; `None` where it is not written, or is no table, which is reported.
    fn table(&mut self, parent: &'t DeTable<'t>, name: &str, header: &str) -> Option<(&'t DeTable<'t>, Place)> {
        let (key, value) = parent.get_key_value(name)?;
        let place = Place::in_file(key.span());
        if let Some(table) = value.get_ref().as_table() {
            return Some((table, place));
        }
        let help = match value.get_ref() {
            DeValue::Array(_) => format!("write {header}, with one bracket on each side"),
            _ => format!("write {header} on a line of its own, and its keys below"),
        };
        self.values.findings.misplaced(place, format!("`{name}` is a section"), Some(help));
        None
    }

    fn read(&mut self, written: Written<'_>) -> Read {
        if written.table.is_some() && written.place != Place::WHOLE_FILE {
            let start = written.place.range.as_ref().map_or(0, |range| range.start);
            let line = self.values.findings.sources[0].line(start);
            self.around.provenance.set(written.path.to_string(), Origin::File(line));
        }
        self.values.section(written, &mut self.around)
    }
}
