//! A journal: every event with its time, one line of JSON each, for a replay on any machine.
//!
//! ```text
//! {"time":"2026-01-02T03:04:05.678901Z","event":{"service-applied":{"object":{…}}}}
//! ```
//!
//! The lines are in the order in which the events were received. A line is complete or it is the last one: a crash in the
//! middle of a write costs only the event that was being written.
//!
//! A file that grew too large is renamed to `FILE.1`, the one before it to `FILE.2`, and so on; the oldest is deleted. The new file
//! begins with complete lists, so each file can be replayed by itself.

mod error;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Received, STDIN};
use crate::clock;
use crate::state::{Cluster, Event};
pub use error::JournalError;

/// A file is replaced when it has this size, or twice that of the lists that it begins with.
const MAX_BYTES: u64 = 64 << 20;
/// How many replaced files are kept.
const KEPT_FILES: u32 = 4;

/// Appends events to a file. Owned by the loop.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    file: File,
    /// Where the last complete batch ends.
    end: u64,
    /// The size at which the file is replaced.
    max: u64,
    /// All that was recorded: what a new file begins with.
    cluster: Cluster,
}

/// One line of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When the event was received.
    pub time: Timestamp,
    /// The event.
    pub event: Event,
}

/// Where to stop reading a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadUntil {
    /// Events that were received at this time or before.
    Time(Timestamp),
    /// The first so many events.
    Count(u64),
}

/// The entries of a journal, in order.
#[derive(Debug)]
pub struct Entries {
    path: PathBuf,
    lines: BufReader<File>,
    line: u64,
    until: Option<ReadUntil>,
    /// When the last event was received that was read.
    last: Option<Timestamp>,
    ended: bool,
}

/// The text is neither a time nor a number of events.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0:?} is neither a time (2026-01-02T03:04:05Z) nor a number of events")]
pub struct ParseUntilError(String);

/// An entry to be written; borrows what [`Entry`] owns.
#[derive(Serialize)]
struct EntryRef<'a> {
    time: Timestamp,
    event: &'a Event,
}

impl Recorder {
    /// Opens a journal of this node to append to, and creates it if there is none; only its owner may read it. The last line is
    /// completed or removed if a crash cut it.
    ///
    /// # Errors
    /// If the file cannot be opened, read or changed, is no regular file, or holds anything else than a journal. It is left as it is then.
    pub fn open(path: &Path, node_name: &str) -> Result<Self, JournalError> {
        let failed = |source: io::Error| match source.raw_os_error() {
            Some(code) if code == nix::libc::ELOOP => JournalError::Link { path: path.to_owned() },
            _ => JournalError::Create { path: path.to_owned(), source },
        };
        let mut file = open_file(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(JournalError::NotRegular { path: path.to_owned() });
        }
        if !begins_as_journal(&mut file).map_err(failed)? {
            return Err(JournalError::NotJournal { path: path.to_owned() });
        }
        let end = mend_last_line(path, &mut file).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file, end, max: MAX_BYTES, cluster: Cluster::new(node_name) })
    }

    /// Appends a batch of events and flushes it. Then the file may be replaced by a new one.
    ///
    /// # Errors
    /// If writing fails. The batch is missing then, and the recorder can still be used.
    pub fn append<'a>(&mut self, batch: impl IntoIterator<Item = &'a Received> + Clone) -> Result<(), JournalError> {
        for received in batch.clone() {
            self.cluster.apply(received.event.clone());
        }
        self.append_lines(batch)?;
        if self.end >= self.max { self.rotate() } else { Ok(()) }
    }

    /// Replaces the file by a new one that begins with complete lists.
    fn rotate(&mut self) -> Result<(), JournalError> {
        let failed = |source| JournalError::Rotate { path: self.path.clone(), source };
        for number in (1..KEPT_FILES).rev() {
            match fs::rename(rotated(&self.path, number), rotated(&self.path, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        fs::rename(&self.path, rotated(&self.path, 1)).map_err(failed)?;
        self.file = open_file(&self.path).map_err(failed)?;
        self.end = 0;
        let lists: Vec<Received> = self.cluster.lists().into_iter().map(Received::now).collect();
        self.append_lines(&lists)?;
        self.max = MAX_BYTES.max(self.end.saturating_mul(2));
        tracing::info!(path = %self.path.display(), "the journal was full: began a new one, the old one has the ending .1");
        Ok(())
    }

    fn append_lines<'a>(&mut self, batch: impl IntoIterator<Item = &'a Received>) -> Result<(), JournalError> {
        match self.write(batch) {
            Ok(end) => {
                self.end = end;
                Ok(())
            }
            Err(source) => {
                // Half a line must not spoil the next one. If this fails too, the next batch fails as well.
                let _ = self.file.set_len(self.end).and_then(|()| self.file.seek(SeekFrom::Start(self.end)));
                Err(JournalError::Append { path: self.path.clone(), source })
            }
        }
    }

    fn write<'a>(&mut self, batch: impl IntoIterator<Item = &'a Received>) -> io::Result<u64> {
        let (wall, now) = (Timestamp::now(), clock::now());
        let mut file = BufWriter::new(&self.file);
        for Received { event, at, .. } in batch {
            let age = SignedDuration::try_from(now.since(*at)).unwrap_or_default();
            let time = wall.checked_sub(age).unwrap_or(wall);
            serde_json::to_writer(&mut file, &EntryRef { time, event })?;
            file.write_all(b"\n")?;
        }
        file.flush()?;
        drop(file);
        self.file.stream_position()
    }
}

