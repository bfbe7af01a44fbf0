use std::time::Duration;

use tokio::sync::mpsc;

use super::*;
use crate::conntrack::ConntrackFollower;
use crate::dataplane::SetName;
use crate::diff::Acknowledged;
use crate::engine::{Failed, Failure, FailureKind, Moment, Next};
use crate::fixtures::{World, frontend, ip, service, slice};
use crate::follow::{Effort, Follower, ReadBack};
use crate::state::{Event, NodePortAddresses, View, ports_looked_at};

/// A flow from `client` to `destination` that `server` answers, each `address:port`.
fn flow(destination: &str, server: &str) -> Flow {
    let client = if destination.starts_with('[') { "[fd00:192::2]:20000" } else { "192.0.2.2:20000" };
    let [client, destination, server] = [client, destination, server].map(|text| text.parse().unwrap());
    Flow { client, destination, server, zone: 0, id: 1 }
}

fn dns() -> Event {
    service("kube/dns").ports(&["dns 53/udp"]).node_port(30_053).into()
}

fn dns_slice(endpoints: &str) -> Event {
    slice("kube/dns-1").ports(&["dns 5353/udp"]).endpoints(endpoints).into()
}

/// NodePorts are accepted on 192.0.2.1.
fn view() -> View {
    let networks = ["192.0.2.1/32".parse().unwrap(), "fd00:192::1/128".parse().unwrap()].to_vec();
    let node_ports = NodePortAddresses::networks(networks);
    View { node_name: crate::fixtures::NODE.into(), node_ports, ..View::default() }
}

/// A world with `kube/dns` on 10.96.0.1 and NodePort 30053, accepted on 192.0.2.1.
fn world(endpoints: &str) -> World {
    let mut world = World::unlisted_from(view());
    let host = ["192.0.2.1", "192.0.2.99", "fd00:192::1"].map(ip).to_vec();
    let events =
        crate::fixtures::empty_lists().into_iter().chain([Event::HostAddresses(host), dns(), dns_slice(endpoints)]);
    events.for_each(|event| drop(world.apply(event)));
    world.sync();
    world
}

/// What is stale of these flows when these frontends are looked at.
fn stale(world: &World, looked_at: &[Frontend], flows: &[Flow]) -> Vec<bool> {
    let frontends = looked_at.iter().copied().collect();
    let (now, looked_at) = (world.engine.snapshot().clone(), FlowsToCheck { frontends, ..FlowsToCheck::default() });
    let mut judge = Judge::new(&now, &looked_at);
    flows.iter().map(|flow| judge.is_stale(flow)).collect()
}

/// A world and its follower, which has seen the start.
struct Followed {
    world: World,
    follower: ConntrackFollower,
    requests: mpsc::UnboundedReceiver<FlowsToCheck>,
}

impl Followed {
    fn new(world: World) -> Self {
        let (follower, requests) = ConntrackFollower::channel(&Family::ALL);
        let mut followed = Self { world, follower, requests };
        followed.looked_at([]);
        followed
    }

    /// The frontends that are looked at after these events.
    fn looked_at(&mut self, events: impl IntoIterator<Item = Event>) -> Vec<String> {
        self.world.follow(&mut self.follower, events);
        self.requested()
    }

    fn requested(&mut self) -> Vec<String> {
        let requests = std::iter::from_fn(|| self.requests.try_recv().ok());
        requests.flat_map(|flows| flows.frontends).collect::<BTreeSet<_>>().iter().map(ToString::to_string).collect()
    }
}

/// What becomes of the next plan of a world.
#[derive(Clone, Copy)]
enum Fate {
    /// It is refused, as a step of the search for refused frontends.
    RefusedInSearch,
    /// It is committed, and the acknowledgement is lost.
    Unanswered,
    /// It is committed.
    Committed,
}

