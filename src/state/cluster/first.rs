//! The first lists: nothing is known yet, so everything can be sorted and put into place at once.

use std::sync::Arc;

use super::{Draft, Named, decoded_name};
use crate::state::event::{Decoded, Kind};
use crate::state::known::{Known, spread};
use crate::state::names::ByHash;
use crate::state::object::{EndpointSlice, Service};

impl Draft {
    /// The first list of Services, while nothing is known of any.
    pub(super) fn first_services(&mut self, all: Vec<Decoded<Service>>) {
        if repeats(&all) {
            return self.reset(Kind::Service, all, Self::services, Self::put_service);
        }
        let known = |service: Arc<Service>| (ByHash::of(&service.name), Known::of(service));
        let mut services: Vec<(ByHash, Known)> = self.readable(Kind::Service, all).into_iter().map(known).collect();
        services.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        self.touched.services = services.iter().map(|(name, _)| (name.clone(), Known::default())).collect();
        self.cluster.service_count = services.len();
        self.cluster.services = spread(services).collect();
        self.cluster.complete.insert(Kind::Service);
    }

    /// The first list of slices, before everything is complete and while no slice is known.
    pub(super) fn first_slices(&mut self, all: Vec<Decoded<EndpointSlice>>) {
        if repeats(&all) {
            return self.reset(Kind::EndpointSlice, all, Self::slices, Self::put_slice);
        }
        let mut slices: Vec<(ByHash, Arc<EndpointSlice>)> =
            self.readable(Kind::EndpointSlice, all).into_iter().map(|slice| (ByHash(slice.owner()), slice)).collect();
        slices.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut owners: Vec<((u64, u64), ())> =
            slices.iter().map(|(owner, slice)| ((slice.name.hash(), owner.0.hash()), ())).collect();
        owners.sort_unstable();
        self.cluster.slice_owners = spread(owners).map(|(owner, ())| owner).collect();

        let (mut before, mut new) = (Vec::with_capacity(slices.len()), Vec::new());
        let mut slices = slices.into_iter().peekable();
        while let Some((owner, slice)) = slices.next() {
            let put = |known: &mut Known| {
                known.put_slice(slice);
                while let Some((_, more)) = slices.next_if(|(of, _)| *of == owner) {
                    known.put_slice(more);
                }
            };
            match self.cluster.services.get_mut(&owner) {
                Some(known) => {
                    before.push((owner.clone(), known.clone()));
                    put(known);
                }
                None => {
                    let mut known = Known::default();
                    put(&mut known);
                    before.push((owner.clone(), Known::default()));
                    new.push((owner, known));
                }
            }
        }
        self.touched.services = before.into_iter().collect();
        self.cluster.services.extend(spread(new));
        self.cluster.complete.insert(Kind::EndpointSlice);
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
