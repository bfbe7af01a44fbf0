//! What the kernel is known to hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use im::{OrdMap, OrdSet};
use ipnet::IpNet;

use super::affinity::InstalledAffinity;
use super::features::{FrontendCounts, found};
use super::leftovers::{Leftovers, Round};
use super::plan::Scope;
use super::shared::SharedElement;
use super::slots::Slots;
use super::sources::{OwnPart, SourceCheck};
use super::table::is_incompatible;
use crate::dataplane::{
    AffinityStep, ChainContents, ChainName, Element, Endpoint, EndpointId, EndpointList, Family, Frontend, Key,
    Options, ProgramFeatures, SetContents, SetName, TableContents, Tables, Value,
};
use crate::state::{TrafficPolicy, bulk_load_order};

/// What the kernel is known to hold, because it was read or because a commit was acknowledged.
///
/// Cloning costs O(1).
#[derive(Clone, Debug, Default)]
pub struct Acknowledged {
    /// What is installed for each frontend.
    pub frontends: OrdMap<Frontend, Arc<Installed>>,
    /// The shared elements.
    pub shared: OrdSet<SharedElement>,
    /// Which of this is left over from earlier plans, for packets that are on their way.
    pub(super) leftovers: OrdMap<Frontend, Arc<Leftovers>>,
    /// The same of the shared elements, and the plans that left them.
    pub(super) shared_leftovers: OrdMap<SharedElement, Round>,
    /// Frontends that were read as members of several classes of one list: an earlier process, or this one before a failure, left a class for
    /// packets that were on their way. Which one is decided when the frontend is planned.
    pub(super) undecided: OrdSet<Frontend>,
    /// The last plan that changed the order in which classes are tested, by [`Family::index`].
    pub(super) reordered: [Round; 2],
    /// How many frontends are in the sets that decide about the program, by [`Family::index`].
    pub(super) counts: [FrontendCounts; 2],
    /// The two tables without their elements.
    pub(super) tables: [Option<Arc<InstalledTable>>; 2],
    /// The tables that cannot be mended in place, by [`Family::index`]: they are removed with all that they hold, and made again.
    pub(super) to_rebuild: [bool; 2],
}

/// What is installed for one frontend. What an earlier run or another program left may break every rule of law 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// The sets that it is a member of, in order, with the comment of each membership.
    pub memberships: Box<[(SetName, Option<Arc<str>>)]>,
    /// Its endpoints for clients without a restriction.
    pub slots: Slots,
    /// Its endpoints on this node, for clients that a policy confines to them.
    pub local_slots: Slots,
    /// What it has of its own to check sources, if it is a member of [`SetName::SourceChecks`].
    pub check: SourceCheck,
    /// The sources that may use it then, in order.
    pub sources: Arc<[IpNet]>,
    /// What it has of its own for session affinity. Its endpoints are there, and not in the slots above.
    pub affinity: Option<Box<InstalledAffinity>>,
}

/// A table without its elements, and without the chains, maps and sets of single frontends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct InstalledTable {
    pub chains: BTreeMap<String, ChainContents>,
    pub sets: BTreeMap<String, SetContents>,
    /// The features of the program that it has.
    pub features: ProgramFeatures,
    /// The options for which the table is known to hold exactly the program with these features; `None` if that is still to be
    /// compared.
    pub verified: Option<Options>,
}

impl Acknowledged {
    /// An empty kernel: no tables.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The same state as if it was just read: the program has to be compared, too.
    pub fn unverified(mut self) -> Self {
        for table in self.tables.iter_mut().flatten() {
            Arc::make_mut(table).verified = None;
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
            for policy in TrafficPolicy::ALL {
                let list = list_of(*frontend, policy);
                let slots = installed.slots(policy).len();
                if slots > 0 {
                    *counts.entry((frontend.family(), SetName::Endpoints(list))).or_default() += slots;
                }
            }
            for (policy, affinity) in TrafficPolicy::ALL.iter().zip(installed.affinity.iter().cycle()) {
                let (list, by_id) = (list_of(*frontend, *policy), affinity.list(*policy));
                for (set, count) in [
                    (SetName::EndpointIds(list), by_id.slots.len()),
                    (SetName::EndpointsById(list), by_id.endpoints.len()),
                ] {
                    if count > 0 {
                        *counts.entry((frontend.family(), set)).or_default() += count;
                    }
                }
            }
            if !installed.sources.is_empty() {
                counts.insert((frontend.family(), SetName::Sources(*frontend)), installed.sources.len());
            }
        }
        for shared in &self.shared {
            *counts.entry((shared.key.family(), shared.set)).or_default() += 1;
        }
        counts
    }

