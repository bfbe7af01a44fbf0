//! This host: its name, addresses and IPv6, and what the proxy sets on it besides nftables (sysctls of connection tracking, and the
//! process's out-of-memory score and limit of descriptors).

pub mod addresses;
mod descriptors;
mod ipv6;
mod name;
pub mod oom;
mod prepare;
pub mod sysctl;

pub use descriptors::raise_descriptor_limit;
pub use ipv6::kernel_has_ipv6;
pub use name::{NodeNameError, node_name};
pub use prepare::{HostRole, prepare};
