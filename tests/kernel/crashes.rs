//! `kill -9` at any moment.

use std::time::Duration;

use crate::world::{World, assert_unbroken};

/// How often the proxy is killed.
const KILLS: usize = 8;

/// The longest delay of a kill after a start: long enough to reach into steady state, short enough to hit start-ups.
const MAX_DELAY: Duration = Duration::from_millis(250);

#[test]
fn kills_at_random_moments_break_no_connection_and_leave_the_right_rules() {
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    world.follow().terminate();
    world.serve(&[21, 22, 23, 24, 25, 26]);
    let mut open = world.connections_to(&[11, 12, 13]);
    let mut pods = Vec::new();
    for round in 0..KILLS {
        let proxy = world.start();
        let moment = rand::random_range(Duration::ZERO..MAX_DELAY);
        println!("round {round}: killed after {moment:?}");
        let started = std::time::Instant::now();
        while started.elapsed() < moment {
            // Every state keeps some endpoints, swaps some and now and then crosses a class.
            pods = (11..=13).chain((21..=26).filter(|_| rand::random())).collect();
            world.set_web_endpoints(&pods);
            std::thread::sleep(Duration::from_millis(7));
        }
        proxy.kill();
        assert_unbroken(&mut open);
    }
    let _proxy = world.follow();
    world.assert_web_reaches(&pods);
    assert_unbroken(&mut open);
}