impl Followed {
    /// The frontends that are looked at after the next plan.
    fn looked_at_after(&mut self, fate: Fate) -> Vec<String> {
        let engine = &mut self.world.engine;
        let plan = loop {
            match engine.next(Moment::default()) {
                Next::Commit(plan) => break *plan,
                Next::Read => {
                    let held = Acknowledged::from(self.world.kernel.contents(&Family::ALL));
                    engine.read_back(held, Moment::default());
                }
                Next::Wait(_) => panic!("nothing to commit"),
            }
        };
        if !matches!(fate, Fate::RefusedInSearch) {
            self.world.kernel.apply(&plan.operations).unwrap();
        }
        let failure = Failure { kind: FailureKind::Unanswered, message: "no answer".to_owned() };
        match fate {
            Fate::Committed => {
                let committed = engine.committed(plan, Moment::default(), Moment::default());
                self.follower.committed(&committed, engine.snapshot(), Effort::default());
            }
            Fate::Unanswered => {
                let failed = engine.failed(plan, &failure, Moment::default());
                self.follower.failed(&failed, &failure, Duration::ZERO);
            }
            Fate::RefusedInSearch => {
                let failed = engine.failed(plan, &failure, Moment::default());
                self.follower.failed(&Failed { is_search: true, ..failed }, &failure, Duration::ZERO);
            }
        }
        self.requested()
    }
}

const CLUSTER_IP: &str = "10.96.0.1:53/udp";
const NODE_PORT: &str = "NodePort 30053/udp (IPv4)";

fn both() -> [Frontend; 2] {
    [frontend("10.96.0.1 53/udp"), frontend("0.0.0.0 30053/udp")]
}

#[test]
fn a_flow_is_stale_when_its_server_may_not_keep_it() {
    let world = world("10.1.0.1 L r, 10.1.0.2 R st");
    let flows = [
        flow("10.96.0.1:53", "10.1.0.1:5353"),
        flow("10.96.0.1:53", "10.1.0.2:5353"),
        flow("10.96.0.1:53", "10.1.0.3:5353"),
        flow("10.96.0.1:53", "10.1.0.1:5354"),
        flow("10.96.0.1:53", "10.96.0.1:53"),
    ];
    assert_eq!(stale(&world, &both(), &flows), [false, false, true, true, true]);
}

#[test]
fn only_frontends_that_are_looked_at_are_judged() {
    let world = world("10.1.0.1 L r");
    let gone = [flow("10.96.0.1:53", "10.1.0.9:5353"), flow("192.0.2.1:30053", "10.1.0.9:5353")];
    assert_eq!(stale(&world, &both()[..1], &gone), [true, false]);
    assert_eq!(stale(&world, &both()[1..], &gone), [false, true]);
    assert_eq!(stale(&world, &both(), &[flow("10.96.0.1:54", "10.1.0.9:5353")]), [false]);
}

#[test]
fn a_node_port_is_one_on_addresses_that_accept_it_and_nowhere_else() {
    let world = world("10.1.0.1 L r");
    let flows = [
        flow("192.0.2.1:30053", "10.1.0.9:5353"),
        flow("192.0.2.1:30053", "192.0.2.1:30053"),
        flow("192.0.2.99:30053", "192.0.2.99:30053"),
        flow("203.0.113.1:30053", "203.0.113.1:30053"),
        flow("203.0.113.1:30053", "203.0.113.2:53"),
    ];
    assert_eq!(stale(&world, &both(), &flows), [true, true, false, false, false]);
}

#[test]
fn without_endpoints_every_flow_is_stale() {
    let world = world("10.1.0.1 L -");
    let flows = [flow("10.96.0.1:53", "10.1.0.1:5353"), flow("10.96.0.1:53", "10.96.0.1:53")];
    assert_eq!(stale(&world, &both(), &flows), [true, true]);
}

#[test]
fn where_there_is_no_frontend_any_more_what_was_translated_is_stale() {
    let mut world = world("10.1.0.1 L r");
    world.apply(Event::ServiceDeleted(crate::fixtures::name("kube/dns")));
    let flows = [
        flow("10.96.0.1:53", "10.1.0.1:5353"),
        flow("10.96.0.1:53", "10.96.0.1:53"),
        flow("192.0.2.1:30053", "10.1.0.1:5353"),
        flow("192.0.2.1:30053", "192.0.2.1:30053"),
    ];
    assert_eq!(stale(&world, &both(), &flows), [true, false, true, false]);
}

#[test]
fn an_address_that_is_a_frontend_itself_comes_before_the_node_port() {
    let mut world = world("10.1.0.1 L r");
    world.apply(service("shop/game").ips(&["10.96.0.2", "fd00:96::2"]).ports(&["game 30053/udp"]));
    world.apply(slice("shop/game-1").ports(&["game 7000/udp"]).ready(&["10.1.0.7"]));
    let mut external = world.cluster().service(&crate::fixtures::name("shop/game")).unwrap().as_ref().clone();
    external.external_ips = vec![ip("192.0.2.1")].into();
    world.apply(Event::ServiceApplied(crate::state::Decoded::Object(external.into())));
    let flows = [flow("192.0.2.1:30053", "10.1.0.7:7000"), flow("192.0.2.1:30053", "10.1.0.1:5353")];
    assert_eq!(stale(&world, &both(), &flows), [false, true]);
}

