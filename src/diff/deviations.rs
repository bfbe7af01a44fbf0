//! How the kernel deviates from what it acknowledged: another program wrote to the tables.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;

use super::acknowledged::{Acknowledged, Installed, InstalledTable, OwnObjects, own_chain, own_objects, own_set};
use super::affinity::InstalledAffinity;
use super::shared::SharedElement;
use super::sources::{OwnPart, SourceCheck};
use super::written::Written;
use crate::dataplane::{
    AffinityStep, ChainContents, ChainName, Element, ElementCounts, Family, Frontend, Key, Outline, SetContents,
    SetName, TABLE, TableContents, TableOutline,
};
use crate::sorted::differences;

/// One deviation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deviation {
    /// The table is missing.
    TableMissing(Family),
    /// The table is another one of the same name.
    TableReplaced(Family),
    /// A chain is missing, or its rules or its hook are not those that were written.
    Chain(Family, String),
    /// A chain that was not written.
    UnknownChain(Family, String),
    /// A set is missing, or has another type.
    Set(Family, String),
    /// A set that was not written.
    UnknownSet(Family, String),
    /// A set has so many more elements than were written, or fewer if below zero.
    Elements(Family, SetName, i64),
    /// The elements of so many frontends are not those that were written; this is the first.
    Frontends(usize, Frontend),
    /// So many shared elements come or go; this is the first.
    Shared(usize, SharedElement),
}

/// Where a reading of the kernel differs from what it acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Differing {
    /// By [`Family::index`].
    programs: [Vec<Deviation>; 2],
    /// The tables that were read, by [`Family::index`].
    tables: [Option<Arc<InstalledTable>>; 2],
    frontends: Vec<DifferingFrontend>,
    shared: Vec<SharedElement>,
}

/// Where a frontend differs.
#[derive(Clone, Debug)]
struct DifferingFrontend {
    frontend: Frontend,
    /// Its own chains, map and set.
    own: Vec<Deviation>,
    /// Its elements differ.
    in_elements: bool,
    /// What was read of it.
    read: Option<Arc<Installed>>,
}

impl DifferingFrontend {
    fn new(frontend: Frontend, held: Option<&Installed>, found: Option<Arc<Installed>>) -> Self {
        let read = found.as_deref();
        let (nothing, mut own) = (InstalledAffinity::default(), Vec::new());
        let affinity = |it: Option<&'_ Installed>| it.and_then(|it| it.affinity.as_deref()).cloned();
        let [held_own, read_own] = [held, read].map(|it| affinity(it).unwrap_or_else(|| nothing.clone()));
        compare_affinity(frontend, &held_own, &read_own, &mut own);
        let [held_check, read_check] = [held, read].map(|it| it.map(|it| it.check).unwrap_or_default());
        compare_checks(frontend, held_check, read_check, &mut own);
        // The same objects of its own on both sides.
        let alike = |it: Option<&Installed>, lists| {
            let affinity = Some(Box::new(InstalledAffinity { lists, ..nothing.clone() }));
            Installed { affinity, check: SourceCheck::default(), ..it.cloned().unwrap_or_default() }
        };
        let in_elements = alike(held, held_own.lists) != alike(read, read_own.lists);
        Self { frontend, own, in_elements, read: found }
    }
}

impl Acknowledged {
    /// How an outline of the kernel deviates from this.
    pub fn deviations(&self, outline: &Outline, counts: &ElementCounts, families: &[Family]) -> Vec<Deviation> {
        let mut found = Vec::new();
        for family in families.iter().copied() {
            let (table, seen) = (self.tables[family.index()].as_ref(), outline.get(family));
            let Some(table) = table else { continue };
            let Some(seen) = seen else {
                found.push(Deviation::TableMissing(family));
                continue;
            };
            compare_programs(family, table, &seen.contents.chains, &seen.contents.sets, &mut found);
            for (set, count) in &seen.counts {
                let more = i64::try_from(*count).unwrap_or(i64::MAX).saturating_sub(counts.get(family, *set));
                if more != 0 {
                    found.push(Deviation::Elements(family, *set, more));
                }
            }
            self.compare_listed(family, &seen.contents, &mut found);
            self.compare_own(family, seen, counts, &mut found);
        }
        found
    }

