//! The first lists: the cluster is still empty, so all objects are sorted and inserted together.

use std::sync::Arc;

use super::{ClusterDraft, Named, decoded_name};
use crate::state::event::{Decoded, Kind};
use crate::state::names::HashedName;
use crate::state::object::{EndpointSlice, Service};
use crate::state::service_state::{ServiceState, bulk_load_order};

impl ClusterDraft<'_> {
    /// The first list of Services, while the cluster has none.
    pub(super) fn first_services(&mut self, all: Vec<Decoded<Service>>) {
        if repeats(&all) {
            return self.reset(Kind::Service, all, Self::services, Self::put_service);
        }
        let entry = |service: Arc<Service>| (HashedName::new(&service.name), ServiceState::without_slices(service));
        let mut services: Vec<(HashedName, ServiceState)> =
            self.readable(Kind::Service, all).into_iter().map(entry).collect();
        services.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.changes.services = services.iter().map(|(name, _)| (name.clone(), ServiceState::default())).collect();
        self.cluster.service_count = services.len();
        self.cluster.services = bulk_load_order(services).collect();
        self.cluster.complete[Kind::Service as usize] = true;
    }

    /// The first list of slices, before all lists are complete and while the cluster has no slice.
    pub(super) fn first_slices(&mut self, all: Vec<Decoded<EndpointSlice>>) {
        if repeats(&all) {
            return self.reset(Kind::EndpointSlice, all, Self::slices, Self::put_slice);
        }
        let mut slices: Vec<(HashedName, Arc<EndpointSlice>)> = self
            .readable(Kind::EndpointSlice, all)
            .into_iter()
            .map(|slice| (HashedName(slice.owner()), slice))
            .collect();
        slices.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut owners: Vec<((u64, u64), ())> =
            slices.iter().map(|(owner, slice)| ((slice.name.hash(), owner.0.hash()), ())).collect();
        owners.sort_unstable();
        self.cluster.slice_owners = bulk_load_order(owners).map(|(owner, ())| owner).collect();

        let (mut before, mut new) = (Vec::with_capacity(slices.len()), Vec::new());
        let mut slices = slices.into_iter().peekable();
        while let Some((owner, slice)) = slices.next() {
            let put = |state: &mut ServiceState| {
                state.put_slice(slice);
                while let Some((_, more)) = slices.next_if(|(of, _)| *of == owner) {
                    state.put_slice(more);
                }
            };
            match self.cluster.services.get_mut(&owner) {
                Some(state) => {
                    before.push((owner.clone(), state.clone()));
                    put(state);
                }
                None => {
                    let mut state = ServiceState::default();
                    put(&mut state);
                    before.push((owner.clone(), ServiceState::default()));
                    new.push((owner, state));
                }
            }
        }
        self.changes.services = before.into_iter().collect();
        self.cluster.services.extend(bulk_load_order(new));
        self.cluster.complete[Kind::EndpointSlice as usize] = true;
    }

    /// The objects that could be read; the problems of all are reported.
    fn readable<T: Named>(&mut self, kind: Kind, all: Vec<Decoded<T>>) -> Vec<Arc<T>> {
        let mut objects = Vec::with_capacity(all.len());
        for decoded in all {
            match decoded {
                Decoded::Object(object) => {
                    self.report_new(kind, &*object, None::<&T>);
                    objects.push(object);
                }
                Decoded::Unreadable(of) => self.report(kind, &of.0, of.1),
            }
        }
        objects
    }
}

/// Whether two objects of a list may have the same name.
fn repeats<T: Named>(all: &[Decoded<T>]) -> bool {
    let mut hashes: Vec<u64> = all.iter().map(|object| decoded_name(object).hash()).collect();
    hashes.sort_unstable();
    hashes.windows(2).any(|pair| pair[0] == pair[1])
}
