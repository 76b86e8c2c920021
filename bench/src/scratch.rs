//! A directory for a while.

use std::{
    env, fs, io,
    ops::Deref,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Removed with all that is in it when this is dropped.
pub(crate) struct Scratch(PathBuf);

/// Tells the directories of one process apart.
static NEXT: AtomicU32 = AtomicU32::new(0);

impl Scratch {
    /// # Errors
    /// Those of making a directory where temporary files go.
    pub(crate) fn new() -> io::Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("balance-bench-{}-{number}", process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays; nothing depends on it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_gone_with_all_that_was_in_it() {
        let scratch = Scratch::new().expect("a directory");
        let path = scratch.to_path_buf();
        fs::write(path.join("file"), "text").expect("written");
        drop(scratch);
        assert!(!path.exists());
    }
}
