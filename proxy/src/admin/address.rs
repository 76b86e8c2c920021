//! Where the admin socket is when nobody says: the server picks the place, and the client finds it, by one rule.

use crate::process;
use std::{
    env,
    ffi::OsString,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

pub(super) const SOCKET: &str = "admin.sock";

/// What the rule looks at.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// Set by systemd for a unit with RuntimeDirectory=; may be a list separated by colons.
    runtime_directory: Option<OsString>,
    system: PathBuf,
    xdg_runtime_dir: Option<OsString>,
    temporary: PathBuf,
    uid: u32,
}

/// A directory the socket may be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) directory: PathBuf,
    /// Others may write to the directory above, so only one of our own making is trusted.
    private: bool,
}

impl Surroundings {
    pub(crate) fn of_process() -> Self {
        let set = |name| env::var_os(name).filter(|v| !v.is_empty());
        Self {
            runtime_directory: set("RUNTIME_DIRECTORY"),
            system: "/run/balance".into(),
            xdg_runtime_dir: set("XDG_RUNTIME_DIR"),
            temporary: env::temp_dir(),
            // Without /proc nobody can tell; then the directory's check refuses it.
            uid: process::effective_uid().unwrap_or(u32::MAX),
        }
    }

    /// The places, best first.
    pub(super) fn places(&self) -> Vec<Place> {
        if let Some(list) = &self.runtime_directory {
            let first = env::split_paths(list).next().unwrap_or_default();
            return vec![Place { directory: first, private: false }];
        }
        let mut places = vec![Place { directory: self.system.clone(), private: false }];
        if let Some(dir) = &self.xdg_runtime_dir {
            places.push(Place { directory: Path::new(dir).join("balance"), private: false });
        }
        let own = self.temporary.join(format!("balance-{}", self.uid));
        places.push(Place { directory: own, private: true });
        places
    }

    /// Makes the directory if need be.
    pub(super) fn prepare(&self, place: &Place) -> io::Result<()> {
        let mode = if place.directory == self.system { 0o755 } else { 0o700 };
        match DirBuilder::new().mode(mode).create(&place.directory) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        if self.trusts(place) {
            return Ok(());
        }
        let what = format!("{} belongs to somebody else or is open to others", place.directory.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
    }

    fn trusts(&self, place: &Place) -> bool {
        if !place.private {
            return true;
        }
        fs::symlink_metadata(&place.directory)
            .is_ok_and(|meta| meta.is_dir() && meta.uid() == self.uid && meta.permissions().mode() & 0o077 == 0)
    }
}

/// The socket of a running process, when there is one.
pub(crate) fn find(surroundings: &Surroundings) -> Option<PathBuf> {
    let places = surroundings.places();
    let sockets = places.iter().filter(|p| surroundings.trusts(p)).map(|p| p.directory.join(SOCKET));
    sockets.into_iter().find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(root: &Path) -> Surroundings {
        Surroundings {
            runtime_directory: None,
            system: root.join("run-balance"),
            xdg_runtime_dir: None,
            temporary: root.to_owned(),
            uid: process::effective_uid().unwrap(),
        }
    }

    fn scratch(name: &str) -> PathBuf {
        let dir = env::temp_dir().join(format!("balance-admin-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn the_unit_s_directory_comes_first_and_alone() {
        let mut s = surroundings(Path::new("/nowhere"));
        s.runtime_directory = Some("/run/a:/run/b".into());
        let directories: Vec<_> = s.places().into_iter().map(|p| p.directory).collect();
        assert_eq!(directories, [PathBuf::from("/run/a")]);
    }

    #[test]
    fn a_temporary_directory_that_others_can_open_is_refused() {
        let root = scratch("open");
        let s = surroundings(&root);
        let place = s.places().pop().unwrap();
        fs::create_dir(&place.directory).unwrap();
        fs::set_permissions(&place.directory, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(s.prepare(&place).is_err());
        fs::set_permissions(&place.directory, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(s.prepare(&place).is_ok());
    }

    #[test]
    fn the_client_finds_the_first_socket_that_is_there() {
        let root = scratch("find");
        let s = surroundings(&root);
        assert_eq!(find(&s), None);
        let place = s.places().pop().unwrap();
        s.prepare(&place).unwrap();
        fs::write(place.directory.join(SOCKET), "").unwrap();
        assert_eq!(find(&s), Some(place.directory.join(SOCKET)));
    }
}
