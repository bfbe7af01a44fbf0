//! Lists the manifest files, and tells whether a file has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::versions::FileKey;
use crate::watch::STDIN;

/// Tells one version of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    fn from_metadata(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Whether a file in a folder is a manifest. Hidden files are none: a mounted ConfigMap keeps its versions in hidden folders, and
/// links to the current version.
pub fn is_manifest(name: &OsStr) -> bool {
    let path = Path::new(name);
    let known = path.extension().and_then(OsStr::to_str).is_some_and(|ext| matches!(ext, "yaml" | "yml" | "json"));
    known && !is_hidden(name)
}

/// Whether the name begins with a dot.
pub fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().first() == Some(&b'.')
}

/// What is under the asked-for paths.
#[derive(Debug, Default)]
pub struct Scan {
    /// The files.
    pub files: BTreeMap<FileKey, Fingerprint>,
    /// Links in folders that cannot be followed, and why.
    pub broken_links: Vec<(PathBuf, io::Error)>,
    /// Paths that cannot be looked at, and why: what is below them is unknown.
    pub unknown: Vec<(PathBuf, io::Error)>,
}

/// Looks for the files under the asked-for paths. A path that is a file counts whatever its name.
pub fn scan(roots: &[PathBuf]) -> Scan {
    let mut scan = Scan::default();
    for (i, root) in roots.iter().enumerate() {
        if root.as_os_str() == STDIN {
            continue;
        }
        match fs::metadata(root) {
            Ok(metadata) if metadata.is_dir() => {
                if let Err(error) = scan.folder(i, root, &mut BTreeSet::new()) {
                    scan.unknown.push((root.clone(), error));
                }
            }
            Ok(metadata) => {
                scan.files.insert(FileKey::new(i, root.clone()), Fingerprint::from_metadata(&metadata));
            }
            Err(error) => scan.unknown.push((root.clone(), error)),
        }
    }
    scan
}

impl Scan {
    /// `seen` holds the folders on the way here, so that a link to one of them ends the walk.
    fn folder(&mut self, root: usize, path: &Path, seen: &mut BTreeSet<(u64, u64)>) -> io::Result<()> {
        let own = fs::metadata(path)?;
        if !seen.insert((own.dev(), own.ino())) {
            return Ok(());
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if is_hidden(&entry.file_name()) {
                continue;
            }
            let path = entry.path();
            let done = match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => self.folder(root, &path, seen),
                Ok(metadata) => {
                    if metadata.is_file() && is_manifest(&entry.file_name()) {
                        self.files.insert(FileKey::new(root, path.clone()), Fingerprint::from_metadata(&metadata));
                    }
                    Ok(())
                }
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => {}
                Err(error) if path.is_symlink() => self.broken_links.push((path, error)),
                // Removed meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.unknown.push((path, error)),
            }
        }
        seen.remove(&(own.dev(), own.ino()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_walked_without_hidden_entries_or_endless_links() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("b/.hidden")).unwrap();
        for path in ["c.yaml", "a.json", "b/d.yml", "b/.hidden/x.yaml", ".e.yaml", "readme.md", "f.yaml~"] {
            fs::write(at(path), "").unwrap();
        }
        std::os::unix::fs::symlink(folder.path(), at("b/loop")).unwrap();
        std::os::unix::fs::symlink("/nonexistent", at("dangling.yaml")).unwrap();
        std::os::unix::fs::symlink("ring.yaml", at("ring.yaml")).unwrap();
        let scan = scan(&[folder.path().to_owned()]);
        let found: Vec<_> = scan
            .files
            .keys()
            .map(|key| key.path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(found, ["a.json", "b/d.yml", "c.yaml"]);
        let mut broken: Vec<_> = scan.broken_links.iter().map(|(path, _)| path.clone()).collect();
        broken.sort();
        assert_eq!(broken, [at("dangling.yaml"), at("ring.yaml")]);
        assert!(scan.unknown.is_empty(), "{:?}", scan.unknown);
    }

    #[test]
    fn a_path_that_does_not_exist_is_named() {
        let scan = scan(&["/nonexistent/x".into()]);
        assert_eq!(scan.unknown[0].0, Path::new("/nonexistent/x"));
    }
}
