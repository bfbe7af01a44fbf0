//! `pointsman doctor`, the real binary on a node.

use std::fs;

use serde_json::Value;

use crate::old_rules::{HEALTHY, Iptables, OldNode, Pretender};

/// What doctor finds, and its exit code.
fn examine(old: &OldNode, args: &[&str]) -> (Option<i32>, Value) {
    let finished = old.node.pointsman(&[&["doctor", "-o", "json"], args].concat());
    let findings = serde_json::from_str(&finished.stdout);
    (finished.code, findings.unwrap_or_else(|error| panic!("{error}: {}{}", finished.stdout, finished.stderr)))
}

/// What doctor says in this field about this subject.
fn said<'a>(found: &'a Value, id: &str, field: &str) -> Option<&'a str> {
    let mut findings = found["findings"].as_array().expect("a list").iter();
    findings.find(|finding| finding["id"] == id).map(|finding| finding[field].as_str().expect("text"))
}

fn severity<'a>(found: &'a Value, id: &str) -> &'a str {
    said(found, id, "severity").unwrap_or("nothing")
}

#[test]
fn after_nftables_mode_nothing_stands_against_a_switch_and_nothing_is_changed() {
    let Some(old) = OldNode::new() else { return };
    let old = old.with_foreign_rules().with_nftables_mode();
    old.node.host.sysctl("ipv4/conf/all/route_localnet", "0");
    let before = old.everything();
    let (code, found) = examine(&old, &[]);
    assert_eq!((code, &found["verdict"]), (Some(0), &Value::from("note")), "{found:#}");
    assert_eq!(severity(&found, "kube-proxy-rules"), "note");
    assert_eq!(old.everything(), before);
    let text = old.node.pointsman(&["doctor"]);
    assert_eq!(text.code, Some(0));
    assert!(text.stdout.contains("mode nftables: table ip kube-proxy; table ip6 kube-proxy"), "{}", text.stdout);
    assert!(text.stdout.ends_with("No blockers found on this node.\n"), "{}", text.stdout);
}

#[test]
fn the_version_of_nft_that_is_found_is_the_one_that_nft_prints() {
    let Some(old) = OldNode::new() else { return };
    let (_, found) = examine(&old, &["--backend", "nft"]);
    let printed = old.node.nft(&["--version"]);
    let version = printed.split_whitespace().nth(1).and_then(|word| word.strip_prefix('v')).expect("nftables vX.Y.Z");
    assert!(said(&found, "nft", "found").expect("a finding").contains(version), "{version}: {found:#}");
}

#[test]
fn what_iptables_mode_does_besides_is_found() {
    let Some(old) = OldNode::new() else { return };
    let old = old.with_iptables_mode(Iptables::Nft);
    old.node.host.sysctl("ipv4/conf/all/route_localnet", "1");
    old.node.host.sysctl("netfilter/nf_conntrack_tcp_be_liberal", "0");
    old.node.host.ip_batch("link add cilium_host type bridge");
    let policy = old.node.host.command("iptables-nft").args(["-P", "FORWARD", "DROP"]).status();
    assert!(policy.expect("iptables starts").success());
    let pretender = Pretender::new(&old.node, HEALTHY);
    let (code, found) = examine(&old, &[]);
    assert_eq!(code, Some(1));
    for (id, expected) in [
        ("kube-proxy-rules", "note"),
        ("kube-proxy-running", "note"),
        ("localhost-node-ports", "warning"),
        ("node-port-addresses", "warning"),
        ("invalid-packets", "note"),
        ("drop-policies", "warning"),
        ("other-proxies", "warning"),
        ("ip-forward", "ok"),
        ("kernel", "ok"),
        ("legacy-iptables", "nothing"),
        ("ipvs", "nothing"),
    ] {
        assert_eq!(severity(&found, id), expected, "{id}: {found:#}");
    }
    assert!(found.to_string().contains("counted 5 packets"), "{found:#}");
    pretender.end();
}

#[test]
fn legacy_rules_ipvs_and_a_node_that_does_not_forward_are_found() {
    let Some(old) = OldNode::new() else { return };
    let old = old.with_ipvs_mode(Iptables::Legacy);
    old.node.host.sysctl("ipv4/ip_forward", "0");
    let (code, found) = examine(&old, &[]);
    assert_eq!((code, &found["verdict"]), (Some(1), &Value::from("problem")));
    for (id, expected) in [("ipvs", "warning"), ("legacy-iptables", "warning"), ("ip-forward", "problem")] {
        assert_eq!(severity(&found, id), expected, "{id}: {found:#}");
    }
}

#[test]
fn the_configuration_is_read_where_it_is_named() {
    let Some(old) = OldNode::new() else { return };
    let folder = tempfile::tempdir().expect("a scratch folder");
    let file = folder.path().join("config.conf");
    let path = file.to_str().expect("a plain name").to_owned();
    const HEAD: &str = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";
    let masquerade = "iptables: {masqueradeAll: true}";
    fs::write(
        &file,
        format!("{HEAD}{masquerade}\nmode: ipvs\nnodePortAddresses: [192.0.2.0/24]\nipvs: {{scheduler: sh}}\n"),
    )
    .expect("written");
    let (code, found) = examine(&old, &["--config", &path]);
    assert_eq!(code, Some(1));
    assert!(found.to_string().contains("scheduler sh"), "{found:#}");
    assert!(found.to_string().contains("--nodeport-addresses 192.0.2.0/24"), "{found:#}");
    assert_eq!(severity(&found, "configuration"), "warning");
    assert!(found.to_string().contains("Set nftables.masqueradeAll: true"), "{found:#}");
    // Whatever refuses a start is a problem here.
    for (contents, words) in [
        (String::new(), "it is empty"),
        ("a: [1\n".to_owned(), "line "),
        (format!("{HEAD}mode: userspace\n"), "userspace"),
        (format!("{HEAD}nodePortAddresses: 10.0.0.0/8\n"), "a list of texts"),
    ] {
        fs::write(&file, contents).expect("written");
        let (code, found) = examine(&old, &["--config", &path]);
        assert_eq!((code, severity(&found, "configuration")), (Some(1), "problem"), "{found:#}");
        assert!(found.to_string().contains(words), "{found:#}");
    }
    fs::remove_file(&file).expect("ours");
    let finished = old.node.pointsman(&["doctor", "--config", &path]);
    assert_eq!(finished.code, Some(2), "{}", finished.stdout);
    assert!(finished.stderr.contains("cannot read") && finished.stderr.contains(&path), "{}", finished.stderr);
}
