use super::*;
use crate::observe::{ApiServerPage, InputPage, KernelPage};

fn page(node: &str) -> StatusPage {
    let now: Timestamp = "2026-11-26T03:02:00Z".parse().unwrap();
    let before = |seconds| now - SignedDuration::from_secs_f64(seconds);
    let kernel = KernelPage {
        unwatched: false,
        heard: None,
        commits: 41_022,
        failures: 0,
        verified: None,
        compared: None,
        drifts: 0,
        drift: None,
        last_repair: None,
    };
    StatusPage {
        state: NodeState::Synced,
        since: before(86_400.0),
        why: String::new(),
        node: node.to_owned(),
        version: "0.1.0".to_owned(),
        backend: "netlink".to_owned(),
        started: before(90_000.0),
        now,
        api_server: Some(ApiServerPage {
            connected: true,
            since: before(250.0),
            last_heard: Some(before(0.4)),
            failure: None,
        }),
        waiting_since: None,
        kernel,
        input: Some(InputPage { services: 10_214, hash: "9f31c06b11d0a4e7".to_owned() }),
        conntrack: None,
        missing: Vec::new(),
    }
}

fn answered(page: StatusPage) -> FleetNode {
    FleetNode { node: page.node.clone(), pod: "pointsman-x".to_owned(), status: Some(Box::new(page)), error: None }
}

/// A node in each state that the documentation shows.
fn nodes() -> Vec<FleetNode> {
    let now = page("").now;
    let before = |seconds| now - SignedDuration::from_secs(seconds);
    let mut stale = page("node-c");
    (stale.state, stale.since) = (NodeState::Stale, before(1_860));
    stale.why = "the API server cannot be watched".to_owned();
    stale.api_server =
        Some(ApiServerPage { connected: false, since: before(1_860), last_heard: Some(before(1_860)), failure: None });
    stale.input = Some(InputPage { services: 10_213, hash: "11c04ad2a0b3f7e1".to_owned() });
    let mut behind = page("node-d");
    (behind.state, behind.waiting_since) = (NodeState::Behind, Some(before(12)));
    behind.why = "4 attempts failed in a row: refused".to_owned();
    behind.kernel.drifts = 2;
    let error = "503 Service Unavailable: dial tcp 192.0.2.15:10249: connect: connection refused".to_owned();
    let silent =
        FleetNode { node: "node-e".to_owned(), pod: "pointsman-e".to_owned(), status: None, error: Some(error) };
    vec![answered(page("node-a")), answered(page("node-b")), answered(stale), answered(behind), silent]
}

#[test]
fn the_sample_of_the_documentation_is_what_is_printed() {
    let documented = include_str!("../../../../docs/at-3-am.md");
    let sample = documented.split("$ pointsman status --all-nodes\n").nth(1).and_then(|rest| rest.split("```").next());
    let nodes = nodes();
    assert_eq!(sample, Some(format!("{}{}\n", table(&nodes), summary(&nodes)).as_str()));
}

#[test]
fn nodes_that_heard_the_same_are_said_to_be_alike_and_many_that_differ_are_counted() {
    let alike: Vec<FleetNode> = ["a", "b"].map(|node| answered(page(node))).into();
    assert_eq!(summary(&alike), "2 nodes: 2 SYNCED; all that answered have heard the same (9f31c06b)");
    let mut many = alike;
    for n in 0..20 {
        let mut other = page(&format!("n{n:02}"));
        other.input = Some(InputPage { services: 1, hash: format!("{n:02}345678abcdabcd") });
        many.push(answered(other));
    }
    let said = summary(&many);
    assert!(said.contains("n00") && said.ends_with(", …") && said.len() < 200, "{said}");
    let nothing = FleetNode { node: String::new(), pod: "p".to_owned(), status: None, error: None };
    assert_eq!(summary(std::slice::from_ref(&nothing)), "1 node: 1 NO-ANSWER");
    assert!(table(&[nothing]).contains("(p)   NO-ANSWER"));
}
