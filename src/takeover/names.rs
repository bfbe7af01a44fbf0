//! The names of kube-proxy's tables, chains, ipsets and link, in each of its modes.

/// The name of its two tables in nftables mode.
pub const KUBE_PROXY_TABLE: &str = "kube-proxy";

/// The dummy link that holds the virtual addresses in ipvs mode.
pub const IPVS_LINK: &str = "kube-ipvs0";

/// The longest name that an ipset can have, in bytes.
const MAX_IPSET_NAME: usize = 31;

/// The tables of iptables that kube-proxy writes to.
pub(super) const IPTABLES_TABLES: [&str; 3] = ["nat", "filter", "mangle"];

/// The chains that rules of built-in chains jump to, by table and for all modes: this is how packets get to kube-proxy's rules.
const ENTRY_CHAINS: [(&str, &[&str]); 2] = [
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

/// The other chains with fixed names, by table.
///
/// Left out, because the kubelet has them too: KUBE-FIREWALL, KUBE-MARK-DROP, KUBE-KUBELET-CANARY, KUBE-IPTABLES-HINT.
const FIXED_CHAINS: [(&str, &[&str]); 3] = [
    ("nat", &["KUBE-NODEPORTS", "KUBE-MARK-MASQ", "KUBE-PROXY-CANARY", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER"]),
    ("filter", &["KUBE-PROXY-CANARY"]),
    ("mangle", &["KUBE-PROXY-CANARY"]),
];

/// What names of the chains of Services and endpoints begin with, in the table nat.
const SERVICE_CHAIN_PREFIXES: [&str; 6] = ["KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-", "KUBE-XLB-"];

/// The IPv4 ipsets of ipvs mode.
const IPV4_IPSETS: [&str; 17] = [
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

/// Whether kube-proxy makes rules of built-in chains of this table jump to this chain.
pub(super) fn is_entry_chain(table: &str, chain: &str) -> bool {
    ENTRY_CHAINS.iter().any(|(of, chains)| *of == table && chains.contains(&chain))
}

/// Whether this chain of this table of iptables is kube-proxy's.
pub(super) fn is_kube_proxy_chain(table: &str, chain: &str) -> bool {
    let fixed = FIXED_CHAINS.iter().any(|(of, chains)| *of == table && chains.contains(&chain));
    let rest = SERVICE_CHAIN_PREFIXES.iter().find_map(|prefix| chain.strip_prefix(prefix));
    let of_service = rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    fixed || is_entry_chain(table, chain) || (table == "nat" && of_service)
}

/// The names of kube-proxy's ipsets, of both families.
pub(super) fn ipset_names() -> Vec<String> {
    let of_ipv6 = |name: &str| {
        let mut name = name.replacen("KUBE-", "KUBE-6-", 1);
        name.truncate(MAX_IPSET_NAME);
        name
    };
    IPV4_IPSETS.iter().map(|name| (*name).to_owned()).chain(IPV4_IPSETS.iter().map(|name| of_ipv6(name))).collect()
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
            assert!(!is_kube_proxy_chain(table, chain), "{table} {chain}");
        }
        for (table, chain) in
            [("nat", "KUBE-SEP-ABCDEFGHIJKLMNOP"), ("filter", "KUBE-FORWARD"), ("mangle", "KUBE-PROXY-CANARY")]
        {
            assert!(is_kube_proxy_chain(table, chain), "{table} {chain}");
        }
    }

    #[test]
    fn ipset_names_of_both_families_fit_the_kernel() {
        let names = ipset_names();
        assert_eq!(names.len(), 2 * IPV4_IPSETS.len());
        assert!(names.iter().all(|name| name.len() <= MAX_IPSET_NAME));
        assert!(names.contains(&"KUBE-6-LOAD-BALANCER-SOURCE-CID".to_owned()), "{names:?}");
    }
}
