//! Nodes and ServiceCIDRs.

use std::net::IpAddr;

use super::address::{parse_ip, parse_network};
use super::{Interner, Outcome, Watched, cluster_scoped, note_list};
use crate::state::{Decoded, Event, Few, Kind, Node, ObjectName, Problem, Reason, ServiceCidr};
use crate::watch::wire;

/// The taint by which the cluster autoscaler announces that it will remove a node (KEP-3836).
const SCALED_DOWN: &str = "ToBeDeletedByClusterAutoscaler";

impl Watched for ServiceCidr {
    type Wire = wire::ServiceCidr;
    const KIND: Kind = Kind::ServiceCidr;

    fn metadata(wire: &wire::ServiceCidr) -> &wire::Loose<wire::Metadata> {
        &wire.metadata
    }

    fn decode(wire: wire::ServiceCidr, _: &mut Interner) -> Outcome<Self> {
        let name = match cluster_scoped(&wire.metadata.or_default()) {
            Ok(name) => name,
            Err((name, problem)) => return Outcome::Unreadable(name, problem),
        };
        let cidrs = wire.spec.or_default().cidrs;
        let (mut networks, mut problems) = (Vec::new(), Vec::new());
        note_list(&cidrs, "spec.cidrs", Reason::BadAddress, &mut problems);
        for (i, cidr) in cidrs.into_vec().into_iter().enumerate() {
            match cidr.as_str().and_then(parse_network) {
                Some(network) => networks.push(network),
                None => problems.push(Problem::new(format!("spec.cidrs[{i}]"), Reason::BadAddress, cidr)),
            }
        }
        Outcome::Ours(Self { name, networks, problems: problems.into() })
    }

    fn name(&self) -> &ObjectName {
        &self.name
    }

    fn problems(&mut self) -> Option<&mut Few<Problem>> {
        Some(&mut self.problems)
    }

    fn reset(all: Vec<Decoded<Self>>) -> Event {
        Event::ServiceCidrsReset(all)
    }

    fn applied(object: Decoded<Self>) -> Event {
        Event::ServiceCidrApplied(object)
    }

    fn deleted(name: ObjectName) -> Event {
        Event::ServiceCidrDeleted(name)
    }
}

/// The address of a node and, if it has one, that of the other family: internal addresses come before external ones.
fn node_addresses(wire: wire::Items<wire::Loose<wire::NodeAddress>>) -> Vec<IpAddr> {
    let all: Vec<wire::NodeAddress> = wire.into_vec().into_iter().map(wire::Loose::or_default).collect();
    let of_kind = |kind: &'static str| {
        all.iter()
            .filter(move |addr| addr.kind.as_str() == Some(kind))
            .filter_map(|addr| parse_ip(addr.address.as_str()?))
    };
    let mut found: Vec<IpAddr> = Vec::new();
    for addr in of_kind("InternalIP").chain(of_kind("ExternalIP")) {
        if !found.iter().any(|known| known.is_ipv4() == addr.is_ipv4()) {
            found.push(addr);
        }
    }
    found
}

impl Watched for Node {
    type Wire = wire::Node;
    const KIND: Kind = Kind::Node;

    fn metadata(wire: &wire::Node) -> &wire::Loose<wire::Metadata> {
        &wire.metadata
    }

    fn decode(wire: wire::Node, names: &mut Interner) -> Outcome<Self> {
        let metadata = wire.metadata.or_default();
        let name = match cluster_scoped(&metadata) {
            Ok(name) => name,
            Err((name, problem)) => return Outcome::Unreadable(name, problem),
        };
        let spec = wire.spec.or_default();
        let taints = spec.taints.into_vec();
        let pod_cidrs = spec.pod_cidrs.into_vec();
        Outcome::Ours(Self {
            name,
            deleting: metadata.deletion_timestamp.is_set(),
            scaled_down: taints.into_iter().any(|taint| taint.or_default().key.as_str() == Some(SCALED_DOWN)),
            zone: metadata.labels.or_default().zone.non_empty().map(|zone| names.share(zone)),
            addresses: node_addresses(wire.status.or_default().addresses),
            pod_cidrs: pod_cidrs.iter().filter_map(|cidr| parse_network(cidr.as_str()?)).collect(),
        })
    }

    fn name(&self) -> &ObjectName {
        &self.name
    }

    fn problems(&mut self) -> Option<&mut Few<Problem>> {
        None
    }

    fn reset(all: Vec<Decoded<Self>>) -> Event {
        Event::NodesReset(all)
    }

    fn applied(object: Decoded<Self>) -> Event {
        Event::NodeApplied(object)
    }

    fn deleted(name: ObjectName) -> Event {
        Event::NodeDeleted(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(json: &str) -> Node {
        match Node::decode(serde_json::from_str(json).unwrap(), &mut Interner::default()) {
            Outcome::Ours(node) => node,
            other => panic!("{json}: {other:?}"),
        }
    }

    #[test]
    fn a_node_that_goes_away_is_not_eligible() {
        assert!(node(r#"{"metadata":{"name":"n"},"spec":{"taints":[{"key":"other"}]}}"#).is_eligible());
        assert!(node(r#"{"metadata":{"name":"n","deletionTimestamp":null}}"#).is_eligible());
        assert!(node(r#"{"metadata":{"name":"n","deletionTimestamp":"2026-01-01T00:00:00Z"}}"#).deleting);
        let json = r#"{"metadata":{"name":"n"},"spec":{"taints":[7,{"key":"ToBeDeletedByClusterAutoscaler"}]}}"#;
        assert!(node(json).scaled_down);
    }

    #[test]
    fn a_node_tells_its_zone_its_addresses_and_the_networks_of_its_pods() {
        let json = r#"{"metadata":{"name":"n","labels":{"topology.kubernetes.io/zone":"zone-1"}},
            "spec":{"podCIDRs":["10.128.3.0/24","banana","fd00:128:3::/64"]},
            "status":{"addresses":[{"type":"ExternalIP","address":"203.0.113.1"},{"type":"ExternalIP","address":"2001:db8::1"},
            {"type":"Hostname","address":"n"},{"type":"InternalIP","address":"192.0.2.1"},
            {"type":"InternalIP","address":"192.0.2.2"},7]}}"#;
        let node = node(json);
        assert_eq!(node.zone.as_deref(), Some("zone-1"));
        let addresses: Vec<_> = node.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["192.0.2.1", "2001:db8::1"], "internal before external, one of each family");
        let pod_cidrs: Vec<_> = node.pod_cidrs.iter().map(ToString::to_string).collect();
        assert_eq!(pod_cidrs, ["10.128.3.0/24", "fd00:128:3::/64"]);
    }

    #[test]
    fn a_bad_cidr_costs_only_itself() {
        let json = r#"{"metadata":{"name":"kubernetes"},"spec":{"cidrs":["10.96.0.1/12","banana",7,"fd00::/108"]}}"#;
        let wire = serde_json::from_str(json).unwrap();
        let Outcome::Ours(cidr) = ServiceCidr::decode(wire, &mut Interner::default()) else { panic!() };
        let networks: Vec<_> = cidr.networks.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["10.96.0.0/12", "fd00::/108"]);
        assert_eq!(cidr.problems[0], Problem::new("spec.cidrs[1]", Reason::BadAddress, "banana"));
        assert_eq!(cidr.problems[1], Problem::new("spec.cidrs[2]", Reason::BadAddress, 7));
    }
}