    /// The features of the program that the table of a family has; `None` if there is no table.
    pub fn features(&self, family: Family) -> Option<&ProgramFeatures> {
        self.tables[family.index()].as_ref().map(|table| &table.features)
    }

    /// How many elements of a frontend are left over.
    pub(crate) fn leftover_count(&self, frontend: &Frontend) -> usize {
        self.leftovers.get(frontend).map_or(0, |leftovers| leftovers.len())
    }

    /// Whether there is a table of this family.
    pub fn has_table(&self, family: Family) -> bool {
        self.tables[family.index()].is_some()
    }

    /// The same with tables that cannot be mended in place counted as to be rebuilt: what they hold does not count.
    #[must_use]
    pub fn for_scope(self, scope: &Scope) -> Self {
        let incompatible = |family: &&Family| {
            let table = self.tables[family.index()].as_ref();
            table.is_some_and(|table| is_incompatible(table, &scope.options))
        };
        let families: Vec<Family> = scope.families.iter().filter(incompatible).copied().collect();
        families.into_iter().fold(self, |held, family| {
            let mut held = held.without_table(family);
            held.to_rebuild[family.index()] = true;
            held
        })
    }

    /// Forgets a table with all that it holds.
    fn without_table(mut self, family: Family) -> Self {
        self.tables[family.index()] = None;
        self.counts[family.index()] = FrontendCounts::default();
        self.frontends = self.frontends.into_iter().filter(|(frontend, _)| frontend.family() != family).collect();
        self.shared = self.shared.into_iter().filter(|shared| shared.key.family() != family).collect();
        self.undecided = self.undecided.into_iter().filter(|frontend| frontend.family() != family).collect();
        self.leftovers = self.leftovers.into_iter().filter(|(frontend, _)| frontend.family() != family).collect();
        self.shared_leftovers =
            self.shared_leftovers.into_iter().filter(|(shared, _)| shared.key.family() != family).collect();
        self
    }
}

impl From<Tables> for Acknowledged {
    /// Takes stock of what was read from a kernel.
    fn from(tables: Tables) -> Self {
        let mut acknowledged = Self::default();
        let (mut frontends, mut shared) = (Vec::new(), Vec::new());
        for family in Family::ALL {
            let Some(table) = tables.get(family) else { continue };
            let mut own = own_objects(family, table);
            let mut of_frontends: Vec<(Frontend, usize)> = Vec::with_capacity(table.elements.len());
            for (n, element) in table.elements.iter().enumerate() {
                match Part::from_element(element) {
                    Some((frontend, _)) => of_frontends.push((frontend, n)),
                    None => shared.push((SharedElement { set: element.set, key: element.key }, ())),
                }
            }
            of_frontends.sort();
            let mut found = Found::default();
            for of_one in of_frontends.chunk_by(|(one, _), (other, _)| one == other) {
                for (_, part) in of_one.iter().filter_map(|(_, n)| Part::from_element(&table.elements[*n])) {
                    found.add(part);
                }
                let installed = found.take_sorted(own.remove(&of_one[0].0));
                acknowledged.counts[family.index()].add(installed.counted_sets(of_one[0].0));
                frontends.push((of_one[0].0, Arc::new(installed)));
            }
            for (frontend, own) in own {
                let installed = found.take_sorted(Some(own));
                acknowledged.counts[family.index()].add(installed.counted_sets(frontend));
                frontends.push((frontend, Arc::new(installed)));
            }
            acknowledged.tables[family.index()] = Some(Arc::new(InstalledTable::from_contents(family, table)));
        }
        let undecided = frontends.iter().filter(|(_, installed)| installed.has_several_classes());
        acknowledged.undecided = undecided.map(|(frontend, _)| *frontend).collect();
        frontends.sort_by_key(|(frontend, _)| *frontend);
        shared.sort();
        acknowledged.frontends.extend(bulk_load_order(frontends));
        acknowledged.shared.extend(bulk_load_order(shared).map(|(shared, ())| shared));
        acknowledged
    }
}

