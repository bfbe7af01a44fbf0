//! Shares values that occur in many objects: namespaces, port names, and the places of endpoints.
//!
//! Crates that intern strings keep every string for ever or hand out a type of their own; objects hold `Arc<str>`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::state::EndpointPlace;

/// How many strings or places are kept. At the limit all are dropped, so that those of deleted objects do not pile up.
const MAX_SHARED: usize = 1 << 16;

/// The shared values. Owned by one source. Dropping them costs memory, never correctness.
#[derive(Debug, Default)]
pub struct Interner {
    texts: BTreeSet<Arc<str>>,
    /// Places that name only a node.
    nodes: BTreeMap<Arc<str>, Arc<EndpointPlace>>,
    places: BTreeSet<Arc<EndpointPlace>>,
}

impl Interner {
    /// The shared copy of a string.
    pub fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        if self.texts.len() >= MAX_SHARED {
            self.texts.clear();
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&shared));
        shared
    }

    /// The shared place that names only this node.
    pub fn share_node(&mut self, node: &str) -> Arc<EndpointPlace> {
        if let Some(known) = self.nodes.get(node) {
            return Arc::clone(known);
        }
        if self.nodes.len() >= MAX_SHARED {
            self.nodes.clear();
        }
        let node = self.share(node);
        let place = EndpointPlace { node: Some(Arc::clone(&node)), ..EndpointPlace::default() };
        Arc::clone(self.nodes.entry(node).or_insert_with(|| Arc::new(place)))
    }

    /// The shared copy of a place.
    pub fn share_place(&mut self, place: EndpointPlace) -> Arc<EndpointPlace> {
        if let Some(known) = self.places.get(&place) {
            return Arc::clone(known);
        }
        if self.places.len() >= MAX_SHARED {
            self.places.clear();
        }
        let shared = Arc::new(place);
        self.places.insert(Arc::clone(&shared));
        shared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_and_places_share_one_allocation() {
        let mut names = Interner::default();
        assert!(Arc::ptr_eq(&names.share("http"), &names.share("http")));
        assert!(Arc::ptr_eq(&names.share_node("node-1"), &names.share_node("node-1")));
        let hinted = || EndpointPlace { zone_hints: ["a".into()].into(), ..EndpointPlace::default() };
        assert!(Arc::ptr_eq(&names.share_place(hinted()), &names.share_place(hinted())));
    }

    #[test]
    fn the_set_is_bounded() {
        let mut names = Interner::default();
        for i in 0..MAX_SHARED + 10 {
            names.share_node(&i.to_string());
        }
        assert!(names.texts.len() <= MAX_SHARED && names.nodes.len() <= MAX_SHARED);
    }
}
