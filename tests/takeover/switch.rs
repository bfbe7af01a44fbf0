//! The switch: connections and rules while Pointsman takes over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::manifests::slice_of;
use crate::common::netns::{Family, Node, Proxy, Request, Transport};
use crate::old_rules::{HEALTHY, Iptables, KNOWN, NEW, OldNode, PODS, PORT, Pretender, REVIVED};
use crate::traffic::{OpenConnections, assert_reaches, under_load};

/// The longest time that a take-over may take: under load an emulated machine may have to load modules meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the proxy has logged this text.
pub fn wait_for(proxy: &Proxy, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !proxy.log().contains(text) {
        assert!(Instant::now() < deadline, "no {text:?} in the log:\n{}", proxy.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Takes over under load. Asserts that no connection breaks, that nothing of kube-proxy is left, and that all else is unchanged.
fn assert_taken_over(old: &OldNode, without_kube_proxy: &str, last_removal: &str) {
    let node = &old.node;
    let mut open = OpenConnections::open(node, KNOWN);
    let mut proxy = None;
    let connections = under_load(node, KNOWN, &mut open, || {
        let started = node.start_pointsman(&old.follow());
        wait_for(&started, last_removal);
        // Some more, by the new rules alone.
        std::thread::sleep(Duration::from_millis(300));
        proxy = Some(started);
    });
    assert!(connections > 100, "{connections} new connections are too few to notice a gap");
    let proxy = proxy.expect("the proxy was started");
    assert!(!proxy.log().contains("not removed"), "{}", proxy.log());
    for service in [KNOWN, NEW, REVIVED] {
        assert_reaches(node, service, if service == KNOWN { &PODS } else { &[12] });
    }
    open.assert_unbroken();
    proxy.terminate();
    let finished = node.pointsman(&["--cleanup=own", "--force"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(old.everything(), without_kube_proxy);
}

#[test]
fn from_iptables_mode_with_iptables_nft_no_connection_breaks_and_only_foreign_rules_stay() {
    let Some(old) = OldNode::new() else { return };
    let old = old.with_foreign_rules();
    let before = old.everything();
    let old = old.with_iptables_mode(Iptables::Nft);
    assert_taken_over(&old, &before, "(ip6, iptables-nft)");
}

#[test]
fn from_iptables_mode_with_iptables_legacy_no_connection_breaks_and_only_foreign_rules_stay() {
    let Some(old) = OldNode::new() else { return };
    let old = old.with_foreign_rules();
    let before = old.everything();
    let old = old.with_iptables_mode(Iptables::Legacy);
    assert_taken_over(&old, &before, "table nat (ip6, iptables-legacy)");
}

#[test]
fn from_nftables_mode_no_connection_breaks_and_only_foreign_rules_stay() {
    let Some(old) = OldNode::new() else { return };
    let old = old.with_foreign_rules();
    let before = old.everything();
    let old = old.with_nftables_mode();
    assert_taken_over(&old, &before, "table ip6 kube-proxy");
}

#[test]
fn a_take_over_succeeds_while_other_programs_change_their_rules_all_the_time() {
    let Some(old) = OldNode::new() else { return };
    let old = old.with_foreign_rules();
    let before = old.everything();
    let old = old.with_iptables_mode(Iptables::Nft);
    let done = AtomicBool::new(false);
    let finished = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for verb in ["-I", "-D"] {
                    let rule = ["-t", "nat", verb, "CNI-HOSTPORT-DNAT", "-p", "tcp", "--dport", "9999", "-j", "RETURN"];
                    let status = old.node.host.command("iptables-nft").arg("-w").args(rule).status();
                    assert!(status.expect("iptables starts").success());
                }
            }
        });
        let finished = old.node.pointsman(&old.once());
        done.store(true, Ordering::Relaxed);
        finished
    });
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(!finished.stderr.contains("ERROR"), "{}", finished.stderr);
    assert_eq!(old.node.pointsman(&["--cleanup=own", "--force"]).code, Some(0));
    assert_eq!(old.everything(), before);
}

