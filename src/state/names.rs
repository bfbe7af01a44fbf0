//! Names of objects and of service ports.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Namespace and name of a namespaced object; also used for cluster-scoped objects, with an empty namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectName {
    /// The namespace; empty for cluster-scoped objects (Node, ServiceCIDR).
    pub namespace: Arc<str>,
    /// The object's name, unique in its namespace.
    pub name: Arc<str>,
}

/// Longest comment that is written to the kernel, in bytes.
///
/// A namespace, a Service name and a port name of 63 characters each fit with their separators. nft 1.0.6 and 1.1.3 abort on
/// comments of 255 bytes.
const MAX_TAG: usize = 191;

impl ObjectName {
    /// The name of a namespaced object.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The name of a cluster-scoped object.
    pub fn cluster_scoped(name: impl Into<Arc<str>>) -> Self {
        Self::new("", name)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

/// How a service port is named in element comments and in the diff: `namespace/name:port`, without `:port` for an unnamed one.
///
/// The API server only admits DNS labels. Whatever else may arrive is replaced by `_`, and the whole is cut to 191 bytes, so
/// that a tag is always safe inside a quoted nft comment.
pub fn owner_tag(service: &ObjectName, port: &str) -> Arc<str> {
    let separator = if port.is_empty() { "" } else { ":" };
    let tag: String = format!("{service}{separator}{port}")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-./:_".contains(c) { c } else { '_' })
        .take(MAX_TAG)
        .collect();
    tag.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_names_the_service_port() {
        let web = ObjectName::new("default", "web");
        assert_eq!(&*owner_tag(&web, "http"), "default/web:http");
        assert_eq!(&*owner_tag(&web, ""), "default/web");
    }

    #[test]
    fn a_tag_cannot_break_out_of_a_comment_and_is_bounded() {
        let hostile = ObjectName::new("a", "b\"; flush ruleset \u{1F4A3}\n");
        assert_eq!(&*owner_tag(&hostile, "p"), "a/b___flush_ruleset___:p");
        assert_eq!(owner_tag(&ObjectName::new("n".repeat(300), "x"), "").len(), MAX_TAG);
    }
}
