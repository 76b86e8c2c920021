//! Regular expressions, compiled in one way by whoever checks a configuration and by whoever uses it.
//!
//! They work on bytes, their classes are those of ASCII, and none takes more than linear time: no look-around, no back
//! references. What the automaton of one may weigh is bounded, so `a{1000}{1000}` is refused and not built.

use regex_automata::{
    meta::{Builder, Config, Regex},
    nfa::thompson,
    util::syntax,
};
use regex_syntax::hir::{Hir, Look};

use crate::diagnostic::{Fault, quoted};

/// What the automaton of one expression may weigh.
const AUTOMATON_BYTES_MAX: usize = 256 << 10;
/// What the lazily built part of it may grow to, for each shard that uses it.
const CACHE_BYTES_MAX: usize = 64 << 10;
pub(crate) const PATTERN_BYTES_MAX: usize = 1024;
const NEST_MAX: u32 = 50;

/// Matches whole texts only.
///
/// # Errors
/// Says what is wrong with the expression, and where.
pub fn whole(pattern: &str) -> Result<Regex, Fault> {
    let inner = parse(pattern)?;
    let all = Hir::concat(vec![Hir::look(Look::Start), inner, Hir::look(Look::End)]);
    build(pattern, &all)
}

/// Finds matches anywhere in a text.
///
/// # Errors
/// As [`whole`].
pub fn part(pattern: &str) -> Result<Regex, Fault> {
    build(pattern, &parse(pattern)?)
}

/// The bytes that everything begins with that [`whole`] matches.
///
/// # Errors
/// As [`whole`].
pub fn literal_start(pattern: &str) -> Result<Vec<u8>, Fault> {
    let hir = parse(pattern)?;
    let mut extractor = regex_syntax::hir::literal::Extractor::new();
    extractor.kind(regex_syntax::hir::literal::ExtractKind::Prefix);
    let prefixes = extractor.extract(&hir);
    Ok(prefixes.longest_common_prefix().unwrap_or_default().to_vec())
}

fn parse(pattern: &str) -> Result<Hir, Fault> {
    if pattern.len() > PATTERN_BYTES_MAX {
        let message =
            format!("a regular expression has at most {PATTERN_BYTES_MAX} bytes, and this one {}", pattern.len());
        return Err(Fault::new(message));
    }
    let config = syntax::Config::new().unicode(false).utf8(false).nest_limit(NEST_MAX);
    syntax::parse_with(pattern, &config).map_err(|error| fault(pattern, &error))
}

fn build(pattern: &str, hir: &Hir) -> Result<Regex, Fault> {
    let config = Config::new()
        .nfa_size_limit(Some(AUTOMATON_BYTES_MAX))
        .onepass_size_limit(Some(AUTOMATON_BYTES_MAX))
        .hybrid_cache_capacity(CACHE_BYTES_MAX)
        .which_captures(thompson::WhichCaptures::All)
        .utf8_empty(false);
    Builder::new().configure(config).build_from_hir(hir).map_err(|error| match error.size_limit() {
        Some(_) => Fault::new(format!("the regular expression {} is too large", quoted(pattern)))
            .help("make repetitions such as {1000} smaller"),
        None => Fault::new(format!("the regular expression {} cannot be built: {error}", quoted(pattern))),
    })
}

fn fault(pattern: &str, error: &regex_syntax::Error) -> Fault {
    let (message, span) = match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), Some(*error.span())),
        regex_syntax::Error::Translate(error) => (error.kind().to_string(), Some(*error.span())),
        other => (other.to_string(), None),
    };
    let fault = Fault::new(format!("{} is not a regular expression", quoted(pattern))).help(message);
    match span.map(|span| span.start.offset..span.end.offset).filter(|range| range.start < range.end) {
        Some(range) => fault.at(range),
        None => fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_texts_and_parts() {
        for (pattern, text, expected) in [
            ("/a|/ab", "/ab", true),
            ("a", "ba", false),
            ("a", "ab", false),
            ("(?i)AbC", "aBc", true),
            (r"\d+", "12", true),
            (r"\d+", "١", false),
            ("", "", true),
            ("", "a", false),
            (".*", "a\u{1}b", true),
            ("^/a$", "/a", true),
        ] {
            assert_eq!(whole(pattern).expect(pattern).is_match(text), expected, "{pattern} {text}");
        }
        assert!(part("b").expect("b").is_match("abc"));
    }

    #[test]
    fn what_all_matches_begin_with() {
        for (pattern, expected) in [
            ("/users/[0-9]+", "/users/"),
            ("/a(b|c)", "/a"),
            ("^/x/y$", "/x/y"),
            (".*", ""),
            ("(?i)/a", "/"),
            ("/v(1|2)/.*", "/v"),
            ("a*", ""),
            ("|/a", ""),
        ] {
            let found = literal_start(pattern).expect(pattern);
            assert!(expected.as_bytes().starts_with(&found), "{pattern} {:?}", String::from_utf8_lossy(&found));
        }
        assert_eq!(literal_start("/users/[0-9]+"), Ok(b"/users/".to_vec()));
        assert_eq!(literal_start("^/x/y$"), Ok(b"/x/y".to_vec()));
    }

    #[test]
    fn what_is_refused() {
        for (pattern, words) in [
            ("a)(b", "unopened group"),
            ("(?=a)", "look-around"),
            (r"(a)\1", "backreferences"),
            ("[z-a]", "invalid character class range"),
            ("((((((((((a{10}){10}){10}){10}){10}){10}){10}){10}){10}){10}){10}", "too large"),
            (&format!("{}a{}", "(".repeat(60), ")".repeat(60)), "nested"),
            (&"a".repeat(2000), "1024 bytes"),
            (r"\p{Greek}", "Unicode"),
        ] {
            let fault = whole(pattern).expect_err(pattern).to_string();
            assert!(fault.contains(words), "{fault}");
        }
        assert_eq!(whole("ab[z-a]").expect_err("a range").at, Some(3..6));
    }
}
