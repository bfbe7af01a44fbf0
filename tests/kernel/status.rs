//! What a node says about itself: in one word, the same on every page, in metrics, in Events and on the command line.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Cluster, page, status, until};
use crate::common::apiserver::{self, Pod, PodAnswer};
use crate::common::netns::{Finished, Proxy, requirements};

/// The deadline for a lost API server, and some time for a busy machine.
const STALE_WITHIN: Duration = Duration::from_secs(14);

/// `pointsman status` on the node.
fn command(cluster: &Cluster, args: &[&str]) -> Finished {
    let mut command = cluster.node.host.command(env!("CARGO_BIN_EXE_pointsman"));
    command.arg("status").args(args).env_remove("POINTSMAN_LOG").output().expect("it starts").into()
}

/// The status of the node as JSON.
fn statusz(cluster: &Cluster) -> Value {
    serde_json::from_str(&command(cluster, &["-o", "json"]).stdout).unwrap_or_default()
}

fn until_state(cluster: &Cluster, proxy: &Proxy, state: &str) {
    until(proxy, state, || statusz(cluster)["state"] == state);
}

/// The state in metrics, in the body of the health page and in the text of the command.
fn everywhere(cluster: &Cluster, proxy: &Proxy) -> [String; 3] {
    let metrics = proxy.metrics(&cluster.node.host);
    let shown = metrics.lines().find(|line| line.starts_with("pointsman_node_state{") && line.ends_with(" 1"));
    let shown = shown.and_then(|line| line.split('"').nth(1)).unwrap_or_default().to_owned();
    let (_, body) = page(&cluster.node.host, 10256, "/healthz").expect("the page is served");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let said = body["state"]["state"].as_str().unwrap_or_default().to_owned();
    let printed = command(cluster, &[]).stdout.split(' ').next().unwrap_or_default().to_owned();
    [shown, said, printed]
}

