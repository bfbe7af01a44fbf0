//! Files that are being written. What they hold counts once they are closed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use notify::EventKind;
use notify::event::ModifyKind;
use tokio::time::Instant;

use super::Notice;

/// A file that stays open for writing is read after this time without a change.
const MAX_WRITING: Duration = Duration::from_secs(10);

/// Files that are being written: from the first change of their contents until they are closed.
#[derive(Debug, Default)]
pub struct FilesInWriting {
    /// When each was last changed.
    changed: BTreeMap<PathBuf, Instant>,
}

impl FilesInWriting {
    /// Takes the notices of files out of a batch that are still being written. Adds one for each file that was changed long ago and not
    /// closed since.
    pub fn hold_back(&mut self, batch: &mut Vec<Notice>) {
        let now = Instant::now();
        batch.retain(|notice| {
            let Ok(notice) = notice else { return true };
            let is_write = matches!(notice.kind, EventKind::Modify(ModifyKind::Data(_)));
            for path in &notice.paths {
                if is_write {
                    self.changed.insert(path.clone(), now);
                } else if !matches!(notice.kind, EventKind::Modify(ModifyKind::Metadata(_))) {
                    self.changed.remove(path);
                }
            }
            !is_write || notice.need_rescan()
        });
        // Other notices of the same files, such as changed attributes, come before the end too.
        batch.retain(|notice| match notice {
            Ok(notice) => notice.paths.is_empty() || notice.paths.iter().any(|path| !self.changed.contains_key(path)),
            Err(_) => true,
        });
        self.changed.retain(|path, at| {
            let is_due = now - *at >= MAX_WRITING;
            if is_due {
                batch.push(Ok(notify::Event::new(EventKind::Any).add_path(path.clone())));
            }
            !is_due
        });
    }

    /// When the first of them is read, if it is not changed or closed before.
    pub fn first_due(&self) -> Option<Instant> {
        self.changed.values().min().map(|first| *first + MAX_WRITING)
    }
}
