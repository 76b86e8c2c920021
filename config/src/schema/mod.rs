//! The JSON schema of the file (draft 2020-12), for editors.
//!
//! It is made from the key table alone, so it knows types, bounds, words and what is required. It does not know what
//! two keys say together, nor what a variable stands for: any string with `${` in it passes.

mod json;

use self::json::{Json, object};
use crate::{
    cores,
    keys::{Default, Key, Kind, SECTIONS, Section},
    prose,
};

const DURATION: &str = "^(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
const SIZE: &str = "^[0-9]+ ?(B|KiB|MiB|GiB|TiB)?$";
const CORES: &str = "^(auto|[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)$";
const NAME: &str = "^[A-Za-z0-9._-]{1,64}$";
const BIND: &str = "^(unix:/.+|([0-9.]+|\\[[0-9A-Fa-f:.]+(%[0-9]+)?\\])?:[0-9]{1,5})$";
const ENDPOINT: &str = "^(unix:/.+|([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+(%[0-9]+)?\\]):[0-9]{1,5})$";
const NETWORK: &str = "^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)(/[0-9]{1,3})?$";
const SERVER: &str =
    "^([0-9]{1,3}(\\.[0-9]{1,3}){3}(:[0-9]{1,5})?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*|\\[[0-9A-Fa-f:.]+\\]:[0-9]{1,5})$";
const SNI: &str = "^(\\*\\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$";
const ALPN: &str = "^[!-~]{1,255}$";
const HOST: &str = "^((\\*\\.)?[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\\.?|\\[?[0-9A-Fa-f:.]+\\]?)$";
const PATH: &str = "^/[^?# ]*$";
const TOKEN: &str = "^[!#$%&'*+.^_`|~A-Za-z0-9-]{1,128}$";
const TOKENS: &str = "^[!#$%&'*+.^_`|~A-Za-z0-9/-]{1,128}$";
const LINE: &str = "^[^\\r\\n]*$";
const PERCENT: &str = "^[0-9]{1,3} ?%$";
const VARIABLE: &str = "\\$\\{[^}]*\\}";

/// The schema as text.
pub fn render() -> String {
    let mut root = vec![
        ("$schema".to_owned(), Json::text("https://json-schema.org/draft/2020-12/schema")),
        ("title".to_owned(), Json::text("The configuration of balance-shard")),
        ("type".to_owned(), Json::text("object")),
        ("additionalProperties".to_owned(), Json::Bool(false)),
        ("required".to_owned(), Json::texts(["listeners"])),
        ("properties".to_owned(), Json::Object(top())),
    ];
    let def = |pattern: &str, description: &str| {
        object([
            ("type", Json::text("string")),
            ("pattern", Json::text(pattern)),
            ("description", Json::text(description)),
        ])
    };
    let defs = [
        (
            "duration",
            def(DURATION, "A duration: whole numbers with units, the longer unit first, as in 1m30s or 250ms."),
        ),
        ("size", def(SIZE, "A size: a whole number with a unit, as in 64KiB.")),
        ("variable", def(VARIABLE, "Text with an environment variable in it, as in ${NAME} or ${NAME:-default}.")),
    ];
    root.push(("$defs".to_owned(), object(defs)));
    format!("{}\n", Json::Object(root))
}

/// The sections that are not inside of others, as properties of the file.
fn top() -> Vec<(String, Json)> {
    let mut properties: Vec<(String, Json)> = Vec::new();
    for section in SECTIONS.iter().filter(|section| !section.is_nested()) {
        let schema = table(section, false);
        match section.path.split_once('.') {
            Some(("clusters", _)) => properties.push(("clusters".to_owned(), named(schema))),
            Some((outer, name)) => match properties.iter_mut().find(|(known, _)| known == outer) {
                Some((_, found)) => add_property(found, name, schema),
                None => {
                    let mut group = object([
                        ("type", Json::text("object")),
                        ("additionalProperties", Json::Bool(false)),
                        ("properties", Json::Object(Vec::new())),
                    ]);
                    add_property(&mut group, name, schema);
                    properties.push((outer.to_owned(), group));
                }
            },
            None => match section.path.strip_suffix("[]") {
                Some(name) => properties.push((name.to_owned(), list(schema, 1))),
                None => properties.push((section.path.to_owned(), schema)),
            },
        }
    }
    properties
}

