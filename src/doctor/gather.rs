//! Gathering facts: every look at the node is here.

use std::collections::BTreeSet;
use std::path::Path;

use super::config::ProxyConfig;
use super::facts::{Facts, NftProgram, Policy, ProxyMetrics, Setting};
use crate::apply::{Error, ForeignChain, Netlink};
use crate::takeover::{self, HEALTH_PORT, KubeProxyArtifacts, fetch_page, interfaces, probe_health_port};

/// The port of kube-proxy's metrics unless its configuration says otherwise.
const METRICS_PORT: u16 = 10249;

/// Hooks by the kernel's numbers.
const INPUT: u32 = 1;
const FORWARD: u32 = 2;

/// Where eBPF programs and maps are pinned.
const PINNED: [&str; 3] = ["/sys/fs/bpf", "/sys/fs/bpf/tc", "/sys/fs/bpf/tc/globals"];

/// Looks at everything. Nothing is changed.
///
/// # Errors
///
/// If the kernel does not show its nf_tables.
pub async fn gather(config: Option<ProxyConfig>, nft: NftProgram) -> Result<Facts, Error> {
    let mut netlink = Netlink::open()?;
    let traces = takeover::find_artifacts(&mut netlink).await?;
    let (tables, chains) = netlink.list_all().await?;
    let health_port = config.as_ref().and_then(|config| config.health_port).unwrap_or(HEALTH_PORT);
    let metrics_port = config.as_ref().and_then(|config| config.metrics_port).unwrap_or(METRICS_PORT);
    let mut unseen = traces.unseen.clone();
    let interfaces = interfaces().await.unwrap_or_else(|error| {
        unseen.push(format!("this host's interfaces cannot be listed: {error}"));
        Vec::new()
    });
    Ok(Facts {
        kernel: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
        modes: traces.modes(),
        places: places(&traces),
        unseen,
        legacy: traces.in_legacy().next().is_some(),
        kept: kept(&traces),
        answers: probe_health_port(health_port).await,
        health_port,
        metrics: fetch_page(metrics_port, "/metrics").await.map(|page| metrics(&page)).unwrap_or_default(),
        config,
        interfaces,
        dropping: chains.iter().filter_map(policy).chain(legacy_policies(&traces)).collect(),
        tables: tables.iter().map(|table| format!("{} {}", table.family, table.name)).collect(),
        ipv6: Path::new("/proc/net/if_inet6").exists()
            && setting("/proc/sys/net/ipv6/conf/all/disable_ipv6") != Some(true),
        forwards_ipv4: setting("/proc/sys/net/ipv4/ip_forward"),
        forwards_ipv6: setting("/proc/sys/net/ipv6/conf/all/forwarding"),
        route_localnet: setting("/proc/sys/net/ipv4/conf/all/route_localnet"),
        tcp_be_liberal: setting("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal"),
        nft,
        pinned: PINNED.iter().flat_map(|folder| names(Path::new(folder))).collect(),
        other_ipvs: traces.ipvs.foreign.len(),
        ipvs: traces.ipvs.of_kube_proxy.len(),
        ipvsadm: takeover::program_exists("ipvsadm"),
    })
}

fn places(traces: &KubeProxyArtifacts) -> Vec<String> {
    let tables = traces.tables.iter().map(|family| format!("table {} {}", family.nft(), takeover::KUBE_PROXY_TABLE));
    let nft = traces.iptables_nft.iter().map(|(family, _)| format!("{}, iptables-nft", family.nft()));
    let legacy = traces.in_legacy().map(|(legacy, _)| format!("{}, iptables-legacy", legacy.family.nft()));
    let link = traces.link.iter().map(|link| format!("link {}", link.name));
    let ipsets = (!traces.ipsets.is_empty()).then(|| format!("{} ipsets", traces.ipsets.len()));
    let ipvs = &traces.ipvs.of_kube_proxy;
    let services = (!ipvs.is_empty()).then(|| format!("{} virtual services of IPVS", ipvs.len()));
    tables.chain(nft).chain(legacy).chain(link).chain(ipsets).chain(services).collect()
}

fn kept(traces: &KubeProxyArtifacts) -> Vec<String> {
    let nft = traces.iptables_nft.iter().flat_map(|(_, selections)| selections.iter().flat_map(|s| s.kept.clone()));
    let legacy =
        traces.iptables_legacy.iter().flat_map(|(_, selections)| selections.iter().flat_map(|s| s.kept.clone()));
    let all: BTreeSet<String> =
        nft.chain(legacy).map(|kept| format!("{} (from {})", kept.chain, kept.jumped_from)).collect();
    all.into_iter().collect()
}

/// A base chain that drops what is forwarded or comes in.
fn policy(chain: &ForeignChain) -> Option<Policy> {
    let base = chain.base.filter(|base| base.drops)?;
    let for_packets = matches!(chain.table.family, "ip" | "ip6" | "inet") && matches!(base.hook, INPUT | FORWARD);
    for_packets.then(|| Policy {
        place: format!("chain {}, table {} {}", chain.name, chain.table.family, chain.table.name),
        forward: base.hook == FORWARD,
    })
}

fn legacy_policies(traces: &KubeProxyArtifacts) -> Vec<Policy> {
    let of_legacy = |legacy: &takeover::LegacyIptables| {
        let family = legacy.family.nft();
        let chains = legacy.ruleset.dropping().into_iter().filter(|chain| matches!(*chain, "INPUT" | "FORWARD"));
        let policy = |chain: &str| Policy {
            place: format!("chain {chain}, table {family} filter of iptables-legacy"),
            forward: chain == "FORWARD",
        };
        chains.map(policy).collect::<Vec<_>>()
    };
    traces.iptables_legacy.iter().flat_map(|(legacy, _)| of_legacy(legacy)).collect()
}

/// What kube-proxy counts, summed over labels.
fn metrics(page: &str) -> ProxyMetrics {
    let sum = |name: &str| {
        let samples = page.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let labelled = rest.starts_with('{') || rest.starts_with(' ');
            labelled.then(|| rest.rsplit(' ').next()?.parse::<f64>().ok())?
        });
        samples.fold(None, |sum: Option<f64>, value| Some(sum.unwrap_or(0.0) + value))
    };
    ProxyMetrics {
        localhost_node_ports: sum("kubeproxy_iptables_localhost_nodeports_accepted_packets_total"),
        invalid_dropped: sum("kubeproxy_iptables_ct_state_invalid_dropped_packets_total"),
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn setting(path: &str) -> Setting {
    read(path).map(|value| value != "0")
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_labels_and_missing_ones_are_unknown() {
        let page = "# HELP kubeproxy_iptables_localhost_nodeports_accepted_packets_total x\n\
                    kubeproxy_iptables_localhost_nodeports_accepted_packets_total 0\n\
                    kubeproxy_iptables_ct_state_invalid_dropped_packets_total{a=\"b c\"} 3\n\
                    kubeproxy_iptables_ct_state_invalid_dropped_packets_total{a=\"d\"} 1e1\n\
                    kubeproxy_iptables_ct_state_invalid_dropped_packets_total_other 9\n";
        let found = metrics(page);
        assert_eq!((found.localhost_node_ports, found.invalid_dropped), (Some(0.0), Some(13.0)));
        assert_eq!(metrics("go_goroutines 7\n"), ProxyMetrics::default());
    }
}
