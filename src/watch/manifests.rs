//! Events from manifests: YAML or JSON files, folders of them, or standard input.
//!
//! ```text
//! paths ─▶ files ─▶ documents ─▶ objects ─▶ versions ─▶ Reset once, then only what changed
//! ```
//!
//! Kinds that a Service proxy does not read are ignored, so the output of `kubectl get svc,endpointslices,nodes -A -o yaml` can
//! be used unchanged. Several files may give the same object: the first in path order counts.

mod file_contents;
mod files;
mod follow;
mod leading_type;
mod other_contents;
mod unread;
mod versions;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use thiserror::Error;

use super::connection::{MissingInput, found_node, warn_missing_node};
use super::decode::Interner;
use super::{Connection, STDIN};
use crate::metrics::count_manifest_problem;
use crate::state::{EndpointSlice, Event, Node, Service, ServiceCidr};
use file_contents::{FileContents, FileReader, NAMED_NODES};
use files::{Fingerprint, Scan};
use other_contents::OtherContents;
use unread::UnreadPaths;
use versions::{FileKey, ObjectVersions};

/// How many threads read files at most.
const MAX_READERS: usize = 4;

/// The objects of a set of manifests, and which file gives which. Owned by the task that follows the files.
#[derive(Debug)]
pub struct Manifests {
    /// The asked-for paths, made absolute.
    roots: Vec<PathBuf>,
    node_name: String,
    names: Interner,
    files: BTreeMap<FileKey, Fingerprint>,
    services: ObjectVersions<Service>,
    slices: ObjectVersions<EndpointSlice>,
    service_cidrs: ObjectVersions<ServiceCidr>,
    nodes: ObjectVersions<Node>,
    /// The names of other Nodes that files have; only a few.
    other_nodes: BTreeMap<FileKey, BTreeSet<String>>,
    unread: UnreadPaths,
    /// Nothing was told yet, because there is no object and nothing says that none is meant: a folder may not be mounted yet.
    is_awaited: bool,
    connection: Connection,
}

/// Manifests cannot be read or followed.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// A path cannot be read.
    #[error("cannot read manifests from {path}: {source}; check the path and its permissions")]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A document of a file that the operator named does not parse.
    #[error("cannot read {path}: {problem}; nothing was changed")]
    Broken {
        /// The file.
        path: PathBuf,
        /// Which document, line and column, and why.
        problem: String,
    },
    /// There is nothing, where at least an empty list should be.
    #[error(
        "{path} holds no object of the kinds that a Service proxy reads{found}. Taken for a mistake: everything that is programmed would \
         be removed. If nothing is meant, write `{{kind: List, apiVersion: v1, items: []}}`"
    )]
    Empty {
        /// The path.
        path: String,
        /// What was found instead.
        found: String,
    },
    /// A path cannot be watched for changes.
    #[error("cannot watch {path} for changes: {source}; check the path and the limit fs.inotify.max_user_watches")]
    Watch {
        /// The path.
        path: PathBuf,
        /// Why.
        source: notify::Error,
    },
}

impl Manifests {
    /// Reads files, folders (recursively: `*.yaml`, `*.yml` and `*.json`, hidden ones left out) and standard input (`-`). The
    /// events are one `…Reset` of each kind. Documents that cannot be read are left out, logged and counted. Only the Node of this name
    /// is read.
    ///
    /// Blocks until everything is read.
    ///
    /// # Errors
    /// If a path cannot be read at all.
    pub fn load(paths: &[PathBuf], node_name: &str) -> Result<(Self, Vec<Event>), ManifestError> {
        Self::read_paths(paths, node_name, (false, false), Connection::default())
    }

    /// As [`load`](Self::load), of what an operator named. Says through `connection` whether there is a Node of this name. `is_followed`: the
    /// manifests are read again when they change.
    ///
    /// # Errors
    /// Also if a named file has a document that cannot be read, or if all hold nothing: to program that would remove everything. A folder that
    /// is followed may be filled later: until then there is no event.
    pub fn load_strictly(
        paths: &[PathBuf],
        node_name: &str,
        is_followed: bool,
        connection: Connection,
    ) -> Result<(Self, Vec<Event>), ManifestError> {
        Self::read_paths(paths, node_name, (true, is_followed), connection)
    }