#[test]
fn untranslated_flows_of_other_zones_are_left_alone() {
    let world = world("10.1.0.1 L r");
    let elsewhere = |flow| Flow { zone: 5, ..flow };
    let flows = [
        elsewhere(flow("10.96.0.1:53", "10.96.0.1:53")),
        elsewhere(flow("10.96.0.1:53", "10.1.0.1:5353")),
        elsewhere(flow("10.96.0.1:53", "10.1.0.9:5353")),
    ];
    assert_eq!(stale(&world, &both(), &flows), [false, false, true]);
}

#[test]
fn flows_over_ipv6_are_judged_alike() {
    let mut world = world("10.1.0.1 L r");
    world.apply(service("kube/six").ips(&["fd00:96::6"]).ports(&["dns 53/udp"]).node_port(30_066));
    world.apply(slice("kube/six-1").ip6().ports(&["dns 5353/udp"]).endpoints("fd00:1::1 L r"));
    let six = [frontend("fd00:96::6 53/udp"), frontend(":: 30066/udp")];
    let flows = [
        flow("[fd00:96::6]:53", "[fd00:1::1]:5353"),
        flow("[fd00:96::6]:53", "[fd00:1::2]:5353"),
        flow("[fd00:192::1]:30066", "[fd00:1::2]:5353"),
        flow("[2001:db8::1]:30066", "[fd00:1::2]:5353"),
    ];
    assert_eq!(stale(&world, &six, &flows), [false, true, true, false]);
}

