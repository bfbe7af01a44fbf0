//! Follows the configuration file, however its content changes.
//!
//! It watches the folders on the path and behind its links, not the file itself: `mv`, or the swap of `..data` in a mounted ConfigMap,
//! puts another file under the same name. A notice only triggers a look; the content decides whether the file changed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};

/// The file is read once no notice has come for this long: programs often write a file in several steps.
const QUIET_PERIOD: Duration = Duration::from_millis(200);
/// The file is read after this time even if notices go on.
const MAX_DELAY: Duration = Duration::from_secs(2);
/// The number of links that a path may lead through, as in the kernel.
const MAX_LINKS: usize = 40;

/// Reports changes of a file's content.
#[derive(Debug)]
pub struct FileFollower {
    path: PathBuf,
    /// The content at the last look; none if the file could not be read.
    content: Option<String>,
    watched: BTreeSet<PathBuf>,
    watcher: RecommendedWatcher,
    notices: UnboundedReceiver<notify::Result<notify::Event>>,
}

impl FileFollower {
    /// Starts to watch a file. The first call of [`changed`](Self::changed) returns its present content.
    ///
    /// # Errors
    ///
    /// If a folder on its path cannot be watched.
    pub fn new(path: &Path) -> notify::Result<Self> {
        let (sender, notices) = unbounded_channel();
        let watcher = notify::recommended_watcher(move |notice| {
            // Fails only when the follower is gone.
            let _ = sender.send(notice);
        })?;
        let path = std::path::absolute(path)?;
        let mut follower = Self { path, content: None, watched: BTreeSet::new(), watcher, notices };
        follower.watch()?;
        Ok(follower)
    }

    /// Waits until the content differs from the last look, and returns it.
    ///
    /// # Errors
    ///
    /// If the file cannot be read. This is reported once, until it can be read again.
    pub async fn changed(&mut self) -> std::io::Result<String> {
        loop {
            let now = tokio::fs::read_to_string(&self.path).await;
            // While the file stays unreadable, both are none.
            if now.as_ref().ok() != self.content.as_ref() {
                self.content = now.as_ref().ok().cloned();
                return now;
            }
            self.wait_for_notices().await;
            if let Err(error) = self.watch() {
                tracing::warn!(
                    %error,
                    path = %self.path.display(),
                    "cannot watch the folders of the configuration file: changes may go unnoticed until a restart"
                );
            }
        }
    }

    /// Waits for a notice, and then until the notices stop.
    async fn wait_for_notices(&mut self) {
        loop {
            match self.notices.recv().await {
                Some(notice) if notice.as_ref().is_ok_and(is_only_read) => {}
                Some(_) => break,
                // The follower owns the watcher, so the channel stays open.
                None => std::future::pending().await,
            }
        }
        let quiet = async { while let Ok(Some(_)) = timeout(QUIET_PERIOD, self.notices.recv()).await {} };
        tokio::select! {
            () = quiet => {}
            () = sleep(MAX_DELAY) => {}
        }
    }

    /// Watches the folders that the path leads through now.
    fn watch(&mut self) -> notify::Result<()> {
        let folders = folders(&self.path);
        for gone in self.watched.difference(&folders) {
            // The folder may be gone.
            let _ = self.watcher.unwatch(gone);
        }
        for folder in &folders {
            // Watch it again each time: another folder may now have the same name.
            self.watcher.watch(folder, RecursiveMode::NonRecursive)?;
        }
        self.watched = folders;
        Ok(())
    }
}

fn is_only_read(event: &notify::Event) -> bool {
    !event.need_rescan()
        && matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
}

/// The folders in which a change can redirect the path: those of every link on it, and that of the file.
fn folders(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut rest: Vec<PathBuf> = vec![path.to_owned()];
    for _ in 0..MAX_LINKS {
        let Some(path) = rest.pop() else { break };
        let mut walked = PathBuf::new();
        let mut parts = path.components();
        while let Some(part) = parts.next() {
            let folder = walked.clone();
            walked.push(part);
            if let Ok(target) = std::fs::read_link(&walked) {
                // Go on with the link's target, followed by the rest of the path.
                rest.push(folder.join(target).join(parts.as_path()));
                folders.insert(folder);
                break;
            }
            if !walked.exists() || parts.as_path().as_os_str().is_empty() {
                folders.insert(if folder.as_os_str().is_empty() { PathBuf::from("/") } else { folder });
                break;
            }
        }
    }
    folders
}

#[cfg(test)]
mod tests;
