//! What happens to a cluster, and what each of these things takes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use pointsman::apply::Backend;
use pointsman::state::{Decoded, EndpointSlice, Event, ObjectName, ServicePort, SlicePort};

use crate::common::cluster::{self, NAMESPACE};
use crate::common::figures::Spread;
use crate::live::Live;
use crate::looped::{Loop, Run};
use crate::metered::Commit;
use crate::results::Scenario;

/// Runs of what is over in a moment, and of what takes longer.
const SMALL: usize = 200;
const LARGE: usize = 5;
/// Pods of the Service that is updated.
const ROLLING: usize = 100;
/// Elements and endpoints of the huge Service.
const HUGE_ELEMENTS: usize = 200_000;
const HUGE_ENDPOINTS: usize = 1_000;
/// The node that is lost: one of twenty, and not this one.
const LOST: &str = "node-7";

/// Every kind of change, in turn, on one loop.
pub fn all<B: Backend + 'static>(looped: &Loop<B>, live: &mut Live, progress: &ProgressBar) -> Vec<Scenario> {
    let mut done = Vec::new();
    let mut step = |name: &str, scenario: &mut dyn FnMut(&mut Live) -> Vec<Scenario>, live: &mut Live| {
        progress.set_message(name.to_owned());
        done.extend(scenario(live));
    };
    step("one endpoint replaced", &mut |live| vec![one_endpoint(looped, live)], live);
    step("one Service added, removed", &mut |live| one_service(looped, live), live);
    step("rolling update", &mut |live| vec![rolling_update(looped, live)], live);
    step("1 % of all endpoints replaced", &mut |live| vec![one_percent(looped, live)], live);
    step("a node lost", &mut |live| vec![node_lost(looped, live)], live);
    step("behind a huge change", &mut |live| vec![behind_a_huge_change(looped, live)], live);
    done
}

fn one_endpoint<B: Backend + 'static>(looped: &Loop<B>, live: &mut Live) -> Scenario {
    let last = live.size().endpoints as usize - 1;
    let runs = scattered(live, SMALL).into_iter().map(|service| {
        let (event, _) = live.replace(service, last);
        looped.run(vec![event], |_| true)
    });
    summary("one endpoint replaced", 1, &runs.collect::<Vec<_>>())
}

/// A Service with its slice comes, and goes. What waits for packets on their way is deleted before the next one comes: it counts for what
/// went, but for its waiting.
fn one_service<B: Backend + 'static>(looped: &Loop<B>, live: &mut Live) -> Vec<Scenario> {
    let number = live.size().services + 1;
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for _ in 0..SMALL {
        let pods: Vec<_> = (0..live.size().endpoints).map(|_| live.address()).collect();
        let nodes = pods.iter().map(|addr| (*addr, "node-1".to_owned()));
        let slice = cluster::slice_of(&cluster::name(number), nodes);
        let events = cluster::applied(&[cluster::service(number), slice]);
        let last: IpAddr = pods[pods.len() - 1].into();
        added.push(looped.run(events, |commit| commit.arrived.contains(&last)));
        let name = |name: String| ObjectName::new(NAMESPACE, name);
        let service = Event::ServiceDeleted(name(cluster::name(number)));
        let gone = looped.run(vec![service], |_| true);
        // Without its Service it is worth no commit.
        looped.send(Event::SliceDeleted(name(format!("{}-1", cluster::name(number)))));
        removed.push(gone.and(looped.settle()));
    }
    vec![summary("one Service added", 2, &added), summary("one Service removed", 1, &removed)]
}

/// Every pod of a Service is replaced, one after the other.
fn rolling_update<B: Backend + 'static>(looped: &Loop<B>, live: &mut Live) -> Scenario {
    let number = live.size().services + 2;
    let pods: Vec<_> = (0..ROLLING).map(|_| (live.address(), "node-1".to_owned())).collect();
    let last = IpAddr::from(pods[ROLLING - 1].0);
    let objects = [cluster::service(number), cluster::slice_of(&cluster::name(number), pods.into_iter())];
    let events = cluster::applied(&objects);
    let mut slice = events.iter().find_map(slice_in).expect("a slice");
    looped.run(events, |commit| commit.arrived.contains(&last));
    let mut runs = Vec::new();
    for _ in 0..LARGE {
        let mut all: Option<Run> = None;
        for pod in 0..ROLLING {
            let mut next = EndpointSlice::clone(&slice);
            next.endpoints[pod].addr = live.address().into();
            slice = Arc::new(next);
            let event = Event::SliceApplied(Decoded::Object(Arc::clone(&slice)));
            let run = looped.run(vec![event], |_| true);
            all = Some(all.map_or(run, |all| all.and(run)));
        }
        runs.extend(all);
    }
    summary("rolling update of 100 pods, one by one", ROLLING, &runs)
}

fn one_percent<B: Backend + 'static>(looped: &Loop<B>, live: &mut Live) -> Scenario {
    let size = live.size();
    let count = (size.pods() / 100).max(1);
    let runs = (0..LARGE).map(|_| {
        let pods = (0..count).map(|n| n * 100);
        let replaced = pods.map(|p| live.replace((p / size.endpoints) as usize, (p % size.endpoints) as usize));
        let (events, addrs): (Vec<Event>, Vec<IpAddr>) = replaced.unzip();
        looped.run(events, all_of(addrs))
    });
    summary("1 % of all endpoints replaced", count as usize, &runs.collect::<Vec<_>>())
}

