//! The nft backend hears other programs as the netlink backend does, and tells its own nft processes from them. It cannot look at the tables,
//! so a comparison finds what was done.

use std::time::{Duration, Instant};

use crate::cluster::until;
use crate::common::netns::{Family, Proxy};
use crate::drift::{FOUND, REPAIRED, count, line, nft, watching};
use crate::world::World;

const THROUGH_NFT: [&str; 2] = ["--backend", "nft"];

/// The commits of other programs that the proxy has counted, of all programs together.
fn foreign_commits(world: &World, proxy: &Proxy) -> f64 {
    let metrics = proxy.metrics(&world.node.host);
    let lines = metrics.lines().filter(|line| line.starts_with("pointsman_foreign_commits_total"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Waits for so many repairs. A comparison through nft takes some hundredths of a second, and the next one waits 400 times as long.
fn until_repaired(proxy: &Proxy, times: usize) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while count(proxy, REPAIRED) < times {
        assert!(Instant::now() < deadline, "not {times} repairs:\n{}", proxy.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn through_nft_what_another_program_deletes_is_found_by_a_comparison_and_repaired() {
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    let proxy = watching(&world, &THROUGH_NFT);
    assert!(proxy.log().contains("hears_commits=true"), "{}", proxy.log());
    for (number, change) in [
        "delete element ip pointsman cluster-ips { 10.96.0.10 }",
        "flush map ip6 pointsman endpoints",
        "delete table ip pointsman",
    ]
    .into_iter()
    .enumerate()
    {
        nft(&world, change);
        until_repaired(&proxy, number + 1);
        world.assert_web_reaches(&[11, 12, 13]);
    }
    let found = line(&proxy, FOUND);
    assert!(found.contains("(pid ") && found.contains("1 element(s) differ, 10.96.0.10 of cluster-ips"), "{found}");
    assert_eq!(count(&proxy, FOUND), 3, "{}", proxy.log());
}

#[test]
fn through_nft_the_proxys_own_commits_are_not_taken_for_those_of_others() {
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    let proxy = watching(&world, &THROUGH_NFT);
    for pods in [&[11][..], &[11, 12], &[12, 13], &[11, 12, 13]] {
        world.set_web_endpoints(pods);
        world.settle();
    }
    world.assert_web_reaches(&[11, 12, 13]);
    assert!(count(&proxy, "committed ") > 4, "{}", proxy.log());
    assert_eq!(foreign_commits(&world, &proxy), 0.0, "{}", proxy.log());
    for family in Family::ALL {
        nft(&world, &format!("add table {} another", family.nft()));
    }
    until(&proxy, "the commits of another program are counted", || foreign_commits(&world, &proxy) == 2.0);
    assert_eq!(count(&proxy, FOUND), 0, "{}", proxy.log());
}
