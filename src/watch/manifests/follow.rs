//! Follows files: after a change only the files that changed are read again, and only the objects that changed become events.
//!
//! ```text
//! notices of the file system ─▶ one batch ─▶ on a thread that may block: what changed? ─▶ read it ─▶ events
//! ```

mod in_writing;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout_at};

use super::files::{is_manifest, scan};
use super::{FileKey, ManifestError, Manifests};
use crate::state::Event;
use crate::watch::host::FollowForNode;
use crate::watch::{EventSender, Received, STDIN};
use in_writing::FilesInWriting;

/// Changes that follow each other within this time are taken together: a file is often written in several steps.
const QUIET_PERIOD: Duration = Duration::from_millis(20);

/// Steady writing delays the work by this time at most.
const MAX_DELAY: Duration = Duration::from_millis(200);

/// A notice of the file system.
type Notice = notify::Result<notify::Event>;

/// Manifests, and the watches on their paths. All of its methods block.
struct ManifestFollower {
    manifests: Manifests,
    watcher: RecommendedWatcher,
}

/// What to look at.
#[derive(Debug, Default)]
struct Work {
    /// Files that may have changed.
    files: BTreeSet<PathBuf>,
    /// Whether folders or links changed, so that the files must be listed again.
    scan: bool,
    /// Whether an asked-for path was itself replaced, so that it must be watched again.
    rewatch: bool,
}

impl Manifests {
    /// Sends what changes in the files, until the receiver is dropped. Standard input does not change.
    ///
    /// # Errors
    /// If the paths cannot be watched. Later failures are logged, and what was known stays in force.
    pub async fn follow(self, mut host: FollowForNode, events: EventSender) -> Result<(), ManifestError> {
        let (sender, mut notices) = unbounded_channel();
        let watcher = notify::recommended_watcher(move |notice| {
            // Fails only when the receiver is gone, and then no notice is needed.
            let _ = sender.send(notice);
        });
        let watcher = watcher.map_err(|source| ManifestError::Watch { path: PathBuf::new(), source })?;
        let follower = ManifestFollower { manifests: self, watcher };
        let Some((mut follower, watched)) = blocking(follower, ManifestFollower::watch).await else { return Ok(()) };
        watched?;
        // Finds what changed between loading and watching.
        let mut work = Work { scan: true, ..Work::default() };
        let mut batch = Vec::new();
        let mut writing = FilesInWriting::default();
        loop {
            let Some((returned, changes)) = blocking(follower, move |follower| follower.handle(work, batch)).await
            else {
                return Ok(());
            };
            follower = returned;
            for event in changes {
                host.before(&event).await;
                if events.send(Received::now(event)).await.is_err() {
                    return Ok(());
                }
            }
            work = Work::default();
            batch = tokio::select! {
                () = events.closed() => return Ok(()),
                batch = next_batch(&mut notices, writing.first_due()) => batch,
            };
            writing.hold_back(&mut batch);
        }
    }
}

/// Does work on a thread that may block; `None` if the runtime shuts down.
async fn blocking<S: Send + 'static, R: Send + 'static>(
    mut state: S,
    work: impl FnOnce(&mut S) -> R + Send + 'static,
) -> Option<(S, R)> {
    let done = tokio::task::spawn_blocking(move || {
        let result = work(&mut state);
        (state, result)
    });
    match done.await {
        Ok(done) => Some(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => None,
        },
    }
}

/// Waits for notices of changes, until `due` at most, and for those that follow at once.
async fn next_batch(notices: &mut UnboundedReceiver<Notice>, due: Option<Instant>) -> Vec<Notice> {
    let mut batch = Vec::new();
    while batch.is_empty() {
        let next = match due {
            Some(due) => timeout_at(due, notices.recv()).await,
            None => Ok(notices.recv().await),
        };
        let notice = match next {
            Ok(Some(notice)) => notice,
            Err(_) => return batch,
            // The follower owns the sender, so this does not happen; waiting is right in any case.
            Ok(None) => return std::future::pending().await,
        };
        batch.extend(Some(notice).filter(may_be_change));
    }
    let latest = Instant::now() + MAX_DELAY;
    while let Ok(Some(notice)) = timeout_at(latest.min(Instant::now() + QUIET_PERIOD), notices.recv()).await {
        batch.extend(Some(notice).filter(may_be_change));
    }
    batch
}

/// Whether a notice tells of more than reading.
fn may_be_change(notice: &Notice) -> bool {
    match notice {
        Ok(notice) => match notice.kind {
            EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
            _ => true,
        },
        Err(_) => true,
    }
}

