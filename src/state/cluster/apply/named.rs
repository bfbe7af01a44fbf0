//! What the bookkeeping needs to know about objects of each kind.

use crate::state::cluster::Cluster;
use crate::state::names::ObjectName;
use crate::state::object::{EndpointSlice, Node, Service, ServiceCidr, Uid};
use crate::state::skipped::Problem;

/// A domain object, as far as the bookkeeping here needs it.
pub(super) trait Named {
    fn name(&self) -> &ObjectName;
    fn problems(&self) -> &[Problem];
    /// The identity of the object of this name that the cluster holds; `None` if it holds none.
    fn known(cluster: &Cluster, name: &ObjectName) -> Option<Option<Uid>>;
}

impl Named for Service {
    fn name(&self) -> &ObjectName {
        &self.name
    }
    fn problems(&self) -> &[Problem] {
        &self.problems
    }
    fn known(cluster: &Cluster, name: &ObjectName) -> Option<Option<Uid>> {
        cluster.service(name).map(|service| service.uid.0)
    }
}

impl Named for EndpointSlice {
    fn name(&self) -> &ObjectName {
        &self.name
    }
    fn problems(&self) -> &[Problem] {
        &self.problems
    }
    fn known(cluster: &Cluster, name: &ObjectName) -> Option<Option<Uid>> {
        let owner = cluster.owner_of_slice(name)?;
        cluster.service_state(&owner)?.slice(name).map(|slice| slice.uid.0)
    }
}

impl Named for ServiceCidr {
    fn name(&self) -> &ObjectName {
        &self.name
    }
    fn problems(&self) -> &[Problem] {
        &self.problems
    }
    fn known(cluster: &Cluster, name: &ObjectName) -> Option<Option<Uid>> {
        cluster.service_cidrs.get(name).map(|cidr| cidr.uid.0)
    }
}

impl Named for Node {
    fn name(&self) -> &ObjectName {
        &self.name
    }
    fn problems(&self) -> &[Problem] {
        &self.problems
    }
    fn known(cluster: &Cluster, name: &ObjectName) -> Option<Option<Uid>> {
        cluster.node.as_ref().filter(|node| node.name == *name).map(|_| None)
    }
}
