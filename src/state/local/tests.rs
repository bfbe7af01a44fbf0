use super::*;
use crate::dataplane::Protocol;
use crate::state::{
    Cluster, Decoded, Desired, EndpointPlace, EndpointSlice, Event, Few, Service, ServicePort, SliceEndpoint, SlicePort,
};

const HERE: &str = "node-a";
const ELSEWHERE: &str = "node-b";

fn web() -> ObjectName {
    ObjectName::new("default", "web")
}

/// A NodePort Service of one port in both families.
fn service() -> Service {
    let port = |name: &str, port| ServicePort {
        name: name.into(),
        protocol: Protocol::Tcp,
        port,
        node_port: NonZeroU16::new(30_000 + port),
    };
    Service {
        name: web(),
        created: None,
        cluster_ips: vec![[10, 96, 0, 1].into(), [0xfd00, 0, 0, 0, 0, 0, 0, 1].into()],
        internal_traffic_local: false,
        external_traffic_local: false,
        external_ips: Few::new(),
        load_balancer_ips: Few::new(),
        source_ranges: Few::new(),
        session_affinity: None,
        health_check_node_port: None,
        ports: vec![port("http", 80), port("https", 443)],
        problems: Few::new(),
        uid: crate::state::Identity::default(),
    }
}

fn checked() -> Service {
    Service { external_traffic_local: true, health_check_node_port: NonZeroU16::new(32_000), ..service() }
}

fn endpoint(n: u8, node: &str) -> SliceEndpoint {
    SliceEndpoint::new([10, 1, 0, n].into(), EndpointPlace { node: Some(node.into()), ..EndpointPlace::default() })
}

fn not_ready(n: u8) -> SliceEndpoint {
    SliceEndpoint { ready: false, serving: false, ..endpoint(n, HERE) }
}

fn terminating(n: u8) -> SliceEndpoint {
    SliceEndpoint { ready: false, terminating: true, ..endpoint(n, HERE) }
}

/// A slice of IPv4 endpoints that serve these ports.
fn slice(name: &str, ports: &[&str], endpoints: &[SliceEndpoint]) -> Event {
    let port = |name: &&str| SlicePort { name: (*name).into(), protocol: Protocol::Tcp, port: 8080 };
    Event::SliceApplied(Decoded::Object(Arc::new(EndpointSlice {
        name: ObjectName::new("default", name),
        service: "web".into(),
        family: Family::Ip,
        ports: ports.iter().map(port).collect(),
        endpoints: endpoints.to_vec(),
        problems: Few::new(),
        uid: crate::state::Identity::default(),
    })))
}

fn applied(service: Service) -> Event {
    Event::ServiceApplied(Decoded::Object(Arc::new(service)))
}

/// The cluster and what it asks for, followed event by event and checked against a fresh start after each.
#[derive(Default)]
struct Followed {
    cluster: Cluster,
    desired: Desired,
}

impl Followed {
    fn new(events: impl IntoIterator<Item = Event>) -> Self {
        let mut followed = Self { cluster: Cluster::new(HERE), desired: Desired::default() };
        events.into_iter().for_each(|event| followed.apply(event));
        followed
    }

    fn apply(&mut self, event: Event) {
        let applied = self.cluster.apply(event);
        self.desired.update(&mut self.cluster, &applied.changes);
        assert_eq!(self.desired, Desired::from_cluster(&self.cluster), "following and starting afresh are the same");
    }

    /// The number that the health check of the Service tells in IPv4.
    fn told(&self) -> Option<usize> {
        self.desired.health_checks.checks.get(&(web(), Family::Ip)).map(|check| check.local_endpoints)
    }

    fn without_local(&self, family: Family) -> (u32, u32) {
        let count = |exposure| self.desired.without_local.count(exposure, family);
        (count(Exposure::Internal), count(Exposure::External))
    }
}

