//! HTML as text. What comes from outside goes through [`escape`]; elements are closed as in XML, which HTML5 allows for
//! all that is used here.

use std::fmt::Write;

/// For text and for attributes in double quotes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML knows no other control characters, and none of them says anything.
            control if control.is_control() && !matches!(control, '\n' | '\t') => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

const STYLE: &str = include_str!("style.css");
/// The same for every page, so that one can be told from another's output.
const GENERATOR: &str = concat!("balance-shard bench ", env!("CARGO_PKG_VERSION"));

/// A whole page that needs nothing but itself.
pub(super) fn page(title: &str, lead: &str, body: &str) -> String {
    let (escaped, generator) = (escape(title), escape(GENERATOR));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"generator\" content=\"{generator}\"/>\n<title>{escaped}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{escaped}</h1>\n\
         {lead}</header>\n<main>\n{body}</main>\n<footer>{generator}. This page needs no network and runs no script; \
         point at a line or \
         a bar for its figures.</footer>\n</body>\n</html>\n"
    )
}

/// A titled box.
pub(super) fn card(title: &str, content: &str) -> String {
    format!("<div class=\"card\">\n<h3>{}</h3>\n{content}</div>\n", escape(title))
}

/// One that is as high as two others beside it.
pub(super) fn tall_card(title: &str, content: &str) -> String {
    card(title, content).replacen("class=\"card\"", "class=\"card tall\"", 1)
}

pub(super) fn grid(cards: &[String]) -> String {
    if cards.is_empty() { String::new() } else { format!("<div class=\"grid\">\n{}</div>\n", cards.concat()) }
}

/// A figure that is to be seen first.
pub(super) struct Tile {
    pub(super) value: String,
    pub(super) unit: &'static str,
    pub(super) name: &'static str,
    pub(super) is_bad: bool,
}

pub(super) fn tiles(tiles: &[Tile]) -> String {
    let mut out = "<div class=\"tiles\">\n".to_owned();
    for Tile { value, unit, name, is_bad } in tiles {
        let class = if *is_bad { "tile bad" } else { "tile" };
        let _ = writeln!(
            out,
            "<div class=\"{class}\"><b>{} <small>{}</small></b><span>{}</span></div>",
            escape(value),
            escape(unit),
            escape(name)
        );
    }
    out + "</div>\n"
}

/// A cell of a table, and how it is marked.
pub(super) struct Cell {
    pub(super) text: String,
    /// Smaller, behind it.
    pub(super) aside: String,
    pub(super) class: &'static str,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), aside: String::new(), class: "" }
    }

    pub(super) fn aside(mut self, text: impl Into<String>) -> Self {
        self.aside = text.into();
        self
    }

    pub(super) fn class(mut self, class: &'static str) -> Self {
        self.class = class;
        self
    }
}

/// `rows` with the class of each.
pub(super) fn table(header: &[String], rows: &[(&'static str, Vec<Cell>)]) -> String {
    let mut out = "<div class=\"wide card\"><table>\n<thead><tr>".to_owned();
    header.iter().for_each(|name| {
        let _ = write!(out, "<th>{}</th>", escape(name));
    });
    out.push_str("</tr></thead>\n<tbody>\n");
    for (class, cells) in rows {
        let _ = write!(out, "<tr class=\"{class}\">");
        for cell in cells {
            let _ = write!(out, "<td class=\"{}\">{}", cell.class, escape(&cell.text));
            if !cell.aside.is_empty() {
                let _ = write!(out, " <small>{}</small>", escape(&cell.aside));
            }
            out.push_str("</td>");
        }
        out.push_str("</tr>\n");
    }
    out + "</tbody>\n</table></div>\n"
}

/// `(name, value)` below each other.
pub(super) fn definitions(pairs: &[(String, String)]) -> String {
    let mut out = "<dl>\n".to_owned();
    for (name, value) in pairs {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
    }
    out + "</dl>\n"
}

pub(super) fn paragraph(class: &str, text: &str) -> String {
    format!("<p class=\"{class}\">{}</p>\n", escape(text))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Every element that is opened is closed, in order, and nothing is fetched from anywhere.
    #[track_caller]
    pub(crate) fn assert_well_formed(page: &str) {
        let mut open: Vec<&str> = Vec::new();
        let mut rest = page.strip_prefix("<!DOCTYPE html>\n").expect("a document type");
        while let Some((before, tag)) = rest.split_once('<') {
            assert!(!before.contains('>') || open.last() == Some(&"style"), "a stray > in {before:?}");
            let (tag, after) = tag.split_once('>').unwrap_or_else(|| panic!("an open tag: <{tag}"));
            rest = after;
            match tag.strip_prefix('/') {
                Some(name) => {
                    assert_eq!(open.pop(), Some(name), "closed out of order before {:?}", &after[..40.min(after.len())])
                }
                None if tag.ends_with('/') => {}
                None => open.push(tag.split_whitespace().next().expect("a name")),
            }
            assert!(tag.matches('"').count().is_multiple_of(2), "quotes in <{tag}>");
        }
        assert!(open.is_empty(), "never closed: {open:?}");
        for fetching in ["src=", "href=", "url(", "@import", "<script", "<link"] {
            assert!(!page.contains(fetching), "{fetching}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf\""), "a figure that is none");
    }

    #[test]
    fn what_comes_from_outside_cannot_be_markup() {
        assert_eq!(escape("<a href=\"x\">&\u{1b}[0m"), "&lt;a href=&quot;x&quot;&gt;&amp; [0m");
        let rows = vec![("ours", vec![Cell::new("<b>"), Cell::new("1").aside("(0–2)").class("good")])];
        let page = page("<t>", &paragraph("about", "<p>"), &table(&["<h>".into()], &rows));
        assert_well_formed(&page);
        assert!(page.contains("<td class=\"good\">1 <small>(0–2)</small></td>"), "{page}");
    }

    #[test]
    #[should_panic(expected = "out of order")]
    fn the_check_of_the_form_finds_what_is_wrong() {
        assert_well_formed("<!DOCTYPE html>\n<a><b></a></b>");
    }
}
