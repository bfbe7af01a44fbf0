//! Our program, filled with Services, as the proxy does it.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use ipnet::IpNet;
use pointsman::apply::{Backend, Netlink};
use pointsman::dataplane::{LocalPods, Options, Protocol};
use pointsman::diff::{Acknowledged, Scope};
use pointsman::state::{Decoded, EndpointPlace, EndpointSlice, Event, Service};

use crate::common::cluster::{self, NODE, Size};
use crate::common::engine::{NOW, engine, plan};
use crate::common::namespace::{Namespace, runtime};
use crate::flows::PORT;
use crate::variant::{PODS, Rules, is_here, load_balancer_ip};

/// How an event is changed.
type Edit = fn(Event) -> Event;

/// Programs UDP Services of this size, with as much session affinity as these rules have.
pub fn load(namespace: &Namespace, size: Size, rules: Rules) {
    let network = PODS.parse().expect("a network");
    let one_client = matches!(rules, Rules::OneClient | Rules::OneClientBesidePlain | Rules::OneClientBesideOthers);
    let affinity_capacity = if one_client { 1 } else { Options::KERNEL_AFFINITY_CAPACITY };
    let local_pods = LocalPods::Networks(vec![network]);
    let counters = rules == Rules::Counters;
    let scope = Scope::dual_stack(Options { local_pods, affinity_capacity, counters, ..Options::default() });
    let as_they_are: Edit = |event| event;
    let (measured, others): (Edit, Edit) = match rules {
        Rules::Affinity => (sticky, sticky),
        Rules::OneAffinity => (as_they_are, sticky),
        Rules::OneClient | Rules::OneClientBesidePlain | Rules::OneClientBesideOthers => (sticky, as_they_are),
        Rules::LoadBalancer => (behind_load_balancer, as_they_are),
        Rules::Ranges | Rules::RangesBesideOthers => (limited, as_they_are),
        _ => (as_they_are, as_they_are),
    };
    let besides = match rules {
        Rules::OtherTimeouts | Rules::OneClientBesideOthers => more_services(size, |n| NonZeroU32::new(1_000 + n)),
        Rules::OneClientBesidePlain => more_services(size, |_| None),
        Rules::RangesBesideOthers => with_ranges_of_all_lengths(size),
        _ => Vec::new(),
    };
    let others = others_of(size).into_iter().map(others).chain(besides);
    let events = cluster::all(size).into_iter().map(measured).chain(others).map(udp);
    let mut engine = engine(scope);
    events.for_each(|event| drop(engine.fold(event)));
    engine.compile();
    engine.read_back(Acknowledged::empty(), NOW);
    let plan = plan(&mut engine);
    namespace.enter(|| {
        runtime().block_on(async {
            let mut netlink = Netlink::open().expect("netlink works");
            netlink.commit(&plan.operations).await.expect("the kernel takes it");
        });
    });
}

/// A Service of every other number of endpoints up to 16: no cluster's Services are all alike, and the program looks for a Service
/// among as many classes as there are.
fn others_of(size: Size) -> Vec<Event> {
    let service = |n: u32| {
        let number = size.services + n;
        let pods = (0..n).map(|e| (cluster::later_ip(n * 100 + e), "node-1".to_owned()));
        [cluster::service(number), cluster::slice_of(&cluster::name(number), pods)]
    };
    let objects: Vec<_> = [1, 2, 4, 16].into_iter().flat_map(service).collect();
    cluster::applied(&objects)
}

/// 5,000 more Services, with these timeouts of session affinity.
fn more_services(size: Size, timeout: fn(u32) -> Option<NonZeroU32>) -> Vec<Event> {
    let service = |n: u32| {
        let number = size.services + 100 + n;
        let pods = (0..5).map(|e| (cluster::later_ip(2_000 + n * 5 + e), "node-1".to_owned()));
        cluster::applied(&[cluster::service(number), cluster::slice_of(&cluster::name(number), pods)])
    };
    let with_timeout = |n: u32, event: Event| match event {
        Event::ServiceApplied(Decoded::Object(mut service)) => {
            Arc::make_mut(&mut service).session_affinity = timeout(n);
            Event::ServiceApplied(Decoded::Object(service))
        }
        other => other,
    };
    (0..5_000).flat_map(|n| service(n).into_iter().map(move |event| with_timeout(n, event))).collect()
}

