//! Nodes: eligibility, zone, addresses and pod networks.

use std::net::IpAddr;

use super::address::{parse_ip, parse_network};
use super::{Interner, NotProxied, WatchedKind, cluster_scoped, object};
use crate::state::{Decoded, Event, Few, Kind, Node, ObjectName, Problem};
use crate::watch::wire;

/// The taint by which the cluster autoscaler announces that it will remove a node (KEP-3836).
const SCALED_DOWN: &str = "ToBeDeletedByClusterAutoscaler";

/// The address of a node and, if it has one, that of the other family: internal addresses come before external ones.
fn node_addresses(wire: wire::LooseList<wire::LooseObject<wire::NodeAddressFields>>) -> Vec<IpAddr> {
    let all: Vec<wire::NodeAddressFields> = wire.into_vec().into_iter().map(wire::LooseObject::or_default).collect();
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

impl WatchedKind for Node {
    type Wire = wire::NodeFields;
    const KIND: Kind = Kind::Node;
    const RESET: fn(Vec<Decoded<Self>>) -> Event = Event::NodesReset;
    const APPLIED: fn(Decoded<Self>) -> Event = Event::NodeApplied;
    const DELETED: fn(ObjectName) -> Event = Event::NodeDeleted;

    fn metadata(wire: &wire::NodeFields) -> &wire::LooseObject<wire::MetadataFields> {
        &wire.metadata
    }

    fn decode(wire: wire::NodeFields, names: &mut Interner) -> Result<Decoded<Self>, NotProxied> {
        let metadata = wire.metadata.or_default();
        let name = match cluster_scoped(&metadata) {
            Ok(name) => name,
            Err(unreadable) => return Ok(unreadable),
        };
        let spec = wire.spec.or_default();
        let taints = spec.taints.into_vec();
        let pod_cidrs = spec.pod_cidrs.into_vec();
        Ok(object(Self {
            name,
            deleting: metadata.deletion_timestamp.is_set(),
            scaled_down: taints.into_iter().any(|taint| taint.or_default().key.as_str() == Some(SCALED_DOWN)),
            zone: metadata.labels.or_default().zone.non_empty().map(|zone| names.share(zone)),
            addresses: node_addresses(wire.status.or_default().addresses),
            pod_cidrs: pod_cidrs.iter().filter_map(|cidr| parse_network(cidr.as_str()?)).collect(),
        }))
    }

    fn name(&self) -> &ObjectName {
        &self.name
    }

    fn problems(&mut self) -> Option<&mut Few<Problem>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn node(json: &str) -> Arc<Node> {
        match Node::decode(serde_json::from_str(json).unwrap(), &mut Interner::default()) {
            Ok(Decoded::Object(node)) => node,
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
}
