//! A hash of what was received that does not depend on the node: nodes that heard the same have the same.

use std::hash::Hasher;
use std::sync::Arc;

use fnv::FnvHasher;
use im::ordmap::DiffItem;
use serde::Serialize;

use super::cluster::Cluster;
use super::service_state::ServiceState;

/// Keeps the hash of a cluster up to date, at the cost of what changed since it was last asked for.
///
/// It covers every Service, EndpointSlice and ServiceCIDR as far as this proxy reads them: all fields of [`Service`](super::Service),
/// [`EndpointSlice`](super::EndpointSlice) and [`ServiceCidr`](super::ServiceCidr), with the names. Neither the Node nor the order in which
/// they were heard counts, nor labels, annotations and versions that the proxy does not read. An object that cannot be read counts as the
/// last version of it that could.
#[derive(Debug, Default)]
pub struct InputHash {
    cluster: Cluster,
    /// The sum of the hashes of all objects.
    sum: u64,
}

impl InputHash {
    /// The hash of this cluster.
    pub fn update(&mut self, cluster: &Cluster) -> u64 {
        let before = std::mem::replace(&mut self.cluster, cluster.clone());
        let (mut gone, mut new) = (0_u64, 0_u64);
        for change in before.services().diff(cluster.services()) {
            let (old, now) = match change {
                DiffItem::Add(_, state) => (None, Some(state)),
                DiffItem::Update { old: (_, old), new: (_, now) } => (Some(old), Some(now)),
                DiffItem::Remove(_, state) => (Some(state), None),
            };
            gone = gone.wrapping_add(old.map_or(0, sum_of));
            new = new.wrapping_add(now.map_or(0, sum_of));
        }
        for change in before.service_cidrs().diff(cluster.service_cidrs()) {
            let (old, now) = match change {
                DiffItem::Add(_, cidr) => (None, Some(cidr)),
                DiffItem::Update { old: (_, old), new: (_, now) } => (Some(old), Some(now)),
                DiffItem::Remove(_, cidr) => (Some(cidr), None),
            };
            gone = gone.wrapping_add(old.map_or(0, |cidr| hash("ServiceCIDR", &**cidr)));
            new = new.wrapping_add(now.map_or(0, |cidr| hash("ServiceCIDR", &**cidr)));
        }
        self.sum = self.sum.wrapping_sub(gone).wrapping_add(new);
        self.sum
    }
}

fn sum_of(state: &ServiceState) -> u64 {
    let service = state.service.iter().map(|service| hash("Service", &**service));
    let slices = state.slices().iter().map(|slice: &Arc<_>| hash("EndpointSlice", &**slice));
    service.chain(slices).fold(0, u64::wrapping_add)
}

/// The hash of one object, the same in all processes.
fn hash(kind: &str, object: &impl Serialize) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write(kind.as_bytes());
    // Writing to memory does not fail, and objects are serialisable.
    hasher.write(&serde_json::to_vec(object).unwrap_or_default());
    // FNV mixes its upper bits little, and sums of similar hashes would cancel: the finaliser of MurmurHash3.
    let mut mixed = hasher.finish();
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{World, name, service, service_cidr, slice};
    use crate::state::{Event, View};

    fn events() -> Vec<Event> {
        let mut events: Vec<Event> = (1..=50)
            .flat_map(|n| {
                let name = format!("shop/web{n}");
                [
                    service(&name).ips(&[&format!("10.96.0.{n}")]).into(),
                    slice(&format!("{name}-1")).endpoints("10.1.0.1 L r, 10.1.0.2 R r").into(),
                ]
            })
            .collect();
        events.push(Event::ServiceCidrsReset(vec![service_cidr("services", &["10.96.0.0/16"])]));
        events
    }

    #[test]
    fn nodes_that_heard_the_same_in_any_order_have_the_same_hash() {
        let mut one = World::new();
        events().into_iter().for_each(|event| drop(one.apply(event)));
        let view = View { node_name: "another-node".into(), ..View::default() };
        let mut other = World::unlisted_from(view);
        crate::fixtures::empty_lists().into_iter().for_each(|event| drop(other.apply(event)));
        let mut hash = InputHash::default();
        for event in events().into_iter().rev() {
            other.apply(event);
            hash.update(other.cluster());
        }
        let expected = InputHash::default().update(one.cluster());
        assert_eq!(hash.update(other.cluster()), expected, "kept up to date, or made at once");
        assert_ne!(expected, 0);
    }

    #[test]
    fn every_change_changes_the_hash_and_its_reverse_restores_it() {
        let mut world = World::new();
        events().into_iter().for_each(|event| drop(world.apply(event)));
        let mut hash = InputHash::default();
        let before = hash.update(world.cluster());
        world.apply(slice("shop/web3-1").endpoints("10.1.0.1 L r, 10.1.0.3 R r"));
        let changed = hash.update(world.cluster());
        assert_ne!(changed, before);
        world.apply(Event::ServiceDeleted(name("shop/web4")));
        assert_ne!(hash.update(world.cluster()), changed);
        world.apply(service("shop/web4").ips(&["10.96.0.4"]));
        world.apply(slice("shop/web3-1").endpoints("10.1.0.1 L r, 10.1.0.2 R r"));
        assert_eq!(hash.update(world.cluster()), before);
        world.apply(Event::ServiceCidrsReset(Vec::new()));
        assert_ne!(hash.update(world.cluster()), before);
    }

    /// Nodes of different versions are compared by it, so it stays as it is.
    #[test]
    fn the_hash_of_an_object_is_the_same_in_every_version() {
        assert_eq!(
            [hash("Service", &1), hash("Service", &2), hash("EndpointSlice", &1)],
            [2_635_596_568_970_871_920, 10_915_503_351_269_255_313, 12_062_350_426_868_785_992]
        );
    }
}