/// What one element says about a frontend.
enum Part {
    Membership(SetName, Option<Arc<str>>),
    Slot { local: bool, slot: u32, endpoint: Endpoint },
    Id { local: bool, slot: u32, id: EndpointId },
    ById { local: bool, id: EndpointId, endpoint: Endpoint },
    Source(IpNet),
}

/// The chains, maps and sets of one frontend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OwnObjects {
    pub affinity: Option<InstalledAffinity>,
    pub check: SourceCheck,
}

/// The chains, maps and sets of single frontends in a table.
pub(super) fn own_objects(family: Family, table: &TableContents) -> BTreeMap<Frontend, OwnObjects> {
    let mut own: BTreeMap<Frontend, OwnObjects> = BTreeMap::new();
    for (name, chain) in &table.chains {
        if let Some((frontend, step)) = own_chain(family, name) {
            let own = own.entry(frontend).or_default();
            match step {
                Some(step) => own.affinity.get_or_insert_default().found_chain(step, frontend, chain),
                None => own.check.found_chain(frontend, chain),
            }
        }
    }
    for (name, set) in &table.sets {
        if let Some((frontend, name)) = own_set(family, name) {
            let own = own.entry(frontend).or_default();
            match name {
                SetName::Sources(_) => own.check.found_set(set),
                _ => own.affinity.get_or_insert_default().found_clients(set),
            }
        }
    }
    own
}

/// The frontend of a chain that belongs to one frontend of the table, and the step of session affinity that it does; without a step it checks
/// sources.
pub(super) fn own_chain(family: Family, name: &str) -> Option<(Frontend, Option<AffinityStep>)> {
    let with_affinity = ChainName::parse_with_affinity(name).map(|(step, frontend)| (frontend, Some(step)));
    let checking = || ChainName::parse_check_sources(name).map(|frontend| (frontend, None));
    with_affinity.or_else(checking).filter(|(frontend, _)| frontend.family() == family)
}

/// The frontend of a map or set that belongs to one frontend of the table, and its name.
pub(super) fn own_set(family: Family, name: &str) -> Option<(Frontend, SetName)> {
    let set: SetName = name.parse().ok()?;
    let frontend = set.frontend().filter(|frontend| frontend.family() == family)?;
    Some((frontend, set))
}

