//! A proxy that takes part: how it is found, configured and started. A data file; ours are in the program.

use super::{scenario::Protocol, template::Names};
use crate::failure::Failure;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A file as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    program: String,
    /// How somebody who does not have it gets it.
    get: String,
    /// Arguments that make it print its version.
    #[serde(default)]
    version: Vec<String>,
    /// It takes part when no proxies are named.
    #[serde(default)]
    default: bool,
    /// Of its configuration file.
    #[serde(default)]
    extension: Option<String>,
    #[serde(default)]
    values: BTreeMap<String, String>,
    tcp: Option<Mode>,
    http: Option<Mode>,
    #[serde(default)]
    variants: BTreeMap<String, Variant>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variant {
    about: String,
    #[serde(default)]
    default: bool,
    values: BTreeMap<String, String>,
}

/// What it does for one protocol.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mode {
    /// Arguments of the program.
    pub(crate) run: Vec<String>,
    /// The text of the file that `{{config}}` names.
    #[serde(default)]
    pub(crate) config: String,
    /// What a reader of the figures has to know.
    #[serde(default)]
    pub(crate) note: Option<String>,
}

/// One that can be asked for by name: a file, or a variant of it.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    pub(crate) name: String,
    pub(crate) about: String,
    pub(crate) program: String,
    pub(crate) get: String,
    pub(crate) version: Vec<String>,
    pub(crate) is_default: bool,
    pub(crate) extension: String,
    values: BTreeMap<String, String>,
    tcp: Option<Mode>,
    http: Option<Mode>,
}

/// Where a proxy works and what it is told.
pub(crate) struct Setting<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) listen_port: u16,
    pub(crate) to_port: u16,
    pub(crate) core: u16,
}

/// The same for everybody, and printed beside the figures.
pub(crate) const EQUAL: [(&str, &str); 6] = [
    ("threads", "1"),
    ("connect_timeout_s", "5"),
    ("idle_timeout_s", "60"),
    ("connections_max", "9500"),
    ("descriptors", "19900"),
    ("backlog", "16384"),
];

macro_rules! ours {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../proxies/", $name, ".toml")))),*]
    };
}

/// In the order in which they run and are listed.
const OURS: &[(&str, &str)] =
    ours!("haproxy", "balance", "nginx", "envoy", "tokio", "monoio", "glommio", "floor-copy", "floor-splice",);

/// Every proxy that is known: ours, with those of `directory` before them and in place of ones of the same name.
///
/// # Errors
/// A directory that cannot be read, or a file that is no proxy.
pub(crate) fn all(directory: Option<&Path>) -> Result<Vec<Proxy>, Failure> {
    let mut proxies = Vec::new();
    for path in directory.map_or_else(|| Ok(Vec::new()), files)? {
        let origin = path.display().to_string();
        let text = fs::read_to_string(&path).map_err(|e| Failure::usage(format!("{origin}: {e}")))?;
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        proxies.extend(parse(&stem, &origin, &text)?);
    }
    for (name, text) in OURS {
        let ours = parse(name, name, text)?;
        let is_new = |proxy: &Proxy| proxies.iter().all(|known: &Proxy| known.name != proxy.name);
        let new: Vec<Proxy> = ours.into_iter().filter(is_new).collect();
        proxies.extend(new);
    }
    Ok(proxies)
}

fn files(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries =
        fs::read_dir(directory).map_err(|e| Failure::usage(format!("--proxy-files {}: {e}", directory.display())))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    files.sort();
    Ok(files)
}

fn parse(name: &str, origin: &str, text: &str) -> Result<Vec<Proxy>, Failure> {
    let file: File = toml::from_str(text)
        .map_err(|e| Failure::usage(format!("{origin} is no proxy: {}", e.to_string().trim_end())))?;
    let plain = Proxy {
        name: name.to_owned(),
        about: file.about,
        program: file.program,
        get: file.get,
        version: file.version,
        is_default: file.default,
        extension: file.extension.unwrap_or_else(|| "conf".into()),
        values: file.values,
        tcp: file.tcp,
        http: file.http,
    };
    if plain.tcp.is_none() && plain.http.is_none() {
        return Err(Failure::usage(format!("{origin}: it has neither [tcp] nor [http], so it cannot be started")));
    }
    let variants = file.variants.into_iter().map(|(variant, overrides)| {
        let mut values = plain.values.clone();
        for (key, value) in overrides.values {
            if values.insert(key.clone(), value).is_none() {
                let message = format!("{origin}: variants.{variant} sets {key}, which [values] does not have");
                return Err(Failure::usage(message));
            }
        }
        Ok(Proxy {
            name: format!("{name}-{variant}"),
            about: overrides.about,
            is_default: overrides.default,
            values,
            ..plain.clone()
        })
    });
    let mut all: Vec<Proxy> = variants.collect::<Result<_, _>>()?;
    all.insert(0, plain);
    Ok(all)
}

impl Proxy {
    pub(crate) fn mode(&self, protocol: Protocol) -> Option<&Mode> {
        match protocol {
            Protocol::Tcp => self.tcp.as_ref(),
            Protocol::Http => self.http.as_ref(),
        }
    }

