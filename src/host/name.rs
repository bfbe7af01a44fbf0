//! The name of this node's Node object.

use std::io;

use thiserror::Error;

/// The file with the host's name.
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// The environment variable that a DaemonSet sets to `spec.nodeName`.
const NODE_NAME: &str = "NODE_NAME";

/// The node's name is unknown.
#[derive(Debug, Error)]
pub enum NodeNameError {
    /// The kernel does not show the host's name.
    #[error("cannot read this host's name from {HOSTNAME}: {0}. Give the node's name with --hostname-override")]
    Unreadable(#[from] io::Error),
    /// The name has no letters.
    #[error("the node's name is empty: give it with --hostname-override")]
    Empty,
}

/// The node's name in lower case, as Kubernetes has it: the configured one, `$NODE_NAME`, or the host's name, in this order.
///
/// # Errors
///
/// If the host's name is needed and cannot be read, or the name is empty.
pub fn node_name(configured: Option<&str>) -> Result<String, NodeNameError> {
    if let Some(name) = configured {
        return Ok(name.to_owned());
    }
    let name = match std::env::var(NODE_NAME) {
        Ok(name) if !name.is_empty() => name,
        _ => std::fs::read_to_string(HOSTNAME)?,
    };
    let name = name.trim().to_lowercase();
    if name.is_empty() { Err(NodeNameError::Empty) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_name_wins_and_the_hosts_name_is_the_fallback() {
        assert_eq!(node_name(Some("node-a")).unwrap(), "node-a");
        assert!(!node_name(None).unwrap().is_empty());
    }
}
