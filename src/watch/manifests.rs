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
mod versions;
mod yaml;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use thiserror::Error;

use super::decode::Interner;
use crate::state::{EndpointSlice, Event, Node, Service, ServiceCidr};
use file_contents::{FileContents, FileReader};
use files::{Fingerprint, STDIN};
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
    /// events are one `…Reset` of each kind. Documents that cannot be read are left out, logged and counted. Only
    /// the Node of this name is read.
    ///
    /// Blocks until everything is read.
    ///
    /// # Errors
    /// If a path cannot be read at all.
    pub fn load(paths: &[PathBuf], node_name: &str) -> Result<(Self, Vec<Event>), ManifestError> {
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
        };
        for (i, root) in manifests.roots.clone().into_iter().enumerate() {
            if root.as_os_str() == STDIN {
                let key = FileKey::new(i, root);
                let contents =
                    manifests.read(&key).map_err(|source| ManifestError::Read { path: STDIN.into(), source })?;
                manifests.add(&key, contents);
            }
        }
        manifests.files =
            files::scan(&manifests.roots).map_err(|(path, source)| ManifestError::Read { path, source })?;
        let keys: Vec<FileKey> = manifests.files.keys().cloned().collect();
        for (key, contents) in keys.iter().zip(manifests.read_all(&keys)) {
            let contents = contents.map_err(|source| ManifestError::Read { path: key.path.to_path_buf(), source })?;
            manifests.add(key, contents);
        }
        let all = vec![
            manifests.services.all(),
            manifests.slices.all(),
            manifests.service_cidrs.all(),
            manifests.nodes.all(),
        ];
        Ok((manifests, all))
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

    fn add(&mut self, key: &FileKey, contents: FileContents) {
        self.services.add(key, contents.services);
        self.slices.add(key, contents.slices);
        self.service_cidrs.add(key, contents.service_cidrs);
        self.nodes.add(key, contents.nodes);
    }

    /// Replaces the objects of a file; the events are the changes. While a document of the file cannot be read, no object of the
    /// file is deleted: the file may be half written.
    fn replace(&mut self, key: &FileKey, contents: FileContents) -> Vec<Event> {
        let keep = contents.broken;
        let mut events = self.services.replace(key, contents.services, keep);
        events.extend(self.slices.replace(key, contents.slices, keep));
        events.extend(self.service_cidrs.replace(key, contents.service_cidrs, keep));
        events.extend(self.nodes.replace(key, contents.nodes, keep));
        events
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

fn display(path: &Path) -> String {
    if path.as_os_str() == STDIN { "standard input".to_owned() } else { path.display().to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Decoded, Reason};

    fn service(name: &str, addr: &str) -> String {
        format!("---\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: {addr}, ports: [{{port: 80}}]}}\n")
    }

    fn services(events: &[Event]) -> &[Decoded<Service>] {
        match &events[0] {
            Event::ServicesReset(all) => all,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn everything_is_reset_once_even_when_there_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (_, events) = Manifests::load(&[folder.path().to_owned()], "node-1").unwrap();
        let kinds: Vec<_> = events.iter().map(|event| (event.kind(), event.change())).collect();
        assert_eq!(kinds, crate::state::Kind::ALL.map(|kind| (kind, "reset")));
    }

    #[test]
    fn of_an_object_given_twice_the_first_in_path_order_counts() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b.yaml"), service("web", "10.96.0.2")).unwrap();
        fs::write(folder.path().join("a.yaml"), service("web", "10.96.0.1") + &service("db", "10.96.0.3")).unwrap();
        let (_, events) = Manifests::load(&[folder.path().to_owned()], "node-1").unwrap();
        let [db, web] = services(&events) else { panic!("{events:?}") };
        assert!(db.object().unwrap().problems.is_empty());
        let web = web.object().unwrap();
        assert_eq!(web.cluster_ips[0].to_string(), "10.96.0.1");
        assert_eq!(web.problems[0].reason, Reason::Duplicate);
        assert!(web.problems[0].found.contains("b.yaml"), "{}", web.problems[0].found);

        // The order of the paths comes before that of the names.
        let paths = [folder.path().join("b.yaml"), folder.path().join("a.yaml")];
        let (_, events) = Manifests::load(&paths, "node-1").unwrap();
        assert_eq!(services(&events)[1].object().unwrap().cluster_ips[0].to_string(), "10.96.0.2");
    }

    #[test]
    fn many_files_count_in_path_order_whichever_is_read_first() {
        let folder = tempfile::tempdir().unwrap();
        for n in 10..99 {
            // The first are the longest to read.
            let own = (0..99 - n).map(|i| service(&format!("own-{n}-{i:02}"), &format!("10.96.{n}.{i}")));
            let text = service("web", &format!("10.97.0.{n}")) + &own.collect::<String>();
            fs::write(folder.path().join(format!("{n}.yaml")), text).unwrap();
        }
        let load = || Manifests::load(&[folder.path().to_owned()], "node-1").unwrap().1;
        let events = load();
        let all = services(&events);
        let web = all.last().unwrap().object().unwrap();
        assert_eq!(web.cluster_ips[0].to_string(), "10.97.0.10");
        assert_eq!(all.len(), (1..=89).sum::<usize>() + 1);
        assert_eq!(load(), events);
    }

    #[test]
    fn a_path_that_cannot_be_read_stops_the_start() {
        let error = Manifests::load(&["/nonexistent/m.yaml".into()], "node-1").unwrap_err();
        assert!(error.to_string().contains("cannot read manifests from /nonexistent/m.yaml"), "{error}");
    }

    #[test]
    fn a_file_that_is_named_counts_whatever_its_ending() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.txt");
        fs::write(&path, service("web", "10.96.0.1")).unwrap();
        let (_, events) = Manifests::load(&[path], "node-1").unwrap();
        assert_eq!(services(&events).len(), 1);
    }
}
