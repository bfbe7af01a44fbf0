use clap::Parser;

use super::*;
use crate::state::{Cluster, Event, ObjectName};
use crate::watch::journal;

const MANIFEST: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
";

fn args(options: &[&str]) -> Args {
    let mut args = Args::try_parse_from([&["pointsman", "--hostname-override", "node-a"], options].concat()).unwrap();
    args.settle().unwrap();
    args
}

/// Every event until the source ends.
async fn events(args: &Args) -> Vec<Event> {
    let Source { events: mut received, begun } = start(args, &Progress::new(), &Connection::default()).await.unwrap();
    begun.await.unwrap();
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
    let events = events(&args(&["--manifests", folder.path().to_str().unwrap()])).await;
    let mut cluster = Cluster::new("node-a");
    events.into_iter().for_each(|event| drop(cluster.apply(event)));
    assert!(cluster.is_complete());
    assert!(cluster.service(&ObjectName::new("shop", "web")).is_some());
}

#[tokio::test]
async fn what_is_received_is_recorded_on_its_way() {
    let folder = tempfile::tempdir().unwrap();
    let (manifest, record) = (folder.path().join("web.yaml"), folder.path().join("journal"));
    std::fs::write(&manifest, MANIFEST).unwrap();
    let options = ["--manifests", manifest.to_str().unwrap(), "--record", record.to_str().unwrap()];
    let received = events(&args(&options)).await;
    let recorded: Vec<Event> = journal::read(&record, None).unwrap().map(|entry| entry.unwrap().event).collect();
    assert!(!received.is_empty());
    assert_eq!(recorded, received);
}

#[tokio::test]
async fn manifests_that_are_not_there_stop_the_start() {
    let args = args(&["--manifests", "/nowhere/web.yaml"]);
    let source = start(&args, &Progress::new(), &Connection::default()).await.unwrap();
    let error = source.begun.await.unwrap_err();
    assert!(format!("{error:#}").contains("/nowhere/web.yaml"), "{error:#}");
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_stops_the_start() {
    let args = args(&["--manifests", "-", "--record", "/nowhere/journal"]);
    let error = start(&args, &Progress::new(), &Connection::default()).await.err().expect("an error");
    assert!(format!("{error:#}").contains("cannot record events to /nowhere/journal"), "{error:#}");
}
