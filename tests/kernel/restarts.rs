//! Restarts of the proxy, and other programs that change the ruleset.

use crate::common::netns::{Family, Monitor, Transport};
use crate::world::{World, assert_unbroken};

/// A ruleset of another program: a name that begins like ours, and a chain on a hook that we use.
const FOREIGN: &str = "
table ip pointsman-not {
  set internal { type ipv4_addr; elements = { 10.96.0.10 }; }
}
table inet firewall {
  map endpoints { type ipv4_addr : verdict; elements = { 203.0.113.1 : drop }; }
  chain incoming {
    type filter hook prerouting priority -150; policy accept;
    ip saddr vmap @endpoints
  }
}";

#[test]
fn a_clean_end_leaves_the_rules_in_place() {
    let Some(world) = World::with_web(&[11, 12]) else { return };
    let proxy = world.follow();
    let mut open = world.connections_to(&[11, 12]);
    let finished = proxy.terminate();
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_unbroken(&mut open);
    world.assert_web_reaches(&[11, 12]);
    world.assert_no_difference();
}

#[test]
fn a_restart_changes_nothing_and_breaks_nothing() {
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    world.follow().terminate();
    let mut open = world.connections_to(&[11, 12, 13]);
    let monitor = Monitor::new(&world.node);
    world.assert_no_difference();
    world.follow().terminate();
    assert_eq!(monitor.changes(), [""; 0], "zero operations");
    assert_unbroken(&mut open);
}

#[test]
fn a_restart_adopts_the_slots_that_a_history_of_changes_left() {
    let Some(world) = World::with_web(&[11, 12, 13, 14, 15]) else { return };
    let proxy = world.follow();
    // Removals in the middle move the last slot: the order is now unlike that of a fresh start.
    for pods in [&[11, 13, 14, 15][..], &[13, 14, 15], &[12, 13, 14, 15]] {
        world.set_web_endpoints(pods);
        world.settle();
    }
    proxy.terminate();
    let monitor = Monitor::new(&world.node);
    world.sync();
    assert_eq!(monitor.changes(), [""; 0], "zero operations");
    world.assert_web_reaches(&[12, 13, 14, 15]);
}

#[test]
fn changes_missed_while_it_was_down_are_the_only_ones_made() {
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    world.follow().terminate();
    let mut open = world.connections_to(&[11, 12, 13]);
    world.serve(&[14]);
    world.set_web_endpoints(&[11, 12, 14]);
    let plan = world.dry_run();
    assert_eq!(plan.code, Some(1), "{}", plan.stderr);
    // One endpoint replaced in place: each family's hairpin entry and both transports' slots, deleted and added.
    let planned = operations(&plan.stdout);
    assert!(planned <= 2 * 2 * (2 + 2), "{}", plan.stdout);
    let monitor = Monitor::new(&world.node);
    world.sync();
    let changes = monitor.changes();
    assert_eq!(changes.len(), planned, "as planned, and nothing else: {changes:#?}");
    world.assert_web_reaches(&[11, 12, 14]);
    assert_unbroken(&mut open);
}

#[test]
fn a_deleted_table_is_recovered_at_the_next_change() {
    let Some(world) = World::with_web(&[11, 12]) else { return };
    let _proxy = world.follow();
    world.serve(&[13]);
    for family in Family::ALL {
        world.node.nft(&["delete", "table", family.nft(), "pointsman"]);
    }
    world.set_web_endpoints(&[11, 12, 13]);
    world.settle();
    world.assert_web_reaches(&[11, 12, 13]);
}

#[test]
fn a_foreign_element_in_our_sets_is_removed_by_a_restart() {
    let Some(world) = World::with_web(&[11]) else { return };
    world.sync();
    world.node.nft(&["add", "element", "ip", "pointsman", "cluster-ips", "{ 10.96.0.99 }"]);
    assert_eq!(world.dry_run().code, Some(1));
    world.sync();
    world.assert_no_difference();
    assert!(!ruleset(&world).contains("10.96.0.99"));
}

#[test]
fn tables_of_others_are_never_touched() {
    let Some(world) = World::with_web(&[11]) else { return };
    assert_eq!(world.node.nft_with_input(&["-f", "-"], FOREIGN).code, Some(0));
    let foreign = || {
        world.node.nft(&["-a", "list", "table", "ip", "pointsman-not"])
            + &world.node.nft(&["-a", "list", "table", "inet", "firewall"])
    };
    let before = foreign();
    let proxy = world.follow();
    world.serve(&[12]);
    world.set_web_endpoints(&[12]);
    world.settle();
    world.node.nft(&["delete", "table", "ip", "pointsman"]);
    world.set_web_endpoints(&[11]);
    world.settle();
    proxy.terminate();
    world.sync();
    assert_eq!(foreign(), before);
    assert!(world.ask_web(Family::V4, Transport::Tcp).is_ok());
}

/// Both tables, with the handles of their objects.
fn ruleset(world: &World) -> String {
    Family::ALL.map(|family| world.node.nft(&["-a", "list", "table", family.nft(), "pointsman"])).concat()
}

/// The number in the plan's last line: `… (M operations)`.
fn operations(plan: &str) -> usize {
    let last = plan.lines().last().unwrap_or_default();
    let words: Vec<&str> = last.split(['(', ' ']).collect();
    let position = words.iter().position(|word| word.starts_with("operation")).unwrap_or_else(|| panic!("{plan}"));
    words[position - 1].parse().unwrap_or_else(|_| panic!("{last}"))
}

#[test]
fn a_ruleset_that_was_dumped_and_restored_as_text_is_the_same() {
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    world.follow().terminate();
    let dump = world.node.nft(&["list", "ruleset"]);
    world.node.nft(&["flush", "ruleset"]);
    let restored = world.node.nft_with_input(&["-f", "-"], &dump);
    assert_eq!(restored.code, Some(0), "{}", restored.stderr);
    assert_eq!(world.node.nft(&["list", "ruleset"]), dump);
    world.assert_no_difference();
    world.assert_web_reaches(&[11, 12, 13]);
}

/// nft writes a type of `numgen` to JSON that it does not read back as it was. It cannot list such a map, so through nft the tables have to
/// be deleted first.
#[test]
fn a_sync_mends_a_ruleset_that_was_dumped_and_restored_as_json() {
    let Some(world) = World::with_web(&[11, 12, 13]) else { return };
    world.follow().terminate();
    let dump = world.node.nft(&["-j", "list", "ruleset"]);
    world.node.nft(&["flush", "ruleset"]);
    let restored = world.node.nft_with_input(&["-j", "-f", "-"], &dump);
    assert_eq!(restored.code, Some(0), "{}", restored.stderr);
    if std::env::var("POINTSMAN_TEST_BACKEND").is_ok_and(|backend| backend == "nft") {
        Family::ALL
            .into_iter()
            .for_each(|family| drop(world.node.nft(&["delete", "table", family.nft(), "pointsman"])));
    }
    world.sync();
    world.node.nft(&["list", "ruleset"]);
    world.assert_no_difference();
    world.assert_web_reaches(&[11, 12, 13]);
}