/// One more Service, with ranges of 30 lengths.
fn with_ranges_of_all_lengths(size: Size) -> Vec<Event> {
    let number = size.services + 100;
    let pods = [(cluster::later_ip(2_000), "node-1".to_owned())].into_iter();
    let objects = [cluster::service(number), cluster::slice_of(&cluster::name(number), pods)];
    let all_lengths = |service: &mut Service| {
        expose(service);
        // Neither within each other, nor around the senders.
        let range = |bits: u8| IpNet::new(std::net::Ipv4Addr::from_bits(0x4000_0000 | 1 << (32 - bits)).into(), bits);
        service.source_ranges = (3..=32).map(|bits| range(bits).expect("at most 32 bits")).collect();
    };
    let with_ranges = |event: Event| match event {
        Event::ServiceApplied(one) => Event::ServiceApplied(edited(one, all_lengths)),
        other => other,
    };
    cluster::applied(&objects).into_iter().map(with_ranges).collect()
}

/// With load-balancer IPs.
fn behind_load_balancer(event: Event) -> Event {
    match event {
        Event::ServicesReset(all) => Event::ServicesReset(all.into_iter().map(|one| edited(one, expose)).collect()),
        other => other,
    }
}

/// With load-balancer IPs that only some sources may use.
fn limited(event: Event) -> Event {
    let limit = |service: &mut Service| {
        expose(service);
        let around_senders = ["10.0.0.0/8", "192.0.0.0/8"];
        service.source_ranges = around_senders.map(|range| range.parse().expect("a network")).into_iter().collect();
    };
    match event {
        Event::ServicesReset(all) => Event::ServicesReset(all.into_iter().map(|one| edited(one, limit)).collect()),
        other => other,
    }
}

fn expose(service: &mut Service) {
    let number = service.cluster_ips.iter().find_map(|addr| match addr {
        IpAddr::V4(addr) => Some(addr.to_bits() - cluster::cluster_ip(0).to_bits()),
        IpAddr::V6(_) => None,
    });
    service.load_balancer_ips = number.map(|n| load_balancer_ip(n).into()).into_iter().collect();
}

/// With session affinity.
fn sticky(event: Event) -> Event {
    let affinity = |service: &mut Service| service.session_affinity = NonZeroU32::new(10_800);
    match event {
        Event::ServicesReset(all) => Event::ServicesReset(all.into_iter().map(|one| edited(one, affinity)).collect()),
        Event::ServiceApplied(one) => Event::ServiceApplied(edited(one, affinity)),
        other => other,
    }
}

/// The same over UDP, and with no more pods on this node than a node has.
fn udp(event: Event) -> Event {
    match event {
        Event::ServicesReset(all) => Event::ServicesReset(all.into_iter().map(|one| edited(one, service)).collect()),
        Event::ServiceApplied(one) => Event::ServiceApplied(edited(one, service)),
        Event::SlicesReset(all) => Event::SlicesReset(all.into_iter().map(|one| edited(one, slice)).collect()),
        Event::SliceApplied(one) => Event::SliceApplied(edited(one, slice)),
        other => other,
    }
}

fn service(service: &mut Service) {
    service.ports.iter_mut().for_each(|port| (port.protocol, port.port) = (Protocol::Udp, PORT));
}

fn slice(slice: &mut EndpointSlice) {
    slice.ports.iter_mut().for_each(|port| (port.protocol, port.port) = (Protocol::Udp, PORT));
    let elsewhere = Arc::new(EndpointPlace { node: Some("node-1".into()), ..EndpointPlace::default() });
    for endpoint in slice.endpoints.iter_mut().filter(|endpoint| endpoint.node() == Some(NODE)) {
        let IpAddr::V4(addr) = endpoint.addr else { continue };
        if !is_here(addr.to_bits().wrapping_sub(cluster::pod_ip(0).to_bits())) {
            endpoint.place = Some(Arc::clone(&elsewhere));
        }
    }
}

fn edited<T: Clone>(decoded: Decoded<T>, edit: fn(&mut T)) -> Decoded<T> {
    let Decoded::Object(mut object) = decoded else { return decoded };
    edit(Arc::make_mut(&mut object));
    Decoded::Object(object)
}
