//! Take-over from live virtual services of IPVS. Not every kernel has it: `make kernels` has those that do.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::common::netns::{Connection, Failure, Family, Transport, requirements};
use crate::old_rules::{Iptables, KNOWN, NEW, OldNode, PODS, PORT, REVIVED};
use crate::switch::wait_for;
use crate::traffic::{OpenConnections, assert_reaches, under_load};

/// Set to 1 where the kernel has IPVS, so that these tests must run.
const REQUIRE: &str = "POINTSMAN_REQUIRE_IPVS";
/// A virtual service of another program, on an address that is not kube-proxy's.
const FOREIGN: &str = "198.51.100.9:99";

/// A node in ipvs mode whose virtual services serve; `None` if the kernel has none.
fn node_with_ipvs(iptables: Iptables) -> Option<OldNode> {
    let old = OldNode::new()?;
    // This also loads the module.
    let listed = old.node.host.command("ipvsadm").args(["--list", "--numeric"]).output().expect("ip starts");
    if !listed.status.success() {
        let reason = String::from_utf8_lossy(&listed.stderr);
        assert!(!std::env::var(REQUIRE).is_ok_and(|value| value == "1"), "{REQUIRE}=1, but there is no IPVS: {reason}");
        requirements::skip("ipvsadm or the kernel's IPVS is missing");
        return None;
    }
    let old = old.with_ipvs_mode(iptables);
    // As kube-proxy does: without it no rule of iptables masquerades connections through IPVS.
    old.node.host.sysctl("ipv4/vs/conntrack", "1");
    for family in Family::ALL {
        let addr = family.cluster_ip(KNOWN);
        let set = if family == Family::V4 { "KUBE-CLUSTER-IP" } else { "KUBE-6-CLUSTER-IP" };
        if family == Family::V6 {
            old.node.host.ip_batch(&format!("addr add {addr}/128 dev kube-ipvs0"));
        }
        for (transport, option) in [("tcp", "-t"), ("udp", "-u")] {
            old.run("ipset", &["add", set, &format!("{addr},{transport}:{PORT}")]);
            let service = at(addr, PORT);
            old.run("ipvsadm", &["-A", option, &service, "-s", "rr"]);
            for pod in PODS {
                old.run("ipvsadm", &["-a", option, &service, "-r", &at(family.pod_ip(pod), 8080), "-m"]);
            }
        }
    }
    old.run("ipvsadm", &["-A", "-t", FOREIGN, "-s", "rr"]);
    assert_reaches(&old.node, KNOWN, &PODS);
    Some(old)
}

fn at(addr: IpAddr, port: u16) -> String {
    SocketAddr::new(addr, port).to_string()
}

/// The virtual services that are there, as ipvsadm takes them.
fn virtual_services(old: &OldNode) -> Vec<String> {
    let listed = old.run("ipvsadm", &["--save", "--numeric"]).stdout;
    listed.lines().filter(|line| line.starts_with("-A")).map(str::to_owned).collect()
}

/// Connections through IPVS that stay open: one of each family.
fn open(old: &OldNode, transport: Transport) -> Vec<Connection> {
    let open = |family: Family| old.node.request(transport, family.cluster_ip(KNOWN), PORT).open();
    Family::ALL.map(|family| open(family).expect("IPVS serves").0).into()
}

#[test]
fn from_live_virtual_services_no_new_connection_fails_and_only_foreign_ones_stay() {
    for iptables in [Iptables::Nft, Iptables::Legacy] {
        let Some(old) = node_with_ipvs(iptables) else { return };
        assert_eq!(virtual_services(&old).len(), 5);
        let mut proxy = None;
        let connections = under_load(&old.node, KNOWN, &mut OpenConnections::none(), || {
            let started = old.node.start_pointsman(&old.follow());
            wait_for(&started, "link kube-ipvs0");
            // Some more, by the new rules alone.
            std::thread::sleep(Duration::from_millis(300));
            proxy = Some(started);
        });
        assert!(connections > 50, "{connections} new connections are too few to notice a gap");
        let log = proxy.expect("the proxy was started").log();
        assert!(!log.contains("not removed"), "{log}");
        assert!(log.contains(&format!("ipvsadm -D -t {FOREIGN}")), "{log}");
        assert_eq!(virtual_services(&old), [format!("-A -t {FOREIGN} -s rr")]);
        assert_reaches(&old.node, KNOWN, &PODS);
        for service in [NEW, REVIVED] {
            assert_reaches(&old.node, service, &[12]);
        }
    }
}

#[test]
fn udp_clients_of_ipvs_that_keep_their_port_go_on_and_tcp_clients_are_refused_at_once() {
    let Some(old) = node_with_ipvs(Iptables::Nft) else { return };
    let (tcp, udp) = (open(&old, Transport::Tcp), open(&old, Transport::Udp));
    let finished = old.node.pointsman(&old.once());
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    for (mut connection, family) in udp.into_iter().zip(Family::ALL) {
        let answer = connection.ping().unwrap_or_else(|failure| panic!("{family}: {failure:?}"));
        assert!(PODS.map(|pod| family.pod_ip(pod)).contains(&answer.server.ip()), "{family}: {answer:?}");
    }
    for (mut connection, family) in tcp.into_iter().zip(Family::ALL) {
        let failure = connection.ping().expect_err("no rule knows the connection");
        assert!(!matches!(failure, Failure::TimedOut | Failure::Unreachable), "{family}: {failure:?}");
    }
    assert!(finished.stderr.contains("connections through IPVS"), "{}", finished.stderr);
}

#[test]
fn a_clean_up_names_the_virtual_services_that_it_removed() {
    let Some(old) = node_with_ipvs(Iptables::Nft) else { return };
    let cleaned = old.node.pointsman(&["--cleanup=kube-proxy"]);
    assert_eq!(cleaned.code, Some(0), "{}\n{}", cleaned.stdout, cleaned.stderr);
    for service in ["-t 10.96.0.10:80", "-u 10.96.0.10:80", "-t [fd00:10:96::a]:80", "-u [fd00:10:96::a]:80"] {
        let line = format!("removed: virtual service {service} of IPVS\n");
        assert!(cleaned.stdout.contains(&line), "no {line:?} in {}", cleaned.stdout);
    }
    assert_eq!(virtual_services(&old), [format!("-A -t {FOREIGN} -s rr")]);
}
