//! Whether this host has IPv6.

use std::path::Path;

/// Whether the kernel has IPv6 at all, switched on or not.
pub fn kernel_has_ipv6() -> bool {
    Path::new("/proc/net/if_inet6").exists()
}
