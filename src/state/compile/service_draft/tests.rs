use super::*;
use crate::fixtures::{NODE, ServiceBuilder, World, frontend, ip, name, service, slice};
use crate::state::{Decoded, Event, Node};

/// Every claim of `shop/web` to a frontend: what it is for, and from where it may be used.
fn claims(service: ServiceBuilder, at: &str) -> Vec<(Exposure, Option<Vec<String>>)> {
    let mut world = World::new();
    let node = Node { name: name(NODE), addresses: vec![ip("198.51.100.77")], ..Node::default() };
    world.apply(Event::NodeApplied(Decoded::Object(node.into())));
    world.apply(service);
    world.apply(slice("shop/web-1").ready(&["10.1.0.1"]));
    world.apply(slice("shop/web-2").ip6().ready(&["fd00:1::1"]));
    let state = world.cluster().service_state(&name("shop/web")).unwrap();
    let compiled = crate::state::compile::compile(world.cluster().site(), state);
    let here = compiled.frontends.iter().filter(|(of, _)| *of == frontend(at));
    let sources = |sources: &Arc<[IpNet]>| sources.iter().map(ToString::to_string).collect();
    here.map(|(_, spec)| (spec.exposure, spec.sources.as_ref().map(sources))).collect()
}

/// `shop/web` with load-balancer IPs of both families, which only these sources may use.
fn load_balanced(sources: &[&str]) -> ServiceBuilder {
    let web = service("shop/web").ips(&["10.96.0.1", "fd00:96::1"]);
    web.load_balancer_ips(&["203.0.113.5", "2001:db8::5"]).source_ranges(sources)
}

/// The sources that may use the load-balancer IP of each family; `None` for all.
fn allowed(sources: &[&str]) -> [Option<Vec<String>>; 2] {
    ["203.0.113.5 80/tcp", "2001:db8::5 80/tcp"].map(|at| {
        let mut claims = claims(load_balanced(sources), at);
        assert_eq!(claims.len(), 1, "{at}");
        claims.remove(0).1
    })
}

fn some(sources: &[&str]) -> Option<Vec<String>> {
    Some(sources.iter().copied().map(str::to_owned).collect())
}

#[test]
fn an_external_or_load_balancer_ip_that_is_the_cluster_ip_is_asked_for_once_and_as_such() {
    let internal = [(Exposure::Internal, None)];
    for (cluster_ip, at) in [("10.96.0.1", "10.96.0.1 80/tcp"), ("fd00:96::1", "fd00:96::1 80/tcp")] {
        let web = || service("shop/web").ips(&["10.96.0.1", "fd00:96::1"]);
        assert_eq!(claims(web().external_ips(&[cluster_ip, "203.0.113.1"]), at), internal);
        assert_eq!(claims(web().load_balancer_ips(&[cluster_ip, "203.0.113.1"]), at), internal);
        let ranges = web().load_balancer_ips(&[cluster_ip]).source_ranges(&["192.0.2.0/25", "2001:db8::/64"]);
        assert_eq!(claims(ranges, at), internal, "the ranges of a load balancer do not bind the cluster");
    }
}

#[test]
fn an_external_ip_that_is_a_load_balancer_ip_is_asked_for_once_and_keeps_its_source_ranges() {
    let web = load_balanced(&["192.0.2.0/25"]).external_ips(&["203.0.113.5", "203.0.113.6", "2001:db8::5"]);
    assert_eq!(claims(web.clone(), "203.0.113.5 80/tcp"), [(Exposure::External, some(&["192.0.2.0/25"]))]);
    assert_eq!(claims(web.clone(), "203.0.113.6 80/tcp"), [(Exposure::External, None)], "only an external IP");
    assert_eq!(claims(web, "2001:db8::5 80/tcp"), [(Exposure::External, None)]);
}

#[test]
fn a_source_range_of_all_addresses_lets_all_in_whatever_stands_beside_it() {
    assert_eq!(allowed(&["0.0.0.0/0"]), [None, None]);
    assert_eq!(allowed(&["192.0.2.0/25", "0.0.0.0/0"]), [None, None]);
    assert_eq!(allowed(&["::/0", "192.0.2.0/25"]), [some(&["192.0.2.0/25"]), None]);
    assert_eq!(allowed(&["2001:db8::/64", "203.0.113.9/0"]), [None, some(&["2001:db8::/64"])], "bits of the host");
}

#[test]
fn source_ranges_that_add_up_to_all_addresses_let_all_in() {
    assert_eq!(allowed(&["0.0.0.0/1", "128.0.0.0/1"]), [None, None]);
    assert_eq!(allowed(&["128.0.0.0/1", "64.0.0.0/2", "0.0.0.0/2"]), [None, None]);
    assert_eq!(allowed(&["0.0.0.0/1", "128.0.0.0/2"]), [some(&["0.0.0.0/1", "128.0.0.0/2"]), None], "not all");
}

#[test]
fn source_ranges_of_one_family_say_nothing_about_the_other() {
    assert_eq!(allowed(&[]), [None, None]);
    assert_eq!(allowed(&["192.0.2.9/25"]), [some(&["192.0.2.0/25"]), None]);
    assert_eq!(allowed(&["2001:db8::/64"]), [None, some(&["2001:db8::/64"])]);
}

#[test]
fn a_source_range_with_the_node_lets_in_the_load_balancer_ip_of_its_family() {
    assert_eq!(
        allowed(&["198.51.100.64/26", "2001:db8:7::/64"]),
        [some(&["198.51.100.64/26", "203.0.113.5/32"]), some(&["2001:db8:7::/64"])]
    );
}
