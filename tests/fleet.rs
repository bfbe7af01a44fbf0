//! `pointsman status --all-nodes` on an API server with many pods: the table, the exit code, and how much is asked at once.

#![allow(clippy::disallowed_types, reason = "processes live in real time")]
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test stops at the first surprise")]

mod common;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::apiserver::{ApiServer, Pod, PodAnswer};

/// The page of a node, as a running proxy writes it.
fn page(node: &str, state: &str, hash: &str) -> PodAnswer {
    let text = format!(
        r#"{{"state":"{state}","since":"2026-11-26T03:00:00Z","why":"{}","node":"{node}","version":"0.1.0","backend":"netlink",
        "started":"2026-11-25T03:00:00Z","now":"2026-11-26T03:02:00Z","kernel":{{"commits":7,"failures":0,"drifts":1}},
        "apiServer":{{"connected":true,"since":"2026-11-26T03:00:00Z","lastHeard":"2026-11-26T03:01:59Z"}},
        "input":{{"services":3,"hash":"{hash}"}}}}"#,
        if state == "SYNCED" { "" } else { "a reason" }
    );
    PodAnswer::Text(text, Duration::from_millis(20))
}

fn status(server: &ApiServer, args: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = server.write_kubeconfig(folder.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
    command.arg("--kubeconfig").arg(kubeconfig).args(["status", "--all-nodes"]).args(args).env_remove("POINTSMAN_LOG");
    command.output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn five_thousand_nodes_are_asked_a_few_at_a_time_and_each_has_its_line() {
    let server = ApiServer::start();
    let pods = (0..5_000).map(|n| {
        let node = format!("node-{n:04}");
        let answer = match n {
            7 => page(&node, "STALE", "ffffffffffffffff"),
            _ => page(&node, "SYNCED", "0123456789abcdef"),
        };
        Pod::running(&format!("pointsman-{n}"), &node, answer)
    });
    server.put_pods(pods);
    let began = Instant::now();
    let output = status(&server, &[]);
    let took = began.elapsed();
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert_eq!(table.lines().count(), 5_001);
    assert!(
        table.starts_with("NODE       STATE   BEHIND  HEARD  HASH      DRIFT  VERSION  WHY\n"),
        "{}",
        &table[..200]
    );
    assert!(table.contains("\nnode-0006  SYNCED  -       1.0s   01234567  1      0.1.0    -\n"), "{}", &table[..900]);
    assert!(
        table.contains("\nnode-0007  STALE   2m      1.0s   ffffffff  1      0.1.0    a reason\n"),
        "{}",
        &table[..900]
    );
    let said = text(&output.stderr);
    assert!(
        said.contains(
            "5000 nodes: 1 STALE, 4999 SYNCED; 4999 have heard the same (01234567), and other than they: node-0007"
        ),
        "{said}"
    );
    let (pages, most) = server.asked_of_pods();
    println!("5,000 nodes in {took:?}, {most} at once");
    assert_eq!(pages, 10);
    assert!((2..=64).contains(&most), "{most}");
    // The node recovers.
    server.put_pods([Pod::running("pointsman-7", "node-0007", page("node-0007", "SYNCED", "0123456789abcdef"))]);
    let output = status(&server, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn pods_that_cannot_answer_are_listed_with_the_reason_and_the_newer_pod_of_a_node_is_asked() {
    let server = ApiServer::start();
    let ready = |name: &str, node: &str| Pod::running(name, node, page(node, "SYNCED", "0123456789abcdef"));
    let unused: std::net::IpAddr = "127.0.0.1".parse().expect("an address");
    server.put_pods([
        ready("a", "node-a"),
        Pod { deleting: true, ..Pod::running("b-old", "node-b", PodAnswer::Never) },
        ready("b-new", "node-b"),
        Pod::running("c", "node-c", PodAnswer::Host(unused)),
        Pod { phase: "Pending", node: None, ..ready("d", "") },
        Pod::running("e", "node-e", PodAnswer::Text("<html>".to_owned(), Duration::ZERO)),
        Pod { label: "app=other".to_owned(), ..ready("z", "node-z") },
    ]);
    let output = status(&server, &[]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{table}{}", text(&output.stderr));
    let states: Vec<(&str, &str)> = table
        .lines()
        .skip(1)
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap_or_default(), words.next().unwrap_or_default())
        })
        .collect();
    let expected = [
        ("(d)", "NO-ANSWER"),
        ("node-a", "SYNCED"),
        ("node-b", "SYNCED"),
        ("node-c", "NO-ANSWER"),
        ("node-e", "NO-ANSWER"),
    ];
    assert_eq!(states, expected, "{table}");
    assert!(
        table.contains("503 Service Unavailable: error trying to reach service: dial tcp 127.0.0.1:10249"),
        "{table}"
    );
    assert!(table.contains("the pod is Pending") && table.contains("is not what a Pointsman"), "{table}");
    let output = status(&server, &["--selector", "app=other", "-o", "json"]);
    let nodes: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &nodes[0]["status"]["node"]), (Some(0), &"node-z".into()));
}

#[test]
fn without_pods_or_the_right_to_list_them_the_exit_code_is_2() {
    let server = ApiServer::start();
    let output = status(&server, &["--namespace", "elsewhere"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--namespace and --selector"), "{}", text(&output.stderr));
    server.accept_tokens(&["other"]);
    let output = status(&server, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cannot list the pods in kube-system"), "{}", text(&output.stderr));
}
