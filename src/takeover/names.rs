//! What kube-proxy calls its own, in each of its modes.

/// The name of its two tables in nftables mode.
pub const TABLE: &str = "kube-proxy";

/// The dummy link that holds the virtual addresses in ipvs mode.
pub const IPVS_LINK: &str = "kube-ipvs0";

/// The longest name that an ipset can have.
const LONGEST_IPSET: usize = 31;

/// The tables of iptables that it writes to.
pub(super) const IPTABLES: [&str; 3] = ["nat", "filter", "mangle"];

/// The chains that rules of built-in chains jump to: how packets get to kube-proxy at all. All modes together.
const ENTRIES: [(&str, &[&str]); 2] = [
    ("nat", &["KUBE-SERVICES", "KUBE-POSTROUTING"]),
    (
        "filter",
        &[
            "KUBE-EXTERNAL-SERVICES",
            "KUBE-NODEPORTS",
            "KUBE-SERVICES",
            "KUBE-FORWARD",
            "KUBE-PROXY-FIREWALL",
            "KUBE-NODE-PORT",
            "KUBE-SOURCE-RANGES-FIREWALL",
            "KUBE-IPVS-FILTER",
            "KUBE-IPVS-OUT-FILTER",
        ],
    ),
];

/// The other chains with names that are always the same.
///
/// Not among them, for the kubelet has them too: KUBE-FIREWALL, KUBE-MARK-DROP, KUBE-KUBELET-CANARY, KUBE-IPTABLES-HINT.
const CHAINS: [(&str, &[&str]); 3] = [
    ("nat", &["KUBE-NODEPORTS", "KUBE-MARK-MASQ", "KUBE-PROXY-CANARY", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER"]),
    ("filter", &["KUBE-PROXY-CANARY"]),
    ("mangle", &["KUBE-PROXY-CANARY"]),
];

/// The beginnings of the names of chains of Services and endpoints, in the table nat.
const PREFIXES: [&str; 6] = ["KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-", "KUBE-XLB-"];

/// The ipsets of ipvs mode, IPv4.
const IPSETS: [&str; 17] = [
    "KUBE-LOOP-BACK",
    "KUBE-CLUSTER-IP",
    "KUBE-EXTERNAL-IP",
    "KUBE-EXTERNAL-IP-LOCAL",
    "KUBE-LOAD-BALANCER",
    "KUBE-LOAD-BALANCER-FW",
    "KUBE-LOAD-BALANCER-LOCAL",
    "KUBE-LOAD-BALANCER-SOURCE-IP",
    "KUBE-LOAD-BALANCER-SOURCE-CIDR",
    "KUBE-NODE-PORT-TCP",
    "KUBE-NODE-PORT-LOCAL-TCP",
    "KUBE-NODE-PORT-UDP",
    "KUBE-NODE-PORT-LOCAL-UDP",
    "KUBE-NODE-PORT-SCTP-HASH",
    "KUBE-NODE-PORT-LOCAL-SCTP-HASH",
    "KUBE-HEALTH-CHECK-NODE-PORT",
    "KUBE-IPVS-IPS",
];

/// Whether rules of built-in chains of this table jump to this chain on behalf of kube-proxy.
pub(super) fn is_entry(table: &str, chain: &str) -> bool {
    ENTRIES.iter().any(|(of, chains)| *of == table && chains.contains(&chain))
}

/// Whether this chain of this table of iptables is kube-proxy's.
pub(super) fn is_chain(table: &str, chain: &str) -> bool {
    let fixed = CHAINS.iter().any(|(of, chains)| *of == table && chains.contains(&chain));
    let rest = PREFIXES.iter().find_map(|prefix| chain.strip_prefix(prefix));
    let of_service = rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    fixed || is_entry(table, chain) || (table == "nat" && of_service)
}

/// The names of its ipsets, of both families.
pub(super) fn ipsets() -> Vec<String> {
    let of_ipv6 = |name: &str| {
        let mut name = name.replacen("KUBE-", "KUBE-6-", 1);
        name.truncate(LONGEST_IPSET);
        name
    };
    IPSETS.iter().map(|name| (*name).to_owned()).chain(IPSETS.iter().map(|name| of_ipv6(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_the_kubelet_and_of_others_are_not_kube_proxys() {
        for (table, chain) in [
            ("filter", "KUBE-FIREWALL"),
            ("nat", "KUBE-MARK-DROP"),
            ("mangle", "KUBE-KUBELET-CANARY"),
            ("mangle", "KUBE-IPTABLES-HINT"),
            ("filter", "KUBE-SVC-ABCDEFGHIJKLMNOP"),
            ("nat", "KUBE-SVC-"),
            ("nat", "KUBE-SVC-A B"),
            ("nat", "KUBE-HOSTPORTS"),
            ("nat", "KUBE-ROUTER-SERVICES"),
            ("nat", "PREROUTING"),
            ("raw", "KUBE-SERVICES"),
        ] {
            assert!(!is_chain(table, chain), "{table} {chain}");
        }
        for (table, chain) in
            [("nat", "KUBE-SEP-ABCDEFGHIJKLMNOP"), ("filter", "KUBE-FORWARD"), ("mangle", "KUBE-PROXY-CANARY")]
        {
            assert!(is_chain(table, chain), "{table} {chain}");
        }
    }

    #[test]
    fn names_of_ipsets_fit_the_kernel_in_both_families() {
        let names = ipsets();
        assert_eq!(names.len(), 2 * IPSETS.len());
        assert!(names.iter().all(|name| name.len() <= LONGEST_IPSET));
        assert!(names.contains(&"KUBE-6-LOAD-BALANCER-SOURCE-CID".to_owned()), "{names:?}");
    }
}
