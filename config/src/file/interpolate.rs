//! `${VAR}`, `${VAR:-default}`, `${file:/path}` and `$$` inside strings.

use std::{borrow::Cow, ops::Range, path::Path};

use crate::{
    diagnostic::{Fault, quoted},
    env::Env,
};

/// The text with everything filled in; borrowed exactly when there was nothing to fill in.
///
/// # Errors
/// Every place that cannot be filled in.
pub(crate) fn expand<'t>(text: &'t str, env: &dyn Env) -> Result<Cow<'t, str>, Vec<Fault>> {
    if !text.contains('$') {
        return Ok(Cow::Borrowed(text));
    }
    let (mut out, mut faults) = (String::new(), Vec::new());
    let mut position = 0;
    while let Some(dollar) = text[position..].find('$').map(|i| position + i) {
        out += &text[position..dollar];
        let (range, value) = one(text, dollar, env);
        position = range.end;
        match value {
            Ok(value) => out += &value,
            Err(fault) => faults.push(fault.at(range)),
        }
    }
    out += &text[position..];
    if faults.is_empty() { Ok(Cow::Owned(out)) } else { Err(faults) }
}

/// The text that [`expand`] turns into `text`.
pub(crate) fn escape(text: &str) -> String {
    text.replace('$', "$$")
}

/// What starts at `dollar`: the bytes it takes, and what it stands for.
fn one(text: &str, dollar: usize, env: &dyn Env) -> (Range<usize>, Result<String, Fault>) {
    let rest = &text[dollar + 1..];
    if rest.starts_with('$') {
        return (dollar..dollar + 2, Ok("$".to_owned()));
    }
    let Some(inner) = rest.strip_prefix('{') else {
        let fault = Fault::new("a `$` stands alone").help("write $$ for a dollar sign, ${NAME} for a variable");
        return (dollar..dollar + 1, Err(fault));
    };
    let Some(length) = inner.find('}') else {
        return (dollar..text.len(), Err(Fault::new("`${` is not closed").help("add the missing }")));
    };
    (dollar..dollar + 3 + length, lookup(&inner[..length], env))
}

fn lookup(inner: &str, env: &dyn Env) -> Result<String, Fault> {
    if let Some(path) = inner.strip_prefix("file:") {
        return match env.read(Path::new(path)) {
            Ok(content) => {
                Ok(content.strip_suffix('\n').map_or(&*content, |c| c.strip_suffix('\r').unwrap_or(c)).to_owned())
            }
            Err(e) => Err(Fault::new(format!("cannot read the file {}: {e}", quoted(path)))),
        };
    }
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    if !is_variable(name) {
        let fault = Fault::new(format!("{} is not the name of a variable", quoted(name)));
        return Err(fault.help("write ${NAME}, ${NAME:-default} or ${file:/path}"));
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(Fault::new("a default cannot refer to another variable"));
    }
    match (env.var(name), default) {
        (Some(value), None) => Ok(value),
        // As in a shell, `:-` stands in for an empty variable too.
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(Fault::new(format!("the environment variable {} is not set", quoted(name)))
            .help(format!("set it, or give a default: ${{{name}:-default}}"))),
    }
}

fn is_variable(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !name.is_empty() && name.bytes().all(word) && !name.as_bytes()[0].is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use super::{escape, expand};
    use crate::env::Env;

    struct Fixed;

    impl Env for Fixed {
        fn var(&self, name: &str) -> Option<String> {
            [("A", "1"), ("EMPTY", ""), ("TRICK", "${A}")]
                .iter()
                .find(|(k, _)| *k == name)
                .map(|(_, v)| (*v).to_owned())
        }

        fn vars(&self) -> Vec<(String, String)> {
            Vec::new()
        }

        fn read(&self, path: &Path) -> io::Result<String> {
            if path == Path::new("/x") { Ok("secret\n".to_owned()) } else { Err(io::ErrorKind::NotFound.into()) }
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(expand(text, &Fixed).as_deref(), Ok(expected), "{text}");
    }

    #[track_caller]
    fn refused(text: &str, places: &[(&str, &str)]) {
        let faults = expand(text, &Fixed).expect_err(text);
        assert_eq!(faults.len(), places.len(), "{faults:?}");
        for (fault, (part, words)) in faults.iter().zip(places) {
            assert_eq!(&text[fault.at.clone().expect("a place")], *part);
            assert!(fault.message.contains(words), "{fault}");
        }
    }

    #[test]
    fn what_stands_for_something() {
        check("plain", "plain");
        check("${A}", "1");
        check("a${A}b${A}", "a1b1");
        check("${A:-2}", "1");
        check("${B:-2}", "2");
        check("${B:-}", "");
        check("${EMPTY:-x}", "x");
        check("${EMPTY}", "");
        check("$$", "$");
        check("$${A}", "${A}");
        check("${file:/x}", "secret");
        check("é${A}é", "é1é");
        // What a variable says is not looked at again.
        check("${TRICK}", "${A}");
    }

    #[test]
    fn every_mistake_at_its_place() {
        refused("a${B}c${C}", &[("${B}", "`B` is not set"), ("${C}", "`C` is not set")]);
        refused("$A", &[("$", "stands alone")]);
        refused("a${A", &[("${A", "not closed")]);
        refused("${}", &[("${}", "not the name")]);
        refused("${1A}", &[("${1A}", "not the name")]);
        refused("${file:/y}", &[("${file:/y}", "cannot read")]);
        refused("${B:-${A}}", &[("${B:-${A}", "cannot refer")]);
    }

    #[test]
    fn escaping_is_the_inverse() {
        for text in ["", "$", "$$", "${A}", "a$b"] {
            check(&escape(text), text);
        }
    }
}
