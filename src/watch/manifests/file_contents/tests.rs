use super::*;

fn read(file: &str, text: &str) -> FileContents {
    FileReader::new(file, "node-1", &mut Interner::default()).read(text.as_bytes())
}

fn names<T: WatchedKind>(objects: &[Decoded<T>]) -> Vec<String> {
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
        assert!(contents.broken.is_empty());
    }
}

#[test]
fn other_kinds_and_other_groups_are_ignored() {
    let text = format!(
        "{SERVICE}---\nkind: Deployment\napiVersion: apps/v1\n---\nkind: Service\napiVersion: serving.knative.dev/v1\n\
         metadata: {{name: other}}\n---\n---\n# only a comment\n"
    );
    let contents = read("a.yaml", &text);
    assert_eq!((names(&contents.services), contents.broken.len()), (vec!["shop/web".to_owned()], 0));
}

#[test]
fn lists_may_be_nested_and_typed() {
    let text = r#"{"kind":"List","items":[{"kind":"List","apiVersion":"v1","items":[{"kind":"ServiceCIDRList","items":
        [{"metadata":{"name":"kubernetes"},"spec":{"cidrs":["10.96.0.0/16"]}}]}]},{"kind":"List","items":null}]}"#;
    let contents = read("a.json", text);
    assert_eq!((names(&contents.service_cidrs), contents.broken.len()), (vec!["kubernetes".to_owned()], 0));
}

