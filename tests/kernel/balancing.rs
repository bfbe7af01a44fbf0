//! Exactly the endpoints are reached, and all of them equally often.

use crate::common::netns::{Family, Transport};
use crate::common::statistics::assert_uniform;
use crate::world::{PORT, WEB, World, pod_number};

/// Draws for each endpoint: enough to tell a biased choice from chance.
const DRAWS: usize = 120;

#[test]
fn a_single_endpoint_gets_every_connection() {
    assert_balanced(&[11]);
}

#[test]
fn three_endpoints_share_evenly() {
    assert_balanced(&[11, 12, 13]);
}

#[test]
fn eight_endpoints_fill_their_class_and_share_evenly() {
    assert_balanced(&[11, 12, 13, 14, 15, 16, 17, 18]);
}

#[test]
fn nine_endpoints_are_the_worst_case_of_their_class_and_still_share_evenly() {
    assert_balanced(&[11, 12, 13, 14, 15, 16, 17, 18, 19]);
}

#[test]
fn endpoints_of_several_slices_are_one_list() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.serve(&[12, 13]);
    for family in Family::ALL {
        let second = crate::world::web_slice(family).named(&format!("web-more-{family}").to_lowercase());
        // One endpoint is in both slices: it must not get a double share.
        world.manifests.apply(second.endpoints([11, 12, 13].map(|pod| family.pod_ip(pod))));
    }
    world.sync();
    assert_draws_uniform(&world, &[11, 12, 13]);
}

fn assert_balanced(pods: &[u16]) {
    let Some(world) = World::with_web(pods) else { return };
    world.sync();
    assert_draws_uniform(&world, pods);
}

fn assert_draws_uniform(world: &World, pods: &[u16]) {
    for family in Family::ALL {
        for transport in Transport::ALL {
            let request = world.node.request(transport, family.cluster_ip(WEB), PORT);
            let answers = request.send_many(DRAWS * pods.len());
            assert_uniform(pods, answers.into_iter().map(|answer| pod_number(answer.expect("an answer").server.ip())));
        }
    }
}
