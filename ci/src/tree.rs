//! The files of the workspace as CI sees them: text, by path, without build products.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process,
};

/// What the rules of [`crate::tidy`] read. Anything else (images, captures) is left alone.
const TEXT_EXTENSIONS: [&str; 9] = ["rs", "toml", "md", "sh", "py", "yml", "yaml", "json", "lock"];

/// A text file. `path` is relative to the workspace, with `/` between its parts.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    #[cfg(test)]
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    pub(crate) fn is(&self, extension: &str) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, e)| e == extension)
    }
}

/// The workspace as it lies on the disk.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Sorted by path.
    pub(crate) files: Vec<SourceFile>,
    /// Every path, directories and binary files included, for links.
    pub(crate) paths: std::collections::BTreeSet<String>,
    /// Directories that name this machine: the checkout and the user's home. No file may contain them.
    pub(crate) machine_paths: Vec<String>,
}

impl Tree {
    /// # Errors
    /// A directory or a file cannot be read, or a file that should be text is not UTF-8.
    pub(crate) fn load(root: &Path) -> Result<Self, String> {
        let ignored = ignored_names(&read(root, ".gitignore").unwrap_or_default());
        let mut tree = Self { machine_paths: machine_paths(root), ..Self::default() };
        tree.walk(root, root, &ignored).map_err(|e| format!("reading the workspace: {e}"))?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    pub(crate) fn file(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|f| f.path == path)
    }

    fn walk(&mut self, root: &Path, directory: &Path, ignored: &[String]) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let name = relative.rsplit('/').next().unwrap_or(&relative);
            if name == ".git" || name == "target" || ignored.contains(&relative) {
                continue;
            }
            if path.is_dir() && !path.is_symlink() {
                self.walk(root, &path, ignored)?;
            } else if is_text(&relative) {
                let text =
                    fs::read_to_string(&path).map_err(|e| io::Error::new(e.kind(), format!("{relative}: {e}")))?;
                self.files.push(SourceFile { path: relative.clone(), text });
            }
            self.paths.insert(relative);
        }
        Ok(())
    }
}

fn is_text(path: &str) -> bool {
    path == ".ci/run" || path.rsplit_once('.').is_some_and(|(_, e)| TEXT_EXTENSIONS.contains(&e))
}

/// Entries of `.gitignore` that name one thing in the root. Patterns are not needed: build products have names.
fn ignored_names(gitignore: &str) -> Vec<String> {
    gitignore.lines().filter_map(|l| l.strip_prefix('/')).map(|l| l.trim_end_matches('/').to_owned()).collect()
}

/// A path of one component (`/src`, `/root` in a container) is too common a word to search for.
fn machine_paths(root: &Path) -> Vec<String> {
    let home = env::var("HOME").unwrap_or_default();
    let mut paths = vec![root.to_string_lossy().into_owned(), home];
    paths.retain(|p| p.matches('/').count() >= 2);
    paths
}

/// The directory of the root manifest: two up from this crate when cargo says where that is, else searched upwards.
pub(crate) fn workspace_root() -> Result<PathBuf, String> {
    let start = match env::var_os("CARGO_MANIFEST_DIR") {
        Some(manifest) => PathBuf::from(manifest),
        None => env::current_dir().map_err(|e| format!("no current directory: {e}"))?,
    };
    let is_root = |directory: &&Path| {
        fs::read_to_string(directory.join("Cargo.toml")).is_ok_and(|m| m.lines().any(|l| l.trim() == "[workspace]"))
    };
    start
        .ancestors()
        .find(is_root)
        .map(Path::to_path_buf)
        .ok_or_else(|| "no workspace here; call it as `cargo ci`".into())
}

/// # Errors
/// With the relative path in front, as a user knows the file.
pub(crate) fn read(root: &Path, path: &str) -> Result<String, String> {
    fs::read_to_string(root.join(path)).map_err(|e| format!("{path}: {e}"))
}

/// A directory of this run's own, removed at its end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Result<Self, String> {
        let path = env::temp_dir().join(format!("balance-ci-{}-{}", process::id(), next_number()));
        fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.0.join(name);
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.0) {
            eprintln!("cargo ci: {} stays behind: {e}", self.0.display());
        }
    }
}

/// Tells two scratch directories of one process apart.
fn next_number() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
