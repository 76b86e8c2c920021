//! `{{name}}` in the data files of a duel.

use std::{collections::BTreeMap, fmt};

/// What the names stand for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(BTreeMap<String, String>);

/// A template that cannot be filled in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Unknown { name: String, known: Vec<String> },
    Open { after: String },
    Circle { name: String },
}

/// Values within values; more than this is a circle.
const DEPTH_MAX: usize = 8;

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, known } => {
                write!(f, "nothing is called {{{{{name}}}}}; there are: {}", known.join(", "))
            }
            Self::Circle { name } => write!(f, "{{{{{name}}}}} stands for something that leads back to itself"),
            Self::Open { after } => write!(f, "{{{{{after}… has no }}}}"),
        }
    }
}

impl Names {
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// Values may use other names.
    pub(crate) fn set_all(&mut self, values: &BTreeMap<String, String>) {
        self.0.extend(values.iter().map(|(name, value)| (name.clone(), value.clone())));
    }

    pub(crate) fn fill(&self, template: &str) -> Result<String, Fault> {
        self.fill_at(template, 0)
    }

    fn fill_at(&self, template: &str, depth: usize) -> Result<String, Fault> {
        let mut text = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((name, end)) = after.split_once("}}") else {
                return Err(Fault::Open { after: after.chars().take(20).collect() });
            };
            let Some(value) = self.0.get(name) else {
                return Err(Fault::Unknown { name: name.into(), known: self.0.keys().cloned().collect() });
            };
            if depth == DEPTH_MAX {
                return Err(Fault::Circle { name: name.into() });
            }
            text.push_str(before);
            text.push_str(&self.fill_at(value, depth + 1)?);
            rest = end;
        }
        text.push_str(rest);
        Ok(text)
    }

    pub(crate) fn fill_all(&self, templates: &[String]) -> Result<Vec<String>, Fault> {
        templates.iter().map(|template| self.fill(template)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let mut names = Names::default();
        names.set("port", "80");
        names
    }

    #[test]
    fn names_are_filled_in_and_other_braces_stay() {
        assert_eq!(names().fill("a { b: {{port}} }, {{port}}").as_deref(), Ok("a { b: 80 }, 80"));
        assert_eq!(names().fill("{ c: [{ d: }] }").as_deref(), Ok("{ c: [{ d: }] }"));
    }

    #[test]
    fn values_may_use_names() {
        let mut names = names();
        let values = [("bind".into(), ":{{port}}".into()), ("all".into(), "bind {{bind}}".into())];
        names.set_all(&values.into());
        assert_eq!(names.fill("{{all}}").as_deref(), Ok("bind :80"));
        names.set("bind", "{{all}}");
        assert!(names.fill("{{all}}").unwrap_err().to_string().contains("leads back"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = names().fill("{{prot}}").unwrap_err().to_string();
        assert_eq!(message, "nothing is called {{prot}}; there are: port");
        assert_eq!(names().fill("x {{port").unwrap_err().to_string(), "{{port… has no }}");
    }
}
