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
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use pointsman::apply::{Netlink, encode};
use pointsman::dataplane::Options;
use pointsman::diff::{Acknowledged, Plan, Scope, diff};
use pointsman::state::{Cluster, Decoded, Desired, EndpointSlice, Event, Touched};
use tokio::time::Instant;

/// Services of 5 endpoints each.
const SIZES: [u32; 2] = [1_000, 10_000];

/// A cluster that is programmed, and one changed endpoint.
struct World {
    cluster: Cluster,
    desired: Desired,
    acknowledged: Acknowledged,
    change: Event,
}

impl World {
    fn new(services: u32) -> Self {
        let events = cluster::all(Size { services, endpoints: 5 });
        let change = changed(&events, services as usize / 2);
        let cluster = events.into_iter().fold(Cluster::new(NODE), |cluster, event| cluster.apply(event).cluster);
        let desired = Desired::of(&cluster);
        let acknowledged = diff(&Acknowledged::nothing(), &desired, &scope()).next;
        Self { cluster, desired, acknowledged, change }
    }

    fn fold(&self) -> (Cluster, Touched) {
        let step = self.cluster.apply(self.change.clone());
        (step.cluster, step.touched)
    }

    fn changed(&self) -> Desired {
        let (cluster, touched) = self.fold();
        self.desired.update(&cluster, &touched).0
    }

    fn plan(&self) -> Plan {
        diff(&self.acknowledged, &self.changed(), &scope())
    }
}

fn scope() -> Scope {
    Scope::dual_stack(Options::default())
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
        let world = World::new(services);
        let (cluster, touched) = world.fold();
        let (desired, plan) = (world.changed(), world.plan());
        let mut bench = |step: &str, work: &mut dyn FnMut()| {
            group.bench_function(BenchmarkId::new(step, services), |bencher| bencher.iter(&mut *work));
        };
        bench("fold", &mut || drop(black_box(world.fold())));
        bench("compile", &mut || drop(black_box(world.desired.update(&cluster, &touched))));
        bench("diff", &mut || drop(black_box(diff(&world.acknowledged, &desired, &scope()))));
        bench("encode for netlink", &mut || drop(black_box(Netlink::encode(&plan.operations, Vec::new()))));
        bench("encode for nft", &mut || drop(black_box(encode(&plan.operations))));
    }
    group.finish();
}

/// Changes that go on, each of another Service: what they meet is in no cache of a large cluster.
struct Followed {
    cluster: Cluster,
    desired: Desired,
    acknowledged: Acknowledged,
    slices: Vec<Arc<EndpointSlice>>,
    changes: u32,
}

/// The steps of a change.
const STEPS: [&str; 3] = ["fold", "compile", "diff"];

impl Followed {
    fn new(services: u32) -> Self {
        let events = cluster::all(Size { services, endpoints: 5 });
        let slices = events.iter().find_map(|event| match event {
            Event::SlicesReset(all) => Some(cluster::objects(all)),
            _ => None,
        });
        let cluster = events.into_iter().fold(Cluster::new(NODE), |cluster, event| cluster.advance(event).cluster);
        let desired = Desired::of(&cluster);
        let acknowledged = Acknowledged::nothing().plan(&desired, &scope()).next;
        Self { cluster, desired, acknowledged, slices: slices.expect("slices"), changes: 0 }
    }

    /// The next change, and how long each step of it took.
    fn step(&mut self) -> [Duration; STEPS.len()] {
        self.changes += 1;
        // As good as at random, and the same in every run.
        let service = self.changes.wrapping_mul(2_654_435_761) as usize % self.slices.len();
        let slice = Arc::make_mut(&mut self.slices[service]);
        slice.endpoints[4].addr = cluster::later_ip(self.changes % 1_000_000).into();
        let change = Event::SliceApplied(Decoded::Object(Arc::new(slice.clone())));
        let start = Instant::now();
        let step = std::mem::take(&mut self.cluster).advance(change);
        self.cluster = step.cluster;
        let folded = Instant::now();
        self.desired = std::mem::take(&mut self.desired).advance(&self.cluster, &step.touched).0;
        drop(step.touched);
        let compiled = Instant::now();
        let plan = std::mem::take(&mut self.acknowledged).plan(&self.desired, &scope());
        let diffed = Instant::now();
        self.acknowledged = plan.next;
        self.desired.settle();
        [folded - start, compiled - folded, diffed - compiled]
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
        let world = World::new(services);
        let plan = diff(&Acknowledged::nothing(), &world.desired, &scope());
        let id = |step: &str| BenchmarkId::new(step, services);
        let lists = cluster::all(Size { services, endpoints: 5 });
        group.bench_function(id("fold"), |bencher| {
            let fold = |cluster: Cluster, event| cluster.advance(event).cluster;
            bencher.iter_batched(
                || lists.clone(),
                |lists| lists.into_iter().fold(Cluster::new(NODE), fold),
                BatchSize::LargeInput,
            );
        });
        group.bench_function(id("compile"), |bencher| {
            bencher.iter_with_large_drop(|| Desired::of(&world.cluster));
        });
        group.bench_function(id("diff with an empty kernel"), |bencher| {
            bencher.iter_with_large_drop(|| diff(&Acknowledged::nothing(), &world.desired, &scope()));
        });
        group.bench_function(id("diff with a kernel that was read"), |bencher| {
            let read = || world.acknowledged.clone().unverified();
            bencher.iter_batched(read, |read| diff(&read, &world.desired, &scope()), BatchSize::LargeInput);
        });
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
