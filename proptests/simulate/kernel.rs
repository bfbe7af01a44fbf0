//! The kernel: one in memory, with faults, and with other programs that write to it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use pointsman::apply::{MemoryKernel, Refusal};
use pointsman::dataplane::{
    Action, ChainName, Element, Endpoint, EndpointId, Family, Key, Object, Operation, Outline, Packet, PacketOutcome,
    Rule, SetName, TableContents, TableOutline, Tables, Value, Verb,
};
use pointsman::diff::Acknowledged;
use pointsman::engine::{Failure, FailureKind};

use crate::clients::client_of;
use crate::coverage::{Coverage, Fault};
use crate::random::Random;

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// So many batches are refused.
    pub refuse: u32,
    /// So many batches are committed, and their acknowledgements are lost.
    pub lose_acknowledgement: u32,
    /// So many batches are lost.
    pub lose_batch: u32,
    /// So many readings fail.
    pub fail_reading: u32,
    /// Batches with an element of this frontend's address are refused.
    pub poison: Option<IpAddr>,
    /// Larger batches are refused.
    pub largest_batch: Option<usize>,
    /// So many batches take long.
    pub slow: u32,
}

impl Faults {
    pub fn any(&self) -> bool {
        self.refuse + self.lose_acknowledgement + self.lose_batch + self.fail_reading + self.slow > 0
            || self.poison.is_some()
            || self.largest_batch.is_some()
    }
}

/// The kernel of the simulated node.
#[derive(Debug, Default)]
pub struct Kernel {
    pub tables: MemoryKernel,
    pub faults: Faults,
    /// The number of each table: one that is made again has another.
    handles: [u64; 2],
    next_handle: u64,
    /// How many writes of other programs changed our tables.
    pub foreign_writes: u64,
    /// What another program saved, and after how many entries of the journal.
    saved: Option<(MemoryKernel, usize)>,
    /// Who was ever remembered in a map of clients.
    pub clients: BTreeSet<IpAddr>,
    /// Elements of endpoints are not deleted.
    pub keeps_endpoints: bool,
    /// What was written and what must hold then, for a real kernel to repeat.
    pub journal: Option<Vec<Entry>>,
}

/// Something for a real kernel to repeat.
#[derive(Clone, Debug)]
pub enum Entry {
    Batch {
        operations: Vec<Operation>,
        is_accepted: bool,
    },
    Removed(Vec<Family>),
    /// The tables are again as they were after so many entries.
    Restored(usize),
    /// The tables hold this.
    Tables(Box<Tables>),
    /// This may become of a packet that this host sends.
    Packet(Packet, BTreeSet<PacketOutcome>),
}

/// What became of a batch.
#[derive(Debug)]
pub struct Answer {
    pub result: Result<(), Failure>,
    pub applied: bool,
}

/// A write of another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignWrite {
    FlushTable,
    FlushRuleset,
    Restore,
    DeleteElement,
    ReplaceElement,
    AddElement,
    EditRules,
    AddChain,
}

impl ForeignWrite {
    /// The operations of a write that edits a table with these contents; none of the others, and none if there is nothing to edit.
    pub fn operations(
        self,
        family: Family,
        contents: Option<&TableContents>,
        random: &mut Random,
    ) -> Option<(Vec<Operation>, Fault)> {
        let element = |random: &mut Random| {
            let elements = &contents?.elements;
            if elements.is_empty() { None } else { Some(random.pick(elements).clone()) }
        };
        match self {
            Self::FlushTable | Self::FlushRuleset | Self::Restore => None,
            Self::DeleteElement => Some((vec![Operation::delete_element(element(random)?)], Fault::DeletedElement)),
            Self::ReplaceElement => {
                let element = element(random)?;
                let addr = if element.family() == Family::Ip {
                    IpAddr::from([10, 9, 9, 9])
                } else {
                    "fd00:9::9".parse().ok()?
                };
                let value = Value::Endpoint(Endpoint { addr, port: 1 + u16::from(random.small(9)) });
                let other = Element { value: Some(value), ..element.clone() };
                matches!(element.value, Some(Value::Endpoint(_))).then(|| {
                    let replaced = vec![Operation::delete_element(element), Operation::add_element(other)];
                    (replaced, Fault::ReplacedElement)
                })
            }
            Self::AddElement => {
                let n = random.small(9);
                let addr = if family == Family::Ip {
                    IpAddr::from([10, 96, 0, n])
                } else {
                    [0xfd00, 0x96, 0, 0, 0, 0, 0, u16::from(n)].into()
                };
                let element = Element::member(SetName::ClusterIps, Key::Addr(addr));
                Some((vec![Operation::add_element(element)], Fault::AddedElement))
            }
            Self::EditRules => {
                let chains: Vec<String> = contents.map_or_else(Vec::new, |it| it.chains.keys().cloned().collect());
                if chains.is_empty() {
                    return None;
                }
                let chain = ChainName::from(random.pick(&chains).clone());
                let edit = if random.one_in(2) {
                    Operation::flush(family, chain)
                } else {
                    Operation::add(family, Object::Rule(chain, Box::new(Rule::new(family, Action::Drop))))
                };
                Some((vec![edit], Fault::EditedRules))
            }
            Self::AddChain => {
                let name = format!("other-{}", random.below(3));
                let chain = Operation::add(family, Object::Chain(name.into(), None));
                Some((vec![chain], Fault::ForeignChain))
            }
        }
    }
}