    /// Compares the chains, maps and sets of single frontends. Walks all frontends only if one of these is missing.
    fn compare_own(&self, family: Family, seen: &TableOutline, counts: &ElementCounts, found: &mut Vec<Deviation>) {
        let (nothing, own) = (Installed::default(), own_objects(family, &seen.contents));
        let held = |frontend: &Frontend| self.frontends.get(frontend).map(|held| &**held);
        for (frontend, own) in &own {
            compare_own_objects(*frontend, held(frontend).unwrap_or(&nothing), own, found);
        }
        self.compare_sources(&own, seen, found);
        // Each of these frontends leads to its chain by one element.
        let leading = [false, true].map(|node_port| SetName::AffinityChains(AffinityStep::Recall, node_port));
        let leading: i64 = leading.into_iter().chain([SetName::SourceChecks]).map(|set| counts.get(family, set)).sum();
        let known = |frontend: &Frontend| {
            held(frontend).map_or(0, |it| i64::from(it.affinity.is_some()) + i64::from(!it.check.is_empty()))
        };
        if own.keys().map(known).sum::<i64>() == leading {
            return;
        }
        for (frontend, installed) in self.frontends.iter().filter(|(frontend, _)| frontend.family() == family) {
            if !own.contains_key(frontend) {
                compare_own_objects(*frontend, installed, &OwnObjects::default(), found);
            }
        }
    }

    /// Compares the sources of frontends, as far as they were read.
    fn compare_sources(&self, own: &BTreeMap<Frontend, OwnObjects>, seen: &TableOutline, found: &mut Vec<Deviation>) {
        let mut sources: BTreeMap<Frontend, Vec<IpNet>> = BTreeMap::new();
        for element in &seen.contents.elements {
            if let (SetName::Sources(frontend), Key::Network(source)) = (element.set, element.key) {
                sources.entry(frontend).or_default().push(source);
            }
        }
        let is_read = |frontend: &Frontend| !seen.unread.contains(&SetName::Sources(*frontend));
        let is_there = |own: &OwnObjects| own.check.set == Some(OwnPart::Intact);
        for (frontend, _) in own.iter().filter(|(frontend, own)| is_there(own) && is_read(frontend)) {
            let mut read = sources.remove(frontend).unwrap_or_default();
            read.sort_unstable();
            let held = self.frontends.get(frontend).map_or(&[][..], |held| &held.sources);
            let more = i64::try_from(read.len()).unwrap_or(i64::MAX) - i64::try_from(held.len()).unwrap_or(i64::MAX);
            if more != 0 {
                found.push(Deviation::Elements(frontend.family(), SetName::Sources(*frontend), more));
            } else if read != held {
                found.push(Deviation::Frontends(1, *frontend));
            }
        }
    }

    /// Compares the elements of sets that are not counted, all of which are shared ones.
    fn compare_listed(&self, family: Family, seen: &TableContents, found: &mut Vec<Deviation>) {
        let is_listed = |set: SetName| set.definition().interval;
        let held = self.shared.iter().filter(|shared| is_listed(shared.set) && shared.key.family() == family);
        let missing = held.filter(|shared| !seen.elements.iter().any(|element| is_same(shared, element)));
        let listed = seen.elements.iter().filter(|element| element.set.frontend().is_none());
        let unknown = listed.filter(|element| !self.shared.contains(&shared(element)));
        let all: Vec<SharedElement> = missing.copied().chain(unknown.map(shared)).collect();
        if let Some(first) = all.first() {
            found.push(Deviation::Shared(all.len(), *first));
        }
    }

