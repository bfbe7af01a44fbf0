//! The engine, step by step.

use std::time::Duration;

use pointsman::dataplane::Options;
use pointsman::diff::{Acknowledged, Plan, Scope};
use pointsman::engine::{Engine, EngineSettings, Moment, Next};
use pointsman::state::{Event, View};
use tokio::time::Instant;

use super::cluster::NODE;

/// Time stands still for the engine.
pub const NOW: Moment = Moment::from_start(Duration::ZERO);

/// An engine that plans everything at once.
pub fn engine(scope: Scope) -> Engine {
    let view = View { node_name: NODE.into(), ..View::default() };
    Engine::new(EngineSettings { slice_goal: None, ..EngineSettings::new(scope, view) })
}

/// Both tables with the program of all measurements.
pub fn scope() -> Scope {
    Scope::dual_stack(Options::default())
}

/// The next plan; an empty one if nothing is due.
pub fn plan(engine: &mut Engine) -> Plan {
    match engine.next(NOW) {
        Next::Commit(plan) => *plan,
        _ => Plan::default(),
    }
}

/// How long the steps of some events took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    pub fold: Duration,
    pub compile: Duration,
    pub plan: Duration,
}

/// An engine whose steps are measured.
pub struct Stepped {
    pub engine: Engine,
}

impl Stepped {
    /// Before a kernel that holds this.
    pub fn new(held: Acknowledged) -> Self {
        let mut engine = engine(scope());
        engine.read_back(held, NOW);
        Self { engine }
    }

    /// Runs events through all steps. `commit` carries the plan out; its time does not count.
    pub fn run(&mut self, events: Vec<Event>, commit: impl FnOnce(&Plan)) -> Took {
        let mut took = Took::default();
        let started = Instant::now();
        events.into_iter().for_each(|event| drop(self.engine.fold(event)));
        took.fold = started.elapsed();
        let started = Instant::now();
        drop(self.engine.compile());
        took.compile = started.elapsed();
        let started = Instant::now();
        let plan = plan(&mut self.engine);
        took.plan = started.elapsed();
        commit(&plan);
        self.engine.committed(plan, NOW, NOW);
        took
    }
}