#[test]
fn a_stopped_api_server_makes_the_node_stale_within_its_deadline_and_its_return_synced() {
    let Some(mut cluster) = Cluster::new() else { return };
    let proxy = cluster.start();
    until_state(&cluster, &proxy, "SYNCED");
    assert_eq!(everywhere(&cluster, &proxy), ["SYNCED"; 3]);
    let finished = command(&cluster, &[]);
    println!("{}", finished.stdout);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stdout.contains("\nAPI       connected for "), "{}", finished.stdout);
    assert!(finished.stdout.contains("1 Services, hash "), "{}", finished.stdout);

    cluster.server.down();
    let stopped = Instant::now();
    while statusz(&cluster)["state"] != "STALE" {
        assert!(stopped.elapsed() < STALE_WITHIN, "{}\n{}", command(&cluster, &[]).stdout, proxy.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("STALE {:?} after the API server stopped", stopped.elapsed());
    assert_eq!(everywhere(&cluster, &proxy), ["STALE"; 3]);
    let finished = command(&cluster, &[]);
    assert_eq!(finished.code, Some(1));
    assert!(finished.stdout.contains("\nWHY       the API server cannot be watched\n"), "{}", finished.stdout);
    let api = finished.stdout.lines().find(|line| line.starts_with("API       lost for "));
    assert!(api.is_some_and(|line| line.contains("Connection refused")), "{}", finished.stdout);
    assert_eq!(status(&cluster.node.host, "/healthz"), "HTTP/1.0 200 OK", "the codes stay kube-proxy's");

    let server = &mut cluster.server;
    cluster.node.host.enter(|| server.up());
    until_state(&cluster, &proxy, "SYNCED");
    assert_eq!(everywhere(&cluster, &proxy), ["SYNCED"; 3]);
    until(&proxy, "the node has an Event", || {
        let events = cluster.server.events();
        events.iter().any(|event| {
            let note = event["note"].as_str().unwrap_or_default();
            event["reason"] == "ProxyState" && note.contains("SYNCED again, after") && note.contains("of STALE")
        })
    });
}

#[test]
fn a_drift_that_is_only_observed_shows_as_drifted_with_who_did_it() {
    if std::env::var("POINTSMAN_TEST_BACKEND").is_ok_and(|backend| backend == "nft") {
        return;
    }
    let Some(cluster) = Cluster::new() else { return };
    let kubeconfig = cluster.server.write_kubeconfig(cluster.folder.path());
    let kubeconfig = kubeconfig.to_str().expect("a path of letters");
    let proxy = cluster.node.start_pointsman(&["--kubeconfig", kubeconfig, "--drift", "observe"]);
    until_state(&cluster, &proxy, "SYNCED");
    cluster.node.nft(&["delete", "element", "ip", "pointsman", "cluster-ips", "{ 10.96.0.10 }"]);
    until_state(&cluster, &proxy, "DRIFTED");
    assert_eq!(everywhere(&cluster, &proxy), ["DRIFTED"; 3]);
    let shown = statusz(&cluster);
    let why = shown["why"].as_str().unwrap_or_default();
    let found = if requirements::kernel_counts_elements() {
        "set cluster-ips of ip lacks 1 element(s)"
    } else {
        "1 element(s) differ, 10.96.0.10 of cluster-ips among them"
    };
    assert!(why.contains("(pid ") && why.contains(found), "{shown}");
    until(&proxy, "the node has an Event", || {
        cluster.server.events().iter().any(|event| event["reason"] == "TablesChanged")
    });
    cluster.node.nft(&["add", "element", "ip", "pointsman", "cluster-ips", "{ 10.96.0.10 }"]);
    until_state(&cluster, &proxy, "SYNCED");
}

#[test]
fn nodes_with_the_same_objects_have_the_same_hash_and_others_another() {
    let (Some(one), Some(other)) = (Cluster::new(), Cluster::new()) else { return };
    for n in 0..20 {
        one.server.apply(apiserver::service(&format!("shop/s{n}"), &format!("10.96.1.{n}")));
        other.server.apply(apiserver::service(&format!("shop/s{}", 19 - n), &format!("10.96.1.{}", 19 - n)));
    }
    let (first, second) = (one.start(), other.start());
    let hash = |cluster: &Cluster| statusz(cluster)["input"]["hash"].as_str().unwrap_or_default().to_owned();
    until(&first, "both know all", || [&one, &other].iter().all(|cluster| statusz(cluster)["input"]["services"] == 21));
    assert_eq!(hash(&one), hash(&other), "{}{}", first.log(), second.log());
    let before = hash(&one);
    one.endpoints(&[12]);
    until(&first, "the change is seen", || hash(&one) != before);
    other.endpoints(&[12]);
    until(&second, "the other one sees it, too", || hash(&other) == hash(&one));
}

#[test]
fn all_nodes_are_asked_through_the_api_server_where_their_pages_listen() {
    let Some(cluster) = Cluster::new() else { return };
    let kubeconfig = cluster.server.write_kubeconfig(cluster.folder.path());
    let kubeconfig = kubeconfig.to_str().expect("a path of letters");
    let node = PodAnswer::Host("192.0.2.1".parse().expect("an address"));
    cluster.server.put_pods([Pod::running("pointsman-x", "node-a", node)]);
    let all_nodes = || -> Finished {
        let mut command = cluster.node.host.command(env!("CARGO_BIN_EXE_pointsman"));
        command.args(["--kubeconfig", kubeconfig, "status", "--all-nodes"]).output().expect("it starts").into()
    };
    // By default the pages are on loopback.
    let proxy = cluster.start();
    until_state(&cluster, &proxy, "SYNCED");
    let finished = all_nodes();
    assert_eq!(finished.code, Some(1));
    assert!(
        finished.stdout.contains("node-a  NO-ANSWER") && finished.stdout.contains("refused"),
        "{}",
        finished.stdout
    );
    proxy.terminate();

    let bound = ["--kubeconfig", kubeconfig, "--metrics-bind-address", "0.0.0.0:10249"];
    let proxy = cluster.node.start_pointsman(&bound);
    until_state(&cluster, &proxy, "SYNCED");
    let finished = all_nodes();
    println!("{}{}", finished.stdout, finished.stderr);
    assert_eq!(finished.code, Some(0), "{}{}", finished.stdout, proxy.log());
    let hash = statusz(&cluster)["input"]["hash"].as_str().unwrap_or_default().to_owned();
    let line = finished.stdout.lines().nth(1).unwrap_or_default();
    assert!(line.starts_with("node-a  SYNCED") && line.contains(&hash[..8]), "{line}");
}

#[test]
fn without_a_proxy_the_status_says_what_to_check() {
    let Some(cluster) = Cluster::new() else { return };
    let finished = command(&cluster, &[]);
    assert_eq!(finished.code, Some(2), "{}", finished.stdout);
    assert!(finished.stderr.contains("Is a Pointsman running on this node"), "{}", finished.stderr);
}
