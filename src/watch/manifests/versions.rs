//! All versions of an object that files give. The first in path order counts.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file_contents::name_of;
use crate::state::{Decoded, Event, ObjectName, Problem, Reason};
use crate::watch::decode::WatchedKind;

/// A file. Files count in the order of the paths that were asked for, then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileKey {
    /// The position of the asked-for path that it was found under.
    pub root: usize,
    /// The file.
    pub path: Arc<Path>,
}

/// All versions of all objects of one kind.
#[derive(Debug)]
pub struct ObjectVersions<T> {
    by_name: BTreeMap<ObjectName, FileVersions<T>>,
    /// The objects that each file gives, in order.
    by_file: BTreeMap<Arc<FileKey>, Vec<ObjectName>>,
}

/// A version of an object, and the file that gives it.
type FileVersion<T> = (Arc<FileKey>, Decoded<T>);

/// The versions of an object, in the order of their files. Nearly always there is only one.
#[derive(Debug)]
enum FileVersions<T> {
    One(FileVersion<T>),
    Many(Vec<FileVersion<T>>),
}

impl<T> FileVersions<T> {
    fn all(&self) -> &[FileVersion<T>] {
        match self {
            Self::One(version) => std::slice::from_ref(version),
            Self::Many(versions) => versions,
        }
    }

    /// These versions without those of a file, and with a new one.
    fn with(self, new: Option<FileVersion<T>>, without: Option<&FileKey>) -> Option<Self> {
        let mut versions = match self {
            Self::One(version) => vec![version],
            Self::Many(versions) => versions,
        };
        versions.retain(|(file, _)| Some(&**file) != without);
        if let Some(new) = new {
            versions.insert(versions.partition_point(|(file, _)| *file <= new.0), new);
        }
        match versions.len() {
            0 => None,
            1 => versions.pop().map(Self::One),
            _ => Some(Self::Many(versions)),
        }
    }
}

impl FileKey {
    /// The key of a file under the path at this position.
    pub fn new(root: usize, path: PathBuf) -> Self {
        Self { root, path: path.into() }
    }
}

impl<T> Default for ObjectVersions<T> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), by_file: BTreeMap::new() }
    }
}

impl<T: WatchedKind> ObjectVersions<T> {
    /// Adds what a new file gives.
    pub fn add(&mut self, file: &FileKey, objects: Vec<Decoded<T>>) {
        if objects.is_empty() {
            return;
        }
        let known = self.by_file.remove_entry(file);
        let (file, mut names) = known.unwrap_or_else(|| (Arc::new(file.clone()), Vec::new()));
        names.reserve_exact(objects.len());
        for object in objects {
            let name = name_of(&object).clone();
            let version = (Arc::clone(&file), object);
            names.push(name.clone());
            match self.by_name.entry(name) {
                Entry::Vacant(new) => drop(new.insert(FileVersions::One(version))),
                Entry::Occupied(known) => {
                    let (name, versions) = known.remove_entry();
                    self.by_name.extend(versions.with(Some(version), None).map(|versions| (name, versions)));
                }
            }
        }
        names.sort();
        names.dedup();
        self.by_file.insert(file, names);
    }

    /// Replaces what a file gives, and returns the changes: the cost is that of the file. With `keep` set, objects stay that the
    /// file gave before and does not give now.
    pub fn replace(&mut self, file: &FileKey, objects: Vec<Decoded<T>>, keep: bool) -> Vec<Event> {
        let new: BTreeSet<ObjectName> = objects.iter().map(|object| name_of(object).clone()).collect();
        let mut touched: BTreeSet<ObjectName> = self.by_file.remove(file).into_iter().flatten().collect();
        if keep {
            let kept: Vec<ObjectName> = touched.difference(&new).cloned().collect();
            touched = touched.intersection(&new).cloned().collect();
            self.by_file.insert(Arc::new(file.clone()), kept);
        }
        touched.extend(new);
        let before: Vec<_> = touched.iter().map(|name| self.get(name)).collect();
        for name in &touched {
            if let Some((name, versions)) = self.by_name.remove_entry(name) {
                self.by_name.extend(versions.with(None, Some(file)).map(|versions| (name, versions)));
            }
        }
        self.add(file, objects);
        let mut events = Vec::new();
        for (name, before) in touched.into_iter().zip(before) {
            let after = self.get(&name);
            if before != after {
                events.push(after.map_or_else(|| (T::DELETED)(name), T::APPLIED));
            }
        }
        events
    }

    /// How many objects a file gives.
    pub fn count_of(&self, file: &FileKey) -> usize {
        self.by_file.get(file).map_or(0, Vec::len)
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// All objects that count, by name.
    pub fn all(&self) -> Event {
        (T::RESET)(self.by_name.keys().filter_map(|name| self.get(name)).collect())
    }

    /// The version that counts, with a problem that names the others.
    fn get(&self, name: &ObjectName) -> Option<Decoded<T>> {
        let versions = self.by_name.get(name)?.all();
        let (_, first) = versions.first()?;
        let (Some((other, _)), Decoded::Object(object)) = (versions.get(1), first) else { return Some(first.clone()) };
        let mut object = T::clone(object);
        let found = format!("given again in {}", other.path.display());
        object.problems().push(Problem::new("metadata.name", Reason::Duplicate, found));
        Some(Decoded::Object(Arc::new(object)))
    }
}
