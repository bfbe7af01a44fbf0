//! A journal: every event with its time, one line of JSON each, for a replay on any machine.
//!
//! ```text
//! {"time":"2026-01-02T03:04:05.678901Z","event":{"service-applied":{"object":{…}}}}
//! ```
//!
//! The lines are in the order in which the events were received. A line is complete or it is the last one: a crash in the
//! middle of a write costs only the event that was being written.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Received;
use crate::clock;
use crate::state::Event;

/// Appends events to a file. Owned by the loop.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    file: File,
    /// Where the last complete batch ends.
    end: u64,
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
    ended: bool,
}

/// A journal cannot be written or read.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The file cannot be opened for writing.
    #[error("cannot record events to {path}: {source}; check that the folder exists and is writable")]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An event was not written.
    #[error(
        "cannot append to the journal {path}: {source}; events are missing in it from now on, the proxy is not affected"
    )]
    Append {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read the journal {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not an event.
    #[error("{path}, line {line}: not an event of a journal: {source}; the file was edited or is of another version")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Why.
        source: serde_json::Error,
    },
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
    /// Opens a journal to append to, and creates it if there is none. A last line that a crash cut is removed.
    ///
    /// # Errors
    /// If the file cannot be opened, read or changed.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let failed = |source| JournalError::Create { path: path.to_owned(), source };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let end = end_of_last_line(&mut file).map_err(failed)?;
        file.set_len(end).map_err(failed)?;
        file.seek(SeekFrom::Start(end)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file, end })
    }

    /// Appends a batch of events and flushes it.
    ///
    /// # Errors
    /// If writing fails. The batch is missing then, and the recorder can still be used.
    pub fn append<'a>(&mut self, batch: impl IntoIterator<Item = &'a Received>) -> Result<(), JournalError> {
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

/// Reads a journal.
///
/// # Errors
/// If the file cannot be opened. A bad line is an error of its entry.
pub fn read(path: &Path, until: Option<ReadUntil>) -> Result<Entries, JournalError> {
    let file = File::open(path).map_err(|source| JournalError::Read { path: path.to_owned(), source })?;
    Ok(Entries { path: path.to_owned(), lines: BufReader::new(file), line: 0, until, ended: false })
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
            return Ok(None);
        }
        self.line += 1;
        match serde_json::from_slice::<Entry>(&text) {
            Ok(Entry { time, .. }) if matches!(self.until, Some(ReadUntil::Time(until)) if time > until) => Ok(None),
            Ok(entry) => Ok(Some(entry)),
            Err(_) if text.last() != Some(&b'\n') => {
                tracing::warn!(path = %self.path.display(), line = self.line, "the last line is incomplete; leaving it out");
                Ok(None)
            }
            Err(source) => Err(JournalError::Line { path: self.path.clone(), line: self.line, source }),
        }
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
