//! Which endpoints a connection may reach: conditions, policies, and sources.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::common::manifests::{service, slice_of};
use crate::common::netns::{Failure, Family, Request, Transport};
use crate::world::{PORT, TARGET_PORT, WEB, World, pod_number, web, web_slice};

#[test]
fn only_ready_endpoints_are_used_while_there_are_any() {
    let Some(world) = World::with_web(&[]) else { return };
    world.serve(&[11, 12, 13]);
    for family in Family::ALL {
        let [ready, starting, ending] = [11, 12, 13].map(|pod| family.pod_ip(pod));
        let slice = web_slice(family).endpoint(ready).endpoint(starting).not_ready().endpoint(ending).terminating();
        world.manifests.apply(slice);
    }
    world.sync();
    world.assert_web_reaches(&[11]);
}

#[test]
fn terminating_endpoints_that_still_serve_are_the_fallback() {
    let Some(world) = World::with_web(&[]) else { return };
    world.serve(&[11, 12, 13]);
    for family in Family::ALL {
        let [starting, ending, other] = [11, 12, 13].map(|pod| family.pod_ip(pod));
        let slice = web_slice(family).endpoint(starting).not_ready();
        world.manifests.apply(slice.endpoint(ending).terminating().endpoint(other).terminating());
    }
    world.sync();
    world.assert_web_reaches(&[12, 13]);
}

#[test]
fn internal_traffic_policy_local_keeps_to_endpoints_of_this_node() {
    let Some(world) = World::with_web(&[]) else { return };
    world.serve(&[11, 12, 13]);
    world.manifests.apply(web().internal_traffic_local());
    for family in Family::ALL {
        let [here, there, elsewhere] = [11, 12, 13].map(|pod| family.pod_ip(pod));
        let slice = web_slice(family).endpoint(here).endpoint(there).on("node-b");
        world.manifests.apply(slice.endpoint(elsewhere).on("node-c"));
    }
    world.sync();
    world.assert_web_reaches(&[11]);
}

#[test]
fn internal_traffic_policy_local_drops_where_the_node_has_no_endpoint() {
    let Some(world) = World::with_web(&[]) else { return };
    world.serve(&[12]);
    world.manifests.apply(web().internal_traffic_local());
    for family in Family::ALL {
        world.manifests.apply(web_slice(family).endpoint(family.pod_ip(12)).on("node-b"));
    }
    world.sync();
    for family in Family::ALL {
        for transport in Transport::ALL {
            let request = world.node.request(transport, family.cluster_ip(WEB), PORT);
            let answer = request.timeout(Duration::from_millis(150)).send();
            assert_eq!(answer, Err(Failure::TimedOut), "{family} {transport}");
        }
    }
}

#[test]
fn ports_lead_to_the_endpoint_ports_of_the_same_name_and_protocol() {
    let Some(world) = World::new() else { return };
    world
        .manifests
        .apply(service("default/shop").dual_stack(20).port("http", 80).port("admin", 81).udp_port("logs", 80));
    for family in Family::ALL {
        for port in [8000, 8001, 8002] {
            world.node.serve(SocketAddr::new(family.pod_ip(11), port));
        }
        let slice = slice_of("default/shop", family).endpoint(family.pod_ip(11));
        world.manifests.apply(slice.port("http", 8000).port("admin", 8001).port_of("UDP", "logs", 8002));
    }
    world.sync();
    for family in Family::ALL {
        let shop = family.cluster_ip(20);
        let port_of = |answer: Result<crate::common::netns::Answer, Failure>| answer.map(|answer| answer.server.port());
        assert_eq!(port_of(world.node.tcp(shop, 80).send()), Ok(8000), "{family} http");
        assert_eq!(port_of(world.node.tcp(shop, 81).send()), Ok(8001), "{family} admin");
        assert_eq!(port_of(world.node.udp(shop, 80).send()), Ok(8002), "{family} logs");
    }
}

#[test]
fn a_pod_reaches_itself_through_its_own_service() {
    let Some(world) = World::with_web(&[]) else { return };
    let pod = world.node.pod(7);
    for family in Family::ALL {
        world.node.serve_in(&pod, SocketAddr::new(family.pod_ip(7), TARGET_PORT));
    }
    world.set_web_endpoints(&[7]);
    world.sync();
    for family in Family::ALL {
        for transport in Transport::ALL {
            let to = SocketAddr::new(family.cluster_ip(WEB), PORT);
            let answer = Request::new(&pod, transport, to).send().expect("the pod reaches itself");
            assert_eq!(answer.server.ip(), family.pod_ip(7), "{family} {transport}");
            assert_ne!(answer.seen_from.ip(), family.pod_ip(7), "{family} {transport}: the reply must pass the node");
        }
    }
}

#[test]
fn a_pod_keeps_its_address_and_a_client_outside_is_masqueraded() {
    let Some(world) = World::with_web(&[11]) else { return };
    let pod = world.node.pod(7);
    world.sync();
    for family in Family::ALL {
        for transport in Transport::ALL {
            let to = SocketAddr::new(family.cluster_ip(WEB), PORT);
            let inside = Request::new(&pod, transport, to).send().expect("pods reach the Service");
            assert_eq!(inside.seen_from.ip(), family.pod_ip(7), "{family} {transport}");
            // The client is outside of --cluster-cidr, so its address is replaced.
            let outside = world.ask_web(family, transport).expect("the client reaches the Service");
            assert_ne!(outside.seen_from.ip(), family.client_ip(), "{family} {transport}");
        }
    }
}

#[test]
fn the_node_itself_reaches_every_endpoint() {
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    world.sync();
    for family in Family::ALL {
        for transport in Transport::ALL {
            let to = SocketAddr::new(family.cluster_ip(WEB), PORT);
            let answers = Request::new(&world.node.host, transport, to).send_many(150);
            let reached: BTreeSet<u16> =
                answers.into_iter().map(|answer| pod_number(answer.expect("an answer").server.ip())).collect();
            assert_eq!(reached, BTreeSet::from([11, 12, 13]), "{family} {transport}");
        }
    }
}
