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
        let (wall, clock) = (Timestamp::now(), tokio::time::Instant::now());
        let mut file = BufWriter::new(&self.file);
        for Received { event, at, .. } in batch {
            let age = SignedDuration::try_from(clock.saturating_duration_since(*at)).unwrap_or_default();
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
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::state::ObjectName;

    fn events(numbers: std::ops::Range<u32>) -> Vec<Received> {
        numbers.map(|i| Received::now(Event::ServiceDeleted(ObjectName::new("default", format!("s-{i}"))))).collect()
    }

    fn names(path: &Path, until: Option<ReadUntil>) -> Vec<String> {
        read(path, until)
            .unwrap()
            .map(|entry| match entry.unwrap().event {
                Event::ServiceDeleted(name) => name.name().to_string(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn journal() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        (folder, path)
    }

    #[test]
    fn recorded_events_are_read_back_in_order() {
        let (_folder, path) = journal();
        let mut recorder = Recorder::open(&path).unwrap();
        let first = Received { at: tokio::time::Instant::now() - Duration::from_secs(2), ..events(0..1).remove(0) };
        recorder.append([&first]).unwrap();
        recorder.append(&events(1..3)).unwrap();
        assert_eq!(names(&path, None), ["s-0", "s-1", "s-2"]);
        let times: Vec<_> = read(&path, None).unwrap().map(|entry| entry.unwrap().time).collect();
        let between = times[1].duration_since(times[0]).as_secs_f64();
        assert!((1.9..3.0).contains(&between), "{between}");
        assert_ne!(times[0].subsec_nanosecond(), 0);
    }

    #[test]
    fn a_journal_can_be_read_up_to_a_number_or_a_time() {
        let (_folder, path) = journal();
        let lines = (0..5).map(|i| {
            format!(
                r#"{{"time":"2026-01-01T00:00:0{i}.5Z","event":{{"service-deleted":{{"namespace":"n","name":"s-{i}"}}}}}}{}"#,
                "\n"
            )
        });
        std::fs::write(&path, lines.collect::<String>()).unwrap();
        assert_eq!(names(&path, Some(ReadUntil::Count(2))), ["s-0", "s-1"]);
        assert_eq!(names(&path, Some(ReadUntil::Count(0))), [""; 0]);
        assert_eq!(names(&path, Some(ReadUntil::Count(99))).len(), 5);
        assert_eq!(names(&path, Some("2026-01-01T00:00:01.5Z".parse().unwrap())), ["s-0", "s-1"]);
        assert_eq!(names(&path, Some("2025-01-01T00:00:00Z".parse().unwrap())), [""; 0]);
        assert_eq!("17".parse(), Ok(ReadUntil::Count(17)));
        assert!("yesterday".parse::<ReadUntil>().is_err());
    }

    #[test]
    fn a_last_line_that_a_crash_cut_is_left_out_and_overwritten() {
        let (_folder, path) = journal();
        Recorder::open(&path).unwrap().append(&events(0..3)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in [1, 30, whole.len() / 3 - 1] {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            // Without its newline alone a line is still whole.
            let left: &[&str] = if cut == 1 { &["s-0", "s-1", "s-2"] } else { &["s-0", "s-1"] };
            assert_eq!(names(&path, None), left, "{cut}");
            Recorder::open(&path).unwrap().append(&events(7..8)).unwrap();
            assert_eq!(names(&path, None), ["s-0", "s-1", "s-7"], "{cut}");
        }
    }

    #[test]
    fn any_other_bad_line_is_an_error_that_names_the_line() {
        let (_folder, path) = journal();
        Recorder::open(&path).unwrap().append(&events(0..2)).unwrap();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.insert_str(text.find('\n').unwrap() + 1, "{}\n");
        std::fs::write(&path, text).unwrap();
        let entries: Vec<_> = read(&path, None).unwrap().collect();
        assert_eq!(entries.len(), 2, "nothing is read beyond it");
        let error = entries[1].as_ref().unwrap_err().to_string();
        assert!(error.contains("journal, line 2: not an event"), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let error = Recorder::open(Path::new("/nonexistent/journal")).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/journal"), "{error}");
        assert!(read(Path::new("/nonexistent/journal"), None).is_err());
    }
}
