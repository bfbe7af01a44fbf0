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
    assert!(!contents.broken);
}

#[test]
fn items_that_are_no_list_are_named() {
    let text = r#"{"kind":"List","items":{}} 7 {"kind":"ServiceCIDR","metadata":{"name":"a"}}"#;
    let contents = read("a.json", text);
    assert_eq!(names(&contents.services), ["a.json: document 1", "a.json: document 2"]);
    assert_eq!(names(&contents.service_cidrs), ["a"]);
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
    let expected =
        ["bad.yaml: document 1", "shop/web", "bad.yaml: document 3", "bad.yaml: document 4", "bad.yaml: document 5"];
    assert_eq!(names, expected);
}

#[test]
fn broken_json_is_named_and_flow_yaml_is_not_broken_json() {
    assert_eq!(names(&read("a.json", "{\"kind\": \"Service\",").services), ["a.json: document 1"]);
    let flow = "{kind: Service, metadata: {name: web}, spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}}";
    assert_eq!(names(&read("a.yaml", flow).services), ["default/web"]);
    assert!(read("a.yaml", "\u{feff}{}").broken);
    let contents = FileReader::new("a.yaml", "n", &mut Interner::default()).read(b"\xff\xfe");
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
