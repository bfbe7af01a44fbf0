//! Services: which ones a Service proxy serves, their cluster IPs and ports.

use std::fmt;
use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};

use ipnet::IpNet;

use super::address::{is_virtual, parse_ip, parse_network};
use super::port::{number_or_none, usable_ports};
use super::{Interner, NotProxied, WatchedKind, namespaced, note_list, object};
use crate::dataplane::Family;
use crate::state::{Decoded, Event, Few, Identity, Kind, ObjectName, Problem, Reason, Service, ServicePort};
use crate::watch::wire;

impl WatchedKind for Service {
    type Wire = wire::ServiceFields;
    const KIND: Kind = Kind::Service;
    const RESET: fn(Vec<Decoded<Self>>) -> Event = Event::ServicesReset;
    const APPLIED: fn(Decoded<Self>) -> Event = Event::ServiceApplied;
    const DELETED: fn(ObjectName) -> Event = Event::ServiceDeleted;

    fn metadata(wire: &wire::ServiceFields) -> &wire::LooseObject<wire::MetadataFields> {
        &wire.metadata
    }

    fn decode(wire: wire::ServiceFields, names: &mut Interner) -> Result<Decoded<Self>, NotProxied> {
        let metadata = wire.metadata.or_default();
        let name = match namespaced(&metadata, names) {
            Ok(name) => name,
            Err(unreadable) => return Ok(unreadable),
        };
        let spec = match wire.spec {
            wire::LooseObject::Fields(spec) => spec,
            wire::LooseObject::Wrong(found) => {
                return Ok(Decoded::unreadable(name, Problem::new("spec", Reason::Undecodable, found)));
            }
        };
        let elsewhere = metadata.labels.or_default().service_proxy_name.is_some();
        let is_headless = first_cluster_ip(&spec).is_some_and(|addr| addr.as_str() == Some("None"));
        if elsewhere || is_headless || spec.kind.as_str() == Some("ExternalName") {
            return Err(NotProxied(name));
        }
        let mut problems = Vec::new();
        for (field, found, known) in [
            ("spec.type", &spec.kind, &["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"][..]),
            ("spec.sessionAffinity", &spec.session_affinity, &["None", "ClientIP"]),
            ("spec.internalTrafficPolicy", &spec.internal_traffic_policy, &["Cluster", "Local"]),
            ("spec.externalTrafficPolicy", &spec.external_traffic_policy, &["Cluster", "Local"]),
        ] {
            note_unknown(field, found, known, &mut problems);
        }
        let internal_traffic_local = spec.internal_traffic_policy.as_str() == Some("Local");
        // The API server gives each Service a cluster IP, but nothing does so with a manifest: without one, this says so.
        let cluster_ips = cluster_ips(spec.cluster_ip, spec.cluster_ips, spec.ip_families, &mut problems);
        let ports = ports(spec.ports, names, &mut problems);
        let session_affinity = match spec.session_affinity.as_str() {
            Some("ClientIP") => Some(affinity_timeout(spec.session_affinity_config, &mut problems)),
            _ => None,
        };
        let external_ips = external_ips(spec.external_ips, &mut problems);
        let load_balancer_ips = load_balancer_ips(wire.status.or_default(), &mut problems);
        let source_ranges = source_ranges(spec.load_balancer_source_ranges, &load_balancer_ips, &mut problems);
        // The external policy counts only on a Service that can be reached from outside.
        let reachable = match spec.kind.as_str() {
            Some("LoadBalancer" | "NodePort") => true,
            _ => !external_ips.is_empty(),
        };
        let external_traffic_local = reachable && spec.external_traffic_policy.as_str() == Some("Local");
        let has_check = external_traffic_local && spec.kind.as_str() == Some("LoadBalancer");
        let health_check_node_port =
            if has_check { health_check(&spec.health_check_node_port, &mut problems) } else { None };
        let created = metadata.creation_timestamp.at();
        Ok(object(Self {
            name,
            uid: Identity(metadata.uid.0),
            created,
            cluster_ips,
            internal_traffic_local,
            external_traffic_local,
            external_ips: external_ips.into(),
            load_balancer_ips: load_balancer_ips.into(),
            source_ranges: source_ranges.into(),
            session_affinity,
            health_check_node_port,
            ports,
            problems: problems.into(),
        }))
    }

    fn name(&self) -> &ObjectName {
        &self.name
    }

    fn problems(&mut self) -> &mut Few<Problem> {
        &mut self.problems
    }
}

