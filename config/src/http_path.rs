//! Paths of requests in one form, so that what a route matches is what the endpoint gets.
//!
//! What is the same by RFC 3986 section 6.2.2 is written the same: escapes of letters that need none are undone, the
//! others have capital digits, `.` and `..` are resolved. What servers are known to read in different ways is refused:
//!
//! ```text
//!   /a/../../b     above the root           /a/..%2Fb   a step behind an encoded slash
//!   /a/..;x/b      a step with parameters   /a\b  %00   what some take for a slash, or for the end
//! ```

use std::fmt;

use crate::model::{EncodedSlashes, PathRules};

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BadPath {
    /// It does not start with `/`.
    Start,
    /// A character that no path has: a space, a control character, `\`, `#` or `?`.
    Character,
    /// `%` without two hexadecimal digits.
    Escape,
    /// `%00`.
    Nul,
    /// `%2F` or `%5C` where these are refused.
    EncodedSlash,
    /// `..` where nothing is left to leave.
    AboveRoot,
    /// A `.` or `..` that only some servers would take for a step.
    HiddenStep,
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "the path does not start with /",
            Self::Character => "the path has a character that must be encoded",
            Self::Escape => "the path has a % without two hexadecimal digits",
            Self::Nul => "the path has an encoded NUL",
            Self::EncodedSlash => "the path has an encoded slash",
            Self::AboveRoot => "the path leaves the root",
            Self::HiddenStep => "the path has a step that servers read in different ways",
        })
    }
}

impl std::error::Error for BadPath {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    /// May be written otherwise.
    Look,
    /// RFC 3986 has no such character in a path; written as an escape.
    Encode,
    Refuse,
}

static CLASSES: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut classes = [Class::Plain; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            0..=b' ' | 0x7f | b'\\' | b'#' | b'?' => Class::Refuse,
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80.. => Class::Encode,
            b'%' => Class::Look,
            _ => Class::Plain,
        };
        byte += 1;
    }
    classes
}

/// `path`, without a query, in the form that routes and endpoints see: borrowed when it has that form already, else
/// written into `space`. An empty one is `/` (RFC 9110 section 4.2.3), and `*`, which OPTIONS asks for, stays.
///
/// # Errors
/// Says why a path is refused.
pub fn canonical<'a>(path: &'a [u8], rules: PathRules, space: &'a mut Vec<u8>) -> Result<&'a [u8], BadPath> {
    match path {
        b"" => return Ok(b"/"),
        b"*" => return Ok(path),
        [b'/', ..] => {}
        _ => return Err(BadPath::Start),
    }
    if is_canonical(path, rules) {
        return Ok(path);
    }
    space.clear();
    Writer { rules, out: space, start: 0, is_odd: false }.write(path)?;
    Ok(space)
}

fn is_canonical(path: &[u8], rules: PathRules) -> bool {
    let mut previous = 0;
    for &byte in path {
        let is_plain = CLASSES[usize::from(byte)] == Class::Plain;
        let is_after_slash = previous == b'/' && (byte == b'.' || (byte == b'/' && rules.merge_slashes));
        if !is_plain || is_after_slash {
            return false;
        }
        previous = byte;
    }
    true
}

struct Writer<'o> {
    rules: PathRules,
    out: &'o mut Vec<u8>,
    /// Where the segment starts that is being written, after its slash.
    start: usize,
    /// The segment has an escape of a slash or a `;`.
    is_odd: bool,
}