#[test]
fn only_a_service_with_a_health_check_port_is_checked_in_the_families_of_its_cluster_ips() {
    let mut followed = Followed::new([applied(service())]);
    assert_eq!(followed.told(), None);
    followed.apply(applied(checked()));
    let families = |followed: &Followed| -> Vec<Family> {
        followed.desired.health_checks.checks.keys().map(|(_, family)| *family).collect()
    };
    assert_eq!(families(&followed), [Family::Ip, Family::Ip6]);
    followed.apply(applied(Service { cluster_ips: vec![[10, 96, 0, 1].into()], ..checked() }));
    assert_eq!(families(&followed), [Family::Ip]);
    followed.apply(applied(service()));
    assert_eq!(families(&followed), []);
    followed.apply(applied(checked()));
    followed.apply(Event::ServiceDeleted(web()));
    assert_eq!(families(&followed), []);
}

#[test]
fn distinct_addresses_of_ready_endpoints_on_this_node_are_counted() {
    let both: &[&str] = &["http", "https"];
    let cases: [(&str, Vec<Event>, usize); 7] = [
        ("none", Vec::new(), 0),
        ("elsewhere", vec![slice("a", both, &[endpoint(1, ELSEWHERE)])], 0),
        ("one here", vec![slice("a", &["http"], &[endpoint(1, HERE)])], 1),
        ("one on two ports", vec![slice("a", both, &[endpoint(1, HERE)])], 1),
        (
            "several over ports",
            vec![
                slice("a", &["http"], &[endpoint(1, HERE), endpoint(2, HERE)]),
                slice("b", &["https"], &[endpoint(2, HERE), endpoint(3, HERE), endpoint(4, ELSEWHERE)]),
            ],
            3,
        ),
        ("not ready", vec![slice("a", both, &[endpoint(1, HERE), not_ready(2), terminating(3)])], 1),
        ("terminating only", vec![slice("a", both, &[terminating(1), terminating(2)])], 0),
    ];
    for (case, events, expected) in cases {
        let followed = Followed::new([applied(checked())].into_iter().chain(events));
        assert_eq!(followed.told(), Some(expected), "{case}");
        let other = followed.desired.health_checks.checks.get(&(web(), Family::Ip6));
        assert_eq!(other.map(|check| check.local_endpoints), Some(0), "{case}: IPv6 has no endpoints");
    }
}

#[test]
fn endpoints_that_go_are_no_longer_counted_while_they_serve() {
    let ready = slice("a", &["http"], &[endpoint(1, HERE), endpoint(2, HERE), endpoint(3, HERE), not_ready(4)]);
    let mut followed = Followed::new([ready, applied(checked())]);
    assert_eq!(followed.told(), Some(3));
    followed.apply(slice("a", &["http"], &[terminating(1), terminating(2), terminating(3), not_ready(4)]));
    assert_eq!(followed.told(), Some(0));
}

#[test]
fn ports_without_the_local_endpoint_that_a_policy_wants_are_counted() {
    let here: &[SliceEndpoint] = &[endpoint(1, HERE), endpoint(2, ELSEWHERE), endpoint(3, ELSEWHERE)];
    let elsewhere = &[endpoint(1, ELSEWHERE), endpoint(2, ELSEWHERE), endpoint(3, ELSEWHERE)];
    let (cluster, local) = (false, true);
    for (internal, external, endpoints, expected) in [
        (local, cluster, here, (0, 0)),
        (cluster, local, here, (0, 0)),
        (local, local, here, (0, 0)),
        (local, cluster, elsewhere, (1, 0)),
        (cluster, local, elsewhere, (0, 1)),
        (local, local, elsewhere, (1, 1)),
        (local, local, &[], (0, 0)),
        // What serves until it is gone does count here: traffic is not lost.
        (local, local, &[terminating(1), endpoint(2, ELSEWHERE)], (0, 0)),
    ] {
        let policies = Service { internal_traffic_local: internal, external_traffic_local: external, ..service() };
        let mut followed = Followed::new([applied(policies), slice("a", &["http"], endpoints)]);
        assert_eq!(followed.without_local(Family::Ip), expected, "{internal} {external} {endpoints:?}");
        assert_eq!(followed.without_local(Family::Ip6), (0, 0), "IPv6 has no endpoints");
        followed.apply(slice("a", &["http", "https"], endpoints));
        assert_eq!(followed.without_local(Family::Ip), (2 * expected.0, 2 * expected.1), "each port by itself");
        followed.apply(Event::ServiceDeleted(web()));
        assert_eq!(followed.without_local(Family::Ip), (0, 0), "nothing is left of a Service that is gone");
    }
}