/// Notes a value that the field does not know. None, and the empty text, stand for the default.
fn note_unknown(field: impl fmt::Display, found: &wire::Scalar, known: &[&str], problems: &mut Vec<Problem>) {
    if found.is_set() && !found.as_str().is_some_and(|text| text.is_empty() || known.contains(&text)) {
        problems.push(Problem::new(field.to_string(), Reason::UnknownValue, found));
    }
}

/// The first cluster IP, as it is given: the word `None` marks a headless Service. A manifest may set only `clusterIP` or only `clusterIPs`;
/// the API server always fills both.
fn first_cluster_ip(spec: &wire::ServiceSpecFields) -> Option<&wire::Scalar> {
    let first_of_list = || match &spec.cluster_ips {
        wire::LooseList::List(addrs) => addrs.first(),
        wire::LooseList::Wrong(_) => None,
    };
    let given = |found: &wire::Scalar| found.is_set() && found.as_str() != Some("");
    let first = if given(&spec.cluster_ip) { Some(&spec.cluster_ip) } else { first_of_list() };
    first.filter(|addr| given(addr))
}

/// The cluster IPs, at most one per family: `clusterIPs[i]` belongs to `ipFamilies[i]`. Without `ipFamilies` only `clusterIP`
/// counts.
fn cluster_ips(
    single: wire::Scalar,
    list: wire::LooseList<wire::Scalar>,
    families: wire::LooseList<wire::Scalar>,
    problems: &mut Vec<Problem>,
) -> Vec<IpAddr> {
    note_list(&list, "spec.clusterIPs", Reason::BadAddress, problems);
    let mut addrs: Vec<(String, wire::Scalar)> =
        list.into_vec().into_iter().enumerate().map(|(i, addr)| (format!("spec.clusterIPs[{i}]"), addr)).collect();
    let families = families.into_vec();
    if addrs.is_empty() || (families.is_empty() && single.is_set()) {
        for (field, text) in addrs.into_iter().filter(|(_, text)| *text != single) {
            problems.push(Problem::new(field, Reason::BadAddress, format!("{text}; spec.ipFamilies is missing")));
        }
        addrs = vec![("spec.clusterIP".to_owned(), single)];
    }
    let mut found: Vec<IpAddr> = Vec::with_capacity(addrs.len().min(2));
    for (i, (field, text)) in addrs.into_iter().enumerate() {
        let family = match families.get(i) {
            None if families.is_empty() => None,
            // An address beyond the list of families belongs to none.
            None => {
                problems.push(Problem::new(
                    field,
                    Reason::BadAddress,
                    format!("{text}; spec.ipFamilies has no entry for it"),
                ));
                continue;
            }
            Some(given) => match given.as_str() {
                Some("IPv4") => Some(Family::Ip),
                Some("IPv6") => Some(Family::Ip6),
                _ => {
                    let field = format!("spec.ipFamilies[{i}]");
                    problems.push(Problem::new(field, Reason::UnsupportedAddressType, given));
                    continue;
                }
            },
        };
        let addr = text.as_str().and_then(parse_ip).filter(|addr| is_virtual(*addr));
        match addr.filter(|addr| family.is_none_or(|family| family == Family::from_addr(*addr))) {
            // The first of a family counts, as to kube-proxy.
            Some(addr) if !found.iter().any(|known| Family::from_addr(*known) == Family::from_addr(addr)) => {
                found.push(addr)
            }
            Some(_) => {}
            None => problems.push(Problem::new(field, Reason::BadAddress, &text)),
        }
    }
    found.shrink_to_fit();
    found
}

/// The addresses of `externalIPs` that can be virtual ones. Blank entries are ignored.
fn external_ips(wire: wire::LooseList<wire::Scalar>, problems: &mut Vec<Problem>) -> Vec<IpAddr> {
    note_list(&wire, "spec.externalIPs", Reason::BadAddress, problems);
    let mut found = Vec::new();
    for (i, text) in wire.into_vec().into_iter().enumerate() {
        if text.as_str().is_some_and(|text| text.trim().is_empty()) {
            continue;
        }
        match text.as_str().and_then(|text| parse_ip(text.trim())).filter(|addr| is_virtual(*addr)) {
            Some(addr) => found.push(addr),
            None => problems.push(Problem::new(format!("spec.externalIPs[{i}]"), Reason::BadAddress, &text)),
        }
    }
    found
}

