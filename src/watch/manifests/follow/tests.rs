use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use tokio::sync::mpsc;

use super::*;
use crate::watch::Connection;

/// A folder of manifests that is followed.
struct Followed {
    folder: tempfile::TempDir,
    events: mpsc::Receiver<Received>,
    connection: Connection,
}

fn service(name: &str, addr: &str) -> String {
    format!("---\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{clusterIP: {addr}, ports: [{{port: 80}}]}}\n")
}

fn summary(event: &Event) -> String {
    match event {
        Event::ServiceApplied(object) => match object.object() {
            Some(service) => format!("{} {}", service.name.name(), service.cluster_ips[0]),
            None => "unreadable".to_owned(),
        },
        Event::ServiceDeleted(name) => format!("{} gone", name.name().rsplit('/').next().unwrap()),
        other => panic!("{other:?}"),
    }
}

impl Followed {
    /// Writes files, loads the paths and follows them. Paths are relative to the folder.
    async fn start(files: &[(&str, &str)], paths: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self::follow(folder, paths).await
    }

    async fn follow(folder: tempfile::TempDir, paths: &[&str]) -> Self {
        let paths: Vec<_> = paths.iter().map(|path| folder.path().join(path)).collect();
        let connection = Connection::default();
        let (manifests, _) = Manifests::load_strictly(&paths, "node-1", true, connection.clone()).unwrap();
        let (sender, events) = mpsc::channel(1000);
        tokio::spawn(manifests.follow(FollowForNode::never(), sender));
        // Watches are in place once the first look for changes is over.
        tokio::time::sleep(Duration::from_millis(100)).await;
        Self { folder, events, connection }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// What is said of manifests that cannot be read.
    fn unread(&self) -> String {
        let missing = self.connection.missing().into_iter().filter(|text| text.starts_with("cannot read "));
        missing.collect::<Vec<_>>().join("\n").replace(self.folder.path().to_str().unwrap(), "")
    }

    /// The events until so many have come and no more follow.
    async fn expect(&mut self, expected: &[&str]) {
        let mut seen = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(60);
        while seen.len() < expected.len() {
            match timeout_at(deadline, self.events.recv()).await {
                Ok(Some(received)) => seen.push(summary(&received.event)),
                other => panic!("{other:?} after {seen:?}"),
            }
        }
        let quiet = Instant::now() + Duration::from_millis(150);
        while let Ok(Some(received)) = timeout_at(quiet, self.events.recv()).await {
            seen.push(summary(&received.event));
        }
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn only_the_object_that_changed_becomes_an_event() {
    let text = service("a", "10.96.0.1") + &service("b", "10.96.0.2");
    let mut followed = Followed::start(&[("m/x.yaml", &text), ("m/y.yaml", &service("c", "10.96.0.3"))], &["m"]).await;
    fs::write(followed.at("m/x.yaml"), service("a", "10.96.0.1") + &service("b", "10.96.0.9")).unwrap();
    followed.expect(&["b 10.96.0.9"]).await;
}

#[tokio::test]
async fn rewriting_the_same_content_is_no_event() {
    let text = service("a", "10.96.0.1");
    let mut followed = Followed::start(&[("m/x.yaml", &text)], &["m"]).await;
    fs::write(followed.at("m/x.yaml"), &text).unwrap();
    fs::write(followed.at("m/notes.txt"), "hello").unwrap();
    followed.expect(&[]).await;
}

#[tokio::test]
async fn a_file_that_is_replaced_by_a_rename_is_read_again() {
    for paths in [&["m"], &["m/x.yaml"]] {
        let mut followed = Followed::start(&[("m/x.yaml", &service("a", "10.96.0.1"))], paths).await;
        fs::write(followed.at("m/.x.tmp"), service("a", "10.96.0.2")).unwrap();
        fs::rename(followed.at("m/.x.tmp"), followed.at("m/x.yaml")).unwrap();
        followed.expect(&["a 10.96.0.2"]).await;
        fs::write(followed.at("m/.x.tmp"), service("a", "10.96.0.3")).unwrap();
        fs::rename(followed.at("m/.x.tmp"), followed.at("m/x.yaml")).unwrap();
        followed.expect(&["a 10.96.0.3"]).await;
    }
}

#[tokio::test]
async fn new_and_removed_files_and_folders_are_noticed() {
    let mut followed = Followed::start(&[("m/x.yaml", &service("a", "10.96.0.1"))], &["m"]).await;
    fs::write(followed.at("m/y.yaml"), service("b", "10.96.0.2")).unwrap();
    followed.expect(&["b 10.96.0.2"]).await;
    fs::remove_file(followed.at("m/x.yaml")).unwrap();
    followed.expect(&["a gone"]).await;
    fs::create_dir(followed.at("m/sub")).unwrap();
    fs::write(followed.at("m/sub/z.yaml"), service("c", "10.96.0.3")).unwrap();
    followed.expect(&["c 10.96.0.3"]).await;
    fs::write(followed.at("m/sub/z.yaml"), service("c", "10.96.0.4")).unwrap();
    followed.expect(&["c 10.96.0.4"]).await;
    fs::rename(followed.at("m/sub"), followed.at("elsewhere")).unwrap();
    followed.expect(&["c gone"]).await;
    fs::rename(followed.at("elsewhere"), followed.at("m/sub")).unwrap();
    followed.expect(&["c 10.96.0.4"]).await;
}

#[tokio::test]
async fn a_config_map_whose_links_are_swapped_is_read_again() {
    for paths in [&["m"], &["m/x.yaml"]] {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for (version, addr) in [("1", "10.96.0.1"), ("2", "10.96.0.2"), ("3", "10.96.0.3")] {
            fs::create_dir_all(at(&format!("m/..{version}"))).unwrap();
            fs::write(at(&format!("m/..{version}/x.yaml")), service("a", addr)).unwrap();
        }
        symlink("..1", at("m/..data")).unwrap();
        symlink("..data/x.yaml", at("m/x.yaml")).unwrap();
        let mut followed = Followed::follow(folder, paths).await;
        for (version, addr) in [("2", "10.96.0.2"), ("3", "10.96.0.3")] {
            symlink(format!("..{version}"), followed.at("m/..data_tmp")).unwrap();
            fs::rename(followed.at("m/..data_tmp"), followed.at("m/..data")).unwrap();
            followed.expect(&[&format!("a {addr}")]).await;
        }
    }
}

#[tokio::test]
async fn the_nodes_that_are_there_are_told_while_ours_is_not() {
    let node = |name: &str| format!("---\nkind: Node\napiVersion: v1\nmetadata: {{name: {name}}}\n");
    let missing = |followed: &Followed| {
        let all = followed.connection.missing().into_iter().filter(|text| text.starts_with("there is no Node"));
        all.collect::<Vec<_>>()
    };
    let mut followed = Followed::start(
        &[("m/a.yaml", &*(service("a", "10.96.0.1") + &node("node-2"))), ("m/b.yaml", &node("node-3"))],
        &["m"],
    )
    .await;
    assert_eq!(missing(&followed), ["there is no Node node-1 in the manifests, but there are node-2, node-3"]);
    fs::remove_file(followed.at("m/b.yaml")).unwrap();
    fs::write(followed.at("m/a.yaml"), service("a", "10.96.0.2") + &node("node-4")).unwrap();
    followed.expect(&["a 10.96.0.2"]).await;
    assert_eq!(missing(&followed), ["there is no Node node-1 in the manifests, but there are node-4"]);
}

#[tokio::test]
async fn a_file_beside_a_folder_is_read_again_when_it_is_replaced() {
    let files = [("m/x.yaml", &*service("a", "10.96.0.1")), ("n/y.yaml", "")];
    let mut followed = Followed::start(&files, &["m/x.yaml", "n"]).await;
    fs::write(followed.at("new.yaml"), service("a", "10.96.0.2")).unwrap();
    fs::rename(followed.at("new.yaml"), followed.at("m/x.yaml")).unwrap();
    followed.expect(&["a 10.96.0.2"]).await;
}

#[tokio::test]
async fn a_folder_that_is_itself_replaced_is_read_again() {
    let mut followed = Followed::start(&[("m/x.yaml", &service("a", "10.96.0.1"))], &["m"]).await;
    fs::create_dir(followed.at("new")).unwrap();
    fs::write(followed.at("new/x.yaml"), service("a", "10.96.0.2")).unwrap();
    fs::rename(followed.at("m"), followed.at("old")).unwrap();
    fs::rename(followed.at("new"), followed.at("m")).unwrap();
    followed.expect(&["a 10.96.0.2"]).await;
    fs::write(followed.at("m/x.yaml"), service("a", "10.96.0.3")).unwrap();
    followed.expect(&["a 10.96.0.3"]).await;
}

#[tokio::test]
async fn a_folder_that_is_moved_away_keeps_its_objects_until_it_is_back() {
    let mut followed = Followed::start(&[("m/x.yaml", &service("a", "10.96.0.1"))], &["m"]).await;
    fs::rename(followed.at("m"), followed.at("away")).unwrap();
    followed.expect(&[]).await;
    fs::write(followed.at("away/x.yaml"), service("a", "10.96.0.2")).unwrap();
    fs::rename(followed.at("away"), followed.at("m")).unwrap();
    followed.expect(&["a 10.96.0.2"]).await;
}

#[tokio::test]
async fn a_file_that_is_broken_for_a_while_takes_nothing_away() {
    let text = service("a", "10.96.0.1") + &service("b", "10.96.0.2");
    let mut followed = Followed::start(&[("m/x.yaml", &text)], &["m"]).await;
    fs::write(followed.at("m/x.yaml"), service("a", "10.96.0.9") + "---\nkind: [\n").unwrap();
    followed.expect(&["a 10.96.0.9"]).await;
    fs::write(followed.at("m/x.yaml"), service("a", "10.96.0.9")).unwrap();
    followed.expect(&["b gone"]).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named_until_it_can() {
    let text = service("a", "10.96.0.1");
    let mut followed = Followed::start(&[("m/x.yaml", &text), ("m/y.yaml", "kind: [")], &["m"]).await;
    assert!(followed.unread().starts_with("cannot read /m/y.yaml: document 1: "), "{}", followed.unread());
    fs::write(followed.at("m/x.yaml"), "").unwrap();
    followed.expect(&[]).await;
    let both = "cannot read 2 manifests; the first is /m/x.yaml: it is empty, and gave objects before";
    assert_eq!(followed.unread(), both);
    fs::write(followed.at("m/x.yaml"), service("a", "10.96.0.9")).unwrap();
    fs::remove_file(followed.at("m/y.yaml")).unwrap();
    followed.expect(&["a 10.96.0.9"]).await;
    assert_eq!(followed.unread(), "");
}

#[tokio::test]
async fn a_link_that_leads_nowhere_is_named_and_hides_no_other_file() {
    let mut followed = Followed::start(&[("m/x.yaml", &service("a", "10.96.0.1"))], &["m"]).await;
    symlink("ring.yaml", followed.at("m/ring.yaml")).unwrap();
    fs::create_dir(followed.at("m/more")).unwrap();
    fs::write(followed.at("m/more/y.yaml"), service("b", "10.96.0.2")).unwrap();
    followed.expect(&["b 10.96.0.2"]).await;
    assert!(
        followed.unread().starts_with("cannot read /m/ring.yaml: the link leads nowhere: "),
        "{}",
        followed.unread()
    );
    fs::remove_file(followed.at("m/ring.yaml")).unwrap();
    followed.expect(&[]).await;
    assert_eq!(followed.unread(), "");
}

#[tokio::test]
async fn an_empty_folder_tells_nothing_until_it_is_filled_and_then_everything() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("m")).unwrap();
    let mut followed = Followed::follow(folder, &["m"]).await;
    followed.expect(&[]).await;
    let missing = followed.connection.missing().join("; ");
    assert!(missing.contains("what the kernel holds stays until one comes"), "{missing}");
    fs::write(followed.at("m/x.yaml"), service("a", "10.96.0.1")).unwrap();
    let mut kinds = Vec::new();
    while let Ok(Some(received)) = timeout_at(Instant::now() + Duration::from_millis(500), followed.events.recv()).await
    {
        kinds.push((received.event.kind(), received.event.change()));
    }
    assert_eq!(kinds, crate::state::Kind::ALL.map(|kind| (kind, "reset")));
    fs::write(followed.at("m/x.yaml"), service("a", "10.96.0.2")).unwrap();
    followed.expect(&["a 10.96.0.2"]).await;
}

#[tokio::test]
async fn an_empty_folder_that_is_filled_with_an_empty_list_holds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("m")).unwrap();
    let mut followed = Followed::follow(folder, &["m"]).await;
    fs::write(followed.at("m/x.yaml"), "{kind: List, apiVersion: v1, items: []}").unwrap();
    let received = timeout_at(Instant::now() + Duration::from_secs(60), followed.events.recv()).await.unwrap().unwrap();
    assert_eq!(received.event.change(), "reset");
}

