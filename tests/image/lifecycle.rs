//! The life of the DaemonSet's pod: it follows, answers probes, writes Events, is replaced, and gets new tokens.

use std::fs;
use std::time::Duration;

use crate::common::apiserver;
use crate::common::netns::Namespace;
use crate::node::{FIRST_TOKEN, ImageNode, WEB, until};

/// How long a client may use a token that it has read: a minute at most. The kubelet writes a new one long before the old one expires.
const TOKEN_AGE: Duration = Duration::from_secs(60);
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// The status code that a page has on the node, as the kubelet sees it.
fn status(host: &Namespace, (port, path): (u16, &str)) -> String {
    use std::io::{Read, Write};
    host.enter(|| {
        let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return String::new() };
        let mut answer = String::new();
        let asked = stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes());
        let _ = asked.and_then(|()| stream.read_to_string(&mut answer));
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    })
}

#[test]
fn it_follows_the_api_server_answers_probes_and_writes_events() {
    let Some(node) = ImageNode::new("") else { return };
    let proxy = node.container("containers", "pointsman");
    let log = node.start(&proxy, "proxy", &[]);
    node.until_web_reaches(11, &log);
    node.endpoints(&[12]);
    node.until_web_reaches(12, &log);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        until(probe, &log, WAIT_TIMEOUT, || status(&node.node.host, proxy.probe(probe)) == "200");
    }
    let has_event = |reason: &str| node.server.events().iter().any(|event| event["reason"] == reason);
    until("an Event of the start", &log, WAIT_TIMEOUT, || has_event("Starting"));
    // The younger of two Services with one address loses it.
    node.server.apply(apiserver::service("default/young", WEB));
    until("an Event of the clash", &log, WAIT_TIMEOUT, || has_event("FrontendTaken"));
    assert!(node.server.requests_with_token(FIRST_TOKEN) > 0, "requests carry the service account's token");
    let text = fs::read_to_string(&log).expect("the log");
    assert!(text.contains("backend=\"netlink\"") && !text.contains("ERROR"), "{text}");
}

#[test]
fn it_ends_on_sigterm_leaves_the_rules_and_the_next_one_adopts_them() {
    let Some(node) = ImageNode::new("") else { return };
    let proxy = node.container("containers", "pointsman");
    let log = node.start(&proxy, "first", &[]);
    node.until_web_reaches(11, &log);
    let web = node.node.tcp(WEB.parse().expect("an address"), 80);
    let (mut connection, _) = web.open().expect("web answers");
    node.containerd.signal("first", "SIGTERM");
    assert_eq!(node.containerd.wait("first"), 0, "{}", fs::read_to_string(&log).expect("the log"));
    node.containerd.remove("first");
    assert!(web.send().is_ok(), "the rules stay");
    let log = node.start(&proxy, "second", &[]);
    until("the next one is in line", &log, WAIT_TIMEOUT, || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("nothing had to change"))
    });
    node.endpoints(&[13]);
    node.until_web_reaches(13, &log);
    connection.ping().expect("the open connection is unbroken");
}

#[test]
fn a_new_token_is_used_before_the_old_one_expires() {
    let Some(mut node) = ImageNode::new("") else { return };
    let proxy = node.container("containers", "pointsman");
    let log = node.start(&proxy, "proxy", &[]);
    node.until_web_reaches(11, &log);
    node.write_token("second-token");
    std::thread::sleep(TOKEN_AGE);
    // As after a restart of the API server, new requests are made. By now the old token has expired.
    node.server.accept_tokens(&["second-token"]);
    node.restart_server();
    node.endpoints(&[12]);
    node.until_web_reaches(12, &log);
    assert!(node.server.requests_with_token("second-token") > 0);
}