/// The addresses of load balancers, without those that must see the traffic themselves (`ipMode: Proxy`). Entries with only a
/// host name are ignored.
fn load_balancer_ips(status: wire::ServiceStatusFields, problems: &mut Vec<Problem>) -> Vec<IpAddr> {
    let ingress = status.load_balancer.or_default().ingress;
    note_list(&ingress, "status.loadBalancer.ingress", Reason::BadAddress, problems);
    let mut found = Vec::new();
    for (i, entry) in ingress.into_vec().into_iter().enumerate() {
        let entry = entry.or_default();
        note_unknown(
            format_args!("status.loadBalancer.ingress[{i}].ipMode"),
            &entry.ip_mode,
            &["VIP", "Proxy"],
            problems,
        );
        if entry.ip.non_empty().is_none() || entry.ip_mode.as_str() == Some("Proxy") {
            continue;
        }
        match entry.ip.as_str().and_then(parse_ip).filter(|addr| is_virtual(*addr)) {
            Some(addr) => found.push(addr),
            None => {
                let field = format!("status.loadBalancer.ingress[{i}].ip");
                problems.push(Problem::new(field, Reason::BadAddress, &entry.ip));
            }
        }
    }
    found
}

/// The sources that may use the load-balancer IPs. If ranges were left out and none remains in a family, the last problem says that
/// these addresses are open.
fn source_ranges(
    wire: wire::LooseList<wire::Scalar>,
    load_balancer_ips: &[IpAddr],
    problems: &mut Vec<Problem>,
) -> Vec<IpNet> {
    let before = problems.len();
    note_list(&wire, "spec.loadBalancerSourceRanges", Reason::BadAddress, problems);
    let mut found = Vec::new();
    for (i, text) in wire.into_vec().into_iter().enumerate() {
        match text.as_str().and_then(|text| parse_network(text.trim())) {
            Some(network) => found.push(network),
            None => {
                let field = format!("spec.loadBalancerSourceRanges[{i}]");
                problems.push(Problem::new(field, Reason::BadAddress, &text));
            }
        }
    }
    let is_open = |family: &Family| {
        let of_family = |addr: IpAddr| Family::from_addr(addr) == *family;
        let has_ip = load_balancer_ips.is_empty() || load_balancer_ips.iter().any(|addr| of_family(*addr));
        has_ip && !found.iter().any(|range| of_family(range.addr()))
    };
    let open: Vec<_> = Family::ALL.into_iter().filter(is_open).map(Family::label).collect();
    if let Some(last) = problems.get_mut(before..).and_then(<[Problem]>::last_mut)
        && !open.is_empty()
    {
        let open = open.join(" and ");
        last.found
            .push_str(&format!("; no range is left, so the load-balancer IPs are open to all sources over {open}"));
    }
    found
}

/// The health-check port of a Service that must have one. The API server never admits 0.
fn health_check(found: &wire::Scalar, problems: &mut Vec<Problem>) -> Option<NonZeroU16> {
    let port = number_or_none(found);
    if port.is_none() {
        problems.push(Problem::new("spec.healthCheckNodePort", Reason::BadPort, found));
    }
    port
}

/// How long a client keeps its endpoint, in seconds: 1 to 86,400, by default three hours, as in the API server.
fn affinity_timeout(config: wire::LooseObject<wire::SessionAffinityFields>, problems: &mut Vec<Problem>) -> NonZeroU32 {
    const DEFAULT: NonZeroU32 = NonZeroU32::new(10_800).unwrap();
    const MAX_SECONDS: u32 = 86_400;
    let found = config.or_default().client_ip.or_default().timeout_seconds;
    let seconds = match found {
        wire::Scalar::Integer(seconds) => u32::try_from(seconds).ok().filter(|seconds| *seconds <= MAX_SECONDS),
        _ => None,
    };
    let seconds = seconds.and_then(NonZeroU32::new);
    if seconds.is_none() && found.is_set() {
        let field = "spec.sessionAffinityConfig.clientIP.timeoutSeconds";
        problems.push(Problem::new(field, Reason::BadTimeout, &found));
    }
    seconds.unwrap_or(DEFAULT)
}

fn ports(
    wire: wire::LooseList<wire::LooseObject<wire::PortFields>>,
    names: &mut Interner,
    problems: &mut Vec<Problem>,
) -> Vec<ServicePort> {
    if matches!(&wire, wire::LooseList::List(ports) if ports.is_empty()) {
        problems.push(Problem::new("spec.ports", Reason::NoPorts, "no ports"));
    }
    usable_ports(wire, "spec.ports", names, problems, |name, protocol, port, node_port| ServicePort {
        name,
        protocol,
        port,
        node_port,
    })
}

#[cfg(test)]
mod tests;