impl Writer<'_> {
    fn write(mut self, path: &[u8]) -> Result<(), BadPath> {
        self.out.push(b'/');
        self.start = 1;
        let mut rest = &path[1..];
        while let [byte, after @ ..] = rest {
            rest = after;
            match byte {
                b'/' => self.end_segment(true)?,
                b'%' => {
                    let (&[high, low], after) = rest.split_first_chunk().ok_or(BadPath::Escape)?;
                    rest = after;
                    self.escaped(digit(high)? << 4 | digit(low)?)?;
                }
                _ => match CLASSES[usize::from(*byte)] {
                    Class::Refuse => return Err(BadPath::Character),
                    Class::Encode => self.encode(*byte),
                    Class::Plain | Class::Look => {
                        self.is_odd |= *byte == b';';
                        self.out.push(*byte);
                    }
                },
            }
        }
        self.end_segment(false)
    }

    fn escaped(&mut self, byte: u8) -> Result<(), BadPath> {
        match (byte, self.rules.encoded_slashes) {
            (0, _) => Err(BadPath::Nul),
            (b'/' | b'\\', EncodedSlashes::Reject) => Err(BadPath::EncodedSlash),
            (b'/' | b'\\', EncodedSlashes::Decode) => self.end_segment(true),
            // RFC 3986 section 2.3: "should be decoded".
            (b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~', _) => {
                self.out.push(byte);
                Ok(())
            }
            (byte, _) => {
                self.is_odd |= matches!(byte, b'/' | b'\\' | b';');
                self.encode(byte);
                Ok(())
            }
        }
    }

    fn encode(&mut self, byte: u8) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        self.out.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }

    fn end_segment(&mut self, has_slash: bool) -> Result<(), BadPath> {
        let segment = &self.out[self.start..];
        if self.is_odd && has_hidden_step(segment) {
            return Err(BadPath::HiddenStep);
        }
        self.is_odd = false;
        match segment {
            b"." => self.out.truncate(self.start),
            b".." => {
                // The slash before the segment that is left.
                let end = self.start - 1;
                let up = self.out[..end].iter().rposition(|b| *b == b'/').ok_or(BadPath::AboveRoot)?;
                self.out.truncate(up + 1);
            }
            b"" if self.rules.merge_slashes || !has_slash => {}
            _ if has_slash => self.out.push(b'/'),
            _ => {}
        }
        self.start = self.out.len();
        Ok(())
    }
}

/// True for a segment that becomes a step once its escapes are undone, or its parameters are taken off.
fn has_hidden_step(segment: &[u8]) -> bool {
    let mut rest = segment;
    loop {
        let end = rest.windows(3).position(|escape| matches!(escape, b"%2F" | b"%5C"));
        let part = &rest[..end.unwrap_or(rest.len())];
        let is_whole = part.len() == segment.len();
        let name = &part[..part.iter().position(|b| *b == b';').unwrap_or(part.len())];
        let name = &name[..name.windows(3).position(|escape| escape == b"%3B").unwrap_or(name.len())];
        if matches!(name, b"." | b"..") && !(is_whole && name.len() == part.len()) {
            return true;
        }
        match end {
            Some(end) => rest = &rest[end + 3..],
            None => return false,
        }
    }
}

