//! `examples/` is valid input: the plan contains every proxied Service, and the log has no warnings.

#![allow(clippy::expect_used, reason = "a test stops at the first surprise")]

use std::process::{Command, Output};

fn plan() -> Output {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(["--manifests", examples, "--dry-run", "--against", "empty", "--hostname-override", "node-a"])
        .env_remove("POINTSMAN_LOG")
        .output()
        .expect("the proxy starts")
}

#[test]
fn the_plan_contains_every_proxied_service_and_no_other() {
    let output = plan();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "an empty kernel differs: {}", String::from_utf8_lossy(&output.stderr));
    for port in [
        "default/kubernetes:https 10.96.0.1:443/tcp",
        "kube-system/kube-dns:dns 10.96.0.10:53/udp",
        "kube-system/kube-dns:dns-tcp [fd00:10:96::a]:53/tcp",
        "shop/storefront:https 10.96.0.20:443/tcp",
        "shop/cart:grpc [fd00:10:96::16]:9000/tcp",
        "shop/recommendations:grpc 10.96.0.24:9000/tcp",
        "shop/search:http [fd00:10:96::19]:80/tcp",
        "shop/sms-gateway:m3ua 10.96.0.32:2905/sctp",
        "monitoring/log-collector:syslog 10.96.0.40:514/udp",
    ] {
        assert!(text.contains(port), "{port} is missing:\n{text}");
    }
    for other in ["fraud-check", "orders-db-peers"] {
        assert!(!text.contains(other), "{other} is not proxied:\n{text}");
    }
    assert!(text.lines().last().is_some_and(|line| line.starts_with("Plan: ")), "{text}");
}

#[test]
fn the_examples_cause_no_warnings() {
    let output = plan();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}
