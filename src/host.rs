//! The host that the proxy runs on: its addresses, the sysctls of connection tracking, and the proxy's own out-of-memory score.

pub mod addresses;
pub mod oom;
pub mod sysctl;