fn add_property(group: &mut Json, name: &str, schema: Json) {
    let Json::Object(members) = group else { return };
    if let Some((_, Json::Object(properties))) = members.iter_mut().find(|(member, _)| member == "properties") {
        properties.push((name.to_owned(), schema));
    }
}

/// Tables under names that the user chooses.
fn named(schema: Json) -> Json {
    object([
        ("type", Json::text("object")),
        ("propertyNames", object([("pattern", Json::text(NAME))])),
        ("additionalProperties", schema),
    ])
}

fn table(section: &Section, must_say_something: bool) -> Json {
    let mut schema = vec![
        ("description".to_owned(), Json::text(paragraphs([section.doc, section.more]))),
        ("type".to_owned(), Json::text("object")),
        ("additionalProperties".to_owned(), Json::Bool(false)),
    ];
    let required = section.keys.iter().filter(|key| matches!(key.default, Default::Required)).map(|key| key.name);
    let required: Vec<&str> = required.collect();
    if !required.is_empty() {
        schema.push(("required".to_owned(), Json::texts(required)));
    }
    for key in section.keys {
        if let Default::RequiredWithout(others) = key.default {
            let names = std::iter::once(key.name).chain(others.iter().copied());
            let either = names.map(|name| object([("required", Json::texts([name]))])).collect();
            schema.push(("anyOf".to_owned(), Json::List(either)));
        }
    }
    if must_say_something {
        schema.push(("minProperties".to_owned(), Json::Integer(1)));
    }
    let properties = section.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    schema.push(("properties".to_owned(), Json::Object(properties)));
    Json::Object(schema)
}

fn property(key: &Key) -> Json {
    let description = ("description".to_owned(), Json::text(description(key)));
    match key.kind {
        Kind::Table(section) => {
            let is_empty_without = |key: &Key| matches!(key.default, Default::Absent(_));
            let must_say = matches!(key.default, Default::Required) && section.keys.iter().all(is_empty_without);
            table(section, must_say)
        }
        Kind::Tables { section, .. } => {
            let (kind, items) = (("type".to_owned(), Json::text("array")), ("items".to_owned(), table(section, false)));
            Json::Object(vec![description, kind, items])
        }
        kind => {
            let mut members = vec![description];
            if let Default::Is(text) = key.default {
                members.push(("default".to_owned(), default(kind, text)));
            }
            members.push(("anyOf".to_owned(), Json::List(or_variable(alternatives(kind)))));
            Json::Object(members)
        }
    }
}

fn description(key: &Key) -> String {
    let mut all = vec![key.doc.to_owned(), key.more.to_owned()];
    if let Default::Absent(meaning) = key.default {
        all.push(format!("Absent: {meaning}."));
    }
    if let Kind::Word(words) | Kind::Words(words) = key.kind {
        let words: Vec<String> = prose::words(words).map(|word| format!("{}: {}", word.name, word.doc)).collect();
        all.push(words.join("\n"));
    }
    paragraphs(all.iter().map(String::as_str))
}

fn paragraphs<'a>(all: impl IntoIterator<Item = &'a str>) -> String {
    let some: Vec<&str> = all.into_iter().filter(|text| !text.is_empty()).collect();
    some.join("\n\n")
}

fn default(kind: Kind, text: &str) -> Json {
    match (kind, text.parse::<u64>()) {
        (Kind::Bool, _) => Json::Bool(text == "true"),
        (Kind::Integer { .. } | Kind::Limit { .. }, Ok(number)) => Json::Integer(number),
        _ => Json::text(text),
    }
}

/// Any string may hold a variable, whatever it must be in the end.
fn or_variable(mut alternatives: Vec<Json>) -> Vec<Json> {
    alternatives.push(reference("variable"));
    alternatives
}