/// Reads a journal. If it ends at a time before the file begins, the file is the one that this one replaced (`FILE.1`), or the one
/// before that. `-` is standard input, which has no older files.
///
/// # Errors
/// If the file cannot be opened. A bad line is an error of its entry.
pub fn read(path: &Path, until: Option<ReadUntil>) -> Result<Entries, JournalError> {
    if let Some(ReadUntil::Time(time)) = until
        && path.as_os_str() != "-"
    {
        let begins_later = |path: &Path| {
            let first = read_file(path, None).ok()?.next()?.ok()?;
            Some(first.time > time)
        };
        let older = (1..=KEPT_FILES).map(|number| rotated(path, number));
        let mut files = std::iter::once(path.to_owned()).chain(older);
        if let Some(file) = files.find(|file| begins_later(file) != Some(true))
            && file.exists()
        {
            return read_file(&file, until);
        }
    }
    read_file(path, until)
}

fn read_file(path: &Path, until: Option<ReadUntil>) -> Result<Entries, JournalError> {
    let is_stdin = path.as_os_str() == STDIN;
    let file = File::open(if is_stdin { Path::new("/dev/stdin") } else { path })
        .map_err(|source| JournalError::Read { path: path.to_owned(), source })?;
    Ok(Entries { path: path.to_owned(), lines: BufReader::new(file), line: 0, until, last: None, ended: false })
}

fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    // Objects of the cluster are for its operators; and a link could lead anywhere.
    options.mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
    options.open(path)
}

/// Whether a file is empty, or begins with as much of a line as it has. So no other file loses what looks like a line that was cut.
fn begins_as_journal(file: &mut File) -> io::Result<bool> {
    const BEGIN: &[u8] = br#"{"time":""#;
    let mut begin = Vec::new();
    file.take(BEGIN.len() as u64).read_to_end(&mut begin)?;
    Ok(BEGIN.starts_with(&begin))
}

/// The name of a journal that was replaced this many times.
fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Completes the last line if only its newline is missing, and removes it if more is. Returns where the file ends then.
fn mend_last_line(path: &Path, file: &mut File) -> io::Result<u64> {
    let end = end_of_last_line(file)?;
    let mut rest = Vec::new();
    file.seek(SeekFrom::Start(end))?;
    file.read_to_end(&mut rest)?;
    if rest.is_empty() {
        return Ok(end);
    }
    if serde_json::from_slice::<Entry>(&rest).is_ok() {
        file.write_all(b"\n")?;
        return Ok(end + rest.len() as u64 + 1);
    }
    tracing::warn!(path = %path.display(), bytes = rest.len(), "removed the last line of the journal, which an interruption cut");
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))
}

/// Where the last complete line ends.
fn end_of_last_line(file: &mut File) -> io::Result<u64> {
    const BLOCK: u64 = 1 << 16;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        file.take(end - start).read_to_end(&mut block)?;
        if let Some(newline) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

impl Entries {
    /// The next entry; `None` at the end or at a last line that a crash left incomplete.
    fn read_entry(&mut self) -> Result<Option<Entry>, JournalError> {
        if self.until == Some(ReadUntil::Count(self.line)) {
            return Ok(None);
        }
        let mut text = Vec::new();
        let failed = |source| JournalError::Read { path: self.path.clone(), source };
        if self.lines.read_until(b'\n', &mut text).map_err(failed)? == 0 {
            self.warn_of_early_end();
            return Ok(None);
        }
        self.line += 1;
        match serde_json::from_slice::<Entry>(&text) {
            Ok(Entry { time, .. }) if matches!(self.until, Some(ReadUntil::Time(until)) if time > until) => Ok(None),
            Ok(entry) => {
                self.last = Some(entry.time);
                Ok(Some(entry))
            }
            Err(_) if text.last() != Some(&b'\n') => {
                tracing::warn!(path = %self.path.display(), line = self.line, "the last line is incomplete; leaving it out");
                Ok(None)
            }
            Err(source) => Err(JournalError::Line { path: self.path.clone(), line: self.line, source }),
        }
    }

    /// Says that the journal ends before the place where reading was to stop: what came after it is not known.
    fn warn_of_early_end(&self) {
        let (Some(until), Some(last)) = (self.until, self.last) else { return };
        let (path, until) = (
            self.path.display(),
            match until {
                ReadUntil::Time(time) => time.to_string(),
                ReadUntil::Count(count) => format!("event {count}"),
            },
        );
        tracing::warn!(%path, "the journal ends before {until}: its last event is number {}, of {last}", self.line);
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let entry = self.read_entry().transpose();
        self.ended = !matches!(entry, Some(Ok(_)));
        entry
    }
}

impl FromStr for ReadUntil {
    type Err = ParseUntilError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let count = text.parse().map(Self::Count);
        count.or_else(|_| text.parse().map(Self::Time)).map_err(|_| ParseUntilError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests;
