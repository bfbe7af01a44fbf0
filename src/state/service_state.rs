//! One Service and its EndpointSlices in one entry: whatever reads one also reads the other.

use std::sync::Arc;

use super::compile::CompiledService;
use super::names::ObjectName;
use super::object::{EndpointSlice, Service};

/// A Service with its slices. Cloning costs O(1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServiceState {
    /// The Service object, while it exists.
    pub service: Option<Arc<Service>>,
    slices: Slices,
    /// What it asked for when it was last compiled, kept so that the next version is compiled alone and compared with this one.
    pub compiled: Option<Arc<CompiledService>>,
}

/// The slices of a Service, ordered by name; nearly always one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Slices {
    #[default]
    None,
    One(Arc<EndpointSlice>),
    Many(Arc<Vec<Arc<EndpointSlice>>>),
}

impl ServiceState {
    /// A Service without slices.
    pub fn without_slices(service: Arc<Service>) -> Self {
        Self { service: Some(service), ..Self::default() }
    }

    /// Whether there is neither a Service nor a slice.
    pub fn is_empty(&self) -> bool {
        self.service.is_none() && self.slices().is_empty()
    }

    /// The slices, ordered by name.
    pub fn slices(&self) -> &[Arc<EndpointSlice>] {
        match &self.slices {
            Slices::None => &[],
            Slices::One(slice) => std::slice::from_ref(slice),
            Slices::Many(slices) => slices,
        }
    }

    /// The slice of this name.
    pub fn slice(&self, name: &ObjectName) -> Option<&Arc<EndpointSlice>> {
        self.position(name).ok().and_then(|at| self.slices().get(at))
    }

    /// Where the slice of this name is, or belongs.
    fn position(&self, name: &ObjectName) -> Result<usize, usize> {
        self.slices().binary_search_by(|slice| slice.name.cmp(name))
    }

    /// Adds a slice, or replaces that of the same name.
    pub fn put_slice(&mut self, slice: Arc<EndpointSlice>) {
        let position = self.position(&slice.name);
        match (&mut self.slices, position) {
            (Slices::None, _) => self.slices = Slices::One(slice),
            (Slices::One(one), Ok(_)) => *one = slice,
            (Slices::One(one), Err(at)) => {
                let mut both = vec![Arc::clone(one)];
                both.insert(at, slice);
                self.slices = both.into();
            }
            (Slices::Many(all), Ok(at)) => Arc::make_mut(all)[at] = slice,
            (Slices::Many(all), Err(at)) => Arc::make_mut(all).insert(at, slice),
        }
    }

    /// Removes the slice of this name.
    pub fn remove_slice(&mut self, name: &ObjectName) {
        let Ok(at) = self.position(name) else { return };
        match &mut self.slices {
            Slices::Many(all) if all.len() > 2 => drop(Arc::make_mut(all).remove(at)),
            _ => {
                let mut left = self.slices().to_vec();
                left.remove(at);
                self.slices = left.into();
            }
        }
    }
}

impl From<Vec<Arc<EndpointSlice>>> for Slices {
    fn from(mut all: Vec<Arc<EndpointSlice>>) -> Self {
        match all.len() {
            0 => Self::None,
            1 => all.pop().map_or(Self::None, Self::One),
            _ => Self::Many(Arc::new(all)),
        }
    }
}

/// Puts sorted entries into the order that fills the nodes of an empty `OrdMap`: every second entry, then those in between. Inserted in
/// sorted order they would leave every node half full. Entries with equal keys keep their order.
pub(crate) fn bulk_load_order<K: PartialEq, V>(sorted: Vec<(K, V)>) -> impl Iterator<Item = (K, V)> {
    let repeated = sorted.windows(2).any(|pair| pair[0].0 == pair[1].0);
    let mut between = Vec::with_capacity(if repeated { 0 } else { sorted.len() / 2 });
    let mut first = Vec::with_capacity(sorted.len() - between.capacity());
    for (n, entry) in sorted.into_iter().enumerate() {
        if repeated || n % 2 == 0 { first.push(entry) } else { between.push(entry) }
    }
    first.into_iter().chain(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_whose_slices_went_is_as_one_that_never_had_them() {
        let slices = ["web-1", "web-2", "web-3"].map(|name| crate::fixtures::slice(&format!("shop/{name}")).build());
        let with = |slices: &[Arc<EndpointSlice>]| {
            let mut state = ServiceState::default();
            slices.iter().for_each(|slice| state.put_slice(Arc::clone(slice)));
            assert_eq!(state.slices(), slices);
            state
        };
        let mut state = with(&slices);
        for left in (0..slices.len()).rev() {
            state.remove_slice(&slices[left].name);
            assert_eq!(state, with(&slices[..left]), "{left} are left");
        }
    }

    #[test]
    fn every_second_entry_comes_first_unless_keys_repeat() {
        let keys = |sorted: &[u32]| {
            bulk_load_order(sorted.iter().map(|n| (*n, ())).collect()).map(|(n, ())| n).collect::<Vec<_>>()
        };
        assert_eq!(keys(&[1, 2, 3, 4, 5]), [1, 3, 5, 2, 4]);
        assert_eq!(keys(&[1, 2, 2, 3]), [1, 2, 2, 3]);
        assert_eq!(keys(&[]), [0; 0]);
    }
}