/// A twentieth of all endpoints is not ready any more. One more change marks the end: it comes last and is known by its address.
fn node_lost<B: Backend + 'static>(looped: &Loop<B>, live: &mut Live) -> Scenario {
    let mut runs = Vec::new();
    let mut count = 0;
    for _ in 0..LARGE {
        for ready in [false, true] {
            let mut events = live.set_ready(LOST, ready);
            count = events.len();
            let (marker, addr) = live.replace(0, 0);
            events.push(marker);
            let run = looped.run(events, all_of(vec![addr]));
            if !ready {
                runs.push(run);
            }
        }
    }
    summary("a node lost: 1/20 of all endpoints", count, &runs)
}

/// All endpoints of a Service with 200,000 elements are replaced, and right behind that one endpoint of another Service: the time until
/// that one is programmed.
fn behind_a_huge_change<B: Backend + 'static>(looped: &Loop<B>, live: &mut Live) -> Scenario {
    let number = live.size().services + 3;
    let (ports, huge) = (HUGE_ELEMENTS / HUGE_ENDPOINTS, ObjectName::new(NAMESPACE, cluster::name(number)));
    let pods =
        |live: &mut Live| -> Vec<_> { (0..HUGE_ENDPOINTS).map(|_| (live.address(), "node-1".to_owned())).collect() };
    let objects = [cluster::service(number), cluster::slice_of(&cluster::name(number), pods(live).into_iter())];
    let mut events = cluster::applied(&objects);
    let mut slice = None;
    for event in &mut events {
        match event {
            Event::ServiceApplied(Decoded::Object(service)) => {
                let service = Arc::make_mut(service);
                let port = service.ports[0].clone();
                let named = |n| ServicePort { name: format!("p{n}").into(), port: port_number(n), ..port.clone() };
                service.ports = (0..ports).map(named).collect();
            }
            Event::SliceApplied(Decoded::Object(of_huge)) => {
                let of_huge = Arc::make_mut(of_huge);
                let port = of_huge.ports[0].clone();
                let named = |n| SlicePort { name: format!("p{n}").into(), port: port_number(n), ..port.clone() };
                of_huge.ports = (0..ports).map(named).collect();
                slice = Some(of_huge.clone());
            }
            _ => {}
        }
    }
    let mut slice = slice.expect("a slice");
    // Its class is a new one, for which the kernel walks all endpoints: much longer than slices take.
    let mut operations = 0;
    looped.run(events, |commit| {
        operations += commit.operations;
        operations >= HUGE_ELEMENTS
    });
    looped.settle();
    let mut runs = Vec::new();
    for _ in 0..LARGE {
        for (endpoint, (addr, _)) in slice.endpoints.iter_mut().zip(pods(live)) {
            endpoint.addr = addr.into();
        }
        looped.send(Event::SliceApplied(Decoded::Object(Arc::new(slice.clone()))));
        let (small, addr) = live.replace(0, 0);
        runs.push(looped.run(vec![small], |commit| commit.arrived.contains(&addr)));
        let rest = looped.settle();
        assert!(rest.operations > HUGE_ELEMENTS, "most of the huge change comes later: {} operations", rest.operations);
    }
    looped.send(Event::ServiceDeleted(huge));
    looped.send(Event::SliceDeleted(slice.name));
    looped.settle();
    summary("one endpoint replaced, right behind a change of 200,000 elements", 1, &runs)
}

fn port_number(n: usize) -> u16 {
    u16::try_from(n + 1).expect("few ports")
}

/// So many Services all over the cluster.
fn scattered(live: &Live, count: usize) -> Vec<usize> {
    let services = live.size().services as usize;
    (0..count).map(|n| n * services.div_ceil(count) % services).collect()
}

/// True once all these addresses have arrived.
fn all_of(addrs: Vec<IpAddr>) -> impl FnMut(&Commit) -> bool {
    let mut missing: BTreeSet<IpAddr> = addrs.into_iter().collect();
    move |commit| {
        for addr in &commit.arrived {
            missing.remove(addr);
        }
        missing.is_empty()
    }
}

fn slice_in(event: &Event) -> Option<Arc<EndpointSlice>> {
    match event {
        Event::SliceApplied(decoded) => decoded.object().cloned(),
        _ => None,
    }
}

fn summary(name: &str, events: usize, runs: &[Run]) -> Scenario {
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^52 of anything")]
    let median = |of: fn(&Run) -> usize| Spread::of(runs.iter().map(|run| of(run) as f64).collect()).p50;
    let cpu: Duration = runs.iter().map(|run| run.cpu).sum();
    Scenario {
        name: name.to_owned(),
        events,
        operations: median(|run| run.operations),
        bytes: median(|run| run.bytes),
        commits: median(|run| run.commits),
        time: Spread::of_times(runs.iter().map(|run| run.time)),
        committing: Spread::of_times(runs.iter().map(|run| run.committing)),
        cpu: cpu.as_secs_f64() * 1e3 / f64::from(u32::try_from(runs.len()).expect("few runs")),
    }
}
