//! What cannot be read among the manifests: the proxy serves what it knew of it before, so an operator must be able to see it later, too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Files, links and folders that cannot be read, and why.
#[derive(Debug, Default)]
pub struct UnreadPaths {
    /// Files that were found, and what cannot be read in them.
    contents: BTreeMap<PathBuf, String>,
    /// Links that lead nowhere, and paths whose files cannot be listed.
    listing: BTreeMap<PathBuf, String>,
}

impl UnreadPaths {
    /// Notes what is wrong with a file's contents, or that nothing is.
    pub fn set_contents(&mut self, file: &Path, problem: Option<String>) {
        match problem {
            Some(problem) => drop(self.contents.insert(file.to_owned(), problem)),
            None => drop(self.contents.remove(file)),
        }
    }

    /// Replaces what is wrong with the listing of a path, and returns what is news.
    pub fn set_listing(&mut self, root: &Path, found: Vec<(PathBuf, String)>) -> Vec<(PathBuf, String)> {
        let known = self.listing.clone();
        self.listing.retain(|path, _| !path.starts_with(root));
        self.listing.extend(found.iter().cloned());
        found.into_iter().filter(|(path, problem)| known.get(path) != Some(problem)).collect()
    }

    /// Whether something is wrong with the listing of this path.
    pub fn lists(&self, path: &Path) -> bool {
        self.listing.contains_key(path)
    }

    /// A sentence for the operator; `None` if everything can be read.
    pub fn sentence(&self) -> Option<String> {
        let count = self.contents.len() + self.listing.len();
        let (path, problem) = self.contents.iter().chain(&self.listing).next()?;
        let path = path.display();
        Some(match count {
            1 => format!("cannot read {path}: {problem}"),
            _ => format!("cannot read {count} manifests; the first is {path}: {problem}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(paths: &[&str]) -> Vec<(PathBuf, String)> {
        paths.iter().map(|path| (PathBuf::from(path), "dead".to_owned())).collect()
    }

    #[test]
    fn what_cannot_be_read_is_named_until_it_can() {
        let mut unread = UnreadPaths::default();
        assert_eq!(unread.sentence(), None);
        unread.set_contents(Path::new("/m/a.yaml"), Some("document 1: x".to_owned()));
        assert_eq!(unread.sentence().unwrap(), "cannot read /m/a.yaml: document 1: x");
        assert_eq!(unread.set_listing(Path::new("/m"), listed(&["/m/b.yaml"])).len(), 1);
        assert_eq!(unread.sentence().unwrap(), "cannot read 2 manifests; the first is /m/a.yaml: document 1: x");
        unread.set_contents(Path::new("/m/a.yaml"), None);
        assert_eq!(unread.sentence().unwrap(), "cannot read /m/b.yaml: dead");
        assert!(unread.set_listing(Path::new("/m"), Vec::new()).is_empty());
        assert_eq!(unread.sentence(), None);
    }

    #[test]
    fn a_listing_is_news_once_and_leaves_other_paths_alone() {
        let mut unread = UnreadPaths::default();
        unread.set_listing(Path::new("/m"), listed(&["/m/b", "/m/c"]));
        unread.set_listing(Path::new("/n"), listed(&["/n/d"]));
        assert_eq!(unread.set_listing(Path::new("/m"), listed(&["/m/c", "/m/e"])), listed(&["/m/e"]));
        assert_eq!(unread.listing.len(), 3);
    }
}