#[test]
fn judging_flows_to_all_ports_of_a_service_takes_steps_in_the_order_of_its_ports() {
    let steps = |ports: u16| {
        let names: Vec<String> = (1..=ports).map(|port| format!("p{port} {port}/udp")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let world = World::with([
            service("kube/many").ports(&names).into(),
            slice("kube/many-1").ports(&names).ready(&["10.1.0.1"]).into(),
        ]);
        let frontends: Vec<Frontend> = (1..=ports).map(|port| frontend(&format!("10.96.0.1 {port}/udp"))).collect();
        let flows: Vec<Flow> =
            (1..=ports).map(|port| flow(&format!("10.96.0.1:{port}"), &format!("10.1.0.1:{port}"))).collect();
        ports_looked_at(|| assert_eq!(stale(&world, &frontends, &flows), vec![false; ports.into()]))
    };
    let (few, many) = (steps(20), steps(400));
    assert!(many <= 20 * few + 20, "{few} for 20 ports, {many} for 400");
}

#[test]
fn what_comes_goes_or_loses_an_endpoint_is_looked_at() {
    let mut world = Followed::new(world("10.1.0.1 L r, 10.1.0.2 L r"));
    assert_eq!(world.looked_at([dns_slice("10.1.0.1 L r")]), [NODE_PORT, CLUSTER_IP]);
    assert_eq!(world.looked_at([dns_slice("10.1.0.3 L r")]), [NODE_PORT, CLUSTER_IP], "replaced");
    assert_eq!(world.looked_at([dns_slice("")]), [NODE_PORT, CLUSTER_IP], "the last one goes");
    assert_eq!(world.looked_at([dns_slice("10.1.0.3 L r")]), [NODE_PORT, CLUSTER_IP], "the first one comes");
    let deleted = Event::ServiceDeleted(crate::fixtures::name("kube/dns"));
    assert_eq!(world.looked_at([deleted]), [NODE_PORT, CLUSTER_IP], "the Service goes");
    assert_eq!(world.looked_at([dns()]), [NODE_PORT, CLUSTER_IP], "the Service comes");
}

#[test]
fn an_endpoint_that_ends_in_two_steps_is_looked_at_after_the_second() {
    let mut world = Followed::new(world("10.1.0.1 L r, 10.1.0.2 L r"));
    world.looked_at([dns_slice("10.1.0.1 L st, 10.1.0.2 L r")]);
    assert_eq!(stale(&world.world, &both(), &[flow("10.96.0.1:53", "10.1.0.1:5353")]), [false], "it still serves");
    assert_eq!(world.looked_at([dns_slice("10.1.0.2 L r")]), [NODE_PORT, CLUSTER_IP]);
    assert_eq!(stale(&world.world, &both(), &[flow("10.96.0.1:53", "10.1.0.1:5353")]), [true]);
}

#[test]
fn an_endpoint_that_only_the_kernel_knew_is_looked_at() {
    let mut world = Followed::new(world("10.1.0.1 L r, 10.1.0.2 L r"));
    world.world.apply(dns_slice("10.1.0.1 L r"));
    assert_eq!(world.looked_at([]), [NODE_PORT, CLUSTER_IP]);
}

#[test]
fn what_only_grows_or_is_not_udp_is_not_looked_at() {
    let mut world = Followed::new(world("10.1.0.1 L r"));
    assert_eq!(world.looked_at([dns_slice("10.1.0.1 L r, 10.1.0.2 L r")]), [""; 0]);
    let tcp = [service("shop/web").ips(&["10.96.0.2"]).into(), slice("shop/web-1").ready(&["10.1.0.9"]).into()];
    assert_eq!(world.looked_at(tcp), [""; 0]);
    assert_eq!(world.looked_at([slice("shop/web-1").into()]), [""; 0]);
}

#[test]
fn a_frontend_that_changes_hands_is_looked_at() {
    let mut world = Followed::new(world("10.1.0.1 L r"));
    let other = service("a/older").ports(&["dns 53/udp"]).created(1);
    let slice = slice("a/older-1").ports(&["dns 5353/udp"]).ready(&["10.1.0.1"]);
    assert_eq!(world.looked_at([other.into(), slice.into()]), [CLUSTER_IP]);
}

#[test]
fn at_the_start_all_is_looked_at_and_also_what_is_gone() {
    let mut world = world("10.1.0.1 L r");
    world.apply(Event::ServiceDeleted(crate::fixtures::name("kube/dns")));
    world.apply(service("kube/new").ips(&["10.96.0.7", "fd00:96::7"]).ports(&["dns 53/udp", "web 80/tcp"]));
    world.restart();
    let all = |families: &[Family]| -> Vec<String> {
        let (mut follower, mut requests) = ConntrackFollower::channel(families);
        world.clone().follow(&mut follower, []);
        requests.try_recv().unwrap().frontends.iter().map(ToString::to_string).collect()
    };
    assert_eq!(all(&Family::ALL), [NODE_PORT, CLUSTER_IP, "10.96.0.7:53/udp", "[fd00:96::7]:53/udp"]);
    assert_eq!(all(&[Family::Ip6]), ["[fd00:96::7]:53/udp"]);
}

/// A world whose kernel holds an endpoint that its cluster does not know any more. No event says so: only the plan shows it.
fn with_an_endpoint_of_before() -> Followed {
    let mut followed = Followed::new(world("10.1.0.1 L r, 10.1.0.2 L r"));
    followed.world.apply(dns_slice("10.1.0.1 L r"));
    followed
}

#[test]
fn what_a_plan_changed_whose_answer_was_lost_is_looked_at_after_the_next_commit() {
    let mut followed = with_an_endpoint_of_before();
    assert_eq!(followed.looked_at_after(Fate::Unanswered), [""; 0], "it may not be committed");
    // The tables are as they should be: this plan changes nothing.
    assert_eq!(followed.looked_at_after(Fate::Committed), [NODE_PORT, CLUSTER_IP]);
    followed.world.apply(slice("shop/web-1").ready(&["10.1.0.9"]));
    assert_eq!(followed.looked_at([service("shop/web").ips(&["10.96.0.2"]).into()]), [""; 0], "it is looked at once");
}

/// Flows are judged by the newest snapshot. When their endpoint comes back before the worker has looked, they stay. No plan shows when it
/// goes again before any commit.
#[test]
fn what_comes_back_and_goes_again_before_any_commit_is_looked_at_again() {
    let deleted = |service| Event::ServiceDeleted(crate::fixtures::name(service));
    let older = || service("a/older").ports(&["dns 53/udp"]).created(1).into();
    let renamed = || service("kube/dns").ports(&["other 53/udp"]).node_port(30_053).into();
    let cases = [
        ("the Service", dns(), deleted("kube/dns"), vec![NODE_PORT, CLUSTER_IP]),
        ("the endpoint", dns_slice("10.1.0.1 L r"), dns_slice(""), vec![NODE_PORT, CLUSTER_IP]),
        ("its turn", deleted("a/older"), older(), vec![CLUSTER_IP]),
        ("the name of the port", dns(), renamed(), vec![NODE_PORT, CLUSTER_IP]),
        ("the node's address", host("192.0.2.1"), host("192.0.2.99"), vec![NODE_PORT]),
    ];
    for (what, comes, goes, expected) in cases {
        let mut followed = Followed::new(world("10.1.0.1 L r"));
        followed.looked_at([comes.clone(), goes.clone()]);
        followed.world.hear(&mut followed.follower, comes);
        followed.world.hear(&mut followed.follower, goes);
        assert_eq!(followed.looked_at_after(Fate::Committed), expected, "{what}");
    }
}

#[test]
fn what_goes_before_all_was_programmed_once_is_looked_at() {
    let mut followed = Followed::new(world("10.1.0.1 L r"));
    followed.looked_at([Event::ServiceDeleted(crate::fixtures::name("kube/dns"))]);
    followed.follower.suspects_all = true;
    followed.world.hear(&mut followed.follower, dns());
    followed.world.hear(&mut followed.follower, Event::ServiceDeleted(crate::fixtures::name("kube/dns")));
    assert_eq!(followed.looked_at_after(Fate::Committed), [NODE_PORT, CLUSTER_IP]);
}

#[test]
fn a_plan_of_the_search_for_refused_frontends_changed_nothing() {
    let mut followed = with_an_endpoint_of_before();
    assert_eq!(followed.looked_at_after(Fate::RefusedInSearch), [""; 0]);
    followed.world.apply(dns_slice("10.1.0.1 L r, 10.1.0.2 L r"));
    assert_eq!(followed.looked_at_after(Fate::Committed), [""; 0]);
}

#[test]
fn at_the_start_nothing_is_looked_at_before_all_is_programmed() {
    let mut world = World::sliced(20);
    for n in 1..=40 {
        world.apply(service(&format!("kube/dns{n}")).ips(&[&format!("10.96.1.{n}")]).ports(&["dns 53/udp"]));
    }
    world.restart();
    let (mut follower, mut requests) = ConntrackFollower::channel(&Family::ALL);
    let Some(first) = world.slice() else { panic!("a first slice") };
    assert!(!first.is_caught_up());
    follower.committing(world.engine.snapshot());
    follower.committed(&first, world.engine.snapshot(), Effort::default());
    let changed = requests.try_recv().map_or(0, |flows| flows.frontends.len());
    assert_eq!(changed, first.plan.frontends.len(), "only those that it changed");
    world.follow(&mut follower, []);
    assert_eq!(std::iter::from_fn(|| requests.try_recv().ok()).map(|flows| flows.frontends.len()).max(), Some(40));
}

#[test]
fn frontends_of_an_address_that_comes_with_the_last_of_them_are_looked_at_then() {
    let mut world = World::sliced(4);
    world.sync();
    let (mut follower, mut requests) = ConntrackFollower::channel(&Family::ALL);
    world.follow(&mut follower, []);
    while requests.try_recv().is_ok() {}
    let ports = ["a 53/udp", "b 54/udp", "c 55/udp"];
    world.apply(slice("kube/dns-1").ports(&ports).ready(&["10.1.0.1", "10.1.0.2", "10.1.0.3"]));
    world.apply(service("kube/dns").ports(&ports));
    let mut asked = Vec::new();
    while let Some(committed) = world.slice() {
        follower.committing(world.engine.snapshot());
        follower.committed(&committed, world.engine.snapshot(), Effort::default());
        let comes = committed.plan.shared.iter().any(|change| change.element.set == SetName::ClusterIps);
        asked.push((comes, requests.try_recv().map_or(0, |flows| flows.frontends.len())));
    }
    assert_eq!(asked, [(false, 1), (false, 1), (true, 3)], "until then packets were not translated");
}

#[test]
fn node_ports_are_looked_at_once_for_an_address_however_long_a_change_takes() {
    let mut world = World::sliced_from(20, view());
    world.apply(service("kube/dns").ports(&["dns 53/udp"]).node_port(30_053));
    world.sync();
    let (mut follower, mut requests) = ConntrackFollower::channel(&Family::ALL);
    world.follow(&mut follower, []);
    while requests.try_recv().is_ok() {}
    world.apply(host("192.0.2.1"));
    for n in 1..=40 {
        world.apply(service(&format!("shop/web{n}")).ips(&[&format!("10.96.1.{n}")]));
    }
    let mut asked = Vec::new();
    while let Some(committed) = world.slice() {
        follower.committing(world.engine.snapshot());
        follower.committed(&committed, world.engine.snapshot(), Effort::default());
        asked.extend(requests.try_recv());
    }
    assert_eq!(asked.len(), 1, "{asked:?}");
}

/// The node has this address of its own, and no other.
fn host(addr: &str) -> Event {
    Event::HostAddresses(vec![ip(addr)])
}

#[test]
fn flows_to_node_ports_at_an_address_that_accepts_them_no_more_are_stale() {
    let mut followed = Followed::new(world("10.1.0.1 L r"));
    let flows = [flow("192.0.2.1:30053", "10.1.0.1:5353"), flow("203.0.113.1:30053", "10.1.0.1:5353")];
    followed.world.follow(&mut followed.follower, [host("192.0.2.99")]);
    let asked = followed.requests.try_recv().unwrap();
    assert!(asked.frontends.contains(&both()[1]), "{asked:?}");
    let now = followed.world.engine.snapshot().clone();
    let mut judge = Judge::new(&now, &asked);
    assert_eq!(flows.map(|flow| judge.is_stale(&flow)), [true, false], "the other address never was the node's");
    assert_eq!(followed.looked_at([host("192.0.2.1")]), [NODE_PORT], "what came before the address is stale, too");
}

#[test]
fn flows_to_a_node_port_that_goes_before_its_address_are_stale() {
    let mut followed = Followed::new(world("10.1.0.1 L r"));
    followed.world.follow(&mut followed.follower, [Event::ServiceDeleted(crate::fixtures::name("kube/dns"))]);
    let asked = followed.requests.try_recv().unwrap();
    followed.world.follow(&mut followed.follower, [host("192.0.2.99")]);
    // The worker judges by the newest snapshot, which has neither.
    let now = followed.world.engine.snapshot().clone();
    assert!(Judge::new(&now, &asked).is_stale(&flow("192.0.2.1:30053", "10.1.0.1:5353")));
}

#[test]
fn an_address_that_a_lost_batch_removed_is_asked_for_with_the_next_one() {
    let mut followed = Followed::new(world("10.1.0.1 L r"));
    followed.world.apply(host("192.0.2.99"));
    assert_eq!(followed.looked_at_after(Fate::Unanswered), [""; 0]);
    assert_eq!(followed.looked_at_after(Fate::Committed), [NODE_PORT]);
}

#[test]
fn an_address_that_only_the_kernel_knows_accepts_node_ports() {
    // The new process does not know the node's addresses yet.
    let mut unknown = World::with([dns(), dns_slice("10.1.0.1 L r")]);
    let (mut follower, mut requests) = ConntrackFollower::channel(&Family::ALL);
    let held = world("10.1.0.1 L r").acknowledged();
    follower.read(&ReadBack { elements: held.count_elements(), held, deviations: None });
    unknown.follow(&mut follower, [Event::ServiceDeleted(crate::fixtures::name("kube/dns"))]);
    let asked = requests.try_recv().unwrap();
    assert!(asked.node_port_addresses.contains(&ip("192.0.2.1")), "{asked:?}");
    let now = unknown.engine.snapshot().clone();
    assert!(Judge::new(&now, &asked).is_stale(&flow("192.0.2.1:30053", "10.1.0.1:5353")));
}

#[test]
fn an_address_that_accepted_node_ports_once_is_asked_for_no_more() {
    let mut followed = Followed::new(world("10.1.0.1 L r, 10.1.0.2 L r"));
    followed.looked_at([host("192.0.2.99")]);
    followed.world.follow(&mut followed.follower, [dns_slice("10.1.0.1 L r")]);
    let asked = followed.requests.try_recv().unwrap();
    assert!(asked.frontends.contains(&both()[1]), "{asked:?}");
    assert!(!asked.node_port_addresses.contains(&ip("192.0.2.1")), "{asked:?}");
}

#[test]
fn all_flows_are_looked_at_after_another_program_changed_elements() {
    let mut followed = Followed::new(world("10.1.0.1 L r"));
    let unrelated = || service("shop/web").ips(&["10.96.0.7"]).into();
    assert_eq!(followed.looked_at([unrelated()]), [""; 0]);
    let held = followed.world.acknowledged();
    let deviations = Some(vec![crate::diff::Deviation::Frontends(1, both()[0])]);
    followed.follower.read(&ReadBack { elements: held.count_elements(), held, deviations });
    let looked_at = followed.looked_at([Event::ServiceDeleted(crate::fixtures::name("shop/web"))]);
    assert!(looked_at.len() >= 2 && looked_at.contains(&NODE_PORT.to_owned()), "{looked_at:?}");
}
