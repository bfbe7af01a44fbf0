//! What operations write to, so that a reading of the tables meanwhile is not taken for a change by another program.

use std::collections::BTreeSet;

use super::acknowledged::{Acknowledged, own_chain};
use super::deviations::Deviation;
use super::shared::SharedElement;
use crate::dataplane::{ChainName, Element, Family, Frontend, Key, Object, Operation};

/// What operations write to.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Whole tables, by [`Family::index`].
    tables: [bool; 2],
    /// Chains and sets of the program, by [`Family::index`].
    programs: [bool; 2],
    frontends: BTreeSet<Frontend>,
    shared: BTreeSet<SharedElement>,
}

/// What a reading of the tables is expected to find.
#[derive(Clone, Debug)]
pub struct Expected {
    /// What the kernel acknowledged.
    pub held: Acknowledged,
    /// But for this, which may be otherwise.
    pub written: Written,
}

impl Expected {
    /// Where a reading of these families is not as expected. Walks everything.
    pub fn deviations(&self, read: &Acknowledged, families: &[Family]) -> Vec<Deviation> {
        self.held.differing(read, families).deviations(&self.written)
    }
}

impl Written {
    /// Adds what these operations write to.
    pub fn add(&mut self, operations: &[Operation]) {
        operations.iter().for_each(|operation| self.add_operation(operation));
    }

    /// Whether the program of a table was written to.
    pub fn has_program(&self, family: Family) -> bool {
        self.tables[family.index()] || self.programs[family.index()]
    }

    /// Whether anything of a frontend was written to.
    pub fn has_frontend(&self, frontend: &Frontend) -> bool {
        self.tables[frontend.family().index()] || self.frontends.contains(frontend)
    }

    /// Whether a shared element was written.
    pub fn has_shared(&self, element: &SharedElement) -> bool {
        self.tables[element.key.family().index()] || self.shared.contains(element)
    }

    fn add_operation(&mut self, operation: &Operation) {
        let family = operation.family;
        let chain = |name: &ChainName| own_chain(family, &name.0).map(|(frontend, _)| frontend);
        let frontend = match &operation.object {
            Object::Table => {
                self.tables[family.index()] = true;
                return;
            }
            Object::Element(element) => {
                let frontend = frontend_of(element);
                if frontend.is_none() {
                    self.shared.insert(SharedElement { set: element.set, key: element.key });
                    return;
                }
                frontend
            }
            Object::Chain(name, _) | Object::Rule(name, _) => chain(name),
            Object::Set(set) => set.frontend(),
            Object::Clients { frontend, .. } => Some(*frontend),
            Object::UnknownSet { .. } => None,
        };
        match frontend {
            Some(frontend) => drop(self.frontends.insert(frontend)),
            None => self.programs[family.index()] = true,
        }
    }
}

/// The frontend that an element belongs to; `None` for a shared element.
fn frontend_of(element: &Element) -> Option<Frontend> {
    match element.key {
        Key::Frontend(frontend) | Key::Slot(frontend, _) | Key::ById(frontend, _) => Some(frontend),
        Key::Addr(_) | Key::Network(_) | Key::Hairpin(..) | Key::Client(_) => element.set.frontend(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::{Element, Key, SetName};
    use crate::fixtures::{World, frontend, ip, service, slice};
    use crate::state::Event;

    #[test]
    fn what_a_plan_writes_to_is_what_differs_after_it() {
        let mut world = World::with([service("shop/web").into(), service("shop/old").ips(&["10.96.0.3"]).into()]);
        world.sync();
        let before = world.acknowledged();
        world.apply(service("shop/api").ips(&["10.96.0.2"]).affinity(60));
        world.apply(slice("shop/api-1").ready(&["10.1.0.1"]));
        world.apply(Event::ServiceDeleted(crate::fixtures::name("shop/old")));
        let plan = world.plan();
        world.sync();
        let differing = before.differing(&world.acknowledged(), &Family::ALL);
        assert!(!differing.is_empty());
        let mut written = Written::default();
        written.add(&plan.operations);
        assert_eq!(differing.clone().deviations(&written), []);
        let has = |text: &str| written.has_frontend(&frontend(text));
        assert!(has("10.96.0.2 80/tcp") && has("10.96.0.3 80/tcp") && !has("10.96.0.1 80/tcp"));
        assert!(written.has_program(Family::Ip) && !written.has_program(Family::Ip6));
        assert_eq!(Expected { held: before, written }.deviations(&world.acknowledged(), &Family::ALL), []);
        assert_ne!(differing.deviations(&Written::default()), []);
    }

    #[test]
    fn an_element_that_came_and_went_again_counts_as_written() {
        let element = Element::member(SetName::ClusterIps, Key::Addr(ip("10.96.0.9")));
        let shared = SharedElement { set: element.set, key: element.key };
        let mut written = Written::default();
        assert!(!written.has_shared(&shared));
        written.add(&[Operation::add_element(element.clone()), Operation::delete_element(element)]);
        assert!(written.has_shared(&shared) && !written.has_program(Family::Ip));
        written.add(&[Operation::delete(Family::Ip, Object::Table)]);
        assert!(written.has_program(Family::Ip) && written.has_frontend(&frontend("10.96.0.1 80/tcp")));
        assert!(!written.has_program(Family::Ip6));
    }
}