impl Part {
    /// The frontend that an element belongs to, and what it says; `None` for a shared element.
    fn from_element(element: &Element) -> Option<(Frontend, Self)> {
        match (element.key, element.set, element.value) {
            (Key::Slot(frontend, slot), SetName::Endpoints(list), Some(Value::Endpoint(endpoint))) => {
                Some((frontend, Self::Slot { local: list.is_local(), slot, endpoint }))
            }
            (Key::Slot(frontend, slot), SetName::EndpointIds(list), Some(Value::Id(id))) => {
                Some((frontend, Self::Id { local: list.is_local(), slot, id }))
            }
            (Key::ById(frontend, id), SetName::EndpointsById(list), Some(Value::Endpoint(endpoint))) => {
                Some((frontend, Self::ById { local: list.is_local(), id, endpoint }))
            }
            (Key::Frontend(frontend), set, None) => Some((frontend, Self::Membership(set, element.comment.clone()))),
            (Key::Network(source), SetName::Sources(frontend), None) => Some((frontend, Self::Source(source))),
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
    ids: [Vec<(u32, EndpointId)>; 2],
    by_id: [Vec<(EndpointId, Endpoint)>; 2],
    sources: Vec<IpNet>,
}

impl Found {
    fn add(&mut self, part: Part) {
        match part {
            Part::Membership(set, comment) => self.memberships.push((set, comment)),
            Part::Slot { local: false, slot, endpoint } => self.slots.push((slot, endpoint)),
            Part::Slot { local: true, slot, endpoint } => self.local_slots.push((slot, endpoint)),
            Part::Id { local, slot, id } => self.ids[usize::from(local)].push((slot, id)),
            Part::ById { local, id, endpoint } => self.by_id[usize::from(local)].push((id, endpoint)),
            Part::Source(source) => self.sources.push(source),
        }
    }

    /// What was found, with the chains, the map and the set of the frontend. Nothing is left.
    fn take_sorted(&mut self, own: Option<OwnObjects>) -> Installed {
        let OwnObjects { affinity: own, check } = own.unwrap_or_default();
        if check.set != Some(OwnPart::Intact) {
            self.sources.clear();
        }
        let has_ids = self.ids.iter().any(|ids| !ids.is_empty()) || self.by_id.iter().any(|by_id| !by_id.is_empty());
        let mut affinity = own.or_else(|| has_ids.then(InstalledAffinity::default));
        if let Some(affinity) = &mut affinity {
            for (list, (ids, by_id)) in affinity.lists.iter_mut().zip(self.ids.iter_mut().zip(&mut self.by_id)) {
                ids.sort_unstable();
                by_id.sort_unstable();
                list.slots = ids.drain(..).collect();
                list.endpoints = by_id.drain(..).collect();
            }
        }
        self.memberships.sort();
        self.slots.sort();
        self.local_slots.sort();
        self.sources.sort();
        Installed {
            memberships: self.memberships.drain(..).collect(),
            slots: self.slots.drain(..).collect(),
            local_slots: self.local_slots.drain(..).collect(),
            check,
            sources: if self.sources.is_empty() { Arc::default() } else { self.sources.drain(..).collect() },
            affinity: affinity.map(Box::new),
        }
    }
}

impl InstalledTable {
    fn from_contents(family: Family, table: &TableContents) -> Self {
        let chains = table.chains.iter().filter(|(name, _)| own_chain(family, name).is_none());
        let sets = table.sets.iter().filter(|(name, _)| own_set(family, name).is_none());
        Self {
            chains: chains.map(|(name, chain)| (name.clone(), chain.clone())).collect(),
            sets: sets.map(|(name, set)| (name.clone(), *set)).collect(),
            features: found(table),
            verified: None,
        }
    }
}

impl Installed {
    /// The service port that it was installed for, by its comment.
    pub fn owner(&self) -> Option<&str> {
        self.memberships.iter().find_map(|(_, comment)| comment.as_deref())
    }

    /// The sets that it is a member of.
    pub(super) fn sets(&self) -> impl Iterator<Item = SetName> {
        self.memberships.iter().map(|(set, _)| *set)
    }

    /// Whether it is a member of several classes of one list. It never asks for that.
    fn has_several_classes(&self) -> bool {
        let lists = || self.sets().filter_map(|set| set.class()).map(|(list, _)| list);
        lists().enumerate().any(|(n, list)| lists().take(n).any(|other| other == list))
    }

    /// The sets that its elements keep in the program. The chain that checks its sources keeps the one to which it leads.
    pub(super) fn counted_sets(&self, frontend: Frontend) -> impl Iterator<Item = SetName> {
        let checks = [SetName::SourceChecks].into_iter().filter(|_| self.check.chain.is_some());
        let is_counted = |set: &SetName| *set != SetName::SourceChecks || self.check.chain.is_none();
        let affinity = self.affinity.iter().flat_map(move |affinity| affinity.sets_by_id(frontend));
        self.sets().filter(is_counted).chain(checks).chain(affinity)
    }

    /// The sets that the program has for as long as an element is in them, if it is one that is left over: of what `core` is without that.
    pub(super) fn extra_sets(&self, frontend: Frontend, core: Option<&Self>) -> impl Iterator<Item = SetName> {
        let lasts = |set: &SetName| {
            matches!(set, SetName::AffinitySlots(..) | SetName::SourceChecks | SetName::EndpointsById(_))
        };
        let in_core: Vec<SetName> = core.into_iter().flat_map(|it| it.counted_sets(frontend)).filter(lasts).collect();
        let extra = self.counted_sets(frontend).filter(lasts).filter(move |set| !in_core.contains(set));
        extra.collect::<Vec<_>>().into_iter()
    }

    /// The timeout of its session affinity in seconds, if it has that.
    pub fn affinity_seconds(&self) -> Option<u32> {
        self.affinity.as_ref()?.seconds()
    }

    /// The sets that it is a member of, but for those behind its gates: they tell the classes of its lists, or lead to its own chains.
    pub fn gates(&self) -> impl Iterator<Item = SetName> {
        let is_behind = |set: &SetName| {
            matches!(set, SetName::Slots(..) | SetName::AffinitySlots(..) | SetName::AffinityChains(..))
        };
        self.memberships.iter().map(|(set, _)| *set).filter(move |set| !is_behind(set))
    }

    /// The slots that clients under this policy are balanced over, without session affinity.
    pub fn slots(&self, policy: TrafficPolicy) -> &Slots {
        match policy {
            TrafficPolicy::Cluster => &self.slots,
            TrafficPolicy::Local => &self.local_slots,
        }
    }

    /// The endpoints that clients under this policy are balanced over.
    pub fn endpoints(&self, policy: TrafficPolicy) -> impl Iterator<Item = Endpoint> {
        let by_id = self.affinity.iter().flat_map(move |affinity| &affinity.list(policy).endpoints);
        self.slots(policy).iter().map(|(_, endpoint)| endpoint).chain(by_id.map(|(_, endpoint)| *endpoint))
    }

    /// The id of the endpoint at an address, with session affinity.
    #[cfg(test)]
    pub(crate) fn id_of(&self, addr: std::net::IpAddr) -> Option<EndpointId> {
        let by_id = &self.affinity.as_ref()?.list(TrafficPolicy::Cluster).endpoints;
        by_id.iter().find(|(_, endpoint)| endpoint.addr == addr).map(|(id, _)| *id)
    }

    /// How many elements the frontend has.
    pub(super) fn size(&self) -> usize {
        let affinity = self.affinity.as_ref().map_or(0, |affinity| affinity.size());
        let sources = self.check.size() + self.sources.len();
        self.memberships.len() + self.slots.len() + self.local_slots.len() + sources + affinity
    }
}

/// The list of endpoints that a frontend has for clients under a policy.
pub(super) fn list_of(frontend: Frontend, policy: TrafficPolicy) -> EndpointList {
    EndpointList::for_frontends(frontend.is_node_port(), policy == TrafficPolicy::Local)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::{Key, Object, Operation, SizeClass};
    use crate::fixtures::{World, frontend, service, slice};

    fn world() -> World {
        World::with([
            service("shop/web").ips(&["10.96.0.1", "fd00:96::1"]).into(),
            slice("shop/web-1").endpoints("10.1.0.1 L r, 10.1.0.2 R r").into(),
        ])
    }

    #[test]
    fn what_is_read_is_what_was_programmed() {
        let world = world();
        let read = Acknowledged::from(world.kernel.contents(&Family::ALL));
        assert_eq!(read.frontends, world.acknowledged().frontends);
        assert_eq!(read.shared, world.acknowledged().shared);
        for family in Family::ALL {
            let (read, known) = (&read.tables[family.index()], &world.acknowledged().tables[family.index()]);
            let (read, known) = (read.as_ref().unwrap(), known.as_ref().unwrap());
            assert_eq!((&read.chains, &read.sets), (&known.chains, &known.sets));
        }
    }

    #[test]
    fn what_is_read_is_not_taken_for_verified() {
        let read = Acknowledged::from(world().kernel.contents(&Family::ALL));
        assert!(read.tables.iter().flatten().all(|table| table.verified.is_none()));
    }

    #[test]
    fn only_a_frontend_in_two_classes_of_one_list_is_left_undecided() {
        let mut world = World::with([
            service("shop/web").ips(&["10.96.0.1"]).load_balancer_ips(&["203.0.113.1"]).affinity(60).into(),
            service("shop/db").ips(&["10.96.0.2"]).load_balancer_ips(&["203.0.113.2"]).into(),
            slice("shop/web-1").endpoints("10.1.0.1 L r, 10.1.0.2 R r").into(),
            slice("shop/db-1").endpoints("10.1.0.3 L r, 10.1.0.4 R r").into(),
        ]);
        let undecided = |world: &World| Acknowledged::from(world.kernel.contents(&[Family::Ip])).undecided;
        assert!(undecided(&world).is_empty());
        let another = SizeClass::for_endpoints(1).map(|class| SetName::Slots(EndpointList::Any, class)).unwrap();
        let db = frontend("203.0.113.2 80/tcp");
        let stray = Operation::add_element(Element::member(another, Key::Frontend(db)));
        let add_set = Operation::add(Family::Ip, Object::Set(another));
        world.kernel.apply(&[add_set, stray]).unwrap();
        assert_eq!(undecided(&world).into_iter().collect::<Vec<_>>(), [db]);
    }

    #[test]
    fn a_frontend_tells_its_owner_gate_and_endpoints() {
        let world = world();
        let installed = &world.acknowledged().frontends[&frontend("10.96.0.1 80/tcp")];
        assert_eq!(installed.owner(), Some("shop/web:http"));
        let two = SizeClass::for_endpoints(2).map(SetName::Internal).unwrap();
        assert_eq!(installed.gates().collect::<Vec<_>>(), [two]);
        assert_eq!(
            installed.endpoints(TrafficPolicy::Cluster).map(|e| e.to_string()).collect::<Vec<_>>(),
            ["10.1.0.1:8080", "10.1.0.2:8080"]
        );
    }

    #[test]
    fn elements_are_counted_by_family_and_set() {
        let two = SizeClass::for_endpoints(2).map(SetName::Internal).unwrap();
        let expected = BTreeMap::from([
            ((Family::Ip, SetName::ClusterIps), 1),
            ((Family::Ip, SetName::Hairpin), 1),
            ((Family::Ip, two), 1),
            ((Family::Ip, SetName::Endpoints(EndpointList::Any)), 2),
            ((Family::Ip6, SetName::ClusterIps), 1),
            ((Family::Ip6, SetName::RejectServices), 1),
        ]);
        assert_eq!(world().acknowledged().count_elements(), expected);
        assert_eq!(Acknowledged::empty().count_elements(), BTreeMap::new());
    }

    #[test]
    fn a_set_without_elements_is_not_counted() {
        let mut world = world();
        world.apply(service("shop/web").ips(&["10.96.0.1"]).affinity(60));
        world.sync();
        let counts = world.acknowledged().count_elements();
        assert_eq!(counts[&(Family::Ip, SetName::EndpointIds(EndpointList::Any))], 2);
        assert!(counts.values().all(|count| *count > 0), "{counts:?}");
    }

    #[test]
    fn a_forgotten_table_takes_what_it_holds_along() {
        let mut held = world().acknowledged();
        for frontend in held.frontends.keys() {
            held.leftovers.insert(*frontend, Arc::default());
        }
        held.shared_leftovers = held.shared.iter().map(|shared| (*shared, 1_u64)).collect();
        let left = held.without_table(Family::Ip);
        assert!(left.leftovers.keys().eq(left.frontends.keys()) && left.shared_leftovers.keys().eq(&left.shared));
        assert_eq!(left.frontends.keys().collect::<Vec<_>>(), [&frontend("fd00:96::1 80/tcp")]);
        assert_eq!(left.shared.len(), 1);
        assert_eq!((left.has_table(Family::Ip), left.has_table(Family::Ip6)), (false, true));
    }
}
