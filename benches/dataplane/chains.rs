//! A table of the shape that kube-proxy's nftables mode gives its own, to compare with: for each Service port a chain with one
//! rule and an anonymous map, behind a map of verdicts. ClusterIPs over UDP, local pods told by their network.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use crate::common::cluster::{Size, cluster_ip, pod_ip};
use crate::common::namespace::Namespace;
use crate::common::nft;
use crate::flows::PORT;
use crate::variant::{PODS, is_here};

/// Hooks of NAT and nothing in them: connections are tracked, and that is all.
pub const NOTHING: &str = "
table ip bench-nothing {
    chain prerouting { type nat hook prerouting priority -100; }
    chain output { type nat hook output priority -100; }
    chain postrouting { type nat hook postrouting priority 100; }
    chain forward { type filter hook forward priority 0; ct state new counter; }
}
";

/// What does not depend on the Services. Chains that are named by elements come before these.
const RULES: &str = "
    chain refused { reject; }
    chain to-masquerade { meta mark set meta mark | 0x4000; }
    chain services {
        ip daddr @cluster-ips ip saddr != PODS jump to-masquerade
        ip daddr . meta l4proto . th dport vmap @service-ips
        ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
    }
    chain masquerading {
        meta mark & 0x4000 != 0 meta mark set meta mark ^ 0x4000 masquerade fully-random
        ct status dnat ip saddr . ip daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random
    }
    chain service-endpoints-check { ip daddr . meta l4proto . th dport vmap @no-endpoint-services; }
    chain nodeport-endpoints-check {
        ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports
    }
    chain firewall-check { ip daddr . meta l4proto . th dport vmap @firewall-ips; }
    chain cluster-ips-check {
        ip daddr @cluster-ips goto refused
        ip daddr { 10.96.0.0/12 } drop
    }
    chain filter-prerouting-pre-dnat { type filter hook prerouting priority -110; ct state new jump firewall-check; }
    chain filter-output-pre-dnat { type filter hook output priority -110; ct state new jump firewall-check; }
    chain nat-prerouting { type nat hook prerouting priority -100; jump services; }
    chain nat-output { type nat hook output priority -100; jump services; }
    chain filter-input {
        type filter hook input priority 0;
        ct state new jump nodeport-endpoints-check
        ct state new jump service-endpoints-check
    }
    chain filter-forward {
        type filter hook forward priority 0;
        ct state new jump service-endpoints-check
        ct state new jump cluster-ips-check
    }
    chain filter-output {
        type filter hook output priority 0;
        ct state new jump service-endpoints-check
        ct state new jump cluster-ips-check
    }
    chain nat-postrouting { type nat hook postrouting priority 100; jump masquerading; }
";

/// The table for this many Services.
pub fn text(size: Size) -> String {
    let Size { services, endpoints } = size;
    let mut text = "table ip bench-chains {\n".to_owned();
    let elements = |all: &mut dyn Iterator<Item = String>| all.collect::<Vec<_>>().join(", ");
    let ips = elements(&mut (0..services).map(|n| cluster_ip(n).to_string()));
    let _ = writeln!(text, "set cluster-ips {{ type ipv4_addr; elements = {{ {ips} }}; }}");
    let _ = writeln!(text, "set nodeport-ips {{ type ipv4_addr; elements = {{ 192.0.2.1 }}; }}");
    let local = (0..size.pods()).filter(|p| is_here(*p));
    let hairpin = elements(&mut local.map(|p| format!("{0} . {0} . udp . {PORT}", pod_ip(p))));
    let key = "ipv4_addr . ipv4_addr . inet_proto . inet_service";
    let _ = writeln!(text, "set hairpin-connections {{ type {key}; elements = {{ {hairpin} }}; }}");
    for map in ["no-endpoint-services", "firewall-ips"] {
        let _ = writeln!(text, "map {map} {{ type ipv4_addr . inet_proto . inet_service : verdict; }}");
    }
    for map in ["service-nodeports", "no-endpoint-nodeports"] {
        let _ = writeln!(text, "map {map} {{ type inet_proto . inet_service : verdict; }}");
    }
    for n in 0..services {
        let slots = elements(&mut (0..endpoints).map(|e| format!("{e} : {} . {PORT}", pod_ip(n * endpoints + e))));
        let choice = format!("dnat ip to numgen random mod {endpoints} map {{ {slots} }}");
        let _ = writeln!(text, "chain service-{n} {{ meta l4proto udp {choice}; }}");
    }
    let gotos = elements(&mut (0..services).map(|n| format!("{} . udp . {PORT} : goto service-{n}", cluster_ip(n))));
    let map = "map service-ips { type ipv4_addr . inet_proto . inet_service : verdict;";
    let _ = writeln!(text, "{map} elements = {{ {gotos} }}; }}");
    text + &RULES.replace("PODS", PODS) + "}\n"
}

/// Loads text with nft.
pub fn load(namespace: &Namespace, text: &str) {
    let mut child = namespace.command(nft()).args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft starts");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("nft reads");
    assert!(child.wait().expect("nft ends").success(), "nft takes the rules");
}
