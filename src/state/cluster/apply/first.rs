//! The first lists: the cluster is still empty, so all objects are sorted and inserted together.

use std::sync::Arc;

use super::{ClusterDraft, Named, decoded_name};
use crate::state::event::{Decoded, Kind};
use crate::state::names::HashedName;
use crate::state::object::{EndpointSlice, Service};
use crate::state::service_state::{ServiceState, bulk_load_order};

impl ClusterDraft<'_> {
    /// The first list of Services, while the cluster has none. `was_complete`: it is complete, and its Services were deleted.
    pub(super) fn first_services(&mut self, all: Vec<Decoded<Service>>, was_complete: bool) {
        let place = |(n, service): (usize, &Decoded<Service>)| (decoded_name(service).hash(), n);
        let mut places: Vec<(u64, usize)> = all.iter().enumerate().map(place).collect();
        places.sort_unstable();
        if repeats(&places) {
            return self.reset(Kind::Service, all, Self::services, Self::put_service);
        }
        let mut services = self.readable(Kind::Service, all);
        let existing = || services.iter().flatten();
        self.cluster.service_count = existing().count();
        if was_complete {
            let before = |service: &Arc<Service>| (HashedName::new(&service.name), ServiceState::default());
            self.changes.services = existing().map(before).collect();
        } else {
            self.changes.listed = self.cluster.service_count;
        }
        let entry = |service: Arc<Service>| (HashedName::new(&service.name), ServiceState::without_slices(service));
        let in_order = bulk_load_order(places).filter_map(|(_, n)| services[n].take());
        self.cluster.services = in_order.map(entry).collect();
        self.cluster.complete[Kind::Service as usize] = true;
    }

    /// The first list of slices, before all lists are complete and while the cluster has no slice.
    pub(super) fn first_slices(&mut self, all: Vec<Decoded<EndpointSlice>>) {
        let owner = |slice: &Decoded<EndpointSlice>| slice.object().map(|slice| HashedName(slice.owner()));
        let names: Vec<Option<HashedName>> = all.iter().map(owner).collect();
        let hashes = |(slice, of): (&Decoded<EndpointSlice>, &Option<HashedName>)| {
            (decoded_name(slice).hash(), of.as_ref().map(|of| of.0.hash()))
        };
        let mut owners: Vec<(u64, Option<u64>)> = all.iter().zip(&names).map(hashes).collect();
        owners.sort_unstable();
        if repeats(&owners) {
            return self.reset(Kind::EndpointSlice, all, Self::slices, Self::put_slice);
        }
        self.cluster.slice_owners = bulk_load_order(owners).filter_map(|(slice, of)| Some((slice, of?))).collect();
        let readable = self.readable(Kind::EndpointSlice, all).into_iter();
        let mut slices: Vec<(HashedName, Arc<EndpointSlice>)> =
            names.into_iter().zip(readable).filter_map(|(of, slice)| of.zip(slice)).collect();
        slices.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));

        let mut new = Vec::new();
        let mut slices = slices.into_iter().peekable();
        while let Some((owner, slice)) = slices.next() {
            let put = |state: &mut ServiceState| {
                state.put_slice(slice);
                while let Some((_, more)) = slices.next_if(|(of, _)| *of == owner) {
                    state.put_slice(more);
                }
            };
            match self.cluster.services.get_mut(&owner) {
                Some(state) => put(state),
                None => {
                    let mut state = ServiceState::default();
                    put(&mut state);
                    new.push((owner, state));
                }
            }
            self.changes.listed += 1;
        }
        self.cluster.services.extend(bulk_load_order(new));
        self.cluster.complete[Kind::EndpointSlice as usize] = true;
    }

    /// The objects that could be read, each at its place in the list; the problems of all are reported.
    fn readable<T: Named>(&mut self, kind: Kind, all: Vec<Decoded<T>>) -> Vec<Option<Arc<T>>> {
        let mut objects = Vec::with_capacity(all.len());
        for decoded in all {
            objects.push(match decoded {
                Decoded::Object(object) => {
                    self.report_new(kind, &*object, None::<&T>);
                    Some(object)
                }
                Decoded::Unreadable(of) => {
                    self.report(kind, &of.0, of.1);
                    None
                }
            });
        }
        objects
    }
}

/// Whether two objects of a list, ordered by the hashes of their names, may have the same name.
fn repeats<T>(sorted: &[(u64, T)]) -> bool {
    sorted.windows(2).any(|pair| pair[0].0 == pair[1].0)
}