    /// Where a reading of the kernel differs from this. Walks everything.
    pub fn differing(&self, read: &Self, families: &[Family]) -> Differing {
        let mut differing = Differing { tables: read.tables.clone(), ..Differing::default() };
        for family in families.iter().copied() {
            let Some(table) = &self.tables[family.index()] else { continue };
            let found = &mut differing.programs[family.index()];
            match &read.tables[family.index()] {
                None => found.push(Deviation::TableMissing(family)),
                Some(seen) => compare_programs(family, table, &seen.chains, &seen.sets, found),
            }
        }
        let other = self.frontends.iter().filter(|(frontend, held)| read.frontends.get(*frontend) != Some(*held));
        let unknown = read.frontends.keys().filter(|frontend| !self.frontends.contains_key(*frontend));
        let frontends = other.map(|(frontend, _)| frontend).chain(unknown);
        let frontends = frontends.filter(|frontend| families.contains(&frontend.family()));
        let installed = |of: &Self, frontend: &Frontend| of.frontends.get(frontend).cloned();
        let compare = |frontend: &Frontend| {
            let (held, read) = (installed(self, frontend), installed(read, frontend));
            DifferingFrontend::new(*frontend, held.as_deref(), read)
        };
        differing.frontends = frontends.map(compare).collect();
        differences(self.shared.iter(), read.shared.iter(), |_, element| {
            if families.contains(&element.key.family()) {
                differing.shared.push(*element);
            }
        });
        differing
    }
}

impl Differing {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.programs.iter().all(Vec::is_empty) && self.frontends.is_empty() && self.shared.is_empty()
    }

    /// The deviations, but for what was written while the kernel was read, which holds `now` after it. `None` if nothing else differs, and
    /// some of that was not read as it is now: another program may have changed it, too. What came and went meanwhile is in both states alike,
    /// so these do not tell.
    pub fn deviations_beside(self, written: &Written, now: &Acknowledged) -> Option<Vec<Deviation>> {
        let mut differing_programs = Family::ALL.into_iter().filter(|family| !self.programs[family.index()].is_empty());
        let is_program_clear = differing_programs.all(|family| {
            let now = now.tables[family.index()].as_deref();
            !written.has_program(family) || is_same_program(self.tables[family.index()].as_deref(), now)
        });
        let is_as_now =
            |it: &DifferingFrontend| it.read.as_deref() == now.frontends.get(&it.frontend).map(|now| &**now);
        let is_clear =
            is_program_clear && self.frontends.iter().all(|it| !written.has_frontend(&it.frontend) || is_as_now(it));
        let found = self.deviations(written);
        (is_clear || !found.is_empty()).then_some(found)
    }

    /// The deviations, but for what was written.
    pub fn deviations(mut self, written: &Written) -> Vec<Deviation> {
        let mut found = Vec::new();
        for family in Family::ALL.into_iter().filter(|family| !written.has_program(*family)) {
            found.append(&mut self.programs[family.index()]);
        }
        self.frontends.retain(|differing| !written.has_frontend(&differing.frontend));
        found.extend(self.frontends.iter_mut().flat_map(|differing| differing.own.drain(..)));
        let mut in_elements = self.frontends.iter().filter(|differing| differing.in_elements);
        if let Some(first) = in_elements.next() {
            found.push(Deviation::Frontends(1 + in_elements.count(), first.frontend));
        }
        self.shared.retain(|element| !written.has_shared(element));
        if let Some(first) = self.shared.first() {
            found.push(Deviation::Shared(self.shared.len(), *first));
        }
        found
    }
}

