//! Why a journal cannot be written or read.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

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
    /// The path is a symbolic link.
    #[error("cannot record events to {path}: it is a symbolic link; name the file itself")]
    Link {
        /// The path.
        path: PathBuf,
    },
    /// The path is a device, a pipe or the like.
    #[error("cannot record events to {path}: it is no regular file")]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// The file has another content.
    #[error(
        "cannot record events to {path}: the file is there and does not begin as a journal does; name a new file, or a journal"
    )]
    NotJournal {
        /// The file.
        path: PathBuf,
    },
    /// The journal is full and cannot be replaced.
    #[error("cannot replace the journal {path}, which is full: {source}; it goes on growing")]
    Rotate {
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
