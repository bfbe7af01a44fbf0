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

use common::cluster::{self, NODE, Size};
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use pointsman::apply::{Netlink, encode};
use pointsman::dataplane::Options;
use pointsman::diff::{Acknowledged, Plan, Scope, diff};
use pointsman::state::{Cluster, Decoded, Desired, EndpointSlice, Event, Touched};

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
        self.desired.update(&self.cluster, &cluster, &touched).0
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
        bench("compile", &mut || drop(black_box(world.desired.update(&world.cluster, &cluster, &touched))));
        bench("diff", &mut || drop(black_box(diff(&world.acknowledged, &desired, &scope()))));
        bench("encode for netlink", &mut || drop(black_box(Netlink::encode(&plan.operations, Vec::new()))));
        bench("encode for nft", &mut || drop(black_box(encode(&plan.operations))));
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

criterion_group!(benches, one_change, everything);
criterion_main!(benches);
