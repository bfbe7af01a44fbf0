//! Nodes: eligibility, zone, addresses and pod networks.

use std::net::IpAddr;

use ipnet::IpNet;

use super::address::{parse_ip, parse_network};
use super::{Interner, NotProxied, WatchedKind, cluster_scoped, note_list, object};
use crate::state::{Decoded, Event, Few, Kind, Node, ObjectName, Problem, Reason};
use crate::watch::wire;

/// The taint by which the cluster autoscaler announces that it will remove a node (KEP-3836).
const SCALED_DOWN: &str = "ToBeDeletedByClusterAutoscaler";

/// The address of a node and, if it has one, that of the other family: internal addresses come before external ones.
fn node_addresses(
    wire: wire::LooseList<wire::LooseObject<wire::NodeAddressFields>>,
    problems: &mut Vec<Problem>,
) -> Vec<IpAddr> {
    note_list(&wire, "status.addresses", Reason::BadAddress, problems);
    let (mut internal, mut external) = (Vec::new(), Vec::new());
    for (i, addr) in wire.into_vec().into_iter().enumerate() {
        let addr = addr.or_default();
        let of_kind = match addr.kind.as_str() {
            Some("InternalIP") => &mut internal,
            Some("ExternalIP") => &mut external,
            _ => continue,
        };
        // Protobuf does not tell an empty text from none.
        let given = if addr.address.as_str() == Some("") { wire::Scalar::default() } else { addr.address };
        match given.as_str().and_then(parse_ip) {
            Some(addr) => of_kind.push(addr),
            None => {
                let field = format!("status.addresses[{i}].address");
                problems.push(Problem::new(field, Reason::BadAddress, &given));
            }
        }
    }
    let mut found: Vec<IpAddr> = Vec::new();
    for addr in internal.into_iter().chain(external) {
        if !found.iter().any(|known| known.is_ipv4() == addr.is_ipv4()) {
            found.push(addr);
        }
    }
    found
}

/// The networks of a node's pods.
fn pod_networks(wire: wire::LooseList<wire::Scalar>, problems: &mut Vec<Problem>) -> Vec<IpNet> {
    note_list(&wire, "spec.podCIDRs", Reason::BadAddress, problems);
    let mut found = Vec::new();
    for (i, text) in wire.into_vec().into_iter().enumerate() {
        match text.as_str().and_then(parse_network) {
            Some(network) => found.push(network),
            None => problems.push(Problem::new(format!("spec.podCIDRs[{i}]"), Reason::BadAddress, &text)),
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
        let mut problems = Vec::new();
        let addresses = node_addresses(wire.status.or_default().addresses, &mut problems);
        let pod_cidrs = pod_networks(spec.pod_cidrs, &mut problems);
        Ok(object(Self {
            name,
            deleting: metadata.deletion_timestamp.is_set(),
            scaled_down: taints.into_iter().any(|taint| taint.or_default().key.as_str() == Some(SCALED_DOWN)),
            zone: metadata.labels.or_default().zone.non_empty().map(|zone| names.share(zone)),
            addresses,
            pod_cidrs,
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
        let problems: Vec<_> = node.problems.iter().map(Problem::explanation).collect();
        assert_eq!(problems, ["spec.podCIDRs[1]: banana (no address or network that can be used here)"]);
    }

    #[test]
    fn addresses_and_networks_of_a_node_that_cannot_be_read_are_named() {
        let json = r#"{"metadata":{"name":"n"},"spec":{"podCIDRs":"10.0.0.0/8"},
            "status":{"addresses":[{"type":"Hostname","address":"n"},{"type":"InternalIP","address":"192.0.2.256"},
            {"type":"InternalIP","address":"192.0.2.2"},{"type":"ExternalIP"}]}}"#;
        let node = node(json);
        assert_eq!(node.addresses, ["192.0.2.2".parse::<IpAddr>().unwrap()]);
        let problems: Vec<_> = node.problems.iter().map(|problem| (&*problem.field, &*problem.found)).collect();
        let expected = [
            ("status.addresses[1].address", "192.0.2.256"),
            ("status.addresses[3].address", "no value"),
            ("spec.podCIDRs", "10.0.0.0/8"),
        ];
        assert_eq!(problems, expected);
    }
}