    fn read_paths(
        paths: &[PathBuf],
        node_name: &str,
        (strict, is_followed): (bool, bool),
        connection: Connection,
    ) -> Result<(Self, Vec<Event>), ManifestError> {
        let mut roots = Vec::with_capacity(paths.len());
        for path in paths {
            let absolute = if path.as_os_str() == STDIN { Ok(path.clone()) } else { std::path::absolute(path) };
            roots.push(absolute.map_err(|source| ManifestError::Read { path: path.clone(), source })?);
        }
        let mut manifests = Self {
            files: BTreeMap::new(),
            roots,
            node_name: node_name.to_owned(),
            names: Interner::default(),
            services: ObjectVersions::default(),
            slices: ObjectVersions::default(),
            service_cidrs: ObjectVersions::default(),
            nodes: ObjectVersions::default(),
            other_nodes: BTreeMap::new(),
            unread: UnreadPaths::default(),
            is_awaited: false,
            connection,
        };
        let mut found = OtherContents::new(strict);
        for (i, root) in manifests.roots.clone().into_iter().enumerate() {
            if root.as_os_str() == STDIN {
                let key = FileKey::new(i, root);
                let contents =
                    manifests.read(&key).map_err(|source| ManifestError::Read { path: STDIN.into(), source })?;
                manifests.add(&key, contents, &mut found)?;
            }
        }
        let mut scan = files::scan(&manifests.roots);
        if let Some((path, source)) = scan.unknown.pop() {
            return Err(ManifestError::Read { path, source });
        }
        manifests.note_listing(Path::new(""), &scan);
        manifests.files = scan.files;
        let keys: Vec<FileKey> = manifests.files.keys().cloned().collect();
        for (key, contents) in keys.iter().zip(manifests.read_all(&keys)) {
            let contents = contents.map_err(|source| ManifestError::Read { path: key.path.to_path_buf(), source })?;
            manifests.add(key, contents, &mut found)?;
        }
        if manifests.is_empty() && !found.is_meant {
            let path = display_all(paths);
            let error = ManifestError::Empty { path, found: found.instead() };
            if strict && !(is_followed && paths.iter().any(|path| path.is_dir())) {
                return Err(error);
            }
            manifests.is_awaited = strict;
            let sentence = manifests.awaited();
            tracing::warn!("{sentence}");
        }
        found.report_kinds();
        found.report_versions(manifests.slices.is_empty());
        manifests.look_for_node();
        manifests.show_unread();
        let all = if manifests.is_awaited { Vec::new() } else { manifests.lists() };
        Ok((manifests, all))
    }

    /// The complete list of each kind.
    fn lists(&self) -> Vec<Event> {
        vec![self.services.all(), self.slices.all(), self.service_cidrs.all(), self.nodes.all()]
    }

    /// That there is no object yet.
    fn awaited(&self) -> String {
        let paths = display_all(&self.roots);
        format!(
            "no object of the kinds that a Service proxy reads is in {paths}: what the kernel holds stays until one comes"
        )
    }