impl Kernel {
    /// Commits a batch, or does not.
    pub fn commit(&mut self, operations: &[Operation], met: &mut Coverage) -> Answer {
        let refused =
            |kind, message: &str| Answer { result: Err(Failure { kind, message: message.to_owned() }), applied: false };
        let faults = &mut self.faults;
        if take_one(&mut faults.lose_batch) {
            met.count(Fault::LostBatch);
            return refused(FailureKind::Unanswered, "no answer");
        }
        if take_one(&mut faults.refuse) {
            met.count(Fault::Refused);
            return refused(FailureKind::Refused, "refused");
        }
        if faults.largest_batch.is_some_and(|largest| operations.len() > largest) {
            met.count(Fault::RefusedLarge);
            return refused(FailureKind::Refused, "out of memory");
        }
        if operations.iter().any(|operation| is_of(operation, faults.poison)) {
            met.count(Fault::RefusedFrontend);
            return refused(FailureKind::Refused, "refused for an element");
        }
        let before = Family::ALL.map(|family| self.tables.has_table(family));
        match self.take(operations) {
            Ok(()) => {}
            Err(refusal) => {
                let is_missing = refusal == Refusal::Missing;
                if is_missing {
                    met.count(Fault::Missing);
                }
                let kind = if is_missing { FailureKind::Missing } else { FailureKind::Refused };
                return refused(kind, &format!("{refusal:?}"));
            }
        }
        for family in Family::ALL {
            let is_new = operations.iter().any(|operation| {
                operation.family == family && operation.verb == Verb::Delete && operation.object == Object::Table
            });
            if self.tables.has_table(family) && (is_new || !before[family.index()]) {
                self.number(family);
            }
        }
        if take_one(&mut self.faults.lose_acknowledgement) {
            met.count(Fault::LostAcknowledgement);
            let failure = Failure { kind: FailureKind::Unanswered, message: "the answer is lost".to_owned() };
            return Answer { result: Err(failure), applied: true };
        }
        Answer { result: Ok(()), applied: true }
    }

    fn take(&mut self, operations: &[Operation]) -> Result<(), Refusal> {
        let is_kept = |operation: &Operation| {
            let set = |element: &Element| matches!(element.set, SetName::Endpoints(_) | SetName::EndpointsById(_));
            operation.verb == Verb::Delete && matches!(&operation.object, Object::Element(element) if set(element))
        };
        let taken = if self.keeps_endpoints {
            let others: Vec<Operation> = operations.iter().filter(|operation| !is_kept(operation)).cloned().collect();
            self.tables.apply(&others)
        } else {
            self.tables.apply(operations)
        };
        if let Some(journal) = &mut self.journal {
            journal.push(Entry::Batch { operations: operations.to_vec(), is_accepted: taken.is_ok() });
        }
        taken
    }

    fn number(&mut self, family: Family) {
        self.next_handle += 1;
        self.handles[family.index()] = self.next_handle;
    }

    /// Reads the tables; `None` if that fails.
    pub fn read(&mut self, met: &mut Coverage) -> Option<Acknowledged> {
        if take_one(&mut self.faults.fail_reading) {
            met.count(Fault::FailedReading);
            return None;
        }
        Some(self.held())
    }

