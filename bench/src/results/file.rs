//! Result files: reading what is one, and saying of what is not why.

use super::{Duel, Run};
use crate::failure::Failure;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::{self, File as FsFile},
    io::Read,
    path::{Path, PathBuf},
};

/// A file of the load generator.
#[derive(Clone, Debug)]
pub(crate) enum File {
    Run(Box<Run>),
    Duel(Box<Duel>),
}

/// Larger ones are no results of ours: a duel of ten proxies and twenty scenarios has 10 MB.
const BYTES_MAX: u64 = 256 << 20;

impl File {
    /// # Errors
    /// A file that cannot be read, or that none of our commands has written.
    pub(crate) fn read(path: &Path, name: &str) -> Result<Self, Failure> {
        let origin = path.display();
        let cannot = |e| Failure::usage(format!("{origin}: {e}"));
        let mut text = String::new();
        let read = FsFile::open(path).map_err(cannot)?.take(BYTES_MAX).read_to_string(&mut text).map_err(cannot)?;
        if read as u64 == BYTES_MAX {
            return Err(Failure::usage(format!("{origin}: larger than any result, which has at most 256MiB")));
        }
        let value: Value = serde_json::from_str(&text)
            .map_err(|e| Failure::usage(format!("{origin} is no JSON ({e}); write it with --json")))?;
        let wrong = |why: String| Failure::usage(format!("{origin} is no result that can be read: {why}"));
        match value["bench"].as_str() {
            Some("duel") => {
                serde_json::from_value(value).map(|d| Self::Duel(Box::new(d))).map_err(|e| wrong(e.to_string()))
            }
            Some(_) if value["rounds"].is_array() => {
                Err(wrong("it is of --mode half, which compares by itself".into()))
            }
            Some(_) => Run::read(name, &value).map(|run| Self::Run(Box::new(run))).map_err(wrong),
            None => Err(wrong("its `bench` does not say which command wrote it".into())),
        }
    }
}

/// Every file, named as short as tells them apart.
///
/// # Errors
/// Those of [`File::read`].
pub(crate) fn read_all(paths: &[PathBuf]) -> Result<Vec<File>, Failure> {
    names(paths).into_iter().zip(paths).map(|(name, path)| File::read(path, &name)).collect()
}

/// The stem of each path, or all of it where several have the same stem.
fn names(paths: &[PathBuf]) -> Vec<String> {
    let stem = |path: &PathBuf| path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    paths.iter().for_each(|path| *count.entry(stem(path)).or_default() += 1);
    paths.iter().map(|path| if count[&stem(path)] > 1 { path.display().to_string() } else { stem(path) }).collect()
}

/// # Errors
/// A file that cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|e| Failure::runtime(format!("cannot write {}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{results::run, scratch::Scratch};
    use serde_json::json;

    fn read(text: &str) -> Result<File, String> {
        let directory = Scratch::new().expect("a directory");
        let path = directory.join("a.json");
        write(&path, text).expect("written");
        File::read(&path, "a").map_err(|e| e.message)
    }

    #[test]
    fn runs_are_read_and_nonsense_is_named() {
        assert!(matches!(read(&run::tests::value(1.0, 3).to_string()), Ok(File::Run(run)) if run.name == "a"));
        for (text, words) in [
            ("what is this", "is no JSON"),
            ("", "is no JSON"),
            ("{}", "does not say which command"),
            ("[1, 2]", "does not say which command"),
            (r#"{"bench": "duel"}"#, "missing field"),
            (r#"{"bench": "tcp"}"#, "no `proxy`"),
            (r#"{"bench": "tcp", "rounds": []}"#, "--mode half"),
            (&json!({ "bench": 7 }).to_string(), "does not say which command"),
        ] {
            let message = read(text).expect_err(text);
            assert!(message.contains("a.json") && message.contains(words), "{text}: {message}");
        }
        let message = File::read(Path::new("/no/such.json"), "a").expect_err("nothing there").message;
        assert!(message.starts_with("/no/such.json: No such file"), "{message}");
        let message = File::read(Path::new("/"), "a").expect_err("a directory").message;
        assert!(message.contains("directory"), "{message}");
    }

    #[test]
    fn names_are_as_short_as_tells_them_apart() {
        let paths = ["x/a.json", "y/a.json", "b.json"].map(PathBuf::from);
        assert_eq!(names(&paths), ["x/a.json", "y/a.json", "b"]);
    }
}
