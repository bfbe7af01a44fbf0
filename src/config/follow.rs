//! Follows the configuration file: every way in which what its path leads to can change.
//!
//! Watched are the folders that the path and its links go through, not the file: a file that is replaced (`mv`, the swap of `..data`
//! in a mounted ConfigMap) is another file under the old name. Whatever happens there, the content decides whether anything changed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};

/// A file is looked at when nothing has happened to it for this long: it is often written in several steps.
const QUIET: Duration = Duration::from_millis(200);
/// Steady changes around it do not put that off for longer than this.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many links a path may lead through, as the kernel has it.
const LINKS: usize = 40;

/// Tells when the content of a file changes.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    /// What was read last; `None` if it could not be read.
    content: Option<String>,
    watched: BTreeSet<PathBuf>,
    watcher: RecommendedWatcher,
    notices: UnboundedReceiver<notify::Result<notify::Event>>,
}

impl Follower {
    /// Begins to watch a file. Its present content counts as changed.
    ///
    /// # Errors
    ///
    /// If its folder cannot be watched.
    pub fn new(path: &Path) -> notify::Result<Self> {
        let (sender, notices) = unbounded_channel();
        let watcher = notify::recommended_watcher(move |notice| {
            // Fails only when the other end is gone, and then nobody cares.
            let _ = sender.send(notice);
        })?;
        let path = std::path::absolute(path)?;
        let mut follower = Self { path, content: None, watched: BTreeSet::new(), watcher, notices };
        follower.watch()?;
        Ok(follower)
    }

    /// Waits until the content is another, and gives it, or why it cannot be read.
    pub async fn changed(&mut self) -> std::io::Result<String> {
        loop {
            let now = std::fs::read_to_string(&self.path);
            // A file that stays unreadable is told of once.
            if now.as_ref().ok() != self.content.as_ref() {
                self.content = now.as_ref().ok().cloned();
                return now;
            }
            self.notice().await;
            if let Err(error) = self.watch() {
                tracing::warn!(%error, path = %self.path.display(), "changes of the configuration may go unnoticed");
            }
        }
    }

    /// Waits until something has happened, and then until it is over.
    async fn notice(&mut self) {
        loop {
            match self.notices.recv().await {
                Some(notice) if notice.as_ref().is_ok_and(is_only_read) => {}
                Some(_) => break,
                // The watcher is ours, so this does not happen; waiting is right in any case.
                None => std::future::pending().await,
            }
        }
        let settle = async { while let Ok(Some(_)) = timeout(QUIET, self.notices.recv()).await {} };
        tokio::select! {
            () = settle => {}
            () = sleep(PATIENCE) => {}
        }
    }

    /// Watches the folders that the path goes through now.
    fn watch(&mut self) -> notify::Result<()> {
        let folders = folders(&self.path);
        for gone in self.watched.difference(&folders) {
            // It may not exist any more.
            let _ = self.watcher.unwatch(gone);
        }
        for folder in &folders {
            // Anew each time: under the same name it may be another folder.
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

/// The folders in which a change could make the path lead elsewhere: of every part of it that is a link, and of the file.
fn folders(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut rest: Vec<PathBuf> = vec![path.to_owned()];
    for _ in 0..LINKS {
        let Some(path) = rest.pop() else { break };
        let mut walked = PathBuf::new();
        let mut parts = path.components();
        while let Some(part) = parts.next() {
            let folder = walked.clone();
            walked.push(part);
            if let Ok(target) = std::fs::read_link(&walked) {
                // The folder of the link, and then the path that the link and what follows it make.
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
