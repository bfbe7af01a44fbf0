//! `pointsman --cleanup`.

use std::time::Duration;

use crate::common::manifests::slice_of;
use crate::common::netns::Family;
use crate::old_rules::{HEALTHY, Iptables, KNOWN, OldNode, PODS, Pretender};
use crate::traffic::{OpenConnections, assert_reaches, under_load};

#[test]
fn clean_up_leaves_the_node_as_it_was_before_either_proxy() {
    let Some(old) = OldNode::new() else { return };
    let old = old.with_foreign_rules();
    let before = old.everything();
    let old = old.with_iptables_mode(Iptables::Nft).with_iptables_mode(Iptables::Legacy).with_nftables_mode();
    let [manifests, folder, once] = old.once();
    assert_eq!(old.node.pointsman(&[manifests, folder, once, "--take-over=never"]).code, Some(0));
    assert_ne!(old.everything(), before);
    let finished = old.node.pointsman(&["--cleanup"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    for what in [
        "removed: table ip kube-proxy\n",
        "removed: table ip6 pointsman\n",
        "in the table nat (ip, iptables-nft)\n",
        "in the table filter (ip6, iptables-legacy)\n",
    ] {
        assert!(finished.stdout.contains(what), "no {what:?} in {}", finished.stdout);
    }
    assert_eq!(old.everything(), before);
}

#[test]
fn clean_up_of_a_clean_node_removes_nothing_and_succeeds() {
    let Some(old) = OldNode::new() else { return };
    for args in [&["--cleanup"][..], &["--cleanup=own"], &["--cleanup=kube-proxy"], &["--cleanup=true", "--force"]] {
        let finished = old.node.pointsman(args);
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(0), "there was nothing to remove\n"), "{args:?}");
    }
}

#[test]
fn while_a_kube_proxy_runs_only_pointsmans_tables_are_removed_unless_forced() {
    let Some(old) = OldNode::new() else { return };
    let old = old.with_nftables_mode();
    let [manifests, folder, once] = old.once();
    assert_eq!(old.node.pointsman(&[manifests, folder, once, "--take-over=never"]).code, Some(0));
    let pretender = Pretender::new(&old.node, HEALTHY);
    let before = old.everything();
    for args in [&["--cleanup"][..], &["--cleanup=kube-proxy"]] {
        let finished = old.node.pointsman(args);
        assert_eq!(finished.code, Some(1), "{args:?}: {}", finished.stdout);
        assert!(finished.stderr.contains("a kube-proxy answers on port 10256"), "{}", finished.stderr);
        assert_eq!(old.everything(), before, "{args:?}");
    }
    // The way back: kube-proxy runs again, and Pointsman's tables go.
    let finished = old.node.pointsman(&["--cleanup=own"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(finished.stdout, "removed: table ip pointsman\nremoved: table ip6 pointsman\n");
    assert_reaches(&old.node, KNOWN, &PODS);
    let finished = old.node.pointsman(&["--cleanup", "--force"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(finished.stdout, "removed: table ip kube-proxy\nremoved: table ip6 kube-proxy\n");
    pretender.end();
}

#[test]
fn the_way_back_to_kube_proxy_breaks_no_connection() {
    for mode in ["nftables", "iptables-nft", "iptables-legacy"] {
        let Some(old) = OldNode::new() else { return };
        // The tables of iptables are there before anything else, as on most nodes.
        let old = old.with_foreign_rules();
        for family in Family::ALL {
            let slice = slice_of("default/known", family).port_of_both_transports(8080);
            old.manifests.apply(slice.endpoint(family.pod_ip(12)));
        }
        assert_eq!(old.node.pointsman(&old.once()).code, Some(0));
        let mut open = OpenConnections::open(&old.node, KNOWN);
        let node = &old.node;
        let lay = || match mode {
            "nftables" => old.lay_nftables_mode(),
            "iptables-nft" => old.lay_iptables_mode(Iptables::Nft),
            _ => old.lay_iptables_mode(Iptables::Legacy),
        };
        under_load(node, KNOWN, &mut open, || {
            lay();
            if mode != "nftables" {
                assert_reaches(node, KNOWN, &[12]);
            }
            // Nothing answers as kube-proxy yet: the tables are needed.
            let finished = node.pointsman(&["--cleanup=own"]);
            assert_eq!(finished.code, Some(1), "{mode}: {}", finished.stdout);
            for words in ["no kube-proxy answers on this host", "ClusterIPs work only by these tables", "--force"] {
                assert!(finished.stderr.contains(words), "{mode}: no {words:?} in {}", finished.stderr);
            }
            let pretender = Pretender::new(node, HEALTHY);
            let finished = node.pointsman(&["--cleanup=own"]);
            assert_eq!(finished.code, Some(0), "{mode}: {}", finished.stderr);
            pretender.end();
            std::thread::sleep(Duration::from_millis(200));
        });
        assert_reaches(node, KNOWN, &PODS);
    }
}

#[test]
fn pointsmans_tables_go_without_a_kube_proxy_only_if_forced_or_empty() {
    let Some(old) = OldNode::new() else { return };
    assert_eq!(old.node.pointsman(&old.once()).code, Some(0));
    assert_eq!(old.node.pointsman(&["--cleanup=own"]).code, Some(1));
    assert_reaches(&old.node, KNOWN, &PODS);
    let finished = old.node.pointsman(&["--cleanup=own", "--force"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(finished.stdout, "removed: table ip pointsman\nremoved: table ip6 pointsman\n");
}

#[test]
fn while_a_pointsman_runs_only_kube_proxys_rules_are_removed() {
    let Some(old) = OldNode::new() else { return };
    let old = old.with_nftables_mode();
    let [manifests, folder, watch] = old.follow();
    let proxy = old.node.start_pointsman(&[manifests, folder, watch, "--take-over=never"]);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !proxy.log().contains("Both translate now") && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    for args in [&["--cleanup"][..], &["--cleanup=own"]] {
        let finished = old.node.pointsman(args);
        assert_eq!(finished.code, Some(1), "{args:?}: {}", finished.stdout);
        assert!(finished.stderr.contains("another Pointsman answers"), "{}", finished.stderr);
    }
    let finished = old.node.pointsman(&["--cleanup=kube-proxy"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_reaches(&old.node, KNOWN, &PODS);
}
