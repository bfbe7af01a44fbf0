//! Follows files: after a change only the files that changed are read again, and only the objects that changed become events.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout_at};

use super::files::{STDIN, is_manifest, scan};
use super::{FileContents, FileKey, ManifestError, Manifests};
use crate::state::Event;
use crate::watch::{EventSender, Received};

/// Changes that follow each other within this time are taken together: a file is often written in several steps.
const QUIET: Duration = Duration::from_millis(20);

/// Steady writing does not put off the work for longer than this.
const PATIENCE: Duration = Duration::from_millis(200);

/// What to look at.
#[derive(Debug, Default)]
struct Work {
    /// Files that may have changed.
    files: BTreeSet<PathBuf>,
    /// Whether folders or links changed, so that the files must be listed again.
    scan: bool,
    /// Whether a path that was asked for was itself replaced, so that it must be watched anew.
    rewatch: bool,
}

impl Work {
    fn is_empty(&self) -> bool {
        !self.scan && !self.rewatch && self.files.is_empty()
    }
}

impl Manifests {
    /// Sends what changes in the files, until the receiver is dropped. Standard input does not change.
    ///
    /// # Errors
    /// If the paths cannot be watched. Later failures are logged, and what was known stays in force.
    pub async fn follow(mut self, events: EventSender) -> Result<(), ManifestError> {
        let (sender, mut notices) = unbounded_channel();
        let watcher = notify::recommended_watcher(move |notice| {
            // Fails only when the other end is gone, and then nobody cares.
            let _ = sender.send(notice);
        });
        let mut watcher = watcher.map_err(|source| ManifestError::Watch { path: PathBuf::new(), source })?;
        self.watch(&mut watcher)?;
        // Whatever changed between loading and watching.
        let mut work = Work { scan: true, ..Work::default() };
        loop {
            let rewatch = work.rewatch;
            let done = tokio::task::spawn_blocking(move || {
                let changes = self.work(&work);
                (self, changes)
            });
            let changes;
            (self, changes) = match done.await {
                Ok(done) => done,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime shuts down.
                    Err(_) => return Ok(()),
                },
            };
            for event in changes {
                if events.send(Received::now(event)).await.is_err() {
                    return Ok(());
                }
            }
            if rewatch && let Err(error) = self.watch(&mut watcher) {
                tracing::warn!(%error, "changes of these manifests will go unnoticed until the path is replaced again");
            }
            work = tokio::select! {
                () = events.closed() => return Ok(()),
                work = self.next(&mut notices) => work,
            };
        }
    }

    /// Watches each path, and the folder that it is in, where its replacement shows.
    fn watch(&self, watcher: &mut RecommendedWatcher) -> Result<(), ManifestError> {
        for root in self.roots.iter().filter(|root| root.as_os_str() != STDIN) {
            let failed = |source| ManifestError::Watch { path: root.clone(), source };
            if root.is_dir() {
                // Not watched yet at first, and gone if it was replaced.
                let _ = watcher.unwatch(root);
                watcher.watch(root, RecursiveMode::Recursive).map_err(failed)?;
            }
            if let Some(parent) = root.parent() {
                let inside =
                    self.roots.iter().any(|other| other != root && parent.starts_with(other) && other.is_dir());
                if !inside {
                    watcher.watch(parent, RecursiveMode::NonRecursive).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// Waits for something to do.
    async fn next(&self, notices: &mut UnboundedReceiver<notify::Result<notify::Event>>) -> Work {
        let mut work = Work::default();
        while work.is_empty() {
            let Some(notice) = notices.recv().await else {
                // The watcher is owned by the caller, so this does not happen; waiting is right in any case.
                return std::future::pending().await;
            };
            self.note(notice, &mut work);
        }
        let latest = Instant::now() + PATIENCE;
        while let Ok(Some(notice)) = timeout_at(latest.min(Instant::now() + QUIET), notices.recv()).await {
            self.note(notice, &mut work);
        }
        work
    }

    fn note(&self, notice: notify::Result<notify::Event>, work: &mut Work) {
        let notice = match notice {
            Ok(notice) => notice,
            Err(error) => {
                tracing::warn!(%error, "watching manifests: notices may be missing; listing all files again");
                work.scan = true;
                return;
            }
        };
        let read_only = matches!(
            notice.kind,
            EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)
        );
        if read_only {
            return;
        }
        work.scan |= notice.need_rescan();
        for path in notice.paths {
            self.sort(path, work);
        }
    }

    /// Sorts a path that changed into what there is to do.
    fn sort(&self, path: PathBuf, work: &mut Work) {
        if let Some(root) = self.roots.iter().find(|root| **root == path) {
            // A folder or link that was asked for; a plain file is known below.
            if root.is_dir() || !self.is_known(&path) {
                (work.scan, work.rewatch) = (true, true);
                return;
            }
        }
        let under_root = self.roots.iter().any(|root| path.starts_with(root));
        let beside_root = self.roots.iter().any(|root| root.parent() == path.parent());
        let metadata = path.symlink_metadata().ok();
        let is_file = metadata.as_ref().is_some_and(std::fs::Metadata::is_file);
        if self.is_known(&path) || (under_root && is_file && path.file_name().is_some_and(is_manifest)) {
            work.files.insert(path);
        } else if is_file {
            // Not a manifest: an editor's backup, the new version before it is renamed.
        } else if metadata.is_some() {
            // A folder, or a link that may lead to any number of files.
            work.scan |= under_root || (beside_root && self.has_linked_root(&path));
        } else {
            // Gone: if it was a folder, its files are gone too.
            work.scan |= under_root && self.files.keys().any(|key| key.path.starts_with(&path));
        }
    }

    /// Whether a file that was asked for lies beside this path and is a link, as in a mounted ConfigMap: `file.yaml` leads to
    /// `..data/file.yaml`, and only `..data` is replaced.
    fn has_linked_root(&self, beside: &Path) -> bool {
        self.roots.iter().any(|root| root.parent() == beside.parent() && root.is_symlink())
    }

    fn is_known(&self, path: &Path) -> bool {
        (0..self.roots.len()).any(|root| self.files.contains_key(&FileKey::new(root, path.to_owned())))
    }

    /// Does what there is to do; the events are what changed.
    fn work(&mut self, work: &Work) -> Vec<Event> {
        let mut changed = BTreeSet::new();
        if work.scan {
            let mut now = std::collections::BTreeMap::new();
            for (i, root) in self.roots.iter().enumerate() {
                // Each path by itself: one that cannot be read keeps what it gave, one that is gone has no files.
                match scan(std::slice::from_ref(root)) {
                    Ok(files) => now.extend(files.into_iter().map(|(key, print)| (FileKey { root: i, ..key }, print))),
                    Err((path, error)) if error.kind() == std::io::ErrorKind::NotFound => {
                        tracing::warn!(path = %path.display(), "manifests: the path is gone, and what it gave with it");
                    }
                    Err((path, error)) => {
                        tracing::warn!(path = %path.display(), %error, "manifests: cannot read; what is known stays in force");
                        let known = self.files.iter().filter(|(key, _)| key.root == i);
                        now.extend(known.map(|(key, print)| (key.clone(), *print)));
                    }
                }
            }
            changed.extend(
                now.iter().filter(|(key, print)| self.files.get(key) != Some(print)).map(|(key, _)| key.clone()),
            );
            changed.extend(self.files.keys().filter(|key| !now.contains_key(key)).cloned());
            self.files = now;
        }
        for path in &work.files {
            for (i, root) in self.roots.iter().enumerate() {
                if path.starts_with(root) {
                    changed.insert(FileKey::new(i, path.clone()));
                }
            }
        }
        changed.iter().flat_map(|key| self.reread(key)).collect()
    }

    fn reread(&mut self, key: &FileKey) -> Vec<Event> {
        // Taken before the file is read: a change in between is then seen once more, never missed.
        match scan(&[key.path.to_path_buf()]) {
            Ok(files) => self.files.extend(files.into_values().map(|print| (key.clone(), print))),
            Err(_) => {
                self.files.remove(key);
                return self.replace(key, FileContents::default());
            }
        }
        match self.read(key) {
            Ok(contents) => self.replace(key, contents),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.files.remove(key);
                self.replace(key, FileContents::default())
            }
            Err(error) => {
                tracing::warn!(path = %key.path.display(), %error, "manifests: cannot read; what is known stays in force");
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests;