#[test]
fn a_port_that_cannot_be_reached_from_outside_has_no_external_traffic_to_lose() {
    let mut hidden = Service { external_traffic_local: true, ..service() };
    hidden.ports.iter_mut().for_each(|port| port.node_port = None);
    let followed = Followed::new([applied(hidden), slice("a", &["http"], &[endpoint(1, ELSEWHERE)])]);
    assert_eq!(followed.without_local(Family::Ip), (0, 0));
}

#[test]
fn a_port_with_several_external_frontends_counts_once() {
    let exposed = Service {
        external_traffic_local: true,
        external_ips: vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()].into(),
        load_balancer_ips: vec![[192, 0, 2, 3].into()].into(),
        ..service()
    };
    let followed = Followed::new([applied(exposed), slice("a", &["http"], &[endpoint(1, ELSEWHERE)])]);
    assert_eq!(followed.without_local(Family::Ip), (0, 1));
}

#[test]
fn a_change_that_leaves_the_answer_leaves_the_map_alone() {
    let mut followed = Followed::new([applied(checked()), slice("a", &["http"], &[endpoint(1, HERE)])]);
    let before = followed.desired.health_checks.clone();
    followed.apply(slice("a", &["http"], &[endpoint(1, HERE), endpoint(2, ELSEWHERE)]));
    assert!(before.checks.ptr_eq(&followed.desired.health_checks.checks));
}

#[test]
fn ports_that_the_same_slices_serve_alike_are_looked_at_once() {
    let merged = |ports: u16, extra: &[Event]| {
        let names: Vec<String> = (1..=ports).map(|port| format!("p{port}")).collect();
        let mut service = checked();
        service.ports =
            names.iter().map(|name| ServicePort { name: name.as_str().into(), ..service.ports[0].clone() }).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let here: Vec<SliceEndpoint> = (1..=100).map(|n| endpoint(n, HERE)).collect();
        let mut cluster = Cluster::new(HERE);
        let slices = [slice("a", &names, &here[..50]), slice("b", &names, &here[50..])];
        let events = [applied(service)].into_iter().chain(slices).chain(extra.iter().cloned());
        events.for_each(|event| drop(cluster.apply(event)));
        let state = cluster.service_state(&web()).unwrap();
        let mut checks = HealthChecks::default();
        let merged = crate::state::select::merges::count(|| checks.follow(cluster.site(), &web(), state));
        let told = checks.checks[&(web(), Family::Ip)].local_endpoints;
        (merged, told)
    };
    assert_eq!(merged(1, &[]), (100, 100));
    assert_eq!(merged(200, &[]), (100, 100));
    let more = slice("c", &["p1", "p2"], &[endpoint(200, HERE)]);
    assert_eq!(merged(200, &[more]), (100 + 101, 101), "two groups");
}

#[test]
fn a_port_whose_slices_have_other_numbers_is_looked_at_by_itself() {
    let numbered = |name: &str, numbers: [u16; 2], endpoints: &[SliceEndpoint]| {
        let Event::SliceApplied(Decoded::Object(slice)) = slice(name, &["http", "https"], endpoints) else { panic!() };
        let mut slice = (*slice).clone();
        slice.ports.iter_mut().zip(numbers).for_each(|(port, number)| port.port = number);
        Event::SliceApplied(Decoded::Object(Arc::new(slice)))
    };
    // One address in two slices: as one endpoint it is not here, because the entry that is here is no longer ready.
    let elsewhere = numbered("a", [8080, 8443], &[endpoint(1, ELSEWHERE)]);
    let here = |numbers| numbered("b", numbers, &[SliceEndpoint { terminating: true, ..endpoint(1, HERE) }]);
    let told = |numbers| Followed::new([applied(checked()), elsewhere.clone(), here(numbers)]).told();
    assert_eq!(told([8080, 8443]), Some(0), "one endpoint on both ports");
    assert_eq!(told([8080, 9443]), Some(1), "two on one of them");
    assert_eq!(told([9080, 8443]), Some(1), "two on the other one");
}