#[test]
fn before_the_first_sync_nothing_is_removed() {
    let Some(old) = OldNode::new() else { return };
    let old = old.with_nftables_mode().with_iptables_mode(Iptables::Nft);
    let before = old.everything();
    // An API server that nobody reaches: the lists are never complete.
    let kubeconfig = tempfile::NamedTempFile::new().expect("a scratch file");
    let unreachable = "{clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}],
                        contexts: [{name: x, context: {cluster: c, user: u}}], current-context: x}";
    std::fs::write(kubeconfig.path(), unreachable).expect("the scratch file can be written");
    let proxy = old.node.start_pointsman(&["--kubeconfig", kubeconfig.path().to_str().expect("a plain name")]);
    wait_for(&proxy, "started");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(old.everything(), before, "{}", proxy.log());
    assert_eq!(proxy.terminate().code, Some(0));
}

#[test]
fn of_ipvs_mode_chains_ipsets_and_the_link_are_removed_and_a_foreign_ipset_stays() {
    for iptables in [Iptables::Nft, Iptables::Legacy] {
        let Some(old) = OldNode::new() else { return };
        let old = old.with_foreign_rules();
        let before = old.everything();
        let old = old.with_ipvs_mode(iptables);
        let finished = old.node.pointsman(&old.once());
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert!(finished.stderr.contains("link kube-ipvs0"), "{}", finished.stderr);
        assert_reaches(&old.node, KNOWN, &PODS);
        assert_eq!(old.node.pointsman(&["--cleanup"]).code, Some(0));
        let after = old.everything();
        assert!(after.contains("SOMEBODYS-OWN\n"), "{after}");
        assert_eq!(after.replace("SOMEBODYS-OWN\n", ""), before, "{iptables:?}");
    }
}

#[test]
fn beside_kube_proxys_rules_all_services_work_and_are_masqueraded_alike() {
    for mode in ["nftables", "iptables-nft", "iptables-legacy"] {
        let Some(old) = OldNode::new() else { return };
        let old = match mode {
            "nftables" => old.with_nftables_mode(),
            "iptables-nft" => old.with_iptables_mode(Iptables::Nft),
            _ => old.with_iptables_mode(Iptables::Legacy),
        };
        let pod = old.node.pod(7);
        let [manifests, folder, once] = old.once();
        let finished = old.node.pointsman(&[manifests, folder, once, "--take-over", "never"]);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert!(finished.stderr.contains("Both translate now"), "{mode}: {}", finished.stderr);
        for (service, pods) in [(KNOWN, &PODS[..]), (NEW, &[12]), (REVIVED, &[12])] {
            assert_reaches(&old.node, service, pods);
            for family in Family::ALL {
                for transport in Transport::ALL {
                    let to = (family.cluster_ip(service), PORT).into();
                    let outside = old.node.request(transport, family.cluster_ip(service), PORT).send();
                    assert_ne!(outside.expect("an answer").seen_from.ip(), family.client_ip(), "{mode} {family}");
                    let inside = Request::new(&pod, transport, to).send().expect("pods reach the Service");
                    assert_eq!(inside.seen_from.ip(), family.pod_ip(7), "{mode} {family} {transport}");
                    let own = Request::new(&old.node.host, transport, to).send();
                    own.unwrap_or_else(|failure| panic!("{mode} {family} {transport}, from the node: {failure:?}"));
                }
            }
        }
    }
}

#[test]
fn beside_kube_proxys_rules_the_chains_that_were_attached_last_decide() {
    for mode in ["nftables", "iptables-nft", "iptables-legacy"] {
        for pointsman_last in [true, false] {
            let Some(old) = OldNode::new() else { return };
            let lay = |old: OldNode| match mode {
                "nftables" => old.with_nftables_mode(),
                "iptables-nft" => old.with_iptables_mode(Iptables::Nft),
                _ => old.with_iptables_mode(Iptables::Legacy),
            };
            for family in Family::ALL {
                let slice = slice_of("default/known", family).port_of_both_transports(8080);
                old.manifests.apply(slice.endpoint(family.pod_ip(12)));
            }
            let old = if pointsman_last { lay(old) } else { old };
            let [manifests, folder, once] = old.once();
            assert_eq!(old.node.pointsman(&[manifests, folder, once, "--take-over=never"]).code, Some(0));
            let old = if pointsman_last { old } else { lay(old) };
            println!("{mode}, Pointsman last: {pointsman_last}");
            assert_reaches(&old.node, KNOWN, if pointsman_last { &[12] } else { &PODS });
            // The others' rules are in nobody's way afterwards.
            let finished = old.node.pointsman(&["--cleanup=kube-proxy"]);
            assert_eq!(finished.code, Some(0), "{}", finished.stderr);
            assert_reaches(&old.node, KNOWN, &[12]);
        }
    }
}

