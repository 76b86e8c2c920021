//! No text makes the parser panic, recurse without end or forget where it is.

mod common;

use std::fmt::Write as _;

use balance_config::{
    diagnostic::{DIAGNOSTICS_MAX, Report},
    effective::render,
    env::NoEnv,
    file,
};
use common::parse;

/// SplitMix64: small, seeded, good enough to pick bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }

    fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

const SEEDS: [&str; 15] = [
    include_str!("../examples/embedded.toml"),
    include_str!("../examples/tcp.toml"),
    include_str!("../examples/weighted.toml"),
    include_str!("../examples/unix.toml"),
    include_str!("../examples/dual-stack.toml"),
    include_str!("../examples/tuning.toml"),
    include_str!("../examples/forward.toml"),
    include_str!("../examples/proxy-protocol.toml"),
    include_str!("../examples/acl.toml"),
    include_str!("../examples/dns.toml"),
    include_str!("../examples/limits.toml"),
    include_str!("../examples/per-ip.toml"),
    include_str!("../examples/http-routing.toml"),
    include_str!("../examples/http-behind-proxies.toml"),
    include_str!("../examples/http-limits.toml"),
];

const PIECES: [&str; 24] = [
    "\"",
    "'",
    "\"\"\"",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "#",
    "\n",
    "\r",
    "$",
    "${",
    "${A:-",
    "${file:/x}",
    "é",
    "\u{202e}",
    "-1",
    "99999999999999999999",
    "\\u0000",
];

fn mutate(text: &mut Vec<char>, random: &mut Random) {
    let at = random.below(text.len());
    let end = (at + random.below(12)).min(text.len());
    match random.below(5) {
        0 => drop(text.drain(at..end)),
        1 => drop(text.splice(at..end, random.pick(&PIECES).chars())),
        2 => drop(text.splice(at..at, random.pick(&PIECES).chars())),
        3 => {
            let copy: Vec<char> = text[at..end].to_vec();
            let to = random.below(text.len());
            drop(text.splice(to..to, copy));
        }
        _ => {
            let lines: String = text.iter().collect();
            let mut lines: Vec<&str> = lines.lines().collect();
            let (a, b) = (random.below(lines.len()), random.below(lines.len()));
            if !lines.is_empty() {
                lines.swap(a, b);
            }
            *text = lines.join("\n").chars().collect();
        }
    }
}

/// What holds for every outcome.
#[track_caller]
fn check(text: &str, what: &str) {
    match file::parse("x", text, &NoEnv, &[]) {
        Ok(loaded) => {
            let out = render(&loaded);
            let again = file::parse("y", &out, &NoEnv, &[]).unwrap_or_else(|report| panic!("{what}\n{out}\n{report}"));
            assert_eq!(again.config, loaded.config, "{what}");
        }
        Err(report) => {
            assert!(report.diagnostics.iter().any(|d| d.is_error()), "{what}\n{report}");
            assert!(report.diagnostics.len() <= DIAGNOSTICS_MAX, "{what}");
            check_places(text, &report, what);
        }
    }
}

#[track_caller]
fn check_places(text: &str, report: &Report, what: &str) {
    let lines: Vec<&str> = text.split('\n').collect();
    for diagnostic in &report.diagnostics {
        assert!(diagnostic.message != "a value was lost on the way; please report this", "{what}\n{text}");
        let Some(line) = diagnostic.line.checked_sub(1) else { continue };
        let length = lines[line].chars().count();
        assert!((1..=length + 1).contains(&diagnostic.column), "{what}\n{diagnostic}");
    }
    assert!(report.to_string().len() < DIAGNOSTICS_MAX * 2000, "{what}");
}

#[test]
fn mutated_examples() {
    for seed in 0..6000 {
        let mut random = Random(seed);
        let mut text: Vec<char> = random.pick(&SEEDS).chars().collect();
        for _ in 0..=random.below(8) {
            mutate(&mut text, &mut random);
        }
        let text: String = text.into_iter().collect();
        check(&text, &format!("seed {seed}"));
    }
}

#[test]
fn pieces_without_sense() {
    for seed in 0..1000 {
        let mut random = Random(seed);
        let mut text = String::new();
        for _ in 0..random.below(200) {
            let piece = if random.below(3) == 0 {
                random.pick(&["listeners", "clusters", "name", "a"])
            } else {
                random.pick(&PIECES)
            };
            let _ = write!(text, "{piece}");
        }
        check(&text, &format!("seed {seed}"));
    }
}

