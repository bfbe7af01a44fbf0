//! The limit of file descriptors: each connection takes one.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What a process has at least on every system, where the limit cannot be read.
const USUAL_LIMIT: u64 = 1024;

/// Raises the soft limit of descriptors to the hard one, as Go's programs do, and returns the limit in force. A failure is logged.
///
/// The soft limit is low (1,024) for programs that call select(2), which knows no higher numbers. This one does not.
pub fn raise_descriptor_limit() -> u64 {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => {
            tracing::warn!(%error, "cannot read the limit of file descriptors and take it for {USUAL_LIMIT}");
            return USUAL_LIMIT;
        }
    };
    if soft >= hard {
        return soft;
    }
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(%error, soft, hard, "cannot raise the limit of file descriptors: fewer connections are served");
            soft
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let limit = raise_descriptor_limit();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!((soft, limit), (hard, hard));
    }
}