/// Whether kube-proxy's tables of nftables mode exist.
fn has_kube_proxy(node: &Node) -> bool {
    let tables = node.nft(&["list", "tables"]);
    ["table ip kube-proxy\n", "table ip6 kube-proxy\n"].iter().all(|table| tables.contains(table))
}

#[test]
fn a_start_beside_a_kube_proxy_that_answers_is_refused_and_changes_nothing() {
    let Some(old) = OldNode::new() else { return };
    let old = old.with_nftables_mode();
    let pretender = Pretender::new(&old.node, HEALTHY);
    let before = old.everything();
    for args in [old.follow(), old.once()] {
        let finished = old.node.pointsman(&args);
        assert_eq!(finished.code, Some(2), "{args:?}: {}", finished.stderr);
        for words in ["a kube-proxy answers on port 10256", "nothing was changed", "--beside-other-proxy"] {
            assert!(finished.stderr.contains(words), "{args:?}: no {words:?} in {}", finished.stderr);
        }
    }
    assert_eq!(old.everything(), before);
    pretender.end();
}

#[test]
fn beside_a_kube_proxy_that_answers_its_rules_stay_unless_forced() {
    for body in [HEALTHY, "something else"] {
        let Some(old) = OldNode::new() else { return };
        let old = old.with_nftables_mode();
        let _pretender = Pretender::new(&old.node, body);
        let [manifests, folder, once] = old.once();
        // What is no Service proxy does not stop the start.
        let beside = if body == HEALTHY { "--beside-other-proxy" } else { "--log-level=info" };
        let finished = old.node.pointsman(&[manifests, folder, once, beside]);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        for words in ["kube-proxy's rules stay", "port 10256", "Both translate now"] {
            assert!(finished.stderr.contains(words), "{body}: no {words:?} in {}", finished.stderr);
        }
        assert!(has_kube_proxy(&old.node), "{body}");
        let finished = old.node.pointsman(&[manifests, folder, once, beside, "--take-over=force"]);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert!(!old.node.nft(&["list", "tables"]).contains("kube-proxy\n"));
        assert_reaches(&old.node, KNOWN, &PODS);
    }
}

#[test]
fn a_kube_proxy_is_found_by_the_port_of_its_configuration_its_metrics_page_and_its_process() {
    let Some(old) = OldNode::new() else { return };
    let old = old.with_nftables_mode();
    let [manifests, folder, once] = old.once();
    let refused = |arg: &str, words: &str| {
        let finished = old.node.pointsman(&[manifests, folder, once, arg]);
        assert_eq!(finished.code, Some(2), "{words}: {}", finished.stderr);
        assert!(finished.stderr.contains(words), "no {words:?} in {}", finished.stderr);
        assert!(has_kube_proxy(&old.node) && !old.node.nft(&["list", "tables"]).contains("pointsman"));
    };
    let pretender = Pretender::on_ports(&old.node, &[(10_266, HEALTHY)]);
    refused("--healthz-bind-address=0.0.0.0:10266", "a kube-proxy answers on port 10266");
    pretender.end();
    let pretender = Pretender::on_ports(&old.node, &[(10_249, "nftables")]);
    refused("--log-level=info", "a kube-proxy answers on port 10249");
    pretender.end();
    let bin = tempfile::tempdir().expect("a folder");
    let program = bin.path().join("kube-proxy");
    std::fs::copy("/bin/sleep", &program).expect("sleep can be copied");
    let mut process = old.node.host.command(&program).arg("600").spawn().expect("it starts");
    refused("--log-level=info", &format!("a kube-proxy runs on this host as process {}", process.id()));
    process.kill().expect("ours");
    process.wait().expect("ours");
    let finished = old.node.pointsman(&[manifests, folder, once]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(!has_kube_proxy(&old.node));
}

#[test]
fn beside_a_running_kube_proxy_the_log_says_who_has_the_port() {
    let Some(old) = OldNode::new() else { return };
    let old = old.with_nftables_mode();
    let _pretender = Pretender::new(&old.node, HEALTHY);
    let [manifests, folder, watch] = old.follow();
    let proxy = old.node.start_pointsman(&[manifests, folder, watch, "--beside-other-proxy"]);
    wait_for(&proxy, "a kube-proxy answers on port 10256 of this host: end it first: cannot listen on");
    // It proxies all the same, and leaves kube-proxy's rules alone.
    wait_for(&proxy, "Both translate now");
    assert!(has_kube_proxy(&old.node));
}

#[test]
fn a_second_pointsman_is_refused_and_told_which_process_is_the_first() {
    let Some(old) = OldNode::new() else { return };
    let [manifests, folder, watch] = old.follow();
    // Without pages only the lock tells of it.
    let silent = ["--healthz-bind-address=none", "--metrics-bind-address=none"];
    let proxy = old.node.start_pointsman(&[&[manifests, folder, watch][..], &silent].concat());
    wait_for(&proxy, "committed");
    let before = old.everything();
    let finished = old.node.pointsman(&[&old.once()[..], &["--masquerade-all"]].concat());
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    for words in ["another Pointsman runs on this host (process ", "version ", "since ", "--beside-other-proxy"] {
        assert!(finished.stderr.contains(words), "no {words:?} in {}", finished.stderr);
    }
    assert_eq!(old.everything(), before);
    for args in [&["--cleanup"][..], &["--cleanup=own"]] {
        assert_eq!(old.node.pointsman(args).code, Some(1), "{args:?}");
    }
    // A killed process leaves no lock behind.
    drop(proxy);
    assert_eq!(old.node.pointsman(&old.once()).code, Some(0));
}

#[test]
fn a_proxy_that_is_just_ending_does_not_stop_the_next_start() {
    let Some(old) = OldNode::new() else { return };
    let proxy = old.node.start_pointsman(&old.follow());
    wait_for(&proxy, "committed");
    let ending = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(800));
        drop(proxy);
    });
    let finished = old.node.pointsman(&old.once());
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stderr.contains("nothing had to change"), "{}", finished.stderr);
    ending.join().expect("it ends");
}

