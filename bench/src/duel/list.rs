//! `bench duel --list`.

use super::{
    find::{self, Given},
    proxy::Proxy,
    scenario::{DECISIVE, Scenario},
};
use crate::failure::Failure;
use std::fmt::Write;

/// Ends with a newline. A star marks what is taken when nothing is named.
pub(super) fn text(scenarios: &[Scenario], proxies: &[Proxy], given: &[Given]) -> Result<String, Failure> {
    let mut text = "scenarios (* unless others are named)\n".to_owned();
    let star = |yes: bool| if yes { '*' } else { ' ' };
    for scenario in scenarios {
        let mark = star(DECISIVE.contains(&scenario.name.as_str()));
        let _ = writeln!(text, "{mark} {:22}{:6}{}", scenario.name, scenario.protocol.name(), scenario.about);
    }
    text.push_str("\nproxies (* unless others are named)\n");
    let mut missing = Vec::new();
    for proxy in proxies {
        let found = find::find(proxy, given)?;
        let here = match &found {
            Some(found) if found.version.is_empty() => "here".to_owned(),
            Some(found) => found.version.clone(),
            None => "missing".to_owned(),
        };
        let _ = writeln!(text, "{} {:22}{}: {here}", star(proxy.is_default), proxy.name, proxy.about);
        if found.is_none() {
            missing.push(proxy.clone());
        }
    }
    if !missing.is_empty() {
        text.push('\n');
        text.push_str(&find::missing(&missing));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::duel::proxy;

    #[test]
    fn everything_is_listed_and_what_is_missing_says_how_to_get_it() {
        let proxies = proxy::all(None).expect("valid");
        let text = text(&Scenario::ours().expect("valid"), &proxies, &[]).expect("a list");
        for proxy in &proxies {
            assert!(text.contains(&proxy.about), "{text}");
            let is_missing = text.contains(&format!("{}: missing", proxy.about));
            assert_eq!(is_missing, text.contains(&format!("missing: {} (", proxy.program)), "{text}");
        }
        assert!(text.contains("* tcp-64b-100") && text.contains("  tcp-1k-100"), "{text}");
        assert!(text.contains("* balance ") && text.contains("  balance-copy"), "{text}");
    }
}
