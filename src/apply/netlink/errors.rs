//! Errors of the backend, from error numbers of the kernel.

use std::io;

use nix::libc::{EACCES, EAFNOSUPPORT, EBUSY, EEXIST, ENOENT, EOPNOTSUPP, EPERM, EPROTONOSUPPORT};

use super::encode::EncodedBatch;
use crate::apply::{Error, Refusal};
use crate::dataplane::Operation;
use crate::netlink::RefusedMessage;

/// The error for a socket, or a request to read, that failed.
pub(super) fn for_socket(doing: &'static str, source: io::Error) -> Error {
    let detail = source.to_string();
    match source.raw_os_error() {
        Some(EPERM | EACCES) => Error::NotPermitted { doing, detail },
        Some(EPROTONOSUPPORT | EAFNOSUPPORT | EOPNOTSUPP) => Error::NoKernelSupport { doing, detail },
        _ => Error::Io { doing, source },
    }
}

/// The error for a batch of which the kernel refused a message. Names the operation.
pub(super) fn for_refused_message(
    doing: &'static str,
    refused: RefusedMessage,
    batch: &EncodedBatch,
    operations: &[Operation],
) -> Error {
    let cause = io::Error::from_raw_os_error(refused.errno);
    let operation = batch.operation(operations, refused.message, refused.offset).and_then(|n| operations.get(n));
    let Some(operation) = operation else {
        // The begin or end of the batch: the kernel refuses any batch.
        return match refused.errno {
            EPERM | EACCES | EOPNOTSUPP => for_socket(doing, cause),
            _ => refusal(doing, refused.errno, cause.to_string()),
        };
    };
    match refused.errno {
        EPERM | EACCES => for_socket(doing, cause),
        _ => refusal(doing, refused.errno, format!("{operation}: {cause}")),
    }
}

/// The error for a refused request to change tables of other programs.
pub(super) fn for_foreign_change(doing: &'static str, source: io::Error) -> Error {
    match source.raw_os_error() {
        Some(EPERM | EACCES) | None => for_socket(doing, source),
        Some(errno) => refusal(doing, errno, source.to_string()),
    }
}

/// The error for an operation that has no message.
pub(super) fn for_missing_message(doing: &'static str, operation: &Operation) -> Error {
    Error::Refused { doing, refusal: Refusal::Other, detail: format!("{operation}: nf_tables has no such operation") }
}

fn refusal(doing: &'static str, errno: i32, detail: String) -> Error {
    let kind = match errno {
        ENOENT => Refusal::Missing,
        EEXIST => Refusal::Exists,
        EBUSY => Refusal::Busy,
        _ => Refusal::Other,
    };
    Error::Refused { doing, refusal: kind, detail }
}
