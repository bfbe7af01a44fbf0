//! The pipeline without its loop: how long each step takes.

use pointsman::apply::{Backend, Netlink};
use pointsman::dataplane::{Family, Object, Operation};
use pointsman::diff::Acknowledged;
use pointsman::state::Event;
use tokio::time::Instant;

use crate::common::engine::Stepped;
use crate::common::figures::{Spread, milliseconds};
use crate::live::Live;
use crate::results::{Stages, Steps};

/// How often each is measured.
const TIMES: u32 = 200;

/// Programs everything, changes single endpoints, and leaves the kernel with what the lists ask for.
pub async fn measure<B: Backend>(backend: &mut B, lists: &[Event], live: &mut Live) -> Stages {
    let mut pipeline = Pipeline { stepped: Stepped::new(Acknowledged::empty()), backend };
    let cold = pipeline.step(lists.to_vec()).await;
    let (services, last) = (live.size().services, live.size().endpoints as usize - 1);
    let mut changes = Vec::new();
    for n in 0..TIMES {
        let (event, _) = live.replace((n * services.div_ceil(TIMES) % services) as usize, last);
        changes.push(pipeline.step(vec![event]).await);
    }
    let mut empty = Vec::new();
    for _ in 0..TIMES {
        let started = Instant::now();
        // It is there: nothing changes.
        let table = [Operation::add(Family::Ip, Object::Table)];
        pipeline.backend.commit(&table).await.expect("the kernel takes it");
        empty.push(started.elapsed());
    }
    pipeline.step(lists.to_vec()).await;
    *live = Live::new(live.size(), lists);
    let of = |step: fn(&Steps<f64>) -> f64| Spread::of(changes.iter().map(step).collect());
    let change = Steps {
        fold: of(|steps| steps.fold),
        compile: of(|steps| steps.compile),
        diff: of(|steps| steps.diff),
        commit: of(|steps| steps.commit),
        encode: of(|steps| steps.encode),
    };
    Stages { cold, change, empty: Spread::of_times(empty) }
}

struct Pipeline<'a, B> {
    stepped: Stepped,
    backend: &'a mut B,
}

impl<B: Backend> Pipeline<'_, B> {
    /// Events, one step after the other, up to the kernel's acknowledgement.
    async fn step(&mut self, events: Vec<Event>) -> Steps<f64> {
        let mut operations = Vec::new();
        let took = self.stepped.run(events, |plan| operations.clone_from(&plan.operations));
        let started = Instant::now();
        self.backend.commit(&operations).await.expect("the kernel takes it");
        let commit = milliseconds(started.elapsed());
        let started = Instant::now();
        let encoded = Netlink::encode(&operations, Vec::new()).expect("it can be encoded");
        let encode = milliseconds(started.elapsed());
        drop(encoded);
        let [fold, compile, diff] = [took.fold, took.compile, took.plan].map(milliseconds);
        Steps { fold, compile, diff, commit, encode }
    }
}
