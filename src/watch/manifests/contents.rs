//! What a file says: the objects of the kinds that are read, and the documents that could not be.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::yaml;
use crate::state::{Decoded, EndpointSlice, Kind, Node, ObjectName, Problem, Reason, Service, ServiceCidr};
use crate::watch::decode::{Interner, Outcome, Watched};
use crate::watch::wire::{Head, Loose, Scalar};

/// How deep a `List` may be nested in another.
const MAX_NESTING: usize = 16;

/// The objects of one file, in its order.
#[derive(Debug, Default)]
pub struct Contents {
    /// Services, and the documents that could not be read: what they were is unknown, and each is an unreadable object.
    pub services: Vec<Decoded<Service>>,
    /// EndpointSlices.
    pub slices: Vec<Decoded<EndpointSlice>>,
    /// ServiceCIDRs.
    pub service_cidrs: Vec<Decoded<ServiceCidr>>,
    /// The Node of this name, if it is here.
    pub nodes: Vec<Decoded<Node>>,
    /// Whether some document could not be read, so that objects may be missing.
    pub broken: bool,
}

/// Reads one file's text.
pub struct Reader<'a> {
    /// The file's name, for what cannot be read.
    pub file: &'a str,
    /// The name of this node's Node object; other Nodes do not matter.
    pub node_name: &'a str,
    /// Shared strings.
    pub names: &'a mut Interner,
    contents: Contents,
}

/// A document or an item of a `List`.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default, rename = "apiVersion")]
    api_version: Scalar,
    #[serde(default)]
    kind: Scalar,
    #[serde(default, borrow)]
    items: Option<&'a RawValue>,
}

impl<'a> Reader<'a> {
    /// A reader for the file of this name.
    pub fn new(file: &'a str, node_name: &'a str, names: &'a mut Interner) -> Self {
        Self { file, node_name, names, contents: Contents::default() }
    }

    /// Reads a whole file: JSON if it looks like that, YAML otherwise.
    pub fn read(mut self, bytes: &[u8]) -> Contents {
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text.trim_start_matches('\u{feff}'),
            Err(error) => {
                self.broken("", &format!("not UTF-8: {error}"));
                return self.contents;
            }
        };
        // YAML in flow style begins like JSON, but then its first value is not JSON.
        if text.trim_start().starts_with(['{', '[']) && self.json(text) {
            return self.contents;
        }
        for (i, document) in yaml::documents(text).iter().enumerate() {
            let place = format!("document {}", i + 1);
            match yaml::to_json(document) {
                Ok(json) => self.value(&json, &place, None, 0),
                Err(error) => self.broken(&place, &error),
            }
        }
        self.contents
    }

    /// Reads JSON values that follow each other; false if the first is not JSON and nothing was read.
    fn json(&mut self, text: &str) -> bool {
        for (read, value) in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>().enumerate() {
            let place = format!("document {}", read + 1);
            match value {
                Ok(value) => self.value(value.get(), &place, None, 0),
                Err(_) if read == 0 && !self.file.ends_with(".json") => return false,
                Err(error) => {
                    // What follows a syntax error cannot be told apart.
                    self.broken(&place, &error.to_string());
                    return true;
                }
            }
        }
        true
    }

    /// Reads one value. `kind` is what a typed list says of its items, which need not say it themselves.
    fn value(&mut self, json: &str, place: &str, kind: Option<&str>, depth: usize) {
        if json.trim() == "null" {
            return;
        }
        let envelope = match serde_json::from_str::<Envelope<'_>>(json) {
            Ok(envelope) => envelope,
            Err(error) => return self.broken(place, &format!("not a Kubernetes object: {error}")),
        };
        let api_version = envelope.api_version.as_str();
        let Some(kind) = envelope.kind.non_empty().or(kind) else {
            return self.broken(place, "not a Kubernetes object: no kind");
        };
        if let (Some(items), Some(of)) = (envelope.items, kind.strip_suffix("List")) {
            return self.items(items, place, (!of.is_empty()).then_some(of), depth);
        }
        match kind {
            "Service" if is_version(api_version, &["v1"]) => {
                let object = self.object::<Service>(json, place);
                self.contents.services.extend(object);
            }
            "EndpointSlice" if is_version(api_version, &["discovery.k8s.io/v1"]) => {
                let object = self.object::<EndpointSlice>(json, place);
                self.contents.slices.extend(object);
            }
            "ServiceCIDR" if is_version(api_version, &["networking.k8s.io/v1", "networking.k8s.io/v1beta1"]) => {
                let object = self.object::<ServiceCidr>(json, place);
                self.contents.service_cidrs.extend(object);
            }
            "Node" if is_version(api_version, &["v1"]) => {
                let object = self.object::<Node>(json, place);
                let node_name = self.node_name;
                self.contents.nodes.extend(object.filter(|node| name_of(node).name() == node_name));
            }
            _ => tracing::trace!(file = self.file, place, kind, "another kind; left out"),
        }
    }

    fn items(&mut self, items: &RawValue, place: &str, kind: Option<&str>, depth: usize) {
        if depth == MAX_NESTING {
            return self.broken(place, "lists nested too deeply");
        }
        match serde_json::from_str::<Option<Vec<&RawValue>>>(items.get()) {
            Ok(items) => {
                for (i, item) in items.unwrap_or_default().into_iter().enumerate() {
                    self.value(item.get(), &format!("{place}, item {}", i + 1), kind, depth + 1);
                }
            }
            Err(error) => self.broken(place, &format!("items: {error}")),
        }
    }

    /// Decodes an object; `None` if it is not ours.
    fn object<T: Watched>(&mut self, json: &str, place: &str) -> Option<Decoded<T>> {
        let outcome = match serde_json::from_str::<T::Wire>(json) {
            Ok(wire) => T::decode(wire, self.names),
            Err(error) => {
                let head = serde_json::from_str::<Head>(json).unwrap_or_default();
                Outcome::Unreadable(name_in(T::KIND, head.metadata), Problem::new("", Reason::Undecodable, error))
            }
        };
        match outcome {
            Outcome::Unreadable(name, problem) => {
                // Named by its place when it has no name.
                let name = if name.name().is_empty() { self.place(place) } else { name };
                Some(Decoded::unreadable(name, problem))
            }
            outcome => outcome.into_decoded().ok(),
        }
    }

    fn broken(&mut self, place: &str, error: &str) {
        tracing::debug!(file = self.file, place, error, "cannot read this document; the rest of the file is used");
        self.contents.broken = true;
        let problem = Problem::new(place, Reason::Undecodable, error);
        self.contents.services.push(Decoded::unreadable(self.place(place), problem));
    }

    /// A name for what has none.
    fn place(&self, place: &str) -> ObjectName {
        let separator = if place.is_empty() { "" } else { ": " };
        ObjectName::cluster_scoped(format!("{}{separator}{place}", self.file))
    }
}

