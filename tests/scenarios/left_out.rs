//! Rows that are not run, and why.

/// Rows and the reason.
pub const LEFT_OUT: &[(&str, &str)] =
    &[("C7", "not every kernel can open SCTP sockets; SCTP has the same sets and rules, which other tests compare")];