#[test]
fn items_are_known_whatever_they_begin_with() {
    let rest = r#""spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]}"#;
    let item = |begin: &str, name: &str| format!(r#"{{{begin}"metadata":{{"name":"{name}"}},{rest}}}"#);
    let items = [
        item(r#""apiVersion":"v1","kind":"Service","#, "a"),
        item(r#""kind":"Service","apiVersion":"v1","#, "b"),
        item(r#""kind":"Service","#, "c"),
        item(r#""spec2":0,"kind":"Service","#, "d"),
        item(r#""kind":"Service","apiVersion":"v1","#, "e"),
        format!(r#"{{{rest},"metadata":{{"name":"f"}},"kind":"Service"}}"#),
        item(r#""apiVersion":"v2","kind":"Service","#, "another-version"),
        item(r#""apiVersion":7,"kind":"Service","#, "g"),
    ];
    let text = format!(r#"{{"items":[{}],"kind":"List"}}"#, items.join(","));
    let contents = read("a.json", &text);
    assert_eq!(names(&contents.services), ["a", "b", "c", "d", "e", "f", "g"].map(|n| format!("default/{n}")));
    assert!(contents.broken.is_empty());
}

#[test]
fn items_that_are_no_list_are_named() {
    let text = r#"{"kind":"List","items":{}} 7 {"kind":"ServiceCIDR","metadata":{"name":"a"}}"#;
    let contents = read("a.json", text);
    assert_eq!(
        contents.broken,
        [
            "document 1, line 1: items: an object, not a list",
            "document 2, line 1: invalid type: integer `7`, expected a Kubernetes object"
        ]
    );
    assert_eq!(names(&contents.service_cidrs), ["a"]);
}

#[test]
fn lists_nested_without_end_are_refused() {
    let text = format!("{}{}", r#"{"kind":"List","items":["#.repeat(40), "]}".repeat(40));
    assert_eq!(read("a.json", &text).broken.len(), 1);
}

#[test]
fn a_broken_document_costs_only_itself_and_is_named() {
    let text = format!("a: [\n---\n{SERVICE}---\nno kind: here\n---\n- a list\n---\nkind: Service\nspec: 7\n");
    let contents = read("bad.yaml", &text);
    let places: Vec<_> = contents.broken.iter().map(|text| text.split_once(": ").unwrap().0).collect();
    assert_eq!(places, ["document 1", "document 3, line 7", "document 4, line 9"]);
    assert_eq!(contents.broken[0], "document 1: line 1, column 4: unclosed bracket '['");
    // An object of a known kind, though without a name and with a bad field.
    assert_eq!(names(&contents.services), ["shop/web", "bad.yaml: document 5, line 11"]);
}

#[test]
fn broken_json_is_named_and_flow_yaml_is_not_broken_json() {
    let broken = |text| read("a.json", text).broken.concat();
    assert_eq!(broken("{\"kind\": \"Service\","), "document 1: line 1, column 19: EOF while parsing an object");
    assert_eq!(
        broken("{\"kind\": \"List\", \"items\": []}\n\n{\n\"kind\" 7}"),
        "document 2: line 4, column 8: expected `:`"
    );
    let flow = "{kind: Service, metadata: {name: web}, spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}}";
    assert_eq!(names(&read("a.yaml", flow).services), ["default/web"]);
    assert_eq!(read("a.yaml", "\u{feff}{}").broken.len(), 1);
    let contents = FileReader::new("a.yaml", "n", &mut Interner::default()).read(b"\xff\xfe");
    assert!(contents.broken[0].starts_with("not UTF-8"), "{:?}", contents.broken);
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

#[test]
fn what_is_not_read_is_counted() {
    let text = "{kind: Deployment, apiVersion: apps/v1}\n---\n{kind: EndpointSlice, apiVersion: discovery.k8s.io/v1beta1}\n---\n\
                {kind: Endpoints, apiVersion: v1}\n---\n{kind: Endpoints, apiVersion: v1}\n---\n\
                {kind: Service, apiVersion: serving.knative.dev/v1}\n---\n{kind: Node, metadata: {name: other}}\n";
    let contents = read("a.yaml", text);
    let counts = |counts: &BTreeMap<String, usize>| {
        counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(counts(&contents.other_kinds), "1 Deployment apps/v1, 1 Service serving.knative.dev/v1");
    assert_eq!(counts(&contents.other_versions), "1 EndpointSlice discovery.k8s.io/v1beta1, 2 Endpoints v1");
    assert_eq!(contents.other_nodes, BTreeSet::from(["other".to_owned()]));
    assert_eq!((contents.documents, contents.len(), contents.is_blank()), (6, 0, false));
}

#[test]
fn a_file_without_documents_is_blank_and_an_empty_list_is_meant() {
    for (text, blank, empty_list) in [
        ("", true, false),
        ("# x\n---\n---\n", true, false),
        ("null", true, false),
        ("{kind: List, items: []}", false, true),
        ("{kind: List, items: [{kind: List, items: []}]}", false, true),
        ("{kind: List, items: [{kind: Pod}]}", false, false),
        ("kind: [", false, false),
    ] {
        let contents = read("a.yaml", text);
        assert_eq!((contents.is_blank(), contents.empty_list), (blank, empty_list), "{text}");
    }
}

#[test]
fn no_message_speaks_of_the_parsers_options() {
    let contents = read("a.yaml", "kind: Service\nmetadata: {name: a}\nspec: {}\nspec: {}\n");
    assert_eq!(contents.broken, ["document 1: line 4, column 1: duplicate mapping key: spec"]);
}

/// Documents of all sorts, and how many objects, problems and other kinds each is.
fn documents() -> impl proptest::strategy::Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0..DOCUMENTS.len(), 0..12)
}

const DOCUMENTS: [&str; 13] = [
    "kind: Service\nmetadata: {name: a}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}\n",
    "kind: Service\nmetadata: 7\n",
    "kind: EndpointSlice\nmetadata: {name: a, labels: {kubernetes.io/service-name: a}}\naddressType: FQDN\n",
    "kind: EndpointSlice\napiVersion: discovery.k8s.io/v1beta1\n",
    "kind: Node\nmetadata: {name: node-1}\n",
    "kind: Node\nmetadata: {name: node-2}\n",
    "kind: ServiceCIDR\nspec: [7]\n",
    "kind: Pod\n",
    "kind: Service\nmetadata: {name: c}\nspec: {clusterIP: None}\n",
    "kind: 7\n",
    "- kind: Service\n",
    "a: [\n",
    "kind: List\nitems: [7, {kind: Pod}, {kind: Service, metadata: {name: b}, spec: {clusterIP: 10.96.0.2}}]\n",
];

proptest::proptest! {
    #[test]
    fn nothing_is_dropped_without_a_word(documents in documents()) {
        let text: String = documents.iter().map(|n| format!("---\n{}", DOCUMENTS[*n])).collect();
        let contents = read("a.yaml", &text);
        let entries: usize = documents.iter().map(|n| if *n == 12 { 3 } else { 1 }).sum();
        let others: usize = contents.other_kinds.values().chain(contents.other_versions.values()).sum();
        let nodes = documents.iter().filter(|n| **n == 5).count();
        proptest::prop_assert_eq!(contents.len() + contents.broken.len() + contents.not_proxied + others + nodes, entries);
        proptest::prop_assert_eq!(contents.documents, entries);
        proptest::prop_assert_eq!(contents.other_nodes.len(), nodes.min(1));
    }
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