/// Ten MiB of everything that could make a parser slow or deep. The runner's timeout is the bound on time.
#[test]
fn large_and_deep_texts() {
    const BYTES: usize = 10 << 20;
    let fill = |piece: &str| piece.repeat(BYTES / 16 / piece.len());
    for piece in
        ["[", "{", "x", "\"", "'''", "a.", "\n", "a=1\n", "[[listeners]]\n", "[a]\n", "é", "x=[", "x={a=", "# \r", "\t"]
    {
        check(&fill(piece), piece);
        check(&format!("x = [{}", fill(piece)), piece);
    }
    check(&fill("1,").replacen('1', "x = [1", 1), "a long list");
    check(&format!("x = {}", "{a.a.a.a.a.a.a.a.a = ".repeat(10_000)), "dotted and nested");
    check(&"x".repeat(BYTES), "one long line");
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    let report = parse(&format!("x = {}{}", "[".repeat(100_000), "]".repeat(100_000))).expect_err("too deep");
    assert!(report.to_string().contains("nested deeper than 16 levels"), "{report}");
    let report = parse(&format!("{} = 1", vec!["a"; 100_000].join("."))).expect_err("too deep");
    assert!(report.to_string().contains("nested deeper than 16 levels"), "{report}");
}

#[test]
fn ten_thousand_clusters() {
    let mut text = String::new();
    for i in 0..10_000 {
        let _ = write!(
            text,
            "[[listeners]]\nname = \"l{i}\"\nbind = \"10.0.{}.{}:80\"\ncluster = \"c{i}\"\n\
             [clusters.c{i}]\nendpoints = [\"10.1.0.1:80\"]\n",
            i / 256,
            i % 256,
        );
    }
    let loaded = parse(&text).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!((loaded.config.clusters.len(), loaded.warnings.len()), (10_000, 0));
    // Every reference wrong at once: similar names are looked for only as long as somebody reads them.
    let report = parse(&text.replace("cluster = \"c", "cluster = \"cc")).expect_err("no such clusters");
    assert_eq!(report.diagnostics.len() + report.omitted, 10_000);
}

/// Lists as long as a file can hold, of what is compared with each other.
#[test]
fn tens_of_thousands_of_networks_and_names() {
    const COUNT: usize = 30_000;
    let listed = |item: &dyn Fn(usize) -> String| (0..COUNT).map(|i| format!("\"{}\",", item(i))).collect::<String>();
    let networks = listed(&|i| format!("10.{}.{}.{}", i >> 16, (i >> 8) & 255, i & 255));
    let names = listed(&|i| format!("a.b.c.d.e.f{i}.example"));
    let protocols: String = (0..32).map(|i| format!("\"p{i}\",")).collect();
    let text = |deny: &str, second: &str| {
        format!(
            "[[listeners]]\nname = \"l\"\nbind = \":80\"\ncluster = \"c\"\nallow = [{networks}]\ndeny = [{deny}]\n\
             [[listeners.routes]]\ncluster = \"c\"\nmatch = {{ sni = [{names}], alpn = [{protocols}] }}\n\
             [[listeners.routes]]\ncluster = \"c\"\nmatch = {{ sni = [{second}] }}\n\
             [clusters.c]\nendpoints = [\"db.internal:1\"]\n"
        )
    };
    let loaded = parse(&text("", &names)).unwrap_or_else(|report| panic!("{report}"));
    let listener = &loaded.config.listeners[0];
    assert_eq!((listener.allow.len(), listener.routes[1].when.sni.len()), (COUNT, COUNT));
    // Every network denied too, and every name of the second route matched by the first.
    let report = parse(&text(&networks, &names).replace("alpn", "sni2")).expect_err("nothing is left");
    assert_eq!(report.diagnostics.len() + report.omitted, COUNT + COUNT + 1);
    let many: String = (0..33).map(|i| format!("\"p{i}\",")).collect();
    let report = parse(&text("", "").replace(&protocols, &many)).expect_err("33 protocols").to_string();
    assert!(report.contains("more than 32 protocols"), "{report}");
}