#[tokio::test]
async fn a_file_that_is_still_open_for_writing_is_read_when_it_is_closed() {
    let text = service("a", "10.96.0.1") + &service("b", "10.96.0.2");
    let mut followed = Followed::start(&[("m/x.yaml", &text)], &["m"]).await;
    let mut file = fs::File::create(followed.at("m/x.yaml")).unwrap();
    followed.expect(&[]).await;
    file.write_all(service("a", "10.96.0.1").as_bytes()).unwrap();
    followed.expect(&[]).await;
    file.write_all(service("b", "10.96.0.9").as_bytes()).unwrap();
    drop(file);
    followed.expect(&["b 10.96.0.9"]).await;
}

#[tokio::test]
async fn an_empty_file_keeps_its_objects_until_it_gives_something_again() {
    let mut followed = Followed::start(&[("m/x.yaml", &service("a", "10.96.0.1"))], &["m"]).await;
    for text in ["", "# nothing yet\n", "---\n"] {
        fs::write(followed.at("m/x.yaml"), text).unwrap();
        followed.expect(&[]).await;
    }
    fs::write(followed.at("m/x.yaml"), service("b", "10.96.0.2")).unwrap();
    followed.expect(&["a gone", "b 10.96.0.2"]).await;
    fs::write(followed.at("m/x.yaml"), "{kind: List, apiVersion: v1, items: []}").unwrap();
    followed.expect(&["b gone"]).await;
}

#[tokio::test]
async fn when_the_version_that_counts_is_removed_the_next_one_counts() {
    let first = service("a", "10.96.0.1");
    let mut followed = Followed::start(&[("m/1.yaml", &first), ("m/2.yaml", &service("a", "10.96.0.2"))], &["m"]).await;
    fs::remove_file(followed.at("m/1.yaml")).unwrap();
    followed.expect(&["a 10.96.0.2"]).await;
    fs::write(followed.at("m/1.yaml"), &first).unwrap();
    followed.expect(&["a 10.96.0.1"]).await;
}

#[tokio::test]
async fn following_ends_when_the_receiver_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let paths = [folder.path().to_owned()];
    let (manifests, _) = Manifests::load_strictly(&paths, "node-1", true, Connection::default()).unwrap();
    let (sender, events) = mpsc::channel(1);
    let task = tokio::spawn(manifests.follow(FollowForNode::never(), sender));
    drop(events);
    timeout_at(Instant::now() + Duration::from_secs(60), task).await.unwrap().unwrap().unwrap();
}
