//! The slices of a Service, and which of their ports serve a service port.

use std::sync::Arc;

use super::guards::Guards;
use super::object::{EndpointSlice, ServicePort};
use crate::dataplane::{Family, Protocol};

/// The slices of a Service, to look up ports in.
#[derive(Debug)]
pub(super) struct SlicePorts<'a> {
    slices: &'a [Arc<EndpointSlice>],
    /// The ports of all slices, in order; `None` where it costs less to search.
    index: Option<Vec<IndexedPort<'a>>>,
    /// Which endpoints may not be used.
    pub guards: &'a Guards,
}

/// A port of a slice: its name and protocol, the number of the slice, and the port's number.
type IndexedPort<'a> = (&'a str, Protocol, usize, u16);

impl<'a> SlicePorts<'a> {
    /// Up to so many service ports are searched for. Each costs as many comparisons as the slices have ports.
    const MAX_SEARCHED: usize = 8;

    /// These slices, for so many service ports.
    pub fn new(slices: &'a [Arc<EndpointSlice>], service_ports: usize, guards: &'a Guards) -> Self {
        let index = (service_ports > Self::MAX_SEARCHED).then(|| {
            let ports = |(n, slice): (usize, &'a Arc<EndpointSlice>)| {
                slice.ports.iter().map(move |port| (&*port.name, port.protocol, n, port.port))
            };
            let mut all: Vec<IndexedPort<'a>> = slices.iter().enumerate().flat_map(ports).collect();
            all.sort_unstable();
            all
        });
        Self { slices, index, guards }
    }

    /// The slices of one family that serve a service port, each with the port's number there.
    pub fn targets<'s>(
        &'s self,
        port: &'s ServicePort,
        family: Family,
    ) -> impl Iterator<Item = (&'a EndpointSlice, u16)> + 's {
        let wanted = (&*port.name, port.protocol);
        let (indexed, searched) = match &self.index {
            Some(index) => {
                (&index[index.partition_point(|(name, protocol, ..)| (*name, *protocol) < wanted)..], &[][..])
            }
            None => (&[][..], self.slices),
        };
        let indexed = indexed.iter().take_while(move |(name, protocol, ..)| {
            visits::note();
            (*name, *protocol) == wanted
        });
        let indexed = indexed.map(|(_, _, slice, number)| (&*self.slices[*slice], *number));
        let searched = searched.iter().flat_map(move |slice| {
            let ports = slice.ports.iter().filter(move |candidate| {
                visits::note();
                *candidate.name == *wanted.0 && candidate.protocol == wanted.1
            });
            ports.map(move |port| (&**slice, port.port))
        });
        indexed.chain(searched).filter(move |(slice, _)| slice.family == family)
    }
}

/// Counts the ports of Services and slices that are looked at, in tests.
pub(super) mod visits {
    #[cfg(test)]
    thread_local! {
        static COUNT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    pub(in crate::state) fn note() {
        #[cfg(test)]
        COUNT.set(COUNT.get() + 1);
    }

    /// How many ports `work` looks at.
    #[cfg(test)]
    pub(crate) fn count(work: impl FnOnce()) -> usize {
        let before = COUNT.get();
        work();
        COUNT.get() - before
    }
}