#[test]
fn a_pointsman_that_serves_health_checks_is_not_taken_for_kube_proxy() {
    let Some(old) = OldNode::new() else { return };
    let old = old.with_nftables_mode();
    let [manifests, folder, watch] = old.follow();
    let proxy = old.node.start_pointsman(&[manifests, folder, watch, "--take-over=never"]);
    wait_for(&proxy, "Both translate now");
    let [manifests, folder, once] = old.once();
    let finished = old.node.pointsman(&[manifests, folder, once, "--beside-other-proxy"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(!old.node.nft(&["list", "tables"]).contains("kube-proxy\n"), "{}", finished.stderr);
}

#[test]
fn a_chain_that_a_foreign_rule_needs_stays_and_is_named() {
    for (iptables, program) in [(Iptables::Nft, "iptables-nft"), (Iptables::Legacy, "iptables-legacy")] {
        let Some(old) = OldNode::new() else { return };
        let old = old.with_foreign_rules().with_iptables_mode(iptables);
        let jump = ["-t", "nat", "-A", "CNI-HOSTPORT-DNAT", "-p", "tcp", "-j", "KUBE-MARK-MASQ"];
        assert!(old.node.host.command(program).args(jump).status().expect("iptables starts").success());
        let finished = old.node.pointsman(&old.once());
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        assert!(finished.stderr.contains("chain KUBE-MARK-MASQ in the table nat"), "{}", finished.stderr);
        assert!(!finished.stderr.contains("not removed"), "{}", finished.stderr);
        let saved = old.node.host.command(format!("{program}-save")).output().expect("iptables starts");
        let saved = String::from_utf8_lossy(&saved.stdout);
        assert!(saved.contains("-A KUBE-MARK-MASQ") && saved.contains("-j KUBE-MARK-MASQ"), "{saved}");
        assert!(!saved.contains("KUBE-SERVICES"), "{saved}");
    }
}

#[test]
fn removing_kube_proxys_rules_warns_of_a_policy_to_drop() {
    let Some(old) = OldNode::new() else { return };
    let old = old.with_iptables_mode(Iptables::Nft);
    let policy = old.node.host.command("iptables-nft").args(["-P", "FORWARD", "DROP"]).status();
    assert!(policy.expect("iptables starts").success());
    let finished = old.node.pointsman(&old.once());
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let words = "the policy of FORWARD in the table filter (ip, iptables-nft) is to drop";
    assert!(finished.stderr.contains(words), "{}", finished.stderr);
}
