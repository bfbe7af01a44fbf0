//! Names of objects and of service ports.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Namespace and name of a namespaced object; also used for cluster-scoped objects, with an empty namespace.
///
/// Ordered by namespace, then by name. Its hash is at hand.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectName {
    /// Of the text; first, so that nearly every comparison ends with it.
    hash: u64,
    /// The namespace, a NUL, which no namespace contains, and the name: the order of these texts is that of the pairs.
    text: Arc<str>,
}

/// An object's name as the key of a large map, ordered by the name's hash: a search among many keys then reads only the keys
/// themselves, and not the text of each name that it passes.
///
/// The hash is the same in every run, and so is the order; but it means nothing, and is never shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HashedName(pub ObjectName);

/// The form of a name in journals.
#[derive(Serialize, Deserialize)]
#[serde(rename = "ObjectName")]
struct Form<T> {
    namespace: T,
    name: T,
}

/// Longest comment that is written to the kernel, in bytes.
///
/// A namespace, a Service name and a port name of 63 characters each fit with their separators. nft 1.0.6 and 1.1.3 abort on
/// comments of 255 bytes.
const MAX_TAG: usize = 191;

/// Between namespace and name. It comes before every other character.
const SEPARATOR: char = '\0';

impl ObjectName {
    /// The name of a namespaced object.
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Self {
        let (namespace, name) = (namespace.as_ref(), name.as_ref());
        let mut separator = [0];
        let separator: &str = SEPARATOR.encode_utf8(&mut separator);
        let text = if namespace.contains(SEPARATOR) {
            // What a damaged manifest may hold is no namespace in any case.
            joined([&namespace.replace(SEPARATOR, "\u{FFFD}"), separator, name])
        } else {
            joined([namespace, separator, name])
        };
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        Self { hash: hasher.finish(), text }
    }

    /// The name of a cluster-scoped object.
    pub fn cluster_scoped(name: impl AsRef<str>) -> Self {
        Self::new("", name)
    }

    /// The namespace; empty for cluster-scoped objects (Node, ServiceCIDR).
    pub fn namespace(&self) -> &str {
        self.parts().0
    }

    /// Whether this is the namespace.
    pub(super) fn is_in(&self, namespace: &str) -> bool {
        self.text.strip_prefix(namespace).is_some_and(|rest| rest.starts_with(SEPARATOR))
    }

    /// The object's name, unique in its namespace.
    pub fn name(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.text.split_once(SEPARATOR).unwrap_or_default()
    }

    /// The same in every run.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }
}

impl HashedName {
    /// The key of this name.
    pub fn new(name: &ObjectName) -> Self {
        Self(name.clone())
    }

    /// Before every name with this hash.
    pub fn before_all(hash: u64) -> Self {
        Self(ObjectName { hash, text: Arc::default() })
    }
}

impl Default for ObjectName {
    fn default() -> Self {
        Self::new("", "")
    }
}

impl Ord for ObjectName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl PartialOrd for ObjectName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for HashedName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.hash.cmp(&other.0.hash).then_with(|| {
            if Arc::ptr_eq(&self.0.text, &other.0.text) { Ordering::Equal } else { self.0.text.cmp(&other.0.text) }
        })
    }
}

impl PartialOrd for HashedName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, name) = self.parts();
        f.debug_struct("ObjectName").field("namespace", &namespace).field("name", &name).finish()
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, name) = self.parts();
        if namespace.is_empty() { f.write_str(name) } else { write!(f, "{namespace}/{name}") }
    }
}

impl Serialize for ObjectName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (namespace, name) = self.parts();
        Form { namespace, name }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ObjectName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Form::<String>::deserialize(deserializer).map(|form| Self::new(form.namespace, form.name))
    }
}