fn alternatives(kind: Kind) -> Vec<Json> {
    match kind {
        Kind::Cores => vec![pattern(CORES), list(integer(0, cores::CORE_MAX.into()), 1)],
        Kind::Bool => vec![object([("type", Json::text("boolean"))])],
        Kind::Integer { min, max, power_of_two: false } => vec![integer(min, max)],
        Kind::Integer { min, max, power_of_two: true } => vec![powers_of_two(min, max)],
        Kind::Limit { min, max } => vec![integer(min, max), constant("unlimited")],
        Kind::Duration { never, .. } => {
            let mut all = vec![reference("duration")];
            all.extend(never.then(|| constant("never")));
            all
        }
        Kind::Size { min, max, power_of_two: false } => vec![reference("size"), integer(min, max)],
        Kind::Size { min, max, power_of_two: true } => vec![reference("size"), powers_of_two(min, max)],
        Kind::Word(words) => vec![object([("enum", Json::texts(prose::words(words).map(|word| word.name)))])],
        Kind::Name | Kind::ClusterName => vec![pattern(NAME)],
        Kind::Bind => vec![pattern(BIND)],
        Kind::Binds => vec![pattern(BIND), texts(BIND, 1)],
        Kind::EndpointAddress => vec![pattern(ENDPOINT)],
        Kind::Endpoints(section) => {
            let items = or_variable(vec![pattern(ENDPOINT), table(section, false)]);
            vec![list(object([("anyOf", Json::List(items))]), 0)]
        }
        Kind::Networks { may_be_empty } => vec![texts(NETWORK, u64::from(!may_be_empty))],
        Kind::Servers => vec![texts(SERVER, 0)],
        Kind::SniPatterns => vec![pattern(SNI), texts(SNI, 1)],
        Kind::Alpns => vec![pattern(ALPN), texts(ALPN, 1)],
        Kind::Words(words) => {
            let names = prose::words(words).map(|word| word.name);
            vec![list(object([("anyOf", Json::List(or_variable(vec![object([("enum", Json::texts(names))])])))]), 0)]
        }
        Kind::Percent { .. } => vec![pattern(PERCENT)],
        Kind::Hosts => vec![pattern(HOST), texts(HOST, 1)],
        Kind::Path => vec![pattern(PATH)],
        Kind::Paths => vec![pattern(PATH), texts(PATH, 1)],
        Kind::Pattern => vec![pattern("")],
        Kind::Patterns => vec![pattern(""), texts("", 1)],
        Kind::Methods => vec![pattern(TOKEN), texts(TOKEN, 1)],
        Kind::Matchers(_) => vec![matchers()],
        Kind::HeaderName => vec![pattern(TOKEN)],
        Kind::Upgrades => vec![texts(TOKENS, 0)],
        Kind::Line { .. } => vec![pattern(LINE)],
        Kind::Body { .. } => vec![pattern("")],
        Kind::Template(_) => vec![pattern(LINE)],
        // These are tables and not values.
        Kind::Table(section) | Kind::Tables { section, .. } => vec![table(section, false)],
    }
}

/// Names, and for each a text or a table of one key.
fn matchers() -> Json {
    let text = |name: &str| (name.to_owned(), object([("type", Json::text("string"))]));
    let present = ("present".to_owned(), object([("type", Json::text("boolean"))]));
    let one = object([
        ("type", Json::text("object")),
        ("additionalProperties", Json::Bool(false)),
        ("minProperties", Json::Integer(1)),
        ("maxProperties", Json::Integer(1)),
        ("properties", Json::Object(vec![text("exact"), text("prefix"), text("regex"), present])),
    ]);
    let value = object([("anyOf", Json::List(vec![object([("type", Json::text("string"))]), one]))]);
    object([("type", Json::text("object")), ("minProperties", Json::Integer(1)), ("additionalProperties", value)])
}

fn reference(name: &str) -> Json {
    object([("$ref", Json::text(format!("#/$defs/{name}")))])
}

/// Any string for an empty pattern.
fn pattern(pattern: &str) -> Json {
    if pattern.is_empty() {
        return object([("type", Json::text("string"))]);
    }
    object([("type", Json::text("string")), ("pattern", Json::text(pattern))])
}

fn constant(word: &str) -> Json {
    object([("const", Json::text(word))])
}

fn integer(min: u64, max: u64) -> Json {
    object([("type", Json::text("integer")), ("minimum", Json::Integer(min)), ("maximum", Json::Integer(max))])
}

fn powers_of_two(min: u64, max: u64) -> Json {
    let powers = (0..u64::BITS).map(|bit| 1 << bit).filter(|power| (min..=max).contains(power));
    object([("enum", Json::List(powers.map(Json::Integer).collect()))])
}

fn list(items: Json, items_min: u64) -> Json {
    let mut members = vec![("type".to_owned(), Json::text("array"))];
    if items_min > 0 {
        members.push(("minItems".to_owned(), Json::Integer(items_min)));
    }
    members.push(("items".to_owned(), items));
    Json::Object(members)
}

/// A list of strings, each of which may hold a variable.
fn texts(of: &str, items_min: u64) -> Json {
    list(object([("anyOf", Json::List(or_variable(vec![pattern(of)])))]), items_min)
}