    /// What the tables hold.
    pub fn held(&self) -> Acknowledged {
        Acknowledged::from(self.tables.contents(&Family::ALL))
    }

    /// The outline of the tables.
    pub fn outline(&self) -> Outline {
        let (all, mut outline) = (self.tables.contents(&Family::ALL), Outline::default());
        for family in Family::ALL {
            let Some(contents) = all.get(family) else { continue };
            let mut contents = contents.clone();
            let (mut counts, mut listed) = (BTreeMap::new(), Vec::new());
            let names = contents.sets.keys().filter_map(|name| name.parse::<SetName>().ok());
            let is_listed = |set: &SetName| set.definition().interval && set.definition().key.len() == 1;
            for set in names.filter(|set| !set.is_dynamic() && !is_listed(set)) {
                counts.insert(set, 0);
            }
            for element in std::mem::take(&mut contents.elements) {
                match counts.get_mut(&element.set) {
                    Some(count) => *count += 1,
                    None => listed.push(element),
                }
            }
            contents.elements = listed;
            let handle = self.handles[family.index()];
            outline.set(family, Some(TableOutline { handle, contents, counts, ..TableOutline::default() }));
        }
        outline
    }

    /// Packets' entries are lost.
    pub fn forget_clients(&mut self) {
        let contents = self.tables.contents(&Family::ALL);
        for family in Family::ALL {
            let sets =
                contents.get(family).map(|table| table.sets.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
            for set in sets.iter().filter_map(|name| name.parse::<SetName>().ok()).filter(|set| set.is_dynamic()) {
                for addr in self.clients.iter().copied().filter(|addr| Family::from_addr(*addr) == family) {
                    let SetName::Clients(frontend) = set else { continue };
                    let client = client_of(frontend, addr, EndpointId(0));
                    let _ = self.tables.apply(&[Operation::delete_element(client)]);
                }
            }
        }
    }

    /// Remembers the tables, to be restored later.
    pub fn save(&mut self) {
        self.saved = Some((self.tables.clone(), self.journal.as_ref().map_or(0, Vec::len)));
    }

    /// Another program writes to our tables. False if that changed nothing.
    pub fn write(&mut self, write: ForeignWrite, random: &mut Random, met: &mut Coverage) -> bool {
        let family = *random.pick(&Family::ALL);
        let done = match write {
            ForeignWrite::FlushTable => self.remove(&[family]).then_some(Fault::FlushedTable),
            ForeignWrite::FlushRuleset => self.remove(&Family::ALL).then_some(Fault::FlushedRuleset),
            ForeignWrite::Restore => self.saved.clone().map(|(saved, entries)| {
                self.tables = saved;
                if let Some(journal) = &mut self.journal {
                    journal.push(Entry::Restored(entries));
                }
                Family::ALL.into_iter().for_each(|family| self.number(family));
                Fault::RestoredDump
            }),
            edit => {
                let contents = self.tables.contents(&[family]);
                let edited = edit.operations(family, contents.get(family), random);
                edited.and_then(|(operations, fault)| self.change(&operations).then_some(fault))
            }
        };
        let Some(fault) = done else { return false };
        met.count(fault);
        self.foreign_writes += 1;
        true
    }

    fn remove(&mut self, families: &[Family]) -> bool {
        let any = families.iter().any(|family| self.tables.has_table(*family));
        families.iter().for_each(|family| self.tables.remove_table(*family));
        if let Some(journal) = &mut self.journal {
            journal.push(Entry::Removed(families.to_vec()));
        }
        any
    }

    /// Whether the operations changed something.
    fn change(&mut self, operations: &[Operation]) -> bool {
        let before = self.tables.contents(&Family::ALL);
        self.take(operations).is_ok() && self.tables.contents(&Family::ALL) != before
    }
}

fn take_one(count: &mut u32) -> bool {
    let any = *count > 0;
    *count = count.saturating_sub(1);
    any
}

fn is_of(operation: &Operation, poison: Option<IpAddr>) -> bool {
    let Object::Element(element) = &operation.object else { return false };
    let (Key::Frontend(frontend) | Key::Slot(frontend, _) | Key::ById(frontend, _)) = element.key else { return false };
    poison.is_some_and(|addr| frontend.addr == addr)
}