/// How a service port is named in element comments and in the diff: `namespace/name:port`, without `:port` for an unnamed one.
///
/// The API server only admits DNS labels. Whatever else may arrive is replaced by `_`, and the whole is cut to 191 bytes, so
/// that a tag is always safe inside a quoted nft comment.
pub fn owner_tag(service: &ObjectName, port: &str) -> Arc<str> {
    let separator = if port.is_empty() { "" } else { ":" };
    let (namespace, name) = service.parts();
    let slash = if namespace.is_empty() { "" } else { "/" };
    let parts = [namespace, slash, name, separator, port];
    let is_safe = |c: char| matches!(c, 'a'..='z' | '0'..='9' | 'A'..='Z' | '-' | '.' | '/' | ':' | '_');
    let tag = joined(parts);
    // As it nearly always is.
    if tag.len() <= MAX_TAG && tag.bytes().all(|byte| is_safe(byte.into())) {
        return tag;
    }
    let safe = |c: char| if is_safe(c) { c } else { '_' };
    tag.chars().map(safe).take(MAX_TAG).collect::<String>().into()
}

/// These texts in one, with a single allocation unless they are long: names are made with every object that arrives.
fn joined<const N: usize>(parts: [&str; N]) -> Arc<str> {
    let mut buffer = [0; 256];
    let filled = parts.iter().try_fold(0, |begin, part| {
        let end = begin + part.len();
        buffer.get_mut(begin..end)?.copy_from_slice(part.as_bytes());
        Some(end)
    });
    match filled.and_then(|end| str::from_utf8(&buffer[..end]).ok()) {
        Some(text) => text.into(),
        None => parts.concat().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_by_namespace_and_then_by_name() {
        let ordered = [("", "b"), ("a", "b"), ("a-b", "a"), ("a/b", ""), ("aa", "a"), ("aa", "b")];
        let names = ordered.map(|(namespace, name)| ObjectName::new(namespace, name));
        assert!(names.is_sorted() && names.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(names.each_ref().map(|name| (name.namespace(), name.name())), ordered);
    }

    /// Otherwise every look-up would walk all names.
    #[test]
    fn names_nearly_always_have_hashes_of_their_own() {
        let hashes: std::collections::BTreeSet<u64> =
            (0..1_000).map(|n| ObjectName::new("shop", format!("web-{n}")).hash()).collect();
        assert_eq!(hashes.len(), 1_000);
    }

    #[test]
    fn by_hash_names_are_told_apart_even_if_their_hashes_are_equal() {
        let (a, b) = (ObjectName::new("n", "a"), ObjectName::new("n", "b"));
        let b = ObjectName { hash: a.hash, ..b };
        let first = HashedName::before_all(a.hash);
        let (a, b) = (HashedName(a), HashedName(b));
        assert!(first < a && a < b && a == a.clone());
    }

    #[test]
    fn a_name_is_written_with_its_two_fields() {
        let text = r#"{"namespace":"shop","name":"web"}"#;
        let name: ObjectName = serde_json::from_str(text).unwrap();
        assert_eq!((name.namespace(), name.name()), ("shop", "web"));
        assert_eq!(serde_json::to_string(&name).unwrap(), text);
    }

    #[test]
    fn a_namespace_that_cannot_be_one_is_kept_apart_from_the_name() {
        let name = ObjectName::new("a\0b", "c\0d");
        assert_eq!((name.namespace(), name.name()), ("a\u{fffd}b", "c\0d"));
    }

    #[test]
    fn a_name_of_any_length_is_kept_whole() {
        for length in [0, 1, 250, 253, 254, 255, 256, 257, 600] {
            let long = "n".repeat(length);
            let name = ObjectName::new("ä", &long);
            assert_eq!((name.namespace(), name.name()), ("ä", &*long));
        }
    }

    #[test]
    fn a_name_is_in_its_namespace_only() {
        let web = ObjectName::new("shop", "web");
        assert!(web.is_in("shop") && ObjectName::cluster_scoped("node-a").is_in(""));
        assert!(["", "sho", "shop\0web", "shop-2"].iter().all(|other| !web.is_in(other)));
    }

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
