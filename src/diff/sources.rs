//! What a frontend with source ranges has of its own: the set of its sources, and the chain that checks them.

use super::affinity::OwnOperations;
use crate::dataplane::{Chain, ChainContents, Frontend, Object, Operation, SetContents, SetName};
use crate::state::FrontendSpec;

/// What is installed to check the sources of connections to one frontend, besides its membership and the sources themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceCheck {
    /// The set of its sources, if there is one.
    pub set: Option<OwnPart>,
    /// The chain that looks them up, if there is one.
    pub chain: Option<OwnPart>,
}

/// A chain or set of one frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnPart {
    /// It is what the program needs.
    Intact,
    /// It has other rules, or another type.
    Altered,
}

impl SourceCheck {
    /// What should be installed for a claim.
    pub(super) fn target(spec: &FrontendSpec) -> Self {
        let part = spec.sources.is_some().then_some(OwnPart::Intact);
        Self { set: part, chain: part }
    }

    /// Notes a chain that was read.
    pub(super) fn found_chain(&mut self, frontend: Frontend, found: &ChainContents) {
        let wanted = Chain::check_sources(frontend);
        let is_intact = found.base.is_none()
            && !found.foreign_base
            && found.rules == wanted.rules.len()
            && found.fingerprint == Some(wanted.fingerprint());
        self.chain = Some(if is_intact { OwnPart::Intact } else { OwnPart::Altered });
    }

    /// Notes a set that was read.
    pub(super) fn found_set(&mut self, found: &SetContents) {
        self.set = Some(if found.recognised { OwnPart::Intact } else { OwnPart::Altered });
    }

    /// Whether nothing is there.
    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// How many objects there are.
    pub(super) fn size(self) -> usize {
        usize::from(self.set.is_some()) + usize::from(self.chain.is_some())
    }
}

/// The most operations on a frontend's own chain and set: a set, and a chain with its rules, which may be there already.
pub(super) const MAX_CHECK_OPERATIONS: usize = 6;

impl OwnOperations {
    /// Adds what turns one installation of a source check into another.
    pub fn add_check(&mut self, frontend: Frontend, before: SourceCheck, after: SourceCheck) {
        let family = frontend.family();
        let set = Object::Set(SetName::Sources(frontend));
        let replaces_set = before.set != after.set;
        if replaces_set {
            if before.set.is_some() {
                self.maps_gone.push(Operation::delete(family, set.clone()));
            }
            if after.set == Some(OwnPart::Intact) {
                self.additions.push(Operation::add(family, set));
            }
        }
        if before.chain == after.chain && (before.chain.is_none() || !replaces_set) {
            return;
        }
        let wanted = Chain::check_sources(frontend);
        let chain = Object::Chain(wanted.name.clone(), None);
        if before.chain.is_some() {
            self.flushes.push(Operation::flush(family, wanted.name.clone()));
        }
        match after.chain {
            None => self.chains_gone.push(Operation::delete(family, chain)),
            Some(OwnPart::Intact) => {
                if before.chain.is_none() {
                    self.additions.push(Operation::add(family, chain));
                }
                let rule = |rule| Operation::add(family, Object::Rule(wanted.name.clone(), Box::new(rule)));
                self.additions.extend(wanted.stamped_rules().into_iter().map(rule));
            }
            Some(OwnPart::Altered) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_and_a_chain_are_an_object_each() {
        let part = |is_there: bool| is_there.then_some(OwnPart::Intact);
        let sizes = [(false, false), (true, false), (false, true), (true, true)]
            .map(|(set, chain)| SourceCheck { set: part(set), chain: part(chain) }.size());
        assert_eq!(sizes, [0, 1, 1, 2]);
    }
}
