//! Gathering facts: everything that reads the node is in this file.

use std::collections::BTreeSet;
use std::path::Path;

use super::config::ProxyConfig;
use super::facts::{DropPolicy, Facts, NftProgram, ProxyMetrics, SysctlSwitch};
use crate::apply::{BackendChoice, BackendOptions, Error, ForeignChain, Netlink, Nft};
use crate::host::kernel_has_ipv6;
use crate::takeover::{
    self, HEALTH_PORT, KubeProxyArtifacts, METRICS_PORT, ProxyPorts, fetch_page, find_running_proxy, interfaces,
};

/// The kernel's numbers of two hooks (`NF_INET_LOCAL_IN`, `NF_INET_FORWARD`).
const HOOK_INPUT: u32 = 1;
const HOOK_FORWARD: u32 = 2;

/// The folders of pinned eBPF programs and maps.
const PIN_FOLDERS: [&str; 3] = ["/sys/fs/bpf", "/sys/fs/bpf/tc", "/sys/fs/bpf/tc/globals"];

/// Reads all facts about this node, without changing anything. `backend` is the backend that Pointsman would use here.
///
/// # Errors
///
/// If the kernel does not show its nf_tables.
pub async fn gather(config: Option<ProxyConfig>, backend: &BackendOptions) -> Result<Facts, Error> {
    let mut netlink = Netlink::open()?;
    let traces = takeover::find_artifacts(&mut netlink).await?;
    let (tables, chains) = netlink.list_all().await?;
    let health_port = config.as_ref().and_then(|config| config.health_port).unwrap_or(HEALTH_PORT);
    let metrics_port = config.as_ref().and_then(|config| config.metrics_port).unwrap_or(METRICS_PORT);
    let mut not_inspected = traces.unseen.clone();
    let interfaces = interfaces().await.unwrap_or_else(|error| {
        not_inspected.push(format!("cannot list this host's interfaces: {error}"));
        Vec::new()
    });
    Ok(Facts {
        kernel: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
        modes: traces.modes(),
        places: places(&traces),
        not_inspected,
        legacy: traces.in_legacy().next().is_some(),
        kept: kept(&traces),
        running: find_running_proxy(&ProxyPorts::with(Some(health_port), Some(metrics_port))).await,
        health_port,
        metrics: fetch_page(metrics_port, "/metrics").await.map(|page| metrics(&page)).unwrap_or_default(),
        config,
        interfaces,
        dropping: chains.iter().filter_map(drop_policy).chain(legacy_drop_policies(&traces)).collect(),
        tables: tables.iter().map(|table| format!("{} {}", table.family, table.name)).collect(),
        ipv6: kernel_has_ipv6() && sysctl("/proc/sys/net/ipv6/conf/all/disable_ipv6") != Some(true),
        forwards_ipv4: sysctl("/proc/sys/net/ipv4/ip_forward"),
        forwards_ipv6: sysctl("/proc/sys/net/ipv6/conf/all/forwarding"),
        route_localnet: sysctl("/proc/sys/net/ipv4/conf/all/route_localnet"),
        tcp_be_liberal: sysctl("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal"),
        nft: nft_program(backend).await,
        pinned: PIN_FOLDERS.iter().flat_map(|folder| names(Path::new(folder))).collect(),
        other_ipvs: traces.ipvs.foreign.len(),
    })
}

/// The nft program, as far as the chosen backend uses it.
async fn nft_program(backend: &BackendOptions) -> NftProgram {
    let find = async || match Nft::find(&backend.nft_file()).await {
        Ok(nft) => Ok(nft.version().to_owned()),
        Err(error) => Err(error.to_string()),
    };
    match backend.choice {
        BackendChoice::Netlink => NftProgram::NotNeeded,
        BackendChoice::Auto => NftProgram::Fallback(find().await),
        BackendChoice::Nft => NftProgram::Needed(find().await),
    }
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

/// The policy of a base chain at hook input or forward, if it is drop.
fn drop_policy(chain: &ForeignChain) -> Option<DropPolicy> {
    let base = chain.base.filter(|base| base.drops)?;
    let relevant =
        matches!(chain.table.family, "ip" | "ip6" | "inet") && matches!(base.hook, HOOK_INPUT | HOOK_FORWARD);
    relevant.then(|| DropPolicy {
        place: format!("chain {}, table {} {}", chain.name, chain.table.family, chain.table.name),
        forward: base.hook == HOOK_FORWARD,
    })
}

fn legacy_drop_policies(traces: &KubeProxyArtifacts) -> Vec<DropPolicy> {
    let policies = |legacy: &takeover::LegacyIptables| {
        let family = legacy.family.nft();
        let chains = legacy.ruleset.dropping().into_iter().filter(|chain| matches!(*chain, "INPUT" | "FORWARD"));
        let policy = |chain: &str| DropPolicy {
            place: format!("chain {chain}, table {family} filter of iptables-legacy"),
            forward: chain == "FORWARD",
        };
        chains.map(policy).collect::<Vec<_>>()
    };
    traces.iptables_legacy.iter().flat_map(|(legacy, _)| policies(legacy)).collect()
}

/// kube-proxy's counters from its metrics page, each summed over its labels.
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

fn sysctl(path: &str) -> SysctlSwitch {
    read(path).map(|value| value != "0")
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_labels_and_missing_ones_are_none() {
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
