//! Each law broken on purpose: a law that nothing can break says nothing.

use crate::process::Process;

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// What packets on their way may look up is deleted with the change.
    NoGrace,
    /// A batch without an acknowledgement counts as committed.
    BelievesLostBatches,
    /// Half of the lists count as all.
    ProgramsIncompleteLists,
    /// What other programs do is neither heard nor looked for.
    IgnoresOthers,
    /// Some events are lost on their way to the engine.
    LosesEvents,
    /// After a failure nothing is tried again before the next event.
    NeverRetries,
    /// Every acknowledgement counts as if everything was programmed.
    SaysSynced,
    /// Nobody looks at UDP flows.
    LeavesFlows,
    /// The maps of clients are emptied by each restart.
    ForgetsClients,
    /// Elements of endpoints that go are not deleted.
    KeepsEndpoints,
    /// Everything is written again now and then.
    RewritesEverything,
    /// The loop panics when a batch is refused.
    Panics,
}

impl Sabotage {
    pub const ALL: [Self; 12] = [
        Self::NoGrace,
        Self::BelievesLostBatches,
        Self::ProgramsIncompleteLists,
        Self::IgnoresOthers,
        Self::LosesEvents,
        Self::NeverRetries,
        Self::SaysSynced,
        Self::LeavesFlows,
        Self::ForgetsClients,
        Self::KeepsEndpoints,
        Self::RewritesEverything,
        Self::Panics,
    ];

    /// Those that are found within few seeds.
    pub const FOUND_SOON: [Self; 9] = [
        Self::NoGrace,
        Self::BelievesLostBatches,
        Self::ProgramsIncompleteLists,
        Self::IgnoresOthers,
        Self::LosesEvents,
        Self::NeverRetries,
        Self::LeavesFlows,
        Self::RewritesEverything,
        Self::Panics,
    ];

    /// The laws that it breaks.
    pub fn laws(self) -> &'static [&'static str] {
        match self {
            Self::NoGrace => &["no packet falls between two snapshots"],
            Self::BelievesLostBatches => &["what is acknowledged is what the kernel holds"],
            Self::ProgramsIncompleteLists => &["nothing is programmed from incomplete lists"],
            Self::IgnoresOthers => &["everything is programmed after a quiet time", "the word for the state is true"],
            Self::LosesEvents => &["after a quiet time the kernel holds what the cluster asks for"],
            Self::NeverRetries => &["no change waits for longer than the bound"],
            Self::SaysSynced => &["the word for the state is true"],
            Self::LeavesFlows => &["no flow goes on to an endpoint that is gone"],
            Self::ForgetsClients => &["a client with session affinity stays with its endpoint"],
            Self::KeepsEndpoints => &["no packet goes where no version since the last acknowledged one sends it"],
            Self::RewritesEverything => &["work is bounded by the change"],
            Self::Panics => &["nothing panics"],
        }
    }

    /// Spoils a new process.
    pub fn begin(self, process: &mut Process) {
        match self {
            Self::ProgramsIncompleteLists => process.engine.assume_complete(),
            Self::NoGrace => {
                let settings = process.engine.settings().clone();
                let settings = pointsman::engine::EngineSettings { grace: None, ..settings };
                process.engine = pointsman::engine::Engine::new(settings);
            }
            _ => {}
        }
    }
}
