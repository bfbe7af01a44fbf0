//! Services: which ones a Service proxy serves, their cluster IPs and ports.

use std::net::IpAddr;
use std::num::{NonZeroU16, NonZeroU32};

use ipnet::IpNet;

use super::address::{is_virtual, parse_ip, parse_network};
use super::port::{number_or_none, usable_ports};
use super::{Interner, NotProxied, WatchedKind, namespaced, note_list, object};
use crate::dataplane::Family;
use crate::state::{Decoded, Event, Few, Kind, ObjectName, Problem, Reason, Service, ServicePort};
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
        if elsewhere || spec.kind.as_str() == Some("ExternalName") || !has_cluster_ip(&spec) {
            return Err(NotProxied(name));
        }
        let mut problems = Vec::new();
        let internal_traffic_local = spec.internal_traffic_policy.as_str() == Some("Local");
        let cluster_ips = cluster_ips(spec.cluster_ip, spec.cluster_ips, spec.ip_families, &mut problems);
        let ports = ports(spec.ports, names, &mut problems);
        let session_affinity = match spec.session_affinity.as_str() {
            Some("ClientIP") => Some(affinity_timeout(spec.session_affinity_config, &mut problems)),
            _ => None,
        };
        let external_ips = external_ips(spec.external_ips, &mut problems);
        let load_balancer_ips = load_balancer_ips(wire.status.or_default(), &mut problems);
        let source_ranges = source_ranges(spec.load_balancer_source_ranges, &mut problems);
        // The external policy counts only on a Service that can be reached from outside.
        let reachable = match spec.kind.as_str() {
            Some("LoadBalancer" | "NodePort") => true,
            _ => !external_ips.is_empty(),
        };
        let external_traffic_local = reachable && spec.external_traffic_policy.as_str() == Some("Local");
        let has_check = external_traffic_local && spec.kind.as_str() == Some("LoadBalancer");
        let health_check_node_port =
            if has_check { health_check(&spec.health_check_node_port, &mut problems) } else { None };
        let created = metadata.creation_timestamp.as_str().and_then(|text| text.parse().ok());
        Ok(object(Self {
            name,
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

    fn problems(&mut self) -> Option<&mut Few<Problem>> {
        Some(&mut self.problems)
    }
}

/// Whether there is a cluster IP: `None` marks a headless Service. A manifest may set only `clusterIP` or only `clusterIPs`; the
/// API server always fills both.
fn has_cluster_ip(spec: &wire::ServiceSpecFields) -> bool {
    let first_of_list = || match &spec.cluster_ips {
        wire::LooseList::List(addrs) => addrs.first(),
        wire::LooseList::Wrong(_) => None,
    };
    let given = |found: &wire::Scalar| found.is_set() && found.as_str() != Some("");
    let addr = if given(&spec.cluster_ip) { Some(&spec.cluster_ip) } else { first_of_list() };
    addr.is_some_and(|addr| given(addr) && addr.as_str() != Some("None"))
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
        addrs = vec![("spec.clusterIP".to_owned(), single)];
    }
    let mut found: Vec<IpAddr> = Vec::with_capacity(addrs.len().min(2));
    for (i, (field, text)) in addrs.into_iter().enumerate() {
        let family = match families.get(i) {
            None if families.is_empty() => None,
            // An address beyond the list of families belongs to none.
            None => continue,
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
        match addr.filter(|addr| family.is_none_or(|family| family == Family::of(*addr))) {
            // The first of a family counts, as to kube-proxy.
            Some(addr) if !found.iter().any(|known| Family::of(*known) == Family::of(addr)) => found.push(addr),
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

fn source_ranges(wire: wire::LooseList<wire::Scalar>, problems: &mut Vec<Problem>) -> Vec<IpNet> {
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
mod tests {
    use std::sync::Arc;

    use super::*;

    fn decode(json: &str) -> Result<Decoded<Service>, NotProxied> {
        Service::decode(serde_json::from_str(json).unwrap(), &mut Interner::default())
    }

    fn service(spec: &str) -> Arc<Service> {
        let json = format!(r#"{{"metadata":{{"name":"web","namespace":"shop"}},"spec":{spec}}}"#);
        match decode(&json) {
            Ok(Decoded::Object(service)) => service,
            other => panic!("{spec}: {other:?}"),
        }
    }

    fn ips(spec: &str) -> Vec<String> {
        service(spec).cluster_ips.iter().map(ToString::to_string).collect()
    }

    fn problems(spec: &str) -> Vec<(String, Reason, String)> {
        service(spec).problems.iter().map(|p| (p.field.clone(), p.reason, p.found.clone())).collect()
    }

    fn problem(field: &str, reason: Reason, found: &str) -> (String, Reason, String) {
        (field.to_owned(), reason, found.to_owned())
    }

    #[test]
    fn a_whole_service_is_read() {
        let json = r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"shop","labels":{"a":"b"},
            "creationTimestamp":"2026-01-02T03:04:05Z","managedFields":[{}]},"spec":{"type":"ClusterIP","clusterIP":
            "10.96.0.10","clusterIPs":["10.96.0.10","fd00::10"],"ipFamilies":["IPv4","IPv6"],"internalTrafficPolicy":
            "Local","sessionAffinity":"None","ports":[{"name":"http","port":80,"targetPort":"web"},{"name":"dns",
            "protocol":"UDP","port":53,"nodePort":30053}]},"status":{"loadBalancer":{}}}"#;
        let Ok(Decoded::Object(service)) = decode(json) else { panic!() };
        assert_eq!(service.name, ObjectName::new("shop", "web"));
        assert_eq!(service.created.unwrap().to_string(), "2026-01-02T03:04:05Z");
        assert_eq!(service.cluster_ips, ["10.96.0.10".parse::<IpAddr>().unwrap(), "fd00::10".parse().unwrap()]);
        assert!(service.internal_traffic_local);
        let ports: Vec<_> = service.ports.iter().map(|p| (&*p.name, p.protocol.nft(), p.port)).collect();
        assert_eq!(ports, [("http", "tcp", 80), ("dns", "udp", 53)]);
        assert!(service.problems.is_empty());
    }

    #[test]
    fn external_addresses_ranges_and_node_ports_are_read_and_bad_ones_named() {
        let json = r#"{"metadata":{"name":"web","namespace":"shop"},"spec":{"type":"LoadBalancer","clusterIP":"10.96.0.10",
            "externalTrafficPolicy":"Local","externalIPs":["198.51.100.1"," ","banana","0.0.0.0"],
            "loadBalancerSourceRanges":[" 203.0.113.7/25 ","x"],"sessionAffinity":"ClientIP",
            "ports":[{"port":80,"nodePort":30080},{"port":81,"nodePort":0},{"port":82,"nodePort":99999}]},
            "status":{"loadBalancer":{"ingress":[{"ip":"198.51.100.9"},{"hostname":"lb"},{"ip":"198.51.100.8","ipMode":"Proxy"},
            {"ip":"127.0.0.1"},{"ip":"198.51.100.7","ipMode":"VIP"}]}}}"#;
        let Ok(Decoded::Object(service)) = decode(json) else { panic!() };
        let text = |ips: &[IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(text(&service.external_ips), ["198.51.100.1"]);
        assert_eq!(text(&service.load_balancer_ips), ["198.51.100.9", "198.51.100.7"]);
        assert_eq!(*service.source_ranges, ["203.0.113.0/25".parse().unwrap()]);
        assert!(service.external_traffic_local);
        let node_ports: Vec<_> = service.ports.iter().map(|port| port.node_port.map(u16::from)).collect();
        assert_eq!(node_ports, [Some(30080), None, None]);
        let fields: Vec<_> = service.problems.iter().map(|problem| (problem.field.as_str(), problem.reason)).collect();
        assert_eq!(
            fields,
            [
                ("spec.ports[2].nodePort", Reason::BadPort),
                ("spec.externalIPs[2]", Reason::BadAddress),
                ("spec.externalIPs[3]", Reason::BadAddress),
                ("status.loadBalancer.ingress[3].ip", Reason::BadAddress),
                ("spec.loadBalancerSourceRanges[1]", Reason::BadAddress),
                ("spec.healthCheckNodePort", Reason::BadPort),
            ]
        );
    }

    #[test]
    fn the_external_policy_counts_only_where_the_service_can_be_reached_from_outside() {
        for (more, local) in [
            (r#""type":"NodePort""#, true),
            (r#""type":"LoadBalancer""#, true),
            (r#""type":"ClusterIP""#, false),
            (r#""externalIPs":["198.51.100.1"]"#, true),
        ] {
            let spec = format!(r#"{{"clusterIP":"10.0.0.1","externalTrafficPolicy":"Local",{more}}}"#);
            assert_eq!(service(&spec).external_traffic_local, local, "{spec}");
        }
    }

    #[test]
    fn session_affinity_lasts_as_long_as_asked_for_or_three_hours() {
        let affinity = |more: &str| {
            let spec = format!(r#"{{"clusterIP":"10.0.0.1","ports":[{{"port":80}}],{more}}}"#);
            (service(&spec).session_affinity.map(NonZeroU32::get), problems(&spec))
        };
        let config = |seconds: &str| {
            format!(
                r#""sessionAffinity":"ClientIP","sessionAffinityConfig":{{"clientIP":{{"timeoutSeconds":{seconds}}}}}"#
            )
        };
        assert_eq!(affinity(&config("90")), (Some(90), vec![]));
        assert_eq!(affinity(&config("86400")), (Some(86_400), vec![]));
        assert_eq!(affinity(r#""sessionAffinity":"ClientIP""#), (Some(10_800), vec![]));
        assert_eq!(affinity(&config("90").replace("ClientIP\"", "None\"")), (None, vec![]));
        for bad in ["0", "-1", "86401", "\"long\"", "99999999999"] {
            let (seconds, problems) = affinity(&config(bad));
            assert_eq!((seconds, problems.len()), (Some(10_800), 1), "{bad}: {problems:?}");
        }
    }

    #[test]
    fn only_a_load_balancer_of_local_traffic_has_a_health_check_port() {
        let check = |kind: &str, policy: &str, port: &str| {
            let spec = format!(
                r#"{{"type":"{kind}","clusterIP":"10.0.0.1","externalTrafficPolicy":"{policy}"{port},"ports":[{{"port":80}}]}}"#
            );
            (service(&spec).health_check_node_port.map(NonZeroU16::get), problems(&spec))
        };
        let port = r#","healthCheckNodePort":32000"#;
        assert_eq!(check("LoadBalancer", "Local", port), (Some(32_000), vec![]));
        for (kind, policy) in [("LoadBalancer", "Cluster"), ("NodePort", "Local"), ("ClusterIP", "Local")] {
            assert_eq!(check(kind, policy, port), (None, vec![]), "{kind} {policy}");
        }
        for (port, found) in [
            (r#","healthCheckNodePort":0"#, "0"),
            (r#","healthCheckNodePort":70000"#, "70000"),
            (r#","healthCheckNodePort":"http""#, "http"),
            ("", "nothing"),
        ] {
            let expected = problem("spec.healthCheckNodePort", Reason::BadPort, found);
            assert_eq!(check("LoadBalancer", "Local", port), (None, vec![expected]));
            assert_eq!(check("LoadBalancer", "Cluster", port), (None, vec![]), "ignored");
        }
    }

    #[test]
    fn headless_external_and_foreign_services_are_not_proxied() {
        for json in [
            r#"{"metadata":{"name":"x","namespace":"n"},"spec":{"clusterIP":"None"}}"#,
            r#"{"metadata":{"name":"x","namespace":"n"},"spec":{"clusterIP":""}}"#,
            r#"{"metadata":{"name":"x","namespace":"n"},"spec":{}}"#,
            r#"{"metadata":{"name":"x","namespace":"n"}}"#,
            r#"{"metadata":{"name":"x","namespace":"n"},"spec":{"clusterIPs":["None"]}}"#,
            r#"{"metadata":{"name":"x","namespace":"n"},"spec":{"type":"ExternalName","clusterIP":"10.0.0.1"}}"#,
            r#"{"metadata":{"name":"x","namespace":"n","labels":{"service.kubernetes.io/service-proxy-name":""}},
                "spec":{"clusterIP":"10.0.0.1"}}"#,
        ] {
            assert_eq!(decode(json), Err(NotProxied(ObjectName::new("n", "x"))), "{json}");
        }
    }

    #[test]
    fn each_family_takes_its_first_cluster_ip() {
        let none: &[&str] = &[];
        for (spec, expected) in [
            (r#"{"clusterIP":"10.0.0.1"}"#, &["10.0.0.1"] as &[&str]),
            (r#"{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1","fd00::1"]}"#, &["10.0.0.1"]),
            (r#"{"clusterIPs":["fd00::1"]}"#, &["fd00::1"]),
            (r#"{"clusterIP":"10.0.0.1","ipFamilies":["IPv4"]}"#, &["10.0.0.1"]),
            (
                r#"{"clusterIP":"fd00::1","clusterIPs":["fd00::1","10.0.0.1"],"ipFamilies":["IPv6","IPv4"]}"#,
                &["fd00::1", "10.0.0.1"],
            ),
            (r#"{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1","fd00::1"],"ipFamilies":["IPv4"]}"#, &["10.0.0.1"]),
            (
                r#"{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1","10.0.0.2"],"ipFamilies":["IPv4","IPv4"]}"#,
                &["10.0.0.1"],
            ),
            (r#"{"clusterIP":"172.30.0.041"}"#, &["172.30.0.41"]),
            (r#"{"clusterIP":"banana"}"#, none),
        ] {
            assert_eq!(ips(spec), expected, "{spec}");
        }
    }

    #[test]
    fn a_bad_cluster_ip_is_named_and_the_other_family_works() {
        let spec = r#"{"clusterIP":"banana","clusterIPs":["banana","fd00::1"],"ipFamilies":["IPv4","IPv6"],"ports":[{"port":1}]}"#;
        assert_eq!(ips(spec), ["fd00::1"]);
        assert_eq!(problems(spec), [problem("spec.clusterIPs[0]", Reason::BadAddress, "banana")]);
        let spec = r#"{"clusterIP":"127.0.0.1","ports":[{"port":1}]}"#;
        assert_eq!(problems(spec), [problem("spec.clusterIP", Reason::BadAddress, "127.0.0.1")]);
        let spec = r#"{"clusterIPs":["10.0.0.1"],"ipFamilies":["IPv5"],"ports":[{"port":1}]}"#;
        assert_eq!(problems(spec), [problem("spec.ipFamilies[0]", Reason::UnsupportedAddressType, "IPv5")]);
    }

    #[test]
    fn a_bad_port_costs_only_itself() {
        let spec = r#"{"clusterIP":"10.0.0.1","ports":[{"port":99999},{"port":"http"},{"port":0},{"port":-1},{"port":80.5},
            {"port":null},"x",{"port":{}},{"port":53,"protocol":"ICMP"},{"name":"good","port":443}]}"#;
        assert_eq!(service(spec).ports.len(), 1);
        assert_eq!(
            problems(spec),
            [
                problem("spec.ports[0].port", Reason::BadPort, "99999"),
                problem("spec.ports[1].port", Reason::BadPort, "http"),
                problem("spec.ports[2].port", Reason::BadPort, "0"),
                problem("spec.ports[3].port", Reason::BadPort, "-1"),
                problem("spec.ports[4].port", Reason::BadPort, "80.5"),
                problem("spec.ports[5].port", Reason::BadPort, "nothing"),
                problem("spec.ports[6]", Reason::BadPort, "x"),
                problem("spec.ports[7].port", Reason::BadPort, "an object"),
                problem("spec.ports[8].protocol", Reason::BadProtocol, "ICMP"),
            ]
        );
    }

    #[test]
    fn a_service_without_ports_is_kept_and_named() {
        let no_ports = problem("spec.ports", Reason::NoPorts, "no ports");
        for spec in [r#"{"clusterIP":"10.0.0.1"}"#, r#"{"clusterIP":"10.0.0.1","ports":[]}"#] {
            assert_eq!(problems(spec), std::slice::from_ref(&no_ports));
        }
    }

    #[test]
    fn an_object_without_a_name_or_a_spec_is_unreadable() {
        let unreadable = |json| match decode(json) {
            Ok(Decoded::Unreadable(unreadable)) => (unreadable.0, unreadable.1.field),
            other => panic!("{json}: {other:?}"),
        };
        assert_eq!(unreadable("{}").1, "metadata.name");
        let spec = unreadable(r#"{"metadata":{"name":"x"},"spec":7}"#);
        assert_eq!(spec, (ObjectName::new("default", "x"), "spec".to_owned()));
    }
}
