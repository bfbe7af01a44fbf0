//! What the proxy sets on its host besides nftables: sysctls of connection tracking, and its own out-of-memory score.

pub mod oom;
pub mod sysctl;
