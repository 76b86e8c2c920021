//! "Did you mean": the known name that a misspelt one is nearest to.

/// Longer names than variables for long cluster names are not looked at: comparing takes time by the square.
const NAME_CHARS_MAX: usize = 128;

/// The nearest of `known` that is near enough to be a slip of the fingers.
pub(crate) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_ascii_lowercase().replace('-', "_");
    // One slip in three characters; a longer way off, the guess would more often mislead than help.
    let length = wrong.chars().count();
    let allowed = (length / 3).clamp(1, 4);
    if length > NAME_CHARS_MAX {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for name in known {
        let candidate = name.to_ascii_lowercase().replace('-', "_");
        if candidate.len().abs_diff(wrong.len()) > 4 * allowed {
            continue;
        }
        let distance = distance(&wrong, &candidate);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, name));
        }
    }
    best.map(|(_, name)| name)
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b` (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous = None;
    for (i, x) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if j > 0 && previous == Some(y) && b[j - 1] == x {
                cost = cost.min(before_last[j - 1] + 1);
            }
            row.push(cost);
        }
        before_last = std::mem::replace(&mut last, row);
        previous = Some(x);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn slips_are_counted() {
        for (a, b, slips) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("bind", "bind", 0),
            ("bnid", "bind", 1),
            ("bin", "bind", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), slips, "{a} {b}");
        }
    }

    #[test]
    fn a_slip_is_understood_and_a_stranger_is_not() {
        let known = ["endpoints", "policy", "connect_timeout"];
        assert_eq!(nearest("endpoint", known), Some("endpoints"));
        assert_eq!(nearest("connect-timeout", known), Some("connect_timeout"));
        assert_eq!(nearest("Policy", known), Some("policy"));
        assert_eq!(nearest("xyz", known), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), known), None);
    }
}