/// Whether the version is one of those that are understood, or left out.
fn is_version(found: Option<&str>, versions: &[&str]) -> bool {
    found.is_none_or(|found| found.is_empty() || versions.contains(&found))
}

fn name_in(kind: Kind, metadata: Loose<crate::watch::wire::Metadata>) -> ObjectName {
    let metadata = metadata.or_default();
    let name = metadata.name.text().unwrap_or_default();
    match kind {
        Kind::Service | Kind::EndpointSlice => {
            ObjectName::new(metadata.namespace.non_empty().unwrap_or("default"), name)
        }
        Kind::ServiceCidr | Kind::Node => ObjectName::cluster_scoped(name),
    }
}

/// The name of an object, readable or not.
pub fn name_of<T: Watched>(object: &Decoded<T>) -> &ObjectName {
    match object {
        Decoded::Object(object) => object.name(),
        Decoded::Unreadable(of) => &of.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, text: &str) -> Contents {
        Reader::new(file, "node-1", &mut Interner::default()).read(text.as_bytes())
    }

    fn names<T: Watched>(objects: &[Decoded<T>]) -> Vec<String> {
        objects.iter().map(|object| name_of(object).to_string()).collect()
    }

    const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n\
                           spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n";

    #[test]
    fn what_kubectl_prints_is_read_as_yaml_and_as_json() {
        let yaml = "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata:\n    name: web\n    namespace: shop\n  \
                    spec:\n    clusterIP: 10.96.0.1\n    ports:\n    - port: 80\n- apiVersion: discovery.k8s.io/v1\n  kind: \
                    EndpointSlice\n  addressType: IPv4\n  metadata:\n    name: web-1\n    namespace: shop\n    labels:\n      \
                    kubernetes.io/service-name: web\n  endpoints:\n  - addresses:\n    - 10.1.0.1\n  ports:\n  - port: 8080\n- \
                    apiVersion: v1\n  kind: Node\n  metadata:\n    name: node-1\n- apiVersion: v1\n  kind: Node\n  metadata:\n    \
                    name: node-2\nkind: List\nmetadata:\n  resourceVersion: \"\"\n";
        let json = yaml::to_json(&yaml::documents(yaml)[0]).unwrap();
        for (file, text) in [("all.yaml", yaml), ("all.json", &json), ("-", &json)] {
            let contents = read(file, text);
            assert_eq!(names(&contents.services), ["shop/web"]);
            assert_eq!(names(&contents.slices), ["shop/web-1"]);
            assert_eq!(names(&contents.nodes), ["node-1"]);
            assert!(!contents.broken);
        }
    }

    #[test]
    fn other_kinds_and_other_groups_are_ignored() {
        let text = format!(
            "{SERVICE}---\nkind: Deployment\napiVersion: apps/v1\n---\nkind: Service\napiVersion: serving.knative.dev/v1\n\
             metadata: {{name: other}}\n---\n---\n# only a comment\n"
        );
        let contents = read("a.yaml", &text);
        assert_eq!((names(&contents.services), contents.broken), (vec!["shop/web".to_owned()], false));
    }

    #[test]
    fn lists_may_be_nested_and_typed() {
        let text = r#"{"kind":"List","items":[{"kind":"List","apiVersion":"v1","items":[{"kind":"ServiceCIDRList","items":
            [{"metadata":{"name":"kubernetes"},"spec":{"cidrs":["10.96.0.0/16"]}}]}]},{"kind":"List","items":null}]}"#;
        let contents = read("a.json", text);
        assert_eq!((names(&contents.service_cidrs), contents.broken), (vec!["kubernetes".to_owned()], false));
    }

    #[test]
    fn lists_nested_without_end_are_refused() {
        let text = format!("{}{}", r#"{"kind":"List","items":["#.repeat(40), "]}".repeat(40));
        assert!(read("a.json", &text).broken);
    }

    #[test]
    fn a_broken_document_costs_only_itself_and_is_named() {
        let text = format!("a: [\n---\n{SERVICE}---\nno kind: here\n---\n- a list\n---\nkind: Service\nspec: 7\n");
        let contents = read("bad.yaml", &text);
        assert!(contents.broken);
        let names = names(&contents.services);
        let expected = [
            "bad.yaml: document 1",
            "shop/web",
            "bad.yaml: document 3",
            "bad.yaml: document 4",
            "bad.yaml: document 5",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn broken_json_is_named_and_flow_yaml_is_not_broken_json() {
        assert_eq!(names(&read("a.json", "{\"kind\": \"Service\",").services), ["a.json: document 1"]);
        let flow = "{kind: Service, metadata: {name: web}, spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}}";
        assert_eq!(names(&read("a.yaml", flow).services), ["default/web"]);
        assert!(read("a.yaml", "\u{feff}{}").broken);
        let contents = Reader::new("a.yaml", "n", &mut Interner::default()).read(b"\xff\xfe");
        assert_eq!(names(&contents.services), ["a.yaml"]);
    }

    #[test]
    fn json_values_may_follow_each_other() {
        let one = r#"{"kind":"ServiceCIDR","metadata":{"name":"a"}}"#;
        let two = r#"{"kind":"ServiceCIDR","metadata":{"name":"b"}}"#;
        assert_eq!(names(&read("a.json", &format!("{one}\n{two}")).service_cidrs), ["a", "b"]);
    }

    #[test]
    fn an_undecodable_object_keeps_its_name() {
        let text = r#"{"kind":"Service","metadata":{"name":"web"},"spec":{"type":"a","type":"b"}}"#;
        assert_eq!(names(&read("a.json", text).services), ["default/web"]);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            cases: 500, failure_persistence: None, ..proptest::prelude::ProptestConfig::default()
        })]

        #[test]
        fn no_damage_to_a_file_is_fatal(at in 0..SERVICE.len(), len in 0..20_usize, new in ".{0,12}") {
            let end = (at + len).min(SERVICE.len());
            let text = format!("{}{new}{}\n---\n{SERVICE}", &SERVICE[..at], &SERVICE[end..]);
            read("a.yaml", &text);
            let json = yaml::to_json(&yaml::documents(SERVICE)[0]).unwrap();
            let at = at.min(json.len());
            read("a.json", &format!("{}{new}{}", &json[..at], &json[end.min(json.len()).max(at)..]));
        }
    }
}
