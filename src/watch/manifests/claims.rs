//! Which file's version of an object counts, when several give it: the first in path order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::contents::name_of;
use crate::state::{Decoded, Event, ObjectName, Problem, Reason};
use crate::watch::decode::Watched;

/// A file, in the order in which files count: by the path that was asked for, then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileKey {
    /// The position of the path that it was found under.
    pub root: usize,
    /// The file.
    pub path: Arc<Path>,
}

/// All versions of all objects of one kind.
#[derive(Debug)]
pub struct Claims<T> {
    /// For each object its versions, in the order of their files.
    by_name: BTreeMap<ObjectName, Vec<(FileKey, Decoded<T>)>>,
    /// The objects that each file gives.
    by_file: BTreeMap<FileKey, BTreeSet<ObjectName>>,
}

impl FileKey {
    /// The key of a file under the path at this position.
    pub fn new(root: usize, path: PathBuf) -> Self {
        Self { root, path: path.into() }
    }
}

impl<T> Default for Claims<T> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), by_file: BTreeMap::new() }
    }
}

impl<T: Watched> Claims<T> {
    /// Adds what a new file gives.
    pub fn add(&mut self, file: &FileKey, objects: Vec<Decoded<T>>) {
        for object in objects {
            let name = name_of(&object).clone();
            let versions = self.by_name.entry(name.clone()).or_default();
            let place = versions.partition_point(|(other, _)| other <= file);
            // Nearly always the only one: no room for four.
            versions.reserve_exact(1);
            versions.insert(place, (file.clone(), object));
            self.by_file.entry(file.clone()).or_default().insert(name);
        }
    }

    /// Replaces what a file gives and says what changed by that: the cost is that of the file. With `keep` set, what the file
    /// gave before and does not give now stays.
    pub fn replace(&mut self, file: &FileKey, objects: Vec<Decoded<T>>, keep: bool) -> Vec<Event> {
        let new: BTreeSet<ObjectName> = objects.iter().map(|object| name_of(object).clone()).collect();
        let mut touched = self.by_file.remove(file).unwrap_or_default();
        if keep {
            let kept: BTreeSet<_> = touched.difference(&new).cloned().collect();
            touched = touched.intersection(&new).cloned().collect();
            self.by_file.insert(file.clone(), kept);
        }
        touched.extend(new);
        let before: Vec<_> = touched.iter().map(|name| self.get(name)).collect();
        for name in &touched {
            if let Some(versions) = self.by_name.get_mut(name) {
                versions.retain(|(other, _)| other != file);
            }
        }
        self.add(file, objects);
        let mut events = Vec::new();
        for (name, before) in touched.into_iter().zip(before) {
            let after = self.get(&name);
            if after.is_none() {
                self.by_name.remove(&name);
            }
            if before != after {
                events.push(after.map_or_else(|| T::deleted(name), T::applied));
            }
        }
        events
    }

    /// All objects that count, by name.
    pub fn all(&self) -> Event {
        T::reset(self.by_name.keys().filter_map(|name| self.get(name)).collect())
    }

    /// The version that counts, with a problem that names the others.
    fn get(&self, name: &ObjectName) -> Option<Decoded<T>> {
        let versions = self.by_name.get(name)?;
        let (_, first) = versions.first()?;
        let (Some((other, _)), Decoded::Object(object)) = (versions.get(1), first) else { return Some(first.clone()) };
        let mut object = T::clone(object);
        if let Some(problems) = object.problems() {
            let found = format!("given again in {}", other.path.display());
            problems.push(Problem::new("metadata.name", Reason::Duplicate, found));
        }
        Some(Decoded::Object(Arc::new(object)))
    }
}
