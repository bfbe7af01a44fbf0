use super::*;
use crate::fixtures::{NODE, SliceBuilder, World, empty_lists, name, service, slice};
use crate::state::slice_ports::visits;
use crate::state::{Event, Node, Skipped, View};

/// A world in which an operator set these limits.
fn guarded(guards: Guards) -> World {
    let mut world = World::unlisted_from(View { node_name: NODE.into(), guards, ..View::default() });
    empty_lists().into_iter().for_each(|event| drop(world.apply(event)));
    world
}

fn networks(all: &[&str]) -> Vec<IpNet> {
    all.iter().map(|text| text.parse().unwrap()).collect()
}

fn frontends(world: &World) -> Vec<String> {
    world.desired().frontends.keys().map(ToString::to_string).collect()
}

/// Object, field, reason and text of each.
fn told(skipped: &[Skipped]) -> Vec<String> {
    skipped.iter().map(ToString::to_string).collect()
}

fn web_slice(endpoints: &[&str]) -> SliceBuilder {
    slice("shop/web-1").ready(endpoints)
}

#[test]
fn without_an_option_nothing_is_left_out_or_told() {
    let mut world = guarded(Guards::default());
    let service = service("shop/web").external_ips(&["10.96.0.10", "203.0.113.1"]);
    assert_eq!(told(&world.apply(service).skipped), [""; 0]);
    assert_eq!(told(&world.apply(web_slice(&["127.0.0.1", "169.254.169.254"])).skipped), [""; 0]);
    assert_eq!(frontends(&world).len(), 3);
}

#[test]
fn external_ips_outside_of_the_networks_are_left_out_and_told_once() {
    let networks = networks(&["203.0.113.0/24"]);
    let mut world = guarded(Guards { external_ip_networks: networks, ..Guards::default() });
    let with = |ips: &[&str]| service("shop/web").ips(&["10.96.0.1", "fd00:96::1"]).external_ips(ips);
    let seen = world.apply(with(&["203.0.113.1", "8.8.8.8", "9.9.9.9", "2001:db8::1"]));
    let text = "8.8.8.8 and 2 more are outside of the networks of --external-ip-networks";
    assert_eq!(told(&seen.skipped), [format!("Service shop/web: spec.externalIPs: {text} (external-ip-not-allowed)")]);
    assert_eq!(frontends(&world), ["10.96.0.1:80/tcp", "203.0.113.1:80/tcp", "[fd00:96::1]:80/tcp"]);
    // Told again after it was gone, and not for each version.
    assert_eq!(told(&world.apply(with(&["203.0.113.1", "8.8.4.4"])).skipped), [""; 0]);
    assert_eq!(told(&world.apply(with(&["203.0.113.1"])).skipped), [""; 0]);
    assert_eq!(told(&world.apply(with(&["8.8.4.4"])).skipped).len(), 1);
    // A load-balancer IP is the load balancer's matter.
    world.apply(with(&[]).load_balancer_ips(&["8.8.8.8"]));
    assert!(frontends(&world).contains(&"8.8.8.8:80/tcp".to_owned()));
}

#[test]
fn endpoints_in_refused_networks_are_left_out_and_told() {
    let refused = networks(&["169.254.0.0/16", "10.9.0.0/16", "fe80::/10"]);
    let mut world = guarded(Guards { refused_endpoint_networks: refused, ..Guards::default() });
    world.apply(service("shop/web"));
    let seen = world.apply(web_slice(&["10.1.0.1", "169.254.169.254"]));
    let text = "169.254.169.254 is in a network of --refused-endpoint-networks";
    assert_eq!(told(&seen.skipped), [format!("Service shop/web: endpoints: {text} (endpoint-not-allowed)")]);
    let spec = |world: &World| world.desired().frontends.values().next().unwrap().winner().outcome.clone();
    assert!(matches!(spec(&world), crate::state::Outcome::Balance(list) if list.len() == 1));
    world.apply(web_slice(&["10.9.1.1"]));
    assert_eq!(spec(&world), crate::state::Outcome::Reject, "as if there were none");
}

#[test]
fn endpoints_of_the_node_itself_are_told_and_used() {
    let mut world = guarded(Guards { tells_local_endpoints: true, ..Guards::default() });
    let node = Node { name: name(NODE), addresses: vec![[192, 0, 2, 1].into()], ..Node::default() };
    world.apply(Event::NodeApplied(crate::state::Decoded::Object(node.into())));
    world.apply(service("shop/web"));
    assert_eq!(told(&world.apply(web_slice(&["10.1.0.1"])).skipped), [""; 0]);
    let seen = world.apply(web_slice(&["10.1.0.1", "127.0.0.1", "169.254.1.1", "192.0.2.1"]));
    let text = "127.0.0.1 and 2 more are loopback, link-local or this node's own, and used all the same";
    assert_eq!(told(&seen.skipped), [format!("Service shop/web: endpoints: {text} (local-endpoint)")]);
    assert!(!seen.skipped[0].problem.reason.leaves_out());
    assert_eq!(world.desired().frontends.values().next().unwrap().winner().endpoint_count(), 4);
}

