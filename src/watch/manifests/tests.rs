use super::*;
use crate::state::{Decoded, Reason};

fn load(paths: &[PathBuf]) -> Result<(Manifests, Vec<Event>), ManifestError> {
    Manifests::load_strictly(paths, "node-1", false, Connection::default())
}

fn service(name: &str, addr: &str) -> String {
    format!("---\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: {addr}, ports: [{{port: 80}}]}}\n")
}

fn services(events: &[Event]) -> &[Decoded<Service>] {
    match &events[0] {
        Event::ServicesReset(all) => all,
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_is_reset_once_even_when_there_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_, events) = Manifests::load(&[folder.path().to_owned()], "node-1").unwrap();
    let kinds: Vec<_> = events.iter().map(|event| (event.kind(), event.change())).collect();
    assert_eq!(kinds, crate::state::Kind::ALL.map(|kind| (kind, "reset")));
}

#[test]
fn folders_without_any_object_are_all_named() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| folder.path().join(name));
    paths.iter().for_each(|path| fs::create_dir(path).unwrap());
    let error = load(&paths).map(drop).unwrap_err().to_string();
    assert!(paths.iter().all(|path| error.contains(path.to_str().unwrap())), "{error}");
}

#[test]
fn of_an_object_given_twice_the_first_in_path_order_counts() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("b.yaml"), service("web", "10.96.0.2")).unwrap();
    fs::write(folder.path().join("a.yaml"), service("web", "10.96.0.1") + &service("db", "10.96.0.3")).unwrap();
    let (_, events) = load(&[folder.path().to_owned()]).unwrap();
    let [db, web] = services(&events) else { panic!("{events:?}") };
    assert!(db.object().unwrap().problems.is_empty());
    let web = web.object().unwrap();
    assert_eq!(web.cluster_ips[0].to_string(), "10.96.0.1");
    assert_eq!(web.problems[0].reason, Reason::Duplicate);
    assert!(web.problems[0].found.contains("b.yaml"), "{}", web.problems[0].found);

    // The order of the paths comes before that of the names.
    let paths = [folder.path().join("b.yaml"), folder.path().join("a.yaml")];
    let (_, events) = load(&paths).unwrap();
    assert_eq!(services(&events)[1].object().unwrap().cluster_ips[0].to_string(), "10.96.0.2");
}

#[test]
fn many_files_count_in_path_order_whichever_is_read_first() {
    let folder = tempfile::tempdir().unwrap();
    for n in 10..99 {
        // The first are the longest to read.
        let own = (0..99 - n).map(|i| service(&format!("own-{n}-{i:02}"), &format!("10.96.{n}.{i}")));
        let text = service("web", &format!("10.97.0.{n}")) + &own.collect::<String>();
        fs::write(folder.path().join(format!("{n}.yaml")), text).unwrap();
    }
    let load = || load(&[folder.path().to_owned()]).unwrap().1;
    let events = load();
    let all = services(&events);
    let web = all.last().unwrap().object().unwrap();
    assert_eq!(web.cluster_ips[0].to_string(), "10.97.0.10");
    assert_eq!(all.len(), (1..=89).sum::<usize>() + 1);
    assert_eq!(load(), events);
}

#[test]
fn a_path_that_cannot_be_read_stops_the_start() {
    let error = load(&["/nonexistent/m.yaml".into()]).unwrap_err();
    assert!(error.to_string().contains("cannot read manifests from /nonexistent/m.yaml"), "{error}");
}

#[test]
fn a_file_that_is_named_counts_whatever_its_ending() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest.txt");
    fs::write(&path, service("web", "10.96.0.1")).unwrap();
    let (_, events) = load(&[path]).unwrap();
    assert_eq!(services(&events).len(), 1);
}

#[test]
fn a_named_file_has_to_be_readable_and_to_hold_something() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        load(&[path]).map(|(_, events)| services(&events).len()).map_err(|error| error.to_string())
    };
    let headless = "{kind: Service, metadata: {name: web}, spec: {clusterIP: None}}";
    for meant in ["{kind: List, items: []}", "{kind: Node, metadata: {name: other}}", headless] {
        assert_eq!(load("meant.yaml", meant), Ok(0), "{meant}");
    }
    for (text, expected) in [
        ("", "holds no object of the kinds"),
        ("---\n# nothing\n", "holds no object of the kinds"),
        ("kind: Pod\n", "reads, but 1 Pod"),
        ("kind: Endpoints\napiVersion: v1\n", "reads, but 1 Endpoints v1"),
        ("kind: Service\nspec: {\n", "broken.yaml: document 1: line 2, column 7: "),
    ] {
        let error = load("broken.yaml", text).unwrap_err();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
    // In a folder the rest counts.
    fs::write(folder.path().join("web.yaml"), service("web", "10.96.0.1")).unwrap();
    let (_, events) =
        super::Manifests::load_strictly(&[folder.path().to_owned()], "node-1", false, Connection::default()).unwrap();
    assert_eq!(services(&events).len(), 1);
}

#[test]
fn an_empty_folder_is_a_mistake_unless_it_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let load = |is_followed| {
        let paths = [folder.path().to_owned()];
        super::Manifests::load_strictly(&paths, "node-1", is_followed, Connection::default()).map(|(_, events)| events)
    };
    assert!(load(false).unwrap_err().to_string().contains("items: []"), "everything would be removed");
    assert!(load(true).unwrap().is_empty(), "what the kernel holds stays until the folder is filled");
}
