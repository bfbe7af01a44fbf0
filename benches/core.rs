//! The pure core, step by step: what a change and a start cost before anything is sent.
//!
//! ```text
//! cargo bench --bench core [-- FILTER]
//! ```

#![allow(clippy::expect_used, reason = "a benchmark may stop")]
#![allow(missing_docs, reason = "criterion's macros write functions without")]

#[path = "common/mod.rs"]
mod common;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use common::cluster::{self, NODE, Size};
use common::engine::{Stepped, engine, plan, scope};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use pointsman::apply::{Netlink, encode};
use pointsman::diff::Acknowledged;
use pointsman::engine::Engine;
use pointsman::state::{Cluster, Decoded, EndpointSlice, Event};

/// Services of 5 endpoints each.
const SIZES: [u32; 2] = [1_000, 10_000];

/// An engine that has programmed a cluster, and the slices of that.
fn programmed(services: u32) -> (Stepped, Vec<Event>) {
    let events = cluster::all(Size { services, endpoints: 5 });
    let mut stepped = Stepped::new(Acknowledged::empty());
    stepped.run(events.clone(), |_| {});
    (stepped, events)
}

/// One endpoint of a Service is replaced.
fn changed(events: &[Event], service: usize) -> Event {
    let slices = events.iter().find_map(|event| match event {
        Event::SlicesReset(all) => Some(cluster::objects(all)),
        _ => None,
    });
    let mut slice = EndpointSlice::clone(&slices.expect("slices")[service]);
    slice.endpoints[4].addr = cluster::later_ip(0).into();
    Event::SliceApplied(Decoded::Object(Arc::new(slice)))
}

fn one_change(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one endpoint");
    for services in SIZES {
        let (stepped, events) = programmed(services);
        let change = changed(&events, services as usize / 2);
        let folded = || {
            let mut engine = stepped.engine.clone();
            engine.fold(change.clone());
            engine
        };
        let compiled = || {
            let mut engine = folded();
            engine.compile();
            engine
        };
        let plan = plan(&mut compiled());
        // Every step starts from a clone that shares everything with its original, as a property test or a replay does. A few at a time:
        // a step follows the one before it at once, and meets in the cache what that one wrote.
        type Step = fn(&mut Engine, &Event);
        let steps: [(&str, &dyn Fn() -> Engine, Step); 3] = [
            ("fold", &|| stepped.engine.clone(), |engine, change| drop(engine.fold(change.clone()))),
            ("compile", &folded, |engine, _| drop(engine.compile())),
            ("diff", &compiled, |engine, _| drop(black_box(common::engine::plan(engine)))),
        ];
        for (step, before, work) in steps {
            group.bench_function(BenchmarkId::new(step, services), |bencher| {
                bencher.iter_batched_ref(before, |engine| work(engine, &change), BatchSize::NumIterations(10));
            });
        }
        let mut bench = |step: &str, work: &mut dyn FnMut()| {
            group.bench_function(BenchmarkId::new(step, services), |bencher| bencher.iter(&mut *work));
        };
        bench("encode for netlink", &mut || drop(black_box(Netlink::encode(&plan.operations, Vec::new()))));
        bench("encode for nft", &mut || drop(black_box(encode(&plan.operations))));
    }
    group.finish();
}

/// Changes that go on, each of another Service: what they meet is in no cache of a large cluster.
struct Followed {
    stepped: Stepped,
    slices: Vec<Arc<EndpointSlice>>,
    changes: u32,
}

/// The steps of a change.
const STEPS: [&str; 3] = ["fold", "compile", "diff"];

impl Followed {
    fn new(services: u32) -> Self {
        let (stepped, events) = programmed(services);
        let slices = events.iter().find_map(|event| match event {
            Event::SlicesReset(all) => Some(cluster::objects(all)),
            _ => None,
        });
        Self { stepped, slices: slices.expect("slices"), changes: 0 }
    }

    /// The next change, and how long each step of it took.
    fn step(&mut self) -> [Duration; STEPS.len()] {
        self.changes += 1;
        // As good as at random, and the same in every run.
        let service = self.changes.wrapping_mul(2_654_435_761) as usize % self.slices.len();
        let slice = Arc::make_mut(&mut self.slices[service]);
        slice.endpoints[4].addr = cluster::later_ip(self.changes % 1_000_000).into();
        let change = Event::SliceApplied(Decoded::Object(Arc::new(slice.clone())));
        let took = self.stepped.run(vec![change], |_| {});
        [took.fold, took.compile, took.plan]
    }
}

fn changes_everywhere(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one endpoint after the other");
    for services in [1_000, 100_000] {
        let mut followed = Followed::new(services);
        for (n, step) in STEPS.into_iter().enumerate() {
            group.bench_function(BenchmarkId::new(step, services), |bencher| {
                bencher.iter_custom(|times| (0..times).map(|_| followed.step()[n]).sum());
            });
        }
    }
    group.finish();
}

fn everything(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("everything");
    group.sample_size(10);
    for services in SIZES {
        let (stepped, lists) = programmed(services);
        let id = |step: &str| BenchmarkId::new(step, services);
        group.bench_function(id("fold"), |bencher| {
            let fold = |mut cluster: Cluster, event| {
                cluster.apply(event);
                cluster
            };
            bencher.iter_batched(
                || lists.clone(),
                |lists| lists.into_iter().fold(Cluster::new(NODE), fold),
                BatchSize::LargeInput,
            );
        });
        let folded = || {
            let mut engine = engine(scope());
            lists.iter().cloned().for_each(|event| drop(engine.fold(event)));
            engine
        };
        group.bench_function(id("compile"), |bencher| {
            let folded = folded();
            // Clones share everything, so that each run meets the same memory.
            bencher.iter_batched_ref(|| folded.clone(), Engine::compile, BatchSize::LargeInput);
        });
        let before = |held: &Acknowledged| {
            let mut engine = folded();
            engine.compile();
            engine.read_back(held.clone(), common::engine::NOW);
            engine
        };
        let held = stepped.engine.acknowledged().expect("everything is programmed").clone().unverified();
        let (empty, read) = (before(&Acknowledged::empty()), before(&held));
        for (step, before) in [("diff with an empty kernel", &empty), ("diff with a kernel that was read", &read)] {
            group.bench_function(id(step), |bencher| {
                bencher.iter_batched_ref(|| before.clone(), |engine| black_box(plan(engine)), BatchSize::LargeInput);
            });
        }
        let plan = plan(&mut empty.clone());
        group.bench_function(id("encode for netlink"), |bencher| {
            bencher.iter_with_large_drop(|| Netlink::encode(&plan.operations, Vec::new()));
        });
        group.bench_function(id("encode for nft"), |bencher| {
            bencher.iter_with_large_drop(|| encode(&plan.operations));
        });
    }
    group.finish();
}

criterion_group!(benches, one_change, changes_everywhere, everything);
criterion_main!(benches);