#[test]
fn a_service_is_served_as_far_as_its_share_goes_cluster_ips_first() {
    let addrs: Vec<String> = (0..200).map(|n| format!("203.0.113.{n}")).collect();
    let addrs: Vec<&str> = addrs.iter().map(String::as_str).collect();
    let huge = |external: &[&str]| {
        let service = service("shop/huge").ports(&["a 80/tcp", "b 81/tcp"]).load_balancer_ips(&["198.51.100.1"]);
        service.external_ips(external)
    };
    // A frontend with two endpoints counts six elements.
    let mut world = guarded(Guards { max_elements: 100, ..Guards::default() });
    world.apply(slice("shop/huge-1").ports(&["a 80/tcp", "b 81/tcp"]).ready(&["10.1.0.1", "10.1.0.2"]));
    assert_eq!(told(&world.apply(huge(&addrs[..6])).skipped), [""; 0], "fits: 16 frontends");
    world.sync();
    let seen = world.apply(huge(&addrs));
    let [problem] = &told(&seen.skipped)[..] else { panic!("one problem") };
    assert!(problem.contains("more than 100 elements") && problem.contains("16 frontends are served"), "{problem}");
    let served = frontends(&world);
    let first = ["10.96.0.1:80/tcp", "10.96.0.1:81/tcp", "198.51.100.1:80/tcp", "198.51.100.1:81/tcp"];
    assert!(served.len() == 16 && first.iter().all(|it| served.contains(&(*it).to_owned())), "{served:?}");
    // The same again, whatever it had before.
    let again = guarded(Guards { max_elements: 100, ..Guards::default() });
    let events = [
        huge(&addrs).into(),
        slice("shop/huge-1").ports(&["a 80/tcp", "b 81/tcp"]).ready(&["10.1.0.1", "10.1.0.2"]).into(),
    ];
    let again = events.into_iter().fold(again, |mut world, event: Event| {
        world.apply(event);
        world
    });
    assert_eq!(frontends(&again), served);
    // Another Service has a share of its own.
    world.apply(service("shop/web").ips(&["10.96.0.2"]));
    assert_eq!(frontends(&world).len(), 17);
    assert_eq!(told(&world.apply(huge(&[])).skipped), [""; 0]);
    assert_eq!(frontends(&world).len(), 5);
}

#[test]
fn a_share_is_used_up_and_what_has_no_room_is_counted() {
    let told_of = |max_elements| {
        let mut world = guarded(Guards { max_elements, ..Guards::default() });
        let web = service("shop/web").ports(&["a 80/tcp", "b 81/tcp"]);
        let seen = world.apply(web.load_balancer_ips(&["203.0.113.1", "203.0.113.2", "203.0.113.3"]));
        let told = told(&seen.skipped);
        let tail = |told: &String| told.split(": ").last().map(str::to_owned);
        (frontends(&world).len(), told.first().and_then(tail))
    };
    let counts = |served, left_out| {
        (served, Some(format!("{served} frontends are served, at least {left_out} are not (too-many-elements)")))
    };
    // Two frontends at the ClusterIP, and three for each of the two ports; four elements each.
    assert_eq!(told_of(32), (8, None), "the last one has just room");
    assert_eq!(told_of(31), counts(7, 1));
    assert_eq!(told_of(20), counts(5, 3), "the second port is not looked at");
    assert_eq!(told_of(8), counts(2, 6));
    assert_eq!(told_of(4), counts(1, 1 + 3), "not even the addresses of the second port");
}

#[test]
fn what_is_beyond_a_share_is_not_even_looked_at() {
    let ports: Vec<String> = (0..400).map(|n| format!("p{n} {}/tcp", 1_000 + n)).collect();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    let pods: Vec<String> = (0..200).map(|n| format!("10.1.0.{n}")).collect();
    let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
    let mut world = guarded(Guards { max_elements: 10_000, ..Guards::default() });
    world.apply(service("shop/huge").ports(&ports));
    let steps = visits::count(|| drop(world.apply(slice("shop/huge-1").ports(&ports).ready(&pods))));
    // Each frontend has 204 elements.
    assert_eq!(frontends(&world).len(), 49);
    assert!(steps < 150, "{steps} steps for 50 of 400 ports");
}

#[test]
fn many_ports_are_found_in_slices_in_a_linear_number_of_steps() {
    let steps = |count: u16| {
        let ports: Vec<String> = (0..count).map(|n| format!("p{n} {}/udp", 1_000 + n)).collect();
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        let mut world = guarded(Guards::default());
        world.apply(service("shop/many").ports(&ports));
        let slice = |pod: &str| slice("shop/many-1").ports(&ports).ready(&[pod]);
        world.apply(slice("10.1.0.1"));
        visits::count(|| drop(world.apply(slice("10.1.0.2"))))
    };
    let (small, large) = (steps(100), steps(800));
    println!("100 ports: {small} steps, 800: {large}");
    assert!(large <= small * 10, "8 times the ports take {large} steps after {small}");
    assert!(steps(4) > 0, "the count sees a search, too");
}
