//! ServiceCIDRs: the networks that cluster IPs come from.

use super::address::parse_network;
use super::{Interner, NotProxied, WatchedKind, cluster_scoped, note_list, object};
use crate::state::{Decoded, Event, Few, Identity, Kind, ObjectName, Problem, Reason, ServiceCidr};
use crate::watch::wire;

impl WatchedKind for ServiceCidr {
    type Wire = wire::ServiceCidrFields;
    const KIND: Kind = Kind::ServiceCidr;
    const RESET: fn(Vec<Decoded<Self>>) -> Event = Event::ServiceCidrsReset;
    const APPLIED: fn(Decoded<Self>) -> Event = Event::ServiceCidrApplied;
    const DELETED: fn(ObjectName) -> Event = Event::ServiceCidrDeleted;

    fn metadata(wire: &wire::ServiceCidrFields) -> &wire::LooseObject<wire::MetadataFields> {
        &wire.metadata
    }

    fn decode(wire: wire::ServiceCidrFields, _: &mut Interner) -> Result<Decoded<Self>, NotProxied> {
        let metadata = wire.metadata.or_default();
        let name = match cluster_scoped(&metadata) {
            Ok(name) => name,
            Err(unreadable) => return Ok(unreadable),
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
        Ok(object(Self { name, uid: Identity(metadata.uid.0), networks, problems: problems.into() }))
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
    use super::*;

    #[test]
    fn a_bad_cidr_costs_only_itself() {
        let json = r#"{"metadata":{"name":"kubernetes"},"spec":{"cidrs":["10.96.0.1/12","banana",7,"fd00::/108"]}}"#;
        let wire = serde_json::from_str(json).unwrap();
        let Ok(Decoded::Object(cidr)) = ServiceCidr::decode(wire, &mut Interner::default()) else { panic!() };
        let networks: Vec<_> = cidr.networks.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["10.96.0.0/12", "fd00::/108"]);
        assert_eq!(cidr.problems[0], Problem::new("spec.cidrs[1]", Reason::BadAddress, "banana"));
        assert_eq!(cidr.problems[1], Problem::new("spec.cidrs[2]", Reason::BadAddress, 7));
    }
}