impl ManifestFollower {
    /// Watches each path, and the folder that holds it, where its replacement shows.
    fn watch(&mut self) -> Result<(), ManifestError> {
        let (roots, watcher) = (&self.manifests.roots, &mut self.watcher);
        for root in roots.iter().filter(|root| root.as_os_str() != STDIN) {
            let failed = |source| ManifestError::Watch { path: root.clone(), source };
            if root.is_dir() {
                // Not watched yet at first, and gone if it was replaced.
                let _ = watcher.unwatch(root);
                watcher.watch(root, RecursiveMode::Recursive).map_err(failed)?;
            }
            if let Some(parent) = root.parent() {
                let inside = roots.iter().any(|other| other != root && parent.starts_with(other) && other.is_dir());
                if !inside {
                    watcher.watch(parent, RecursiveMode::NonRecursive).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// Looks at what the notices name and at this work; the events are what changed.
    fn handle(&mut self, mut work: Work, notices: Vec<Notice>) -> Vec<Event> {
        for notice in notices {
            match notice {
                Ok(notice) => {
                    work.scan |= notice.need_rescan();
                    notice.paths.into_iter().for_each(|path| self.manifests.sort(path, &mut work));
                }
                Err(error) => {
                    tracing::warn!(%error, "watching manifests: notices may be missing; listing all files again");
                    work.scan = true;
                }
            }
        }
        // Before the files are read, so that no later change is missed.
        if work.rewatch
            && let Err(error) = self.watch()
        {
            tracing::warn!(%error, "changes of these manifests will go unnoticed until the path is replaced again");
        }
        let manifests = &mut self.manifests;
        let was_awaited = manifests.is_awaited;
        let events = manifests.reread_changed(&work);
        manifests.is_awaited &= manifests.is_empty();
        manifests.show_unread();
        match (was_awaited, manifests.is_awaited) {
            (false, _) => events,
            (true, true) => Vec::new(),
            (true, false) => manifests.lists(),
        }
    }
}

impl Manifests {
    /// Adds to the work what a changed path asks for.
    fn sort(&self, path: PathBuf, work: &mut Work) {
        if let Some(root) = self.roots.iter().find(|root| **root == path) {
            // An asked-for folder or link; a plain file is known below.
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
            let was_listed = self.files.keys().any(|key| key.path.starts_with(&path)) || self.unread.lists(&path);
            work.scan |= under_root && was_listed;
        }
    }

    /// Whether an asked-for file beside this path is a link, as in a mounted ConfigMap: `file.yaml` leads to `..data/file.yaml`,
    /// and only `..data` is replaced.
    fn has_linked_root(&self, beside: &Path) -> bool {
        self.roots.iter().any(|root| root.parent() == beside.parent() && root.is_symlink())
    }

    fn is_known(&self, path: &Path) -> bool {
        (0..self.roots.len()).any(|root| self.files.contains_key(&FileKey::new(root, path.to_owned())))
    }

    /// Reads the files that changed; the events are what changed in them.
    fn reread_changed(&mut self, work: &Work) -> Vec<Event> {
        let mut changed = BTreeSet::new();
        if work.scan {
            let mut now = BTreeMap::new();
            for (i, root) in self.roots.clone().iter().enumerate() {
                // What is below a path that cannot be looked at keeps what it gave.
                let scan = scan(std::slice::from_ref(root));
                let is_unknown = |key: &FileKey| scan.unknown.iter().any(|(path, _)| key.path.starts_with(path));
                let kept = self.files.iter().filter(|(key, _)| key.root == i && is_unknown(key));
                now.extend(kept.map(|(key, print)| (key.clone(), *print)));
                self.note_listing(root, &scan);
                now.extend(scan.files.into_iter().map(|(key, print)| (FileKey { root: i, ..key }, print)));
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
        // The fingerprint is taken before the file is read: a change in between is then seen once more, never missed.
        let scan = scan(&[key.path.to_path_buf()]);
        self.files.extend(scan.files.into_values().map(|print| (key.clone(), print)));
        let read = match scan.unknown.into_iter().next() {
            Some((_, error)) => Err(error),
            None => self.read(key),
        };
        match read {
            Ok(contents) => self.replace(key, contents),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.files.remove(key);
                self.remove(key)
            }
            Err(error) => {
                tracing::warn!(path = %key.path.display(), %error, "manifests: cannot read; what is known stays in force");
                self.unread.set_contents(&key.path, Some(error.to_string()));
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests;