fn digit(byte: u8) -> Result<u8, BadPath> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        b'A'..=b'F' => Ok(byte - b'A' + 10),
        _ => Err(BadPath::Escape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: PathRules = PathRules { merge_slashes: true, encoded_slashes: EncodedSlashes::Keep };

    #[track_caller]
    fn check(path: &str, rules: PathRules, expected: Result<&str, BadPath>) {
        let (mut space, mut again) = (Vec::new(), Vec::new());
        let found = canonical(path.as_bytes(), rules, &mut space);
        assert_eq!(found.map(|path| String::from_utf8_lossy(path).into_owned()), expected.map(str::to_owned), "{path}");
        if let Ok(found) = found {
            assert_eq!(canonical(found, rules, &mut again), Ok(found), "{path} is not stable");
        }
    }

    #[test]
    fn the_same_is_written_the_same() {
        for (path, expected) in [
            ("/", "/"),
            ("", "/"),
            ("*", "*"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/%61%2db%7e", "/a-b~"),
            ("/%c3%a9", "/%C3%A9"),
            ("/é", "/%C3%A9"),
            ("/a|b", "/a%7Cb"),
            ("//a///b//", "/a/b/"),
            ("/a/./b", "/a/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/./a", "/a"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/../", "/"),
            ("/a/...", "/a/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%2F.b", "/a%2F.b"),
            ("/a;v=1/b", "/a;v=1/b"),
            ("/%252e%252e/", "/%252e%252e/"),
            ("/a%0d%0Ab", "/a%0D%0Ab"),
            ("/@x%2fy", "/@x%2Fy"),
        ] {
            check(path, DEFAULT, Ok(expected));
        }
    }

    #[test]
    fn what_servers_read_in_different_ways_is_refused() {
        for (path, expected) in [
            ("a", BadPath::Start),
            ("/a\\b", BadPath::Character),
            ("/a b", BadPath::Character),
            ("/a#b", BadPath::Character),
            ("/a\tb", BadPath::Character),
            ("/a?b", BadPath::Character),
            ("/%", BadPath::Escape),
            ("/%4", BadPath::Escape),
            ("/%zz", BadPath::Escape),
            ("/%+1", BadPath::Escape),
            ("/a%00b", BadPath::Nul),
            ("/..", BadPath::AboveRoot),
            ("/a/../../b", BadPath::AboveRoot),
            ("/%2e%2e/a", BadPath::AboveRoot),
            ("/a/..%2Fb", BadPath::HiddenStep),
            ("/a/%2e%2e%2fb", BadPath::HiddenStep),
            ("/a/b%2f..", BadPath::HiddenStep),
            ("/a/b%2f.%2fc", BadPath::HiddenStep),
            ("/a/b%5C..%5Cc", BadPath::HiddenStep),
            ("/a/..;x=1/b", BadPath::HiddenStep),
            ("/a/.;/b", BadPath::HiddenStep),
            ("/a/..%3bx/b", BadPath::HiddenStep),
            ("/a/x%2F..;/b", BadPath::HiddenStep),
        ] {
            check(path, DEFAULT, Err(expected));
        }
    }

    #[test]
    fn slashes_as_the_rules_say() {
        let rules = |merge_slashes, encoded_slashes| PathRules { merge_slashes, encoded_slashes };
        check("/a//b", rules(false, EncodedSlashes::Keep), Ok("/a//b"));
        check("//a", rules(false, EncodedSlashes::Keep), Ok("//a"));
        check("/a//", rules(false, EncodedSlashes::Keep), Ok("/a//"));
        check("/a//../b", rules(false, EncodedSlashes::Keep), Ok("/a/b"));
        check("/a%2Fb", rules(true, EncodedSlashes::Decode), Ok("/a/b"));
        check("/a%5cb", rules(true, EncodedSlashes::Decode), Ok("/a/b"));
        check("/a%2F..%2Fb", rules(true, EncodedSlashes::Decode), Ok("/b"));
        check("/a%2F%2fb", rules(true, EncodedSlashes::Decode), Ok("/a/b"));
        check("/a%2Fb", rules(true, EncodedSlashes::Reject), Err(BadPath::EncodedSlash));
        check("/a%5Cb", rules(true, EncodedSlashes::Reject), Err(BadPath::EncodedSlash));
    }

    /// Pieces of paths put together in every way up to five: the form is stable, and has no step in it.
    #[test]
    fn the_form_is_stable() {
        const PIECES: [&str; 13] = ["/", ".", "..", "a", "%2e", "%2F", "%5c", ";", "%3B", "é", "%", "%41", "%2525"];
        for number in 0..PIECES.len().pow(5) {
            let mut left = number;
            let mut path = "/".to_owned();
            while left > 0 {
                path += PIECES[left % PIECES.len()];
                left /= PIECES.len();
            }
            for merge_slashes in [true, false] {
                for encoded_slashes in [EncodedSlashes::Keep, EncodedSlashes::Decode, EncodedSlashes::Reject] {
                    let rules = PathRules { merge_slashes, encoded_slashes };
                    let (mut space, mut again) = (Vec::new(), Vec::new());
                    let Ok(found) = canonical(path.as_bytes(), rules, &mut space) else { continue };
                    assert!(found.starts_with(b"/"), "{path}");
                    assert!(found.split(|b| *b == b'/').all(|part| !matches!(part, b"." | b"..")), "{path}");
                    assert!(!merge_slashes || !found.windows(2).any(|pair| pair == b"//"), "{path}");
                    assert_eq!(canonical(found, rules, &mut again), Ok(found), "{path}");
                }
            }
        }
    }
}
