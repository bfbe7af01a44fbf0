//! What the kernel is known to hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use im::{OrdMap, OrdSet};
use ipnet::IpNet;

use crate::dataplane::{
    ChainContents, Class, Element, Endpoint, Family, Frontend, Key, List, Options, SetContents, SetName, TableContents,
    Tables,
};
use crate::state::{Desired, SharedElement};

/// What the kernel is known to hold, because it was read or because a commit was acknowledged.
///
/// Cloning costs O(1) but for the few objects of the program.
#[derive(Clone, Debug, Default)]
pub struct Acknowledged {
    /// What is installed for each frontend.
    pub frontends: OrdMap<Frontend, Arc<Installed>>,
    /// The shared elements.
    pub shared: OrdSet<SharedElement>,
    /// The two tables without their elements.
    pub(super) tables: [Option<InstalledTable>; 2],
    /// The snapshot that all this was made for; `None` after reading a kernel.
    pub(super) basis: Option<Desired>,
}

/// What is installed for one frontend. What an earlier run or somebody else left may break every rule of law 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// The sets that it is a member of, in order, with the comment of each membership.
    pub memberships: Box<[(SetName, Option<Arc<str>>)]>,
    /// Its endpoints for everyone by slot, in order.
    pub slots: Box<[(u32, Endpoint)]>,
    /// Its endpoints on this node, for traffic that is confined to them, by slot, in order.
    pub local_slots: Box<[(u32, Endpoint)]>,
    /// The sources that may use it, if it is a member of [`SetName::Firewalled`], in order.
    pub sources: Box<[IpNet]>,
}

/// A table without its elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct InstalledTable {
    pub chains: BTreeMap<String, ChainContents>,
    pub sets: BTreeMap<String, SetContents>,
    /// The options and classes for which the table is known to hold exactly the program; `None` if that is still to be
    /// compared.
    pub verified: Option<(Options, BTreeSet<(List, Class)>)>,
}

impl Acknowledged {
    /// An empty kernel: no tables.
    pub fn nothing() -> Self {
        Self { basis: Some(Desired::default()), ..Self::default() }
    }

    /// The same state without the snapshot that it was made for: the next diff compares everything.
    pub fn unverified(mut self) -> Self {
        self.basis = None;
        for table in self.tables.iter_mut().flatten() {
            table.verified = None;
        }
        self
    }

    /// The number of elements in each set, for each family.
    ///
    /// Walks everything: for tests and for the start, not for every sync.
    pub fn count_elements(&self) -> BTreeMap<(Family, SetName), usize> {
        let mut counts = BTreeMap::new();
        for (frontend, installed) in &self.frontends {
            for (set, _) in &installed.memberships {
                *counts.entry((frontend.family(), *set)).or_default() += 1;
            }
            for local in [false, true] {
                let list = List::of(frontend.is_node_port(), local);
                let slots = installed.list(local).len();
                if slots > 0 {
                    *counts.entry((frontend.family(), SetName::Endpoints(list))).or_default() += slots;
                }
            }
            if !installed.sources.is_empty() {
                *counts.entry((frontend.family(), SetName::AllowedSources)).or_default() += installed.sources.len();
            }
        }
        for shared in &self.shared {
            *counts.entry((shared.key.family(), shared.set)).or_default() += 1;
        }
        counts
    }

    /// Whether there is a table of this family.
    pub fn has_table(&self, family: Family) -> bool {
        self.tables[family.index()].is_some()
    }

    /// Forgets a table: it is about to be removed with all that it holds.
    pub(super) fn without_table(mut self, family: Family) -> Self {
        self.tables[family.index()] = None;
        self.frontends = self.frontends.into_iter().filter(|(frontend, _)| frontend.family() != family).collect();
        self.shared = self.shared.into_iter().filter(|shared| shared.key.family() != family).collect();
        self.basis = None;
        self
    }
}

impl From<Tables> for Acknowledged {
    /// Takes stock of what was read from a kernel.
    fn from(tables: Tables) -> Self {
        let mut acknowledged = Self::default();
        for family in Family::ALL {
            let Some(table) = tables.get(family) else { continue };
            let mut found: BTreeMap<Frontend, Found> = BTreeMap::new();
            for element in &table.elements {
                match Part::of(element) {
                    Some((frontend, part)) => found.entry(frontend).or_default().add(part),
                    None => {
                        acknowledged.shared.insert(SharedElement { set: element.set, key: element.key });
                    }
                }
            }
            acknowledged
                .frontends
                .extend(found.into_iter().map(|(frontend, found)| (frontend, Arc::new(found.sorted()))));
            acknowledged.tables[family.index()] = Some(InstalledTable::from(table));
        }
        acknowledged
    }
}

/// What one element says about a frontend.
enum Part {
    Membership(SetName, Option<Arc<str>>),
    Slot { local: bool, slot: u32, endpoint: Endpoint },
    Source(IpNet),
}

impl Part {
    /// The frontend that an element belongs to, and what it says; `None` for a shared element.
    fn of(element: &Element) -> Option<(Frontend, Self)> {
        match (element.key, element.set, element.value) {
            (Key::Slot(frontend, slot), SetName::Endpoints(list), Some(endpoint)) => {
                Some((frontend, Self::Slot { local: list.is_local(), slot, endpoint }))
            }
            (Key::Frontend(frontend), set, None) => Some((frontend, Self::Membership(set, element.comment.clone()))),
            (Key::Source(frontend, source), _, None) => Some((frontend, Self::Source(source))),
            _ => None,
        }
    }
}

/// What was found of one frontend so far.
#[derive(Default)]
struct Found {
    memberships: Vec<(SetName, Option<Arc<str>>)>,
    slots: Vec<(u32, Endpoint)>,
    local_slots: Vec<(u32, Endpoint)>,
    sources: Vec<IpNet>,
}

impl Found {
    fn add(&mut self, part: Part) {
        match part {
            Part::Membership(set, comment) => self.memberships.push((set, comment)),
            Part::Slot { local: false, slot, endpoint } => self.slots.push((slot, endpoint)),
            Part::Slot { local: true, slot, endpoint } => self.local_slots.push((slot, endpoint)),
            Part::Source(source) => self.sources.push(source),
        }
    }

    fn sorted(mut self) -> Installed {
        self.memberships.sort();
        self.slots.sort();
        self.local_slots.sort();
        self.sources.sort();
        Installed {
            memberships: self.memberships.into(),
            slots: self.slots.into(),
            local_slots: self.local_slots.into(),
            sources: self.sources.into(),
        }
    }
}

impl From<&TableContents> for InstalledTable {
    fn from(table: &TableContents) -> Self {
        Self { chains: table.chains.clone(), sets: table.sets.clone(), verified: None }
    }
}

impl Installed {
    /// The service port that it was installed for, by its comment.
    pub fn owner(&self) -> Option<&str> {
        self.memberships.iter().find_map(|(_, comment)| comment.as_deref())
    }

    /// The sets that it is a member of, but for the classes of its lists.
    pub fn gates(&self) -> impl Iterator<Item = SetName> {
        self.memberships.iter().map(|(set, _)| *set).filter(|set| !matches!(set, SetName::Slots(..)))
    }

    /// The list for everyone, or that of this node.
    pub fn list(&self, local: bool) -> &[(u32, Endpoint)] {
        if local { &self.local_slots } else { &self.slots }
    }

    /// The endpoints of a list, by slot.
    pub fn endpoints(&self, local: bool) -> impl Iterator<Item = Endpoint> {
        self.list(local).iter().map(|(_, endpoint)| *endpoint)
    }
}
