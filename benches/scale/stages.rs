//! The pipeline without its loop: how long each step takes.

use pointsman::apply::{Backend, Netlink};
use pointsman::dataplane::{Family, Object, Operation};
use pointsman::diff::Acknowledged;
use pointsman::state::{Cluster, Desired, Event, Touched};
use tokio::time::Instant;

use crate::common::figures::{Spread, milliseconds};
use crate::live::Live;
use crate::looped::{scope, view};
use crate::results::{Stages, Steps};

/// How often each is measured.
const TIMES: u32 = 200;

/// Programs everything, changes single endpoints, and leaves the kernel with what the lists ask for.
pub async fn measure<B: Backend>(backend: &mut B, lists: &[Event], live: &mut Live) -> Stages {
    let mut pipeline = Pipeline {
        cluster: Cluster::seen_from(view()),
        desired: Desired::default(),
        acknowledged: Acknowledged::nothing(),
        backend,
    };
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
    cluster: Cluster,
    desired: Desired,
    acknowledged: Acknowledged,
    backend: &'a mut B,
}

impl<B: Backend> Pipeline<'_, B> {
    /// Events, one step after the other, up to the kernel's acknowledgement.
    async fn step(&mut self, events: Vec<Event>) -> Steps<f64> {
        let mut steps = Steps::default();
        let started = Instant::now();
        let mut touched = Touched::default();
        for event in events {
            let step = std::mem::take(&mut self.cluster).advance(event);
            self.cluster = step.cluster;
            touched.merge(step.touched);
        }
        steps.fold = milliseconds(started.elapsed());
        let started = Instant::now();
        self.desired = std::mem::take(&mut self.desired).advance(&self.cluster, &touched).0;
        steps.compile = milliseconds(started.elapsed());
        let started = Instant::now();
        let plan = std::mem::take(&mut self.acknowledged).plan(&self.desired, &scope());
        steps.diff = milliseconds(started.elapsed());
        let started = Instant::now();
        self.backend.commit(&plan.operations).await.expect("the kernel takes it");
        steps.commit = milliseconds(started.elapsed());
        let started = Instant::now();
        let encoded = Netlink::encode(&plan.operations, Vec::new()).expect("it can be encoded");
        steps.encode = milliseconds(started.elapsed());
        drop(encoded);
        self.acknowledged = plan.next;
        self.desired.settle();
        steps
    }
}