    /// Reads files with several threads; the results are in the order of the files.
    fn read_all(&mut self, keys: &[FileKey]) -> Vec<io::Result<FileContents>> {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_READERS).min(keys.len());
        let (next, node_name) = (AtomicUsize::new(0), &self.node_name);
        let run = |names: &mut Interner| {
            let mut done = Vec::new();
            while let Some((n, key)) = keys.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
                done.push((n, read(key, node_name, names)));
            }
            done
        };
        // Each thread has an interner of its own: only names of nodes, namespaces and ports are held twice.
        let mut all: Vec<(usize, io::Result<FileContents>)> = thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(|| run(&mut Interner::default()))).collect();
            let first = run(&mut self.names);
            let others = others.into_iter().map(|other| other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            first.into_iter().chain(others.flatten()).collect()
        });
        all.sort_unstable_by_key(|(n, _)| *n);
        all.into_iter().map(|(_, contents)| contents).collect()
    }

    fn read(&mut self, key: &FileKey) -> io::Result<FileContents> {
        read(key, &self.node_name, &mut self.names)
    }

    /// Adds a file that was not known. One that the operator named has to be readable and hold something.
    fn add(&mut self, key: &FileKey, contents: FileContents, found: &mut OtherContents) -> Result<(), ManifestError> {
        let named = found.strict && self.roots.get(key.root).is_some_and(|root| **root == *key.path);
        if let Some(problem) = contents.broken.first().filter(|_| named) {
            let path = display(&key.path).into();
            return Err(ManifestError::Broken { path, problem: problem.clone() });
        }
        if contents.is_blank() {
            if named {
                return Err(ManifestError::Empty { path: display(&key.path), found: String::new() });
            }
            tracing::warn!(path = %key.path.display(), "manifests: the file is empty");
        }
        self.note_broken(
            key,
            &contents.broken,
            "the rest of the file is used. Services that it gave in an earlier run are removed",
        );
        found.add(&contents);
        self.put(key, contents);
        Ok(())
    }

    /// Notes which documents of a file cannot be read, and what follows from that.
    fn note_broken(&mut self, key: &FileKey, broken: &[String], follows: &str) {
        let path = key.path.display();
        for problem in broken {
            count_manifest_problem("Manifest", 1);
            tracing::warn!("cannot read {path}: {problem}; {follows}");
        }
        self.unread.set_contents(&key.path, broken.first().cloned());
    }

    /// Notes what a scan of a path could not look at.
    fn note_listing(&mut self, root: &Path, scan: &Scan) {
        let links = scan.broken_links.iter().map(|(path, error)| (path, format!("the link leads nowhere: {error}")));
        let unknown = scan.unknown.iter();
        let unknown = unknown.map(|(path, error)| (path, format!("{error}; what it gave before stays in force")));
        let found = links.chain(unknown).map(|(path, problem)| (path.clone(), problem)).collect();
        for (path, problem) in self.unread.set_listing(root, found) {
            count_manifest_problem("Manifest", 1);
            tracing::warn!("cannot read {}: {problem}", path.display());
        }
    }

    /// Says whether all manifests can be read.
    fn show_unread(&self) {
        let awaited = self.is_awaited.then(|| self.awaited());
        match awaited.or_else(|| self.unread.sentence()) {
            Some(sentence) => drop(self.connection.lacks(MissingInput::Manifests, sentence)),
            None => drop(self.connection.found(MissingInput::Manifests)),
        }
    }

    fn put(&mut self, key: &FileKey, contents: FileContents) {
        self.note_other_nodes(key, contents.other_nodes);
        self.services.add(key, contents.services);
        self.slices.add(key, contents.slices);
        self.service_cidrs.add(key, contents.service_cidrs);
        self.nodes.add(key, contents.nodes);
    }

    /// Replaces the objects of a file; the events are the changes. While a document of the file cannot be read, or the file is empty,
    /// no object of the file is deleted: the file may be half written.
    fn replace(&mut self, key: &FileKey, contents: FileContents) -> Vec<Event> {
        let (path, had) = (key.path.display(), self.count_of(key));
        if contents.is_blank() {
            if had > 0 {
                tracing::warn!(%path, objects = had, "manifests: the file is empty now; what it gave stays in force until it gives something again");
            }
            let problem = (had > 0).then(|| "it is empty, and gave objects before".to_owned());
            self.unread.set_contents(&key.path, problem);
            return Vec::new();
        }
        let kept = "the rest of the file is used, and what the file gave before stays in force";
        self.note_broken(key, &contents.broken, kept);
        let mut found = OtherContents::default();
        found.add(&contents);
        self.is_awaited &= !found.is_meant;
        found.report_versions(self.slices.is_empty() && contents.slices.is_empty());
        let keep = !contents.broken.is_empty();
        if had > 0 && contents.len() == 0 && !keep {
            tracing::warn!(%path, objects = had, "manifests: the file lost all its objects, which are removed");
        }
        self.exchange(key, contents, keep)
    }

    /// Removes the objects of a file that is gone.
    fn remove(&mut self, key: &FileKey) -> Vec<Event> {
        let (path, had) = (key.path.display(), self.count_of(key));
        if had > 0 {
            tracing::info!(%path, objects = had, "manifests: the file is gone, and its objects with it");
        }
        self.unread.set_contents(&key.path, None);
        self.exchange(key, FileContents::default(), false)
    }

    fn note_other_nodes(&mut self, key: &FileKey, names: BTreeSet<String>) {
        match names.is_empty() {
            true => drop(self.other_nodes.remove(key)),
            false => drop(self.other_nodes.insert(key.clone(), names)),
        }
    }

    fn exchange(&mut self, key: &FileKey, contents: FileContents, keep: bool) -> Vec<Event> {
        self.note_other_nodes(key, contents.other_nodes);
        let mut events = self.services.replace(key, contents.services, keep);
        events.extend(self.slices.replace(key, contents.slices, keep));
        events.extend(self.service_cidrs.replace(key, contents.service_cidrs, keep));
        events.extend(self.nodes.replace(key, contents.nodes, keep));
        self.look_for_node();
        events
    }

    fn count_of(&self, key: &FileKey) -> usize {
        self.services.count_of(key)
            + self.slices.count_of(key)
            + self.service_cidrs.count_of(key)
            + self.nodes.count_of(key)
    }

    fn is_empty(&self) -> bool {
        self.services.is_empty() && self.slices.is_empty() && self.service_cidrs.is_empty() && self.nodes.is_empty()
    }

    /// Says whether the manifests hold the Node of our name.
    fn look_for_node(&mut self) {
        if self.nodes.is_empty() {
            let others: BTreeSet<&String> = self.other_nodes.values().flatten().collect();
            let named = others.into_iter().take(NAMED_NODES);
            warn_missing_node(&self.connection, &self.node_name, "the manifests", named);
        } else {
            found_node(&self.connection, &self.node_name);
        }
    }
}

fn read(key: &FileKey, node_name: &str, names: &mut Interner) -> io::Result<FileContents> {
    let bytes = if key.path.as_os_str() == STDIN {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes)?;
        bytes
    } else {
        fs::read(&key.path)?
    };
    Ok(FileReader::new(&display(&key.path), node_name, names).read(&bytes))
}

fn display_all(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| display(path)).collect::<Vec<_>>().join(", ")
}

fn display(path: &Path) -> String {
    if path.as_os_str() == STDIN { "standard input".to_owned() } else { path.display().to_string() }
}

#[cfg(test)]
mod tests;
