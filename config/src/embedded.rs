//! Configurations that need no file: the demonstration, and `--listen` with `--to`.

use std::net::SocketAddr;

use crate::{
    diagnostic::{Diagnostic, Report, Severity},
    env::Env,
    file::{self, Loaded, Override},
};

/// The example as it is in the repository, with endpoints that stand in for those of the demo backends.
pub const EXAMPLE: &str = include_str!("../examples/embedded.toml");

const PAGES: &str = "endpoints = [\"127.0.0.1:9101\", \"127.0.0.1:9102\"]";
const ECHO: &str = "endpoints = [\"127.0.0.1:9201\"]";
const REMARK: &str = "# The endpoints below are replaced by the addresses that the built-in backends got.\n";

/// The embedded example with the addresses of the demo backends filled in, as TOML text.
pub fn demo_text(pages: &[SocketAddr], echo: &[SocketAddr]) -> String {
    EXAMPLE.replace(REMARK, "").replace(PAGES, &endpoints(pages)).replace(ECHO, &endpoints(echo))
}

/// The same, read.
///
/// # Errors
/// The environment or a flag may override a key with something that cannot be.
pub fn demo(
    pages: &[SocketAddr],
    echo: &[SocketAddr],
    env: &dyn Env,
    overrides: &[Override],
) -> Result<Loaded, Report> {
    file::parse("the embedded example", &demo_text(pages, echo), env, overrides)
}

fn endpoints(addresses: &[SocketAddr]) -> String {
    let list: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("endpoints = [{}]", list.join(", "))
}

/// One listener and one cluster, both named `main`, from `--listen` and `--to`. Each flag may be repeated and may hold
/// a list with commas.
///
/// # Errors
/// Names the flag whose value is wrong.
pub fn quick(listen: &[String], to: &[String], env: &dyn Env, overrides: &[Override]) -> Result<Loaded, Report> {
    const NAME: &str = "the command line";
    const TEXT: &str = "[[listeners]]\nname = \"main\"\ncluster = \"main\"\n[clusters.main]\n";
    let missing = |flag: &str, help: &str| {
        Report::one(Diagnostic::about(Severity::Error, NAME, format!("{flag} is missing")).with_help(help))
    };
    if listen.is_empty() {
        return Err(missing("--listen", "say where connections come in: --listen :8080"));
    }
    if to.is_empty() {
        return Err(missing("--to", "say where they go: --to 127.0.0.1:9001,127.0.0.1:9002"));
    }
    let flag = |path: &str, values: &[String], origin: &str| Override {
        path: path.to_owned(),
        value: values.join(","),
        origin: origin.to_owned(),
    };
    let mut flags = vec![flag("listeners.main.bind", listen, "--listen"), flag("clusters.main.endpoints", to, "--to")];
    flags.extend_from_slice(overrides);
    file::parse(NAME, TEXT, env, &flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::NoEnv;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn demo_backends_take_the_place_of_the_stand_ins() {
        let (pages, echo) =
            (["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()], ["127.0.0.1:3".parse().unwrap()]);
        let loaded = demo(&pages, &echo, &NoEnv, &[]).unwrap();
        let endpoints: Vec<Vec<String>> = loaded
            .config
            .clusters
            .iter()
            .map(|c| c.endpoints.iter().map(|e| e.address.to_string()).collect())
            .collect();
        assert_eq!(endpoints, [texts(&["127.0.0.1:1", "[::1]:2"]), texts(&["127.0.0.1:3"])]);
        assert!(loaded.warnings.is_empty());
        let text = demo_text(&pages, &echo);
        assert!(!text.contains(":91") && !text.contains(":92") && !text.contains("replaced"), "{text}");
    }

    #[test]
    fn two_flags_are_a_configuration() {
        let loaded = quick(&texts(&[":9000"]), &texts(&["127.0.0.1:1,127.0.0.1:2", "[::1]:3"]), &NoEnv, &[]).unwrap();
        assert_eq!(loaded.config.listeners[0].bind[0].to_string(), "[::]:9000");
        assert_eq!(loaded.config.clusters[0].endpoints.len(), 3);
        assert!(loaded.warnings.is_empty());
        assert_eq!(loaded.provenance.of("listeners.main.bind").to_string(), "flag --listen");
    }

    #[track_caller]
    fn refused(listen: &[&str], to: &[&str], expected: &str) {
        let report = quick(&texts(listen), &texts(to), &NoEnv, &[]).expect_err(expected).to_string();
        assert_eq!(report, expected);
    }

    #[test]
    fn errors_name_the_flag() {
        refused(
            &[":9000"],
            &["127.0.0.1:1", "a..b:80"],
            "\
error: `a..b` is not the name of a host
--> --to
 |
 | --to 127.0.0.1:1,a..b:80
 |                  ^^^^^^^
 = help: a part between dots is empty

1 error
",
        );
        refused(
            &["8080"],
            &["127.0.0.1:1"],
            "\
error: `8080` is not an address to listen on
--> --listen
 |
 | --listen 8080
 |          ^^^^
 = help: write \":8080\" for port 8080 on every address

1 error
",
        );
        refused(
            &[":80"],
            &[],
            "\
error: --to is missing
--> the command line
 = help: say where they go: --to 127.0.0.1:9001,127.0.0.1:9002

1 error
",
        );
    }
}
