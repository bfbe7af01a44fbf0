//! The cluster as it is at the moment, and the events of what happens to it.

use std::net::IpAddr;
use std::sync::Arc;

use pointsman::state::{Decoded, EndpointSlice, Event};

use crate::common::cluster::{self, Size};

/// The addresses before it belong to the changes of a file.
const FIRST: u32 = 1_000;

/// The slices of all Services, by number.
pub struct Live {
    size: Size,
    slices: Vec<Arc<EndpointSlice>>,
    /// How many addresses were given to pods that came later.
    later: u32,
}

impl Live {
    /// What complete lists say.
    pub fn new(size: Size, events: &[Event]) -> Self {
        let mut slices = Vec::new();
        for event in events {
            if let Event::SlicesReset(all) = event {
                slices = cluster::objects(all);
            }
        }
        slices.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(slices.len(), size.services as usize);
        Self { size, slices, later: FIRST }
    }

    /// The size at the beginning.
    pub fn size(&self) -> Size {
        self.size
    }

    /// An address that no pod has had yet.
    pub fn address(&mut self) -> std::net::Ipv4Addr {
        self.later += 1;
        cluster::later_ip(self.later)
    }

    /// One endpoint of a Service is replaced by another on the same node, which gets this address.
    pub fn replace(&mut self, service: usize, endpoint: usize) -> (Event, IpAddr) {
        let addr = self.address().into();
        (self.edit(service, |slice| slice.endpoints[endpoint].addr = addr), addr)
    }

    /// The pods of a node are ready or not: the event for each slice that has some.
    pub fn set_ready(&mut self, node: &str, ready: bool) -> Vec<Event> {
        let on_node = |slice: &EndpointSlice| slice.endpoints.iter().any(|pod| pod.node() == Some(node));
        let touched: Vec<usize> = (0..self.slices.len()).filter(|n| on_node(&self.slices[*n])).collect();
        let set = |slice: &mut EndpointSlice| {
            for pod in slice.endpoints.iter_mut().filter(|pod| pod.node() == Some(node)) {
                (pod.ready, pod.serving) = (ready, ready);
            }
        };
        touched.into_iter().map(|n| self.edit(n, set)).collect()
    }

    fn edit(&mut self, service: usize, edit: impl FnOnce(&mut EndpointSlice)) -> Event {
        let slice = &mut self.slices[service];
        let mut next = EndpointSlice::clone(slice);
        edit(&mut next);
        *slice = Arc::new(next);
        Event::SliceApplied(Decoded::Object(Arc::clone(slice)))
    }
}
