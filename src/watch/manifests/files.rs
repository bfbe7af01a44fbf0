//! Lists the manifest files, and tells whether a file has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::versions::FileKey;

/// The name that stands for standard input.
pub const STDIN: &str = "-";

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

/// The files under the asked-for paths. A path that is a file counts whatever its name.
///
/// # Errors
/// The first path that cannot be read, and why.
pub fn scan(roots: &[PathBuf]) -> Result<BTreeMap<FileKey, Fingerprint>, (PathBuf, io::Error)> {
    let mut files = BTreeMap::new();
    for (i, root) in roots.iter().enumerate() {
        if root.as_os_str() == STDIN {
            continue;
        }
        let metadata = fs::metadata(root).map_err(|error| (root.clone(), error))?;
        if metadata.is_dir() {
            folder(i, root, &mut BTreeSet::new(), &mut files)?;
        } else {
            files.insert(FileKey::new(i, root.clone()), Fingerprint::from_metadata(&metadata));
        }
    }
    Ok(files)
}

/// `seen` holds the folders on the way here, so that a link to one of them ends the walk.
fn folder(
    root: usize,
    path: &Path,
    seen: &mut BTreeSet<(u64, u64)>,
    files: &mut BTreeMap<FileKey, Fingerprint>,
) -> Result<(), (PathBuf, io::Error)> {
    let at = |error| (path.to_owned(), error);
    let own = fs::metadata(path).map_err(at)?;
    if !seen.insert((own.dev(), own.ino())) {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(at)? {
        let entry = entry.map_err(at)?;
        if is_hidden(&entry.file_name()) {
            continue;
        }
        let path = entry.path();
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            // Removed meanwhile, or a broken link.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err((path, error)),
        };
        if metadata.is_dir() {
            folder(root, &path, seen, files)?;
        } else if metadata.is_file() && is_manifest(&entry.file_name()) {
            files.insert(FileKey::new(root, path), Fingerprint::from_metadata(&metadata));
        }
    }
    seen.remove(&(own.dev(), own.ino()));
    Ok(())
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
        let files = scan(&[folder.path().to_owned()]).unwrap();
        let found: Vec<_> = files
            .keys()
            .map(|key| key.path.strip_prefix(folder.path()).unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(found, ["a.json", "b/d.yml", "c.yaml"]);
    }

    #[test]
    fn a_path_that_does_not_exist_is_named() {
        let (path, _) = scan(&["/nonexistent/x".into()]).unwrap_err();
        assert_eq!(path, Path::new("/nonexistent/x"));
    }
}