/// Whether two tables have the same chains and sets.
fn is_same_program(one: Option<&InstalledTable>, other: Option<&InstalledTable>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.chains == other.chains && one.sets == other.sets,
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Compares the chains and sets of a table with those that were seen.
fn compare_programs(
    family: Family,
    table: &InstalledTable,
    chains: &BTreeMap<String, ChainContents>,
    sets: &BTreeMap<String, SetContents>,
    found: &mut Vec<Deviation>,
) {
    let edited = table.chains.iter().filter(|(name, chain)| chains.get(*name) != Some(chain));
    found.extend(edited.map(|(name, _)| Deviation::Chain(family, name.clone())));
    // Those of single frontends are compared with what these have.
    let is_own = |name: &String| own_chain(family, name).is_some();
    let unknown = chains.keys().filter(|name| !table.chains.contains_key(*name) && !is_own(name));
    found.extend(unknown.map(|name| Deviation::UnknownChain(family, name.clone())));
    let edited = table.sets.iter().filter(|(name, set)| sets.get(*name) != Some(set));
    found.extend(edited.map(|(name, _)| Deviation::Set(family, name.clone())));
    let is_own = |name: &String| own_set(family, name).is_some();
    let unknown = sets.keys().filter(|name| !table.sets.contains_key(*name) && !is_own(name));
    found.extend(unknown.map(|name| Deviation::UnknownSet(family, name.clone())));
}

/// Compares the chains, the map and the set of one frontend with those that were seen.
fn compare_own_objects(frontend: Frontend, held: &Installed, seen: &OwnObjects, found: &mut Vec<Deviation>) {
    let nothing = InstalledAffinity::default();
    let held_affinity = held.affinity.as_deref().unwrap_or(&nothing);
    compare_affinity(frontend, held_affinity, seen.affinity.as_ref().unwrap_or(&nothing), found);
    compare_checks(frontend, held.check, seen.check, found);
}

/// Compares the chain and the set that check the sources of one frontend. The sources themselves are elements.
fn compare_checks(frontend: Frontend, held: SourceCheck, seen: SourceCheck, found: &mut Vec<Deviation>) {
    let family = frontend.family();
    if held.chain != seen.chain {
        let deviation = if held.chain.is_some() { Deviation::Chain } else { Deviation::UnknownChain };
        found.push(deviation(family, ChainName::check_sources(frontend).to_string()));
    }
    if held.set != seen.set {
        let deviation = if held.set.is_some() { Deviation::Set } else { Deviation::UnknownSet };
        found.push(deviation(family, SetName::Sources(frontend).to_string()));
    }
}

/// Compares the chains and the map of clients of one frontend with those that were seen. What is in the map was written by packets.
fn compare_affinity(
    frontend: Frontend,
    held: &InstalledAffinity,
    seen: &InstalledAffinity,
    found: &mut Vec<Deviation>,
) {
    let family = frontend.family();
    for ((held, seen), step) in held.chains.iter().zip(&seen.chains).zip(AffinityStep::ALL) {
        let deviation = if held.is_some() { Deviation::Chain } else { Deviation::UnknownChain };
        if held != seen {
            found.push(deviation(family, ChainName::with_affinity(step, frontend).to_string()));
        }
    }
    if held.clients != seen.clients {
        let deviation = if held.clients.is_some() { Deviation::Set } else { Deviation::UnknownSet };
        found.push(deviation(family, SetName::Clients(frontend).to_string()));
    }
}

impl Deviation {
    /// The kind, for metrics: `table`, `rules` or `elements`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TableMissing(_) | Self::TableReplaced(_) => "table",
            Self::Chain(..) | Self::UnknownChain(..) | Self::Set(..) | Self::UnknownSet(..) => "rules",
            Self::Elements(..) | Self::Frontends(..) | Self::Shared(..) => "elements",
        }
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TableMissing(family) => write!(f, "table {} {TABLE} is missing", family.nft()),
            Self::TableReplaced(family) => write!(f, "table {} {TABLE} was deleted and made again", family.nft()),
            Self::Chain(family, name) => write!(f, "chain {name} of {} was edited or is missing", family.nft()),
            Self::UnknownChain(family, name) => write!(f, "chain {name} of {} is unknown", family.nft()),
            Self::Set(family, name) => write!(f, "set {name} of {} is missing or has another type", family.nft()),
            Self::UnknownSet(family, name) => write!(f, "set {name} of {} is unknown", family.nft()),
            Self::Elements(family, set, more) if *more < 0 => {
                write!(f, "set {set} of {} lacks {} element(s)", family.nft(), more.unsigned_abs())
            }
            Self::Elements(family, set, more) => {
                write!(f, "set {set} of {} has {more} element(s) too many", family.nft())
            }
            Self::Frontends(1, first) => write!(f, "the elements of {first} differ"),
            Self::Frontends(count, first) => write!(f, "the elements of {count} frontends differ, {first} among them"),
            Self::Shared(count, first) => {
                write!(f, "{count} element(s) differ, {} of {} among them", first.key, first.set)
            }
        }
    }
}

fn shared(element: &Element) -> SharedElement {
    SharedElement { set: element.set, key: element.key }
}

fn is_same(shared: &SharedElement, element: &Element) -> bool {
    shared.set == element.set && shared.key == element.key
}

#[cfg(test)]
mod tests;
