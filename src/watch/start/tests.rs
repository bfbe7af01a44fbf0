use std::path::Path;

use super::*;
use crate::state::{Cluster, ObjectName};
use crate::watch::journal;

const MANIFEST: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
";

fn options(manifests: &Path, record: Option<&Path>) -> SourceOptions {
    let paths = vec![manifests.to_owned()];
    SourceOptions {
        objects: ObjectSource::Manifests { paths, node_name: "node-a".to_owned(), follow: false },
        record: record.map(Path::to_owned),
        host_addresses: false,
    }
}

/// Every event until the source ends.
async fn events(options: SourceOptions) -> Vec<Event> {
    let StartedSource { events: mut received, ready } = start(options, &Supervisor::default()).await.unwrap();
    ready.await.unwrap();
    let mut events = Vec::new();
    while let Some(received) = received.recv().await {
        events.push(received.event);
    }
    events
}

#[tokio::test]
async fn manifests_give_complete_lists_and_then_the_source_ends() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("web.yaml"), MANIFEST).unwrap();
    let events = events(options(folder.path(), None)).await;
    let mut cluster = Cluster::new("node-a");
    events.into_iter().for_each(|event| drop(cluster.apply(event)));
    assert!(cluster.is_complete());
    assert!(cluster.service(&ObjectName::new("shop", "web")).is_some());
}

#[tokio::test]
async fn the_journal_holds_every_event_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (manifest, record) = (folder.path().join("web.yaml"), folder.path().join("journal"));
    std::fs::write(&manifest, MANIFEST).unwrap();
    let received = events(options(&manifest, Some(&record))).await;
    let recorded: Vec<Event> = journal::read(&record, None).unwrap().map(|entry| entry.unwrap().event).collect();
    assert!(!received.is_empty());
    assert_eq!(recorded, received);
}

#[tokio::test]
async fn missing_manifests_stop_the_start() {
    let source = start(options(Path::new("/nowhere/web.yaml"), None), &Supervisor::default()).await.unwrap();
    let error = source.ready.await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/web.yaml"), "{error}");
}

#[tokio::test]
async fn an_unwritable_journal_stops_the_start() {
    let error = start(options(Path::new("-"), Some(Path::new("/nowhere/journal"))), &Supervisor::default())
        .await
        .err()
        .expect("an error");
    assert!(error.to_string().contains("cannot record events to /nowhere/journal"), "{error}");
}

#[tokio::test]
async fn manifests_that_cannot_be_followed_end_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join("web.yaml"), MANIFEST).unwrap();
    let mut options = options(&inner.join("web.yaml"), None);
    if let ObjectSource::Manifests { follow, .. } = &mut options.objects {
        *follow = true;
    }
    let supervisor = Supervisor::default();
    let source = start(options, &supervisor).await.unwrap();
    source.ready.await.unwrap();
    // The task that follows them has not begun: this thread runs all tasks.
    std::fs::remove_dir_all(&inner).unwrap();
    supervisor.shutdown().cancelled().await;
    let failure = supervisor.check().unwrap_err();
    assert!(failure.to_string().starts_with("following the manifests ended: "), "{failure}");
}