    /// Change what `--set NAME=VALUE` says, for those that have such a value. Returns whether this one has.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> bool {
        self.values.get_mut(name).map(|old| value.clone_into(old)).is_some()
    }

    /// Write its configuration. Returns the arguments to start it with.
    ///
    /// # Errors
    /// A template that cannot be filled in, or a file that cannot be written.
    pub(crate) fn configure(&self, mode: &Mode, setting: &Setting<'_>) -> Result<Vec<String>, Failure> {
        let path = setting.directory.join(format!("{}.{}", self.name, self.extension));
        let names = self.names(setting, &path);
        let wrong = |fault| Failure::usage(format!("{}: {fault}", self.name));
        let text = names.fill(&mode.config).map_err(wrong)?;
        fs::write(&path, text).map_err(|e| Failure::runtime(format!("{}: {e}", path.display())))?;
        names.fill_all(&mode.run).map_err(wrong)
    }

    fn names(&self, setting: &Setting<'_>, config: &Path) -> Names {
        let mut names = Names::default();
        EQUAL.iter().for_each(|(name, value)| names.set(name, *value));
        for (name, port) in [("listen", setting.listen_port), ("to", setting.to_port)] {
            names.set(name, format!("127.0.0.1:{port}"));
            names.set(&format!("{name}_port"), port.to_string());
        }
        names.set("core", setting.core.to_string());
        names.set("dir", setting.directory.display().to_string());
        names.set("config", config.display().to_string());
        names.set_all(&self.values);
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use std::collections::BTreeSet;

    fn setting(directory: &Path) -> Setting<'_> {
        Setting { directory, listen_port: 7001, to_port: 7002, core: 3 }
    }

    #[test]
    fn ours_are_all_the_files_there_are() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/proxies");
        let files: BTreeSet<_> = files(Path::new(directory)).expect("the directory").into_iter().collect();
        let ours = OURS.iter().map(|(name, _)| PathBuf::from(format!("{directory}/{name}.toml"))).collect();
        assert_eq!(files, ours);
    }

    #[test]
    fn every_template_of_ours_can_be_filled_in() {
        let directory = Scratch::new().expect("a directory");
        for proxy in all(None).expect("valid") {
            assert!(!proxy.about.is_empty() && !proxy.get.is_empty(), "{}", proxy.name);
            for protocol in [Protocol::Tcp, Protocol::Http] {
                let mode = proxy.mode(protocol).unwrap_or_else(|| panic!("{} in {protocol:?}", proxy.name));
                let run = proxy.configure(mode, &setting(&directory)).expect(&proxy.name);
                let path = directory.join(format!("{}.{}", proxy.name, proxy.extension));
                let everything = fs::read_to_string(path).expect("written") + &run.join(" ");
                for port in ["7001", "7002"] {
                    assert!(everything.contains(port), "{} in {protocol:?}: {everything}", proxy.name);
                }
                assert!(!everything.contains("{{"), "{everything}");
            }
        }
    }

    /// Those that are here say by themselves whether they understand what we write for them.
    #[test]
    fn installed_rivals_take_the_configuration_that_is_written_for_them() {
        let directory = Scratch::new().expect("a directory");
        for proxy in all(None).expect("valid") {
            let (flags, program): (&[&str], _) = match proxy.program.as_str() {
                "haproxy" => (&["-c"], "haproxy"),
                "nginx" => (&["-t"], "nginx"),
                "envoy" => (&["--mode", "validate"], "envoy"),
                _ => continue,
            };
            let Some(program) = crate::duel::find::in_path(program) else {
                eprintln!("{}: not checked, for {program} is not installed", proxy.name);
                continue;
            };
            for protocol in [Protocol::Tcp, Protocol::Http] {
                let mode = proxy.mode(protocol).expect("both");
                let run = proxy.configure(mode, &setting(&directory)).expect("a configuration");
                let run = run.iter().filter(|word| *word != "-db");
                let output = std::process::Command::new(&program).args(run).args(flags).output().expect("it starts");
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{} in {protocol:?}: {said}", proxy.name);
            }
        }
    }

    #[test]
    fn a_variant_changes_values_of_its_file_and_nothing_else() {
        let text = "about = \"a\"\nprogram = \"p\"\nget = \"g\"\nvalues = { x = \"1\" }\ntcp = { run = [\"{{x}}\"] }\n\
            [variants.two]\nabout = \"b\"\nvalues = { x = \"2\" }\n";
        let proxies = parse("p", "p.toml", text).expect("valid");
        let names: Vec<&str> = proxies.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["p", "p-two"]);
        let directory = Scratch::new().expect("a directory");
        let run = |p: &Proxy| p.configure(p.mode(Protocol::Tcp).expect("tcp"), &setting(&directory)).expect("runs");
        assert_eq!((run(&proxies[0]), run(&proxies[1])), (vec!["1".to_owned()], vec!["2".to_owned()]));
        let mut changed = proxies[0].clone();
        assert!(changed.set("x", "9") && !changed.set("y", "9"));
        assert_eq!(run(&changed), ["9"]);
        let message = parse("p", "p.toml", &text.replace("{ x = \"2\" }", "{ y = \"2\" }")).expect_err("y").message;
        assert!(message.contains("variants.two sets y"), "{message}");
    }

    #[test]
    fn a_file_that_is_no_proxy_says_where_and_why() {
        for (text, words) in [
            ("about = [", "TOML parse error"),
            ("about = \"a\"\nprogram = \"p\"\nget = \"g\"", "neither [tcp] nor [http]"),
            ("about = \"a\"\nprogram = \"p\"\nget = \"g\"\nports = 1", "unknown field `ports`"),
            ("about = \"a\"", "missing field `program`"),
        ] {
            let message = parse("p", "dir/p.toml", text).expect_err(text).message;
            assert!(message.contains("dir/p.toml") && message.contains(words), "{message}");
        }
        let message = all(Some(Path::new("/no/such"))).expect_err("no directory").message;
        assert!(message.contains("/no/such"), "{message}");
    }
}
