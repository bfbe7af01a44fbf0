//! How often each class of faults and events was met.

use std::fmt;

macro_rules! faults {
    ($($name:ident $text:literal,)*) => {
        /// What happened in a simulated world.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault { $(#[doc = $text] $name,)* }

        impl Fault {
            /// All, in order.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What it is.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

faults! {
    Change "a change of an object arrives",
    Unreadable "an object that cannot be read",
    UnreadableOther "an object that cannot be read, with another UID",
    Relist "a list while the cluster is known",
    Gone "410: a watch cannot go on from its version",
    LaggingList "a new process gets a list from a replica that is behind what the last one saw",
    Compaction "compaction",
    Restore "etcd restored from an older state",
    Cut "a watch is cut",
    Stall "a watch stalls",
    BrokenList "a list breaks off before it is complete",
    Refused "a batch refused",
    RefusedFrontend "a batch refused for one address",
    RefusedLarge "a batch refused because memory is short",
    Missing "a batch refused because another program deleted something",
    LostAcknowledgement "a batch committed, its acknowledgement lost",
    LostBatch "a batch neither committed nor answered",
    FailedReading "a reading of the tables fails",
    SlowKernel "a batch that takes a hundred times as long",
    FlushedTable "another program deletes a table",
    FlushedRuleset "another program flushes the ruleset",
    RestoredDump "another program restores an old dump",
    DeletedElement "another program deletes an element",
    ReplacedElement "another program replaces an element",
    AddedElement "another program adds an element",
    EditedRules "another program edits rules",
    ForeignChain "another program adds a chain or a set to our table",
    Fight "another program undoes what was repaired",
    Noise "another program commits to other tables",
    LostNews "more commits of others than can be heard",
    Unheard "a write of another program that cannot be heard",
    Crash "a crash",
    CrashInCommit "a crash while a batch is committed",
    CrashWithLeftovers "a crash before what was left is deleted",
    Adoption "a restart over tables that are programmed",
    Reconfiguration "a restart with another configuration",
    ClockJump "the clock jumps",
    Connection "a connection to a Service",
    InFlight "a packet among the rules while batches take effect",
    RecalledClient "a client with session affinity comes back",
    FlowMoved "a UDP flow is removed because its endpoint is gone",
    Sliced "a change committed in slices",
    Searched "a search for what the kernel refuses",
    Quarantined "a frontend that is set aside",
    Quiet "a quiet time, after which all is compared with the model",
}

/// How often each was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage(Vec<u64>);

impl Default for Coverage {
    fn default() -> Self {
        Self(vec![0; Fault::ALL.len()])
    }
}

impl Coverage {
    pub fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(all, more)| *all += more);
    }

    /// Those that were never met.
    pub fn missing(&self) -> Vec<&'static str> {
        let zero = Fault::ALL.iter().zip(&self.0).filter(|(_, count)| **count == 0);
        zero.map(|(fault, _)| fault.text()).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Fault::ALL.iter().zip(&self.0).try_for_each(|(fault, count)| writeln!(f, "{count:>12}  {}", fault.text()))
    }
}
