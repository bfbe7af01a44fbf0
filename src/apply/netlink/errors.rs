//! Error numbers as errors.

use std::io;

use nix::libc::{EACCES, EAFNOSUPPORT, EBUSY, EEXIST, ENOENT, EOPNOTSUPP, EPERM, EPROTONOSUPPORT};

use super::encode::EncodedBatch;
use crate::apply::{Error, Refusal};
use crate::dataplane::Operation;
use crate::netlink::RefusedMessage;

/// What it means that the socket itself fails, or a request to read.
pub(super) fn of_socket(doing: &'static str, source: io::Error) -> Error {
    let detail = source.to_string();
    match source.raw_os_error() {
        Some(EPERM | EACCES) => Error::NotPermitted { doing, detail },
        Some(EPROTONOSUPPORT | EAFNOSUPPORT | EOPNOTSUPP) => Error::NoKernelSupport { doing, detail },
        _ => Error::Io { doing, source },
    }
}

/// What it means that the kernel found fault with a batch: the operation is named.
pub(super) fn of_batch(
    doing: &'static str,
    fault: RefusedMessage,
    batch: &EncodedBatch,
    operations: &[Operation],
) -> Error {
    let says = io::Error::from_raw_os_error(fault.errno);
    let operation = batch.operation(operations, fault.message, fault.offset).and_then(|n| operations.get(n));
    let Some(operation) = operation else {
        // The frame of the batch: not what is in it, but that there is one.
        return match fault.errno {
            EPERM | EACCES | EOPNOTSUPP => of_socket(doing, says),
            _ => refused(doing, fault.errno, says.to_string()),
        };
    };
    match fault.errno {
        EPERM | EACCES => of_socket(doing, says),
        _ => refused(doing, fault.errno, format!("{operation}: {says}")),
    }
}

/// What it means that the kernel refuses a request to change what is not ours.
pub(super) fn of_refusal(doing: &'static str, source: io::Error) -> Error {
    match source.raw_os_error() {
        Some(EPERM | EACCES) | None => of_socket(doing, source),
        Some(errno) => refused(doing, errno, source.to_string()),
    }
}

/// What it means that nothing can be sent for an operation.
pub(super) fn not_sent(doing: &'static str, operation: &Operation) -> Error {
    Error::Refused { doing, refusal: Refusal::Other, detail: format!("{operation}: there is no such operation") }
}

fn refused(doing: &'static str, errno: i32, detail: String) -> Error {
    let refusal = match errno {
        ENOENT => Refusal::Missing,
        EEXIST => Refusal::Exists,
        EBUSY => Refusal::Busy,
        _ => Refusal::Other,
    };
    Error::Refused { doing, refusal, detail }
}
